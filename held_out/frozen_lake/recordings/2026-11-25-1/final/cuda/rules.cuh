// The rules of FrozenLake-v1 in CUDA, function by function as in src/rules.rs.
#include "lockstep.cuh"

const u32 LEFT = 0;
const u32 DOWN = 1;
const u32 RIGHT = 2;
const u32 UP = 3;

/// The manifest names no sites.
const u32 SITE = 0;

/// `cumsum([fail_rate, success_rate, fail_rate])[0]` * 2^53.
const u64 CSPROB_0 = 3002399751580331ull;
/// `cumsum([fail_rate, success_rate, fail_rate])[1]` * 2^53. The third sum is exactly 1.0, above every number drawn.
const u64 CSPROB_1 = 6004799503160662ull;

struct FrozenLake {
    static const u32 AGENTS = 1;
    static const u32 WIDTH = 1;
    /// One number, which is two draws, in each reset and each step.
    static const u32 DRAWS_MAX = 2;

    typedef f64 Reward;
    typedef LsOut<f64> Out;

    /// src/cuda.rs fills it: the same fields in the same order.
    struct World {
        u32 nrow;
        u32 ncol;
        u32 hole;
        u32 goal;
        u32 start;
    };
    static_assert(sizeof(World) == 20, "the layout is that of src/cuda.rs");

    /// src/state.rs: the same fields in the same order.
    struct State {
        i32 s;
        i32 lastaction;
        u32 lastaction_given;
    };
    static_assert(sizeof(State) == 12, "the layout is that of src/state.rs");

    /// What `inc` returns.
    struct Place {
        i32 row;
        i32 col;
    };

    /// What `update_probability_matrix` returns.
    struct Transition {
        i32 s;
        f64 reward;
        bool terminated;
    };

    /// There are no grains.
    static __device__ u32 rows_max(const World&, u32) { return 0; }

    static __device__ void layout(LsLayout& out) {
        State state;
        World world;
        out.put(sizeof(State));
        out.field(&state, &state.s);
        out.field(&state, &state.lastaction);
        out.field(&state, &state.lastaction_given);
        out.put(sizeof(World));
        out.field(&world, &world.nrow);
        out.field(&world, &world.ncol);
        out.field(&world, &world.hole);
        out.field(&world, &world.goal);
        out.field(&world, &world.start);
    }

    /// `reset`.
    static __device__ void reset(const World& world, State& state, LsRegions& regions, LsStart, LsDraws& draws,
                                 Out& out) {
        // QUIRK(reset): a number is drawn although `initial_state_distrib` is 1 at the only S, so that the sample is
        // always the start.
        random(draws);
        state.s = (i32)world.start;
        state.lastaction = 0;
        state.lastaction_given = 0;
        look(world, state, regions, out);
    }

    static __device__ u32 deciders(const World&, const State&) { return 1; }

    /// There is no mask.
    static __device__ void legal(const World&, const State&, const LsRegions&, u32, LsMask&) {}

    /// `step`, with the row `P[s][a]` worked out where it is needed.
    static __device__ LsOutcome step(const World& world, State& state, LsRegions& regions, const u32* action,
                                     LsDraws& draws, Out& out) {
        u32 a = action[0];
        // QUIRK(step): a number is drawn also on H and G, where the row has a single transition.
        u64 number = random(draws);
        Transition transition;
        if (is_end(world, state.s)) {
            // QUIRK(__init__): a step on H or G stays there and ends again; its reward is 0, on G too.
            transition.s = state.s;
            transition.reward = 0.0;
            transition.terminated = true;
        } else {
            u32 i = categorical_sample(number);
            // [(a - 1) % 4, a, (a + 1) % 4][i], with Python's remainder.
            u32 b = (a + 3u + i) & 3u;
            i32 ncol = (i32)world.ncol;
            transition = update_probability_matrix(world, state.s / ncol, state.s % ncol, b);
        }
        state.s = transition.s;
        state.lastaction = (i32)a;
        state.lastaction_given = 1;
        out.reward(0, transition.reward);
        look(world, state, regions, out);
        return {transition.terminated, false};
    }

