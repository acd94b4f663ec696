//! What the CUDA source needs of the Rust source: the world in plain words, and the table that it exports.

use crate::{Lantern, World};
use bytemuck::{Pod, Zeroable};
use lockstep_core::host::{HostRules, HostTable};

/// `Lantern::World` of `cuda/rules.cuh`: 32-bit words, no padding, no bool.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct DeviceWorld {
    /// `World::oil_max`.
    pub oil_max: f32,
    /// `World::gusts`.
    pub gusts: u32,
    /// 1 where `rng` makes the draws.
    pub ported: u32,
}

impl HostRules for Lantern {
    type DeviceWorld = DeviceWorld;

    fn device_world(world: &World) -> DeviceWorld {
        DeviceWorld { oil_max: world.oil_max, gusts: world.gusts, ported: u32::from(world.ported) }
    }

    fn host_table() -> &'static HostTable {
        unsafe extern "C" {
            fn lantern_cuda_host() -> *const HostTable;
        }
        // SAFETY: build.rs linked the function, which returns a table that is never freed or changed.
        unsafe { &*lantern_cuda_host() }
    }
}
