//! From the file to configurations: everything that a configuration leaves out is filled in, and the whole is checked.

use super::file::{ActionTable, ConfigurationTable, FieldTable, KnownDivergence, ManifestFile, ToleranceTable};
use super::schema::{Dtype, Field};
use crate::html::Picture;
use crate::predicate::Predicate;
use lockstep_core::PROTOCOL;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

/// How randomness is compared, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The reference's generator is ported; its state is part of the lane.
    Exact,
    /// Both sides ask the harness.
    Served,
    /// The reference draws, the backend replays.
    Recorded,
    /// Only frequencies are compared.
    Statistical,
}

impl Level {
    fn named(name: &str) -> Result<Self, String> {
        match name {
            "exact" => Ok(Level::Exact),
            "served" => Ok(Level::Served),
            "recorded" => Ok(Level::Recorded),
            "statistical" => Ok(Level::Statistical),
            other => Err(format!("draw level {other:?} is none of exact, served, recorded, statistical")),
        }
    }

    /// Its name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Level::Exact => "exact",
            Level::Served => "served",
            Level::Recorded => "recorded",
            Level::Statistical => "statistical",
        }
    }
}

/// What an action is.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// One of several.
    Discrete {
        /// Their names.
        names: Vec<String>,
        /// Odd values behind them.
        extra: Vec<String>,
        /// Whether some are illegal in some states.
        mask: bool,
    },
    /// An f32.
    Continuous {
        /// The smallest ordinary value.
        low: f32,
        /// The largest.
        high: f32,
    },
}

/// Rows finer than a step.
#[derive(Debug, Clone)]
pub struct Grain {
    /// Its name.
    pub name: String,
    /// The fields of a row.
    pub row: Vec<Field>,
}

/// One configuration, complete.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The environment.
    pub environment: String,
    /// Its name.
    pub name: String,
    /// Over everything that fixes what a trace means.
    pub hash: String,
    /// Agents.
    pub agents: usize,
    /// Tokens per agent and step.
    pub width: usize,
    /// What an action is.
    pub action: Action,
    /// How randomness is compared.
    pub level: Level,
    /// Who draws.
    pub sites: Vec<String>,
    /// The reward's type.
    pub reward: Dtype,
    /// The canonical fields, regions last.
    pub canonical: Vec<Field>,
    /// The fields of one agent's observation.
    pub observation: Vec<Field>,
    /// Rows finer than a step.
    pub grains: Vec<Grain>,
    /// Whether the reference's own step resets.
    pub reference_resets: bool,
    /// The time limit.
    pub episode_steps_max: Option<u32>,
    /// What the world is built from.
    pub options: Value,
    /// Files, as absolute paths or paths from the manifest's folder.
    pub files: BTreeMap<String, String>,
    /// Every tolerance of the environment.
    pub tolerances: Vec<ToleranceTable>,
    /// Every known divergence, with its predicate.
    pub known: Vec<(KnownDivergence, Predicate)>,
}

impl Configuration {
    /// Tokens of one step.
    pub fn tokens_per_step(&self) -> usize {
        self.agents * self.width
    }

    /// Bytes of the canonical part of a record.
    pub fn canonical_bytes(&self) -> usize {
        self.canonical.iter().map(Field::bytes).sum()
    }

    /// Bytes of the state form.
    pub fn state_bytes(&self) -> usize {
        self.canonical.iter().map(Field::state_bytes).sum()
    }

    /// Bytes of one agent's observation.
    pub fn observation_bytes(&self) -> usize {
        self.observation.iter().map(Field::bytes).sum()
    }

    /// Words of one agent's mask; 0 without one.
    pub fn mask_words(&self) -> usize {
        match &self.action {
            Action::Discrete { names, mask: true, .. } => names.len().div_ceil(32),
            _ => 0,
        }
    }

    /// The body of `hello`, without what the run decides (lanes, digests, settings, names of sites).
    pub fn hello(&self) -> Value {
        let action = match &self.action {
            Action::Discrete { names, extra, mask } => {
                json!({"kind": "discrete", "count": names.len(), "extra": extra.len(), "mask": mask})
            }
            Action::Continuous { low, high } => json!({"kind": "continuous", "low": low, "high": high}),
        };
        let grains: Vec<Value> =
            self.grains.iter().map(|grain| json!({"name": grain.name, "row": grain.row})).collect();
        json!({
            "protocol": PROTOCOL,
            "environment": self.environment,
            "configuration": {"name": self.name, "hash": self.hash, "options": self.options},
            "files": self.files,
            "agents": self.agents,
            "width": self.width,
            "action": action,
            "draws": {"level": self.level.name(), "sites": self.sites},
            "grains": grains,
            "canonical": self.canonical,
            "observation": self.observation,
            "reward": self.reward.name(),
            "resets": if self.reference_resets { "reference" } else { "harness" },
            "episode_steps_max": self.episode_steps_max,
        })
    }
}

