//! proptest, quickcheck and raw bytes find a planted bug, and the one minimizer shrinks it.

use crate::common::{manifest, opened_pair};
use crate::planted_bugs::{Reward, broken};
use lockstep_env_counter::Counter;
use lockstep_harness::frontends::{AnyTokens, trace_from_bytes, trace_from_words, traces};
use lockstep_harness::minimize::minimize;
use lockstep_harness::pair::Verdict;
use lockstep_harness::trace::Trace;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use quickcheck::{Arbitrary, Gen};
use std::sync::Arc;

/// Plays traces until one diverges, and shrinks it; the number of tokens that are left.
fn shrunk(mut next: impl FnMut(usize) -> Trace) -> usize {
    let mut pair = opened_pair("counter", broken::<Counter, Reward>(), "default");
    for case in 0..200 {
        let trace = next(case);
        if let Verdict::Diverged(divergence) = pair.check(&trace).expect("the reference works") {
            let minimized = minimize(&mut pair, &trace, divergence, 1_000).expect("the reference works");
            assert!(!minimized.flaky && minimized.reference_steps <= 1_000);
            return minimized.trace.tokens.len();
        }
    }
    panic!("200 traces found nothing");
}

fn configuration() -> Arc<lockstep_harness::manifest::Configuration> {
    Arc::new(manifest("counter").configuration("default").expect("it is there").clone())
}

#[test]
fn proptest_finds_a_planted_bug_and_our_minimizer_shrinks_it() {
    let (strategy, mut runner) = (traces(configuration(), 64), TestRunner::deterministic());
    assert!(shrunk(|_| strategy.new_tree(&mut runner).expect("it generates").current()) <= 6);
}

#[test]
fn quickcheck_finds_a_planted_bug_and_our_minimizer_shrinks_it() {
    let (configuration, mut generator) = (configuration(), Gen::from_size_and_seed(16, 7));
    assert!(
        shrunk(|_| {
            let any = AnyTokens::arbitrary(&mut generator);
            trace_from_words(&configuration, any.seed, &any.words)
        }) <= 6
    );
}

#[test]
fn bytes_find_a_planted_bug_and_our_minimizer_shrinks_it() {
    let configuration = configuration();
    assert!(
        shrunk(|case| {
            let bytes: Vec<u8> = (0..64u32).map(|at| lockstep_core::draw_word(7, case as u64, 0, at) as u8).collect();
            trace_from_bytes(&configuration, &bytes)
        }) <= 6
    );
}
