//! `lockstep certify`: verifies on sealed seeds and writes the certificate, or checks one.

use super::print_json;
use crate::exit::{Exit, Failure};
use crate::project::{Project, ReferenceOptions};
use crate::provenance::provenance;
use crate::terminal::{Progress, agreed, diverged};
use lockstep_harness::certificate::file_name;
use lockstep_harness::certificate::{Certificate, ReferenceRow, Sealed, count_attempt, hash_source, seal, today};
use lockstep_harness::report::{shown, thousands};
use lockstep_harness::verify::{Plan, verify};
use lockstep_harness::watch::Stop;
use serde_json::json;

/// Verify on sealed seeds and write the certificate, or check that one still holds
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  lockstep certify pong\n  lockstep certify pong --check\n\nThe seeds come from the candidate's hash and a salt that is drawn after it; every attempt is counted in sealed.jsonl."
)]
pub struct Arguments {
    /// An environment in envs/, or the folder of one
    environment: String,
    /// The backend
    #[arg(long, default_value = "rust")]
    backend: String,
    /// Only check the certificate against the source that is here; exit code 1 if it is stale
    #[arg(long)]
    check: bool,
    /// Free-running steps of each configuration, instead of the manifest's
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Steps between a backend and `rust` in the default configuration, instead of the manifest's: a campaign
    #[arg(long, value_name = "N")]
    between_steps: Option<u64>,
    /// Print the certificate, or what is stale, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reference: ReferenceOptions,
}

/// Runs the verb.
pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let project = Project::find(&arguments.environment)?;
    let manifest = &project.manifest;
    if !manifest.file.backends.contains_key(&arguments.backend) {
        let (name, backend) = (&manifest.file.name, &arguments.backend);
        return Err(Failure::usage(format!("{name} has no backend {backend:?}")));
    }
    let unreadable = |error: std::io::Error| Failure::usage(format!("the source can't be read: {error}"));
    let source = hash_source(manifest, &project.source()?.join("harness/core")).map_err(unreadable)?;
    let path = manifest.folder.join(file_name(&arguments.backend));
    let reference = project.reference(arguments.reference.reference.as_deref())?;
    if arguments.check {
        let certificate = Certificate::read(&path)
            .map_err(|error| Failure::usage(format!("{error}\n(hint: lockstep certify {})", manifest.file.name)))?;
        let stale = certificate.stale(manifest, &source, &reference.file.version);
        if arguments.json {
            print_json(&json!({"certificate": path.display().to_string(), "stale": stale}))?;
        } else if stale.is_empty() {
            agreed(&format!("the certificate of {} holds ({})", manifest.file.name, certificate.issued));
        } else {
            let reasons: String = stale.iter().map(|reason| format!("  {reason}\n")).collect();
            let name = &manifest.file.name;
            diverged(&format!("the certificate of {name} is stale\n{reasons}  renew     lockstep certify {name}"));
        }
        return Ok(if stale.is_empty() { Exit::Agree } else { Exit::Diverged });
    }
    let stop = Stop::on_signals().map_err(unreadable)?;
    let mut progress = Progress::new(arguments.json);
    let (sides, prepared) = project.sides(&arguments.backend, &arguments.reference, &mut progress)?;
    let (salt, seed) = seal(&source).map_err(unreadable)?;
    let mut plan = Plan::new(&arguments.backend, seed);
    plan.rollout_steps = arguments.steps;
    plan.between_steps = arguments.between_steps;
    let verification = verify(manifest, &plan, &sides, &mut progress, &stop)?;
    let verdict = match (verification.agrees(), verification.stopped) {
        (false, _) => "diverged",
        (true, true) => "stopped",
        (true, false) => "verified",
    };
    let day = today();
    let attempts = count_attempt(&manifest.folder, &arguments.backend, &source, &salt, verdict, &day)
        .map_err(|error| Failure::usage(format!("the attempt could not be counted: {error}")))?;
    if verdict != "verified" {
        for block in verification.failures() {
            diverged(&block);
        }
        anstream::println!("{}no certificate: {verdict} on sealed seeds, attempt {attempts}", verification.table());
        return Ok(if verdict == "diverged" { Exit::Diverged } else { Exit::Stopped });
    }
    let row = ReferenceRow {
        name: reference.file.name.clone(),
        version: reference.file.version.clone(),
        adapter: prepared.adapter,
        kind: "live".into(),
    };
    let sealed = Sealed { salt, seed: format!("{seed:#x}"), attempts };
    let mut certificate = Certificate::of(manifest, &verification, source, row, sealed, &day);
    certificate.provenance = provenance(manifest, &arguments.backend)?;
    let short: Vec<String> = certificate
        .configurations
        .iter()
        .flat_map(|row| row.buckets.iter().map(move |(name, bucket)| (row, name, bucket)))
        .filter(|(row, _, bucket)| row.name == "default" && bucket.traces < bucket.minimum)
        .map(|(_, name, bucket)| {
            format!("bucket {name} was reached by {} traces, not {}", bucket.traces, bucket.minimum)
        })
        .collect();
    if !short.is_empty() {
        return Err(Failure { exit: Exit::Diverged, message: format!("no certificate: {}", short.join("; ")) });
    }
    certificate
        .write(&path)
        .map_err(|error| Failure::usage(format!("{} can't be written: {error}", path.display())))?;
    if arguments.json {
        let value = serde_json::to_value(&certificate).map_err(|error| Failure::usage(error.to_string()))?;
        print_json(&value)?;
    } else {
        anstream::print!("{}", verification.table());
        agreed(&format!(
            "{} {} is certified: {} live steps on sealed seed {seed:#x}, attempt {attempts}; see {}",
            manifest.file.name,
            arguments.backend,
            thousands(verification.counts(None).live_free_running),
            shown(&path)
        ));
    }
    Ok(Exit::Agree)
}
