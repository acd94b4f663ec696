//! The stage that makes verified backends faster: what a model reads of a backend's speed, and which answer is kept.
//!
//! The clock is read from outside, while the candidate and the fastest version before it play the same tokens and every
//! digest is compared ([`lockstep_harness::race`]). What a candidate says of itself counts for nothing.

use super::machine::Machine;
use super::run::Loop;
use crate::exit::Failure;
use crate::ledger::{Blob, Event, StopReason};
use crate::run_dir::{Outcome, Run, find};
use crate::workshop::{Built, WorkshopError};
use lockstep_harness::compare::Tolerances;
use lockstep_harness::manifest::Configuration;
use lockstep_harness::pair::Pair;
use lockstep_harness::race::{Speed, Unraced, race};
use lockstep_harness::reference::cache_folder;
use lockstep_harness::side::{Side, SideError, Terms};
use lockstep_harness::sides::{Processes, Sides};
use lockstep_harness::watch::Watch;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

/// Lanes of a race, as many as tell an inner loop from the start of a frame.
const LANES: usize = 64;
/// Runs of a race: five, as every measurement here has at least.
const RUNS: u32 = 5;
/// Bytes that are copied to see how fast memory is: they stay in the cache, as the states of [`LANES`] lanes do.
const COPIED_BYTES: usize = 64 * 1024;

impl Loop<'_> {
    /// Takes plan and files from the run that this one begins with.
    pub(super) fn take_run(&mut self, name: &str) -> Result<Event, Failure> {
        if let Some(recorded) = &self.recorded {
            let taken = recorded.entries.iter().find(|entry| matches!(entry.event, Event::Taken { .. }));
            let Some(Event::Taken { run, plan, files }) = taken.map(|entry| entry.event.clone()) else {
                return Err(Failure::usage(format!("the recording does not hold what it took from run {name}")));
            };
            let folder = recorded.folder.clone();
            for blob in files.values() {
                self.ledger.keep(&crate::ledger::blob(&folder, blob)?)?;
            }
            return Ok(Event::Taken { run, plan, files });
        }
        let run = Run::read(&find(&self.project.manifest, name)?)?;
        let (plan, files) = ended(&run)?;
        let mut blobs: BTreeMap<String, Blob> = BTreeMap::new();
        for (path, text) in &files {
            blobs.insert(path.clone(), self.ledger.keep(text)?);
        }
        self.say(&format!("taken     plan and files of run {name}"));
        Ok(Event::Taken { run: name.to_owned(), plan, files: blobs })
    }

    /// Times the backend as it stands.
    pub(super) fn time(&mut self, backend: &str) -> Result<Event, Failure> {
        if let Some(event) = self.timed_then() {
            return Ok(event);
        }
        let Some(now) = self.built.clone() else { return self.build(backend) };
        let stopped = || Event::Stopped { reason: StopReason::Interrupted, words: "stopped by Ctrl-C".into() };
        let fastest = match (&self.machine.fastest, self.fastest_built.clone()) {
            (None, _) => None,
            (Some(_), Some(built)) => Some(built),
            // A resumed run has the ledger's word for it, and no runner.
            (Some(fastest), None) => match self.workshop.build(&fastest.files.clone(), backend, &self.stop) {
                Ok(built) => {
                    self.workshop.build(&self.machine.files, backend, &self.stop)?;
                    Some(built)
                }
                Err(WorkshopError::Stopped) => return Ok(stopped()),
                Err(error) => return Err(error.into()),
            },
        };
        self.progress.begin(&format!("timing {backend}"), 0);
        let raced = self.races(backend, fastest.as_ref(), &now);
        self.progress.end();
        if self.stop.asked() {
            return Ok(stopped());
        }
        let (beside_fastest, beside_reference) = match raced {
            Ok(both) => both,
            Err(error) if error.role() == "reference" => {
                return Ok(self.reference_failed(&error));
            }
            Err(error) => return Err(Failure::usage(format!("{backend} can't be timed: {error}"))),
        };
        let said = match (&beside_fastest, &beside_reference) {
            (Some(Ok(speed)), _) => format!("{speed} of the version before"),
            (None, Some(Ok(speed))) => format!("{speed} of the reference, in lockstep"),
            (Some(Err(why)), _) | (None, Some(Err(why))) => format!("not timed, {why}"),
            (None, None) => "beside nothing".into(),
        };
        let kept = keeps(beside_fastest.as_ref());
        self.say(&format!("timed     {backend}: {said}{}", if kept { "" } else { "; dropped" }));
        let words = match (&self.machine.fastest, kept) {
            (Some(fastest), false) => fastest.words.clone(),
            _ => self.words(backend, &now, beside_reference.as_ref()),
        };
        if kept {
            self.fastest_built = Some(now);
        }
        Ok(Event::Timed {
            backend: backend.to_owned(),
            beside_fastest: beside_fastest.and_then(Result::ok),
            beside_reference: beside_reference.and_then(Result::ok),
            kept,
            words: self.ledger.keep(&words)?,
        })
    }

    /// The race beside the fastest version before, if there is one, and beside the reference, if this version is kept.
    fn races(
        &self,
        backend: &str,
        fastest: Option<&Built>,
        now: &Built,
    ) -> Result<(Option<Raced>, Option<Raced>), SideError> {
        let beside_fastest = match fastest {
            Some(fastest) => Some(self.race(self.open(backend, fastest)?, self.open(backend, now)?)?),
            None => None,
        };
        let kept = keeps(beside_fastest.as_ref());
        let beside_reference = if kept { Some(self.beside_reference(backend, now)?) } else { None };
        Ok((beside_fastest, beside_reference))
    }

    /// In a replay: what was measured then. Another machine, or another hour, may find another version faster, and the
    /// answers that follow were given to the version that was kept.
    fn timed_then(&self) -> Option<Event> {
        let recorded = self.recorded.as_ref()?;
        let already = self.ledger.entries.iter().filter(|entry| matches!(entry.event, Event::Timed { .. })).count();
        let mut timed = recorded.entries.iter().filter(|entry| matches!(entry.event, Event::Timed { .. }));
        let event = timed.nth(already)?.event.clone();
        if let Event::Timed { words, .. } = &event {
            self.ledger.keep(&crate::ledger::blob(&recorded.folder, words).ok()?).ok()?;
        }
        Some(event)
    }

    fn terms(&self) -> Terms {
        let mut terms = Terms::new(LANES);
        terms.deadline = self.deadline;
        terms
    }

    /// A candidate, with the lanes of a race.
    pub(super) fn open(&self, backend: &str, built: &Built) -> Result<Side, SideError> {
        self.processes(built).backend(backend, self.configuration(), self.terms())
    }

    fn beside_reference(&self, backend: &str, now: &Built) -> Result<Raced, SideError> {
        let sides = self.processes(now);
        let mut terms = self.terms();
        let reference = sides.reference(self.configuration(), terms.clone())?;
        terms.digests = vec![reference.digest.name()];
        terms.named = reference.capabilities.draw_sites;
        let backend = sides.backend(backend, self.configuration(), terms)?;
        let mode = lockstep_harness::manifest::ToleranceMode::FreeRunning;
        let tolerances = Tolerances::select(&self.configuration(), &backend.role, sides.setting(), "rollout", mode);
        if !tolerances.is_exact() {
            return Ok(Err(Unraced::Differ("the manifest lets some fields differ, and digests can't".into())));
        }
        self.race(reference, backend)
    }

    fn race(&self, before: Side, now: Side) -> Result<Raced, SideError> {
        let mut pair = Pair::new(before, now, Tolerances::default(), Tolerances::default());
        race(&mut pair, self.machine.started.seed, RUNS, &self.stop)
    }

    fn configuration(&self) -> Arc<Configuration> {
        let configuration = self.project.manifest.configuration("default");
        Arc::new(configuration.expect("every manifest has a default configuration").clone())
    }

    fn processes(&self, built: &Built) -> Processes {
        self.workshop.sides(built, self.prepared.command.clone(), cache_folder().join("logs"), self.deadline)
    }

    /// What a model reads: how fast it is, and how far from what memory allows.
    fn words(&self, backend: &str, now: &Built, beside_reference: Option<&Raced>) -> String {
        let mut text = String::new();
        match beside_reference {
            Some(Ok(speed)) => {
                let configuration = self.configuration();
                let bytes = configuration.canonical_bytes() + configuration.observation_bytes();
                let floor = bytes as f64 * nanoseconds_a_byte();
                let _ = writeln!(
                    text,
                    "`{backend}` beside the reference: {speed}. {LANES} lanes, one core, CPU time of both processes, with what \
                     answering the judge costs (records and digests).\nfloor: a step tells {bytes} bytes of state and \
                     observation. Copying that many takes this machine a {:.0}th of the time that a step takes.",
                    (speed.nanoseconds / floor).max(1.0),
                );
            }
            Some(Err(why)) => {
                let _ = writeln!(text, "`{backend}` could not be timed beside the reference: {why}");
            }
            None => {}
        }
        match self.profile(backend, now) {
            Some(profile) => {
                let _ = writeln!(
                    text,
                    "profile: shares of the CPU time by function; what was inlined counts for the function that it is in\n{profile}"
                );
            }
            None => text += "profile: none, `perf` is not on this machine or may not be used\n",
        }
        text
    }
}

