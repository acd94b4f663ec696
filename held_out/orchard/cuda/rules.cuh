// The rules of the orchard in CUDA, function by function as in src/rules.rs.
#include "lockstep.cuh"

// src/world.rs. WIDTH is a member of Orchard that the kernels read, so the field's sizes have names of their own.
const i32 FIELD_WIDTH = 9;
const i32 FIELD_HEIGHT = 7;
const u32 TREES = 8;
const u32 MAX_FRUIT = 6;
const u32 BASKET = 10;
const u32 CROWS = 16;
const i32 SEASON = 240;

/// `RIPENING`: apple, pear, plum.
static __device__ const i32 RIPENING[3] = {6, 9, 4};
/// `PRICE`: apple, pear, plum.
static __device__ const f64 PRICE[3] = {1.0, 1.5, 0.5};
/// `0.95 ** place` as C's pow gives it, in units of 2^-53.
static __device__ const f64 PLACE[10] = {
    9007199254740992.0 / 9007199254740992.0,
    8556839292003942.0 / 9007199254740992.0,
    8128997327403745.0 / 9007199254740992.0,
    7722547461033557.0 / 9007199254740992.0,
    7336420087981879.0 / 9007199254740992.0,
    6969599083582784.0 / 9007199254740992.0,
    6621119129403645.0 / 9007199254740992.0,
    6290063172933462.0 / 9007199254740992.0,
    5975560014286789.0 / 9007199254740992.0,
    5676782013572449.0 / 9007199254740992.0,
};

const u32 EAST = 1;
const u32 WEST = 2;
const u32 SOUTH = 3;
const u32 NORTH = 4;
const u32 PICK = 5;
const u32 CLAP = 6;
const u32 WATER = 7;

const u32 CLEAR = 0;
const u32 CLOUDY = 1;
const u32 RAIN = 2;

/// The manifest names no sites.
const u32 SITE = 0;

/// Attempts to place a tree, after which a taken cell is accepted: only a dead source of draws gets there.
const u32 ATTEMPTS_MAX = 4096;

/// What stands for Rust's `None` where a tree's or a fruit's place is asked for.
const u32 NOWHERE = 0xFFFFFFFFu;

struct Orchard {
    static const u32 AGENTS = 1;
    static const u32 WIDTH = 1;
    /// A reset: the sky, two for each of at most 4096 + 8 attempts, at most seven for each of 8 trees. A step makes
    /// fewer: 3 for the weather, 16 for the trees, 32 for the crows, 7 for a crow that is called.
    static const u32 DRAWS_MAX = 8265;

    typedef f64 Reward;
    typedef LsOut<f64> Out;

    /// src/cuda.rs fills it: the same fields in the same order.
    struct World {
        u32 trees;
    };

    /// src/state.rs: the same fields in the same order.
    struct State {
        i32 turn;
        i32 x;
        i32 y;
        u32 basket[10][2];
        u32 basket_count;
        u32 money[2];
        i32 water;
        i32 rotted;
        i32 stolen;
        u32 sky;
        i32 trees_x[8];
        i32 trees_y[8];
        u32 trees_kind[8];
        u32 trees_moisture[8][2];
        i32 trees_fruit[8][6];
        u32 trees_fruit_count[8];
        i32 crows_x[16];
        i32 crows_y[16];
        i32 crows_hunger[16];
        u32 crows_seated[16];
        u32 crows_count;
        u32 capacity;
    };
    static_assert(sizeof(State) == 768, "the layout is that of src/state.rs");

    /// There are no grains.
    static __device__ u32 rows_max(const World&, u32) { return 0; }

