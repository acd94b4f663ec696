//! The runner's own part of `lockstep bench`: a backend as training uses it, timed on one core.
//!
//! Tokens are made beforehand, as they are for the reference, and the time is CPU time of this thread, so that a busy
//! machine changes little. The judge starts one process per measurement and does the comparing.

use crate::batch::{Batch, Buffers, ResetMode};
use crate::options::{Files, Options};
use crate::rules::Rules;
use crate::shape::Resets;
use serde_json::{Value, json};
use std::time::Instant;

/// What is to be timed.
#[derive(Debug, Clone)]
pub struct Contest {
    /// The world's options.
    pub options: Options,
    /// The world's files.
    pub files: Files,
    /// Lanes.
    pub lanes: usize,
    /// Steps of each lane.
    pub steps: usize,
    /// How observations are laid out: `rows` or `soa`; empty for the backend's own.
    pub layout: String,
    /// The instruction set to use; empty for the best.
    pub instructions: String,
}

/// What was timed.
#[derive(Debug, Clone)]
pub struct Timed {
    /// Steps of all lanes together.
    pub steps: u64,
    /// CPU time.
    pub cpu_seconds: f64,
    /// How observations were laid out.
    pub layout: String,
    /// The instruction set that was used.
    pub instructions: String,
    /// What a step reads, in words.
    pub reads: String,
    /// What a step writes, in words.
    pub writes: String,
}

impl Timed {
    /// As the runner prints it.
    pub fn json(&self) -> Value {
        json!({
            "steps": self.steps, "cpu_seconds": self.cpu_seconds, "layout": self.layout,
            "instructions": self.instructions, "reads": self.reads, "writes": self.writes,
        })
    }
}

/// Times one backend.
#[derive(Clone, Copy)]
pub struct Bencher {
    /// The backend's name.
    pub name: &'static str,
    /// The layouts and instruction sets that it can be timed with on this machine.
    pub contests: fn() -> Vec<(&'static str, &'static str)>,
    /// Times one of them.
    pub time: fn(Contest) -> Result<Timed, String>,
}

impl Bencher {
    /// The readable backend of some rules.
    pub const fn scalar<R: Rules>() -> Self {
        Bencher { name: "rust", contests: || vec![("rows", "")], time: scalar::<R> }
    }
}

/// Answers `--contests NAME` and `--bench NAME JSON` of a runner; `None` if neither was asked for.
pub(crate) fn answer(benchers: &[Bencher], arguments: &[String]) -> Option<Result<String, String>> {
    let (verb, name) = (arguments.first()?, arguments.get(1).map(String::as_str).unwrap_or_default());
    let bencher = benchers.iter().find(|bencher| bencher.name == name);
    match verb.as_str() {
        "--contests" => {
            let contests = bencher.map(|bencher| (bencher.contests)()).unwrap_or_default();
            Some(Ok(contests.iter().map(|(layout, instructions)| format!("{layout} {instructions}\n")).collect()))
        }
        "--bench" => Some(bencher.ok_or_else(|| format!("backend {name:?} can't be timed")).and_then(|bencher| {
            let request: Value = serde_json::from_str(arguments.get(2).map(String::as_str).unwrap_or_default())
                .map_err(|error| format!("the contest is not JSON: {error}"))?;
            let number = |key: &str| request[key].as_u64().filter(|number| *number > 0).map(|number| number as usize);
            let word = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
            let files = request["files"].as_object().into_iter().flatten();
            let contest = Contest {
                options: Options::new(request["options"].as_object().cloned().unwrap_or_default()),
                files: files.filter_map(|(name, path)| Some((name.clone(), path.as_str()?.into()))).collect(),
                lanes: number("lanes").ok_or("the contest names no lanes")?,
                steps: number("steps").ok_or("the contest names no steps")?,
                layout: word("layout"),
                instructions: word("instructions"),
            };
            Ok((bencher.time)(contest)?.json().to_string() + "\n")
        })),
        _ => None,
    }
}

/// Times the readable backend of some rules in the batch driver.
///
/// # Errors
/// If the world can't be built, or there is no such layout.
pub fn scalar<R: Rules>(contest: Contest) -> Result<Timed, String> {
    if !["", "rows"].contains(&contest.layout.as_str()) {
        return Err(format!("backend rust has no layout {}, only rows", contest.layout));
    }
    let world = R::world(contest.options, &contest.files).map_err(|error| error.0)?;
    let mode = if R::shape(&world).resets == Resets::Reference { ResetMode::Reference } else { ResetMode::SameStep };
    let mut batch = Batch::<R>::new(world, contest.lanes, mode).map_err(|error| error.0)?;
    let shape = batch.shape().clone();
    let observation = contest.lanes * shape.agents * shape.observation_bytes;
    let (mut observations, mut finals) = (vec![0; observation], vec![0; observation]);
    let mut rewards = vec![R::Reward::default(); contest.lanes * shape.agents];
    let (mut terminated, mut truncated) = (vec![0; contest.lanes], vec![0; contest.lanes]);
    let mut masks = vec![0; contest.lanes * shape.agents * shape.mask_words()];
    let mut out = Buffers {
        observations: &mut observations,
        rewards: &mut rewards,
        terminated: &mut terminated,
        truncated: &mut truncated,
        masks: &mut masks,
        final_observations: &mut finals,
    };
    batch.reset(7, None, &mut out);
    let tokens = tokens(contest.lanes * shape.tokens_per_step());
    let clock = CpuClock::start();
    for step in 0..contest.steps {
        batch.step(&tokens[step % tokens.len()], &mut out).map_err(|error| error.0)?;
    }
    let cpu_seconds = clock.seconds();
    let masks = 4 * shape.agents * shape.mask_words();
    Ok(Timed {
        steps: (contest.lanes * contest.steps) as u64,
        cpu_seconds,
        layout: "rows".into(),
        instructions: "compiler's default".into(),
        reads: format!("{} B of tokens", 4 * shape.tokens_per_step()),
        writes: format!(
            "{} B of observations, {} B of rewards, 2 B of flags, {masks} B of masks",
            shape.agents * shape.observation_bytes,
            shape.agents * size_of::<R::Reward>()
        ),
    })
}

/// Sixteen steps of tokens for `count` places: enough that nothing can be predicted, few enough to stay in the cache.
pub fn tokens(count: usize) -> Vec<Vec<u32>> {
    let mut state = 0x1234_5678u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state >> 1
    };
    (0..16).map(|_| (0..count).map(|_| next()).collect()).collect()
}

/// CPU time of this process where the system tells it, else wall-clock time.
pub struct CpuClock {
    wall: Instant,
    cpu: Option<u64>,
}

impl CpuClock {
    /// Begins.
    pub fn start() -> Self {
        CpuClock { wall: Instant::now(), cpu: on_cpu() }
    }

    /// Seconds since the beginning.
    pub fn seconds(&self) -> f64 {
        match (self.cpu, on_cpu()) {
            (Some(from), Some(to)) if to > from => (to - from) as f64 / 1e9,
            _ => self.wall.elapsed().as_secs_f64(),
        }
    }
}

/// Nanoseconds on a processor, of all threads.
fn on_cpu() -> Option<u64> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    let times = threads.flatten().map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    times.sum()
}
