//! `lockstep converge`: a model writes the backends of an environment, until they agree with their reference.

use super::{fresh_seed, print_json};
use crate::agent::price::Price;
use crate::agent::{Agent, Answer, Role, Usage};
use crate::agent::{AgentKind, AgentOptions, Recorded, open};
use crate::converge::{Ended, Estimate, Loop, Machine, Money, Summary};
use crate::edit::Files;
use crate::exit::{Exit, Failure};
use crate::ledger::{Budget, Event, FORMAT, Ledger, Started, hash};
use crate::project::{Project, ReferenceOptions, known};
use crate::prompt::{Context, SourceFile, plan_prompt, prompt_set_hash, sources, stripped_manifest};
use crate::run_dir::{Outcome, Run, claim, find, fresh, recordings, replays, runs_in};
use crate::sandbox::Sandbox;
use crate::terminal::{Progress, agreed, diverged};
use crate::workshop::Workshop;
use lockstep_harness::reference::{Prepared, Reference, Tools, find_tools, prepare};
use lockstep_harness::report::shown;
use lockstep_harness::watch::{Stop, Watch};
use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

/// Have a model write the backends of an environment, until they agree with the reference
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  lockstep converge pong                                      the kept recording, judged again today: no key, $0\n  lockstep converge pong --agent anthropic --model MODEL      needs ANTHROPIC_API_KEY\n  lockstep converge pong --estimate --model MODEL             what would be sent and what it may cost; nobody is asked\n  lockstep converge my_env --agent mailbox --mailbox FOLDER   you, or any program, are the model\n\nExit codes: 0 converged, 1 it does not agree and there is no progress, 2 the agent or the arguments are wrong, 3 reference unavailable, 5 a budget is spent, 130 Ctrl-C. A run that stopped goes on with `lockstep resume`."
)]
pub struct Arguments {
    /// An environment in envs/, or the folder of one
    environment: String,
    /// The backends that are written, in order [default: all that the manifest leaves to the loop]
    #[arg(long, value_name = "NAME")]
    backend: Vec<String>,
    /// The run whose answers are played again [default: the newest that converged, where no agent is named]
    #[arg(long, value_name = "RUN")]
    recording: Option<String>,
    /// A hint for the model, which the ledger keeps
    #[arg(long, value_name = "TEXT")]
    hint: Option<String>,
    /// The seed that judging seeds follow from
    #[arg(long, value_parser = super::parse_seed)]
    seed: Option<u64>,
    /// Say what would be sent, and what it is likely to cost; nobody is asked
    #[arg(long)]
    estimate: bool,
    /// Don't ask before a run that may cost more than a dollar
    #[arg(long)]
    yes: bool,
    /// Begin with the plan and the files of a run that converged
    #[arg(long, value_name = "RUN", conflicts_with = "recording")]
    begin_with: Option<String>,
    /// Answers that each backend gets to become faster, once all agree; kept is what is faster and agrees in all tiers
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "recording")]
    optimize: u32,
    /// Mark the run as held out: the prompts were never changed with this environment in mind
    #[arg(long, conflicts_with = "recording")]
    held_out: bool,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    agent: AgentOptions,
    #[command(flatten)]
    budget: BudgetOptions,
    /// Build and run candidates without a sandbox: only for answers that you have read
    #[arg(long)]
    no_sandbox: bool,
    #[command(flatten)]
    reference: ReferenceOptions,
}

/// What a run may cost.
#[derive(clap::Args, Debug, Clone)]
pub struct BudgetOptions {
    /// Dollars that the run may cost; looked at before each request
    #[arg(long, value_name = "USD", default_value_t = 10.0)]
    budget_usd: f64,
    /// Tokens, in and out
    #[arg(long, value_name = "N", default_value_t = 5_000_000)]
    budget_tokens: u64,
    /// Answers of the model
    #[arg(long, value_name = "N", default_value_t = 100)]
    budget_rounds: u32,
    /// Minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 240.0)]
    budget_minutes: f64,
    /// Answers for one module
    #[arg(long, value_name = "N", default_value_t = 50)]
    attempts: u32,
    /// Answers without progress, after which the run stops
    #[arg(long, value_name = "N", default_value_t = 8)]
    patience: u32,
}

