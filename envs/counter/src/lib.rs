//! `counter`, the smallest environment and the documentation by example: start with `rules.rs`.

pub mod cuda;
mod rules;
mod state;
mod world;

pub use rules::Counter;
pub use state::State;
pub use world::World;

lockstep_core::export_env!(Counter);
