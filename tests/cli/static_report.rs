//! What the kernels need of a GPU, on a machine without one: with a compiler, without one, and above a ceiling.

use crate::common::{command, lockstep};
use crate::tree::tree;
use lockstep_harness::cuda::nvrtc::Nvrtc;
use serde_json::Value;

#[test]
#[ignore = "builds a runner with what ptx needs, a minute; .ci/run plays it"]
fn a_static_report_needs_a_compiler_and_holds_kernels_to_their_ceilings() {
    let nowhere = tempfile::tempdir().expect("a folder can be made");
    let nowhere = nowhere.path().display().to_string();
    lockstep(&["bench", "counter", "--static", "--nvrtc", &nowhere])
        .ends(2)
        .says("the CUDA compiler libnvrtc.so.13 is not on this machine")
        .says("(hint: lockstep doctor --fix");
    lockstep(&["bench", "counter", "--static", "--save"]).ends(2).says("--save");
    if Nvrtc::find(None).is_err() {
        lockstep(&["bench", "counter", "--static"]).ends(2).says("(hint: lockstep doctor --fix");
        return;
    }
    let told = lockstep(&["bench", "counter", "--static", "--json"]).ends(0).stdout;
    let told: Value = serde_json::from_str(&told).expect("standard output is JSON");
    let targets = told["targets"].as_array().expect("there are targets");
    assert_eq!(targets.iter().map(|target| &target["architecture"]).collect::<Vec<_>>(), ["sm_75", "sm_90"]);
    for target in targets {
        let step = target["kernels"].as_array().into_iter().flatten().find(|row| row["kernel"] == "step");
        assert!(step.is_some_and(|step| step["registers"].as_u64() > Some(8)), "{target}");
    }
    let rows = told["interpreted"]["rows"].as_array().expect("the interpreter has counted");
    for row in rows {
        let efficiency = row["simt_efficiency"].as_f64().expect("it is a number");
        let instructions = row["instructions_per_step"].as_f64().expect("it is a number");
        assert!((1.0 / 32.0..=1.0).contains(&efficiency) && instructions > 50.0, "{row}");
    }
    let bytes = |form: usize| rows[form]["bytes_stored_per_step"].as_f64().expect("it is a number");
    assert!(bytes(1) > bytes(0), "observations of each step cost nothing: {rows:?}");

    // A ceiling that no kernel holds, in a tree whose runner can't be built.
    let tree = tree();
    let path = tree.path().join("envs/counter/env.toml");
    let text = std::fs::read_to_string(&path).expect("it is there");
    assert!(text.contains("registers = 96"), "the manifest is another one");
    std::fs::write(&path, text.replace("registers = 96", "registers = 9")).expect("it can be written");
    command(&["bench", "counter", "--static"])
        .within(tree.path())
        .run()
        .ends(1)
        .says("ceiling: step has")
        .says("registers, its ceiling in env.toml is 9")
        .says("not measured:");
}
