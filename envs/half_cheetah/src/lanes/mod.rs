//! HalfCheetah on vectors of lanes: the backends `rust.simd`, in double precision, and `rust.f32`, in single precision.
//!
//! The physics is the text of the readable backend, whose functions are generic over [`Real`](crate::real::Real): here
//! they are given four or eight doubles at a time, or eight or sixteen singles. [`Field`] is the product, for training and for the judge; [`Simd`]
//! lets it answer the judge's requests.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_single;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_single;
mod backend;
mod driver;
mod field;
mod instructions;
mod kernel;
mod portable;

pub use backend::Simd;
pub use driver::{open, open_on, open_single};
pub use field::Field;
pub use instructions::{Instructions, Precision};
