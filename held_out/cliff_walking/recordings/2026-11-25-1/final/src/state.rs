//! One lane's state: 32-bit words without padding.

use bytemuck::{Pod, Zeroable};

/// What a step changes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct State {
    /// `CliffWalkingEnv.s`: row * 12 + column, 0 to 47.
    pub s: i32,
    /// `CliffWalkingEnv.lastaction`, 0 while it is None.
    pub last_action: i32,
    /// 1 where `CliffWalkingEnv.lastaction` is not None, else 0.
    pub last_action_given: u32,
}

const _: () = assert!(size_of::<State>() == 12);