    /// The observation is `int(s)`.
    static __device__ void observe(const World&, const State& state, const LsRegions&, u32, LsWriter& out) {
        out.put_i32(state.s);
    }

    static __device__ void canonical(const World&, const State& state, LsWriter& out) {
        out.put_i32(state.s);
        out.put_i32(state.lastaction);
        out.put_u8((u8)state.lastaction_given);
    }

    /// Returns whether the state is accepted: refuses what src/rules.rs refuses, and nothing else.
    static __device__ bool inject(const World& world, State& state, LsReader& input) {
        i32 s = input.get_i32();
        i32 lastaction = input.get_i32();
        u32 lastaction_given = input.get_u8();
        i32 tiles = (i32)(world.nrow * world.ncol);
        if (s < 0 || s >= tiles) return false;
        if (lastaction_given > 1) return false;
        state.s = s;
        // QUIRK(put): without the flag `lastaction` becomes None, which is read as 0 whatever was given.
        state.lastaction = lastaction_given == 1 ? lastaction : 0;
        state.lastaction_given = lastaction_given;
        return true;
    }

    /// `np_random.random()` * 2^53: the upper 27 bits are drawn first, then the lower 26.
    static __device__ u64 random(LsDraws& draws) {
        u32 a = ls_below(draws, 1u << 27, SITE);
        u32 b = ls_below(draws, 1u << 26, SITE);
        return ((u64)a << 26) + (u64)b;
    }

    /// `categorical_sample` of a slippery row: the first sum that is above the number.
    static __device__ u32 categorical_sample(u64 number) {
        // QUIRK(categorical_sample): the sums are rounded. 1.0 - success_rate is a tie that goes up, so fail_rate is
        // one ulp above success_rate; the second sum is a tie too, and the third comes out as 1.0.
        if (number < CSPROB_0) return 0;
        if (number < CSPROB_1) return 1;
        return 2;
    }

    /// `to_s`.
    static __device__ i32 to_s(const World& world, i32 row, i32 col) { return row * (i32)world.ncol + col; }

    /// `inc`.
    static __device__ Place inc(const World& world, i32 row, i32 col, u32 a) {
        if (a == LEFT) {
            col = col - 1 > 0 ? col - 1 : 0;
        } else if (a == DOWN) {
            i32 last = (i32)world.nrow - 1;
            row = row + 1 < last ? row + 1 : last;
        } else if (a == RIGHT) {
            i32 last = (i32)world.ncol - 1;
            col = col + 1 < last ? col + 1 : last;
        } else if (a == UP) {
            row = row - 1 > 0 ? row - 1 : 0;
        }
        return {row, col};
    }

    /// `update_probability_matrix`: the tile moved to, the reward, whether the episode ends there.
    static __device__ Transition update_probability_matrix(const World& world, i32 row, i32 col, u32 action) {
        Place place = inc(world, row, col, action);
        i32 new_state = to_s(world, place.row, place.col);
        bool terminated = is_end(world, new_state);
        // reward_schedule is (1, 0, 0): G, H, and F with S.
        f64 reward = is_goal(world, new_state) ? 1.0 : 0.0;
        return {new_state, reward, terminated};
    }

    /// Writes the observation, where somebody looks at it.
    static __device__ void look(const World& world, const State& state, const LsRegions& regions, Out& out) {
        LsWriter writer;
        if (out.observation(0, writer)) observe(world, state, regions, 0, writer);
    }

    /// `letter in b"GH"` of tile `s`.
    static __device__ bool is_end(const World& world, i32 s) {
        return ((world.hole | world.goal) & (1u << ((u32)s & 31u))) != 0;
    }

    /// Whether tile `s` is G.
    static __device__ bool is_goal(const World& world, i32 s) {
        return (world.goal & (1u << ((u32)s & 31u))) != 0;
    }
};

LS_KERNELS(frozen_lake, FrozenLake)
