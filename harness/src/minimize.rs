//! Shrinks a trace that diverges to the shortest one that still diverges in the same way.
//!
//! Everything is priced in *reference steps*, because the reference is the slow side: the cheap attempts that remove most
//! come first, each result is remembered, and the search ends when its budget is spent. The kind of the divergence
//! must stay the same, so that the search does not slip from one bug to another.

use crate::divergence::Divergence;
use crate::manifest::{Action, Configuration, Level};
use crate::pair::{Pair, Verdict};
use crate::side::{Play, SideError, Source};
use crate::trace::{StartState, Trace};
use lockstep_core::wire::Mode;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Reference steps that a search may cost by default.
pub const BUDGET_STEPS: u64 = 1_000;

/// Times that a minimal trace must diverge before it is not called flaky.
const CONFIRMATIONS: usize = 3;

/// How long a search waits for a side that hangs or dies, in sum: a side that never answers costs its deadline each time.
const LOST_MAX: Duration = Duration::from_secs(15);

/// A trace that was shrunk.
#[derive(Debug, Clone)]
pub struct Minimized {
    /// The shortest trace from a reset.
    pub trace: Trace,
    /// What it shows.
    pub divergence: Box<Divergence>,
    /// Steps of the trace before.
    pub from_steps: usize,
    /// Reference steps that the search cost.
    pub reference_steps: u64,
    /// The same divergence within two steps from an injected state, if it can be had.
    pub short: Result<Short, String>,
    /// It did not diverge three times out of three.
    pub flaky: bool,
}

/// A trace of at most two steps from an injected state.
#[derive(Debug, Clone)]
pub struct Short {
    /// The trace.
    pub trace: Trace,
    /// What it shows.
    pub divergence: Box<Divergence>,
}

/// Shrinks `trace`, which shows `divergence`.
///
/// # Errors
/// If the reference fails.
pub fn minimize(
    pair: &mut Pair,
    trace: &Trace,
    divergence: Box<Divergence>,
    budget_steps: u64,
) -> Result<Minimized, SideError> {
    let from_steps = trace.steps();
    let spent_before = pair.reference.steps_played;
    let kind = divergence.kind();
    let best = trace.truncated(divergence.steps_needed());
    let mut search = Search {
        pair,
        kind,
        best,
        divergence,
        limit: spent_before + budget_steps,
        lost: Duration::ZERO,
        seen: HashSet::new(),
        noise: 1,
    };
    // The short repro costs a few steps and tells the most, so it is made while there is budget for certain.
    let (began, fails) = (Instant::now(), search.divergence.is_failure());
    let mut short = search.teleport()?;
    if fails {
        search.lost += began.elapsed();
    }
    search.lower_everything()?;
    search.delete_chunks()?;
    search.lower_chunks()?;
    search.simplify_start()?;
    search.simplify_state()?;
    search.delete_chunks()?;
    search.rewrite()?;
    if search.best.state.is_some() && search.best.steps() <= 2 {
        // A trace that starts in a state and is this short is its own short repro.
        short = Ok(Short { trace: search.best.clone(), divergence: search.divergence.clone() });
    }
    let (trace, mut divergence, kind) = (search.best, search.divergence, search.kind);
    let mut flaky = false;
    let confirmations = if search.lost > LOST_MAX { 1 } else { CONFIRMATIONS };
    for _ in 0..confirmations {
        match pair.check(&trace)? {
            Verdict::Diverged(again) if again.kind() == kind => divergence = again,
            _ => flaky = true,
        }
    }
    localize_row(pair, &trace, &mut divergence)?;
    let reference_steps = pair.reference.steps_played - spent_before;
    Ok(Minimized { trace, divergence, from_steps, reference_steps, short, flaky })
}

