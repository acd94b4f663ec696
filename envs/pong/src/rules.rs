//! The rules of Puffer Pong, in the order of `pong.h` (PufferLib 3.0.0), f32 operation by f32 operation.

use crate::state::State;
use crate::world::World;
use lockstep_core::{
    Draws, Files, Mask, Options, Out, Outcome, Reader, Refusal, Regions, Rules, Shape, Start, WorldError, Writer,
};

const STILL: u32 = 0;
const UP: u32 = 1;
const DOWN: u32 = 2;

const SITE_SERVE: u32 = 0;

const GRAIN_SUBFRAME: usize = 0;
const GRAIN_EPISODE: usize = 1;

/// Puffer Pong.
pub struct Pong;

/// What a subframe ended in.
#[derive(PartialEq, Eq)]
enum Rally {
    GoesOn,
    Scored { terminal: bool },
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

    /// `c_reset` of a freshly initialised struct.
    fn reset<D: Draws, O: Out<f32>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        _start: Start,
        draws: &mut D,
        out: &mut O,
    ) {
        state.paddle_dir = 0.0;
        state.win = 0;
        restart(world, state, regions, draws, out);
    }

    fn deciders(_world: &World, _state: &State) -> u32 {
        1
    }

    fn legal(_world: &World, _state: &State, _regions: &impl Regions, _agent: usize, mask: &mut Mask<'_>) {
        [STILL, UP, DOWN].into_iter().for_each(|action| mask.allow(action));
    }

    /// `c_step`.
    fn step<D: Draws, O: Out<f32>>(
        world: &World,
        state: &mut State,
        regions: &mut impl Regions,
        action: &[u32],
        draws: &mut D,
        out: &mut O,
    ) -> Outcome {
        state.tick = state.tick.wrapping_add(1);
        state.paddle_dir = if world.continuous {
            // QUIRK(pong.h, c_step, continuous_action_is_raw): only the Python wrapper clips it to [-1, 1].
            f32::from_bits(action[0])
        } else {
            match action[0] {
                UP => 1.0,
                DOWN => -1.0,
                // QUIRK(pong.h, c_step, other_actions_stand_still): 3, -1, 0.5 and every other float.
                _ => 0.0,
            }
        };
        // QUIRK(pong.h, c_step, reward_of_an_early_bounce_stays): it is cleared once a step, not once a subframe.
        let mut reward = 0.0;
        let mut terminated = false;
        for _ in 0..world.frameskip {
            let rally = subframe(world, state, regions, draws, out, &mut reward);
            if let Some(mut row) = out.row(GRAIN_SUBFRAME) {
                for value in
                    [state.paddle_yl, state.paddle_yr, state.ball_x, state.ball_y, state.ball_vx, state.ball_vy]
                {
                    row.f32(value);
                }
            }
            if let Rally::Scored { terminal } = rally {
                // QUIRK(pong.h, c_step, a_point_ends_the_frameskip_loop)
                // QUIRK(pong.h, c_step, a_point_leaves_the_observation_stale): it returns before compute_observations;
                // only at the end of an episode c_reset has computed the next one's first.
                terminated = terminal;
                break;
            }
            observe(world, state, regions, out);
        }
        out.reward(0, reward);
        Outcome { terminated, truncated: false }
    }

    /// `compute_observations`.
    fn observe(world: &World, state: &State, _regions: &impl Regions, _agent: usize, out: &mut Writer<'_>) {
        let paddle_range = world.max_paddle_y - world.min_paddle_y;
        out.f32((state.paddle_yl - world.min_paddle_y) / paddle_range);
        out.f32((state.paddle_yr - world.min_paddle_y) / paddle_range);
        out.f32(state.ball_x / world.width);
        out.f32(state.ball_y / world.height);
        out.f32((state.ball_vx + world.ball_initial_speed_x) / (2.0 * world.ball_initial_speed_x));
        out.f32((state.ball_vy + world.ball_max_speed_y) / (2.0 * world.ball_max_speed_y));
        // QUIRK(pong.h, compute_observations, scores_divide_as_integers): so both are 0 until the end.
        out.f32((state.score_l / world.max_score) as f32);
        out.f32((state.score_r / world.max_score) as f32);
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
        *state = State {
            paddle_yl: input.f32()?,
            paddle_yr: input.f32()?,
            ball_x: input.f32()?,
            ball_y: input.f32()?,
            ball_vx: input.f32()?,
            ball_vy: input.f32()?,
            paddle_dir: input.f32()?,
            score_l: input.u32()?,
            score_r: input.u32()?,
            tick: input.i32()?,
            n_bounces: input.i32()?,
            win: input.i32()?,
        };
        Ok(())
    }
}

