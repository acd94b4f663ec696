//! What the CUDA source needs of the Rust source: the world in plain words, and the table that it exports.

use crate::{Treasure, World};
use bytemuck::{Pod, Zeroable};
use lockstep_core::host::{HostRules, HostTable};

/// `Treasure::World` of `cuda/rules.cuh`: 32-bit words, no padding, no bool.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct DeviceWorld {
    /// `World::size`: the side of the square board in cells.
    pub size: i32,
}

impl HostRules for Treasure {
    type DeviceWorld = DeviceWorld;

    fn device_world(world: &World) -> DeviceWorld {
        DeviceWorld { size: world.size }
    }

    fn host_table() -> &'static HostTable {
        unsafe extern "C" {
            fn treasure_cuda_host() -> *const HostTable;
        }
        // SAFETY: build.rs linked the function, which returns a table that is never freed or changed.
        unsafe { &*treasure_cuda_host() }
    }
}
