//! Replays the traces that were kept, before anything new is tried.

use super::{Check, CheckOutcome, Stage, TierReport};
use crate::manifest::{Manifest, ToleranceMode};
use crate::pair::Verdict;
use crate::report::{replay_block, shown};
use crate::side::SideError;
use crate::sides::open_pair;
use crate::trace::Trace;
use std::path::{Path, PathBuf};

/// The trace files of an environment, sorted by name.
pub fn kept_traces(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect();
    paths.sort();
    paths
}

/// Replays those of one configuration.
///
/// # Errors
/// If the reference fails, or a side can't be opened.
pub fn run(stage: &mut Stage<'_>, manifest: &Manifest) -> Result<TierReport, SideError> {
    let configuration = stage.configuration.clone();
    let mut report = TierReport::new("traces", &configuration);
    let mut pair = None;
    for path in kept_traces(&stage.traces) {
        if stage.stop.asked() {
            report.stopped = true;
            break;
        }
        let trace = match Trace::read(manifest, &path) {
            Ok(trace) if trace.configuration == configuration.name => trace,
            Ok(_) => continue,
            // A file that belongs to no configuration is told once, with the default one.
            Err(error) if configuration.name == "default" => {
                report.checks.push(Check {
                    claim: format!("{} can be read", shown(&path)),
                    side: "trace".into(),
                    outcome: CheckOutcome::Failed(error.to_string()),
                });
                continue;
            }
            Err(_) => continue,
        };
        if pair.is_none() {
            let mode = ToleranceMode::FreeRunning;
            pair = Some(open_pair(stage.sides, stage.backend, &configuration, 1, "traces", mode)?);
        }
        let opened = pair.as_mut().expect("it was just opened");
        let outcome = match opened.check(&trace)? {
            Verdict::Agree => {
                report.counts.live_free_running += trace.steps() as u64;
                CheckOutcome::Passed
            }
            Verdict::Known(name) => {
                *report.known.entry(name).or_default() += 1;
                CheckOutcome::Passed
            }
            Verdict::Diverged(divergence) => {
                let block = replay_block(&configuration, &divergence, trace.steps());
                CheckOutcome::Failed(format!("{block}  replay    lockstep replay {}", shown(&path)))
            }
        };
        report.checks.push(Check {
            claim: format!("{} agrees", shown(&path)),
            side: stage.backend.to_owned(),
            outcome,
        });
    }
    Ok(report)
}
