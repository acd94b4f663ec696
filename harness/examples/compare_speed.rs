//! How many steps a second one core compares: pong's `rust` against itself, both sides and the judge in one process.
//!
//! `taskset -c 0 cargo run --release -p lockstep-harness --example compare_speed`. All is counted, in CPU time: choosing
//! the tokens, both sides, and the comparison, by digest or of every record.

use lockstep_core::Opened;
use lockstep_core::bench::CpuClock;
use lockstep_env_pong::{Pong, simd::Simd};
use lockstep_harness::bulk::{self, Bulk, Compared};
use lockstep_harness::manifest::{Manifest, ToleranceMode};
use lockstep_harness::side::Opener;
use lockstep_harness::sides::{InProcess, open_pair};
use lockstep_harness::watch::{Silent, Stop};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

const RUNS: usize = 5;
const STEPS: u64 = 8_000_000;

fn main() -> ExitCode {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores > 1 {
        eprintln!("error: this would use {cores} cores\n(hint: taskset -c 0 …)");
        return ExitCode::from(2);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envs/pong");
    let manifest = Manifest::read(&folder).expect("the manifest is valid");
    let configuration = Arc::new(manifest.configuration("default").expect("it is there").clone());
    for (name, compared, lanes) in [("digests", Compared::Digests, 64), ("every record", Compared::Records, 1)] {
        for (backend, opener) in [("rust", Opened::scalar::<Pong> as Opener), ("rust.simd", Simd::open)] {
            let mut speeds: Vec<f64> = (0..RUNS)
                .map(|_| {
                    let sides = InProcess { reference: Opened::scalar::<Pong>, backend: opener };
                    let mode = ToleranceMode::FreeRunning;
                    let mut pair =
                        open_pair(&sides, backend, &configuration, lanes, "rollout", mode).expect("both sides open");
                    let bulk = Bulk { compared, steps: STEPS, lanes, trace_steps: 4096, seed: 7, alarms_max: 1 };
                    let clock = CpuClock::start();
                    let counted = bulk::play(&mut pair, &bulk, &mut Silent, &Stop::default()).expect("both sides play");
                    assert!(counted.alarms.is_empty(), "{:?}", counted.alarms);
                    counted.steps as f64 / clock.seconds() / 1e6
                })
                .collect();
            speeds.sort_by(f64::total_cmp);
            println!(
                "rust against {backend:<10} {name:<13} {lanes:>3} lanes: {:.2} M steps/s (from {:.2} to {:.2} in {RUNS} runs)",
                speeds[RUNS / 2],
                speeds[0],
                speeds[RUNS - 1]
            );
        }
    }
    ExitCode::SUCCESS
}
