//! What the harness's own tests share: sides whose reference is the real Python counter, and places to keep traces.

use lockstep_core::{Files, Opened, Options};
use lockstep_harness::manifest::{Configuration, Manifest};
use lockstep_harness::reference::{Reference, find_tools, prepare};
use lockstep_harness::side::{CommandLine, Local, LogFile, Process, Side, SideError, Terms};
use lockstep_harness::sides::Sides;
use lockstep_harness::watch::Silent;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The clone.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("harness/ is in the clone").to_owned()
}

/// The manifest of an environment.
pub fn manifest(environment: &str) -> Manifest {
    Manifest::read(&root().join("envs").join(environment)).expect("the manifest is valid")
}

/// How the real reference of an environment is started.
pub fn reference_command(environment: &str, adapter: Option<&str>) -> CommandLine {
    let root = root();
    let reference = Reference::read(&root.join("references").join(environment), &root.join("references/sdk"))
        .expect("the reference is valid");
    prepare(&reference, adapter, &find_tools(None), &mut Silent).expect("the reference can be prepared").command
}

/// The opener of a backend.
pub type Opener = fn(Options, &Files, usize) -> Result<Opened, String>;

/// A reference in a process, a backend in this one.
pub struct Mixed {
    /// How the reference is started.
    pub reference: CommandLine,
    /// The backend.
    pub backend: Opener,
    /// How long a request may take.
    pub deadline: Duration,
}

impl Sides for Mixed {
    fn reference(&self, configuration: Arc<Configuration>, terms: Terms) -> Result<Side, SideError> {
        let log =
            LogFile::create(&std::env::temp_dir().join("lockstep-test-logs"), "reference").expect("a log can be made");
        let process = Process::start("reference", self.reference.clone(), log)?;
        Side::connect("reference", Box::new(process), configuration, terms)
    }

    fn backend(&self, name: &str, configuration: Arc<Configuration>, terms: Terms) -> Result<Side, SideError> {
        Side::connect(name, Local::boxed(name, self.backend), configuration, terms)
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }
}
