//! What is packed for each environment, and the archive.

use super::script::{Calls, script};
use super::{BUNDLE, Bundle, Hashes, Packed};
use crate::exit::{Exit, Failure};
use crate::project::Project;
use flate2::Compression;
use flate2::write::GzEncoder;
use lockstep_harness::bench::commit;
use lockstep_harness::certificate::today;
use lockstep_harness::cuda::nvrtc::Nvrtc;
use lockstep_harness::cuda::{Flat, KEPT, Kept, kept};
use lockstep_harness::frames::{FramesError, frames};
use lockstep_harness::manifest::Configuration;
use lockstep_harness::reference::cache_folder;
use lockstep_harness::report::shown;
use lockstep_harness::runner;
use lockstep_harness::side::CommandLine;
use lockstep_harness::sides::Processes;
use lockstep_harness::tiers::replay::kept_traces;
use lockstep_harness::trace::Trace;
use lockstep_harness::watch::Watch;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// The folder that the archive unpacks to.
pub const FOLDER: &str = "lockstep-gpu";

/// The architecture that machine code is packed for; a driver compiles the PTX for any other.
const ARCHITECTURE: &str = "sm_90";

const README: &str = include_str!("README.txt");

/// How a bundle is made.
pub struct Recipe {
    /// The profile of the runners: `release` or `dev`.
    pub profile: String,
    /// Steps of all lanes together that are compared in each configuration.
    pub steps: u64,
}

/// A bundle before it is written.
pub struct Made {
    /// Its manifest.
    pub bundle: Bundle,
    /// Path, bytes and whether it is a program.
    files: Vec<(String, Vec<u8>, bool)>,
}

/// Builds and collects everything.
pub fn make(projects: &[Project], recipe: &Recipe, watch: &mut dyn Watch) -> Result<Made, Failure> {
    let mut bundle = Bundle {
        format: BUNDLE.into(),
        lockstep: env!("CARGO_PKG_VERSION").into(),
        commit: projects.first().map(|project| commit(&project.manifest.folder)).unwrap_or_default(),
        day: today(),
        target: target(),
        libc: String::new(),
        compiler: String::new(),
        profile: recipe.profile.clone(),
        environments: BTreeMap::new(),
    };
    let (mut files, mut calls, mut libc) = (Vec::new(), Vec::new(), (0, 0));
    for project in projects {
        let name = project.manifest.file.name.clone();
        let environment = environment(project, recipe, watch)?;
        libc = libc.max(glibc(&environment.files[0].1));
        bundle.compiler.clone_from(&environment.compiler);
        calls.push(environment.calls);
        bundle.environments.insert(name, environment.packed);
        files.extend(environment.files);
    }
    bundle.libc = format!("glibc {}.{}", libc.0, libc.1);
    let manifest = serde_json::to_string_pretty(&bundle).map_err(|error| Failure::usage(error.to_string()))? + "\n";
    files.push(("manifest.json".into(), manifest.into_bytes(), false));
    files.push(("run.sh".into(), script(&bundle, &calls).into_bytes(), true));
    files.push(("README.txt".into(), README.as_bytes().to_vec(), false));
    Ok(Made { bundle, files })
}

struct Environment {
    packed: Packed,
    compiler: String,
    calls: String,
    /// The runner first.
    files: Vec<(String, Vec<u8>, bool)>,
}

fn environment(project: &Project, recipe: &Recipe, watch: &mut dyn Watch) -> Result<Environment, Failure> {
    let manifest = &project.manifest;
    let name = &manifest.file.name;
    let none = || Failure::usage(format!("{name} has no CUDA source (cuda/rules.cuh), so there is nothing to pack"));
    let (source, compiler) = Hashes::of(project)?.ok_or_else(none)?;
    let backend = manifest.file.backends.get("cuda").ok_or_else(|| {
        Failure::usage(format!("{name} has no backend cuda in env.toml\n(hint: envs/counter has one to copy)"))
    })?;
    let unreadable = |error: std::io::Error| Failure::usage(format!("the files of {name} can't be read: {error}"));
    if let Some(Kept::Stale(why)) = kept(manifest).map_err(unreadable)? {
        return Err(Failure::usage(why));
    }
    watch.begin(&format!("building {name} ({})", recipe.profile), 0);
    let runner = runner::build_for_bundle(name, &manifest.folder, backend.feature.as_deref(), &recipe.profile);
    watch.end();
    let runner = runner?;
    let mut left_out = Vec::new();
    let mut configurations = Vec::new();
    for configuration in manifest.configurations() {
        match played(backend.configurations.as_deref(), configuration) {
            Ok(()) => configurations.push(configuration),
            Err(why) => left_out.push(format!("configuration {}: {why}", configuration.name)),
        }
    }
    let mut files = vec![
        (format!("{name}/runner"), std::fs::read(&runner).map_err(unreadable)?, true),
        (format!("{name}/kernels.ptx"), std::fs::read(manifest.folder.join(KEPT)).map_err(unreadable)?, false),
    ];
    let cubin = match machine_code(project) {
        Ok(code) => {
            files.push((format!("{name}/{ARCHITECTURE}.cubin"), code, false));
            true
        }
        Err(why) => {
            left_out.push(format!("machine code for {ARCHITECTURE}: {why}"));
            false
        }
    };
    let (text, traces) = traces(project, &runner, &configurations, &mut left_out)?;
    files.push((format!("{name}/frames.jsonl"), text.into_bytes(), false));
    let calls = Calls::new(manifest).all(&configurations, recipe.steps, traces, cubin);
    let hashes = files.iter().map(|(path, bytes, _)| (path.clone(), hex(&Sha256::digest(bytes))));
    let packed = Packed {
        source,
        configurations: configurations.iter().map(|configuration| configuration.name.clone()).collect(),
        traces,
        files: hashes.collect(),
        left_out,
    };
    Ok(Environment { packed, compiler, calls, files })
}

