//! Does what the machine says, and writes what came of it into the ledger, one event at a time.

use super::judge::{Judgement, judge, probe};
use super::machine::{Do, Machine, Scope};
use super::money::Money;
use crate::agent::{Agent, AgentError, Request, Role, tokens};
use crate::edit;
use crate::exit::{Exit, Failure};
use crate::ledger::{Budget, Event, Ledger, StopReason};
use crate::plan::{Module, Plan};
use crate::project::Project;
use crate::prompt::{self, Context, Executed, Prompt, SourceFile, Trouble};
use crate::run_dir::Run;
use crate::terminal::Progress;
use crate::workshop::{Built, Workshop, WorkshopError};
use lockstep_harness::certificate::{Certificate, ReferenceRow, Sealed, seal, sealed_seed, today};
use lockstep_harness::reference::{Prepared, Reference, cache_folder};
use lockstep_harness::report::thousands;
use lockstep_harness::side::{CommandLine, SideError};
use lockstep_harness::sides::Processes;
use lockstep_harness::watch::{Stop, Watch};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Tokens that an answer may have.
const OUTPUT_TOKENS_MAX: u64 = 32_000;
/// An answer with fewer tokens than this could not hold a module.
const OUTPUT_TOKENS_MIN: u64 = 4_000;

/// A run that goes on.
pub struct Loop<'a> {
    /// The environment.
    pub project: &'a Project,
    /// Its reference.
    pub reference: Reference,
    /// The reference, ready to start.
    pub prepared: Prepared,
    /// Who answers.
    pub agent: Box<dyn Agent>,
    /// Where candidates are built.
    pub workshop: Workshop,
    /// What happened so far.
    pub ledger: Ledger,
    /// What to do next.
    pub machine: Machine,
    /// What tokens cost.
    pub money: Money,
    /// How long one request to a side may take.
    pub deadline: Duration,
    /// Who listens.
    pub progress: Progress,
    /// Whether to stop.
    pub stop: Stop,
    /// Lines of the reference that ran, where its source is too long to stand in a request whole.
    pub executed: Option<Executed>,
    /// The runner of the files as they stand.
    pub built: Option<Built>,
    /// The reference's source, as far as a model may read it.
    pub sources: Vec<SourceFile>,
    /// The runner of the fastest version.
    pub fastest_built: Option<Built>,
    /// The run whose answers are played again.
    pub recorded: Option<Run>,
    /// What the last judgement amounts to.
    pub judged: Option<Judgement>,
    /// When this process began to work on the run.
    pub began: Instant,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ended {
    /// Every backend is certified.
    Converged,
    /// It stopped and can be resumed.
    Stopped(StopReason, String),
}

impl Ended {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Ended::Converged => Exit::Agree,
            Ended::Stopped(StopReason::Interrupted, _) => Exit::Stopped,
            Ended::Stopped(StopReason::Budget, _) => Exit::Budget,
            Ended::Stopped(StopReason::NoProgress, _) => Exit::Diverged,
            Ended::Stopped(StopReason::Agent, _) => Exit::Usage,
            Ended::Stopped(StopReason::Reference, _) => Exit::ReferenceUnavailable,
        }
    }
}