    static __device__ void layout(LsLayout& out) {
        State state;
        World world;
        out.put(sizeof(State));
        out.field(&state, &state.turn);
        out.field(&state, &state.x);
        out.field(&state, &state.y);
        out.field(&state, &state.basket);
        out.field(&state, &state.basket_count);
        out.field(&state, &state.money);
        out.field(&state, &state.water);
        out.field(&state, &state.rotted);
        out.field(&state, &state.stolen);
        out.field(&state, &state.sky);
        out.field(&state, &state.trees_x);
        out.field(&state, &state.trees_y);
        out.field(&state, &state.trees_kind);
        out.field(&state, &state.trees_moisture);
        out.field(&state, &state.trees_fruit);
        out.field(&state, &state.trees_fruit_count);
        out.field(&state, &state.crows_x);
        out.field(&state, &state.crows_y);
        out.field(&state, &state.crows_hunger);
        out.field(&state, &state.crows_seated);
        out.field(&state, &state.crows_count);
        out.field(&state, &state.capacity);
        out.put(sizeof(World));
        out.field(&world, &world.trees);
    }

    /// `reset`.
    static __device__ void reset(const World& world, State& state, LsRegions& regions, LsStart, LsDraws& draws,
                                 Out& out) {
        state = State{};
        state.turn = 0;
        state.x = FIELD_WIDTH / 2;
        state.y = FIELD_HEIGHT / 2;
        put(state.money, 0.0);
        state.water = 0;
        state.rotted = 0;
        state.stolen = 0;
        state.sky = ls_below(draws, 3, SITE);
        u32 planted = 0;
        u32 attempts = 0;
        while (planted < TREES) {
            i32 x = (i32)ls_below(draws, (u32)FIELD_WIDTH, SITE);
            i32 y = (i32)ls_below(draws, (u32)FIELD_HEIGHT, SITE);
            attempts += 1;
            if (attempts <= ATTEMPTS_MAX && taken(state, planted, x, y)) continue;
            state.trees_x[planted] = x;
            state.trees_y[planted] = y;
            state.trees_kind[planted] = ls_below(draws, 3, SITE);
            // random.uniform(0.3, 0.8): a + (b - a) * random().
            f64 part = (0.8 - 0.3) * random(draws);
            put(state.trees_moisture[planted], 0.3 + part);
            u32 count = ls_below(draws, 4, SITE);
            if (count > MAX_FRUIT) count = MAX_FRUIT;
            for (u32 i = 0; i < count; i++) state.trees_fruit[planted][i] = (i32)ls_below(draws, 9, SITE);
            // The ages, descending.
            for (u32 i = 1; i < count; i++) {
                i32 age = state.trees_fruit[planted][i];
                u32 j = i;
                while (j > 0 && state.trees_fruit[planted][j - 1] < age) {
                    state.trees_fruit[planted][j] = state.trees_fruit[planted][j - 1];
                    j -= 1;
                }
                state.trees_fruit[planted][j] = age;
            }
            state.trees_fruit_count[planted] = count;
            planted += 1;
        }
        look(world, state, regions, out);
    }

    static __device__ u32 deciders(const World&, const State&) { return 1; }

    /// Not called: the manifest has no mask.
    static __device__ void legal(const World&, const State&, const LsRegions&, u32, LsMask& mask) {
        for (u32 action = 0; action < 8; action++) ls_allow(mask, action);
    }

    /// `step`.
    static __device__ LsOutcome step(const World& world, State& state, LsRegions& regions, const u32* action,
                                     LsDraws& draws, Out& out) {
        f64 before = get(state.money);
        f64 penalty = act(state, action[0]);
        change_weather(state, draws);
        for (u32 tree = 0; tree < TREES; tree++) {
            i32 lost = grow(state, tree, draws);
            state.rotted = ls_add(state.rotted, lost);
            f64 rot = 0.05 * (f64)lost;
            penalty = penalty + rot;
        }
        // move_crows sums its own penalty, which is then added at once.
        f64 eaten = move_crows(state, draws);
        penalty = penalty + eaten;
        call_crows(state, draws);
        i64 turn = (i64)state.turn + 1;
        state.turn = ls_add(state.turn, 1);
        f64 earned = get(state.money) - before;
        f64 reward = earned - penalty;
        out.reward(0, reward);
        bool terminated = (i64)state.rotted + (i64)state.stolen >= 60;
        bool truncated = turn >= (i64)SEASON;
        look(world, state, regions, out);
        return {terminated, truncated};
    }

