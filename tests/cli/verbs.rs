//! `lockstep` as people use it: a divergence is found, printed, kept, replayed and shrunk, and every verb explains itself.

use crate::common::{clone, command, lockstep, written};
use serde_json::Value;
use std::path::{Path, PathBuf};

const VERBS: [&str; 12] = [
    "verify",
    "fuzz",
    "check",
    "bench",
    "replay",
    "minimize",
    "certify",
    "doctor",
    "test",
    "schema",
    "gpu-bundle",
    "gpu-import",
];

/// The counter reference with one line of its source changed: a difference that no backend has.
fn edited_reference(folder: &Path, from: &str, to: &str) -> PathBuf {
    let original = clone().join("references/counter");
    let reference = folder.join("reference");
    std::fs::create_dir(&reference).expect("the folder can be written");
    for name in ["counter.py", "adapter.py", "reference.toml", "adapter.c", "counter.h"] {
        std::fs::copy(original.join(name), reference.join(name)).expect("it can be copied");
    }
    let text = std::fs::read_to_string(reference.join("counter.py")).expect("it is there");
    assert!(text.contains(from), "counter.py no longer says {from:?}");
    written(&reference, "counter.py", &text.replace(from, to));
    reference
}

/// The block as it prints, with what changes from machine to machine taken out.
fn redacted(text: &str, folder: &Path) -> String {
    text.replace(&folder.display().to_string(), "[folder]")
        .lines()
        .take_while(|line| !line.starts_with("configuration "))
        .map(|line| {
            // The names of traces are hashes that change with the manifest.
            let words = line.split("/traces/").collect::<Vec<_>>();
            let shown = match words[..] {
                [before, after] => format!("{before}/traces/[id]{}", &after[8..]),
                _ => line.to_owned(),
            };
            format!("{}\n", shown.trim_end())
        })
        .collect()
}

#[test]
fn a_divergence_is_printed_kept_replayed_and_shrunk() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let reference = edited_reference(folder.path(), "rewards[agent] += TENTH", "rewards[agent] += 0.25");
    let (reference, traces) = (reference.display().to_string(), folder.path().join("traces"));
    let common = ["-c", "default", "--seed", "7", "--steps", "2000", "--reference", &reference];
    let kept_in = traces.display().to_string();
    let run = lockstep(&[&["verify", "counter", "--traces", &kept_in][..], &common].concat()).ends(1);
    insta::assert_snapshot!(redacted(&run.stdout, folder.path()));

    let files: Vec<PathBuf> =
        std::fs::read_dir(&traces).expect("it was made").map(|entry| entry.expect("it can be read").path()).collect();
    assert!(!files.is_empty(), "nothing was kept");
    for file in &files {
        let file = file.display().to_string();
        lockstep(&["replay", &file, "-e", "counter", "--reference", &reference]).ends(1).says("reward");
        lockstep(&["replay", &file, "-e", "counter"]).ends(0).says("agrees over");
        lockstep(&["minimize", &file, "-e", "counter", "--reference", &reference, "--traces", &kept_in]).ends(1);
    }
    // Kept traces are played first, before anything new is tried.
    let again = ["verify", "counter", "--traces", &kept_in, "--tier", "traces"];
    lockstep(&[&again[..], &common].concat()).ends(1).says("breaks the traces tier").says("lockstep replay");
}

#[test]
fn a_finding_is_printed_where_nothing_can_be_written() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let reference = edited_reference(folder.path(), "self.value -= 1", "self.value -= 2").display().to_string();
    let arguments = ["verify", "counter", "-c", "default", "--seed", "7", "--steps", "2000", "--reference", &reference];
    command(&[&arguments[..], &["--traces", "/proc/lockstep"]].concat())
        .env("TMPDIR", "/proc")
        .run()
        .ends(1)
        .says("the trace could not be written; it follows")
        .says("{\"format\":\"lockstep/trace/1\"");
}

#[test]
fn an_exception_in_a_reference_shows_the_users_own_line() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let reference = edited_reference(folder.path(), "self.value -= 1", "self.value -= self.step_size");
    lockstep(&[
        "verify",
        "counter",
        "-c",
        "default",
        "--steps",
        "2000",
        "--reference",
        &reference.display().to_string(),
    ])
    .says("'CounterLane' object has no attribute 'step_size'")
    .says("counter.py:")
    .says("self.value -= self.step_size");
}

#[test]
fn two_runs_at_once_prepare_one_reference() {
    let cache = tempfile::tempdir().expect("a folder can be made");
    let start = || {
        command(&["verify", "counter", "--adapter", "c", "-c", "default", "--steps", "2000"])
            .env("LOCKSTEP_CACHE", cache.path())
            .spawn()
    };
    let runs = [start(), start(), start()];
    for run in runs {
        run.wait().ends(0).says("0 divergences");
    }
    let prepared = std::fs::read_dir(cache.path().join("references")).expect("it was made");
    let folders = prepared.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().is_dir())).count();
    assert_eq!(folders, 1);
}

