//! Bundles for GPU machines and what comes back from there, on a machine without one. Results are made up: by a bundle
//! that finds no GPU, and by hand for a GPU that does not exist.

use crate::common::{Run, clone, command, lockstep, written};
use crate::tree::tree;
use lockstep_harness::certificate::hash_source;
use lockstep_harness::cuda::Flat;
use lockstep_harness::manifest::Manifest;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const RESULTS: &str = include_str!("../fixtures/gpu_results.json");

/// Results of a GPU that does not exist, about the source in a tree.
fn results(tree: &Path) -> String {
    let manifest = Manifest::read(&tree.join("envs/counter")).expect("it is valid");
    let source = hash_source(&manifest, &tree.join("harness/core")).expect("it can be read");
    let kernels = Flat::read(&manifest).expect("it can be read").expect("it is there").hash();
    RESULTS.replace("{rules}", &source.rules).replace("{core}", &source.core).replace("{kernels}", &kernels)
}

fn import(tree: &Path, name: &str, text: &str) -> Run {
    let path = written(tree, name, text);
    command(&["gpu-import", &path]).within(tree).run()
}

fn filed(tree: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(tree.join("envs/counter/benchmarks")).into_iter().flatten().flatten();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.path()).expect("it is a folder").flatten());
    files.map(|file| file.path()).collect()
}

#[test]
fn results_in_which_every_bit_agrees_are_filed_under_the_name_of_their_gpu() {
    let tree = tree();
    let good = results(tree.path());
    let path = written(tree.path(), "results.json", &good);
    command(&["gpu-import", &path, "--check"]).within(tree.path()).run().ends(0).says("not filed; it would be");
    assert!(filed(tree.path()).is_empty());
    import(tree.path(), "results.json", &good)
        .ends(0)
        .says("counter on Imaginary GPU 1: every bit agrees over 10,000,000 steps and 1 kept traces")
        .says("fused          0.4 M steps/s (0.2 to 0.8), 1000 lanes");
    let expected = tree.path().join("envs/counter/benchmarks/2026-11-01-imaginary-gpu-1/gpu-imaginary-gpu-1.json");
    assert_eq!(filed(tree.path()), std::slice::from_ref(&expected));
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(expected).expect("it is there")).expect("JSON");
    assert_eq!((&kept["format"], &kept["rows"][0]["lanes"]), (&json!("lockstep/gpu-bench/1"), &json!(1000)));
}

#[test]
fn results_in_which_bits_differ_are_told_and_never_filed() {
    let tree = tree();
    let agrees = r#""agrees":true,"backend":"cuda","device":"Imaginary GPU 1","lanes":4096,"steps":10000000,"#;
    let differs = r#""divergence":{"lane":5,"step":77,"seed":7},"agrees":false,"backend":"cuda","device":"Imaginary GPU 1","lanes":4096,"steps":10000000,"#;
    let good = results(tree.path());
    assert!(good.contains(agrees), "the fixture is another one");
    import(tree.path(), "results.json", &good.replace(agrees, differs))
        .ends(1)
        .says("counter: bits differ, so nothing of")
        .says("rust and cuda as ptx differ in default, lane 5, step 77, seed 7")
        .says("(hint: lockstep verify counter --backend ptx");
    assert!(filed(tree.path()).is_empty());
}

#[test]
fn results_of_other_source_than_that_in_the_tree_are_refused() {
    let tree = tree();
    let good = results(tree.path());
    for (file, what) in [
        ("envs/counter/src/rules.rs", "the environment's source changed"),
        ("harness/core/src/rules.rs", "lockstep-core changed"),
        ("harness/cuda/lockstep.cuh", "lockstep-core, the kernels' source changed"),
    ] {
        let path = tree.path().join(file);
        let text = std::fs::read_to_string(&path).expect("it is there");
        std::fs::write(&path, text.clone() + "\n// changed\n").expect("it can be written");
        import(tree.path(), "results.json", &good)
            .ends(2)
            .says(&format!(
                "is about other source of counter than what is in the tree: {what} since commit \"0123456789\""
            ))
            .says("(hint: check that commit out, or pack and run again: lockstep gpu-bundle counter)");
        std::fs::write(&path, text).expect("it can be written");
    }
    assert!(filed(tree.path()).is_empty());
}

