//! The workshop: a scratch copy in which candidates are built, and from which they are run, both closed in.
//!
//! It holds `lockstep-core`, what builds it, and one environment without tests, traces, certificates, recordings, quirks
//! or other backends. Its crates are vendored, so that a build needs neither network nor anybody's cargo folder, and it
//! stays warm between rounds.

mod build;
mod gate;
mod scaffold;

pub use gate::{told_of_cuda, told_of_rust};

use crate::edit::Files;
use crate::prompt::PromptError;
use crate::sandbox::{Bind, Confinement, Purpose, Sandbox};
use build::{Cargo, built_runner};
use lockstep_harness::certificate::{Source, hash_candidate};
use lockstep_harness::manifest::Manifest;
use lockstep_harness::reference::cache_folder;
use lockstep_harness::side::CommandLine;
use lockstep_harness::sides::Processes;
use lockstep_harness::watch::Stop;
use scaffold::{Around, Scaffold};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where a confined program sees the copy.
const INSIDE: &str = "/lockstep/workshop";
/// Where a confined runner sees itself.
const INSIDE_RUNNER: &str = "/lockstep/runner";
/// How long a workshop that nobody opens is kept.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Workshops of one environment at most, for runs at once.
const SLOTS: u32 = 8;

/// Why there is no candidate.
#[derive(Debug, thiserror::Error)]
pub enum WorkshopError {
    /// The copy can't be made.
    #[error("the workshop in {} can't be made: {source}\n(hint: LOCKSTEP_CACHE names a folder with room)", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The clone lacks what is copied.
    #[error("{} is no clone of lockstep: {what}\n(hint: the workshop copies lockstep-core from the clone that the environment is in)", root.display())]
    NoClone {
        /// Where it was looked for.
        root: PathBuf,
        /// What is missing.
        what: String,
    },
    /// Every slot is in use.
    #[error("{SLOTS} runs of {0} are building at once\n(hint: wait for one to end)")]
    Busy(String),
    /// The crates could not be vendored.
    #[error(
        "the crates of lockstep-core can't be copied: {0}\n(hint: run `cargo fetch` in the clone once, with network)"
    )]
    Vendor(String),
    /// The manifest can't be shown to a candidate.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The compiler could not be started at all.
    #[error("the compiler could not be started in the sandbox: {0}\n(hint: lockstep doctor)")]
    NoCompiler(String),
    /// The candidate does not compile.
    #[error("the candidate does not build\n{output}")]
    DoesNotBuild {
        /// What the compiler said, with paths from the environment's folder.
        output: String,
    },
    /// Ctrl-C.
    #[error("stopped by Ctrl-C")]
    Stopped,
}

/// A candidate that was built.
#[derive(Debug, Clone)]
pub struct Built {
    /// Its runner, set aside under its hash.
    pub runner: PathBuf,
}

impl Built {
    /// Keeps it in a folder that outlives the workshop's next use.
    ///
    /// # Errors
    /// If it can't be written there.
    pub fn keep(&self, folder: &Path) -> io::Result<Built> {
        built_runner(&self.runner, folder).map(|runner| Built { runner })
    }
}

/// The scratch copy.
pub struct Workshop {
    folder: PathBuf,
    root: PathBuf,
    scaffold: Scaffold,
    sandbox: Sandbox,
    sysroot: PathBuf,
    world_files: BTreeSet<PathBuf>,
    /// Whether source that names more than rules may is refused; tests open it to see what stands behind.
    #[cfg(test)]
    pub open_gate: bool,
    /// How long a build may take.
    pub build_limit: Duration,
    /// Held as long as the workshop is used.
    _lock: File,
}

