//! Test support: plays an environment's CUDA source and its readable rules with the same requests and compares every
//! answer byte for byte.

use lockstep_core::backend::{Settled, StepMany};
use lockstep_core::device::{Rollout, RustRollout};
use lockstep_core::host::{CudaHost, HostRules, layout, shared_layout};
use lockstep_core::wire::Mode;
use lockstep_core::{
    ActionKind, Backend, Digest, Files, Header, Lane, Options, Resets, Rules, Scalar, Source, Writer, draw_word,
};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde_json::Value;
use std::time::Instant;

const LANE_COUNTS: [usize; 4] = [1, 2, 17, 64];
const THREAD_COUNTS: [usize; 3] = [1, 2, 5];

/// Random words; the seed is told and taken back, so that a run can be repeated.
pub struct Words {
    seed: u64,
    stream: u64,
    index: u32,
}

impl Words {
    pub fn new(stream: u64) -> Self {
        let asked = std::env::var("LOCKSTEP_TEST_SEED").ok();
        let seed = asked.map_or(20_261_123, |seed| seed.parse().expect("LOCKSTEP_TEST_SEED is a whole number"));
        println!("LOCKSTEP_TEST_SEED={seed} (stream {stream})");
        Words { seed, stream, index: 0 }
    }

    pub fn word(&mut self) -> u32 {
        self.index += 1;
        draw_word(self.seed, self.stream, 7, self.index - 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.word() as usize % bound
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// A number from `low` to `high`, in 1024 steps.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * (self.below(1025) as f32 / 1024.0)
    }

    fn words(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.word()).collect()
    }

    /// A token: extras and masks where there are some; a continuous action is mostly ordinary, at times tiny or huge.
    fn token(&mut self, action: ActionKind) -> u32 {
        if action != ActionKind::Continuous {
            return self.word();
        }
        let value = match self.below(16) {
            0 => self.between(-1e-38, 1e-38),
            1 => self.between(-1e6, 1e6),
            2 => [0.0, -0.0, 1.0, -1.0][self.below(4)],
            _ => self.between(-1.0, 1.0) / 3.0 + self.between(-1.0, 1.0),
        };
        value.to_bits().rotate_left(1)
    }
}

/// The configurations of the manifest, by name.
pub fn configurations<R: Rules>() -> Vec<(String, Options)> {
    let manifest: Value = toml::from_str(R::MANIFEST).expect("the manifest is TOML");
    let table = manifest["configurations"].as_object().expect("there are configurations");
    let options = |table: &Value| Options::new(table["options"].as_object().cloned().unwrap_or_default());
    table.iter().map(|(name, table)| (name.clone(), options(table))).collect()
}

fn world<R: Rules>(options: &Options) -> R::World {
    R::world(options.clone(), &Files::new()).expect("the manifest's options are valid")
}

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started")
}

/// Compares the layouts: what all sources share, then `own`, which is the size of the state and the offset of each of
/// its fields, and the same of the world.
pub fn layouts_agree<R: HostRules>(own: &[usize]) {
    let shared = shared_layout::<R>();
    let own = own.iter().map(|word| *word as u32);
    let expected: Vec<u32> = shared.into_iter().chain(own).collect();
    assert_eq!(layout::<R>(), expected, "expected is what Rust has");
}

/// Both sides of one configuration.
struct Pair<'a, R: HostRules> {
    readable: Scalar<R>,
    cuda: CudaHost<R>,
    pool: &'a ThreadPool,
    settled: Settled,
    words: Words,
    name: String,
    steps: u64,
    requests: u64,
}

/// Plays random requests on all configurations, lane counts and thread counts until at least `steps_min` steps were
/// compared in full. `state` makes a canonical state out of random words, also one that is refused.
pub fn answers_agree<R: HostRules>(steps_min: u64, state: impl Fn(&mut Words, &R::World) -> Vec<u8>) {
    let configurations = configurations::<R>();
    let rounds = configurations.len() * LANE_COUNTS.len() * THREAD_COUNTS.len();
    let mut total = 0;
    for (i, (name, options)) in configurations.iter().enumerate() {
        let large = R::shape(&world::<R>(options)).regions.iter().any(|region| region.canonical);
        for lanes in LANE_COUNTS {
            for threads in THREAD_COUNTS {
                let pool = pool(threads);
                let stream = (i * 10_000 + lanes * 100 + threads) as u64;
                let mut pair = Pair::<R> {
                    readable: Scalar::new(world::<R>(options), lanes),
                    cuda: CudaHost::new(world::<R>(options), lanes),
                    pool: &pool,
                    settled: Settled { digest: Digest::Xxh64, named: true },
                    words: Words::new(stream),
                    name: format!("{name}, {lanes} lanes, {threads} threads"),
                    steps: 0,
                    requests: 0,
                };
                // Hashing a region at each step is slow, so configurations with one play less.
                let enough = if large { 1_000 } else { steps_min.div_ceil(rounds as u64) * 5 / 4 };
                pair.play(enough, &state, &world::<R>(options));
                total += pair.steps;
            }
        }
    }
    println!("{total} steps compared in full");
    assert!(total >= steps_min, "only {total} steps were compared");
}

