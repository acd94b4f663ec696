//! The backend `rust.simd` against the readable one, bit for bit, with every instruction set that this machine has.

use lockstep_core::backend::{Backend, Fault, Settled, StepMany};
use lockstep_core::batch::ResetMode;
use lockstep_core::driver::{Driver, Outputs, Starts, open_rules};
use lockstep_core::wire::Mode;
use lockstep_core::{Digest, Files, Header, Options, Scalar, Source, continuous_token};
use lockstep_env_half_cheetah::lanes::{Field, Instructions, Precision, Simd, open_on};
use lockstep_env_half_cheetah::{HalfCheetah, State, World};
use serde_json::json;

const SETTLED: Settled = Settled { digest: Digest::Xxh64, named: true };
/// Around the sizes of vectors.
const LANE_COUNTS: [usize; 7] = [1, 2, 3, 4, 7, 9, 33];

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

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn control(&mut self) -> f32 {
        match self.below(8) {
            0 => [0.0, -0.0, 1.0, -1.0, 2.5, -1e30][self.below(6) as usize],
            _ => self.between(-1.0, 1.0) as f32,
        }
    }

    /// A cheetah anywhere near the floor, on its feet, on its back or in the air, bent within and beyond its limits.
    fn state(&mut self) -> State {
        let mut state: State = bytemuck::Zeroable::zeroed();
        state.qpos[0] = self.between(-50.0, 50.0);
        state.qpos[1] = self.between(-0.7, 0.9);
        state.qpos[2] = if self.below(3) == 0 { self.between(-20.0, 20.0) } else { self.between(-0.3, 0.3) };
        for joint in 3..9 {
            state.qpos[joint] = self.between(-1.4, 1.4);
        }
        let speed = [0.0, 1.0, 10.0, 100.0][self.below(4) as usize];
        state.qvel = std::array::from_fn(|_| self.between(-speed, speed));
        state.qacc_warmstart = std::array::from_fn(|_| self.between(-100.0, 100.0));
        if self.below(40) == 0 {
            // Such rotation explodes.
            state.qvel[3 + self.below(6) as usize] = 1e6;
        }
        state
    }
}

fn world(options: serde_json::Value) -> World {
    World::new(Options::new(options.as_object().expect("it is an object").clone()), &Files::new()).expect("it is valid")
}

fn tokens(noise: &mut Noise, lanes: usize) -> Vec<u32> {
    (0..6 * lanes).map(|_| continuous_token(noise.control())).collect()
}

#[test]
fn lanes_step_from_any_state_as_the_readable_backend() {
    let world = world(json!({}));
    for instructions in Instructions::available() {
        for lanes in LANE_COUNTS {
            let mut noise = Noise(lanes as u64);
            let mut readable = Scalar::<HalfCheetah>::new(world.clone(), lanes);
            let mut field = Field::new(&world, lanes, instructions, Precision::Double);
            let mut controls = vec![[0.0f32; 6]; lanes];
            let mut rewards = vec![0.0; lanes];
            for _ in 0..600 / lanes + 20 {
                for lane in 0..lanes {
                    let state = noise.state();
                    field.set(lane, &state);
                    set(&mut readable, lane, &state);
                }
                for step in 0..4 {
                    controls.iter_mut().for_each(|controls| *controls = std::array::from_fn(|_| noise.control()));
                    field.step(&controls, &mut rewards);
                    let tokens: Vec<u32> = controls.iter().flatten().map(|value| continuous_token(*value)).collect();
                    play(&mut readable, &tokens, lanes);
                    for (lane, reward) in rewards.iter().enumerate() {
                        let what = format!("{} lane {lane} of {lanes}, step {step}", instructions.name());
                        let expected = readable.lane(lane);
                        assert_eq!(
                            bytemuck::bytes_of(field.state(lane)),
                            bytemuck::bytes_of(&expected.state),
                            "{what}"
                        );
                        assert_eq!(reward.to_bits(), expected.rewards()[0].to_bits(), "{what}");
                    }
                }
            }
        }
    }
}

fn set(readable: &mut Scalar<HalfCheetah>, lane: usize, state: &State) {
    let mut bytes = Vec::new();
    readable.snapshot(lane, &mut bytes);
    // Header and draws take 48 bytes; episode and elapsed steps stand behind seed, stream and chain.
    bytes[24..32].fill(0);
    bytes[48..48 + size_of::<State>()].copy_from_slice(bytemuck::bytes_of(state));
    readable.restore(lane, &bytes).expect("it is a snapshot");
}

