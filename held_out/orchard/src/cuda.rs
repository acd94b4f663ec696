//! What the CUDA source needs of the Rust source: the world in plain words, and the table that it exports.

use crate::{Orchard, World};
use bytemuck::{Pod, Zeroable};
use lockstep_core::host::{HostRules, HostTable};

/// `Orchard::World` of `cuda/rules.cuh`: 32-bit words, no padding, no bool.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct DeviceWorld {
    /// `World::trees`.
    pub trees: u32,
}

impl HostRules for Orchard {
    type DeviceWorld = DeviceWorld;

    fn device_world(world: &World) -> DeviceWorld {
        DeviceWorld { trees: world.trees }
    }

    fn host_table() -> &'static HostTable {
        unsafe extern "C" {
            fn orchard_cuda_host() -> *const HostTable;
        }
        // SAFETY: build.rs linked the function, which returns a table that is never freed or changed.
        unsafe { &*orchard_cuda_host() }
    }
}
