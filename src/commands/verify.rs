//! `lockstep verify`: plays a backend and its reference in lockstep through the tiers.

use super::{fresh_seed, parse_seed, print_json};
use crate::exit::{Exit, Failure};
use crate::project::{Project, ReferenceOptions};
use crate::terminal::{Progress, agreed, diverged, error};
use lockstep_harness::html;
use lockstep_harness::junit::{junit, junit_error};
use lockstep_harness::keep::write_whole;
use lockstep_harness::manifest::{Manifest, ToleranceMode};
use lockstep_harness::recording;
use lockstep_harness::report::{Finding, shown, thousands};
use lockstep_harness::sides::{AgainstRust, Sides, open_pair};
use lockstep_harness::tiers::{CheckOutcome, TIERS, TierReport};
use lockstep_harness::verify::{Plan, Verification, verify};
use lockstep_harness::watch::Stop;
use serde_json::json;
use std::path::{Path, PathBuf};
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
    /// Only play the kept traces against their recordings, where the reference can't run: a replay report
    #[arg(long, conflicts_with_all = ["tier", "steps", "seed", "traces", "html", "junit"])]
    recorded: bool,
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
    /// Write a page for each divergence that shows both sides step by step
    #[arg(long, value_name = "FOLDER")]
    html: Option<PathBuf>,
    /// Write the result as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
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
    if arguments.recorded {
        return replay_report(&project, &arguments);
    }
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
    let result = verify(manifest, &plan, &sides, &mut progress, &stop);
    let mut unwritten = false;
    if let Some(path) = &arguments.junit {
        let text = match &result {
            Ok(result) => junit(result, began.elapsed()),
            Err(error) => junit_error(&manifest.file.name, &plan.backend, &error.to_string()),
        };
        // What was found is printed all the same.
        if let Err(reason) = write_whole(path, &text) {
            error(&format!("{} can't be written: {reason}", path.display()));
            unwritten = true;
        }
    }
    let result = result?;
    let pages = arguments.html.as_deref().map(|folder| pages(folder, manifest, &result, &sides)).unwrap_or_default();
    if arguments.json {
        let mut value = result.json();
        for page in &pages {
            value["tiers"][page.tier]["findings"][page.finding]["page"] = page.path.display().to_string().into();
        }
        print_json(&value)?;
    } else {
        for block in result.failures() {
            let page = pages.iter().find(|page| page.block == block);
            let page = page.map(|page| format!("  page      {}\n", shown(&page.path))).unwrap_or_default();
            diverged(&(block + &page));
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
        // Who asked for a file and got none must not take it for good news.
        (true, false) if unwritten => Exit::Usage,
        (true, false) => Exit::Agree,
    })
}

/// What the kept traces show beside their recordings. It is no verification: nothing new was asked of the reference.
fn replay_report(project: &Project, arguments: &Arguments) -> Result<Exit, Failure> {
    let manifest = &project.manifest;
    let mut progress = Progress::new(arguments.json);
    let version = project.reference(arguments.reference.reference.as_deref())?.file.version;
    let sides = project.backends_alone(&arguments.backend, &arguments.reference, &mut progress)?;
    let reports = recording::replay_kept(manifest, &sides, &version, &arguments.backend, &arguments.configuration)?;
    let agrees = reports.iter().all(TierReport::agrees);
    let steps: u64 = reports.iter().map(|report| report.counts.recorded).sum();
    if reports.is_empty() {
        let name = &manifest.file.name;
        return Err(Failure::usage(format!("{name} has no kept trace to replay\n(hint: lockstep verify {name})")));
    }
    if arguments.json {
        let rows: Vec<_> = reports
            .iter()
            .map(|report| {
                json!({
                    "configuration": report.configuration, "agrees": report.agrees(), "counts": report.counts,
                    "known_divergences": report.known, "checks": report.checks,
                })
            })
            .collect();
        print_json(&json!({
            "replay_report": true, "environment": manifest.file.name, "backend": arguments.backend,
            "reference": version, "agrees": agrees, "configurations": rows,
        }))?;
    } else {
        for report in &reports {
            for check in &report.checks {
                if let CheckOutcome::Failed(why) = &check.outcome {
                    diverged(&format!("{} does not hold in {}\n{why}\n", check.claim, report.configuration));
                }
            }
            let passed = report.checks.iter().filter(|check| check.outcome == CheckOutcome::Passed).count();
            let (count, steps) = (report.checks.len(), thousands(report.counts.recorded));
            anstream::println!("{:<16} {passed} of {count} recordings, {steps} recorded steps", report.configuration);
        }
        if agrees {
            let (backend, steps) = (&arguments.backend, thousands(steps));
            agreed(&format!(
                "replay report: {backend} agrees with recordings of reference {version} over {steps} steps"
            ));
        }
        anstream::println!("no certificate rests on recordings; `lockstep verify {}` plays live", manifest.file.name);
    }
    Ok(if agrees { Exit::Agree } else { Exit::Diverged })
}

/// A page that was written.
struct Page {
    tier: usize,
    finding: usize,
    block: String,
    path: PathBuf,
}

/// Writes a page for each finding. One that can't be written is said and skipped: the finding itself is printed anyway.
fn pages(folder: &Path, manifest: &Manifest, result: &Verification, sides: &dyn Sides) -> Vec<Page> {
    let mut pages = Vec::new();
    for (tier, report) in result.reports.iter().enumerate() {
        for (finding, found) in report.findings.iter().enumerate() {
            match page(folder, manifest, found, report.against, sides) {
                Ok((block, path)) => pages.push(Page { tier, finding, block, path }),
                Err(failure) => error(&failure.message),
            }
        }
    }
    pages
}

fn page(
    folder: &Path,
    manifest: &Manifest,
    found: &Finding,
    against: &str,
    sides: &dyn Sides,
) -> Result<(String, PathBuf), Failure> {
    let configuration = std::sync::Arc::new(manifest.configuration(&found.configuration)?.clone());
    let bulk = AgainstRust(sides);
    let sides: &dyn Sides = if against == "rust" { &bulk } else { sides };
    let (trace, divergence) = (&found.minimized.trace, &found.minimized.divergence);
    let mode = ToleranceMode::FreeRunning;
    let mut pair = open_pair(sides, &divergence.backend, &configuration, 1, &found.tier, mode)?;
    let (block, path) = (found.block(&configuration), folder.join(html::file_name(trace)));
    html::write(&path, manifest, &mut pair, trace, &block, Some(divergence)).map_err(Failure::usage)?;
    Ok((block, path))
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