fn play(readable: &mut Scalar<HalfCheetah>, tokens: &[u32], lane_count: usize) {
    let request =
        StepMany { mode: Mode::Full, grain: None, window: 1, lane_first: 0, lane_count, step_count: 1, tokens };
    readable.step_many(SETTLED, request, &mut Vec::new()).expect("the tokens are numbers");
}

#[test]
fn a_lane_has_the_same_bits_wherever_and_beside_whomever_it_stands() {
    let world = world(json!({}));
    let sets = Instructions::available().into_iter();
    for (instructions, precision) in sets.flat_map(|set| [(set, Precision::Double), (set, Precision::Single)]) {
        let mut noise = Noise(3);
        let states: Vec<State> = (0..29).map(|_| noise.state()).collect();
        let controls: Vec<[f32; 6]> = states.iter().map(|_| std::array::from_fn(|_| noise.control())).collect();
        let mut alone = Field::new(&world, 1, instructions, precision);
        let ends: Vec<State> = (states.iter().zip(&controls))
            .map(|(state, controls)| {
                alone.set(0, state);
                (0..5).for_each(|_| alone.step(&[*controls], &mut [0.0]));
                *alone.state(0)
            })
            .collect();
        for round in 0..20 {
            let count = 2 + noise.below(600) as usize;
            let chosen: Vec<usize> = (0..count).map(|_| noise.below(29) as usize).collect();
            let mut field = Field::new(&world, count, instructions, precision);
            chosen.iter().enumerate().for_each(|(lane, index)| field.set(lane, &states[*index]));
            let together: Vec<[f32; 6]> = chosen.iter().map(|index| controls[*index]).collect();
            (0..5).for_each(|_| field.step(&together, &mut vec![0.0; count]));
            for (lane, index) in chosen.iter().enumerate() {
                let (found, expected) = (bytemuck::bytes_of(field.state(lane)), bytemuck::bytes_of(&ends[*index]));
                assert!(found == expected, "{} round {round}: lane {lane} of {count}", instructions.name());
            }
        }
    }
}

/// A request, and where its reply goes.
type Ask<'a> = &'a dyn Fn(&mut dyn Backend, &mut Vec<u8>) -> Result<(), Fault>;

#[test]
fn lanes_answer_the_judge_as_the_readable_backend() {
    for options in [json!({}), json!({"frame_skip": 3, "exclude_current_positions_from_observation": false})] {
        let world = world(options);
        for instructions in Instructions::available() {
            for lanes in [1, 5] {
                let mut noise = Noise(9);
                let mut sides: [Box<dyn Backend>; 2] = [
                    Box::new(Scalar::<HalfCheetah>::new(world.clone(), lanes)),
                    Box::new(Simd::new(world.clone(), lanes, instructions, Precision::Double)),
                ];
                let mut ask = |what: &str, ask: Ask<'_>| {
                    let [expected, observed] = sides.each_mut().map(|side| {
                        let mut reply = Vec::new();
                        ask(side.as_mut(), &mut reply).expect("the request is valid");
                        reply
                    });
                    assert!(expected == observed, "{what} differs on {}", instructions.name());
                    observed
                };
                for lane in 0..lanes {
                    // The time limit is not far.
                    let header = Header { seed: noise.next(), stream: 5, episode: 7, elapsed: 980, draw_index: 3 };
                    ask("reset", &|side, reply| {
                        side.reset(SETTLED, Mode::Full, lane, header, Source::Seeded, reply)?;
                        reply.extend_from_slice(side.draws(lane));
                        Ok(())
                    });
                }
                for round in 0..12 {
                    let step_count = 1 + noise.below(9) as usize;
                    let tokens = tokens(&mut noise, lanes * step_count);
                    let mode = [Mode::Full, Mode::State, Mode::Digest][round % 3];
                    let (lane_first, lane_count) = if round % 4 == 3 { (lanes - 1, 1) } else { (0, lanes) };
                    ask("step_many", &|side, reply| {
                        let tokens = &tokens[..6 * lane_count * step_count];
                        let request =
                            StepMany { mode, grain: None, window: 4, lane_first, lane_count, step_count, tokens };
                        side.step_many(SETTLED, request, reply)?;
                        (0..lanes).for_each(|lane| reply.extend_from_slice(side.draws(lane)));
                        Ok(())
                    });
                    let (from, to) = (noise.below(lanes as u64) as usize, noise.below(lanes as u64) as usize);
                    let snapshot = ask("snapshot", &|side, reply| {
                        side.snapshot(from, reply);
                        Ok(())
                    });
                    ask("restore", &|side, _| side.restore(to, &snapshot));
                    let (state, observation) = (noise.state(), vec![0; world.observation_values() * 8]);
                    let header = Header { elapsed: 990, ..Header::default() };
                    // The rules refuse what is too fast.
                    if state.qvel.iter().all(|speed| speed.abs() < 300.0) {
                        ask("inject", &|side, reply| {
                            let state = bytemuck::bytes_of(&state);
                            side.inject(SETTLED, Mode::Full, to, header, Source::Seeded, state, &observation, reply)
                        });
                    }
                }
            }
        }
    }
}

