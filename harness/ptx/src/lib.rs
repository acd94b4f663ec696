//! Reads, lints and executes PTX on the CPU: the very text that a GPU's driver would get.
//!
//! What a kernel must not do on a GPU is a fault here, with kernel, thread and line: an access outside of a buffer or out
//! of alignment, a value that nobody has written, a race, a loop without an end. On the way it counts what a warp would
//! issue, which is a model of a GPU's work that needs no GPU.

mod code;
mod exec;
mod lint;
mod lower;
mod memory;
mod model;
mod parse;

pub use code::Kernel;
pub use exec::{Grid, launch};
pub use lint::{Finding, lint};
pub use lower::{Program, lower};
pub use memory::{Checks, Fault, Memory};
pub use model::{Line, Work};
pub use parse::{Function, Instruction, Kind, Module, Operand, Statement, Variable, parse};

/// Why PTX can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not PTX as this crate knows it.
    #[error("line {line} of the PTX: {why}")]
    Syntax {
        /// The line, counted from 1.
        line: u32,
        /// What is wrong.
        why: String,
    },
    /// An instruction that is not known here.
    #[error("line {line} of the PTX, in {kernel}: {instruction:?}: {why}")]
    Instruction {
        /// The line, counted from 1.
        line: u32,
        /// The kernel or function.
        kernel: String,
        /// The instruction.
        instruction: String,
        /// What is wrong.
        why: String,
    },
    /// There is no such kernel.
    #[error("the PTX has no kernel {0}")]
    NoKernel(String),
}

impl Error {
    fn syntax(line: u32, why: &str) -> Self {
        Error::Syntax { line, why: why.to_owned() }
    }
}
