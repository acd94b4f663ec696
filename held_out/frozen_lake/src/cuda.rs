//! What the CUDA source needs of the Rust source: the world in plain words, and the table that it exports.

use crate::{FrozenLake, World};
use bytemuck::{Pod, Zeroable};
use lockstep_core::host::{HostRules, HostTable};

/// `FrozenLake::World` of `cuda/rules.cuh`: 32-bit words, no padding, no bool.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct DeviceWorld {
    /// `World::nrow`.
    pub nrow: u32,
    /// `World::ncol`.
    pub ncol: u32,
    /// `World::hole`.
    pub hole: u32,
    /// `World::goal`.
    pub goal: u32,
    /// `World::start`.
    pub start: u32,
}

const _: () = assert!(size_of::<DeviceWorld>() == 20);

impl HostRules for FrozenLake {
    type DeviceWorld = DeviceWorld;

    fn device_world(world: &World) -> DeviceWorld {
        DeviceWorld {
            nrow: world.nrow,
            ncol: world.ncol,
            hole: world.hole,
            goal: world.goal,
            start: world.start,
        }
    }

    fn host_table() -> &'static HostTable {
        unsafe extern "C" {
            fn frozen_lake_cuda_host() -> *const HostTable;
        }
        // SAFETY: build.rs linked the function, which returns a table that is never freed or changed.
        unsafe { &*frozen_lake_cuda_host() }
    }
}
