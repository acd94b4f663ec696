//! One lane's state: 32-bit words without padding, in the manifest's order.

use bytemuck::{Pod, Zeroable};

/// What a step changes. Entries at and after a list's count are always 0.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct State {
    /// `Ferry.x`.
    pub x: i32,
    /// `Ferry.y`.
    pub y: i32,
    /// `Ferry.tick`.
    pub tick: i32,
    /// `Ferry.fuel`.
    pub fuel: i32,
    /// `Ferry.hull`.
    pub hull: i32,
    /// `Ferry.carried`.
    pub carried: i32,
    /// `Ferry.left`.
    pub left: i32,
    /// `Ferry.tide`.
    pub tide: i32,
    /// `Ferry.wind`: 0 calm, 1 east, 2 west.
    pub wind: u32,
    /// `Ferry.aboard`, `from` of each.
    pub aboard_from: [i32; 8],
    /// `Ferry.aboard`, `to` of each.
    pub aboard_to: [i32; 8],
    /// `Ferry.aboard`, `patience` of each.
    pub aboard_patience: [i32; 8],
    /// `Ferry.aboard.length`.
    pub aboard_count: u32,
    /// `Ferry.waiting`, `from` of each.
    pub waiting_from: [i32; 16],
    /// `Ferry.waiting`, `to` of each.
    pub waiting_to: [i32; 16],
    /// `Ferry.waiting`, `patience` of each.
    pub waiting_patience: [i32; 16],
    /// `Ferry.waiting.length`.
    pub waiting_count: u32,
    /// `Ferry.debris`, `x` of each.
    pub debris_x: [i32; 16],
    /// `Ferry.debris`, `y` of each.
    pub debris_y: [i32; 16],
    /// `Ferry.debris`, `size` of each.
    pub debris_size: [i32; 16],
    /// `Ferry.debris.length`.
    pub debris_count: u32,
    /// `Ferry.refuelled`: 0 or 1.
    pub refuelled: u32,
    /// How often a list has outgrown its bound; the rules never let one do so.
    pub capacity: u32,
}

const _: () = assert!(size_of::<State>() == 134 * 4);