impl Workshop {
    /// Makes the copy for these backends of an environment, or finds it warm. Where `offline`, crates that are not on this
    /// machine are an error.
    ///
    /// # Errors
    /// If the folder can't be written or the clone is not whole.
    pub fn open(
        manifest: &Manifest,
        root: &Path,
        backends: &[String],
        sandbox: Sandbox,
        offline: bool,
    ) -> Result<Workshop, WorkshopError> {
        let name = &manifest.file.name;
        let parent = cache_folder().join("workshops");
        let failed = |source| WorkshopError::Io { path: parent.clone(), source };
        std::fs::create_dir_all(&parent).map_err(failed)?;
        let (folder, lock) = slot(&parent, name).map_err(failed)?.ok_or_else(|| WorkshopError::Busy(name.clone()))?;
        drop_old(&parent);
        // Runners of earlier runs, which nobody starts again.
        let _ = std::fs::remove_dir_all(folder.join("runners"));
        let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        let scaffold = Scaffold::new(manifest, backends)?;
        scaffold.copy(&root, &folder.join("tree"), offline)?;
        let sysroot = build::sysroot()?;
        let worlds = manifest.configurations().iter().flat_map(|configuration| configuration.files.values());
        let world_files = worlds.map(PathBuf::from).filter(|file| file.is_absolute() && file.exists()).collect();
        Ok(Workshop {
            folder,
            root,
            scaffold,
            sandbox,
            sysroot,
            world_files,
            #[cfg(test)]
            open_gate: false,
            build_limit: build::BUILD,
            _lock: lock,
        })
    }

    /// Puts the files in their places and builds the runner.
    ///
    /// # Errors
    /// If it does not compile, or was stopped.
    pub fn build(&mut self, files: &Files, backend: &str, stop: &Stop) -> Result<Built, WorkshopError> {
        self.put(files, Around::Runner)?;
        let feature = self.scaffold.feature(backend);
        self.runner(feature.map(|feature| ["--features".to_owned(), feature]).as_ref().map_or(&[], |two| two), stop)
    }

    /// Puts the files in their places and builds a runner of the functions that `file` has to be probed.
    ///
    /// # Errors
    /// As [`Workshop::build`].
    pub fn build_probes(&mut self, files: &Files, file: &str, stop: &Stop) -> Result<Built, WorkshopError> {
        self.put(files, Around::Probes(file))?;
        self.runner(&[], stop)
    }

    fn runner(&self, more: &[String], stop: &Stop) -> Result<Built, WorkshopError> {
        let binary = format!("lockstep-env-{}", self.scaffold.name);
        let arguments = [&["build".to_owned(), "--bin".into(), binary.clone()], more].concat();
        self.cargo(stop).run(&arguments)?;
        let made = self.tree().join("target/debug").join(&binary);
        built_runner(&made, &self.folder.join("runners"))
            .map(|runner| Built { runner })
            .map_err(|source| WorkshopError::Io { path: made, source })
    }

    /// Puts the files in their places and compiles those that are there as a library.
    ///
    /// # Errors
    /// As [`Workshop::build`].
    pub fn check(&mut self, files: &Files, _backend: &str, stop: &Stop) -> Result<(), WorkshopError> {
        self.put(files, Around::Library)?;
        self.cargo(stop).run(&["check".to_owned(), "--lib".into()])
    }

    /// Sides whose backend is the candidate, closed in, and whose reference runs as always.
    pub fn sides(&self, built: &Built, reference: CommandLine, logs: PathBuf, deadline: Duration) -> Processes {
        Processes { reference, runner: self.confined(built), logs, deadline }
    }

    /// Where a runner sees itself.
    pub fn seen(&self, built: &Built) -> PathBuf {
        self.sandbox.place(&built.runner, INSIDE_RUNNER)
    }

    /// How a runner is started, closed in.
    pub fn confined(&self, built: &Built) -> CommandLine {
        let runner = self.seen(built);
        let mut binds = vec![Bind { outside: built.runner.clone(), inside: runner.clone(), writable: false }];
        // The judge tells a side where the files of its world are.
        for file in &self.world_files {
            binds.push(Bind { outside: file.clone(), inside: file.clone(), writable: false });
        }
        let confinement = Confinement {
            purpose: Purpose::Run,
            binds,
            folder: "/".into(),
            variables: vec![("PATH".into(), "/usr/bin:/bin".into())],
            passes: Vec::new(),
        };
        self.sandbox.command(&confinement, &[runner.display().to_string()])
    }

