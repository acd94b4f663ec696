//! Traces from raw bytes, as libFuzzer and `arbitrary` give them: one byte is a small token, most of the time.

use super::trace_from_words;
use crate::manifest::Configuration;
use crate::trace::Trace;
use arbitrary::Unstructured;

/// A trace that any bytes stand for.
pub fn trace_from_bytes(configuration: &Configuration, bytes: &[u8]) -> Trace {
    let mut input = Unstructured::new(bytes);
    let seed = u64::from(input.arbitrary::<u8>().unwrap_or_default());
    let mut words = Vec::new();
    while !input.is_empty() {
        // A byte of 255 announces a whole word; others are tokens themselves, so that flipping a byte changes one action.
        let word = match input.arbitrary::<u8>() {
            Ok(255) => input.arbitrary::<u32>().unwrap_or_default(),
            Ok(byte) => u32::from(byte),
            Err(_) => break,
        };
        words.push(word);
    }
    trace_from_words(configuration, seed, &words)
}
