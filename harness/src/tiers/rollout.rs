//! Whole episodes under several policies, free-running with digests, then step by step from the reference's state.
//!
//! Frames begin small, so that what is wrong at once is found in few steps, and grow until a round trip costs little
//! beside the work. When a lane's digest differs, that lane alone is played again in full.

use super::{Stage, TierReport, Tokens, forced, led, policy::mix, shrink_if_new};
use crate::manifest::{Level, ToleranceMode};
use crate::pair::{Pair, Verdict, failure};
use crate::side::{LaneStart, Play, Side, SideError, Source, Terms, Windows};
use crate::sides::open_pair;
use crate::stats::compare_frequencies;
use crate::tiers::{Check, CheckOutcome};
use crate::trace::Trace;
use lockstep_core::wire::Mode;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Tokens of a frame at most: beyond this a round trip costs nothing measurable even for Pong.
const FRAME_TOKENS_MAX: usize = 65_536;
/// Frames grow until one takes this long.
const FRAME_TIME: Duration = Duration::from_millis(100);
/// Traces that are played in full, for feature buckets and so that digests are not trusted alone.
const SAMPLE_TRACES: usize = 32;
/// Traces among them that play well.
const LED_TRACES: usize = 16;

/// Numbers below this are typed as seeds.
const PLAIN_SEEDS: u64 = 100;

/// Plays rollouts in one configuration.
///
/// # Errors
/// If the reference fails, or a side can't be opened.
pub fn run(stage: &mut Stage<'_>) -> Result<TierReport, SideError> {
    let configuration = stage.configuration.clone();
    let mut report = TierReport::new("rollout", &configuration);
    let mut pair =
        open_pair(stage.sides, stage.backend, &configuration, stage.lanes, "rollout", ToleranceMode::FreeRunning)?;
    stage.watch.begin(&format!("{} rollout", configuration.name), stage.rollout_steps);
    if configuration.level == Level::Statistical {
        compare_statistics(stage, &mut pair, &mut report)?;
        stage.watch.end();
        return Ok(report);
    }
    let result = sample(stage, &mut pair, &mut report)
        .and_then(|()| free_run(stage, &mut pair, &mut report))
        .and_then(|()| forced::run(stage, &mut pair, &mut report));
    stage.watch.end();
    result?;
    report.tolerances_used = pair.tolerances.used().clone();
    Ok(report)
}

/// A few whole traces in full: some of every policy, some that play well.
fn sample(stage: &mut Stage<'_>, pair: &mut Pair, report: &mut TierReport) -> Result<(), SideError> {
    let configuration = stage.configuration.clone();
    let count = (SAMPLE_TRACES + LED_TRACES) as u64;
    let horizon = pair.tolerances.horizon().map_or(u64::MAX, u64::from);
    let steps = (stage.trace_steps as u64).min(stage.rollout_steps / 8 / count).max(8).min(horizon);
    // `rust` looks ahead for the others, some of which are slow with one lane; where there is none, the backend itself.
    let mut terms = Terms::new(1);
    terms.deadline = stage.sides.deadline();
    let rust = (stage.backend != "rust").then(|| stage.sides.backend("rust", configuration.clone(), terms));
    let mut leader = rust.and_then(Result::ok);
    for index in 0..count {
        if stage.stop.asked() || report.has_enough(stage) {
            report.stopped |= stage.stop.asked();
            return Ok(());
        }
        // Streams of the sample stand apart from those of the batches.
        let stream = (1 << 40) + index;
        let led = index >= SAMPLE_TRACES as u64;
        let trace = if led {
            let leader = leader.as_mut().unwrap_or(&mut pair.backend);
            match led::trace(leader, &configuration, stage.seed, stream, steps) {
                Ok(Some(trace)) => trace.truncated(horizon.min(trace.steps() as u64) as usize),
                Ok(None) => continue,
                // What the backend does wrong alone it does wrong beside the reference too.
                Err(error) if error.is_behaviour() => {
                    pair.backend.restart()?;
                    continue;
                }
                Err(error) => return Err(error),
            }
        } else {
            let mut tokens = Vec::new();
            Tokens::new(stage.seed).fill(&configuration, stream, 0, steps, &mut tokens);
            Trace::seeded(&configuration, start_seed(stage.seed, stream), stream, tokens)
        };
        // Every grain has its turn, so that rows are compared too.
        let grain = (index as usize % (configuration.grains.len() + 1)).checked_sub(1);
        match pair.check_with_grain(&trace, grain)? {
            Verdict::Agree => {
                report.counts.live_free_running += trace.steps() as u64;
                report.counts.traces += 1;
                // The backend has just been shown to agree, and is faster than the reference.
                count_buckets(stage, pair, leader.as_mut(), &trace, report)?;
            }
            Verdict::Known(name) => *report.known.entry(name).or_default() += 1,
            Verdict::Diverged(divergence) => shrink_if_new(stage, pair, "rollout", report, &trace, divergence)?,
        }
        stage.watch.advance(steps);
    }
    Ok(())
}

