//! The harness against its enemies, with real references.

mod common;
mod frontends;
mod hello;
mod overhead;
mod planted_backends;
mod planted_bugs;
mod race;
mod recordings;
