//! Step by step from the reference's own state: the one comparison that is exact where play is chaotic.
//!
//! The reference plays a trace and tells every state; then lane i of the backend is set to state i and makes one step, as
//! many lanes at once as there are. Where tolerances hold, this is most of a rollout.

use super::rollout::backend_failed;
use super::{Check, CheckOutcome, Stage, TierReport, Tokens, shrink_if_new};
use crate::compare::{Tolerances, compare};
use crate::manifest::{Level, ToleranceMode};
use crate::pair::{Pair, Verdict};
use crate::side::{Injection, Play, SideError, Stepped};
use crate::trace::{StartState, Trace};
use lockstep_core::HEAD_STEP;
use lockstep_core::wire::{Mode, WINDOW_STEPS_MAX};

/// Steps where all is exact, and free-running play has compared the most.
const EXACT_STEPS: u64 = 2_048;
/// Steps of one trace.
const TRACE_STEPS: u64 = 256;
const CLAIM: &str = "each step agrees from the reference's state";

/// Plays forced steps in one configuration.
pub(super) fn run(stage: &mut Stage<'_>, pair: &mut Pair, report: &mut TierReport) -> Result<(), SideError> {
    let configuration = stage.configuration.clone();
    if !report.agrees() || stage.stop.asked() {
        return Ok(());
    }
    if configuration.level == Level::Recorded {
        let reason = "draws are recorded, and an injected state has no place in them";
        report.skip(stage.backend, CLAIM, reason.into());
        return Ok(());
    }
    if pair.backend.capabilities.inject != "full" {
        report.skip(stage.backend, CLAIM, format!("{} can't be injected", stage.backend));
        return Ok(());
    }
    let exact = pair.compares_digests();
    let total = if exact { EXACT_STEPS.min(stage.rollout_steps / 4).max(64) } else { stage.forced_steps };
    let setting = stage.sides.setting().to_owned();
    let mode = ToleranceMode::TeacherForced;
    let mut tolerances = Tolerances::select(&configuration, stage.backend, &setting, "rollout", mode);
    let mut stream = 0;
    while report.counts.live_teacher_forced < total && report.agrees() && !stage.stop.asked() {
        let steps = TRACE_STEPS.min(total);
        let mut tokens = Vec::new();
        Tokens::new(stage.seed).fill(&configuration, (1 << 41) + stream, 0, steps, &mut tokens);
        let trace = Trace::seeded(&configuration, stage.seed, (1 << 41) + stream, tokens);
        one_trace(stage, pair, report, &mut tolerances, &trace)?;
        if !exact {
            stage.watch.advance(steps);
        }
        stream += 1;
    }
    for sentence in tolerances.exceeded() {
        report.fail(stage.backend, CLAIM, sentence);
    }
    for (field, used) in tolerances.used() {
        let most = report.tolerances_used.entry(format!("{field}, from the reference's state")).or_default();
        *most = most.max(*used);
    }
    Ok(())
}

/// Plays a trace on the reference and compares each of its steps from the state before it.
///
/// # Errors
/// If the reference fails or refuses the trace.
pub(super) fn one_trace(
    stage: &mut Stage<'_>,
    pair: &mut Pair,
    report: &mut TierReport,
    tolerances: &mut Tolerances,
    trace: &Trace,
) -> Result<(), SideError> {
    let configuration = stage.configuration.clone();
    let start = trace.lane_start(0);
    let injection = trace.injection(0);
    let first = match &injection {
        Some(injection) => pair.reference.inject_in_full(injection, Mode::State)?,
        None => pair.reference.reset_in_full(&start, Mode::State)?,
    };
    let records = pair.reference.play_in_full(Play::one_lane(&configuration, 0, &trace.tokens), Mode::State)?.remove(0);
    let (mut episode, mut elapsed, mut draw_index) = match &injection {
        Some(injection) => (start.episode, injection.elapsed, injection.draw_index),
        None => (start.episode, 0, first.record.draws.len() as u32),
    };
    let mut before = &first;
    let mut steps: Vec<(Injection, &Stepped)> = Vec::with_capacity(records.len());
    for stepped in &records {
        let record = &stepped.record;
        if record.kind == HEAD_STEP {
            let injection = Injection {
                start: crate::side::LaneStart { episode, lane: (steps.len() % stage.lanes) as u32, ..start.clone() },
                elapsed,
                draw_index,
                state: before.record.canonical.clone(),
                observations: before.record.observations.clone(),
            };
            steps.push((injection, stepped));
            elapsed += 1;
        }
        draw_index += record.draws.len() as u32;
        if record.ended() {
            (episode, elapsed, draw_index) = (episode + 1, 0, 0);
        }
        before = stepped;
    }
    for chunk in steps.chunks(stage.lanes) {
        if !one_chunk(stage, pair, report, tolerances, trace, chunk)? {
            return Ok(());
        }
    }
    // Where free-running play is cut short at a horizon, this is the trace that reaches what it could not.
    let free = ToleranceMode::FreeRunning;
    let free = Tolerances::select(&configuration, stage.backend, stage.sides.setting(), "rollout", free);
    if free.horizon().is_some() {
        for (name, predicate) in &stage.buckets {
            let reached = steps.iter().any(|(_, stepped)| predicate.holds(&stepped.record.view(&configuration)));
            *report.buckets.entry(name.clone()).or_default() += u64::from(reached);
        }
    }
    Ok(())
}

