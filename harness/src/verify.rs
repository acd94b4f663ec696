//! One verification of one backend: its configurations through the tiers, cheapest first.

use crate::manifest::{Configuration, Manifest, ToleranceMode};
use crate::pair::Verdict;
use crate::predicate::Predicate;
use crate::report::thousands;
use crate::side::SideError;
use crate::sides::{AgainstRust, Sides, open_pair};
use crate::stats::rate_bound;
use crate::tiers::{
    CheckOutcome, Counts, Stage, TIERS, TierReport, contract, fuzz, interaction, property, replay, rollout,
    shrink_if_new,
};
use crate::trace::Trace;
use crate::watch::{Stop, Watch};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// Free-running steps of a configuration for which the manifest names no number.
pub const ROLLOUT_STEPS: u64 = 100_000;
/// Steps from the reference's own states where the manifest names no number.
const FORCED_STEPS: u64 = 20_000;
/// Fuzz steps where the manifest names no number.
pub const FUZZ_STEPS: u64 = 40_000;
/// Lanes of a frame where the manifest names no number.
const LANES: usize = 64;
/// Steps of a trace where the manifest names no number.
const TRACE_STEPS: usize = 1_024;

/// What is to be verified, and how much.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The backend.
    pub backend: String,
    /// The configurations, in order; empty for all.
    pub configurations: Vec<String>,
    /// The tiers; empty for all.
    pub tiers: Vec<String>,
    /// The seed of the run.
    pub seed: u64,
    /// Free-running steps of each configuration, instead of the manifest's.
    pub rollout_steps: Option<u64>,
    /// Steps in which another backend is compared with `rust` in the default configuration, instead of the manifest's.
    pub between_steps: Option<u64>,
    /// Fuzz steps of each configuration, instead of the manifest's.
    pub fuzz_steps: Option<u64>,
    /// Another budget for the fuzz tier.
    pub fuzz: Option<fuzz::Budget>,
    /// Where traces are kept; the environment's own folder if absent.
    pub traces: Option<PathBuf>,
    /// Reference steps that shrinking one divergence may cost.
    pub minimize_steps: u64,
    /// Findings after which a tier stops.
    pub findings_max: usize,
}

impl Plan {
    /// The default run of a backend.
    pub fn new(backend: &str, seed: u64) -> Self {
        Plan {
            backend: backend.to_owned(),
            configurations: Vec::new(),
            tiers: Vec::new(),
            seed,
            rollout_steps: None,
            between_steps: None,
            fuzz_steps: None,
            fuzz: None,
            traces: None,
            minimize_steps: Stage::MINIMIZE_STEPS,
            findings_max: 3,
        }
    }
}

/// What came of a verification.
#[derive(Debug, Clone)]
pub struct Verification {
    /// The environment.
    pub environment: String,
    /// The backend.
    pub backend: String,
    /// The seed of the run.
    pub seed: u64,
    /// What each tier did, in order.
    pub reports: Vec<TierReport>,
    /// The configurations that were played.
    pub configurations: Vec<Arc<Configuration>>,
    /// Tiers that did not run, and why.
    pub not_run: Vec<(String, String)>,
    /// It was stopped before its end.
    pub stopped: bool,
}

/// Runs the plan. A tier that does not agree ends its configuration; the others still run.
///
/// # Errors
/// If the reference fails, or a side can't be opened.
pub fn verify(
    manifest: &Manifest,
    plan: &Plan,
    sides: &dyn Sides,
    watch: &mut dyn Watch,
    stop: &Stop,
) -> Result<Verification, SideError> {
    let playable = manifest.file.backends.get(&plan.backend).and_then(|table| table.configurations.clone());
    let asked = |name: &str| {
        playable.as_ref().is_none_or(|names| names.iter().any(|playable| playable == name))
            && (plan.configurations.is_empty() || plan.configurations.iter().any(|asked| asked == name))
    };
    let wanted = |tier: &str| plan.tiers.is_empty() || plan.tiers.iter().any(|asked| asked == tier);
    let mut result = Verification {
        environment: manifest.file.name.clone(),
        backend: plan.backend.clone(),
        seed: plan.seed,
        reports: Vec::new(),
        configurations: Vec::new(),
        not_run: Vec::new(),
        stopped: false,
    };
    for (tier, reason) in TIERS {
        match reason {
            Some(reason) => result.not_run.push((tier.to_owned(), reason.to_owned())),
            None if !wanted(tier) => result.not_run.push((tier.to_owned(), "not asked for".into())),
            None => {}
        }
    }
    for configuration in manifest.configurations().iter().filter(|configuration| asked(&configuration.name)) {
        let configuration = Arc::new(configuration.clone());
        result.configurations.push(configuration.clone());
        let tiers = &manifest.file.tiers;
        let rollout_steps = tiers.rollout_steps.get(&configuration.name).copied().unwrap_or(ROLLOUT_STEPS);
        for &judge in judges(&plan.backend) {
            let bulk = AgainstRust(sides);
            let sides: &dyn Sides = if judge == "rust" { &bulk } else { sides };
            let campaign = plan.between_steps.filter(|_| judge == "rust" && configuration.name == "default");
            let rollout_steps = match (campaign.or(plan.rollout_steps), plan.backend.as_str(), judge) {
                (Some(steps), _, _) => steps,
                (None, "rust", _) => rollout_steps,
                (None, _, "rust") => tiers.between_steps.unwrap_or(rollout_steps),
                (None, _, _) => tiers.sample_steps.unwrap_or(rollout_steps),
            };
            let mut stage = stage(manifest, plan, sides, &configuration, rollout_steps, &mut *watch, stop);
            for (tier, _) in TIERS.iter().filter(|(tier, reason)| reason.is_none() && wanted(tier)) {
                // What a backend promises is tried once, beside the judge that is fast.
                if judge == "reference" && plan.backend != "rust" && *tier == "contract" {
                    continue;
                }
                let mut report = match *tier {
                    "traces" => replay::run(&mut stage, manifest)?,
                    "contract" => contract::run(&mut stage)?,
                    "property" => property::run(&mut stage)?,
                    "interaction" => interaction::run(&mut stage)?,
                    "fuzz" => {
                        let budget = plan.fuzz.unwrap_or(fuzz::Budget::Steps(stage.fuzz_steps));
                        fuzz::run(&mut stage, budget)?
                    }
                    _ => rollout::run(&mut stage)?,
                };
                if judge == "rust" {
                    report.against = "rust";
                    report.counts = report.counts.between();
                }
                let agrees = report.agrees();
                result.stopped |= report.stopped;
                result.reports.push(report);
                if !agrees || stop.asked() {
                    break;
                }
            }
            if stop.asked() || !result.agrees() {
                break;
            }
        }
        if stop.asked() {
            result.stopped = true;
            break;
        }
    }
    Ok(result)
}

