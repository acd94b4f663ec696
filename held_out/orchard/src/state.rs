//! One lane's state: 32-bit words without padding.
//!
//! Every entry of a list at or past the list's count is 0.

use bytemuck::{Pod, Zeroable};

/// What a step changes, in the manifest's order. An f64 is its bits: low word, high word.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct State {
    /// `Orchard.turn`.
    pub turn: i32,
    /// `Orchard.x`.
    pub x: i32,
    /// `Orchard.y`.
    pub y: i32,
    /// `Orchard.basket`, prices.
    pub basket: [[u32; 2]; 10],
    /// The length of `Orchard.basket`.
    pub basket_count: u32,
    /// `Orchard.money`.
    pub money: [u32; 2],
    /// `Orchard.water`.
    pub water: i32,
    /// `Orchard.rotted`.
    pub rotted: i32,
    /// `Orchard.stolen`.
    pub stolen: i32,
    /// `Orchard.sky`: 0 clear, 1 cloudy, 2 rain.
    pub sky: u32,
    /// `Tree.x`.
    pub trees_x: [i32; 8],
    /// `Tree.y`.
    pub trees_y: [i32; 8],
    /// `Tree.kind`: 0 apple, 1 pear, 2 plum.
    pub trees_kind: [u32; 8],
    /// `Tree.moisture`.
    pub trees_moisture: [[u32; 2]; 8],
    /// `Tree.fruit`, ages in the list's order.
    pub trees_fruit: [[i32; 6]; 8],
    /// The length of `Tree.fruit`.
    pub trees_fruit_count: [u32; 8],
    /// `Crow.x`.
    pub crows_x: [i32; 16],
    /// `Crow.y`.
    pub crows_y: [i32; 16],
    /// `Crow.hunger`.
    pub crows_hunger: [i32; 16],
    /// `Crow.seated`, 0 or 1.
    pub crows_seated: [u32; 16],
    /// The length of `Orchard.crows`.
    pub crows_count: u32,
    /// Lists that outgrew their bound in this episode; none can in play.
    pub capacity: u32,
}

const _: () = assert!(size_of::<State>() == 768);

/// The number that two words hold.
pub fn get(w: [u32; 2]) -> f64 {
    f64::from_bits(u64::from(w[0]) | (u64::from(w[1]) << 32))
}

/// The two words of a number.
pub fn put(v: f64) -> [u32; 2] {
    let bits = v.to_bits();
    [bits as u32, (bits >> 32) as u32]
}
