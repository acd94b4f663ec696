// The rules of the cart and its pole in CUDA, function by function as in src/rules.rs.
#include "lockstep.cuh"

// src/world.rs: the constants of `CartPoleEnv.__init__`, as the same expressions.
const f64 GRAVITY = 9.8;
const f64 MASSCART = 1.0;
const f64 MASSPOLE = 0.1;
const f64 TOTAL_MASS = MASSPOLE + MASSCART;
const f64 LENGTH = 0.5;
const f64 POLEMASS_LENGTH = MASSPOLE * LENGTH;
const f64 FORCE_MAG = 10.0;
const f64 TAU = 0.02;
const f64 THETA_THRESHOLD = 24.0 * 3.141592653589793 / 360.0;
const f64 X_THRESHOLD = 2.4;
const f64 RESET_LOW = -0.05;
const f64 RESET_HIGH = 0.05;

/// The manifest names no sites, so that all draws have this one.
const u32 SITE = 0;

/// Keep a pole upright on a cart.
struct CartPole {
    static const u32 AGENTS = 1;
    static const u32 WIDTH = 1;
    /// A reset makes two for each of its four numbers; a step makes none.
    static const u32 DRAWS_MAX = 8;

    typedef f64 Reward;
    typedef LsOut<f64> Out;

    /// src/cuda.rs fills it: the same fields in the same order.
    struct World {
        u32 sutton_barto_reward;   // 0 or 1
    };
    static_assert(sizeof(World) == 4, "the layout is that of src/cuda.rs");

    /// src/state.rs: the same fields in the same order.
    struct State {
        u32 state[4][2];   // x, x_dot, theta, theta_dot: low word, high word
        i32 steps_beyond_terminated;
        u32 steps_beyond_terminated_given;
    };
    static_assert(sizeof(State) == 40, "the layout is that of src/state.rs");

    /// There are no grains.
    static __device__ u32 rows_max(const World&, u32) { return 0; }

    static __device__ void layout(LsLayout& out) {
        State state;
        World world;
        out.put(sizeof(State));
        out.field(&state, &state.state);
        out.field(&state, &state.steps_beyond_terminated);
        out.field(&state, &state.steps_beyond_terminated_given);
        out.put(sizeof(World));
        out.field(&world, &world.sutton_barto_reward);
    }

    /// `CartPoleEnv.reset`.
    static __device__ void reset(const World&, State& state, LsRegions&, LsStart, LsDraws& draws, Out& out) {
        for (u32 i = 0; i < 4; i++) {
            f64 value = uniform(draws, RESET_LOW, RESET_HIGH);
            set(state, i, value);
        }
        // `None`.
        state.steps_beyond_terminated = 0;
        state.steps_beyond_terminated_given = 0;
        look(state, out);
    }

    static __device__ u32 deciders(const World&, const State&) { return 1; }

    static __device__ void legal(const World&, const State&, const LsRegions&, u32, LsMask&) {}

    /// `CartPoleEnv.step`.
    static __device__ LsOutcome step(const World& world, State& state, LsRegions&, const u32* action, LsDraws&,
                                     Out& out) {
        f64 x = get(state, 0);
        f64 x_dot = get(state, 1);
        f64 theta = get(state, 2);
        f64 theta_dot = get(state, 3);
        f64 force = action[0] == 1 ? FORCE_MAG : -FORCE_MAG;
        f64 costheta = cos(apart(world, theta));
        f64 sintheta = sin(theta);

        // `np.square(v)` is `v * v`, rounded before it is multiplied further.
        f64 temp = (force + POLEMASS_LENGTH * (theta_dot * theta_dot) * sintheta) / TOTAL_MASS;
        f64 thetaacc = (GRAVITY * sintheta - costheta * temp) /
                       (LENGTH * (4.0 / 3.0 - MASSPOLE * (costheta * costheta) / TOTAL_MASS));
        f64 xacc = temp - POLEMASS_LENGTH * thetaacc * costheta / TOTAL_MASS;

        // The integrator is always "euler": positions move by the old velocities, so they are first.
        x = x + TAU * x_dot;
        x_dot = x_dot + TAU * xacc;
        theta = theta + TAU * theta_dot;
        theta_dot = theta_dot + TAU * thetaacc;

        set(state, 0, x);
        set(state, 1, x_dot);
        set(state, 2, theta);
        set(state, 3, theta_dot);

        bool terminated = x < -X_THRESHOLD || x > X_THRESHOLD || theta < -THETA_THRESHOLD || theta > THETA_THRESHOLD;

        bool sutton_barto_reward = world.sutton_barto_reward != 0;
        f64 reward;
        if (!terminated) {
            // QUIRK(step): a cart that comes back into its bounds is alive again, and its count of steps stays as it was.
            reward = sutton_barto_reward ? 0.0 : 1.0;
        } else if (state.steps_beyond_terminated_given == 0) {
            // Pole just fell!
            state.steps_beyond_terminated = 0;
            state.steps_beyond_terminated_given = 1;
            reward = sutton_barto_reward ? -1.0 : 1.0;
        } else {
            // QUIRK(step): a step after the end is played and counted, with another reward.
            state.steps_beyond_terminated = ls_add(state.steps_beyond_terminated, 1);
            reward = sutton_barto_reward ? -1.0 : 0.0;
        }
        out.reward(0, reward);
        look(state, out);
        return {terminated, false};
    }