impl BudgetOptions {
    /// Checked.
    ///
    /// # Errors
    /// If an amount is no amount.
    pub fn budget(&self) -> Result<Budget, Failure> {
        let positive = |amount: f64| amount.is_finite() && amount >= 0.0;
        if !positive(self.budget_usd) || !positive(self.budget_minutes) {
            return Err(Failure::usage("a budget is a number that is not negative, such as 2.50"));
        }
        Ok(Budget {
            usd: self.budget_usd,
            tokens: self.budget_tokens,
            rounds: self.budget_rounds,
            minutes: self.budget_minutes,
            attempts: self.attempts,
            patience: self.patience,
        })
    }
}

/// Runs the verb.
pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let project = Project::find(&arguments.environment)?;
    let manifest = &project.manifest;
    let backends = backends(&project, &arguments.backend)?;
    let budget = arguments.budget.budget()?;
    if arguments.estimate {
        return estimate(&project, &arguments, &backends);
    }
    let recording = recording(&project, &arguments)?;
    let _claim = if recording.is_none() { Some(claim(manifest)?) } else { None };
    let stop = Stop::on_signals().map_err(|error| Failure::usage(error.to_string()))?;
    let mut progress = Progress::new(arguments.json);
    let sandbox = sandbox(arguments.no_sandbox)?;
    let parent = if recording.is_some() { replays(manifest) } else { recordings(manifest) };
    let (name, folder) = fresh(&parent)?;
    // A folder in which no run began is no run.
    let opened = open_agent(&arguments.agent, recording.as_ref(), &name);
    let (agent, money) = opened.inspect_err(|_| drop(std::fs::remove_dir(&folder)))?;
    if let Some(run) = &recording {
        progress.say(&introduction(run));
    }
    let sandbox_words = sandbox.mechanism().name().to_owned();
    let prepared = reference(&project, &arguments.reference, arguments.agent.offline, &mut progress);
    let (reference, prepared) = prepared.inspect_err(|_| drop(std::fs::remove_dir(&folder)))?;
    let sources = sources(&reference, &prepared.folder).inspect_err(|_| drop(std::fs::remove_dir(&folder)))?;
    if recording.is_none() && !arguments.yes {
        let estimated = estimated(&project, &reference, &prepared, &sources, &backends, money.price.as_ref())?;
        consent(&estimated, budget.usd).inspect_err(|_| drop(std::fs::remove_dir(&folder)))?;
    }
    let workshop = Workshop::open(manifest, &project.source()?, &backends, sandbox, arguments.agent.offline)?;
    let text = std::fs::read_to_string(manifest.folder.join("env.toml")).unwrap_or_default();
    let seed = arguments.seed.or(recording.as_ref().map(|run| run.started.seed)).unwrap_or_else(fresh_seed);
    let started = Started {
        format: FORMAT.into(),
        run: name.clone(),
        environment: manifest.file.name.clone(),
        workflow: manifest.file.workflow.clone(),
        backends: recording.as_ref().map_or(backends, |run| run.started.backends.clone()),
        reference: [reference.file.name.clone(), reference.file.version.clone(), prepared.adapter.clone()],
        agent: agent.name().to_owned(),
        model: agent.model(),
        prompts: prompt_set_hash(),
        manifest: hash(stripped_manifest(&text)?.as_bytes()),
        lockstep: env!("CARGO_PKG_VERSION").into(),
        machine: lockstep_harness::bench::machine(),
        seed,
        budget,
        price: money.price.clone(),
        begins_with: recording.as_ref().map_or(arguments.begin_with.clone(), |run| run.started.begins_with.clone()),
        optimize: recording.as_ref().map_or(arguments.optimize, |run| run.started.optimize),
        sandbox: sandbox_words,
        recording: recording.as_ref().map(|run| run.started.run.clone()),
        held_out: recording.as_ref().map_or(arguments.held_out, |run| run.started.held_out),
    };
    let mut ledger = Ledger::create(&folder)?;
    ledger.append(Event::Started(Box::new(started.clone())))?;
    progress.say(&format!(
        "{} ({}), writing {} with {} {}, seed {seed:#x}, run {name} in {}",
        started.environment,
        started.reference[1],
        started.backends.join(", "),
        started.agent,
        started.model,
        shown(&folder)
    ));
    let deadline = Duration::from_secs(arguments.reference.deadline.max(1));
    let mut run = Loop {
        project: &project,
        reference,
        prepared,
        agent,
        workshop,
        ledger,
        machine: Machine::new(started),
        money,
        deadline,
        progress,
        stop,
        built: None,
        sources,
        executed: None,
        fastest_built: None,
        recorded: recording,
        judged: None,
        began: Instant::now(),
    };
    if let Some(hint) = &arguments.hint {
        run.hint(hint)?;
    }
    run.look_at_reference();
    let ended = run.drive()?;
    report(&project, &folder, &ended, arguments.json)
}