/// Some steps at once, each in a lane of its own; false if something was found.
fn one_chunk(
    stage: &mut Stage<'_>,
    pair: &mut Pair,
    report: &mut TierReport,
    tolerances: &mut Tolerances,
    trace: &Trace,
    chunk: &[(Injection, &Stepped)],
) -> Result<bool, SideError> {
    let configuration = stage.configuration.clone();
    let per_step = configuration.tokens_per_step();
    let of = |stepped: &Stepped| &trace.tokens[stepped.step * per_step..(stepped.step + 1) * per_step];
    let tokens: Vec<u32> = chunk.iter().flat_map(|(_, stepped)| of(stepped).iter().copied()).collect();
    let injections: Vec<Injection> = chunk.iter().map(|(injection, _)| injection.clone()).collect();
    let play = Play {
        lane_first: 0,
        lane_count: chunk.len(),
        step_count: 1,
        tokens: &tokens,
        grain: None,
        window: WINDOW_STEPS_MAX as usize,
    };
    let observed = pair.backend.inject(&injections).and_then(|_| pair.backend.play_in_full(play, Mode::State));
    let observed = match observed {
        Ok(observed) => observed,
        Err(SideError::Refused { role, message, .. }) => {
            report.fail(stage.backend, CLAIM, format!("{role} refuses a state that was reached: {message}"));
            return Ok(false);
        }
        Err(error) => return backend_failed(stage, pair, report, trace, error),
    };
    for ((injection, expected), observed) in chunk.iter().zip(&observed) {
        if compare(&configuration, tolerances, &expected.record, &observed[0].record).is_some() {
            diverged(stage, pair, report, trace, injection, expected)?;
            return Ok(false);
        }
        report.counts.live_teacher_forced += 1;
        for (name, predicate) in &stage.buckets {
            let steps = report.buckets.entry(format!("{name}, steps")).or_default();
            *steps += u64::from(predicate.holds(&expected.record.view(&configuration)));
        }
    }
    Ok(true)
}

/// A step that differs from the reference's state. Where all is exact, free-running play up to it may yet agree.
fn diverged(
    stage: &mut Stage<'_>,
    pair: &mut Pair,
    report: &mut TierReport,
    trace: &Trace,
    injection: &Injection,
    expected: &Stepped,
) -> Result<(), SideError> {
    let whole = trace.truncated(expected.step + 1);
    let per_step = trace.tokens_per_step;
    let mut single = Trace { tokens: whole.tokens[expected.step * per_step..].to_vec(), ..whole.clone() };
    single.episode = injection.start.episode;
    single.state = Some(StartState {
        elapsed: injection.elapsed,
        draw_index: injection.draw_index,
        state: injection.state.clone(),
        observations: injection.observations.clone(),
    });
    let traces = if pair.compares_digests() { vec![whole] } else { vec![single, whole] };
    for trace in traces {
        if let Verdict::Diverged(divergence) = pair.check(&trace)? {
            return shrink_if_new(stage, pair, report.tier, report, &trace, divergence);
        }
    }
    report.checks.push(Check {
        claim: CLAIM.into(),
        side: stage.backend.to_owned(),
        outcome: CheckOutcome::Failed(format!(
            "step {} of stream {} differs from the reference's state and agrees otherwise: inject loses something",
            expected.step + 1,
            trace.stream
        )),
    });
    Ok(())
}
