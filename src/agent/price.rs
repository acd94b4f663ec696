//! What models cost: a dated table, and what follows from it for a request and for an answer.
//!
//! Prices change without notice and the table does not, so each figure carries its source and the table its day. A
//! model that is not in it has no price, and without a price no budget holds: then it has to be given.

use super::{Request, Usage, tokens};
use serde::{Deserialize, Serialize};

/// The day on which the table was put together, from kept copies of the named pages; a copy may be some weeks older.
pub const LOOKED_UP: &str = "2026-11-24";

/// USD for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Tokens that go in.
    pub input: f64,
    /// Those that come from the provider's cache; as `input` where it is not known.
    pub cached: Option<f64>,
    /// Those that are written to its cache (the shortest time to live); as `input` where it is not known.
    pub written: Option<f64>,
    /// Tokens that come out.
    pub output: f64,
}

/// What one model costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// The usual rates.
    pub rates: Rates,
    /// Above so many input tokens the whole request has other rates.
    pub long: Option<(u64, Rates)>,
    /// Where the figures are from.
    pub source: String,
}

/// How sure the dollars of an answer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The agent itself reported them.
    Reported,
    /// Counted tokens at the price.
    Measured,
    /// Estimated tokens at the price.
    EstimatedLowerBound,
    /// No price is known; the dollars are 0 and mean nothing.
    Unpriced,
}

/// Dollars, and how sure they are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The dollars.
    pub usd: f64,
    /// How sure they are.
    pub basis: Basis,
}

impl Price {
    /// The price of a model of the table; a date at the end of its name (`-20251001`, `-2026-09-29`) is passed over.
    pub fn of(model: &str) -> Option<Price> {
        row(model).map(|row| Price {
            rates: row.rates,
            long: row.long,
            source: format!("{}, looked up {LOOKED_UP}", row.source),
        })
    }

    /// A price that somebody gave.
    pub fn given(input: f64, cached: Option<f64>, output: f64) -> Price {
        Price { rates: Rates { input, cached, written: None, output }, long: None, source: "given by flags".into() }
    }

    /// What an answer cost in dollars.
    pub fn usd(&self, usage: &Usage) -> f64 {
        let rates = self.rates_for(usage.input_tokens);
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let written = usage.written_tokens.min(usage.input_tokens - cached);
        let plain = usage.input_tokens - cached - written;
        let parts = [
            (plain, rates.input),
            (cached, rates.cached.unwrap_or(rates.input)),
            (written, rates.written.unwrap_or(rates.input)),
            (usage.output_tokens, rates.output),
        ];
        parts.iter().map(|(count, rate)| *count as f64 * rate / 1e6).sum()
    }

    /// The most that a request is likely to cost in dollars: nothing cached, all of its output used. It holds for one
    /// answer of an endpoint; what an agent CLI does by itself has no such bound.
    pub fn worst_case(&self, request: &Request) -> f64 {
        let input = tokens::upper(&request.system) + tokens::upper(&request.prompt);
        let rates = self.rates_for(input);
        let dearest = rates.written.unwrap_or(rates.input).max(rates.input);
        (input as f64 * dearest + request.output_tokens_max as f64 * rates.output) / 1e6
    }

    fn rates_for(&self, input_tokens: u64) -> &Rates {
        match &self.long {
            Some((limit, rates)) if input_tokens > *limit => rates,
            _ => &self.rates,
        }
    }
}

/// What an answer cost, by its own report or by the price.
pub fn cost(usage: &Usage, price: Option<&Price>) -> Cost {
    match (usage.cost_usd, price) {
        (Some(usd), _) => Cost { usd, basis: Basis::Reported },
        (None, Some(price)) => {
            let basis = if usage.measured { Basis::Measured } else { Basis::EstimatedLowerBound };
            Cost { usd: price.usd(usage), basis }
        }
        (None, None) => Cost { usd: 0.0, basis: Basis::Unpriced },
    }
}

/// The longest prompt in tokens that a model of the table takes, where its source says so.
pub fn context_tokens(model: &str) -> Option<u64> {
    row(model).and_then(|row| row.context_tokens)
}

struct Row {
    model: &'static str,
    context_tokens: Option<u64>,
    rates: Rates,
    long: Option<(u64, Rates)>,
    source: &'static str,
}

fn row(model: &str) -> Option<&'static Row> {
    let find = |name: &str| TABLE.iter().find(|row| row.model == name);
    find(model).or_else(|| find(without_date(model)?))
}

