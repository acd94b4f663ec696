// The rules of Puffer Pong in CUDA, function by function as in src/rules.rs; what is said there is not repeated here.
// Every value that pong packs is a whole word.
#define LS_PACKS_WORDS
#include "lockstep.cuh"

const u32 STILL = 0;
const u32 UP = 1;
const u32 DOWN = 2;

const u32 SITE_SERVE = 0;

const u32 GRAIN_SUBFRAME = 0;
const u32 GRAIN_EPISODE = 1;

/// Puffer Pong.
struct Pong {
    static const u32 AGENTS = 1;
    static const u32 WIDTH = 1;
    /// A step ends at the first point, and only a point draws.
    static const u32 DRAWS_MAX = 1;

    typedef f32 Reward;
    typedef LsOut<f32> Out;

    /// src/cuda.rs fills it.
    struct World {
        f32 width;
        f32 height;
        f32 paddle_height;
        f32 ball_width;
        f32 ball_height;
        f32 paddle_speed;
        f32 ball_initial_speed_x;
        f32 ball_initial_speed_y;
        f32 ball_max_speed_y;
        f32 ball_speed_y_increment;
        u32 max_score;
        u32 frameskip;
        u32 continuous;
        f32 min_paddle_y;
        f32 max_paddle_y;
    };

    /// src/state.rs
    struct State {
        f32 paddle_yl;
        f32 paddle_yr;
        f32 ball_x;
        f32 ball_y;
        f32 ball_vx;
        f32 ball_vy;
        f32 paddle_dir;
        u32 score_l;
        u32 score_r;
        i32 tick;
        i32 n_bounces;
        i32 win;
    };
    static_assert(sizeof(State) == 48, "the layout is that of src/state.rs");

    enum Rally { GOES_ON, SCORED, SCORED_TERMINAL };

    static __device__ u32 rows_max(const World& world, u32 grain) {
        return grain == GRAIN_SUBFRAME ? world.frameskip : 1;
    }

    static __device__ void layout(LsLayout& out) {
        State state;
        World world;
        out.put(sizeof(State));
        out.field(&state, &state.paddle_yl);
        out.field(&state, &state.paddle_yr);
        out.field(&state, &state.ball_x);
        out.field(&state, &state.ball_y);
        out.field(&state, &state.ball_vx);
        out.field(&state, &state.ball_vy);
        out.field(&state, &state.paddle_dir);
        out.field(&state, &state.score_l);
        out.field(&state, &state.score_r);
        out.field(&state, &state.tick);
        out.field(&state, &state.n_bounces);
        out.field(&state, &state.win);
        out.put(sizeof(World));
        out.field(&world, &world.width);
        out.field(&world, &world.height);
        out.field(&world, &world.paddle_height);
        out.field(&world, &world.ball_width);
        out.field(&world, &world.ball_height);
        out.field(&world, &world.paddle_speed);
        out.field(&world, &world.ball_initial_speed_x);
        out.field(&world, &world.ball_initial_speed_y);
        out.field(&world, &world.ball_max_speed_y);
        out.field(&world, &world.ball_speed_y_increment);
        out.field(&world, &world.max_score);
        out.field(&world, &world.frameskip);
        out.field(&world, &world.continuous);
        out.field(&world, &world.min_paddle_y);
        out.field(&world, &world.max_paddle_y);
    }

    /// `c_reset` of a freshly initialised struct.
    static __device__ void reset(const World& world, State& state, LsRegions& regions, LsStart, LsDraws& draws,
                                 Out& out) {
        state.paddle_dir = 0.0f;
        state.win = 0;
        restart(world, state, regions, draws, out);
    }

    static __device__ u32 deciders(const World&, const State&) { return 1; }

    static __device__ void legal(const World&, const State&, const LsRegions&, u32, LsMask& mask) {
        ls_allow(mask, STILL);
        ls_allow(mask, UP);
        ls_allow(mask, DOWN);
    }

