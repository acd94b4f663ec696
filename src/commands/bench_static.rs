//! `lockstep bench ENV --static`: what an environment's kernels need of a GPU, without one.
//!
//! Two sources that know nothing of each other: the assembler tells registers, stack and spills for each architecture, and
//! the interpreter counts what a step issues and moves. The first are held against the manifest's ceilings.

use super::print_json;
use crate::exit::{Exit, Failure};
use crate::project::{Project, known};
use crate::terminal::Progress;
use lockstep_harness::bench::commit;
use lockstep_harness::cuda::nvrtc::{Nvrtc, NvrtcError};
use lockstep_harness::cuda::report::{KernelRow, above, rows, table};
use lockstep_harness::cuda::{ARCHITECTURES, Flat};
use lockstep_harness::manifest::CeilingTable;
use lockstep_harness::runner;
use lockstep_harness::watch::Watch;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Lanes, steps and steps of a launch that the interpreter plays: enough for episodes to end, and soon over.
const COUNTED: [usize; 3] = [64, 256, 64];

/// Runs `bench --static`.
pub fn run(project: &Project, configuration: &str, nvrtc: Option<&Path>, as_json: bool) -> Result<Exit, Failure> {
    let manifest = &project.manifest;
    let name = &manifest.file.name;
    let flat = Flat::read(manifest).map_err(|error| Failure::usage(error.to_string()))?;
    let flat = flat.ok_or_else(|| no_source(name))?;
    let nvrtc = Nvrtc::find(nvrtc).map_err(failed)?;
    let mut targets: Vec<(&str, Vec<KernelRow>, Vec<String>)> = Vec::new();
    for architecture in ARCHITECTURES {
        let (_, log) = nvrtc.cubin(&flat, architecture).map_err(failed)?;
        let rows = rows(name, &log);
        let above = above(manifest, &rows);
        targets.push((architecture, rows, above));
    }
    let mut progress = Progress::new(as_json);
    let counted = counted(project, configuration, &mut progress)?;
    let commit = commit(&manifest.folder);
    if as_json {
        let rows = targets.iter().map(|(architecture, rows, above)| {
            json!({"architecture": architecture, "kernels": rows, "above_ceilings": above})
        });
        print_json(&json!({
            "format": "lockstep/static/1", "environment": name, "configuration": configuration, "commit": commit,
            "compiler": nvrtc.version, "source": flat.hash(), "ceilings": ceilings(&manifest.file.ceiling),
            "targets": rows.collect::<Vec<_>>(),
            "interpreted": counted.as_ref().map_or_else(|why| json!({"not_measured": why}), Clone::clone),
        }))?;
    } else {
        for (architecture, rows, above) in &targets {
            anstream::println!("{architecture}, by the assembler of {}; bytes of one thread", nvrtc.version);
            anstream::print!("{}", table(rows));
            above.iter().for_each(|finding| anstream::println!("ceiling: {finding}"));
            anstream::println!();
        }
        match &counted {
            Ok(counted) => anstream::print!("{}", shown(counted)),
            Err(why) => anstream::println!("instructions and bytes of a step: not measured: {why}"),
        }
        let bounded = manifest.file.ceiling.len();
        anstream::println!(
            "{name}, {configuration}, commit {commit}; {bounded} kernels with ceilings in env.toml; no GPU was used"
        );
    }
    let fails = targets.iter().any(|(_, _, above)| !above.is_empty());
    Ok(if fails { Exit::Diverged } else { Exit::Agree })
}

/// The manifest's ceilings; what is absent is not bounded.
fn ceilings(ceilings: &BTreeMap<String, CeilingTable>) -> Value {
    let rows = ceilings.iter().map(|(kernel, most)| {
        let bounds = json!({
            "registers": most.registers, "stack_bytes": most.stack_bytes, "spill_bytes": most.spill_bytes,
            "shared_bytes": most.shared_bytes,
        });
        (kernel.clone(), bounds)
    });
    Value::Object(rows.collect())
}

/// The error of an environment without CUDA source.
fn no_source(name: &str) -> Failure {
    let with: Vec<String> = known().into_iter().filter(|name| has_source(name)).collect();
    let hint = if with.is_empty() {
        "write it, as envs/README.md says".into()
    } else {
        format!("{} have some", with.join(", "))
    };
    Failure::usage(format!("{name} has no CUDA source (cuda/rules.cuh)\n(hint: {hint})"))
}

fn has_source(name: &str) -> bool {
    Project::find(name).is_ok_and(|project| project.manifest.folder.join("cuda/rules.cuh").is_file())
}

fn failed(error: NvrtcError) -> Failure {
    let exit = if matches!(error, NvrtcError::DoesNotCompile { .. }) { Exit::DoesNotBuild } else { Exit::Usage };
    Failure { exit, message: error.to_string() }
}

/// What the interpreter counts; the inner error is why it could not.
fn counted(project: &Project, configuration: &str, progress: &mut Progress) -> Result<Result<Value, String>, Failure> {
    let manifest = &project.manifest;
    let configuration = manifest.configuration(configuration)?;
    let Some(backend) = manifest.file.backends.get("ptx") else {
        return Ok(Err("there is no backend ptx in env.toml".into()));
    };
    if backend.configurations.as_ref().is_some_and(|names| !names.contains(&configuration.name)) {
        return Ok(Err(format!("the backend ptx does not play {}", configuration.name)));
    }
    progress.begin("building ptx", 0);
    let built = runner::build(&manifest.file.name, &manifest.folder, backend.feature.as_deref());
    progress.end();
    let [lanes, steps, launch] = COUNTED;
    let request = json!({
        "backend": "ptx", "options": configuration.options, "files": configuration.files, "lanes": lanes,
        "steps": steps, "launch": launch,
    });
    let runner = match built {
        Ok(runner) => runner,
        Err(error) => return Ok(Err(error.to_string())),
    };
    Ok(runner::tool(&runner, &["work", &request.to_string()]).map_err(|(_, why)| why))
}

/// The interpreter's rows as text.
fn shown(counted: &Value) -> String {
    let mut text = format!(
        "{:<12} {:>12} {:>12} {:>10} {:>12} {:>12}\n",
        "of a step", "instructions", "warp issues", "SIMT eff.", "bytes loaded", "bytes stored"
    );
    for row in counted["rows"].as_array().into_iter().flatten() {
        let number = |key: &str| row[key].as_f64().unwrap_or(f64::NAN);
        let _ = writeln!(
            text,
            "{:<12} {:>12.1} {:>12.2} {:>10.2} {:>12.1} {:>12.1}",
            row["form"].as_str().unwrap_or_default(),
            number("instructions_per_step"),
            number("issues_per_step"),
            number("simt_efficiency"),
            number("bytes_loaded_per_step"),
            number("bytes_stored_per_step"),
        );
    }
    let lanes = &counted["lanes"];
    text + &format!(
        "as the interpreter counts PTX, {lanes} lanes; bytes in sectors of 32. fused: 64 steps in a launch, without \
         observations; single: one, with them\n\n"
    )
}
