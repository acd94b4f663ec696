//! `lockstep replay`: plays one kept trace on both sides.

use super::print_json;
use crate::exit::{Exit, Failure};
use crate::project::{Project, ReferenceOptions};
use crate::terminal::{Progress, agreed, diverged, error};
use lockstep_harness::html;
use lockstep_harness::manifest::ToleranceMode;
use lockstep_harness::pair::Verdict;
use lockstep_harness::recording;
use lockstep_harness::report::{divergence_json, replay_block, shown};
use lockstep_harness::sides::open_pair;
use lockstep_harness::trace::{Trace, TraceError};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Play one kept trace on both sides and show the first difference
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  lockstep replay envs/pong/traces/11c7f5d0.jsonl\n  lockstep replay envs/pong/traces/11c7f5d0.jsonl --recorded"
)]
pub struct Arguments {
    /// The trace, as `verify` printed it
    trace: PathBuf,
    /// The environment, where the trace is not in its folder
    #[arg(long, short, value_name = "NAME")]
    environment: Option<String>,
    /// The backend
    #[arg(long, default_value = "rust")]
    backend: String,
    /// Play against the trace's recording, where the reference can't run
    #[arg(long, conflicts_with_all = ["grain", "html"])]
    recorded: bool,
    /// Compare the rows of this grain too
    #[arg(long, value_name = "NAME")]
    grain: Option<String>,
    /// Write a page that shows both sides step by step
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
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
    let grain = arguments.grain.as_ref().map(|name| {
        let place = configuration.grains.iter().position(|grain| grain.name == *name);
        place.ok_or_else(|| Failure::usage(format!("{} has no grain {name:?}", project.manifest.file.name)))
    });
    let grain = grain.transpose()?;
    let mut progress = Progress::new(arguments.json);
    if arguments.recorded {
        return against_recording(&project, &arguments, &mut progress);
    }
    let (sides, _) = project.sides(&arguments.backend, &arguments.reference, &mut progress)?;
    // What a tier found is held against that tier's tolerances.
    let (tier, mode) = (trace.note.judged_by(), ToleranceMode::FreeRunning);
    let mut pair = open_pair(&sides, &arguments.backend, &configuration, 1, tier, mode)?;
    let steps = trace.steps();
    let verdict = if grain.is_some() { pair.check_with_grain(&trace, grain)? } else { pair.check(&trace)? };
    let (verdict, divergence, exit) = match verdict {
        Verdict::Agree => ("agrees".to_owned(), None, Exit::Agree),
        Verdict::Known(name) => (format!("known divergence {name}"), None, Exit::Agree),
        Verdict::Diverged(divergence) => ("diverges".to_owned(), Some(divergence), Exit::Diverged),
    };
    let block = match &divergence {
        Some(divergence) => replay_block(&configuration, divergence, steps),
        None => format!("{} {verdict} over {steps} steps of {}", arguments.backend, shown(&arguments.trace)),
    };
    if arguments.json {
        let divergence = divergence.as_ref().map(|divergence| divergence_json(&configuration, divergence));
        print_json(&json!({
            "trace": arguments.trace.display().to_string(), "steps": steps, "verdict": verdict, "divergence": divergence,
        }))?;
    } else if divergence.is_some() {
        diverged(&block);
    } else {
        agreed(&block);
    }
    if let Some(path) = &arguments.html {
        let written = html::write(path, &project.manifest, &mut pair, &trace, &block, divergence.as_deref());
        match written {
            Ok(()) => {}
            // The verdict is worth more than the page.
            Err(message) if exit == Exit::Diverged => error(&message),
            Err(message) => return Err(Failure::usage(message)),
        }
    }
    Ok(exit)
}

fn against_recording(project: &Project, arguments: &Arguments, progress: &mut Progress) -> Result<Exit, Failure> {
    let manifest = &project.manifest;
    let version = project.reference(arguments.reference.reference.as_deref())?.file.version;
    let sides = project.backends_alone(&arguments.backend, &arguments.reference, progress)?;
    let (trace, verdict) = recording::replay(manifest, &sides, &version, &arguments.backend, &arguments.trace)?;
    let configuration = manifest.configuration(&trace.configuration)?;
    let steps = trace.steps();
    let (word, divergence) = match verdict {
        Verdict::Agree => ("agrees".to_owned(), None),
        Verdict::Known(name) => (format!("known divergence {name}"), None),
        Verdict::Diverged(divergence) => ("diverges".to_owned(), Some(divergence)),
    };
    if arguments.json {
        let told = divergence.as_ref().map(|divergence| divergence_json(configuration, divergence));
        print_json(&json!({
            "trace": arguments.trace.display().to_string(), "steps": steps, "against": "recording",
            "reference": version, "verdict": word, "divergence": told,
        }))?;
    } else if let Some(divergence) = &divergence {
        diverged(&replay_block(configuration, divergence, steps));
    } else {
        let trace = shown(&arguments.trace);
        agreed(&format!("{} {word} with the recording over {steps} steps of {trace}", arguments.backend));
    }
    Ok(if divergence.is_some() { Exit::Diverged } else { Exit::Agree })
}

/// Reads a trace with the manifest of the environment that it names.
pub fn open(path: &Path, environment: Option<&str>) -> Result<(Project, Trace), Failure> {
    let text = std::fs::read_to_string(path);
    if let Err(source) = text {
        return Err(TraceError::Unreadable { path: path.to_owned(), source }.into());
    }
    let project = match environment {
        Some(name) => Project::find(name)?,
        None => {
            let near = path.parent().and_then(Path::parent).filter(|folder| folder.join("env.toml").is_file());
            match near {
                Some(folder) => Project::find(&folder.display().to_string())?,
                None => Project::find(&Trace::environment_of(path)?)?,
            }
        }
    };
    let trace = Trace::read(&project.manifest, path)?;
    Ok((project, trace))
}
