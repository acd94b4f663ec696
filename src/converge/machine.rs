//! The loop as an explicit state machine: what to do next is a function of the events so far, and of nothing else.
//!
//! [`Machine::next`] says what to do, the caller does it and hands the event that came of it to [`Machine::on`]. Since
//! every event stands in the ledger, a run that was killed anywhere goes on by playing its ledger through a new machine.

use crate::edit::Files;
use crate::ledger::{Blob, Budget, Entry, Event, LedgerError, Started, StopReason};
use crate::plan::Plan;
use crate::prompt::{Pack, Tried, Trouble};
use std::collections::{BTreeMap, BTreeSet};

/// Tiers that judge a module before the whole is judged. Kept traces of the run come first.
const MODULE_TIERS: [&str; 4] = ["traces", "contract", "property", "interaction"];
/// Answers in a row that don't build, after which the best files come back.
const BROKEN_MAX: u32 = 3;
/// Lines of the compiler that a prompt tells of an attempt to be faster.
const BUILD_LINES: usize = 12;
/// Attempts that a prompt tells of.
const TRIED_MAX: usize = 6;

/// What is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The plan itself.
    Plan,
    /// One module, by its place in the plan.
    Module(usize),
    /// A backend as a whole, by its place in the run's list.
    Whole(usize),
    /// How fast a backend is, by its place in the run's list.
    Speed(usize),
    /// A backend on sealed seeds.
    Sealed(usize),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Do {
    /// Ask for the plan.
    AskPlan,
    /// Ask for a module that is not written yet.
    AskWrite(usize),
    /// Ask for a repair of the module, or of the backend.
    AskRepair,
    /// Begin with the plan and the files of another run.
    Take(String),
    /// Ask for a faster version of a backend that agrees.
    AskFaster,
    /// Time a backend that agrees.
    Time(String),
    /// Make a backend no faster: why.
    Enough(String),
    /// Read the plan from an answer.
    ReadPlan(Blob),
    /// Apply the edits of an answer.
    Edit(Blob),
    /// Compile what is there as a library.
    Check(String),
    /// Build a runner of the functions that a module has to be probed.
    BuildProbes(usize),
    /// Play the vectors of a module's functions.
    Probe(usize),
    /// Build the runner for a backend.
    Build(String),
    /// Judge a backend.
    Judge {
        /// The backend.
        backend: String,
        /// The tiers; empty for all.
        tiers: Vec<&'static str>,
        /// On sealed seeds.
        sealed: bool,
    },
    /// Take the best files again.
    GoBack(u32),
    /// Draw a salt for a backend.
    Seal(String),
    /// Write a certificate.
    Certify(String),
    /// Everything is certified.
    Finish,
    /// A limit is reached.
    Stop(StopReason, String),
    /// The run has ended.
    Nothing,
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Ask,
    Read(Blob),
    Build,
    Judge,
    Time,
    GoBack,
    Seal,
    Certify,
    Finish,
    Ended,
}

/// The files that got furthest in the current scope.
#[derive(Debug, Clone)]
struct Best {
    files: Files,
    round: u32,
    score: u32,
    trouble: Option<Trouble>,
    kinds: BTreeSet<String>,
}

/// The fastest version of a backend that agrees in all tiers.
#[derive(Debug, Clone, PartialEq)]
pub struct Fastest {
    /// All files of the run.
    pub files: Files,
    /// The answer that made it.
    pub round: u32,
    /// How fast it is, as the model reads it.
    pub words: String,
}

/// What a run has cost so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Dollars.
    pub usd: f64,
    /// Seconds that the model took.
    pub model_seconds: f64,
    /// Divergences found, by tier.
    pub found: BTreeMap<String, u64>,
}

