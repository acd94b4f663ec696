//! The rules of the counter, function by function as in counter.py.

use crate::state::State;
use crate::world::World;
use lockstep_core::{
    Draws, Files, Mask, Options, Out, Outcome, Reader, Refusal, Regions, Rules, Shape, Start, WorldError, Writer,
};

const WAIT: u32 = 0;
const UP: u32 = 1;
const DOWN: u32 = 2;
const LEAP: u32 = 3;

const SITE_GUST: u32 = 0;
const SITE_LEAP: u32 = 1;
const GRAIN_PULSE: usize = 0;
const REGION_MEMORY: usize = 0;

/// `single(0.1)`.
const TENTH: f32 = 0.1;

/// The adapter's `EXACT_MAX`.
const EXACT_MAX: u32 = 1 << 24;

/// Count up to a limit, alone or in a duel.
pub struct Counter;

impl Rules for Counter {
    const NAME: &'static str = "counter";
    const AGENTS: usize = 2;
    const MANIFEST: &'static str = include_str!("../env.toml");
    type World = World;
    type State = State;
    type Reward = f32;

    fn world(options: Options, files: &Files) -> Result<World, WorldError> {
        World::new(options, files)
    }

    fn shape(world: &World) -> Shape {
        world.shape()
    }

    /// `Counter.reset`.
    fn reset<D: Draws, O: Out<f32>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        start: Start,
        _draws: &mut D,
        out: &mut O,
    ) {
        // The products bind tighter than `^`; only the low words survive the mask.
        let generator = if world.exact != 0 {
            (start.seed as u32)
                ^ (start.stream as u32).wrapping_mul(0x9E37_79B9)
                ^ start.episode.wrapping_mul(0x85EB_CA6B)
        } else {
            0
        };
        *state = State { value: 0, deciders: world.everybody(), purse: [0, 0], tick: 0, generator };
        if world.memory > 0 {
            regions.clear(REGION_MEMORY);
        }
        look(world, state, regions, out);
    }

    fn deciders(_world: &World, state: &State) -> u32 {
        state.deciders
    }

    /// `Counter.legal`.
    fn legal(_world: &World, state: &State, _regions: &impl Regions, agent: usize, mask: &mut Mask<'_>) {
        mask.allow(WAIT);
        mask.allow(UP);
        if state.value > 0 {
            mask.allow(DOWN);
        }
        if state.purse[agent] > 0 {
            mask.allow(LEAP);
        }
    }

    /// `Counter.step`.
    fn step<D: Draws, O: Out<f32>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        action: &[u32],
        draws: &mut D,
        out: &mut O,
    ) -> Outcome {
        let agents = world.agents as usize;
        state.tick = state.tick.wrapping_add(1);
        let mut rewards = [0.0f32; 2];
        let mut leapt = 0u32;
        let mut terminated = false;
        for agent in 0..agents {
            // QUIRK(step): who does not decide is skipped with the look at the limit.
            if (state.deciders >> agent) & 1 == 0 {
                continue;
            }
            if action[agent] == WAIT {
                state.purse[agent] = state.purse[agent].wrapping_add(1);
            } else if action[agent] == UP {
                let moves = 1 + below(world, state, draws, 3, SITE_GUST);
                for _ in 0..moves {
                    state.value = state.value.wrapping_add(1);
                    pulse(world, state, regions, agent, out);
                }
                rewards[agent] += TENTH;
            } else if action[agent] == DOWN {
                state.value = state.value.wrapping_sub(1);
                pulse(world, state, regions, agent, out);
            } else {
                state.purse[agent] = state.purse[agent].wrapping_sub(1);
                let units = below(world, state, draws, 6, SITE_LEAP);
                state.value = state.value.wrapping_add(units as i32);
                leapt |= 1 << agent;
            }
            if state.value >= world.limit {
                // The sum of doubles is exact for 0 and `single(0.1)`, so that one sum of floats rounds the same.
                for a in 0..agents {
                    rewards[a] = if a == agent { rewards[a] + 1.0 } else { rewards[a] - 1.0 };
                }
                terminated = true;
                break;
            }
        }
        // Who leaps in a duel has to sit out, unless both did.
        let both = state.deciders == 3;
        state.deciders = world.everybody();
        if both && (leapt == 1 || leapt == 2) {
            state.deciders = 3 - leapt;
        }
        // QUIRK(step): after a leap the observations stay as they were, unless the game is over.
        if leapt == 0 || terminated {
            look(world, state, regions, out);
        }
        for agent in 0..agents {
            out.reward(agent, rewards[agent]);
        }
        // `steps_left` is the manifest's limit, counted outside.
        Outcome { terminated, truncated: false }
    }

    /// `Counter.look`, for one agent.
    #[inline]
    fn observe(world: &World, state: &State, _regions: &impl Regions, agent: usize, out: &mut Writer<'_>) {
        let view: [f32; 3] = [
            world.progress(state.value),
            state.purse[agent] as f32,
            ((state.deciders >> agent) & 1) as f32,
        ];
        // Little-endian words without padding, in the manifest's order.
        out.put(bytemuck::bytes_of(&view));
    }

    #[inline]
    fn canonical(_world: &World, state: &State, out: &mut Writer<'_>) {
        // `State` has the canonical fields in the manifest's order, as little-endian words without padding.
        out.put(bytemuck::bytes_of(state));
    }

    /// `CounterLane.inject`.
    fn inject(world: &World, state: &mut State, input: &mut Reader<'_>) -> Result<(), Refusal> {
        let value = input.i32()?;
        let deciders = input.u32()?;
        let purse = [input.i32()?, input.i32()?];
        let tick = input.u32()?;
        let generator = input.u32()?;
        if deciders == 0 || deciders > world.everybody() {
            return Err(Refusal(format!("nobody decides: deciders is {deciders:#x}")));
        }
        if value.unsigned_abs() > EXACT_MAX {
            return Err(Refusal(format!("value is beyond {EXACT_MAX}")));
        }
        if purse[0].unsigned_abs() > EXACT_MAX || purse[1].unsigned_abs() > EXACT_MAX {
            return Err(Refusal(format!("purse is beyond {EXACT_MAX}")));
        }
        if tick > EXACT_MAX {
            return Err(Refusal(format!("tick is beyond {EXACT_MAX}")));
        }
        *state = State { value, deciders, purse, tick, generator };
        Ok(())
    }
}

