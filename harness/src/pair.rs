//! A reference and a backend that play the same traces.
//!
//! The pair compares records one by one ([`Pair::check`]), or digests of many lanes at once ([`Pair::advance`]), and
//! turns a backend that dies, hangs or lies into a divergence of that kind.

use crate::compare::{Difference, FieldDifference, Part, Tolerances, compare};
use crate::divergence::{Divergence, RowDifference};
use crate::manifest::{Configuration, Level};
use crate::record::{Draw, Record, split, values};
use crate::side::{LaneStart, Play, Side, SideError, Source, Stepped, Windows};
use crate::trace::Trace;
use lockstep_core::wire::Mode;
use std::sync::Arc;

/// A reference and a backend in the same configuration.
pub struct Pair {
    /// Who is right.
    pub reference: Side,
    /// Who is judged.
    pub backend: Side,
    /// What they play.
    pub configuration: Arc<Configuration>,
    /// Where other bits may stand.
    pub tolerances: Tolerances,
    /// Where other bits may stand after one step from an injected state.
    pub forced: Tolerances,
    /// The reference draws by itself, and the backend replays. Between backends both ask the harness.
    replays: bool,
}

/// What came of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every record agrees.
    Agree,
    /// They differ.
    Diverged(Box<Divergence>),
    /// They differ as the manifest says, by the name of the known divergence.
    Known(String),
}

/// What two sides answered to the same tokens.
enum Played {
    /// The same bytes, so that nothing has to be read but the last record.
    Alike(Box<Record>),
    /// The reference's records and the backend's.
    Read(Vec<Stepped>, Vec<Stepped>),
}

/// Steps after which records are compared before more are played.
const CHUNK_STEPS: usize = 16;

impl Pair {
    /// Two sides that said hello for the same configuration; `forced` holds for one step from an injected state.
    pub fn new(reference: Side, backend: Side, tolerances: Tolerances, forced: Tolerances) -> Self {
        debug_assert_eq!(reference.configuration.hash, backend.configuration.hash);
        let configuration = reference.configuration.clone();
        // A reference beside itself draws by itself on both sides.
        let replays =
            configuration.level == Level::Recorded && reference.role == "reference" && backend.role != "reference";
        Pair { reference, backend, configuration, tolerances, forced, replays }
    }

    /// Whether digests can stand for records.
    pub fn compares_digests(&self) -> bool {
        self.tolerances.is_exact() && self.reference.digest == self.backend.digest
    }

    /// Plays a trace on lane 0 of both sides and compares every record, and the rows of the grain that its note names.
    ///
    /// # Errors
    /// If the reference fails, or the harness asks what it should not.
    pub fn check(&mut self, trace: &Trace) -> Result<Verdict, SideError> {
        let grain = self.configuration.grains.iter().position(|grain| grain.name == trace.note.grain);
        self.check_with_grain(trace, grain)
    }

    /// As [`Pair::check`], comparing the rows of a grain too.
    ///
    /// # Errors
    /// As [`Pair::check`].
    pub fn check_with_grain(&mut self, trace: &Trace, grain: Option<usize>) -> Result<Verdict, SideError> {
        // One step from a given state is what teacher-forced tolerances are about, whoever asks for it.
        let single = trace.state.is_some() && trace.steps() <= 1;
        if !single {
            return self.play_and_compare(trace, grain);
        }
        std::mem::swap(&mut self.tolerances, &mut self.forced);
        let verdict = self.play_and_compare(trace, grain);
        std::mem::swap(&mut self.tolerances, &mut self.forced);
        verdict
    }

    fn play_and_compare(&mut self, trace: &Trace, grain: Option<usize>) -> Result<Verdict, SideError> {
        // A batch backend may leave rows to the readable one, which has them compared with the reference.
        let grain = grain.filter(|_| self.backend.capabilities.grains && self.reference.capabilities.grains);
        let first = match self.start(trace)? {
            Ok((expected, observed)) => {
                if let Some(difference) = self.compare(&expected.record, &observed.record) {
                    return Ok(self.judge(None, false, difference, None, expected, observed));
                }
                expected
            }
            Err(divergence) => return Ok(Verdict::Diverged(divergence)),
        };
        let mut before = first.record;
        let per_step = trace.tokens_per_step;
        let mut done = 0;
        while done < trace.steps() {
            let count = CHUNK_STEPS.min(trace.steps() - done);
            let tokens = &trace.tokens[done * per_step..(done + count) * per_step];
            let play = Play { grain, ..Play::one_lane(&self.configuration, 0, tokens) };
            let (expected, observed) = match self.play_both_in_full(play)? {
                Ok(Played::Alike(last)) => {
                    before = *last;
                    done += count;
                    continue;
                }
                Ok(Played::Read(expected, observed)) => (expected, observed),
                Err(error) => {
                    // Which step of the chunk it was is found by playing them one by one.
                    return self.find_failing_step(trace, done, count, before, error);
                }
            };
            if let Some(verdict) = self.first_difference(done, &mut before, &expected, &observed, grain) {
                return Ok(verdict);
            }
            done += count;
        }
        Ok(Verdict::Agree)
    }

