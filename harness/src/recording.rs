//! Recordings: what the live reference answered to one kept trace, to be played against where it can't run.
//!
//! A recording is the conversation itself, request by request, so what stands in it passes the same checks as what a
//! process sends. It answers exactly the requests that it was made with: another trace, configuration or version asks
//! something else and is refused. A replay against recordings is no verification, and nothing is certified by it.

use crate::compare::Tolerances;
use crate::keep::write_whole;
use crate::manifest::{Configuration, Manifest, ToleranceMode};
use crate::pair::{Pair, Verdict};
use crate::report::{replay_block, shown};
use crate::side::{Channel, Side, SideError, Terms};
use crate::sides::Sides;
use crate::tiers::replay::kept_traces;
use crate::tiers::{Check, CheckOutcome, TierReport};
use crate::trace::{Trace, TraceError};
use lockstep_core::wire::Verb;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The version of the format.
pub const FORMAT: &str = "lockstep/recording/1";
/// A recording that is larger is refused unread.
pub const BYTES_MAX: u64 = 16 << 20;

/// The first line of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// `lockstep/recording/1`.
    pub format: String,
    /// The environment.
    pub environment: String,
    /// The configuration.
    pub configuration: String,
    /// Its hash.
    pub configuration_hash: String,
    /// The pin of the reference that answered, as `reference.toml` had it.
    pub reference: String,
    /// SHA-256 of the trace file.
    pub trace_hash: String,
}

/// One request, by its SHA-256, and what was answered, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    verb: String,
    request: String,
    /// The reply, or that of an error.
    reply: String,
    ok: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    /// Exchanges before this line.
    end: usize,
}

/// Why a recording can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It can't be read or written.
    #[error("{path} can't be used: {reason}\n(hint: lockstep record {environment}, where its reference runs)")]
    Unusable {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
        /// The environment.
        environment: String,
    },
    /// The trace can't be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A side failed.
    #[error(transparent)]
    Side(#[from] SideError),
}

/// The file in which a trace's recording is kept: the same name in `recordings/` beside `traces/`.
pub fn path_for(manifest: &Manifest, trace: &Path) -> PathBuf {
    manifest.folder.join("recordings").join(trace.file_name().unwrap_or_default())
}

/// SHA-256 of a trace in the form in which it is written, so that only its meaning counts.
fn trace_hash(configuration: &Configuration, trace: &Trace) -> String {
    hex(Sha256::digest(trace.to_text(configuration)))
}

/// Plays a trace on the live reference and a backend, and keeps what the reference answered, if they agree.
///
/// # Errors
/// If a side fails, the two differ, or the file can't be written.
pub fn record(
    manifest: &Manifest,
    sides: &dyn Sides,
    version: &str,
    path: &Path,
) -> Result<(PathBuf, usize), RecordingError> {
    let trace = Trace::read(manifest, path)?;
    let configuration = Arc::new(manifest.configuration(&trace.configuration).map_err(TraceError::from)?.clone());
    let to = path_for(manifest, path);
    let unusable =
        |reason: String| RecordingError::Unusable { path: shown(&to), reason, environment: manifest.file.name.clone() };
    let tape = Arc::new(Mutex::new(Vec::new()));
    let mut terms = Terms::new(1);
    terms.deadline = sides.deadline();
    let mut reference = sides.reference(configuration.clone(), terms)?;
    let heard = tape.clone();
    reference.tap(move |channel| Box::new(Tap { channel, heard, asked: String::new() }))?;
    let mut pair = pair_with(reference, sides, "rust", &configuration)?;
    if let Verdict::Diverged(divergence) = pair.check(&trace)? {
        return Err(unusable(format!(
            "the live reference and rust differ on {}, and only what agrees is recorded\n{}",
            shown(path),
            replay_block(&configuration, &divergence, trace.steps())
        )));
    }
    let head = Head {
        format: FORMAT.into(),
        environment: manifest.file.name.clone(),
        configuration: configuration.name.clone(),
        configuration_hash: configuration.hash.clone(),
        reference: version.to_owned(),
        trace_hash: trace_hash(&configuration, &trace),
    };
    let exchanges = tape.lock().expect("nobody panics while it is held").clone();
    let mut text = line(&head);
    exchanges.iter().for_each(|exchange: &Exchange| text += &line(exchange));
    text += &line(&End { end: exchanges.len() });
    write_whole(&to, &text).map_err(|error| unusable(error.to_string()))?;
    Ok((to, text.len()))
}

