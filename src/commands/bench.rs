//! `lockstep bench`: how much faster the backends are than their reference, on this machine.

use super::print_json;
use crate::exit::{Exit, Failure};
use crate::project::{Project, ReferenceOptions};
use crate::terminal::Progress;
use lockstep_harness::bench::{Contender, commit, machine, plot, run as time, table};
use lockstep_harness::certificate::today;
use lockstep_harness::keep::write_whole;
use lockstep_harness::reference::{bench_builds, find_tools, prepare};
use lockstep_harness::report::shown;
use lockstep_harness::runner;
use lockstep_harness::watch::Watch;
use serde_json::json;
use std::path::PathBuf;

/// Measure the backends beside their reference, as ratios
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  lockstep bench pong --save\n\nEach contender runs in a process of its own, in turn with the reference, on one core; CPU time, medians, spread. The reference is timed bare: no adapter, no digest. Ratios are against its best legal build.\n\n  lockstep bench pong --static\n\nNeeds neither GPU nor reference, but NVRTC, which `lockstep doctor --fix` fetches: registers, stack, spills and shared memory of each kernel for sm_75 and sm_90, and what a step issues and moves as the interpreter counts it. Exit code 1 if a kernel is above its ceiling in env.toml."
)]
pub struct Arguments {
    /// An environment in envs/, or the folder of one
    environment: String,
    /// Only these backends (repeatable)
    #[arg(long, value_name = "NAME")]
    backend: Vec<String>,
    /// The configuration
    #[arg(long, short, value_name = "NAME", default_value = "default")]
    configuration: String,
    /// Lanes (repeatable)
    #[arg(long, value_name = "N", default_values_t = [1024usize, 16384])]
    lanes: Vec<usize>,
    /// Measurements of each contender, at least 5
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(5..1000))]
    runs: u64,
    /// Keep the result and a plot in the environment's benchmarks/
    #[arg(long)]
    save: bool,
    /// Measure nothing: say what the CUDA kernels need of a GPU, against the ceilings in env.toml
    #[arg(long = "static", conflicts_with_all = ["backend", "lanes", "runs", "save"])]
    statically: bool,
    /// The folder of libnvrtc.so.13, for --static
    #[arg(long, value_name = "FOLDER", requires = "statically")]
    nvrtc: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reference: ReferenceOptions,
}

/// Runs the verb.
pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let project = Project::find(&arguments.environment)?;
    if arguments.statically {
        let nvrtc = arguments.nvrtc.as_deref();
        return super::bench_static::run(&project, &arguments.configuration, nvrtc, arguments.json);
    }
    let manifest = &project.manifest;
    let configuration = manifest.configuration(&arguments.configuration)?;
    let mut progress = Progress::new(arguments.json);
    let tools = find_tools(arguments.reference.python.as_deref());
    let reference = project.reference(arguments.reference.reference.as_deref())?;
    let prepared = prepare(&reference, arguments.reference.adapter.as_deref(), &tools, &mut progress)?;
    let builds = bench_builds(&reference, &prepared, &tools, &mut progress)?;
    let options = configuration.options.to_string();
    let mut contenders = Vec::new();
    for lanes in &arguments.lanes {
        for build in &builds {
            let fill = |text: &String| text.replace("{lanes}", &lanes.to_string()).replace("{options}", &options);
            contenders.push(Contender {
                name: format!("reference, {}", build.name),
                argv: build.argv.iter().map(fill).collect(),
                variables: prepared.command.variables.clone(),
                lanes: *lanes,
                anchor: build.anchor,
            });
        }
    }
    let asked = |name: &String| arguments.backend.is_empty() || arguments.backend.contains(name);
    for (name, backend) in manifest.file.backends.iter().filter(|(name, _)| asked(name)) {
        progress.begin(&format!("building {name}"), 0);
        let runner = runner::build_for_bench(&manifest.file.name, &manifest.folder, backend.feature.as_deref());
        progress.end();
        let runner = runner?;
        for contest in runner::contests(&runner, name) {
            for lanes in &arguments.lanes {
                let request = json!({
                    "options": configuration.options, "files": configuration.files, "lanes": lanes,
                    "layout": contest.layout, "instructions": contest.instructions,
                });
                // The steps are filled in later, as text: JSON has no holes.
                let request = request.to_string().replacen('{', "{\"steps\": {lane_steps}, ", 1);
                contenders.push(Contender {
                    name: [name.as_str(), &contest.layout, &contest.instructions].join(" ").trim().to_owned(),
                    argv: vec![runner.display().to_string(), "--bench".into(), name.clone(), request],
                    variables: Vec::new(),
                    lanes: *lanes,
                    anchor: false,
                });
            }
        }
    }
    progress.begin("bench", (contenders.len() as u64) * (arguments.runs + 1));
    let rows = time(&contenders, arguments.runs as usize, |_| progress.advance(1));
    progress.end();
    let (machine, commit, day) = (machine(), commit(&manifest.folder), today());
    let result = json!({
        "format": "lockstep/bench/1",
        "environment": manifest.file.name,
        "configuration": configuration.name,
        "reference": reference.file.version,
        "machine": machine,
        "commit": commit,
        "day": day,
        "command": std::env::args().collect::<Vec<_>>()[1..].join(" "),
        "rows": rows,
    });
    if arguments.save {
        let slug: String =
            machine.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
        let folder = manifest.folder.join("benchmarks").join(format!("{day}-{slug}"));
        let text = serde_json::to_string_pretty(&result).map_err(|error| Failure::usage(error.to_string()))? + "\n";
        let title =
            format!("{} on {machine}, commit {commit}: times the best build of the reference", manifest.file.name);
        for (name, text) in [("bench.json", text), ("bench.svg", plot(&title, &rows))] {
            let path = folder.join(name);
            write_whole(&path, &text)
                .map_err(|error| Failure::usage(format!("{} can't be written: {error}", path.display())))?;
        }
        progress.say(&format!("kept in {}", shown(&folder)));
    }
    if arguments.json {
        print_json(&result)?;
    } else {
        anstream::print!("{}", table(&rows));
        anstream::println!("{machine}, commit {commit}, one core, {} runs each, CPU time, medians", arguments.runs);
        if reference.file.about.contains("written for Lockstep") {
            anstream::println!("this reference was written here: its ratios are no headline");
        }
    }
    Ok(Exit::Agree)
}
