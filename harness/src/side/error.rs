//! What can go wrong with a side, told so that the reader knows which side it was and what to do next.

use lockstep_core::wire::Verb;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

/// A line of the user's own code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// Its text.
    pub text: String,
}

/// What went wrong with a side.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SideError {
    /// It could not be started.
    NotStarted {
        /// The side.
        role: String,
        /// What was tried.
        command: String,
        /// Why it failed.
        reason: String,
    },
    /// Its process ended, or closed the connection.
    Died {
        /// The side.
        role: String,
        /// The verb that was not answered.
        verb: &'static str,
        /// How it ended.
        status: String,
        /// The last line that it printed.
        last_line: String,
        /// Where the rest of its output is.
        log: String,
    },
    /// It did not answer in time and was ended.
    Hung {
        /// The side.
        role: String,
        /// The verb that was not answered.
        verb: &'static str,
        /// How long we waited.
        deadline: Duration,
        /// Where its output is.
        log: String,
    },
    /// It answered with what can't be an answer.
    Lying {
        /// The side.
        role: String,
        /// What.
        what: String,
    },
    /// It speaks another protocol.
    Version {
        /// The side.
        role: String,
        /// What it speaks.
        spoken: String,
        /// What we speak.
        expected: String,
    },
    /// Its schema is not that of the manifest.
    Schema {
        /// The side.
        role: String,
        /// What differs.
        what: String,
    },
    /// The request was wrong.
    BadRequest {
        /// The side.
        role: String,
        /// The verb.
        verb: &'static str,
        /// What it says.
        message: String,
    },
    /// It can't do what was asked.
    Refused {
        /// The side.
        role: String,
        /// The verb.
        verb: &'static str,
        /// What it says.
        message: String,
    },
    /// The environment's own code failed.
    Exception {
        /// The side.
        role: String,
        /// The verb.
        verb: &'static str,
        /// What it says.
        message: String,
        /// Where, innermost first.
        places: Vec<Place>,
    },
}

impl SideError {
    /// From the body of an error reply.
    pub(super) fn replied(role: &str, verb: Verb, answer: &Value) -> Self {
        let role = role.to_owned();
        let verb = verb.name();
        let message = answer["error"].as_str().unwrap_or("no message").to_owned();
        match answer["kind"].as_str() {
            Some("refused") => SideError::Refused { role, verb, message },
            Some("exception") => {
                let places = answer["where"].as_array().into_iter().flatten().map(|place| Place {
                    file: place["file"].as_str().unwrap_or_default().to_owned(),
                    line: place["line"].as_u64().unwrap_or_default(),
                    text: place["text"].as_str().unwrap_or_default().trim().to_owned(),
                });
                SideError::Exception { role, verb, message, places: places.collect() }
            }
            _ => SideError::BadRequest { role, verb, message },
        }
    }

    /// Which side it was.
    pub fn role(&self) -> &str {
        match self {
            SideError::NotStarted { role, .. }
            | SideError::Died { role, .. }
            | SideError::Hung { role, .. }
            | SideError::Lying { role, .. }
            | SideError::Version { role, .. }
            | SideError::Schema { role, .. }
            | SideError::BadRequest { role, .. }
            | SideError::Refused { role, .. }
            | SideError::Exception { role, .. } => role,
        }
    }

    /// Whether a backend that does this differs from its reference (it died, hung or failed on a valid trace).
    pub fn is_behaviour(&self) -> bool {
        matches!(
            self,
            SideError::Died { .. } | SideError::Hung { .. } | SideError::Lying { .. } | SideError::Exception { .. }
        )
    }

    /// A word for the kind, by which divergences are told apart.
    pub fn kind(&self) -> &'static str {
        match self {
            SideError::NotStarted { .. } => "not started",
            SideError::Died { .. } => "died",
            SideError::Hung { .. } => "hung",
            SideError::Lying { .. } => "lies",
            SideError::Version { .. } => "version",
            SideError::Schema { .. } => "schema",
            SideError::BadRequest { .. } => "bad request",
            SideError::Refused { .. } => "refused",
            SideError::Exception { .. } => "exception",
        }
    }
}

impl fmt::Display for SideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SideError::NotStarted { role, command, reason } => {
                write!(
                    f,
                    "{role} could not be started\n  command      {command}\n  reason       {reason}\n(hint: lockstep doctor)"
                )
            }
            SideError::Died { role, verb, status, last_line, log } => {
                write!(
                    f,
                    "{role} stopped before it answered `{verb}`\n  {status}\n  last line    {last_line}\n  log          {log}\n(hint: lockstep doctor)"
                )
            }
            SideError::Hung { role, verb, deadline, log } => {
                let seconds = deadline.as_secs_f64();
                write!(
                    f,
                    "{role} did not answer `{verb}` within {seconds} s and was ended\n  log          {log}\n(hint: give it longer with --deadline SECONDS)"
                )
            }
            SideError::Lying { role, what } => {
                write!(f, "{role} breaks the protocol: {what}\n(hint: docs/protocol.md says what is expected)")
            }
            SideError::Version { role, spoken, expected } => {
                write!(
                    f,
                    "{role} speaks {spoken:?}, this lockstep speaks {expected:?}\n(hint: use the SDK of this version of lockstep)"
                )
            }
            SideError::Schema { role, what } => {
                write!(
                    f,
                    "{role} does not fit the manifest: {what}\n(hint: make env.toml and the adapter or rules say the same)"
                )
            }
            SideError::BadRequest { role, verb, message } => write!(f, "{role} does not take this `{verb}`: {message}"),
            SideError::Refused { role, verb, message } => write!(f, "{role} refuses `{verb}`: {message}"),
            SideError::Exception { role, verb, message, places } => {
                write!(f, "{role} failed in `{verb}`: {message}")?;
                for place in places {
                    write!(f, "\n  {}:{}  {}", place.file, place.line, place.text)?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for SideError {}
