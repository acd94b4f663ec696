#include "lockstep.cuh"
// The rules of the ferry in CUDA, function by function as in src/rules.rs.

// `WIDTH` and `HEIGHT` of src/world.rs; `Ferry::WIDTH` is the number of tokens of an action.
const i32 BOARD_WIDTH = 15;
const i32 BOARD_HEIGHT = 9;
const u32 CAPACITY = 4;
const u32 QUEUE = 8;
const u32 DRIFT = 10;
const i32 TANK = 60;
const u32 PIER_COUNT = 3;
static __device__ const i32 PIERS[3][2] = {{0, 1}, {0, 7}, {14, 4}};

const u32 ABOARD_MAX = 8;
const u32 WAITING_MAX = 16;
const u32 DEBRIS_MAX = 16;

const u32 CALM = 0;
const u32 EAST = 1;
const u32 WEST = 2;

// The manifest has no sites; `Math.random()` draws at none of them.
const u32 NO_SITE = 0xFFFFFFFFu;

// `Math.PI`.
const f64 PI = 3.141592653589793;

const f64 S1 = -1.66666666666666324348e-01;
const f64 S2 = 8.33333333332248946124e-03;
const f64 S3 = -1.98412698298579493134e-04;
const f64 S4 = 2.75573137070700676789e-06;
const f64 S5 = -2.50507602534068634195e-08;
const f64 S6 = 1.58969099521155010221e-10;

const f64 C1 = 4.16666666666666019037e-02;
const f64 C2 = -1.38888888888741095749e-03;
const f64 C3 = 2.48015872894767294178e-05;
const f64 C4 = -2.75573143513906633035e-07;
const f64 C5 = 2.08757232129817482790e-09;
const f64 C6 = -1.13596475577881948265e-11;

const f64 INVPIO2 = 6.36619772367581382433e-01;
const f64 PIO2_1 = 1.57079632673412561417e+00;
const f64 PIO2_1T = 6.07710050650619224932e-11;
const f64 PIO2_2 = 6.07710050630396597660e-11;
const f64 PIO2_2T = 2.02226624879595063154e-21;
const f64 PIO2_3 = 2.02226624871116645580e-21;
const f64 PIO2_3T = 8.47842766036889956997e-32;

// The high words of pi/2, pi, 3 pi/2, 2 pi.
static __device__ const u32 NPIO2_HW[4] = {0x3FF921FBu, 0x400921FBu, 0x4012D97Cu, 0x401921FBu};

struct Ferry {
    static const u32 AGENTS = 1;
    static const u32 WIDTH = 1;
    /// Two for each `Math.random()`. Reset: 1 + 1 + 4 * 3 + 3 * 3 = 23 of them. Step: 3 in flow, 16 + 4 in drift,
    /// 1 + 3 for an arrival, so 27.
    static const u32 DRAWS_MAX = 64;

    typedef f64 Reward;
    typedef LsOut<f64> Out;

    /// src/cuda.rs fills it: the same fields in the same order.
    struct World {
        i32 ticks_max;
    };

    /// src/state.rs: the same fields in the same order.
    struct State {
        i32 x;
        i32 y;
        i32 tick;
        i32 fuel;
        i32 hull;
        i32 carried;
        i32 left;
        i32 tide;
        u32 wind;
        i32 aboard_from[8];
        i32 aboard_to[8];
        i32 aboard_patience[8];
        u32 aboard_count;
        i32 waiting_from[16];
        i32 waiting_to[16];
        i32 waiting_patience[16];
        u32 waiting_count;
        i32 debris_x[16];
        i32 debris_y[16];
        i32 debris_size[16];
        u32 debris_count;
        u32 refuelled;
        u32 capacity;
    };
    static_assert(sizeof(State) == 134 * 4, "the layout is that of src/state.rs");

    /// What `rem_pio2` gives: the quadrant, and the rest in two parts.
    struct Rest {
        i32 n;
        f64 y0;
        f64 y1;
    };

