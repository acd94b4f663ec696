#include "lockstep.cuh"
// The rules of Pong in CUDA, function by function as in src/rules.rs.

const u32 SITE_SERVE = 0;
const u32 GRAIN_SUBFRAME = 0;
const u32 GRAIN_EPISODE = 1;

/// Puffer Pong.
struct Pong {
    static const u32 AGENTS = 1;
    static const u32 WIDTH = 1;
    /// One serve: a step ends with its first point.
    static const u32 DRAWS_MAX = 1;

    typedef f32 Reward;
    typedef LsOut<f32> Out;

    /// src/cuda.rs fills it: the same fields in the same order. Lengths in px, speeds in px/subframe.
    struct World {
        f32 width;
        f32 height;
        f32 paddle_width;
        f32 paddle_height;
        f32 ball_width;
        f32 ball_height;
        f32 paddle_speed;
        f32 ball_initial_speed_x;
        f32 ball_initial_speed_y;
        f32 ball_max_speed_y;
        f32 ball_speed_y_increment;
        f32 min_paddle_y;
        f32 max_paddle_y;
        u32 max_score;
        u32 frameskip;
        u32 continuous;
    };
    static_assert(sizeof(World) == 64, "the layout is that of src/cuda.rs");

    /// src/state.rs: the same fields in the same order.
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

    /// Rows of a grain that one step writes at most: one for each subframe, and one episode's end.
    static __device__ u32 rows_max(const World& world, u32 grain) {
        return grain == GRAIN_SUBFRAME ? world.frameskip : 1u;
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
        out.field(&world, &world.paddle_width);
        out.field(&world, &world.paddle_height);
        out.field(&world, &world.ball_width);
        out.field(&world, &world.ball_height);
        out.field(&world, &world.paddle_speed);
        out.field(&world, &world.ball_initial_speed_x);
        out.field(&world, &world.ball_initial_speed_y);
        out.field(&world, &world.ball_max_speed_y);
        out.field(&world, &world.ball_speed_y_increment);
        out.field(&world, &world.min_paddle_y);
        out.field(&world, &world.max_paddle_y);
        out.field(&world, &world.max_score);
        out.field(&world, &world.frameskip);
        out.field(&world, &world.continuous);
    }

    /// The adapter's `environment_reset`: a fresh lane, then `c_reset`.
    static __device__ void reset(const World& world, State& state, LsRegions&, LsStart, LsDraws& draws, Out& out) {
        state.paddle_dir = 0.0f;
        state.win = 0;
        c_reset(world, state, draws, out);
    }

    static __device__ u32 deciders(const World&, const State&) { return 1; }

    static __device__ void legal(const World&, const State&, const LsRegions&, u32, LsMask&) {}

    /// `c_step`.
    static __device__ LsOutcome step(const World& world, State& state, LsRegions&, const u32* action, LsDraws& draws,
                                     Out& out) {
        state.tick = ls_add(state.tick, 1);
        f32 reward = 0.0f;
        // Move the ego paddle.
        if (world.continuous == 1) {
            state.paddle_dir = __uint_as_float(action[0]);
        } else {
            // QUIRK(c_step): any other value than 0, 1 and 2 (the extras 3 to 6) leaves the direction at 0.
            state.paddle_dir = action[0] == 1 ? 1.0f : action[0] == 2 ? -1.0f : 0.0f;
        }

        for (u32 i = 0; i < world.frameskip; i++) {
            state.paddle_yr += world.paddle_speed * state.paddle_dir;

            // Move the opponent's paddle, by the ball's old position.
            f32 opp_paddle_delta = state.ball_y - (state.paddle_yl + world.paddle_height / 2.0f);
            opp_paddle_delta = f_min(f_max(opp_paddle_delta, -world.paddle_speed), world.paddle_speed);
            state.paddle_yl += opp_paddle_delta;

            // Clip the paddles.
            state.paddle_yr = f_min(f_max(state.paddle_yr, world.min_paddle_y), world.max_paddle_y);
            state.paddle_yl = f_min(f_max(state.paddle_yl, world.min_paddle_y), world.max_paddle_y);

            // Move the ball.
            state.ball_x += state.ball_vx;
            state.ball_y += state.ball_vy;

            // Collision with the top and bottom walls, without a clip.
            if (state.ball_y < 0.0f || state.ball_y + world.ball_height > world.height) {
                state.ball_vy = -state.ball_vy;
            }

            // Collision on the left.
            if (state.ball_x < 0.0f) {
                if (state.ball_y + world.ball_height > state.paddle_yl &&
                    state.ball_y < state.paddle_yl + world.paddle_height) {
                    state.ball_vx = -state.ball_vx;
                    state.n_bounces = ls_add(state.n_bounces, 1);
                } else {
                    // WIN.
                    state.win = 1;
                    state.score_r += 1;
                    reward = 1.0f;
                    bool terminated = state.score_r == world.max_score;
                    end_of_round(world, state, terminated, draws, out);
                    out.reward(0, reward);
                    return {terminated, false};
                }
            }

            // Collision on the right.
            if (state.ball_x + world.ball_width > world.width) {
                if (state.ball_y + world.ball_height > state.paddle_yr &&
                    state.ball_y < state.paddle_yr + world.paddle_height) {
                    state.ball_vx = -state.ball_vx;
                    state.n_bounces = ls_add(state.n_bounces, 1);
                    reward = 0.1f;
                    state.ball_vy += world.ball_speed_y_increment * state.paddle_dir;
                    state.ball_vy = f_min(f_max(state.ball_vy, -world.ball_max_speed_y), world.ball_max_speed_y);
                    // The literal is a double, and so is the comparison.
                    if ((f64)ls_abs(state.ball_vy) < 0.01) {
                        state.ball_vy = world.ball_speed_y_increment;
                    }
                } else {
                    // LOSE.
                    state.win = 0;
                    state.score_l += 1;
                    reward = -1.0f;
                    bool terminated = state.score_l == world.max_score;
                    end_of_round(world, state, terminated, draws, out);
                    out.reward(0, reward);
                    return {terminated, false};
                }

                // Clip the ball.
                state.ball_x = f_min(f_max(state.ball_x, 0.0f), world.width - world.ball_width);
                state.ball_y = f_min(f_max(state.ball_y, 0.0f), world.height - world.ball_height);
            }
            compute_observations(world, state, out);
            subframe_row(state, out);
        }
        out.reward(0, reward);
        return {false, false};
    }

