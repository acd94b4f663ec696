//! The rules of CliffWalking-v1, function by function as in cliffwalking.py.

use crate::state::State;
use crate::world::{CELLS, COLS, ROWS, START, World};
use lockstep_core::{
    Draws, Files, Mask, Options, Out, Outcome, Reader, Refusal, Regions, Rules, Shape, Start, WorldError, Writer,
};

const UP: u32 = 0;
const RIGHT: u32 = 1;
const DOWN: u32 = 2;
const LEFT: u32 = 3;

/// The site of `np_random.random()` in `categorical_sample`. The manifest names no sites, so it has no place among them:
/// this is the number of a draw without a site (assumed; place 0 was tried and differs).
const SITE_RANDOM: u32 = u32::MAX;

/// CliffWalking-v1 of Gymnasium.
pub struct CliffWalking;

impl Rules for CliffWalking {
    const NAME: &'static str = "cliff_walking";
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
        // QUIRK(reset): the initial state is drawn, although only one cell has a probability.
        draw_random(draws);
        *state = State { s: world.start, last_action: 0, last_action_given: 0 };
        write_observation(world, state, regions, out);
    }

    fn deciders(_world: &World, _state: &State) -> u32 {
        1
    }

    /// Not called, since there is no mask; all actions are legal everywhere.
    fn legal(_world: &World, _state: &State, _regions: &impl Regions, _agent: usize, mask: &mut Mask<'_>) {
        mask.allow(UP);
        mask.allow(RIGHT);
        mask.allow(DOWN);
        mask.allow(LEFT);
    }

    /// `step`.
    fn step<D: Draws, O: Out<f64>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        action: &[u32],
        draws: &mut D,
        out: &mut O,
    ) -> Outcome {
        // QUIRK(step): the transition is drawn, although there is only one, of probability 1.
        draw_random(draws);
        // QUIRK(step): the goal and the cliff's cells have transitions as all others; nothing returns early there.
        let (s, reward, terminated) = transition(state.s, action[0]);
        state.s = s;
        state.last_action = action[0] as i32;
        state.last_action_given = 1;
        write_observation(world, state, regions, out);
        out.reward(0, reward);
        Outcome { terminated, truncated: false }
    }

    fn observe(_world: &World, state: &State, _regions: &impl Regions, _agent: usize, out: &mut Writer<'_>) {
        out.i32(state.s);
    }

    fn canonical(_world: &World, state: &State, out: &mut Writer<'_>) {
        out.i32(state.s);
        out.i32(state.last_action);
        out.u8(state.last_action_given as u8);
    }

    fn inject(_world: &World, state: &mut State, input: &mut Reader<'_>) -> Result<(), Refusal> {
        let s = input.i32()?;
        let last_action = input.i32()?;
        let given = input.u8()?;
        if s < 0 || s >= CELLS {
            return Err(Refusal(format!("s is {s}")));
        }
        if given > 1 {
            return Err(Refusal(format!("lastaction_given is {given}")));
        }
        state.s = s;
        // Where no action is given the reference keeps None, which reads as 0.
        state.last_action = if given == 1 { last_action } else { 0 };
        state.last_action_given = u32::from(given);
        Ok(())
    }
}

/// `np_random.random()` of `categorical_sample`, whose value never matters: the sum of the probabilities passes any
/// number below 1 at the only place that has one. A double of 53 bits is made of two draws: the upper 27 bits, then the
/// lower 26.
fn draw_random(draws: &mut impl Draws) {
    let _ = draws.below(1 << 27, SITE_RANDOM);
    let _ = draws.below(1 << 26, SITE_RANDOM);
}

/// `_limit_coordinates`.
fn limit_coordinates(row: i32, col: i32) -> (i32, i32) {
    let row = if row > ROWS - 1 { ROWS - 1 } else { row };
    let row = if row < 0 { 0 } else { row };
    let col = if col > COLS - 1 { COLS - 1 } else { col };
    let col = if col < 0 { 0 } else { col };
    (row, col)
}

/// `_calculate_transition_prob` where nothing is slippery: the next cell, the reward, and whether the episode is over.
pub fn transition(s: i32, action: u32) -> (i32, f64, bool) {
    let row = s / COLS;
    let col = s % COLS;
    let (row, col) = match action {
        UP => (row - 1, col),
        RIGHT => (row, col + 1),
        DOWN => (row + 1, col),
        _ => (row, col - 1),
    };
    let (row, col) = limit_coordinates(row, col);
    // `_cliff[3, 1:-1]`.
    if row == ROWS - 1 && col >= 1 && col < COLS - 1 {
        return (START, -100.0, false);
    }
    (row * COLS + col, -1.0, row == ROWS - 1 && col == COLS - 1)
}

/// Writes the observation, where somebody looks at it.
fn write_observation(world: &World, state: &State, regions: &impl Regions, out: &mut impl Out<f64>) {
    if let Some(mut writer) = out.observation(0) {
        CliffWalking::observe(world, state, regions, 0, &mut writer);
    }
}