    /// There are no grains.
    static __device__ u32 rows_max(const World&, u32) { return 0; }

    static __device__ void layout(LsLayout& out) {
        State state;
        World world;
        out.put(sizeof(State));
        out.field(&state, &state.x);
        out.field(&state, &state.y);
        out.field(&state, &state.tick);
        out.field(&state, &state.fuel);
        out.field(&state, &state.hull);
        out.field(&state, &state.carried);
        out.field(&state, &state.left);
        out.field(&state, &state.tide);
        out.field(&state, &state.wind);
        out.field(&state, &state.aboard_from);
        out.field(&state, &state.aboard_to);
        out.field(&state, &state.aboard_patience);
        out.field(&state, &state.aboard_count);
        out.field(&state, &state.waiting_from);
        out.field(&state, &state.waiting_to);
        out.field(&state, &state.waiting_patience);
        out.field(&state, &state.waiting_count);
        out.field(&state, &state.debris_x);
        out.field(&state, &state.debris_y);
        out.field(&state, &state.debris_size);
        out.field(&state, &state.debris_count);
        out.field(&state, &state.refuelled);
        out.field(&state, &state.capacity);
        out.put(sizeof(World));
        out.field(&world, &world.ticks_max);
    }

    /// `reset`.
    static __device__ void reset(const World& world, State& state, LsRegions& regions, LsStart, LsDraws& draws,
                                 Out& out) {
        // The lists are empty, `wind` is calm, and everything else that is not set below is 0.
        state = State{};
        state.x = 7;
        state.y = 4;
        state.tick = 0;
        state.fuel = TANK;
        state.hull = 5;
        state.carried = 0;
        state.left = 0;
        state.refuelled = 0;
        state.tide = dice(draws, 24);
        state.wind = CALM;
        i32 crowd = 2 + dice(draws, 3);
        for (i32 i = 0; i < crowd; i++) {
            arrive(state, draws);
        }
        for (u32 i = 0; i < 3; i++) {
            i32 x = 2 + dice(draws, BOARD_WIDTH - 4);
            i32 y = dice(draws, BOARD_HEIGHT);
            i32 size = 1 + dice(draws, 3);
            push_debris(state, x, y, size);
        }
        look(world, state, regions, out);
    }

    static __device__ u32 deciders(const World&, const State&) { return 1; }

    /// `actionMasks`.
    static __device__ void legal(const World&, const State& state, const LsRegions&, u32, LsMask& mask) {
        i32 at_pier = pier(state);
        bool engine = state.fuel > 0;
        ls_allow(mask, 0);
        if (engine) {
            ls_allow(mask, 1);
            ls_allow(mask, 2);
            ls_allow(mask, 3);
            ls_allow(mask, 4);
        }
        if (at_pier >= 0 && aboard_length(state) < CAPACITY && waiting_at(state, at_pier) > 0) ls_allow(mask, 5);
        if (at_pier >= 0 && aboard_for(state, at_pier) > 0) ls_allow(mask, 6);
        if (at_pier == 2 && state.fuel < TANK) ls_allow(mask, 7);
    }

    /// `step`.
    static __device__ LsOutcome step(const World& world, State& state, LsRegions& regions, const u32* actions,
                                     LsDraws& draws, Out& out) {
        u32 action = actions[0];
        f64 reward = -0.01;
        if (action >= 1 && action <= 4) {
            reward += sail(state, action);
        } else if (action == 5) {
            reward += board(state);
        } else if (action == 6) {
            reward += land(state);
        } else if (action == 7) {
            reward += refuel(state);
        }
        // QUIRK(step): the ferry counts as moored for actions 5 to 7, even where they fail away from a pier.
        flow(state, action >= 5, draws);
        reward -= drift(state, draws);
        lose(state);
        if (waiting_length(state) < QUEUE && random(draws) < 0.12) {
            arrive(state, draws);
        }
        state.tick = ls_add(state.tick, 1);
        bool terminated = state.hull <= 0 || state.left >= 12;
        if (state.hull <= 0) {
            reward -= 3.0;
        }
        out.reward(0, reward);
        look(world, state, regions, out);
        // QUIRK(step): the reference has its own time limit, which the manifest does not name.
        bool truncated = state.tick >= world.ticks_max;
        return {terminated, truncated};
    }

