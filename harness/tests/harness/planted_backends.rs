//! Bugs below the rules: backends that mix up lanes, forget in snapshots, or are not the same twice.
//!
//! Each delegates to the right backend and spoils one thing; the contract tier must name it.

use crate::common::{ASKED_SET, Opener, verify_planted};
use lockstep_core::backend::{Backend, Fault, Settled, StepMany};
use lockstep_core::wire::Mode;
use lockstep_core::{Files, Header, Opened, Options, Rules, Scalar, Shape, Source};
use lockstep_env_counter::Counter;
use std::sync::atomic::{AtomicU32, Ordering};

/// What is spoiled.
#[derive(Clone, Copy, PartialEq)]
enum Spoil {
    Neighbour,
    BatchSize,
    Tail,
    Snapshot,
    Nondeterminism,
    Leftover,
    Digest,
    RowCount,
    InstructionSet,
}

struct Spoiled {
    inner: Scalar<Counter>,
    spoil: Spoil,
    /// The instruction set that was asked for when it was opened.
    set: String,
}

impl Backend for Spoiled {
    fn shape(&self) -> &Shape {
        self.inner.shape()
    }

    fn lane_count(&self) -> usize {
        self.inner.lane_count()
    }

    fn reset(
        &mut self,
        settled: Settled,
        mode: Mode,
        lane: usize,
        mut header: Header,
        source: Source,
        reply: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let last = lane + 1 == self.lane_count();
        let wrong = match self.spoil {
            Spoil::BatchSize => self.lane_count() == 17,
            // The last lane of a block that is not full.
            Spoil::Tail => last && !self.lane_count().is_multiple_of(16) && self.lane_count() > 16,
            Spoil::InstructionSet => self.set == "wide",
            Spoil::Nondeterminism => RUNS.fetch_add(1, Ordering::Relaxed) % 5 == 4,
            _ => false,
        };
        if wrong {
            header.seed ^= 1;
        }
        let from = reply.len();
        self.inner.reset(settled, mode, lane, header, source, reply)?;
        if self.spoil == Spoil::Leftover && mode == Mode::Digest {
            // A byte of the last run is left in the lane: here, how many draws it made.
            reply[from] ^= self.inner.draws(lane).len() as u8 ^ RUNS.fetch_add(1, Ordering::Relaxed) as u8 & 1;
        }
        Ok(())
    }

    fn step_many(&mut self, settled: Settled, request: StepMany<'_>, reply: &mut Vec<u8>) -> Result<(), Fault> {
        let mut tokens = request.tokens.to_vec();
        if self.spoil == Spoil::Neighbour && request.lane_count > 1 {
            let stride = tokens.len() / request.lane_count;
            tokens[stride] = tokens[0] ^ 1;
        }
        let from = reply.len();
        self.inner.step_many(settled, StepMany { tokens: &tokens, ..request }, reply)?;
        if self.spoil == Spoil::Digest && request.mode == Mode::Digest {
            // A digest that is not computed but remembered: the episode count is right, the chain is not.
            reply[from + 4..].fill(0x5A);
        }
        if self.spoil == Spoil::RowCount && request.grain.is_some() && request.mode == Mode::Full {
            // The last byte of the last row.
            if let Some(byte) = reply.last_mut() {
                *byte ^= 1;
            }
        }
        Ok(())
    }

    fn snapshot(&self, lane: usize, out: &mut Vec<u8>) {
        let from = out.len();
        self.inner.snapshot(lane, out);
        if self.spoil == Spoil::Snapshot {
            // Header, chain and draw source come first (48 bytes), then the state, whose third word is purse[0].
            out[from + 48 + 8..from + 48 + 12].fill(0);
        }
    }

    fn restore(&mut self, lane: usize, bytes: &[u8]) -> Result<(), Fault> {
        self.inner.restore(lane, bytes)
    }

    fn inject(
        &mut self,
        settled: Settled,
        mode: Mode,
        lane: usize,
        header: Header,
        source: Source,
        state: &[u8],
        observation: &[u8],
        reply: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        self.inner.inject(settled, mode, lane, header, source, state, observation, reply)
    }

    fn draws(&self, lane: usize) -> &[u8] {
        self.inner.draws(lane)
    }

    fn append_draws(&mut self, lane: usize, values: &[u32]) {
        self.inner.append_draws(lane, values);
    }
}

fn spoiled(spoil: Spoil, options: Options, files: &Files, lanes: usize) -> Result<Opened, String> {
    let world = Counter::world(options, files).map_err(|error| error.0)?;
    let set = ASKED_SET.with(|set| set.borrow().clone());
    Ok(Opened::of::<Counter>(Box::new(Spoiled { inner: Scalar::new(world, lanes), spoil, set })))
}

#[test]
fn nine_bugs_below_the_rules_are_caught_by_the_contract_tier() {
    let planted: [(&str, Opener, &str); 9] = [
        ("neighbour lane", |o, f, l| spoiled(Spoil::Neighbour, o, f, l), "neighbours"),
        ("batch size", |o, f, l| spoiled(Spoil::BatchSize, o, f, l), "how many lanes"),
        ("tail of a block", |o, f, l| spoiled(Spoil::Tail, o, f, l), "how many lanes"),
        ("snapshot forgets a field", |o, f, l| spoiled(Spoil::Snapshot, o, f, l), "restored snapshot"),
        ("nondeterminism", |o, f, l| spoiled(Spoil::Nondeterminism, o, f, l), "played twice"),
        ("uninitialised byte", |o, f, l| spoiled(Spoil::Leftover, o, f, l), "played twice"),
        ("remembered digest", |o, f, l| spoiled(Spoil::Digest, o, f, l), "digests are those"),
        ("row of another step", |o, f, l| spoiled(Spoil::RowCount, o, f, l), "rows are those"),
        ("one instruction set", |o, f, l| spoiled(Spoil::InstructionSet, o, f, l), "instruction set wide"),
    ];
    for (name, backend, claim) in planted {
        let result = verify_planted("counter", backend, "default", "contract");
        let failures = result.failures().join("\n");
        assert!(failures.contains(claim), "{name}: the contract tier misses its bug:\n{failures}");
    }
}
