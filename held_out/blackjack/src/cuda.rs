//! What the CUDA source needs of the Rust source: the world in plain words, and the table that it exports.

use crate::{Blackjack, World};
use bytemuck::{Pod, Zeroable};
use lockstep_core::host::{HostRules, HostTable};

/// `Blackjack::World` of `cuda/rules.cuh`: 32-bit words, no padding, no bool.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct DeviceWorld {
    /// `World::natural`, 0 or 1.
    pub natural: u32,
    /// `World::sab`, 0 or 1.
    pub sab: u32,
}

impl HostRules for Blackjack {
    type DeviceWorld = DeviceWorld;

    fn device_world(world: &World) -> DeviceWorld {
        DeviceWorld { natural: u32::from(world.natural), sab: u32::from(world.sab) }
    }

    fn host_table() -> &'static HostTable {
        unsafe extern "C" {
            fn blackjack_cuda_host() -> *const HostTable;
        }
        // SAFETY: build.rs linked the function, which returns a table that is never freed or changed.
        unsafe { &*blackjack_cuda_host() }
    }
}
