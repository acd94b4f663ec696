//! One judgement of a candidate: the harness's verdict, as the ledger keeps it and as the model reads it.

use crate::ledger::Killed;
use crate::plan::Module;
use crate::prompt::{PACKS_MAX, Pack, SourceFile, packs};
use lockstep_harness::manifest::Manifest;
use lockstep_harness::side::{self, SideError, Terms};
use lockstep_harness::sides::{Processes, Sides};
use lockstep_harness::tiers::{CheckOutcome, Counts, property};
use lockstep_harness::verify::{Plan, Verification, verify};
use lockstep_harness::watch::{Stop, Watch};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

/// Vectors that differ, of one function, which a model is shown.
const VECTORS_SHOWN: usize = 4;

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

    /// A judgement that played no step.
    fn without_play(
        manifest: &Manifest,
        backend: &str,
        seed: u64,
        found: Vec<Killed>,
        packs: Vec<Pack>,
        table: String,
    ) -> Self {
        Judgement {
            agrees: found.is_empty(),
            stopped: false,
            rows: 0,
            found,
            packs,
            table,
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

/// Holds the pure functions of a module against the reference, before anything of the environment runs. The functions
/// that the reference does not offer to be probed are named in the table and judge nothing.
///
/// # Errors
/// If the reference fails.
pub fn probe(
    manifest: &Manifest,
    module: &Module,
    seed: u64,
    sides: &Processes,
    stop: &Stop,
) -> Result<Judgement, SideError> {
    let configuration = manifest.configuration("default").expect("every manifest has a default configuration");
    let configuration = Arc::new(configuration.clone());
    let mut terms = Terms::new(1);
    terms.deadline = sides.deadline;
    let mut reference = sides.reference(configuration.clone(), terms)?;
    let start = || side::Module::start(sides.runner.clone(), &sides.logs, sides.deadline, &configuration.options);
    let mut ours = match start() {
        Ok(ours) => ours,
        Err(error) => return Ok(not_opened(manifest, &module.backend, seed, &error)),
    };
    let (mut table, mut rows, mut found, mut packs) = (String::new(), 0, Vec::new(), Vec::new());
    for row in manifest.file.probe.iter().filter(|row| module.probes().contains(&row.function.as_str())) {
        let function = &row.function;
        if !reference.capabilities.probe.contains(function) {
            let _ = writeln!(table, "{function}: not judged, the reference does not offer it to be probed");
            continue;
        }
        let vectors = property::vectors(row, seed);
        let mut differing = Vec::new();
        let mut played = 0;
        for input in &vectors {
            if stop.asked() || differing.len() >= VECTORS_SHOWN {
                break;
            }
            played += 1;
            let expected = reference.probe(function, input)?;
            let observed = match ours.probe(function, input) {
                Ok(observed) if property::near(&expected, &observed, row.tolerance) => continue,
                Ok(observed) => observed.to_string(),
                Err(error) => {
                    // Whatever it did, the next vector finds a new one.
                    match start() {
                        Ok(anew) => ours = anew,
                        Err(error) => return Ok(not_opened(manifest, &module.backend, seed, &error)),
                    }
                    format!("no answer: {error}")
                }
            };
            differing.push(format!("input     {input}\nexpected  {expected}\nobserved  {observed}\n"));
        }
        if differing.is_empty() {
            rows += 1;
            let _ = writeln!(table, "{function}: agrees on {played} vectors");
            continue;
        }
        let _ = writeln!(table, "{function}: {} of the first {played} vectors differ", differing.len());
        let kind = format!("the function {function}");
        found.push(Killed {
            kind: kind.clone(),
            tier: "probe".into(),
            configuration: "default".into(),
            steps: 0,
            reference_steps: 0,
        });
        if packs.len() < PACKS_MAX {
            packs.push(Pack::plain(kind, format!("```text\n{}```", differing.join("\n"))));
        }
    }
    let mut judgement = Judgement::without_play(manifest, &module.backend, seed, found, packs, table);
    (judgement.rows, judgement.stopped) = (rows, stop.asked());
    Ok(judgement)
}

fn not_opened(manifest: &Manifest, backend: &str, seed: u64, error: &SideError) -> Judgement {
    let text = format!("the candidate could not be opened: {error}\n");
    let found = vec![Killed {
        kind: "not opened".into(),
        tier: "contract".into(),
        configuration: "default".into(),
        steps: 0,
        reference_steps: 0,
    }];
    let packs = vec![Pack::plain("not opened", text.clone())];
    Judgement::without_play(manifest, backend, seed, found, packs, text)
}