    /// `observe`.
    static __device__ void observe(const World&, const State& state, const LsRegions&, u32, LsWriter& out) {
        out.put_f64((f64)state.x / (f64)BOARD_WIDTH);
        out.put_f64((f64)state.y / (f64)BOARD_HEIGHT);
        out.put_f64((f64)state.fuel / (f64)TANK);
        out.put_f64((f64)state.hull / 5.0);
        out.put_f64((f64)state.tide / 24.0);
        out.put_f64(state.wind == CALM ? 0.0 : state.wind == EAST ? 1.0 : -1.0);
        for (i32 which = 0; which < 3; which++) {
            out.put_f64((f64)waiting_at(state, which) / (f64)QUEUE);
        }
        for (i32 which = 0; which < 3; which++) {
            out.put_f64((f64)aboard_for(state, which) / (f64)CAPACITY);
        }
        // The two smallest of the sorted distances, -1 where there is none.
        f64 first = -1.0;
        f64 second = -1.0;
        u32 count = debris_length(state);
        for (u32 at = 0; at < count; at++) {
            f64 dx = (f64)state.debris_x[at] - (f64)state.x;
            f64 dy = (f64)state.debris_y[at] - (f64)state.y;
            f64 distance = hypot(dx, dy);
            if (at == 0 || distance < first) {
                second = first;
                first = distance;
            } else if (at == 1 || distance < second) {
                second = distance;
            }
        }
        out.put_f64(first);
        out.put_f64(second);
    }

    static __device__ void canonical(const World&, const State& state, LsWriter& out) {
        out.put_i32(state.x);
        out.put_i32(state.y);
        out.put_i32(state.tick);
        out.put_i32(state.fuel);
        out.put_i32(state.hull);
        out.put_i32(state.carried);
        out.put_i32(state.left);
        out.put_i32(state.tide);
        out.put_u8((u8)state.wind);
        write_list(out, state.aboard_from, ABOARD_MAX);
        write_list(out, state.aboard_to, ABOARD_MAX);
        write_list(out, state.aboard_patience, ABOARD_MAX);
        out.put_u32(state.aboard_count);
        write_list(out, state.waiting_from, WAITING_MAX);
        write_list(out, state.waiting_to, WAITING_MAX);
        write_list(out, state.waiting_patience, WAITING_MAX);
        out.put_u32(state.waiting_count);
        write_list(out, state.debris_x, DEBRIS_MAX);
        write_list(out, state.debris_y, DEBRIS_MAX);
        write_list(out, state.debris_size, DEBRIS_MAX);
        out.put_u32(state.debris_count);
        out.put_u8((u8)state.refuelled);
        out.put_u32(state.capacity);
    }

    /// Returns whether the state is accepted: refuses what src/rules.rs refuses, and nothing else.
    static __device__ bool inject(const World&, State& state, LsReader& input) {
        State next = State{};
        next.x = input.get_i32();
        next.y = input.get_i32();
        next.tick = input.get_i32();
        next.fuel = input.get_i32();
        next.hull = input.get_i32();
        next.carried = input.get_i32();
        next.left = input.get_i32();
        next.tide = input.get_i32();
        next.wind = (u32)input.get_u8();
        read_list(input, next.aboard_from, ABOARD_MAX);
        read_list(input, next.aboard_to, ABOARD_MAX);
        read_list(input, next.aboard_patience, ABOARD_MAX);
        next.aboard_count = input.get_u32();
        read_list(input, next.waiting_from, WAITING_MAX);
        read_list(input, next.waiting_to, WAITING_MAX);
        read_list(input, next.waiting_patience, WAITING_MAX);
        next.waiting_count = input.get_u32();
        read_list(input, next.debris_x, DEBRIS_MAX);
        read_list(input, next.debris_y, DEBRIS_MAX);
        read_list(input, next.debris_size, DEBRIS_MAX);
        next.debris_count = input.get_u32();
        next.refuelled = (u32)input.get_u8();
        next.capacity = input.get_u32();
        if (next.wind > WEST) return false;
        if (next.aboard_count > ABOARD_MAX) return false;
        if (next.waiting_count > WAITING_MAX) return false;
        if (next.debris_count > DEBRIS_MAX) return false;
        if (next.refuelled > 1) return false;
        // What lies behind a list's end is no part of the list: the adapter pads with 0.
        clear_aboard(next, aboard_length(next), ABOARD_MAX);
        clear_waiting(next, waiting_length(next), WAITING_MAX);
        clear_debris(next, debris_length(next), DEBRIS_MAX);
        state = next;
        return true;
    }

