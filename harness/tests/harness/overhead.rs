//! What lockstep costs a reference: CPU time of its process in lockstep against the same tokens played bare.
//!
//! Measured, not asserted in everyday runs, because a busy machine changes it:
//! `cargo test -p lockstep-harness --test harness overhead -- --ignored --nocapture`.

use crate::common::{manifest, reference_command};
use lockstep_harness::side::{LaneStart, LogFile, Play, Process, Side, Source, Terms};
use lockstep_harness::tiers::Tokens;
use std::io::Write;
use std::process::Command;
use std::sync::Arc;

struct Shape {
    environment: &'static str,
    adapter: Option<&'static str>,
    lanes: usize,
    steps: usize,
    frames: usize,
}

/// Nanoseconds of CPU a step in lockstep and bare, for the same tokens.
fn measure(shape: &Shape) -> (f64, f64) {
    let configuration = Arc::new(manifest(shape.environment).configuration("default").expect("it is there").clone());
    let command = reference_command(shape.environment, shape.adapter);
    let mut tokens = Vec::new();
    for lane in 0..shape.lanes as u64 {
        Tokens::new(7).fill(&configuration, lane, 0, shape.steps as u64, &mut tokens);
    }
    let total = (shape.lanes * shape.steps * shape.frames) as f64;

    let log = LogFile::create(&std::env::temp_dir().join("lockstep-test-logs"), "overhead").expect("a log can be made");
    let process = Process::start("reference", command.clone(), log).expect("the reference starts");
    let mut side = Side::connect("reference", Box::new(process), configuration.clone(), Terms::new(shape.lanes))
        .expect("the reference says hello");
    let start = |lane| LaneStart { lane, seed: 7, stream: u64::from(lane), episode: 0, source: Source::Seeded };
    side.reset(&(0..shape.lanes as u32).map(start).collect::<Vec<_>>()).expect("it resets");
    let play = Play {
        lane_first: 0,
        lane_count: shape.lanes,
        step_count: shape.steps,
        tokens: &tokens,
        grain: None,
        window: 64,
    };
    let before = side.cpu_seconds().expect("it is a process");
    for _ in 0..shape.frames {
        side.play(play).expect("it plays");
    }
    let lockstep = side.cpu_seconds().expect("it is a process") - before;

    let mut file = tempfile::NamedTempFile::new().expect("a file can be made");
    for _ in 0..shape.frames {
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        file.write_all(&bytes).expect("the file can be written");
    }
    let path = file.path().display().to_string();
    let (lanes, steps) = (shape.lanes.to_string(), shape.steps.to_string());
    let output = Command::new(&command.argv[0])
        .args(&command.argv[1..])
        .args(["--bare-tokens", &path, &lanes, &steps])
        .envs(command.variables.iter().cloned())
        .output()
        .expect("the adapter runs bare");
    let text = String::from_utf8_lossy(&output.stdout);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let bare = answer["cpu_seconds"].as_f64().expect("it says its CPU time");
    let played = answer["steps"].as_f64().expect("it says its steps");
    (1e9 * lockstep / total, 1e9 * bare / played)
}

fn report(shape: &Shape) -> f64 {
    let mut runs: Vec<(f64, f64, f64)> = (0..5)
        .map(|_| {
            let (lockstep, bare) = measure(shape);
            (lockstep / bare, lockstep, bare)
        })
        .collect();
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (ratio, lockstep, bare) = runs[2];
    println!(
        "{} {}: {ratio:.2}x (from {:.2} to {:.2} in 5 runs), {lockstep:.0} ns a step in lockstep, {bare:.0} bare, {} tokens a frame",
        shape.environment,
        shape.adapter.unwrap_or("default"),
        runs[0].0,
        runs[4].0,
        shape.lanes * shape.steps
    );
    ratio
}

#[test]
#[ignore = "deep: measures CPU time, which needs a quiet machine"]
fn lockstep_costs_pong_at_most_half_of_its_bare_time() {
    let shape = Shape { environment: "pong", adapter: None, lanes: 1024, steps: 64, frames: 400 };
    assert!(report(&shape) <= 1.5);
}

#[test]
#[ignore = "deep: measures CPU time, which needs a quiet machine"]
fn lockstep_costs_counter_in_python_at_most_a_tenth_of_its_bare_time() {
    let shape = Shape { environment: "counter", adapter: Some("python"), lanes: 64, steps: 512, frames: 20 };
    assert!(report(&shape) <= 1.1);
}
