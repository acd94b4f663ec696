//! The backend `rust.simd` against the readable one, bit for bit, with every instruction set that this machine has.

use lockstep_core::backend::{Backend, Fault, Settled, StepMany};
use lockstep_core::wire::Mode;
use lockstep_core::{Digest, Files, Header, Options, Scalar, Source};
use lockstep_env_pong::simd::{Field, Instructions, Layout, OBSERVED_MAX, OBSERVED_MIN, Outputs, Simd, observed};
use lockstep_env_pong::{Pong, State, World};
use serde_json::{Value, json};

const SETTLED: Settled = Settled { digest: Digest::Xxh64, named: true };
const LAYOUTS: [Layout; 2] = [Layout::Columns, Layout::Rows];
/// Around the sizes of vectors, of blocks and of the fields that a request is cut into.
const LANE_COUNTS: [usize; 9] = [1, 2, 15, 16, 17, 31, 33, 64, 100];
const FRAMESKIPS: [u32; 3] = [1, 8, 3];

/// A small generator, so that a failure repeats: SplitMix64.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    /// One in eight has the top bit, which makes it an extra.
    fn token(&mut self) -> u32 {
        let token = self.next() as u32 & 0x7FFF_FFFF;
        if self.below(8) == 0 { token | 1 << 31 } else { token }
    }

    /// A player that follows the ball most of the time, so that rallies are long, episodes end, and speeds grow.
    fn play(&mut self, state: &State) -> u32 {
        if self.below(4) == 0 {
            return self.token();
        }
        let aim = state.ball_y + 16.0 - (state.paddle_yr + 35.0);
        if aim > 8.0 { 1 } else { u32::from(aim < -8.0) * 2 }
    }

    fn state(&mut self) -> State {
        let mut state = State {
            paddle_yl: self.between(-35, 605) as f32,
            paddle_yr: self.between(-35, 605) as f32,
            ball_x: self.between(-12, 500) as f32,
            ball_y: self.between(-30, 640) as f32,
            ball_vx: if self.below(2) == 0 { 10.0 } else { -10.0 },
            ball_vy: self.between(-13, 13) as f32,
            paddle_dir: self.between(-1, 1) as f32,
            score_l: self.between(0, 20) as u32,
            score_r: self.between(0, 20) as u32,
            tick: self.next() as i32 >> self.below(31),
            n_bounces: self.next() as i32 >> self.below(31),
            win: self.between(-1, 2) as i32,
        };
        // What the rules tell apart is rare in the middle of the field.
        match self.below(8) {
            0 => state.ball_x = self.between(-2, 14) as f32,
            1 => state.ball_x = self.between(454, 470) as f32,
            2 => (state.score_l, state.score_r) = (20, 20),
            3 => state.ball_vy = 0.0,
            4 => {
                state.ball_y = (state.paddle_yl as i64 + self.between(-34, 72)).clamp(-30, 640) as f32;
                state.ball_x = self.between(-5, 9) as f32;
                state.ball_vx = -10.0;
            }
            5 => {
                state.ball_y = (state.paddle_yr as i64 + self.between(-34, 72)).clamp(-30, 640) as f32;
                state.ball_x = self.between(459, 470) as f32;
                state.ball_vx = 10.0;
            }
            _ => {}
        }
        state
    }

    fn source(&mut self) -> Source {
        if self.below(3) == 0 {
            let values = (0..self.below(6)).map(|_| self.next() as u32).collect();
            Source::Listed { values, place: self.below(3) as usize }
        } else {
            Source::Seeded
        }
    }

    fn header(&mut self) -> Header {
        Header {
            seed: self.next(),
            stream: self.next(),
            episode: self.next() as u32 >> self.below(32),
            elapsed: self.next() as u32 >> self.below(32),
            draw_index: self.below(40) as u32,
        }
    }
}

fn world(frameskip: u32) -> World {
    world_of(json!({ "frameskip": frameskip })).expect("every frameskip is a whole number")
}

fn world_of(options: Value) -> Result<World, String> {
    let options = Options::new(options.as_object().expect("it is an object").clone());
    World::new(options, &Files::new()).map_err(|error| error.0)
}

