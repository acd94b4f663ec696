//! `lockstep minimize`: shrinks a trace that diverges.

use super::{print_json, replay::open};
use crate::exit::{Exit, Failure};
use crate::project::ReferenceOptions;
use crate::terminal::{Progress, agreed, diverged};
use lockstep_harness::keep::keep;
use lockstep_harness::manifest::ToleranceMode;
use lockstep_harness::minimize::minimize;
use lockstep_harness::pair::Verdict;
use lockstep_harness::report::Finding;
use lockstep_harness::sides::open_pair;
use std::path::PathBuf;
use std::sync::Arc;

/// Shrink a trace that diverges, with a larger budget than `verify` has
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  lockstep minimize envs/pong/traces/11c7f5d0.jsonl --minimize-steps 100000")]
pub struct Arguments {
    /// The trace
    trace: PathBuf,
    /// The environment, where the trace is not in its folder
    #[arg(long, short, value_name = "NAME")]
    environment: Option<String>,
    /// The backend
    #[arg(long, default_value = "rust")]
    backend: String,
    /// Reference steps that it may cost
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    minimize_steps: u64,
    /// Where the shorter trace is kept, instead of beside the trace
    #[arg(long, value_name = "FOLDER")]
    traces: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reference: ReferenceOptions,
}

/// Runs the verb.
pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let (project, trace) = open(&arguments.trace, arguments.environment.as_deref())?;
    let configuration = Arc::new(project.manifest.configuration(&trace.configuration)?.clone());
    let mut progress = Progress::new(arguments.json);
    let (sides, _) = project.sides(&arguments.backend, &arguments.reference, &mut progress)?;
    // What a tier found is held against that tier's tolerances.
    let (tier, mode) = (trace.note.judged_by(), ToleranceMode::FreeRunning);
    let mut pair = open_pair(&sides, &arguments.backend, &configuration, 1, tier, mode)?;
    let Verdict::Diverged(divergence) = pair.check(&trace)? else {
        agreed(&format!("{} agrees over {} steps: there is nothing to shrink", arguments.backend, trace.steps()));
        return Ok(Exit::Agree);
    };
    let minimized = minimize(&mut pair, &trace, divergence, arguments.minimize_steps)?;
    let folder =
        arguments.traces.unwrap_or_else(|| arguments.trace.parent().unwrap_or(std::path::Path::new(".")).to_owned());
    let named = |mut shorter: lockstep_harness::trace::Trace| {
        shorter.note = trace.note.clone();
        shorter.note.backend = arguments.backend.clone();
        shorter.note.kind = minimized.divergence.kind();
        shorter
    };
    let kept = keep(&folder, &configuration, &named(minimized.trace.clone()));
    let short = minimized.short.as_ref().ok().map(|short| named(short.trace.clone()));
    let kept_short = short.and_then(|short| keep(&folder, &configuration, &short).ok());
    let finding =
        Finding { configuration: configuration.name.clone(), tier: "minimize".into(), minimized, kept, kept_short };
    if arguments.json {
        print_json(&finding.json(&configuration))?;
    } else {
        diverged(&finding.block(&configuration));
    }
    Ok(Exit::Diverged)
}