/// Has the reference judge a trace with which `rust` and the plan's backend differed in one process.
///
/// Both are played against it. Where it agrees with both, they are played against each other once more, in processes of
/// their own, so that what is reported has been seen here.
///
/// # Errors
/// If the reference fails, or a side can't be opened.
pub fn confirm(
    manifest: &Manifest,
    plan: &Plan,
    sides: &dyn Sides,
    trace: &Trace,
    watch: &mut dyn Watch,
    stop: &Stop,
) -> Result<Vec<TierReport>, SideError> {
    let found = manifest.configurations().iter().find(|configuration| configuration.name == trace.configuration);
    let configuration = Arc::new(found.expect("the trace was made for one of them").clone());
    let bulk = AgainstRust(sides);
    let rounds: [(&str, &str, &dyn Sides); 3] =
        [("rust", "reference", sides), (&plan.backend, "reference", sides), (&plan.backend, "rust", &bulk)];
    let mut reports: Vec<TierReport> = Vec::new();
    for (backend, against, sides) in rounds {
        if against == "rust" && !reports.iter().all(TierReport::agrees) {
            break;
        }
        let mut round = plan.clone();
        round.backend = backend.to_owned();
        let mut stage = stage(manifest, &round, sides, &configuration, 0, &mut *watch, stop);
        let mut report = TierReport::new("fuzz", &configuration);
        report.against = against;
        let mut pair = open_pair(sides, backend, &configuration, 1, "fuzz", ToleranceMode::FreeRunning)?;
        match pair.check(trace)? {
            Verdict::Agree => report.counts.live_free_running += trace.steps() as u64,
            Verdict::Known(name) => *report.known.entry(name).or_default() += 1,
            Verdict::Diverged(divergence) => {
                shrink_if_new(&mut stage, &mut pair, "fuzz", &mut report, trace, divergence)?;
            }
        }
        if against == "rust" {
            if report.agrees() {
                let claim = "bytes at which libFuzzer ended show a difference again";
                report.fail(backend, claim, "all sides agree on the trace that they stand for".into());
            }
            report.counts = report.counts.between();
        }
        reports.push(report);
    }
    Ok(reports)
}

/// Who judges a backend: the reference judges `rust`; `rust` judges the others in bulk, and the reference on a sample.
fn judges(backend: &str) -> &'static [&'static str] {
    if backend == "rust" { &["reference"] } else { &["rust", "reference"] }
}

