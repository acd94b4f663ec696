//! Compares two records and names the first part that differs: draws, state, mask, observation, reward, flags.
//!
//! Equal bits are the default. Where the manifest has a tolerance, and only there, another number may stand.

use crate::manifest::{Configuration, Dtype, Field, Statistic, ToleranceMode, ToleranceTable, Value};
use crate::record::{Draw, Record, split, values};
use std::collections::BTreeMap;

/// The parts of a record, in the order in which they are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The random numbers that were asked for.
    Draws,
    /// The canonical state.
    State,
    /// Who decides next.
    Deciders,
    /// The legal actions.
    Mask,
    /// The observations.
    Observation,
    /// The rewards.
    Reward,
    /// The end of the episode.
    Ending,
    /// The rows of a grain.
    Rows,
    /// A side that died, hung, lied or failed.
    Side,
}

impl Part {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Part::Draws => "draws",
            Part::State => "state",
            Part::Deciders => "deciders",
            Part::Mask => "mask",
            Part::Observation => "observation",
            Part::Reward => "reward",
            Part::Ending => "ending",
            Part::Rows => "rows",
            Part::Side => "side",
        }
    }
}

/// One value that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldDifference {
    /// Its name, e.g. `purse[1]` or `view[2] of agent 1`.
    pub label: String,
    /// Fields that differ together for one reason.
    pub group: String,
    /// What the reference has.
    pub expected: String,
    /// What the backend has.
    pub observed: String,
}

/// How two records differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The first part that differs.
    pub part: Part,
    /// Every value that differs in any part, the first part's first.
    pub fields: Vec<FieldDifference>,
}

impl Difference {
    /// What must stay the same while a trace is shrunk: part and group of the first value.
    pub fn kind(&self) -> String {
        match self.fields.first() {
            Some(field) => format!("{} {}", self.part.name(), field.group),
            None => self.part.name().to_owned(),
        }
    }
}

/// The tolerances that hold for one backend, tier and mode of comparison.
#[derive(Debug, Clone, Default)]
pub struct Tolerances {
    rows: BTreeMap<String, ToleranceTable>,
    used: BTreeMap<String, f64>,
}

impl Tolerances {
    /// Those of the manifest that apply.
    pub fn select(
        configuration: &Configuration,
        backend: &str,
        setting: &str,
        tier: &str,
        mode: ToleranceMode,
    ) -> Self {
        let applies = |row: &&ToleranceTable| {
            row.backend == backend
                && row.setting.as_deref().is_none_or(|name| name == setting)
                && row.tier.as_deref().is_none_or(|name| name == tier)
                && row.mode.is_none_or(|other| other == mode)
        };
        let rows = configuration.tolerances.iter().filter(applies).map(|row| (row.field.clone(), row.clone()));
        Tolerances { rows: rows.collect(), used: BTreeMap::new() }
    }

    /// Whether all is compared bit for bit, so that digests suffice.
    pub fn is_exact(&self) -> bool {
        self.rows.is_empty()
    }

    /// The largest share of each tolerance that was used, by field.
    pub fn used(&self) -> &BTreeMap<String, f64> {
        &self.used
    }

    /// Steps up to which toleranced fields are compared, if there is a bound.
    pub fn horizon(&self) -> Option<u32> {
        self.rows.values().filter_map(|row| row.horizon).min()
    }

    fn accepts(&mut self, field: &str, expected: Value, observed: Value) -> bool {
        let Some(row) = self.rows.get(field) else { return false };
        let error = match row.statistic {
            Statistic::Max => (expected.number() - observed.number()).abs(),
            Statistic::Ulp => ulps(expected, observed),
        };
        // A NaN on one side is an error that no bound accepts.
        let share = if error.is_nan() { f64::INFINITY } else { error / row.bound };
        let used = self.used.entry(field.to_owned()).or_default();
        if share <= 1.0 {
            *used = used.max(share);
        }
        share <= 1.0
    }
}