/// The seed that a trace starts with. One in four is a number such as people type, so that nothing can tell its judge by
/// the size of it.
fn start_seed(seed: u64, stream: u64) -> u64 {
    if stream % 4 == 3 { mix(seed ^ mix(stream)) % PLAIN_SEEDS } else { seed }
}

fn count_buckets(
    stage: &Stage<'_>,
    pair: &mut Pair,
    leader: Option<&mut Side>,
    trace: &Trace,
    report: &mut TierReport,
) -> Result<(), SideError> {
    if stage.buckets.is_empty() {
        return Ok(());
    }
    let configuration = stage.configuration.clone();
    let mut start = trace.lane_start(0);
    if configuration.level == Level::Recorded {
        start.source = Source::Seeded;
    }
    let side = match leader {
        _ if configuration.level == Level::Recorded => &mut pair.reference,
        Some(leader) => leader,
        None => &mut pair.backend,
    };
    side.reset(&[start])?;
    let records = side.play_in_full(Play::one_lane(&configuration, 0, &trace.tokens), Mode::Full)?.remove(0);
    for (name, predicate) in &stage.buckets {
        let reached = records.iter().any(|stepped| predicate.holds(&stepped.record.view(&configuration)));
        *report.buckets.entry(name.clone()).or_default() += u64::from(reached);
    }
    Ok(())
}

/// Many lanes, each a trace of its own, compared by digests (or in full where there are tolerances).
fn free_run(stage: &mut Stage<'_>, pair: &mut Pair, report: &mut TierReport) -> Result<(), SideError> {
    if !report.findings.is_empty() {
        return Ok(());
    }
    let mut batch = 0;
    // Where tolerances hold, the length of free-running play is bounded, and its amount too.
    let exact = pair.compares_digests();
    let total = if exact { stage.rollout_steps } else { stage.rollout_steps.min(stage.forced_steps / 8) };
    while report.counts.live_free_running < total && !report.has_enough(stage) {
        if stage.stop.asked() {
            report.stopped = true;
            return Ok(());
        }
        if !pair.compares_digests() {
            in_full(stage, pair, report, batch)?;
        } else if !by_digest(stage, pair, report, batch)? {
            return Ok(());
        }
        batch += 1;
    }
    Ok(())
}