    /// Writes the observation, where somebody looks at it.
    static __device__ void look(const World& world, const State& state, const LsRegions& regions, Out& out) {
        LsWriter writer;
        if (out.observation(0, writer)) observe(world, state, regions, 0, writer);
    }

    /// Writes a padded list.
    static __device__ void write_list(LsWriter& out, const i32* values, u32 size) {
        for (u32 at = 0; at < size; at++) out.put_i32(values[at]);
    }

    /// Reads a padded list.
    static __device__ void read_list(LsReader& input, i32* values, u32 size) {
        for (u32 at = 0; at < size; at++) values[at] = input.get_i32();
    }

    /// `aboard.length`.
    static __device__ u32 aboard_length(const State& state) {
        return state.aboard_count < ABOARD_MAX ? state.aboard_count : ABOARD_MAX;
    }

    /// `waiting.length`.
    static __device__ u32 waiting_length(const State& state) {
        return state.waiting_count < WAITING_MAX ? state.waiting_count : WAITING_MAX;
    }

    /// `debris.length`.
    static __device__ u32 debris_length(const State& state) {
        return state.debris_count < DEBRIS_MAX ? state.debris_count : DEBRIS_MAX;
    }

    /// Zeroes vacated places of `aboard`.
    static __device__ void clear_aboard(State& state, u32 from, u32 to) {
        for (u32 at = from; at < to; at++) {
            state.aboard_from[at] = 0;
            state.aboard_to[at] = 0;
            state.aboard_patience[at] = 0;
        }
    }

    /// Zeroes vacated places of `waiting`.
    static __device__ void clear_waiting(State& state, u32 from, u32 to) {
        for (u32 at = from; at < to; at++) {
            state.waiting_from[at] = 0;
            state.waiting_to[at] = 0;
            state.waiting_patience[at] = 0;
        }
    }

    /// Zeroes vacated places of `debris`.
    static __device__ void clear_debris(State& state, u32 from, u32 to) {
        for (u32 at = from; at < to; at++) {
            state.debris_x[at] = 0;
            state.debris_y[at] = 0;
            state.debris_size[at] = 0;
        }
    }

    /// `debris.push`; called only below the bound.
    static __device__ void push_debris(State& state, i32 x, i32 y, i32 size) {
        u32 at = debris_length(state);
        if (at >= DEBRIS_MAX) return;
        state.debris_x[at] = x;
        state.debris_y[at] = y;
        state.debris_size[at] = size;
        state.debris_count = at + 1;
    }

    /// How many of `waiting` have `from === pier`.
    static __device__ u32 waiting_at(const State& state, i32 which) {
        u32 count = 0;
        u32 length = waiting_length(state);
        for (u32 at = 0; at < length; at++) {
            if (state.waiting_from[at] == which) count += 1;
        }
        return count;
    }

    /// How many of `aboard` have `to === pier`.
    static __device__ u32 aboard_for(const State& state, i32 which) {
        u32 count = 0;
        u32 length = aboard_length(state);
        for (u32 at = 0; at < length; at++) {
            if (state.aboard_to[at] == which) count += 1;
        }
        return count;
    }

