//! libFuzzer over counter: `rust` against `cuda-host`.
#![no_main]

use lockstep_env_counter::Counter;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lockstep_fuzz::play(lockstep_fuzz::sides::<Counter>(), bytes));
