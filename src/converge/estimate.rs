//! What a run would send and cost, before anybody is asked: from the request for the plan and from runs that were kept.

use super::summary::Summary;
use crate::agent::Usage;
use crate::agent::price::Price;
use crate::ledger::Event;
use crate::prompt::{Prompt, SourceFile};
use crate::run_dir::{Outcome, Run};
use lockstep_harness::report::thousands;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// One kept run that converged, as multiples of the request for its plan.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Known {
    input: f64,
    output: f64,
    model_minutes: f64,
}

impl Known {
    /// Of a run; `None` where it did not converge or asked for nothing.
    fn of(run: &Run) -> Option<Self> {
        let first = run.entries.iter().find_map(|entry| match &entry.event {
            Event::Asked { tokens, .. } if *tokens > 0 => Some(*tokens as f64),
            _ => None,
        })?;
        let summary = Summary::of(run);
        (run.outcome() == Outcome::Converged && summary.rounds > 0).then(|| Known {
            input: summary.input_tokens as f64 / first,
            output: summary.output_tokens as f64 / first,
            model_minutes: summary.model_seconds / 60.0,
        })
    }
}

/// The smaller and the larger end.
pub type Range<T> = [T; 2];

/// What a run would send and cost.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// Files of the reference that would be sent, with their bytes.
    pub files: Vec<(String, usize)>,
    /// Bytes of the first request, all told.
    pub request_bytes: usize,
    /// Its tokens, estimated.
    pub request_tokens: u64,
    /// How many kept runs the ranges rest on.
    pub runs: usize,
    /// Tokens in and out.
    pub tokens: Option<[Range<u64>; 2]>,
    /// Dollars.
    pub usd: Option<Range<f64>>,
    /// Minutes that the model takes.
    pub minutes: Option<Range<f64>>,
    /// What tokens cost.
    pub price: Option<Price>,
}

impl Estimate {
    /// From the request for the plan and the runs that were kept, of any environment.
    pub fn new(plan: &Prompt, sources: &[SourceFile], runs: &[Run], price: Option<&Price>) -> Self {
        let known: Vec<Known> = runs.iter().filter_map(Known::of).collect();
        let scaled = |part: fn(&Known) -> f64| {
            let values = known.iter().map(part);
            values.fold(None, |range: Option<Range<f64>>, value| {
                Some(range.map_or([value, value], |[low, high]| [low.min(value), high.max(value)]))
            })
        };
        let count = |[low, high]: Range<f64>| [low, high].map(|ratio| (ratio * plan.tokens as f64).round() as u64);
        let tokens = scaled(|run| run.input).map(count).zip(scaled(|run| run.output).map(count));
        let usd = price.zip(tokens).map(|(price, (input, output))| {
            [0, 1].map(|end| {
                price.usd(&Usage { input_tokens: input[end], output_tokens: output[end], ..Usage::default() })
            })
        });
        Estimate {
            files: sources.iter().map(|file| (file.name.clone(), file.text.len())).collect(),
            request_bytes: plan.system.len() + plan.text.len(),
            request_tokens: plan.tokens,
            runs: known.len(),
            tokens: tokens.map(|(input, output)| [input, output]),
            usd,
            minutes: scaled(|run| run.model_minutes),
            price: price.cloned(),
        }
    }

    /// The dollars that have to be expected, with `budget` where nothing else is known: 0 for a model without a price.
    pub fn worst_usd(&self, budget: f64) -> f64 {
        match (&self.price, self.usd) {
            (None, _) => 0.0,
            (Some(price), _) if price.rates.input <= 0.0 && price.rates.output <= 0.0 => 0.0,
            (Some(_), Some([_, high])) => high.min(budget),
            (Some(_), None) => budget,
        }
    }

    /// As people read it.
    pub fn text(&self) -> String {
        let mut text = String::from("what would be sent\n");
        for (name, bytes) in &self.files {
            let _ = writeln!(text, "  {:<24} {:>9} bytes", name, thousands(*bytes as u64));
        }
        let _ = writeln!(
            text,
            "  {:<24} {:>9} bytes with manifest, interface and task: some {} tokens",
            "the first request",
            thousands(self.request_bytes as u64),
            thousands(self.request_tokens)
        );
        let runs = match self.runs {
            0 => "no kept run that converged is at hand to compare with".to_owned(),
            1 => "scaled from the one kept run that converged".to_owned(),
            count => format!("scaled from {count} kept runs that converged"),
        };
        let _ = writeln!(text, "what a run may take ({runs})");
        match self.tokens {
            Some([[low_in, high_in], [low_out, high_out]]) => {
                let [low_in, high_in, low_out, high_out] = [low_in, high_in, low_out, high_out].map(thousands);
                let _ = writeln!(text, "  tokens       {low_in} to {high_in} in, {low_out} to {high_out} out");
            }
            None => text.push_str("  tokens       not known; the budget bounds it\n"),
        }
        match (&self.price, self.usd) {
            (Some(price), Some([low, high])) => {
                let _ = writeln!(text, "  cost         ${low:.2} to ${high:.2} (price: {})", price.source);
            }
            (Some(price), None) => {
                let _ = writeln!(text, "  cost         not known; the budget bounds it (price: {})", price.source);
            }
            (None, _) => text.push_str(
                "  cost         no price is known: name a --model of the table, or --price-in and --price-out\n",
            ),
        }
        if let Some([low, high]) = self.minutes {
            let _ = writeln!(text, "  minutes      {low:.0} to {high:.0} of the model, and what judging takes");
        }
        text.push_str("Nothing was sent.\n");
        text
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let files: Vec<Value> = self.files.iter().map(|(name, bytes)| json!({"file": name, "bytes": bytes})).collect();
        json!({
            "files": files,
            "request_bytes": self.request_bytes,
            "request_tokens": self.request_tokens,
            "kept_runs": self.runs,
            "input_tokens": self.tokens.map(|[input, _]| input),
            "output_tokens": self.tokens.map(|[_, output]| output),
            "usd": self.usd,
            "price": self.price,
            "model_minutes": self.minutes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(price: Option<Price>, usd: Option<Range<f64>>) -> Estimate {
        Estimate {
            files: vec![("game.py".into(), 1234)],
            request_bytes: 40_000,
            request_tokens: 10_000,
            runs: usize::from(usd.is_some()),
            tokens: usd.map(|_| [[30_000, 60_000], [5_000, 9_000]]),
            usd,
            minutes: usd.map(|_| [1.0, 4.0]),
            price,
        }
    }

    #[test]
    fn where_no_run_is_known_the_budget_has_to_be_expected_and_a_free_model_costs_nothing() {
        assert_eq!(estimate(Some(Price::given(3.0, None, 15.0)), None).worst_usd(10.0), 10.0);
        assert_eq!(estimate(Some(Price::given(3.0, None, 15.0)), Some([0.1, 0.4])).worst_usd(10.0), 0.4);
        assert_eq!(estimate(Some(Price::given(0.0, None, 0.0)), None).worst_usd(10.0), 0.0);
        assert_eq!(estimate(None, None).worst_usd(10.0), 0.0);
    }

    #[test]
    fn what_is_not_known_is_said_and_not_made_up() {
        let text = estimate(None, None).text();
        assert!(text.contains("no kept run") && text.contains("no price is known"), "{text}");
        assert!(!text.contains('$'), "{text}");
    }
}
