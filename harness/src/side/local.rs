//! Sides without a process: a server that is asked directly, for source that is already accepted, and one on a thread.

use super::{Channel, SideError};
use lockstep_core::backend::Fault;
use lockstep_core::wire::Verb;
use lockstep_core::{Files, Opened, Options, Server};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The opener of a server, as `lockstep_core::Server::new` takes it.
pub type Opener = fn(Options, &Files, usize) -> Result<Opened, String>;

/// A server in this process.
pub struct Local {
    role: String,
    opener: Opener,
    server: Server,
    answer: Option<Result<Vec<u8>, Fault>>,
    /// The reply before the last one: room for the next.
    spare: Vec<u8>,
}

impl Local {
    /// The backend that `opener` opens, under the name `role`.
    pub fn new(role: &str, opener: Opener) -> Self {
        Local { role: role.to_owned(), opener, server: Server::new(role, opener), answer: None, spare: Vec::new() }
    }

    /// In a box, as [`Side::connect`](super::Side::connect) takes it.
    pub fn boxed(role: &str, opener: Opener) -> Box<dyn Channel> {
        Box::new(Local::new(role, opener))
    }
}

impl Channel for Local {
    fn send(&mut self, _sequence: u32, verb: Verb, body: &[u8], _deadline: Duration) -> Result<(), SideError> {
        let mut reply = std::mem::take(&mut self.spare);
        reply.clear();
        let answered = catch_unwind(AssertUnwindSafe(|| self.server.answer(verb, body, &mut reply)));
        match answered {
            Ok(result) => {
                self.answer = Some(result.map(|()| reply));
                Ok(())
            }
            Err(panic) => Err(SideError::Died {
                role: self.role.clone(),
                verb: verb.name(),
                status: "panicked".into(),
                last_line: panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                    .unwrap_or_default(),
                log: "in process".into(),
            }),
        }
    }

    fn receive(
        &mut self,
        _sequence: u32,
        _verb: Verb,
        reply: &mut Vec<u8>,
        _deadline: Duration,
    ) -> Result<bool, SideError> {
        match self.answer.take().expect("receive follows send") {
            Ok(body) => {
                self.spare = std::mem::replace(reply, body);
                Ok(true)
            }
            Err(fault) => {
                let (kind, error) = match fault {
                    Fault::BadRequest(error) => ("bad_request", error),
                    Fault::Refused(error) => ("refused", error),
                };
                *reply = serde_json::json!({"kind": kind, "error": error}).to_string().into_bytes();
                Ok(false)
            }
        }
    }

    fn restart(&mut self) -> Result<(), SideError> {
        self.server = Server::new(&self.role, self.opener);
        self.answer = None;
        Ok(())
    }
}
