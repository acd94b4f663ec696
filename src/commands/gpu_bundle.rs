//! `lockstep gpu-bundle`: packs what a machine with a GPU and without cargo needs into one file.

use super::print_json;
use crate::exit::{Exit, Failure};
use crate::gpu::pack::{FOLDER, Recipe, make};
use crate::project::{Project, known};
use crate::terminal::Progress;
use lockstep_harness::report::{shown, thousands};
use lockstep_harness::watch::Watch;
use serde_json::json;
use std::path::PathBuf;

/// Pack runners, kernels, kept traces and one script for a machine with a GPU
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  lockstep gpu-bundle pong --out pong.tar.gz\n\nThere: tar xzf pong.tar.gz && sh lockstep-gpu/run.sh, which needs no cargo, Python or network. It plays rust and cuda in lockstep by digests, all kept traces, and times the kernels; results.json is what `lockstep gpu-import` takes. run.sh ends with 0 if every bit agrees, 1 if not, 2 if the runners do not start there, 6 without a GPU. Machine code for sm_90 is packed too where NVRTC is here (`lockstep doctor --fix`)."
)]
pub struct Arguments {
    /// Environments in envs/, or folders of some [default: all with CUDA source]
    #[arg(value_name = "ENV")]
    environments: Vec<String>,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "lockstep-gpu.tar.gz")]
    out: PathBuf,
    /// Steps, all lanes together, that are compared on the GPU in each configuration
    #[arg(long, value_name = "N", default_value = "10M", value_parser = super::parse_count)]
    steps: u64,
    /// How the runners are built: release, or dev, which has assertions and is never a benchmark
    #[arg(long, value_name = "NAME", default_value = "release", value_parser = ["release", "dev"])]
    profile: String,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let projects = if arguments.environments.is_empty() { with_source()? } else { named(&arguments.environments)? };
    let mut progress = Progress::new(arguments.json);
    let recipe = Recipe { profile: arguments.profile, steps: arguments.steps };
    let made = make(&projects, &recipe, &mut progress)?;
    let size = made.write(&arguments.out)?;
    let file = shown(&arguments.out);
    if arguments.json {
        print_json(&json!({"file": arguments.out.display().to_string(), "bytes": size, "manifest": made.bundle}))?;
        return Ok(Exit::Agree);
    }
    for (name, packed) in &made.bundle.environments {
        anstream::println!(
            "{name:<14} {} configurations, {} kept traces, source {}",
            packed.configurations.len(),
            packed.traces,
            &packed.source.rules[..10]
        );
        packed.left_out.iter().for_each(|what| anstream::println!("{:<14} left out: {what}", ""));
    }
    let bundle = &made.bundle;
    anstream::println!(
        "{file}: {} bytes, {} unpacked, commit {}, {}, {}, {}",
        thousands(size),
        thousands(made.bytes()),
        bundle.commit,
        bundle.target,
        bundle.libc,
        bundle.profile
    );
    let name = arguments.out.file_name().unwrap_or_default().to_string_lossy();
    progress.say(&format!("there: tar xzf {name} && sh {FOLDER}/run.sh; then here: lockstep gpu-import results.json"));
    Ok(Exit::Agree)
}

/// All environments that have CUDA source and a backend for it.
fn with_source() -> Result<Vec<Project>, Failure> {
    let mut projects = Vec::new();
    for name in known() {
        let project = Project::find(&name)?;
        let file = &project.manifest.file;
        if project.manifest.folder.join("cuda/rules.cuh").is_file() && file.backends.contains_key("cuda") {
            projects.push(project);
        }
    }
    if projects.is_empty() {
        return Err(Failure::usage(
            "there is no environment with CUDA source here\n(hint: go to a clone of lockstep, or name the folder of one)",
        ));
    }
    Ok(projects)
}

fn named(names: &[String]) -> Result<Vec<Project>, Failure> {
    let mut projects: Vec<Project> = Vec::new();
    for name in names {
        let project = Project::find(name)?;
        if !projects.iter().any(|other| other.manifest.file.name == project.manifest.file.name) {
            projects.push(project);
        }
    }
    Ok(projects)
}
