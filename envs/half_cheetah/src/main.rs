//! The runner of `half_cheetah`: started by `lockstep`, it serves the environment on descriptors 3 and 4.

use lockstep_core::bench::Bencher;
use lockstep_core::{Opened, Opener};
use lockstep_env_half_cheetah::HalfCheetah;

fn main() -> std::process::ExitCode {
    let backends: &[(&str, Opener)] = &[("rust", Opened::scalar::<HalfCheetah>)];
    let benchers: &[Bencher] = &[Bencher::scalar::<HalfCheetah>()];
    lockstep_core::run_with(backends, benchers)
}