    /// `observe`.
    static __device__ void observe(const World&, const State& state, const LsRegions&, u32, LsWriter& out) {
        out.put_f64((f64)state.x / (f64)FIELD_WIDTH);
        out.put_f64((f64)state.y / (f64)FIELD_HEIGHT);
        out.put_f64((f64)state.basket_count / (f64)BASKET);
        out.put_f64((f64)state.water / 5.0);
        out.put_f64((f64)state.turn / (f64)SEASON);
        // Clear, cloudy, rain.
        for (u32 sky = 0; sky < 3; sky++) out.put_f64(state.sky == sky ? 1.0 : 0.0);
        for (u32 tree = 0; tree < TREES; tree++) {
            i64 dx = (i64)state.trees_x[tree] - (i64)state.x;
            i64 dy = (i64)state.trees_y[tree] - (i64)state.y;
            out.put_f64((f64)dx / (f64)FIELD_WIDTH);
            out.put_f64((f64)dy / (f64)FIELD_HEIGHT);
            out.put_f64((f64)ripe(state, tree) / (f64)MAX_FRUIT);
            out.put_f64(get(state.trees_moisture[tree]));
        }
        u32 count = crows_count(state);
        i64 near[16];
        for (u32 crow = 0; crow < 16; crow++) near[crow] = 0;
        for (u32 crow = 0; crow < count; crow++) {
            near[crow] = apart(state.crows_x[crow], state.crows_y[crow], state.x, state.y);
        }
        for (u32 i = 1; i < count; i++) {
            i64 distance = near[i];
            u32 j = i;
            while (j > 0 && near[j - 1] > distance) {
                near[j] = near[j - 1];
                j -= 1;
            }
            near[j] = distance;
        }
        for (u32 place = 0; place < 3; place++) {
            if (place < count) {
                out.put_f64((f64)near[place] / (f64)(FIELD_WIDTH + FIELD_HEIGHT));
            } else {
                out.put_f64(1.0);
            }
        }
    }

    static __device__ void canonical(const World&, const State& state, LsWriter& out) {
        out.put_i32(state.turn);
        out.put_i32(state.x);
        out.put_i32(state.y);
        for (u32 i = 0; i < BASKET; i++) put_f64(out, state.basket[i]);
        out.put_u32(state.basket_count);
        put_f64(out, state.money);
        out.put_i32(state.water);
        out.put_i32(state.rotted);
        out.put_i32(state.stolen);
        out.put_u8((u8)state.sky);
        for (u32 i = 0; i < TREES; i++) out.put_i32(state.trees_x[i]);
        for (u32 i = 0; i < TREES; i++) out.put_i32(state.trees_y[i]);
        for (u32 i = 0; i < TREES; i++) out.put_u8((u8)state.trees_kind[i]);
        for (u32 i = 0; i < TREES; i++) put_f64(out, state.trees_moisture[i]);
        for (u32 i = 0; i < TREES; i++) {
            for (u32 j = 0; j < MAX_FRUIT; j++) out.put_i32(state.trees_fruit[i][j]);
        }
        for (u32 i = 0; i < TREES; i++) out.put_u32(state.trees_fruit_count[i]);
        for (u32 i = 0; i < CROWS; i++) out.put_i32(state.crows_x[i]);
        for (u32 i = 0; i < CROWS; i++) out.put_i32(state.crows_y[i]);
        for (u32 i = 0; i < CROWS; i++) out.put_i32(state.crows_hunger[i]);
        for (u32 i = 0; i < CROWS; i++) out.put_u8((u8)state.crows_seated[i]);
        out.put_u32(state.crows_count);
        out.put_u32(state.capacity);
    }