fn each_variant(check: impl Fn(Instructions, Layout)) {
    for instructions in Instructions::ALL {
        if !instructions.is_available() {
            println!("skipped: this machine has no {}", instructions.name());
            continue;
        }
        for layout in LAYOUTS {
            check(instructions, layout);
        }
    }
}

/// Both backends, asked the same.
struct Two {
    readable: Scalar<Pong>,
    simd: Simd,
    noise: Noise,
    steps: u64,
    what: String,
}

impl Two {
    fn new(frameskip: u32, lanes: usize, instructions: Instructions, layout: Layout) -> Self {
        let simd = Simd::new(world(frameskip), lanes, instructions, layout).expect("the options are default");
        let what = format!("{} {layout:?}, frameskip {frameskip}, {lanes} lanes", instructions.name());
        let mut two = Two {
            readable: Scalar::new(world(frameskip), lanes),
            simd,
            noise: Noise(lanes as u64 + 1000 * u64::from(frameskip)),
            steps: 0,
            what,
        };
        for lane in 0..lanes {
            two.reset(lane, SETTLED);
        }
        two
    }

    /// What both answer must be the same bytes.
    fn ask<T: PartialEq + std::fmt::Debug>(
        &mut self,
        verb: &str,
        ask: impl Fn(&mut dyn Backend, &mut Vec<u8>) -> T,
    ) -> (T, Vec<u8>) {
        let (mut expected, mut observed) = (Vec::new(), Vec::new());
        let result = ask(&mut self.readable, &mut expected);
        assert_eq!(result, ask(&mut self.simd, &mut observed), "{verb}: {}", self.what);
        assert!(
            expected == observed,
            "{verb} differs at byte {:?}: {}",
            first_difference(&expected, &observed),
            self.what
        );
        (result, observed)
    }

    fn reset(&mut self, lane: usize, settled: Settled) {
        let header = Header { elapsed: 0, draw_index: 0, ..self.noise.header() };
        let mut source = self.noise.source();
        if let Source::Listed { place, .. } = &mut source {
            *place = 0;
        }
        let result =
            self.ask("reset", |side, reply| side.reset(settled, Mode::Full, lane, header, source.clone(), reply));
        assert_eq!(result.0, Ok(()));
        self.same(lane);
    }

    fn inject(&mut self, lane: usize, state: &State) {
        let observation = match self.noise.below(3) {
            // One that does not belong to the state, to be seen if a point comes at once.
            0 => std::array::from_fn(|i| if i < 6 { self.noise.below(1000) as f32 / 999.0 } else { 0.0 }),
            _ => {
                let at = self.noise.below(self.simd.lane_count() as u64) as usize;
                bytemuck::pod_read_unaligned::<[f32; 8]>(self.readable.lane(at).observation())
            }
        };
        let (header, source) = (self.noise.header(), self.noise.source());
        let result = self.ask("inject", |side, reply| {
            let (state, view) = (bytemuck::bytes_of(state), bytemuck::bytes_of(&observation));
            side.inject(SETTLED, Mode::State, lane, header, source.clone(), state, view, reply)
        });
        assert_eq!(result.0, Ok(()), "{state:?}");
        self.same(lane);
    }

    fn step(&mut self, mode: Mode, lanes: std::ops::Range<usize>, step_count: usize) {
        let noise = &mut self.noise;
        let mut tokens = Vec::new();
        for lane in lanes.clone() {
            let state = self.readable.lane(lane).state;
            tokens.extend((0..step_count).map(|_| noise.play(&state)));
        }
        let window = 1 + noise.below(64) as usize;
        let settled = Settled { named: noise.below(4) > 0, ..SETTLED };
        let (lane_first, lane_count) = (lanes.start, lanes.len());
        let result = self.ask("step_many", |side, reply| {
            let request = StepMany { mode, grain: None, window, lane_first, lane_count, step_count, tokens: &tokens };
            side.step_many(settled, request, reply)
        });
        assert_eq!(result.0, Ok(()));
        self.steps += (lane_count * step_count) as u64;
        lanes.for_each(|lane| self.same(lane));
    }

