//! `lockstep gpu-import`: checks what came back from a GPU, and files it with the environments that it is about.

use super::print_json;
use crate::exit::{Exit, Failure};
use crate::gpu::Hashes;
use crate::gpu::benchmark::{Benchmark, Refusal, benchmark, slug};
use crate::gpu::results::{Results, read};
use crate::project::{Project, known};
use crate::terminal::agreed;
use lockstep_harness::keep::write_whole;
use lockstep_harness::report::{shown, thousands};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Check the results of a bundle that ran on a GPU, and file them
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  lockstep gpu-import results.json\n\nFiles envs/<env>/benchmarks/<day>-<gpu>/gpu-<gpu>.json for each environment of which every bit agreed on the GPU and kernels were timed. Nothing is filed of results of other source than what is in the tree, nor of a speed that the GPU can't have. Exit codes: 0 all of it is filed; 1 bits differ, or something failed there; 2 the file can't be used; 6 there was no GPU."
)]
pub struct Arguments {
    /// results.json, as run.sh wrote it
    results: PathBuf,
    /// Only check, and file nothing
    #[arg(long)]
    check: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What became of one environment.
struct Row {
    environment: String,
    gpu: String,
    outcome: Result<(PathBuf, Benchmark), Refusal>,
}

/// Runs the verb.
pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let path = &arguments.results;
    let unusable = |why: String| {
        Failure::usage(format!(
            "{} {why}\n(hint: bring the results.json that run.sh of `lockstep gpu-bundle` wrote, as it is)",
            shown(path)
        ))
    };
    let results = read(path).map_err(unusable)?;
    let day = day(&results).map_err(unusable)?;
    if results.told.is_empty() {
        return Err(unusable("is about no environment".into()));
    }
    // All of it has to be about this tree before anything is filed.
    let mut projects = Vec::new();
    for (name, packed) in &results.bundle.environments {
        let project = in_the_tree(name, &packed.configurations).map_err(unusable)?;
        let (source, _) =
            Hashes::of(&project)?.ok_or_else(|| unusable(format!("is about {name}, which has no CUDA source here")))?;
        let differences = packed.source.differences(&source);
        if !differences.is_empty() {
            return Err(Failure::usage(format!(
                "{} is about other source of {name} than what is in the tree: {} changed since commit {:?}\n(hint: check that commit out, or pack and run again: lockstep gpu-bundle {name})",
                shown(path),
                differences.join(", "),
                results.bundle.commit
            )));
        }
        projects.push((name.clone(), project));
    }
    let gpu = results.gpu.as_ref().map_or_else(|_| String::new(), |gpu| gpu.name.clone());
    let mut rows = Vec::new();
    for (environment, project) in projects {
        let outcome = benchmark(&results, &environment, &day).map(|benchmark| (place(&project, &day, &gpu), benchmark));
        rows.push(Row { environment, gpu: gpu.clone(), outcome });
    }
    // One difference is a reason to look, and no time to file what stands beside it.
    let differs = rows.iter().any(|row| matches!(row.outcome, Err(Refusal::Differs(_))));
    let files = !arguments.check && !differs;
    if files {
        for (file, benchmark) in rows.iter().filter_map(|row| row.outcome.as_ref().ok()) {
            let text = serde_json::to_string_pretty(benchmark).map_err(|error| Failure::usage(error.to_string()))?;
            write_whole(file, &(text + "\n"))
                .map_err(|error| Failure::usage(format!("{} can't be written: {error}", file.display())))?;
        }
    }
    if arguments.json {
        print_json(
            &json!({"results": path.display().to_string(), "day": day, "gpu": results.gpu.as_ref().ok(), "filed": files, "environments": rows.iter().map(Row::json).collect::<Vec<_>>()}),
        )?;
    } else {
        rows.iter().for_each(|row| row.print(path, files));
    }
    Ok(rows.iter().map(Row::exit).max_by_key(|exit| severity(*exit)).unwrap_or(Exit::Usage))
}

