#include "lockstep.cuh"
// The rules of Blackjack-v1 in CUDA, function by function as in src/rules.rs.

/// Cards of a hand that are kept; a longer list is counted, but its further cards are not shown.
const u32 CARDS = 16;

/// The manifest names no sites.
const u32 SITE = 0;

/// 1 = Ace, 2-10 = Number cards, Jack/Queen/King = 10.
static __device__ const i32 DECK[13] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10, 10};

const u32 SUITS = 4;
const u32 SUIT_MAX = 3;

const u32 VALUE_STR_A = 8;
const u32 VALUE_STR_J = 9;
const u32 VALUE_STR_K = 10;
const u32 VALUE_STR_Q = 11;
const u32 VALUE_STR_MAX = 11;

/// `["J", "Q", "K"]` in the order of the draw; the codes are alphabetical.
static __device__ const u32 FACES[3] = {VALUE_STR_J, VALUE_STR_Q, VALUE_STR_K};

struct Blackjack {
    static const u32 AGENTS = 1;
    static const u32 WIDTH = 1;
    /// A stick draws while the dealer has less than 17, and a card is at least 1; a reset draws 6 at most.
    static const u32 DRAWS_MAX = 17;

    typedef f64 Reward;
    typedef LsOut<f64> Out;

    /// src/cuda.rs fills it: the same fields in the same order.
    struct World {
        u32 natural;
        u32 sab;
    };

    /// src/state.rs: the same fields in the same order. Cards at and after the count are 0.
    struct State {
        i32 dealer[CARDS];
        u32 dealer_count;
        i32 player[CARDS];
        u32 player_count;
        u32 dealer_top_card_suit;
        u32 dealer_top_card_value_str;
        u32 capacity;
    };
    static_assert(sizeof(State) == 148, "the layout is that of src/state.rs");

    /// What the reference asks of a list of cards: `sum(hand)` and `1 in hand`, over all its cards.
    struct Hand {
        i64 sum;
        bool ace;
    };

    /// There are no grains.
    static __device__ u32 rows_max(const World&, u32) { return 0; }

    static __device__ void layout(LsLayout& out) {
        State state;
        World world;
        out.put(sizeof(State));
        out.field(&state, &state.dealer);
        out.field(&state, &state.dealer_count);
        out.field(&state, &state.player);
        out.field(&state, &state.player_count);
        out.field(&state, &state.dealer_top_card_suit);
        out.field(&state, &state.dealer_top_card_value_str);
        out.field(&state, &state.capacity);
        out.put(sizeof(World));
        out.field(&world, &world.natural);
        out.field(&world, &world.sab);
    }

    /// `BlackjackEnv.reset`.
    static __device__ void reset(const World&, State& state, LsRegions&, LsStart, LsDraws& draws, Out& out) {
        for (u32 index = 0; index < CARDS; index++) {
            state.dealer[index] = 0;
            state.player[index] = 0;
        }
        state.dealer_count = 2;
        state.player_count = 2;
        state.dealer_top_card_suit = 0;
        state.dealer_top_card_value_str = 0;
        state.capacity = 0;
        // `draw_hand`, the dealer's first.
        state.dealer[0] = draw_card(draws);
        state.dealer[1] = draw_card(draws);
        state.player[0] = draw_card(draws);
        state.player[1] = draw_card(draws);

        i32 dealer_card_value = state.dealer[0];

        state.dealer_top_card_suit = ls_below(draws, SUITS, SITE);

        if (dealer_card_value == 1) {
            state.dealer_top_card_value_str = VALUE_STR_A;
        } else if (dealer_card_value == 10) {
            u32 face = ls_below(draws, 3, SITE);
            state.dealer_top_card_value_str = FACES[face < 3 ? face : 2];
        } else {
            // '2' to '9' have the codes 0 to 7.
            state.dealer_top_card_value_str = (u32)dealer_card_value - 2u;
        }

        Hand player = hand(state.player, state.player_count);
        look(player, state.dealer[0], out);
    }

    static __device__ u32 deciders(const World&, const State&) { return 1; }

    static __device__ void legal(const World&, const State&, const LsRegions&, u32, LsMask&) {}

    /// `BlackjackEnv.step`.
    static __device__ LsOutcome step(const World& world, State& state, LsRegions&, const u32* action, LsDraws& draws,
                                     Out& out) {
        Hand player = hand(state.player, state.player_count);
        bool terminated;
        f64 reward;
        if (action[0] != 0) {
            // Hit: add a card to the player's hand and return.
            i32 card = draw_card(draws);
            push(state.player, state.player_count, player, card);
            if (is_bust(player)) {
                terminated = true;
                reward = -1.0;
            } else {
                terminated = false;
                reward = 0.0;
            }
        } else {
            // Stick: play out the dealer's hand, and score.
            terminated = true;
            Hand dealer = hand(state.dealer, state.dealer_count);
            while (sum_hand(dealer) < 17) {
                i32 card = draw_card(draws);
                push(state.dealer, state.dealer_count, dealer, card);
            }
            reward = cmp(score(player), score(dealer));
            if (world.sab && is_natural(state.player, state.player_count) &&
                !is_natural(state.dealer, state.dealer_count)) {
                // QUIRK(step): the player's natural wins also against a dealer's 21 of more cards.
                reward = 1.0;
            } else if (!world.sab && world.natural && is_natural(state.player, state.player_count) && reward == 1.0) {
                // QUIRK(step): a natural gives extra points, but does not win by itself.
                reward = 1.5;
            }
        }

        out.reward(0, reward);
        look(player, state.dealer[0], out);

        // The adapter's `sizes`: a list that outgrows its bound ends the episode and is counted.
        u32 over = (state.dealer_count > CARDS ? 1u : 0u) + (state.player_count > CARDS ? 1u : 0u);
        state.capacity += over;
        return {terminated, over > 0};
    }

