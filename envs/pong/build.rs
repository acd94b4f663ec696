//! Compiles the CUDA source for the CPU where feature `cuda-host` is on.

fn main() {
    lockstep_build::cuda_host("pong", "Pong");
}
