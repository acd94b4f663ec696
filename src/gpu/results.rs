//! Reads what came back from a machine with a GPU, as if somebody had made it up to break something.
//!
//! Sizes before content, form before meaning: what passes has only known keys, short and printable text, and numbers that
//! a measurement can have. Whether it is about the source in the tree is asked after that.

use super::{BUNDLE, Bundle, RESULTS};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// A file that is larger is refused unread.
pub const BYTES_MAX: u64 = 8 << 20;
const ROWS_MAX: usize = 10_000;
const TEXT_CHARS_MAX: usize = 8192;
const NAME_CHARS_MAX: usize = 64;
/// No count, rate or time of a run is larger.
const NUMBER_MAX: f64 = 1e18;

/// A run, read.
#[derive(Debug)]
pub struct Results {
    /// What was played.
    pub bundle: Bundle,
    /// The machine.
    pub machine: Machine,
    /// Its GPU, or why it could not be asked.
    pub gpu: Result<Gpu, Missing>,
    /// What was told, by environment.
    pub told: BTreeMap<String, Vec<Told>>,
}

/// One row of an environment.
#[derive(Debug)]
pub struct Told {
    /// The configuration, where there is one.
    pub configuration: Option<String>,
    /// The backend.
    pub backend: String,
    /// What the kernels were loaded as.
    pub image: Option<String>,
    /// What came of it, or why nothing did.
    pub outcome: Result<Outcome, Missing>,
    /// What was asked, in words.
    pub what: &'static str,
}

/// Why a row has no result.
#[derive(Debug)]
pub struct Missing {
    /// The machine lacks what the backend runs on.
    pub no_device: bool,
    /// What was said.
    pub why: String,
}

/// What a tool answered.
#[derive(Debug)]
pub enum Outcome {
    /// Bits were compared over many steps.
    Compared(Compared),
    /// Kept traces were played.
    Played(Played),
    /// Kernels were timed.
    Timed(Timed),
    /// The interpreter counted.
    Counted(Counted),
}

/// The answer of `machine`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The processor.
    pub processor: String,
    /// Its cores.
    pub cores: u32,
    /// Memory.
    pub memory_bytes: Option<u64>,
    /// The operating system.
    pub system: String,
    /// When it was asked.
    pub unix_seconds: u64,
    /// What `nvidia-smi` said.
    pub nvidia_smi: Smi,
}

/// The answer of `nvidia-smi`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smi {
    /// Its table.
    pub table: Option<String>,
    /// Why there is none.
    pub error: Option<String>,
}

/// The answer of `gpu`.
#[derive(Debug, Clone, serde::Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// Compute capability.
    pub capability: String,
    /// The version of CUDA that the driver knows.
    pub driver: String,
    /// Bytes a second that it copies, read and written together.
    pub copy_bytes_per_second: f64,
    /// Instructions a second that its threads issue.
    pub thread_instructions_per_second: f64,
}

/// The answer of `compare`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compared {
    /// Whether all digests were the same.
    pub agrees: bool,
    /// The backend.
    pub backend: String,
    /// What it ran on.
    pub device: String,
    /// Lanes.
    pub lanes: u64,
    /// Steps of all lanes together.
    pub steps: u64,
    /// Where they part.
    pub divergence: Option<Value>,
    /// Episodes that ended.
    #[serde(default)]
    pub episodes: u64,
    /// Steps of a launch.
    #[serde(default)]
    pub launch: u64,
    /// The seed.
    #[serde(default)]
    pub seed: u64,
    /// Seconds of all of it; with the digests, so it is no speed.
    #[serde(default, rename = "seconds")]
    _seconds: f64,
    /// Seconds of `rust`.
    #[serde(default)]
    pub rust_seconds: f64,
    /// Seconds of the device.
    #[serde(default)]
    pub device_seconds: f64,
    /// All digests as one.
    #[serde(default)]
    pub digest: String,
}

/// The answer of `frames`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Played {
    /// The backend.
    pub backend: String,
    /// Whether all agree.
    pub agrees: bool,
    /// Each trace.
    pub traces: Vec<PlayedTrace>,
}

/// One trace of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlayedTrace {
    /// Its name.
    pub trace: String,
    /// Whether it agrees.
    pub agrees: bool,
    /// What differs.
    pub difference: Option<String>,
}

/// The answer of `time`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timed {
    /// The backend.
    pub backend: String,
    /// What it ran on.
    pub device: String,
    /// Lanes.
    pub lanes: u64,
    /// Each form.
    pub rows: Vec<TimedForm>,
}