    /// All that is known of a lane is the same: its snapshot and its draws.
    fn same(&mut self, lane: usize) {
        self.ask("snapshot", |side, reply| side.snapshot(lane, reply));
        self.ask("draws", |side, reply| reply.extend_from_slice(side.draws(lane)));
    }

    fn move_snapshot(&mut self, source: usize, target: usize) {
        let ((), bytes) = self.ask("snapshot", |side, reply| side.snapshot(source, reply));
        let result = self.ask("restore", |side, _| side.restore(target, &bytes));
        assert_eq!(result.0, Ok(()));
        self.same(target);
    }

    fn append_draws(&mut self, lane: usize) {
        let more: Vec<u32> = (0..self.noise.below(5)).map(|_| self.noise.next() as u32).collect();
        self.ask("append", |side, _| side.append_draws(lane, &more));
        self.same(lane);
    }
}

fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a != b).or((a.len() != b.len()).then_some(a.len().min(b.len())))
}

#[test]
fn simd_gives_the_records_of_the_readable_backend_for_every_lane_count() {
    let (steps, variants) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    each_variant(|instructions, layout| {
        variants.set(variants.get() + 1);
        for frameskip in FRAMESKIPS {
            for lanes in LANE_COUNTS {
                let mut two = Two::new(frameskip, lanes, instructions, layout);
                let mut left = 60_000i64 / i64::from(frameskip) / 4;
                while left > 0 {
                    let mode = [Mode::Full, Mode::Full, Mode::State, Mode::Digest][two.noise.below(4) as usize];
                    let first = two.noise.below(lanes as u64) as usize;
                    let end = first + 1 + two.noise.below((lanes - first) as u64) as usize;
                    let range = if two.noise.below(2) == 0 { 0..lanes } else { first..end };
                    let count = 1 + two.noise.below(90) as usize;
                    left -= (count * range.len()) as i64;
                    two.step(mode, range, count);
                    let (lane, other) =
                        (two.noise.below(lanes as u64) as usize, two.noise.below(lanes as u64) as usize);
                    match two.noise.below(6) {
                        0 => two.reset(lane, SETTLED),
                        1 => two.inject(lane, &Noise(left as u64).state()),
                        2 => two.move_snapshot(lane, other),
                        3 => two.append_draws(lane),
                        _ => {}
                    }
                }
                steps.set(steps.get() + two.steps);
            }
        }
    });
    println!("{} steps", steps.get());
    // Machines differ in their instruction sets, so the floor is one for each that this one has.
    assert!(steps.get() >= 200_000 * variants.get(), "{} steps are too few", steps.get());
}

#[test]
fn simd_steps_from_random_whole_states_as_the_readable_backend() {
    each_variant(|instructions, layout| {
        for frameskip in FRAMESKIPS {
            let lanes = 37;
            let mut two = Two::new(frameskip, lanes, instructions, layout);
            for round in 0..40 {
                for lane in 0..lanes {
                    let state = Noise(round * 1000 + lane as u64).state();
                    two.inject(lane, &state);
                }
                two.step(Mode::Full, 0..lanes, 1);
                two.step(Mode::Full, 0..lanes, 2);
            }
        }
    });
}

#[test]
fn simd_turns_a_flat_ball_outside_the_field_to_the_other_zero() {
    each_variant(|instructions, layout| {
        for frameskip in FRAMESKIPS {
            let mut two = Two::new(frameskip, 4, instructions, layout);
            for (lane, vy) in [(0, 0.0), (1, -0.0), (2, 0.0), (3, -0.0)] {
                let ball_y = if lane < 2 { -9.0 } else { 615.0 };
                let state = State { ball_y, ball_vy: vy, ball_x: 100.0, ball_vx: 10.0, ..Noise(lane as u64).state() };
                two.inject(lane, &state);
            }
            (0..12).for_each(|_| two.step(Mode::Full, 0..4, 1));
        }
    });
}

