#include "lockstep.cuh"
// The rules of CliffWalking-v1 in CUDA, function by function as in src/rules.rs.

const u32 UP = 0;
const u32 RIGHT = 1;
const u32 DOWN = 2;
const u32 LEFT = 3;

/// src/world.rs: `self.shape[0]`.
const i32 ROWS = 4;
/// src/world.rs: `self.shape[1]`.
const i32 COLS = 12;
/// src/world.rs: `self.nS`.
const i32 CELLS = 48;
/// src/world.rs: `self.start_state_index`.
const i32 START = 36;

/// The site of `np_random.random()` in `categorical_sample`: that of src/rules.rs, a draw without a site.
const u32 SITE_RANDOM = 0xFFFFFFFFu;

struct CliffWalking {
    static const u32 AGENTS = 1;
    static const u32 WIDTH = 1;
    /// The two of one `draw_random`, in a step and in a reset.
    static const u32 DRAWS_MAX = 2;

    typedef f64 Reward;
    typedef LsOut<f64> Out;

    /// src/cuda.rs fills it: the same fields in the same order.
    struct World {
        i32 start;
    };
    static_assert(sizeof(World) == 4, "the layout is that of src/cuda.rs");

    /// src/state.rs: the same fields in the same order.
    struct State {
        i32 s;
        i32 last_action;
        u32 last_action_given;
    };
    static_assert(sizeof(State) == 12, "the layout is that of src/state.rs");

    /// What `transition` gives: the next cell, the reward, and whether the episode is over.
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
        out.field(&state, &state.last_action);
        out.field(&state, &state.last_action_given);
        out.put(sizeof(World));
        out.field(&world, &world.start);
    }

    /// `reset`.
    static __device__ void reset(const World& world, State& state, LsRegions& regions, LsStart, LsDraws& draws,
                                 Out& out) {
        // QUIRK(reset): the initial state is drawn, although only one cell has a probability.
        draw_random(draws);
        state = State{world.start, 0, 0};
        write_observation(world, state, regions, out);
    }

    static __device__ u32 deciders(const World&, const State&) { return 1; }

    /// Not called, since there is no mask; all actions are legal everywhere.
    static __device__ void legal(const World&, const State&, const LsRegions&, u32, LsMask& mask) {
        ls_allow(mask, UP);
        ls_allow(mask, RIGHT);
        ls_allow(mask, DOWN);
        ls_allow(mask, LEFT);
    }

    /// `step`.
    static __device__ LsOutcome step(const World& world, State& state, LsRegions& regions, const u32* action,
                                     LsDraws& draws, Out& out) {
        // QUIRK(step): the transition is drawn, although there is only one, of probability 1.
        draw_random(draws);
        // QUIRK(step): the goal and the cliff's cells have transitions as all others; nothing returns early there.
        Transition next = transition(state.s, action[0]);
        state.s = next.s;
        state.last_action = (i32)action[0];
        state.last_action_given = 1;
        write_observation(world, state, regions, out);
        out.reward(0, next.reward);
        return {next.terminated, false};
    }

    static __device__ void observe(const World&, const State& state, const LsRegions&, u32, LsWriter& out) {
        out.put_i32(state.s);
    }

    static __device__ void canonical(const World&, const State& state, LsWriter& out) {
        out.put_i32(state.s);
        out.put_i32(state.last_action);
        out.put_u8((u8)state.last_action_given);
    }

    /// Returns whether the state is accepted: refuses what src/rules.rs refuses, and nothing else.
    static __device__ bool inject(const World&, State& state, LsReader& input) {
        i32 s = input.get_i32();
        i32 last_action = input.get_i32();
        u32 given = input.get_u8();
        if (s < 0 || s >= CELLS) return false;
        if (given > 1) return false;
        state.s = s;
        // Where no action is given the reference keeps None, which reads as 0.
        state.last_action = given == 1 ? last_action : 0;
        state.last_action_given = given;
        return true;
    }

    /// `np_random.random()` of `categorical_sample`, whose value never matters. A double of 53 bits is made of two
    /// draws: the upper 27 bits, then the lower 26.
    static __device__ void draw_random(LsDraws& draws) {
        (void)ls_below(draws, 1u << 27, SITE_RANDOM);
        (void)ls_below(draws, 1u << 26, SITE_RANDOM);
    }

    /// `_limit_coordinates`.
    static __device__ void limit_coordinates(i32& row, i32& col) {
        row = row > ROWS - 1 ? ROWS - 1 : row;
        row = row < 0 ? 0 : row;
        col = col > COLS - 1 ? COLS - 1 : col;
        col = col < 0 ? 0 : col;
    }

    /// `_calculate_transition_prob` where nothing is slippery. `s` is 0 to 47, so nothing here can overflow.
    static __device__ Transition transition(i32 s, u32 action) {
        i32 row = s / COLS;
        i32 col = s % COLS;
        if (action == UP) {
            row -= 1;
        } else if (action == RIGHT) {
            col += 1;
        } else if (action == DOWN) {
            row += 1;
        } else {
            col -= 1;
        }
        limit_coordinates(row, col);
        // `_cliff[3, 1:-1]`.
        if (row == ROWS - 1 && col >= 1 && col < COLS - 1) return Transition{START, -100.0, false};
        return Transition{row * COLS + col, -1.0, row == ROWS - 1 && col == COLS - 1};
    }

    /// Writes the observation, where somebody looks at it.
    static __device__ void write_observation(const World& world, const State& state, const LsRegions& regions,
                                             Out& out) {
        LsWriter writer;
        if (out.observation(0, writer)) observe(world, state, regions, 0, writer);
    }
};

LS_KERNELS(cliff_walking, CliffWalking)
