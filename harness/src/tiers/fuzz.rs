//! Half random, half guided: bursts from snapshots of states whose pairs of field values have not been seen before.
//!
//! Novelty is measured on the backend, which is fast; the reference plays the same bursts and only its digests are
//! looked at. An archive entry holds a snapshot of both sides and the trace that leads there, so that whatever diverges
//! is a trace from a reset.

use super::policy::{Noise, Tokens};
use super::{Stage, TierReport, shrink_if_new};
use crate::manifest::{Configuration, Level, ToleranceMode};
use crate::pair::{Pair, Verdict};
use crate::record::Record;
use crate::side::{LaneStart, Play, SideError, Source, Stepped};
use crate::sides::open_pair;
use crate::trace::Trace;
use lockstep_core::wire::Mode;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Steps of one burst.
const BURST_STEPS: usize = 40;
/// Steps of one digest window: short, so that a finding is near its window.
const WINDOW: usize = 8;
/// Lanes that play bursts at the same time.
const LANES: usize = 32;
/// Entries of the archive at most.
const ARCHIVE_MAX: usize = 4_096;
/// Steps of a trace in the archive at most.
const TRACE_STEPS_MAX: usize = 4_096;

/// How long to fuzz.
#[derive(Debug, Clone, Copy)]
pub enum Budget {
    /// Steps of the reference.
    Steps(u64),
    /// Wall-clock time.
    Time(Duration),
}

/// What the archive keeps.
struct Entry {
    trace: Trace,
    chain: u64,
    reference: Vec<u8>,
    backend: Vec<u8>,
    visits: u64,
}

/// What guided play knows.
struct Archive {
    entries: Vec<Entry>,
    pairs: HashSet<u64>,
}

/// Runs the tier in one configuration.
///
/// # Errors
/// If the reference fails, or a side can't be opened.
pub fn run(stage: &mut Stage<'_>, budget: Budget) -> Result<TierReport, SideError> {
    let configuration = stage.configuration.clone();
    let mut report = TierReport::new("fuzz", &configuration);
    let mode = ToleranceMode::FreeRunning;
    let mut pair = open_pair(stage.sides, stage.backend, &configuration, LANES, "fuzz", mode)?;
    if matches!(configuration.level, Level::Recorded | Level::Statistical) || !pair.compares_digests() {
        let reason = if pair.compares_digests() {
            format!("draw level {} can't be snapshot on both sides", configuration.level.name())
        } else {
            "fields with tolerances can't be digested".into()
        };
        report.skip(stage.backend, "bursts from novel states agree", reason);
        return Ok(report);
    }
    let total = if let Budget::Steps(steps) = budget { steps } else { 0 };
    stage.watch.begin(&format!("{} fuzz", configuration.name), total);
    let mut archive = Archive { entries: Vec::new(), pairs: HashSet::new() };
    let mut noise = Noise::new(stage.seed ^ 0xF022);
    let began = Instant::now();
    let mut round = 0u64;
    let result = loop {
        let spent = match budget {
            Budget::Steps(steps) => report.counts.live_free_running >= steps,
            Budget::Time(time) => began.elapsed() >= time,
        };
        if spent || stage.stop.asked() || report.has_enough(stage) {
            report.stopped = stage.stop.asked();
            break Ok(());
        }
        if let Err(error) = burst(stage, &mut pair, &mut report, &mut archive, &mut noise, round) {
            break Err(error);
        }
        round += 1;
    };
    stage.watch.end();
    result?;
    report.buckets.insert("pairs of field values".into(), archive.pairs.len() as u64);
    report.buckets.insert("archived states".into(), archive.entries.len() as u64);
    Ok(report)
}