    /// Compares the records of some steps; `before` becomes the last one that agrees.
    fn first_difference(
        &mut self,
        done: usize,
        before: &mut Record,
        expected: &[Stepped],
        observed: &[Stepped],
        grain: Option<usize>,
    ) -> Option<Verdict> {
        for (theirs, ours) in expected.iter().zip(observed) {
            let difference = match grain.filter(|grain| self.rows_may_differ(*grain, theirs, ours)) {
                // What is left of the rows' difference is within their fields' tolerances.
                Some(_) => self.compare(&theirs.record, &Record { rows: theirs.record.rows, ..ours.record.clone() }),
                None => self.compare(&theirs.record, &ours.record),
            };
            if let Some(difference) = difference {
                let after_reset = theirs.record.kind != lockstep_core::HEAD_STEP;
                let step = Some(done + theirs.step);
                let row = grain.and_then(|grain| self.row_difference(grain, &theirs.rows, &ours.rows));
                let mut verdict =
                    self.judge(step, after_reset, difference, Some(before.clone()), theirs.clone(), ours.clone());
                if let Verdict::Diverged(divergence) = &mut verdict {
                    divergence.row = row;
                }
                return Some(verdict);
            }
            *before = theirs.record.clone();
        }
        if expected.len() != observed.len() {
            let theirs = expected.len().to_string();
            let ours = observed.len().to_string();
            let field =
                FieldDifference { label: "records".into(), group: "records".into(), expected: theirs, observed: ours };
            let difference = Difference { part: Part::Ending, fields: vec![field] };
            let last = expected.last().or(observed.last()).expect("one of them has more").clone();
            let step = Some(done + last.step);
            return Some(self.judge(step, true, difference, Some(before.clone()), last.clone(), last));
        }
        None
    }

    fn find_failing_step(
        &mut self,
        trace: &Trace,
        done: usize,
        count: usize,
        before: Record,
        error: SideError,
    ) -> Result<Verdict, SideError> {
        let per_step = trace.tokens_per_step;
        let failed = |step: Option<usize>, error: &SideError, before: Record| {
            Verdict::Diverged(Box::new(Divergence { before: Some(before), ..failure(step, error) }))
        };
        if self.start(trace)?.is_err() {
            return Ok(failed(None, &error, before));
        }
        let mut before = before;
        for step in 0..done + count {
            let tokens = &trace.tokens[step * per_step..(step + 1) * per_step];
            match self.play_both_in_full(Play::one_lane(&self.configuration, 0, tokens))? {
                Ok(Played::Alike(last)) => before = *last,
                Ok(Played::Read(expected, observed)) => {
                    if let Some(verdict) = self.first_difference(step, &mut before, &expected, &observed, None) {
                        return Ok(verdict);
                    }
                }
                Err(error) => return Ok(failed(Some(step), &error, before)),
            }
        }
        // It failed on the chunk and not on its steps: what does not repeat is for the minimizer to label.
        Ok(failed(Some(done + count - 1), &error, before))
    }

    /// Starts lane 0 of both sides; the inner error is the backend's.
    fn start(&mut self, trace: &Trace) -> Result<Result<(Stepped, Stepped), Box<Divergence>>, SideError> {
        let mut start = trace.lane_start(0);
        if let Some(mut injection) = trace.injection(0) {
            let expected = self.reference.inject_in_full(&injection, Mode::Full)?;
            if self.replays {
                injection.start.source = Source::Listed(Vec::new());
                injection.draw_index = 0;
            }
            return match self.backend.inject_in_full(&injection, Mode::Full) {
                Ok(observed) => Ok(Ok((expected, observed))),
                Err(error) => self.backend_failed(None, error).map(Err),
            };
        }
        let expected = self.reference.reset_in_full(&start, Mode::Full)?;
        if self.replays {
            start.source = Source::Listed(listed(&expected.record.draws));
        }
        match self.backend.reset_in_full(&start, Mode::Full) {
            Ok(observed) => Ok(Ok((expected, observed))),
            Err(error) => self.backend_failed(None, error).map(Err),
        }
    }

