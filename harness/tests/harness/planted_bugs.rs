//! The harness's own enemies: backends with one bug each, played against the real references.
//!
//! Each bug wraps the right rules and breaks one thing. It must be caught by the tier that is named, in few steps, and
//! shrunk to few tokens at a price that is bounded in reference steps.

use crate::common::{Mixed, Opener, manifest, reference_command};
use lockstep_core::{
    Draws, Files, Mask, Opened, Options, Out, Outcome, Reader, Refusal, Regions, Rules, Shape, Start, WorldError,
    Writer,
};
use lockstep_env_counter::Counter;
use lockstep_env_pong::Pong;
use lockstep_harness::compare::Part;
use lockstep_harness::report::Finding;
use lockstep_harness::verify::{Plan, verify};
use lockstep_harness::watch::{Silent, Stop};
use std::marker::PhantomData;
use std::time::Duration;

/// One way to be wrong: what happens around a step of the right rules.
trait Bug<R: Rules>: Send + Sync + 'static {
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
}

/// The right rules with one bug.
struct Broken<R, B>(PhantomData<(R, B)>);

/// Takes rewards aside so that a bug can change them.
struct Aside<'a, O> {
    out: &'a mut O,
    rewards: [f32; 2],
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
        self.out.row(grain)
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
        R::reset(world, state, regions, start, draws, out);
    }
    fn deciders(world: &R::World, state: &R::State) -> u32 {
        R::deciders(world, state)
    }
    fn legal(world: &R::World, state: &R::State, regions: &impl Regions, agent: usize, mask: &mut Mask<'_>) {
        R::legal(world, state, regions, agent, mask);
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
        let mut aside = Aside { out, rewards: [0.0; 2] };
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

fn broken<R: Rules<Reward = f32>, B: Bug<R>>() -> Opener {
    Opened::scalar::<Broken<R, B>>
}

struct Right;
impl<R: Rules> Bug<R> for Right {}

struct Reward;
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

/// Verifies a backend against the real reference and returns what the rollout tier found.
fn hunt(environment: &str, adapter: Option<&str>, backend: Opener, configuration: &str) -> Vec<Finding> {
    let manifest = manifest(environment);
    let folder = tempfile::tempdir().expect("a folder can be made");
    let sides =
        Mixed { reference: reference_command(environment, adapter), backend, deadline: Duration::from_secs(60) };
    let mut plan = Plan::new("rust", 7);
    plan.configurations = vec![configuration.to_owned()];
    plan.tiers = vec!["rollout".into()];
    plan.rollout_steps = Some(if environment == "pong" { 1_000_000 } else { 20_000 });
    plan.traces = Some(folder.path().to_owned());
    let result = verify(&manifest, &plan, &sides, &mut Silent, &Stop::default()).expect("the reference works");
    let findings: Vec<Finding> = result.reports.into_iter().flat_map(|report| report.findings).collect();
    for finding in &findings {
        assert!(finding.kept.as_ref().is_ok_and(|path| path.is_file()), "the finding was not kept");
    }
    findings
}

struct Bill {
    tokens: usize,
    short: Option<usize>,
    reference_steps: u64,
}

/// The first finding of a bug, with the claims that hold for every bug.
fn caught(name: &str, environment: &str, backend: Opener, configuration: &str, part: Part) -> Bill {
    let findings = hunt(environment, None, backend, configuration);
    let finding = findings.first().unwrap_or_else(|| panic!("{name}: the rollout tier misses its bug"));
    let minimized = &finding.minimized;
    assert_eq!(minimized.divergence.difference.part, part, "{name} is called by another name");
    assert!(!minimized.flaky, "{name} is called flaky");
    let bill = Bill {
        tokens: minimized.trace.tokens.len(),
        short: minimized.short.as_ref().ok().map(|short| short.trace.steps()),
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

#[test]
fn five_planted_bugs_are_caught_and_shrunk_to_six_tokens_within_a_thousand_reference_steps() {
    let bills = [
        caught("reward", "counter", broken::<Counter, Reward>(), "default", Part::Reward),
        caught("last step", "counter", broken::<Counter, LastStep>(), "default", Part::Ending),
        caught("draw order", "counter", broken::<Counter, DrawOrder>(), "default", Part::Draws),
        caught("stale observation", "counter", broken::<Counter, FreshObservation>(), "default", Part::Observation),
        caught("second agent", "counter", broken::<Counter, SecondAgent>(), "duel", Part::Observation),
    ];
    assert!(median(bills.iter().map(|bill| bill.tokens).collect()) <= 6);
    assert!(median(bills.iter().map(|bill| bill.short.unwrap_or(usize::MAX)).collect()) <= 2);
    for bill in &bills {
        assert!(bill.reference_steps <= 1_000, "{} reference steps", bill.reference_steps);
    }
}

#[test]
fn bugs_planted_in_pong_are_caught_against_the_real_one() {
    for (name, backend, part) in [
        ("pong reward", broken::<Pong, PongReward>(), Part::Reward),
        ("pong fresh observation", broken::<Pong, FreshObservation>(), Part::Observation),
        ("pong third bounce", broken::<Pong, PongCounts>(), Part::State),
    ] {
        let bill = caught(name, "pong", backend, "default", part);
        assert_eq!(bill.short.map(|steps| steps <= 2), Some(true), "{name}");
        // A ball needs 37 steps to the paddle: nothing from a reset can be shorter.
        assert!(bill.tokens <= 300, "{name}: {} tokens", bill.tokens);
    }
}

#[test]
fn right_rules_in_the_same_wrapping_raise_no_alarm() {
    assert!(hunt("counter", None, broken::<Counter, Right>(), "default").is_empty());
    assert!(hunt("counter", Some("c"), broken::<Counter, Right>(), "duel").is_empty());
    assert!(hunt("pong", None, broken::<Pong, Right>(), "default").is_empty());
}