impl<R: HostRules> Pair<'_, R> {
    /// Asks both sides the same; the answer or the fault must be the same.
    fn ask<T>(&mut self, what: &str, ask: impl Fn(&mut dyn Backend) -> T + Sync) -> T
    where
        T: PartialEq + std::fmt::Debug + Send,
    {
        self.requests += 1;
        let expected = ask(&mut self.readable);
        let cuda = &mut self.cuda;
        let observed = self.pool.install(|| ask(cuda));
        let (name, request) = (&self.name, self.requests);
        // `assert_eq` would print megabytes.
        assert!(
            expected == observed,
            "{name}: request {request}, {what}: {}",
            difference(&format!("{expected:?}"), &format!("{observed:?}"))
        );
        expected
    }

    fn play(&mut self, enough: u64, state: &impl Fn(&mut Words, &R::World) -> Vec<u8>, world: &R::World) {
        let lanes = self.readable.lane_count();
        // Lanes are asked even before their first reset.
        self.step_many(Mode::Full);
        for lane in 0..lanes {
            self.reset(lane);
        }
        while self.steps < enough {
            self.settled = Settled {
                digest: if self.words.one_in(8) { Digest::Blake2b } else { Digest::Xxh64 },
                named: !self.words.one_in(4),
            };
            let lane = self.words.below(lanes);
            match self.words.below(12) {
                0 => self.reset(lane),
                1 => self.inject(lane, state, world),
                2 => self.snapshot(lane),
                3 => {
                    let count = self.words.below(20);
                    let values = self.words.words(count);
                    self.ask("append_draws", |side| side.append_draws(lane, &values));
                }
                4 => self.step_many(Mode::Digest),
                5 => self.step_many(Mode::State),
                _ => self.step_many(Mode::Full),
            }
            self.ask("draws", |side| side.draws(lane).to_vec());
        }
        for lane in 0..lanes {
            self.snapshot(lane);
            let (state, observation_bytes) = (*self.cuda.state(lane), self.cuda.shape().observation_bytes);
            let observed = self.cuda.observe(lane);
            // No environment with CUDA source observes its regions yet, so the state is enough.
            let mut expected = vec![0; observed.len()];
            for (agent, place) in expected.chunks_mut(observation_bytes).enumerate() {
                R::observe(world, &state, &NoRegions, agent, &mut Writer::new(place));
            }
            assert_eq!(expected, observed, "{}: observe in lane {lane}", self.name);
        }
    }

    fn source(&mut self) -> Source {
        match self.words.one_in(2) {
            true => Source::Seeded,
            false => {
                let count = self.words.below(200);
                Source::Listed { values: self.words.words(count), place: self.words.below(3) }
            }
        }
    }

    fn header(&mut self) -> Header {
        let mut wide = || u64::from(self.words.word()) << 32 | u64::from(self.words.word());
        let (seed, stream) = (wide(), wide());
        let episode = if self.words.one_in(8) { u32::MAX } else { self.words.word() % 4 };
        Header { seed, stream, episode, elapsed: 0, draw_index: 0 }
    }

    fn mode(&mut self) -> Mode {
        [Mode::Digest, Mode::Full, Mode::State][self.words.below(3)]
    }

    fn reset(&mut self, lane: usize) {
        let (header, source, mode, settled) = (self.header(), self.source(), self.mode(), self.settled);
        self.ask("reset", |side| {
            let mut reply = Vec::new();
            side.reset(settled, mode, lane, header, source.clone(), &mut reply).map(|()| reply)
        })
        .expect("every header can be reset to");
    }

    fn inject(&mut self, lane: usize, state: &impl Fn(&mut Words, &R::World) -> Vec<u8>, world: &R::World) {
        let shape = self.readable.shape().clone();
        let mut state = state(&mut self.words, world);
        for region in shape.regions.iter().filter(|region| region.canonical) {
            state.extend((0..region.bytes / 4).flat_map(|_| self.words.word().to_le_bytes()));
        }
        let observation: Vec<u8> =
            (0..shape.agents * shape.observation_bytes).map(|_| self.words.word() as u8).collect();
        if self.words.one_in(16) {
            state.pop();
        }
        let mut header = self.header();
        header.elapsed = self.words.word() % 300;
        header.draw_index = self.words.word() % 9;
        let (source, mode, settled) = (self.source(), self.mode(), self.settled);
        let answer = self.ask("inject", |side| {
            let mut reply = Vec::new();
            let result = side.inject(settled, mode, lane, header, source.clone(), &state, &observation, &mut reply);
            result.map(|()| reply)
        });
        // A lane whose injection was refused is undefined until it is reset.
        if answer.is_err() {
            self.reset(lane);
        }
    }

    /// Compares snapshots, and lets each side go on from a snapshot that the other made, in another lane.
    fn snapshot(&mut self, lane: usize) {
        let bytes = self.ask("snapshot", |side| {
            let mut out = Vec::new();
            side.snapshot(lane, &mut out);
            out
        });
        let target = self.words.below(self.readable.lane_count());
        self.ask("restore", |side| side.restore(target, &bytes)).expect("a snapshot can be restored");
        if self.words.one_in(4) {
            let cut = self.words.below(bytes.len());
            let answer = self.ask("restore of a cut snapshot", |side| side.restore(target, &bytes[..cut]));
            answer.expect_err("a snapshot was cut");
        }
    }

    fn step_many(&mut self, mode: Mode) {
        let shape = self.readable.shape().clone();
        let lanes = self.readable.lane_count();
        let lane_first = if self.words.one_in(2) { 0 } else { self.words.below(lanes) };
        let lane_count =
            if self.words.one_in(2) { lanes - lane_first } else { self.words.below(lanes - lane_first + 1) };
        let step_count = match self.words.below(4) {
            0 => self.words.below(3),
            1 => 1 + self.words.below(64),
            _ => 64 + self.words.below(100),
        };
        let step_count = if shape.regions.is_empty() { step_count } else { step_count % 12 };
        let window = 1 + self.words.below(64);
        let grains = shape.row_bytes.len();
        let grain = (grains > 0 && self.words.one_in(3)).then(|| self.words.below(grains));
        let count = lane_count * step_count * shape.tokens_per_step();
        let mut tokens: Vec<u32> = (0..count).map(|_| self.words.token(shape.action)).collect();
        if count > 0 && shape.action == ActionKind::Continuous && self.words.one_in(64) {
            tokens[count - 1] = f32::NAN.to_bits().rotate_left(1);
        }
        let settled = self.settled;
        let answer = self.ask(&format!("step_many {mode:?}, grain {grain:?}"), |side| {
            let request = StepMany { mode, grain, window, lane_first, lane_count, step_count, tokens: &tokens };
            let mut reply = Vec::new();
            side.step_many(settled, request, &mut reply).map(|()| reply)
        });
        if answer.is_ok() && mode != Mode::Digest {
            self.steps += (lane_count * step_count) as u64;
        }
    }
}

