//! Where sides come from: a factory that opens the reference and each backend, in processes or in this one.

use crate::compare::{BULK_JUDGE, Tolerances};
use crate::manifest::{Configuration, ToleranceMode};
use crate::pair::Pair;
use crate::side::{CommandLine, Local, LogFile, Opener, Process, Side, SideError, Terms};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Opens sides of one environment.
pub trait Sides {
    /// A new reference in this configuration.
    ///
    /// # Errors
    /// If it can't be started or does not fit the manifest.
    fn reference(&self, configuration: Arc<Configuration>, terms: Terms) -> Result<Side, SideError>;

    /// A new backend in this configuration.
    ///
    /// # Errors
    /// If it can't be started or does not fit the manifest.
    fn backend(&self, name: &str, configuration: Arc<Configuration>, terms: Terms) -> Result<Side, SideError>;

    /// A new backend whose process gets these variables on top of ours.
    ///
    /// # Errors
    /// As [`Sides::backend`]; also if there is no process that could get them.
    fn backend_with(
        &self,
        name: &str,
        configuration: Arc<Configuration>,
        terms: Terms,
        variables: &[(String, String)],
    ) -> Result<Side, SideError> {
        let _ = (configuration, terms, variables);
        Err(SideError::Refused {
            role: name.to_owned(),
            verb: "hello",
            message: "it does not run in a process of its own".into(),
        })
    }

    /// The setting of the reference, where it has several; [`BULK_JUDGE`] where `rust` stands in its place.
    fn setting(&self) -> &str {
        "default"
    }

    /// How long one request may take.
    fn deadline(&self) -> Duration {
        Duration::from_secs(60)
    }
}

/// Opens a reference and a backend that agree on digest and names of draws.
///
/// # Errors
/// If one of them can't be opened.
pub fn open_pair(
    sides: &dyn Sides,
    backend: &str,
    configuration: &Arc<Configuration>,
    lanes: usize,
    tier: &str,
    mode: ToleranceMode,
) -> Result<Pair, SideError> {
    let mut terms = Terms::new(lanes);
    terms.deadline = sides.deadline();
    let reference = sides.reference(configuration.clone(), terms.clone())?;
    terms.digests = vec![reference.digest.name()];
    terms.named = reference.capabilities.draw_sites;
    let backend_side = sides.backend(backend, configuration.clone(), terms)?;
    let tolerances = Tolerances::select(configuration, backend, sides.setting(), tier, mode);
    let forced = ToleranceMode::TeacherForced;
    let forced = Tolerances::select(configuration, backend, sides.setting(), tier, forced);
    Ok(Pair::new(reference, backend_side, tolerances, forced))
}

/// The variable that tells an adapter, and us, the setting of the reference.
pub const SETTING: &str = "LOCKSTEP_SETTING";

/// Both sides in their own processes.
pub struct Processes {
    /// How the reference is started.
    pub reference: CommandLine,
    /// How the runner of the environment is started; the backend's name is appended. Whatever confines a runner stands
    /// before it.
    pub runner: CommandLine,
    /// Where their output goes.
    pub logs: PathBuf,
    /// How long one request may take.
    pub deadline: Duration,
}

impl Processes {
    fn start(&self, role: &str, command: CommandLine) -> Result<Box<Process>, SideError> {
        let log = LogFile::create(&self.logs, role).map_err(|error| SideError::NotStarted {
            role: role.to_owned(),
            command: command.argv.join(" "),
            reason: format!("its log in {} can't be written: {error}", self.logs.display()),
        })?;
        Ok(Box::new(Process::start(role, command, log)?))
    }
}

impl Sides for Processes {
    fn reference(&self, configuration: Arc<Configuration>, terms: Terms) -> Result<Side, SideError> {
        let channel = self.start("reference", self.reference.clone())?;
        Side::connect("reference", channel, configuration, terms)
    }

    fn backend(&self, name: &str, configuration: Arc<Configuration>, terms: Terms) -> Result<Side, SideError> {
        self.backend_with(name, configuration, terms, &[])
    }

    fn setting(&self) -> &str {
        let named = self.reference.variables.iter().find(|(name, _)| name == SETTING);
        named.map_or("default", |(_, setting)| setting)
    }

    fn backend_with(
        &self,
        name: &str,
        configuration: Arc<Configuration>,
        terms: Terms,
        variables: &[(String, String)],
    ) -> Result<Side, SideError> {
        let mut command = self.runner.clone();
        command.argv.push(name.to_owned());
        command.variables.extend_from_slice(variables);
        let channel = self.start(name, command)?;
        Side::connect(name, channel, configuration, terms)
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }
}

/// The readable backend in the place of the reference, to judge the other backends in bulk.
pub struct AgainstRust<'a>(pub &'a dyn Sides);

impl Sides for AgainstRust<'_> {
    fn reference(&self, configuration: Arc<Configuration>, terms: Terms) -> Result<Side, SideError> {
        self.0.backend("rust", configuration, terms)
    }

    fn backend(&self, name: &str, configuration: Arc<Configuration>, terms: Terms) -> Result<Side, SideError> {
        self.0.backend(name, configuration, terms)
    }

    fn setting(&self) -> &str {
        BULK_JUDGE
    }

    fn backend_with(
        &self,
        name: &str,
        configuration: Arc<Configuration>,
        terms: Terms,
        variables: &[(String, String)],
    ) -> Result<Side, SideError> {
        self.0.backend_with(name, configuration, terms, variables)
    }

    fn deadline(&self) -> Duration {
        self.0.deadline()
    }
}

/// Both sides in this process, for source that is accepted and for the harness's own tests.
pub struct InProcess {
    /// What stands for the reference.
    pub reference: Opener,
    /// The backend.
    pub backend: Opener,
}

impl Sides for InProcess {
    fn reference(&self, configuration: Arc<Configuration>, terms: Terms) -> Result<Side, SideError> {
        Side::connect("reference", Local::boxed("reference", self.reference), configuration, terms)
    }

    fn backend(&self, name: &str, configuration: Arc<Configuration>, terms: Terms) -> Result<Side, SideError> {
        Side::connect(name, Local::boxed(name, self.backend), configuration, terms)
    }
}
