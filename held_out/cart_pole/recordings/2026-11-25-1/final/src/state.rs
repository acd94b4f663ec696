//! One lane's state: 32-bit words without padding.

use bytemuck::{Pod, Zeroable};

/// What a step changes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct State {
    /// `CartPoleEnv.state`: x, x_dot, theta, theta_dot, each the bits of an f64: low word, high word.
    pub state: [[u32; 2]; 4],
    /// `CartPoleEnv.steps_beyond_terminated`, 0 where it is `None`.
    pub steps_beyond_terminated: i32,
    /// Whether `CartPoleEnv.steps_beyond_terminated` is not `None`, 0 or 1.
    pub steps_beyond_terminated_given: u32,
}

const _: () = assert!(size_of::<State>() == 40);

impl State {
    /// The number at place `i` of `state`, 0 to 3.
    pub fn get(&self, i: usize) -> f64 {
        let [low, high] = self.state[i];
        f64::from_bits(u64::from(low) | (u64::from(high) << 32))
    }

    /// Sets the number at place `i` of `state`, 0 to 3.
    pub fn set(&mut self, i: usize, value: f64) {
        let bits = value.to_bits();
        self.state[i] = [bits as u32, (bits >> 32) as u32];
    }
}
