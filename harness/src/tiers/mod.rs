//! The tiers: stages of verification, cheapest first.
//!
//! A tier plays on a [`Pair`](crate::pair::Pair) and returns a [`TierReport`]; what it finds is shrunk and kept at once.

pub mod contract;
mod forced;
pub mod fuzz;
pub mod interaction;
mod led;
mod policy;
mod pool;
pub mod property;
pub mod replay;
pub mod rollout;

pub use policy::{POLICIES, Tokens};

use crate::compare::Part;
use crate::divergence::Divergence;
use crate::keep::keep;
use crate::manifest::Configuration;
use crate::minimize::{BUDGET_STEPS, Minimized, minimize};
use crate::pair::{Pair, Verdict};
use crate::report::Finding;
use crate::side::SideError;
use crate::sides::Sides;
use crate::trace::{Note, Trace};
use crate::watch::{Stop, Watch};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a tier waits for a backend that hangs or dies, in sum, before it goes no further.
const LOST_MAX: Duration = Duration::from_secs(20);

/// The tiers in the order in which they run; those that this version can't run yet are listed as such.
pub const TIERS: [(&str, Option<&str>); 7] = [
    ("traces", None),
    ("contract", None),
    ("property", None),
    ("interaction", None),
    ("fuzz", None),
    ("rollout", None),
    ("transfer", Some("not built yet")),
];

/// What a tier works with.
pub struct Stage<'a> {
    /// Where sides come from.
    pub sides: &'a dyn Sides,
    /// The backend that is judged.
    pub backend: &'a str,
    /// The configuration.
    pub configuration: Arc<Configuration>,
    /// Where traces are kept.
    pub traces: PathBuf,
    /// The seed of the run.
    pub seed: u64,
    /// Lanes of a frame.
    pub lanes: usize,
    /// Steps of one rollout trace.
    pub trace_steps: usize,
    /// Free-running rollout steps.
    pub rollout_steps: u64,
    /// Steps from the reference's own states, where tolerances make free-running play short.
    pub forced_steps: u64,
    /// The instruction sets that the backend has code for.
    pub instructions: Option<crate::manifest::InstructionsTable>,
    /// Feature buckets, by name, with their condition.
    pub buckets: Vec<(String, crate::predicate::Predicate)>,
    /// What always holds, by name, with its condition.
    pub invariants: Vec<(String, crate::predicate::Predicate)>,
    /// Pure functions and the ranges of their inputs.
    pub probes: Vec<crate::manifest::ProbeTable>,
    /// Steps of the fuzz tier.
    pub fuzz_steps: u64,
    /// Reference steps that shrinking one divergence may cost.
    pub minimize_steps: u64,
    /// Findings after which a tier stops.
    pub findings_max: usize,
    /// Who listens.
    pub watch: &'a mut dyn Watch,
    /// Whether to stop.
    pub stop: Stop,
}

impl Stage<'_> {
    /// The default of [`Stage::minimize_steps`].
    pub const MINIMIZE_STEPS: u64 = BUDGET_STEPS;
}

/// Steps, kept apart by what they were compared with; never summed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Counts {
    /// Against the live reference, each side on its own state.
    pub live_free_running: u64,
    /// Against the live reference, each step from the reference's state.
    pub live_teacher_forced: u64,
    /// Between backends.
    pub between_backends: u64,
    /// Against recordings of the reference.
    pub recorded: u64,
    /// Independent traces that agreed.
    pub traces: u64,
    /// Episodes that ended in them.
    pub episodes: u64,
}

impl Counts {
    /// The same steps, as compared between backends and not with the live reference.
    pub fn between(self) -> Self {
        Counts {
            live_free_running: 0,
            live_teacher_forced: 0,
            between_backends: self.live_free_running + self.live_teacher_forced,
            traces: 0,
            episodes: 0,
            ..self
        }
    }

    /// Adds what another part of the same run did.
    pub fn add(&mut self, other: Counts) {
        self.live_free_running += other.live_free_running;
        self.live_teacher_forced += other.live_teacher_forced;
        self.between_backends += other.between_backends;
        self.recorded += other.recorded;
        self.traces += other.traces;
        self.episodes += other.episodes;
    }
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// A sentence.
    pub claim: String,
    /// The side that it is about.
    pub side: String,
    /// What came of it.
    pub outcome: CheckOutcome,
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// It holds.
    Passed,
    /// It does not; what was seen.
    Failed(String),
    /// It could not be checked; why.
    Skipped(String),
}

/// What a tier did in one configuration.
#[derive(Debug, Clone)]
pub struct TierReport {
    /// The tier.
    pub tier: &'static str,
    /// The configuration.
    pub configuration: String,
    /// Whom the backend was compared with: `reference`, or `rust`.
    pub against: &'static str,
    /// What it played.
    pub counts: Counts,
    /// What it found.
    pub findings: Vec<Finding>,
    /// Known divergences that were met, by name.
    pub known: BTreeMap<String, u64>,
    /// Single checks.
    pub checks: Vec<Check>,
    /// Traces that reached each feature bucket.
    pub buckets: BTreeMap<String, u64>,
    /// The share of each tolerance that was used.
    pub tolerances_used: BTreeMap<String, f64>,
    /// It was stopped before its end.
    pub stopped: bool,
    /// Time that went by until the backend hung or died.
    pub lost: Duration,
}

/// What came of a trace that starts in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Both sides took the state.
    Yes,
    /// The reference refuses it, or what is played from it.
    NotByReference,
    /// The reference takes it and the backend does not.
    NotByBackend,
}