    /// `c_step`.
    static __device__ LsOutcome step(const World& world, State& state, LsRegions& regions, const u32* action,
                                     LsDraws& draws, Out& out) {
        state.tick = ls_add(state.tick, 1);
        if (world.continuous) {
            // QUIRK(pong.h, c_step, continuous_action_is_raw)
            state.paddle_dir = __uint_as_float(action[0]);
        } else {
            // QUIRK(pong.h, c_step, other_actions_stand_still)
            state.paddle_dir = action[0] == UP ? 1.0f : action[0] == DOWN ? -1.0f : 0.0f;
        }
        // QUIRK(pong.h, c_step, reward_of_an_early_bounce_stays)
        f32 reward = 0.0f;
        bool terminated = false;
        for (u32 i = 0; i < world.frameskip; i++) {
            Rally rally = subframe(world, state, regions, draws, out, reward);
            LsWriter row;
            if (out.row(GRAIN_SUBFRAME, row)) {
                row.put_f32(state.paddle_yl);
                row.put_f32(state.paddle_yr);
                row.put_f32(state.ball_x);
                row.put_f32(state.ball_y);
                row.put_f32(state.ball_vx);
                row.put_f32(state.ball_vy);
            }
            if (rally != GOES_ON) {
                // QUIRK(pong.h, c_step, a_point_ends_the_frameskip_loop)
                // QUIRK(pong.h, c_step, a_point_leaves_the_observation_stale)
                terminated = rally == SCORED_TERMINAL;
                break;
            }
            observe_if_wanted(world, state, regions, out);
        }
        out.reward(0, reward);
        return {terminated, false};
    }

    /// `compute_observations`.
    static __device__ void observe(const World& world, const State& state, const LsRegions&, u32, LsWriter& out) {
        f32 paddle_range = world.max_paddle_y - world.min_paddle_y;
        out.put_f32((state.paddle_yl - world.min_paddle_y) / paddle_range);
        out.put_f32((state.paddle_yr - world.min_paddle_y) / paddle_range);
        out.put_f32(state.ball_x / world.width);
        out.put_f32(state.ball_y / world.height);
        out.put_f32((state.ball_vx + world.ball_initial_speed_x) / (2.0f * world.ball_initial_speed_x));
        out.put_f32((state.ball_vy + world.ball_max_speed_y) / (2.0f * world.ball_max_speed_y));
        // QUIRK(pong.h, compute_observations, scores_divide_as_integers)
        out.put_f32((f32)(state.score_l / world.max_score));
        out.put_f32((f32)(state.score_r / world.max_score));
    }

    static __device__ void canonical(const World&, const State& state, LsWriter& out) {
        out.put_f32(state.paddle_yl);
        out.put_f32(state.paddle_yr);
        out.put_f32(state.ball_x);
        out.put_f32(state.ball_y);
        out.put_f32(state.ball_vx);
        out.put_f32(state.ball_vy);
        out.put_f32(state.paddle_dir);
        out.put_u32(state.score_l);
        out.put_u32(state.score_r);
        out.put_i32(state.tick);
        out.put_i32(state.n_bounces);
        out.put_i32(state.win);
    }

    static __device__ bool inject(const World&, State& state, LsReader& input) {
        state.paddle_yl = input.get_f32();
        state.paddle_yr = input.get_f32();
        state.ball_x = input.get_f32();
        state.ball_y = input.get_f32();
        state.ball_vx = input.get_f32();
        state.ball_vy = input.get_f32();
        state.paddle_dir = input.get_f32();
        state.score_l = input.get_u32();
        state.score_r = input.get_u32();
        state.tick = input.get_i32();
        state.n_bounces = input.get_i32();
        state.win = input.get_i32();
        return true;
    }

    /// One turn of the frameskip loop, up to `compute_observations`.
    static __device__ Rally subframe(const World& world, State& state, LsRegions& regions, LsDraws& draws, Out& out,
                                     f32& reward) {
        move_paddles(world, state);
        state.ball_x += state.ball_vx;
        state.ball_y += state.ball_vy;
        if (state.ball_y < 0.0f || state.ball_y + world.ball_height > world.height) {
            state.ball_vy = -state.ball_vy;
        }
        if (state.ball_x < 0.0f) {
            if (!meets_paddle(world, state, state.paddle_yl)) {
                state.win = 1;
                state.score_r += 1;
                reward = 1.0f;
                return point(world, state, regions, draws, out, state.score_r);
            }
            // QUIRK(pong.h, c_step, a_left_bounce_does_not_clip)
            state.ball_vx = -state.ball_vx;
            state.n_bounces = ls_add(state.n_bounces, 1);
        }
        if (state.ball_x + world.ball_width > world.width) {
            if (!meets_paddle(world, state, state.paddle_yr)) {
                state.win = 0;
                state.score_l += 1;
                reward = -1.0f;
                return point(world, state, regions, draws, out, state.score_l);
            }
            bounce_right(world, state, reward);
        }
        return GOES_ON;
    }

