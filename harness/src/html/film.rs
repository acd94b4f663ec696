//! What both sides did in a trace, record beside record, past the first difference.
//!
//! [`Pair::check`] stops where the sides differ; a film goes on, because what follows from a difference often tells
//! where it comes from. A side that fails ends the film, and its last frame says how.

use crate::manifest::Level;
use crate::pair::Pair;
use crate::record::{Draw, Record};
use crate::side::{Play, Source};
use crate::trace::Trace;
use lockstep_core::wire::Mode;

/// Steps that are filmed before the divergence, and as many after it. Those before are played without being kept.
const STEPS_AROUND: usize = 1_000;
/// Steps of one request while nothing is kept.
const CHUNK_STEPS: usize = 256;

/// Both sides' records of one moment.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// The step, from 0; `None` is the start.
    pub step: Option<usize>,
    /// The record is that of the reset after the step.
    pub reset: bool,
    /// What the reference says.
    pub expected: Option<Record>,
    /// What the backend says.
    pub observed: Option<Record>,
    /// How a side failed.
    pub failure: Option<String>,
}

/// The moments of a trace, as far as they are kept.
#[derive(Debug, Clone, Default)]
pub struct Film {
    /// In order; the first is the start unless steps were skipped.
    pub frames: Vec<Frame>,
}

impl Film {
    /// Plays `trace` on lane 0 of both sides and keeps what lies around the step `around`, or the beginning.
    pub fn play(pair: &mut Pair, trace: &Trace, around: Option<usize>) -> Self {
        let mut film = Film::default();
        let replays = pair.configuration.level == Level::Recorded && pair.reference.role == "reference";
        let first = start(pair, trace, replays);
        let failed = first.failure.is_some();
        let from = around.unwrap_or(0).saturating_sub(STEPS_AROUND);
        let to = trace.steps().min(around.unwrap_or(0).saturating_add(STEPS_AROUND));
        if from == 0 || failed {
            film.frames.push(first);
        }
        if failed {
            return film;
        }
        if let Err(failure) = skip(pair, trace, from) {
            film.frames.push(Frame { step: Some(from), failure: Some(failure), ..Frame::default() });
            return film;
        }
        let per_step = trace.tokens_per_step;
        for step in from..to {
            let frames = one_step(pair, &trace.tokens[step * per_step..(step + 1) * per_step], replays);
            let failed = frames.iter().any(|frame| frame.failure.is_some());
            film.frames.extend(frames.into_iter().map(|frame| Frame { step: Some(step), ..frame }));
            if failed {
                break;
            }
        }
        film
    }
}

fn start(pair: &mut Pair, trace: &Trace, replays: bool) -> Frame {
    let mut start = trace.lane_start(0);
    let mut injection = trace.injection(0);
    let expected = match &injection {
        Some(injection) => pair.reference.inject_in_full(injection, Mode::Full),
        None => pair.reference.reset_in_full(&start, Mode::Full),
    };
    let expected = match expected {
        Ok(stepped) => stepped.record,
        Err(error) => return Frame { failure: Some(error.to_string()), ..Frame::default() },
    };
    if replays {
        start.source = Source::Listed(listed(&expected.draws));
        if let Some(injection) = &mut injection {
            injection.start.source = Source::Listed(Vec::new());
            injection.draw_index = 0;
        }
    }
    let observed = match &injection {
        Some(injection) => pair.backend.inject_in_full(injection, Mode::Full),
        None => pair.backend.reset_in_full(&start, Mode::Full),
    };
    let (observed, failure) = match observed {
        Ok(stepped) => (Some(stepped.record), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Frame { expected: Some(expected), observed, failure, ..Frame::default() }
}

fn skip(pair: &mut Pair, trace: &Trace, steps: usize) -> Result<(), String> {
    for first in (0..steps).step_by(CHUNK_STEPS) {
        let last = steps.min(first + CHUNK_STEPS);
        let tokens = &trace.tokens[first * trace.tokens_per_step..last * trace.tokens_per_step];
        let configuration = pair.configuration.clone();
        let played = pair.advance(Play::one_lane(&configuration, 0, tokens));
        played.and_then(|inner| inner).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The step, and the reset after it where one came.
fn one_step(pair: &mut Pair, tokens: &[u32], replays: bool) -> Vec<Frame> {
    let configuration = pair.configuration.clone();
    let play = Play::one_lane(&configuration, 0, tokens);
    let expected = match pair.reference.play_in_full(play, Mode::Full) {
        Ok(mut lanes) => lanes.remove(0),
        Err(error) => return vec![Frame { failure: Some(error.to_string()), ..Frame::default() }],
    };
    let given = if replays {
        let draws: Vec<Draw> = expected.iter().flat_map(|stepped| stepped.record.draws.iter().copied()).collect();
        pair.backend.append_draws(0, &listed(&draws))
    } else {
        Ok(())
    };
    let observed = given.and_then(|()| pair.backend.play_in_full(play, Mode::Full));
    let (observed, failure) = match observed {
        Ok(mut lanes) => (lanes.remove(0), None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let count = expected.len().max(observed.len());
    let mut sides = (expected.into_iter(), observed.into_iter());
    let mut frames: Vec<Frame> = (0..count)
        .map(|index| Frame {
            reset: index > 0,
            expected: sides.0.next().map(|stepped| stepped.record),
            observed: sides.1.next().map(|stepped| stepped.record),
            ..Frame::default()
        })
        .collect();
    if let (Some(failure), Some(first)) = (failure, frames.first_mut()) {
        first.failure = Some(failure);
        frames.truncate(1);
    }
    frames
}

fn listed(draws: &[Draw]) -> Vec<u32> {
    draws.iter().map(|draw| draw.value as u32).collect()
}
