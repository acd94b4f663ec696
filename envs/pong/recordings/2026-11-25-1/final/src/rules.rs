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

/// The six numbers that a subframe moves, kept out of the lane's memory while it does.
#[derive(Clone, Copy)]
struct Moving {
    paddle_yl: f32,
    paddle_yr: f32,
    ball_x: f32,
    ball_y: f32,
    ball_vx: f32,
    ball_vy: f32,
}

impl Moving {
    #[inline(always)]
    fn load(state: &State) -> Self {
        Moving {
            paddle_yl: state.paddle_yl,
            paddle_yr: state.paddle_yr,
            ball_x: state.ball_x,
            ball_y: state.ball_y,
            ball_vx: state.ball_vx,
            ball_vy: state.ball_vy,
        }
    }

    #[inline(always)]
    fn store(self, state: &mut State) {
        state.paddle_yl = self.paddle_yl;
        state.paddle_yr = self.paddle_yr;
        state.ball_x = self.ball_x;
        state.ball_y = self.ball_y;
        state.ball_vx = self.ball_vx;
        state.ball_vy = self.ball_vy;
    }
}

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

    #[inline]
    fn deciders(_world: &World, _state: &State) -> u32 {
        1
    }

    fn legal(_world: &World, _state: &State, _regions: &impl Regions, _agent: usize, _mask: &mut Mask<'_>) {}

    /// `c_step`.
    ///
    /// Each subframe that ends without a point writes an observation, and the last one written stays. So one is enough:
    /// here that of the last subframe, in `end_of_round` that of the subframe before the point. Until then `state` has
    /// the numbers of the last subframe that ended without a point.
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
        let paddle_dir: f32 = if world.continuous == 1 {
            f32::from_bits(action[0])
        } else {
            // QUIRK(c_step): any other value than 0, 1 and 2 (the extras 3 to 6) leaves the direction at 0.
            // 1 gives 1.0, 2 gives -1.0, all others 0.0, without a branch that depends on the action.
            (i32::from(action[0] == 1) - i32::from(action[0] == 2)) as f32
        };
        state.paddle_dir = paddle_dir;

        let mut now = Moving::load(state);
        for subframe in 0..world.frameskip {
            now.paddle_yr += world.paddle_speed * paddle_dir;

            // Move the opponent's paddle, by the ball's old position.
            let mut opp_paddle_delta = now.ball_y - (now.paddle_yl + world.half_paddle_height);
            opp_paddle_delta = fminf(fmaxf(opp_paddle_delta, -world.paddle_speed), world.paddle_speed);
            now.paddle_yl += opp_paddle_delta;

            // Clip the paddles.
            now.paddle_yr = fminf(fmaxf(now.paddle_yr, world.min_paddle_y), world.max_paddle_y);
            now.paddle_yl = fminf(fmaxf(now.paddle_yl, world.min_paddle_y), world.max_paddle_y);

            // Move the ball.
            now.ball_x += now.ball_vx;
            now.ball_y += now.ball_vy;

            // Collision with the top and bottom walls, without a clip.
            if now.ball_y < 0.0 || now.ball_y + world.ball_height > world.height {
                now.ball_vy = -now.ball_vy;
            }

            // Collision on the left.
            if now.ball_x < 0.0 {
                if now.ball_y + world.ball_height > now.paddle_yl
                    && now.ball_y < now.paddle_yl + world.paddle_height
                {
                    now.ball_vx = -now.ball_vx;
                    state.n_bounces = state.n_bounces.wrapping_add(1);
                } else {
                    // WIN.
                    return end_of_round(world, state, true, subframe > 0, draws, out);
                }
            }

            // Collision on the right.
            if now.ball_x + world.ball_width > world.width {
                if now.ball_y + world.ball_height > now.paddle_yr
                    && now.ball_y < now.paddle_yr + world.paddle_height
                {
                    now.ball_vx = -now.ball_vx;
                    state.n_bounces = state.n_bounces.wrapping_add(1);
                    reward = 0.1;
                    now.ball_vy += world.ball_speed_y_increment * paddle_dir;
                    now.ball_vy = fminf(fmaxf(now.ball_vy, -world.ball_max_speed_y), world.ball_max_speed_y);
                    // The literal is a double, and so is the comparison.
                    if f64::from(now.ball_vy.abs()) < 0.01 {
                        now.ball_vy = world.ball_speed_y_increment;
                    }
                } else {
                    // LOSE.
                    return end_of_round(world, state, false, subframe > 0, draws, out);
                }

                // Clip the ball.
                now.ball_x = fminf(fmaxf(now.ball_x, 0.0), world.width - world.ball_width);
                now.ball_y = fminf(fmaxf(now.ball_y, 0.0), world.height - world.ball_height);
            }
            now.store(state);
            subframe_row(state, out);
        }
        if let Some(mut writer) = out.observation(0) {
            write_observation(world, now, state.score_l, state.score_r, &mut writer);
        }
        out.reward(0, reward);
        Outcome { terminated: false, truncated: false }
    }

    /// The values of `compute_observations`.
    fn observe(world: &World, state: &State, _regions: &impl Regions, _agent: usize, out: &mut Writer<'_>) {
        write_observation(world, Moving::load(state), state.score_l, state.score_r, out);
    }

    /// `State` has the manifest's fields in the manifest's order, without padding, on a little-endian machine.
    #[inline]
    fn canonical(_world: &World, state: &State, out: &mut Writer<'_>) {
        out.put(bytemuck::bytes_of(state));
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
///
/// Here `y` is always a bound: an option, or a difference of two finite numbers, so never a NaN. A NaN in `x` fails the
/// comparison and gives `y`.
#[inline(always)]
fn fmaxf(x: f32, y: f32) -> f32 {
    if x > y { x } else { y }
}

/// The smaller one; of equal values (zeros of either sign) the second, of a NaN and a number the number.
///
/// As in `fmaxf`, `y` is never a NaN.
#[inline(always)]
fn fminf(x: f32, y: f32) -> f32 {
    if x < y { x } else { y }
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
        write_observation(world, Moving::load(state), state.score_l, state.score_r, &mut writer);
    }
}