/// What came of a race.
type Raced = Result<Speed, Unraced>;

/// Whether a version is kept, by its race beside the fastest one before: the first of all always is.
fn keeps(beside_fastest: Option<&Raced>) -> bool {
    beside_fastest.is_none_or(|raced| raced.as_ref().is_ok_and(Speed::is_faster))
}

/// Plan and files of a run that has converged.
fn ended(run: &Run) -> Result<(crate::plan::Plan, crate::edit::Files), Failure> {
    let name = &run.started.run;
    if run.outcome() != Outcome::Converged {
        return Err(Failure::usage(format!(
            "run {name} has not converged, so there is nothing to begin with\n(hint: `lockstep resume` goes on with it)"
        )));
    }
    let machine = Machine::replayed(&run.entries, &|blob| {
        let path = run.folder.join("blobs").join(blob);
        std::fs::read_to_string(&path).map_err(|source| crate::ledger::LedgerError::Io { path, source })
    })?;
    let machine = machine.ok_or_else(|| Failure::usage(format!("run {name} never began")))?;
    let plan = machine.plan.ok_or_else(|| Failure::usage(format!("run {name} has no plan")))?;
    Ok((plan, machine.files))
}

/// How long a copy takes in this machine's cache, a byte, read and written.
fn nanoseconds_a_byte() -> f64 {
    let (from, mut to) = (vec![1u8; COPIED_BYTES], vec![0u8; COPIED_BYTES]);
    let times = (0..9).map(|_| {
        let began = Instant::now();
        for _ in 0..64 {
            black_box(&mut to).copy_from_slice(black_box(&from));
        }
        began.elapsed().as_nanos() as f64 / (64 * COPIED_BYTES) as f64
    });
    times.fold(f64::MAX, f64::min)
}
