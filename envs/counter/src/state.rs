//! One lane's state: plain 32-bit words, the same on a GPU. The names are those of `counter.py`.

use bytemuck::{Pod, Zeroable};

/// What a step changes, beside the memory region.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct State {
    /// The count.
    pub value: i32,
    /// Who decides next, one bit per agent.
    pub deciders: u32,
    /// What each agent has saved by waiting; hidden from the other.
    pub purse: [i32; 2],
    /// Steps since the reset.
    pub tick: u32,
    /// The ported generator (configuration `exact`), else 0.
    pub generator: u32,
}

const _: () = assert!(size_of::<State>() == 24);
