//! Builds the runner of an environment. The tool links no environment, so one that does not compile never breaks it.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why there is no runner.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// cargo could not be started.
    #[error("cargo could not be started: {0}\n(hint: install Rust from https://rustup.rs)")]
    NoCargo(std::io::Error),
    /// The environment does not compile.
    #[error("{environment} does not build\n{output}")]
    DoesNotBuild {
        /// The environment.
        environment: String,
        /// The compiler's errors.
        output: String,
    },
    /// cargo succeeded and made no runner.
    #[error(
        "{environment} has no binary {binary:?}\n(hint: its Cargo.toml needs a [[bin]] of that name, as in envs/counter)"
    )]
    NoBinary {
        /// The environment.
        environment: String,
        /// The binary's name.
        binary: String,
    },
}

/// Builds the runner of the environment in `folder`, with a feature if its backend needs one, and returns its path.
///
/// # Errors
/// If it does not compile.
pub fn build(environment: &str, folder: &Path, feature: Option<&str>) -> Result<PathBuf, RunnerError> {
    build_as(environment, folder, feature, &["build"], &[])
}

/// As [`build`], without assertions and overflow checks: the product that is timed.
///
/// # Errors
/// If it does not compile.
pub fn build_for_bench(environment: &str, folder: &Path, feature: Option<&str>) -> Result<PathBuf, RunnerError> {
    build_as(environment, folder, feature, &["build", "--release"], &[])
}

/// As [`build_for_bench`], without symbols; as [`build`] if the profile is `dev`.
///
/// # Errors
/// If it does not compile.
pub fn build_for_bundle(
    environment: &str,
    folder: &Path,
    feature: Option<&str>,
    profile: &str,
) -> Result<PathBuf, RunnerError> {
    match profile {
        "dev" => build(environment, folder, feature),
        // Only the program itself is built otherwise, so nothing that it is made of has to be built again.
        _ => build_as(environment, folder, feature, &["rustc", "--release"], &["--", "-C", "strip=symbols"]),
    }
}

fn build_as(
    environment: &str,
    folder: &Path,
    feature: Option<&str>,
    how: &[&str],
    flags: &[&str],
) -> Result<PathBuf, RunnerError> {
    let binary = format!("lockstep-env-{environment}");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut child = Command::new(cargo)
        .args(how)
        .args(["--message-format=json-render-diagnostics", "--bin", &binary, "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .args(feature.into_iter().flat_map(|feature| ["--features", feature]))
        .args(flags)
        // Variables that cargo sets for what it runs would make it build everything anew.
        .env_remove("CARGO_MANIFEST_DIR")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(RunnerError::NoCargo)?;
    let errors = child.stderr.take().expect("it was piped");
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(errors).lines().map_while(Result::ok);
        lines.collect::<Vec<String>>().join("\n")
    });
    let mut executable = None;
    for line in BufReader::new(child.stdout.take().expect("it was piped")).lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        if message["reason"] == "compiler-artifact"
            && message["target"]["name"] == binary.as_str()
            && let Some(path) = message["executable"].as_str()
        {
            executable = Some(PathBuf::from(path));
        }
    }
    let status = child.wait().map_err(RunnerError::NoCargo)?;
    let output = reader.join().unwrap_or_default();
    if !status.success() {
        return Err(RunnerError::DoesNotBuild { environment: environment.to_owned(), output });
    }
    let executable = executable.ok_or(RunnerError::NoBinary { environment: environment.to_owned(), binary })?;
    Ok(set_aside(&executable).unwrap_or(executable))
}

/// Copies a runner to a name of its own: cargo puts builds with other features, and other runs' builds, in the same place.
fn set_aside(executable: &Path) -> std::io::Result<PathBuf> {
    let bytes = std::fs::read(executable)?;
    let name = executable.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = executable.with_file_name("lockstep-runners");
    let path = folder.join(format!("{name}-{:016x}", lockstep_core::Digest::Xxh64.of(0, &bytes)));
    if !path.exists() {
        std::fs::create_dir_all(&folder)?;
        let partial = tempfile::NamedTempFile::new_in(&folder)?;
        std::fs::copy(executable, partial.path())?;
        partial.persist(&path).map_err(|error| error.error)?;
    }
    Ok(path)
}

/// The names of the backends that a runner was built with.
pub fn backends(runner: &Path) -> Vec<String> {
    let output = Command::new(runner).arg("--list").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The exit code of a runner that lacks what a backend runs on, such as a GPU.
pub const NO_DEVICE: i32 = 6;

/// What a backend that was built lacks on this machine, in words that end in what to do.
pub fn lacks(runner: &Path, backend: &str) -> Option<String> {
    let output = Command::new(runner).args(["--tool", "needs", backend]).stdin(Stdio::null()).output().ok()?;
    // A runner without tools has no backend that could lack anything.
    (output.status.code() == Some(NO_DEVICE)).then(|| {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        said.strip_prefix("error: ").unwrap_or(&said).to_owned()
    })
}

/// What a tool of a runner answers, as JSON.
///
/// # Errors
/// Its exit code, if it had one, and what it said.
pub fn tool(runner: &Path, arguments: &[&str]) -> Result<Value, (Option<i32>, String)> {
    let output = Command::new(runner).arg("--tool").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| (None, format!("{} can't be started: {error}", runner.display())))?;
    if output.status.success() {
        return serde_json::from_slice(&output.stdout)
            .map_err(|error| (Some(0), format!("it printed no JSON: {error}")));
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err((output.status.code(), said.strip_prefix("error: ").unwrap_or(&said).to_owned()))
}

/// One way of timing a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contest {
    /// How observations are laid out.
    pub layout: String,
    /// The instruction set.
    pub instructions: String,
}

/// The ways in which a runner can time a backend on this machine.
pub fn contests(runner: &Path, backend: &str) -> Vec<Contest> {
    let output = Command::new(runner).args(["--contests", backend]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (layout, instructions) = line.split_once(' ').unwrap_or((line, ""));
            (!line.is_empty()).then(|| Contest { layout: layout.into(), instructions: instructions.into() })
        })
        .collect()
}
