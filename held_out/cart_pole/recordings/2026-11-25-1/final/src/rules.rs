//! The rules of the cart and its pole, function by function as in the class `CartPoleEnv` of cartpole.py.

use crate::state::State;
use crate::world::{
    FORCE_MAG, GRAVITY, LENGTH, MASSPOLE, POLEMASS_LENGTH, RESET_HIGH, RESET_LOW, TAU, THETA_THRESHOLD, TOTAL_MASS, World,
    X_THRESHOLD,
};
use lockstep_core::{
    Draws, Files, Mask, Options, Out, Outcome, Reader, Refusal, Regions, Rules, Shape, Start, WorldError, Writer,
};

/// The manifest names no sites, so that all draws have this one.
const SITE: u32 = 0;

/// Keep a pole upright on a cart.
pub struct CartPole;

impl Rules for CartPole {
    const NAME: &'static str = "cart_pole";
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

    /// `CartPoleEnv.reset`.
    fn reset<D: Draws, O: Out<f64>>(
        _world: &World,
        state: &mut State,
        _regions: &mut impl Regions,
        _start: Start,
        draws: &mut D,
        out: &mut O,
    ) {
        for i in 0..4 {
            let value = uniform(draws, RESET_LOW, RESET_HIGH);
            state.set(i, value);
        }
        // `None`.
        state.steps_beyond_terminated = 0;
        state.steps_beyond_terminated_given = 0;
        look(state, out);
    }

    fn deciders(_world: &World, _state: &State) -> u32 {
        1
    }

    fn legal(_world: &World, _state: &State, _regions: &impl Regions, _agent: usize, _mask: &mut Mask<'_>) {}

    /// `CartPoleEnv.step`.
    fn step<D: Draws, O: Out<f64>>(
        world: &World,
        state: &mut State,
        _regions: &mut impl Regions,
        action: &[u32],
        _draws: &mut D,
        out: &mut O,
    ) -> Outcome {
        let x = state.get(0);
        let x_dot = state.get(1);
        let theta = state.get(2);
        let theta_dot = state.get(3);
        let force = if action[0] == 1 { FORCE_MAG } else { -FORCE_MAG };
        let costheta = cos(theta);
        let sintheta = sin(theta);

        // `np.square(v)` is `v * v`, rounded before it is multiplied further.
        let temp = (force + POLEMASS_LENGTH * (theta_dot * theta_dot) * sintheta) / TOTAL_MASS;
        let thetaacc = (GRAVITY * sintheta - costheta * temp)
            / (LENGTH * (4.0 / 3.0 - MASSPOLE * (costheta * costheta) / TOTAL_MASS));
        let xacc = temp - POLEMASS_LENGTH * thetaacc * costheta / TOTAL_MASS;

        // The integrator is always "euler": positions move by the old velocities.
        let x = x + TAU * x_dot;
        let x_dot = x_dot + TAU * xacc;
        let theta = theta + TAU * theta_dot;
        let theta_dot = theta_dot + TAU * thetaacc;

        state.set(0, x);
        state.set(1, x_dot);
        state.set(2, theta);
        state.set(3, theta_dot);

        let terminated = x < -X_THRESHOLD || x > X_THRESHOLD || theta < -THETA_THRESHOLD || theta > THETA_THRESHOLD;

        let sutton_barto_reward = world.sutton_barto_reward != 0;
        let reward = if !terminated {
            // QUIRK(step): a cart that comes back into its bounds is alive again, and its count of steps stays as it was.
            if sutton_barto_reward { 0.0 } else { 1.0 }
        } else if state.steps_beyond_terminated_given == 0 {
            // Pole just fell!
            state.steps_beyond_terminated = 0;
            state.steps_beyond_terminated_given = 1;
            if sutton_barto_reward { -1.0 } else { 1.0 }
        } else {
            // QUIRK(step): a step after the end is played and counted, with another reward.
            state.steps_beyond_terminated = state.steps_beyond_terminated.wrapping_add(1);
            if sutton_barto_reward { -1.0 } else { 0.0 }
        };
        out.reward(0, reward);
        look(state, out);
        Outcome { terminated, truncated: false }
    }

    /// `np.array(self.state, dtype=np.float32)`.
    fn observe(_world: &World, state: &State, _regions: &impl Regions, _agent: usize, out: &mut Writer<'_>) {
        observation(state, out);
    }

    fn canonical(_world: &World, state: &State, out: &mut Writer<'_>) {
        for i in 0..4 {
            out.f64(state.get(i));
        }
        out.i32(state.steps_beyond_terminated);
        out.u8(state.steps_beyond_terminated_given as u8);
    }

    fn inject(_world: &World, state: &mut State, input: &mut Reader<'_>) -> Result<(), Refusal> {
        for i in 0..4 {
            let value = input.f64()?;
            state.set(i, value);
        }
        let steps = input.i32()?;
        let given = input.u8()?;
        if given > 1 {
            return Err(Refusal(format!("steps_beyond_terminated_given is {given}")));
        }
        // The reference's adapter sets `None` where nothing is given, which reads as 0, whatever number came with it.
        state.steps_beyond_terminated = if given == 0 { 0 } else { steps };
        state.steps_beyond_terminated_given = u32::from(given);
        Ok(())
    }
}

/// `np.cos` of one f64, the C library's.
fn cos(angle: f64) -> f64 {
    angle.cos()
}

/// `np.sin` of one f64, the C library's.
fn sin(angle: f64) -> f64 {
    angle.sin()
}

/// A double in [0, 1) of 53 bits, made of two draws: the high 27 bits first, then the low 26 bits.
fn random(draws: &mut impl Draws) -> f64 {
    let a = draws.below(134217728, SITE);
    let b = draws.below(67108864, SITE);
    (f64::from(a) * 67108864.0 + f64::from(b)) / 9007199254740992.0
}

/// One number of `np_random.uniform(low, high)`.
fn uniform(draws: &mut impl Draws, low: f64, high: f64) -> f64 {
    let range = high - low;
    low + range * random(draws)
}

/// The four numbers of the state, each rounded to an f32.
fn observation(state: &State, out: &mut Writer<'_>) {
    for i in 0..4 {
        out.f32(state.get(i) as f32);
    }
}

/// Writes the observation, where somebody looks at it.
fn look(state: &State, out: &mut impl Out<f64>) {
    if let Some(mut writer) = out.observation(0) {
        observation(state, &mut writer);
    }
}
