//! What the CUDA source needs of the Rust source: the world in plain words, and the table that it exports.

use crate::{CartPole, World};
use bytemuck::{Pod, Zeroable};
use lockstep_core::host::{HostRules, HostTable};

/// `CartPole::World` of `cuda/rules.cuh`: 32-bit words, no padding, no bool.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct DeviceWorld {
    /// `World::sutton_barto_reward`, 0 or 1.
    pub sutton_barto_reward: u32,
}

impl HostRules for CartPole {
    type DeviceWorld = DeviceWorld;

    fn device_world(world: &World) -> DeviceWorld {
        DeviceWorld { sutton_barto_reward: world.sutton_barto_reward }
    }

    fn host_table() -> &'static HostTable {
        unsafe extern "C" {
            fn cart_pole_cuda_host() -> *const HostTable;
        }
        // SAFETY: build.rs linked the function, which returns a table that is never freed or changed.
        unsafe { &*cart_pole_cuda_host() }
    }
}
