//! A race between two sides that ought to be the same: who is faster is told, and who differs is not timed.

use crate::common::{Mixed, manifest, reference_command, root};
use lockstep_core::Opened;
use lockstep_env_counter::Counter;
use lockstep_harness::manifest::ToleranceMode;
use lockstep_harness::pair::Pair;
use lockstep_harness::race::{Unraced, race};
use lockstep_harness::runner;
use lockstep_harness::side::{CommandLine, Terms};
use lockstep_harness::sides::{Processes, Sides, open_pair};
use lockstep_harness::watch::Stop;
use std::sync::Arc;
use std::time::Duration;

fn processes() -> Processes {
    let runner = runner::build("counter", &root().join("envs/counter"), None).expect("the runner builds");
    Processes {
        reference: reference_command("counter", Some("python")),
        runner: CommandLine::program(&runner),
        logs: std::env::temp_dir().join("lockstep-test-logs"),
        deadline: Duration::from_secs(60),
    }
}

fn configuration() -> Arc<lockstep_harness::manifest::Configuration> {
    Arc::new(manifest("counter").configuration("default").expect("it is there").clone())
}

#[test]
fn a_race_tells_how_much_less_cpu_time_the_backend_takes_than_its_reference() {
    let mode = ToleranceMode::FreeRunning;
    let mut pair = open_pair(&processes(), "rust", &configuration(), 64, "rollout", mode).expect("both open");
    let speed = race(&mut pair, 7, 2, &Stop::default()).expect("both play").expect("they are the same");
    // Python beside Rust: 12 to 16 times where it was measured.
    assert!(speed.ratio > 2.0 && speed.is_faster(), "{speed}");
    assert!(speed.least <= speed.ratio && speed.ratio <= speed.most && speed.nanoseconds > 0.0, "{speed:?}");
}

#[test]
fn sides_that_differ_are_not_timed_however_fast_they_are() {
    let (sides, mut terms) = (processes(), Terms::new(8));
    let reference = sides.reference(configuration(), terms.clone()).expect("it opens");
    terms.digests = vec![reference.digest.name()];
    // A log of draws without their sites is another record.
    terms.named = false;
    let backend = sides.backend("rust", configuration(), terms).expect("it opens");
    let mut pair = Pair::new(reference, backend, Default::default(), Default::default());
    let why = race(&mut pair, 7, 2, &Stop::default()).expect("both play").expect_err("they differ");
    assert!(matches!(why, Unraced::Differ(_)), "{why}");
}

#[test]
fn a_side_in_this_process_has_no_clock_of_its_own() {
    let deadline = Duration::from_secs(60);
    let reference = reference_command("counter", Some("python"));
    let sides = Mixed { reference, backend: Opened::scalar::<Counter>, deadline };
    let mode = ToleranceMode::FreeRunning;
    let mut pair = open_pair(&sides, "rust", &configuration(), 8, "rollout", mode).expect("both open");
    assert_eq!(race(&mut pair, 7, 2, &Stop::default()).expect("both play"), Err(Unraced::NoProcess));
}