#[test]
fn simd_counts_more_bounces_than_its_vectors_hold() {
    each_variant(|instructions, layout| {
        for frameskip in [1, 1024] {
            let mut two = Two::new(frameskip, 2, instructions, layout);
            // Behind the left edge the ball turns in every subframe while the paddle follows it.
            let stuck = State {
                paddle_yl: 250.0,
                paddle_yr: 250.0,
                ball_x: -40.0,
                ball_y: 269.0,
                ball_vx: -10.0,
                ball_vy: 0.0,
                paddle_dir: 0.0,
                score_l: 0,
                score_r: 0,
                tick: i32::MAX - 3,
                n_bounces: i32::MAX - 70_000,
                win: 0,
            };
            two.inject(1, &stuck);
            let steps = 150_000 / frameskip as usize;
            let counts = |two: &Two| two.readable.lane(1).state.n_bounces;
            let before = counts(&two);
            for _ in 0..3 {
                two.step(Mode::Digest, 0..2, steps / 3);
            }
            let bounced = counts(&two).wrapping_sub(before);
            assert!(bounced > i32::from(u16::MAX), "it bounced {bounced} times");
        }
    });
}

#[test]
fn a_field_gives_the_readable_results_whatever_its_size_and_buffers() {
    each_variant(|instructions, layout| {
        for (frameskip, lanes, steps) in [(1, 1000, 700), (8, 1000, 200), (1, 7, 3000), (8, 95, 1000)] {
            let seed = 77;
            let mut field = Field::new(&world(frameskip), lanes, instructions).expect("the options are default");
            field.reset(seed);
            let mut readable = Scalar::<Pong>::new(world(frameskip), lanes);
            for lane in 0..lanes {
                let header = Header { seed, stream: lane as u64, ..Header::default() };
                readable.reset(SETTLED, Mode::Full, lane, header, Source::Seeded, &mut Vec::new()).expect("it resets");
            }
            let mut noise = Noise(5);
            let mut first = vec![0.0; 8 * lanes];
            field.observe(layout, &mut first);
            for step in 0..steps {
                let actions: Vec<u8> = (0..lanes).map(|_| noise.below(256) as u8 >> noise.below(8)).collect();
                // A step reads nothing of the buffers: these hold rubbish, but for the columns that are never written.
                let mut observations = vec![f32::NAN; 8 * lanes];
                if layout == Layout::Columns {
                    observations[6 * lanes..].copy_from_slice(&first[6 * lanes..]);
                }
                let (mut rewards, mut terminals) = (vec![f32::NAN; lanes], vec![7; lanes]);
                let outputs =
                    Outputs { observations: &mut observations, rewards: &mut rewards, terminals: &mut terminals };
                field.step(layout, &actions, outputs);
                // Token 2^31 is the first extra, which stands still as every other action does.
                let tokens: Vec<u32> =
                    actions.iter().map(|&action| if action < 3 { action.into() } else { 1 << 31 }).collect();
                let request = StepMany {
                    mode: Mode::Digest,
                    grain: None,
                    window: 1,
                    lane_first: 0,
                    lane_count: lanes,
                    step_count: 1,
                    tokens: &tokens,
                };
                let mut reply = Vec::new();
                readable.step_many(SETTLED, request, &mut reply).expect("tokens are defined");
                for lane in 0..lanes {
                    let view: [f32; 8] = std::array::from_fn(|i| match layout {
                        Layout::Columns => observations[i * lanes + lane],
                        Layout::Rows => observations[8 * lane + i],
                    });
                    let expected = readable.lane(lane);
                    let what = format!("{} {layout:?} step {step} lane {lane} of {lanes}", instructions.name());
                    assert_eq!(bytemuck::bytes_of(&view), expected.observation(), "{what}");
                    assert_eq!(rewards[lane].to_bits(), expected.rewards()[0].to_bits(), "{what}");
                    assert_eq!(u32::from(terminals[lane]), u32::from(reply[12 * lane]), "{what}");
                    assert_eq!(bytemuck::bytes_of(&field.state(lane)), bytemuck::bytes_of(&expected.state), "{what}");
                    assert_eq!(field.header(lane), expected.header, "{what}");
                }
            }
        }
    });
}

