//! A trace: a start and a list of tokens, all that drives an environment; and its file, one JSON object per line.
//!
//! The first line says what it is for and where it starts, then comes one line per step, and the last line repeats the
//! number of steps, so that a file that was cut short is noticed. The format is `lockstep/trace/1`.

use crate::manifest::{Action, Configuration, Dtype, Field, Manifest, ManifestError};
use crate::record::{split, values};
use crate::side::{Injection, LaneStart, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::{Path, PathBuf};

/// The version of the format.
pub const FORMAT: &str = "lockstep/trace/1";

/// A start and a list of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The environment.
    pub environment: String,
    /// The configuration.
    pub configuration: String,
    /// Its hash.
    pub configuration_hash: String,
    /// The run's seed.
    pub seed: u64,
    /// The lane's stream.
    pub stream: u64,
    /// The episode that it starts in.
    pub episode: u32,
    /// Where draws come from.
    pub draws: Source,
    /// A state to start from, instead of a reset.
    pub state: Option<StartState>,
    /// Tokens, `tokens_per_step` for each step.
    pub tokens: Vec<u32>,
    /// Tokens of one step.
    pub tokens_per_step: usize,
    /// What it was kept for.
    pub note: Note,
}

/// A state that a trace starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartState {
    /// Steps already made in the episode.
    pub elapsed: u32,
    /// The next draw.
    pub draw_index: u32,
    /// The state form.
    pub state: Vec<u8>,
    /// The observations of all agents.
    pub observations: Vec<u8>,
}

/// What a trace was kept for, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Note {
    /// The backend that differed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub backend: String,
    /// What differed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The tier that found it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tier: String,
    /// The grain whose rows differ, where nothing else does: it is played with its rows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub grain: String,
    /// How many steps it had when it was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found_with_steps: Option<u64>,
    /// Why it happened, once somebody knows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// It did not repeat three times.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub flaky: bool,
}

impl Note {
    /// The tier whose tolerances hold where the trace is played again: that which found it, or that of kept traces.
    pub fn judged_by(&self) -> &str {
        if self.tier.is_empty() { "traces" } else { &self.tier }
    }
}

/// The first line of a trace file.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeadLine {
    /// `lockstep/trace/1`.
    format: String,
    /// The environment.
    environment: String,
    /// The configuration.
    configuration: String,
    /// Its hash.
    configuration_hash: String,
    /// Where it starts.
    start: StartLine,
    /// `"seeded"`, or the listed values.
    draws: DrawsLine,
    /// What it was kept for.
    #[serde(default)]
    note: Note,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StartLine {
    /// Hexadecimal, with `0x`.
    seed: String,
    /// Hexadecimal, with `0x`.
    stream: String,
    #[serde(default)]
    episode: u32,
    /// The canonical state by field, if the trace does not start with a reset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<StateLine>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StateLine {
    elapsed: u32,
    draw_index: u32,
    canonical: Map<String, Value>,
    observations: Vec<Map<String, Value>>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum DrawsLine {
    Seeded(String),
    Listed(Vec<u32>),
}

/// The line of one step.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepLine {
    /// Counted from 0.
    step: u64,
    /// `agents × width` of them.
    tokens: Vec<u32>,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndLine {
    /// How many steps there are.
    end: u64,
}

/// Any line of a trace file: the first, one of a step, or the last.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Line {
    /// The first.
    Head(Box<HeadLine>),
    /// One per step.
    Step(StepLine),
    /// The last.
    End(EndLine),
}

/// Why a trace can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file could not be read.
    #[error("the trace {} could not be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not what it should be.
    #[error("line {line} of the trace is not valid: {message}\n(hint: docs/schemas/trace.json describes each line)")]
    Line {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The file ends before its last line.
    #[error(
        "the trace was cut short: it ends after {steps} steps without its last line\n(hint: copy the whole file, or end it with {{\"end\":{steps}}} if you mean these steps)"
    )]
    Cut {
        /// Steps that are there.
        steps: u64,
    },
    /// It comes from another version.
    #[error(
        "the trace has the format {found:?}, this lockstep reads {FORMAT:?}\n(hint: use the lockstep that wrote it, or a newer one)"
    )]
    Version {
        /// What it has.
        found: String,
    },
    /// It is for something else.
    #[error("the trace is for {what} {found}, not for {expected}\n(hint: {hint})")]
    Foreign {
        /// Environment or configuration.
        what: &'static str,
        /// In the trace.
        found: String,
        /// Here.
        expected: String,
        /// What to do.
        hint: &'static str,
    },
    /// The configuration does not exist.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

