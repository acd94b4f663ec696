//! The harness's own enemies: backends with one bug each, played against the real references.
//!
//! Each bug wraps the right rules and breaks one thing. It must be caught by the tier that is named, in few steps, and
//! shrunk to few tokens at a price that is bounded in reference steps.

use crate::common::{Opener, verify_planted};
use lockstep_core::{
    Draws, Files, Mask, Opened, Options, Out, Outcome, Reader, Refusal, Regions, Rules, Shape, Start, WorldError,
    Writer,
};
use lockstep_env_counter::Counter;
use lockstep_env_pong::Pong;
use lockstep_harness::compare::Part;
use std::marker::PhantomData;

/// One way to be wrong: what happens around a step of the right rules.
pub trait Bug<R: Rules>: Send + Sync + 'static {
    /// Before the step; may change the actions.
    fn before(_state: &mut R::State, _action: &mut [u32]) {}
    /// After the step.
    fn after(_state: &mut R::State, _outcome: &mut Outcome, _rewards: &mut [f32]) {}
    /// Whether an observation is written where the rules write one; `stale` says that the rules did not.
    fn observes(_outcome: Outcome) -> bool {
        true
    }
    /// Whether draws of one step come in the wrong order.
    const SWAPS_DRAWS: bool = false;
    /// Whether a stale observation is refreshed.
    const REFRESHES: bool = false;
    /// Whether the second agent sees what is the first one's.
    const LEAKS: bool = false;
    /// Whether a step draws a number that nobody uses.
    const DRAWS_ONE_MORE: bool = false;
    /// Whether the second agent sees what the first one does.
    const SHOWS_ACTION: bool = false;
    /// Whether a region is read beyond its end.
    const READS_BEYOND: bool = false;
    /// Whether rows get lost.
    const DROPS_ROWS: bool = false;
    /// After a reset; `purse` is what agent 0 had before.
    fn after_reset(_state: &mut R::State, _purse: i32) {}
    /// An action that is allowed though it is not.
    fn allows(_state: &R::State) -> Option<u32> {
        None
    }
}

/// The right rules with one bug.
struct Broken<R, B>(PhantomData<(R, B)>);

/// Takes rewards aside so that a bug can change them.
struct Aside<'a, O> {
    out: &'a mut O,
    rewards: [f32; 2],
    drops_rows: bool,
}

impl<O: Out<f32>> Out<f32> for Aside<'_, O> {
    fn observation(&mut self, agent: usize) -> Option<Writer<'_>> {
        self.out.observation(agent)
    }
    fn reward(&mut self, agent: usize, value: f32) {
        self.rewards[agent] = value;
    }
    fn wants(&self, grain: usize) -> bool {
        self.out.wants(grain)
    }
    fn row(&mut self, grain: usize) -> Option<Writer<'_>> {
        if self.drops_rows { None } else { self.out.row(grain) }
    }
}

/// Draws one number too early: what the first site gets belongs to the second.
struct Swapped<'a, D> {
    draws: &'a mut D,
}

impl<D: Draws> Draws for Swapped<'_, D> {
    fn below(&mut self, bound: u32, site: u32) -> u32 {
        self.draws.below(if bound == 3 { 6 } else { 3 }, 1 - site) % bound
    }
    fn word(&mut self, site: u32) -> u32 {
        self.draws.word(site)
    }
    fn note(&mut self, bound: u64, value: u64, site: u32) {
        self.draws.note(bound, value, site);
    }
}

impl<R: Rules<Reward = f32>, B: Bug<R>> Rules for Broken<R, B> {
    const NAME: &'static str = R::NAME;
    const AGENTS: usize = R::AGENTS;
    const MANIFEST: &'static str = R::MANIFEST;
    type World = R::World;
    type State = R::State;
    type Reward = f32;

