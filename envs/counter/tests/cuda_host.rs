//! The backend `cuda-host` against the readable one, bit for bit.

#[path = "../../../harness/cuda/agree.rs"]
mod agree;

use agree::Words;
use lockstep_core::Writer;
use lockstep_env_counter::cuda::DeviceWorld;
use lockstep_env_counter::{Counter, State, World};
use std::mem::offset_of;

#[test]
fn cuda_host_has_the_layout_of_the_rust_structs() {
    agree::layouts_agree::<Counter>(&[
        size_of::<State>(),
        offset_of!(State, value),
        offset_of!(State, deciders),
        offset_of!(State, purse),
        offset_of!(State, tick),
        offset_of!(State, generator),
        size_of::<DeviceWorld>(),
        offset_of!(DeviceWorld, agents),
        offset_of!(DeviceWorld, limit),
        offset_of!(DeviceWorld, memory),
        offset_of!(DeviceWorld, draws),
    ]);
}

#[test]
fn cuda_host_answers_every_request_as_the_readable_backend_does() {
    agree::answers_agree::<Counter>(400_000, state);
}

#[test]
fn cuda_host_steps_without_records_as_the_readable_backend_does() {
    agree::unrecorded_steps_agree::<Counter>(17, 2_000);
}

#[test]
fn cuda_host_plays_rollouts_as_the_readable_backend_does() {
    agree::rollouts_agree::<Counter>(17, 400);
}

#[test]
#[ignore = "a measurement: cargo test -p lockstep-env-counter --features cuda-host --test cuda_host -- --ignored --nocapture"]
fn cuda_host_speed() {
    agree::print_speed::<Counter>(1024, 512);
}

/// A state; in one of four nobody decides or somebody who is not there, which is refused.
fn state(words: &mut Words, world: &World) -> Vec<u8> {
    let mut bytes = vec![0; 24];
    let mut out = Writer::new(&mut bytes);
    out.i32(words.below(world.limit as usize + 20) as i32 - 10);
    let everybody = (1 << world.agents) - 1;
    let deciders = 1 + words.word() % everybody;
    out.u32(if words.one_in(4) { [0, 4, 1 << 31 | 1][words.below(3)] } else { deciders });
    for _ in 0..2 {
        out.i32(words.below(12) as i32 - 3);
    }
    out.u32(words.word() % 1_000_000);
    out.u32(words.word());
    bytes
}