#[test]
fn lanes_refuse_what_is_no_number_and_rows_of_a_grain() {
    let mut simd = Simd::new(world(json!({})), 1, Instructions::Portable, Precision::Double);
    let step = |simd: &mut Simd, token: u32, grain| {
        let tokens = [0, 0, token, 0, 0, 0];
        let request = StepMany {
            mode: Mode::Full,
            grain,
            window: 1,
            lane_first: 0,
            lane_count: 1,
            step_count: 1,
            tokens: &tokens,
        };
        simd.step_many(SETTLED, request, &mut Vec::new())
    };
    assert!(matches!(step(&mut simd, continuous_token(f32::NAN), None), Err(Fault::BadRequest(_))));
    assert!(matches!(step(&mut simd, continuous_token(f32::INFINITY), None), Err(Fault::BadRequest(_))));
    assert!(matches!(step(&mut simd, 0, Some(0)), Err(Fault::Refused(_))));
    assert_eq!(step(&mut simd, 0, None), Ok(()));
}

/// One set of buffers for a driver.
struct Shown {
    observations: Vec<u8>,
    rewards: Vec<f64>,
    flags: [Vec<u8>; 2],
    finals: Vec<u8>,
    deciders: Vec<u32>,
}

impl Shown {
    fn new(lanes: usize) -> Self {
        Shown {
            observations: vec![7; 136 * lanes],
            rewards: vec![7.0; lanes],
            flags: [vec![7; lanes], vec![7; lanes]],
            finals: vec![0; 136 * lanes],
            deciders: vec![7; lanes],
        }
    }

    fn outputs(&mut self) -> Outputs<'_> {
        let [terminated, truncated] = &mut self.flags;
        Outputs {
            observations: &mut self.observations,
            rewards: bytemuck::cast_slice_mut(&mut self.rewards),
            terminated,
            truncated,
            masks: &mut [],
            final_observations: &mut self.finals,
            deciders: &mut self.deciders,
        }
    }

    fn bits(&self) -> Vec<u8> {
        let [terminated, truncated] = &self.flags;
        let numbers: [&[u8]; 2] = [bytemuck::cast_slice(&self.rewards), bytemuck::cast_slice(&self.deciders)];
        [&self.observations[..], numbers[0], terminated, truncated, &self.finals, numbers[1]].concat()
    }
}

