//! The runner of `half_cheetah`: started by `lockstep`, it serves the environment on descriptors 3 and 4.

use lockstep_core::bench::Bencher;
use lockstep_core::{Opened, Opener};
use lockstep_env_half_cheetah::{HalfCheetah, bench, lanes::Simd};

fn main() -> std::process::ExitCode {
    let backends: &[(&str, Opener)] =
        &[("rust", Opened::scalar::<HalfCheetah>), ("rust.simd", Simd::open), ("rust.f32", Simd::open_single)];
    let benchers: &[Bencher] = &[bench::SCALAR, bench::SIMD, bench::SINGLE];
    lockstep_core::run_with(backends, benchers)
}
