//! `lockstep fuzz`: the fuzz tier for as long as one likes.

use super::{fresh_seed, parse_seed, print_json};
use crate::exit::{Exit, Failure};
use crate::project::{Project, ReferenceOptions};
use crate::terminal::{Progress, agreed, diverged, error};
use lockstep_core::Digest;
use lockstep_harness::engine::{self, Bounds};
use lockstep_harness::frontends::trace_from_bytes;
use lockstep_harness::manifest::Level;
use lockstep_harness::report::{shown, thousands};
use lockstep_harness::tiers::fuzz::Budget;
use lockstep_harness::tiers::{CheckOutcome, TierReport};
use lockstep_harness::verify::{Plan, confirm, verify};
use lockstep_harness::watch::{Stop, Watch};
use serde_json::json;
use std::time::Duration;

/// Look for divergences for as long as you like: half random, half guided by novelty
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  lockstep fuzz pong --minutes 10\n  lockstep fuzz pong --engine libfuzzer --minutes 10\n\nThe guided half starts from snapshots of states in which a pair of field values was new. Findings are shrunk and kept in the environment's traces/.\n\nlibfuzzer plays rust against cuda-host in one process, guided by the coverage of the Rust source; the reference judges what it finds. It needs a C++ compiler and compiles everything anew, once, with coverage."
)]
pub struct Arguments {
    /// An environment in envs/, or the folder of one
    environment: String,
    /// What makes the traces
    #[arg(long, value_enum, default_value_t = Engine::Novelty)]
    engine: Engine,
    /// The backend; libfuzzer always plays rust against cuda-host
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

/// What makes the traces.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    /// Bursts from resets and from states with new pairs of field values, against the reference
    Novelty,
    /// libFuzzer, in one process
    Libfuzzer,
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
    if arguments.engine == Engine::Libfuzzer {
        return with_libfuzzer(&project, &arguments, &mut progress, &stop);
    }
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

/// libFuzzer looks for traces, the reference judges those at which it ended.
fn with_libfuzzer(
    project: &Project,
    arguments: &Arguments,
    progress: &mut Progress,
    stop: &Stop,
) -> Result<Exit, Failure> {
    let manifest = &project.manifest;
    let (name, root) = (&manifest.file.name, project.root());
    let backend = "cuda-host";
    if !["rust", backend].contains(&arguments.backend.as_str()) {
        let message = format!("libfuzzer plays rust against cuda-host, not {}", arguments.backend);
        return Err(Failure::usage(message + "\n(hint: leave --backend out, or leave --engine out)"));
    }
    let configurations: Vec<_> = manifest
        .configurations()
        .iter()
        .filter(|one| arguments.configuration.is_empty() || arguments.configuration.contains(&one.name))
        // A reference that draws by itself can't be replaced by `rust`, which asks the harness.
        .filter(|one| !matches!(one.level, Level::Recorded | Level::Statistical))
        .collect();
    progress.begin(&format!("building the libFuzzer target of {name}"), 0);
    let target = engine::build(&root, name);
    progress.end();
    let target = target?;
    let mut plan = Plan::new(backend, arguments.seed.unwrap_or_else(fresh_seed));
    plan.configurations = configurations.iter().map(|one| one.name.clone()).collect();
    if !arguments.json {
        anstream::eprintln!("{name} rust and {backend}, libFuzzer, seed {:#x}", plan.seed);
    }
    let bounds = Bounds {
        time: Duration::from_secs_f64(60.0 * arguments.minutes / configurations.len().max(1) as f64),
        runs: None,
        seed: plan.seed,
    };
    let (corpora, regressions) = (root.join("target/libfuzzer/corpus").join(name), root.join("fuzz/regressions"));
    let (mut rows, mut reports, mut blocks) = (Vec::new(), Vec::new(), Vec::new());
    for configuration in configurations {
        if stop.asked() {
            break;
        }
        progress.begin(&format!("{} libFuzzer", configuration.name), 0);
        let corpus = corpora.join(&configuration.name);
        let hunt = engine::run(&target, &configuration.name, &corpus, &regressions.join(name), &bounds);
        progress.end();
        let hunt = hunt?;
        if let Some(bytes) = &hunt.finding {
            let (sides, _) = project.sides(backend, &arguments.reference, progress)?;
            let trace = trace_from_bytes(configuration, bytes);
            let confirmed = confirm(manifest, &plan, &sides, &trace, progress, stop)?;
            let file = regressions.join(name).join(format!("{:016x}", Digest::Xxh64.of(0, bytes)));
            if let Err(reason) =
                std::fs::create_dir_all(regressions.join(name)).and_then(|()| std::fs::write(&file, bytes))
            {
                error(&format!("{} can't be written: {reason}", file.display()));
            }
            for report in &confirmed {
                blocks.extend(report.findings.iter().map(|finding| finding.block(configuration)));
                for check in &report.checks {
                    if let CheckOutcome::Failed(why) = &check.outcome {
                        blocks.push(format!(
                            "{}: {why}\n  claim     {}\n  bytes     {}\n",
                            check.side,
                            check.claim,
                            shown(&file)
                        ));
                    }
                }
            }
            reports.extend(confirmed);
        }
        rows.push((configuration.name.clone(), hunt.inputs));
    }
    let agrees = reports.iter().all(TierReport::agrees);
    if arguments.json {
        let rows: Vec<_> = rows.iter().map(|(name, inputs)| json!({"configuration": name, "inputs": inputs})).collect();
        print_json(&json!({
            "environment": name, "engine": "libfuzzer", "backend": backend, "seed": format!("{:#x}", plan.seed),
            "agrees": agrees, "configurations": rows, "findings": blocks,
        }))?;
    } else {
        blocks.iter().for_each(|block| diverged(block));
        for (configuration, inputs) in &rows {
            anstream::println!(
                "{configuration:<16} {} traces, rust against {backend} in one process",
                thousands(*inputs)
            );
        }
        if agrees {
            agreed(&format!("rust and {backend} agree: 0 divergences"));
        }
    }
    Ok(match (agrees, stop.asked()) {
        (false, _) => Exit::Diverged,
        (true, true) => Exit::Stopped,
        (true, false) => Exit::Agree,
    })
}