    /// Returns whether the state is accepted.
    static __device__ bool inject(const World&, State& state, LsReader& input) {
        State fresh = State{};
        fresh.turn = input.get_i32();
        fresh.x = input.get_i32();
        fresh.y = input.get_i32();
        for (u32 i = 0; i < BASKET; i++) take_f64(input, fresh.basket[i]);
        fresh.basket_count = input.get_u32();
        take_f64(input, fresh.money);
        fresh.water = input.get_i32();
        fresh.rotted = input.get_i32();
        fresh.stolen = input.get_i32();
        fresh.sky = (u32)input.get_u8();
        for (u32 i = 0; i < TREES; i++) fresh.trees_x[i] = input.get_i32();
        for (u32 i = 0; i < TREES; i++) fresh.trees_y[i] = input.get_i32();
        for (u32 i = 0; i < TREES; i++) fresh.trees_kind[i] = (u32)input.get_u8();
        for (u32 i = 0; i < TREES; i++) take_f64(input, fresh.trees_moisture[i]);
        for (u32 i = 0; i < TREES; i++) {
            for (u32 j = 0; j < MAX_FRUIT; j++) fresh.trees_fruit[i][j] = input.get_i32();
        }
        for (u32 i = 0; i < TREES; i++) fresh.trees_fruit_count[i] = input.get_u32();
        for (u32 i = 0; i < CROWS; i++) fresh.crows_x[i] = input.get_i32();
        for (u32 i = 0; i < CROWS; i++) fresh.crows_y[i] = input.get_i32();
        for (u32 i = 0; i < CROWS; i++) fresh.crows_hunger[i] = input.get_i32();
        for (u32 i = 0; i < CROWS; i++) fresh.crows_seated[i] = (u32)input.get_u8();
        fresh.crows_count = input.get_u32();
        fresh.capacity = input.get_u32();

        if (fresh.sky > RAIN) return false;
        if (fresh.basket_count > BASKET) return false;
        if (fresh.crows_count > CROWS) return false;
        for (u32 tree = 0; tree < TREES; tree++) {
            if (fresh.trees_kind[tree] > 2) return false;
            if (fresh.trees_fruit_count[tree] > MAX_FRUIT) return false;
        }
        for (u32 crow = 0; crow < fresh.crows_count; crow++) {
            if (fresh.crows_seated[crow] > 1) return false;
        }

        // What is past a count is not read by the adapter, and it shows 0 there.
        for (u32 i = fresh.basket_count; i < BASKET; i++) {
            fresh.basket[i][0] = 0;
            fresh.basket[i][1] = 0;
        }
        for (u32 tree = 0; tree < TREES; tree++) {
            for (u32 i = fresh.trees_fruit_count[tree]; i < MAX_FRUIT; i++) fresh.trees_fruit[tree][i] = 0;
        }
        for (u32 crow = fresh.crows_count; crow < CROWS; crow++) clear_crow(fresh, crow);
        state = fresh;
        return true;
    }

    /// `get` of src/state.rs: the number that two words hold.
    static __device__ f64 get(const u32* w) {
        return __longlong_as_double((i64)((u64)w[0] | (u64)w[1] << 32));
    }

    /// `put` of src/state.rs: sets the two words of a number.
    static __device__ void put(u32* w, f64 v) {
        u64 bits = (u64)__double_as_longlong(v);
        w[0] = (u32)bits;
        w[1] = (u32)(bits >> 32);
    }

    /// Writes the bits of an f64.
    static __device__ void put_f64(LsWriter& out, const u32* words) {
        out.put_u32(words[0]);
        out.put_u32(words[1]);
    }

    /// Takes the bits of an f64.
    static __device__ void take_f64(LsReader& input, u32* words) {
        words[0] = input.get_u32();
        words[1] = input.get_u32();
    }

    /// Writes the observation, where somebody looks at it.
    static __device__ void look(const World& world, const State& state, const LsRegions& regions, Out& out) {
        LsWriter writer;
        if (out.observation(0, writer)) observe(world, state, regions, 0, writer);
    }

