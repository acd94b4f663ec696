//! The runner of `counter`: started by `lockstep`, it serves the environment on descriptors 3 and 4.

use lockstep_core::bench::Bencher;
use lockstep_core::{Opened, Opener};
#[cfg(feature = "cuda")]
use lockstep_device::Cuda;
#[cfg(feature = "cuda-host")]
use lockstep_device::Ptx;
use lockstep_env_counter::Counter;

fn main() -> std::process::ExitCode {
    let backends: &[(&str, Opener)] = &[
        ("rust", Opened::scalar::<Counter>),
        #[cfg(feature = "cuda-host")]
        ("cuda-host", Opened::cuda_host::<Counter>),
        #[cfg(feature = "cuda-host")]
        ("ptx", Ptx::backend::<Counter>),
        #[cfg(feature = "cuda")]
        ("cuda", Cuda::backend::<Counter>),
    ];
    let benchers: &[Bencher] = &[
        Bencher::scalar::<Counter>(),
        #[cfg(feature = "cuda-host")]
        Bencher::cuda_host::<Counter>(),
        #[cfg(feature = "cuda-host")]
        Ptx::bencher::<Counter>(),
        #[cfg(feature = "cuda")]
        Cuda::bencher::<Counter>(),
    ];
    #[cfg(feature = "cuda-host")]
    let tools = lockstep_device::tools::tools::<Counter>();
    #[cfg(not(feature = "cuda-host"))]
    let tools = [];
    lockstep_core::run_with_tools(backends, benchers, &tools)
}
