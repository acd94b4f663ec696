//! How much less CPU time one side takes than another that ought to be the same: both play the same tokens, every digest
//! is compared, and the clock is read from outside.
//!
//! `lockstep bench` times a backend as training uses it, and takes the backend's word for its steps. That will not do for
//! a candidate that wants to look fast. Here a step that is not played shows in a digest, and help from other threads or
//! processes counts. What it costs to answer the judge is in it on both sides, so the ratio is smaller than that of the
//! rules alone.

use crate::bulk::{self, Bulk, Compared};
use crate::pair::Pair;
use crate::side::SideError;
use crate::watch::{Silent, Stop};
use serde::{Deserialize, Serialize};

/// CPU seconds that the slower side takes in a run, at least: the clock counts hundredths.
const RUN_SECONDS: f64 = 0.4;
/// Steps that a run has at most, however fast the sides are.
const STEPS_MAX: u64 = 1 << 26;
/// Steps of the first try.
const STEPS_MIN: u64 = 1 << 12;
/// The share by which a side has to be faster. Two processes of one runner differ by less in nearly every race.
const FASTER: f64 = 1.03;

/// How many times less CPU time the second side took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// CPU time of the first side over that of the second: the median of the runs.
    pub ratio: f64,
    /// The least of the runs.
    pub least: f64,
    /// The most of them.
    pub most: f64,
    /// Runs.
    pub runs: u32,
    /// Steps of a run.
    pub steps: u64,
    /// Lanes.
    pub lanes: u32,
    /// CPU nanoseconds that the second side took for a step, the judge's part of it included; the median.
    pub nanoseconds: f64,
}

impl Speed {
    /// Whether the second side is faster beyond what chance does.
    pub fn is_faster(&self) -> bool {
        self.ratio >= FASTER && self.least > 1.0
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = if self.ratio >= 100.0 { 0 } else { 2 };
        write!(f, "{:.digits$}x ({:.digits$} to {:.digits$} in {} runs)", self.ratio, self.least, self.most, self.runs)
    }
}

/// Why there is no [`Speed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unraced {
    /// The sides are not the same: how they differ.
    Differ(String),
    /// A side runs in this process, whose clock tells nothing of it.
    NoProcess,
    /// It was stopped.
    Stopped,
}

impl std::fmt::Display for Unraced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unraced::Differ(how) => write!(f, "they are not the same: {how}"),
            Unraced::NoProcess => f.write_str("a side has no process of its own"),
            Unraced::Stopped => f.write_str("it was stopped"),
        }
    }
}

/// Lets the backend of a pair race its reference, over `runs` runs, each long enough for the clock.
///
/// # Errors
/// If a side fails.
pub fn race(pair: &mut Pair, seed: u64, runs: u32, stop: &Stop) -> Result<Result<Speed, Unraced>, SideError> {
    let lanes = pair.backend.terms.lanes;
    let mut bulk =
        Bulk { compared: Compared::Digests, steps: STEPS_MIN, lanes, trace_steps: 4096, seed, alarms_max: 1 };
    // What a process does only once, and the right length.
    loop {
        let [before, now, _] = match run(pair, &bulk, stop)? {
            Ok(run) => run,
            Err(why) => return Ok(Err(why)),
        };
        if before.max(now) >= RUN_SECONDS || bulk.steps >= STEPS_MAX {
            break;
        }
        let factor = (1.2 * RUN_SECONDS / before.max(now).max(0.01)).clamp(2.0, 64.0);
        bulk.steps = ((bulk.steps as f64 * factor) as u64).min(STEPS_MAX);
    }
    let mut ratios = Vec::new();
    let mut nanoseconds = Vec::new();
    let mut steps = bulk.steps;
    for _ in 0..runs.max(1) {
        let [before, now, played] = match run(pair, &bulk, stop)? {
            Ok(run) => run,
            Err(why) => return Ok(Err(why)),
        };
        ratios.push(before / now.max(1e-9));
        nanoseconds.push(1e9 * now / played);
        steps = played as u64;
    }
    ratios.sort_by(f64::total_cmp);
    nanoseconds.sort_by(f64::total_cmp);
    Ok(Ok(Speed {
        ratio: ratios[ratios.len() / 2],
        least: ratios[0],
        most: ratios[ratios.len() - 1],
        runs: ratios.len() as u32,
        steps,
        lanes: lanes as u32,
        nanoseconds: nanoseconds[nanoseconds.len() / 2],
    }))
}

/// CPU seconds of both sides, and the steps that were played.
fn run(pair: &mut Pair, bulk: &Bulk, stop: &Stop) -> Result<Result<[f64; 3], Unraced>, SideError> {
    let clocks = |pair: &Pair| Some([pair.reference.cpu_seconds()?, pair.backend.cpu_seconds()?]);
    let Some(began) = clocks(pair) else { return Ok(Err(Unraced::NoProcess)) };
    let counted = bulk::play(pair, bulk, &mut Silent, stop)?;
    if counted.stopped {
        return Ok(Err(Unraced::Stopped));
    }
    if let Some(alarm) = counted.alarms.first() {
        return Ok(Err(Unraced::Differ(format!("stream {}, {}", alarm.stream, alarm.again))));
    }
    let ended = clocks(pair).ok_or(Unraced::NoProcess);
    Ok(ended.map(|ended| [ended[0] - began[0], ended[1] - began[1], counted.steps as f64]))
}
