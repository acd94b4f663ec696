//! The contract of an environment: read-only world, plain-data state, and the functions that are the game.
//!
//! Everything that could make two runs differ comes in through an argument: randomness through `draws`, large memory
//! through `regions`, and results leave through `out`. `rules.cuh` has the same functions in the same order.

use crate::bytes::{Reader, Writer};
use crate::draws::Draws;
use crate::options::{Files, Options, WorldError};
use crate::shape::Shape;
use bytemuck::Pod;
use serde_json::Value;

/// Where an episode begins: the seeds of a ported generator come from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The run's seed.
    pub seed: u64,
    /// The lane's stream, by default its number.
    pub stream: u64,
    /// The episode, counted from 0.
    pub episode: u32,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The episode is over by the rules.
    pub terminated: bool,
    /// The episode is over by the environment's own limit. Time limits of the manifest are added by the driver.
    pub truncated: bool,
}

/// An injected state that the rules can't reproduce; a lower-case fragment that names the field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub String);

impl From<crate::bytes::Cut> for Refusal {
    fn from(cut: crate::bytes::Cut) -> Self {
        Refusal(cut.to_string())
    }
}

/// A reward: a plain number with a place on the wire.
pub trait Reward: Pod + Default + Send + Sync + PartialEq + std::fmt::Debug {
    /// The manifest's name of the type.
    const DTYPE: &'static str;
}

impl Reward for f32 {
    const DTYPE: &'static str = "f32";
}

impl Reward for f64 {
    const DTYPE: &'static str = "f64";
}

/// The legal actions of one agent, one bit each.
pub struct Mask<'a> {
    words: &'a mut [u32],
}

impl<'a> Mask<'a> {
    /// An empty mask over `words`.
    pub fn new(words: &'a mut [u32]) -> Self {
        words.fill(0);
        Mask { words }
    }

    /// Makes `action` legal.
    #[inline]
    pub fn allow(&mut self, action: u32) {
        self.words[(action / 32) as usize] |= 1 << (action % 32);
    }
}

/// Memory of a lane that is too large for `State`. On a device it is interleaved, so there is no slice to hand out.
///
/// An offset outside the region panics in Rust and is caught by the interpreter of the CUDA source.
pub trait Regions {
    /// The byte at `offset`.
    fn load8(&self, region: usize, offset: u32) -> u8;
    /// Sets the byte at `offset`.
    fn store8(&mut self, region: usize, offset: u32, value: u8);
    /// The little-endian word at byte `offset`, a multiple of 4.
    fn load32(&self, region: usize, offset: u32) -> u32;
    /// Sets the word at byte `offset`, a multiple of 4.
    fn store32(&mut self, region: usize, offset: u32, value: u32);
    /// Sets all bytes to 0.
    fn clear(&mut self, region: usize);
}

/// Where a step's results go. An implementation that drops them costs nothing after inlining.
pub trait Out<R> {
    /// Where the observation of `agent` is to be written, or `None` if nobody looks at it.
    ///
    /// Rules call this exactly where the reference writes its observation: what is not rewritten stays as it was.
    fn observation(&mut self, agent: usize) -> Option<Writer<'_>>;

    /// Sets the reward of `agent` for this step; it is 0 before.
    fn reward(&mut self, agent: usize, value: R);

    /// Whether rows of this grain are asked for.
    fn wants(&self, grain: usize) -> bool;

    /// The place for one row of `grain`, or `None` if it is not asked for.
    fn row(&mut self, grain: usize) -> Option<Writer<'_>>;
}

/// An environment.
pub trait Rules: Sized + Send + Sync + 'static {
    /// Its name, as the manifest has it.
    const NAME: &'static str;
    /// Agents at most; a configuration may have fewer (`Shape::agents`).
    const AGENTS: usize;
    /// The text of `env.toml`, so that a library can be loaded without its folder.
    const MANIFEST: &'static str;
    /// What all lanes share and no episode changes.
    type World: Send + Sync + 'static;
    /// One lane's state: 32-bit words without padding, no NaN. All-zero bytes are valid before `reset`.
    type State: Pod + Send + Sync;
    /// The type of a reward.
    type Reward: Reward;

    /// Validates the options and builds the world.
    ///
    /// # Errors
    /// Names the option or file that is wrong.
    fn world(options: Options, files: &Files) -> Result<Self::World, WorldError>;

    /// The sizes of this configuration.
    fn shape(world: &Self::World) -> Shape;

    /// Starts an episode. State and regions hold the last episode's contents, or zeros at first.
    fn reset<D: Draws, O: Out<Self::Reward>>(
        world: &Self::World,
        state: &mut Self::State,
        regions: &mut impl Regions,
        start: Start,
        draws: &mut D,
        out: &mut O,
    );

    /// The agents who decide next, one bit each.
    fn deciders(world: &Self::World, state: &Self::State) -> u32;

    /// Marks the legal actions of a deciding agent; not called without a mask.
    fn legal(world: &Self::World, state: &Self::State, regions: &impl Regions, agent: usize, mask: &mut Mask<'_>);

    /// Plays until the next decision. `action` has one word per agent and width, 0 for a waiting agent.
    fn step<D: Draws, O: Out<Self::Reward>>(
        world: &Self::World,
        state: &mut Self::State,
        regions: &mut impl Regions,
        action: &[u32],
        draws: &mut D,
        out: &mut O,
    ) -> Outcome;

    /// Writes the observation of `agent` as the reference would compute it in this state.
    fn observe(world: &Self::World, state: &Self::State, regions: &impl Regions, agent: usize, out: &mut Writer<'_>);

    /// Writes the canonical fields that are not regions, in the manifest's order.
    fn canonical(world: &Self::World, state: &Self::State, out: &mut Writer<'_>);

    /// Rebuilds a state from what `canonical` wrote; regions are filled by the driver.
    ///
    /// # Errors
    /// Refuses a state that it can't reproduce exactly.
    fn inject(world: &Self::World, state: &mut Self::State, input: &mut Reader<'_>) -> Result<(), Refusal>;

    /// The names of the pure functions that `probe` answers.
    const PROBES: &'static [&'static str] = &[];

    /// One pure function, for vectors mined from the reference.
    ///
    /// # Errors
    /// Refuses unknown functions and inputs outside their domain.
    fn probe(_world: &Self::World, function: &str, _input: &Value) -> Result<Value, Refusal> {
        Err(Refusal(format!("no function {function} can be probed")))
    }
}
