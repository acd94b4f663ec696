//! libFuzzer over pong: `rust` against `cuda-host`.
#![no_main]

use lockstep_env_pong::Pong;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lockstep_fuzz::play(lockstep_fuzz::sides::<Pong>(), bytes));
