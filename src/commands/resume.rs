//! `lockstep resume`: goes on with a run of `converge` that stopped or was cut off.

use super::converge::{BudgetOptions, reference, report, sandbox};
use crate::agent::{AgentOptions, open};
use crate::converge::{Loop, Machine, Money};
use crate::edit::Files;
use crate::exit::{Exit, Failure};
use crate::ledger::Ledger;
use crate::project::{Project, ReferenceOptions};
use crate::prompt::sources;
use crate::run_dir::{Outcome, Run, claim, find};
use crate::terminal::Progress;
use crate::workshop::Workshop;
use lockstep_harness::watch::{Stop, Watch};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Go on with a run of `converge` that stopped or was cut off; nothing is asked twice
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  lockstep resume pong 2026-11-24-1 --agent anthropic --model MODEL --budget-usd 15\n\nThe budget counts the whole run, with what is spent already. The reference, the prompts and the harness are today's."
)]
pub struct Arguments {
    /// An environment in envs/, or the folder of one
    environment: String,
    /// The run, as `lockstep runs` lists it
    run: String,
    /// A hint for the model, which the ledger keeps
    #[arg(long, value_name = "TEXT")]
    hint: Option<String>,
    /// A folder with files that you edited by hand, laid out as the environment's; the ledger says so
    #[arg(long, value_name = "FOLDER")]
    edited: Option<PathBuf>,
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

/// Runs the verb.
pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let project = Project::find(&arguments.environment)?;
    let manifest = &project.manifest;
    let folder = find(manifest, &arguments.run)?;
    let known = Run::read(&folder)?;
    if known.outcome() == Outcome::Converged {
        return Err(Failure::usage(format!("run {} has converged; there is nothing to go on with", known.started.run)));
    }
    if known.started.recording.is_some() {
        return Err(Failure::usage(format!(
            "run {} is a replay\n(hint: start it again with `lockstep converge {}`)",
            known.started.run, manifest.file.name
        )));
    }
    let _claim = claim(manifest)?;
    let stop = Stop::on_signals().map_err(|error| Failure::usage(error.to_string()))?;
    let mut progress = Progress::new(arguments.json);
    let agent = open(&arguments.agent, &known.started.run)?;
    let money = Money { price: arguments.agent.price(&agent.model()), recorded: false };
    let sandbox = sandbox(arguments.no_sandbox)?;
    let (reference, prepared) = reference(&project, &arguments.reference, arguments.agent.offline, &mut progress)?;
    let sources = sources(&reference, &prepared.folder)?;
    let workshop =
        Workshop::open(manifest, &project.source()?, &known.started.backends, sandbox, arguments.agent.offline)?;
    let ledger = Ledger::open(&folder)?;
    let machine = Machine::replayed(&ledger.entries, &|name| ledger.blob(name))?
        .ok_or_else(|| Failure::usage(format!("{} holds no run that began", folder.display())))?;
    progress.say(&format!(
        "run {} goes on at {}, after {} rounds",
        known.started.run,
        machine.scope_name(),
        machine.rounds
    ));
    let mut run = Loop {
        project: &project,
        reference,
        prepared,
        agent,
        workshop,
        ledger,
        machine,
        money,
        deadline: Duration::from_secs(arguments.reference.deadline.max(1)),
        progress,
        stop,
        built: None,
        sources,
        executed: None,
        fastest_built: None,
        recorded: None,
        judged: None,
        began: Instant::now(),
    };
    run.resume(arguments.budget.budget()?)?;
    if let Some(hint) = &arguments.hint {
        run.hint(hint)?;
    }
    if let Some(edited) = &arguments.edited {
        let mut files = Files::new();
        for path in run.machine.allowed() {
            if let Ok(text) = std::fs::read_to_string(edited.join(&path)) {
                files.insert(path, text);
            }
        }
        run.take(files)?;
    }
    run.look_at_reference();
    let ended = run.drive()?;
    report(&project, &folder, &ended, arguments.json)
}
