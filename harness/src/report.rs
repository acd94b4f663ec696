//! What people and models read of a divergence: one block, the same in the terminal, in a test and in a repair prompt.

use crate::compare::{Part, draw_text};
use crate::divergence::Divergence;
use crate::manifest::Configuration;
use crate::minimize::Minimized;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Values that are listed beside the first one.
const ALSO_MAX: usize = 4;

/// A divergence that was found, shrunk and kept.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The configuration.
    pub configuration: String,
    /// The tier that found it.
    pub tier: String,
    /// What came of shrinking it.
    pub minimized: Minimized,
    /// The file that it was kept in, or why it could not be.
    pub kept: Result<PathBuf, String>,
    /// The file of the short repro.
    pub kept_short: Option<PathBuf>,
}

impl Finding {
    /// The block.
    pub fn block(&self, configuration: &Configuration) -> String {
        let minimized = &self.minimized;
        let divergence = &minimized.divergence;
        let mut text = headline(divergence, minimized.trace.steps(), minimized.from_steps);
        rows(&mut text, configuration, divergence);
        row(&mut text, "seed", &format!("{:#x} stream {:#x}", minimized.trace.seed, minimized.trace.stream));
        row(&mut text, "found by", &format!("{} in {}", self.tier, self.configuration));
        if minimized.flaky {
            row(&mut text, "flaky", "it did not repeat three times out of three");
        }
        match (&minimized.short, &self.kept_short) {
            (Ok(short), Some(path)) => {
                let steps = short.trace.steps();
                row(&mut text, "short", &format!("lockstep replay {}  ({steps} from an injected state)", shown(path)));
            }
            (Ok(_), None) => {}
            (Err(reason), _) => row(&mut text, "short", &format!("none: {reason}")),
        }
        match &self.kept {
            Ok(path) => row(&mut text, "replay", &format!("lockstep replay {}", shown(path))),
            Err(trace) => {
                row(
                    &mut text,
                    "replay",
                    "the trace could not be written; it follows, save it and `lockstep replay` it",
                );
                text.push_str(trace);
            }
        }
        text
    }

    /// Removes its files: a shorter trace of the same kind takes its place.
    pub fn forget(&self) {
        for path in self.kept.iter().chain(&self.kept_short) {
            // If it can't be removed it stays, as one trace more that is replayed.
            let _ = std::fs::remove_file(path);
        }
    }

    /// The same as JSON.
    pub fn json(&self, configuration: &Configuration) -> Value {
        let minimized = &self.minimized;
        json!({
            "configuration": self.configuration,
            "tier": self.tier,
            "divergence": divergence_json(configuration, &minimized.divergence),
            "steps": minimized.trace.steps(),
            "found_with_steps": minimized.from_steps,
            "reference_steps_spent": minimized.reference_steps,
            "flaky": minimized.flaky,
            "short_steps": minimized.short.as_ref().ok().map(|short| short.trace.steps()),
            "short_missing": minimized.short.as_ref().err(),
            "trace": self.kept.as_ref().ok().map(|path| path.display().to_string()),
            "short_trace": self.kept_short.as_ref().map(|path| path.display().to_string()),
        })
    }
}

/// A divergence of a trace that was replayed, without a search.
pub fn replay_block(configuration: &Configuration, divergence: &Divergence, steps: usize) -> String {
    let mut text = headline(divergence, steps, steps);
    rows(&mut text, configuration, divergence);
    text
}

/// A divergence as JSON.
pub fn divergence_json(configuration: &Configuration, divergence: &Divergence) -> Value {
    let fields: Vec<Value> = divergence
        .difference
        .fields
        .iter()
        .map(|field| json!({"field": field.label, "expected": field.expected, "observed": field.observed}))
        .collect();
    let draws = |record: &Option<crate::record::Record>| {
        let draws = record.iter().flat_map(|record| &record.draws);
        draws.map(|draw| draw_text(configuration, draw)).collect::<Vec<_>>()
    };
    json!({
        "backend": divergence.backend,
        "against": divergence.against,
        "kind": divergence.kind(),
        "part": divergence.difference.part.name(),
        "step": divergence.step,
        "after_reset": divergence.after_reset,
        "fields": fields,
        "draws": {"expected": draws(&divergence.expected), "observed": draws(&divergence.observed)},
        "row": divergence.row.as_ref().map(|row| json!({
            "grain": row.grain, "row": row.row, "field": row.label, "expected": row.expected, "observed": row.observed,
        })),
    })
}

fn headline(divergence: &Divergence, steps: usize, from_steps: usize) -> String {
    let place = match divergence.step {
        None => "at the start".to_owned(),
        Some(step) => {
            let reset = if divergence.after_reset { "in the reset after " } else { "at " };
            format!("{reset}step {} of {}", thousands(step as u64 + 1), thousands(steps as u64))
        }
    };
    let from =
        if from_steps > steps { format!(" (minimized from {})", thousands(from_steps as u64)) } else { String::new() };
    if divergence.is_failure() {
        return format!("{} {} {place}{from}\n", divergence.backend, divergence.difference.fields[0].label);
    }
    format!("{} differs from {} {place}{from}\n", divergence.backend, divergence.against)
}

fn rows(text: &mut String, configuration: &Configuration, divergence: &Divergence) {
    let difference = &divergence.difference;
    let first = &difference.fields[0];
    if difference.part == Part::Side {
        for line in first.observed.lines() {
            let _ = writeln!(text, "  {line}");
        }
        return;
    }
    row(text, "field", &first.label);
    row(text, "expected", &first.expected);
    row(text, "observed", &first.observed);
    let before = divergence.before.as_ref().and_then(|record| {
        let label = first.label.split(" of agent").next().unwrap_or_default();
        record.view(configuration).canonical_values().find(|(name, _)| name == label)
    });
    if let Some((_, value)) = before {
        row(text, "before", &value.to_string());
    }
    for field in difference.fields.iter().skip(1).take(ALSO_MAX) {
        row(text, "also", &format!("{}: expected {}, observed {}", field.label, field.expected, field.observed));
    }
    if difference.fields.len() > 1 + ALSO_MAX {
        row(text, "also", &format!("{} more values", difference.fields.len() - 1 - ALSO_MAX));
    }
    for (name, record) in [("expected", &divergence.expected), ("observed", &divergence.observed)] {
        let draws: Vec<String> =
            record.iter().flat_map(|record| &record.draws).map(|draw| draw_text(configuration, draw)).collect();
        if !draws.is_empty() && (difference.part == Part::Draws || name == "expected") {
            let label = if difference.part == Part::Draws { format!("draws {}", &name[..3]) } else { "draws".into() };
            row(text, &label, &draws.join(", "));
        }
    }
    if let Some(fine) = &divergence.row {
        let what = format!(
            "{} {}: {} expected {}, observed {}",
            fine.grain,
            fine.row + 1,
            fine.label,
            fine.expected,
            fine.observed
        );
        row(text, "row", &what);
    }
}

fn row(text: &mut String, label: &str, value: &str) {
    let _ = writeln!(text, "  {label:<9} {value}");
}

/// A path as people type it: from here where it is below here.
pub fn shown(path: &std::path::Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

/// A number with commas.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
