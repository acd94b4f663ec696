//! `counter`, the smallest environment and the documentation by example: start with `rules.rs`.

#[cfg(feature = "cuda-host")]
pub mod cuda;
#[cfg(feature = "cuda-host")]
mod ptx;
mod rules;
mod state;
mod world;

pub use rules::Counter;
pub use state::State;
pub use world::World;

lockstep_core::export_env!(Counter);
