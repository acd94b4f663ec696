//! What the CUDA source of counter needs of the Rust source: the world in plain words, and the table it exports.

use crate::world::DrawsFrom;
use crate::{Counter, World};
use bytemuck::{Pod, Zeroable};
use lockstep_core::device::DeviceRules;
#[cfg(feature = "cuda-host")]
use lockstep_core::host::{HostRules, HostTable};

/// `Counter::World` of `cuda/rules.cuh`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct DeviceWorld {
    /// 1 or 2.
    pub agents: u32,
    /// The value that ends the episode.
    pub limit: i32,
    /// Bytes of the memory, 0 for none.
    pub memory: u32,
    /// 1 if the rules draw from the ported generator.
    pub draws: u32,
}

impl DeviceRules for Counter {
    type DeviceWorld = DeviceWorld;

    fn device_world(world: &World) -> DeviceWorld {
        DeviceWorld {
            agents: world.agents as u32,
            limit: world.limit,
            memory: world.memory,
            draws: u32::from(world.draws == DrawsFrom::Generator),
        }
    }

    fn ptx() -> &'static str {
        include_str!("../cuda/kernels.ptx")
    }
}

#[cfg(feature = "cuda-host")]
impl HostRules for Counter {
    fn host_table() -> &'static HostTable {
        unsafe extern "C" {
            fn counter_cuda_host() -> *const HostTable;
        }
        // SAFETY: build.rs linked the function, which returns a table that is never freed or changed.
        unsafe { &*counter_cuda_host() }
    }
}
