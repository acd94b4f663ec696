//! Other generators of traces: proptest, quickcheck, and bytes for libFuzzer, all of which make our one trace type.
//!
//! They only generate. What they find is shrunk by [`minimize`](crate::minimize), which is priced in reference steps;
//! their own shrinkers would replay the reference thousands of times.

#[cfg(feature = "arbitrary")]
mod arbitrary;
#[cfg(feature = "proptest")]
mod proptest;
#[cfg(feature = "quickcheck")]
mod quickcheck;

#[cfg(feature = "arbitrary")]
pub use arbitrary::trace_from_bytes;
#[cfg(feature = "proptest")]
pub use proptest::traces;
#[cfg(feature = "quickcheck")]
pub use quickcheck::AnyTokens;

use crate::manifest::{Action, Configuration};
use crate::trace::Trace;

/// A trace from any words: each becomes a token that is defined in this configuration.
pub fn trace_from_words(configuration: &Configuration, seed: u64, words: &[u32]) -> Trace {
    let per_step = configuration.tokens_per_step();
    let whole = words.len() / per_step * per_step;
    let tokens = words[..whole].iter().map(|word| defined(&configuration.action, *word)).collect();
    Trace::seeded(configuration, seed, 0, tokens)
}

/// The nearest token that is defined: a continuous action must be finite.
fn defined(action: &Action, word: u32) -> u32 {
    match action {
        Action::Discrete { .. } => word,
        Action::Continuous { low, high } if !f32::from_bits(word.rotate_right(1)).is_finite() => {
            let value = if word & 1 == 0 { *low } else { *high };
            value.to_bits().rotate_left(1)
        }
        Action::Continuous { .. } => word,
    }
}
