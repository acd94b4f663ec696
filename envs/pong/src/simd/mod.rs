//! Pong on 16 to 32 lanes at once, in whole numbers: the backend `rust.simd`.
//!
//! With the default parameters and discrete actions every quantity of the game is a whole number of pixels, so 16 bits
//! hold it exactly and one instruction moves it in many lanes. [`Field`] is the product, for training and for the
//! judge; [`Simd`] lets it answer the judge's requests. The rules are written once, in `rules.rs`, over the trait of
//! `vector.rs`, which each instruction set implements in its own file.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod backend;
mod driver;
mod field;
mod instructions;
mod ledger;
mod portable;
mod quotient;
mod rules;
mod vector;

pub use backend::Simd;
pub use driver::open;
pub use field::{Field, Layout, Outputs};
pub use instructions::Instructions;
pub use ledger::Point;
pub use quotient::{OBSERVED_MAX, OBSERVED_MIN, observed};
