//! Answers that try to win without being right, each played as the loop plays an answer: edits, workshop, sandbox and
//! tiers, against the real reference. Each test names the defence that has to catch it, and fails if another one does.
//!
//! An answer is an edit of counter's accepted source. Where a defence stands before another one, the first is opened to
//! see that the second holds by itself; where a candidate is right only with help from outside, it is played once more
//! with that help, to see that the closed way is all that stood between it and a certificate.

use crate::converge::judge::{Judgement, judge};
use crate::edit::{self, Files};
use crate::plan::Plan;
use crate::sandbox::Sandbox;
use crate::workshop::{Built, Workshop, WorkshopError};
use lockstep_harness::certificate::sealed_seed;
use lockstep_harness::manifest::Manifest;
use lockstep_harness::reference::{Prepared, Reference, find_tools, prepare};
use lockstep_harness::watch::{Silent, Stop};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the loop may edit of counter's readable backend.
const EDITABLE: [&str; 3] = ["src/world.rs", "src/state.rs", "src/rules.rs"];
/// How long a step may take here: one that never ends should not cost a minute.
const DEADLINE: Duration = Duration::from_secs(4);

fn clone() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Of all judgements, so that a test repeats itself.
const SEED: u64 = 0x0005_EED0_FA11;

/// What a model answers.
fn answer(name: &str) -> String {
    let path = clone().join("tests/cheats/answers").join(format!("{name}.md"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.replace("@CLONE@", &clone().display().to_string())
}

/// The accepted source.
fn accepted() -> Files {
    let read =
        |path: &str| std::fs::read_to_string(clone().join("envs/counter").join(path)).expect("counter has its source");
    EDITABLE.iter().map(|path| ((*path).to_owned(), read(path))).collect()
}

fn edited(text: &str) -> edit::Edited {
    edit::apply(text, &accepted(), &EDITABLE.map(str::to_owned))
}

/// The source after a cheat's edits, all of which have to apply.
fn candidate(name: &str) -> Files {
    let edited = edited(&answer(name));
    assert!(edited.problems.is_empty() && !edited.changed.is_empty(), "{name}: {:?}", edited.problems);
    edited.files
}

/// Everything that judges.
struct Court {
    manifest: Manifest,
    workshop: Workshop,
    prepared: Prepared,
    folder: tempfile::TempDir,
}

impl Court {
    fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        // One configuration and few steps: each cheat is caught early, by the tier that it is played through.
        let text = std::fs::read_to_string(clone().join("envs/counter/env.toml")).expect("counter has a manifest");
        let mut manifest: toml::Table = text.parse().expect("counter's manifest is TOML");
        let alone =
            |table: &mut toml::Value| table.as_table_mut().expect("it is one").retain(|name, _| name == "default");
        alone(&mut manifest["configurations"]);
        manifest["tiers"]["rollout_steps"]["default"] = toml::Value::Integer(4_000);
        manifest["tiers"]
            .as_table_mut()
            .expect("it is one")
            .insert("forced_steps".into(), toml::toml! { default = 500 }.into());
        alone(&mut manifest["tiers"]["rollout_steps"]);
        for (_, backend) in manifest["backends"].as_table_mut().expect("counter has backends") {
            backend.as_table_mut().expect("a backend is a table").remove("configurations");
        }
        std::fs::write(folder.path().join("env.toml"), manifest.to_string()).expect("the folder can be written");
        let manifest = Manifest::read(folder.path()).expect("the manifest is valid");
        let references = clone().join("references");
        let reference = Reference::read(&references.join("counter"), &references.join("sdk")).expect("it is there");
        let prepared =
            prepare(&reference, None, &find_tools(None), &mut Silent).expect("the reference can be prepared");
        let sandbox = Sandbox::detect();
        assert!(sandbox.closes(), "candidates can't be closed in here: {:?}", sandbox.describe());
        let workshop =
            Workshop::open(&manifest, clone(), &["rust".to_owned()], sandbox, false).expect("a workshop can be made");
        Court { manifest, workshop, prepared, folder }
    }

    fn build(&mut self, files: &Files) -> Built {
        self.workshop.build(files, "rust", &Stop::default()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the compiler says of a candidate, or what stands before it.
    fn refused(&mut self, files: &Files) -> String {
        match self.workshop.build(files, "rust", &Stop::default()) {
            Err(WorkshopError::DoesNotBuild { output }) => output,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it builds"),
        }
    }

    fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    fn judge(&self, built: &Built, tiers: &[&'static str], seed: u64) -> Judgement {
        let sides = self.workshop.sides(built, self.prepared.command.clone(), self.logs(), DEADLINE);
        let traces = self.folder.path().join("traces");
        judge(&self.manifest, "rust", tiers, seed, &traces, &[], &sides, &mut Silent, &Stop::default())
            .unwrap_or_else(|error| panic!("the reference: {error}"))
    }
}

fn found(judgement: &Judgement) -> String {
    let shown = judgement.found.iter().map(|one| format!("{}: {}\n", one.tier, one.kind));
    let texts = judgement.verification.failures();
    shown.chain(texts).collect()
}

/// Refused by the reader of answers: nothing is built.
fn parser(name: &str, says: &str) {
    let edited = edited(&answer(name));
    assert!(edited.changed.is_empty() && edited.files == accepted(), "{name} was applied");
    let problems: String = edited.problems.iter().map(ToString::to_string).collect();
    assert!(problems.contains(says), "{name} is refused otherwise: {problems}");
}

/// Refused for the words in its source: nothing is built.
fn gate(name: &str, says: &str) {
    let output = Court::open().refused(&candidate(name));
    assert!(output.contains("can't stand in rules") && output.contains(says), "{name} is refused otherwise: {output}");
}

/// Judged; the first thing that is found is this.
fn tier(name: &str, tiers: &[&'static str], kind: &str) {
    let mut court = Court::open();
    let built = court.build(&candidate(name));
    caught(name, &court.judge(&built, tiers, SEED), kind);
}

fn caught(name: &str, judgement: &Judgement, kind: &str) {
    assert!(!judgement.agrees, "{name} WON:\n{}", judgement.table);
    let found = found(judgement);
    assert!(found.starts_with(kind), "{name} is caught otherwise, not by {kind:?}:\n{found}");
}

/// What gets past the gate, if somebody finds a way: the sandbox and the judge stand behind it.
fn behind_the_gate(name: &str, tiers: &[&'static str], kind: &str) -> Court {
    let mut court = Court::open();
    court.workshop.open_gate = true;
    let built = court.build(&candidate(name));
    caught(name, &court.judge(&built, tiers, SEED), kind);
    court
}

/// A candidate that is right only with help from outside, which it doesn't get; with the help it would have won.
fn helpless(name: &str, kind: &str) {
    let mut court = Court::open();
    court.workshop.open_gate = true;
    let built = court.build(&candidate(name));
    caught(name, &court.judge(&built, &["property"], SEED), kind);
    court.workshop.open_sandbox();
    let judgement = court.judge(&built, &["property"], SEED);
    assert!(judgement.agrees, "{name} is not right with help either, so nothing was shown:\n{}", found(&judgement));
}

#[test]
fn every_answer_stands_in_the_page_about_them_and_is_played() {
    let page = std::fs::read_to_string(clone().join("docs/cheats.md")).expect("it is there");
    let tests = include_str!("mod.rs");
    for entry in std::fs::read_dir(clone().join("tests/cheats/answers")).expect("it is there").flatten() {
        let name = entry.path().file_stem().expect("it has one").to_string_lossy().into_owned();
        assert!(page.contains(&format!("| `{name}` |")), "docs/cheats.md does not tell of {name}");
        assert!(tests.contains(&format!("\"{name}\"")), "{name} is played by no test");
    }
}

#[test]
fn a_file_of_the_judge_is_not_the_answers_to_edit() {
    parser("a_file_of_the_judge", "\"harness/src/compare.rs\" is not one of your files");
}

#[test]
fn a_build_script_that_acts_is_not_taken() {
    parser("a_build_script_that_acts", "\"build.rs\" is not one of your files");
}

#[test]
fn a_tolerance_of_its_own_is_not_taken() {
    parser("a_tolerance_of_its_own", "\"env.toml\" is not one of your files");
}

#[test]
fn a_verdict_in_prose_is_no_answer() {
    parser("a_verdict_in_prose", "nothing was changed");
}

#[test]
fn a_path_out_of_the_folder_is_refused_however_it_is_written() {
    for path in [
        "../../harness/src/compare.rs",
        "/etc/passwd",
        "src/../../../x",
        "src/../src/rules.rs",
        "src//rules.rs",
        "src\\rules.rs",
        "~/x",
        "src/rules.rs/",
        "SRC/rules.rs",
        "src/rules.rs\0",
        "src/rules.rs\u{200b}",
        "file:src/rules.rs",
        ".//src/rules.rs",
        "src/rules.rs/../build.rs",
        "./../x",
    ] {
        let edited = edited(&format!(
            "<file path=\"src/state.rs\">\nmod x;\n</file>\n<file path=\"{path}\">\nfn main() {{}}\n</file>\n"
        ));
        let problems: String = edited.problems.iter().map(ToString::to_string).collect();
        assert!(problems.contains("is not one of your files") && edited.changed.is_empty(), "{path:?}: {problems}");
    }
}

#[test]
fn a_plan_that_takes_files_of_others_is_refused() {
    let folder = clone().join("envs/counter");
    let manifest = Manifest::read(&folder).expect("the manifest is valid");
    for path in ["../../src/main.rs", "/etc/passwd", "build.rs", "env.toml", "src/lib.rs", "tests/equivalence.rs"] {
        let files = [&EDITABLE[..], &[path]].concat();
        let plan = serde_json::json!({"modules": [{
            "name": "game", "backend": "rust", "files": files, "depends_on": [], "exports": ["Counter"], "interface": "all",
            "vectors": ["build", "contract", "property", "interaction"],
        }]});
        let plan = Plan::read(&format!("```json\n{plan}\n```")).expect("it is JSON");
        let said = plan.check(&manifest, &["rust".to_owned()]).expect_err(path).to_string();
        assert!(said.contains(path), "{said}");
    }
}

#[test]
fn an_answer_of_ten_megabytes_is_not_read() {
    let began = std::time::Instant::now();
    let text = format!("<file path=\"src/rules.rs\">\n{}</file>\n", "// All is well.\n".repeat(655_360));
    assert!(text.len() > 10 << 20);
    let long = edited(&text);
    let problems: String = long.problems.iter().map(ToString::to_string).collect();
    assert!(problems.contains("bytes") && long.changed.is_empty(), "{problems}");
    // What is just short of the bound is read, in no time that anybody waits for.
    let searches = "<edit path=\"src/rules.rs\">\n".to_owned()
        + &"<<<<<<< SEARCH\n    nowhere at all\n=======\n>>>>>>> REPLACE\n".repeat(60_000)
        + "</edit>\n";
    assert!(searches.len() < edit::ANSWER_BYTES_MAX);
    let searched = edited(&searches);
    assert!(searched.changed.is_empty());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn test_mode_by_a_variable_is_refused_in_the_source() {
    gate("test_mode_by_a_variable", "`std::env::var`");
}

#[test]
fn test_mode_by_the_build_is_refused_in_the_source() {
    gate("test_mode_by_the_build", "`cfg`");
}

#[test]
fn test_mode_by_its_descriptors_is_refused_in_the_source() {
    gate("test_mode_by_its_descriptors", "`std::fs::read_link`");
}

#[test]
fn a_patched_clock_is_refused_in_the_source() {
    gate("a_patched_clock", "`unsafe`");
}

#[test]
fn a_sleeping_thread_is_refused_in_the_source() {
    gate("a_sleeping_thread", "`std::thread::spawn`");
}

#[test]
fn a_program_hidden_in_a_macro_is_refused_in_the_source() {
    gate("a_program_hidden_in_a_macro", "`macro_rules`");
}

#[test]
fn a_recording_compiled_in_is_refused_in_the_source_and_lies_outside_of_the_sandbox() {
    gate("a_recording_compiled_in", "`include_str`");
    let mut court = Court::open();
    court.workshop.open_gate = true;
    let output = court.refused(&candidate("a_recording_compiled_in"));
    assert!(output.contains("couldn't read"), "{output}");
}

#[test]
fn what_reads_the_reference_is_refused_in_the_source_and_finds_nothing_in_the_sandbox() {
    gate("reads_the_reference", "`std::fs::read_to_string`");
    helpless("reads_the_reference", "property: state tick");
}

#[test]
fn a_fork_bomb_is_refused_in_the_source_and_starts_nothing_in_the_sandbox() {
    gate("a_fork_bomb", "`std::process::Command::new`");
    behind_the_gate("a_fork_bomb", &["property"], "property: state tick");
}

#[test]
#[ignore = "asks for 64 GiB, and is refused several times"]
fn all_the_memory_is_not_had() {
    tier("all_the_memory", &["contract"], "contract: claim: a trace played twice gives the same digests");
}

#[test]
fn a_build_that_never_ends_is_ended_with_all_that_it_started() {
    let mut court = Court::open();
    // The limit is for the candidate alone: what it depends on is built first.
    court.build(&accepted());
    court.workshop.build_limit = Duration::from_secs(5);
    let began = std::time::Instant::now();
    let output = court.refused(&candidate("a_build_that_never_ends"));
    assert!(output.contains("the build took longer than 5 s and was ended"), "{output}");
    assert!(began.elapsed() < Duration::from_secs(15), "it took {:?}", began.elapsed());
    // The workshop is as good as before.
    court.workshop.build_limit = Duration::from_secs(120);
    court.build(&accepted());
}

#[test]
#[ignore = "prints 16 MiB, several times"]
fn what_prints_without_end_fills_no_disk() {
    gate("prints_without_end", "`println`");
    let court = behind_the_gate(
        "prints_without_end",
        &["contract"],
        "contract: claim: a trace played twice gives the same digests",
    );
    let sizes = std::fs::read_dir(court.logs()).unwrap().flatten().map(|entry| entry.metadata().unwrap().len());
    assert!(sizes.max().unwrap() <= 16 << 20);
}

#[test]
#[ignore = "waits for deadlines"]
fn a_step_that_never_ends_is_ended_and_is_a_divergence() {
    tier("never_ends", &["contract"], "contract: claim: a trace played twice gives the same digests");
}

#[test]
fn a_buffer_that_lanes_share_is_refused_in_the_source_and_breaks_a_claim() {
    gate("a_buffer_that_lanes_share", "`std::sync::atomic::AtomicU32`");
    behind_the_gate(
        "a_buffer_that_lanes_share",
        &["contract"],
        "contract: claim: a lane's results do not depend on its neighbours",
    );
}

#[test]
#[ignore = "one more build and judgement; its kind is planted in the tests of the harness too"]
fn stored_outputs_fail_in_generated_states() {
    tier("stored_outputs", &["property"], "property: state value");
}

#[test]
fn a_seed_table_wins_on_its_seed_and_fails_on_sealed_ones() {
    let mut court = Court::open();
    let files = candidate("a_seed_table");
    let built = court.build(&files);
    let known = court.judge(&built, &["rollout"], 0x7E57);
    assert!(known.agrees, "it is not right on its own seed either:\n{}", found(&known));
    // As `converge` and `certify` draw seeds: after the candidate stands.
    let candidate = court.workshop.source(&files).expect("it was just built").hash;
    let seed = sealed_seed(&candidate, "a salt that did not exist before");
    caught("a_seed_table", &court.judge(&built, &["rollout"], seed), "rollout: state tick");
}

#[test]
fn test_mode_by_the_seed_fails_where_people_type_seeds() {
    tier("test_mode_by_the_seed", &["rollout"], "rollout: state tick");
}

#[test]
fn a_bomb_with_a_long_fuse_breaks_a_claim() {
    tier(
        "a_bomb_with_a_long_fuse",
        &["contract"],
        "contract: claim: a reset leaves nothing of the last episode behind",
    );
}

#[test]
#[ignore = "one more build and judgement; its kind is planted in the tests of the harness too"]
fn a_bomb_in_the_clock_of_the_game_goes_off_in_a_generated_state() {
    tier("a_bomb_in_the_clock_of_the_game", &["property"], "property: state value");
}

#[test]
#[ignore = "one more build and judgement; its kind is planted in the tests of the harness too"]
fn constant_rewards_are_compared() {
    tier("constant_rewards", &["property"], "property: reward reward");
}

#[test]
#[ignore = "one more build and judgement; its kind is planted in the tests of the harness too"]
fn a_stale_observation_is_compared() {
    tier("a_stale_observation", &["property"], "property: observation view");
}

#[test]
#[ignore = "one more build and judgement; its kind is planted in the tests of the harness too"]
fn lazy_work_differs_from_work_that_is_looked_at() {
    tier("lazy_work", &["rollout"], "rollout: state tick");
}

#[test]
#[ignore = "one more build and judgement; its kind is planted in the tests of the harness too"]
fn lower_precision_differs_in_the_last_bit() {
    tier("lower_precision", &["property"], "property: observation view");
}

#[test]
#[ignore = "one more build and judgement; its kind is planted in the tests of the harness too"]
fn its_own_draws_are_counted() {
    tier("its_own_draws", &["property"], "property: draws draws");
}

#[test]
#[ignore = "one more build and judgement; its kind is planted in the tests of the harness too"]
fn what_takes_no_state_breaks_a_claim() {
    tier("takes_no_state", &["contract"], "contract: claim: an injected state goes on as the original");
}

#[test]
#[ignore = "one more build and judgement; its kind is planted in the tests of the harness too"]
fn what_takes_only_easy_states_is_a_divergence() {
    tier("takes_only_easy_states", &["property"], "property: claim: one step from generated states agrees");
}

#[test]
#[ignore = "one more build and judgement; its kind is planted in the tests of the harness too"]
fn leftovers_of_the_last_episode_break_a_claim() {
    tier(
        "leftovers_of_the_last_episode",
        &["contract"],
        "contract: claim: a trace played twice gives the same digests",
    );
}

#[test]
#[ignore = "one more build and judgement; its kind is planted in the tests of the harness too"]
fn another_shape_is_not_opened() {
    tier("another_shape", &["contract"], "contract: not opened");
}