#[test]
fn hostile_results_are_one_clear_error_and_file_nothing() {
    let tree = tree();
    let good = results(tree.path());
    let cases = [
        (good[..good.len() / 2].to_owned(), "is not JSON"),
        (good.replace("400000.0", "NaN"), "is not JSON, which has no NaN"),
        (good.replace("400000.0", "1e999"), "is not JSON"),
        (good.replace("400000.0", "1e200"), "a number that nobody measured"),
        (
            good.replace("\"counter\"", "\"../../counter\""),
            "names the environment \"../../counter\", which is no name but could be a path",
        ),
        (good.replace("\"counter\"", "\"envs\""), "is about \"envs\", and in envs/ there are counter"),
        (good.replace("[\"default\"]", "[\"dream\"]"), "the configuration \"dream\", which counter does not have"),
        (good.replace("1793534400", "99999999999"), "which can't be"),
        (good.replace("1793534400", "9999999999999999"), "which is no day"),
        (format!("{good}{}", " ".repeat(9 << 20)), "has more than 8388608 bytes"),
        (String::new(), "is not JSON"),
    ];
    for (text, expected) in cases {
        import(tree.path(), "results.json", &text)
            .ends(2)
            .says(expected)
            .says("(hint: bring the results.json that run.sh");
    }
    let binary = tree.path().join("binary.json");
    std::fs::write(&binary, [0xff, 0xfe, 0]).expect("it can be written");
    command(&["gpu-import", "binary.json"]).within(tree.path()).run().ends(2).says("is not text");
    command(&["gpu-import", "."]).within(tree.path()).run().ends(2).says("can't be read");
    command(&["gpu-import", "/dev/zero"]).within(tree.path()).run().ends(2).says("has more than 8388608 bytes");
    command(&["gpu-import", "none.json"]).within(tree.path()).run().ends(2).says("none.json can't be read");
    assert!(filed(tree.path()).is_empty());
}

/// Runs the script of an unpacked bundle with a shell and nothing else.
fn run(folder: &Path) -> Output {
    let empty = tempfile::tempdir().expect("a folder can be made");
    let script = folder.join("run.sh");
    let mut command = Command::new("/bin/sh");
    command.arg(&script).env_clear().env("PATH", empty.path()).current_dir(empty.path());
    // Where a test runs, a GPU may be; this one is about a machine without.
    command.env("CUDA_VISIBLE_DEVICES", "");
    command.output().expect("a shell is there")
}