/// `name-20251001` and `name-2026-09-29` without their date.
fn without_date(model: &str) -> Option<&str> {
    let shapes = ["-dddddddd", "-dddd-dd-dd"];
    shapes.iter().find_map(|shape| {
        let (name, date) = model.split_at_checked(model.len().checked_sub(shape.len())?)?;
        let fits = |(have, want): (u8, u8)| if want == b'd' { have.is_ascii_digit() } else { have == want };
        (!name.is_empty() && date.bytes().zip(shape.bytes()).all(fits)).then_some(name)
    })
}

const fn rates(input: f64, cached: f64, written: f64, output: f64) -> Rates {
    Rates { input, cached: Some(cached), written: Some(written), output }
}

const fn plain(input: f64, output: f64) -> Rates {
    Rates { input, cached: None, written: None, output }
}

const ANTHROPIC: &str = "https://platform.claude.com/docs/en/about-claude/pricing";
const OPENAI: &str = "https://developers.openai.com/api/docs/pricing";
const GEMINI: &str = "https://ai.google.dev/gemini-api/docs/pricing (as read there on 2026-09-20)";
const DEEPSEEK: &str = "https://api-docs.deepseek.com/quick_start/pricing (peak hours, as read there on 2026-10-27)";

/// Models that people are likely to use for this. Standard service, no batches, no discounts.
const TABLE: &[Row] = &[
    Row {
        model: "claude-fable-5-1",
        context_tokens: Some(1_000_000),
        rates: rates(10.0, 0.25, 12.5, 50.0),
        long: None,
        source: ANTHROPIC,
    },
    Row {
        model: "claude-opus-5-5",
        context_tokens: Some(1_000_000),
        rates: rates(4.0, 0.2, 5.0, 20.0),
        long: None,
        source: ANTHROPIC,
    },
    Row {
        model: "claude-opus-5",
        context_tokens: Some(1_000_000),
        rates: rates(5.0, 0.5, 6.25, 25.0),
        long: None,
        source: ANTHROPIC,
    },
    Row {
        // Cached input was 0.20 until 2026-10-07.
        model: "claude-sonnet-5-5",
        context_tokens: Some(1_000_000),
        rates: rates(2.0, 0.1, 2.5, 10.0),
        long: None,
        source: ANTHROPIC,
    },
    Row {
        model: "claude-sonnet-5",
        context_tokens: Some(1_000_000),
        rates: rates(2.0, 0.2, 2.5, 10.0),
        long: None,
        source: ANTHROPIC,
    },
    Row {
        model: "claude-sonnet-4-6",
        context_tokens: Some(1_000_000),
        rates: rates(3.0, 0.3, 3.75, 15.0),
        long: None,
        source: ANTHROPIC,
    },
    Row {
        model: "claude-haiku-5-5",
        context_tokens: Some(1_000_000),
        rates: rates(0.1, 0.01, 0.125, 0.5),
        long: Some((100_000, rates(0.5, 0.05, 0.625, 2.5))),
        source: ANTHROPIC,
    },
    Row {
        model: "claude-haiku-4-5",
        context_tokens: Some(200_000),
        rates: rates(1.0, 0.1, 1.25, 5.0),
        long: None,
        source: ANTHROPIC,
    },
    Row {
        model: "gpt-6.2-sol",
        context_tokens: Some(922_000),
        rates: rates(2.0, 0.1, 2.5, 10.0),
        long: Some((272_000, rates(4.0, 0.2, 5.0, 15.0))),
        source: "https://developers.openai.com/api/docs/models/gpt-6.2-sol",
    },
    Row {
        model: "gpt-6.1-sol",
        context_tokens: Some(922_000),
        rates: rates(2.0, 0.1, 2.5, 10.0),
        long: Some((272_000, rates(4.0, 0.2, 5.0, 15.0))),
        source: OPENAI,
    },
    Row {
        model: "gpt-6-sol",
        context_tokens: Some(922_000),
        rates: rates(2.0, 0.2, 2.5, 10.0),
        long: Some((272_000, rates(4.0, 0.4, 5.0, 15.0))),
        source: OPENAI,
    },
    Row {
        model: "gpt-6-astra",
        context_tokens: Some(922_000),
        rates: rates(10.0, 1.0, 12.5, 50.0),
        long: Some((272_000, rates(20.0, 2.0, 25.0, 75.0))),
        source: "https://developers.openai.com/api/docs/models/gpt-6-astra",
    },
    Row {
        model: "gemini-3.1-pro-preview",
        context_tokens: Some(1_048_576),
        rates: plain(2.0, 12.0),
        long: Some((200_000, plain(4.0, 18.0))),
        source: GEMINI,
    },
    Row { model: "gemini-3.5-flash", context_tokens: None, rates: plain(1.5, 9.0), long: None, source: GEMINI },
    Row {
        model: "deepseek-v4-pro",
        context_tokens: None,
        rates: Rates { input: 1.32, cached: Some(0.044), written: None, output: 3.96 },
        long: None,
        source: DEEPSEEK,
    },
    Row {
        model: "deepseek-flash",
        context_tokens: None,
        rates: Rates { input: 0.3, cached: Some(0.006), written: None, output: 1.2 },
        long: None,
        source: DEEPSEEK,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Role;

    fn usage(input: u64, cached: u64, written: u64, output: u64) -> Usage {
        Usage {
            input_tokens: input,
            cached_tokens: cached,
            written_tokens: written,
            output_tokens: output,
            measured: true,
            cost_usd: None,
        }
    }

    fn near(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-9
    }

    #[test]
    fn a_price_counts_cached_and_written_input_apart() {
        let price = Price::of("claude-opus-5-5").expect("it is in the table");
        // 1000 plain, 2000 cached, 3000 written, 500 out.
        let expected = (1000.0 * 4.0 + 2000.0 * 0.2 + 3000.0 * 5.0 + 500.0 * 20.0) / 1e6;
        assert!(near(price.usd(&usage(6000, 2000, 3000, 500)), expected));
        // More cached tokens than input tokens can't make it negative.
        assert!(near(price.usd(&usage(100, 200, 300, 0)), 100.0 * 0.2 / 1e6));
    }

    #[test]
    fn a_long_prompt_has_the_long_rates_for_all_of_it() {
        let price = Price::of("claude-haiku-5-5").expect("it is in the table");
        assert!(near(price.usd(&usage(100_000, 0, 0, 1000)), 0.01 + 0.0005));
        assert!(near(price.usd(&usage(100_001, 0, 0, 1000)), 100_001.0 * 0.5 / 1e6 + 0.0025));
    }

    #[test]
    fn a_price_is_found_under_a_dated_name_and_under_no_other() {
        assert_eq!(Price::of("claude-haiku-4-5-20251001"), Price::of("claude-haiku-4-5"));
        assert_eq!(Price::of("gpt-6.1-sol-2026-09-29"), Price::of("gpt-6.1-sol"));
        assert!(Price::of("gpt-6.1-sol").is_some());
        for unknown in [
            "",
            "claude",
            "claude-opus-5-5-fast",
            "gpt-6.1-sol-2026-9-29",
            "anthropic/claude-opus-5-5",
            "-20251001",
            "é-20251001",
        ] {
            assert_eq!(Price::of(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn the_worst_case_of_a_request_is_not_less_than_what_it_then_costs() {
        let request = Request {
            role: Role::Plan,
            module: String::new(),
            round: 1,
            system: "s".repeat(4000),
            prompt: "p".repeat(40_000),
            output_tokens_max: 8000,
        };
        for row in TABLE {
            let price = Price::of(row.model).expect("it is in the table");
            let all = usage(22_000, 0, 22_000, 8000);
            assert!(price.worst_case(&request) >= price.usd(&all) - 1e-9, "{}", row.model);
        }
    }

    #[test]
    fn a_cost_says_whether_it_is_reported_measured_estimated_or_unknown() {
        let price = Price::given(1.0, None, 2.0);
        let mut used = usage(1_000_000, 500_000, 0, 1_000_000);
        assert_eq!(cost(&used, Some(&price)), Cost { usd: 3.0, basis: Basis::Measured });
        used.measured = false;
        assert_eq!(cost(&used, Some(&price)).basis, Basis::EstimatedLowerBound);
        assert_eq!(cost(&used, None), Cost { usd: 0.0, basis: Basis::Unpriced });
        used.cost_usd = Some(0.5);
        assert_eq!(cost(&used, Some(&price)), Cost { usd: 0.5, basis: Basis::Reported });
    }

    #[test]
    fn every_row_of_the_table_names_its_source_and_costs_something() {
        for (place, row) in TABLE.iter().enumerate() {
            assert!(row.source.starts_with("https://"), "{}", row.model);
            for rates in std::iter::once(&row.rates).chain(row.long.as_ref().map(|(_, rates)| rates)) {
                assert!(rates.input > 0.0 && rates.output > rates.input, "{}", row.model);
                assert!(rates.cached.is_none_or(|cached| cached < rates.input), "{}", row.model);
                assert!(rates.written.is_none_or(|written| written >= rates.input), "{}", row.model);
            }
            assert!(TABLE[..place].iter().all(|other| other.model != row.model), "{} twice", row.model);
        }
    }
}
