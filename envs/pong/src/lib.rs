//! Puffer Pong, exact to the bit: start with `rules.rs`, which follows `pong.h` function by function.

mod rules;
mod state;
mod world;

pub use rules::Pong;
pub use state::State;
pub use world::World;

lockstep_core::export_env!(Pong);
