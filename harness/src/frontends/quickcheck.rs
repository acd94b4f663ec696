//! Words for quickcheck, from which [`trace_from_words`](super::trace_from_words) makes a trace; they do not shrink.

use quickcheck::{Arbitrary, Gen};

/// A seed and words of any number.
#[derive(Debug, Clone)]
pub struct AnyTokens {
    /// The run's seed.
    pub seed: u64,
    /// The words.
    pub words: Vec<u32>,
}

impl Arbitrary for AnyTokens {
    fn arbitrary(g: &mut Gen) -> Self {
        // Long enough that something happens: a fifth of what random play found bugs in.
        let count = g.size() * 4;
        let words = (0..count).map(|_| if bool::arbitrary(g) { u32::arbitrary(g) % 16 } else { u32::arbitrary(g) });
        let words = words.collect();
        AnyTokens { seed: u64::arbitrary(g), words }
    }
}