    fn world(options: Options, files: &Files) -> Result<R::World, WorldError> {
        R::world(options, files)
    }
    fn shape(world: &R::World) -> Shape {
        R::shape(world)
    }
    fn reset<D: Draws, O: Out<f32>>(
        world: &R::World,
        state: &mut R::State,
        regions: &mut impl Regions,
        start: Start,
        draws: &mut D,
        out: &mut O,
    ) {
        // The third word of counter's state is purse[0]; no other environment has this bug planted.
        let purse = bytemuck::bytes_of(state)[8..12].try_into().map_or(0, i32::from_le_bytes);
        R::reset(world, state, regions, start, draws, out);
        B::after_reset(state, purse);
    }
    fn deciders(world: &R::World, state: &R::State) -> u32 {
        R::deciders(world, state)
    }
    fn legal(world: &R::World, state: &R::State, regions: &impl Regions, agent: usize, mask: &mut Mask<'_>) {
        R::legal(world, state, regions, agent, mask);
        B::allows(state).into_iter().for_each(|action| mask.allow(action));
    }
    fn step<D: Draws, O: Out<f32>>(
        world: &R::World,
        state: &mut R::State,
        regions: &mut impl Regions,
        action: &[u32],
        draws: &mut D,
        out: &mut O,
    ) -> Outcome {
        let mut action = action.to_vec();
        B::before(state, &mut action);
        if B::DRAWS_ONE_MORE && action[0] == 2 {
            draws.below(2, 0);
        }
        if B::READS_BEYOND && action[0] == 2 {
            regions.load8(0, 65_536);
        }
        let mut aside = Aside { out, rewards: [0.0; 2], drops_rows: B::DROPS_ROWS };
        let mut outcome = if B::SWAPS_DRAWS {
            R::step(world, state, regions, &action, &mut Swapped { draws }, &mut aside)
        } else {
            R::step(world, state, regions, &action, draws, &mut aside)
        };
        let mut rewards = aside.rewards;
        B::after(state, &mut outcome, &mut rewards);
        let agents = R::shape(world).agents;
        for (agent, reward) in rewards.into_iter().enumerate().take(agents) {
            out.reward(agent, reward);
        }
        if B::REFRESHES && B::observes(outcome) {
            for agent in 0..agents {
                if let Some(mut writer) = out.observation(agent) {
                    R::observe(world, state, regions, agent, &mut writer);
                }
            }
        }
        if B::LEAKS
            && agents == 2
            && let Some(mut writer) = out.observation(1)
        {
            R::observe(world, state, regions, 0, &mut writer);
        }
        if B::SHOWS_ACTION
            && agents == 2
            && let Some(mut writer) = out.observation(1)
        {
            for _ in 0..3 {
                writer.f32(action[0] as f32);
            }
        }
        outcome
    }
    fn observe(world: &R::World, state: &R::State, regions: &impl Regions, agent: usize, out: &mut Writer<'_>) {
        R::observe(world, state, regions, agent, out);
    }
    fn canonical(world: &R::World, state: &R::State, out: &mut Writer<'_>) {
        R::canonical(world, state, out);
    }
    fn inject(world: &R::World, state: &mut R::State, input: &mut Reader<'_>) -> Result<(), Refusal> {
        R::inject(world, state, input)
    }
}

/// The opener of the right rules with one bug.
pub fn broken<R: Rules<Reward = f32>, B: Bug<R>>() -> Opener {
    Opened::scalar::<Broken<R, B>>
}

struct Right;
impl<R: Rules> Bug<R> for Right {}

/// Pays more for the last step.
pub struct Reward;
impl Bug<Counter> for Reward {
    fn after(_state: &mut lockstep_env_counter::State, outcome: &mut Outcome, rewards: &mut [f32]) {
        if outcome.terminated {
            rewards[0] += 0.5;
        }
    }
}

struct LastStep;
impl Bug<Counter> for LastStep {
    fn after(state: &mut lockstep_env_counter::State, outcome: &mut Outcome, _rewards: &mut [f32]) {
        outcome.terminated |= state.value == 9;
    }
}

struct DrawOrder;
impl Bug<Counter> for DrawOrder {
    const SWAPS_DRAWS: bool = true;
}

struct FreshObservation;
impl<R: Rules> Bug<R> for FreshObservation {
    const REFRESHES: bool = true;
    fn observes(outcome: Outcome) -> bool {
        !outcome.terminated
    }
}

struct SecondAgent;
impl Bug<Counter> for SecondAgent {
    const LEAKS: bool = true;
}

