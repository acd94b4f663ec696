//! What a Lockstep environment is built on.
//!
//! An environment implements [`Rules`]: pure functions over a read-only `World` and a plain-data `State`. From these
//! come, without further code, a [`Lane`] that can be snapshot and injected, the [`batch`] driver for training, the
//! [`serve()`] loop that speaks `lockstep/1` with the judge, and the [`table`] of functions that other languages load.

pub mod backend;
pub mod batch;
pub mod bench;
mod bytes;
pub mod device;
mod digest;
mod draws;
pub mod driver;
pub mod host;
mod lane;
mod options;
mod records;
mod rules;
mod scalar;
mod seat;
mod serve;
mod shape;
pub mod table;
mod token;
pub mod wire;

pub use backend::{Backend, Fault};
pub use bytes::{Cut, Reader, Writer};
pub use digest::Digest;
pub use draws::{Draws, Unlogged, below, draw_word, threefry};
pub use lane::{Header, Lane, Source};
pub use options::{Files, Options, WorldError};
pub use records::{HEAD_INJECT, HEAD_RESET, HEAD_STEP, SITE_UNNAMED, TERMINATED};
pub use rules::{Mask, Out, Outcome, Refusal, Regions, Reward, Rules, Start};
pub use scalar::Scalar;
pub use serve::{
    Opened, Opener, ProbeFn, Server, Tool, ToolAnswer, probe_with, run_with, run_with_tools, serve, serve_with,
};
pub use shape::{ActionKind, RegionShape, Resets, Shape};
pub use token::{continuous_token, decode, discrete_token};

/// The protocol that this crate serves.
pub const PROTOCOL: &str = "lockstep/1";
