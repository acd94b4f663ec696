//! A runner that has one module's pure functions and no rules yet.

use super::{Channel, CommandLine, LogFile, Process, SideError};
use lockstep_core::wire::Verb;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

/// The functions of one module, asked over the same frames as a side.
pub struct Module {
    channel: Box<dyn Channel>,
    sequence: u32,
    deadline: Duration,
}

impl Module {
    /// Starts its runner with the options of one configuration.
    ///
    /// # Errors
    /// If it can't be started or does not answer.
    pub fn start(command: CommandLine, logs: &Path, deadline: Duration, options: &Value) -> Result<Self, SideError> {
        let log = LogFile::create(logs, "module").map_err(|error| SideError::NotStarted {
            role: "module".into(),
            command: command.argv.join(" "),
            reason: format!("its log in {} can't be written: {error}", logs.display()),
        })?;
        let channel = Box::new(Process::start("module", command, log)?);
        let mut module = Module { channel, sequence: 0, deadline };
        module.ask(Verb::Hello, &json!({"options": options}))?;
        Ok(module)
    }

    /// Calls one pure function.
    ///
    /// # Errors
    /// If it refuses, dies or hangs.
    pub fn probe(&mut self, function: &str, input: &Value) -> Result<Value, SideError> {
        self.ask(Verb::Probe, &json!({"function": function, "input": input})).map(|answer| answer["output"].clone())
    }

    fn ask(&mut self, verb: Verb, body: &Value) -> Result<Value, SideError> {
        self.sequence += 1;
        self.channel.send(self.sequence, verb, body.to_string().as_bytes(), self.deadline)?;
        let mut reply = Vec::new();
        let ok = self.channel.receive(self.sequence, verb, &mut reply, self.deadline)?;
        let answer: Value = serde_json::from_slice(&reply).map_err(|error| SideError::Lying {
            role: "module".into(),
            what: format!("its answer to {} is not JSON: {error}", verb.name()),
        })?;
        if ok { Ok(answer) } else { Err(SideError::replied("module", verb, &answer)) }
    }
}
