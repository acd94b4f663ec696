//! Any command that reads a prompt and prints an answer, such as the CLI of a coding agent.
//!
//! It runs in a new, empty folder and in a process group of its own, which is ended whole. Only what it prints is
//! taken; files that it writes are thrown away with the folder.

use super::report::{self, Report};
use super::{ANSWER_BYTES_MAX, Agent, AgentError, Answer, Request, Usage, quoted};
use lockstep_harness::watch::{Stop, Watch};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The prompt's file in the command's folder, and what stands for its path in the command line.
const PROMPT_FILE: &str = "prompt.md";
const PROMPT_HOLE: &str = "{prompt_file}";
/// How often a wait looks at Ctrl-C.
const TICK: Duration = Duration::from_millis(50);
/// How long a command may take to end after it was asked to.
const PATIENCE: Duration = Duration::from_secs(1);
/// Variables that would tell it where this tool runs.
const HIDDEN: [&str; 4] = ["CARGO_MANIFEST_", "CARGO_PKG_", "LOCKSTEP_", "OLDPWD"];

/// A command as an agent.
pub struct Command {
    argv: Vec<String>,
    model: String,
    context_tokens: u64,
    limit: Duration,
    bytes: usize,
}

impl Command {
    /// From a line with the quoting of a shell.
    ///
    /// # Errors
    /// If the line has no program, or a quote that does not end.
    pub fn new(line: &str, model: String, context_tokens: u64, limit: Duration) -> Result<Self, AgentError> {
        let argv = shlex::split(line).filter(|argv| !argv.is_empty()).ok_or_else(|| {
            AgentError::Options(format!(
                "--command {line:?} is no command line; write the program and its arguments, quoted as in a shell"
            ))
        })?;
        Ok(Command { argv, model, context_tokens, limit, bytes: ANSWER_BYTES_MAX })
    }

    /// The same with another limit on what it prints.
    #[cfg(test)]
    pub fn with_bytes(self, bytes: usize) -> Self {
        Command { bytes, ..self }
    }