fn stage<'a>(
    manifest: &Manifest,
    plan: &'a Plan,
    sides: &'a dyn Sides,
    configuration: &Arc<Configuration>,
    rollout_steps: u64,
    watch: &'a mut dyn Watch,
    stop: &Stop,
) -> Stage<'a> {
    let tiers = &manifest.file.tiers;
    let predicate = |text: &str| Predicate::parse(text).ok();
    let buckets = manifest.file.bucket.iter();
    let invariants = manifest.file.invariant.iter();
    Stage {
        sides,
        backend: &plan.backend,
        configuration: configuration.clone(),
        traces: plan.traces.clone().unwrap_or_else(|| manifest.folder.join("traces")),
        seed: plan.seed,
        lanes: tiers.lanes.unwrap_or(LANES),
        trace_steps: tiers.trace_steps.unwrap_or(TRACE_STEPS),
        rollout_steps,
        forced_steps: plan
            .rollout_steps
            .into_iter()
            .chain(tiers.forced_steps.get(&configuration.name).copied())
            .min()
            .unwrap_or(FORCED_STEPS),
        instructions: manifest.file.backends.get(&plan.backend).and_then(|table| table.instructions.clone()),
        buckets: buckets.filter_map(|row| Some((row.name.clone(), predicate(&row.when)?))).collect(),
        invariants: invariants
            .filter(|row| row.configurations.as_ref().is_none_or(|names| names.contains(&configuration.name)))
            .filter_map(|row| Some((row.name.clone(), predicate(&row.holds)?)))
            .collect(),
        probes: manifest.file.probe.clone(),
        fuzz_steps: plan.fuzz_steps.or(tiers.fuzz_steps).unwrap_or(FUZZ_STEPS),
        minimize_steps: plan.minimize_steps,
        findings_max: plan.findings_max,
        watch,
        stop: stop.clone(),
    }
}

impl Verification {
    /// Whether nothing diverged and no check failed.
    pub fn agrees(&self) -> bool {
        self.reports.iter().all(TierReport::agrees)
    }

    /// The counts of all tiers of one configuration, or of all.
    pub fn counts(&self, configuration: Option<&str>) -> Counts {
        let mut counts = Counts::default();
        for report in self.reports.iter().filter(|report| configuration.is_none_or(|name| report.configuration == name))
        {
            counts.add(report.counts);
        }
        counts
    }

    /// The divergence blocks and failed checks, as people read them.
    pub fn failures(&self) -> Vec<String> {
        let mut texts = Vec::new();
        for report in &self.reports {
            let configuration = self.configurations.iter().find(|other| other.name == report.configuration);
            let configuration = configuration.expect("a report's configuration was played");
            texts.extend(report.findings.iter().map(|finding| finding.block(configuration)));
            texts.extend(report.checks.iter().filter_map(|check| match &check.outcome {
                CheckOutcome::Failed(why) => Some(format!(
                    "{} breaks the {} tier in {}\n  claim     {}\n  seen      {}\n",
                    check.side,
                    report.tier,
                    report.configuration,
                    check.claim,
                    why.replace('\n', "\n            ")
                )),
                _ => None,
            }));
        }
        texts
    }

    /// A table of what was done, one line per configuration and tier.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:<16} {:<11} {:>13} {:>13} {:>9} {:>9}  result\n",
            "configuration", "tier", "between", "live steps", "forced", "traces"
        );
        for report in &self.reports {
            let passed = report.checks.iter().filter(|check| check.outcome == CheckOutcome::Passed).count();
            let skipped =
                report.checks.iter().filter(|check| matches!(check.outcome, CheckOutcome::Skipped(_))).count();
            let mut result = if report.agrees() { "agrees".to_owned() } else { "DIVERGES".to_owned() };
            if !report.checks.is_empty() {
                result += &format!(", {passed} of {} checks", report.checks.len());
            }
            if skipped > 0 {
                result += &format!(", {skipped} skipped");
            }
            if report.stopped {
                result += ", stopped";
            }
            for (name, count) in &report.known {
                result += &format!(", {count} x known divergence {name}");
            }
            text += &format!(
                "{:<16} {:<11} {:>13} {:>13} {:>9} {:>9}  {result}\n",
                report.configuration,
                report.tier,
                thousands(report.counts.between_backends),
                thousands(report.counts.live_free_running),
                thousands(report.counts.live_teacher_forced),
                thousands(report.counts.traces),
            );
        }
        for (tier, reason) in &self.not_run {
            text +=
                &format!("{:<16} {tier:<11} {:>13} {:>13} {:>9} {:>9}  not run: {reason}\n", "all", "-", "-", "-", "-");
        }
        text
    }

    /// All of it as JSON.
    pub fn json(&self) -> Value {
        let reports: Vec<Value> = self
            .reports
            .iter()
            .map(|report| {
                let configuration =
                    self.configurations.iter().find(|other| other.name == report.configuration).expect("it was played");
                json!({
                    "configuration": report.configuration,
                    "tier": report.tier,
                    "against": report.against,
                    "agrees": report.agrees(),
                    "stopped": report.stopped,
                    "counts": report.counts,
                    "trace_divergence_bound_95": rate_bound(report.counts.traces),
                    "findings": report.findings.iter().map(|finding| finding.json(configuration)).collect::<Vec<_>>(),
                    "known_divergences": report.known,
                    "checks": report.checks,
                    "buckets": report.buckets,
                    "tolerances_used": report.tolerances_used,
                })
            })
            .collect();
        json!({
            "environment": self.environment,
            "backend": self.backend,
            "seed": format!("{:#x}", self.seed),
            "agrees": self.agrees(),
            "stopped": self.stopped,
            "tiers": reports,
            "not_run": self.not_run.iter().map(|(tier, why)| json!({"tier": tier, "reason": why})).collect::<Vec<_>>(),
        })
    }
}