/// The eight numbers of `compute_observations`, told as one block: two divisions of four numbers each.
///
/// The ball's place minus 0.0 is the ball's place, also where it is -0.0; a share of a score is never negative, so it is
/// itself plus 0.0 and itself divided by 1.0.
#[inline(always)]
fn write_observation(world: &World, now: Moving, score_l: u32, score_r: u32, out: &mut Writer<'_>) {
    let shares = score_shares(score_l, score_r, world.max_score);
    let places: [f32; 4] = [now.paddle_yl, now.paddle_yr, now.ball_x, now.ball_y];
    let speeds: [f32; 4] = [now.ball_vx, now.ball_vy, shares[0], shares[1]];
    let mut view = [0.0f32; 8];
    for i in 0..4 {
        view[i] = (places[i] - world.place_offsets[i]) / world.place_divisors[i];
    }
    for i in 0..4 {
        view[4 + i] = (speeds[i] + world.speed_offsets[i]) / world.speed_divisors[i];
    }
    out.put(bytemuck::bytes_of(&view));
}

/// Both scores by `max_score`; the quotients are 0 in all states but injected ones, and then nothing is divided.
#[inline(always)]
fn score_shares(score_l: u32, score_r: u32, max_score: u32) -> [f32; 2] {
    // QUIRK(compute_observations): whole numbers are divided, and only the quotient becomes a float.
    if score_l < max_score && score_r < max_score {
        [0.0, 0.0]
    } else {
        [(score_l / max_score) as f32, (score_r / max_score) as f32]
    }
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

/// What `c_step` does at a point, until it returns.
///
/// `played` says that subframes of this step went before. What `state` has of the paddles and the ball is then the end of
/// the last of them; where they are at the point itself matters to nothing, since each point is followed by a serve.
#[cold]
#[inline(never)]
fn end_of_round(
    world: &World,
    state: &mut State,
    won: bool,
    played: bool,
    draws: &mut impl Draws,
    out: &mut impl Out<f32>,
) -> Outcome {
    if played {
        // The observation of the subframe before, with the scores as they were.
        compute_observations(world, state, out);
    }
    let reward: f32;
    let terminated: bool;
    if won {
        state.win = 1;
        state.score_r = state.score_r.wrapping_add(1);
        reward = 1.0;
        terminated = state.score_r == world.max_score;
    } else {
        state.win = 0;
        state.score_l = state.score_l.wrapping_add(1);
        reward = -1.0;
        terminated = state.score_l == world.max_score;
    }
    if terminated {
        add_log(state, out);
        c_reset(world, state, draws, out);
    } else {
        // QUIRK(c_step): no observation after a point that ends no episode, so it stays as it was.
        reset_round(world, state, draws);
    }
    subframe_row(state, out);
    out.reward(0, reward);
    Outcome { terminated, truncated: false }
}

/// The adapter's row after each subframe; after a point it shows the restart.
#[inline(always)]
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