struct Reset;
impl Bug<Counter> for Reset {
    fn after_reset(state: &mut lockstep_env_counter::State, purse: i32) {
        state.purse[0] = purse;
    }
}

struct DrawCount;
impl Bug<Counter> for DrawCount {
    const DRAWS_ONE_MORE: bool = true;
}

struct Terminates;
impl Bug<Counter> for Terminates {
    fn after(state: &mut lockstep_env_counter::State, outcome: &mut Outcome, _rewards: &mut [f32]) {
        outcome.terminated |= state.tick == 3;
    }
}

struct WideMask;
impl Bug<Counter> for WideMask {
    fn allows(state: &lockstep_env_counter::State) -> Option<u32> {
        (state.value == 1).then_some(3)
    }
}

struct Rounding;
impl Bug<Counter> for Rounding {
    fn after(_state: &mut lockstep_env_counter::State, _outcome: &mut Outcome, rewards: &mut [f32]) {
        // Sums that were rounded once too late.
        for reward in rewards.iter_mut().filter(|reward| **reward != 0.0 && reward.fract() != 0.0) {
            *reward = f32::from_bits(reward.to_bits() + 1);
        }
    }
}

struct SeesAction;
impl Bug<Counter> for SeesAction {
    const SHOWS_ACTION: bool = true;
}

struct OutOfBounds;
impl Bug<Counter> for OutOfBounds {
    const READS_BEYOND: bool = true;
}

struct MissingRow;
impl Bug<Counter> for MissingRow {
    const DROPS_ROWS: bool = true;
}

struct After65536;
impl Bug<Counter> for After65536 {
    fn after(state: &mut lockstep_env_counter::State, _outcome: &mut Outcome, _rewards: &mut [f32]) {
        if state.tick > 65_535 {
            state.value ^= 1;
        }
    }
}

struct TwoFields;
impl Bug<Counter> for TwoFields {
    fn after(state: &mut lockstep_env_counter::State, _outcome: &mut Outcome, _rewards: &mut [f32]) {
        if state.purse[0] == 4 && state.value == 5 {
            state.value = 4;
        }
    }
}

struct PongReward;
impl Bug<Pong> for PongReward {
    fn after(_state: &mut lockstep_env_pong::State, _outcome: &mut Outcome, rewards: &mut [f32]) {
        if rewards[0] > 0.0 && rewards[0] < 1.0 {
            rewards[0] = 0.1f64 as f32 + f32::EPSILON;
        }
    }
}

struct PongCounts;
impl Bug<Pong> for PongCounts {
    fn after(state: &mut lockstep_env_pong::State, _outcome: &mut Outcome, _rewards: &mut [f32]) {
        if state.n_bounces == 3 {
            state.win ^= 1;
        }
    }
}

struct Bill {
    tokens: usize,
    short: Option<usize>,
    reference_steps: u64,
}

/// The first finding of a bug, with the claims that hold for every bug.
fn caught(name: &str, environment: &str, backend: Opener, configuration: &str, tier: &str, part: Part) -> Bill {
    let result = verify_planted(environment, backend, configuration, tier);
    let finding = result.reports.iter().flat_map(|report| &report.findings).next();
    let finding = finding.unwrap_or_else(|| panic!("{name}: the {tier} tier misses its bug"));
    let minimized = &finding.minimized;
    assert_eq!(minimized.divergence.difference.part, part, "{name} is called by another name");
    assert!(!minimized.flaky, "{name} is called flaky");
    let bill = Bill {
        tokens: minimized.trace.tokens.len(),
        // What shows at the start needs no injected state.
        short: minimized
            .short
            .as_ref()
            .ok()
            .map(|short| short.trace.steps())
            .or((minimized.trace.steps() == 0).then_some(0)),
        reference_steps: minimized.reference_steps,
    };
    println!(
        "{name}: {} tokens from reset (found with {}), {:?} steps from an injected state, {} reference steps",
        bill.tokens, minimized.from_steps, bill.short, bill.reference_steps
    );
    bill
}

fn median(mut values: Vec<usize>) -> usize {
    values.sort_unstable();
    values[values.len() / 2]
}

