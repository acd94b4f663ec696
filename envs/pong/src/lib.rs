//! Puffer Pong, exact to the bit: start with `rules.rs`, which follows `pong.h` function by function.

pub mod bench;
#[cfg(feature = "cuda-host")]
pub mod cuda;
#[cfg(feature = "cuda-host")]
mod ptx;
mod rules;
pub mod simd;
mod state;
mod world;

pub use rules::Pong;
pub use state::State;
pub use world::World;

lockstep_core::export_env!(Pong, "rust.simd" => simd::open);
