//! The batch driver against manual resets: a plain loop over lanes in which the test itself decides who is reset, when
//! and with which header.

mod common;

use common::{Toy, Words, forms, token, world};
use lockstep_core::batch::{Batch, BatchError, Buffers, ResetMode};
use lockstep_core::{Header, Lane, Reward, Rules, Shape, Source, continuous_token};
use lockstep_env_counter::Counter;
use rayon::ThreadPoolBuilder;
use serde_json::{Value, json};

const SEED: u64 = 0x5eed_0000_1234_5678;
const STEP_COUNT: usize = 2_000;
const LANE_COUNTS: [usize; 4] = [1, 2, 5, 33];

/// Results of one step of all lanes.
#[derive(Debug, Clone, PartialEq)]
struct Results<W> {
    observations: Vec<u8>,
    rewards: Vec<W>,
    terminated: Vec<u8>,
    truncated: Vec<u8>,
    masks: Vec<u32>,
    final_observations: Vec<u8>,
}

impl<W: Reward> Results<W> {
    /// Filled with what no step writes, so that what is not written is seen.
    fn unwritten(shape: &Shape, lanes: usize) -> Self {
        Results {
            observations: vec![0xA5; lanes * shape.agents * shape.observation_bytes],
            rewards: vec![W::default(); lanes * shape.agents],
            terminated: vec![0xA5; lanes],
            truncated: vec![0xA5; lanes],
            masks: vec![0xA5A5_A5A5; lanes * shape.agents * shape.mask_words()],
            final_observations: vec![0xA5; lanes * shape.agents * shape.observation_bytes],
        }
    }

    fn buffers(&mut self) -> Buffers<'_, W> {
        Buffers {
            observations: &mut self.observations,
            rewards: &mut self.rewards,
            terminated: &mut self.terminated,
            truncated: &mut self.truncated,
            masks: &mut self.masks,
            final_observations: &mut self.final_observations,
        }
    }

    /// Those of lane `i` alone.
    fn lane(&self, i: usize, lanes: usize) -> Self {
        Results {
            observations: part(&self.observations, i, lanes).to_vec(),
            rewards: part(&self.rewards, i, lanes).to_vec(),
            terminated: vec![self.terminated[i]],
            truncated: vec![self.truncated[i]],
            masks: part(&self.masks, i, lanes).to_vec(),
            final_observations: part(&self.final_observations, i, lanes).to_vec(),
        }
    }
}

fn part<T>(all: &[T], i: usize, lanes: usize) -> &[T] {
    let size = all.len() / lanes;
    &all[i * size..(i + 1) * size]
}

fn part_mut<T>(all: &mut [T], i: usize, lanes: usize) -> &mut [T] {
    let size = all.len() / lanes;
    &mut all[i * size..(i + 1) * size]
}

/// One lane that the test resets: always a new one, so that nothing of an earlier episode can remain.
struct Manual<R: Rules> {
    world: R::World,
    shape: Shape,
    lane: Lane<R>,
    start: Header,
    elapsed: u32,
    over: bool,
}

impl<R: Rules> Manual<R> {
    fn new(options: &Value, seed: u64, stream: u64) -> Self {
        let world = world::<R>(options);
        let shape = R::shape(&world);
        let lane = Lane::new(&shape);
        let start = Header { seed, stream, ..Header::default() };
        let mut manual = Manual { world, shape, lane, start, elapsed: 0, over: false };
        manual.reset();
        manual
    }

    fn reset(&mut self) {
        self.lane = Lane::new(&self.shape);
        self.lane.header = self.start;
        self.lane.reset(&self.world, &self.shape);
        (self.elapsed, self.over) = (0, false);
    }

    fn start_over(&mut self, seed: u64) {
        self.start = Header { seed, episode: 0, ..self.start };
        self.reset();
    }