/// The loop.
pub struct Machine {
    /// What the run began with.
    pub started: Started,
    /// What it may cost.
    pub budget: Budget,
    /// The plan, once it stands.
    pub plan: Option<Plan>,
    /// The files as they stand.
    pub files: Files,
    /// What is worked on.
    pub scope: Scope,
    /// What is wrong with it, for the model.
    pub trouble: Option<Trouble>,
    /// What was tried for it, oldest first.
    pub tried: Vec<Tried>,
    /// Answers so far.
    pub rounds: u32,
    /// What it has cost.
    pub totals: Totals,
    /// Hints of people.
    pub hints: Vec<String>,
    /// Backend, candidate hash, salt and seed of the sealed judgement that runs.
    pub seal: Option<[String; 4]>,
    /// Backends with a certificate for the files as they stand.
    pub certified: Vec<String>,
    /// The fastest version of the backend that is made faster.
    pub fastest: Option<Fastest>,
    phase: Phase,
    written: BTreeSet<usize>,
    /// Backends, by their places, that are made no faster any more.
    fast_enough: BTreeSet<usize>,
    best: Option<Best>,
    changed: Vec<String>,
    attempts: u32,
    idle: u32,
    broken: u32,
}

impl Machine {
    /// The machine of a run that begins.
    pub fn new(started: Started) -> Self {
        Machine {
            budget: started.budget,
            started,
            plan: None,
            files: Files::new(),
            scope: Scope::Plan,
            trouble: None,
            tried: Vec::new(),
            rounds: 0,
            totals: Totals::default(),
            hints: Vec::new(),
            seal: None,
            certified: Vec::new(),
            fastest: None,
            phase: Phase::Ask,
            written: BTreeSet::new(),
            fast_enough: BTreeSet::new(),
            best: None,
            changed: Vec::new(),
            attempts: 0,
            idle: 0,
            broken: 0,
        }
    }

    /// The machine of a run as its ledger leaves it; `None` for a ledger without a beginning.
    ///
    /// # Errors
    /// If a text that the ledger names is gone or was changed.
    pub fn replayed(
        entries: &[Entry],
        blob: &dyn Fn(&str) -> Result<String, LedgerError>,
    ) -> Result<Option<Self>, LedgerError> {
        let Some(Event::Started(started)) = entries.first().map(|entry| &entry.event) else { return Ok(None) };
        let mut machine = Machine::new(started.as_ref().clone());
        for entry in &entries[1..] {
            machine.on(&entry.event, blob)?;
        }
        Ok(Some(machine))
    }

    /// What to do next.
    pub fn next(&self) -> Do {
        match &self.phase {
            Phase::Ask if matches!(self.scope, Scope::Speed(_)) => match self.limit() {
                // What is there agrees: it is certified, whatever the limit is.
                Some(Do::Stop(_, words)) => Do::Enough(words),
                _ if self.attempts >= self.started.optimize => {
                    Do::Enough(format!("{} answers were had", self.attempts))
                }
                _ => Do::AskFaster,
            },
            Phase::Ask => self.limit().unwrap_or(match (self.scope, &self.trouble) {
                (Scope::Plan, None) if self.started.begins_with.is_some() => {
                    Do::Take(self.started.begins_with.clone().unwrap_or_default())
                }
                (Scope::Plan, _) => Do::AskPlan,
                (Scope::Module(module), None) => Do::AskWrite(module),
                _ => Do::AskRepair,
            }),
            Phase::Read(answer) if self.scope == Scope::Plan => Do::ReadPlan(answer.clone()),
            Phase::Read(answer) => Do::Edit(answer.clone()),
            Phase::Build if self.is_partial() => match self.probed() {
                Some(module) => Do::BuildProbes(module),
                None => Do::Check(self.backend()),
            },
            Phase::Build => Do::Build(self.backend()),
            Phase::Judge if self.is_partial() => Do::Probe(self.probed().expect("only a probed part is judged")),
            Phase::Judge => Do::Judge {
                backend: self.backend(),
                tiers: if matches!(self.scope, Scope::Module(_)) { MODULE_TIERS.to_vec() } else { Vec::new() },
                sealed: matches!(self.scope, Scope::Sealed(_)),
            },
            Phase::Time => Do::Time(self.backend()),
            Phase::GoBack => Do::GoBack(match (&self.fastest, &self.best) {
                (Some(fastest), _) => fastest.round,
                (None, best) => best.as_ref().map_or(0, |best| best.round),
            }),
            Phase::Seal => Do::Seal(self.backend()),
            Phase::Certify => Do::Certify(self.backend()),
            Phase::Finish => Do::Finish,
            Phase::Ended => Do::Nothing,
        }
    }