/// Finds the first row that differs, in the first grain that shows one.
fn localize_row(pair: &mut Pair, trace: &Trace, divergence: &mut Divergence) -> Result<(), SideError> {
    if divergence.row.is_some() || divergence.is_failure() {
        return Ok(());
    }
    for grain in 0..pair.configuration.grains.len() {
        if let Verdict::Diverged(fine) = pair.check_with_grain(trace, Some(grain))?
            && fine.step == divergence.step
            && fine.row.is_some()
        {
            divergence.row = fine.row;
            return Ok(());
        }
    }
    Ok(())
}

struct Search<'a> {
    pair: &'a mut Pair,
    kind: String,
    best: Trace,
    divergence: Box<Divergence>,
    limit: u64,
    /// Time that went by until a side failed.
    lost: Duration,
    seen: HashSet<String>,
    noise: u64,
}

impl Search<'_> {
    /// Plays an attempt; if it still diverges in the same way and is simpler, it becomes the best.
    fn attempt(&mut self, trace: Trace) -> Result<bool, SideError> {
        if !self.affords(trace.steps()) || !self.seen.insert(key(&trace)) {
            return Ok(false);
        }
        let began = Instant::now();
        let verdict = self.pair.check(&trace);
        if matches!(&verdict, Ok(Verdict::Diverged(divergence)) if divergence.is_failure()) {
            self.lost += began.elapsed();
        }
        match verdict {
            Ok(Verdict::Diverged(divergence)) if divergence.kind() == self.kind => {
                self.best = trace.truncated(divergence.steps_needed());
                self.divergence = divergence;
                Ok(true)
            }
            Ok(_) => Ok(false),
            // A trace that the reference does not take is not a shorter one.
            Err(SideError::BadRequest { .. } | SideError::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn lower_everything(&mut self) -> Result<(), SideError> {
        let mut trace = self.best.clone();
        trace.tokens.fill(0);
        self.attempt(trace)?;
        Ok(())
    }

    /// Deletes chunks of steps, from the back to the front, half as long each time.
    fn delete_chunks(&mut self) -> Result<(), SideError> {
        let per_step = self.best.tokens_per_step;
        let mut size = (self.best.steps() / 2).max(1);
        loop {
            let mut end = self.best.steps();
            while end > 0 {
                let from = end.saturating_sub(size);
                let mut trace = self.best.clone();
                trace.tokens.drain(from * per_step..end * per_step);
                let kept = self.attempt(trace)?;
                end = if kept { from.min(self.best.steps()) } else { from };
            }
            if size == 1 || self.is_spent() {
                return Ok(());
            }
            size /= 2;
        }
    }

    /// Makes tokens simpler: whole chunks to 0 first, then single ones to the smallest that will do.
    fn lower_chunks(&mut self) -> Result<(), SideError> {
        let mut size = (self.best.tokens.len() / 2).max(1);
        loop {
            let mut from = 0;
            while from < self.best.tokens.len() {
                let to = (from + size).min(self.best.tokens.len());
                if self.best.tokens[from..to].iter().any(|token| *token != 0) {
                    let mut trace = self.best.clone();
                    trace.tokens[from..to].fill(0);
                    self.attempt(trace)?;
                }
                from += size;
            }
            if size == 1 || self.is_spent() {
                break;
            }
            size /= 2;
        }
        for index in 0..self.best.tokens.len() {
            let Some(&token) = self.best.tokens.get(index) else { break };
            for simpler in simpler_tokens(&self.pair.configuration, token) {
                let mut trace = self.best.clone();
                trace.tokens[index] = simpler;
                if self.attempt(trace)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Seeds to 0, and the random numbers themselves to the simplest list that will do.
    fn simplify_start(&mut self) -> Result<(), SideError> {
        if self.best.seed != 0 || self.best.stream != 0 {
            let mut trace = self.best.clone();
            (trace.seed, trace.stream) = (0, 0);
            self.attempt(trace)?;
        }
        if self.pair.configuration.level != Level::Served {
            return Ok(());
        }
        let drawn = self.draws_made()?;
        if drawn.is_empty() || self.best.draws == Source::Listed(vec![]) {
            return Ok(());
        }
        let mut trace = self.best.clone();
        trace.draws = Source::Listed(vec![]);
        if let Some(state) = &mut trace.state {
            state.draw_index = 0;
        }
        if self.attempt(trace)? {
            return Ok(());
        }
        let mut trace = self.best.clone();
        trace.draws = Source::Listed(drawn);
        if let Some(state) = &mut trace.state {
            state.draw_index = 0;
        }
        if !self.attempt(trace)? {
            return Ok(());
        }
        let mut index = 0;
        while let Source::Listed(values) = &self.best.draws {
            if index >= values.len() {
                break;
            }
            let mut lowered = values.clone();
            lowered[index] = 0;
            while lowered.last() == Some(&0) {
                lowered.pop();
            }
            if lowered != *values {
                let mut trace = self.best.clone();
                trace.draws = Source::Listed(lowered);
                self.attempt(trace)?;
            }
            index += 1;
        }
        Ok(())
    }

    /// The fields of a state that a trace starts from, back to what they are after a reset, where that will do.
    fn simplify_state(&mut self) -> Result<(), SideError> {
        let Some(state) = self.best.state.clone() else { return Ok(()) };
        let configuration = self.pair.configuration.clone();
        let plain = self.pair.reference.reset_in_full(&self.best.lane_start(0), Mode::State)?.record;
        let mut everything = self.best.clone();
        everything.state = Some(StartState { state: plain.canonical.clone(), ..state });
        if self.attempt(everything)? {
            return Ok(());
        }
        let mut offset = 0;
        for field in &configuration.canonical {
            let range = offset..offset + field.state_bytes();
            offset = range.end;
            let mut trace = self.best.clone();
            let Some(state) = &mut trace.state else { return Ok(()) };
            if state.state[range.clone()] != plain.canonical[range.clone()] {
                state.state[range.clone()].copy_from_slice(&plain.canonical[range]);
                self.attempt(trace)?;
            }
        }
        Ok(())
    }

    /// The random numbers that the best trace uses.
    fn draws_made(&mut self) -> Result<Vec<u32>, SideError> {
        if !self.affords(self.best.steps()) {
            return Ok(vec![]);
        }
        let start = match self.best.injection(0) {
            Some(injection) => self.pair.reference.inject_in_full(&injection, Mode::Full)?,
            None => self.pair.reference.reset_in_full(&self.best.lane_start(0), Mode::Full)?,
        };
        let play = Play::one_lane(&self.pair.configuration, 0, &self.best.tokens);
        let records = self.pair.reference.play_in_full(play, Mode::Full)?.remove(0);
        let all = std::iter::once(start).chain(records);
        Ok(all.flat_map(|stepped| stepped.record.draws).map(|draw| draw.value as u32).collect())
    }

    /// Random shorter and simpler traces, while there is budget.
    fn rewrite(&mut self) -> Result<(), SideError> {
        let mut misses = 0;
        while !self.is_spent() && self.best.steps() > 1 && misses < 200 {
            let per_step = self.best.tokens_per_step;
            let steps = self.best.steps();
            let mut trace = self.best.clone();
            let removed = 1 + self.random(2.min(steps as u64 - 1)) as usize;
            for _ in 0..removed {
                let at = self.random(trace.steps() as u64) as usize;
                trace.tokens.drain(at * per_step..(at + 1) * per_step);
            }
            if trace.tokens.is_empty() {
                break;
            }
            let at = self.random(trace.tokens.len() as u64) as usize;
            trace.tokens[at] = self.random(8) as u32;
            if self.attempt(trace)? { misses = 0 } else { misses += 1 }
        }
        Ok(())
    }

    /// The same divergence from the reference's state one or two steps before it.
    fn teleport(&mut self) -> Result<Result<Short, String>, SideError> {
        let Some(step) = self.divergence.step else { return Ok(Err("it shows at the start".into())) };
        for (side, capability) in [
            (&self.pair.reference.role, &self.pair.reference.capabilities.inject),
            (&self.pair.backend.role, &self.pair.backend.capabilities.inject),
        ] {
            if capability != "full" {
                return Ok(Err(format!("{side} can't be injected ({capability})")));
            }
        }
        let configuration = self.pair.configuration.clone();
        for back in 1..=2 {
            if step + 1 < back {
                break;
            }
            let from = step + 1 - back;
            let Some(mut trace) = self.state_after(&configuration, from)? else { continue };
            let per_step = trace.tokens_per_step;
            trace.tokens = self.best.tokens[from * per_step..(step + 1) * per_step].to_vec();
            match self.pair.check(&trace) {
                Ok(Verdict::Diverged(divergence)) if divergence.kind() == self.kind => {
                    return Ok(Ok(Short { trace, divergence }));
                }
                Ok(_) => {}
                Err(SideError::Refused { role, message, .. }) => {
                    return Ok(Err(format!("{role} refuses the injected state: {message}")));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Err("it does not show within two steps of an injected state: look for state that canonical does not hold"
            .into()))
    }

    /// A trace without tokens that starts in the reference's state after `steps` steps of the best trace.
    fn state_after(&mut self, configuration: &Configuration, steps: usize) -> Result<Option<Trace>, SideError> {
        let start = self.pair.reference.reset_in_full(&self.best.lane_start(0), Mode::State);
        let mut last = match self.pair.configuration.level {
            _ if self.best.state.is_some() => return Ok(None),
            _ => start?,
        };
        let per_step = self.best.tokens_per_step;
        let mut trace = self.best.clone();
        let (mut elapsed, mut draw_index, mut episode) = (0u32, last.record.draws.len() as u32, self.best.episode);
        let listed = matches!(self.best.draws, Source::Listed(_));
        let tokens = self.best.tokens[..steps * per_step].to_vec();
        let records = match steps {
            0 => vec![],
            _ => {
                let play = Play::one_lane(configuration, 0, &tokens);
                self.pair.reference.play_in_full(play, Mode::State)?.remove(0)
            }
        };
        for stepped in records {
            let record = &stepped.record;
            draw_index += record.draws.len() as u32;
            if record.kind == lockstep_core::HEAD_STEP {
                elapsed += 1;
            }
            if record.ended() {
                episode += 1;
                elapsed = 0;
                if !listed {
                    draw_index = 0;
                }
            }
            last = stepped;
        }
        trace.episode = episode;
        trace.state = Some(StartState {
            elapsed,
            draw_index,
            state: last.record.canonical.clone(),
            observations: last.record.observations.clone(),
        });
        trace.tokens.clear();
        Ok(Some(trace))
    }

    /// Whether there is budget for so many steps, and after them for confirming the result and finding its row.
    fn affords(&self, steps: usize) -> bool {
        let after = self.best.steps() * (CONFIRMATIONS + self.pair.configuration.grains.len());
        self.lost <= LOST_MAX && self.pair.reference.steps_played + (steps + after) as u64 <= self.limit
    }

    fn is_spent(&self) -> bool {
        !self.affords(1)
    }

    /// A small number, the same in every run: the search itself must repeat.
    fn random(&mut self, below: u64) -> u64 {
        self.noise = self.noise.wrapping_add(1);
        u64::from(lockstep_core::draw_word(0, 0, 0, self.noise as u32)) % below.max(1)
    }
}

fn key(trace: &Trace) -> String {
    trace.id() + &format!("{:?}", trace.tokens)
}

/// Simpler tokens to try, simplest first.
fn simpler_tokens(configuration: &Configuration, token: u32) -> Vec<u32> {
    match &configuration.action {
        Action::Discrete { names, .. } => {
            let count = names.len() as u32;
            (0..count.min(8)).chain([token % count]).filter(|simpler| *simpler < token).collect()
        }
        Action::Continuous { low, high } => {
            let token_of = |value: f32| value.to_bits().rotate_left(1);
            let nice = [0.0, *high, *low, (f32::from_bits(token.rotate_right(1)) * 4.0).round() / 4.0];
            nice.into_iter()
                .map(token_of)
                .filter(|simpler| *simpler != token && simpler.count_ones() < token.count_ones())
                .collect()
        }
    }
}