    /// `clamp`, of whole numbers.
    static __device__ i32 clamp(i32 value, i32 low, i32 high) {
        i32 raised = value < low ? low : value;
        return raised > high ? high : raised;
    }

    /// `wrapping_sub`.
    static __device__ i32 subtract(i32 a, i32 b) { return (i32)((u32)a - (u32)b); }

    /// `Math.random()`, as the adapter serves it.
    static __device__ f64 random(LsDraws& draws) {
        u32 a = ls_below(draws, 1u << 27, NO_SITE);
        u32 b = ls_below(draws, 1u << 26, NO_SITE);
        return ((f64)a * 67108864.0 + (f64)b) / 9007199254740992.0;
    }

    /// `dice`. The product is not negative, so the cast rounds down.
    static __device__ i32 dice(LsDraws& draws, i32 n) { return (i32)(random(draws) * (f64)n); }

    /// `pier`: -1 away from all piers.
    static __device__ i32 pier(const State& state) {
        for (u32 at = 0; at < PIER_COUNT; at++) {
            if (PIERS[at][0] == state.x && PIERS[at][1] == state.y) return (i32)at;
        }
        return -1;
    }

    /// `sail`.
    static __device__ f64 sail(State& state, u32 action) {
        if (state.fuel <= 0) return -0.05;
        i32 dx = 0;
        i32 dy = 0;
        if (action == 1) {
            dx = 1;
        } else if (action == 2) {
            dx = -1;
        } else if (action == 3) {
            dy = 1;
        } else {
            dy = -1;
        }
        bool against = (state.wind == EAST && dx < 0) || (state.wind == WEST && dx > 0);
        // QUIRK(sail): the fuel is spent even if the ferry is blocked by the edge.
        i32 fuel = subtract(state.fuel, against ? 2 : 1);
        state.fuel = fuel < 0 ? 0 : fuel;
        // QUIRK(sail): both coordinates are clamped on every move, so a ferry outside is pulled in, and that is a move.
        i32 x = clamp(ls_add(state.x, dx), 0, BOARD_WIDTH - 1);
        i32 y = clamp(ls_add(state.y, dy), 0, BOARD_HEIGHT - 1);
        if (x == state.x && y == state.y) return -0.05;
        state.x = x;
        state.y = y;
        return 0.0;
    }

    /// `board`.
    static __device__ f64 board(State& state) {
        i32 at_pier = pier(state);
        if (at_pier < 0) return -0.05;
        u32 waiting = waiting_length(state);
        bool found = false;
        u32 best = 0;
        for (u32 at = 0; at < waiting; at++) {
            if (state.waiting_from[at] != at_pier) continue;
            if (!found || state.waiting_patience[at] < state.waiting_patience[best]) {
                found = true;
                best = at;
            }
        }
        u32 aboard = aboard_length(state);
        if (!found || aboard >= CAPACITY) return -0.05;
        i32 from = state.waiting_from[best];
        i32 to = state.waiting_to[best];
        i32 patience = state.waiting_patience[best];
        // `splice`: those behind move up.
        for (u32 at = best + 1; at < waiting; at++) {
            state.waiting_from[at - 1] = state.waiting_from[at];
            state.waiting_to[at - 1] = state.waiting_to[at];
            state.waiting_patience[at - 1] = state.waiting_patience[at];
        }
        clear_waiting(state, waiting - 1, waiting);
        state.waiting_count = waiting - 1;
        // QUIRK(board): the newcomer goes to the front of `aboard`, by `unshift`.
        for (u32 at = aboard; at > 0; at--) {
            state.aboard_from[at] = state.aboard_from[at - 1];
            state.aboard_to[at] = state.aboard_to[at - 1];
            state.aboard_patience[at] = state.aboard_patience[at - 1];
        }
        state.aboard_from[0] = from;
        state.aboard_to[0] = to;
        state.aboard_patience[0] = patience;
        state.aboard_count = aboard + 1;
        return 0.1;
    }

