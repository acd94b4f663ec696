//! `lockstep ptx`: compiles an environment's CUDA source to the PTX that is kept, or says whether it still is the same.

use super::print_json;
use crate::exit::{Exit, Failure};
use crate::project::Project;
use lockstep_harness::cuda::nvrtc::{Nvrtc, NvrtcError};
use lockstep_harness::cuda::report::{above, rows, table};
use lockstep_harness::cuda::{Flat, make};
use serde_json::json;
use std::path::PathBuf;

/// Compile the CUDA source of an environment to PTX, and report what its kernels need of a GPU
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  lockstep ptx pong\n\nNeeds NVRTC 13.0, which `lockstep doctor --fix` fetches; no GPU and no driver. Exit code 1 if --check finds other PTX than what is kept, the linter finds an instruction that may give other bits on a GPU, or a kernel is above its ceiling in env.toml."
)]
pub struct Arguments {
    /// An environment in envs/, or the folder of one
    environment: String,
    /// Only compare with the kept PTX, and write nothing
    #[arg(long)]
    check: bool,
    /// The folder of libnvrtc.so.13
    #[arg(long, value_name = "FOLDER")]
    nvrtc: Option<PathBuf>,
    /// Print the result as JSON; what the compiler says too
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let project = Project::find(&arguments.environment)?;
    let manifest = &project.manifest;
    let result = Nvrtc::find(arguments.nvrtc.as_deref()).and_then(|nvrtc| {
        let made = make(manifest, &nvrtc, !arguments.check)?;
        let flat = Flat::read(manifest).map_err(|error| NvrtcError::Files(error.to_string()))?;
        let flat = flat.ok_or_else(|| NvrtcError::Files("there is no CUDA source".into()))?;
        let (_, log) = nvrtc.cubin(&flat, "sm_90")?;
        Ok((made, rows(&manifest.file.name, &log)))
    });
    let (made, rows) = match result {
        Ok(done) => done,
        Err(error) => {
            if arguments.json {
                print_json(&json!({"environment": manifest.file.name, "error": error}))?;
            }
            let exit = match &error {
                NvrtcError::DoesNotCompile { .. } => Exit::DoesNotBuild,
                _ => Exit::Usage,
            };
            return Err(Failure { exit, message: error.to_string() });
        }
    };
    let above = above(manifest, &rows);
    if arguments.json {
        print_json(&json!({"ptx": made, "architecture": "sm_90", "kernels": rows, "above_ceilings": above}))?;
    } else {
        anstream::println!(
            "{} of {}: {} bytes of PTX in {:.2} s",
            made.compiler,
            made.environment,
            made.bytes,
            made.seconds
        );
        anstream::print!("{}", table(&rows));
        made.findings.iter().for_each(|finding| anstream::println!("lint: {finding}"));
        above.iter().for_each(|finding| anstream::println!("ceiling: {finding}"));
        match (made.was_the_same, arguments.check) {
            (true, _) => anstream::println!("the kept PTX is the same"),
            (false, true) => {
                anstream::println!("the kept PTX is another one\n(hint: lockstep ptx {})", made.environment)
            }
            (false, false) => anstream::println!("kept"),
        }
    }
    let differs = arguments.check && !made.was_the_same;
    let fails = differs || !made.findings.is_empty() || !above.is_empty();
    Ok(if fails { Exit::Diverged } else { Exit::Agree })
}