fn ulps(expected: Value, observed: Value) -> f64 {
    fn ordered(value: Value) -> Option<i128> {
        let (bits, sign) = match value {
            Value::Single(value) if !value.is_nan() => {
                (i128::from(value.to_bits() & 0x7FFF_FFFF), value.is_sign_negative())
            }
            Value::Double(value) if !value.is_nan() => {
                (i128::from(value.to_bits() & (u64::MAX >> 1)), value.is_sign_negative())
            }
            _ => return None,
        };
        Some(if sign { -bits } else { bits })
    }
    match (ordered(expected), ordered(observed)) {
        (Some(expected), Some(observed)) => (expected - observed).unsigned_abs() as f64,
        _ => f64::NAN,
    }
}

/// Compares what the reference and a backend say of one step.
pub fn compare(
    configuration: &Configuration,
    tolerances: &mut Tolerances,
    expected: &Record,
    observed: &Record,
) -> Option<Difference> {
    let mut found = Found { first: None, fields: Vec::new() };
    if expected.kind != observed.kind {
        found.add(Part::Ending, "kind of record", &expected.kind, &observed.kind);
    }
    compare_draws(configuration, &expected.draws, &observed.draws, &mut found);
    let parts = [(&configuration.canonical, &expected.canonical, &observed.canonical)];
    for (fields, expected_bytes, observed_bytes) in parts {
        let sides = (expected_bytes.as_slice(), observed_bytes.as_slice());
        compare_fields(fields, sides, expected.state_form, tolerances, Part::State, "", &mut found);
    }
    if expected.deciders != observed.deciders {
        found.add(Part::Deciders, "deciders", &bits(expected.deciders), &bits(observed.deciders));
    }
    compare_masks(configuration, expected, observed, &mut found);
    let size = configuration.observation_bytes();
    for agent in 0..configuration.agents {
        let of = if configuration.agents > 1 { format!(" of agent {agent}") } else { String::new() };
        let range = agent * size..(agent + 1) * size;
        let sides = (&expected.observations[range.clone()], &observed.observations[range]);
        compare_fields(&configuration.observation, sides, false, tolerances, Part::Observation, &of, &mut found);
        let (theirs, ours) = (expected.view(configuration).reward(agent), observed.view(configuration).reward(agent));
        let bytes = configuration.reward.bytes();
        let range = agent * bytes..(agent + 1) * bytes;
        if expected.rewards[range.clone()] != observed.rewards[range] && !tolerances.accepts("reward", theirs, ours) {
            found.add_to_group(Part::Reward, format!("reward{of}"), "reward", &theirs, &ours);
        }
    }
    for (name, theirs, ours) in [
        ("terminated", expected.terminated, observed.terminated),
        ("truncated", expected.truncated, observed.truncated),
    ] {
        if theirs != ours {
            found.add(Part::Ending, name, &theirs, &ours);
        }
    }
    if let (Some(theirs), Some(ours)) = (expected.rows, observed.rows)
        && theirs != ours
    {
        found.add(Part::Rows, "rows", &row_text(theirs), &row_text(ours));
    }
    found.finish()
}

struct Found {
    first: Option<Part>,
    fields: Vec<(Part, FieldDifference)>,
}

impl Found {
    fn add(&mut self, part: Part, label: &str, expected: &dyn std::fmt::Display, observed: &dyn std::fmt::Display) {
        self.add_to_group(part, label.to_owned(), label, expected, observed);
    }

    fn add_to_group(
        &mut self,
        part: Part,
        label: String,
        group: &str,
        expected: &dyn std::fmt::Display,
        observed: &dyn std::fmt::Display,
    ) {
        self.first = Some(self.first.map_or(part, |first| first.min(part)));
        let (expected, observed) = (expected.to_string(), observed.to_string());
        self.fields.push((part, FieldDifference { label, group: group.to_owned(), expected, observed }));
    }

    fn finish(mut self) -> Option<Difference> {
        let part = self.first?;
        self.fields.sort_by_key(|(part, _)| *part);
        Some(Difference { part, fields: self.fields.into_iter().map(|(_, field)| field).collect() })
    }
}

