//! One lane's state: the fields of `struct Pong` that a step changes, under their names there.

use bytemuck::{Pod, Zeroable};

/// What a step changes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct State {
    /// Top of the opponent's paddle, px.
    pub paddle_yl: f32,
    /// Top of the agent's paddle, px.
    pub paddle_yr: f32,
    /// Left edge of the ball, px.
    pub ball_x: f32,
    /// Top of the ball, px.
    pub ball_y: f32,
    /// Speed of the ball, px per subframe.
    pub ball_vx: f32,
    /// Speed of the ball, px per subframe.
    pub ball_vy: f32,
    /// Direction of the agent's paddle; in continuous mode the action itself.
    pub paddle_dir: f32,
    /// The opponent's points.
    pub score_l: u32,
    /// The agent's points.
    pub score_r: u32,
    /// Steps of this round.
    pub tick: i32,
    /// Paddle bounces of this round.
    pub n_bounces: i32,
    /// 1 after the agent's last point was won, 0 after it was lost.
    pub win: i32,
}

const _: () = assert!(size_of::<State>() == 48);
