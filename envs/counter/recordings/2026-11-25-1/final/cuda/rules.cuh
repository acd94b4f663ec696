#include "lockstep.cuh"

// The rules of the counter in CUDA, function by function as in src/rules.rs.

const u32 WAIT = 0;
const u32 UP = 1;
const u32 DOWN = 2;
const u32 LEAP = 3;

const u32 SITE_GUST = 0;
const u32 SITE_LEAP = 1;
const u32 GRAIN_PULSE = 0;
const u32 REGION_MEMORY = 0;

/// The adapter's `EXACT_MAX`.
const u32 EXACT_MAX = 16777216u;

struct Counter {
    static const u32 AGENTS = 2;
    static const u32 WIDTH = 1;
    /// One for each agent.
    static const u32 DRAWS_MAX = 2;

    typedef f32 Reward;
    typedef LsOut<f32> Out;

    /// src/cuda.rs fills it: the same fields in the same order.
    struct World {
        u32 agents;
        i32 limit;
        u32 memory;
        u32 exact;
    };
    static_assert(sizeof(World) == 16, "the layout is that of DeviceWorld in src/cuda.rs");

    /// src/state.rs: the same fields in the same order.
    struct State {
        i32 value;
        u32 deciders;
        i32 purse[2];
        u32 tick;
        u32 generator;
    };
    static_assert(sizeof(State) == 24, "the layout is that of src/state.rs");

    /// Rows of a grain that one step writes at most: three pulses for each agent.
    static __device__ u32 rows_max(const World& world, u32) { return world.agents * 3u; }

    static __device__ void layout(LsLayout& out) {
        State state;
        World world;
        out.put(sizeof(State));
        out.field(&state, &state.value);
        out.field(&state, &state.deciders);
        out.field(&state, &state.purse);
        out.field(&state, &state.tick);
        out.field(&state, &state.generator);
        out.put(sizeof(World));
        out.field(&world, &world.agents);
        out.field(&world, &world.limit);
        out.field(&world, &world.memory);
        out.field(&world, &world.exact);
    }

    /// `Counter.everybody`.
    static __device__ u32 everybody(const World& world) { return (1u << world.agents) - 1u; }

    /// `Counter.reset`.
    static __device__ void reset(const World& world, State& state, LsRegions& regions, LsStart start, LsDraws&,
                                 Out& out) {
        // The products bind tighter than `^`; only the low words survive the mask.
        u32 generator = 0;
        if (world.exact != 0) {
            generator = (u32)start.seed ^ ((u32)start.stream * 0x9E3779B9u) ^ (start.episode * 0x85EBCA6Bu);
        }
        state.value = 0;
        state.deciders = everybody(world);
        state.purse[0] = 0;
        state.purse[1] = 0;
        state.tick = 0;
        state.generator = generator;
        if (world.memory > 0) ls_clear(regions, REGION_MEMORY);
        look(world, state, regions, out);
    }

    static __device__ u32 deciders(const World&, const State& state) { return state.deciders; }

    /// `Counter.legal`.
    static __device__ void legal(const World&, const State& state, const LsRegions&, u32 agent, LsMask& mask) {
        ls_allow(mask, WAIT);
        ls_allow(mask, UP);
        if (state.value > 0) ls_allow(mask, DOWN);
        if (agent < AGENTS && state.purse[agent] > 0) ls_allow(mask, LEAP);
    }

    /// `Counter.step`.
    static __device__ LsOutcome step(const World& world, State& state, LsRegions& regions, const u32* action,
                                     LsDraws& draws, Out& out) {
        u32 agents = world.agents;
        state.tick += 1;
        f32 rewards[2] = {0.0f, 0.0f};
        u32 leapt = 0;
        bool terminated = false;
        for (u32 agent = 0; agent < agents; agent++) {
            // QUIRK(step): who does not decide is skipped with the look at the limit.
            if (((state.deciders >> agent) & 1u) == 0) continue;
            if (action[agent] == WAIT) {
                state.purse[agent] = ls_add(state.purse[agent], 1);
            } else if (action[agent] == UP) {
                u32 moves = 1u + below(world, state, draws, 3, SITE_GUST);
                for (u32 i = 0; i < moves; i++) {
                    state.value = ls_add(state.value, 1);
                    pulse(world, state, regions, agent, out);
                }
                // `single(0.1)`.
                rewards[agent] = rewards[agent] + 0.1f;
            } else if (action[agent] == DOWN) {
                state.value = ls_add(state.value, -1);
                pulse(world, state, regions, agent, out);
            } else {
                state.purse[agent] = ls_add(state.purse[agent], -1);
                u32 units = below(world, state, draws, 6, SITE_LEAP);
                state.value = ls_add(state.value, (i32)units);
                leapt |= 1u << agent;
            }
            if (state.value >= world.limit) {
                // The sum of doubles is exact for 0 and `single(0.1)`, so that one sum of floats rounds the same.
                for (u32 a = 0; a < agents; a++) {
                    rewards[a] = a == agent ? rewards[a] + 1.0f : rewards[a] - 1.0f;
                }
                terminated = true;
                break;
            }
        }
        // Who leaps in a duel has to sit out, unless both did.
        bool both = state.deciders == 3u;
        state.deciders = everybody(world);
        if (both && (leapt == 1u || leapt == 2u)) state.deciders = 3u - leapt;
        // QUIRK(step): after a leap the observations stay as they were, unless the game is over.
        if (leapt == 0 || terminated) look(world, state, regions, out);
        for (u32 agent = 0; agent < agents; agent++) out.reward(agent, rewards[agent]);
        // `steps_left` is the manifest's limit, counted outside.
        return {terminated, false};
    }