/// `Counter.below`: `source.below`, `below_exact`, or the replayed draws of `below_recorded`.
fn below(world: &World, state: &mut State, draws: &mut impl Draws, bound: u32, site: u32) -> u32 {
    if world.exact == 0 {
        return draws.below(bound, site);
    }
    state.generator = state.generator.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    let value = ((u64::from(state.generator) * u64::from(bound)) >> 32) as u32;
    draws.note(u64::from(bound), u64::from(value), site);
    value
}

/// `Counter.pulse`.
fn pulse(world: &World, state: &State, regions: &mut impl Regions, agent: usize, out: &mut impl Out<f32>) {
    if let Some(mut row) = out.row(GRAIN_PULSE) {
        row.u32(agent as u32);
        row.i32(state.value);
    }
    if world.memory > 0 {
        // `+` binds tighter than `&`: the sum is masked, then divided.
        let cell = (state.value as u32).wrapping_mul(257).wrapping_add(state.tick) % world.memory;
        let byte = regions.load8(REGION_MEMORY, cell);
        regions.store8(REGION_MEMORY, cell, byte.wrapping_add(1));
    }
}

/// `Counter.look`: writes what everybody sees, where somebody looks at it.
#[inline]
fn look(world: &World, state: &State, regions: &impl Regions, out: &mut impl Out<f32>) {
    for agent in 0..world.agents as usize {
        if let Some(mut writer) = out.observation(agent) {
            Counter::observe(world, state, regions, agent, &mut writer);
        }
    }
}
