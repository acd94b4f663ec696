//! The runner of `pong`: started by `lockstep`, it serves the environment on descriptors 3 and 4.

use lockstep_core::bench::Bencher;
use lockstep_core::{Opened, Opener};
#[cfg(feature = "cuda")]
use lockstep_device::Cuda;
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
        #[cfg(feature = "cuda")]
        ("cuda", Cuda::backend::<Pong>),
    ];
    let benchers: &[Bencher] = &[
        Bencher::scalar::<Pong>(),
        lockstep_env_pong::bench::SIMD,
        #[cfg(feature = "cuda-host")]
        Bencher::cuda_host::<Pong>(),
        #[cfg(feature = "cuda-host")]
        Ptx::bencher::<Pong>(),
        #[cfg(feature = "cuda")]
        Cuda::bencher::<Pong>(),
    ];
    #[cfg(feature = "cuda-host")]
    let tools = lockstep_device::tools::tools::<Pong>();
    #[cfg(not(feature = "cuda-host"))]
    let tools = [];
    lockstep_core::run_with_tools(backends, benchers, &tools)
}