/// The day of the run, in UTC.
fn day(results: &Results) -> Result<String, String> {
    let seconds = results.machine.unix_seconds;
    let stamp = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let stamp = stamp.ok_or_else(|| format!("was made {seconds} s after 1970, which is no day"))?;
    let tomorrow = jiff::Timestamp::now().as_second() + 24 * 3600;
    let day = stamp.to_zoned(jiff::tz::TimeZone::UTC).date().to_string();
    if stamp.as_second() > tomorrow || day.as_str() < "2026" {
        return Err(format!("was made on {day}, by the clock of its machine, which can't be"));
    }
    Ok(day)
}

/// An environment of this tree with these configurations, by its name alone.
fn in_the_tree(name: &str, configurations: &[String]) -> Result<Project, String> {
    let known = known();
    if !known.iter().any(|own| own == name) {
        return Err(format!("is about {name:?}, and in envs/ there are {}", known.join(", ")));
    }
    let project = Project::find(name)
        .map_err(|failure| format!("is about {name}, whose manifest is wrong: {}", failure.message))?;
    if let Some(unknown) =
        configurations.iter().find(|configuration| project.manifest.configuration(configuration).is_err())
    {
        return Err(format!("is about the configuration {unknown:?}, which {name} does not have"));
    }
    Ok(project)
}

/// Where a benchmark is filed.
fn place(project: &Project, day: &str, gpu: &str) -> PathBuf {
    let slug = slug(gpu);
    project.manifest.folder.join("benchmarks").join(format!("{day}-{slug}")).join(format!("gpu-{slug}.json"))
}

/// What counts most among several environments.
fn severity(exit: Exit) -> u8 {
    match exit {
        Exit::Diverged => 2,
        Exit::NoDevice => 1,
        _ => 0,
    }
}

impl Row {
    fn exit(&self) -> Exit {
        match self.outcome {
            Ok(_) => Exit::Agree,
            Err(Refusal::NoDevice(_)) => Exit::NoDevice,
            Err(_) => Exit::Diverged,
        }
    }

    fn json(&self) -> serde_json::Value {
        let told =
            |refused: &str, why: &String| json!({"environment": self.environment, "refused": refused, "why": why});
        match &self.outcome {
            Ok((file, benchmark)) => {
                json!({"environment": self.environment, "file": file.display().to_string(), "benchmark": benchmark})
            }
            Err(Refusal::Differs(why)) => told("bits differ", why),
            Err(Refusal::NoDevice(why)) => told("no GPU", why),
            Err(Refusal::Unfit(why)) => told("no benchmark", why),
        }
    }

    fn print(&self, results: &Path, filed: bool) {
        let (name, results) = (&self.environment, shown(results));
        match &self.outcome {
            Ok((file, benchmark)) => {
                let (steps, traces) = benchmark.compared();
                let file = shown(file);
                let end = if filed { format!("filed in {file}") } else { format!("not filed; it would be {file}") };
                agreed(&format!(
                    "{name} on {}: every bit agrees over {} steps and {traces} kept traces; {end}",
                    self.gpu,
                    thousands(steps)
                ));
                anstream::print!("{}", benchmark.best());
            }
            Err(Refusal::Differs(why)) => anstream::println!(
                "{name}: bits differ, so nothing of {results} is filed: {why}\n(hint: lockstep verify {name} --backend ptx looks for it without a GPU)"
            ),
            Err(Refusal::NoDevice(why)) => anstream::println!(
                "{name}: not filed, there was no GPU: {why}\n(hint: run run.sh of the bundle where nvidia-smi lists one)"
            ),
            Err(Refusal::Unfit(why)) => {
                anstream::println!("{name}: not filed: {why}\n(hint: pack and run again: lockstep gpu-bundle {name})")
            }
        }
    }
}
