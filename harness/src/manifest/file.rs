//! `env.toml` as it stands in the file, key by key. Unknown keys are refused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// `lockstep/manifest/1`.
    pub format: String,
    /// The environment's name: the folder, the crate `lockstep-env-<name>`, the word on the wire.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// `translate`, `translate-verified` or `create`.
    #[serde(default = "translate")]
    pub workflow: String,
    /// The folder of the reference: a name in `references/`, or a path from this file.
    pub reference: String,
    /// Agents at most.
    #[serde(default = "one")]
    pub agents: usize,
    /// Action tokens per agent and step.
    #[serde(default = "one")]
    pub width: usize,
    /// Who resets at the end of an episode: `harness` or `reference`.
    #[serde(default = "harness")]
    pub resets: String,
    /// What an action is.
    pub action: ActionTable,
    /// How randomness is compared.
    #[serde(default)]
    pub draws: DrawsTable,
    /// The reward.
    pub reward: RewardTable,
    /// The fields of the canonical state, in the order of the wire; regions last.
    pub canonical: Vec<FieldTable>,
    /// The fields of one agent's observation.
    pub observation: Vec<FieldTable>,
    /// Rows finer than a step.
    #[serde(default)]
    pub grains: Vec<GrainTable>,
    /// Memories of a lane.
    #[serde(default)]
    pub regions: Vec<RegionTable>,
    /// The configurations; `default` must be there.
    pub configurations: BTreeMap<String, ConfigurationTable>,
    /// The backends by name.
    pub backends: BTreeMap<String, BackendTable>,
    /// What a CUDA kernel may need of a GPU, by the kernel's name.
    #[serde(default)]
    pub ceiling: BTreeMap<String, CeilingTable>,
    /// Oddities of the reference that are reproduced; each has a test of that name.
    #[serde(default)]
    pub quirk: Vec<QuirkTable>,
    /// Where another number than the exact one may stand.
    #[serde(default, deserialize_with = "each_tolerance")]
    #[schemars(with = "Vec<ToleranceRow>")]
    pub tolerance: Vec<ToleranceTable>,
    /// Differences that are known and counted.
    #[serde(default)]
    pub known_divergence: Vec<KnownDivergence>,
    /// Features whose traces are counted apart.
    #[serde(default)]
    pub bucket: Vec<BucketTable>,
    /// What always holds.
    #[serde(default)]
    pub invariant: Vec<InvariantTable>,
    /// Pure functions that both sides offer to be probed.
    #[serde(default)]
    pub probe: Vec<ProbeTable>,
    /// How much each tier does by default.
    #[serde(default)]
    pub tiers: TiersTable,
    /// How a state is drawn in the HTML report.
    #[serde(default)]
    pub picture: Option<PictureTable>,
}

fn translate() -> String {
    "translate".into()
}

fn one() -> usize {
    1
}

fn harness() -> String {
    "harness".into()
}

/// What an action is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionTable {
    /// `discrete` or `continuous`.
    pub kind: String,
    /// Discrete: the actions, from 0.
    #[serde(default)]
    pub names: Vec<String>,
    /// Discrete: odd but defined values behind them.
    #[serde(default)]
    pub extra: Vec<String>,
    /// Discrete: whether some are illegal in some states.
    #[serde(default)]
    pub mask: bool,
    /// Continuous: the smallest ordinary value.
    #[serde(default)]
    pub low: Option<f32>,
    /// Continuous: the largest ordinary value.
    #[serde(default)]
    pub high: Option<f32>,
}

/// How randomness is compared.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrawsTable {
    /// `exact`, `served`, `recorded` or `statistical`; `served` where there are no draws.
    pub level: Option<String>,
    /// Who draws.
    #[serde(default)]
    pub sites: Vec<String>,
}

/// The reward.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RewardTable {
    /// `f32` or `f64`.
    pub dtype: String,
}

/// One field of a record.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldTable {
    /// Its name here.
    pub name: String,
    /// `u8 i8 u16 i16 u32 i32 u64 i64 f32 f64 region`.
    pub dtype: String,
    /// Sizes; absent for one value.
    #[serde(default)]
    pub shape: Vec<usize>,
    /// Its unit.
    #[serde(default)]
    pub unit: Option<String>,
    /// Fields that differ together for one reason.
    #[serde(default)]
    pub group: Option<String>,
    /// Its name in the reference.
    #[serde(default)]
    pub reference: Option<String>,
    /// The configurations that have it; absent for all.
    #[serde(default)]
    pub configurations: Option<Vec<String>>,
}

