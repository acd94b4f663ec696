//! Traces as a proptest strategy; it does not shrink, because our minimizer does.

use super::trace_from_words;
use crate::manifest::Configuration;
use crate::trace::Trace;
use proptest::prelude::*;
use std::sync::Arc;

/// Traces of up to `steps_max` steps: small tokens half of the time, any words else.
pub fn traces(configuration: Arc<Configuration>, steps_max: usize) -> impl Strategy<Value = Trace> {
    let words = steps_max * configuration.tokens_per_step();
    let token = prop_oneof![0u32..16, any::<u32>()];
    (any::<u64>(), prop::collection::vec(token, 0..=words))
        .prop_map(move |(seed, words)| trace_from_words(&configuration, seed, &words))
        .no_shrink()
}
