//! `lockstep_rl._core`: what the Python package does in Rust.
//!
//! It knows no environment. A library is loaded through the versioned table that every environment exports, and what is
//! needed to show its numbers in Python (spaces, pictures, traces) comes from the manifest that the library carries.

mod actions;
mod lanes;
mod library;
mod picture;
mod replay;

use pyo3::prelude::*;

pyo3::create_exception!(
    lockstep_rl,
    Error,
    pyo3::exceptions::PyRuntimeError,
    "What an environment or its library could not do; the message ends in what to do next."
);

/// The module.
#[pymodule(name = "_core")]
mod core {
    #[pymodule_export]
    use super::Error;
    #[pymodule_export]
    use crate::lanes::Lanes;
    #[pymodule_export]
    use crate::library::Library;
}
