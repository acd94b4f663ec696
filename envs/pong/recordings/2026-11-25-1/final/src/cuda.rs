//! What the CUDA source needs of the Rust source: the world in plain words, and the table that it exports.

use crate::{Pong, World};
use bytemuck::{Pod, Zeroable};
use lockstep_core::host::{HostRules, HostTable};

/// `Pong::World` of `cuda/rules.cuh`: 32-bit words, no padding, no bool. Lengths in px, speeds in px/subframe.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct DeviceWorld {
    /// `World::width`.
    pub width: f32,
    /// `World::height`.
    pub height: f32,
    /// `World::paddle_width`, which no rule uses.
    pub paddle_width: f32,
    /// `World::paddle_height`.
    pub paddle_height: f32,
    /// `World::ball_width`.
    pub ball_width: f32,
    /// `World::ball_height`.
    pub ball_height: f32,
    /// `World::paddle_speed`.
    pub paddle_speed: f32,
    /// `World::ball_initial_speed_x`.
    pub ball_initial_speed_x: f32,
    /// `World::ball_initial_speed_y`.
    pub ball_initial_speed_y: f32,
    /// `World::ball_max_speed_y`.
    pub ball_max_speed_y: f32,
    /// `World::ball_speed_y_increment`.
    pub ball_speed_y_increment: f32,
    /// `World::min_paddle_y`.
    pub min_paddle_y: f32,
    /// `World::max_paddle_y`.
    pub max_paddle_y: f32,
    /// `World::max_score`, points; at least 1.
    pub max_score: u32,
    /// `World::frameskip`, subframes of one step.
    pub frameskip: u32,
    /// 1 where the action is the paddle's direction as it is, else 0.
    pub continuous: u32,
}

const _: () = assert!(size_of::<DeviceWorld>() == 64);

impl HostRules for Pong {
    type DeviceWorld = DeviceWorld;

    fn device_world(world: &World) -> DeviceWorld {
        DeviceWorld {
            width: world.width,
            height: world.height,
            paddle_width: world.paddle_width,
            paddle_height: world.paddle_height,
            ball_width: world.ball_width,
            ball_height: world.ball_height,
            paddle_speed: world.paddle_speed,
            ball_initial_speed_x: world.ball_initial_speed_x,
            ball_initial_speed_y: world.ball_initial_speed_y,
            ball_max_speed_y: world.ball_max_speed_y,
            ball_speed_y_increment: world.ball_speed_y_increment,
            min_paddle_y: world.min_paddle_y,
            max_paddle_y: world.max_paddle_y,
            max_score: world.max_score,
            frameskip: world.frameskip,
            continuous: world.continuous,
        }
    }

    fn host_table() -> &'static HostTable {
        unsafe extern "C" {
            fn pong_cuda_host() -> *const HostTable;
        }
        // SAFETY: build.rs linked the function, which returns a table that is never freed or changed.
        unsafe { &*pong_cuda_host() }
    }
}