/// The first place where two texts differ, with a little around it.
fn difference(expected: &str, observed: &str) -> String {
    let at = expected.bytes().zip(observed.bytes()).take_while(|(a, b)| a == b).count();
    let around = |text: &str| text[at.saturating_sub(40)..(at + 80).min(text.len())].to_owned();
    format!("at character {at}\n  expected  {}\n  observed  {}", around(expected), around(observed))
}

struct NoRegions;

impl lockstep_core::Regions for NoRegions {
    fn load8(&self, _region: usize, _offset: u32) -> u8 {
        unreachable!("nobody looks at a region")
    }

    fn store8(&mut self, _region: usize, _offset: u32, _value: u8) {
        unreachable!("nobody writes a region")
    }

    fn load32(&self, _region: usize, _offset: u32) -> u32 {
        unreachable!("nobody looks at a region")
    }

    fn store32(&mut self, _region: usize, _offset: u32, _value: u32) {
        unreachable!("nobody writes a region")
    }

    fn clear(&mut self, _region: usize) {
        unreachable!("nobody clears a region")
    }
}

/// The kernel for training, which writes no record, against lanes that are stepped and reset one by one.
pub fn unrecorded_steps_agree<R: HostRules>(lanes: usize, steps: usize) {
    for (name, options) in configurations::<R>() {
        let mut words = Words::new(77);
        let world = world::<R>(&options);
        let shape = R::shape(&world);
        let mut cuda = CudaHost::<R>::new(R::world(options.clone(), &Files::new()).expect("valid"), lanes);
        let settled = Settled { digest: Digest::Xxh64, named: true };
        let mut twins: Vec<Lane<R>> = (0..lanes).map(|_| Lane::new(&shape)).collect();
        for (lane, twin) in twins.iter_mut().enumerate() {
            let header = Header { seed: 5, stream: lane as u64, ..Header::default() };
            cuda.reset(settled, Mode::Digest, lane, header, Source::Seeded, &mut Vec::new()).expect("can be reset");
            twin.header = header;
            twin.reset(&world, &shape);
        }
        let width = shape.tokens_per_step();
        let mut heads = vec![0; lanes];
        for step in 0..steps {
            let tokens: Vec<u32> = (0..lanes * width).map(|_| words.token(shape.action)).collect();
            cuda.step(&tokens, &mut heads).expect("tokens are defined");
            for (lane, twin) in twins.iter_mut().enumerate() {
                let outcome = twin.step(&world, &shape, &tokens[lane * width..(lane + 1) * width]);
                let rewards = twin.rewards().to_vec();
                if (outcome.terminated || outcome.truncated) && shape.resets == Resets::Harness {
                    twin.reset(&world, &shape);
                }
                let head = u32::from(outcome.terminated) << 8 | u32::from(outcome.truncated) << 9;
                assert_eq!(heads[lane], head | twin.deciders() << 16, "{name}: head of lane {lane} at step {step}");
                assert_eq!(cuda.rewards(lane), rewards, "{name}: rewards of lane {lane} at step {step}");
                assert!(cuda.observation(lane) == twin.observation(), "{name}: observation of {lane} at step {step}");
                let (expected, observed) = (bytemuck::bytes_of(&twin.state), bytemuck::bytes_of(cuda.state(lane)));
                assert_eq!(expected, observed, "{name}: state of lane {lane} at step {step}");
            }
        }
    }
}