/// Rows finer than a step.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrainTable {
    /// Its name.
    pub name: String,
    /// The fields of a row.
    pub row: Vec<FieldTable>,
}

/// A memory of a lane.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegionTable {
    /// Its name.
    pub name: String,
    /// Its size, a multiple of 4.
    pub bytes: usize,
    /// `read` or `read-write`.
    pub access: String,
    /// The configurations that have it; absent for all.
    #[serde(default)]
    pub configurations: Option<Vec<String>>,
}

/// One configuration; what is absent is as in the file's head.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationTable {
    /// What it is for.
    #[serde(default)]
    pub about: Option<String>,
    /// Its agents.
    #[serde(default)]
    pub agents: Option<usize>,
    /// Its time limit.
    #[serde(default)]
    pub episode_steps_max: Option<u32>,
    /// Its draw level.
    #[serde(default)]
    pub draws: Option<String>,
    /// Its action.
    #[serde(default)]
    pub action: Option<ActionTable>,
    /// What the world is built from.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, serde_json::Value>")]
    pub options: toml::Table,
    /// Files that the world is built from, as paths from the manifest.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

/// One backend.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendTable {
    /// The files that it is written in.
    pub files: Vec<String>,
    /// Those of them that `converge` empties and a model writes; empty for a backend that only people write.
    #[serde(default, rename = "loop")]
    pub editable: Vec<String>,
    /// What it is.
    #[serde(default)]
    pub about: Option<String>,
    /// The cargo feature that the runner is built with for it.
    #[serde(default)]
    pub feature: Option<String>,
    /// The configurations that it can play; absent for all.
    #[serde(default)]
    pub configurations: Option<Vec<String>>,
    /// The instruction sets that it has code for.
    #[serde(default)]
    pub instructions: Option<InstructionsTable>,
}

/// What one CUDA kernel may need of a GPU at most; what is absent is not bounded.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CeilingTable {
    /// Registers of a thread.
    #[serde(default)]
    pub registers: Option<u32>,
    /// Bytes of a thread's stack.
    #[serde(default)]
    pub stack_bytes: Option<u32>,
    /// Bytes of registers that are stored and loaded because there are not enough.
    #[serde(default)]
    pub spill_bytes: Option<u32>,
    /// Bytes of shared memory of a block.
    #[serde(default)]
    pub shared_bytes: Option<u32>,
}

/// The instruction sets that a backend has code for; the contract tier holds all of this machine's to the same bits.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstructionsTable {
    /// The environment variable by which its runner is asked for one.
    pub variable: String,
    /// Their names.
    pub names: Vec<String>,
}

/// An oddity of the reference that is reproduced.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuirkTable {
    /// Its name, and that of its test.
    pub name: String,
    /// What is odd.
    pub about: String,
    /// Where it happens in the reference.
    #[serde(default)]
    pub reference: Option<String>,
}

/// The statistic that a tolerance bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Statistic {
    /// The largest absolute error: one above it is a divergence.
    Max,
    /// The largest absolute error beside one plus the largest value of the field: for fields that can be large.
    Scaled,
    /// The largest distance in units in the last place.
    Ulp,
    /// The largest absolute error of a record, in the 99th of 100 records: one above it is a failed check.
    P99,
}

impl Statistic {
    /// Whether it is about many records together, so that no single one is a divergence.
    pub fn is_percentile(self) -> bool {
        self == Statistic::P99
    }
}

/// How a tolerance is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ToleranceMode {
    /// From the start, each side on its own state.
    FreeRunning,
    /// Step by step from the reference's state.
    TeacherForced,
}

/// One name, or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Names {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Names {
    fn all(&self) -> &[String] {
        match self {
            Names::One(name) => std::slice::from_ref(name),
            Names::Several(names) => names,
        }
    }
}