impl Trace {
    /// A trace that starts with a reset.
    pub fn seeded(configuration: &Configuration, seed: u64, stream: u64, tokens: Vec<u32>) -> Self {
        debug_assert_eq!(tokens.len() % configuration.tokens_per_step(), 0);
        Trace {
            environment: configuration.environment.clone(),
            configuration: configuration.name.clone(),
            configuration_hash: configuration.hash.clone(),
            seed,
            stream,
            episode: 0,
            draws: Source::Seeded,
            state: None,
            tokens,
            tokens_per_step: configuration.tokens_per_step(),
            note: Note::default(),
        }
    }

    /// How many steps it has.
    pub fn steps(&self) -> usize {
        self.tokens.len() / self.tokens_per_step
    }

    /// Its first `steps` steps.
    pub fn truncated(&self, steps: usize) -> Self {
        let mut trace = self.clone();
        trace.tokens.truncate(steps * self.tokens_per_step);
        trace
    }

    /// How `lane` starts.
    pub fn lane_start(&self, lane: u32) -> LaneStart {
        LaneStart { lane, seed: self.seed, stream: self.stream, episode: self.episode, source: self.draws.clone() }
    }

    /// The state that `lane` starts from, if it does.
    pub fn injection(&self, lane: u32) -> Option<Injection> {
        let state = self.state.as_ref()?;
        Some(Injection {
            start: self.lane_start(lane),
            elapsed: state.elapsed,
            draw_index: state.draw_index,
            state: state.state.clone(),
            observations: state.observations.clone(),
        })
    }

    /// Eight hex digits over everything that is played: the name of its file.
    pub fn id(&self) -> String {
        let mut plain = self.clone();
        plain.note = Note::default();
        let digest = Sha256::digest(format!("{plain:?}").as_bytes());
        digest[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The text of its file.
    pub fn to_text(&self, configuration: &Configuration) -> String {
        let state = self.state.as_ref().map(|state| StateLine {
            elapsed: state.elapsed,
            draw_index: state.draw_index,
            canonical: fields_to_json(&configuration.canonical, &state.state, true),
            observations: state
                .observations
                .chunks_exact(configuration.observation_bytes().max(1))
                .map(|bytes| fields_to_json(&configuration.observation, bytes, false))
                .collect(),
        });
        let head = HeadLine {
            format: FORMAT.into(),
            environment: self.environment.clone(),
            configuration: self.configuration.clone(),
            configuration_hash: self.configuration_hash.clone(),
            start: StartLine {
                seed: format!("{:#x}", self.seed),
                stream: format!("{:#x}", self.stream),
                episode: self.episode,
                state,
            },
            draws: match &self.draws {
                Source::Seeded => DrawsLine::Seeded("seeded".into()),
                Source::Listed(values) => DrawsLine::Listed(values.clone()),
            },
            note: self.note.clone(),
        };
        let mut text = line(&head);
        for (step, tokens) in self.tokens.chunks_exact(self.tokens_per_step).enumerate() {
            text += &line(&StepLine { step: step as u64, tokens: tokens.to_vec() });
        }
        text += &line(&EndLine { end: self.steps() as u64 });
        text
    }

    /// Reads the text of a trace file and checks it against the manifest.
    ///
    /// # Errors
    /// Names the line and what is wrong with it.
    pub fn from_text(manifest: &Manifest, text: &str) -> Result<Self, TraceError> {
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let (_, first) = lines.next().ok_or(TraceError::Cut { steps: 0 })?;
        let head = read_head(manifest, first)?;
        let configuration = manifest.configuration(&head.configuration)?;
        if head.configuration_hash != configuration.hash {
            return Err(TraceError::Foreign {
                what: "another version of configuration",
                found: format!("{} ({})", head.configuration, short(&head.configuration_hash)),
                expected: format!("today's ({})", short(&configuration.hash)),
                hint: "options or schemas in env.toml have changed since; check out that version, or find the trace anew",
            });
        }
        let mut trace = start(configuration, head).map_err(|message| TraceError::Line { line: 1, message })?;
        let mut ended = false;
        for (index, line) in lines {
            let wrong = |message: String| TraceError::Line { line: index + 1, message };
            if ended {
                return Err(wrong("it comes after the end".into()));
            }
            let value: Value = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
            if value.get("end").is_some() {
                let end: EndLine = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
                if end.end != trace.steps() as u64 {
                    return Err(wrong(format!("it says {} steps, but {} are there", end.end, trace.steps())));
                }
                ended = true;
                continue;
            }
            let step: StepLine = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
            if step.step != trace.steps() as u64 {
                return Err(wrong(format!("step {} stands where step {} is due", step.step, trace.steps())));
            }
            if step.tokens.len() != trace.tokens_per_step {
                let (found, due) = (step.tokens.len(), trace.tokens_per_step);
                return Err(wrong(format!("it has {found} tokens, a step of this configuration has {due}")));
            }
            if let Some(token) = step.tokens.iter().find(|token| !is_legal(&configuration.action, **token)) {
                return Err(wrong(format!("token {token} is not a finite action")));
            }
            trace.tokens.extend(step.tokens);
        }
        if !ended {
            return Err(TraceError::Cut { steps: trace.steps() as u64 });
        }
        Ok(trace)
    }

    /// Reads a trace file.
    ///
    /// # Errors
    /// As [`Trace::from_text`].
    pub fn read(manifest: &Manifest, path: &Path) -> Result<Self, TraceError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| TraceError::Unreadable { path: path.to_owned(), source })?;
        Trace::from_text(manifest, &text)
    }