/// Prints how fast both sides answer, five runs each, turn by turn, on one core.
pub fn print_speed<R: HostRules>(lanes: usize, steps: usize) {
    let pool = pool(1);
    let settled = Settled { digest: Digest::Xxh64, named: true };
    println!("| configuration | mode | rust, M steps/s | cuda-host, M steps/s | ratio: median (least to most of 5) |");
    for (name, options) in configurations::<R>() {
        let mut words = Words::new(1);
        let shape = R::shape(&world::<R>(&options));
        let steps = if shape.regions.is_empty() { steps } else { steps / 64 };
        let tokens: Vec<u32> = (0..lanes * steps).flat_map(|_| (0..shape.tokens_per_step()).map(|_| 0)).collect();
        let tokens: Vec<u32> = tokens.into_iter().map(|_| words.token(shape.action)).collect();
        let mut sides: [Box<dyn Backend>; 2] = [
            Box::new(Scalar::<R>::new(world::<R>(&options), lanes)),
            Box::new(CudaHost::<R>::new(world::<R>(&options), lanes)),
        ];
        for side in &mut sides {
            for lane in 0..lanes {
                let header = Header { stream: lane as u64, ..Header::default() };
                side.reset(settled, Mode::Digest, lane, header, Source::Seeded, &mut Vec::new()).expect("can be reset");
            }
        }
        for mode in [Mode::Digest, Mode::Full] {
            let mut speeds = [[0.0; 5]; 2];
            for run in 0..6 {
                for (side, speeds) in sides.iter_mut().zip(&mut speeds) {
                    let mut reply = Vec::new();
                    let request = StepMany {
                        mode,
                        grain: None,
                        window: 64,
                        lane_first: 0,
                        lane_count: lanes,
                        step_count: steps,
                        tokens: &tokens,
                    };
                    let began = Instant::now();
                    pool.install(|| side.step_many(settled, request, &mut reply)).expect("tokens are defined");
                    // The first run warms up.
                    if run > 0 {
                        speeds[run - 1] = (lanes * steps) as f64 / began.elapsed().as_secs_f64() / 1e6;
                    }
                }
            }
            let mut ratios: Vec<f64> = speeds[1].iter().zip(&speeds[0]).map(|(cuda, rust)| cuda / rust).collect();
            speeds.iter_mut().for_each(|speeds| speeds.sort_by(f64::total_cmp));
            ratios.sort_by(f64::total_cmp);
            let spread = |speeds: &[f64; 5]| format!("{:.2} ({:.2} to {:.2})", speeds[2], speeds[0], speeds[4]);
            println!(
                "| {name} | {mode:?} | {} | {} | {:.2} ({:.2} to {:.2}) |",
                spread(&speeds[0]),
                spread(&speeds[1]),
                ratios[2],
                ratios[0],
                ratios[4]
            );
        }
        print_unrecorded::<R>(&name, &options, lanes, &tokens);
    }
}