    fn run(&self, request: &Request, stop: &Stop) -> Result<Printed, AgentError> {
        let file = |error: std::io::Error| AgentError::File {
            path: std::env::temp_dir().display().to_string(),
            reason: format!("no folder for the command can be made there: {error}; set TMPDIR"),
        };
        let folder = tempfile::Builder::new().prefix("agent-").tempdir().map_err(file)?;
        let prompt = request.whole();
        std::fs::write(folder.path().join(PROMPT_FILE), &prompt).map_err(file)?;
        let mut child = self.spawn(folder.path()).map_err(|error| AgentError::Command {
            command: self.argv[0].clone(),
            status: "can't be started".into(),
            last_line: error.to_string(),
            spent: None,
        })?;
        let mut input = child.stdin.take().expect("it is piped");
        // It need not read its input; then this ends with the pipe.
        std::thread::spawn(move || input.write_all(prompt.as_bytes()));
        let output = collect(child.stdout.take().expect("it is piped"), self.bytes);
        let errors = collect(child.stderr.take().expect("it is piped"), self.bytes);
        let mut group = Group(child, None);
        let until = Instant::now() + self.limit;
        let output = loop {
            match output.recv_timeout(TICK) {
                Ok(output) => break output,
                Err(RecvTimeoutError::Disconnected) => break Collected::default(),
                Err(RecvTimeoutError::Timeout) if stop.asked() => return Err(AgentError::Stopped { spent: None }),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= until => return Err(self.late()),
                // It is over, though something that it started still holds its output.
                Err(RecvTimeoutError::Timeout) if group.ended() => {
                    group.end();
                    break output.recv_timeout(PATIENCE).unwrap_or_default();
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        if output.too_large {
            return Err(AgentError::TooLarge { agent: self.argv[0].clone(), limit: self.bytes, spent: None });
        }
        while !group.ended() {
            if stop.asked() {
                return Err(AgentError::Stopped { spent: None });
            }
            if Instant::now() >= until {
                return Err(self.late());
            }
            std::thread::sleep(TICK);
        }
        let status = group.end();
        let errors = errors.recv_timeout(PATIENCE).unwrap_or_default();
        Ok(Printed { output: output.bytes, errors: errors.bytes, status })
    }

    fn spawn(&self, folder: &Path) -> std::io::Result<Child> {
        let prompt = folder.join(PROMPT_FILE).display().to_string();
        let mut command = std::process::Command::new(&self.argv[0]);
        command
            .args(self.argv[1..].iter().map(|argument| argument.replace(PROMPT_HOLE, &prompt)))
            .current_dir(folder)
            .env("PWD", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        for (name, _) in std::env::vars_os() {
            if HIDDEN.iter().any(|hidden| name.to_string_lossy().starts_with(hidden)) {
                command.env_remove(name);
            }
        }
        command.spawn()
    }

    fn late(&self) -> AgentError {
        AgentError::Timeout {
            agent: format!("the command {:?}", self.argv[0]),
            what: "did not end within",
            seconds: self.limit.as_secs(),
            spent: None,
        }
    }

    fn answer(&self, printed: &Printed, request: &Request, seconds: f64) -> Result<Answer, AgentError> {
        let Ok(output) = std::str::from_utf8(&printed.output) else {
            return Err(AgentError::Malformed {
                agent: format!("the command {:?}", self.argv[0]),
                reason: "its output is not UTF-8".into(),
                check: "it prints text",
                spent: None,
            });
        };
        let Report { text, model, usage, error, truncated } = report::read(output);
        let spent = || usage.map(Box::new);
        let failed = |status: String, last_line: String| AgentError::Command {
            command: self.argv[0].clone(),
            status,
            last_line,
            spent: spent(),
        };
        if let Some(error) = error {
            return Err(failed("reports an error".into(), quoted(&error)));
        }
        if printed.status != Some(0) {
            let status = printed.status.map_or("was killed".into(), |code| format!("ended with exit status {code}"));
            return Err(failed(status, last_line(&[&printed.errors, &printed.output])));
        }
        if text.trim().is_empty() {
            return Err(failed("printed no answer".into(), last_line(&[&printed.errors])));
        }
        let model = model.filter(|model| !model.is_empty()).unwrap_or_else(|| self.model());
        let usage = usage.unwrap_or_else(|| Usage::estimated(request, &text));
        Ok(Answer { text, model, usage, seconds, truncated })
    }
}

impl Agent for Command {
    fn name(&self) -> &'static str {
        "command"
    }

    fn model(&self) -> String {
        let program = Path::new(&self.argv[0]).file_name().unwrap_or_default().to_string_lossy();
        if self.model.is_empty() { format!("unnamed model of {program}") } else { self.model.clone() }
    }

    fn context_tokens(&self) -> u64 {
        self.context_tokens
    }

    fn ask(&mut self, request: &Request, watch: &mut dyn Watch, stop: &Stop) -> Result<Answer, AgentError> {
        watch.begin(&format!("{}: {}", self.argv[0], request.title()), 0);
        let begun = Instant::now();
        let printed = self.run(request, stop);
        watch.end();
        self.answer(&printed?, request, begun.elapsed().as_secs_f64())
    }
}

struct Printed {
    output: Vec<u8>,
    errors: Vec<u8>,
    status: Option<i32>,
}

#[derive(Default)]
struct Collected {
    bytes: Vec<u8>,
    too_large: bool,
}

/// Reads in a thread of its own, up to `limit` bytes.
fn collect(mut pipe: impl Read + Send + 'static, limit: usize) -> Receiver<Collected> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What can't be read is as good as not printed; the exit status tells more.
        let _ = (&mut pipe).take(limit as u64 + 1).read_to_end(&mut bytes);
        let too_large = bytes.len() > limit;
        // Nobody may be waiting any more.
        let _ = sender.send(Collected { bytes, too_large });
    });
    receiver
}

fn last_line(outputs: &[&[u8]]) -> String {
    let texts = outputs.iter().map(|output| String::from_utf8_lossy(output).into_owned());
    let lines = texts.filter_map(|text| text.lines().rev().find(|line| !line.trim().is_empty()).map(quoted));
    lines.into_iter().next().unwrap_or_else(|| "it said nothing".into())
}

/// A child that leads a process group, which ends with this.
struct Group(Child, Option<ExitStatus>);

impl Group {
    /// Whether its leader has ended. It is not waited for before the group is ended, so that its number can't become
    /// that of another group.
    fn ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        self.pid().is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), options), Ok(None)))
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.0.id()).ok().and_then(Pid::from_raw)
    }

    /// Ends what is left of it; the leader's exit status, if it ended by itself.
    fn end(&mut self) -> Option<i32> {
        if self.1.is_none() {
            let until = Instant::now() + PATIENCE;
            if !self.ended() {
                self.signal(Signal::TERM);
                while !self.ended() && Instant::now() < until {
                    std::thread::sleep(TICK);
                }
            }
            self.signal(Signal::KILL);
            self.1 = self.0.wait().ok();
        }
        self.1?.code()
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.pid() {
            // It may have ended by itself.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}
