//! Finds what a verb is about: the environment's folder, its reference, its runner.

use crate::carried;
use crate::commands::converge::sandbox;
use crate::edit::Files;
use crate::exit::{Exit, Failure};
use crate::terminal::Progress;
use crate::workshop::Workshop;
use lockstep_harness::manifest::Manifest;
use lockstep_harness::reference::{Prepared, Reference, cache_folder, find_tools, prepare};
use lockstep_harness::report::shown;
use lockstep_harness::runner;
use lockstep_harness::side::CommandLine;
use lockstep_harness::sides::Processes;
use lockstep_harness::watch::{Stop, Watch};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The options that every verb with a reference has.
#[derive(clap::Args, Debug, Clone)]
pub struct ReferenceOptions {
    /// The adapter of the reference, where it has several (counter has python and c)
    #[arg(long)]
    pub adapter: Option<String>,
    /// Another folder with a reference.toml, instead of the manifest's
    #[arg(long, value_name = "FOLDER")]
    pub reference: Option<PathBuf>,
    /// The Python that references run with [default: LOCKSTEP_PYTHON, the active environment, python3]
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// How long one request to a side may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub deadline: u64,
}

/// An environment, found.
pub struct Project {
    /// Its manifest.
    pub manifest: Manifest,
}

impl Project {
    /// The environment with this name in `envs/` here or above, or the folder of one.
    pub fn find(environment: &str) -> Result<Self, Failure> {
        let folder = if Path::new(environment).join("env.toml").is_file() {
            PathBuf::from(environment)
        } else {
            named(environment)?
        };
        let folder = folder.canonicalize().unwrap_or(folder);
        Ok(Project { manifest: Manifest::read(&folder)? })
    }

    /// The clone that the environment is in, as far as references and SDKs go.
    pub fn root(&self) -> PathBuf {
        let folder = &self.manifest.folder;
        let above = folder.ancestors().find(|folder| folder.join("references/sdk").is_dir());
        above.map_or_else(|| folder.join("../.."), Path::to_owned)
    }

    /// Reads its reference, or the one in another folder.
    pub fn reference(&self, instead: Option<&Path>) -> Result<Reference, Failure> {
        let root = self.root();
        if let Some(folder) = instead {
            let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
            return Ok(Reference::read(&folder, &root.join("references/sdk"))?);
        }
        let named = root.join("references").join(&self.manifest.file.reference);
        let own = self.manifest.folder.join(&self.manifest.file.reference);
        let folder = if named.join("reference.toml").is_file() { named } else { own };
        Ok(Reference::read(&folder, &root.join("references/sdk"))?)
    }

    /// Where `lockstep-core` is: in the clone that the environment is in, else as the program carries it.
    pub fn source(&self) -> Result<PathBuf, Failure> {
        let mut above = self.manifest.folder.ancestors();
        if let Some(clone) = above.find(|folder| folder.join("harness/core/src/lib.rs").is_file()) {
            return Ok(clone.to_owned());
        }
        carried::source().map_err(|error| {
            let cache = cache_folder();
            Failure::usage(format!(
                "{} can't be written: {error}\n(hint: LOCKSTEP_CACHE names a folder with room)",
                cache.display()
            ))
        })
    }

    /// Builds the runner with what `backend` needs. An environment without a crate of its own has what the loop wrote
    /// alone: that is built and run as the loop does, closed in.
    pub fn runner(&self, backend: &str, progress: &mut Progress) -> Result<CommandLine, Failure> {
        if !self.manifest.folder.join("Cargo.toml").is_file() {
            return self.runner_of_the_workshop(backend, progress);
        }
        progress.begin(&format!("building {}", self.manifest.file.name), 0);
        let feature = self.manifest.file.backends.get(backend).and_then(|table| table.feature.as_deref());
        let runner = runner::build(&self.manifest.file.name, &self.manifest.folder, feature);
        progress.end();
        let runner = runner?;
        if let Some(message) = runner::lacks(&runner, backend) {
            return Err(Failure { exit: Exit::NoDevice, message });
        }
        Ok(CommandLine::program(&runner))
    }

    fn runner_of_the_workshop(&self, backend: &str, progress: &mut Progress) -> Result<CommandLine, Failure> {
        let (file, folder) = (&self.manifest.file, &self.manifest.folder);
        let mut files = Files::new();
        for path in file.backends.values().flat_map(|table| &table.editable) {
            if let Ok(text) = std::fs::read_to_string(folder.join(path)) {
                files.insert(path.clone(), text);
            }
        }
        if files.is_empty() {
            let (name, shown) = (&file.name, shown(folder));
            return Err(Failure::usage(format!(
                "{name} has no source yet: {shown} holds neither a Cargo.toml nor a file that the manifest leaves to the loop\n(hint: lockstep converge {shown}; lockstep check {shown} needs none)"
            )));
        }
        let backends: Vec<String> = file
            .backends
            .iter()
            .filter(|(_, table)| !table.editable.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        let mut workshop = Workshop::open(&self.manifest, &self.source()?, &backends, sandbox(false)?, false)?;
        progress.begin(&format!("building {}", file.name), 0);
        let built = workshop.build(&files, backend, &Stop::default());
        progress.end();
        let runners = cache_folder().join("runners");
        let unwritable = |error: std::io::Error| {
            Failure::usage(format!(
                "{} can't be written: {error}\n(hint: LOCKSTEP_CACHE names a folder with room)",
                runners.display()
            ))
        };
        let kept = built?.keep(&runners).map_err(unwritable)?;
        Ok(workshop.confined(&kept))
    }

    /// Sides of which the reference is not prepared and can't be started: for play against recordings.
    pub fn backends_alone(
        &self,
        backend: &str,
        options: &ReferenceOptions,
        progress: &mut Progress,
    ) -> Result<Processes, Failure> {
        Ok(Processes {
            reference: CommandLine::new(Vec::new()),
            runner: self.runner(backend, progress)?,
            logs: cache_folder().join("logs"),
            deadline: Duration::from_secs(options.deadline.max(1)),
        })
    }

    /// Prepares the reference and builds the runner with what `backend` needs.
    pub fn sides(
        &self,
        backend: &str,
        options: &ReferenceOptions,
        progress: &mut Progress,
    ) -> Result<(Processes, Prepared), Failure> {
        let tools = find_tools(options.python.as_deref());
        let prepared =
            prepare(&self.reference(options.reference.as_deref())?, options.adapter.as_deref(), &tools, progress)?;
        let runner = self.runner(backend, progress)?;
        let sides = Processes {
            reference: prepared.command.clone(),
            runner,
            logs: cache_folder().join("logs"),
            deadline: Duration::from_secs(options.deadline.max(1)),
        };
        Ok((sides, prepared))
    }
}

/// The names of the environments in `envs/` here or above.
pub fn known() -> Vec<String> {
    let Some(folder) = envs() else { return Vec::new() };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join("env.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// `envs/` here or above.
pub fn envs() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors().map(|folder| folder.join("envs")).find(|folder| folder.is_dir())
}

fn named(environment: &str) -> Result<PathBuf, Failure> {
    let folder = envs().map(|envs| envs.join(environment)).filter(|folder| folder.join("env.toml").is_file());
    folder.ok_or_else(|| {
        let known = known();
        let hint = if known.is_empty() {
            "go to a clone of lockstep, or name the folder that holds env.toml".to_owned()
        } else {
            format!("there are {}; or name the folder that holds env.toml", known.join(", "))
        };
        Failure::usage(format!("there is no environment {environment:?}\n(hint: {hint})"))
    })
}
