//! `lockstep record`: keeps what the live reference answers to the kept traces, to replay where it can't run.

use super::print_json;
use crate::exit::{Exit, Failure};
use crate::project::{Project, ReferenceOptions};
use crate::terminal::Progress;
use lockstep_harness::recording::record;
use lockstep_harness::report::{shown, thousands};
use lockstep_harness::tiers::replay::kept_traces;
use lockstep_harness::trace::Trace;
use serde_json::json;

/// Record what the live reference answers to the kept traces
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  lockstep record counter\n\nRecordings are kept in the environment's recordings/. `lockstep verify ENV --recorded` and `lockstep replay TRACE --recorded` play against them where the reference can't run. What they show is a replay report: no certificate rests on it."
)]
pub struct Arguments {
    /// An environment in envs/, or the folder of one
    environment: String,
    /// Only these configurations (repeatable)
    #[arg(long, short, value_name = "NAME")]
    configuration: Vec<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reference: ReferenceOptions,
}

/// Runs the verb.
pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let project = Project::find(&arguments.environment)?;
    let manifest = &project.manifest;
    for name in &arguments.configuration {
        manifest.configuration(name)?;
    }
    let mut progress = Progress::new(arguments.json);
    let version = project.reference(arguments.reference.reference.as_deref())?.file.version;
    let (sides, _) = project.sides("rust", &arguments.reference, &mut progress)?;
    let mut rows = Vec::new();
    for trace in kept_traces(&manifest.folder.join("traces")) {
        let read = Trace::read(manifest, &trace)?;
        if arguments.configuration.is_empty() || arguments.configuration.contains(&read.configuration) {
            let (path, size) = record(manifest, &sides, &version, &trace)?;
            rows.push((path, read.steps(), size));
        }
    }
    if arguments.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(path, steps, size)| json!({"recording": path.display().to_string(), "steps": steps, "bytes": size}))
            .collect();
        print_json(&json!({"environment": manifest.file.name, "reference": version, "recordings": rows}))?;
    } else {
        for (path, steps, size) in &rows {
            anstream::println!("{}  {steps} steps, {} bytes", shown(path), thousands(*size as u64));
        }
        anstream::println!("{} traces of {} recorded with reference {version}", rows.len(), manifest.file.name);
    }
    Ok(Exit::Agree)
}
