//! Whatever is thrown at `lockstep`, the answer is one clear error with what to do next, and the right exit code.

use crate::common::{Run, clone, lockstep, python, trace_of, written};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A reference whose adapter is the real one behind `tests/fixtures/tamper.py`.
fn tampered(folder: &Path, fault: &str) -> PathBuf {
    let adapter = clone().join("references/counter/adapter.py");
    let tamper = clone().join("tests/fixtures/tamper.py");
    let argv = format!("[{:?}, {:?}, {fault:?}, {:?}, {:?}]", python(), tamper, python(), adapter);
    with_argv(folder, &argv)
}

fn with_argv(folder: &Path, argv: &str) -> PathBuf {
    let text = format!(
        "format = \"lockstep/reference/1\"\nname = \"tampered\"\nversion = \"1\"\nlicence = \"MIT\"\n\
         [adapters.python]\ndefault = true\nargv = {argv}\n"
    );
    written(folder, "reference.toml", &text);
    folder.to_owned()
}

/// Verifies counter against a reference with this fault.
fn verify_against(fault: &str) -> Run {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let reference = tampered(folder.path(), fault);
    let reference = reference.display().to_string();
    lockstep(&["verify", "counter", "-c", "default", "--steps", "2000", "--deadline", "3", "--reference", &reference])
}

#[test]
fn a_missing_reference_ends_with_3_and_names_the_command() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let reference = with_argv(folder.path(), "[\"/no/such/program\"]").display().to_string();
    lockstep(&["verify", "counter", "-c", "default", "--reference", &reference])
        .ends(3)
        .says("error: reference could not be started")
        .says("/no/such/program")
        .says("(hint: lockstep doctor)");
}

#[test]
fn a_dead_reference_ends_with_3_and_shows_its_last_line() {
    verify_against("dead")
        .ends(3)
        .says("error: reference stopped before it answered `hello`")
        .says("exit status  1")
        .says("ModuleNotFoundError: No module named 'slow_game'");
}

#[test]
fn a_reference_that_dies_in_mid_batch_ends_with_3() {
    verify_against("dies").ends(3).says("stopped before it answered `step_many`").says("Segmentation fault");
}

#[test]
fn a_reference_that_closes_its_socket_in_mid_batch_ends_with_3() {
    verify_against("cut").ends(3).says("stopped before it answered `step_many`");
}

#[test]
fn a_hung_reference_is_ended_at_its_deadline() {
    let began = Instant::now();
    verify_against("hangs").ends(3).says("did not answer `step_many` within 3 s").says("--deadline");
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_reference_of_another_protocol_version_ends_with_3() {
    verify_against("version").ends(3).says("speaks \"lockstep/9\"").says("lockstep/1");
}

#[test]
fn a_reference_with_another_schema_ends_with_2_and_names_the_size() {
    verify_against("schema").ends(2).says("canonical_bytes is 23 there and 24 in the manifest");
    verify_against("hash").ends(2).says("configuration_hash");
}

#[test]
fn garbage_and_oversized_frames_end_with_3() {
    verify_against("garbage").ends(3).says("breaks the protocol").says("not with LKS1");
    verify_against("oversized").ends(3).says("announces 4294967280 bytes");
    verify_against("sequence").ends(3).says("breaks the protocol");
    verify_against("short").ends(3).says("breaks the protocol");
}

#[test]
fn a_lying_reference_is_caught_by_the_contract_tier() {
    verify_against("lies").ends(1).says("reference breaks the contract tier");
}

#[test]
fn a_trace_that_was_cut_short_is_refused() {
    let (folder, trace) = trace_of("counter", "default", &["[0]", "[1]"]);
    let text = std::fs::read_to_string(&trace).expect("it was written");
    let cut: String = text.lines().take(2).map(|line| format!("{line}\n")).collect();
    let path = written(folder.path(), "cut.jsonl", &cut);
    lockstep(&["replay", &path]).ends(2).says("cut short").says("ends after 1 steps");
    let path = written(folder.path(), "empty.jsonl", "");
    lockstep(&["replay", &path]).ends(2).says("line 1 of the trace is not valid");
}

#[test]
fn a_trace_from_a_future_version_is_refused() {
    let (folder, trace) = trace_of("counter", "default", &["[0]"]);
    let text = std::fs::read_to_string(&trace).expect("it was written").replace("lockstep/trace/1", "lockstep/trace/2");
    let path = written(folder.path(), "future.jsonl", &text);
    lockstep(&["replay", &path]).ends(2).says("lockstep/trace/2").says("this lockstep reads \"lockstep/trace/1\"");
}

#[test]
fn a_trace_for_something_else_is_refused() {
    let (_folder, trace) = trace_of("counter", "default", &["[0]"]);
    lockstep(&["replay", &trace, "--environment", "pong"]).ends(2).says("the environment counter, not for pong");
    let (folder, trace) = trace_of("counter", "default", &["[0]"]);
    let text = std::fs::read_to_string(&trace).expect("it was written");
    let path = written(
        folder.path(),
        "other.jsonl",
        &text.replace("\"configuration\":\"default\"", "\"configuration\":\"duel\""),
    );
    lockstep(&["replay", &path]).ends(2).says("another version of configuration");
    let path = written(
        folder.path(),
        "none.jsonl",
        &text.replace("\"configuration\":\"default\"", "\"configuration\":\"trio\""),
    );
    lockstep(&["replay", &path]).ends(2).says("no configuration \"trio\"").says("default");
}

#[test]
fn a_trace_with_an_illegal_token_is_refused_by_line() {
    let (_folder, trace) = trace_of("counter", "default", &["[0]", "[1, 2]"]);
    lockstep(&["replay", &trace]).ends(2).says("line 3").says("2 tokens, a step of this configuration has 1");
    let (_folder, trace) = trace_of("counter", "default", &["[-1]"]);
    lockstep(&["replay", &trace]).ends(2).says("line 2");
}

#[test]
fn a_nan_or_infinite_action_is_refused() {
    for action in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let token = format!("[{}]", action.to_bits().rotate_left(1));
        let (_folder, trace) = trace_of("pong", "continuous", &["[0]", &token]);
        lockstep(&["replay", &trace]).ends(2).says("line 3").says("not a finite action");
    }
}

