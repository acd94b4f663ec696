//! Pairs of mechanics and the order of events: what single features and single steps do not show.
//!
//! Features are the smallest, a middle and the largest value of each field, as the reference reached them. Every pair of
//! values of two fields is set in a visited state, and from there two kinds of action are played in both orders.

use super::policy::Noise;
use super::pool::Pool;
use super::property::no_injection;
use super::{Check, CheckOutcome, Stage, Taken, TierReport, forced, hunt};
use crate::manifest::{Action, Configuration, ToleranceMode};
use crate::side::SideError;
use crate::sides::open_pair;

/// Pairs at most; beyond that they are drawn at random from all.
pub const PAIRS_MAX: usize = 800;

/// Runs the tier in one configuration.
///
/// # Errors
/// If the reference fails, or a side can't be opened.
pub fn run(stage: &mut Stage<'_>) -> Result<TierReport, SideError> {
    let configuration = stage.configuration.clone();
    let mut report = TierReport::new("interaction", &configuration);
    let mode = ToleranceMode::FreeRunning;
    let mut pair = open_pair(stage.sides, stage.backend, &configuration, stage.lanes, "interaction", mode)?;
    // Rounding grows from step to step, so under tolerances each step is compared from the reference's state.
    let mut forced = (!pair.forced.is_exact()).then(|| pair.forced.clone());
    let claim = "pairs of field values agree, in both orders of two actions";
    if let Some(reason) = no_injection(&pair) {
        report.skip(stage.backend, claim, reason);
        return Ok(report);
    }
    let pool = Pool::gather(&mut pair.reference, &configuration, stage.seed, 12, 192)?;
    let landmarks = pool.landmarks(&configuration);
    let mut pairs = Vec::new();
    for (i, first) in landmarks.iter().enumerate() {
        for second in &landmarks[i + 1..] {
            for a in 0..first.values.len() {
                for b in 0..second.values.len() {
                    pairs.push((first, a, second, b));
                }
            }
        }
    }
    let total = pairs.len();
    let mut noise = Noise::new(stage.seed ^ 0x1417);
    for index in 0..pairs.len().min(PAIRS_MAX) {
        let other = index + noise.below((pairs.len() - index) as u64) as usize;
        pairs.swap(index, other);
    }
    pairs.truncate(PAIRS_MAX);
    stage.watch.begin(&format!("{} interaction", configuration.name), pairs.len() as u64);
    let mut covered = 0;
    for (first, a, second, b) in pairs {
        if stage.stop.asked() || report.has_enough(stage) {
            report.stopped |= stage.stop.asked();
            break;
        }
        let mut seen = pool.any(&mut noise).clone();
        for (landmark, pick) in [(first, a), (second, b)] {
            let value = &landmark.values[pick];
            seen.start.state[landmark.at..landmark.at + value.len()].copy_from_slice(value);
        }
        let (one, two) = (token(&configuration, &mut noise), token(&configuration, &mut noise));
        let rest: Vec<u32> = (0..4).map(|_| token(&configuration, &mut noise)).collect();
        let mut taken = true;
        for order in [[one, two], [two, one]] {
            let mut trace = pool.trace(&configuration, &seen);
            for token in order.into_iter().chain(rest.iter().copied()) {
                trace.tokens.extend(std::iter::repeat_n(token, configuration.tokens_per_step()));
            }
            taken &= match &mut forced {
                None => hunt(stage, &mut pair, &mut report, &trace)? == Taken::Yes,
                Some(tolerances) => not_refused(forced::one_trace(stage, &mut pair, &mut report, tolerances, &trace))?,
            };
        }
        covered += u64::from(taken);
        stage.watch.advance(1);
    }
    stage.watch.end();
    if let Some(tolerances) = &forced {
        report.tolerances_used = tolerances.used().clone();
    }
    let claim = format!("{claim} ({covered} of {total} pairs were reached)");
    let outcome = if covered == 0 && total > 0 {
        CheckOutcome::Failed("the reference refuses every pair".into())
    } else {
        CheckOutcome::Passed
    };
    report.checks.push(Check { claim, side: stage.backend.to_owned(), outcome });
    Ok(report)
}

/// False for a state that the reference refuses.
fn not_refused(played: Result<(), SideError>) -> Result<bool, SideError> {
    match played {
        Ok(()) => Ok(true),
        Err(SideError::Refused { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// One action of each kind is as likely as another, odd ones too.
fn token(configuration: &Configuration, noise: &mut Noise) -> u32 {
    match &configuration.action {
        Action::Discrete { names, extra, .. } => {
            let kind = noise.below((names.len() + extra.len()) as u64) as u32;
            let count = names.len() as u32;
            if kind < count { kind } else { 0x8000_0000 | (kind - count) }
        }
        Action::Continuous { low, high } => {
            let values = [0.0, *low, *high, low / 2.0, high * 2.0];
            values[noise.below(values.len() as u64) as usize].to_bits().rotate_left(1)
        }
    }
}