/// A tolerance as it stands in the file: the same for all the fields and backends that it names.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ToleranceRow {
    /// Fields of state or observation, or `reward`: one, or a list.
    field: Names,
    /// The backends: one, or a list.
    backend: Names,
    /// The reference setting, where there are several; `rust` is the bulk judge of other backends, whom no other row
    /// is about. Absent for all settings of the reference.
    #[serde(default)]
    setting: Option<String>,
    /// The tier; absent for all.
    #[serde(default)]
    tier: Option<String>,
    /// The configurations; absent for all.
    #[serde(default)]
    configurations: Option<Vec<String>>,
    /// How it is compared; absent for both.
    #[serde(default)]
    mode: Option<ToleranceMode>,
    /// What is bounded.
    statistic: Statistic,
    /// The bound.
    bound: f64,
    /// Steps up to which free-running play is compared; absent for all.
    #[serde(default)]
    horizon: Option<u32>,
    /// Where the bound comes from: a measurement of the reference alone.
    reason: String,
}

/// A table for each field and backend of each row.
fn each_tolerance<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<ToleranceTable>, D::Error> {
    let rows = Vec::<ToleranceRow>::deserialize(input)?;
    let mut tables = Vec::new();
    for row in &rows {
        for (backend, field) in
            row.backend.all().iter().flat_map(|backend| row.field.all().iter().map(move |field| (backend, field)))
        {
            tables.push(ToleranceTable {
                field: field.clone(),
                backend: backend.clone(),
                setting: row.setting.clone(),
                tier: row.tier.clone(),
                configurations: row.configurations.clone(),
                mode: row.mode,
                statistic: row.statistic,
                bound: row.bound,
                horizon: row.horizon,
                reason: row.reason.clone(),
            });
        }
    }
    Ok(tables)
}

/// Where another number than the exact one may stand.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToleranceTable {
    /// A field of state or observation, or `reward`.
    pub field: String,
    /// The backend.
    pub backend: String,
    /// The reference setting, where there are several; `rust` is the bulk judge of other backends, whom no other row
    /// is about. Absent for all settings of the reference.
    #[serde(default)]
    pub setting: Option<String>,
    /// The tier; absent for all.
    #[serde(default)]
    pub tier: Option<String>,
    /// The configurations; absent for all.
    #[serde(default)]
    pub configurations: Option<Vec<String>>,
    /// How it is compared; absent for both.
    #[serde(default)]
    pub mode: Option<ToleranceMode>,
    /// What is bounded.
    pub statistic: Statistic,
    /// The bound.
    pub bound: f64,
    /// Steps up to which free-running play is compared; absent for all.
    #[serde(default)]
    pub horizon: Option<u32>,
    /// Where the bound comes from: a measurement of the reference alone.
    pub reason: String,
}

/// A difference that is known and counted.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KnownDivergence {
    /// Its name in reports.
    pub name: String,
    /// The field that differs.
    pub field: String,
    /// Over the reference's canonical fields, e.g. `value >= 8 and purse[0] > 0`.
    pub when: String,
    /// Why it is accepted.
    pub reason: String,
    /// The day after which it counts as a divergence again, `YYYY-MM-DD`.
    pub expires: String,
}

/// A feature whose traces are counted apart.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketTable {
    /// Its name in reports.
    pub name: String,
    /// Over canonical fields.
    pub when: String,
    /// Independent traces that must have reached it.
    pub minimum: u64,
}

/// A condition that holds in every state that is reached.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InvariantTable {
    /// Its name in reports.
    pub name: String,
    /// Over canonical fields.
    pub holds: String,
    /// The configurations that it is about; absent for all.
    #[serde(default)]
    pub configurations: Option<Vec<String>>,
}

/// A pure function that both sides offer to be probed.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeTable {
    /// Its name.
    pub function: String,
    /// Its inputs by name, with the smallest and largest whole number.
    pub input: BTreeMap<String, [i64; 2]>,
    /// How far apart two numbers of an answer may be, beside one plus the larger of them; 0 where it is absent.
    #[serde(default)]
    pub tolerance: f64,
    /// Where the tolerance comes from: a measurement of the reference alone.
    #[serde(default)]
    pub reason: Option<String>,
}