pub(super) fn resolve(file: &ManifestFile) -> Result<Vec<Configuration>, String> {
    check_head(file)?;
    let mut configurations = Vec::new();
    let mut names: Vec<&String> = file.configurations.keys().collect();
    names.sort_by_key(|name| (*name != "default", (*name).clone()));
    if !file.configurations.contains_key("default") {
        return Err("there is no [configurations.default]".into());
    }
    for name in names {
        let table = file.configurations[name].clone();
        configurations
            .push(configuration(file, name, table).map_err(|error| format!("[configurations.{name}]: {error}"))?);
    }
    for row in &file.tolerance {
        check_tolerance(file, row, &configurations[0])?;
    }
    if let Some(table) = &file.picture {
        Picture::check(table, &configurations)?;
    }
    Ok(configurations)
}

fn check_head(file: &ManifestFile) -> Result<(), String> {
    let legal = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if !legal(&file.name) {
        return Err(format!("name {:?} is not made of a-z, 0-9 and _", file.name));
    }
    if !["translate", "translate-verified", "create"].contains(&file.workflow.as_str()) {
        return Err(format!("workflow {:?} is none of translate, translate-verified, create", file.workflow));
    }
    if !(1..=16).contains(&file.agents) || !(1..=64).contains(&file.width) {
        return Err("agents is from 1 to 16, width from 1 to 64".into());
    }
    if !["harness", "reference"].contains(&file.resets.as_str()) {
        return Err(format!("resets {:?} is neither harness nor reference", file.resets));
    }
    if !file.backends.contains_key("rust") {
        return Err("there is no [backends.rust]: the readable backend judges all others".into());
    }
    let mut written = BTreeSet::new();
    for (name, backend) in &file.backends {
        for path in &backend.editable {
            let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
            if !inside || path.is_empty() {
                return Err(format!("backend {name}: {path:?} in `loop` is no path within the environment's folder"));
            }
            if !backend.files.contains(path) {
                return Err(format!("backend {name}: {path} stands in `loop`, and not in `files`"));
            }
            if !written.insert(path) {
                return Err(format!("backend {name}: {path} stands in the `loop` of two backends"));
            }
        }
    }
    for quirk in &file.quirk {
        if quirk.about.trim().is_empty() {
            return Err(format!("quirk {} does not say what is odd", quirk.name));
        }
    }
    for region in &file.regions {
        if region.bytes == 0 || region.bytes % 4 != 0 {
            return Err(format!("region {} has {} bytes, not a positive multiple of 4", region.name, region.bytes));
        }
        if !["read", "read-write"].contains(&region.access.as_str()) {
            return Err(format!("region {} has access {:?}, neither read nor read-write", region.name, region.access));
        }
    }
    Ok(())
}

fn check_tolerance(file: &ManifestFile, row: &ToleranceTable, default: &Configuration) -> Result<(), String> {
    let what = format!("the tolerance of {}", row.field);
    if row.reason.trim().is_empty() {
        return Err(format!("{what} has no reason: say which measurement of the reference it comes from"));
    }
    if !(row.bound.is_finite() && row.bound > 0.0) {
        return Err(format!("{what} has the bound {}, not a positive number", row.bound));
    }
    if !file.backends.contains_key(&row.backend) {
        return Err(format!("{what} names the backend {:?}, which is not in [backends]", row.backend));
    }
    let known = row.field == "reward"
        || default.canonical.iter().chain(&default.observation).any(|field| field.name == row.field)
        || file.canonical.iter().chain(&file.observation).any(|field| field.name == row.field);
    if !known {
        return Err(format!("{what}: there is no such field"));
    }
    Ok(())
}

