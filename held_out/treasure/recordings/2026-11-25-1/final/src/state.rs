//! One lane's state: 32-bit words without padding.

use bytemuck::{Pod, Zeroable};

/// What a step changes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct State {
    /// `Treasure.x`: column, in cells.
    pub x: i32,
    /// `Treasure.y`: row, in cells.
    pub y: i32,
    /// `Treasure.steps`: steps of this episode.
    pub steps: i32,
    /// `Treasure.phase`: 0 'hurry', 1 'search'.
    pub phase: u32,
    /// `Treasure.coins`: coin k is at `coins[2 * k]`, `coins[2 * k + 1]`; 0 from `2 * coins_count` on.
    pub coins: [i32; 16],
    /// The length of `Treasure.coins`, 0 to 8.
    pub coins_count: u32,
    /// Lists that outgrew their bound in this episode; 0 in play.
    pub capacity: u32,
}

const _: () = assert!(size_of::<State>() == 88);