    static __device__ void move_paddles(const World& world, State& state) {
        state.paddle_yr += world.paddle_speed * state.paddle_dir;
        f32 delta = state.ball_y - (state.paddle_yl + world.paddle_height / 2.0f);
        state.paddle_yl += clip(delta, -world.paddle_speed, world.paddle_speed);
        state.paddle_yr = clip(state.paddle_yr, world.min_paddle_y, world.max_paddle_y);
        state.paddle_yl = clip(state.paddle_yl, world.min_paddle_y, world.max_paddle_y);
    }

    static __device__ bool meets_paddle(const World& world, const State& state, f32 paddle_y) {
        return state.ball_y + world.ball_height > paddle_y && state.ball_y < paddle_y + world.paddle_height;
    }

    static __device__ void bounce_right(const World& world, State& state, f32& reward) {
        state.ball_vx = -state.ball_vx;
        state.n_bounces = ls_add(state.n_bounces, 1);
        // QUIRK(pong.h, c_step, a_bounce_pays_a_tenth_as_a_single)
        reward = 0.1f;
        state.ball_vy += world.ball_speed_y_increment * state.paddle_dir;
        state.ball_vy = clip(state.ball_vy, -world.ball_max_speed_y, world.ball_max_speed_y);
        // QUIRK(pong.h, c_step, a_flat_bounce_goes_down)
        if ((f64)ls_abs(state.ball_vy) < 0.01) {
            state.ball_vy = world.ball_speed_y_increment;
        }
        // QUIRK(pong.h, c_step, a_right_bounce_clips_both_axes)
        state.ball_x = clip(state.ball_x, 0.0f, world.width - world.ball_width);
        state.ball_y = clip(state.ball_y, 0.0f, world.height - world.ball_height);
    }

    /// After a goal: the next round, or the end of the episode when `score` is the limit.
    static __device__ Rally point(const World& world, State& state, LsRegions& regions, LsDraws& draws, Out& out,
                                  u32 score) {
        bool terminal = score == world.max_score;
        if (terminal) {
            add_log(state, out);
            restart(world, state, regions, draws, out);
        } else {
            reset_round(world, state, draws);
        }
        return terminal ? SCORED_TERMINAL : SCORED;
    }

    /// `add_log`, as a row.
    static __device__ void add_log(const State& state, Out& out) {
        LsWriter row;
        if (out.row(GRAIN_EPISODE, row)) {
            f32 left = (f32)state.score_l;
            f32 right = (f32)state.score_r;
            row.put_f32(right / (left + right));
            row.put_f32(right - left);
            row.put_f32(right - left);
            // QUIRK(pong.h, add_log, episode_length_is_that_of_the_last_round)
            row.put_f32((f32)state.tick);
            row.put_f32(1.0f);
        }
    }

    /// `c_reset`.
    static __device__ void restart(const World& world, State& state, const LsRegions& regions, LsDraws& draws,
                                   Out& out) {
        reset_round(world, state, draws);
        state.score_l = 0;
        state.score_r = 0;
        observe_if_wanted(world, state, regions, out);
    }

    /// `reset_round`. It leaves `paddle_dir` and `win` as they are.
    static __device__ void reset_round(const World& world, State& state, LsDraws& draws) {
        state.paddle_yl = world.height / 2.0f - world.paddle_height / 2.0f;
        state.paddle_yr = world.height / 2.0f - world.paddle_height / 2.0f;
        state.ball_x = world.width / 5.0f;
        state.ball_y = world.height / 2.0f - world.ball_height / 2.0f;
        state.ball_vx = world.ball_initial_speed_x;
        // QUIRK(pong.h, reset_round, half_of_all_serves_are_flat)
        state.ball_vy = (f32)((i32)ls_below(draws, 2, SITE_SERVE) - 1) * world.ball_initial_speed_y;
        state.tick = 0;
        state.n_bounces = 0;
    }

    /// The free function `observe` of src/rules.rs.
    static __device__ void observe_if_wanted(const World& world, const State& state, const LsRegions& regions,
                                             Out& out) {
        LsWriter writer;
        if (out.observation(0, writer)) observe(world, state, regions, 0, writer);
    }

    /// `fminf(fmaxf(value, low), high)`, whose first argument wins when both are equal zeros of either sign.
    static __device__ f32 clip(f32 value, f32 low, f32 high) {
        value = value < low ? low : value;
        return value > high ? high : value;
    }
};

LS_KERNELS(pong, Pong)
