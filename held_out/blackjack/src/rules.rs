//! The rules of Blackjack-v1, function by function as in blackjack.py.

use crate::state::{CARDS, State};
use crate::world::World;
use lockstep_core::{
    Draws, Files, Mask, Options, Out, Outcome, Reader, Refusal, Regions, Rules, Shape, Start, WorldError, Writer,
};

/// The manifest names no sites.
const SITE: u32 = 0;

/// 1 = Ace, 2-10 = Number cards, Jack/Queen/King = 10.
const DECK: [i32; 13] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10, 10];

const SUITS: u32 = 4;
const SUIT_MAX: u32 = 3;

const VALUE_STR_A: u32 = 8;
const VALUE_STR_J: u32 = 9;
const VALUE_STR_K: u32 = 10;
const VALUE_STR_Q: u32 = 11;
const VALUE_STR_MAX: u32 = 11;

/// `["J", "Q", "K"]` in the order of the draw; the codes are alphabetical.
const FACES: [u32; 3] = [VALUE_STR_J, VALUE_STR_Q, VALUE_STR_K];

/// Blackjack-v1 of Gymnasium.
pub struct Blackjack;

impl Rules for Blackjack {
    const NAME: &'static str = "blackjack";
    const AGENTS: usize = 1;
    const MANIFEST: &'static str = include_str!("../env.toml");
    type World = World;
    type State = State;
    type Reward = f64;

    fn world(options: Options, files: &Files) -> Result<World, WorldError> {
        World::new(options, files)
    }

    fn shape(world: &World) -> Shape {
        world.shape()
    }

    /// `BlackjackEnv.reset`.
    fn reset<D: Draws, O: Out<f64>>(
        _world: &World,
        state: &mut State,
        _regions: &mut impl Regions,
        _start: Start,
        draws: &mut D,
        out: &mut O,
    ) {
        *state = State {
            dealer: [0; CARDS],
            dealer_count: 2,
            player: [0; CARDS],
            player_count: 2,
            dealer_top_card_suit: 0,
            dealer_top_card_value_str: 0,
            capacity: 0,
        };
        // `draw_hand`, the dealer's first.
        state.dealer[0] = draw_card(draws);
        state.dealer[1] = draw_card(draws);
        state.player[0] = draw_card(draws);
        state.player[1] = draw_card(draws);

        let dealer_card_value = state.dealer[0];

        state.dealer_top_card_suit = draws.below(SUITS, SITE);

        if dealer_card_value == 1 {
            state.dealer_top_card_value_str = VALUE_STR_A;
        } else if dealer_card_value == 10 {
            let face = draws.below(3, SITE) as usize;
            state.dealer_top_card_value_str = FACES[if face < 3 { face } else { 2 }];
        } else {
            // '2' to '9' have the codes 0 to 7.
            state.dealer_top_card_value_str = (dealer_card_value - 2) as u32;
        }

        let player = hand(&state.player, state.player_count);
        look(&player, state.dealer[0], out);
    }

    fn deciders(_world: &World, _state: &State) -> u32 {
        1
    }

