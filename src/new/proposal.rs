//! What is asked of `lockstep_sdk/propose.py`, and what it answers.

use crate::exit::{Exit, Failure};
use lockstep_harness::reference::{Tool, cache_folder};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The environment that is taken.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// `my_env.py:MyEnv`, or a module instead of the file.
    From(String),
    /// The id of an environment of Gymnasium.
    Gymnasium(String),
}

/// How the environment's random numbers are compared.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Draws {
    /// Its generators ask Lockstep
    Served,
    /// Its generators draw as ever, and what they drew is replayed
    Recorded,
}

/// What is asked.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    /// The environment.
    #[serde(flatten)]
    pub source: Source,
    /// The folder that a file or module is looked for in.
    pub folder: PathBuf,
    /// Arguments of the environment.
    pub options: serde_json::Map<String, Value>,
    /// The number of actions, where the environment does not say.
    pub actions: Option<u32>,
    /// The level, where somebody chose one.
    pub draws: Option<Draws>,
    /// How long it is played.
    pub seconds: f64,
    /// After how many seconds it is ended.
    pub deadline: f64,
    /// How many numbers an observation has, in C.
    pub observations: Option<u32>,
}

/// A line of the environment.
#[derive(Debug, Clone, Deserialize)]
struct Place {
    file: String,
    line: u64,
    text: String,
}

/// A field, and how the adapter reads it.
#[derive(Debug, Clone, Deserialize)]
pub struct Field {
    /// Its name in the manifest.
    pub name: String,
    /// Its type.
    pub dtype: String,
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Where it is in the environment.
    pub reference: String,
    /// An expression in Python.
    pub read: String,
    /// The smallest and largest number that an injected state may hold.
    pub limits: Option<[serde_json::Number; 2]>,
}

/// What an action is.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Action {
    /// `discrete` or `continuous`.
    pub kind: String,
    /// The names of discrete actions.
    #[serde(default)]
    pub names: Vec<String>,
    /// Whether some are illegal at times.
    #[serde(default)]
    pub mask: bool,
    /// The smallest continuous action.
    pub low: Option<f64>,
    /// The largest.
    pub high: Option<f64>,
}

/// What was found by playing the environment.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Proposal {
    /// The class.
    pub class: String,
    /// Its module.
    pub module: String,
    /// The folder that its module is imported from.
    pub path: PathBuf,
    /// Its source.
    pub files: Vec<PathBuf>,
    /// Its licence, as far as that is known.
    pub licence: String,
    /// Its version; empty where it has none.
    pub version: String,
    /// What it is.
    pub about: String,
    /// The lines that make one.
    pub make: Vec<String>,
    /// The action.
    pub action: Action,
    /// Tokens of a step.
    pub width: usize,
    /// From tokens to what `step` takes.
    pub act: String,
    /// The state.
    pub canonical: Vec<Field>,
    /// The lines that put a state back.
    pub put: Option<Vec<String>>,
    /// Why there are none.
    pub no_put: String,
    /// Lists with a bound: name, expression for their size, bound.
    pub sizes: Vec<(String, String, usize)>,
    /// Texts that stand in fields as numbers.
    pub words: BTreeMap<String, Vec<Option<String>>>,
    /// The observation.
    pub observation: Vec<Field>,
    /// Attributes that never changed.
    pub constants: Vec<String>,
    /// What changes and can't be compared, and why.
    pub left_out: Vec<(String, String)>,
    /// Why it can't be pickled; empty if it can.
    pub pickled: String,
    /// Attributes that survive a reset.
    pub surviving: Vec<String>,
    /// `served` or `recorded`.
    pub level: String,
    /// Why not `served`.
    pub why: String,
    /// The methods of generators that were used, with counts.
    pub used: BTreeMap<String, u64>,
    /// The time limit.
    pub episode_steps_max: Option<u32>,
    /// Steps that were played.
    pub steps: u64,
    /// Episodes that ended.
    pub episodes: u64,
    /// The longest.
    pub longest: u64,
    /// Steps per second while it was looked at.
    pub speed: u64,
    /// The type of a reward.
    #[serde(default = "double")]
    pub reward: String,
    /// Whether the step that ends an episode begins the next one.
    #[serde(default)]
    pub resets_itself: bool,
    /// An environment in C.
    #[serde(skip)]
    pub c: Option<super::c::Own>,
}

