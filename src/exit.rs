//! The exit codes, and the failures that end a verb with one.

use crate::agent::AgentError;
use crate::ledger::LedgerError;
use crate::prompt::PromptError;
use crate::workshop::WorkshopError;
use lockstep_harness::engine::EngineError;
use lockstep_harness::manifest::ManifestError;
use lockstep_harness::recording::RecordingError;
use lockstep_harness::reference::PrepareError;
use lockstep_harness::runner::RunnerError;
use lockstep_harness::side::SideError;
use lockstep_harness::trace::TraceError;
use std::process::ExitCode;

/// How `lockstep` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything that was played agrees.
    Agree = 0,
    /// Something diverged, or a certificate is stale.
    Diverged = 1,
    /// The arguments, a manifest or a trace are wrong.
    Usage = 2,
    /// The reference can't be prepared, started or talked to.
    ReferenceUnavailable = 3,
    /// The backend does not compile.
    DoesNotBuild = 4,
    /// A budget is spent; the run can be resumed with a larger one.
    Budget = 5,
    /// The machine lacks what the backend runs on: a GPU.
    NoDevice = 6,
    /// A bug of lockstep itself.
    Bug = 70,
    /// Stopped by Ctrl-C; what was found is kept.
    Stopped = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// A failure of the world, in words.
#[derive(Debug)]
pub struct Failure {
    /// How the verb ends.
    pub exit: Exit,
    /// What fits after `error: `.
    pub message: String,
}

impl Failure {
    /// A failure that the user can mend by typing something else.
    pub fn usage(message: impl Into<String>) -> Self {
        Failure { exit: Exit::Usage, message: message.into() }
    }

    /// A failure of ours that is no panic.
    pub fn bug(message: impl Into<String>) -> Self {
        Failure { exit: Exit::Bug, message: message.into() }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Failure::usage(error.to_string())
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        Failure::usage(error.to_string())
    }
}

impl From<PromptError> for Failure {
    fn from(error: PromptError) -> Self {
        Failure::usage(error.to_string())
    }
}

impl From<WorkshopError> for Failure {
    fn from(error: WorkshopError) -> Self {
        let exit = if matches!(error, WorkshopError::DoesNotBuild { .. }) { Exit::DoesNotBuild } else { Exit::Usage };
        Failure { exit, message: error.to_string() }
    }
}

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        Failure::usage(error.to_string())
    }
}

impl From<TraceError> for Failure {
    fn from(error: TraceError) -> Self {
        Failure::usage(error.to_string())
    }
}

impl From<PrepareError> for Failure {
    fn from(error: PrepareError) -> Self {
        let exit =
            if matches!(error, PrepareError::NoAdapter { .. }) { Exit::Usage } else { Exit::ReferenceUnavailable };
        Failure { exit, message: error.to_string() }
    }
}

impl From<RunnerError> for Failure {
    fn from(error: RunnerError) -> Self {
        Failure { exit: Exit::DoesNotBuild, message: error.to_string() }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let exit = match error {
            EngineError::NoCompiler { .. } | EngineError::NoTarget { .. } => Exit::Usage,
            EngineError::DoesNotBuild { .. } => Exit::DoesNotBuild,
            EngineError::Failed(_) => Exit::Bug,
        };
        Failure { exit, message: error.to_string() }
    }
}

impl From<RecordingError> for Failure {
    fn from(error: RecordingError) -> Self {
        match error {
            RecordingError::Unusable { .. } => Failure::usage(error.to_string()),
            RecordingError::Trace(error) => error.into(),
            RecordingError::Side(error) => error.into(),
        }
    }
}

impl From<SideError> for Failure {
    fn from(error: SideError) -> Self {
        let exit = match (&error, error.role()) {
            (SideError::BadRequest { .. } | SideError::Schema { .. }, _) => Exit::Usage,
            (_, "reference") => Exit::ReferenceUnavailable,
            _ => Exit::Diverged,
        };
        Failure { exit, message: error.to_string() }
    }
}
