//! The rules of Pong, function by function as in pong.h.

use crate::state::State;
use crate::world::World;
use lockstep_core::{
    Draws, Files, Mask, Options, Out, Outcome, Reader, Refusal, Regions, Rules, Shape, Start, WorldError, Writer,
};

const SITE_SERVE: u32 = 0;
const GRAIN_SUBFRAME: usize = 0;
const GRAIN_EPISODE: usize = 1;

/// Puffer Pong.
pub struct Pong;

impl Rules for Pong {
    const NAME: &'static str = "pong";
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

    /// The adapter's `environment_reset`: a fresh lane, then `c_reset`.
    fn reset<D: Draws, O: Out<f32>>(
        world: &World,
        state: &mut State,
        _regions: &mut impl Regions,
        _start: Start,
        draws: &mut D,
        out: &mut O,
    ) {
        state.paddle_dir = 0.0;
        state.win = 0;
        c_reset(world, state, draws, out);
    }

    fn deciders(_world: &World, _state: &State) -> u32 {
        1
    }

    fn legal(_world: &World, _state: &State, _regions: &impl Regions, _agent: usize, _mask: &mut Mask<'_>) {}

    /// `c_step`.
    fn step<D: Draws, O: Out<f32>>(
        world: &World,
        state: &mut State,
        _regions: &mut impl Regions,
        action: &[u32],
        draws: &mut D,
        out: &mut O,
    ) -> Outcome {
        state.tick = state.tick.wrapping_add(1);
        let mut reward: f32 = 0.0;
        // Move the ego paddle.
        if world.continuous == 1 {
            state.paddle_dir = f32::from_bits(action[0]);
        } else {
            // QUIRK(c_step): any other value than 0, 1 and 2 (the extras 3 to 6) leaves the direction at 0.
            state.paddle_dir = match action[0] {
                1 => 1.0,
                2 => -1.0,
                _ => 0.0,
            };
        }

        for _ in 0..world.frameskip {
            state.paddle_yr += world.paddle_speed * state.paddle_dir;

            // Move the opponent's paddle, by the ball's old position.
            let mut opp_paddle_delta = state.ball_y - (state.paddle_yl + world.paddle_height / 2.0);
            opp_paddle_delta = fminf(fmaxf(opp_paddle_delta, -world.paddle_speed), world.paddle_speed);
            state.paddle_yl += opp_paddle_delta;

            // Clip the paddles.
            state.paddle_yr = fminf(fmaxf(state.paddle_yr, world.min_paddle_y), world.max_paddle_y);
            state.paddle_yl = fminf(fmaxf(state.paddle_yl, world.min_paddle_y), world.max_paddle_y);

            // Move the ball.
            state.ball_x += state.ball_vx;
            state.ball_y += state.ball_vy;

            // Collision with the top and bottom walls, without a clip.
            if state.ball_y < 0.0 || state.ball_y + world.ball_height > world.height {
                state.ball_vy = -state.ball_vy;
            }

            // Collision on the left.
            if state.ball_x < 0.0 {
                if state.ball_y + world.ball_height > state.paddle_yl
                    && state.ball_y < state.paddle_yl + world.paddle_height
                {
                    state.ball_vx = -state.ball_vx;
                    state.n_bounces = state.n_bounces.wrapping_add(1);
                } else {
                    // WIN.
                    state.win = 1;
                    state.score_r = state.score_r.wrapping_add(1);
                    reward = 1.0;
                    let terminated = state.score_r == world.max_score;
                    end_of_round(world, state, terminated, draws, out);
                    out.reward(0, reward);
                    return Outcome { terminated, truncated: false };
                }
            }

            // Collision on the right.
            if state.ball_x + world.ball_width > world.width {
                if state.ball_y + world.ball_height > state.paddle_yr
                    && state.ball_y < state.paddle_yr + world.paddle_height
                {
                    state.ball_vx = -state.ball_vx;
                    state.n_bounces = state.n_bounces.wrapping_add(1);
                    reward = 0.1;
                    state.ball_vy += world.ball_speed_y_increment * state.paddle_dir;
                    state.ball_vy = fminf(fmaxf(state.ball_vy, -world.ball_max_speed_y), world.ball_max_speed_y);
                    // The literal is a double, and so is the comparison.
                    if f64::from(state.ball_vy.abs()) < 0.01 {
                        state.ball_vy = world.ball_speed_y_increment;
                    }
                } else {
                    // LOSE.
                    state.win = 0;
                    state.score_l = state.score_l.wrapping_add(1);
                    reward = -1.0;
                    let terminated = state.score_l == world.max_score;
                    end_of_round(world, state, terminated, draws, out);
                    out.reward(0, reward);
                    return Outcome { terminated, truncated: false };
                }

                // Clip the ball.
                state.ball_x = fminf(fmaxf(state.ball_x, 0.0), world.width - world.ball_width);
                state.ball_y = fminf(fmaxf(state.ball_y, 0.0), world.height - world.ball_height);
            }
            compute_observations(world, state, out);
            subframe_row(state, out);
        }
        out.reward(0, reward);
        Outcome { terminated: false, truncated: false }
    }

    /// The values of `compute_observations`.
    fn observe(world: &World, state: &State, _regions: &impl Regions, _agent: usize, out: &mut Writer<'_>) {
        write_observation(world, state, out);
    }

    fn canonical(_world: &World, state: &State, out: &mut Writer<'_>) {
        out.f32(state.paddle_yl);
        out.f32(state.paddle_yr);
        out.f32(state.ball_x);
        out.f32(state.ball_y);
        out.f32(state.ball_vx);
        out.f32(state.ball_vy);
        out.f32(state.paddle_dir);
        out.u32(state.score_l);
        out.u32(state.score_r);
        out.i32(state.tick);
        out.i32(state.n_bounces);
        out.i32(state.win);
    }

    fn inject(_world: &World, state: &mut State, input: &mut Reader<'_>) -> Result<(), Refusal> {
        state.paddle_yl = input.f32()?;
        state.paddle_yr = input.f32()?;
        state.ball_x = input.f32()?;
        state.ball_y = input.f32()?;
        state.ball_vx = input.f32()?;
        state.ball_vy = input.f32()?;
        state.paddle_dir = input.f32()?;
        state.score_l = input.u32()?;
        state.score_r = input.u32()?;
        state.tick = input.i32()?;
        state.n_bounces = input.i32()?;
        state.win = input.i32()?;
        Ok(())
    }
}

/// The larger one; of equal values (zeros of either sign) the second, of a NaN and a number the number.
fn fmaxf(x: f32, y: f32) -> f32 {
    if x.is_nan() {
        y
    } else if y.is_nan() {
        x
    } else if x > y {
        x
    } else {
        y
    }
}

/// The smaller one; of equal values (zeros of either sign) the second, of a NaN and a number the number.
fn fminf(x: f32, y: f32) -> f32 {
    if x.is_nan() {
        y
    } else if y.is_nan() {
        x
    } else if x < y {
        x
    } else {
        y
    }
}

/// `add_log`, into a log that was 0: one row of the grain `episode`.
fn add_log(state: &State, out: &mut impl Out<f32>) {
    if let Some(mut row) = out.row(GRAIN_EPISODE) {
        let score_r = state.score_r as f32;
        let score_l = state.score_l as f32;
        let score = score_r - score_l;
        row.f32(score_r / (score_l + score_r));
        row.f32(score);
        row.f32(score);
        row.f32(state.tick as f32);
        row.f32(1.0);
    }
}

/// `compute_observations`, where somebody looks at it.
fn compute_observations(world: &World, state: &State, out: &mut impl Out<f32>) {
    if let Some(mut writer) = out.observation(0) {
        write_observation(world, state, &mut writer);
    }
}

/// The eight numbers of `compute_observations`.
fn write_observation(world: &World, state: &State, out: &mut Writer<'_>) {
    out.f32((state.paddle_yl - world.min_paddle_y) / (world.max_paddle_y - world.min_paddle_y));
    out.f32((state.paddle_yr - world.min_paddle_y) / (world.max_paddle_y - world.min_paddle_y));
    out.f32(state.ball_x / world.width);
    out.f32(state.ball_y / world.height);
    out.f32((state.ball_vx + world.ball_initial_speed_x) / (2.0 * world.ball_initial_speed_x));
    out.f32((state.ball_vy + world.ball_max_speed_y) / (2.0 * world.ball_max_speed_y));
    // QUIRK(compute_observations): whole numbers are divided, and only the quotient becomes a float.
    out.f32((state.score_l / world.max_score) as f32);
    out.f32((state.score_r / world.max_score) as f32);
}

/// `reset_round`: a serve. Leaves `paddle_dir`, `win` and the scores, and writes no observation.
fn reset_round(world: &World, state: &mut State, draws: &mut impl Draws) {
    state.paddle_yl = world.height / 2.0 - world.paddle_height / 2.0;
    state.paddle_yr = world.height / 2.0 - world.paddle_height / 2.0;
    state.ball_x = world.width / 5.0;
    state.ball_y = world.height / 2.0 - world.ball_height / 2.0;
    state.ball_vx = world.ball_initial_speed_x;
    // QUIRK(reset_round): the factor is -1 or 0, never 1.
    let serve = draws.below(2, SITE_SERVE) as i32;
    state.ball_vy = (serve % 2 - 1) as f32 * world.ball_initial_speed_y;
    state.tick = 0;
    state.n_bounces = 0;
}

/// `c_reset`.
fn c_reset(world: &World, state: &mut State, draws: &mut impl Draws, out: &mut impl Out<f32>) {
    reset_round(world, state, draws);
    state.score_l = 0;
    state.score_r = 0;
    compute_observations(world, state, out);
}

/// What `c_step` does after a point, before it returns.
fn end_of_round(
    world: &World,
    state: &mut State,
    terminated: bool,
    draws: &mut impl Draws,
    out: &mut impl Out<f32>,
) {
    if terminated {
        add_log(state, out);
        c_reset(world, state, draws, out);
    } else {
        // QUIRK(c_step): no observation after a point that ends no episode, so it stays as it was.
        reset_round(world, state, draws);
    }
    subframe_row(state, out);
}

/// The adapter's row after each subframe; after a point it shows the restart.
fn subframe_row(state: &State, out: &mut impl Out<f32>) {
    if let Some(mut row) = out.row(GRAIN_SUBFRAME) {
        row.f32(state.paddle_yl);
        row.f32(state.paddle_yr);
        row.f32(state.ball_x);
        row.f32(state.ball_y);
        row.f32(state.ball_vx);
        row.f32(state.ball_vy);
    }
}
