//! What a request may cost, and what an answer has cost.

use crate::agent::price::{Basis, Price, cost};
use crate::agent::{Request, Usage};
use crate::ledger::Spent;

/// The price of the model, if somebody knows it.
#[derive(Debug, Clone, Default)]
pub struct Money {
    /// Dollars for tokens.
    pub price: Option<Price>,
    /// The answers come from a recording and were paid for then.
    pub recorded: bool,
}

impl Money {
    /// Nothing costs anything: a recording.
    pub fn none() -> Self {
        Money { price: None, recorded: true }
    }

    /// The tokens of the longest answer that so many dollars pay for, after the question.
    pub fn output_tokens(&self, input_tokens: u64, usd: f64) -> u64 {
        let Some(price) = &self.price else { return u64::MAX };
        // A question is estimated; it may have a third more tokens than that.
        let input = Usage { input_tokens: input_tokens + input_tokens / 3, ..Usage::default() };
        let left = usd - price.usd(&input);
        if left <= 0.0 {
            return 0;
        }
        if price.rates.output <= 0.0 {
            return u64::MAX;
        }
        (left / price.rates.output * 1e6) as u64
    }

    /// The most that a request can cost.
    pub fn worst_usd(&self, request: &Request) -> f64 {
        self.price.as_ref().map_or(0.0, |price| price.worst_case(request))
    }

    /// What an answer has cost.
    pub fn spent(&self, usage: &Usage, seconds: f64) -> Spent {
        let cost = cost(usage, self.price.as_ref());
        let basis = match cost.basis {
            _ if self.recorded => "recorded, paid for then",
            Basis::Reported => "reported by the agent",
            Basis::Measured => "measured",
            Basis::EstimatedLowerBound => "estimated, lower bound",
            Basis::Unpriced => "no price known",
        };
        Spent {
            input_tokens: usage.input_tokens,
            cached_tokens: usage.cached_tokens,
            output_tokens: usage.output_tokens,
            usd: cost.usd,
            basis: basis.into(),
            seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_no_longer_than_the_money_that_is_left() {
        let money = Money { price: Some(Price::given(3.0, None, 15.0)), recorded: false };
        // 30,000 tokens and a third: $0.12; what is left of $0.42 pays for 20,000 tokens out.
        assert_eq!(money.output_tokens(30_000, 0.42), 20_000);
        assert_eq!(money.output_tokens(30_000, 0.10), 0);
        assert_eq!(Money::none().output_tokens(30_000, 0.0), u64::MAX);
        assert_eq!(
            Money { price: Some(Price::given(0.0, None, 0.0)), recorded: false }.output_tokens(1, 1.0),
            u64::MAX
        );
    }
}
