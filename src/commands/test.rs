//! `lockstep test`: the equivalence suites, under nextest where it is installed; then the tests of the Python package.

use crate::exit::{Exit, Failure};
use crate::project::{envs, known};
use crate::terminal::Progress;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Run the equivalence suites (nextest where installed, else cargo test)
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  lockstep test\n  lockstep test pong --tier rollout\n  lockstep test -- --no-fail-fast\n\nRows are named <environment>::<tier>::<backend>::<configuration>; rows that can't run here are listed as skipped, with the reason."
)]
pub struct Arguments {
    /// Only this environment, or `python` for the Python package; without it everything, the harness's own tests too
    environment: Option<String>,
    /// Only this tier
    #[arg(long, short)]
    tier: Option<String>,
    /// Only this backend
    #[arg(long)]
    backend: Option<String>,
    /// Arguments for the test runner
    #[arg(last = true)]
    rest: Vec<String>,
}

/// Runs the verb.
pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let root =
        envs().ok_or_else(|| Failure::usage("there is no envs/ here or above\n(hint: go to a clone of lockstep)"))?;
    let root = root.parent().unwrap_or(Path::new(".")).to_owned();
    if arguments.environment.as_deref() == Some("python") {
        return super::python::test(&root, &mut Progress::new(false));
    }
    let everything = arguments.environment.is_none()
        && arguments.tier.is_none()
        && arguments.backend.is_none()
        && arguments.rest.is_empty();
    match suites(&root, arguments)? {
        Exit::Agree if everything => super::python::test(&root, &mut Progress::new(false)),
        exit => Ok(exit),
    }
}