/// One batch of lanes; false if it was cut short by what it found.
fn by_digest(stage: &mut Stage<'_>, pair: &mut Pair, report: &mut TierReport, batch: u64) -> Result<bool, SideError> {
    let configuration = stage.configuration.clone();
    let lanes = stage.lanes;
    let left = (stage.rollout_steps - report.counts.live_free_running).div_ceil(lanes as u64);
    let steps = (stage.trace_steps as u64).min(left.max(8));
    let streams: Vec<u64> = (0..lanes as u64).map(|lane| batch * lanes as u64 + lane).collect();
    let starts: Vec<LaneStart> = streams
        .iter()
        .zip(0..)
        .map(|(stream, lane)| {
            let seed = start_seed(stage.seed, *stream);
            LaneStart { lane, seed, stream: *stream, episode: 0, source: Source::Seeded }
        })
        .collect();
    let run_seed = stage.seed;
    let policy = Tokens::new(run_seed);
    let trace_of = |lane: usize, steps: u64| {
        let mut tokens = Vec::new();
        policy.fill(&configuration, streams[lane], 0, steps, &mut tokens);
        Trace::seeded(&configuration, start_seed(run_seed, streams[lane]), streams[lane], tokens)
    };
    let mut bad: BTreeSet<usize> = match pair.reset(&starts)? {
        Ok(chains) => (0..lanes).filter(|lane| chains[*lane].0 != chains[*lane].1).collect(),
        Err(error) => return backend_failed(stage, pair, report, &trace_of(0, 1), error),
    };
    let mut done = 0;
    let mut frame = 8;
    let frame_max = (FRAME_TOKENS_MAX / lanes / configuration.tokens_per_step()).max(1) as u64;
    while done < steps && bad.is_empty() {
        if stage.stop.asked() {
            report.stopped = true;
            break;
        }
        let count = (frame.min(frame_max)).min(steps - done);
        let mut tokens = Vec::with_capacity(lanes * count as usize * configuration.tokens_per_step());
        for stream in &streams {
            policy.fill(&configuration, *stream, done, done + count, &mut tokens);
        }
        let play = Play {
            lane_first: 0,
            lane_count: lanes,
            step_count: count as usize,
            tokens: &tokens,
            grain: None,
            window: lockstep_core::wire::WINDOW_STEPS_MAX as usize,
        };
        let began = Instant::now();
        let (expected, observed) = match pair.advance(play)? {
            Ok(windows) => windows,
            Err(error) => return backend_failed(stage, pair, report, &trace_of(0, done + count), error),
        };
        if began.elapsed() < FRAME_TIME {
            frame = (2 * frame).min(frame_max);
        }
        bad = earliest(&expected, &observed);
        if bad.is_empty() {
            report.counts.live_free_running += lanes as u64 * count;
            report.counts.episodes += expected.iter().map(|lane| u64::from(lane.episodes_ended)).sum::<u64>();
        }
        stage.watch.advance(lanes as u64 * count);
        done += count;
    }
    if bad.is_empty() {
        report.counts.traces += if done > 0 { lanes as u64 } else { 0 };
        return Ok(true);
    }
    report.counts.traces += (lanes - bad.len()) as u64;
    for lane in bad.into_iter().take(4) {
        examine(stage, pair, report, &trace_of(lane, done))?;
    }
    Ok(report.findings.is_empty())
}

/// The lanes whose digests differ in the earliest window that differs in any lane.
fn earliest(expected: &[Windows], observed: &[Windows]) -> BTreeSet<usize> {
    let first_bad =
        |(theirs, ours): (&Windows, &Windows)| theirs.chains.iter().zip(&ours.chains).position(|(a, b)| a != b);
    let firsts: Vec<Option<usize>> = expected.iter().zip(observed).map(first_bad).collect();
    let Some(first) = firsts.iter().flatten().min() else { return BTreeSet::new() };
    firsts.iter().enumerate().filter(|(_, bad)| *bad == &Some(*first)).map(|(lane, _)| lane).collect()
}

/// Plays a lane whose digest differed again, alone and in full.
fn examine(stage: &mut Stage<'_>, pair: &mut Pair, report: &mut TierReport, trace: &Trace) -> Result<(), SideError> {
    match pair.check(trace)? {
        Verdict::Diverged(divergence) => shrink_if_new(stage, pair, "rollout", report, trace, divergence)?,
        Verdict::Known(name) => *report.known.entry(name).or_default() += 1,
        Verdict::Agree => report.checks.push(Check {
            claim: "a lane whose digest differs in a batch differs alone too".into(),
            side: stage.backend.to_owned(),
            outcome: CheckOutcome::Failed(format!(
                "stream {} differed among {} lanes and agrees by itself: a neighbour, its place or time plays a part",
                trace.stream, stage.lanes
            )),
        }),
    }
    Ok(())
}

pub(super) fn backend_failed(
    stage: &mut Stage<'_>,
    pair: &mut Pair,
    report: &mut TierReport,
    trace: &Trace,
    error: SideError,
) -> Result<bool, SideError> {
    if !error.is_behaviour() {
        return Err(error);
    }
    pair.backend.restart()?;
    let divergence = match pair.check(trace)? {
        Verdict::Diverged(divergence) => divergence,
        // It fails among others and not alone, so there is nothing to shrink: the failure itself is reported.
        _ => {
            report.checks.push(Check {
                claim: "the backend plays many lanes".into(),
                side: stage.backend.to_owned(),
                outcome: CheckOutcome::Failed(failure(None, &error).difference.fields[0].observed.clone()),
            });
            return Ok(false);
        }
    };
    shrink_if_new(stage, pair, "rollout", report, trace, divergence)?;
    Ok(false)
}