    /// `land`.
    static __device__ f64 land(State& state) {
        i32 at_pier = pier(state);
        u32 leaving = aboard_for(state, at_pier);
        if (at_pier < 0 || leaving == 0) return -0.05;
        u32 aboard = aboard_length(state);
        f64 sum = 0.0;
        u32 kept = 0;
        for (u32 at = 0; at < aboard; at++) {
            if (state.aboard_to[at] == at_pier) {
                sum = sum + 1.0 + (f64)state.aboard_patience[at] / 80.0;
                continue;
            }
            state.aboard_from[kept] = state.aboard_from[at];
            state.aboard_to[kept] = state.aboard_to[at];
            state.aboard_patience[kept] = state.aboard_patience[at];
            kept += 1;
        }
        clear_aboard(state, kept, aboard);
        state.aboard_count = kept;
        state.carried = ls_add(state.carried, (i32)leaving);
        return sum;
    }

    /// `refuel`.
    static __device__ f64 refuel(State& state) {
        if (pier(state) != 2 || state.fuel >= TANK) return -0.05;
        state.refuelled = 1;
        // QUIRK(refuel): the price is that of a full tank, though at most 20 are filled in.
        f64 price = (f64)subtract(TANK, state.fuel) * 0.004;
        i32 fuel = ls_add(state.fuel, 20);
        state.fuel = fuel > TANK ? TANK : fuel;
        return -price;
    }

    /// `flow`.
    static __device__ void flow(State& state, bool moored, LsDraws& draws) {
        // `%` has the sign of the dividend, in both languages.
        state.tide = ls_add(state.tide, 1) % 24;
        if (random(draws) < 0.08) {
            state.wind = (u32)dice(draws, 3);
        }
        if (moored || pier(state) >= 0) return;
        f64 strength = sin((f64)state.tide / 24.0 * 2.0 * PI);
        // QUIRK(flow): at tide 12 the strength is not 0 but some 1.2e-16, so a random number of 0 moves the ferry.
        if (random(draws) < 0.5 * absolute(strength)) {
            i32 push = strength > 0.0 ? 1 : -1;
            state.y = clamp(ls_add(state.y, push), 0, BOARD_HEIGHT - 1);
        }
    }

    /// `drift`.
    static __device__ f64 drift(State& state, LsDraws& draws) {
        f64 damage = 0.0;
        u32 count = debris_length(state);
        for (u32 at = 0; at < count; at++) {
            state.debris_y[at] = ls_add(state.debris_y[at], state.tide < 12 ? 1 : -1);
            if (state.wind != CALM && random(draws) < 0.3) {
                state.debris_x[at] = ls_add(state.debris_x[at], state.wind == EAST ? 1 : -1);
            }
        }
        u32 kept = 0;
        for (u32 at = 0; at < count; at++) {
            i32 x = state.debris_x[at];
            i32 y = state.debris_y[at];
            i32 size = state.debris_size[at];
            if (x == state.x && y == state.y) {
                state.hull = subtract(state.hull, size);
                f64 charge = 0.2 * (f64)size;
                damage = damage + charge;
                continue;
            }
            if (y >= 0 && y < BOARD_HEIGHT && x >= 0 && x < BOARD_WIDTH) {
                state.debris_x[kept] = x;
                state.debris_y[kept] = y;
                state.debris_size[kept] = size;
                kept += 1;
            }
        }
        clear_debris(state, kept, count);
        state.debris_count = kept;
        if (kept < DRIFT && random(draws) < 0.25) {
            i32 y = state.tide < 12 ? 0 : BOARD_HEIGHT - 1;
            i32 x = 1 + dice(draws, BOARD_WIDTH - 2);
            i32 size = 3;
            if (!(random(draws) < 0.2)) {
                size = 1 + dice(draws, 2);
            }
            // QUIRK(drift): a fresh piece at the ferry's place does no damage in this step.
            push_debris(state, x, y, size);
        }
        return damage;
    }

