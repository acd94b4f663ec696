//! The rules of the treasure hunt, function by function as in treasure.py.

use crate::state::State;
use crate::world::World;
use lockstep_core::{
    Draws, Files, Mask, Options, Out, Outcome, Reader, Refusal, Regions, Rules, Shape, Start, WorldError, Writer,
};

/// The manifest lists no `draws.sites`, and no draw is at one. The contract names no value for that, so it is 0.
const SITE: u32 = 0;

const PHASE_HURRY: u32 = 0;
const PHASE_SEARCH: u32 = 1;

/// Room for coins in `State::coins`.
const COINS_MAX: usize = 8;

/// The class Treasure of treasure.py.
pub struct Treasure;

impl Rules for Treasure {
    const NAME: &'static str = "treasure";
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
        *state = State { x: 0, y: 0, steps: 0, phase: PHASE_SEARCH, coins: [0; 16], coins_count: 0, capacity: 0 };
        // QUIRK(reset): coins may coincide and may lie at (0, 0), where the episode begins.
        for coin in 0..3 {
            let x = draws.below(world.size as u32, SITE);
            let y = draws.below(world.size as u32, SITE);
            state.coins[2 * coin] = x as i32;
            state.coins[2 * coin + 1] = y as i32;
        }
        state.coins_count = 3;
        look(world, state, regions, out);
    }

    fn deciders(_world: &World, _state: &State) -> u32 {
        1
    }

    fn legal(_world: &World, _state: &State, _regions: &impl Regions, _agent: usize, _mask: &mut Mask<'_>) {}

    /// `step`.
    fn step<D: Draws, O: Out<f64>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        action: &[u32],
        _draws: &mut D,
        out: &mut O,
    ) -> Outcome {
        let (dx, dy) = match action[0] {
            1 => (1, 0),
            2 => (-1, 0),
            3 => (0, 1),
            4 => (0, -1),
            _ => (0, 0),
        };
        // QUIRK(step): both are clamped in every step, so action 0 brings an injected place back to the board.
        state.x = clamped(state.x, dx, world.size);
        state.y = clamped(state.y, dy, world.size);

        // `count` and the list without the coins of this cell: all that lie here are found at once.
        let count = (state.coins_count as usize).min(COINS_MAX);
        let mut kept = 0;
        let mut found: u32 = 0;
        for coin in 0..count {
            let x = state.coins[2 * coin];
            let y = state.coins[2 * coin + 1];
            if x == state.x && y == state.y {
                found += 1;
            } else {
                state.coins[2 * kept] = x;
                state.coins[2 * kept + 1] = y;
                kept += 1;
            }
        }
        for entry in 2 * kept..2 * COINS_MAX {
            state.coins[entry] = 0;
        }
        state.coins_count = kept as u32;

        state.steps = state.steps.saturating_add(1);
        // QUIRK(step): the phase is never set back to 'search' here, however few the steps.
        if state.steps > 30 {
            state.phase = PHASE_HURRY;
        }
        look(world, state, regions, out);
        out.reward(0, f64::from(found));
        // QUIRK(step): an empty list ends the episode also where nothing was found; both flags can be true.
        Outcome { terminated: state.coins_count == 0, truncated: state.steps >= 60 }
    }

    /// `look`.
    fn observe(world: &World, state: &State, _regions: &impl Regions, _agent: usize, out: &mut Writer<'_>) {
        out.f64(f64::from(state.x) / f64::from(world.size));
        out.f64(f64::from(state.y) / f64::from(world.size));
        out.f64(f64::from(state.coins_count));
    }

    fn canonical(_world: &World, state: &State, out: &mut Writer<'_>) {
        out.i32(state.x);
        out.i32(state.y);
        out.i32(state.steps);
        out.u8(state.phase as u8);
        for entry in state.coins {
            out.i32(entry);
        }
        out.u32(state.coins_count);
        out.u32(state.capacity);
    }

    fn inject(_world: &World, state: &mut State, input: &mut Reader<'_>) -> Result<(), Refusal> {
        let x = input.i32()?;
        let y = input.i32()?;
        let steps = input.i32()?;
        let phase = u32::from(input.u8()?);
        let mut coins = [0i32; 16];
        for entry in &mut coins {
            *entry = input.i32()?;
        }
        let coins_count = input.u32()?;
        let capacity = input.u32()?;
        if phase > PHASE_SEARCH {
            return Err(Refusal(format!("phase is {phase}")));
        }
        if coins_count > COINS_MAX as u32 {
            return Err(Refusal(format!("coins_count is {coins_count}")));
        }
        // The reference keeps the first `coins_count` rows and pads with zeros.
        for entry in 2 * coins_count as usize..2 * COINS_MAX {
            coins[entry] = 0;
        }
        *state = State { x, y, steps, phase, coins, coins_count, capacity };
        Ok(())
    }
}

/// `min(max(place + move, 0), size - 1)`; a sum that saturates is clamped to the same as an unbounded one.
fn clamped(place: i32, by: i32, size: i32) -> i32 {
    let moved = place.saturating_add(by);
    let moved = if moved < 0 { 0 } else { moved };
    if moved > size - 1 { size - 1 } else { moved }
}

/// Writes the observation, where somebody looks at it.
fn look(world: &World, state: &State, regions: &impl Regions, out: &mut impl Out<f64>) {
    if let Some(mut writer) = out.observation(0) {
        Treasure::observe(world, state, regions, 0, &mut writer);
    }
}
