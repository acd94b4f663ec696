//! The runner of `counter`: started by `lockstep`, it serves the environment on descriptors 3 and 4.

fn main() -> std::process::ExitCode {
    lockstep_core::serve::<lockstep_env_counter::Counter>()
}
