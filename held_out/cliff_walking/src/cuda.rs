//! What the CUDA source needs of the Rust source: the world in plain words, and the table that it exports.

use crate::{CliffWalking, World};
use bytemuck::{Pod, Zeroable};
use lockstep_core::host::{HostRules, HostTable};

/// `CliffWalking::World` of `cuda/rules.cuh`: 32-bit words, no padding, no bool.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct DeviceWorld {
    /// `World::start`.
    pub start: i32,
}

const _: () = assert!(size_of::<DeviceWorld>() == 4);

impl HostRules for CliffWalking {
    type DeviceWorld = DeviceWorld;

    fn device_world(world: &World) -> DeviceWorld {
        DeviceWorld { start: world.start }
    }

    fn host_table() -> &'static HostTable {
        unsafe extern "C" {
            fn cliff_walking_cuda_host() -> *const HostTable;
        }
        // SAFETY: build.rs linked the function, which returns a table that is never freed or changed.
        unsafe { &*cliff_walking_cuda_host() }
    }
}
