//! Compares two records and names the first part that differs: draws, state, mask, observation, reward, flags.
//!
//! Equal bits are the default. Where the manifest has a tolerance, and only there, another number may stand.

use crate::manifest::{Configuration, Dtype, Field, Statistic, ToleranceMode, ToleranceTable, Value};
use crate::record::{Draw, Record, split, values};
use lockstep_core::SITE_UNNAMED;
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
    rows: BTreeMap<String, Vec<ToleranceTable>>,
    used: BTreeMap<String, f64>,
    /// Records that were compared, and the errors in those that differ, of fields with a percentile.
    records: u64,
    errors: BTreeMap<String, Vec<f64>>,
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
                && row.setting.as_deref().map_or(setting != BULK_JUDGE, |name| name == setting)
                && row.configurations.as_ref().is_none_or(|names| names.contains(&configuration.name))
                && row.tier.as_deref().is_none_or(|name| name == tier)
                && row.mode.is_none_or(|other| other == mode)
        };
        let mut rows: BTreeMap<String, Vec<ToleranceTable>> = BTreeMap::new();
        for row in configuration.tolerances.iter().filter(applies) {
            let of_field = rows.entry(row.field.clone()).or_default();
            // What names a tier or a configuration stands instead of what does not.
            let detail =
                |row: &ToleranceTable| usize::from(row.tier.is_some()) + usize::from(row.configurations.is_some());
            if of_field.iter().any(|other| {
                other.statistic.is_percentile() == row.statistic.is_percentile() && detail(other) > detail(row)
            }) {
                continue;
            }
            of_field.retain(|other| {
                other.statistic.is_percentile() != row.statistic.is_percentile() || detail(other) >= detail(row)
            });
            of_field.push(row.clone());
        }
        Tolerances { rows, ..Tolerances::default() }
    }

    /// Whether a field has any.
    fn has(&self, field: &str) -> bool {
        self.rows.contains_key(field)
    }

    /// The percentiles that were exceeded, as sentences.
    pub fn exceeded(&self) -> Vec<String> {
        let rows = self.rows.values().flatten().filter(|row| row.statistic.is_percentile());
        let mut sentences = Vec::new();
        for row in rows {
            let mut errors = self.errors.get(&row.field).cloned().unwrap_or_default();
            errors.sort_by(|a, b| b.total_cmp(a));
            let above = (self.records / 100) as usize;
            let found = errors.get(above).copied().unwrap_or(0.0);
            if found.is_nan() || found > row.bound {
                let worst: Vec<String> = errors.iter().take(10).map(|error| format!("{error:.1e}")).collect();
                sentences.push(format!(
                    "the 99th percentile of {} is {found:.1e} in {} records, above {:e}; the worst are {}",
                    row.field,
                    self.records,
                    row.bound,
                    worst.join(" ")
                ));
            }
        }
        sentences
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
        self.rows.values().flatten().filter_map(|row| row.horizon).min()
    }

    /// Whether a value may stand for another one; `scale` is the largest of the field.
    fn accepts(&mut self, field: &str, expected: Value, observed: Value, scale: f64) -> bool {
        let Some(rows) = self.rows.get(field) else { return false };
        let absolute = (expected.number() - observed.number()).abs();
        let mut accepted = true;
        for row in rows {
            let error = match row.statistic {
                Statistic::Max => absolute,
                Statistic::Scaled => absolute / (1.0 + scale),
                Statistic::Ulp => ulps(expected, observed),
                Statistic::P99 => continue,
            };
            // A NaN on one side is an error that no bound accepts.
            let share = if error.is_nan() { f64::INFINITY } else { error / row.bound };
            let used = self.used.entry(field.to_owned()).or_default();
            if share <= 1.0 {
                *used = used.max(share);
            }
            accepted &= share <= 1.0;
        }
        accepted
    }

    /// Notes the errors of a record for percentiles.
    fn note(&mut self, fields: &[Field], expected: &[u8], observed: &[u8], state_form: bool) {
        for ((field, theirs), (_, ours)) in split(fields, expected, state_form).zip(split(fields, observed, state_form))
        {
            let wanted =
                self.rows.get(&field.name).is_some_and(|rows| rows.iter().any(|row| row.statistic.is_percentile()));
            if wanted && theirs != ours {
                let pairs = values((field, theirs)).zip(values((field, ours)));
                let errors = pairs.map(|((_, a), (_, b))| (a.number() - b.number()).abs());
                let error =
                    errors.fold(0.0, |most: f64, error| if error.is_nan() { f64::NAN } else { most.max(error) });
                self.errors.entry(field.name.clone()).or_default().push(error);
            }
        }
    }

    /// Whether the rows of a grain are the same but for what fields of their names may differ by.
    pub fn accepts_rows(&mut self, row: &[Field], expected: &[u8], observed: &[u8]) -> bool {
        let size = row.iter().map(Field::bytes).sum::<usize>().max(1);
        if expected.len() != observed.len() {
            return false;
        }
        expected.chunks(size).zip(observed.chunks(size)).all(|(expected, observed)| {
            let mut found = Found { first: None, fields: Vec::new() };
            compare_fields(row, (expected, observed), false, self, Part::Rows, "", &mut found);
            found.first.is_none()
        })
    }
}

/// The setting of `rust` where it stands in the reference's place.
pub const BULK_JUDGE: &str = "rust";

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
    if !tolerances.is_exact() {
        tolerances.records += 1;
        tolerances.note(&configuration.canonical, &expected.canonical, &observed.canonical, expected.state_form);
    }
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
        let scale = theirs.number().abs();
        if expected.rewards[range.clone()] != observed.rewards[range]
            && !tolerances.accepts("reward", theirs, ours, scale)
        {
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
    let at = match configuration.sites.get(draw.site as usize) {
        Some(site) => format!(" at {site}"),
        None if draw.site == SITE_UNNAMED => String::new(),
        None => format!(" at site {}, which the manifest does not have", draw.site),
    };
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
        let scale = if tolerances.has(&field.name) {
            values((field, theirs)).fold(0.0, |most: f64, (_, value)| most.max(value.number().abs()))
        } else {
            0.0
        };
        for ((label, theirs), (_, ours)) in values((field, theirs)).zip(values((field, ours))) {
            let same = same_bits(theirs, ours);
            if !same && !tolerances.accepts(&field.name, theirs, ours, scale) {
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