fn configuration(file: &ManifestFile, name: &str, table: ConfigurationTable) -> Result<Configuration, String> {
    let agents = table.agents.unwrap_or(file.agents);
    if agents == 0 || agents > file.agents {
        return Err(format!("agents is {agents}, but the environment has at most {}", file.agents));
    }
    let level = Level::named(table.draws.as_deref().or(file.draws.level.as_deref()).unwrap_or("served"))?;
    let reward = match Dtype::named(&file.reward.dtype) {
        Some(dtype @ (Dtype::F32 | Dtype::F64)) => dtype,
        _ => return Err(format!("the reward's dtype {:?} is neither f32 nor f64", file.reward.dtype)),
    };
    let canonical = fields(&file.canonical, Some(name))?;
    let first_region = canonical.iter().position(|field| field.dtype == Dtype::Region).unwrap_or(canonical.len());
    if let Some(field) = canonical[first_region..].iter().find(|field| field.dtype != Dtype::Region) {
        return Err(format!("canonical field {} stands after a region; regions come last", field.name));
    }
    for field in &canonical[first_region..] {
        let bytes: usize = field.shape.iter().product();
        if !file.regions.iter().any(|region| region.name == field.name && region.bytes == bytes) {
            return Err(format!("canonical field {} is no region of {bytes} bytes in [[regions]]", field.name));
        }
    }
    let grains = file
        .grains
        .iter()
        .map(|grain| Ok(Grain { name: grain.name.clone(), row: fields(&grain.row, None)? }))
        .collect::<Result<_, String>>()?;
    let known = file
        .known_divergence
        .iter()
        .map(|known| {
            if known.reason.trim().is_empty() {
                return Err(format!("known divergence {} has no reason", known.name));
            }
            known.expires.parse::<jiff::civil::Date>().map_err(|_| {
                format!("known divergence {} expires on {:?}, not a day like 2027-01-31", known.name, known.expires)
            })?;
            let predicate =
                Predicate::parse(&known.when).map_err(|error| format!("known divergence {}: {error}", known.name))?;
            Ok((known.clone(), predicate))
        })
        .collect::<Result<_, String>>()?;
    for bucket in &file.bucket {
        Predicate::parse(&bucket.when).map_err(|error| format!("bucket {}: {error}", bucket.name))?;
    }
    for invariant in &file.invariant {
        Predicate::parse(&invariant.holds).map_err(|error| format!("invariant {}: {error}", invariant.name))?;
    }
    for probe in &file.probe {
        if let Some((name, _)) = probe.input.iter().find(|(_, [low, high])| low > high) {
            return Err(format!("probe {}: the range of {name} is empty", probe.function));
        }
    }
    let options = serde_json::to_value(&table.options).map_err(|error| format!("options: {error}"))?;
    let mut configuration = Configuration {
        environment: file.name.clone(),
        name: name.to_owned(),
        hash: String::new(),
        agents,
        width: file.width,
        action: action(table.action.as_ref().unwrap_or(&file.action))?,
        level,
        sites: file.draws.sites.clone(),
        reward,
        canonical,
        observation: fields(&file.observation, Some(name))?,
        grains,
        reference_resets: file.resets == "reference",
        episode_steps_max: table.episode_steps_max,
        options,
        files: table.files,
        tolerances: file.tolerance.clone(),
        known,
    };
    configuration.hash = hash(&configuration.hello());
    Ok(configuration)
}

/// Over the body of `hello` with sorted keys, so that neither the order of keys nor a comment changes it.
fn hash(hello: &Value) -> String {
    let mut sorted = hello.clone();
    sorted.sort_all_objects();
    let digest = Sha256::digest(sorted.to_string().as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn action(table: &ActionTable) -> Result<Action, String> {
    match table.kind.as_str() {
        "discrete" => {
            if table.names.is_empty() {
                return Err("a discrete action has no names".into());
            }
            if table.low.is_some() || table.high.is_some() {
                return Err("a discrete action has no low and high".into());
            }
            Ok(Action::Discrete { names: table.names.clone(), extra: table.extra.clone(), mask: table.mask })
        }
        "continuous" => match (table.low, table.high) {
            (Some(low), Some(high)) if low.is_finite() && high.is_finite() && low < high => {
                Ok(Action::Continuous { low, high })
            }
            _ => Err("a continuous action has a finite low below a finite high".into()),
        },
        other => Err(format!("action kind {other:?} is neither discrete nor continuous")),
    }
}

fn fields(tables: &[FieldTable], configuration: Option<&str>) -> Result<Vec<Field>, String> {
    let mut seen = BTreeSet::new();
    let mut fields = Vec::new();
    for table in tables {
        let listed = table.configurations.as_ref();
        if let (Some(listed), Some(name)) = (listed, configuration)
            && !listed.iter().any(|listed| listed == name)
        {
            continue;
        }
        if !seen.insert(&table.name) {
            return Err(format!("field {} stands there twice", table.name));
        }
        let dtype = Dtype::named(&table.dtype)
            .ok_or_else(|| format!("field {} has the unknown dtype {:?}", table.name, table.dtype))?;
        let values: usize = table.shape.iter().product();
        if table.shape.len() > 4 || values == 0 || values > 1 << 28 {
            return Err(format!("field {} has the shape {:?}", table.name, table.shape));
        }
        if dtype == Dtype::Region && table.shape.len() != 1 {
            return Err(format!("region {} has not one size in its shape", table.name));
        }
        fields.push(Field {
            name: table.name.clone(),
            dtype,
            shape: table.shape.clone(),
            group: table.group.clone().unwrap_or_else(|| table.name.clone()),
            reference: table.reference.clone(),
        });
    }
    Ok(fields)
}