#[test]
fn json_is_all_that_stands_on_standard_output() {
    let run = lockstep(&["verify", "counter", "-c", "duel", "--steps", "2000", "--json"]).ends(0);
    let result: Value = serde_json::from_str(&run.stdout).expect("standard output is JSON");
    assert_eq!(result["agrees"], true);
    let rollout = result["tiers"].as_array().and_then(|tiers| tiers.iter().find(|tier| tier["tier"] == "rollout"));
    let counts = &rollout.expect("it ran")["counts"];
    assert!(counts["live_free_running"].as_u64() >= Some(2000) && counts["live_teacher_forced"].as_u64() > Some(0));
    assert_eq!(counts["between_backends"], 0);
    let doctor = lockstep(&["doctor", "--json"]);
    assert!(serde_json::from_str::<Value>(&doctor.stdout).is_ok_and(|result| result["tools"].is_array()));
}

#[test]
fn a_run_repeats_by_its_seed() {
    let arguments = ["verify", "counter", "-c", "default", "--seed", "0x2a", "--steps", "2000", "--json"];
    let runs = [lockstep(&arguments).ends(0).stdout, lockstep(&arguments).ends(0).stdout];
    assert_eq!(runs[0], runs[1]);
}

#[test]
fn no_color_means_no_escape() {
    let run = lockstep(&["verify", "counter", "-c", "default", "--steps", "500"]).ends(0);
    assert!(!run.stdout.contains('\u{1b}'));
}

#[test]
fn every_verb_has_help_with_an_example() {
    for verb in VERBS {
        lockstep(&[verb, "--help"]).ends(0).says("Example").says(&format!("lockstep {verb}"));
    }
    let help = lockstep(&["--help"]).ends(0).says("Exit codes: 0 agree, 1 diverged, 2 usage");
    assert!(VERBS.iter().all(|verb| help.stdout.contains(verb)));
}

#[test]
fn doctor_names_what_is_missing_and_what_to_type() {
    let empty = tempfile::tempdir().expect("a folder can be made");
    let python = empty.path().join("python3").display().to_string();
    command(&["doctor", "--python", &python])
        .env("CC", "/no/such/compiler")
        .run()
        .ends(3)
        .says("MISSING  python3 ")
        .says("apt install python3-venv")
        .says("python3-dev")
        .says("apt install gcc");
}

#[test]
fn published_schemas_are_those_of_the_code() {
    for format in ["hello", "manifest", "reference", "trace", "certificate"] {
        let now = lockstep(&["schema", format]).ends(0).stdout;
        let path = clone().join("docs/schemas").join(format!("{format}.json"));
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        let hint = format!("lockstep schema {format} > docs/schemas/{format}.json");
        assert!(now == kept, "{} is not what the code says; run: {hint}", path.display());
    }
}

#[test]
fn a_certificate_is_checked_without_a_reference() {
    for environment in ["counter", "pong"] {
        let run = lockstep(&["certify", environment, "--check", "--json"]);
        let result: Value = serde_json::from_str(&run.stdout).expect("standard output is JSON");
        assert!(result["stale"].is_array(), "{environment}");
    }
}

#[test]
fn check_counts_no_false_alarm_where_two_processes_of_a_side_repeat_each_other() {
    for side in [&["--adapter", "c"][..], &["--backend", "rust"]] {
        let arguments = ["check", "counter", "-c", "default", "--steps", "20k", "--seed", "7", "--json"];
        let run = lockstep(&[&arguments[..], side].concat()).ends(0);
        let result: Value = serde_json::from_str(&run.stdout).expect("standard output is JSON");
        let itself = &result["configurations"][0]["against_itself"];
        assert!(itself["steps"].as_u64().is_some_and(|steps| steps >= 20_000), "{itself}");
        assert_eq!(itself["false_alarms"], serde_json::json!([]));
    }
}

#[test]
fn check_raises_an_alarm_where_an_adapter_does_not_repeat_itself_in_another_process() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    // Rare enough that the claims of a few hundred steps can miss it; never the same in two processes.
    let reference = edited_reference(
        folder.path(),
        "self.value -= 1",
        "self.value -= 1 if __import__('os').urandom(1)[0] > 2 else 0",
    );
    let path = reference.display().to_string();
    let arguments = ["check", "counter", "-c", "default", "--adapter", "python", "--steps", "20k", "--seed", "7"];
    lockstep(&["check", "counter", "--backend", "nobody"]).ends(2).says("has no backend \"nobody\", only ");
    lockstep(&[&arguments[..], &["--reference", &path]].concat())
        .says("two processes agree over")
        .says("false alarm")
        .ends(1);
}