impl TierReport {
    /// An empty report.
    pub fn new(tier: &'static str, configuration: &Configuration) -> Self {
        TierReport {
            tier,
            configuration: configuration.name.clone(),
            against: "reference",
            counts: Counts::default(),
            findings: Vec::new(),
            known: BTreeMap::new(),
            checks: Vec::new(),
            buckets: BTreeMap::new(),
            tolerances_used: BTreeMap::new(),
            stopped: false,
            lost: Duration::ZERO,
        }
    }

    /// Whether a tier need not look for more: so many kinds were found, or the backend hung and died for so long.
    pub(crate) fn has_enough(&self, stage: &Stage<'_>) -> bool {
        self.findings.len() >= stage.findings_max || self.lost > LOST_MAX
    }

    /// Notes a check that could not be made.
    pub(crate) fn skip(&mut self, side: &str, claim: &str, reason: String) {
        self.checks.push(Check { claim: claim.into(), side: side.into(), outcome: CheckOutcome::Skipped(reason) });
    }

    /// Notes a check that failed.
    pub(crate) fn fail(&mut self, side: &str, claim: &str, why: String) {
        self.checks.push(Check { claim: claim.into(), side: side.into(), outcome: CheckOutcome::Failed(why) });
    }

    /// Whether nothing diverged and no check failed.
    pub fn agrees(&self) -> bool {
        self.findings.is_empty() && !self.checks.iter().any(|check| matches!(check.outcome, CheckOutcome::Failed(_)))
    }
}

/// Shrinks a divergence and keeps it. The raw trace is written first, so that nothing is lost when shrinking is cut off.
pub(crate) fn found(
    stage: &mut Stage<'_>,
    pair: &mut Pair,
    tier: &'static str,
    trace: &Trace,
    divergence: Box<Divergence>,
) -> Result<Finding, SideError> {
    let configuration = stage.configuration.clone();
    let mut raw = trace.truncated(divergence.steps_needed());
    raw.note = note(stage.backend, tier, &divergence, raw.steps());
    let raw_kept = keep(&stage.traces, &configuration, &raw);
    stage.watch.say(&format!("{} diverges after {} steps; shrinking", stage.backend, divergence.steps_needed()));
    let minimized = minimize(pair, &raw, divergence, stage.minimize_steps)?;
    let named = |minimized: &Minimized, trace: &Trace, divergence: &Divergence| {
        let mut trace = trace.clone();
        trace.note = note(stage.backend, tier, divergence, minimized.from_steps);
        trace.note.flaky = minimized.flaky;
        trace
    };
    let small = named(&minimized, &minimized.trace, &minimized.divergence);
    let kept = keep(&stage.traces, &configuration, &small);
    if let (Ok(raw), Ok(small)) = (&raw_kept, &kept)
        && raw != small
    {
        // The shrunk trace shows the same; the raw one has served.
        let _ = std::fs::remove_file(raw);
    }
    let kept_short = minimized.short.as_ref().ok().and_then(|short| {
        keep(&stage.traces, &configuration, &named(&minimized, &short.trace, &short.divergence)).ok()
    });
    Ok(Finding { configuration: configuration.name.clone(), tier: tier.to_owned(), minimized, kept, kept_short })
}

fn note(backend: &str, tier: &str, divergence: &Divergence, steps: usize) -> Note {
    Note {
        backend: backend.to_owned(),
        kind: divergence.kind(),
        tier: tier.to_owned(),
        grain: match &divergence.row {
            Some(row) if divergence.difference.part == Part::Rows => row.grain.clone(),
            _ => String::new(),
        },
        found_with_steps: Some(steps as u64),
        ..Note::default()
    }
}

/// Shrinks and keeps a divergence, unless one of its kind was shrunk to fewer steps than this one shows it in.
pub(crate) fn shrink_if_new(
    stage: &mut Stage<'_>,
    pair: &mut Pair,
    tier: &'static str,
    report: &mut TierReport,
    trace: &Trace,
    divergence: Box<Divergence>,
) -> Result<(), SideError> {
    let same = report.findings.iter().position(|other| other.minimized.divergence.kind() == divergence.kind());
    match same {
        None => report.findings.push(found(stage, pair, tier, trace, divergence)?),
        Some(at) if divergence.steps_needed() < report.findings[at].minimized.trace.steps() => {
            report.findings[at].forget();
            report.findings[at] = found(stage, pair, tier, trace, divergence)?;
        }
        Some(_) => {}
    }
    Ok(())
}

/// Plays a trace and shrinks what it shows.
pub(crate) fn hunt(
    stage: &mut Stage<'_>,
    pair: &mut Pair,
    report: &mut TierReport,
    trace: &Trace,
) -> Result<Taken, SideError> {
    let began = Instant::now();
    match pair.check(trace) {
        Ok(Verdict::Agree) => report.counts.live_teacher_forced += trace.steps() as u64,
        Ok(Verdict::Known(name)) => *report.known.entry(name).or_default() += 1,
        Ok(Verdict::Diverged(divergence)) => {
            if divergence.is_failure() {
                report.lost += began.elapsed();
            }
            let tier = report.tier;
            shrink_if_new(stage, pair, tier, report, trace, divergence)?;
        }
        Err(SideError::Refused { role, .. }) if role != pair.reference.role => return Ok(Taken::NotByBackend),
        Err(SideError::Refused { .. }) => return Ok(Taken::NotByReference),
        Err(SideError::BadRequest { role, .. }) if role == pair.reference.role => return Ok(Taken::NotByReference),
        Err(error) => return Err(error),
    }
    Ok(Taken::Yes)
}