/// Plays a trace on its recording and a backend.
///
/// # Errors
/// If the recording can't be used, or is not that of this trace; the verdict is `Agree` or the divergence.
pub fn replay(
    manifest: &Manifest,
    sides: &dyn Sides,
    version: &str,
    backend: &str,
    path: &Path,
) -> Result<(Trace, Verdict), RecordingError> {
    let trace = Trace::read(manifest, path)?;
    let configuration = Arc::new(manifest.configuration(&trace.configuration).map_err(TraceError::from)?.clone());
    let from = path_for(manifest, path);
    let unusable = |reason: String| RecordingError::Unusable {
        path: shown(&from),
        reason,
        environment: manifest.file.name.clone(),
    };
    let size = std::fs::metadata(&from).map_err(|error| unusable(error.to_string()))?.len();
    if size > BYTES_MAX {
        return Err(unusable(format!("it has {size} bytes, a recording has {BYTES_MAX} at most")));
    }
    let text = std::fs::read_to_string(&from).map_err(|error| unusable(error.to_string()))?;
    let (head, exchanges) = read(&text).map_err(unusable)?;
    let bound = [
        ("environment", &head.environment, &manifest.file.name),
        ("configuration", &head.configuration, &configuration.name),
        ("configuration_hash", &head.configuration_hash, &configuration.hash),
        ("trace_hash", &head.trace_hash, &trace_hash(&configuration, &trace)),
    ];
    for (key, found, expected) in bound {
        if found != expected {
            return Err(unusable(format!("its {key} is {found:?}, and that of this trace {expected:?}")));
        }
    }
    if head.reference != version {
        let reason = format!("it was made with reference {:?}, and the pin is now {version:?}", head.reference);
        return Err(unusable(reason));
    }
    let channel = Box::new(Tape { exchanges, next: 0 });
    let reference = Side::connect("reference", channel, configuration.clone(), Terms::new(1))?;
    let mut pair = pair_with(reference, sides, backend, &configuration)?;
    let verdict = pair.check(&trace)?;
    Ok((trace, verdict))
}

/// Plays all kept traces of some configurations that have a recording: a replay report, and never a certificate.
///
/// # Errors
/// If a backend can't be opened. What is wrong with a recording is a failed check.
pub fn replay_kept(
    manifest: &Manifest,
    sides: &dyn Sides,
    version: &str,
    backend: &str,
    configurations: &[String],
) -> Result<Vec<TierReport>, RecordingError> {
    let mut reports: Vec<TierReport> = Vec::new();
    for path in kept_traces(&manifest.folder.join("traces")) {
        let trace = Trace::read(manifest, &path)?;
        if !configurations.is_empty() && !configurations.contains(&trace.configuration) {
            continue;
        }
        let configuration = manifest.configuration(&trace.configuration).map_err(TraceError::from)?;
        let place = reports.iter().position(|report| report.configuration == configuration.name);
        let place = place.unwrap_or_else(|| {
            let mut report = TierReport::new("traces", configuration);
            report.against = "recording";
            reports.push(report);
            reports.len() - 1
        });
        let report = &mut reports[place];
        let outcome = match replay(manifest, sides, version, backend, &path) {
            Ok((_, Verdict::Agree)) => {
                report.counts.recorded += trace.steps() as u64;
                CheckOutcome::Passed
            }
            Ok((_, Verdict::Known(name))) => {
                *report.known.entry(name).or_default() += 1;
                CheckOutcome::Passed
            }
            Ok((_, Verdict::Diverged(divergence))) => {
                let block = replay_block(configuration, &divergence, trace.steps());
                CheckOutcome::Failed(format!("{block}  replay    lockstep replay --recorded {}", shown(&path)))
            }
            Err(error @ RecordingError::Side(_)) if error.to_string().contains(backend) => return Err(error),
            Err(error) => CheckOutcome::Failed(error.to_string()),
        };
        let claim = format!("{} agrees with its recording", shown(&path));
        report.checks.push(Check { claim, side: backend.to_owned(), outcome });
    }
    Ok(reports)
}

