//! The runner of `pong`: started by `lockstep`, it serves the environment on descriptors 3 and 4.

use lockstep_core::bench::Bencher;
use lockstep_core::{Opened, Opener};
#[cfg(feature = "cuda-host")]
use lockstep_device::Ptx;
use lockstep_env_pong::{Pong, simd::Simd};

fn main() -> std::process::ExitCode {
    let backends: &[(&str, Opener)] = &[
        ("rust", Opened::scalar::<Pong>),
        ("rust.simd", Simd::open),
        #[cfg(feature = "cuda-host")]
        ("cuda-host", Opened::cuda_host::<Pong>),
        #[cfg(feature = "cuda-host")]
        ("ptx", Ptx::backend::<Pong>),
    ];
    let benchers: &[Bencher] = &[
        Bencher::scalar::<Pong>(),
        lockstep_env_pong::bench::SIMD,
        #[cfg(feature = "cuda-host")]
        Bencher::cuda_host::<Pong>(),
        #[cfg(feature = "cuda-host")]
        Ptx::bencher::<Pong>(),
    ];
    lockstep_core::run_with(backends, benchers)
}
