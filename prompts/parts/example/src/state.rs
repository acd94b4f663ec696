//! One lane's state: 32-bit words without padding.

use bytemuck::{Pod, Zeroable};

/// What a step changes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct State {
    /// `Lantern.oil`.
    pub oil: f32,
    /// `Lantern.flame`.
    pub flame: f32,
    /// `Lantern.wear`, the bits of an f64: low word, high word.
    pub wear: [u32; 2],
    /// `Lantern.refills`.
    pub refills: i32,
    /// `Lantern.age`.
    pub age: u32,
    /// `Lantern.rng`, 0 where draws are served.
    pub rng: u32,
}

const _: () = assert!(size_of::<State>() == 28);

impl State {
    /// `wear` as a number.
    pub fn wear(&self) -> f64 {
        f64::from_bits(u64::from(self.wear[0]) | u64::from(self.wear[1]) << 32)
    }

    /// Sets `wear`.
    pub fn set_wear(&mut self, wear: f64) {
        self.wear = [wear.to_bits() as u32, (wear.to_bits() >> 32) as u32];
    }
}