/// Runs the tests of Rust.
fn suites(root: &Path, arguments: Arguments) -> Result<Exit, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let nextest = Command::new(&cargo)
        .args(["nextest", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if arguments.environment.is_none() {
        // The tests of the command start it on the environments; what it then builds is built before any test's time runs.
        let mut progress = Progress::new(false);
        for name in known() {
            crate::project::Project::find(&name)?.runner("rust", &mut progress)?;
        }
    }
    let search = past_a_shim();
    let begun = || {
        let mut command = Command::new(&cargo);
        command.current_dir(root);
        command.envs(search.iter().map(|path| ("PATH", path)));
        command.args(if nextest { &["nextest", "run"][..] } else { &["test"][..] });
        command
    };
    let mut command = begun();
    match &arguments.environment {
        Some(name) => {
            crate::project::Project::find(name)?;
            command.args(["--package", &format!("lockstep-env-{name}"), "--test", "equivalence"]);
        }
        None => {
            command.arg("--workspace");
            if !nextest && arguments.tier.is_none() && arguments.backend.is_none() {
                command.arg("--no-fail-fast");
            }
        }
    }
    let filter = match (&arguments.tier, &arguments.backend) {
        (Some(tier), Some(backend)) => Some(format!("::{tier}::{backend}::")),
        (Some(tier), None) => Some(format!("::{tier}::")),
        (None, Some(backend)) => Some(format!("::{backend}::")),
        (None, None) => None,
    };
    command.args(filter);
    if nextest {
        command.args(["--status-level", "skip", "--final-status-level", "skip", "--no-tests", "fail"]);
        command.args(&arguments.rest);
    } else {
        anstream::eprintln!("(hint: `cargo install --locked cargo-nextest` gives faster runs and better listings)");
        command.args(&arguments.rest);
    }
    let first = ended(&mut command, nextest)?;
    // Backends behind a feature are another build of the same runner, so they have a run of their own.
    let asked = arguments.backend.as_ref().is_none_or(|backend| FEATURED.contains(&backend.as_str()));
    if first != Exit::Agree || !asked || !arguments.rest.is_empty() {
        return Ok(first);
    }
    if !compiles_cuda() {
        anstream::eprintln!(
            "(hint: rows of cuda-host, ptx and cuda were skipped, because there is no C++ compiler `c++` here)"
        );
        return Ok(first);
    }
    let environments = arguments.environment.map_or_else(known, |name| vec![name]);
    let featured: Vec<&String> = environments
        .iter()
        .filter(|name| crate::project::Project::find(name).is_ok_and(|project| has_cuda(&project)))
        .collect();
    let mut command = begun();
    for name in &featured {
        command.args(["--package", &format!("lockstep-env-{name}")]);
        command.args(["--features", &format!("lockstep-env-{name}/{}", feature(name))]);
    }
    // What is planted in the CUDA source, where an environment has such tests.
    let planted = featured.iter().any(|name| root.join("envs").join(name).join("tests/ptx.rs").is_file());
    command.args(["--test", "equivalence", "--test", "cuda_host"]);
    command.args(if planted { &["--test", "ptx"][..] } else { &[] });
    // What the device crate says where there is no driver, or one that fails.
    let driver = featured.iter().any(|name| feature(name) == "cuda");
    if driver {
        command.args(["--package", "lockstep-device", "--features", "lockstep-device/cuda", "--lib"]);
    }
    if nextest {
        let tier = arguments.tier.map_or(String::new(), |tier| format!(" & test(::{tier}::)"));
        let own = match &arguments.backend {
            Some(backend) => format!("test(::{backend}::){tier}"),
            None => {
                let rows = FEATURED.map(|backend| format!("test(::{backend}::)")).join(" | ");
                let planted = if planted { " | binary(ptx)" } else { "" };
                let driver = if driver { " | package(lockstep-device)" } else { "" };
                format!("binary(cuda_host){planted}{driver} | (({rows}){tier})")
            }
        };
        command.args(["--filter-expr", &own]);
        command.args(["--status-level", "skip", "--final-status-level", "skip", "--no-tests", "pass"]);
    } else {
        // The rows are named after the backend, and so are the tests of the two binaries beside them.
        command.args(["--", "cuda-host", "cuda_host", "ptx", "::cuda::", "cuda::tests", "said::tests", "issue::tests"]);
    }
    if featured.is_empty() { Ok(first) } else { ended(&mut command, nextest) }
}

/// The backends that the cargo features `cuda-host` and `cuda` build.
const FEATURED: [&str; 3] = ["cuda-host", "ptx", "cuda"];

/// The largest of those features that an environment has: with `cuda` its rows are listed, and skipped where there is no
/// GPU.
fn feature(environment: &str) -> &'static str {
    let project = crate::project::Project::find(environment);
    let has = project.is_ok_and(|project| {
        project.manifest.file.backends.values().any(|backend| backend.feature.as_deref() == Some("cuda"))
    });
    if has { "cuda" } else { "cuda-host" }
}

/// `PATH` with the interpreter's own folder in front, where `python3` is a shim (pyenv's, say): a run starts hundreds of
/// Pythons, and each would first start the dozen shells of the shim.
fn past_a_shim() -> Option<OsString> {
    let python = lockstep_harness::reference::find_tools(None).python?.path;
    let (own, path) = (python.parent()?, std::env::var_os("PATH")?);
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // A folder that is in PATH already holds other programs too, which must stay behind those before it.
    if folders.iter().any(|folder| folder == own) {
        return None;
    }
    std::env::join_paths(std::iter::once(own.to_owned()).chain(folders)).ok()
}

/// How a test run ended.
fn ended(command: &mut Command, nextest: bool) -> Result<Exit, Failure> {
    let status = command.status().map_err(|error| {
        Failure::usage(format!("cargo could not be started: {error}\n(hint: install Rust from https://rustup.rs)"))
    })?;
    Ok(match status.code() {
        Some(0) => Exit::Agree,
        // nextest: the build failed.
        Some(101) if nextest => Exit::DoesNotBuild,
        _ => Exit::Diverged,
    })
}

fn has_cuda(project: &crate::project::Project) -> bool {
    project.manifest.file.backends.values().any(|backend| backend.feature.as_deref() == Some("cuda-host"))
}

fn compiles_cuda() -> bool {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let version = Command::new(compiler).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}
