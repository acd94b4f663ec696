//! The devices behind [`lockstep_core::device`]: an interpreter of PTX, which runs everywhere, and with feature `cuda` GPUs,
//! behind the same calls.

#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(feature = "cuda")]
mod issue;
pub mod ptx;
#[cfg(feature = "cuda")]
mod said;
pub mod tools;
mod work;

#[cfg(feature = "cuda")]
pub use cuda::Cuda;
pub use lockstep_ptx::{Checks, Work};
pub use ptx::Ptx;
