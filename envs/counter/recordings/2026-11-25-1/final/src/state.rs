//! One lane's state: 32-bit words without padding.

use bytemuck::{Pod, Zeroable};

/// What a step changes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct State {
    /// `Counter.value`.
    pub value: i32,
    /// `Counter.deciders`, a bit set of agents.
    pub deciders: u32,
    /// `Counter.purse`, both even where there is one agent.
    pub purse: [i32; 2],
    /// `Counter.tick`, in steps.
    pub tick: u32,
    /// `Counter.generator`, 0 after a reset where draws are not exact.
    pub generator: u32,
}

const _: () = assert!(size_of::<State>() == 24);
