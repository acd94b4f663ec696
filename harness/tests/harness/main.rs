//! The harness against its enemies, with real references.

mod common;
mod overhead;
mod planted_bugs;