#[test]
fn training_on_lanes_gives_the_bits_of_the_readable_backend_in_every_reset_mode() {
    const LANES: usize = 11;
    for mode in [ResetMode::NextStep, ResetMode::SameStep, ResetMode::Disabled] {
        let fastest = *Instructions::available().last().expect("there is one");
        let lanes = open_on(world(json!({})), LANES, mode, fastest, Precision::Double);
        let mut drivers: [Box<dyn Driver>; 2] = [
            open_rules::<HalfCheetah>(Options::default(), &Files::new(), LANES, mode).expect("it opens"),
            lanes.expect("it opens"),
        ];
        let mut shown = [Shown::new(LANES), Shown::new(LANES)];
        let starts: Vec<(u64, u64)> = (0..LANES as u64).map(|lane| (99, lane)).collect();
        for (driver, shown) in drivers.iter_mut().zip(&mut shown) {
            driver.reset(Starts::At(&starts), None, &mut shown.outputs()).expect("it resets");
        }
        let mut noise = Noise(11);
        for step in 0..1030 {
            let tokens = tokens(&mut noise, LANES);
            for (driver, shown) in drivers.iter_mut().zip(&mut shown) {
                driver.step(&tokens, &mut shown.outputs()).expect("the tokens are numbers");
            }
            assert!(shown[0].bits() == shown[1].bits(), "step {step} in {mode:?}");
            assert_eq!(drivers[0].finished(), drivers[1].finished(), "step {step} in {mode:?}");
            // Some lanes start later, so that not all episodes end together.
            let mut which = vec![0; LANES];
            which[step % 53 % LANES] = u8::from(step % 53 < LANES && step < 100);
            if let Some(lane) = drivers[0].finished() {
                which[lane..].fill(1);
            }
            if which.contains(&1) {
                for (driver, shown) in drivers.iter_mut().zip(&mut shown) {
                    driver.reset(Starts::Next, Some(&which), &mut shown.outputs()).expect("it resets");
                }
                assert!(shown[0].bits() == shown[1].bits(), "reset after step {step} in {mode:?}");
            }
            if step % 97 == 0 {
                let (lane, other) = (step % LANES, (step + 7) % LANES);
                let [readable, simd] = &mut drivers;
                let saved = readable.save(lane, &shown[0].outputs()).expect("it is saved");
                assert_eq!(simd.save(lane, &shown[1].outputs()).expect("it is saved"), saved, "saves are the same");
                readable.restore(other, &saved, &mut shown[0].outputs()).expect("its own save");
                simd.restore(other, &saved, &mut shown[1].outputs()).expect("the other backend's save");
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

#[test]
fn singles_have_the_same_bits_on_every_instruction_set() {
    let world = world(json!({}));
    let count = 301;
    let mut noise = Noise(21);
    let states: Vec<State> = (0..count).map(|_| noise.state()).collect();
    let controls: Vec<[f32; 6]> = states.iter().map(|_| std::array::from_fn(|_| noise.control())).collect();
    let play = |instructions| {
        let mut field = Field::new(&world, count, instructions, Precision::Single);
        states.iter().enumerate().for_each(|(lane, state)| field.set(lane, state));
        let mut rewards = vec![0.0; count];
        (0..5).for_each(|_| field.step(&controls, &mut rewards));
        let bits: Vec<u64> = rewards.iter().map(|reward| reward.to_bits()).collect();
        ((0..count).map(|lane| bytemuck::bytes_of(field.state(lane)).to_vec()).collect::<Vec<_>>(), bits)
    };
    let expected = play(Instructions::Portable);
    for instructions in Instructions::available() {
        assert!(play(instructions) == expected, "{} differs from portable", instructions.name());
    }
}

#[test]
fn singles_begin_again_after_an_explosion_where_the_readable_backend_does() {
    let world = world(json!({}));
    for instructions in Instructions::available() {
        let mut noise = Noise(5);
        let mut state = noise.state();
        (state.qpos[0], state.qpos[2], state.qvel[5]) = (40.0, 7.0, 1e6);
        let [mut double, mut single] =
            [Precision::Double, Precision::Single].map(|precision| Field::new(&world, 1, instructions, precision));
        let [mut expected, mut observed] = [[0.0]; 2];
        for (field, reward) in [(&mut double, &mut expected), (&mut single, &mut observed)] {
            field.set(0, &state);
            field.step(&[[0.0; 6]], reward);
        }
        let (theirs, ours) = (double.state(0), single.state(0));
        assert!(
            theirs.qpos.iter().all(|position| position.abs() < 0.1),
            "it began again at the model's pose: {theirs:?}"
        );
        for (theirs, ours) in theirs.qpos.iter().zip(&ours.qpos) {
            assert!((theirs - ours).abs() < 1e-5, "{}: {theirs} or {ours}", instructions.name());
        }
        assert!((expected[0] - observed[0]).abs() < 1e-3, "{expected:?} or {observed:?}");
    }
}

#[test]
fn singles_refuse_a_state_that_is_too_violent_for_them_and_doubles_take_it() {
    let world = world(json!({}));
    for (precision, speed, is_taken) in
        [(Precision::Single, 59.0, true), (Precision::Single, -61.0, false), (Precision::Double, -61.0, true)]
    {
        let mut state: State = bytemuck::Zeroable::zeroed();
        state.qvel[4] = speed;
        let mut simd = Simd::new(world.clone(), 1, Instructions::Portable, precision);
        let (bytes, observation) = (bytemuck::bytes_of(&state), [0; 136]);
        let header = Header::default();
        let answer = simd.inject(SETTLED, Mode::Full, 0, header, Source::Seeded, bytes, &observation, &mut Vec::new());
        assert_eq!(answer.is_ok(), is_taken, "{precision:?} {speed}: {answer:?}");
    }
}
