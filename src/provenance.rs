//! Who wrote each file of a backend, computed from the ledgers of the environment's runs and nothing else.

use crate::exit::Failure;
use crate::ledger::{Event, blob};
use crate::run_dir::{Run, recordings, runs_in};
use lockstep_harness::manifest::Manifest;
use similar::TextDiff;
use std::collections::BTreeMap;

/// A file that shares less than this with what a model wrote is not called an edit of it.
const SHARED_MIN: f32 = 0.5;

/// Who wrote each file of `backend`, as it stands in the environment's folder: `loop RUN`, `loop RUN, then edited` with
/// the number of lines, or `by hand`.
///
/// # Errors
/// If a ledger can't be read or was changed.
pub fn provenance(manifest: &Manifest, backend: &str) -> Result<BTreeMap<String, String>, Failure> {
    let runs = runs_in(&recordings(manifest))?;
    let mut rows = BTreeMap::new();
    for path in manifest.file.backends.get(backend).map(|table| table.files.clone()).unwrap_or_default() {
        let now = std::fs::read_to_string(manifest.folder.join(&path)).unwrap_or_default();
        let mut best: Option<(f32, String)> = None;
        for run in &runs {
            let Some((text, edited)) = last_text(run, &path)? else { continue };
            let name = &run.started.run;
            let (shared, who) = if text == now {
                let by_people = if edited { ", then edited" } else { "" };
                (1.0, format!("loop {name}{by_people}"))
            } else {
                let diff = TextDiff::from_lines(&text, &now);
                let lines = diff.iter_all_changes().filter(|change| change.tag() == similar::ChangeTag::Insert).count();
                let all = now.lines().count();
                (diff.ratio(), format!("loop {name}, then edited ({lines} of {all} lines)"))
            };
            if shared >= SHARED_MIN && best.as_ref().is_none_or(|(other, _)| shared > *other) {
                best = Some((shared, who));
            }
        }
        rows.insert(path, best.map_or_else(|| "by hand".to_owned(), |(_, who)| who));
    }
    Ok(rows)
}

/// The text of a file as a run left it, and whether a person had edited it in the run.
fn last_text(run: &Run, path: &str) -> Result<Option<(String, bool)>, Failure> {
    let (mut name, mut edited) = (None, false);
    for entry in &run.entries {
        match &entry.event {
            Event::Edited { files, .. } => name = files.get(path).cloned().or(name),
            Event::EditedByHand { files, changed } => {
                name = files.get(path).cloned().or(name);
                edited |= changed.iter().any(|other| other == path);
            }
            _ => {}
        }
    }
    name.map(|name| Ok((blob(&run.folder, &name)?, edited))).transpose()
}
