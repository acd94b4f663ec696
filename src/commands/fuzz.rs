//! `lockstep fuzz`: the fuzz tier for as long as one likes.

use super::{fresh_seed, parse_seed, print_json};
use crate::exit::{Exit, Failure};
use crate::project::{Project, ReferenceOptions};
use crate::terminal::{Progress, agreed, diverged};
use lockstep_harness::report::thousands;
use lockstep_harness::tiers::fuzz::Budget;
use lockstep_harness::verify::{Plan, verify};
use lockstep_harness::watch::Stop;
use std::time::Duration;

/// Look for divergences for as long as you like: half random, half guided by novelty
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  lockstep fuzz pong --minutes 10\n\nThe guided half starts from snapshots of states in which a pair of field values was new. Findings are shrunk and kept in the environment's traces/."
)]
pub struct Arguments {
    /// An environment in envs/, or the folder of one
    environment: String,
    /// The backend
    #[arg(long, default_value = "rust")]
    backend: String,
    /// Only these configurations (repeatable); the time is shared among them
    #[arg(long, short, value_name = "NAME")]
    configuration: Vec<String>,
    /// How long
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    minutes: f64,
    /// The seed of the run, as an earlier run printed it
    #[arg(long, value_parser = parse_seed)]
    seed: Option<u64>,
    /// Print the whole result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reference: ReferenceOptions,
}

/// Runs the verb.
pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let project = Project::find(&arguments.environment)?;
    let manifest = &project.manifest;
    if !(arguments.minutes.is_finite() && arguments.minutes > 0.0) {
        return Err(Failure::usage(format!("--minutes is {}, not a positive number", arguments.minutes)));
    }
    for name in &arguments.configuration {
        manifest.configuration(name)?;
    }
    let stop = Stop::on_signals().map_err(|error| Failure::usage(error.to_string()))?;
    let mut progress = Progress::new(arguments.json);
    let (sides, _) = project.sides(&arguments.backend, &arguments.reference, &mut progress)?;
    let mut plan = Plan::new(&arguments.backend, arguments.seed.unwrap_or_else(fresh_seed));
    let count = if arguments.configuration.is_empty() {
        manifest.configurations().len()
    } else {
        arguments.configuration.len()
    };
    plan.fuzz = Some(Budget::Time(Duration::from_secs_f64(60.0 * arguments.minutes / count as f64)));
    plan.configurations = arguments.configuration;
    plan.tiers = vec!["fuzz".into()];
    if !arguments.json {
        anstream::eprintln!("{} {}, seed {:#x}", manifest.file.name, plan.backend, plan.seed);
    }
    let result = verify(manifest, &plan, &sides, &mut progress, &stop)?;
    if arguments.json {
        print_json(&result.json())?;
    } else {
        for block in result.failures() {
            diverged(&block);
        }
        for report in &result.reports {
            let known: Vec<String> =
                report.buckets.iter().map(|(name, count)| format!("{} {name}", thousands(*count))).collect();
            let steps = thousands(report.counts.live_free_running);
            anstream::println!("{:<16} {steps} live steps, {}", report.configuration, known.join(", "));
        }
        if result.agrees() {
            agreed(&format!("{} agrees with its reference: 0 divergences", plan.backend));
        }
    }
    Ok(match (result.agrees(), result.stopped) {
        (false, _) => Exit::Diverged,
        (true, true) => Exit::Stopped,
        (true, false) => Exit::Agree,
    })
}