/// One batch in full, where tolerances forbid digests.
fn in_full(stage: &mut Stage<'_>, pair: &mut Pair, report: &mut TierReport, batch: u64) -> Result<(), SideError> {
    let configuration = stage.configuration.clone();
    let horizon = pair.tolerances.horizon().map_or(stage.trace_steps, |horizon| horizon as usize);
    let steps = stage.trace_steps.min(horizon) as u64;
    let mut tokens = Vec::new();
    Tokens::new(stage.seed).fill(&configuration, batch, 0, steps, &mut tokens);
    let trace = Trace::seeded(&configuration, stage.seed, batch, tokens);
    match pair.check(&trace)? {
        Verdict::Agree => {
            report.counts.live_free_running += steps;
            report.counts.traces += 1;
        }
        Verdict::Known(name) => {
            *report.known.entry(name).or_default() += 1;
            report.counts.live_free_running += steps;
        }
        Verdict::Diverged(divergence) => shrink_if_new(stage, pair, "rollout", report, &trace, divergence)?,
    }
    stage.watch.advance(steps);
    Ok(())
}

/// The last resort: how often each value was drawn at each site, on both sides.
fn compare_statistics(stage: &mut Stage<'_>, pair: &mut Pair, report: &mut TierReport) -> Result<(), SideError> {
    let configuration = stage.configuration.clone();
    type Tables = BTreeMap<(u32, u64), Vec<u64>>;
    let mut tables: [Tables; 2] = Default::default();
    let steps = (stage.trace_steps as u64).min(1024);
    let traces = (stage.rollout_steps / steps).clamp(1, 256);
    for stream in 0..traces {
        if stage.stop.asked() {
            report.stopped = true;
            break;
        }
        let mut tokens = Vec::new();
        Tokens::new(stage.seed).fill(&configuration, stream, 0, steps, &mut tokens);
        let start = LaneStart { lane: 0, seed: stage.seed, stream, episode: 0, source: Source::Seeded };
        for (side, table) in [&mut pair.reference, &mut pair.backend].into_iter().zip(&mut tables) {
            side.reset(std::slice::from_ref(&start))?;
            side.play(Play::one_lane(&configuration, 0, &tokens))?;
            for draw in side.draws(0)? {
                if draw.bound <= 4096 {
                    let counts = table.entry((draw.site, draw.bound)).or_insert_with(|| vec![0; draw.bound as usize]);
                    counts[draw.value.min(draw.bound - 1) as usize] += 1;
                }
            }
        }
        stage.watch.advance(steps);
    }
    let [expected, observed] = tables;
    let sites: BTreeSet<(u32, u64)> = expected.keys().chain(observed.keys()).copied().collect();
    for (site, bound) in sites {
        let empty = vec![0; bound as usize];
        let theirs = expected.get(&(site, bound)).unwrap_or(&empty);
        let ours = observed.get(&(site, bound)).unwrap_or(&empty);
        let result = compare_frequencies(theirs, ours);
        let name = configuration.sites.get(site as usize).map_or("unnamed", String::as_str);
        let missing = theirs.iter().sum::<u64>() == 0 || ours.iter().sum::<u64>() == 0;
        let (n, m) = (theirs.iter().sum::<u64>(), ours.iter().sum::<u64>());
        let outcome = if missing || result.differ() {
            CheckOutcome::Failed(format!(
                "G = {:.1} with {} degrees of freedom, {n} and {m} draws",
                result.g, result.freedom
            ))
        } else {
            CheckOutcome::Passed
        };
        let claim = format!(
            "draws below {bound} at {name} are as frequent ({n} and {m} draws; a difference of {:.1} % would be seen)",
            100.0 * result.detectable
        );
        report.checks.push(Check { claim, side: stage.backend.to_owned(), outcome });
    }
    Ok(())
}
