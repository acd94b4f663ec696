//! Two sides that ought to be the same, for as many steps as one asks: a reference against itself, a backend against
//! itself or another.
//!
//! Nothing is shrunk here. What differs is an alarm; the lane is played again alone and in full, and the alarm says what
//! that showed.

use crate::divergence::Divergence;
use crate::pair::{Pair, Verdict};
use crate::side::{LaneStart, Play, SideError, Source, Windows};
use crate::tiers::Tokens;
use crate::trace::Trace;
use crate::watch::{Stop, Watch};
use lockstep_core::wire::WINDOW_STEPS_MAX;
use serde::Serialize;

/// How two sides are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// By the digest of each window, as `verify` compares in bulk.
    Digests,
    /// Every byte of every record.
    Records,
}

/// What is played.
#[derive(Debug, Clone)]
pub struct Bulk {
    /// How it is compared.
    pub compared: Compared,
    /// Steps of all lanes together; a batch of lanes is played to its end.
    pub steps: u64,
    /// Lanes, as many as both sides were opened with.
    pub lanes: usize,
    /// Steps of a lane before a new stream takes its place.
    pub trace_steps: u64,
    /// The seed of starts and tokens.
    pub seed: u64,
    /// Alarms after which it ends.
    pub alarms_max: usize,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// Steps that were compared and agreed.
    pub steps: u64,
    /// Lanes that agreed to their end.
    pub traces: u64,
    /// Episodes that ended in them; not counted where records are compared.
    pub episodes: u64,
    /// What differed.
    pub alarms: Vec<Alarm>,
    /// It was stopped before its end.
    pub stopped: bool,
}

/// A lane on which the sides did not say the same.
#[derive(Debug, Clone, Serialize)]
pub struct Alarm {
    /// The lane's stream.
    pub stream: u64,
    /// Steps of the trace that shows it.
    pub steps: usize,
    /// What a second run showed, alone and in full.
    pub again: String,
    /// The difference, where there was one again.
    #[serde(skip)]
    pub divergence: Option<Box<Divergence>>,
}

/// Tokens of a frame at most by digest: beyond this a round trip costs nothing measurable.
const FRAME_TOKENS_MAX: usize = 65_536;
/// Tokens of a frame at most in full: records of so many steps still lie in a cache while they are compared.
const FRAME_RECORDS_MAX: usize = 1_024;

/// Plays both sides of a pair until the steps are played, there are enough alarms, or it is stopped.
///
/// # Errors
/// If a side fails: of two that ought to be the same neither is the suspect.
pub fn play(pair: &mut Pair, bulk: &Bulk, watch: &mut dyn Watch, stop: &Stop) -> Result<Counted, SideError> {
    let mut counted = Counted::default();
    let mut batch = 0;
    while counted.steps < bulk.steps && counted.alarms.len() < bulk.alarms_max {
        if stop.asked() {
            counted.stopped = true;
            break;
        }
        play_batch(pair, bulk, batch, &mut counted, watch, stop)?;
        batch += 1;
    }
    Ok(counted)
}

/// One batch of lanes, to the end of its traces or to the first frame that differs.
fn play_batch(
    pair: &mut Pair,
    bulk: &Bulk,
    batch: u64,
    counted: &mut Counted,
    watch: &mut dyn Watch,
    stop: &Stop,
) -> Result<(), SideError> {
    let configuration = pair.configuration.clone();
    let lanes = bulk.lanes;
    let streams: Vec<u64> = (0..lanes as u64).map(|lane| batch * lanes as u64 + lane).collect();
    let start =
        |lane| LaneStart { lane, seed: bulk.seed, stream: streams[lane as usize], episode: 0, source: Source::Seeded };
    let starts: Vec<LaneStart> = (0..lanes as u32).map(start).collect();
    let chains = pair.reset(&starts)??;
    let mut bad: Vec<usize> = (0..lanes).filter(|lane| chains[*lane].0 != chains[*lane].1).collect();
    let policy = Tokens::new(bulk.seed);
    let left = (bulk.steps - counted.steps).div_ceil(lanes as u64);
    let steps = bulk.trace_steps.min(left).max(1);
    let most = if bulk.compared == Compared::Digests { FRAME_TOKENS_MAX } else { FRAME_RECORDS_MAX };
    let frame_max = (most / lanes / configuration.tokens_per_step()).max(1) as u64;
    let (mut done, mut frame) = (0, 8);
    let mut tokens = Vec::new();
    while done < steps && bad.is_empty() {
        if stop.asked() {
            counted.stopped = true;
            return Ok(());
        }
        let count = frame.min(frame_max).min(steps - done);
        tokens.clear();
        for stream in &streams {
            policy.fill(&configuration, *stream, done, done + count, &mut tokens);
        }
        let play = Play {
            lane_first: 0,
            lane_count: lanes,
            step_count: count as usize,
            tokens: &tokens,
            grain: None,
            window: WINDOW_STEPS_MAX as usize,
        };
        bad = match bulk.compared {
            Compared::Records => pair.advance_in_full(play)??,
            Compared::Digests => {
                let (expected, observed) = pair.advance(play)??;
                counted.episodes += expected.iter().map(|lane| u64::from(lane.episodes_ended)).sum::<u64>();
                differing(&expected, &observed)
            }
        };
        frame = (2 * frame).min(frame_max);
        done += count;
        if bad.is_empty() {
            counted.steps += lanes as u64 * count;
        }
        watch.advance(lanes as u64 * count);
    }
    counted.traces += (lanes - bad.len()) as u64;
    for lane in bad {
        let mut tokens = Vec::new();
        policy.fill(&configuration, streams[lane], 0, done, &mut tokens);
        let trace = Trace::seeded(&configuration, bulk.seed, streams[lane], tokens);
        counted.alarms.push(look_again(pair, &trace)?);
        if counted.alarms.len() >= bulk.alarms_max {
            break;
        }
    }
    Ok(())
}

fn differing(expected: &[Windows], observed: &[Windows]) -> Vec<usize> {
    (0..expected.len()).filter(|lane| expected[*lane].chains != observed[*lane].chains).collect()
}

/// Plays the lane of an alarm again, alone and in full.
fn look_again(pair: &mut Pair, trace: &Trace) -> Result<Alarm, SideError> {
    let (again, divergence) = match pair.check(trace)? {
        Verdict::Diverged(divergence) => {
            let at = divergence.step.map_or("the start".to_owned(), |step| format!("step {}", step + 1));
            let first = divergence.difference.fields.first();
            let field = first.map_or(String::new(), |field| {
                format!(": {} is {} on one side and {} on the other", field.label, field.expected, field.observed)
            });
            (format!("differs again at {at}{field}"), Some(divergence))
        }
        Verdict::Known(name) => (format!("differs again as the manifest knows it: {name}"), None),
        Verdict::Agree => ("agrees alone: what differed was not in the lane".to_owned(), None),
    };
    Ok(Alarm { stream: trace.stream, steps: trace.steps(), again, divergence })
}