    /// `random.random()`: two draws.
    static __device__ f64 random(LsDraws& draws) {
        u64 a = (u64)ls_below(draws, 1u << 27, SITE);
        u64 b = (u64)ls_below(draws, 1u << 26, SITE);
        return (f64)(a * ((u64)1 << 26) + b) / 9007199254740992.0;
    }

    /// Python's `min(a, 1.0)`.
    static __device__ f64 min_one(f64 a) { return 1.0 < a ? 1.0 : a; }

    /// Python's `max(a, 0.0)`.
    static __device__ f64 max_zero(f64 a) { return 0.0 > a ? 0.0 : a; }

    /// The value without its sign; never called with the smallest i64.
    static __device__ i64 magnitude(i64 value) { return value < 0 ? -value : value; }

    /// `saturating_add` of signed words.
    static __device__ i32 saturating_add(i32 a, i32 b) {
        i64 sum = (i64)a + (i64)b;
        if (sum > 2147483647LL) return 2147483647;
        if (sum < -2147483647LL - 1) return -2147483647 - 1;
        return (i32)sum;
    }

    /// `abs(ax - bx) + abs(ay - by)`.
    static __device__ i64 apart(i32 ax, i32 ay, i32 bx, i32 by) {
        return magnitude((i64)ax - (i64)bx) + magnitude((i64)ay - (i64)by);
    }

    /// `(x, y) in taken`, in `reset`.
    static __device__ bool taken(const State& state, u32 planted, i32 x, i32 y) {
        if ((x == state.x && y == state.y) || (x == 0 && y == 0)) return true;
        for (u32 tree = 0; tree < planted; tree++) {
            if (state.trees_x[tree] == x && state.trees_y[tree] == y) return true;
        }
        return false;
    }

    /// `len(self.basket)`.
    static __device__ u32 basket_count(const State& state) {
        if (state.basket_count > BASKET) return BASKET;
        return state.basket_count;
    }

    /// `len(self.crows)`.
    static __device__ u32 crows_count(const State& state) {
        if (state.crows_count > CROWS) return CROWS;
        return state.crows_count;
    }

    /// `len(tree.fruit)`.
    static __device__ u32 fruit_count(const State& state, u32 tree) {
        if (state.trees_fruit_count[tree] > MAX_FRUIT) return MAX_FRUIT;
        return state.trees_fruit_count[tree];
    }

    /// `tree.kind`, as a place in the tables.
    static __device__ u32 kind_of(const State& state, u32 tree) {
        if (state.trees_kind[tree] > 2) return 2;
        return state.trees_kind[tree];
    }

    /// `len(tree.ripe())`.
    static __device__ u32 ripe(const State& state, u32 tree) {
        i32 ripening = RIPENING[kind_of(state, tree)];
        u32 fruits = fruit_count(state, tree);
        u32 count = 0;
        for (u32 i = 0; i < fruits; i++) {
            if (state.trees_fruit[tree][i] >= ripening) count += 1;
        }
        return count;
    }

    /// Takes the fruit at a place out of a tree's list; the others keep their order.
    static __device__ void remove_fruit(State& state, u32 tree, u32 at) {
        u32 count = fruit_count(state, tree);
        if (at >= count) return;
        for (u32 i = at + 1; i < count; i++) state.trees_fruit[tree][i - 1] = state.trees_fruit[tree][i];
        state.trees_fruit[tree][count - 1] = 0;
        state.trees_fruit_count[tree] = count - 1;
    }

    /// Sets a crow's place in the arrays to 0.
    static __device__ void clear_crow(State& state, u32 crow) {
        state.crows_x[crow] = 0;
        state.crows_y[crow] = 0;
        state.crows_hunger[crow] = 0;
        state.crows_seated[crow] = 0;
    }