    /// Takes in what happened.
    ///
    /// # Errors
    /// If a text that the event names is gone or was changed.
    pub fn on(&mut self, event: &Event, blob: &dyn Fn(&str) -> Result<String, LedgerError>) -> Result<(), LedgerError> {
        match event {
            Event::Started(_) | Event::Asked { .. } | Event::Stopped { .. } => {}
            Event::Answered { answer, spent, .. } => {
                self.rounds += 1;
                self.attempts += 1;
                self.idle += 1;
                self.totals.input_tokens += spent.input_tokens;
                self.totals.output_tokens += spent.output_tokens;
                self.totals.usd += spent.usd;
                self.totals.model_seconds += spent.seconds;
                self.phase = Phase::Read(answer.clone());
            }
            Event::Lost { spent, .. } => {
                self.totals.input_tokens += spent.input_tokens;
                self.totals.output_tokens += spent.output_tokens;
                self.totals.usd += spent.usd;
            }
            Event::Planned { plan } => {
                self.plan = Some(plan.clone());
                self.enter(Scope::Module(0));
            }
            Event::PlanRefused { why } => {
                self.trouble = Some(Trouble::Plan(why.clone()));
                self.phase = Phase::Ask;
            }
            Event::Edited { changed, problems, files, .. } => {
                self.files = load(files, blob)?;
                self.changed = changed.clone();
                if !changed.is_empty() {
                    self.certified.clear();
                }
                if let Scope::Module(module) = self.scope {
                    self.written.insert(module);
                }
                if problems.is_empty() {
                    self.phase = Phase::Build;
                } else if self.fastest.is_some() {
                    self.remember(format!(
                        "dropped: {} edits did not apply, the first: {}",
                        problems.len(),
                        problems[0]
                    ));
                    self.phase = Phase::GoBack;
                } else {
                    self.remember(format!("{} edits did not apply", problems.len()));
                    self.trouble = Some(Trouble::Edits(problems.clone()));
                    self.phase = Phase::Ask;
                }
            }
            Event::Built { ok: true, .. } => {
                self.broken = 0;
                if self.is_partial() && self.probed().is_none() {
                    self.advance();
                } else if matches!(self.scope, Scope::Speed(_)) && self.fastest.is_none() {
                    self.phase = Phase::Time;
                } else {
                    self.phase = Phase::Judge;
                }
            }
            Event::Built { ok: false, output, .. } => {
                let output = output.as_deref().map_or(Ok(String::new()), blob)?;
                if self.fastest.is_some() {
                    let errors: Vec<&str> = output.lines().take(BUILD_LINES).collect();
                    self.remember(format!("dropped, it did not build:\n{}", errors.join("\n")));
                    self.phase = Phase::GoBack;
                    return Ok(());
                }
                self.remember("it did not build".into());
                self.broken += 1;
                let trouble = Trouble::Build(output);
                if self.best.as_ref().is_some_and(|best| best.score > 0) && self.broken >= BROKEN_MAX {
                    self.phase = Phase::GoBack;
                } else {
                    self.consider(0, BTreeSet::new(), &trouble);
                    self.trouble = Some(trouble);
                    self.phase = Phase::Ask;
                }
            }
            Event::Judged { agrees, rows, found, packs, table, .. } => {
                for one in found {
                    *self.totals.found.entry(one.tier.clone()).or_default() += 1;
                }
                if *agrees {
                    self.agreed();
                } else {
                    let packs = packs.as_deref().map_or(Ok("[]".to_owned()), blob)?;
                    let packs: Vec<Pack> = serde_json::from_str(&packs).unwrap_or_default();
                    let trouble = Trouble::Diverged { packs, table: blob(table)? };
                    let kinds = found.iter().map(|one| one.kind.clone()).collect();
                    let traces_alone = !found.is_empty() && found.iter().all(|one| one.tier == "traces");
                    self.disagreed(*rows, kinds, traces_alone, trouble);
                }
            }
            Event::WentBack { .. } => {
                if let Some(fastest) = &self.fastest {
                    self.files = fastest.files.clone();
                } else if let Some(best) = &self.best {
                    self.files = best.files.clone();
                    self.trouble = best.trouble.clone();
                }
                self.broken = 0;
                self.phase = Phase::Ask;
            }
            Event::Taken { plan, files, .. } => {
                self.plan = Some(plan.clone());
                self.files = load(files, blob)?;
                self.written = (0..plan.modules.len()).collect();
                self.enter(Scope::Whole(0));
            }
            Event::Timed { beside_fastest, kept, words, .. } => {
                let words = blob(words)?;
                if let Some(speed) = beside_fastest {
                    self.idle = 0;
                    let came = if *kept { "kept" } else { "dropped, since that is not faster" };
                    self.remember(format!("it agrees, and its speed is {speed} of the one before: {came}"));
                }
                if *kept {
                    self.fastest = Some(Fastest { files: self.files.clone(), round: self.rounds, words });
                    self.phase = Phase::Ask;
                } else {
                    self.phase = Phase::GoBack;
                }
            }
            Event::FastEnough { .. } => {
                let Scope::Speed(place) = self.scope else { return Ok(()) };
                self.fast_enough.insert(place);
                self.advance();
            }
            Event::Sealed { backend, candidate, salt, seed } => {
                self.seal = Some([backend.clone(), candidate.clone(), salt.clone(), seed.clone()]);
                self.phase = Phase::Build;
            }
            Event::Certified { backend, .. } => {
                self.certified.push(backend.clone());
                let Scope::Sealed(place) = self.scope else { return Ok(()) };
                if place + 1 < self.started.backends.len() {
                    self.enter(Scope::Sealed(place + 1));
                } else {
                    self.phase = Phase::Finish;
                }
            }
            Event::Hint { text } => self.hints.push(blob(text)?),
            Event::EditedByHand { files, .. } => {
                self.files = load(files, blob)?;
                self.certified.clear();
                self.best = None;
                // What a person wrote is judged before anybody is asked again.
                if self.scope != Scope::Plan && !matches!(self.phase, Phase::Ended) {
                    if let Scope::Sealed(place) | Scope::Speed(place) = self.scope {
                        self.scope = Scope::Whole(place);
                        self.fastest = None;
                    }
                    self.phase = Phase::Build;
                }
            }
            Event::Resumed { budget, .. } => {
                self.budget = *budget;
                self.idle = 0;
                self.attempts = 0;
            }
            Event::Finished => self.phase = Phase::Ended,
        }
        Ok(())
    }

