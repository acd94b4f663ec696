//! What the CUDA source of pong needs of the Rust source: the world in plain words, and the table it exports.

use crate::{Pong, World};
use bytemuck::{Pod, Zeroable};
use lockstep_core::device::DeviceRules;
#[cfg(feature = "cuda-host")]
use lockstep_core::host::{HostRules, HostTable};

/// `Pong::World` of `cuda/rules.cuh`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[expect(missing_docs, reason = "the fields are those of `World`")]
pub struct DeviceWorld {
    pub width: f32,
    pub height: f32,
    pub paddle_height: f32,
    pub ball_width: f32,
    pub ball_height: f32,
    pub paddle_speed: f32,
    pub ball_initial_speed_x: f32,
    pub ball_initial_speed_y: f32,
    pub ball_max_speed_y: f32,
    pub ball_speed_y_increment: f32,
    pub max_score: u32,
    pub frameskip: u32,
    pub continuous: u32,
    pub min_paddle_y: f32,
    pub max_paddle_y: f32,
}

impl DeviceRules for Pong {
    type DeviceWorld = DeviceWorld;

    fn device_world(world: &World) -> DeviceWorld {
        DeviceWorld {
            width: world.width,
            height: world.height,
            paddle_height: world.paddle_height,
            ball_width: world.ball_width,
            ball_height: world.ball_height,
            paddle_speed: world.paddle_speed,
            ball_initial_speed_x: world.ball_initial_speed_x,
            ball_initial_speed_y: world.ball_initial_speed_y,
            ball_max_speed_y: world.ball_max_speed_y,
            ball_speed_y_increment: world.ball_speed_y_increment,
            max_score: world.max_score,
            frameskip: world.frameskip,
            continuous: u32::from(world.continuous),
            min_paddle_y: world.min_paddle_y,
            max_paddle_y: world.max_paddle_y,
        }
    }

    fn ptx() -> &'static str {
        include_str!("../cuda/kernels.ptx")
    }
}

#[cfg(feature = "cuda-host")]
impl HostRules for Pong {
    fn host_table() -> &'static HostTable {
        unsafe extern "C" {
            fn pong_cuda_host() -> *const HostTable;
        }
        // SAFETY: build.rs linked the function, which returns a table that is never freed or changed.
        unsafe { &*pong_cuda_host() }
    }
}
