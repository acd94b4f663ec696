//! The tests of the Python package: prepared, built and started where Python is there.
//!
//! What pytest needs comes from a lock file with hashes and is kept in the cache folder. The package itself is built with
//! the profile of the tests, so that nothing is compiled a second time, and lies in the clone's own target folder.

use crate::exit::{Exit, Failure};
use crate::terminal::Progress;
use lockstep_harness::reference::{cache_folder, find_tools};
use lockstep_harness::watch::Watch;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest Python that the package is for.
const MINOR_LEAST: u32 = 10;

/// Runs the tests of a clone's Python package.
pub fn test(root: &Path, progress: &mut Progress) -> Result<Exit, Failure> {
    let package = root.join("python");
    if !package.join("pyproject.toml").is_file() {
        return Ok(Exit::Agree);
    }
    let environment = match prepare(&package, progress) {
        Ok(environment) => environment,
        Err(reason) => {
            anstream::eprintln!("(hint: the tests of the Python package were skipped: {reason})");
            return Ok(Exit::Agree);
        }
    };
    let python = environment.join("bin/python");
    let place = root.join("target/python");
    progress.say("building the Python package");
    let mut build = Command::new(&python);
    build.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]);
    build.args(["--no-build-isolation", "--upgrade", "--config-settings", "build-args=--profile dev", "--target"]);
    // maturin stands beside the interpreter of its environment.
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::env::join_paths([environment.join("bin")].into_iter().chain(std::env::split_paths(&paths)));
    build.arg(&place).arg(&package).env_remove("PYTHONPATH");
    build.env("PATH", paths.unwrap_or_default()).env_remove("PYTHONHOME");
    if !succeeds(&mut build)? {
        return Ok(Exit::DoesNotBuild);
    }
    progress.say("testing the Python package");
    let mut pytest = Command::new(&python);
    pytest.args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider"]).arg(package.join("tests"));
    pytest.env("PYTHONPATH", &place).env("PYTHONDONTWRITEBYTECODE", "1").env_remove("PYTHONHOME");
    Ok(if succeeds(&mut pytest)? { Exit::Agree } else { Exit::Diverged })
}

/// The virtual environment with what the lock file names; or why there is none.
fn prepare(package: &Path, progress: &mut Progress) -> Result<PathBuf, String> {
    let python = find_tools(None).python.ok_or("there is no python3 here")?;
    let minor = python.version.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or(0);
    if !python.version.starts_with("Python 3.") || minor < MINOR_LEAST {
        return Err(format!("{} is older than 3.{MINOR_LEAST}", python.version));
    }
    let lock = package.join("tests/requirements.lock");
    let text = std::fs::read(&lock).map_err(|error| format!("{} can't be read: {error}", lock.display()))?;
    let mut hasher = DefaultHasher::new();
    (&text, &python.path, &python.version).hash(&mut hasher);
    let folder = cache_folder().join(format!("python/tests-{:016x}", hasher.finish()));
    let ready = folder.join("ready");
    if ready.is_file() {
        return Ok(folder);
    }
    progress.say("preparing a virtual environment for the tests of the Python package");
    let said = |command: &mut Command, what: &str| {
        let output = command.output().map_err(|error| format!("{what}: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        let last = text.lines().rev().find(|line| line.contains("ERROR") || line.contains("Error"));
        let last = last.or(text.lines().last()).unwrap_or_default().trim().to_owned();
        Err(format!("{what}: {last}"))
    };
    std::fs::create_dir_all(&folder).map_err(|error| format!("{} can't be made: {error}", folder.display()))?;
    let mut venv = Command::new(&python.path);
    said(venv.args(["-m", "venv", "--clear"]).arg(&folder), "no virtual environment could be made")?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--only-binary",
        ":all:",
    ]);
    pip.args(["--require-hashes", "--requirement"]).arg(&lock).env_remove("PYTHONPATH");
    said(&mut pip, "pip could not install tests/requirements.lock")?;
    std::fs::write(&ready, "").map_err(|error| format!("{} can't be written: {error}", ready.display()))?;
    Ok(folder)
}

fn succeeds(command: &mut Command) -> Result<bool, Failure> {
    let status = command.status();
    status.map(|status| status.success()).map_err(|error| {
        Failure::usage(format!("{} could not be started: {error}", command.get_program().to_string_lossy()))
    })
}