    /// `self.crows = [crow for crow in self.crows if crow.hunger > 0]`.
    static __device__ void keep_hungry(State& state) {
        u32 count = crows_count(state);
        u32 kept = 0;
        for (u32 crow = 0; crow < count; crow++) {
            if (state.crows_hunger[crow] > 0) {
                state.crows_x[kept] = state.crows_x[crow];
                state.crows_y[kept] = state.crows_y[crow];
                state.crows_hunger[kept] = state.crows_hunger[crow];
                state.crows_seated[kept] = state.crows_seated[crow];
                kept += 1;
            }
        }
        for (u32 crow = kept; crow < count; crow++) clear_crow(state, crow);
        state.crows_count = kept;
    }

    /// `Tree.grow`: one turn of weather and growth; returns how many fruits rotted.
    static __device__ i32 grow(State& state, u32 tree, LsDraws& draws) {
        f64 moisture = get(state.trees_moisture[tree]);
        if (state.sky == RAIN) {
            moisture = min_one(moisture + 0.08);
        } else if (state.sky == CLEAR) {
            moisture = max_zero(moisture - 0.03);
        } else {
            moisture = max_zero(moisture - 0.01);
        }
        put(state.trees_moisture[tree], moisture);
        u32 count = fruit_count(state, tree);
        if (moisture > 0.15) {
            for (u32 i = 0; i < count; i++) {
                // An age at the end of the range is rotten either way.
                state.trees_fruit[tree][i] = saturating_add(state.trees_fruit[tree][i], 1);
            }
        }
        i32 limit = 3 * RIPENING[kind_of(state, tree)];
        u32 kept = 0;
        for (u32 i = 0; i < count; i++) {
            i32 age = state.trees_fruit[tree][i];
            if (age <= limit) {
                state.trees_fruit[tree][kept] = age;
                kept += 1;
            }
        }
        for (u32 i = kept; i < count; i++) state.trees_fruit[tree][i] = 0;
        state.trees_fruit_count[tree] = kept;
        i32 rotten = (i32)(count - kept);
        // QUIRK(grow): a full tree makes no draw.
        if (kept < MAX_FRUIT) {
            f64 chance = 0.12 * moisture;
            if (random(draws) < chance) {
                state.trees_fruit[tree][kept] = 0;
                state.trees_fruit_count[tree] = kept + 1;
            }
        }
        return rotten;
    }

    /// `act`: the farmer's action; returns the penalty.
    static __device__ f64 act(State& state, u32 action) {
        if (action == EAST || action == WEST || action == SOUTH || action == NORTH) {
            i64 dx = 0;
            i64 dy = 0;
            if (action == EAST) {
                dx = 1;
            } else if (action == WEST) {
                dx = -1;
            } else if (action == SOUTH) {
                dy = 1;
            } else {
                dy = -1;
            }
            i64 x = (i64)state.x + dx;
            i64 y = (i64)state.y + dy;
            if (!(0 <= x && x < (i64)FIELD_WIDTH && 0 <= y && y < (i64)FIELD_HEIGHT)) return 0.02;
            state.x = (i32)x;
            state.y = (i32)y;
            if (x == 0 && y == 0) {
                sell(state);
                state.water = 5;
            }
        } else if (action == PICK) {
            return pick(state);
        } else if (action == CLAP) {
            clap(state);
            return 0.01;
        } else if (action == WATER) {
            u32 tree = tree_at(state, state.x, state.y);
            if (tree >= TREES) return 0.02;
            // QUIRK(act): only a water of exactly 0 is refused; a negative one waters on.
            if (state.water == 0) return 0.02;
            state.water = ls_add(state.water, -1);
            put(state.trees_moisture[tree], min_one(get(state.trees_moisture[tree]) + 0.25));
        }
        return 0.0;
    }