    fn legal(_world: &World, _state: &State, _regions: &impl Regions, _agent: usize, _mask: &mut Mask<'_>) {}

    /// `BlackjackEnv.step`.
    fn step<D: Draws, O: Out<f64>>(
        world: &World,
        state: &mut State,
        _regions: &mut impl Regions,
        action: &[u32],
        draws: &mut D,
        out: &mut O,
    ) -> Outcome {
        let mut player = hand(&state.player, state.player_count);
        let terminated;
        let mut reward: f64;
        if action[0] != 0 {
            // Hit: add a card to the player's hand and return.
            let card = draw_card(draws);
            push(&mut state.player, &mut state.player_count, &mut player, card);
            if is_bust(&player) {
                terminated = true;
                reward = -1.0;
            } else {
                terminated = false;
                reward = 0.0;
            }
        } else {
            // Stick: play out the dealer's hand, and score.
            terminated = true;
            let mut dealer = hand(&state.dealer, state.dealer_count);
            while sum_hand(&dealer) < 17 {
                let card = draw_card(draws);
                push(&mut state.dealer, &mut state.dealer_count, &mut dealer, card);
            }
            reward = cmp(score(&player), score(&dealer));
            if world.sab
                && is_natural(&state.player, state.player_count)
                && !is_natural(&state.dealer, state.dealer_count)
            {
                // QUIRK(step): the player's natural wins also against a dealer's 21 of more cards.
                reward = 1.0;
            } else if !world.sab
                && world.natural
                && is_natural(&state.player, state.player_count)
                && reward == 1.0
            {
                // QUIRK(step): a natural gives extra points, but does not win by itself.
                reward = 1.5;
            }
        }

        out.reward(0, reward);
        look(&player, state.dealer[0], out);

        // The adapter's `sizes`: a list that outgrows its bound ends the episode and is counted.
        let over = u32::from(state.dealer_count > CARDS as u32) + u32::from(state.player_count > CARDS as u32);
        state.capacity = state.capacity.wrapping_add(over);
        Outcome { terminated, truncated: over > 0 }
    }

    /// `BlackjackEnv._get_obs`.
    fn observe(_world: &World, state: &State, _regions: &impl Regions, _agent: usize, out: &mut Writer<'_>) {
        let player = hand(&state.player, state.player_count);
        get_obs(&player, state.dealer[0], out);
    }

    fn canonical(_world: &World, state: &State, out: &mut Writer<'_>) {
        for &card in &state.dealer {
            out.i32(card);
        }
        out.u32(state.dealer_count);
        for &card in &state.player {
            out.i32(card);
        }
        out.u32(state.player_count);
        out.u8(state.dealer_top_card_suit as u8);
        out.u8(state.dealer_top_card_value_str as u8);
        out.u32(state.capacity);
    }

    fn inject(_world: &World, state: &mut State, input: &mut Reader<'_>) -> Result<(), Refusal> {
        for card in state.dealer.iter_mut() {
            *card = input.i32()?;
        }
        state.dealer_count = input.u32()?;
        for card in state.player.iter_mut() {
            *card = input.i32()?;
        }
        state.player_count = input.u32()?;
        state.dealer_top_card_suit = u32::from(input.u8()?);
        state.dealer_top_card_value_str = u32::from(input.u8()?);
        state.capacity = input.u32()?;

        // The adapter's `put` takes the first `count` cards, and its `padded` fills up with 0.
        put_hand("dealer", &mut state.dealer, state.dealer_count)?;
        put_hand("player", &mut state.player, state.player_count)?;
        if state.dealer_top_card_suit > SUIT_MAX {
            return Err(Refusal(format!("dealer_top_card_suit is {}", state.dealer_top_card_suit)));
        }
        if state.dealer_top_card_value_str > VALUE_STR_MAX {
            return Err(Refusal(format!("dealer_top_card_value_str is {}", state.dealer_top_card_value_str)));
        }
        Ok(())
    }
}

/// Checks an injected hand and clears what stands behind its cards.
fn put_hand(name: &str, cards: &mut [i32; CARDS], count: u32) -> Result<(), Refusal> {
    if count > CARDS as u32 {
        // The rest of the list is not known.
        return Err(Refusal(format!("{name}_count is {count}")));
    }
    for (index, card) in cards.iter_mut().enumerate() {
        if index >= count as usize {
            *card = 0;
        } else if *card < 0 {
            // The dealer's loop would have no sensible end.
            return Err(Refusal(format!("{name} has the card {card}")));
        }
    }
    Ok(())
}

/// What the reference asks of a list of cards: `sum(hand)` and `1 in hand`, over all its cards.
struct Hand {
    sum: i64,
    ace: bool,
}

fn hand(cards: &[i32; CARDS], count: u32) -> Hand {
    let mut hand = Hand { sum: 0, ace: false };
    for (index, &card) in cards.iter().enumerate() {
        if index >= count as usize {
            break;
        }
        hand.sum += i64::from(card);
        if card == 1 {
            hand.ace = true;
        }
    }
    hand
}

/// `append`: a card beyond the 16th is not stored, but counts.
fn push(cards: &mut [i32; CARDS], count: &mut u32, hand: &mut Hand, card: i32) {
    if *count < CARDS as u32 {
        cards[*count as usize] = card;
    }
    *count = count.wrapping_add(1);
    hand.sum += i64::from(card);
    if card == 1 {
        hand.ace = true;
    }
}

/// `cmp`: a draw is `0.0 - 0.0`, which is +0.0.
fn cmp(a: i64, b: i64) -> f64 {
    let greater: f64 = if a > b { 1.0 } else { 0.0 };
    let less: f64 = if a < b { 1.0 } else { 0.0 };
    greater - less
}

fn draw_card(draws: &mut impl Draws) -> i32 {
    let index = draws.below(13, SITE) as usize;
    DECK[if index < 13 { index } else { 12 }]
}

fn usable_ace(hand: &Hand) -> bool {
    hand.ace && hand.sum + 10 <= 21
}

fn sum_hand(hand: &Hand) -> i64 {
    if usable_ace(hand) {
        return hand.sum + 10;
    }
    hand.sum
}

fn is_bust(hand: &Hand) -> bool {
    sum_hand(hand) > 21
}

fn score(hand: &Hand) -> i64 {
    if is_bust(hand) { 0 } else { sum_hand(hand) }
}

/// `sorted(hand) == [1, 10]`.
fn is_natural(cards: &[i32; CARDS], count: u32) -> bool {
    count == 2 && ((cards[0] == 1 && cards[1] == 10) || (cards[0] == 10 && cards[1] == 1))
}

/// `_get_obs`, with `_hand_sum_and_usable_ace`.
fn get_obs(player: &Hand, dealer_card: i32, out: &mut Writer<'_>) {
    out.i32(sum_hand(player) as i32);
    out.i32(dealer_card);
    out.i32(i32::from(usable_ace(player)));
}

/// Writes the observation, where somebody looks at it.
fn look(player: &Hand, dealer_card: i32, out: &mut impl Out<f64>) {
    if let Some(mut writer) = out.observation(0) {
        get_obs(player, dealer_card, &mut writer);
    }
}