    /// Takes the packs of the last judgement with source of the reference in them, which the ledger does not keep.
    pub fn see(&mut self, packs: &[Pack]) {
        let troubles = self.trouble.iter_mut().chain(self.best.iter_mut().filter_map(|best| best.trouble.as_mut()));
        for trouble in troubles {
            if let Trouble::Diverged { packs: kept, .. } = trouble {
                for pack in kept.iter_mut() {
                    if let Some(seen) = packs.iter().find(|seen| seen.stored == pack.stored) {
                        pack.text.clone_from(&seen.text);
                    }
                }
            }
        }
    }

    /// The backend that is worked on; `rust` while there is no plan.
    pub fn backend(&self) -> String {
        let by_place = |place: usize| self.started.backends.get(place).cloned().unwrap_or_default();
        match (self.scope, &self.plan) {
            (Scope::Module(module), Some(plan)) => plan.modules[module].backend.clone(),
            (Scope::Whole(place) | Scope::Speed(place) | Scope::Sealed(place), _) => by_place(place),
            _ => by_place(0),
        }
    }

    /// What is worked on, as the ledger and people name it.
    pub fn scope_name(&self) -> String {
        match (self.scope, &self.plan) {
            (Scope::Module(module), Some(plan)) => format!("module {}", plan.modules[module].name),
            (Scope::Whole(_), _) => format!("whole {}", self.backend()),
            (Scope::Speed(_), _) => format!("speed of {}", self.backend()),
            (Scope::Sealed(_), _) => format!("sealed {}", self.backend()),
            _ => "plan".into(),
        }
    }

