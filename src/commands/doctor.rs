//! `lockstep doctor`: what is missing on this machine, and what to type.

use super::print_json;
use crate::exit::{Exit, Failure};
use crate::project::{Project, known};
use crate::sandbox::Sandbox;
use lockstep_harness::cuda::nvrtc::Nvrtc;
use lockstep_harness::reference::{cache_folder, find_tools};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Say what is missing on this machine and what to type
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Example:\n  lockstep doctor\n\nExit code 0 if all that the verbs need is here, 3 if something is missing. What is optional never fails."
)]
pub struct Arguments {
    /// The Python that references run with
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Fetch what can be fetched into the cache folder: NVRTC, the CUDA compiler (90 MB from PyPI, checked by hash)
    #[arg(long)]
    fix: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// One thing that was looked for.
struct Finding {
    name: &'static str,
    needed_for: &'static str,
    optional: bool,
    /// What is there, or what to type.
    found: Result<String, String>,
}

/// Runs the verb.
pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let tools = find_tools(arguments.python.as_deref());
    let python = tools.python.as_ref().map(|tool| tool.path.clone());
    let tool = |tool: &Option<lockstep_harness::reference::Tool>, hint: &str| {
        let found = tool.as_ref().map(|tool| format!("{} ({})", tool.version, tool.path.display()));
        found.ok_or_else(|| hint.to_owned())
    };
    if arguments.fix {
        match lockstep_harness::cuda::nvrtc::fetch(&tools) {
            Ok(folder) => anstream::eprintln!("NVRTC is in {}", folder.display()),
            Err(why) => anstream::eprintln!("NVRTC could not be fetched: {why}"),
        }
    }
    let findings = [
        Finding {
            name: "cargo",
            needed_for: "building runners",
            optional: false,
            found: version("cargo", "install Rust from https://rustup.rs"),
        },
        Finding {
            name: "python3",
            needed_for: "references in Python, fetching from PyPI",
            optional: false,
            found: tool(&tools.python, "apt install python3"),
        },
        Finding {
            name: "python3-venv",
            needed_for: "preparing references",
            optional: false,
            found: python_has(python.as_deref(), "import venv, ensurepip", "apt install python3-venv"),
        },
        Finding {
            name: "python3-dev",
            needed_for: "the Python SDK's accelerator",
            optional: true,
            found: python_has(
                python.as_deref(),
                "import sysconfig, os, sys; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path('include'), 'Python.h')))",
                "apt install python3-dev",
            ),
        },
        Finding {
            name: "cc",
            needed_for: "references in C",
            optional: false,
            found: tool(&tools.cc, "apt install gcc libc6-dev"),
        },
        Finding {
            name: "c++",
            needed_for: "backend cuda-host",
            optional: true,
            found: version("c++", "apt install g++"),
        },
        Finding {
            name: "node",
            needed_for: "references in TypeScript",
            optional: true,
            found: version("node", "apt install nodejs npm"),
        },
        Finding {
            name: "cargo-nextest",
            needed_for: "the test runner of `lockstep test`",
            optional: true,
            found: version("cargo-nextest", "cargo install --locked cargo-nextest (without it plain cargo test runs)"),
        },
        Finding {
            name: "cache folder",
            needed_for: "prepared references",
            optional: false,
            found: writable(&cache_folder()),
        },
        Finding {
            name: "sandbox",
            needed_for: "`converge`, which runs what nobody has read",
            optional: true,
            found: sandbox(),
        },
        Finding {
            name: "NVRTC",
            needed_for: "compiling CUDA source; without it the kept PTX is used as it is",
            optional: true,
            found: Nvrtc::find(None)
                .map(|nvrtc| format!("{} ({})", nvrtc.version, nvrtc.folder.display()))
                .map_err(|error| error.to_string().lines().last().unwrap_or_default().to_owned()),
        },
        Finding { name: "GPU", needed_for: "backend cuda", optional: true, found: gpu() },
    ];
    let missing = findings.iter().any(|finding| !finding.optional && finding.found.is_err());
    if arguments.json {
        let rows: Vec<_> = findings
            .iter()
            .map(|finding| {
                json!({
                    "name": finding.name, "needed_for": finding.needed_for, "optional": finding.optional,
                    "found": finding.found.as_ref().ok(), "hint": finding.found.as_ref().err(),
                })
            })
            .collect();
        print_json(&json!({"machine": std::env::consts::ARCH, "system": std::env::consts::OS, "tools": rows}))?;
    } else {
        for finding in &findings {
            let (mark, text) = match &finding.found {
                Ok(found) => ("ok", found.clone()),
                Err(hint) if finding.optional => {
                    ("-", format!("not here (optional, for {}): {hint}", finding.needed_for))
                }
                Err(hint) => ("MISSING", format!("needed for {}: {hint}", finding.needed_for)),
            };
            anstream::println!("{mark:<8} {:<14} {text}", finding.name);
        }
        for name in known() {
            let Ok(project) = Project::find(&name) else { continue };
            let version = project.reference(None).map(|reference| reference.file.version).unwrap_or_default();
            anstream::println!("{:<8} {name:<14} reference {version}; prepares itself on first use", "env");
        }
    }
    Ok(if missing { Exit::ReferenceUnavailable } else { Exit::Agree })
}

fn version(program: &str, hint: &str) -> Result<String, String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
        }
        _ => Err(hint.to_owned()),
    }
}

fn python_has(python: Option<&Path>, script: &str, hint: &str) -> Result<String, String> {
    let python = python.ok_or_else(|| hint.to_owned())?;
    let status = Command::new(python).args(["-c", script]).stdin(Stdio::null()).stderr(Stdio::null()).status();
    if status.is_ok_and(|status| status.success()) { Ok("there".into()) } else { Err(hint.to_owned()) }
}

fn writable(folder: &Path) -> Result<String, String> {
    let probe = folder.join(".doctor");
    let tried = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&probe, ""))
        .and_then(|()| std::fs::remove_file(&probe));
    tried.map(|()| folder.display().to_string()).map_err(|error| {
        format!("{} can't be written ({error}): set LOCKSTEP_CACHE to a folder that can", folder.display())
    })
}

fn gpu() -> Result<String, String> {
    lockstep_harness::cuda::driver::look().map_err(|why| format!("{why}; rows of backend cuda are listed as skipped"))
}

/// What holds for candidates on this machine, tried for real.
fn sandbox() -> Result<String, String> {
    let sandbox = Sandbox::detect();
    let words = sandbox.describe().join("; ");
    if sandbox.closes() { Ok(words) } else { Err(format!("{words}; install it with: apt install bubblewrap")) }
}