/// The same without records: lanes stepped one by one against the kernel for training.
fn print_unrecorded<R: HostRules>(name: &str, options: &Options, lanes: usize, tokens: &[u32]) {
    let world = world::<R>(options);
    let shape = R::shape(&world);
    let mut cuda = CudaHost::<R>::new(R::world(options.clone(), &Files::new()).expect("valid"), lanes);
    let mut twins: Vec<Lane<R>> = (0..lanes).map(|_| Lane::new(&shape)).collect();
    let settled = Settled { digest: Digest::Xxh64, named: true };
    for (lane, twin) in twins.iter_mut().enumerate() {
        twin.header = Header { stream: lane as u64, ..Header::default() };
        cuda.reset(settled, Mode::Digest, lane, twin.header, Source::Seeded, &mut Vec::new()).expect("can be reset");
        twin.reset(&world, &shape);
    }
    let (pool, mut heads) = (pool(1), vec![0; lanes]);
    let width = shape.tokens_per_step();
    let (mut rust, mut host) = ([0.0; 5], [0.0; 5]);
    for run in 0..5 {
        let began = Instant::now();
        for step in tokens.chunks_exact(lanes * width) {
            for (twin, tokens) in twins.iter_mut().zip(step.chunks_exact(width)) {
                let outcome = twin.step(&world, &shape, tokens);
                if (outcome.terminated || outcome.truncated) && shape.resets == Resets::Harness {
                    twin.reset(&world, &shape);
                }
            }
        }
        rust[run] = (tokens.len() / width) as f64 / began.elapsed().as_secs_f64() / 1e6;
        let began = Instant::now();
        pool.install(|| {
            for step in tokens.chunks_exact(lanes * width) {
                cuda.step(step, &mut heads).expect("tokens are defined");
            }
        });
        host[run] = (tokens.len() / width) as f64 / began.elapsed().as_secs_f64() / 1e6;
    }
    let mut ratios: Vec<f64> = host.iter().zip(&rust).map(|(host, rust)| host / rust).collect();
    for numbers in [&mut rust[..], &mut host, &mut ratios] {
        numbers.sort_by(f64::total_cmp);
    }
    println!(
        "| {name} | no records | {:.2} ({:.2} to {:.2}) | {:.2} ({:.2} to {:.2}) | {:.2} ({:.2} to {:.2}) |",
        rust[2], rust[0], rust[4], host[2], host[0], host[4], ratios[2], ratios[0], ratios[4]
    );
}

/// Rollouts without records, in which the source samples the actions, against the readable rules.
pub fn rollouts_agree<R: HostRules>(lanes: usize, steps: usize) {
    for (name, options) in configurations::<R>() {
        let seed = 5;
        let mut rust = RustRollout::<R>::new(world::<R>(&options), lanes, seed);
        let mut cuda = CudaHost::<R>::new(world::<R>(&options), lanes);
        let settled = Settled { digest: Digest::Xxh64, named: true };
        for lane in 0..lanes {
            let header = Header { seed, stream: lane as u64, ..Header::default() };
            cuda.reset(settled, Mode::Digest, lane, header, Source::Seeded, &mut Vec::new()).expect("can be reset");
        }
        let mut observed = Rollout::new(rust.rollout.seed, lanes);
        // Launches of different lengths count as one.
        for launch in [1, 2, 7, steps] {
            rust.play(launch);
            cuda.rollout(&mut observed, launch);
            assert_eq!(observed, rust.rollout, "{name}: after a launch of {launch} steps");
        }
        let distinct: std::collections::BTreeSet<u64> = observed.digests.iter().copied().collect();
        assert_eq!(distinct.len(), lanes, "{name}: lanes play different games");
        assert!(observed.ended.iter().any(|ended| *ended > 0), "{name}: no episode ended in {steps} steps");
    }
}