/// One burst of all lanes: half of them from resets, the others from the archive.
fn burst(
    stage: &mut Stage<'_>,
    pair: &mut Pair,
    report: &mut TierReport,
    archive: &mut Archive,
    noise: &mut Noise,
    round: u64,
) -> Result<(), SideError> {
    let configuration = stage.configuration.clone();
    let fresh = if archive.entries.is_empty() { LANES } else { LANES / 2 };
    let starts: Vec<LaneStart> = (0..fresh as u32)
        .map(|lane| {
            let stream = (1 << 44) + round * LANES as u64 + u64::from(lane);
            LaneStart { lane, seed: stage.seed, stream, episode: 0, source: Source::Seeded }
        })
        .collect();
    // What each lane stands for: the trace that led there, and the chain of the reference after it.
    let mut lanes: Vec<(Trace, u64)> = Vec::with_capacity(LANES);
    for (start, (expected, observed)) in starts.iter().zip(pair.reset(&starts)??) {
        let trace = Trace::seeded(&configuration, start.seed, start.stream, Vec::new());
        if expected != observed {
            return examine(stage, pair, report, &trace);
        }
        lanes.push((trace, expected));
    }
    for lane in fresh..LANES {
        let entry = archive.choose(noise);
        pair.reference.restore(lane as u32, &entry.reference)?;
        pair.backend.restore(lane as u32, &entry.backend)?;
        lanes.push((entry.trace.clone(), entry.chain));
    }
    let mut tokens = Vec::with_capacity(LANES * BURST_STEPS * configuration.tokens_per_step());
    for (trace, _) in &mut lanes {
        let from = tokens.len();
        // A policy of its own for each burst, so that guided play is not one long random walk.
        Tokens::new(stage.seed).fill(&configuration, noise.below(1 << 40), 0, BURST_STEPS as u64, &mut tokens);
        trace.tokens.extend_from_slice(&tokens[from..]);
    }
    let play = Play {
        lane_first: 0,
        lane_count: LANES,
        step_count: BURST_STEPS,
        tokens: &tokens,
        grain: None,
        window: WINDOW,
    };
    pair.reference.begin_play(play)?;
    let observed = pair.backend.play_in_full(play, Mode::Full);
    let expected = pair.reference.finish_play(play)?;
    let observed = match observed {
        Ok(observed) => observed,
        Err(error) if error.is_behaviour() => {
            pair.backend.restart()?;
            archive.entries.clear();
            for (trace, _) in &lanes {
                examine(stage, pair, report, trace)?;
            }
            return if report.agrees() { Err(error) } else { Ok(()) };
        }
        Err(error) => return Err(error),
    };
    let mut bad = Vec::new();
    for (lane, (windows, records)) in expected.iter().zip(&observed).enumerate() {
        let (trace, chain) = &lanes[lane];
        if chains(pair, *chain, records) != windows.chains {
            bad.push(trace.clone());
        } else if archive.learn(&configuration, records.iter().map(|stepped| &stepped.record))
            && trace.steps() < TRACE_STEPS_MAX
        {
            let chain = *windows.chains.last().expect("a burst has windows");
            archive.keep(pair, lane as u32, trace.clone(), chain, noise)?;
        }
    }
    for trace in bad.iter().take(2) {
        examine(stage, pair, report, trace)?;
    }
    if bad.is_empty() {
        report.counts.live_free_running += (LANES * BURST_STEPS) as u64;
        report.counts.traces += fresh as u64;
    }
    stage.watch.advance((LANES * BURST_STEPS) as u64);
    Ok(())
}

/// The chain after each window of a burst, computed from the backend's records.
fn chains(pair: &Pair, start: u64, records: &[Stepped]) -> Vec<u64> {
    let mut chains = Vec::with_capacity(BURST_STEPS.div_ceil(WINDOW));
    let mut chain = start;
    for number in 0..BURST_STEPS.div_ceil(WINDOW) {
        let inside = records.iter().filter(|stepped| stepped.step / WINDOW == number);
        let bytes: Vec<u8> = inside.flat_map(|stepped| stepped.bytes.iter().copied()).collect();
        chain = pair.backend.digest.of(chain, &bytes);
        chains.push(chain);
    }
    chains
}

fn examine(stage: &mut Stage<'_>, pair: &mut Pair, report: &mut TierReport, trace: &Trace) -> Result<(), SideError> {
    match pair.check(trace)? {
        Verdict::Diverged(divergence) => shrink_if_new(stage, pair, "fuzz", report, trace, divergence),
        Verdict::Known(name) => {
            *report.known.entry(name).or_default() += 1;
            Ok(())
        }
        Verdict::Agree => {
            report.fail(
                stage.backend,
                "a burst from a snapshot is the same as its trace from the start",
                format!("stream {:#x} differs after a restore and agrees from its start", trace.stream),
            );
            Ok(())
        }
    }
}

impl Archive {
    /// Notes the pairs of field values of some records; whether one of them is new.
    fn learn<'a>(&mut self, configuration: &Configuration, records: impl Iterator<Item = &'a Record>) -> bool {
        let mut new = false;
        for record in records {
            let values: Vec<f64> =
                record.view(configuration).canonical_values().map(|(_, value)| value.number()).collect();
            let buckets: Vec<u64> = values.iter().map(|value| Self::bucket(*value)).collect();
            for i in 0..buckets.len() {
                for j in i + 1..buckets.len() {
                    let key = (i as u64) << 48 | (j as u64) << 32 | buckets[i] << 16 | buckets[j];
                    new |= self.pairs.insert(key);
                }
            }
        }
        new
    }

    /// Small whole numbers have their own bucket, others one for each power of two of their distance from 0.
    fn bucket(value: f64) -> u64 {
        if value.fract() == 0.0 && value.abs() < 32.0 {
            return 1_000 + (value + 32.0) as u64;
        }
        let magnitude = value.abs().log2().clamp(-20.0, 40.0).round() + 20.0;
        if value < 0.0 { 200 + magnitude as u64 } else { magnitude as u64 }
    }

    /// An entry that was visited seldom, of a few that are drawn.
    fn choose(&mut self, noise: &mut Noise) -> &Entry {
        let draws = (0..3).map(|_| noise.below(self.entries.len() as u64) as usize);
        let place = draws.min_by_key(|place| self.entries[*place].visits).expect("three were drawn");
        self.entries[place].visits += 1;
        &self.entries[place]
    }

    fn keep(
        &mut self,
        pair: &mut Pair,
        lane: u32,
        trace: Trace,
        chain: u64,
        noise: &mut Noise,
    ) -> Result<(), SideError> {
        let entry = Entry {
            trace,
            chain,
            reference: pair.reference.snapshot(lane)?,
            backend: pair.backend.snapshot(lane)?,
            visits: 0,
        };
        if self.entries.len() < ARCHIVE_MAX {
            self.entries.push(entry);
        } else {
            let place = noise.below(ARCHIVE_MAX as u64) as usize;
            self.entries[place] = entry;
        }
        Ok(())
    }
}