fn compare_draws(configuration: &Configuration, expected: &[Draw], observed: &[Draw], found: &mut Found) {
    let show = |draw: Option<&Draw>| draw.map_or("none".to_owned(), |draw| draw_text(configuration, draw));
    for index in 0..expected.len().max(observed.len()) {
        let (theirs, ours) = (expected.get(index), observed.get(index));
        if theirs != ours {
            let label = format!("draw {} of {}", index + 1, expected.len());
            found.add_to_group(Part::Draws, label, "draws", &show(theirs), &show(ours));
            return;
        }
    }
}

/// A draw as reports show it: `1 below 3 at gust`.
pub fn draw_text(configuration: &Configuration, draw: &Draw) -> String {
    let site = configuration.sites.get(draw.site as usize);
    let at = site.map_or(String::new(), |site| format!(" at {site}"));
    format!("{} below {}{at}", draw.value, draw.bound)
}

fn compare_fields(
    fields: &[Field],
    (expected, observed): (&[u8], &[u8]),
    state_form: bool,
    tolerances: &mut Tolerances,
    part: Part,
    of: &str,
    found: &mut Found,
) {
    if expected == observed {
        return;
    }
    for ((field, theirs), (_, ours)) in split(fields, expected, state_form).zip(split(fields, observed, state_form)) {
        if theirs == ours {
            continue;
        }
        if field.dtype == Dtype::Region && state_form {
            let at = theirs.iter().zip(ours).position(|(a, b)| a != b).expect("they differ");
            let label = format!("{}[{at}]{of}", field.name);
            found.add_to_group(part, label, &field.group, &theirs[at], &ours[at]);
            continue;
        }
        for ((label, theirs), (_, ours)) in values((field, theirs)).zip(values((field, ours))) {
            let same = same_bits(theirs, ours);
            if !same && !tolerances.accepts(&field.name, theirs, ours) {
                found.add_to_group(part, format!("{label}{of}"), &field.group, &theirs, &ours);
            }
        }
    }
}

fn same_bits(a: Value, b: Value) -> bool {
    match (a, b) {
        (Value::Single(a), Value::Single(b)) => a.to_bits() == b.to_bits(),
        (Value::Double(a), Value::Double(b)) => a.to_bits() == b.to_bits(),
        (Value::Unsigned(a), Value::Unsigned(b)) | (Value::Digest(a), Value::Digest(b)) => a == b,
        (Value::Signed(a), Value::Signed(b)) => a == b,
        _ => false,
    }
}

fn compare_masks(configuration: &Configuration, expected: &Record, observed: &Record, found: &mut Found) {
    let size = configuration.mask_words() * 4;
    if size == 0 || expected.masks == observed.masks {
        return;
    }
    for agent in 0..configuration.agents {
        let range = agent * size..(agent + 1) * size;
        let (theirs, ours) = (&expected.masks[range.clone()], &observed.masks[range]);
        if theirs != ours {
            let label = if configuration.agents > 1 { format!("mask of agent {agent}") } else { "mask".into() };
            let (theirs, ours) = (mask_text(configuration, theirs), mask_text(configuration, ours));
            found.add_to_group(Part::Mask, label, "mask", &theirs, &ours);
        }
    }
}

fn mask_text(configuration: &Configuration, bytes: &[u8]) -> String {
    let crate::manifest::Action::Discrete { names, .. } = &configuration.action else { return String::new() };
    let legal: Vec<&str> = names
        .iter()
        .enumerate()
        .filter(|(action, _)| bytes[action / 8] >> (action % 8) & 1 == 1)
        .map(|(_, name)| name.as_str())
        .collect();
    if legal.is_empty() { "nothing legal".into() } else { legal.join(" ") }
}

fn bits(deciders: u32) -> String {
    let agents: Vec<String> =
        (0..16).filter(|agent| deciders >> agent & 1 == 1).map(|agent| agent.to_string()).collect();
    if agents.is_empty() { "nobody".into() } else { format!("agents {}", agents.join(" ")) }
}

fn row_text((count, digest): (u32, u64)) -> String {
    format!("{count} rows, digest {digest:016x}")
}