    fn step(&mut self, tokens: &[u32]) -> [u8; 2] {
        let outcome = self.lane.step(&self.world, &self.shape, tokens);
        self.elapsed += 1;
        if self.shape.episode_steps_max == Some(self.elapsed) {
            assert!(outcome.truncated, "the time limit truncates");
        }
        self.over = outcome.terminated || outcome.truncated;
        if self.over {
            (self.start.episode, self.elapsed) = (self.start.episode + 1, 0);
        }
        assert_eq!((self.lane.header.episode, self.lane.header.elapsed), (self.start.episode, self.elapsed));
        [outcome.terminated.into(), outcome.truncated.into()]
    }

    /// Writes what the lane shows into its part of `results`.
    fn show(&self, results: &mut Results<R::Reward>, i: usize, lanes: usize, rewards: &[R::Reward], flags: [u8; 2]) {
        part_mut(&mut results.observations, i, lanes).copy_from_slice(self.lane.observation());
        part_mut(&mut results.rewards, i, lanes).copy_from_slice(rewards);
        part_mut(&mut results.masks, i, lanes).copy_from_slice(self.lane.masks());
        [results.terminated[i], results.truncated[i]] = flags;
    }
}

/// What a test expects of one lane in one step, mode by mode.
fn expect<R: Rules>(
    manual: &mut Manual<R>,
    mode: ResetMode,
    tokens: &[u32],
    results: &mut Results<R::Reward>,
    i: usize,
    lanes: usize,
) {
    if mode == ResetMode::NextStep && manual.over {
        manual.reset();
        let nothing = vec![R::Reward::default(); manual.shape.agents];
        return manual.show(results, i, lanes, &nothing, [0, 0]);
    }
    let flags = manual.step(tokens);
    let rewards = manual.lane.rewards().to_vec();
    if mode == ResetMode::SameStep && manual.over {
        part_mut(&mut results.final_observations, i, lanes).copy_from_slice(manual.lane.observation());
        manual.reset();
    }
    manual.show(results, i, lanes, &rewards, flags);
}

/// Plays a batch beside manual lanes; returns how many episodes ended.
fn agrees_with_manual_resets<R: Rules>(options: &Value, mode: ResetMode, lanes: usize, step_count: usize) -> usize {
    let mut batch = Batch::<R>::new(world::<R>(options), lanes, mode).expect("the mode fits");
    let shape = batch.shape().clone();
    let mut words = Words::new(lanes as u64);
    let mut observed = Results::unwritten(&shape, lanes);
    let mut expected = observed.clone();
    let mut manuals: Vec<_> = (0..lanes).map(|i| Manual::<R>::new(options, SEED, i as u64)).collect();

    batch.reset(SEED, None, &mut observed.buffers());
    for (i, manual) in manuals.iter().enumerate() {
        manual.show(&mut expected, i, lanes, manual.lane.rewards(), [0, 0]);
    }
    assert_eq!(observed, expected, "after the reset");

    let mut ended = 0;
    for step in 0..step_count {
        if mode == ResetMode::Disabled && manuals.iter().any(|manual| manual.over) {
            let which: Vec<_> = manuals.iter().map(|manual| manual.over).collect();
            let seed = SEED + step as u64;
            batch.reset(seed, Some(&which), &mut observed.buffers());
            for (i, manual) in manuals.iter_mut().enumerate().filter(|(i, _)| which[*i]) {
                manual.start_over(seed);
                manual.show(&mut expected, i, lanes, manual.lane.rewards(), [0, 0]);
            }
            assert_eq!(observed, expected, "after the reset before step {step} of {lanes} lanes of {options}");
        }
        let tokens = words.tokens(shape.action, lanes * shape.tokens_per_step());
        batch.step(&tokens, &mut observed.buffers()).expect("the tokens are valid");
        for (i, manual) in manuals.iter_mut().enumerate() {
            expect(manual, mode, part(&tokens, i, lanes), &mut expected, i, lanes);
        }
        assert_eq!(observed, expected, "after step {step} of {lanes} lanes of {options}");
        ended += (0..lanes).filter(|i| observed.terminated[*i] != 0 || observed.truncated[*i] != 0).count();
    }
    ended
}

