//! One lane's state: 32-bit words without padding, in the manifest's order.

use bytemuck::{Pod, Zeroable};

/// What a step changes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct State {
    /// `Pong.paddle_yl`, px.
    pub paddle_yl: f32,
    /// `Pong.paddle_yr`, px.
    pub paddle_yr: f32,
    /// `Pong.ball_x`, px.
    pub ball_x: f32,
    /// `Pong.ball_y`, px.
    pub ball_y: f32,
    /// `Pong.ball_vx`, px/subframe.
    pub ball_vx: f32,
    /// `Pong.ball_vy`, px/subframe.
    pub ball_vy: f32,
    /// `Pong.paddle_dir`.
    pub paddle_dir: f32,
    /// `Pong.score_l`.
    pub score_l: u32,
    /// `Pong.score_r`.
    pub score_r: u32,
    /// `Pong.tick`, steps of this round.
    pub tick: i32,
    /// `Pong.n_bounces`.
    pub n_bounces: i32,
    /// `Pong.win`.
    pub win: i32,
}

const _: () = assert!(size_of::<State>() == 48);