#[test]
fn a_manifest_with_an_unknown_key_is_refused_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let text = std::fs::read_to_string(clone().join("envs/counter/env.toml")).expect("it is there");
    written(folder.path(), "env.toml", &text.replace("width = 1 ", "widht = 1 "));
    let environment = folder.path().display().to_string();
    lockstep(&["verify", &environment]).ends(2).says("unknown field `widht`");
}

#[test]
fn a_tolerance_without_a_reason_is_refused() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut text = std::fs::read_to_string(clone().join("envs/counter/env.toml")).expect("it is there");
    text +=
        "\n[[tolerance]]\nfield = \"value\"\nbackend = \"rust\"\nstatistic = \"max\"\nbound = 1e-9\nreason = \" \"\n";
    written(folder.path(), "env.toml", &text);
    let environment = folder.path().display().to_string();
    lockstep(&["verify", &environment]).ends(2).says("the tolerance of value has no reason");
}

#[test]
fn wrong_names_are_answered_with_the_right_ones() {
    lockstep(&["verify", "pnog"]).ends(2).says("no environment \"pnog\"").says("counter").says("pong");
    lockstep(&["verify", "pong", "-c", "fast"]).ends(2).says("no configuration \"fast\"").says("frameskip8");
    lockstep(&["verify", "pong", "-t", "roll"]).ends(2).says("no tier \"roll\"").says("rollout");
    lockstep(&["verify", "pong", "--backend", "jax"]).ends(2).says("no backend \"jax\"").says("rust");
    lockstep(&["verify", "counter", "--adapter", "cobol"]).ends(2).says("no adapter \"cobol\"").says("c, python");
    lockstep(&["verify"]).ends(2).says("Usage");
}

#[test]
fn offline_the_reference_says_so() {
    let cache = tempfile::tempdir().expect("a folder can be made");
    crate::common::command(&["verify", "pong", "-c", "default"])
        .env("LOCKSTEP_CACHE", cache.path())
        .env("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
        .env("PIP_RETRIES", "0")
        .run()
        .ends(3)
        .says("the reference pong could not be prepared")
        .says("PyPI could not be reached");
}

#[test]
fn with_offline_no_package_is_fetched_for_a_reference() {
    let cache = tempfile::tempdir().expect("a folder can be made");
    crate::common::command(&["converge", "pong", "--offline"])
        .env("LOCKSTEP_CACHE", cache.path())
        .run()
        .ends(3)
        .says("the reference pong could not be prepared");
}

#[test]
fn an_unwritable_cache_is_named() {
    crate::common::command(&["verify", "counter"])
        .env("LOCKSTEP_CACHE", "/proc/lockstep")
        .run()
        .ends(3)
        .says("the cache folder /proc/lockstep can't be written")
        .says("LOCKSTEP_CACHE");
}

#[test]
fn ctrl_c_ends_a_long_run_with_what_was_done() {
    let mut child = crate::common::command(&["verify", "counter", "-c", "default", "--steps", "1000000000"]).spawn();
    std::thread::sleep(Duration::from_secs(6));
    child.interrupt();
    let began = Instant::now();
    child.wait().ends(130).says("stopped after").says("what was found is kept");
    assert!(began.elapsed() < Duration::from_secs(10));
}