fn all_agree_with_manual_resets(mode: ResetMode) {
    for lanes in LANE_COUNTS {
        for options in forms() {
            let ended = agrees_with_manual_resets::<Toy>(&options, mode, lanes, STEP_COUNT);
            assert!(ended > STEP_COUNT / 50, "only {ended} episodes ended");
        }
        for options in [json!({}), json!({"agents": 2, "limit": 7}), json!({"memory": 65536, "limit": 20})] {
            let ended = agrees_with_manual_resets::<Counter>(&options, mode, lanes, STEP_COUNT / 4);
            assert!(ended > STEP_COUNT / 400, "only {ended} episodes ended");
        }
    }
}

#[test]
fn next_step_equals_manual_resets() {
    all_agree_with_manual_resets(ResetMode::NextStep);
}

#[test]
fn same_step_equals_manual_resets() {
    all_agree_with_manual_resets(ResetMode::SameStep);
}

#[test]
fn disabled_equals_manual_resets_of_the_lanes_that_ended() {
    all_agree_with_manual_resets(ResetMode::Disabled);
}

#[test]
fn reference_equals_lanes_that_nobody_resets() {
    for lanes in LANE_COUNTS {
        for mut options in forms() {
            options["resets_itself"] = true.into();
            let ended = agrees_with_manual_resets::<Toy>(&options, ResetMode::Reference, lanes, STEP_COUNT);
            assert!(ended > STEP_COUNT / 50, "only {ended} episodes ended");
        }
    }
}

/// The results of lane `lane` among `lanes`, step after step; its tokens follow from lane and step alone.
fn story(options: &Value, lane: usize, lanes: usize) -> Vec<Results<f64>> {
    let mut batch = Batch::<Toy>::new(world::<Toy>(options), lanes, ResetMode::SameStep).expect("the mode fits");
    let shape = batch.shape().clone();
    let mut results = Results::unwritten(&shape, lanes);
    batch.reset(SEED, None, &mut results.buffers());
    let mut story = Vec::new();
    for step in 0..500 {
        let per_lane = shape.tokens_per_step();
        let word = |i: usize| common::mix((step * 1009 + i) as u32 ^ 0xBEEF);
        let tokens: Vec<_> = (0..lanes * per_lane).map(|i| token(shape.action, word(i))).collect();
        batch.step(&tokens, &mut results.buffers()).expect("the tokens are valid");
        story.push(results.lane(lane, lanes));
    }
    story
}

#[test]
fn a_lane_does_not_depend_on_how_many_lanes_run_beside_it() {
    for options in forms() {
        let alone = story(&options, 0, 1);
        let third = story(&options, 2, 3);
        for lanes in [4, 50] {
            assert!(story(&options, 0, lanes) == alone, "lane 0 of {lanes} lanes of {options}");
            assert!(story(&options, 2, lanes) == third, "lane 2 of {lanes} lanes of {options}");
        }
        assert!(alone != third, "lanes draw from streams of their own");
    }
}

#[test]
fn a_lane_does_not_depend_on_how_many_threads_step_the_batch() {
    let pool = |threads| ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
    let (one, four) = (pool(1), pool(4));
    for options in forms() {
        let told = one.install(|| story(&options, 17, 40));
        assert!(four.install(|| story(&options, 17, 40)) == told, "{options}");
    }
}

