//! The equivalence suite of `half_cheetah`: one test per tier, backend and configuration.

fn main() -> std::process::ExitCode {
    lockstep_harness::suite::main(env!("CARGO_MANIFEST_DIR"), env!("CARGO_BIN_EXE_lockstep-env-half_cheetah"))
}