#[test]
#[ignore = "builds a runner with the feature cuda, a minute; .ci/run plays it"]
fn a_bundle_needs_a_shell_alone_and_says_what_it_skips_without_a_gpu() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("bundle.tar.gz");
    let file_name = file.display().to_string();
    let arguments = ["gpu-bundle", "counter", "--profile", "dev", "--steps", "4096", "--json", "--out", &file_name];
    let told: Value = serde_json::from_str(&lockstep(&arguments).ends(0).stdout).expect("standard output is JSON");
    let traces = std::fs::read_dir(clone().join("envs/counter/traces")).expect("it is there").count();
    assert_eq!(told["manifest"]["environments"]["counter"]["traces"], traces);

    let archive = flate2::read::GzDecoder::new(std::fs::File::open(&file).expect("it was written"));
    tar::Archive::new(archive).unpack(folder.path()).expect("it is an archive");
    let bundle = folder.path().join("lockstep-gpu");
    let read = |name: &str| std::fs::read_to_string(bundle.join(name)).expect("it is there");
    for name in ["run.sh", "manifest.json", "counter/frames.jsonl"] {
        let own = clone().display().to_string();
        assert!(!read(name).contains(&own), "{name} names the machine that it was packed on");
    }

    let output = run(&bundle);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(6), "{said}");
    assert!(said.contains(&format!("{traces} of {traces} kept traces agree")), "{said}");
    let results: Value = serde_json::from_str(&read("results.json")).expect("it is JSON");
    let rows = results["rows"].as_array().expect("there are rows");
    for row in rows.iter().filter(|row| row["backend"] == "cuda" || row["what"] == "gpu") {
        let why = row["error"].as_str().unwrap_or_default();
        assert!(row["code"] == 6 && why.contains("driver") && row["result"].is_null(), "{row}");
    }
    let of = |what: &str, backend: &str| {
        rows.iter().filter(|row| row["what"] == what && row["backend"] == backend).collect::<Vec<_>>()
    };
    for what in ["compare", "frames", "time"] {
        assert!(!of(what, "cuda").is_empty(), "no row {what} of cuda: {said}");
    }
    // What needs no GPU was played, and agrees.
    let rehearsed = [of("compare", "ptx"), of("frames", "ptx"), of("frames", "cuda-host")].concat();
    assert!(rehearsed.len() >= 3 && rehearsed.iter().all(|row| row["result"]["agrees"] == true), "{said}");

    let path = bundle.join("results.json").display().to_string();
    let benchmarks = clone().join("envs/counter/benchmarks");
    let before = benchmarks.exists();
    lockstep(&["gpu-import", &path]).ends(6).says("counter: not filed, there was no GPU").says("(hint: run run.sh");
    assert_eq!(benchmarks.exists(), before, "something was filed");

    // A reply that was kept otherwise is a difference, with or without a GPU.
    let frames = read("counter/frames.jsonl");
    let last = frames.rfind("\"reply\":\"").expect("there are replies") + "\"reply\":\"".len();
    let digit = if &frames[last..=last] == "0" { "1" } else { "0" };
    let edited = format!("{}{digit}{}", &frames[..last], &frames[last + 1..]);
    std::fs::write(bundle.join("counter/frames.jsonl"), edited).expect("it can be written");
    let output = run(&bundle);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{} of {traces} kept traces agree", traces - 1)), "{said}");
    lockstep(&["gpu-import", &path]).ends(1).says("counter: bits differ, so nothing of").says("differs: rust, request");

    // A runner for another machine.
    std::fs::write(bundle.join("counter/runner"), "no program").expect("it can be written");
    let output = run(&bundle);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("error: ./counter/runner does not start here; it needs"), "{said}");
}

#[test]
fn a_bundle_of_what_has_no_cuda_source_is_refused() {
    lockstep(&["gpu-bundle", "nothing_of_that_name"]).ends(2).says("there is no environment \"nothing_of_that_name\"");
    let tree = tree();
    std::fs::remove_dir_all(tree.path().join("envs/counter/cuda")).expect("it is there");
    command(&["gpu-bundle", "counter"]).within(tree.path()).run().ends(2).says("counter has no CUDA source");
    command(&["gpu-bundle"]).within(tree.path()).run().ends(2).says("there is no environment with CUDA source here");
    command(&["bench", "counter", "--static"]).within(tree.path()).run().ends(2).says("counter has no CUDA source");
}

#[test]
fn stale_kernels_are_not_packed() {
    let tree = tree();
    let path = tree.path().join("envs/counter/cuda/rules.cuh");
    let text = std::fs::read_to_string(&path).expect("it is there");
    std::fs::write(&path, text + "\n// changed\n").expect("it can be written");
    command(&["gpu-bundle", "counter"])
        .within(tree.path())
        .run()
        .ends(2)
        .says("was made from other source than what is there")
        .says("(hint: lockstep ptx counter)");
}
