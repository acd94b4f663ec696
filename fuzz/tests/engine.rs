//! libFuzzer finds a planted bug in bounded time from a fixed seed, and nothing where nothing is.

use lockstep_harness::engine::{Bounds, build, run};
use lockstep_harness::frontends::trace_from_bytes;
use lockstep_harness::manifest::Manifest;
use std::path::Path;
use std::time::Duration;

#[test]
#[ignore = "compiles everything anew with coverage, which takes minutes"]
fn libfuzzer_finds_the_fourth_coin_in_bounded_time_and_finds_nothing_in_counter() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("fuzz/ is in the clone");
    let corpus = tempfile::tempdir().expect("a folder can be made");
    let bounds = Bounds { time: Duration::from_secs(60), runs: Some(200_000), seed: 7 };
    let nowhere = Path::new("/no/such/folder");
    let target = build(root, "planted").expect("it compiles");
    let hunt = run(&target, "default", &corpus.path().join("planted"), nowhere, &bounds).expect("it runs");
    let bytes = hunt.finding.expect("it finds the planted bug");
    let manifest = Manifest::read(&root.join("envs/counter")).expect("the manifest is valid");
    let trace = trace_from_bytes(manifest.configuration("default").expect("it is there"), &bytes);
    assert!(
        hunt.last_line.contains("panicked at") || hunt.last_line.contains("the sides differ"),
        "{}",
        hunt.last_line
    );
    assert!(trace.steps() >= 4, "four coins take four steps");

    let target = build(root, "counter").expect("it compiles");
    let bounds = Bounds { runs: Some(20_000), ..bounds };
    let hunt = run(&target, "default", &corpus.path().join("counter"), nowhere, &bounds).expect("it runs");
    assert!(hunt.finding.is_none() && hunt.inputs >= 20_000, "{hunt:?}");
}
