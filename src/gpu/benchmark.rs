//! From results to what is filed: whether every bit agreed, and speeds that are worked out anew from the times.

use super::Hashes;
use super::results::{Compared, CountedForm, Gpu, Missing, Outcome, Results, TimedForm, Told};
use serde::Serialize;
use serde_json::{Value, json};

/// The version of what is filed.
pub const FORMAT: &str = "lockstep/gpu-bench/1";

/// A step of a kernel takes at least this share of the instructions that the interpreter counts: an assembler makes
/// fewer of them, and some GPUs issue whole numbers beside the multiply-adds whose rate was measured.
const INSTRUCTIONS_LEAST: f64 = 0.25;

/// How far a speed may be from what its times say.
const ROUNDING: f64 = 1e-6;

/// Why an environment's results are no benchmark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Bits differ: where.
    Differs(String),
    /// There was no GPU: what was said.
    NoDevice(String),
    /// Something is missing, failed, or can't be.
    Unfit(String),
}

/// What is filed of one environment.
#[derive(Debug, Serialize)]
pub struct Benchmark {
    format: &'static str,
    environment: String,
    gpu: Gpu,
    /// Its table, or why there is none.
    nvidia_smi: String,
    machine: String,
    memory_bytes: Option<u64>,
    system: String,
    day: String,
    commit: String,
    compiler: String,
    target: String,
    source: Hashes,
    command: &'static str,
    /// Steps of all lanes together whose digests were the same.
    steps_compared: u64,
    traces_compared: usize,
    compared: Vec<Value>,
    rows: Vec<Speed>,
    interpreted: Vec<CountedForm>,
    interpreted_lanes: u64,
}

/// One speed.
#[derive(Debug, Serialize)]
struct Speed {
    configuration: String,
    lanes: u64,
    form: String,
    about: String,
    steps_per_launch: u64,
    launches: u64,
    runs: usize,
    /// The median, by the GPU's own clock.
    steps_per_second: f64,
    /// The slowest and the fastest run.
    spread: [f64; 2],
    /// The median, seen from outside.
    steps_per_second_wall: f64,
}

/// Judges the results of one environment; `day` is that of the run.
pub fn benchmark(results: &Results, environment: &str, day: &str) -> Result<Benchmark, Refusal> {
    let (bundle, told) = (&results.bundle, &results.told[environment]);
    let packed = &bundle.environments[environment];
    // First of all: a difference counts wherever it was seen.
    if let Some(difference) = told.iter().find_map(difference) {
        return Err(Refusal::Differs(difference));
    }
    let gpu = results.gpu.as_ref().map_err(|missing| refusal("gpu", missing))?;
    let unfit = |why: String| Err(Refusal::Unfit(why));
    for row in told {
        if let Err(missing) = &row.outcome {
            return Err(refusal(&format!("{} {}", row.what, row.backend), missing));
        }
    }
    if bundle.profile != "release" {
        return unfit(format!("its runners were built with the profile {:?}, which has assertions", bundle.profile));
    }
    let (mut compared, mut rows, mut interpreted, mut traces) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let (mut steps_compared, mut interpreted_lanes) = (0, 0);
    for row in told {
        let on_gpu = row.backend == "cuda";
        match (&row.outcome, &row.configuration) {
            (Ok(Outcome::Compared(done)), Some(configuration)) if on_gpu => {
                named(gpu, &done.device)?;
                steps_compared += done.steps;
                compared.push(json!({
                    "configuration": configuration, "image": row.image, "lanes": done.lanes, "steps": done.steps,
                    "launch": done.launch, "seed": done.seed, "episodes": done.episodes, "digest": done.digest,
                    "rust_seconds_with_digests": done.rust_seconds, "gpu_seconds_with_digests": done.device_seconds,
                }));
            }
            (Ok(Outcome::Played(done)), _) if on_gpu => traces += done.traces.len(),
            (Ok(Outcome::Timed(done)), Some(configuration)) if on_gpu => {
                named(gpu, &done.device)?;
                for form in &done.rows {
                    rows.push(speed(configuration, done.lanes, form)?);
                }
            }
            (Ok(Outcome::Counted(done)), Some(configuration)) if configuration == "default" => {
                interpreted.extend(done.rows.iter().cloned());
                interpreted_lanes = done.lanes;
            }
            _ => {}
        }
    }
    for configuration in &packed.configurations {
        if !compared.iter().any(|row| row["configuration"] == configuration.as_str() && row["steps"].as_u64() > Some(0))
        {
            return unfit(format!("no bits were compared on the GPU in the configuration {configuration}"));
        }
    }
    if traces != packed.traces {
        return unfit(format!("{traces} of {} kept traces were played on the GPU", packed.traces));
    }
    if rows.is_empty() {
        return unfit("no kernel was timed on the GPU".into());
    }
    possible(gpu, &rows, &interpreted)?;
    let machine = &results.machine;
    let smi = &machine.nvidia_smi;
    Ok(Benchmark {
        format: FORMAT,
        environment: environment.to_owned(),
        gpu: gpu.clone(),
        nvidia_smi: smi.table.as_ref().or(smi.error.as_ref()).cloned().unwrap_or_default(),
        machine: format!("{}, {} cores", machine.processor, machine.cores),
        memory_bytes: machine.memory_bytes,
        system: machine.system.clone(),
        day: day.to_owned(),
        commit: bundle.commit.clone(),
        compiler: bundle.compiler.clone(),
        target: bundle.target.clone(),
        source: packed.source.clone(),
        command: "run.sh of a bundle of `lockstep gpu-bundle`",
        steps_compared,
        traces_compared: traces,
        compared,
        rows,
        interpreted,
        interpreted_lanes,
    })
}