/// One turn of the frameskip loop, up to `compute_observations`.
fn subframe(
    world: &World,
    state: &mut State,
    regions: &mut impl Regions,
    draws: &mut impl Draws,
    out: &mut impl Out<f32>,
    reward: &mut f32,
) -> Rally {
    move_paddles(world, state);
    state.ball_x += state.ball_vx;
    state.ball_y += state.ball_vy;
    if state.ball_y < 0.0 || state.ball_y + world.ball_height > world.height {
        state.ball_vy = -state.ball_vy;
    }
    if state.ball_x < 0.0 {
        if !meets_paddle(world, state, state.paddle_yl) {
            state.win = 1;
            state.score_r = state.score_r.wrapping_add(1);
            *reward = 1.0;
            return point(world, state, regions, draws, out, state.score_r);
        }
        // QUIRK(pong.h, c_step, a_left_bounce_does_not_clip): the ball can stand left of the edge, at x = -2.
        state.ball_vx = -state.ball_vx;
        state.n_bounces = state.n_bounces.wrapping_add(1);
    }
    if state.ball_x + world.ball_width > world.width {
        if !meets_paddle(world, state, state.paddle_yr) {
            state.win = 0;
            state.score_l = state.score_l.wrapping_add(1);
            *reward = -1.0;
            return point(world, state, regions, draws, out, state.score_l);
        }
        bounce_right(world, state, reward);
    }
    Rally::GoesOn
}

fn move_paddles(world: &World, state: &mut State) {
    state.paddle_yr += world.paddle_speed * state.paddle_dir;
    let delta = state.ball_y - (state.paddle_yl + world.paddle_height / 2.0);
    state.paddle_yl += clip(delta, -world.paddle_speed, world.paddle_speed);
    state.paddle_yr = clip(state.paddle_yr, world.min_paddle_y, world.max_paddle_y);
    state.paddle_yl = clip(state.paddle_yl, world.min_paddle_y, world.max_paddle_y);
}

fn meets_paddle(world: &World, state: &State, paddle_y: f32) -> bool {
    state.ball_y + world.ball_height > paddle_y && state.ball_y < paddle_y + world.paddle_height
}

fn bounce_right(world: &World, state: &mut State, reward: &mut f32) {
    state.ball_vx = -state.ball_vx;
    state.n_bounces = state.n_bounces.wrapping_add(1);
    // QUIRK(pong.h, c_step, a_bounce_pays_a_tenth_as_a_single): the double 0.1 stored to an f32.
    *reward = 0.1f32;
    state.ball_vy += world.ball_speed_y_increment * state.paddle_dir;
    state.ball_vy = clip(state.ball_vy, -world.ball_max_speed_y, world.ball_max_speed_y);
    // QUIRK(pong.h, c_step, a_flat_bounce_goes_down): |vy| is compared with the double 0.01.
    if f64::from(state.ball_vy.abs()) < 0.01 {
        state.ball_vy = world.ball_speed_y_increment;
    }
    // QUIRK(pong.h, c_step, a_right_bounce_clips_both_axes)
    state.ball_x = clip(state.ball_x, 0.0, world.width - world.ball_width);
    state.ball_y = clip(state.ball_y, 0.0, world.height - world.ball_height);
}

/// After a goal: the next round, or the end of the episode when `score` is the limit.
fn point(
    world: &World,
    state: &mut State,
    regions: &mut impl Regions,
    draws: &mut impl Draws,
    out: &mut impl Out<f32>,
    score: u32,
) -> Rally {
    let terminal = score == world.max_score;
    if terminal {
        add_log(state, out);
        restart(world, state, regions, draws, out);
    } else {
        reset_round(world, state, draws);
    }
    Rally::Scored { terminal }
}

/// `add_log`, as a row: the reference adds these to sums that Python reads and clears.
fn add_log(state: &State, out: &mut impl Out<f32>) {
    if let Some(mut row) = out.row(GRAIN_EPISODE) {
        let (left, right) = (state.score_l as f32, state.score_r as f32);
        row.f32(right / (left + right));
        row.f32(right - left);
        row.f32(right - left);
        // QUIRK(pong.h, add_log, episode_length_is_that_of_the_last_round): reset_round zeroes the tick.
        row.f32(state.tick as f32);
        row.f32(1.0);
    }
}

/// `c_reset`.
fn restart(world: &World, state: &mut State, regions: &impl Regions, draws: &mut impl Draws, out: &mut impl Out<f32>) {
    reset_round(world, state, draws);
    state.score_l = 0;
    state.score_r = 0;
    observe(world, state, regions, out);
}

/// `reset_round`. It leaves `paddle_dir` and `win` as they are.
fn reset_round(world: &World, state: &mut State, draws: &mut impl Draws) {
    state.paddle_yl = world.height / 2.0 - world.paddle_height / 2.0;
    state.paddle_yr = world.height / 2.0 - world.paddle_height / 2.0;
    state.ball_x = world.width / 5.0;
    state.ball_y = world.height / 2.0 - world.ball_height / 2.0;
    state.ball_vx = world.ball_initial_speed_x;
    // QUIRK(pong.h, reset_round, half_of_all_serves_are_flat): `rand() % 2 - 1` is -1 or 0, never 1.
    state.ball_vy = (draws.below(2, SITE_SERVE) as i32 - 1) as f32 * world.ball_initial_speed_y;
    state.tick = 0;
    state.n_bounces = 0;
}

fn observe(world: &World, state: &State, regions: &impl Regions, out: &mut impl Out<f32>) {
    if let Some(mut writer) = out.observation(0) {
        Pong::observe(world, state, regions, 0, &mut writer);
    }
}

/// `fminf(fmaxf(value, low), high)`, whose first argument wins when both are equal zeros of either sign.
fn clip(value: f32, low: f32, high: f32) -> f32 {
    let value = if value < low { low } else { value };
    if value > high { high } else { value }
}