/// One form of launching.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimedForm {
    /// `fused`, `single` or `graph`.
    pub form: String,
    /// What it is.
    pub about: String,
    /// Steps of a launch.
    pub steps_per_launch: u64,
    /// Launches of a run.
    pub launches: u64,
    /// The device's own seconds of each run.
    pub device_seconds: Vec<f64>,
    /// Seconds of each run, seen from outside.
    pub wall_seconds: Vec<f64>,
    /// The speed that follows.
    pub steps_per_second: f64,
}

/// The answer of `work`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// Lanes.
    pub lanes: u64,
    /// Each form.
    pub rows: Vec<CountedForm>,
}

/// One form, counted.
#[derive(Debug, Clone, serde::Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountedForm {
    /// `fused` or `single`.
    pub form: String,
    /// The kernel.
    pub kernel: String,
    /// Steps of a launch.
    pub steps_per_launch: u64,
    /// Instructions of a thread.
    pub instructions_per_step: f64,
    /// Instructions that warps issue, by lane.
    pub issues_per_step: f64,
    /// Lanes of a warp that are busy.
    pub simt_efficiency: f64,
    /// Bytes in sectors.
    pub bytes_loaded_per_step: f64,
    /// As above.
    pub bytes_stored_per_step: f64,
    /// Accesses of warps to local memory.
    pub local_accesses_per_step: f64,
    /// Where most is issued; not kept.
    #[serde(rename = "hottest", skip_serializing)]
    _hottest: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "format")]
    _format: String,
    bundle: Bundle,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    environment: String,
    what: String,
    configuration: Option<String>,
    backend: Option<String>,
    image: Option<String>,
    code: Option<i64>,
    #[serde(rename = "seconds")]
    _seconds: f64,
    result: Option<Value>,
    error: Option<String>,
}

/// Reads a file of results.
///
/// # Errors
/// The first thing that is wrong with it, in words that fit after its name.
pub fn read(path: &Path) -> Result<Results, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("can't be read: {error}"))?;
    let mut bytes = Vec::new();
    // The length is not asked for: a pipe or a device has none.
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| format!("can't be read: {error}"))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("has more than {BYTES_MAX} bytes, which results of a bundle never have"));
    }
    let text = String::from_utf8(bytes).map_err(|error| format!("is not text: {error}"))?;
    parse(&text)
}

/// Reads the text of results.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str) -> Result<Results, String> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("is not JSON, which has no NaN either: {error}"))?;
    if value["format"] != RESULTS {
        return Err(format!("has the format {}, this lockstep reads {RESULTS:?}", brief(&value["format"])));
    }
    plain(&value, "results")?;
    let file: File = serde_json::from_value(value).map_err(|error| format!("has another form: {error}"))?;
    let bundle = file.bundle;
    if bundle.format != BUNDLE {
        return Err(format!("has a bundle of the format {:?}, this lockstep reads {BUNDLE:?}", bundle.format));
    }
    if file.rows.len() > ROWS_MAX {
        return Err(format!("has {} rows, which is more than {ROWS_MAX}", file.rows.len()));
    }
    for (environment, packed) in &bundle.environments {
        name("the environment", environment)?;
        packed.configurations.iter().try_for_each(|configuration| name("the configuration", configuration))?;
    }
    let (mut machine, mut gpu) = (None, None);
    let mut told: BTreeMap<String, Vec<Told>> =
        bundle.environments.keys().map(|environment| (environment.clone(), Vec::new())).collect();
    for (i, row) in file.rows.into_iter().enumerate() {
        let place = format!("row {i}, {:?}", row.what);
        let rows = told
            .get_mut(&row.environment)
            .ok_or_else(|| format!("has a row about {:?}, which its bundle does not hold", row.environment))?;
        match row.what.as_str() {
            "machine" => {
                machine = Some(
                    answer::<Machine>(&row, &place)?
                        .map_err(|missing| format!("does not say on which machine it was made: {}", missing.why))?,
                )
            }
            "gpu" => gpu = Some(answer::<Gpu>(&row, &place)?),
            _ => rows.push(row_of(row, &place)?),
        }
    }
    let machine = machine.ok_or("does not say on which machine it was made")?;
    let gpu = gpu.ok_or("does not say which GPU there was")?;
    if let Ok(gpu) = &gpu
        && (gpu.copy_bytes_per_second <= 0.0 || gpu.thread_instructions_per_second <= 0.0)
    {
        return Err("has a GPU that copies and issues nothing".into());
    }
    Ok(Results { bundle, machine, gpu, told })
}

