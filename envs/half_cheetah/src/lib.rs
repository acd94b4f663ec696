//! `half_cheetah`: Gymnasium's HalfCheetah-v5, whose MuJoCo model lies in a plane; start with `rules.rs`.
//!
//! Not a general physics engine: everything here is for this one model.
#![expect(clippy::needless_range_loop, reason = "the physics counts bodies, joints and rows, as its source does")]

#[macro_use]
mod unroll;

pub mod arrow;
pub mod bench;
pub mod body;
pub mod constants;
pub mod constraint;
pub mod lanes;
pub mod model;
mod noise;
mod noise_tables;
mod probes;
pub mod real;
mod rules;
pub mod solver;
mod state;
pub mod substep;
mod world;

pub use rules::HalfCheetah;
pub use state::State;
pub use world::World;

lockstep_core::export_env!(HalfCheetah, "rust.simd" => lanes::open, "rust.f32" => lanes::open_single);