/// Dollars above which a run asks first.
const ASKS_ABOVE_USD: f64 = 1.0;

/// `--estimate`.
fn estimate(project: &Project, arguments: &Arguments, backends: &[String]) -> Result<Exit, Failure> {
    let mut progress = Progress::new(arguments.json);
    let (reference, prepared) = reference(project, &arguments.reference, arguments.agent.offline, &mut progress)?;
    let sources = sources(&reference, &prepared.folder)?;
    let price = arguments.agent.price(arguments.agent.model.as_deref().unwrap_or_default());
    let estimated = estimated(project, &reference, &prepared, &sources, backends, price.as_ref())?;
    if arguments.json {
        print_json(&estimated.json())?;
    } else {
        anstream::print!("{}", estimated.text());
    }
    Ok(Exit::Agree)
}

/// What a run would send and cost, from its first request and from the runs that are kept here.
fn estimated(
    project: &Project,
    reference: &Reference,
    prepared: &Prepared,
    sources: &[SourceFile],
    backends: &[String],
    price: Option<&Price>,
) -> Result<Estimate, Failure> {
    let context = Context {
        manifest: &project.manifest,
        reference,
        prepared: &prepared.folder,
        plan: None,
        files: &Files::new(),
        budget_tokens: u64::MAX,
        executed: None,
    };
    let plan = plan_prompt(&context, backends)?;
    let mut runs = runs_in(&recordings(&project.manifest))?;
    for name in known().iter().filter(|name| **name != project.manifest.file.name) {
        runs.extend(runs_in(&recordings(&Project::find(name)?.manifest))?);
    }
    Ok(Estimate::new(&plan, sources, &runs, price))
}

/// Asks whether to go on, where a run may cost more than a dollar.
fn consent(estimated: &Estimate, budget_usd: f64) -> Result<(), Failure> {
    let worst = estimated.worst_usd(budget_usd);
    if worst <= ASKS_ABOVE_USD {
        return Ok(());
    }
    let refused = || {
        Failure::usage(format!(
            "the run may cost ${worst:.2}, and nobody has agreed to that\n(hint: --yes goes on, --budget-usd 1 bounds it, --estimate shows what would be sent)"
        ))
    };
    if !std::io::stdin().is_terminal() {
        return Err(refused());
    }
    anstream::eprint!("{}This run may cost ${worst:.2}. Go on? [y/N] ", estimated.text());
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| Failure::usage(error.to_string()))?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") { Ok(()) } else { Err(refused()) }
}

/// The agent, and what its tokens cost.
fn open_agent(options: &AgentOptions, recording: Option<&Run>, run: &str) -> Result<(Box<dyn Agent>, Money), Failure> {
    match recording {
        Some(recording) => Ok((Box::new(Recorded::new(answers(recording)?)), Money::none())),
        None => {
            let agent = open(options, run)?;
            let money = Money { price: options.price(&agent.model()), recorded: false };
            Ok((agent, money))
        }
    }
}

/// The sandbox of this machine; refused where it does not close, unless somebody says so.
pub fn sandbox(none: bool) -> Result<Sandbox, Failure> {
    if none {
        return Ok(Sandbox::none());
    }
    let sandbox = Sandbox::detect();
    if sandbox.closes() {
        return Ok(sandbox);
    }
    let lines: String = sandbox.describe().iter().map(|line| format!("\n  {line}")).collect();
    Err(Failure::usage(format!(
        "candidates can't be closed in on this machine{lines}\n(hint: `apt install bubblewrap`, then `lockstep doctor`; --no-sandbox goes on all the same, for answers that you have read)"
    )))
}

/// Prepares the reference.
pub fn reference(
    project: &Project,
    options: &ReferenceOptions,
    offline: bool,
    progress: &mut Progress,
) -> Result<(Reference, Prepared), Failure> {
    let reference = project.reference(options.reference.as_deref())?;
    let tools = Tools { offline, ..find_tools(options.python.as_deref()) };
    let prepared = prepare(&reference, options.adapter.as_deref(), &tools, progress)?;
    Ok((reference, prepared))
}