    /// The environment that a trace file is for, without checking the rest.
    ///
    /// # Errors
    /// If the first line is not that of a trace.
    pub fn environment_of(path: &Path) -> Result<String, TraceError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| TraceError::Unreadable { path: path.to_owned(), source })?;
        let first = text.lines().next().unwrap_or_default();
        let head: Value =
            serde_json::from_str(first).map_err(|error| TraceError::Line { line: 1, message: error.to_string() })?;
        let environment = head["environment"].as_str();
        environment
            .map(str::to_owned)
            .ok_or_else(|| TraceError::Line { line: 1, message: "it names no environment".into() })
    }
}

fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("lines are plain data") + "\n"
}

/// Every token is defined for discrete actions; a continuous one must be finite.
pub fn is_legal(action: &Action, token: u32) -> bool {
    match action {
        Action::Discrete { .. } => true,
        Action::Continuous { .. } => f32::from_bits(token.rotate_right(1)).is_finite(),
    }
}

fn short(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}

fn read_head(manifest: &Manifest, line: &str) -> Result<HeadLine, TraceError> {
    let wrong = |message: String| TraceError::Line { line: 1, message };
    let value: Value = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
    let found = value["format"].as_str().unwrap_or_default().to_owned();
    if found != FORMAT {
        return Err(TraceError::Version { found });
    }
    let head: HeadLine = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
    if head.environment != manifest.file.name {
        return Err(TraceError::Foreign {
            what: "the environment",
            found: head.environment,
            expected: manifest.file.name.clone(),
            hint: "give the trace to the environment that it names",
        });
    }
    Ok(head)
}

fn start(configuration: &Configuration, head: HeadLine) -> Result<Trace, String> {
    let hex = |text: &str| {
        text.strip_prefix("0x")
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .ok_or_else(|| format!("{text:?} is not a hexadecimal number like 0x2a"))
    };
    let mut trace = Trace::seeded(configuration, hex(&head.start.seed)?, hex(&head.start.stream)?, Vec::new());
    trace.episode = head.start.episode;
    trace.note = head.note;
    trace.draws = match head.draws {
        DrawsLine::Seeded(word) if word == "seeded" => Source::Seeded,
        DrawsLine::Seeded(word) => return Err(format!("draws is {word:?}, not \"seeded\" or a list")),
        DrawsLine::Listed(values) => Source::Listed(values),
    };
    if let Some(state) = head.start.state {
        if state.observations.len() != configuration.agents {
            return Err(format!(
                "the state has {} observations for {} agents",
                state.observations.len(),
                configuration.agents
            ));
        }
        let observations: Result<Vec<_>, _> = state
            .observations
            .iter()
            .map(|fields| fields_from_json(&configuration.observation, fields, false))
            .collect();
        trace.state = Some(StartState {
            elapsed: state.elapsed,
            draw_index: state.draw_index,
            state: fields_from_json(&configuration.canonical, &state.canonical, true)?,
            observations: observations?.concat(),
        });
    }
    Ok(trace)
}

/// Fields by name; a region as the runs of its bytes that are not 0.
pub fn fields_to_json(fields: &[Field], bytes: &[u8], state_form: bool) -> Map<String, Value> {
    split(fields, bytes, state_form)
        .map(|(field, bytes)| {
            let value = if field.dtype == Dtype::Region && state_form {
                region_to_json(bytes)
            } else {
                let list: Vec<Value> = values((field, bytes)).map(|(_, value)| value.json()).collect();
                if field.shape.is_empty() { list[0].clone() } else { Value::Array(list) }
            };
            (field.name.clone(), value)
        })
        .collect()
}

