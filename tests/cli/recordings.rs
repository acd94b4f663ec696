//! Recordings of the reference: kept traces are played against them without it, and what does not fit is refused.

use crate::common::{clone, command, lockstep, trace_of, written};

#[test]
fn kept_traces_agree_with_their_recordings_where_no_reference_can_run() {
    for (environment, said) in [("counter", "18 steps"), ("pong", "38 steps")] {
        // Neither an interpreter nor a compiler: only the backend runs.
        let cache = tempfile::tempdir().expect("a folder can be made");
        command(&["verify", environment, "--recorded"])
            .env("LOCKSTEP_PYTHON", "/no/such/python")
            .env("CC", "/no/such/compiler")
            .env("LOCKSTEP_CACHE", cache.path())
            .run()
            .ends(0)
            .says("replay report: rust agrees with recordings of reference")
            .says(said)
            .says("no certificate rests on recordings");
    }
    let counts = lockstep(&["verify", "counter", "-c", "default", "--recorded", "--json"]).ends(0).stdout;
    let report: serde_json::Value = serde_json::from_str(&counts).expect("standard output is JSON");
    let counts = &report["configurations"][0]["counts"];
    assert_eq!((report["replay_report"].as_bool(), counts["recorded"].as_u64()), (Some(true), Some(5)));
    assert_eq!((counts["live_free_running"].as_u64(), counts["traces"].as_u64()), (Some(0), Some(0)));
}

#[test]
fn a_trace_without_a_recording_of_its_own_is_refused() {
    let (_folder, path) = trace_of("counter", "default", &["[0]"]);
    lockstep(&["replay", &path, "-e", "counter", "--recorded"])
        .ends(2)
        .says("recordings/trace.jsonl can't be used")
        .says("lockstep record counter");

    // The name of a kept trace, and one step less.
    let text = std::fs::read_to_string(clone().join("envs/counter/traces/172dbf14.jsonl")).expect("it is kept");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.truncate(lines.len() - 2);
    let shorter = format!("{}\n{{\"end\":{}}}\n", lines.join("\n"), lines.len() - 1);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = written(folder.path(), "172dbf14.jsonl", &shorter);
    lockstep(&["replay", &path, "-e", "counter", "--recorded"]).ends(2).says("its trace_hash is");
}