    /// `lose`.
    static __device__ void lose(State& state) {
        u32 before = waiting_length(state);
        u32 kept = 0;
        for (u32 at = 0; at < before; at++) {
            i32 patience = ls_add(state.waiting_patience[at], -1);
            if (patience > 0) {
                state.waiting_from[kept] = state.waiting_from[at];
                state.waiting_to[kept] = state.waiting_to[at];
                state.waiting_patience[kept] = patience;
                kept += 1;
            }
        }
        clear_waiting(state, kept, before);
        state.waiting_count = kept;
        state.left = ls_add(state.left, (i32)(before - kept));
    }

    /// `arrive`; called only below the bound.
    static __device__ void arrive(State& state, LsDraws& draws) {
        i32 from = dice(draws, 3);
        i32 turn = dice(draws, 2);
        i32 to = (from + 1 + turn) % 3;
        i32 patience = 40 + dice(draws, 40);
        u32 at = waiting_length(state);
        if (at >= WAITING_MAX) return;
        state.waiting_from[at] = from;
        state.waiting_to[at] = to;
        state.waiting_patience[at] = patience;
        state.waiting_count = at + 1;
    }

    /// `f64::abs`: the value without its sign bit.
    static __device__ f64 absolute(f64 value) {
        return __longlong_as_double((i64)((u64)__double_as_longlong(value) & 0x7FFFFFFFFFFFFFFFull));
    }

    /// `f64::sqrt` of a number from 1 to 2, which is all that `hypot` asks for, rounded correctly.
    ///
    /// Newton's steps come within a few units of the last place. With the number as m / 2^52 and the root as r / 2^52,
    /// r is the nearest one where m * 2^52 - r * r lies above -r and not above r; that difference is small, so it is
    /// exact modulo 2^64, and there are no ties.
    static __device__ f64 square_root(f64 value) {
        f64 guess = 0.59 + 0.41 * value;
        for (u32 i = 0; i < 4; i++) guess = 0.5 * (guess + value / guess);
        u64 m = (u64)(value * 4503599627370496.0);
        u64 r = (u64)(guess * 4503599627370496.0);
        for (u32 i = 0; i < 16; i++) {
            i64 difference = (i64)((m << 52) - r * r);
            if (difference > (i64)r) {
                r += 1;
            } else if (difference <= -(i64)r) {
                r -= 1;
            } else {
                break;
            }
        }
        return (f64)r / 4503599627370496.0;
    }

    /// `Math.hypot` of two numbers as V8 computes it: scaled by the larger one, with Kahan's summation.
    static __device__ f64 hypot(f64 x, f64 y) {
        f64 values[2] = {absolute(x), absolute(y)};
        f64 largest = 0.0;
        for (u32 i = 0; i < 2; i++) {
            if (values[i] > largest) largest = values[i];
        }
        if (largest == 0.0) return 0.0;
        f64 sum = 0.0;
        f64 compensation = 0.0;
        for (u32 i = 0; i < 2; i++) {
            f64 n = values[i] / largest;
            f64 square = n * n;
            f64 summand = square - compensation;
            f64 preliminary = sum + summand;
            compensation = (preliminary - sum) - summand;
            sum = preliminary;
        }
        // One of the two is 1 and the other at most 1, so the sum is 1 to 2.
        return square_root(sum) * largest;
    }

    /// The high word of a double.
    static __device__ u32 high_word(f64 x) { return (u32)((u64)__double_as_longlong(x) >> 32); }

    /// `Math.sin`, fdlibm's. The arguments are those of tides from -23 to 23, so below 2 pi in size.
    static __device__ f64 sin(f64 x) {
        u32 ix = high_word(x) & 0x7FFFFFFFu;
        if (ix <= 0x3FE921FBu) return kernel_sin(x, 0.0, false);
        Rest rest = rem_pio2(x);
        u32 quadrant = (u32)rest.n & 3u;
        if (quadrant == 0) return kernel_sin(rest.y0, rest.y1, true);
        if (quadrant == 1) return kernel_cos(rest.y0, rest.y1);
        if (quadrant == 2) return -kernel_sin(rest.y0, rest.y1, true);
        return -kernel_cos(rest.y0, rest.y1);
    }