    /// What a certificate says of a candidate of these files.
    ///
    /// # Errors
    /// If the source can't be read.
    pub fn source(&self, files: &Files) -> Result<Source, WorkshopError> {
        let core = self.root.join("harness/core");
        hash_candidate(files, &core, &self.root.join("Cargo.toml"))
            .map_err(|source| WorkshopError::Io { path: core, source })
    }

    /// Runs what was built without a sandbox from here on, to see what it keeps from a candidate.
    #[cfg(test)]
    pub fn open_sandbox(&mut self) {
        self.sandbox = Sandbox::none();
    }

    fn tree(&self) -> PathBuf {
        self.folder.join("tree")
    }

    fn put(&mut self, files: &Files, around: Around<'_>) -> Result<(), WorkshopError> {
        #[cfg(test)]
        let looks = !self.open_gate;
        #[cfg(not(test))]
        let looks = true;
        if looks {
            gate::look(files, &self.scaffold.name).map_err(|output| WorkshopError::DoesNotBuild { output })?;
        }
        let folder = self.tree().join("envs").join(&self.scaffold.name);
        self.scaffold
            .put(&folder, files, around)
            .map_err(|source| WorkshopError::Io { path: folder.clone(), source })?;
        Ok(())
    }

    fn cargo<'a>(&self, stop: &'a Stop) -> Cargo<'a> {
        let inside = self.sandbox.place(&self.tree(), INSIDE);
        let text = |path: &Path| path.display().to_string();
        let variables = vec![
            ("PATH".to_owned(), format!("{}:/usr/local/bin:/usr/bin:/bin", text(&self.sysroot.join("bin")))),
            ("HOME".to_owned(), text(&inside)),
            ("CARGO_HOME".to_owned(), text(&inside.join("cargo-home"))),
            ("CARGO_TARGET_DIR".to_owned(), text(&inside.join("target"))),
            ("CARGO_TERM_COLOR".to_owned(), "never".into()),
            ("CARGO_INCREMENTAL".to_owned(), "0".into()),
            ("RUSTC".to_owned(), text(&self.sysroot.join("bin/rustc"))),
            ("TMPDIR".to_owned(), text(&inside.join("target"))),
        ];
        let confinement = Confinement {
            purpose: Purpose::Build,
            binds: vec![
                Bind { outside: self.sysroot.clone(), inside: self.sysroot.clone(), writable: false },
                Bind { outside: self.tree(), inside: inside.clone(), writable: true },
            ],
            folder: inside.clone(),
            variables,
            passes: Vec::new(),
        };
        let argv = [text(&self.sysroot.join("bin/cargo"))];
        let manifest = format!("--manifest-path=envs/{}/Cargo.toml", self.scaffold.name);
        Cargo {
            command: self.sandbox.command(&confinement, &argv),
            folder: self.tree(),
            common: vec!["--offline".into(), "--quiet".into(), manifest],
            places: vec![
                (format!("envs/{}/", self.scaffold.name), String::new()),
                (format!("{}/", text(&inside)), String::new()),
                (format!("{}/", text(&self.tree())), String::new()),
                (format!("{}/", text(&self.sysroot)), "rust/".into()),
            ],
            began: Instant::now(),
            limit: self.build_limit,
            stop,
        }
    }
}

/// Removes workshops that nobody has opened for a month. What can't be removed is left for the next time.
fn drop_old(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path().join("lock");
        let age = path.metadata().and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
        let Ok(lock) = File::open(&path) else { continue };
        // The lock is held until the folder is gone.
        if age.is_some_and(|age| age > KEPT) && lock.try_lock().is_ok() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A folder that no other run uses, with its lock.
fn slot(parent: &Path, name: &str) -> io::Result<Option<(PathBuf, File)>> {
    for slot in 1..=SLOTS {
        let folder = parent.join(format!("{name}-{slot}"));
        std::fs::create_dir_all(&folder)?;
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {
                lock.set_modified(std::time::SystemTime::now())?;
                return Ok(Some((folder, lock)));
            }
            Err(std::fs::TryLockError::WouldBlock) => {}
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(None)
}