impl Loop<'_> {
    /// Goes on until the run converged or stopped.
    ///
    /// # Errors
    /// If the ledger can't be written, or the machine that candidates are built on is not fit.
    pub fn drive(&mut self) -> Result<Ended, Failure> {
        loop {
            let todo = if self.stop.asked() {
                Do::Stop(StopReason::Interrupted, "stopped by Ctrl-C".into())
            } else {
                self.machine.next()
            };
            match todo {
                Do::Nothing => return Ok(Ended::Converged),
                Do::Stop(reason, words) => {
                    self.record(Event::Stopped { reason, words: words.clone() })?;
                    return Ok(Ended::Stopped(reason, words));
                }
                todo => {
                    let event = self.perform(todo)?;
                    let stopped = match &event {
                        Event::Stopped { reason, words } => Some(Ended::Stopped(*reason, words.clone())),
                        _ => None,
                    };
                    self.record(event)?;
                    if let Some(ended) = stopped {
                        return Ok(ended);
                    }
                }
            }
        }
    }

    /// Appends an event and hands it to the machine.
    fn record(&mut self, event: Event) -> Result<(), Failure> {
        self.ledger.append(event.clone())?;
        let ledger = &self.ledger;
        self.machine.on(&event, &|name| ledger.blob(name))?;
        if let (Event::Judged { agrees: false, .. }, Some(judgement)) = (&event, &self.judged) {
            self.machine.see(&judgement.packs);
        }
        Ok(())
    }

    fn perform(&mut self, todo: Do) -> Result<Event, Failure> {
        match todo {
            Do::AskPlan => self.ask(if self.machine.trouble.is_some() { Role::Repair } else { Role::Plan }),
            Do::AskWrite(_) => {
                let create = self.machine.started.workflow == "create";
                self.ask(if create { Role::Create } else { Role::Translate })
            }
            Do::AskRepair => self.ask(Role::Repair),
            Do::AskFaster => self.ask(Role::Optimize),
            Do::Take(run) => self.take_run(&run),
            Do::Time(backend) => self.time(&backend),
            Do::Enough(why) => {
                let backend = self.machine.backend();
                self.say(&format!("speed     of {backend} as it is: {why}"));
                self.fastest_built = None;
                Ok(Event::FastEnough { backend, why })
            }
            Do::ReadPlan(answer) => {
                let answer = self.ledger.blob(&answer)?;
                let backends = &self.machine.started.backends;
                let plan = Plan::read(&answer).and_then(|plan| plan.check(&self.project.manifest, backends));
                Ok(match plan {
                    Ok(plan) => {
                        let names: Vec<&str> = plan.modules.iter().map(|module| module.name.as_str()).collect();
                        self.say(&format!("plan      {} modules: {}", plan.modules.len(), names.join(", ")));
                        Event::Planned { plan }
                    }
                    Err(error) => {
                        self.say(&format!("plan      refused: {error}"));
                        Event::PlanRefused { why: error.to_string() }
                    }
                })
            }
            Do::Edit(answer) => self.edit(&answer),
            Do::Check(backend) => self.check(&backend),
            Do::BuildProbes(module) => self.build_probes(module),
            Do::Probe(module) => self.probe(module),
            Do::Build(backend) => self.build(&backend),
            Do::Judge { backend, tiers, sealed } => self.judge(&backend, &tiers, sealed),
            Do::GoBack(to_round) => {
                self.say(&format!("back      to the files of round {to_round}: the answers since made it worse"));
                Ok(Event::WentBack { to_round })
            }
            Do::Seal(backend) => {
                let source = self.workshop.source(&self.machine.files)?;
                let failed = |error: std::io::Error| Failure::usage(error.to_string());
                let (salt, seed) = seal(&source).map_err(failed)?;
                Ok(Event::Sealed { backend, candidate: source.hash, salt, seed: format!("{seed:#x}") })
            }
            Do::Certify(backend) => self.certify(&backend),
            Do::Finish => {
                self.write_files(&self.ledger.folder().join("final"))?;
                if self.adopts() {
                    let folder = &self.project.manifest.folder;
                    self.write_files(folder)?;
                    for backend in &self.machine.certified {
                        let name = lockstep_harness::certificate::file_name(backend);
                        let (from, to) = (self.ledger.folder().join("final").join(&name), folder.join(&name));
                        std::fs::copy(&from, &to).map_err(|error| unwritable(&to, &error))?;
                    }
                    self.say(&format!("adopted   the files are in {} now", lockstep_harness::report::shown(folder)));
                }
                Ok(Event::Finished)
            }
            Do::Stop(..) | Do::Nothing => unreachable!("drive handles them"),
        }
    }

    /// Makes the request that is due and awaits its answer.
    fn ask(&mut self, role: Role) -> Result<Event, Failure> {
        let round = self.machine.rounds + 1;
        let prompt = self.prompt(role)?;
        let stop = |reason, words: String| Ok(Event::Stopped { reason, words });
        if prompt.tokens > self.agent.context_tokens() {
            let words = format!(
                "the request has {} tokens and {} takes {}",
                thousands(prompt.tokens),
                self.agent.model(),
                thousands(self.agent.context_tokens())
            );
            return stop(StopReason::Agent, words);
        }
        // What agrees is certified, whatever there is no money for any more.
        let backend = self.machine.backend();
        let limited = |words: String| match role {
            Role::Optimize => Ok(Event::FastEnough { backend: backend.clone(), why: words }),
            _ => stop(StopReason::Budget, words),
        };
        // As long an answer as the money allows.
        let left = self.machine.budget.usd - self.machine.totals.usd;
        let affordable = self.money.output_tokens(prompt.tokens, left).min(OUTPUT_TOKENS_MAX);
        if affordable < OUTPUT_TOKENS_MIN {
            let spent = self.machine.totals.usd;
            let words =
                format!("${left:.2} are left of the budget, ${spent:.2} are spent: too little for another answer");
            return limited(words);
        }
        let minutes = self.began.elapsed().as_secs_f64() / 60.0;
        if minutes >= self.machine.budget.minutes {
            return limited(format!("{minutes:.0} minutes are over"));
        }
        let module = self.machine.asked_about();
        let request = Request {
            role,
            module: module.clone(),
            round,
            system: prompt.system.clone(),
            prompt: prompt.text.clone(),
            output_tokens_max: affordable,
        };
        let worst_usd = self.money.worst_usd(&request);
        let stored = self.ledger.keep(&format!("{}\n\n{}", prompt.system, prompt.stored))?;
        self.ledger.put_room_aside()?;
        self.record(Event::Asked {
            round,
            role: role.to_string(),
            module: module.clone(),
            prompt: stored,
            tokens: prompt.tokens,
            worst_usd,
        })?;
        self.say(&format!("round {round:<3} {role} {module}: {} tokens", thousands(prompt.tokens)));
        let answered = self.agent.ask(&request, &mut self.progress, &self.stop);
        self.ledger.use_room();
        match answered {
            Ok(answer) => {
                let spent = self.money.spent(&answer.usage, answer.seconds);
                self.say(&format!(
                    "answer    {} tokens from {}, ${:.3} ({}), {:.0} s",
                    thousands(spent.output_tokens),
                    answer.model,
                    spent.usd,
                    spent.basis,
                    spent.seconds
                ));
                let (model, truncated) = (answer.model, answer.truncated);
                Ok(Event::Answered { round, answer: self.ledger.keep(&answer.text)?, model, truncated, spent })
            }
            Err(error) => {
                if let Some(usage) = error.spent() {
                    let spent = self.money.spent(usage, 0.0);
                    self.record(Event::Lost { round, spent, why: error.to_string() })?;
                }
                match error {
                    AgentError::Stopped { .. } => stop(StopReason::Interrupted, "stopped by Ctrl-C".into()),
                    error => stop(StopReason::Agent, error.to_string()),
                }
            }
        }
    }

    fn prompt(&self, role: Role) -> Result<Prompt, Failure> {
        let machine = &self.machine;
        let context = Context {
            manifest: &self.project.manifest,
            reference: &self.reference,
            prepared: &self.prepared.folder,
            plan: machine.plan.as_ref(),
            files: &machine.files,
            budget_tokens: self.agent.context_tokens().saturating_sub(OUTPUT_TOKENS_MAX),
            executed: self.executed.as_ref(),
        };
        let backend = machine.backend();
        let module = match (machine.scope, &machine.plan) {
            (Scope::Module(place), Some(plan)) => Some(&plan.modules[place]),
            _ => None,
        };
        let mut prompt = match (role, &machine.trouble, module) {
            (Role::Optimize, ..) => {
                let words = machine.fastest.as_ref().map_or("", |fastest| fastest.words.as_str());
                prompt::optimize_prompt(&context, &backend, words, &machine.tried)
            }
            (Role::Plan, ..) => prompt::plan_prompt(&context, &machine.started.backends),
            (Role::Translate | Role::Create, _, Some(module)) => prompt::write_prompt(&context, module),
            (_, Some(trouble @ Trouble::Plan(_)), _) => {
                let backends = machine.started.backends.join(", ");
                prompt::repair_prompt(&context, None, &backends, trouble, &machine.tried)
            }
            (_, Some(trouble), module) => prompt::repair_prompt(&context, module, &backend, trouble, &machine.tried),
            (_, None, _) => unreachable!("a repair has its trouble"),
        }?;
        if !machine.hints.is_empty() {
            let hints = format!("\n\n# Hints from the person who runs this\n\n{}\n", machine.hints.join("\n\n"));
            prompt.text += &hints;
            prompt.stored += &hints;
        }
        Ok(prompt)
    }

    fn edit(&mut self, answer: &str) -> Result<Event, Failure> {
        let text = self.ledger.blob(answer)?;
        let edited = edit::apply(&text, &self.machine.files, &self.machine.allowed());
        let mut problems: Vec<String> = edited.problems.iter().map(ToString::to_string).collect();
        if edited.changed.is_empty() && problems.is_empty() {
            problems.push("the answer changes no file; send whole files or edits as the request says".into());
        }
        let mut files = BTreeMap::new();
        for (path, text) in &edited.files {
            files.insert(path.clone(), self.ledger.keep(text)?);
        }
        let changed = edited.changed.join(", ");
        match problems.len() {
            0 => self.say(&format!("edits     {changed}")),
            count => self.say(&format!("edits     {changed}; {count} did not apply: {}", first_line(&problems[0]))),
        }
        Ok(Event::Edited { round: self.machine.rounds, changed: edited.changed, problems, files })
    }

    fn check(&mut self, backend: &str) -> Result<Event, Failure> {
        let began = Instant::now();
        self.progress.begin("compiling the library", 0);
        let result = self.workshop.check(&self.machine.files, backend, &self.stop);
        self.progress.end();
        self.built_event("library", backend, result.map(|()| None), began)
    }

    pub(super) fn build(&mut self, backend: &str) -> Result<Event, Failure> {
        let began = Instant::now();
        self.progress.begin(&format!("building {backend}"), 0);
        let result = self.workshop.build(&self.machine.files, backend, &self.stop);
        self.progress.end();
        self.built_event("runner", backend, result.map(Some), began)
    }

    fn build_probes(&mut self, module: usize) -> Result<Event, Failure> {
        let began = Instant::now();
        let module = self.module(module);
        self.progress.begin(&format!("building the functions of {}", module.name), 0);
        let result = self.workshop.build_probes(&self.machine.files, &module.files[0], &self.stop);
        self.progress.end();
        self.built_event(&format!("functions of {}", module.name), &module.backend, result.map(Some), began)
    }

    fn module(&self, place: usize) -> Module {
        self.machine.plan.as_ref().expect("modules are the plan's").modules[place].clone()
    }

    /// The end of a run whose reference failed. A ledger is kept and shown around: it tells places from the environment's
    /// folder on, and nothing of the machine.
    pub(super) fn reference_failed(&self, error: &SideError) -> Event {
        Event::Stopped {
            reason: StopReason::Reference,
            words: placed(&error.to_string(), &self.project.manifest.folder, &cache_folder()),
        }
    }

    /// Plays the vectors of a module's functions.
    fn probe(&mut self, place: usize) -> Result<Event, Failure> {
        let Some(built) = &self.built else { return self.build_probes(place) };
        let module = self.module(place);
        let sides =
            self.workshop.sides(built, self.prepared.command.clone(), cache_folder().join("logs"), self.deadline);
        let seed = self.machine.started.seed.wrapping_add(u64::from(self.machine.rounds));
        let began = Instant::now();
        match probe(&self.project.manifest, &module, seed, &sides, &self.stop) {
            Ok(judgement) => self.judged_event(&module.backend, &["probe"], false, judgement, began.elapsed()),
            Err(error) => Ok(self.reference_failed(&error)),
        }
    }

    fn built_event(
        &mut self,
        what: &str,
        backend: &str,
        result: Result<Option<Built>, WorkshopError>,
        began: Instant,
    ) -> Result<Event, Failure> {
        let seconds = began.elapsed().as_secs_f64();
        let (what, backend) = (what.to_owned(), backend.to_owned());
        match result {
            Ok(built) => {
                self.say(&format!("build     {what} of {backend}: ok, {seconds:.0} s"));
                self.built = built;
                Ok(Event::Built { what, backend, ok: true, output: None, seconds })
            }
            Err(WorkshopError::DoesNotBuild { output }) => {
                self.say(&format!("build     {what} of {backend}: fails, {seconds:.0} s"));
                let output = Some(self.ledger.keep(&output)?);
                Ok(Event::Built { what, backend, ok: false, output, seconds })
            }
            Err(WorkshopError::Stopped) => {
                Ok(Event::Stopped { reason: StopReason::Interrupted, words: "stopped by Ctrl-C".into() })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn judge(&mut self, backend: &str, tiers: &[&'static str], sealed: bool) -> Result<Event, Failure> {
        if self.built.is_none() {
            // A resumed run has the ledger's word that it builds, and no runner.
            return self.build(backend);
        }
        let built = self.built.as_ref().expect("it was just looked at");
        let seed = match &self.machine.seal {
            Some([sealed_backend, candidate, salt, _]) if sealed && sealed_backend == backend => {
                sealed_seed(candidate, salt)
            }
            _ => self.machine.started.seed.wrapping_add(u64::from(self.machine.rounds)),
        };
        let sides =
            self.workshop.sides(built, self.prepared.command.clone(), cache_folder().join("logs"), self.deadline);
        let began = Instant::now();
        let traces: PathBuf = self.ledger.folder().join("traces");
        let result = judge(
            &self.project.manifest,
            backend,
            tiers,
            seed,
            &traces,
            &self.sources,
            &sides,
            &mut self.progress,
            &self.stop,
        );
        match result {
            Ok(judgement) => self.judged_event(backend, tiers, sealed, judgement, began.elapsed()),
            Err(error) => Ok(self.reference_failed(&error)),
        }
    }

    /// Tells what a judgement came to, and keeps it.
    fn judged_event(
        &mut self,
        backend: &str,
        tiers: &[&'static str],
        sealed: bool,
        mut judgement: Judgement,
        took: Duration,
    ) -> Result<Event, Failure> {
        let seconds = took.as_secs_f64();
        if judgement.stopped {
            return Ok(Event::Stopped { reason: StopReason::Interrupted, words: "stopped by Ctrl-C".into() });
        }
        if sealed && judgement.agrees && !judgement.short_buckets.is_empty() {
            judgement.table += &format!("note: {}\n", judgement.short_buckets.join("; "));
        }
        let scope = self.machine.scope_name();
        let tiers_shown = if tiers.is_empty() { "all tiers".to_owned() } else { tiers.join(", ") };
        let verdict = if judgement.agrees { "agrees".to_owned() } else { format!("DIVERGES: {}", judgement.summary()) };
        self.say(&format!(
            "judge     {scope}, {tiers_shown}: {verdict} ({} live and {} between steps, {seconds:.0} s)",
            thousands(judgement.counts.live_free_running),
            thousands(judgement.counts.between_backends)
        ));
        let packs = if judgement.packs.is_empty() {
            None
        } else {
            let text = serde_json::to_string(&judgement.packs).map_err(|error| Failure::usage(error.to_string()))?;
            Some(self.ledger.keep(&text)?)
        };
        let event = Event::Judged {
            scope,
            backend: backend.to_owned(),
            tiers: tiers.iter().map(|tier| (*tier).to_owned()).collect(),
            agrees: judgement.agrees,
            rows: judgement.rows,
            found: judgement.found.clone(),
            packs,
            table: self.ledger.keep(&judgement.table)?,
            counts: judgement.counts,
            seconds,
        };
        self.judged = Some(judgement);
        Ok(event)
    }

    fn certify(&mut self, backend: &str) -> Result<Event, Failure> {
        let (Some(judgement), Some([_, candidate, salt, seed])) = (&self.judged, self.machine.seal.clone()) else {
            // A resumed run judges again: the certificate rests on what was seen, not on a note of it.
            return self.judge(backend, &[], true);
        };
        let source = self.workshop.source(&self.machine.files)?;
        if source.hash != candidate {
            return Err(Failure::bug("the candidate changed between its seal and its certificate"));
        }
        let entries = &self.ledger.entries;
        let attempts =
            entries.iter().filter(|entry| matches!(&entry.event, Event::Sealed { backend: one, .. } if one == backend));
        let sealed = Sealed { salt, seed, attempts: attempts.count() as u64 };
        let row = ReferenceRow {
            name: self.reference.file.name.clone(),
            version: self.reference.file.version.clone(),
            adapter: self.prepared.adapter.clone(),
            kind: "live".into(),
        };
        let manifest = &self.project.manifest;
        let mut certificate = Certificate::of(manifest, &judgement.verification, source, row, sealed, &today());
        let run = &self.machine.started.run;
        let by_hand = self.by_hand();
        for (file, who) in &mut certificate.provenance {
            if self.machine.files.contains_key(file) {
                *who = if by_hand.contains(file) { format!("loop {run}, then edited") } else { format!("loop {run}") };
            }
        }
        let name = lockstep_harness::certificate::file_name(backend);
        let path = self.ledger.folder().join("final").join(&name);
        certificate.write(&path).map_err(|error| unwritable(&path, &error))?;
        let text = serde_json::to_string(&certificate).map_err(|error| Failure::usage(error.to_string()))?;
        self.say(&format!("certified {backend}: final/{name}"));
        Ok(Event::Certified { backend: backend.to_owned(), certificate: self.ledger.keep(&text)? })
    }

    /// Files that a person has edited in this run.
    fn by_hand(&self) -> Vec<String> {
        let edits = self.ledger.entries.iter().filter_map(|entry| match &entry.event {
            Event::EditedByHand { changed, .. } => Some(changed.clone()),
            _ => None,
        });
        edits.flatten().collect()
    }

    /// Asks the reference which of its lines run, if its source would fill a good part of a request.
    pub fn look_at_reference(&mut self) {
        let tokens: u64 = self.sources.iter().map(|file| tokens::upper(&file.text)).sum();
        if tokens < self.agent.context_tokens() / 3 {
            return;
        }
        let sides = Processes {
            reference: self.prepared.command.clone(),
            runner: CommandLine::new(Vec::new()),
            logs: cache_folder().join("logs"),
            deadline: self.deadline,
        };
        self.progress.begin("asking the reference what runs", 0);
        self.executed = prompt::executed(&sides, &self.project.manifest, &self.sources);
        self.progress.end();
    }

    /// Notes that the run goes on.
    ///
    /// # Errors
    /// If the ledger can't be written.
    pub fn resume(&mut self, budget: Budget) -> Result<(), Failure> {
        let torn_bytes = self.ledger.torn_bytes;
        self.record(Event::Resumed { torn_bytes, budget })
    }

    /// Notes a hint.
    ///
    /// # Errors
    /// If the ledger can't be written.
    pub fn hint(&mut self, text: &str) -> Result<(), Failure> {
        let text = self.ledger.keep(text)?;
        self.record(Event::Hint { text })
    }

    /// Takes files that a person has edited.
    ///
    /// # Errors
    /// If none of them changed, or the ledger can't be written.
    pub fn take(&mut self, files: edit::Files) -> Result<(), Failure> {
        let mut all = self.machine.files.clone();
        let mut changed = Vec::new();
        for (path, text) in files {
            if all.get(&path) != Some(&text) {
                changed.push(path.clone());
                all.insert(path, text);
            }
        }
        if changed.is_empty() {
            return Err(Failure::usage(
                "none of the files differs from the run's\n(hint: `final/` or `lockstep runs` show them)",
            ));
        }
        let mut blobs = BTreeMap::new();
        for (path, text) in &all {
            blobs.insert(path.clone(), self.ledger.keep(text)?);
        }
        self.built = None;
        self.record(Event::EditedByHand { changed, files: blobs })
    }

    fn write_files(&self, folder: &Path) -> Result<(), Failure> {
        for (path, text) in &self.machine.files {
            let path = folder.join(path);
            lockstep_harness::keep::write_whole(&path, text).map_err(|error| unwritable(&path, &error))?;
        }
        Ok(())
    }

    /// Whether the environment has no source of its own yet, so that what was written becomes it. Source that is there
    /// is never written over.
    fn adopts(&self) -> bool {
        let folder = &self.project.manifest.folder;
        // What a run that was killed in the midst of it has put there is its own.
        let free = |(path, text): (&String, &String)| {
            std::fs::read_to_string(folder.join(path)).map_or(true, |there| there.trim().is_empty() || there == *text)
        };
        self.machine.started.recording.is_none() && self.machine.files.iter().all(free)
    }

    pub(super) fn say(&mut self, line: &str) {
        self.progress.say(line);
    }
}

/// A text without the places of this machine: paths begin at the environment's folder, at `..` beside it, or at `cache`.
fn placed(text: &str, folder: &Path, cache: &Path) -> String {
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mut text = text.to_owned();
    for folder in [folder, &real] {
        let below = |path: &Path| format!("{}/", path.display());
        if folder.is_absolute() && folder.parent().is_some_and(|parent| parent.parent().is_some()) {
            text = text.replace(&below(folder), "");
            text = text.replace(&below(folder.parent().unwrap_or(folder)), "../");
        }
    }
    text.replace(&cache.display().to_string(), "cache")
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("{} can't be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_text_names_no_place_of_the_machine() {
        let told = placed(
            "IndexError\n  /home/me/games/hunt/reference/adapter.py:9  x\n  /home/me/games/hunt.py:3  y\n  /home/me/.cache/lockstep/a.py:1  z",
            Path::new("/home/me/games/hunt"),
            Path::new("/home/me/.cache/lockstep"),
        );
        assert_eq!(told, "IndexError\n  reference/adapter.py:9  x\n  ../hunt.py:3  y\n  cache/a.py:1  z");
    }
}
