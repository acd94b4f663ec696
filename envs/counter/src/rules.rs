//! The rules of counter, function by function as in `counter.py`.

use crate::state::State;
use crate::world::{DrawsFrom, World};
use lockstep_core::{
    Draws, Files, Mask, Options, Out, Outcome, Reader, Refusal, Regions, Rules, Shape, Start, WorldError, Writer, below,
};

const WAIT: u32 = 0;
const UP: u32 = 1;
const DOWN: u32 = 2;
const LEAP: u32 = 3;

const SITE_GUST: u32 = 0;
const SITE_LEAP: u32 = 1;

const GRAIN_PULSE: usize = 0;
const REGION_MEMORY: usize = 0;

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

    fn reset<D: Draws, O: Out<f32>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        start: Start,
        _draws: &mut D,
        out: &mut O,
    ) {
        *state = State { value: 0, deciders: everybody(world), purse: [0, 0], tick: 0, generator: 0 };
        if world.draws == DrawsFrom::Generator {
            state.generator = start.seed as u32
                ^ (start.stream as u32).wrapping_mul(0x9E37_79B9)
                ^ start.episode.wrapping_mul(0x85EB_CA6B);
        }
        if world.memory > 0 {
            regions.clear(REGION_MEMORY);
        }
        observe_all(world, state, regions, out);
    }

    fn deciders(_world: &World, state: &State) -> u32 {
        state.deciders
    }

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

    fn step<D: Draws, O: Out<f32>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        action: &[u32],
        draws: &mut D,
        out: &mut O,
    ) -> Outcome {
        // Whole numbers wrap, as in C; the reference in Python refuses states that would make it do so.
        state.tick = state.tick.wrapping_add(1);
        let mut rewards = [0.0f32; 2];
        let mut leapt = 0;
        let mut terminated = false;
        let deciders = state.deciders;
        for agent in (0..world.agents).filter(|agent| deciders >> agent & 1 == 1) {
            match action[agent] {
                UP => {
                    for _ in 0..1 + draw(world, state, draws, 3, SITE_GUST) {
                        state.value = state.value.wrapping_add(1);
                        pulse(world, state, regions, agent, out);
                    }
                    // QUIRK(Counter.step, tenth_of_a_point_is_a_single): 0.1 as an f32, not as a double.
                    rewards[agent] += 0.1f32;
                }
                DOWN => {
                    state.value = state.value.wrapping_sub(1);
                    pulse(world, state, regions, agent, out);
                }
                LEAP => {
                    state.purse[agent] = state.purse[agent].wrapping_sub(1);
                    state.value = state.value.wrapping_add(draw(world, state, draws, 6, SITE_LEAP) as i32);
                    leapt |= 1 << agent;
                }
                _ => state.purse[agent] = state.purse[agent].wrapping_add(1),
            }
            if state.value >= world.limit {
                for (other, reward) in rewards.iter_mut().enumerate() {
                    *reward += if other == agent { 1.0 } else { -1.0 };
                }
                terminated = true;
                break;
            }
        }
        state.deciders = match (deciders, leapt) {
            (0b11, 0b01) => 0b10,
            (0b11, 0b10) => 0b01,
            _ => everybody(world),
        };
        for (agent, reward) in rewards.into_iter().enumerate().take(world.agents) {
            out.reward(agent, reward);
        }
        // QUIRK(Counter.step, leap_leaves_the_observation_stale): only a step without a leap, or the last, rewrites it.
        if leapt == 0 || terminated {
            observe_all(world, state, regions, out);
        }
        Outcome { terminated, truncated: false }
    }

    fn observe(world: &World, state: &State, _regions: &impl Regions, agent: usize, out: &mut Writer<'_>) {
        out.f32(state.value as f32 / world.limit as f32);
        out.f32(state.purse[agent] as f32);
        out.f32((state.deciders >> agent & 1) as f32);
    }

    fn canonical(_world: &World, state: &State, out: &mut Writer<'_>) {
        out.i32(state.value);
        out.u32(state.deciders);
        out.i32(state.purse[0]);
        out.i32(state.purse[1]);
        out.u32(state.tick);
        out.u32(state.generator);
    }

    fn inject(world: &World, state: &mut State, input: &mut Reader<'_>) -> Result<(), Refusal> {
        *state = State {
            value: input.i32()?,
            deciders: input.u32()?,
            purse: [input.i32()?, input.i32()?],
            tick: input.u32()?,
            generator: input.u32()?,
        };
        if state.deciders == 0 || state.deciders & !everybody(world) != 0 {
            return Err(Refusal(format!("deciders is {:#b}", state.deciders)));
        }
        Ok(())
    }
}

fn everybody(world: &World) -> u32 {
    (1 << world.agents) - 1
}

fn draw(world: &World, state: &mut State, draws: &mut impl Draws, bound: u32, site: u32) -> u32 {
    if world.draws == DrawsFrom::Harness {
        return draws.below(bound, site);
    }
    state.generator = state.generator.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    let value = below(state.generator, bound);
    draws.note(u64::from(bound), u64::from(value), site);
    value
}

fn pulse(world: &World, state: &State, regions: &mut impl Regions, agent: usize, out: &mut impl Out<f32>) {
    if let Some(mut row) = out.row(GRAIN_PULSE) {
        row.u32(agent as u32);
        row.i32(state.value);
    }
    if world.memory > 0 {
        let cell = (state.value as u32).wrapping_mul(257).wrapping_add(state.tick) % world.memory;
        regions.store8(REGION_MEMORY, cell, regions.load8(REGION_MEMORY, cell).wrapping_add(1));
    }
}

fn observe_all(world: &World, state: &State, regions: &impl Regions, out: &mut impl Out<f32>) {
    for agent in 0..world.agents {
        if let Some(mut writer) = out.observation(agent) {
            Counter::observe(world, state, regions, agent, &mut writer);
        }
    }
}
