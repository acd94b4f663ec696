// The rules of the lantern in CUDA, function by function as in src/rules.rs.
#include "lockstep.cuh"

const u32 WAIT = 0;
const u32 TRIM = 1;
const u32 REFILL = 2;

const u32 SITE_WIND = 0;
const u32 GRAIN_GUST = 0;

struct Lantern {
    static const u32 AGENTS = 1;
    static const u32 WIDTH = 1;
    /// One for each gust; `gusts` is at most 1000.
    static const u32 DRAWS_MAX = 1000;

    typedef f32 Reward;
    typedef LsOut<f32> Out;

    /// src/cuda.rs fills it: the same fields in the same order.
    struct World {
        f32 oil_max;
        u32 gusts;
        u32 ported;
    };

    /// src/state.rs: the same fields in the same order.
    struct State {
        f32 oil;
        f32 flame;
        u32 wear[2];
        i32 refills;
        u32 age;
        u32 rng;
    };
    static_assert(sizeof(State) == 28, "the layout is that of src/state.rs");

    /// Rows of a grain that one step writes at most.
    static __device__ u32 rows_max(const World& world, u32) { return world.gusts; }

    static __device__ void layout(LsLayout& out) {
        State state;
        World world;
        out.put(sizeof(State));
        out.field(&state, &state.oil);
        out.field(&state, &state.flame);
        out.field(&state, &state.wear);
        out.field(&state, &state.refills);
        out.field(&state, &state.age);
        out.field(&state, &state.rng);
        out.put(sizeof(World));
        out.field(&world, &world.oil_max);
        out.field(&world, &world.gusts);
        out.field(&world, &world.ported);
    }

    static __device__ void reset(const World& world, State& state, LsRegions& regions, LsStart start, LsDraws&,
                                 Out& out) {
        u32 rng = world.ported ? ((u32)start.seed ^ start.episode) | 1u : 0u;
        state = State{world.oil_max, 1.0f, {0, 0}, 3, 0, rng};
        look(world, state, regions, out);
    }

    static __device__ u32 deciders(const World&, const State&) { return 1; }

    static __device__ void legal(const World&, const State& state, const LsRegions&, u32, LsMask& mask) {
        ls_allow(mask, WAIT);
        ls_allow(mask, TRIM);
        if (state.refills > 0) ls_allow(mask, REFILL);
    }

    static __device__ LsOutcome step(const World& world, State& state, LsRegions& regions, const u32* action,
                                     LsDraws& draws, Out& out) {
        state.age += 1;
        if (action[0] == REFILL) {
            state.refills = ls_add(state.refills, -1);
            state.oil = world.oil_max;
            out.reward(0, 0.0f);
            return {false, false};
        }
        if (action[0] == TRIM) {
            f32 trimmed = (f32)((f64)state.flame + 0.3);
            state.flame = trimmed > 1.5f ? 1.5f : trimmed;
        }
        for (u32 i = 0; i < world.gusts; i++) {
            state.oil = (f32)((f64)state.oil - 0.1 * (f64)state.flame);
            f32 wind = (f32)draw(world, state, draws, 8, SITE_WIND) / 16.0f;
            state.flame -= wind - (f32)(state.refills / 2) * 0.01f;
            set_wear(state, wear(state) + (f64)(state.flame * state.flame));
            LsWriter row;
            if (out.row(GRAIN_GUST, row)) {
                row.put_f32(state.oil);
                row.put_f32(state.flame);
            }
            if (state.flame <= 0.0f || state.oil <= 0.0f) break;
        }
        bool terminated = state.flame <= 0.0f || state.oil <= 0.0f;
        out.reward(0, terminated ? -1.0f : 0.05f);
        look(world, state, regions, out);
        return {terminated, false};
    }

    static __device__ void observe(const World& world, const State& state, const LsRegions&, u32, LsWriter& out) {
        out.put_f32(state.oil / world.oil_max);
        out.put_f32(state.flame);
        out.put_f32(state.refills > 0 ? 1.0f : 0.0f);
    }

    static __device__ void canonical(const World&, const State& state, LsWriter& out) {
        out.put_f32(state.oil);
        out.put_f32(state.flame);
        out.put_f64(wear(state));
        out.put_i32(state.refills);
        out.put_u32(state.age);
        out.put_u32(state.rng);
    }

    /// Returns whether the state is accepted: refuse what src/rules.rs refuses, and nothing else.
    static __device__ bool inject(const World& world, State& state, LsReader& input) {
        state.oil = input.get_f32();
        state.flame = input.get_f32();
        set_wear(state, input.get_f64());
        state.refills = input.get_i32();
        state.age = input.get_u32();
        state.rng = input.get_u32();
        return (world.ported != 0) != (state.rng == 0);
    }

    static __device__ u32 draw(const World& world, State& state, LsDraws& draws, u32 bound, u32 site) {
        if (!world.ported) return ls_below(draws, bound, site);
        state.rng ^= state.rng << 13;
        state.rng ^= state.rng >> 17;
        state.rng ^= state.rng << 5;
        u32 value = state.rng % bound;
        ls_note(draws, bound, value, site);
        return value;
    }

    static __device__ void look(const World& world, const State& state, const LsRegions& regions, Out& out) {
        LsWriter writer;
        if (out.observation(0, writer)) observe(world, state, regions, 0, writer);
    }

    static __device__ f64 wear(const State& state) {
        return __longlong_as_double((i64)((u64)state.wear[0] | (u64)state.wear[1] << 32));
    }

    static __device__ void set_wear(State& state, f64 value) {
        u64 bits = (u64)__double_as_longlong(value);
        state.wear[0] = (u32)bits;
        state.wear[1] = (u32)(bits >> 32);
    }
};

LS_KERNELS(lantern, Lantern)