#[test]
fn every_observed_quotient_is_the_rounded_quotient() {
    for instructions in Instructions::available() {
        for numerator in OBSERVED_MIN..=OBSERVED_MAX {
            let value = f32::from(numerator);
            let vx = if numerator % 2 == 0 { 10 } else { -10 };
            let vy = numerator.rem_euclid(27) - 13;
            let observed = observed(instructions, [numerator, numerator, numerator, numerator, vx, vy]);
            let by_height = value / 640.0;
            let expected = [
                by_height,
                by_height,
                value / 500.0,
                by_height,
                (f32::from(vx) + 10.0) / 20.0,
                (f32::from(vy) + 13.0) / 26.0,
            ];
            let (name, observed) = (instructions.name(), observed.map(f32::to_bits));
            assert_eq!(observed, expected.map(f32::to_bits), "{name} at {numerator}");
        }
    }
}

#[test]
fn simd_refuses_what_is_not_a_whole_number_of_the_game() {
    let good = Noise(1).state();
    let refused = [
        ("paddle_yl", State { paddle_yl: 0.5, ..good }),
        ("paddle_yr", State { paddle_yr: 606.0, ..good }),
        ("ball_x", State { ball_x: 100.00001, ..good }),
        ("ball_x", State { ball_x: -0.0, ..good }),
        ("ball_x", State { ball_x: f32::NAN, ..good }),
        ("ball_y", State { ball_y: 1e9, ..good }),
        ("ball_vx", State { ball_vx: 9.0, ..good }),
        ("ball_vx", State { ball_vx: f32::INFINITY, ..good }),
        ("ball_vy", State { ball_vy: 14.0, ..good }),
        ("ball_vy", State { ball_vy: -0.0, ball_y: 300.0, ..good }),
        ("paddle_dir", State { paddle_dir: 0.5, ..good }),
        ("score_l", State { score_l: 21, ..good }),
        ("score_r", State { score_r: u32::MAX, ..good }),
    ];
    let mut simd = Simd::new(world(1), 1, Instructions::Portable, Layout::Rows).expect("the options are default");
    let mut inject = |state: &State, view: [f32; 8]| {
        let (state, view) = (bytemuck::bytes_of(state), bytemuck::bytes_of(&view));
        simd.inject(SETTLED, Mode::Full, 0, Header::default(), Source::Seeded, state, view, &mut Vec::new())
    };
    assert_eq!(inject(&good, [0.0; 8]), Ok(()));
    for (name, state) in refused {
        let Err(Fault::Refused(message)) = inject(&state, [0.0; 8]) else { panic!("{name} was not refused") };
        assert!(message.starts_with(name) && message.ends_with("backend rust"), "{message}");
    }
    let scores = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0];
    assert!(matches!(inject(&good, scores), Err(Fault::Refused(_))));
}

#[test]
fn simd_refuses_options_that_are_not_default_and_names_them() {
    for (options, name) in [
        (json!({ "continuous": true }), "continuous"),
        (json!({ "width": 311.0 }), "width"),
        (json!({ "frameskip": 8, "ball_speed_y_increment": 2.3 }), "ball_speed_y_increment"),
        (json!({ "max_score": 3 }), "max_score"),
    ] {
        let opened = Simd::open(Options::new(options.as_object().expect("an object").clone()), &Files::new(), 1);
        let error = opened.err().expect("it was opened");
        assert!(error.starts_with(&format!("option {name} is ")) && error.ends_with("use backend rust"), "{error}");
    }
    let unused = json!({ "paddle_width": 11.0, "frameskip": 5 });
    assert!(world_of(unused).is_ok_and(|world| Field::new(&world, 1, Instructions::Portable).is_ok()));
}

#[test]
fn simd_refuses_the_rows_of_a_grain() {
    let mut simd = Simd::new(world(1), 1, Instructions::Portable, Layout::Columns).expect("the options are default");
    let request = StepMany {
        mode: Mode::Full,
        grain: Some(0),
        window: 1,
        lane_first: 0,
        lane_count: 1,
        step_count: 1,
        tokens: &[0],
    };
    assert!(matches!(simd.step_many(SETTLED, request, &mut Vec::new()), Err(Fault::Refused(_))));
}

