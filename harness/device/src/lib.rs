//! The devices behind [`lockstep_core::device`]: an interpreter of PTX, which runs everywhere, and with feature `cuda` GPUs,
//! behind the same calls.

mod bundle;
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

/// A folder with machine code of the kernels, `sm_90.cubin` for a GPU of compute capability 9.0. Without a file for the
/// GPU its driver compiles the PTX.
pub(crate) const IMAGES: &str = "LOCKSTEP_CUDA_IMAGES";
