//! What a run came to, computed from its ledger alone: rounds, tokens, dollars, divergences by tier, minutes.

use crate::ledger::Event;
use crate::run_dir::{Outcome, Run};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A run in figures.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Answers.
    pub rounds: u32,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Dollars.
    pub usd: f64,
    /// How the dollars are known; several where answers differ.
    pub bases: Vec<String>,
    /// Who answered.
    pub models: Vec<String>,
    /// Divergences and broken claims found, by tier.
    pub found: BTreeMap<String, u64>,
    /// Answers that did not build.
    pub broken_builds: u32,
    /// Answers with edits that did not apply.
    pub broken_edits: u32,
    /// Times that the files of an earlier round came back.
    pub went_back: u32,
    /// Attempts on sealed seeds.
    pub sealed: u32,
    /// Hints and edits of people.
    pub by_people: u32,
    /// Times that it was resumed.
    pub resumed: u32,
    /// Backends with a certificate.
    pub certified: Vec<String>,
    /// Seconds that the model took.
    pub model_seconds: f64,
    /// From an answer to the first divergence that it showed: the longest, in seconds.
    pub first_divergence_seconds_max: f64,
}

impl Summary {
    /// Of a run.
    pub fn of(run: &Run) -> Self {
        let mut summary = Summary::default();
        let mut since_answer = 0.0;
        for entry in &run.entries {
            match &entry.event {
                Event::Answered { model, spent, .. } => {
                    summary.rounds += 1;
                    summary.input_tokens += spent.input_tokens;
                    summary.output_tokens += spent.output_tokens;
                    summary.usd += spent.usd;
                    summary.model_seconds += spent.seconds;
                    since_answer = 0.0;
                    add(&mut summary.bases, &spent.basis);
                    add(&mut summary.models, model);
                }
                Event::Lost { spent, .. } => {
                    summary.input_tokens += spent.input_tokens;
                    summary.output_tokens += spent.output_tokens;
                    summary.usd += spent.usd;
                    add(&mut summary.bases, &spent.basis);
                }
                Event::Edited { problems, .. } if !problems.is_empty() => summary.broken_edits += 1,
                Event::Built { ok, seconds, .. } => {
                    summary.broken_builds += u32::from(!ok);
                    since_answer += seconds;
                }
                Event::Judged { found, seconds, agrees, .. } => {
                    since_answer += seconds;
                    if !agrees {
                        summary.first_divergence_seconds_max = summary.first_divergence_seconds_max.max(since_answer);
                    }
                    for one in found {
                        *summary.found.entry(one.tier.clone()).or_default() += 1;
                    }
                }
                Event::WentBack { .. } => summary.went_back += 1,
                Event::Sealed { .. } => summary.sealed += 1,
                Event::Certified { backend, .. } => add(&mut summary.certified, backend),
                Event::Hint { .. } | Event::EditedByHand { .. } => summary.by_people += 1,
                Event::Resumed { .. } => summary.resumed += 1,
                _ => {}
            }
        }
        summary
    }

    /// Divergences found, in all tiers.
    pub fn found_in_all(&self) -> u64 {
        self.found.values().sum()
    }

    /// As people read it, after a run.
    pub fn text(&self, run: &Run) -> String {
        let mut text = String::new();
        let mut row = |label: &str, value: String| {
            let _ = writeln!(text, "  {label:<12} {value}");
        };
        row("outcome", run.outcome().words().into());
        row("rounds", self.rounds.to_string());
        row("model", if self.models.is_empty() { run.started.model.clone() } else { self.models.join(", ") });
        row("tokens", format!("{} in, {} out", self.input_tokens, self.output_tokens));
        row("cost", self.cost());
        let found: Vec<String> = self.found.iter().map(|(tier, count)| format!("{tier} {count}")).collect();
        row("divergences", if found.is_empty() { "0".into() } else { found.join(", ") });
        if self.broken_builds + self.broken_edits + self.went_back > 0 {
            row(
                "on the way",
                format!(
                    "{} answers did not build, {} had edits that did not apply, {} times back to better files",
                    self.broken_builds, self.broken_edits, self.went_back
                ),
            );
        }
        if self.by_people > 0 {
            row("by people", format!("{} hints and edits", self.by_people));
        }
        row("sealed", format!("{} attempts", self.sealed));
        row("certified", if self.certified.is_empty() { "none".into() } else { self.certified.join(", ") });
        row("minutes", format!("{:.1}, of which the model took {:.1}", run.minutes(), self.model_seconds / 60.0));
        text
    }

    /// Dollars and how they are known.
    pub fn cost(&self) -> String {
        let bases = if self.bases.is_empty() { String::new() } else { format!(" ({})", self.bases.join("; ")) };
        format!("${:.2}{bases}", self.usd)
    }

    /// As JSON.
    pub fn json(&self, run: &Run) -> Value {
        json!({
            "run": run.started.run,
            "environment": run.started.environment,
            "began": run.entries[0].at,
            "outcome": run.outcome().words(),
            "converged": run.outcome() == Outcome::Converged,
            "recording": run.started.recording,
            "held_out": run.started.held_out,
            "agent": run.started.agent,
            "models": self.models,
            "prompts": run.started.prompts,
            "backends": run.started.backends,
            "rounds": self.rounds,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "usd": self.usd,
            "usd_basis": self.bases,
            "price": run.started.price,
            "divergences_by_tier": self.found,
            "broken_builds": self.broken_builds,
            "broken_edits": self.broken_edits,
            "went_back": self.went_back,
            "sealed_attempts": self.sealed,
            "hints_and_edits_by_people": self.by_people,
            "resumed": self.resumed,
            "certified": self.certified,
            "minutes": run.minutes(),
            "model_minutes": self.model_seconds / 60.0,
            "first_divergence_seconds_max": self.first_divergence_seconds_max,
            "folder": run.folder.display().to_string(),
        })
    }
}

fn add(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|other| other == name) {
        names.push(name.to_owned());
    }
}