/// The refusal for a row that has no result.
fn refusal(what: &str, missing: &Missing) -> Refusal {
    let why = format!("{what}: {}", first_line(&missing.why));
    if missing.no_device { Refusal::NoDevice(why) } else { Refusal::Unfit(why) }
}

/// The difference that a row tells, in words.
fn difference(row: &Told) -> Option<String> {
    let configuration = row.configuration.as_deref().unwrap_or_default();
    let image = row.image.as_ref().map(|image| format!(" as {image}")).unwrap_or_default();
    match row.outcome.as_ref().ok()? {
        Outcome::Compared(Compared { agrees: false, divergence, .. }) => {
            let at = |key: &str| {
                let number = divergence.as_ref().and_then(|divergence| divergence[key].as_u64());
                number.map_or("unknown".to_owned(), |number| number.to_string())
            };
            Some(format!(
                "rust and {}{image} differ in {configuration}, lane {}, step {}, seed {}",
                row.backend,
                at("lane"),
                at("step"),
                at("seed")
            ))
        }
        Outcome::Played(played) => {
            let differs = played.traces.iter().find(|trace| !trace.agrees);
            let what = match differs {
                None if played.agrees => return None,
                None => "a kept trace differs".to_owned(),
                Some(trace) => format!(
                    "kept trace {:?} differs: {}",
                    trace.trace,
                    trace.difference.as_deref().map(first_line).unwrap_or_default()
                ),
            };
            Some(format!("{} on {}: {what}", row.what, row.backend))
        }
        _ => None,
    }
}

/// A row is of the GPU that was looked at; a file of machine code may stand behind its name.
fn named(gpu: &Gpu, device: &str) -> Result<(), Refusal> {
    let rest = device.strip_prefix(gpu.name.as_str());
    if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(", sm_")) {
        return Ok(());
    }
    Err(Refusal::Unfit(format!("a row is of {device:?}, and the GPU is {:?}", gpu.name)))
}

/// The speed of one form, from its times.
fn speed(configuration: &str, lanes: u64, form: &TimedForm) -> Result<Speed, Refusal> {
    let steps = lanes as f64 * form.steps_per_launch as f64 * form.launches as f64;
    let sorted = |seconds: &[f64]| {
        let mut sorted = seconds.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted
    };
    let (device, wall) = (sorted(&form.device_seconds), sorted(&form.wall_seconds));
    let runs = device.len();
    let steps_per_second = steps / device[runs / 2];
    if (steps_per_second / form.steps_per_second - 1.0).abs() > ROUNDING || !steps_per_second.is_finite() {
        return Err(Refusal::Unfit(format!(
            "{} of {configuration} with {lanes} lanes says {:e} steps/s, and its times say {steps_per_second:e}",
            form.form, form.steps_per_second
        )));
    }
    Ok(Speed {
        configuration: configuration.to_owned(),
        lanes,
        form: form.form.clone(),
        about: form.about.clone(),
        steps_per_launch: form.steps_per_launch,
        launches: form.launches,
        runs,
        steps_per_second,
        spread: [steps / device[runs - 1], steps / device[0]],
        steps_per_second_wall: steps / wall[runs / 2],
    })
}

/// Refuses what is faster than the GPU can issue instructions.
fn possible(gpu: &Gpu, rows: &[Speed], interpreted: &[CountedForm]) -> Result<(), Refusal> {
    let counted = interpreted.iter().find(|counted| counted.form == "fused" && counted.instructions_per_step > 0.0);
    let counted = counted.ok_or_else(|| Refusal::Unfit("the interpreter's count of a step is missing".into()))?;
    let most = gpu.thread_instructions_per_second / (INSTRUCTIONS_LEAST * counted.instructions_per_step);
    match rows.iter().find(|row| row.configuration == "default" && row.steps_per_second > most) {
        None => Ok(()),
        Some(row) => Err(Refusal::Unfit(format!(
            "{} with {} lanes says {:.3e} steps/s; with {:.0} instructions a step this GPU can't do more than {most:.3e}",
            row.form, row.lanes, row.steps_per_second, counted.instructions_per_step
        ))),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// The name of a GPU as a part of a file's name.
pub fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let slug = words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-");
    slug.chars().take(64).collect()
}

impl Benchmark {
    /// The fastest speed of each form, as text.
    pub fn best(&self) -> String {
        let mut text = String::new();
        for form in ["fused", "single", "graph"] {
            let rows = self.rows.iter().filter(|row| row.form == form && row.configuration == "default");
            if let Some(row) = rows.max_by(|a, b| a.steps_per_second.total_cmp(&b.steps_per_second)) {
                let [low, high] = row.spread;
                text += &format!(
                    "  {form:<7} {:>10.1} M steps/s ({:.1} to {:.1}), {} lanes\n",
                    row.steps_per_second / 1e6,
                    low / 1e6,
                    high / 1e6,
                    row.lanes
                );
            }
        }
        text
    }

    /// Steps and kept traces that were compared.
    pub fn compared(&self) -> (u64, usize) {
        (self.steps_compared, self.traces_compared)
    }
}