/// The five bugs that the harness was first measured on; the others follow.
fn first_five() -> [Bill; 5] {
    let rollout = "rollout";
    [
        caught("reward", "counter", broken::<Counter, Reward>(), "default", rollout, Part::Reward),
        caught("last step", "counter", broken::<Counter, LastStep>(), "default", rollout, Part::Ending),
        caught("draw order", "counter", broken::<Counter, DrawOrder>(), "default", rollout, Part::Draws),
        caught(
            "stale observation",
            "counter",
            broken::<Counter, FreshObservation>(),
            "default",
            rollout,
            Part::Observation,
        ),
        caught("second agent", "counter", broken::<Counter, SecondAgent>(), "duel", rollout, Part::Observation),
    ]
}

fn assert_cheap(bills: &[Bill]) {
    assert!(median(bills.iter().map(|bill| bill.tokens).collect()) <= 6);
    assert!(median(bills.iter().map(|bill| bill.short.unwrap_or(usize::MAX)).collect()) <= 2);
    for bill in bills {
        assert!(bill.reference_steps <= 1_000, "{} reference steps", bill.reference_steps);
    }
}

#[test]
fn five_planted_bugs_are_caught_and_shrunk_to_six_tokens_within_a_thousand_reference_steps() {
    assert_cheap(&first_five());
}

#[test]
fn ten_more_planted_bugs_are_caught_by_their_tier_and_shrunk_as_cheaply() {
    let rollout = "rollout";
    assert_cheap(&[
        caught("reset", "counter", broken::<Counter, Reset>(), "default", rollout, Part::State),
        caught("draw count", "counter", broken::<Counter, DrawCount>(), "default", rollout, Part::Draws),
        caught(
            "termination for truncation",
            "counter",
            broken::<Counter, Terminates>(),
            "default",
            rollout,
            Part::Ending,
        ),
        caught("mask", "counter", broken::<Counter, WideMask>(), "default", rollout, Part::Mask),
        caught("rounding", "counter", broken::<Counter, Rounding>(), "duel", rollout, Part::Reward),
        caught(
            "sees the other's action",
            "counter",
            broken::<Counter, SeesAction>(),
            "duel",
            rollout,
            Part::Observation,
        ),
        caught("region out of bounds", "counter", broken::<Counter, OutOfBounds>(), "tape", rollout, Part::Side),
        caught("missing row", "counter", broken::<Counter, MissingRow>(), "default", rollout, Part::Rows),
        caught("after 2^16 steps", "counter", broken::<Counter, After65536>(), "default", "property", Part::State),
        caught("two fields together", "counter", broken::<Counter, TwoFields>(), "default", "fuzz", Part::State),
    ]);
}

#[test]
fn bugs_planted_in_pong_are_caught_against_the_real_one() {
    for (name, backend, part) in [
        ("pong reward", broken::<Pong, PongReward>(), Part::Reward),
        ("pong fresh observation", broken::<Pong, FreshObservation>(), Part::Observation),
        ("pong third bounce", broken::<Pong, PongCounts>(), Part::State),
    ] {
        let bill = caught(name, "pong", backend, "default", "rollout", part);
        assert_eq!(bill.short.map(|steps| steps <= 2), Some(true), "{name}");
        // A ball needs 37 steps to the paddle: nothing from a reset can be shorter.
        assert!(bill.tokens <= 300, "{name}: {} tokens", bill.tokens);
        assert!(bill.reference_steps <= 1_000, "{name}: {} reference steps", bill.reference_steps);
    }
}

#[test]
fn right_rules_in_the_same_wrapping_raise_no_alarm() {
    for (environment, backend, configuration) in [
        ("counter", broken::<Counter, Right>(), "default"),
        ("counter", broken::<Counter, Right>(), "duel"),
        ("counter", broken::<Counter, Right>(), "tape"),
        ("pong", broken::<Pong, Right>(), "default"),
    ] {
        for tier in ["contract", "property", "interaction", "fuzz", "rollout"] {
            let result = verify_planted(environment, backend, configuration, tier);
            assert!(result.agrees(), "{environment} {tier}: {}", result.failures().join("\n"));
        }
    }
}
