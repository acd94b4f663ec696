//! Traces that play well: one side looks ahead from snapshots, and both sides follow.
//!
//! Random play seldom wins, so what happens after a win would never be compared. Of a few random continuations the one
//! with the highest reward is taken, again and again; that needs no training and no knowledge of the environment.

use super::policy::{Noise, Tokens};
use crate::manifest::{Configuration, Level};
use crate::side::{Play, Side, SideError};
use crate::trace::Trace;
use lockstep_core::wire::Mode;

/// Continuations that are tried.
const CHOICES: u64 = 12;
/// Steps of a continuation.
const AHEAD_STEPS: u64 = 96;

/// A trace of about `steps` steps in which agent 0 is rewarded often.
///
/// # Errors
/// If the side that leads fails.
pub(super) fn trace(
    leader: &mut Side,
    configuration: &Configuration,
    seed: u64,
    stream: u64,
    steps: u64,
) -> Result<Option<Trace>, SideError> {
    if matches!(configuration.level, Level::Recorded | Level::Statistical) {
        return Ok(None);
    }
    let mut trace = Trace::seeded(configuration, seed, stream, Vec::new());
    let mut noise = Noise::new(seed ^ stream);
    leader.reset(&[trace.lane_start(0)])?;
    while (trace.steps() as u64) < steps {
        let here = leader.snapshot(0)?;
        let mut best: Option<(f64, Vec<u32>)> = None;
        for _ in 0..CHOICES {
            let mut tokens = Vec::new();
            Tokens::new(seed).fill(configuration, noise.below(1 << 40), 0, AHEAD_STEPS, &mut tokens);
            leader.restore(0, &here)?;
            let reward = reward(leader, configuration, &tokens)?;
            if best.as_ref().is_none_or(|(most, _)| reward > *most) {
                best = Some((reward, tokens));
            }
        }
        let (_, tokens) = best.expect("there is at least one choice");
        leader.restore(0, &here)?;
        reward(leader, configuration, &tokens)?;
        trace.tokens.extend(tokens);
    }
    Ok(Some(trace))
}

/// What agent 0 earns by these tokens.
fn reward(leader: &mut Side, configuration: &Configuration, tokens: &[u32]) -> Result<f64, SideError> {
    let records = leader.play_in_full(Play::one_lane(configuration, 0, tokens), Mode::Full)?.remove(0);
    Ok(records.iter().map(|stepped| stepped.record.view(configuration).reward(0).number()).sum())
}