fn row_of(row: Row, place: &str) -> Result<Told, String> {
    let backend = row.backend.clone().ok_or_else(|| format!("names no backend in {place}"))?;
    name("the backend", &backend)?;
    if let Some(configuration) = &row.configuration {
        name("the configuration", configuration)?;
    }
    let (what, outcome) = match row.what.as_str() {
        "compare" => ("compare", answer(&row, place)?.map(Outcome::Compared)),
        "frames" => ("frames", answer(&row, place)?.map(Outcome::Played)),
        "time" => ("time", answer(&row, place)?.map(Outcome::Timed)),
        "work" => ("work", answer(&row, place)?.map(Outcome::Counted)),
        other => return Err(format!("has a row of a kind that is not known: {other:?}")),
    };
    let own = match &outcome {
        Ok(Outcome::Compared(compared)) => Some(&compared.backend),
        Ok(Outcome::Played(played)) => Some(&played.backend),
        Ok(Outcome::Timed(timed)) => Some(&timed.backend),
        _ => None,
    };
    if own.is_some_and(|own| *own != backend) {
        return Err(format!("has an answer of another backend than it says in {place}"));
    }
    if let Ok(Outcome::Timed(timed)) = &outcome {
        timed.rows.iter().try_for_each(|form| measured(form, place))?;
    }
    Ok(Told { configuration: row.configuration, backend, image: row.image, outcome, what })
}

/// The result of a row, or why it has none.
fn answer<T: DeserializeOwned>(row: &Row, place: &str) -> Result<Result<T, Missing>, String> {
    match (row.code, &row.result) {
        (Some(0), Some(result)) => {
            let parsed = serde_json::from_value(result.clone());
            parsed.map(Ok).map_err(|error| format!("has another form in {place}: {error}"))
        }
        (code, _) => Ok(Err(Missing {
            no_device: code == Some(i64::from(crate::exit::Exit::NoDevice as u8)),
            why: row.error.clone().unwrap_or_else(|| "it ended without a word".into()),
        })),
    }
}

/// Whether a form of launching was measured as it says.
fn measured(form: &TimedForm, place: &str) -> Result<(), String> {
    let runs = form.device_seconds.len();
    if runs < 5 || form.wall_seconds.len() != runs {
        return Err(format!("has {runs} runs of a form in {place}, where five are the least"));
    }
    if form.steps_per_launch == 0 || form.launches == 0 {
        return Err(format!("has a form without a step in {place}"));
    }
    if form.device_seconds.iter().chain(&form.wall_seconds).any(|seconds| *seconds <= 0.0) {
        return Err(format!("has a run that took no time in {place}"));
    }
    Ok(())
}

/// A name that can be the name of a folder and is no path.
fn name(what: &str, name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    let dotted = what == "the backend";
    let allowed = name.chars().all(|c| plain(c) || dotted && c == '.');
    if allowed && !name.is_empty() && name.len() <= NAME_CHARS_MAX {
        return Ok(());
    }
    Err(format!("names {what} {}, which is no name but could be a path", brief(&Value::from(name))))
}

/// Whether all text is short and printable, and all numbers are such as a run has.
fn plain(value: &Value, place: &str) -> Result<(), String> {
    match value {
        Value::String(text) if text.chars().count() > TEXT_CHARS_MAX => {
            Err(format!("has a text of more than {TEXT_CHARS_MAX} characters in {place}"))
        }
        Value::String(text) if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) => {
            Err(format!("has text that is not printable in {place}"))
        }
        Value::Number(number) => match number.as_f64() {
            Some(number) if number.is_finite() && (-1.0..=NUMBER_MAX).contains(&number) => Ok(()),
            _ if place.ends_with("seed") => Ok(()),
            _ => Err(format!("has a number that nobody measured in {place}: {number}")),
        },
        Value::Array(values) => {
            values.iter().enumerate().try_for_each(|(i, value)| plain(value, &format!("{place}[{i}]")))
        }
        Value::Object(map) => map.iter().try_for_each(|(key, value)| {
            plain(&Value::from(key.as_str()), place)?;
            let key: String = key.chars().take(NAME_CHARS_MAX).collect();
            plain(value, &format!("{place}.{key}"))
        }),
        _ => Ok(()),
    }
}

/// A value for an error, cut where it is long.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 80 { text } else { text.chars().take(80).chain("…".chars()).collect() }
}