    /// `Counter.look`, for one agent.
    static __device__ void observe(const World& world, const State& state, const LsRegions&, u32 agent,
                                   LsWriter& out) {
        if (agent >= AGENTS) return;
        // A division of doubles, rounded when it is packed.
        out.put_f32((f32)((f64)state.value / (f64)world.limit));
        out.put_f32((f32)state.purse[agent]);
        out.put_f32((f32)((state.deciders >> agent) & 1u));
    }

    static __device__ void canonical(const World&, const State& state, LsWriter& out) {
        out.put_i32(state.value);
        out.put_u32(state.deciders);
        out.put_i32(state.purse[0]);
        out.put_i32(state.purse[1]);
        out.put_u32(state.tick);
        out.put_u32(state.generator);
    }

    /// `CounterLane.inject`. Returns whether the state is accepted.
    static __device__ bool inject(const World& world, State& state, LsReader& input) {
        i32 value = input.get_i32();
        u32 deciding = input.get_u32();
        i32 purse_0 = input.get_i32();
        i32 purse_1 = input.get_i32();
        u32 tick = input.get_u32();
        u32 generator = input.get_u32();
        if (deciding == 0 || deciding > everybody(world)) return false;
        if (unsigned_abs(value) > EXACT_MAX) return false;
        if (unsigned_abs(purse_0) > EXACT_MAX || unsigned_abs(purse_1) > EXACT_MAX) return false;
        if (tick > EXACT_MAX) return false;
        state.value = value;
        state.deciders = deciding;
        state.purse[0] = purse_0;
        state.purse[1] = purse_1;
        state.tick = tick;
        state.generator = generator;
        return true;
    }

    /// `Counter.below`: `source.below`, `below_exact`, or the replayed draws of `below_recorded`.
    static __device__ u32 below(const World& world, State& state, LsDraws& draws, u32 bound, u32 site) {
        if (world.exact == 0) return ls_below(draws, bound, site);
        state.generator = state.generator * 1664525u + 1013904223u;
        u32 value = (u32)(((u64)state.generator * (u64)bound) >> 32);
        ls_note(draws, bound, value, site);
        return value;
    }

    /// `Counter.pulse`.
    static __device__ void pulse(const World& world, const State& state, LsRegions& regions, u32 agent, Out& out) {
        LsWriter row;
        if (out.row(GRAIN_PULSE, row)) {
            row.put_u32(agent);
            row.put_i32(state.value);
        }
        if (world.memory > 0) {
            // `+` binds tighter than `&`: the sum is masked, then divided.
            u32 cell = ((u32)state.value * 257u + state.tick) % world.memory;
            u8 byte = ls_load8(regions, REGION_MEMORY, cell);
            ls_store8(regions, REGION_MEMORY, cell, (u8)((u32)byte + 1u));
        }
    }

    /// `Counter.look`: writes what everybody sees, where somebody looks at it.
    static __device__ void look(const World& world, const State& state, const LsRegions& regions, Out& out) {
        for (u32 agent = 0; agent < world.agents; agent++) {
            LsWriter writer;
            if (out.observation(agent, writer)) observe(world, state, regions, agent, writer);
        }
    }

    /// Rust's `unsigned_abs`.
    static __device__ u32 unsigned_abs(i32 value) { return value < 0 ? 0u - (u32)value : (u32)value; }
};

LS_KERNELS(counter, Counter)
