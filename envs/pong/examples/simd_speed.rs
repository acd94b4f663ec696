//! Times the step of `rust.simd`: million steps per second of one thread, for each instruction set and layout.
//!
//! One line is the median, and the smallest and largest, of nine runs, in CPU seconds of the thread as the reference's
//! adapter counts them (in seconds of the clock where there is no `/proc`). Actions are drawn beforehand for 64 steps,
//! which are played over and over: drawing them is not timed here. The adapter's `--bare` times its own cheap generator
//! and the decoding of its tokens with its steps, some nanoseconds each, so a ratio against it is a little too kind.
//! Observations, rewards and terminals are written on both sides.
//!
//! Run it with `cargo run --release -p lockstep-env-pong --example simd_speed [frameskip] [lanes…]`.

use lockstep_core::{Files, Options};
use lockstep_env_pong::World;
use lockstep_env_pong::simd::{Field, Instructions, Layout, Outputs};
use serde_json::json;
use std::time::{Duration, Instant};

const RUNS: usize = 9;
const TABLE_STEPS: usize = 64;

fn main() {
    let numbers: Vec<usize> =
        std::env::args().skip(1).map(|text| text.parse().expect("arguments are whole numbers")).collect();
    let frameskip = numbers.first().copied().unwrap_or(1);
    let lanes = if numbers.len() > 1 { &numbers[1..] } else { &[1024, 16_384] };
    let options = json!({ "frameskip": frameskip }).as_object().expect("it is an object").clone();
    let world = World::new(Options::new(options), &Files::new()).expect("the options are good");
    println!("frameskip {frameskip}, M steps/s: median (smallest to largest) of {RUNS} runs");
    for instructions in Instructions::available() {
        for layout in [Layout::Columns, Layout::Rows] {
            for &lanes in lanes {
                let mut speeds = measure(&world, instructions, layout, lanes, 400_000_000 / frameskip);
                speeds.sort_by(f64::total_cmp);
                let (low, median, high) = (speeds[0], speeds[RUNS / 2], speeds[RUNS - 1]);
                println!(
                    "{:8} {:7} {lanes:6} lanes  {median:7.1} ({low:.1} to {high:.1})",
                    instructions.name(),
                    format!("{layout:?}").to_lowercase(),
                );
            }
        }
    }
}

fn measure(world: &World, instructions: Instructions, layout: Layout, lanes: usize, steps: usize) -> Vec<f64> {
    let mut field = Field::new(world, lanes, instructions).expect("the options are default");
    field.reset(1);
    let mut observations = vec![0.0; 8 * lanes];
    field.observe(layout, &mut observations);
    let (mut rewards, mut terminals) = (vec![0.0; lanes], vec![0; lanes]);
    let mut word = 0x9E37_79B9_7F4A_7C15u64;
    let table: Vec<Vec<u8>> = (0..TABLE_STEPS)
        .map(|_| {
            (0..lanes)
                .map(|_| {
                    word ^= word << 13;
                    word ^= word >> 7;
                    word ^= word << 17;
                    (((word >> 32) * 3) >> 32) as u8
                })
                .collect()
        })
        .collect();
    let rounds = (steps / lanes / TABLE_STEPS).max(1);
    let mut play = |rounds: usize| {
        let began = Stopwatch::start();
        for _ in 0..rounds {
            for actions in &table {
                let outputs =
                    Outputs { observations: &mut observations, rewards: &mut rewards, terminals: &mut terminals };
                field.step(layout, actions, outputs);
                std::hint::black_box(());
            }
        }
        (rounds * TABLE_STEPS * lanes) as f64 / began.elapsed().as_secs_f64() / 1e6
    };
    play(rounds / 4 + 1);
    (0..RUNS).map(|_| play(rounds)).collect()
}

/// Time that the thread ran, which other work on the machine does not lengthen.
struct Stopwatch {
    cpu: Option<Duration>,
    wall: Instant,
}

impl Stopwatch {
    fn start() -> Self {
        Stopwatch { cpu: cpu_time(), wall: Instant::now() }
    }

    fn elapsed(&self) -> Duration {
        match (self.cpu, cpu_time()) {
            (Some(began), Some(now)) => now - began,
            _ => self.wall.elapsed(),
        }
    }
}

/// The first number of `schedstat`, in nanoseconds; it is brought up to date every few milliseconds.
fn cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}
