//! The rules of the lantern, function by function as in lantern.h.

use crate::state::State;
use crate::world::World;
use lockstep_core::{
    Draws, Files, Mask, Options, Out, Outcome, Reader, Refusal, Regions, Rules, Shape, Start, WorldError, Writer,
};

const WAIT: u32 = 0;
const TRIM: u32 = 1;
const REFILL: u32 = 2;

const SITE_WIND: u32 = 0;
const GRAIN_GUST: usize = 0;

/// Keep a lantern alight in the wind.
pub struct Lantern;

impl Rules for Lantern {
    const NAME: &'static str = "lantern";
    const AGENTS: usize = 1;
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

    /// `light`.
    fn reset<D: Draws, O: Out<f32>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        start: Start,
        _draws: &mut D,
        out: &mut O,
    ) {
        let rng = if world.ported { (start.seed as u32 ^ start.episode) | 1 } else { 0 };
        *state = State { oil: world.oil_max, flame: 1.0, wear: [0, 0], refills: 3, age: 0, rng };
        look(world, state, regions, out);
    }

    fn deciders(_world: &World, _state: &State) -> u32 {
        1
    }

    fn legal(_world: &World, state: &State, _regions: &impl Regions, _agent: usize, mask: &mut Mask<'_>) {
        mask.allow(WAIT);
        mask.allow(TRIM);
        if state.refills > 0 {
            mask.allow(REFILL);
        }
    }

    /// `tend`.
    fn step<D: Draws, O: Out<f32>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        action: &[u32],
        draws: &mut D,
        out: &mut O,
    ) -> Outcome {
        state.age = state.age.wrapping_add(1);
        if action[0] == REFILL {
            // QUIRK(tend): a refill returns before `look`, so the observation stays as it was.
            state.refills = state.refills.wrapping_sub(1);
            state.oil = world.oil_max;
            out.reward(0, 0.0);
            return Outcome { terminated: false, truncated: false };
        }
        if action[0] == TRIM {
            // `flame + 0.3` is a double sum, and fminf's parameter rounds it to a float before it is compared.
            let trimmed = (f64::from(state.flame) + 0.3) as f32;
            state.flame = if trimmed > 1.5 { 1.5 } else { trimmed };
        }
        for _ in 0..world.gusts {
            // `0.1 * flame` and the subtraction are doubles; the assignment rounds once.
            state.oil = (f64::from(state.oil) - 0.1 * f64::from(state.flame)) as f32;
            // `refills / 2` divides whole numbers; the rest of this line is all floats, and so is the assignment.
            let wind = draw(world, state, draws, 8, SITE_WIND) as f32 / 16.0;
            state.flame -= wind - (state.refills / 2) as f32 * 0.01;
            // `flame * flame` is a float product that is then widened.
            state.set_wear(state.wear() + f64::from(state.flame * state.flame));
            if let Some(mut row) = out.row(GRAIN_GUST) {
                row.f32(state.oil);
                row.f32(state.flame);
            }
            if state.flame <= 0.0 || state.oil <= 0.0 {
                break;
            }
        }
        let terminated = state.flame <= 0.0 || state.oil <= 0.0;
        // The conditional's type is double; storing it rounds 0.05 to a float.
        out.reward(0, if terminated { -1.0 } else { 0.05 });
        look(world, state, regions, out);
        Outcome { terminated, truncated: false }
    }

    /// `look`.
    fn observe(world: &World, state: &State, _regions: &impl Regions, _agent: usize, out: &mut Writer<'_>) {
        out.f32(state.oil / world.oil_max);
        out.f32(state.flame);
        out.f32(if state.refills > 0 { 1.0 } else { 0.0 });
    }

    fn canonical(_world: &World, state: &State, out: &mut Writer<'_>) {
        out.f32(state.oil);
        out.f32(state.flame);
        out.f64(state.wear());
        out.i32(state.refills);
        out.u32(state.age);
        out.u32(state.rng);
    }

    fn inject(world: &World, state: &mut State, input: &mut Reader<'_>) -> Result<(), Refusal> {
        state.oil = input.f32()?;
        state.flame = input.f32()?;
        state.set_wear(input.f64()?);
        state.refills = input.i32()?;
        state.age = input.u32()?;
        state.rng = input.u32()?;
        if world.ported == (state.rng == 0) {
            // xorshift never leaves 0, and without the generator there is nothing that 1 could mean.
            return Err(Refusal(format!("rng is {}", state.rng)));
        }
        Ok(())
    }
}

fn draw(world: &World, state: &mut State, draws: &mut impl Draws, bound: u32, site: u32) -> u32 {
    if !world.ported {
        return draws.below(bound, site);
    }
    state.rng ^= state.rng << 13;
    state.rng ^= state.rng >> 17;
    state.rng ^= state.rng << 5;
    let value = state.rng % bound;
    draws.note(u64::from(bound), u64::from(value), site);
    value
}

/// Writes the observation, where somebody looks at it.
fn look(world: &World, state: &State, regions: &impl Regions, out: &mut impl Out<f32>) {
    if let Some(mut writer) = out.observation(0) {
        Lantern::observe(world, state, regions, 0, &mut writer);
    }
}
