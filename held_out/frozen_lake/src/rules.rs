//! The rules of FrozenLake-v1, function by function as in frozen_lake.py.

use crate::state::State;
use crate::world::World;
use lockstep_core::{
    Draws, Files, Mask, Options, Out, Outcome, Reader, Refusal, Regions, Rules, Shape, Start, WorldError, Writer,
};

const LEFT: u32 = 0;
const DOWN: u32 = 1;
const RIGHT: u32 = 2;
const UP: u32 = 3;

/// The manifest names no sites.
const SITE: u32 = 0;

/// `cumsum([fail_rate, success_rate, fail_rate])[0]` * 2^53.
const CSPROB_0: u64 = 3_002_399_751_580_331;
/// `cumsum([fail_rate, success_rate, fail_rate])[1]` * 2^53. The third sum is exactly 1.0, above every number drawn.
const CSPROB_1: u64 = 6_004_799_503_160_662;

/// Cross the frozen lake from start to goal without falling into a hole.
pub struct FrozenLake;

impl Rules for FrozenLake {
    const NAME: &'static str = "frozen_lake";
    const AGENTS: usize = 1;
    const MANIFEST: &'static str = include_str!("../env.toml");
    type World = World;
    type State = State;
    type Reward = f64;

    fn world(options: Options, files: &Files) -> Result<World, WorldError> {
        World::new(options, files)
    }

    fn shape(world: &World) -> Shape {
        world.shape()
    }

    /// `reset`.
    fn reset<D: Draws, O: Out<f64>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        _start: Start,
        draws: &mut D,
        out: &mut O,
    ) {
        // QUIRK(reset): a number is drawn although `initial_state_distrib` is 1 at the only S, so that the sample is
        // always the start.
        let _number = random(draws);
        state.s = world.start as i32;
        state.lastaction = 0;
        state.lastaction_given = 0;
        look(world, state, regions, out);
    }

    fn deciders(_world: &World, _state: &State) -> u32 {
        1
    }

    /// There is no mask.
    fn legal(_world: &World, _state: &State, _regions: &impl Regions, _agent: usize, _mask: &mut Mask<'_>) {}

    /// `step`, with the row `P[s][a]` worked out where it is needed.
    fn step<D: Draws, O: Out<f64>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        action: &[u32],
        draws: &mut D,
        out: &mut O,
    ) -> Outcome {
        let a = action[0];
        // QUIRK(step): a number is drawn also on H and G, where the row has a single transition.
        let number = random(draws);
        let (s, reward, terminated) = if world.is_end(state.s) {
            // QUIRK(__init__): a step on H or G stays there and ends again; its reward is 0, on G too.
            (state.s, 0.0, true)
        } else {
            let i = categorical_sample(number);
            // [(a - 1) % 4, a, (a + 1) % 4][i], with Python's remainder.
            let b = a.wrapping_add(3).wrapping_add(i) & 3;
            let ncol = world.ncol as i32;
            update_probability_matrix(world, state.s / ncol, state.s % ncol, b)
        };
        state.s = s;
        state.lastaction = a as i32;
        state.lastaction_given = 1;
        out.reward(0, reward);
        look(world, state, regions, out);
        Outcome { terminated, truncated: false }
    }

    /// The observation is `int(s)`.
    fn observe(_world: &World, state: &State, _regions: &impl Regions, _agent: usize, out: &mut Writer<'_>) {
        out.i32(state.s);
    }

    fn canonical(_world: &World, state: &State, out: &mut Writer<'_>) {
        out.i32(state.s);
        out.i32(state.lastaction);
        out.u8(state.lastaction_given as u8);
    }

    fn inject(world: &World, state: &mut State, input: &mut Reader<'_>) -> Result<(), Refusal> {
        let s = input.i32()?;
        let lastaction = input.i32()?;
        let lastaction_given = input.u8()?;
        let tiles = (world.nrow * world.ncol) as i32;
        if s < 0 || s >= tiles {
            return Err(Refusal(format!("s is {s}, outside of the map")));
        }
        if lastaction_given > 1 {
            return Err(Refusal(format!("lastaction_given is {lastaction_given}")));
        }
        state.s = s;
        // QUIRK(put): without the flag `lastaction` becomes None, which is read as 0 whatever was given.
        state.lastaction = if lastaction_given == 1 { lastaction } else { 0 };
        state.lastaction_given = u32::from(lastaction_given);
        Ok(())
    }
}

/// `np_random.random()` * 2^53: the upper 27 bits are drawn first, then the lower 26.
fn random(draws: &mut impl Draws) -> u64 {
    let a = draws.below(1 << 27, SITE);
    let b = draws.below(1 << 26, SITE);
    (u64::from(a) << 26) + u64::from(b)
}

/// `categorical_sample` of a slippery row: the first sum that is above the number.
fn categorical_sample(number: u64) -> u32 {
    // QUIRK(categorical_sample): the sums are rounded. 1.0 - success_rate is a tie that goes up, so fail_rate is one ulp
    // above success_rate; the second sum is a tie too, and the third comes out as 1.0.
    if number < CSPROB_0 {
        0
    } else if number < CSPROB_1 {
        1
    } else {
        2
    }
}

/// `to_s`.
fn to_s(world: &World, row: i32, col: i32) -> i32 {
    row * world.ncol as i32 + col
}

/// `inc`.
fn inc(world: &World, row: i32, col: i32, a: u32) -> (i32, i32) {
    let mut row = row;
    let mut col = col;
    if a == LEFT {
        col = (col - 1).max(0);
    } else if a == DOWN {
        row = (row + 1).min(world.nrow as i32 - 1);
    } else if a == RIGHT {
        col = (col + 1).min(world.ncol as i32 - 1);
    } else if a == UP {
        row = (row - 1).max(0);
    }
    (row, col)
}

/// `update_probability_matrix`: the new tile, the reward, whether the episode ends there.
fn update_probability_matrix(world: &World, row: i32, col: i32, action: u32) -> (i32, f64, bool) {
    let (new_row, new_col) = inc(world, row, col, action);
    let new_state = to_s(world, new_row, new_col);
    let terminated = world.is_end(new_state);
    // reward_schedule is (1, 0, 0): G, H, and F with S.
    let reward = if world.is_goal(new_state) { 1.0 } else { 0.0 };
    (new_state, reward, terminated)
}

/// Writes the observation, where somebody looks at it.
fn look(world: &World, state: &State, regions: &impl Regions, out: &mut impl Out<f64>) {
    if let Some(mut writer) = out.observation(0) {
        FrozenLake::observe(world, state, regions, 0, &mut writer);
    }
}