    /// `pick`.
    static __device__ f64 pick(State& state) {
        u32 tree = tree_at(state, state.x, state.y);
        if (tree >= TREES) return 0.02;
        u32 basket = basket_count(state);
        if (basket >= BASKET) return 0.02;
        u32 kind = kind_of(state, tree);
        // QUIRK(pick): the first ripe fruit of the list is taken, which need not be the oldest.
        u32 fruits = fruit_count(state, tree);
        u32 at = NOWHERE;
        for (u32 i = 0; i < fruits; i++) {
            if (state.trees_fruit[tree][i] >= RIPENING[kind]) {
                at = i;
                break;
            }
        }
        if (at >= MAX_FRUIT) return 0.02;
        i32 age = state.trees_fruit[tree][at];
        remove_fruit(state, tree, at);
        i64 late = (i64)age - (i64)RIPENING[kind];
        f64 share = (f64)late / (f64)(4 * RIPENING[kind]);
        f64 left = 1.0 - share;
        f64 price = PRICE[kind] * left;
        put(state.basket[basket], price);
        state.basket_count = basket + 1;
        return 0.0;
    }

    /// `sell`.
    static __device__ void sell(State& state) {
        u32 count = basket_count(state);
        // sort(reverse=True) is stable: equal prices keep their order.
        for (u32 i = 1; i < count; i++) {
            u32 low = state.basket[i][0];
            u32 high = state.basket[i][1];
            f64 price = get(state.basket[i]);
            u32 j = i;
            while (j > 0 && get(state.basket[j - 1]) < price) {
                state.basket[j][0] = state.basket[j - 1][0];
                state.basket[j][1] = state.basket[j - 1][1];
                j -= 1;
            }
            state.basket[j][0] = low;
            state.basket[j][1] = high;
        }
        f64 money = get(state.money);
        for (u32 place = 0; place < count; place++) {
            f64 paid = get(state.basket[place]) * PLACE[place];
            money = money + paid;
        }
        put(state.money, money);
        for (u32 i = 0; i < BASKET; i++) {
            state.basket[i][0] = 0;
            state.basket[i][1] = 0;
        }
        state.basket_count = 0;
    }

    /// `clap`.
    static __device__ void clap(State& state) {
        u32 count = crows_count(state);
        for (u32 crow = 0; crow < count; crow++) {
            i64 distance = apart(state.crows_x[crow], state.crows_y[crow], state.x, state.y);
            if (distance <= 2) {
                state.crows_seated[crow] = 0;
                state.crows_hunger[crow] = saturating_add(state.crows_hunger[crow], -2);
            }
        }
        // QUIRK(clap): crows that are far away go as well if they are not hungry.
        keep_hungry(state);
    }

    /// `change_weather`.
    static __device__ void change_weather(State& state, LsDraws& draws) {
        if (random(draws) < 0.1) {
            if (state.sky == CLOUDY) {
                if (ls_below(draws, 2, SITE) == 0) {
                    state.sky = CLEAR;
                } else {
                    state.sky = RAIN;
                }
            } else {
                state.sky = CLOUDY;
            }
        }
    }

    /// `call_crows`.
    static __device__ void call_crows(State& state, LsDraws& draws) {
        u32 fruit = 0;
        for (u32 tree = 0; tree < TREES; tree++) fruit += ripe(state, tree);
        u32 count = crows_count(state);
        // QUIRK(call_crows): with six crows or more there is no draw.
        if (count >= 6) return;
        f64 more = 0.01 * (f64)fruit;
        f64 chance = 0.02 + more;
        if (random(draws) < chance) {
            i32 x = 0;
            i32 y = 0;
            if (random(draws) < 0.5) {
                if (ls_below(draws, 2, SITE) != 0) x = FIELD_WIDTH - 1;
                y = (i32)ls_below(draws, (u32)FIELD_HEIGHT, SITE);
            } else {
                x = (i32)ls_below(draws, (u32)FIELD_WIDTH, SITE);
                if (ls_below(draws, 2, SITE) != 0) y = FIELD_HEIGHT - 1;
            }
            i32 hunger = 3 + (i32)ls_below(draws, 4, SITE);
            state.crows_x[count] = x;
            state.crows_y[count] = y;
            state.crows_hunger[count] = hunger;
            state.crows_seated[count] = 0;
            state.crows_count = count + 1;
        }
    }