    /// `np.array(self.state, dtype=np.float32)`.
    static __device__ void observe(const World&, const State& state, const LsRegions&, u32, LsWriter& out) {
        observation(state, out);
    }

    static __device__ void canonical(const World&, const State& state, LsWriter& out) {
        for (u32 i = 0; i < 4; i++) out.put_f64(get(state, i));
        out.put_i32(state.steps_beyond_terminated);
        out.put_u8((u8)state.steps_beyond_terminated_given);
    }

    /// Returns whether the state is accepted.
    static __device__ bool inject(const World&, State& state, LsReader& input) {
        for (u32 i = 0; i < 4; i++) {
            f64 value = input.get_f64();
            set(state, i, value);
        }
        i32 steps = input.get_i32();
        u32 given = input.get_u8();
        if (given > 1) return false;
        // The reference's adapter sets `None` where nothing is given, which reads as 0, whatever number came with it.
        state.steps_beyond_terminated = given == 0 ? 0 : steps;
        state.steps_beyond_terminated_given = given;
        return true;
    }

    /// `np.cos` of one f64, the C library's.
    static __device__ f64 cos(f64 angle) { return __builtin_cos(angle); }

    /// `np.sin` of one f64, the C library's.
    static __device__ f64 sin(f64 angle) { return __builtin_sin(angle); }

    /// The angle itself, since the option is 0 or 1, which a compiler doesn't know. It would else be free to join the
    /// sine and the cosine of one angle into one call of `sincos`, which can differ from both in the last bit.
    static __device__ f64 apart(const World& world, f64 angle) {
        u64 bits = (u64)__double_as_longlong(angle);
        return __longlong_as_double((i64)(bits ^ (u64)(world.sutton_barto_reward >> 1)));
    }

    /// A double in [0, 1) of 53 bits, made of two draws: the high 27 bits first, then the low 26 bits.
    static __device__ f64 random(LsDraws& draws) {
        u32 a = ls_below(draws, 134217728u, SITE);
        u32 b = ls_below(draws, 67108864u, SITE);
        return ((f64)a * 67108864.0 + (f64)b) / 9007199254740992.0;
    }

    /// One number of `np_random.uniform(low, high)`.
    static __device__ f64 uniform(LsDraws& draws, f64 low, f64 high) {
        f64 range = high - low;
        return low + range * random(draws);
    }

    /// The four numbers of the state, each rounded to an f32.
    static __device__ void observation(const State& state, LsWriter& out) {
        for (u32 i = 0; i < 4; i++) out.put_f32((f32)get(state, i));
    }

    /// Writes the observation, where somebody looks at it.
    static __device__ void look(const State& state, Out& out) {
        LsWriter writer;
        if (out.observation(0, writer)) observation(state, writer);
    }

    /// `State::get`: the number at place `i` of `state`, 0 to 3.
    static __device__ f64 get(const State& state, u32 i) {
        return __longlong_as_double((i64)((u64)state.state[i][0] | (u64)state.state[i][1] << 32));
    }

    /// `State::set`: sets the number at place `i` of `state`, 0 to 3.
    static __device__ void set(State& state, u32 i, f64 value) {
        u64 bits = (u64)__double_as_longlong(value);
        state.state[i][0] = (u32)bits;
        state.state[i][1] = (u32)(bits >> 32);
    }
};

LS_KERNELS(cart_pole, CartPole)
