// The rules of the treasure hunt in CUDA, function by function as in src/rules.rs.
#include "lockstep.cuh"

/// The manifest lists no `draws.sites`, and no draw is at one. The contract names no value for that, so it is 0.
const u32 SITE = 0;

const u32 PHASE_HURRY = 0;
const u32 PHASE_SEARCH = 1;

/// Room for coins in `State::coins`.
const u32 COINS_MAX = 8;

const i32 STEPS_LAST = 0x7FFFFFFF;

struct Treasure {
    static const u32 AGENTS = 1;
    static const u32 WIDTH = 1;
    /// A reset draws two numbers for each of three coins; a step draws none.
    static const u32 DRAWS_MAX = 6;

    typedef f64 Reward;
    typedef LsOut<f64> Out;

    /// src/cuda.rs fills it: the same fields in the same order.
    struct World {
        i32 size;
    };
    static_assert(sizeof(World) == 4, "the layout is that of src/cuda.rs");

    /// src/state.rs: the same fields in the same order.
    struct State {
        i32 x;
        i32 y;
        i32 steps;
        u32 phase;
        i32 coins[16];
        u32 coins_count;
        u32 capacity;
    };
    static_assert(sizeof(State) == 88, "the layout is that of src/state.rs");

    /// There are no grains.
    static __device__ u32 rows_max(const World&, u32) { return 0; }

    static __device__ void layout(LsLayout& out) {
        State state;
        World world;
        out.put(sizeof(State));
        out.field(&state, &state.x);
        out.field(&state, &state.y);
        out.field(&state, &state.steps);
        out.field(&state, &state.phase);
        out.field(&state, &state.coins);
        out.field(&state, &state.coins_count);
        out.field(&state, &state.capacity);
        out.put(sizeof(World));
        out.field(&world, &world.size);
    }

    /// `reset`.
    static __device__ void reset(const World& world, State& state, LsRegions& regions, LsStart, LsDraws& draws,
                                 Out& out) {
        state.x = 0;
        state.y = 0;
        state.steps = 0;
        state.phase = PHASE_SEARCH;
        for (u32 entry = 0; entry < 2 * COINS_MAX; entry++) state.coins[entry] = 0;
        state.coins_count = 0;
        state.capacity = 0;
        // QUIRK(reset): coins may coincide and may lie at (0, 0), where the episode begins.
        for (u32 coin = 0; coin < 3; coin++) {
            u32 x = ls_below(draws, (u32)world.size, SITE);
            u32 y = ls_below(draws, (u32)world.size, SITE);
            state.coins[2 * coin] = (i32)x;
            state.coins[2 * coin + 1] = (i32)y;
        }
        state.coins_count = 3;
        look(world, state, regions, out);
    }

    static __device__ u32 deciders(const World&, const State&) { return 1; }

    static __device__ void legal(const World&, const State&, const LsRegions&, u32, LsMask&) {}

    /// `step`.
    static __device__ LsOutcome step(const World& world, State& state, LsRegions& regions, const u32* action,
                                     LsDraws&, Out& out) {
        i32 dx = 0;
        i32 dy = 0;
        if (action[0] == 1) {
            dx = 1;
        } else if (action[0] == 2) {
            dx = -1;
        } else if (action[0] == 3) {
            dy = 1;
        } else if (action[0] == 4) {
            dy = -1;
        }
        // QUIRK(step): both are clamped in every step, so action 0 brings an injected place back to the board.
        state.x = clamped(state.x, dx, world.size);
        state.y = clamped(state.y, dy, world.size);

        // `count` and the list without the coins of this cell: all that lie here are found at once.
        u32 count = state.coins_count < COINS_MAX ? state.coins_count : COINS_MAX;
        u32 kept = 0;
        u32 found = 0;
        for (u32 coin = 0; coin < count; coin++) {
            i32 x = state.coins[2 * coin];
            i32 y = state.coins[2 * coin + 1];
            if (x == state.x && y == state.y) {
                found += 1;
            } else {
                state.coins[2 * kept] = x;
                state.coins[2 * kept + 1] = y;
                kept += 1;
            }
        }
        for (u32 entry = 2 * kept; entry < 2 * COINS_MAX; entry++) state.coins[entry] = 0;
        state.coins_count = kept;

        // `saturating_add`.
        if (state.steps < STEPS_LAST) state.steps += 1;
        // QUIRK(step): the phase is never set back to 'search' here, however few the steps.
        if (state.steps > 30) state.phase = PHASE_HURRY;
        look(world, state, regions, out);
        out.reward(0, (f64)found);
        // QUIRK(step): an empty list ends the episode also where nothing was found; both flags can be true.
        return {state.coins_count == 0, state.steps >= 60};
    }

    /// `look`.
    static __device__ void observe(const World& world, const State& state, const LsRegions&, u32, LsWriter& out) {
        out.put_f64((f64)state.x / (f64)world.size);
        out.put_f64((f64)state.y / (f64)world.size);
        out.put_f64((f64)state.coins_count);
    }

    static __device__ void canonical(const World&, const State& state, LsWriter& out) {
        out.put_i32(state.x);
        out.put_i32(state.y);
        out.put_i32(state.steps);
        out.put_u8((u8)state.phase);
        for (u32 entry = 0; entry < 2 * COINS_MAX; entry++) out.put_i32(state.coins[entry]);
        out.put_u32(state.coins_count);
        out.put_u32(state.capacity);
    }

    /// Returns whether the state is accepted: what src/rules.rs refuses is refused, and nothing else.
    static __device__ bool inject(const World&, State& state, LsReader& input) {
        State given;
        given.x = input.get_i32();
        given.y = input.get_i32();
        given.steps = input.get_i32();
        given.phase = (u32)input.get_u8();
        for (u32 entry = 0; entry < 2 * COINS_MAX; entry++) given.coins[entry] = input.get_i32();
        given.coins_count = input.get_u32();
        given.capacity = input.get_u32();
        if (given.phase > PHASE_SEARCH) return false;
        if (given.coins_count > COINS_MAX) return false;
        // The reference keeps the first `coins_count` rows and pads with zeros.
        for (u32 entry = 2 * given.coins_count; entry < 2 * COINS_MAX; entry++) given.coins[entry] = 0;
        state = given;
        return true;
    }

    /// `min(max(place + move, 0), size - 1)`; the sum is made in 64 bits, where it can't overflow.
    static __device__ i32 clamped(i32 place, i32 by, i32 size) {
        i64 moved = (i64)place + (i64)by;
        i64 last = (i64)size - 1;
        moved = moved < 0 ? 0 : moved;
        return (i32)(moved > last ? last : moved);
    }

    /// Writes the observation, where somebody looks at it.
    static __device__ void look(const World& world, const State& state, const LsRegions& regions, Out& out) {
        LsWriter writer;
        if (out.observation(0, writer)) observe(world, state, regions, 0, writer);
    }
};

LS_KERNELS(treasure, Treasure)