    /// The module that a request is about, or the backend as a whole.
    pub fn asked_about(&self) -> String {
        match (self.scope, &self.plan) {
            (Scope::Module(module), Some(plan)) => plan.modules[module].name.clone(),
            (Scope::Plan, _) => "plan".into(),
            _ => self.backend(),
        }
    }

    /// The files that an answer may touch now: those of the module, or of the backend.
    pub fn allowed(&self) -> Vec<String> {
        let Some(plan) = &self.plan else { return Vec::new() };
        match self.scope {
            Scope::Plan => Vec::new(),
            // A later module may show that an earlier one of its backend is wrong.
            _ => {
                let backend = self.backend();
                let upto = if let Scope::Module(module) = self.scope { module + 1 } else { plan.modules.len() };
                let modules = plan.modules[..upto].iter().filter(|module| module.backend == backend);
                modules.flat_map(|module| module.files.clone()).collect()
            }
        }
    }

    /// Whether the current module is not the last one of its backend, so that there is no runner yet.
    fn is_partial(&self) -> bool {
        let (Scope::Module(module), Some(plan)) = (self.scope, &self.plan) else { return false };
        let backend = &plan.modules[module].backend;
        plan.modules[module + 1..].iter().any(|other| other.backend == *backend)
    }

    /// The module that is worked on, if vectors of pure functions judge it.
    fn probed(&self) -> Option<usize> {
        let (Scope::Module(module), Some(plan)) = (self.scope, &self.plan) else { return None };
        (!plan.modules[module].probes().is_empty()).then_some(module)
    }

    fn limit(&self) -> Option<Do> {
        let stop = |reason, words: String| Some(Do::Stop(reason, words));
        let budget = &self.budget;
        if self.rounds >= budget.rounds {
            return stop(StopReason::Budget, format!("{} answers were had, the budget of rounds", self.rounds));
        }
        if self.totals.input_tokens + self.totals.output_tokens >= budget.tokens {
            return stop(StopReason::Budget, "the budget of tokens is spent".into());
        }
        if self.totals.usd >= budget.usd {
            return stop(StopReason::Budget, format!("${:.2} are spent", self.totals.usd));
        }
        if self.attempts >= budget.attempts {
            let words = format!("{} attempts at {}", self.attempts, self.scope_name());
            return stop(StopReason::NoProgress, words);
        }
        if self.idle >= budget.patience {
            let words = format!("{} answers without progress at {}", self.idle, self.scope_name());
            return stop(StopReason::NoProgress, words);
        }
        None
    }

    fn enter(&mut self, scope: Scope) {
        self.scope = scope;
        self.trouble = None;
        self.tried.clear();
        self.best = None;
        self.fastest = None;
        self.attempts = 0;
        self.idle = 0;
        self.broken = 0;
        self.phase = match scope {
            Scope::Module(module) if !self.written.contains(&module) => Phase::Ask,
            Scope::Sealed(_) => Phase::Seal,
            _ => Phase::Build,
        };
    }

