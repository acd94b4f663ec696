//! The first place at which two sides differ, with all that a report says of it.

use crate::compare::{Difference, Part};
use crate::record::Record;

/// The first step at which two sides differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// The backend that differs.
    pub backend: String,
    /// Whom it differs from: `reference`, or the backend that judges.
    pub against: String,
    /// The step, from 0; `None` if the start already differs.
    pub step: Option<usize>,
    /// The record is that of the reset after the step.
    pub after_reset: bool,
    /// What differs.
    pub difference: Difference,
    /// The reference's record before the step, for reports.
    pub before: Option<Record>,
    /// The reference's record.
    pub expected: Option<Record>,
    /// The backend's record.
    pub observed: Option<Record>,
    /// The first row that differs, where a grain was played: grain, row, label, expected, observed.
    pub row: Option<RowDifference>,
}

/// The first row of a grain that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowDifference {
    /// The grain.
    pub grain: String,
    /// The row within the step, from 0.
    pub row: usize,
    /// The field.
    pub label: String,
    /// What the reference has.
    pub expected: String,
    /// What the backend has.
    pub observed: String,
}

impl Divergence {
    /// What must stay the same while a trace is shrunk.
    pub fn kind(&self) -> String {
        let kind = self.difference.kind();
        if self.after_reset { format!("{kind} after reset") } else { kind }
    }

    /// Steps of the shortest prefix that shows it.
    pub fn steps_needed(&self) -> usize {
        self.step.map_or(0, |step| step + 1)
    }

    /// Whether a side failed, instead of answering differently.
    pub fn is_failure(&self) -> bool {
        self.difference.part == Part::Side
    }
}
