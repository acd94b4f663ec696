//! One lane's state: 32-bit words without padding.

use bytemuck::{Pod, Zeroable};

/// What a step changes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct State {
    /// `FrozenLakeEnv.s`, the tile: row * ncol + col.
    pub s: i32,
    /// `FrozenLakeEnv.lastaction`, 0 where it is None.
    pub lastaction: i32,
    /// Whether `FrozenLakeEnv.lastaction` is not None, 0 or 1.
    pub lastaction_given: u32,
}

const _: () = assert!(size_of::<State>() == 12);