    /// The scope is done: on to the next module, the whole, the next backend, or sealed seeds.
    fn advance(&mut self) {
        let Some(plan) = &self.plan else { return };
        let backends = &self.started.backends;
        let next = match self.scope {
            Scope::Plan => Scope::Module(0),
            Scope::Module(module) => {
                let backend = &plan.modules[module].backend;
                let later = plan.modules[module + 1..].iter().position(|other| other.backend == *backend);
                match later {
                    Some(offset) => Scope::Module(module + 1 + offset),
                    None => Scope::Whole(backends.iter().position(|name| name == backend).unwrap_or_default()),
                }
            }
            Scope::Whole(place) => match backends.get(place + 1) {
                Some(backend) => {
                    let mut modules = plan.modules.iter().enumerate();
                    let first = modules.find(|(at, module)| module.backend == *backend && !self.written.contains(at));
                    first.map_or(Scope::Whole(place + 1), |(at, _)| Scope::Module(at))
                }
                None => self.speed_or_sealed(),
            },
            Scope::Speed(_) => self.speed_or_sealed(),
            Scope::Sealed(place) => Scope::Sealed(place),
        };
        self.enter(next);
    }

    /// Where a run goes on in which all backends agree.
    fn speed_or_sealed(&self) -> Scope {
        let mut places = 0..self.started.backends.len();
        let open = places.find(|place| self.started.optimize > 0 && !self.fast_enough.contains(place));
        open.map_or(Scope::Sealed(0), Scope::Speed)
    }

    fn agreed(&mut self) {
        match self.scope {
            Scope::Sealed(_) => self.phase = Phase::Certify,
            Scope::Speed(_) => self.phase = Phase::Time,
            _ => self.advance(),
        }
    }

    fn disagreed(&mut self, rows: u32, kinds: BTreeSet<String>, traces_alone: bool, trouble: Trouble) {
        if let Scope::Sealed(place) = self.scope {
            // Whatever is repaired now is a new candidate: it has to pass everything again, and gets new seeds.
            self.enter(Scope::Whole(place));
        }
        let shown: Vec<&str> = kinds.iter().map(String::as_str).take(3).collect();
        if self.fastest.is_some() {
            self.remember(format!("dropped, it differs in: {}", shown.join("; ")));
            self.phase = Phase::GoBack;
            return;
        }
        self.remember(format!("{rows} rows agree; it differs in: {}", shown.join("; ")));
        // A trace of an earlier round comes before everything else. That it still differs does not make an answer worse
        // than the one that it was found in, which would fail on it too.
        let known = self.best.as_ref().filter(|_| traces_alone).map(|best| best.score);
        let score = known.unwrap_or(1 + rows);
        if self.best.as_ref().is_some_and(|best| score < best.score) {
            self.phase = Phase::GoBack;
            return;
        }
        // What the trace hides is not known, so the kinds that were found with it stand.
        let kinds =
            if known.is_some() { self.best.as_ref().map(|best| best.kinds.clone()).unwrap_or_default() } else { kinds };
        self.consider(score, kinds, &trouble);
        self.trouble = Some(trouble);
        self.phase = Phase::Ask;
    }

    /// Keeps the files as the best ones where they are no worse. More rows, or divergences that were there and are gone,
    /// are progress.
    fn consider(&mut self, score: u32, kinds: BTreeSet<String>, trouble: &Trouble) {
        let (kept, progress) = match &self.best {
            None => (true, false),
            Some(best) if score > best.score => (true, true),
            Some(best) if score == best.score => (true, best.kinds.iter().any(|kind| !kinds.contains(kind))),
            Some(_) => (false, false),
        };
        if progress {
            self.idle = 0;
        }
        if kept {
            let (files, round) = (self.files.clone(), self.rounds);
            self.best = Some(Best { files, round, score, trouble: Some(trouble.clone()), kinds });
        }
    }

    fn remember(&mut self, result: String) {
        let what = if self.changed.is_empty() { "nothing changed".into() } else { self.changed.join(", ") };
        self.tried.push(Tried { round: self.rounds, what, result });
        if self.tried.len() > TRIED_MAX {
            self.tried.remove(0);
        }
    }
}

fn load(
    files: &BTreeMap<String, Blob>,
    blob: &dyn Fn(&str) -> Result<String, LedgerError>,
) -> Result<Files, LedgerError> {
    files.iter().map(|(path, name)| Ok((path.clone(), blob(name)?))).collect()
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