/// Says what a run came to.
pub fn report(project: &Project, folder: &Path, ended: &Ended, json: bool) -> Result<Exit, Failure> {
    let run = Run::read(folder)?;
    let summary = Summary::of(&run);
    if json {
        print_json(&summary.json(&run))?;
        return Ok(ended.exit());
    }
    let environment = &project.manifest.file.name;
    match ended {
        Ended::Converged => {
            anstream::print!("{}", summary.text(&run));
            agreed(&format!(
                "{environment} converged in {} rounds: {} certified; see {}",
                summary.rounds,
                summary.certified.join(", "),
                shown(&folder.join("final"))
            ));
        }
        Ended::Stopped(_, words) => {
            diverged(&format!("{environment} did not converge: {words}\n{}", summary.text(&run)));
            if run.started.recording.is_none() {
                anstream::println!("  go on with  lockstep resume {environment} {}", run.started.run);
            }
        }
    }
    Ok(ended.exit())
}

/// The backends that the loop writes, `rust` first.
fn backends(project: &Project, asked: &[String]) -> Result<Vec<String>, Failure> {
    let file = &project.manifest.file;
    let mut names: Vec<String> = if asked.is_empty() {
        file.backends.iter().filter(|(_, table)| !table.editable.is_empty()).map(|(name, _)| name.clone()).collect()
    } else {
        asked.to_vec()
    };
    for name in &names {
        match file.backends.get(name) {
            None => return Err(Failure::usage(format!("{} has no backend {name:?}", file.name))),
            Some(table) if table.editable.is_empty() => {
                return Err(Failure::usage(format!(
                    "the manifest of {} leaves no file of {name} to the loop\n(hint: list them as `loop = […]` under [backends.{name}])",
                    file.name
                )));
            }
            Some(_) => {}
        }
    }
    names.sort_by_key(|name| (name != "rust", name.clone()));
    names.dedup();
    if names.first().map(String::as_str) != Some("rust") {
        return Err(Failure::usage(
            "the loop begins with `rust`, which judges the other backends\n(hint: name `--backend rust` too)",
        ));
    }
    Ok(names)
}

/// The run that is played again: the one that was named, or the newest that converged where no agent is named.
fn recording(project: &Project, arguments: &Arguments) -> Result<Option<Run>, Failure> {
    let manifest = &project.manifest;
    if let Some(name) = &arguments.recording {
        return Run::read(&find(manifest, name)?).map(Some);
    }
    match arguments.agent.agent {
        None | Some(AgentKind::Recorded) => {
            let runs = runs_in(&recordings(manifest))?;
            // One that wrote everything shows more than one that began with another's files.
            let converged = || runs.iter().rev().filter(|run| run.outcome() == Outcome::Converged);
            let newest = converged().find(|run| run.started.begins_with.is_none()).or_else(|| converged().next());
            newest.cloned().map(Some).ok_or_else(|| {
                let name = &manifest.file.name;
                Failure::usage(format!(
                    "{name} has no recording of a run that converged, and no agent is named\n(hint: `lockstep converge {name} --agent anthropic --model MODEL`, `--agent openai`, `--agent command` or `--agent mailbox`; docs/agents.md has them all)"
                ))
            })
        }
        Some(_) => Ok(None),
    }
}

/// The answers of a run, by role, module and round.
fn answers(run: &Run) -> Result<Vec<(Role, String, u32, Answer)>, Failure> {
    let mut answers = Vec::new();
    let mut asked = None;
    for entry in &run.entries {
        match &entry.event {
            Event::Asked { role, module, round, .. } => asked = Some((role.clone(), module.clone(), *round)),
            Event::Answered { answer, model, truncated, spent, .. } => {
                let Some((role, module, round)) = asked.take() else { continue };
                let Ok(role) = serde_json::from_value::<Role>(role.into()) else { continue };
                let usage = Usage {
                    input_tokens: spent.input_tokens,
                    cached_tokens: spent.cached_tokens,
                    written_tokens: 0,
                    output_tokens: spent.output_tokens,
                    measured: spent.basis == "measured",
                    cost_usd: Some(0.0),
                };
                let text = crate::ledger::blob(&run.folder, answer)?;
                let answer = Answer { text, model: model.clone(), usage, seconds: 0.0, truncated: *truncated };
                answers.push((role, module, round, answer));
            }
            _ => {}
        }
    }
    Ok(answers)
}

/// The first line of a replay: recorded, when, by which model, cost then, $0 now.
fn introduction(run: &Run) -> String {
    let summary = Summary::of(run);
    format!(
        "recorded: run {} of {}, answers by {}, {} rounds, {} then, $0 now; every answer is applied, built and judged again",
        run.started.run,
        run.day(),
        summary.models.join(", "),
        summary.rounds,
        summary.cost()
    )
}