fn double() -> String {
    "f64".into()
}

/// Has the environment played and looked at.
///
/// # Errors
/// If it can't be taken: what is wrong, where, and what to do.
pub fn propose(request: &Request, python: &Tool, sdk: &Path) -> Result<Proposal, Failure> {
    let logs = cache_folder().join("logs");
    let failed = |error: std::io::Error| {
        Failure::usage(format!(
            "{} can't be written: {error}\n(hint: set LOCKSTEP_CACHE to a folder that can)",
            logs.display()
        ))
    };
    std::fs::create_dir_all(&logs).map_err(failed)?;
    let folder = tempfile::tempdir_in(&logs).map_err(failed)?;
    let (answer, log) = (folder.path().join("answer.json"), folder.path().join("log"));
    let mut body = serde_json::to_value(request).map_err(|error| Failure::bug(error.to_string()))?;
    body["answer"] = answer.display().to_string().into();
    let out = std::fs::File::create(&log).map_err(failed)?;
    let mut path = vec![sdk.join("python")];
    path.extend(std::env::var_os("PYTHONPATH").iter().flat_map(std::env::split_paths));
    let path = std::env::join_paths(path).map_err(|error| Failure::usage(format!("PYTHONPATH: {error}")))?;
    let started = Command::new(&python.path)
        .args(["-m", "lockstep_sdk.propose"])
        .current_dir(&request.folder)
        .env("PYTHONPATH", path)
        .stdin(Stdio::piped())
        .stdout(out.try_clone().map_err(failed)?)
        .stderr(out)
        .spawn();
    let unstarted = |error: std::io::Error| Failure {
        exit: Exit::ReferenceUnavailable,
        message: format!(
            "{} could not be started: {error}\n(hint: choose an interpreter with --python)",
            python.path.display()
        ),
    };
    let mut child = started.map_err(unstarted)?;
    // One that dies at once does not read; its log says why.
    let _ = child.stdin.take().map(|mut input| input.write_all(body.to_string().as_bytes()));
    let status = child.wait().map_err(unstarted)?;
    let text = std::fs::read_to_string(&answer).unwrap_or_default();
    let Ok(value) = serde_json::from_str::<Value>(&text) else {
        return Err(no_answer(request, &status.to_string(), &std::fs::read(&log).unwrap_or_default()));
    };
    told(value)
}

/// A proposal from the text of an answer; none if there is no answer.
pub(super) fn answer_of(text: &str) -> Result<Option<Proposal>, Failure> {
    serde_json::from_str::<Value>(text).ok().map(told).transpose()
}

fn told(value: Value) -> Result<Proposal, Failure> {
    if value["ok"] == Value::Bool(true) {
        return serde_json::from_value(value).map_err(|error| Failure::bug(format!("the proposal: {error}")));
    }
    let mut message = value["error"].as_str().unwrap_or("no reason given").to_owned();
    let places: Vec<Place> = serde_json::from_value(value["where"].clone()).unwrap_or_default();
    for place in places.iter().take(8) {
        message.push_str(&format!("\n  {}:{}  {}", place.file, place.line, place.text));
    }
    if let Some(hint) = value["hint"].as_str().filter(|hint| !hint.is_empty()) {
        message.push_str(&format!("\n(hint: {hint})"));
    }
    Err(Failure { exit: Exit::ReferenceUnavailable, message })
}

/// It died or hung: the end of what it printed tells where.
fn no_answer(request: &Request, status: &str, log: &[u8]) -> Failure {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("lockstep_sdk")).collect();
    let hung = text.contains("Timeout (");
    let what = if hung {
        format!("the environment did not end within {} s; it was at", request.deadline)
    } else {
        format!("the environment ended the interpreter ({status}); its last lines")
    };
    let first = lines.iter().position(|line| line.contains("Timeout (")).unwrap_or(lines.len().saturating_sub(12));
    let shown: String = lines[first..].iter().take(12).map(|line| format!("\n  {line}")).collect();
    let hint = if hung {
        "give it longer with --deadline SECONDS, or mend what hangs"
    } else {
        "mend it, then type the same again"
    };
    Failure { exit: Exit::ReferenceUnavailable, message: format!("{what}{shown}\n(hint: {hint})") }
}
