//! The real `lockstep`, run as people run it.

mod bad_input;
#[path = "../common/mod.rs"]
mod common;
mod converge;
mod gpu;
mod new;
mod recordings;
mod static_report;
mod tree;
mod verbs;