    /// The values of `compute_observations`.
    static __device__ void observe(const World& world, const State& state, const LsRegions&, u32, LsWriter& out) {
        write_observation(world, state, out);
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

    /// Returns whether the state is accepted; src/rules.rs refuses none.
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

    /// `fmaxf`: the larger one; of equal values (zeros of either sign) the second, of a NaN and a number the number.
    static __device__ f32 f_max(f32 x, f32 y) {
        if (x != x) return y;
        if (y != y) return x;
        return x > y ? x : y;
    }

    /// `fminf`: the smaller one; of equal values (zeros of either sign) the second, of a NaN and a number the number.
    static __device__ f32 f_min(f32 x, f32 y) {
        if (x != x) return y;
        if (y != y) return x;
        return x < y ? x : y;
    }

    /// `add_log`, into a log that was 0: one row of the grain `episode`.
    static __device__ void add_log(const State& state, Out& out) {
        LsWriter row;
        if (out.row(GRAIN_EPISODE, row)) {
            f32 score_r = (f32)state.score_r;
            f32 score_l = (f32)state.score_l;
            f32 score = score_r - score_l;
            row.put_f32(score_r / (score_l + score_r));
            row.put_f32(score);
            row.put_f32(score);
            row.put_f32((f32)state.tick);
            row.put_f32(1.0f);
        }
    }

    /// `compute_observations`, where somebody looks at it.
    static __device__ void compute_observations(const World& world, const State& state, Out& out) {
        LsWriter writer;
        if (out.observation(0, writer)) write_observation(world, state, writer);
    }

    /// The eight numbers of `compute_observations`.
    static __device__ void write_observation(const World& world, const State& state, LsWriter& out) {
        out.put_f32((state.paddle_yl - world.min_paddle_y) / (world.max_paddle_y - world.min_paddle_y));
        out.put_f32((state.paddle_yr - world.min_paddle_y) / (world.max_paddle_y - world.min_paddle_y));
        out.put_f32(state.ball_x / world.width);
        out.put_f32(state.ball_y / world.height);
        out.put_f32((state.ball_vx + world.ball_initial_speed_x) / (2.0f * world.ball_initial_speed_x));
        out.put_f32((state.ball_vy + world.ball_max_speed_y) / (2.0f * world.ball_max_speed_y));
        // QUIRK(compute_observations): whole numbers are divided, and only the quotient becomes a float.
        out.put_f32((f32)(state.score_l / world.max_score));
        out.put_f32((f32)(state.score_r / world.max_score));
    }

    /// `reset_round`: a serve. Leaves `paddle_dir`, `win` and the scores, and writes no observation.
    static __device__ void reset_round(const World& world, State& state, LsDraws& draws) {
        state.paddle_yl = world.height / 2.0f - world.paddle_height / 2.0f;
        state.paddle_yr = world.height / 2.0f - world.paddle_height / 2.0f;
        state.ball_x = world.width / 5.0f;
        state.ball_y = world.height / 2.0f - world.ball_height / 2.0f;
        state.ball_vx = world.ball_initial_speed_x;
        // QUIRK(reset_round): the factor is -1 or 0, never 1.
        i32 serve = (i32)ls_below(draws, 2, SITE_SERVE);
        state.ball_vy = (f32)(serve % 2 - 1) * world.ball_initial_speed_y;
        state.tick = 0;
        state.n_bounces = 0;
    }

    /// `c_reset`.
    static __device__ void c_reset(const World& world, State& state, LsDraws& draws, Out& out) {
        reset_round(world, state, draws);
        state.score_l = 0;
        state.score_r = 0;
        compute_observations(world, state, out);
    }

    /// What `c_step` does after a point, before it returns.
    static __device__ void end_of_round(const World& world, State& state, bool terminated, LsDraws& draws, Out& out) {
        if (terminated) {
            add_log(state, out);
            c_reset(world, state, draws, out);
        } else {
            // QUIRK(c_step): no observation after a point that ends no episode, so it stays as it was.
            reset_round(world, state, draws);
        }
        subframe_row(state, out);
    }

    /// The adapter's row after each subframe; after a point it shows the restart.
    static __device__ void subframe_row(const State& state, Out& out) {
        LsWriter row;
        if (out.row(GRAIN_SUBFRAME, row)) {
            row.put_f32(state.paddle_yl);
            row.put_f32(state.paddle_yr);
            row.put_f32(state.ball_x);
            row.put_f32(state.ball_y);
            row.put_f32(state.ball_vx);
            row.put_f32(state.ball_vy);
        }
    }
};

LS_KERNELS(pong, Pong)