fn pair_with(
    reference: Side,
    sides: &dyn Sides,
    backend: &str,
    configuration: &Arc<Configuration>,
) -> Result<Pair, SideError> {
    let mut terms = Terms::new(1);
    terms.deadline = sides.deadline();
    terms.digests = vec![reference.digest.name()];
    terms.named = reference.capabilities.draw_sites;
    let side = sides.backend(backend, configuration.clone(), terms)?;
    let tolerances = Tolerances::select(configuration, backend, "default", "traces", ToleranceMode::FreeRunning);
    let forced = Tolerances::select(configuration, backend, "default", "traces", ToleranceMode::TeacherForced);
    Ok(Pair::new(reference, side, tolerances, forced))
}

/// Listens to a channel.
struct Tap {
    channel: Box<dyn Channel>,
    heard: Arc<Mutex<Vec<Exchange>>>,
    asked: String,
}

impl Channel for Tap {
    fn send(&mut self, sequence: u32, verb: Verb, body: &[u8], deadline: Duration) -> Result<(), SideError> {
        self.asked = hex(Sha256::digest(body));
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
        let request = std::mem::take(&mut self.asked);
        let exchange = Exchange { verb: verb.name().into(), request, reply: hex(reply), ok };
        self.heard.lock().expect("nobody panics while it is held").push(exchange);
        Ok(ok)
    }

    fn restart(&mut self) -> Result<(), SideError> {
        self.heard.lock().expect("nobody panics while it is held").clear();
        self.channel.restart()
    }
}

/// Answers from a recording.
struct Tape {
    exchanges: Vec<Exchange>,
    next: usize,
}

impl Channel for Tape {
    fn send(&mut self, _sequence: u32, verb: Verb, body: &[u8], _deadline: Duration) -> Result<(), SideError> {
        let request = hex(Sha256::digest(body));
        let due = self.exchanges.get(self.next);
        if due.is_none_or(|due| due.verb != verb.name() || due.request != request) {
            let asked = if due.is_none() { "more than it holds" } else { "something else than when it was made" };
            return Err(SideError::Refused {
                role: "reference".into(),
                verb: verb.name(),
                message: format!(
                    "request {} asks the recording {asked}; make it anew with `lockstep record`",
                    self.next
                ),
            });
        }
        Ok(())
    }

    fn receive(
        &mut self,
        _sequence: u32,
        _verb: Verb,
        reply: &mut Vec<u8>,
        _deadline: Duration,
    ) -> Result<bool, SideError> {
        let exchange = &self.exchanges[self.next];
        *reply = unhex(&exchange.reply).expect("it was checked when it was read");
        self.next += 1;
        Ok(exchange.ok)
    }

    fn restart(&mut self) -> Result<(), SideError> {
        self.next = 0;
        Ok(())
    }
}

/// Reads the text of a recording and checks its form.
fn read(text: &str) -> Result<(Head, Vec<Exchange>), String> {
    let mut lines = text.lines().enumerate();
    let (_, first) = lines.next().ok_or("it is empty")?;
    let wrong = |line: usize, reason: String| format!("line {}: {reason}", line + 1);
    let value: serde_json::Value = serde_json::from_str(first).map_err(|error| wrong(0, error.to_string()))?;
    if value["format"] != FORMAT {
        return Err(format!("its format is {}, this lockstep reads {FORMAT:?}", value["format"]));
    }
    let head: Head = serde_json::from_value(value).map_err(|error| wrong(0, error.to_string()))?;
    let mut exchanges = Vec::new();
    let mut ended = false;
    for (at, line) in lines {
        if ended {
            return Err(wrong(at, "it comes after the end".into()));
        }
        if let Ok(End { end }) = serde_json::from_str(line) {
            if end != exchanges.len() {
                return Err(wrong(at, format!("it says {end} exchanges, but {} are there", exchanges.len())));
            }
            ended = true;
            continue;
        }
        let exchange: Exchange = serde_json::from_str(line).map_err(|error| wrong(at, error.to_string()))?;
        if unhex(&exchange.reply).is_none() {
            return Err(wrong(at, "the reply is not hexadecimal".into()));
        }
        exchanges.push(exchange);
    }
    if ended { Ok((head, exchanges)) } else { Err(format!("it was cut short after {} exchanges", exchanges.len())) }
}

fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("lines are plain data") + "\n"
}

pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || text.len() % 2 == 1 {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
