//! One lane's state: 32-bit words without padding.

use bytemuck::{Pod, Zeroable};

/// Cards of a hand that are kept; a longer list is counted, but its further cards are not shown.
pub const CARDS: usize = 16;

/// What a step changes. Cards at and after the count are 0.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct State {
    /// `BlackjackEnv.dealer`, the first 16 cards.
    pub dealer: [i32; CARDS],
    /// `len(BlackjackEnv.dealer)`.
    pub dealer_count: u32,
    /// `BlackjackEnv.player`, the first 16 cards.
    pub player: [i32; CARDS],
    /// `len(BlackjackEnv.player)`.
    pub player_count: u32,
    /// `BlackjackEnv.dealer_top_card_suit`: 0 'C', 1 'D', 2 'H', 3 'S'.
    pub dealer_top_card_suit: u32,
    /// `BlackjackEnv.dealer_top_card_value_str`: 0 '2' to 7 '9', 8 'A', 9 'J', 10 'K', 11 'Q'.
    pub dealer_top_card_value_str: u32,
    /// Lists that outgrew their bound in this episode.
    pub capacity: u32,
}

const _: () = assert!(size_of::<State>() == 148);
