//! libFuzzer as an engine of the fuzz tier: builds the target of an environment with coverage, and runs it.
//!
//! It works on the stable toolchain, by flags of the compiler: no nightly, no cargo-fuzz, no sanitizer runtime. The
//! target plays `rust` against `cuda-host` in its own process and ends at the first difference; what comes back here are
//! bytes, and nothing is believed of them until the reference has judged the trace that they stand for.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What the compiler puts in: counters for edges, and the operands of comparisons.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1";

/// Why libFuzzer could not run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no C++ compiler.
    #[error(
        "libFuzzer and cuda-host need a C++ compiler, and {compiler:?} can't be started\n(hint: apt install g++, or name one in CXX; `lockstep fuzz` without --engine needs none)"
    )]
    NoCompiler {
        /// What was tried.
        compiler: String,
    },
    /// The environment has no target.
    #[error(
        "there is no libFuzzer target for {environment}: {manifest} has no feature of that name\n(hint: add fuzz/src/bin/{environment}.rs and its feature, as for counter; its backend cuda-host has to exist)"
    )]
    NoTarget {
        /// The environment.
        environment: String,
        /// The manifest that was looked into.
        manifest: String,
    },
    /// The target does not compile.
    #[error("the libFuzzer target {target} does not build\n{output}")]
    DoesNotBuild {
        /// Its name.
        target: String,
        /// The last lines of cargo.
        output: String,
    },
    /// It could not be started, or failed by itself.
    #[error("libFuzzer failed: {0}")]
    Failed(String),
}

/// How a run of libFuzzer is bounded.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Wall-clock time.
    pub time: Duration,
    /// Inputs at most; no bound if absent.
    pub runs: Option<u64>,
    /// The seed; the low 31 bits count.
    pub seed: u64,
}

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct Hunt {
    /// Inputs that were played.
    pub inputs: u64,
    /// The bytes at which the process ended, if it did.
    pub finding: Option<Vec<u8>>,
    /// The last line that the target wrote before it ended.
    pub last_line: String,
}

/// Builds the target `name` in `fuzz/` of the clone at `root`, behind the feature of that name.
///
/// # Errors
/// If there is no C++ compiler, no such target, or it does not compile.
pub fn build(root: &Path, name: &str) -> Result<PathBuf, EngineError> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let mut words = compiler.split_whitespace();
    let version = Command::new(words.next().unwrap_or("c++"))
        .args(words)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !version.is_ok_and(|status| status.success()) {
        return Err(EngineError::NoCompiler { compiler });
    }
    let manifest = root.join("fuzz/Cargo.toml");
    let text = std::fs::read_to_string(&manifest).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    if table.get("features").and_then(|features| features.get(name)).is_none() {
        let manifest = manifest.display().to_string();
        return Err(EngineError::NoTarget { environment: name.to_owned(), manifest });
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let host = host_triple()?;
    // A target folder of its own, or each plain build would compile everything anew. `--target` keeps the flags away
    // from build scripts.
    let folder = root.join("target/libfuzzer");
    let output = Command::new(cargo)
        .args(["build", "--message-format=json-render-diagnostics", "--bin", name, "--features", name])
        .args(["--target", &host, "--manifest-path"])
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", COVERAGE)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_MANIFEST_DIR")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| EngineError::Failed(format!("cargo can't be started: {error}")))?;
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        return Err(EngineError::DoesNotBuild { target: name.to_owned(), output });
    }
    Ok(folder.join(host).join("debug").join(name))
}

fn host_triple() -> Result<String, EngineError> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| EngineError::Failed("rustc -vV names no host".into()))
}

/// Runs a target until its bounds are spent or the sides differ. `corpus` is written, `seeds` is read if it exists.
///
/// # Errors
/// If the target can't be started, or ends without telling at which input.
pub fn run(
    target: &Path,
    configuration: &str,
    corpus: &Path,
    seeds: &Path,
    bounds: &Bounds,
) -> Result<Hunt, EngineError> {
    let failed = |error: std::io::Error| EngineError::Failed(error.to_string());
    std::fs::create_dir_all(corpus).map_err(failed)?;
    let artifacts = tempfile::tempdir().map_err(failed)?;
    let mut command = Command::new(target);
    command.arg(corpus).args(seeds.is_dir().then_some(seeds));
    command
        // Without the profile of values, comparisons of two bytes lead nowhere.
        .args(["-use_value_profile=1", "-print_final_stats=1", "-max_len=512", "-len_control=10", "-timeout=60"])
        .arg(format!("-max_total_time={}", bounds.time.as_secs().max(1)))
        .arg(format!("-seed={}", (bounds.seed as u32 & 0x7FFF_FFFF).max(1)))
        .arg(format!("-artifact_prefix={}/", artifacts.path().display()))
        .args(bounds.runs.map(|runs| format!("-runs={runs}")))
        .env("LOCKSTEP_FUZZ_CONFIGURATION", configuration)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let mut hunt = Hunt::default();
    let mut last_lines = Vec::new();
    for line in BufReader::new(child.stderr.take().expect("it was piped")).lines().map_while(Result::ok) {
        if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            hunt.inputs = count.trim().parse().unwrap_or(0);
        }
        if line.contains("the sides differ") || line.contains("panicked at") {
            hunt.last_line.clone_from(&line);
        }
        last_lines.push(line);
        if last_lines.len() > 20 {
            last_lines.remove(0);
        }
    }
    let status = child.wait().map_err(failed)?;
    let found = std::fs::read_dir(artifacts.path()).map_err(failed)?.flatten().map(|entry| entry.path());
    // `slow-unit` files are remarks, not findings.
    let found = found.filter(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("slow")));
    hunt.finding = found.min().and_then(|path| std::fs::read(path).ok());
    match (&hunt.finding, status.success()) {
        (None, false) => Err(EngineError::Failed(last_lines.join("\n"))),
        _ => Ok(hunt),
    }
}