/// How much each tier does by default.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TiersTable {
    /// Lanes of a frame; the reference holds as many environments.
    #[serde(default)]
    pub lanes: Option<usize>,
    /// Steps of one rollout trace.
    #[serde(default)]
    pub trace_steps: Option<usize>,
    /// Free-running rollout steps by configuration.
    #[serde(default)]
    pub rollout_steps: BTreeMap<String, u64>,
    /// Steps of each configuration in which another backend is compared with `rust`.
    #[serde(default)]
    pub between_steps: Option<u64>,
    /// Free-running steps of each configuration in which another backend than `rust` is compared with the reference.
    #[serde(default)]
    pub sample_steps: Option<u64>,
    /// Steps of each configuration from the reference's own states, where tolerances make free-running play short.
    #[serde(default)]
    pub forced_steps: BTreeMap<String, u64>,
    /// Fuzz steps of each configuration.
    #[serde(default)]
    pub fuzz_steps: Option<u64>,
}

/// How a state is drawn in the HTML report.
///
/// Wherever an amount stands, it is a number or an expression: `+ - * /`, parentheses, numbers, canonical fields
/// (`ball_y`, `purse[1]`), options of the configuration, and the constants below, looked up in this order.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PictureTable {
    /// How wide it is.
    pub width: Amount,
    /// How high it is; y points down, as in SVG.
    pub height: Amount,
    /// Numbers by name, such as the defaults of options that a configuration does not give.
    #[serde(default)]
    pub constants: BTreeMap<String, f64>,
    /// What is drawn, from back to front.
    pub shape: Vec<ShapeTable>,
}

/// A number, or an expression that gives one.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Amount {
    /// A number.
    Number(f64),
    /// An expression.
    Expression(String),
}

/// One thing in a picture. Which amounts it has follows from its kind.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShapeTable {
    /// `rect` (x, y, width, height), `circle` (x, y, radius), `line` (x, y, x2, y2), `text` (x, y, size, text) or `bar`
    /// (x, y, width, height, value, limit).
    pub kind: String,
    /// Left edge, or the centre of a circle or text.
    pub x: Amount,
    /// Upper edge, the centre of a circle, or the baseline of a text.
    pub y: Amount,
    /// Of a rect or bar.
    #[serde(default)]
    pub width: Option<Amount>,
    /// Of a rect or bar.
    #[serde(default)]
    pub height: Option<Amount>,
    /// Of a circle.
    #[serde(default)]
    pub radius: Option<Amount>,
    /// The end of a line.
    #[serde(default)]
    pub x2: Option<Amount>,
    /// The end of a line.
    #[serde(default)]
    pub y2: Option<Amount>,
    /// The height of a text's letters.
    #[serde(default)]
    pub size: Option<Amount>,
    /// A text in which `{expression}` stands for its value.
    #[serde(default)]
    pub text: Option<String>,
    /// How much of a bar is filled.
    #[serde(default)]
    pub value: Option<Amount>,
    /// What fills a bar to its end.
    #[serde(default)]
    pub limit: Option<Amount>,
    /// `ink` (the default), `soft`, `faint`, or `outline`.
    #[serde(default)]
    pub tone: Option<String>,
    /// Drawn only where this holds, e.g. `deciders != 2`.
    #[serde(default)]
    pub when: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Rows {
        #[serde(deserialize_with = "each_tolerance")]
        tolerance: Vec<ToleranceTable>,
    }

    fn read(fields: &str) -> Result<Vec<ToleranceTable>, toml::de::Error> {
        let rest = "statistic = \"max\"\nbound = 1e-9\nreason = \"measured\"";
        toml::from_str(&format!("[[tolerance]]\n{fields}\n{rest}")).map(|rows: Rows| rows.tolerance)
    }

    #[test]
    fn a_tolerance_row_stands_for_each_of_its_fields_and_backends() {
        let rows = read("field = [\"x\", \"v\"]\nbackend = [\"rust\", \"rust.simd\"]").expect("it is valid");
        let named: Vec<(&str, &str)> = rows.iter().map(|row| (row.backend.as_str(), row.field.as_str())).collect();
        assert_eq!(named, [("rust", "x"), ("rust", "v"), ("rust.simd", "x"), ("rust.simd", "v")]);
        assert!(rows.iter().all(|row| row.bound == 1e-9 && row.reason == "measured"));
        assert_eq!(read("field = \"x\"\nbackend = \"rust\"").expect("it is valid").len(), 1);
        assert!(read("field = \"x\"\nbackend = \"rust\"\nfeild = 1").is_err());
    }
}
