// The rules of counter in CUDA, function by function as in src/rules.rs; what is said there is not repeated here.
#include "lockstep.cuh"

const u32 WAIT = 0;
const u32 UP = 1;
const u32 DOWN = 2;
const u32 LEAP = 3;

const u32 SITE_GUST = 0;
const u32 SITE_LEAP = 1;

const u32 GRAIN_PULSE = 0;
const u32 REGION_MEMORY = 0;

/// Count up to a limit, alone or in a duel.
struct Counter {
    static const u32 AGENTS = 2;
    static const u32 WIDTH = 1;
    /// One for each agent who goes up or leaps.
    static const u32 DRAWS_MAX = 2;

    typedef f32 Reward;
    typedef LsOut<f32> Out;

    static const u32 DRAWS_FROM_HARNESS = 0;
    static const u32 DRAWS_FROM_GENERATOR = 1;

    /// src/cuda.rs fills it.
    struct World {
        u32 agents;
        i32 limit;
        u32 memory;
        u32 draws;
    };

    /// src/state.rs
    struct State {
        i32 value;
        u32 deciders;
        i32 purse[2];
        u32 tick;
        u32 generator;
    };
    static_assert(sizeof(State) == 24, "the layout is that of src/state.rs");

    /// `up` moves by three units at most, and two agents may go up in one step.
    static __device__ u32 rows_max(const World&, u32) { return 6; }

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
        out.field(&world, &world.draws);
    }

    static __device__ void reset(const World& world, State& state, LsRegions& regions, LsStart start, LsDraws&,
                                 Out& out) {
        state = State{0, everybody(world), {0, 0}, 0, 0};
        if (world.draws == DRAWS_FROM_GENERATOR) {
            state.generator = (u32)start.seed ^ (u32)start.stream * 0x9E3779B9u ^ start.episode * 0x85EBCA6Bu;
        }
        if (world.memory > 0) {
            ls_clear(regions, REGION_MEMORY);
        }
        observe_all(world, state, regions, out);
    }

    static __device__ u32 deciders(const World&, const State& state) { return state.deciders; }

    static __device__ void legal(const World&, const State& state, const LsRegions&, u32 agent, LsMask& mask) {
        ls_allow(mask, WAIT);
        ls_allow(mask, UP);
        if (state.value > 0) {
            ls_allow(mask, DOWN);
        }
        if (state.purse[agent] > 0) {
            ls_allow(mask, LEAP);
        }
    }

    static __device__ LsOutcome step(const World& world, State& state, LsRegions& regions, const u32* action,
                                     LsDraws& draws, Out& out) {
        state.tick += 1;
        f32 rewards[2] = {0.0f, 0.0f};
        u32 leapt = 0;
        bool terminated = false;
        u32 deciders = state.deciders;
        for (u32 agent = 0; agent < world.agents; agent++) {
            if ((deciders >> agent & 1) == 0) continue;
            switch (action[agent]) {
            case UP: {
                u32 count = 1 + draw(world, state, draws, 3, SITE_GUST);
                for (u32 i = 0; i < count; i++) {
                    state.value = ls_add(state.value, 1);
                    pulse(world, state, regions, agent, out);
                }
                // QUIRK(Counter.step, tenth_of_a_point_is_a_single)
                rewards[agent] += 0.1f;
                break;
            }
            case DOWN:
                state.value = ls_add(state.value, -1);
                pulse(world, state, regions, agent, out);
                break;
            case LEAP:
                state.purse[agent] = ls_add(state.purse[agent], -1);
                state.value = ls_add(state.value, (i32)draw(world, state, draws, 6, SITE_LEAP));
                leapt |= 1u << agent;
                break;
            default:
                state.purse[agent] = ls_add(state.purse[agent], 1);
            }
            if (state.value >= world.limit) {
                for (u32 other = 0; other < 2; other++) {
                    rewards[other] += other == agent ? 1.0f : -1.0f;
                }
                terminated = true;
                break;
            }
        }
        if (deciders == 3 && leapt == 1) {
            state.deciders = 2;
        } else if (deciders == 3 && leapt == 2) {
            state.deciders = 1;
        } else {
            state.deciders = everybody(world);
        }
        for (u32 agent = 0; agent < world.agents; agent++) {
            out.reward(agent, rewards[agent]);
        }
        // QUIRK(Counter.step, leap_leaves_the_observation_stale)
        if (leapt == 0 || terminated) {
            observe_all(world, state, regions, out);
        }
        return {terminated, false};
    }

    static __device__ void observe(const World& world, const State& state, const LsRegions&, u32 agent,
                                   LsWriter& out) {
        out.put_f32((f32)state.value / (f32)world.limit);
        out.put_f32((f32)state.purse[agent]);
        out.put_f32((f32)(state.deciders >> agent & 1));
    }

    static __device__ void canonical(const World&, const State& state, LsWriter& out) {
        out.put_i32(state.value);
        out.put_u32(state.deciders);
        out.put_i32(state.purse[0]);
        out.put_i32(state.purse[1]);
        out.put_u32(state.tick);
        out.put_u32(state.generator);
    }

    static __device__ bool inject(const World& world, State& state, LsReader& input) {
        state.value = input.get_i32();
        state.deciders = input.get_u32();
        state.purse[0] = input.get_i32();
        state.purse[1] = input.get_i32();
        state.tick = input.get_u32();
        state.generator = input.get_u32();
        return state.deciders != 0 && (state.deciders & ~everybody(world)) == 0;
    }

    static __device__ u32 everybody(const World& world) { return (1u << world.agents) - 1; }

    static __device__ u32 draw(const World& world, State& state, LsDraws& draws, u32 bound, u32 site) {
        if (world.draws == DRAWS_FROM_HARNESS) {
            return ls_below(draws, bound, site);
        }
        state.generator = state.generator * 1664525u + 1013904223u;
        u32 value = ls_scale(state.generator, bound);
        ls_note(draws, bound, value, site);
        return value;
    }

    static __device__ void pulse(const World& world, const State& state, LsRegions& regions, u32 agent, Out& out) {
        LsWriter row;
        if (out.row(GRAIN_PULSE, row)) {
            row.put_u32(agent);
            row.put_i32(state.value);
        }
        if (world.memory > 0) {
            u32 cell = ((u32)state.value * 257u + state.tick) % world.memory;
            ls_store8(regions, REGION_MEMORY, cell, (u8)(ls_load8(regions, REGION_MEMORY, cell) + 1));
        }
    }

    static __device__ void observe_all(const World& world, const State& state, const LsRegions& regions, Out& out) {
        for (u32 agent = 0; agent < world.agents; agent++) {
            LsWriter writer;
            if (out.observation(agent, writer)) observe(world, state, regions, agent, writer);
        }
    }
};

LS_KERNELS(counter, Counter)