/// Whether a bundle can play a configuration.
fn played(by_backend: Option<&[String]>, configuration: &Configuration) -> Result<(), &'static str> {
    if by_backend.is_some_and(|names| !names.contains(&configuration.name)) {
        return Err("the backend cuda does not play it");
    }
    if !configuration.files.is_empty() {
        return Err("its world is built from files, which a bundle does not carry");
    }
    Ok(())
}

fn machine_code(project: &Project) -> Result<Vec<u8>, String> {
    let said = |error: String| error.lines().next().unwrap_or_default().to_owned();
    let nvrtc = Nvrtc::find(None).map_err(|error| said(error.to_string()))?;
    let flat = Flat::read(&project.manifest).map_err(|error| error.to_string())?.ok_or("there is no CUDA source")?;
    nvrtc.cubin(&flat, ARCHITECTURE).map(|(code, _)| code).map_err(|error| said(error.to_string()))
}

/// The kept traces as frames, which the runner itself has played on two backends before they are packed.
fn traces(
    project: &Project,
    runner: &Path,
    configurations: &[&Configuration],
    left_out: &mut Vec<String>,
) -> Result<(String, usize), Failure> {
    let manifest = &project.manifest;
    let sides = Processes {
        reference: CommandLine::new(Vec::new()),
        runner: CommandLine::program(runner),
        logs: cache_folder().join("logs"),
        deadline: Duration::from_secs(60),
    };
    let (mut text, mut count) = (String::new(), 0);
    for path in kept_traces(&manifest.folder.join("traces")) {
        let trace = Trace::read(manifest, &path)?;
        if !configurations.iter().any(|configuration| configuration.name == trace.configuration) {
            left_out.push(format!("trace {}: configuration {} is left out", shown(&path), trace.configuration));
            continue;
        }
        let framed = frames(manifest, &sides, &path).map_err(failed)?;
        text += &serde_json::to_string(&framed).map_err(|error| Failure::usage(error.to_string()))?;
        text += "\n";
        count += 1;
    }
    if count > 0 {
        let unwritable = |error: std::io::Error| Failure::usage(format!("no temporary file can be written: {error}"));
        let file = tempfile::NamedTempFile::new().map_err(unwritable)?;
        std::fs::write(file.path(), &text).map_err(unwritable)?;
        let path = file.path().display().to_string();
        let told = runner::tool(runner, &["frames", "cuda-host", &path]);
        let told = told.map_err(|(_, why)| Failure::bug(format!("the runner can't play its own frames: {why}")))?;
        if told["agrees"] != true {
            let name = &manifest.file.name;
            let message = format!(
                "rust and cuda-host differ on a kept trace of {name}, so nothing is packed: {}\n(hint: lockstep verify {name} --backend cuda-host -t traces)",
                told["traces"]
            );
            return Err(Failure { exit: Exit::Diverged, message });
        }
    }
    Ok((text, count))
}

fn failed(error: FramesError) -> Failure {
    match error {
        FramesError::Trace(error) => error.into(),
        FramesError::Side(error) => error.into(),
        error @ FramesError::NotRepeated { .. } => Failure { exit: Exit::Diverged, message: error.to_string() },
    }
}

/// What rustc builds for.
fn target() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map_or_else(|| format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS), str::to_owned)
}

/// The newest version of glibc that a program asks for, which stands in it as `GLIBC_2.34`.
fn glibc(program: &[u8]) -> (u32, u32) {
    const MARK: &[u8] = b"GLIBC_";
    let mut newest = (0, 0);
    for (at, _) in program.windows(MARK.len()).enumerate().filter(|(_, bytes)| *bytes == MARK) {
        let rest = &program[at + MARK.len()..];
        let end = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').unwrap_or(rest.len()).min(12);
        let text = std::str::from_utf8(&rest[..end]).unwrap_or_default();
        let mut parts = text.split('.').map_while(|part| part.parse().ok());
        if let (Some(major), Some(minor)) = (parts.next(), parts.next()) {
            newest = newest.max((major, minor));
        }
    }
    newest
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Made {
    /// Bytes before they are packed.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, bytes, _)| bytes.len() as u64).sum()
    }

    /// Writes the archive, so that it appears whole or not at all; its size.
    pub fn write(&self, path: &Path) -> Result<u64, Failure> {
        let packed = || -> std::io::Result<u64> {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let file = tempfile::NamedTempFile::new_in(folder)?;
            let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            for (name, bytes, program) in &self.files {
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes.len() as u64);
                header.set_mtime(now.as_secs());
                header.set_mode(if *program { 0o755 } else { 0o644 });
                archive.append_data(&mut header, format!("{FOLDER}/{name}"), &**bytes)?;
            }
            let mut file = archive.into_inner()?.finish()?;
            file.flush()?;
            file.as_file().sync_all()?;
            use std::os::unix::fs::PermissionsExt;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
            let size = file.as_file().metadata()?.len();
            file.persist(path).map_err(|error| error.error)?;
            Ok(size)
        };
        packed().map_err(|error| {
            Failure::usage(format!(
                "{} can't be written: {error}\n(hint: --out names a file in a folder with room)",
                shown(path)
            ))
        })
    }
}
