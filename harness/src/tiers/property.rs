//! One step from generated states, invariants on what is reached, and pure functions on vectors mined from the reference.

use super::policy::{Noise, Tokens};
use super::pool::Pool;
use super::{Check, CheckOutcome, Stage, Taken, TierReport, hunt};
use crate::manifest::{Level, ProbeTable, ToleranceMode};
use crate::pair::Pair;
use crate::side::{Play, SideError};
use crate::sides::open_pair;
use crate::trace::Trace;
use lockstep_core::wire::Mode;
use serde_json::{Map, Value, json};

/// Steps from generated states.
pub const CASES: u64 = 1_500;
/// One generated state in so many may be refused by a backend alone.
const OWN_REFUSALS: u64 = 50;
/// Inputs of each function.
const VECTORS: u64 = 200;

/// Runs the tier in one configuration.
///
/// # Errors
/// If the reference fails, or a side can't be opened.
pub fn run(stage: &mut Stage<'_>) -> Result<TierReport, SideError> {
    let configuration = stage.configuration.clone();
    let mut report = TierReport::new("property", &configuration);
    let mut pair = open_pair(stage.sides, stage.backend, &configuration, 1, "property", ToleranceMode::TeacherForced)?;
    stage.watch.begin(&format!("{} property", configuration.name), CASES);
    let result = (|| {
        invariants(stage, &mut pair, &mut report)?;
        functions(stage, &mut pair, &mut report)?;
        steps(stage, &mut pair, &mut report)
    })();
    stage.watch.end();
    result?;
    report.tolerances_used = pair.forced.used().clone();
    Ok(report)
}

/// Why a state can't be set, if it can't.
pub(super) fn no_injection(pair: &Pair) -> Option<String> {
    let level = pair.configuration.level;
    if level == Level::Recorded || level == Level::Statistical {
        return Some(format!("at draw level {} a state does not hold its future draws", level.name()));
    }
    [&pair.reference, &pair.backend]
        .iter()
        .find(|side| side.capabilities.inject != "full")
        .map(|side| format!("{} can't be injected ({})", side.role, side.capabilities.inject))
}

fn steps(stage: &mut Stage<'_>, pair: &mut Pair, report: &mut TierReport) -> Result<(), SideError> {
    let configuration = stage.configuration.clone();
    let claim = "one step from generated states agrees";
    if let Some(reason) = no_injection(pair) {
        report.skip(stage.backend, claim, reason);
        return Ok(());
    }
    let pool = Pool::gather(&mut pair.reference, &configuration, stage.seed, 12, 128)?;
    let mut noise = Noise::new(stage.seed ^ 0x9409);
    let (mut refused, mut own) = (0, 0);
    for case in 0..CASES {
        if stage.stop.asked() || report.has_enough(stage) {
            report.stopped |= stage.stop.asked();
            break;
        }
        let changes = 1 + noise.below(3);
        let seen = pool.mixed(&configuration, &mut noise, changes);
        let mut trace = pool.trace(&configuration, &seen);
        Tokens::new(stage.seed).fill(&configuration, case, case, case + 1, &mut trace.tokens);
        let taken = hunt(stage, pair, report, &trace)?;
        refused += u64::from(taken != Taken::Yes);
        own += u64::from(taken == Taken::NotByBackend);
        stage.watch.advance(1);
    }
    let claim = format!("{claim} ({refused} of {CASES} states were refused)");
    // States that are nearly all refused test nothing, and a backend that picks its states hides what it does in others.
    let outcome = if refused > CASES * 9 / 10 {
        CheckOutcome::Failed("more than nine of ten generated states are refused".into())
    } else if stage.backend == "rust" && own > CASES / OWN_REFUSALS {
        // The others may lay out less than a state can hold, and say so; `rust` plays what they refuse.
        let backend = stage.backend;
        CheckOutcome::Failed(format!("{backend} refuses {own} of {CASES} generated states that the reference takes"))
    } else {
        CheckOutcome::Passed
    };
    report.checks.push(Check { claim, side: stage.backend.to_owned(), outcome });
    Ok(())
}