    /// Plays one lane on both sides; the inner error is the backend's, which is running again.
    fn play_both_in_full(&mut self, play: Play<'_>) -> Result<Result<Played, SideError>, SideError> {
        let settled = self.play_both_unread(play)?;
        if let Ok(true) = settled {
            let last = self.reference.measure_play(play, Mode::Full)?.remove(0);
            let last = Record::parse(&self.configuration, last, false, play.grain.is_some());
            return Ok(Ok(Played::Alike(Box::new(last.expect("it was measured to be a record")))));
        }
        // The reference's first: by one that lies nothing can be judged.
        let mut expected = self.reference.read_play(play, Mode::Full)?;
        match settled.and_then(|_| self.backend.read_play(play, Mode::Full)) {
            Ok(mut observed) => Ok(Ok(Played::Read(expected.remove(0), observed.remove(0)))),
            Err(error) if error.is_behaviour() => {
                self.backend.restart()?;
                Ok(Err(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Plays lanes on both sides and leaves the records unread; says whether their bytes settle that they agree. They
    /// don't where they differ, and where other bits may stand.
    fn play_both_unread(&mut self, play: Play<'_>) -> Result<Result<bool, SideError>, SideError> {
        self.reference.begin_play_in_full(play, Mode::Full)?;
        if self.replays {
            self.reference.finish_play_unread(play)?;
            let expected = self.reference.read_play(play, Mode::Full)?;
            for (lane, records) in (play.lane_first as u32..).zip(&expected) {
                let draws: Vec<Draw> =
                    records.iter().flat_map(|stepped| stepped.record.draws.iter().copied()).collect();
                if let Err(error) = self.backend.append_draws(lane, &listed(&draws)) {
                    return Ok(Err(error));
                }
            }
            if let Err(error) = self.backend.begin_play_in_full(play, Mode::Full) {
                return Ok(Err(error));
            }
        } else {
            let begun = self.backend.begin_play_in_full(play, Mode::Full);
            self.reference.finish_play_unread(play)?;
            if let Err(error) = begun {
                return Ok(Err(error));
            }
        }
        Ok(self
            .backend
            .finish_play_unread(play)
            .map(|()| self.tolerances.is_exact() && self.reference.unread() == self.backend.unread()))
    }

    fn backend_failed(&mut self, step: Option<usize>, error: SideError) -> Result<Box<Divergence>, SideError> {
        // A state that a backend refuses is no difference: it may, as the reference may.
        if !error.is_behaviour() {
            return Err(error);
        }
        self.backend.restart()?;
        Ok(Box::new(failure(step, &error)))
    }

    fn compare(&mut self, expected: &Record, observed: &Record) -> Option<Difference> {
        compare(&self.configuration, &mut self.tolerances, expected, observed)
    }

    fn judge(
        &self,
        step: Option<usize>,
        after_reset: bool,
        difference: Difference,
        before: Option<Record>,
        expected: Stepped,
        observed: Stepped,
    ) -> Verdict {
        let known = self.configuration.known.iter().find(|(known, predicate)| {
            let field = difference.fields.iter().any(|field| field.label == known.field || field.group == known.field);
            field && !is_past(&known.expires) && predicate.holds(&expected.record.view(&self.configuration))
        });
        if let Some((known, _)) = known {
            return Verdict::Known(known.name.clone());
        }
        Verdict::Diverged(Box::new(Divergence {
            backend: self.backend.role.clone(),
            against: self.reference.role.clone(),
            step,
            after_reset,
            difference,
            before,
            expected: Some(expected.record),
            observed: Some(observed.record),
            row: None,
        }))
    }

    fn rows_may_differ(&mut self, grain: usize, expected: &Stepped, observed: &Stepped) -> bool {
        !self.tolerances.is_exact()
            && expected.rows != observed.rows
            && self.tolerances.accepts_rows(&self.configuration.grains[grain].row, &expected.rows, &observed.rows)
    }

    fn row_difference(&mut self, grain: usize, expected: &[u8], observed: &[u8]) -> Option<RowDifference> {
        let configuration = self.configuration.clone();
        let grain = &configuration.grains[grain];
        let size = grain.row.iter().map(|field| field.bytes()).sum::<usize>().max(1);
        let rows = expected.len().max(observed.len()) / size;
        (0..rows).find_map(|row| {
            let theirs = expected.get(row * size..(row + 1) * size);
            let ours = observed.get(row * size..(row + 1) * size);
            let differs = |label: &str, expected: String, observed: String| {
                let label = label.to_owned();
                Some(RowDifference { grain: grain.name.clone(), row, label, expected, observed })
            };
            match (theirs, ours) {
                (Some(theirs), Some(ours)) if theirs == ours => None,
                (Some(theirs), Some(ours)) if self.tolerances.accepts_rows(&grain.row, theirs, ours) => None,
                (Some(theirs), Some(ours)) => {
                    let pairs = split(&grain.row, theirs, false)
                        .flat_map(values)
                        .zip(split(&grain.row, ours, false).flat_map(values));
                    let mut texts = pairs.map(|((label, a), (_, b))| (label, a.to_string(), b.to_string()));
                    let (label, a, b) = texts.find(|(_, a, b)| a != b)?;
                    differs(&label, a, b)
                }
                (Some(_), None) => differs("row", "there".into(), "missing".into()),
                (None, _) => differs("row", "none".into(), "one more".into()),
            }
        })
    }

    /// Starts lanes on both sides. At draw level `recorded` the backend gets what the reference drew.
    ///
    /// # Errors
    /// The outer error is the reference's, the inner one the backend's.
    pub fn reset(&mut self, starts: &[LaneStart]) -> Result<Result<Vec<(u64, u64)>, SideError>, SideError> {
        let expected = self.reference.reset(starts)?;
        let mut starts = starts.to_vec();
        if self.replays {
            for start in &mut starts {
                start.source = Source::Listed(listed(&self.reference.draws(start.lane)?));
            }
        }
        match self.backend.reset(&starts) {
            Ok(observed) => Ok(Ok(expected.into_iter().zip(observed).collect())),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Plays the same tokens on both sides in full, and returns the lanes whose records differ in any byte, rows included.
    ///
    /// # Errors
    /// The outer error is the reference's, the inner one the backend's.
    pub fn advance_in_full(&mut self, play: Play<'_>) -> Result<Result<Vec<usize>, SideError>, SideError> {
        match self.play_both_unread(play)? {
            Ok(true) => {
                self.reference.measure_play(play, Mode::Full)?;
                Ok(Ok(Vec::new()))
            }
            Ok(false) => {
                let expected = self.reference.read_play(play, Mode::Full)?;
                let compare = |observed: Vec<Vec<Stepped>>| {
                    let lanes = expected.iter().zip(&observed).enumerate();
                    lanes.filter(|(_, (theirs, ours))| theirs != ours).map(|(lane, _)| play.lane_first + lane).collect()
                };
                Ok(self.backend.read_play(play, Mode::Full).map(compare))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Plays the same tokens on both sides and returns their digests.
    ///
    /// # Errors
    /// The outer error is the reference's, the inner one the backend's.
    #[expect(clippy::type_complexity, reason = "the outer error is the reference's, the inner the backend's")]
    pub fn advance(&mut self, play: Play<'_>) -> Result<Result<(Vec<Windows>, Vec<Windows>), SideError>, SideError> {
        self.reference.begin_play(play)?;
        if self.replays {
            let expected = self.reference.finish_play(play)?;
            for lane in play.lane_first..play.lane_first + play.lane_count {
                let draws = listed(&self.reference.draws(lane as u32)?);
                if let Err(error) = self.backend.append_draws(lane as u32, &draws) {
                    return Ok(Err(error));
                }
            }
            return Ok(self.backend.play(play).map(|observed| (expected, observed)));
        }
        let begun = self.backend.begin_play(play);
        let expected = self.reference.finish_play(play)?;
        Ok(begun.and_then(|()| self.backend.finish_play(play)).map(|observed| (expected, observed)))
    }
}

/// A side that failed, as a divergence.
pub fn failure(step: Option<usize>, error: &SideError) -> Divergence {
    let field = FieldDifference {
        label: error.kind().to_owned(),
        group: error.kind().to_owned(),
        expected: "an answer".into(),
        observed: error.to_string(),
    };
    Divergence {
        backend: error.role().to_owned(),
        against: "reference".into(),
        step,
        after_reset: false,
        difference: Difference { part: Part::Side, fields: vec![field] },
        before: None,
        expected: None,
        observed: None,
        row: None,
    }
}

fn listed(draws: &[Draw]) -> Vec<u32> {
    draws.iter().map(|draw| draw.value as u32).collect()
}

/// Whether a day `YYYY-MM-DD` is over; the manifest was checked to hold days of this form.
fn is_past(day: &str) -> bool {
    crate::certificate::today().as_str() > day
}