/// One set of buffers for a driver of pong.
struct Shown {
    observations: Vec<f32>,
    rewards: Vec<f32>,
    flags: [Vec<u8>; 2],
    finals: Vec<u8>,
    deciders: Vec<u32>,
}

impl Shown {
    fn new(lanes: usize) -> Self {
        Shown {
            observations: vec![f32::NAN; 8 * lanes],
            rewards: vec![f32::NAN; lanes],
            flags: [vec![7; lanes], vec![7; lanes]],
            finals: vec![0; 32 * lanes],
            deciders: vec![7; lanes],
        }
    }

    fn outputs(&mut self) -> lockstep_core::driver::Outputs<'_> {
        let [terminated, truncated] = &mut self.flags;
        lockstep_core::driver::Outputs {
            observations: bytemuck::cast_slice_mut(&mut self.observations),
            rewards: bytemuck::cast_slice_mut(&mut self.rewards),
            terminated,
            truncated,
            masks: &mut [],
            final_observations: &mut self.finals,
            deciders: &mut self.deciders,
        }
    }

    fn bits(&self) -> (Vec<u32>, Vec<u32>, [Vec<u8>; 2], Vec<u32>) {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect();
        (bits(&self.observations), bits(&self.rewards), self.flags.clone(), self.deciders.clone())
    }
}

#[test]
fn training_on_simd_lanes_gives_the_bits_of_the_readable_backend() {
    use lockstep_core::batch::ResetMode;
    use lockstep_core::driver::{Starts, open_rules};
    const LANES: usize = 45;
    for frameskip in [1, 8] {
        let options = || Options::new(json!({ "frameskip": frameskip }).as_object().expect("an object").clone());
        let mut drivers = [
            open_rules::<Pong>(options(), &Files::new(), LANES, ResetMode::Reference).expect("it opens"),
            lockstep_env_pong::simd::open(options(), &Files::new(), LANES, ResetMode::Reference).expect("it opens"),
        ];
        let mut shown = [Shown::new(LANES), Shown::new(LANES)];
        let starts: Vec<(u64, u64)> = (0..LANES as u64).map(|lane| (99, lane)).collect();
        let mut noise = Noise(11);
        for (driver, shown) in drivers.iter_mut().zip(&mut shown) {
            driver.reset(Starts::At(&starts), None, &mut shown.outputs()).expect("it resets");
        }
        for step in 0..4000 {
            // Mostly actions, as training gives them; sometimes tokens that only the judge gives.
            let odd = step % 50 == 0;
            let tokens: Vec<u32> =
                (0..LANES).map(|_| if odd { noise.token() } else { noise.below(3) as u32 }).collect();
            for (driver, shown) in drivers.iter_mut().zip(&mut shown) {
                driver.step(&tokens, &mut shown.outputs()).expect("the tokens are defined");
            }
            assert_eq!(shown[0].bits(), shown[1].bits(), "step {step} of frameskip {frameskip}");
            if step % 97 == 0 {
                let lane = step % LANES;
                let [readable, simd] = &mut drivers;
                let saved = readable.save(lane, &shown[0].outputs()).expect("it is saved");
                assert_eq!(simd.save(lane, &shown[1].outputs()).expect("it is saved"), saved, "saves are the same");
                let other = (lane + 7) % LANES;
                readable.restore(other, &saved, &mut shown[0].outputs()).expect("its own save");
                simd.restore(other, &saved, &mut shown[1].outputs()).expect("the other backend's save");
                let which: Vec<u8> = (0..LANES).map(|i| u8::from(i == step % 41)).collect();
                for (driver, shown) in drivers.iter_mut().zip(&mut shown) {
                    driver.reset(Starts::Next, Some(&which), &mut shown.outputs()).expect("it resets");
                }
                let states = drivers.each_ref().map(|driver| {
                    let mut state = Vec::new();
                    (0..LANES).for_each(|lane| driver.state(lane, &mut state));
                    state
                });
                assert_eq!(states[0], states[1]);
            }
        }
    }
}