#[test]
fn a_lane_that_is_reset_leaves_its_neighbours_alone() {
    for (mode, resets_itself) in [
        (ResetMode::NextStep, false),
        (ResetMode::SameStep, false),
        (ResetMode::Disabled, false),
        (ResetMode::Reference, true),
    ] {
        let options = json!({"agents": 2, "memory": true, "steps_max": 1, "resets_itself": resets_itself});
        let mut batch = Batch::<Toy>::new(world::<Toy>(&options), 3, mode).expect("the mode fits");
        let mut results = Results::unwritten(batch.shape(), 3);
        batch.reset(SEED, None, &mut results.buffers());
        let first = results.clone();
        batch.step(&[5; 6], &mut results.buffers()).expect("the tokens are valid");
        assert_eq!(results.truncated, [1, 1, 1]);
        let (before, saved) = (results.clone(), [batch.save(0), batch.save(2)]);
        batch.reset(SEED, Some(&[false, true, false]), &mut results.buffers());
        for lane in [0, 2] {
            assert_eq!(results.lane(lane, 3), before.lane(lane, 3), "{mode:?}");
        }
        assert_eq!([batch.save(0), batch.save(2)], saved, "{mode:?}");
        let final_observations = before.lane(1, 3).final_observations;
        assert_eq!(results.lane(1, 3), Results { final_observations, ..first.lane(1, 3) }, "{mode:?}");
    }
}

#[test]
fn a_wrong_number_of_tokens_is_an_error_that_counts_them() {
    let mut batch = Batch::<Toy>::new(world::<Toy>(&json!({"agents": 2, "width": 2})), 3, ResetMode::SameStep)
        .expect("the mode fits");
    let mut results = Results::unwritten(batch.shape(), 3);
    batch.reset(SEED, None, &mut results.buffers());
    let before = results.clone();
    for count in [0, 1, 11, 13, 24] {
        let error = batch.step(&vec![0; count], &mut results.buffers()).expect_err("the count is wrong");
        assert_eq!(error.to_string(), format!("{count} action tokens for 12"));
    }
    assert_eq!(results, before);
}

#[test]
fn a_step_of_a_finished_lane_is_an_error_in_mode_disabled() {
    let mut batch =
        Batch::<Toy>::new(world::<Toy>(&json!({"steps_max": 1})), 2, ResetMode::Disabled).expect("the mode fits");
    let mut results = Results::unwritten(batch.shape(), 2);
    batch.reset(SEED, None, &mut results.buffers());
    batch.step(&[0, 0], &mut results.buffers()).expect("both lanes are in their episodes");
    batch.reset(SEED, Some(&[true, false]), &mut results.buffers());
    let (before, saved) = (results.clone(), [batch.save(0), batch.save(1)]);
    let error = batch.step(&[0, 0], &mut results.buffers()).expect_err("lane 1 has finished");
    assert_eq!(error, BatchError("lane 1 has finished its episode: reset it first".into()));
    assert_eq!((results, [batch.save(0), batch.save(1)]), (before, saved), "no lane was stepped");
}

#[test]
fn a_continuous_action_that_is_not_finite_is_an_error_that_names_it() {
    let mut batch =
        Batch::<Toy>::new(world::<Toy>(&json!({"continuous": true})), 2, ResetMode::SameStep).expect("the mode fits");
    let mut results = Results::unwritten(batch.shape(), 2);
    batch.reset(SEED, None, &mut results.buffers());
    let saved = [batch.save(0), batch.save(1)];
    for (action, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let tokens = [continuous_token(0.5), continuous_token(action)];
        let error = batch.step(&tokens, &mut results.buffers()).expect_err("it is not finite").to_string();
        assert!(error.starts_with("token 0x"), "{error}");
        assert!(error.ends_with(&format!("is the action {name}; continuous actions are finite")), "{error}");
    }
    assert_eq!([batch.save(0), batch.save(1)], saved, "no lane was stepped");
}

#[test]
fn a_mode_that_does_not_fit_who_resets_is_refused_by_name() {
    let refusal = |options: Value, mode| match Batch::<Toy>::new(world::<Toy>(&options), 1, mode) {
        Ok(_) => panic!("{mode:?} was accepted for {options}"),
        Err(error) => error.0,
    };
    assert_eq!(
        refusal(json!({}), ResetMode::Reference),
        "toy does not reset itself: use NextStep, SameStep or Disabled"
    );
    for mode in [ResetMode::NextStep, ResetMode::SameStep, ResetMode::Disabled] {
        assert_eq!(refusal(json!({"resets_itself": true}), mode), "toy resets itself: use Reference");
    }
}

