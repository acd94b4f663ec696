//! What the CUDA source needs of the Rust source: the world in plain words, and the table that it exports.

use crate::{Ferry, World};
use bytemuck::{Pod, Zeroable};
use lockstep_core::host::{HostRules, HostTable};

/// `Ferry::World` of `cuda/rules.cuh`: 32-bit words, no padding, no bool.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct DeviceWorld {
    /// `World::ticks_max`, in ticks.
    pub ticks_max: i32,
}

impl HostRules for Ferry {
    type DeviceWorld = DeviceWorld;

    fn device_world(world: &World) -> DeviceWorld {
        DeviceWorld { ticks_max: world.ticks_max }
    }

    fn host_table() -> &'static HostTable {
        unsafe extern "C" {
            fn ferry_cuda_host() -> *const HostTable;
        }
        // SAFETY: build.rs linked the function, which returns a table that is never freed or changed.
        unsafe { &*ferry_cuda_host() }
    }
}
