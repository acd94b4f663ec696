//! The rules: Gymnasium's `HalfCheetahEnv` around the physics of `substep`.

use crate::constraint::Rows;
use crate::noise::Noise;
use crate::probes;
use crate::state::State;
use crate::substep::substep;
use crate::world::World;
use lockstep_core::{
    Draws, Files, Mask, Options, Out, Outcome, Reader, Refusal, Regions, Rules, Shape, Start, WorldError, Writer,
};
use serde_json::Value;

const SITE_QPOS: u32 = 0;
const SITE_QVEL: u32 = 1;

const GRAIN_SUBSTEP: usize = 0;

/// Beyond these a state is refused, as the reference's adapter does: no play reaches them, and MuJoCo, which computes in
/// world coordinates, rounds by more than what is compared.
const POSITION_MAX: [f64; 9] = [1e3, 1e2, 1e3, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0];
const VELOCITY_MAX: [f64; 9] = [300.0; 9];
const ACCELERATION_MAX: [f64; 9] = [1e6; 9];

/// A cheetah in a plane that is paid for running to the right.
pub struct HalfCheetah;

impl Rules for HalfCheetah {
    const NAME: &'static str = "half_cheetah";
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

    fn reset<D: Draws, O: Out<f64>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        start: Start,
        draws: &mut D,
        out: &mut O,
    ) {
        *state = bytemuck::Zeroable::zeroed();
        let scale = world.reset_noise_scale;
        let mut noise = Noise::new(start, draws);
        noise.site = SITE_QPOS;
        state.qpos = std::array::from_fn(|_| noise.uniform(-scale, scale));
        noise.site = SITE_QVEL;
        // QUIRK(HalfCheetahEnv.reset_model, velocity_noise_is_scaled_not_squared): the documentation's variance is the
        // deviation.
        state.qvel = std::array::from_fn(|_| scale * noise.normal());
        show(world, state, regions, out);
    }

    fn deciders(_world: &World, _state: &State) -> u32 {
        1
    }

    fn legal(_world: &World, _state: &State, _regions: &impl Regions, _agent: usize, _mask: &mut Mask<'_>) {}

    fn step<D: Draws, O: Out<f64>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        action: &[u32],
        _draws: &mut D,
        out: &mut O,
    ) -> Outcome {
        let control: [f32; 6] = std::array::from_fn(|joint| f32::from_bits(action[joint]));
        let before = state.qpos[0];
        simulate(world, state, torques(world, &control), out);
        out.reward(0, reward(world, before, state.qpos[0], &control));
        show(world, state, regions, out);
        // QUIRK(HalfCheetahEnv.step, an_episode_never_terminates): a cheetah on its back goes on; only time ends it.
        Outcome::default()
    }

    fn observe(world: &World, state: &State, _regions: &impl Regions, _agent: usize, out: &mut Writer<'_>) {
        for value in state.qpos.iter().skip(usize::from(world.excludes_position)).chain(&state.qvel) {
            out.f64(*value);
        }
    }

    fn canonical(_world: &World, state: &State, out: &mut Writer<'_>) {
        for value in state.qpos.iter().chain(&state.qvel).chain(&state.qacc_warmstart) {
            out.f64(*value);
        }
        out.u32(state.ncon);
        out.u32(state.nlimit);
    }

    fn inject(_world: &World, state: &mut State, input: &mut Reader<'_>) -> Result<(), Refusal> {
        let mut read = |name: &str, bounds: [f64; 9]| -> Result<[f64; 9], Refusal> {
            let mut values = [0.0f64; 9];
            for (index, (value, bound)) in values.iter_mut().zip(bounds).enumerate() {
                *value = input.f64()?;
                // A NaN is not below any bound.
                if value.is_nan() || value.abs() > bound {
                    return Err(Refusal(format!("{name}[{index}] is not a number or beyond {bound:e}")));
                }
            }
            Ok(values)
        };
        let qpos = read("qpos", POSITION_MAX)?;
        let qvel = read("qvel", VELOCITY_MAX)?;
        let qacc_warmstart = read("qacc_warmstart", ACCELERATION_MAX)?;
        let (ncon, nlimit) = (input.u32()?, input.u32()?);
        if ncon > 16 || nlimit > 6 {
            return Err(Refusal("there are at most 16 contacts and 6 limits".into()));
        }
        *state = State { qpos, qvel, qacc_warmstart, ncon, nlimit };
        Ok(())
    }

    const PROBES: &'static [&'static str] = probes::NAMES;

    fn probe(world: &World, function: &str, input: &Value) -> Result<Value, Refusal> {
        probes::answer(&world.model, function, input)
    }
}

/// Plays the substeps of one step.
fn simulate(world: &World, state: &mut State, mut torque: [f64; 6], out: &mut impl Out<f64>) {
    let mut motion = state.motion();
    let mut rows = Rows::new();
    for index in 0..world.frame_skip {
        let last = index + 1 == world.frame_skip || out.wants(GRAIN_SUBSTEP);
        // QUIRK(mj_checkAcc, an_explosion_starts_again): the motors stay off for the rest of the step.
        substep(&world.model, &mut motion, &mut torque, last, &mut rows);
        *state = State {
            qpos: motion.qpos,
            qvel: motion.qvel,
            qacc_warmstart: motion.warmstart,
            ncon: rows.contacts as u32,
            nlimit: rows.limits as u32,
        };
        if let Some(mut row) = out.row(GRAIN_SUBSTEP) {
            row.u32(state.ncon);
            row.u32(state.nlimit);
            for value in state.qpos.iter().chain(&state.qvel).chain(&state.qacc_warmstart) {
                row.f64(*value);
            }
        }
    }
}

/// What a step from one `rootx` to another is worth.
pub(crate) fn reward(world: &World, before: f64, after: f64, control: &[f32; 6]) -> f64 {
    let speed = (after - before) / world.dt();
    world.forward_reward_weight * speed - f64::from(control_cost(world, control))
}

/// The torque of each motor. MuJoCo clamps the control; the cost is that of what was asked for.
pub(crate) fn torques(world: &World, control: &[f32; 6]) -> [f64; 6] {
    std::array::from_fn(|joint| world.model.gear[joint] * f64::from(control[joint]).clamp(-1.0, 1.0))
}

/// The cost of the control as it was asked for.
fn control_cost(world: &World, control: &[f32; 6]) -> f32 {
    // QUIRK(HalfCheetahEnv.control_cost, control_cost_is_single): NumPy squares, sums and weights singles.
    // QUIRK(HalfCheetahEnv.step, control_cost_is_of_the_unclipped_action): the motors get the clipped one.
    let mut sum = control[0] * control[0];
    for value in &control[1..] {
        sum += value * value;
    }
    world.ctrl_cost_weight * sum
}

fn show(world: &World, state: &State, regions: &impl Regions, out: &mut impl Out<f64>) {
    if let Some(mut writer) = out.observation(0) {
        HalfCheetah::observe(world, state, regions, 0, &mut writer);
    }
}
