//! The backends as `lockstep bench` times them: training's driver, on each instruction set of this machine.

use crate::lanes::{Instructions, Precision, open_on};
use crate::{HalfCheetah, World};
use lockstep_core::batch::{Batch, ResetMode};
use lockstep_core::bench::{Bencher, Contest, CpuClock, Timed, tokens};
use lockstep_core::driver::{Driver, Outputs, Starts};
use lockstep_core::{Header, Source, continuous_token};

/// `rust`.
pub const SCALAR: Bencher = Bencher {
    name: "rust",
    contests: || vec![("rows", "")],
    time: |contest| time(contest, "compiler's default", scalar),
};

/// `rust.simd`.
pub const SIMD: Bencher = Bencher { name: "rust.simd", contests: sets, time: |contest| on_set(contest, double) };

/// `rust.f32`.
pub const SINGLE: Bencher = Bencher { name: "rust.f32", contests: sets, time: |contest| on_set(contest, single) };

/// Steps before the clock starts: most lanes are then on the floor.
const WARM_UP: usize = 60;

type Open = fn(World, usize, ResetMode, Instructions) -> Result<Box<dyn Driver>, String>;

fn scalar(world: World, lanes: usize, mode: ResetMode, _: Instructions) -> Result<Box<dyn Driver>, String> {
    Ok(Box::new(Batch::<HalfCheetah>::new(world, lanes, mode).map_err(|error| error.0)?.on_one_thread()))
}

fn double(world: World, lanes: usize, mode: ResetMode, set: Instructions) -> Result<Box<dyn Driver>, String> {
    open_on(world, lanes, mode, set, Precision::Double)
}

fn single(world: World, lanes: usize, mode: ResetMode, set: Instructions) -> Result<Box<dyn Driver>, String> {
    open_on(world, lanes, mode, set, Precision::Single)
}

fn sets() -> Vec<(&'static str, &'static str)> {
    Instructions::available().iter().rev().map(|set| ("rows", set.name())).collect()
}

fn on_set(contest: Contest, open: Open) -> Result<Timed, String> {
    let name = contest.instructions.clone();
    time(contest, &name, open)
}

/// Plays uniform controls, with the resets of mode `SameStep`.
fn time(contest: Contest, told: &str, open: Open) -> Result<Timed, String> {
    let world = World::new(contest.options, &contest.files).map_err(|error| error.0)?;
    let asked = contest.instructions;
    let instructions = Instructions::available().into_iter().find(|set| asked.is_empty() || set.name() == asked);
    let instructions = instructions.ok_or_else(|| format!("this machine has no instructions {asked:?}"))?;
    let (lanes, size) = (contest.lanes, world.shape().observation_bytes);
    let mut driver = open(world, lanes, ResetMode::SameStep, instructions)?;
    let (mut observations, mut finals) = (vec![0; lanes * size], vec![0; lanes * size]);
    let mut rewards = vec![0.0f64; lanes];
    let (mut terminated, mut truncated) = (vec![0; lanes], vec![0; lanes]);
    let mut out = Outputs {
        observations: &mut observations,
        rewards: bytemuck::cast_slice_mut(&mut rewards),
        terminated: &mut terminated,
        truncated: &mut truncated,
        masks: &mut [],
        final_observations: &mut finals,
        deciders: &mut [],
    };
    let starts: Vec<(u64, u64)> = (0..lanes as u64).map(|lane| (7, lane)).collect();
    driver.reset(Starts::At(&starts), None, &mut out).map_err(|error| error.0)?;
    // Episodes are spread over the time limit, so that resets come as evenly as in long training.
    let limit = driver.shape().episode_steps_max.unwrap_or(1) as usize;
    for (lane, start) in starts.iter().enumerate() {
        let (mut state, observation) = (Vec::new(), out.observations[lane * size..(lane + 1) * size].to_vec());
        driver.state(lane, &mut state);
        let elapsed = (lane * limit / lanes) as u32;
        let header = Header { seed: start.0, stream: start.1, elapsed, ..Header::default() };
        let set = driver.set(lane, header, Source::Seeded, Some((&state, &observation)), &mut out);
        set.map_err(|error| error.0)?;
    }
    let tokens = controls(lanes);
    let mut play = |steps: usize| {
        (0..steps).try_for_each(|step| driver.step(&tokens[step % tokens.len()], &mut out)).map_err(|error| error.0)
    };
    play(WARM_UP)?;
    let clock = CpuClock::start();
    play(contest.steps)?;
    let cpu_seconds = clock.seconds();
    Ok(Timed {
        steps: (lanes * contest.steps) as u64,
        cpu_seconds,
        layout: "rows".into(),
        instructions: told.into(),
        reads: "24 B of tokens".into(),
        writes: format!("{size} B of observations, 8 B of rewards, 2 B of flags"),
    })
}

/// Sixteen steps of tokens that are controls between -1 and 1.
pub fn controls(lanes: usize) -> Vec<Vec<u32>> {
    let control = |word: u32| continuous_token((f64::from(word) / f64::from(u32::MAX >> 2) - 1.0) as f32);
    tokens(6 * lanes).into_iter().map(|step| step.into_iter().map(control).collect()).collect()
}
