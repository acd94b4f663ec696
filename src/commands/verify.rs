//! `lockstep verify`: plays a backend and its reference in lockstep through the tiers.

use super::{fresh_seed, parse_seed, print_json};
use crate::exit::{Exit, Failure};
use crate::project::{Project, ReferenceOptions};
use crate::terminal::{Progress, agreed, diverged};
use lockstep_harness::report::thousands;
use lockstep_harness::tiers::TIERS;
use lockstep_harness::verify::{Plan, verify};
use lockstep_harness::watch::Stop;
use std::path::PathBuf;
use std::time::Instant;

/// Play a backend and its reference in lockstep, and shrink what diverges
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  lockstep verify pong\n  lockstep verify counter --adapter c --configuration duel --tier rollout --steps 1000000\n\nEvery divergence is shrunk and kept in the environment's traces/, from where `lockstep replay` plays it."
)]
pub struct Arguments {
    /// An environment in envs/, or the folder of one
    environment: String,
    /// The backend
    #[arg(long, default_value = "rust")]
    backend: String,
    /// Only these configurations (repeatable)
    #[arg(long, short, value_name = "NAME")]
    configuration: Vec<String>,
    /// Only these tiers (repeatable)
    #[arg(long, short, value_name = "TIER")]
    tier: Vec<String>,
    /// Free-running steps of each configuration, instead of the manifest's
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// The seed of the run, as an earlier run printed it
    #[arg(long, value_parser = parse_seed)]
    seed: Option<u64>,
    /// Reference steps that shrinking one divergence may cost
    #[arg(long, value_name = "N", default_value_t = 1000)]
    minimize_steps: u64,
    /// Where traces are kept, instead of the environment's traces/
    #[arg(long, value_name = "FOLDER")]
    traces: Option<PathBuf>,
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
    for name in &arguments.configuration {
        manifest.configuration(name)?;
    }
    check_names(manifest, &arguments)?;
    let stop = Stop::on_signals().map_err(|error| Failure::usage(error.to_string()))?;
    let mut progress = Progress::new(arguments.json);
    let (sides, prepared) = project.sides(&arguments.backend, &arguments.reference, &mut progress)?;
    let mut plan = Plan::new(&arguments.backend, arguments.seed.unwrap_or_else(fresh_seed));
    plan.configurations = arguments.configuration;
    plan.tiers = arguments.tier;
    plan.rollout_steps = arguments.steps;
    plan.traces = arguments.traces;
    plan.minimize_steps = arguments.minimize_steps;
    let began = Instant::now();
    if !arguments.json {
        anstream::eprintln!(
            "{} {} against {} ({}), seed {:#x}",
            manifest.file.name,
            plan.backend,
            project.reference(arguments.reference.reference.as_deref())?.file.version,
            prepared.adapter,
            plan.seed
        );
    }
    let result = verify(manifest, &plan, &sides, &mut progress, &stop)?;
    if arguments.json {
        print_json(&result.json())?;
    } else {
        for block in result.failures() {
            diverged(&block);
        }
        anstream::print!("{}", result.table());
        let counts = result.counts(None);
        let seconds = began.elapsed().as_secs_f64();
        if result.stopped {
            anstream::println!("stopped after {seconds:.0} s; what was found is kept");
        } else if result.agrees() {
            agreed(&format!(
                "{} agrees with its reference: {} live steps, 0 divergences, {seconds:.0} s",
                plan.backend,
                thousands(counts.live_free_running)
            ));
        }
    }
    Ok(match (result.agrees(), result.stopped) {
        (false, _) => Exit::Diverged,
        (true, true) => Exit::Stopped,
        (true, false) => Exit::Agree,
    })
}

fn check_names(manifest: &lockstep_harness::manifest::Manifest, arguments: &Arguments) -> Result<(), Failure> {
    let backends = &manifest.file.backends;
    if !backends.contains_key(&arguments.backend) {
        let known: Vec<&str> = backends.keys().map(String::as_str).collect();
        let (name, known) = (&arguments.backend, known.join(", "));
        return Err(Failure::usage(format!(
            "{} has no backend {name:?}\n(hint: there is {known})",
            manifest.file.name
        )));
    }
    for name in &arguments.tier {
        match TIERS.iter().find(|(tier, _)| tier == name) {
            Some((_, None)) => {}
            Some((_, Some(reason))) => return Err(Failure::usage(format!("the tier {name} can't run: {reason}"))),
            None => {
                let known: Vec<&str> = TIERS.iter().map(|(tier, _)| *tier).collect();
                return Err(Failure::usage(format!(
                    "there is no tier {name:?}\n(hint: there are {})",
                    known.join(", ")
                )));
            }
        }
    }
    Ok(())
}
