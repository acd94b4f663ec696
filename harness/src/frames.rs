//! Kept traces as the requests that a judge sends, with what `rust` answers: so that a runner can play them on a machine
//! that has no judge.
//!
//! They are written by listening to a conversation, not by composing one, so a runner is asked exactly what it is asked
//! here. `runner --tool frames` plays them on two backends and compares every byte.

use crate::compare::Tolerances;
use crate::manifest::{Configuration, Manifest, ToleranceMode};
use crate::pair::{Pair, Verdict};
use crate::recording::hex;
use crate::report::shown;
use crate::side::{Channel, SideError, Terms};
use crate::sides::Sides;
use crate::trace::{Trace, TraceError};
use lockstep_core::wire::Verb;
use serde::Serialize;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One kept trace; a line of the file.
#[derive(Debug, Clone, Serialize)]
pub struct Framed {
    /// The trace's file name.
    pub name: String,
    /// Its configuration.
    pub configuration: String,
    /// The conversation, beginning with `hello`.
    pub requests: Vec<Request>,
}

/// One request and its reply, in hexadecimal.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    /// The verb's number.
    pub verb: u32,
    /// What is asked.
    pub body: String,
    /// What `rust` answered.
    pub reply: String,
}

/// Why a trace has no frames.
#[derive(Debug, thiserror::Error)]
pub enum FramesError {
    /// The trace can't be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A side failed.
    #[error(transparent)]
    Side(#[from] SideError),
    /// `rust` does not repeat itself.
    #[error(
        "rust does not answer {path} twice in the same way\n(hint: lockstep verify {environment} -t contract names what differs)"
    )]
    NotRepeated {
        /// The trace.
        path: String,
        /// The environment.
        environment: String,
    },
}

/// Plays a trace twice on `rust`, and keeps what was asked and answered.
///
/// # Errors
/// If the trace can't be read, `rust` fails, or does not repeat itself.
pub fn frames(manifest: &Manifest, sides: &dyn Sides, path: &Path) -> Result<Framed, FramesError> {
    let trace = Trace::read(manifest, path)?;
    let configuration = Arc::new(manifest.configuration(&trace.configuration).map_err(TraceError::from)?.clone());
    let mut pair = pair_of_rust(sides, &configuration)?;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listening = heard.clone();
    pair.reference.tap(move |channel| Box::new(Tap { channel, heard: listening, asked: None }))?;
    let verdict = pair.check(&trace)?;
    drop(pair);
    if !matches!(verdict, Verdict::Agree) {
        let environment = manifest.file.name.clone();
        return Err(FramesError::NotRepeated { path: shown(path), environment });
    }
    let requests = std::mem::take(&mut *heard.lock().expect("nobody panics while it is held"));
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Framed { name, configuration: configuration.name.clone(), requests })
}

/// `rust` on both sides.
fn pair_of_rust(sides: &dyn Sides, configuration: &Arc<Configuration>) -> Result<Pair, SideError> {
    let mut terms = Terms::new(1);
    terms.deadline = sides.deadline();
    let first = sides.backend("rust", configuration.clone(), terms.clone())?;
    let second = sides.backend("rust", configuration.clone(), terms)?;
    let none = |mode| Tolerances::select(configuration, "rust", "default", "traces", mode);
    Ok(Pair::new(first, second, none(ToleranceMode::FreeRunning), none(ToleranceMode::TeacherForced)))
}

/// Listens to a channel.
struct Tap {
    channel: Box<dyn Channel>,
    heard: Arc<Mutex<Vec<Request>>>,
    asked: Option<(Verb, String)>,
}

impl Channel for Tap {
    fn send(&mut self, sequence: u32, verb: Verb, body: &[u8], deadline: Duration) -> Result<(), SideError> {
        self.asked = Some((verb, hex(body)));
        self.channel.send(sequence, verb, body, deadline)
    }

    fn receive(
        &mut self,
        sequence: u32,
        verb: Verb,
        reply: &mut Vec<u8>,
        deadline: Duration,
    ) -> Result<bool, SideError> {
        let ok = self.channel.receive(sequence, verb, reply, deadline)?;
        if let Some((verb, body)) = self.asked.take().filter(|_| ok) {
            let request = Request { verb: verb as u32, body, reply: hex(&*reply) };
            self.heard.lock().expect("nobody panics while it is held").push(request);
        }
        Ok(ok)
    }

    fn restart(&mut self) -> Result<(), SideError> {
        self.heard.lock().expect("nobody panics while it is held").clear();
        self.channel.restart()
    }
}
