//! The devices behind [`lockstep_core::device`]: an interpreter of PTX, which runs everywhere, and a GPU's driver behind
//! the same calls.

#[cfg(feature = "cuda")]
pub mod cuda;
pub mod ptx;

#[cfg(feature = "cuda")]
pub use cuda::Cuda;
pub use lockstep_ptx::{Checks, Work};
pub use ptx::Ptx;