    /// `move_crows`: returns its own penalty.
    static __device__ f64 move_crows(State& state, LsDraws& draws) {
        f64 penalty = 0.0;
        u32 count = crows_count(state);
        for (u32 crow = 0; crow < count; crow++) {
            if (state.crows_seated[crow] != 0) {
                u32 tree = tree_at(state, state.crows_x[crow], state.crows_y[crow]);
                if (tree < TREES && ripe(state, tree) > 0) {
                    if (random(draws) < 0.4) {
                        // tree.fruit.remove(max(tree.fruit)): the first one of the oldest.
                        u32 fruits = fruit_count(state, tree);
                        u32 oldest = 0;
                        for (u32 i = 1; i < fruits; i++) {
                            if (state.trees_fruit[tree][i] > state.trees_fruit[tree][oldest]) oldest = i;
                        }
                        remove_fruit(state, tree, oldest);
                        state.crows_hunger[crow] = saturating_add(state.crows_hunger[crow], -1);
                        state.stolen = ls_add(state.stolen, 1);
                        penalty = penalty + 0.1;
                    }
                    continue;
                }
            }
            state.crows_seated[crow] = 0;
            u32 target = target_of(state, crow);
            if (target >= TREES) {
                i32 dx = (i32)ls_below(draws, 3, SITE) - 1;
                state.crows_x[crow] = saturating_add(state.crows_x[crow], dx);
                i32 dy = (i32)ls_below(draws, 3, SITE) - 1;
                state.crows_y[crow] = saturating_add(state.crows_y[crow], dy);
                state.crows_x[crow] = within(state.crows_x[crow], FIELD_WIDTH - 1);
                state.crows_y[crow] = within(state.crows_y[crow], FIELD_HEIGHT - 1);
            } else {
                i32 x = state.trees_x[target];
                i32 y = state.trees_y[target];
                state.crows_x[crow] = towards(state.crows_x[crow], x);
                state.crows_y[crow] = towards(state.crows_y[crow], y);
                bool there = state.crows_x[crow] == x && state.crows_y[crow] == y;
                state.crows_seated[crow] = there ? 1u : 0u;
            }
        }
        // QUIRK(move_crows): a crow without hunger goes only after it has had its turn.
        keep_hungry(state);
        return penalty;
    }

    /// `min(max(value, 0), high)`.
    static __device__ i32 within(i32 value, i32 high) {
        if (value < 0) return 0;
        if (value > high) return high;
        return value;
    }

    /// `from + (to > from) - (to < from)`.
    static __device__ i32 towards(i32 from, i32 to) {
        if (to > from) return saturating_add(from, 1);
        if (to < from) return saturating_add(from, -1);
        return from;
    }

    /// `target_of`: the nearest tree with ripe fruit, away from the farmer; the first one of those that are as near.
    /// `NOWHERE` if there is none.
    static __device__ u32 target_of(const State& state, u32 crow) {
        u32 best = NOWHERE;
        // QUIRK(target_of): a tree that is 99 or more away is never a target.
        i64 nearest = 99;
        for (u32 tree = 0; tree < TREES; tree++) {
            if (ripe(state, tree) == 0 || apart(state.trees_x[tree], state.trees_y[tree], state.x, state.y) <= 1) {
                continue;
            }
            i64 dx = magnitude((i64)state.trees_x[tree] - (i64)state.crows_x[crow]);
            i64 dy = magnitude((i64)state.trees_y[tree] - (i64)state.crows_y[crow]);
            i64 distance = dy > dx ? dy : dx;
            if (distance < nearest) {
                best = tree;
                nearest = distance;
            }
        }
        return best;
    }

    /// `tree_at`: the first tree in that cell, or `NOWHERE`.
    static __device__ u32 tree_at(const State& state, i32 x, i32 y) {
        for (u32 tree = 0; tree < TREES; tree++) {
            if (state.trees_x[tree] == x && state.trees_y[tree] == y) return tree;
        }
        return NOWHERE;
    }
};

LS_KERNELS(orchard, Orchard)