fn fields_from_json(fields: &[Field], object: &Map<String, Value>, state_form: bool) -> Result<Vec<u8>, String> {
    if let Some(name) = object.keys().find(|name| !fields.iter().any(|field| field.name == **name)) {
        return Err(format!("there is no field {name}"));
    }
    let mut bytes = Vec::new();
    for field in fields {
        let value = object.get(&field.name).ok_or_else(|| format!("field {} is missing", field.name))?;
        if field.dtype == Dtype::Region && state_form {
            bytes.extend(region_from_json(field, value)?);
            continue;
        }
        let one = std::slice::from_ref(value);
        let list = if field.shape.is_empty() { one } else { value.as_array().map_or(one, Vec::as_slice) };
        if list.len() != field.count() {
            return Err(format!("field {} has {} values, not {}", field.name, list.len(), field.count()));
        }
        for value in list {
            let written = write_value(field.dtype, value)
                .ok_or_else(|| format!("field {}: {value} is no {}", field.name, field.dtype.name()))?;
            bytes.extend(written);
        }
    }
    Ok(bytes)
}

fn write_value(dtype: Dtype, value: &Value) -> Option<Vec<u8>> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let nan = text.strip_prefix("nan:0x").map(|digits| u64::from_str_radix(digits, 16));
    Some(match (dtype, nan) {
        (Dtype::F32, Some(bits)) => u32::try_from(bits.ok()?).ok()?.to_le_bytes().to_vec(),
        (Dtype::F64, Some(bits)) => bits.ok()?.to_le_bytes().to_vec(),
        (Dtype::F32, None) => text.parse::<f32>().ok()?.to_le_bytes().to_vec(),
        (Dtype::F64, None) => text.parse::<f64>().ok()?.to_le_bytes().to_vec(),
        (Dtype::U8, _) => text.parse::<u8>().ok()?.to_le_bytes().to_vec(),
        (Dtype::I8, _) => text.parse::<i8>().ok()?.to_le_bytes().to_vec(),
        (Dtype::U16, _) => text.parse::<u16>().ok()?.to_le_bytes().to_vec(),
        (Dtype::I16, _) => text.parse::<i16>().ok()?.to_le_bytes().to_vec(),
        (Dtype::U32, _) => text.parse::<u32>().ok()?.to_le_bytes().to_vec(),
        (Dtype::I32, _) => text.parse::<i32>().ok()?.to_le_bytes().to_vec(),
        (Dtype::U64, _) => text.parse::<u64>().ok()?.to_le_bytes().to_vec(),
        (Dtype::I64, _) => text.parse::<i64>().ok()?.to_le_bytes().to_vec(),
        (Dtype::Region, _) => return None,
    })
}

fn region_to_json(bytes: &[u8]) -> Value {
    let mut runs = Vec::new();
    let mut at = 0;
    while let Some(offset) = bytes[at..].iter().position(|byte| *byte != 0) {
        let from = at + offset;
        let size = bytes[from..].iter().position(|byte| *byte == 0).unwrap_or(bytes.len() - from);
        let hex: String = bytes[from..from + size].iter().map(|byte| format!("{byte:02x}")).collect();
        runs.push(json!([from, hex]));
        at = from + size;
    }
    json!({"bytes": bytes.len(), "runs": runs})
}

fn region_from_json(field: &Field, value: &Value) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; field.state_bytes()];
    let wrong =
        || format!("region {} is not {{\"bytes\": {}, \"runs\": [[offset, \"hex\"], …]}}", field.name, bytes.len());
    let runs = value["runs"].as_array().filter(|_| value["bytes"] == json!(bytes.len())).ok_or_else(wrong)?;
    let mut parsed = Vec::new();
    for run in runs {
        let offset = run[0].as_u64().ok_or_else(wrong)? as usize;
        let hex = run[1].as_str().filter(|hex| hex.is_ascii() && hex.len() % 2 == 0).ok_or_else(wrong)?;
        let run: Result<Vec<u8>, _> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16)).collect();
        let run = run.map_err(|_| wrong())?;
        if offset.checked_add(run.len()).is_none_or(|end| end > bytes.len()) {
            return Err(wrong());
        }
        parsed.push((offset, run));
    }
    for (offset, run) in parsed {
        bytes[offset..offset + run.len()].copy_from_slice(&run);
    }
    Ok(bytes)
}
