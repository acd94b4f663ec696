//! The backend `cuda-host` against the readable one, bit for bit.

#[path = "../../../harness/cuda/agree.rs"]
mod agree;

use agree::Words;
use lockstep_core::Writer;
use lockstep_env_pong::cuda::DeviceWorld;
use lockstep_env_pong::{Pong, State, World};
use std::mem::offset_of;

#[test]
fn cuda_host_has_the_layout_of_the_rust_structs() {
    agree::layouts_agree::<Pong>(&[
        size_of::<State>(),
        offset_of!(State, paddle_yl),
        offset_of!(State, paddle_yr),
        offset_of!(State, ball_x),
        offset_of!(State, ball_y),
        offset_of!(State, ball_vx),
        offset_of!(State, ball_vy),
        offset_of!(State, paddle_dir),
        offset_of!(State, score_l),
        offset_of!(State, score_r),
        offset_of!(State, tick),
        offset_of!(State, n_bounces),
        offset_of!(State, win),
        size_of::<DeviceWorld>(),
        offset_of!(DeviceWorld, width),
        offset_of!(DeviceWorld, height),
        offset_of!(DeviceWorld, paddle_height),
        offset_of!(DeviceWorld, ball_width),
        offset_of!(DeviceWorld, ball_height),
        offset_of!(DeviceWorld, paddle_speed),
        offset_of!(DeviceWorld, ball_initial_speed_x),
        offset_of!(DeviceWorld, ball_initial_speed_y),
        offset_of!(DeviceWorld, ball_max_speed_y),
        offset_of!(DeviceWorld, ball_speed_y_increment),
        offset_of!(DeviceWorld, max_score),
        offset_of!(DeviceWorld, frameskip),
        offset_of!(DeviceWorld, continuous),
        offset_of!(DeviceWorld, min_paddle_y),
        offset_of!(DeviceWorld, max_paddle_y),
    ]);
}

#[test]
fn cuda_host_answers_every_request_as_the_readable_backend_does() {
    agree::answers_agree::<Pong>(600_000, state);
}

#[test]
fn cuda_host_steps_without_records_as_the_readable_backend_does() {
    agree::unrecorded_steps_agree::<Pong>(17, 5_000);
}

#[test]
fn cuda_host_plays_rollouts_as_the_readable_backend_does() {
    agree::rollouts_agree::<Pong>(17, 4_000);
}

#[test]
#[ignore = "a measurement: cargo test -p lockstep-env-pong --features cuda-host --test cuda_host -- --ignored --nocapture"]
fn cuda_host_speed() {
    agree::print_speed::<Pong>(1024, 512);
}

/// A state on or near the court, at times one step before the agent's paddle and on the very edge; scores and counters
/// also just before they wrap or end the episode.
fn state(words: &mut Words, world: &World) -> Vec<u8> {
    let mut bytes = vec![0; 48];
    let mut out = Writer::new(&mut bytes);
    let before_the_paddle = words.one_in(3);
    out.f32(words.between(world.min_paddle_y, world.max_paddle_y));
    out.f32(if before_the_paddle {
        words.between(-9.0, 9.0)
    } else {
        words.between(world.min_paddle_y, world.max_paddle_y)
    });
    out.f32(if before_the_paddle { world.width - world.ball_width } else { words.between(-10.0, world.width) });
    out.f32(if before_the_paddle { [0.0, -0.0][words.below(2)] } else { words.between(-10.0, world.height) });
    let speed = words.between(0.5, 1.5) * world.ball_initial_speed_x;
    out.f32(if before_the_paddle || words.one_in(2) { speed } else { -speed });
    let tiny = [0.0, -0.0, 0.01, 0.009_999, -0.01][words.below(5)];
    let speed = words.between(-world.ball_max_speed_y, world.ball_max_speed_y);
    out.f32(if words.one_in(3) { tiny } else { speed });
    out.f32(words.between(-1.0, 1.0));
    for _ in 0..2 {
        let score = [0, 1, world.max_score - 1, world.max_score, u32::MAX][words.below(5)];
        out.u32(score);
    }
    for _ in 0..2 {
        out.i32([0, 5, i32::MAX, -1][words.below(4)]);
    }
    out.i32(words.below(2) as i32);
    bytes
}