    /// `BlackjackEnv._get_obs`.
    static __device__ void observe(const World&, const State& state, const LsRegions&, u32, LsWriter& out) {
        Hand player = hand(state.player, state.player_count);
        get_obs(player, state.dealer[0], out);
    }

    static __device__ void canonical(const World&, const State& state, LsWriter& out) {
        for (u32 index = 0; index < CARDS; index++) out.put_i32(state.dealer[index]);
        out.put_u32(state.dealer_count);
        for (u32 index = 0; index < CARDS; index++) out.put_i32(state.player[index]);
        out.put_u32(state.player_count);
        out.put_u8((u8)state.dealer_top_card_suit);
        out.put_u8((u8)state.dealer_top_card_value_str);
        out.put_u32(state.capacity);
    }

    /// Returns whether the state is accepted: refuse what src/rules.rs refuses, and nothing else.
    static __device__ bool inject(const World&, State& state, LsReader& input) {
        for (u32 index = 0; index < CARDS; index++) state.dealer[index] = input.get_i32();
        state.dealer_count = input.get_u32();
        for (u32 index = 0; index < CARDS; index++) state.player[index] = input.get_i32();
        state.player_count = input.get_u32();
        state.dealer_top_card_suit = (u32)input.get_u8();
        state.dealer_top_card_value_str = (u32)input.get_u8();
        state.capacity = input.get_u32();

        // The adapter's `put` takes the first `count` cards, and its `padded` fills up with 0.
        if (!put_hand(state.dealer, state.dealer_count)) return false;
        if (!put_hand(state.player, state.player_count)) return false;
        if (state.dealer_top_card_suit > SUIT_MAX) return false;
        if (state.dealer_top_card_value_str > VALUE_STR_MAX) return false;
        return true;
    }

    /// Checks an injected hand and clears what stands behind its cards.
    static __device__ bool put_hand(i32* cards, u32 count) {
        // The rest of the list is not known.
        if (count > CARDS) return false;
        for (u32 index = 0; index < CARDS; index++) {
            if (index >= count) {
                cards[index] = 0;
            } else if (cards[index] < 0) {
                // The dealer's loop would have no sensible end.
                return false;
            }
        }
        return true;
    }

    static __device__ Hand hand(const i32* cards, u32 count) {
        Hand result = {0, false};
        for (u32 index = 0; index < CARDS; index++) {
            if (index >= count) break;
            i32 card = cards[index];
            result.sum += (i64)card;
            if (card == 1) result.ace = true;
        }
        return result;
    }

    /// `append`: a card beyond the 16th is not stored, but counts.
    static __device__ void push(i32* cards, u32& count, Hand& held, i32 card) {
        if (count < CARDS) cards[count] = card;
        count += 1;
        held.sum += (i64)card;
        if (card == 1) held.ace = true;
    }

    /// `cmp`: a draw is `0.0 - 0.0`, which is +0.0.
    static __device__ f64 cmp(i64 a, i64 b) {
        f64 greater = a > b ? 1.0 : 0.0;
        f64 less = a < b ? 1.0 : 0.0;
        return greater - less;
    }

    static __device__ i32 draw_card(LsDraws& draws) {
        u32 index = ls_below(draws, 13, SITE);
        return DECK[index < 13 ? index : 12];
    }

    static __device__ bool usable_ace(const Hand& held) { return held.ace && held.sum + 10 <= 21; }

    static __device__ i64 sum_hand(const Hand& held) {
        if (usable_ace(held)) return held.sum + 10;
        return held.sum;
    }

    static __device__ bool is_bust(const Hand& held) { return sum_hand(held) > 21; }

    static __device__ i64 score(const Hand& held) { return is_bust(held) ? (i64)0 : sum_hand(held); }

    /// `sorted(hand) == [1, 10]`.
    static __device__ bool is_natural(const i32* cards, u32 count) {
        return count == 2 && ((cards[0] == 1 && cards[1] == 10) || (cards[0] == 10 && cards[1] == 1));
    }

    /// `_get_obs`, with `_hand_sum_and_usable_ace`.
    static __device__ void get_obs(const Hand& player, i32 dealer_card, LsWriter& out) {
        out.put_i32((i32)(u32)(u64)sum_hand(player));
        out.put_i32(dealer_card);
        out.put_i32(usable_ace(player) ? 1 : 0);
    }

    /// Writes the observation, where somebody looks at it.
    static __device__ void look(const Hand& player, i32 dealer_card, Out& out) {
        LsWriter writer;
        if (out.observation(0, writer)) get_obs(player, dealer_card, writer);
    }
};

LS_KERNELS(blackjack, Blackjack)
