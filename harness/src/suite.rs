//! The equivalence suite of an environment: one test per tier, backend and configuration, under any test runner.
//!
//! Names read `<environment>::<tier>::<backend>::<configuration>`, so that a filter picks what one wants; kept traces have
//! a row for each adapter of the reference, named last. Rows that can't run here stay in the listing as ignored, with the
//! reason in their name.

use crate::manifest::Manifest;
use crate::reference::{PrepareError, Reference, find_tools, prepare};
use crate::report::replay_block;
use crate::side::CommandLine;
use crate::sides::Processes;
use crate::tiers::TIERS;
use crate::tiers::replay::kept_traces;
use crate::trace::Trace;
use crate::verify::{Plan, verify};
use crate::watch::{Silent, Stop};
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Free-running steps of a rollout row of `rust`; `lockstep verify` plays more.
const ROLLOUT_STEPS: u64 = 200_000;
/// The same of the other backends. The interpreter of PTX plays some thousand steps a second with one lane, and buckets
/// are filled on `rust`, which leads.
const OTHER_ROLLOUT_STEPS: u64 = 50_000;

/// The main function of `tests/equivalence.rs`: `folder` is the environment's, `runner` its binary.
pub fn main(folder: &str, runner: &str) -> ExitCode {
    let arguments = Arguments::from_args();
    let folder = PathBuf::from(folder);
    let manifest = match Manifest::read(&folder) {
        Ok(manifest) => manifest,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let listed = arguments.exact && arguments.filter.is_some();
    libtest_mimic::run(&arguments, trials(&manifest, Path::new(runner), listed)).exit_code()
}

/// The rows. A test runner that starts one of them by its exact name has seen the listing: what this machine lacks is not
/// looked for again.
fn trials(manifest: &Manifest, runner: &Path, listed: bool) -> Vec<Trial> {
    let environment = &manifest.file.name;
    let mut trials = Vec::new();
    let built = crate::runner::backends(runner);
    let adapters = adapters(manifest, listed);
    if let Some(reason) = if listed { None } else { unavailable(manifest) } {
        for backend in manifest.file.backends.keys() {
            let name = format!("{environment}::all::{backend}::all ({reason})");
            trials.push(Trial::test(name, || Ok(())).with_ignored_flag(true));
        }
        return trials;
    }
    for (backend, table) in &manifest.file.backends {
        for (tier, missing) in TIERS {
            let Some(reason) = missing else { continue };
            let name = format!("{environment}::{tier}::{backend}::all ({reason})");
            trials.push(Trial::test(name, || Ok(())).with_ignored_flag(true));
        }
        if !built.contains(backend) {
            let feature = table.feature.clone().unwrap_or_else(|| backend.clone());
            let name = format!("{environment}::all::{backend}::all (built without feature {feature})");
            trials.push(Trial::test(name, || Ok(())).with_ignored_flag(true));
            continue;
        }
        if let Some(reason) = if listed { None } else { crate::runner::lacks(runner, backend) } {
            let reason = reason.lines().next().unwrap_or_default();
            let name = format!("{environment}::all::{backend}::all ({reason})");
            trials.push(Trial::test(name, || Ok(())).with_ignored_flag(true));
            continue;
        }
        for (configuration, paths) in traces_by_configuration(manifest) {
            // Every adapter of the reference passes one set of traces beside `rust`; that the others equal `rust` on it
            // takes one adapter.
            for (adapter, _, lacks) in adapters.iter().filter(|(_, default, _)| backend == "rust" || *default).cloned()
            {
                let name = format!("{environment}::traces::{backend}::{configuration}::{adapter}");
                if let Some(program) = lacks {
                    let name = format!("{name} ({program} is not on this machine)");
                    trials.push(Trial::test(name, || Ok(())).with_ignored_flag(true));
                    continue;
                }
                let (manifest, runner, backend, paths) =
                    (manifest.clone(), runner.to_owned(), backend.clone(), paths.clone());
                trials.push(Trial::test(name, move || replay_all(&manifest, &runner, &backend, &adapter, &paths)));
            }
        }
        let playable = |name: &String| table.configurations.as_ref().is_none_or(|names| names.contains(name));
        for configuration in manifest.configurations().iter().filter(|configuration| playable(&configuration.name)) {
            for tier in ["contract", "property", "interaction", "fuzz", "rollout"] {
                let name = format!("{environment}::{tier}::{backend}::{}", configuration.name);
                let (manifest, runner, backend) = (manifest.clone(), runner.to_owned(), backend.clone());
                let configuration = configuration.name.clone();
                trials.push(Trial::test(name, move || run_tier(&manifest, &runner, &backend, tier, &configuration)));
            }
        }
    }
    trials
}

fn reference(manifest: &Manifest) -> Result<Reference, Failed> {
    let root = manifest.folder.join("../..");
    let folder = root.join("references").join(&manifest.file.reference);
    Ok(Reference::read(&folder, &root.join("references/sdk"))?)
}

/// Why the reference can't be had on this machine, if its own preparation says so.
fn unavailable(manifest: &Manifest) -> Option<String> {
    match prepare(&reference(manifest).ok()?, None, &find_tools(None), &mut Silent) {
        Err(PrepareError::Step { output, unavailable: true, .. }) => {
            let said = output.lines().find_map(|line| line.strip_prefix("error: "));
            Some(said.unwrap_or("its reference can't be had on this machine").to_owned())
        }
        _ => None,
    }
}

/// The adapters of the reference, whether each is the default one, and what it lacks here (unless `listed`); a name that
/// says why, where they can't be read.
fn adapters(manifest: &Manifest, listed: bool) -> Vec<(String, bool, Option<String>)> {
    match reference(manifest) {
        Ok(reference) => {
            let adapters = reference.file.adapters.iter();
            adapters
                .map(|(name, adapter)| {
                    let lacks = if listed { None } else { adapter.lacks().map(str::to_owned) };
                    (name.clone(), adapter.default, lacks)
                })
                .collect()
        }
        Err(_) => vec![("reference.toml can't be read".into(), true, None)],
    }
}

fn sides(manifest: &Manifest, runner: &Path, adapter: Option<&str>) -> Result<Processes, Failed> {
    let prepared = prepare(&reference(manifest)?, adapter, &find_tools(None), &mut Silent)?;
    Ok(Processes {
        reference: prepared.command,
        runner: CommandLine::program(runner),
        logs: std::env::temp_dir().join("lockstep-logs"),
        deadline: Duration::from_secs(60),
    })
}

fn run_tier(manifest: &Manifest, runner: &Path, backend: &str, tier: &str, configuration: &str) -> Result<(), Failed> {
    let mut plan = Plan::new(backend, seed());
    plan.configurations = vec![configuration.to_owned()];
    plan.tiers = vec![tier.to_owned()];
    let usual = manifest.file.tiers.rollout_steps.get(configuration).copied().unwrap_or(ROLLOUT_STEPS);
    plan.rollout_steps = Some(usual.min(if backend == "rust" { ROLLOUT_STEPS } else { OTHER_ROLLOUT_STEPS }));
    plan.fuzz_steps = Some(20_000);
    eprintln!("seed {:#x} (LOCKSTEP_SEED repeats it)", plan.seed);
    let result = verify(manifest, &plan, &sides(manifest, runner, None)?, &mut Silent, &Stop::default())?;
    if result.agrees() { Ok(()) } else { Err(result.failures().join("\n").into()) }
}

/// The kept traces, those of a configuration together; one that can't be read is in a row that says so.
fn traces_by_configuration(manifest: &Manifest) -> BTreeMap<String, Vec<PathBuf>> {
    let mut rows = BTreeMap::<String, Vec<PathBuf>>::new();
    for path in kept_traces(&manifest.folder.join("traces")) {
        let configuration = Trace::read(manifest, &path).map_or("unreadable".into(), |trace| trace.configuration);
        rows.entry(configuration).or_default().push(path);
    }
    rows
}

/// Plays the traces, all of one configuration, on one pair of sides; the error shows each that differs.
fn replay_all(
    manifest: &Manifest,
    runner: &Path,
    backend: &str,
    adapter: &str,
    paths: &[PathBuf],
) -> Result<(), Failed> {
    let traces = paths.iter().map(|path| Trace::read(manifest, path)).collect::<Result<Vec<_>, _>>()?;
    let configuration = std::sync::Arc::new(manifest.configuration(&traces[0].configuration)?.clone());
    let mode = crate::manifest::ToleranceMode::FreeRunning;
    let mut pair =
        crate::sides::open_pair(&sides(manifest, runner, Some(adapter))?, backend, &configuration, 1, "traces", mode)?;
    let mut failures = Vec::new();
    for (path, trace) in paths.iter().zip(&traces) {
        if let crate::pair::Verdict::Diverged(divergence) = pair.check(trace)? {
            let block = replay_block(&configuration, &divergence, trace.steps());
            failures.push(format!("{}\n{block}", path.display()));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

/// `LOCKSTEP_SEED`, or a fixed one: a test that passed yesterday fails today only if the code has changed.
fn seed() -> u64 {
    let given = std::env::var("LOCKSTEP_SEED").ok();
    let parsed = given.and_then(|text| {
        text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |digits| u64::from_str_radix(digits, 16).ok())
    });
    parsed.unwrap_or(0x10C5)
}