/// Plays `step_count` steps and keeps all results.
fn play(batch: &mut Batch<Toy>, words: &mut Words, results: &mut Results<f64>, step_count: usize) -> Vec<Results<f64>> {
    let (shape, lanes) = (batch.shape().clone(), batch.lane_count());
    let mut kept = Vec::new();
    for _ in 0..step_count {
        let tokens = words.tokens(shape.action, lanes * shape.tokens_per_step());
        batch.step(&tokens, &mut results.buffers()).expect("the tokens are valid");
        kept.push(results.clone());
    }
    kept
}

#[test]
fn a_restored_batch_goes_on_as_the_saved_one() {
    for (mode, resets_itself) in
        [(ResetMode::NextStep, false), (ResetMode::SameStep, false), (ResetMode::Reference, true)]
    {
        for mut options in forms() {
            options["resets_itself"] = resets_itself.into();
            let open = || Batch::<Toy>::new(world::<Toy>(&options), 6, mode).expect("the mode fits");
            let (mut original, mut copy) = (open(), open());
            let mut results = Results::unwritten(original.shape(), 6);
            original.reset(SEED, None, &mut results.buffers());
            play(&mut original, &mut Words::new(1), &mut results, 101);
            let saved: Vec<_> = (0..6).map(|lane| original.save(lane)).collect();
            let mut copied = results.clone();
            copy.reset(!SEED, None, &mut copied.buffers());
            play(&mut copy, &mut Words::new(2), &mut copied, 13);
            for (lane, bytes) in saved.iter().enumerate() {
                copy.restore(lane, bytes).expect("the save is of this configuration");
                assert_eq!(copy.save(lane), *bytes);
            }
            copied = results.clone();
            let expected = play(&mut original, &mut Words::new(3), &mut results, 300);
            assert!(play(&mut copy, &mut Words::new(3), &mut copied, 300) == expected, "{mode:?} {options}");
        }
    }
}

#[test]
fn a_save_that_is_not_of_this_configuration_is_refused() {
    let mut batch = Batch::<Toy>::new(world::<Toy>(&json!({})), 1, ResetMode::SameStep).expect("the mode fits");
    let other =
        Batch::<Toy>::new(world::<Toy>(&json!({"memory": true})), 1, ResetMode::SameStep).expect("the mode fits");
    let mut results = Results::unwritten(batch.shape(), 1);
    batch.reset(SEED, None, &mut results.buffers());
    let saved = batch.save(0);
    assert_eq!(batch.restore(0, &[]).expect_err("it is empty").0, "an empty save");
    assert!(batch.restore(0, &other.save(0)).expect_err("it has a memory").0.contains("bytes of state, not"));
    for size in 0..saved.len() {
        assert!(batch.restore(0, &saved[..size]).is_err(), "{size} of {} bytes", saved.len());
    }
    let mut long = saved.clone();
    long.push(0);
    assert!(batch.restore(0, &long).is_err());
    assert_eq!(batch.save(0), saved, "a refused save changes nothing");
}

#[test]
fn a_batch_starts_every_lane_at_its_own_stream_of_the_seed() {
    let mut batch = Batch::<Toy>::new(world::<Toy>(&json!({})), 4, ResetMode::SameStep).expect("the mode fits");
    let mut results = Results::unwritten(batch.shape(), 4);
    batch.reset(SEED, None, &mut results.buffers());
    for lane in 0..4 {
        let header = Header { seed: SEED, stream: lane as u64, draw_index: 1, ..Header::default() };
        assert_eq!((batch.lane(lane).header, &batch.lane(lane).source), (header, &Source::Seeded));
    }
}
