//! The devices behind [`lockstep_core::device`]: an interpreter of PTX, which runs everywhere.
//!
//! A GPU behind the same calls is not built yet.

pub mod ptx;

pub use lockstep_ptx::{Checks, Work};
pub use ptx::Ptx;
