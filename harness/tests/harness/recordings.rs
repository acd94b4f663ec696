//! Recordings from outside are hostile until checked: what is not that of its trace is refused with what is wrong.

use crate::common::root;
use lockstep_core::Opened;
use lockstep_env_counter::Counter;
use lockstep_harness::manifest::Manifest;
use lockstep_harness::pair::Verdict;
use lockstep_harness::recording::replay;
use lockstep_harness::sides::InProcess;

/// The trace whose recording is spoiled.
const TRACE: &str = "172dbf14.jsonl";

#[test]
fn a_recording_that_is_not_that_of_its_trace_is_refused_with_what_is_wrong() {
    let kept = root().join("envs/counter/recordings").join(TRACE);
    let whole = std::fs::read_to_string(&kept).expect("it is kept");
    let lines: Vec<&str> = whole.lines().collect();
    let reply = lines.iter().rposition(|line| line.contains("\"reply\"")).expect("it has exchanges");
    let spoiled = |from: &str, to: &str| {
        assert!(whole.contains(from), "{from}");
        whole.replacen(from, to, 1)
    };
    let last = lines[reply].replace("\"reply\":\"", "\"reply\":\"ff");
    let cases = [
        ("", "it is empty"),
        ("\0\u{1}", "line 1"),
        ("[]", "its format is null"),
        (&spoiled("recording/1", "recording/9"), "this lockstep reads \"lockstep/recording/1\""),
        (&spoiled("\"environment\":\"counter\"", "\"environment\":\"pong\""), "its environment is \"pong\""),
        (&spoiled("\"configuration_hash\":\"", "\"configuration_hash\":\"0"), "its configuration_hash is"),
        (&spoiled("\"trace_hash\":\"", "\"trace_hash\":\"0"), "its trace_hash is"),
        (&spoiled("\"reference\":\"1\"", "\"reference\":\"0.9\""), "it was made with reference \"0.9\""),
        (&spoiled("\"request\":\"", "\"request\":\"0"), "asks the recording something else"),
        (&spoiled("\"reply\":\"", "\"reply\":\"x"), "is not hexadecimal"),
        (&spoiled("\"ok\":true", "\"ok\":1"), "line 2"),
        (&lines[..lines.len() - 1].join("\n"), "it was cut short"),
        (&format!("{whole}{{\"end\":0}}\n"), "it comes after the end"),
        (&whole.replace("\"end\":", "\"end\":1"), "exchanges, but"),
        (&whole.replace(lines[reply], &last), "reference"),
    ];
    let folder = tempfile::tempdir().expect("a folder can be made");
    let environment = folder.path();
    for part in ["traces", "recordings"] {
        std::fs::create_dir(environment.join(part)).expect("the folder can be written");
    }
    let (trace, recording) = (environment.join("traces").join(TRACE), environment.join("recordings").join(TRACE));
    std::fs::copy(root().join("envs/counter/traces").join(TRACE), &trace).expect("it is kept");
    std::fs::copy(root().join("envs/counter/env.toml"), environment.join("env.toml")).expect("it is there");
    let manifest = Manifest::read(environment).expect("the manifest is valid");
    let nobody =
        InProcess { reference: |_, _, _| Err("it must not be asked".into()), backend: Opened::scalar::<Counter> };
    std::fs::write(&recording, &whole).expect("the folder can be written");
    let (_, verdict) = replay(&manifest, &nobody, "1", "rust", &trace).expect("it is whole");
    assert_eq!(verdict, Verdict::Agree);
    for (text, said) in cases {
        std::fs::write(&recording, text).expect("the folder can be written");
        let result = replay(&manifest, &nobody, "1", "rust", &trace);
        let error = result.expect_err(said).to_string();
        assert!(error.contains(said), "{error:?} does not say {said:?}");
    }
    std::fs::remove_file(&recording).expect("it is there");
    assert!(
        replay(&manifest, &nobody, "1", "rust", &trace).expect_err("it is gone").to_string().contains("can't be used")
    );
}
