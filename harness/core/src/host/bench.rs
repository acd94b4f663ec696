//! `cuda-host` as `lockstep bench` times it: the kernel for training, one step of all lanes in each launch.

use super::{CudaHost, HostRules};
use crate::backend::{Backend, Settled};
use crate::bench::{Bencher, Contest, CpuClock, Timed, tokens};
use crate::digest::Digest;
use crate::lane::{Header, Source};
use crate::wire::Mode;

impl Bencher {
    /// The CUDA source of some rules, built for the CPU.
    pub const fn cuda_host<R: HostRules>() -> Self {
        Bencher { name: "cuda-host", contests: || vec![("rows", "")], time: time::<R> }
    }
}

fn time<R: HostRules>(contest: Contest) -> Result<Timed, String> {
    if !["", "rows"].contains(&contest.layout.as_str()) {
        return Err(format!("backend cuda-host has no layout {}, only rows", contest.layout));
    }
    let world = R::world(contest.options, &contest.files).map_err(|error| error.0)?;
    let mut lanes = CudaHost::<R>::new(world, contest.lanes);
    let shape = lanes.shape().clone();
    let settled = Settled { digest: Digest::Xxh64, named: true };
    for lane in 0..contest.lanes {
        let header = Header { seed: 7, stream: lane as u64, ..Header::default() };
        let reset = lanes.reset(settled, Mode::Digest, lane, header, Source::Seeded, &mut Vec::new());
        reset.map_err(|fault| format!("{fault:?}"))?;
    }
    let tokens = tokens(contest.lanes * shape.tokens_per_step());
    let mut heads = vec![0; contest.lanes];
    let clock = CpuClock::start();
    for step in 0..contest.steps {
        lanes.step(&tokens[step % tokens.len()], &mut heads).map_err(|fault| format!("{fault:?}"))?;
    }
    let cpu_seconds = clock.seconds();
    Ok(Timed {
        steps: (contest.lanes * contest.steps) as u64,
        cpu_seconds,
        layout: "rows".into(),
        instructions: "compiler's default".into(),
        reads: format!("{} B of tokens", 4 * shape.tokens_per_step()),
        writes: format!(
            "{} B of observations, {} B of rewards, 4 B of flags, {} B of masks",
            shape.agents * shape.observation_bytes,
            shape.agents * size_of::<R::Reward>(),
            4 * shape.agents * shape.mask_words()
        ),
    })
}
