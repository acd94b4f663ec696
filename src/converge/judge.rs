//! One judgement of a candidate: the harness's verdict, as the ledger keeps it and as the model reads it.

use crate::ledger::Killed;
use crate::prompt::{Pack, SourceFile, packs};
use lockstep_harness::manifest::Manifest;
use lockstep_harness::side::SideError;
use lockstep_harness::sides::Sides;
use lockstep_harness::tiers::{CheckOutcome, Counts};
use lockstep_harness::verify::{Plan, Verification, verify};
use lockstep_harness::watch::{Stop, Watch};
use std::path::Path;

/// What came of a judgement.
pub struct Judgement {
    /// Nothing differed and no claim failed.
    pub agrees: bool,
    /// It was stopped before its end.
    pub stopped: bool,
    /// Rows of the table that agree.
    pub rows: u32,
    /// What was found, one for each kind.
    pub found: Vec<Killed>,
    /// What the model reads of it.
    pub packs: Vec<Pack>,
    /// The table.
    pub table: String,
    /// Steps, kept apart.
    pub counts: Counts,
    /// Feature buckets that too few traces reached.
    pub short_buckets: Vec<String>,
    /// All of it, for a certificate.
    pub verification: Verification,
}

impl Judgement {
    /// The kinds of what was found, in one line.
    pub fn summary(&self) -> String {
        let shown: Vec<String> = self
            .found
            .iter()
            .take(3)
            .map(|one| format!("{} by {} in {}", one.kind, one.tier, one.configuration))
            .collect();
        shown.join("; ")
    }
}

/// Judges a backend. A candidate that can't even be opened is a finding of its own.
///
/// # Errors
/// If the reference fails.
#[expect(clippy::too_many_arguments, reason = "a judgement is made of these, and of nothing that could be left out")]
pub fn judge(
    manifest: &Manifest,
    backend: &str,
    tiers: &[&'static str],
    seed: u64,
    traces: &Path,
    source: &[SourceFile],
    sides: &dyn Sides,
    watch: &mut dyn Watch,
    stop: &Stop,
) -> Result<Judgement, SideError> {
    let mut plan = Plan::new(backend, seed);
    plan.tiers = tiers.iter().map(|tier| (*tier).to_owned()).collect();
    plan.traces = Some(traces.to_owned());
    let verification = match verify(manifest, &plan, sides, watch, stop) {
        Ok(verification) => verification,
        Err(error) if error.role() == "reference" => return Err(error),
        Err(error) => return Ok(not_opened(manifest, backend, seed, &error)),
    };
    let mut found = Vec::new();
    for report in &verification.reports {
        for finding in &report.findings {
            let minimized = &finding.minimized;
            found.push(Killed {
                kind: minimized.divergence.kind(),
                tier: finding.tier.clone(),
                configuration: finding.configuration.clone(),
                steps: minimized.trace.steps(),
                reference_steps: minimized.reference_steps,
            });
        }
        for check in report.checks.iter().filter(|check| matches!(check.outcome, CheckOutcome::Failed(_))) {
            found.push(Killed {
                kind: format!("claim: {}", check.claim),
                tier: report.tier.to_owned(),
                configuration: report.configuration.clone(),
                steps: 0,
                reference_steps: 0,
            });
        }
    }
    let short_buckets = manifest.file.bucket.iter().filter_map(|bucket| {
        let reports = verification.reports.iter().filter(|report| report.configuration == "default");
        let traces: u64 = reports.filter_map(|report| report.buckets.get(&bucket.name)).sum();
        (traces < bucket.minimum)
            .then(|| format!("bucket {} was reached by {traces} traces, not {}", bucket.name, bucket.minimum))
    });
    let short_buckets = short_buckets.collect();
    let agrees = verification.agrees();
    Ok(Judgement {
        agrees,
        stopped: verification.stopped,
        rows: verification.reports.iter().filter(|report| report.agrees()).count() as u32,
        found,
        packs: if agrees { Vec::new() } else { packs(&verification, manifest, sides, source) },
        table: verification.table(),
        counts: verification.counts(None),
        short_buckets,
        verification,
    })
}

fn not_opened(manifest: &Manifest, backend: &str, seed: u64, error: &SideError) -> Judgement {
    let text = format!("the candidate could not be opened: {error}\n");
    Judgement {
        agrees: false,
        stopped: false,
        rows: 0,
        found: vec![Killed {
            kind: "not opened".into(),
            tier: "contract".into(),
            configuration: "default".into(),
            steps: 0,
            reference_steps: 0,
        }],
        packs: vec![Pack::plain("not opened", text.clone())],
        table: text,
        counts: Counts::default(),
        short_buckets: Vec::new(),
        verification: Verification {
            environment: manifest.file.name.clone(),
            backend: backend.to_owned(),
            seed,
            reports: Vec::new(),
            configurations: Vec::new(),
            not_run: Vec::new(),
            stopped: false,
        },
    }
}