    /// fdlibm's `__kernel_sin`; `tail` says whether `y` counts.
    static __device__ f64 kernel_sin(f64 x, f64 y, bool tail) {
        u32 ix = high_word(x) & 0x7FFFFFFFu;
        // Below 2^-27 the whole part is 0.
        if (ix < 0x3E400000u) return x;
        f64 z = x * x;
        f64 v = z * x;
        f64 r = S2 + z * (S3 + z * (S4 + z * (S5 + z * S6)));
        if (tail) return x - ((z * (0.5 * y - v * r) - y) - v * S1);
        return x + v * (S1 + z * r);
    }

    /// fdlibm's `__kernel_cos`.
    static __device__ f64 kernel_cos(f64 x, f64 y) {
        u32 ix = high_word(x) & 0x7FFFFFFFu;
        if (ix < 0x3E400000u) return 1.0;
        f64 z = x * x;
        f64 r = z * (C1 + z * (C2 + z * (C3 + z * (C4 + z * (C5 + z * C6)))));
        if (ix < 0x3FD33333u) return 1.0 - (0.5 * z - (z * r - x * y));
        f64 qx = ix > 0x3FE90000u ? 0.28125 : __longlong_as_double((i64)((u64)(ix - 0x00200000u) << 32));
        f64 iz = 0.5 * z - qx;
        f64 a = 1.0 - qx;
        return a - (iz - (z * r - x * y));
    }

    /// fdlibm's `__ieee754_rem_pio2`, for arguments of pi/4 to 2 pi in size: the quadrant, and the rest in two parts.
    static __device__ Rest rem_pio2(f64 x) {
        bool negative = high_word(x) >> 31 != 0;
        u32 ix = high_word(x) & 0x7FFFFFFFu;
        if (ix < 0x4002D97Cu) {
            if (!negative) {
                f64 z = x - PIO2_1;
                if (ix != 0x3FF921FBu) {
                    f64 y0 = z - PIO2_1T;
                    f64 y1 = (z - y0) - PIO2_1T;
                    return {1, y0, y1};
                }
                z = z - PIO2_2;
                f64 y0 = z - PIO2_2T;
                f64 y1 = (z - y0) - PIO2_2T;
                return {1, y0, y1};
            }
            f64 z = x + PIO2_1;
            if (ix != 0x3FF921FBu) {
                f64 y0 = z + PIO2_1T;
                f64 y1 = (z - y0) + PIO2_1T;
                return {-1, y0, y1};
            }
            z = z + PIO2_2;
            f64 y0 = z + PIO2_2T;
            f64 y1 = (z - y0) + PIO2_2T;
            return {-1, y0, y1};
        }
        f64 t = absolute(x);
        // At most 4, since the argument is below 2 pi.
        i32 n = (i32)(t * INVPIO2 + 0.5);
        f64 number = (f64)n;
        f64 r = t - number * PIO2_1;
        f64 w = number * PIO2_1T;
        f64 y0 = r - w;
        bool quick = n >= 1 && n <= 4 && ix != NPIO2_HW[n - 1];
        if (!quick) {
            i32 j = (i32)(ix >> 20);
            i32 i = j - (i32)((high_word(y0) >> 20) & 0x7FFu);
            if (i > 16) {
                t = r;
                w = number * PIO2_2;
                r = t - w;
                w = number * PIO2_2T - ((t - r) - w);
                y0 = r - w;
                i = j - (i32)((high_word(y0) >> 20) & 0x7FFu);
                if (i > 49) {
                    t = r;
                    w = number * PIO2_3;
                    r = t - w;
                    w = number * PIO2_3T - ((t - r) - w);
                    y0 = r - w;
                }
            }
        }
        f64 y1 = (r - y0) - w;
        if (negative) return {-n, -y0, -y1};
        return {n, y0, y1};
    }
};

LS_KERNELS(ferry, Ferry)
