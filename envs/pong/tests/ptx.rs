//! The backend `ptx`: what its kernels cost, counted by the interpreter.

use lockstep_core::backend::{Backend, Settled, StepMany};
use lockstep_core::device::{DeviceRules, OnDevice};
use lockstep_core::wire::Mode;
use lockstep_core::{Digest, Header, Options, Rules, Source};
use lockstep_device::Ptx;
use lockstep_env_pong::Pong;
use std::time::Instant;

fn lanes(count: usize) -> OnDevice<Pong, Ptx> {
    let world = Pong::world(Options::default(), &Default::default()).expect("the defaults are a world");
    let mut lanes =
        OnDevice::<Pong, Ptx>::new(world, count, Ptx::open(Pong::ptx()).expect("it loads")).expect("it opens");
    for lane in 0..count {
        let header = Header { seed: 7, stream: lane as u64, ..Header::default() };
        lanes.reset(SETTLED, Mode::Digest, lane, header, Source::Seeded, &mut Vec::new()).expect("it resets");
    }
    lanes
}

const SETTLED: Settled = Settled { digest: Digest::Xxh64, named: true };

#[test]
#[ignore = "a measurement"]
fn ptx_speed() {
    for count in [64, 1024] {
        let mut lanes = lanes(count);
        lanes.device().take_work();
        let steps = 65536 / count;
        let tokens: Vec<u32> = (0..count * steps).map(|i| lockstep_core::draw_word(1, 2, 3, i as u32) >> 1).collect();
        let began = Instant::now();
        let request = StepMany {
            mode: Mode::Digest,
            grain: None,
            window: 64,
            lane_first: 0,
            lane_count: count,
            step_count: steps,
            tokens: &tokens,
        };
        lanes.step_many(SETTLED, request, &mut Vec::new()).expect("it steps");
        let seconds = began.elapsed().as_secs_f64();
        let work = lanes.device().take_work();
        let n = (count * steps) as f64;
        println!(
            "recorded, {count} lanes: {:.0} steps/s, {:.1} issues/32 a step, {:.1} thread instructions, efficiency {:.3}",
            n / seconds,
            work.issues as f64 / n,
            work.thread_instructions as f64 / n,
            work.simt_efficiency()
        );
        println!("{:?}", work.hottest(12));
        let began = Instant::now();
        for step in 0..steps {
            lanes.step(&tokens[step * count..][..count]).expect("it steps");
        }
        let seconds = began.elapsed().as_secs_f64();
        let work = lanes.device().take_work();
        println!(
            "step, {count} lanes: {:.0} steps/s, {:.1} issues/32 a step, {:.1} thread instructions, efficiency {:.3}",
            n / seconds,
            work.issues as f64 / n,
            work.thread_instructions as f64 / n,
            work.simt_efficiency()
        );
        println!("{:?}", work.hottest(4));
    }
}
