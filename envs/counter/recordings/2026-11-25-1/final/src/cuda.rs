//! What the CUDA source needs of the Rust source: the world in plain words, and the table that it exports.

use crate::{Counter, World};
use bytemuck::{Pod, Zeroable};
use lockstep_core::host::{HostRules, HostTable};

/// `Counter::World` of `cuda/rules.cuh`: 32-bit words, no padding, no bool.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct DeviceWorld {
    /// `World::agents`.
    pub agents: u32,
    /// `World::limit`.
    pub limit: i32,
    /// `World::memory`.
    pub memory: u32,
    /// `World::exact`.
    pub exact: u32,
}

const _: () = assert!(size_of::<DeviceWorld>() == 16);

impl HostRules for Counter {
    type DeviceWorld = DeviceWorld;

    fn device_world(world: &World) -> DeviceWorld {
        DeviceWorld { agents: world.agents, limit: world.limit, memory: world.memory, exact: world.exact }
    }

    fn host_table() -> &'static HostTable {
        unsafe extern "C" {
            fn counter_cuda_host() -> *const HostTable;
        }
        // SAFETY: build.rs linked the function, which returns a table that is never freed or changed.
        unsafe { &*counter_cuda_host() }
    }
}