/// What the manifest says always holds, on what both sides reach.
fn invariants(stage: &mut Stage<'_>, pair: &mut Pair, report: &mut TierReport) -> Result<(), SideError> {
    let configuration = stage.configuration.clone();
    if stage.invariants.is_empty() || configuration.level == Level::Recorded {
        return Ok(());
    }
    let mut broken: Vec<Option<String>> = vec![None; stage.invariants.len()];
    for stream in 0..12 {
        let mut tokens = Vec::new();
        Tokens::new(stage.seed).fill(&configuration, stream, 0, 256, &mut tokens);
        let trace = Trace::seeded(&configuration, stage.seed, stream, tokens);
        for side in [&mut pair.reference, &mut pair.backend] {
            side.reset(&[trace.lane_start(0)])?;
            let play = Play::one_lane(&configuration, 0, &trace.tokens);
            for stepped in side.play_in_full(play, Mode::Full)?.remove(0) {
                for ((_, predicate), broken) in stage.invariants.iter().zip(&mut broken) {
                    if broken.is_none() && !predicate.holds(&stepped.record.view(&configuration)) {
                        *broken = Some(format!("{} breaks it at step {} of stream {stream}", side.role, stepped.step));
                    }
                }
            }
        }
    }
    for ((name, _), broken) in stage.invariants.iter().zip(broken) {
        let outcome = broken.map_or(CheckOutcome::Passed, CheckOutcome::Failed);
        report.checks.push(Check { claim: format!("invariant {name} holds"), side: "both".into(), outcome });
    }
    Ok(())
}

/// Pure functions that both sides can be asked for, on inputs in the manifest's ranges.
fn functions(stage: &mut Stage<'_>, pair: &mut Pair, report: &mut TierReport) -> Result<(), SideError> {
    for table in stage.probes.clone() {
        let claim = format!("{} gives the same on {VECTORS} vectors mined from the reference", table.function);
        let lacks = [&pair.reference, &pair.backend]
            .iter()
            .find(|side| !side.capabilities.probe.contains(&table.function))
            .map(|side| format!("{} does not offer it to be probed", side.role));
        if let Some(reason) = lacks {
            report.skip(stage.backend, &claim, reason);
            continue;
        }
        let mut outcome = CheckOutcome::Passed;
        for input in vectors(&table, stage.seed) {
            let expected = pair.reference.probe(&table.function, &input)?;
            let observed = pair.backend.probe(&table.function, &input)?;
            if !near(&expected, &observed, table.tolerance) {
                outcome = CheckOutcome::Failed(format!("{input}: expected {expected}, observed {observed}"));
                break;
            }
        }
        report.checks.push(Check { claim, side: stage.backend.to_owned(), outcome });
    }
    Ok(())
}

/// Inputs of a pure function: each value is the lower or upper bound of its range one time in six, else anywhere in it.
pub fn vectors(table: &ProbeTable, seed: u64) -> Vec<Value> {
    let mut noise = Noise::new(seed ^ 0x960B);
    let mut vector = || {
        let mut input = Map::new();
        for (name, [low, high]) in &table.input {
            let value = match noise.below(6) {
                0 => *low,
                1 => *high,
                _ => low + noise.below((high - low + 1) as u64) as i64,
            };
            input.insert(name.clone(), json!(value));
        }
        Value::Object(input)
    };
    (0..VECTORS).map(|_| vector()).collect()
}

/// Whether two answers are the same but for numbers that are within the tolerance.
pub fn near(expected: &Value, observed: &Value, tolerance: f64) -> bool {
    match (expected, observed) {
        (Value::Array(expected), Value::Array(observed)) => {
            expected.len() == observed.len() && expected.iter().zip(observed).all(|(a, b)| near(a, b, tolerance))
        }
        (Value::Object(expected), Value::Object(observed)) => {
            let answered = |(name, a): (&String, &Value)| observed.get(name).is_some_and(|b| near(a, b, tolerance));
            expected.len() == observed.len() && expected.iter().all(answered)
        }
        (Value::Number(a), Value::Number(b)) if tolerance > 0.0 => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= tolerance * (1.0 + a.abs().max(b.abs())),
            _ => a == b,
        },
        _ => expected == observed,
    }
}
