//! What builds requests and takes replies apart, by `docs/protocol.md` alone.

use crate::common::{ACTION_COUNT, ACTION_EXTRA, Toy, Words, world};
use lockstep_core::wire::{GRAIN_NONE, Verb};
use lockstep_core::{ActionKind, Fault, Opened, Rules, Server, Shape};
use serde_json::{Value, json};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

pub const LANES: u32 = 5;
pub const SEED: u64 = 0x0123_4567_89ab_cdef;
pub const DIGEST: u32 = 0;
pub const FULL: u32 = 1;
pub const STATE: u32 = 2;
pub const SEEDED: u32 = 0;
pub const LISTED: u32 = 1;
pub const ADVANCED: usize = 23;

/// The system's allocator, which remembers the largest size that each thread has asked for.
pub struct Measured;

thread_local! {
    pub static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is passed on as it came.
unsafe impl GlobalAlloc for Measured {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _at_the_end_of_a_thread = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Measured = Measured;

/// A request's body, word by word.
#[derive(Clone, Default)]
pub struct Body(pub Vec<u8>);

impl Body {
    pub fn of(words: &[u32]) -> Self {
        Body::default().u32s(words)
    }

    pub fn u32s(mut self, words: &[u32]) -> Self {
        words.iter().for_each(|word| self.0.extend_from_slice(&word.to_le_bytes()));
        self
    }

    pub fn u64s(mut self, words: &[u64]) -> Self {
        words.iter().for_each(|word| self.0.extend_from_slice(&word.to_le_bytes()));
        self
    }

    pub fn sized(mut self, bytes: &[u8]) -> Self {
        self = self.u32s(&[bytes.len() as u32]);
        self.0.extend_from_slice(bytes);
        self
    }

    /// Per lane of `reset`; a list makes the lane a listed one.
    pub fn lane_start(self, lane: u32, episode: u32, list: Option<&[u32]>) -> Self {
        let (source, list) = list.map_or((SEEDED, &[][..]), |list| (LISTED, list));
        self.u32s(&[lane, episode]).u64s(&[SEED, u64::from(lane)]).u32s(&[source, list.len() as u32]).u32s(list)
    }
}

/// A position in a reply.
pub struct Parts<'a>(pub &'a [u8]);

impl<'a> Parts<'a> {
    pub fn take(&mut self, size: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(size);
        self.0 = tail;
        head
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().expect("four bytes"))
    }

    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().expect("eight bytes"))
    }

    pub fn sized(&mut self) -> &'a [u8] {
        let size = self.u32() as usize;
        self.take(size)
    }
}

/// A draw in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    pub site: u32,
    pub bound: u64,
    pub value: u64,
}

pub fn draws_of(parts: &mut Parts<'_>) -> Vec<Draw> {
    (0..parts.u32()).map(|_| Draw { site: parts.u32(), bound: parts.u64(), value: parts.u64() }).collect()
}

/// A record, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub kind: u32,
    pub terminated: bool,
    pub truncated: bool,
    pub deciders: u32,
    pub draws: Vec<Draw>,
    pub rows: Option<(u32, u64)>,
    pub canonical: Vec<u8>,
    pub masks: Vec<u8>,
    pub observations: Vec<u8>,
    pub rewards: Vec<u8>,
}

pub const STEP: u32 = 0;
pub const RESET: u32 = 1;
pub const INJECT: u32 = 2;

impl Record {
    pub fn ended(&self) -> bool {
        self.terminated || self.truncated
    }
}

/// A server after `hello`, and the sizes by which its records are taken apart.
pub struct Side {
    pub server: Server,
    pub shape: Shape,
}

/// The `hello` of the toy with these options.
pub fn hello(options: &Value) -> Value {
    let shape = Toy::shape(&world::<Toy>(options));
    let action = match shape.action {
        ActionKind::Continuous => json!({"kind": "continuous", "low": -1.0, "high": 1.0}),
        ActionKind::Discrete { .. } => {
            json!({"kind": "discrete", "count": ACTION_COUNT, "extra": ACTION_EXTRA, "mask": true})
        }
    };
    json!({
        "protocol": "lockstep/1",
        "environment": "toy",
        "configuration": {"name": "default", "hash": "5e".repeat(32), "options": options},
        "settings": {},
        "files": {},
        "lanes": LANES,
        "agents": shape.agents,
        "width": shape.width,
        "action": action,
        "draws": {"level": "served", "sites": ["value", "word", "note"], "named": true},
        "reward": "f64",
        "resets": if options["resets_itself"] == true { "reference" } else { "harness" },
        "episode_steps_max": shape.episode_steps_max,
        "digests": ["xxh64", "blake2b"],
    })
}

pub fn new_server() -> Server {
    Server::new("rust", Opened::scalar::<Toy>)
}

impl Side {
    pub fn new(options: &Value) -> Self {
        Side::greeted(options, &hello(options))
    }

    pub fn greeted(options: &Value, hello: &Value) -> Self {
        let mut side = Side { server: new_server(), shape: Toy::shape(&world::<Toy>(options)) };
        side.ok(Verb::Hello, hello.to_string().as_bytes());
        side
    }

    /// All lanes reset to episode 0.
    pub fn started(options: &Value) -> Self {
        let mut side = Side::new(options);
        side.reset_all();
        side
    }

    pub fn ask(&mut self, verb: Verb, body: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut reply = Vec::new();
        self.server.answer(verb, body, &mut reply).map(|()| reply)
    }

    pub fn ok(&mut self, verb: Verb, body: &[u8]) -> Vec<u8> {
        self.ask(verb, body).unwrap_or_else(|fault| panic!("{} was answered with {fault:?}", verb.name()))
    }

    pub fn done(&mut self, verb: Verb, body: &[u8]) {
        assert!(self.ok(verb, body).is_empty(), "{} has nothing to tell", verb.name());
    }

    pub fn bad(&mut self, verb: Verb, body: &[u8]) -> String {
        match self.ask(verb, body) {
            Err(Fault::BadRequest(error)) => error,
            other => panic!("{} was answered with {other:?}", verb.name()),
        }
    }

    pub fn refused(&mut self, verb: Verb, body: &[u8]) -> String {
        match self.ask(verb, body) {
            Err(Fault::Refused(error)) => error,
            other => panic!("{} was answered with {other:?}", verb.name()),
        }
    }

    pub fn reset_all(&mut self) -> Vec<u8> {
        self.ok(
            Verb::Reset,
            &(0..LANES).fold(Body::of(&[DIGEST, LANES]), |body, lane| body.lane_start(lane, 0, None)).0,
        )
    }

    /// Resets lane 0 to episode 0 with a list of draws, or seeded.
    pub fn reset_first(&mut self, list: Option<&[u32]>) -> Record {
        let reply = self.ok(Verb::Reset, &Body::of(&[FULL, 1]).lane_start(0, 0, list).0);
        self.record(Parts(&reply).sized(), false, false)
    }

    pub fn steps(&self, steps: Steps<'_>) -> Vec<u8> {
        let Steps { mode, grain, window, lane_first, lane_count, tokens } = steps;
        let per_step = lane_count as usize * self.shape.tokens_per_step();
        let step_count = tokens.len().checked_div(per_step).unwrap_or(0) as u32;
        Body::of(&[mode, grain, window, lane_first, lane_count, step_count]).u32s(tokens).0
    }

    pub fn step_many(&mut self, steps: Steps<'_>) -> Vec<u8> {
        let body = self.steps(steps);
        self.ok(Verb::StepMany, &body)
    }

    /// `step_many` of lane 0 in mode full.
    pub fn records(&mut self, tokens: &[u32]) -> Vec<Record> {
        let reply = self.step_many(Steps { mode: FULL, window: 64, lane_count: 1, tokens, ..Steps::default() });
        let mut parts = Parts(&reply);
        let lane = self.lane_reply(&mut parts, false, false);
        assert!(parts.0.is_empty());
        lane.records.into_iter().map(|(_, record, _)| record).collect()
    }

    /// One lane's part of a reply of mode full or state.
    pub fn lane_reply(&self, parts: &mut Parts<'_>, rows: bool, state: bool) -> LaneReply {
        let (ended, count) = (parts.u32(), parts.u32());
        let mut records = Vec::new();
        for _ in 0..count {
            let bytes = parts.sized().to_vec();
            let record = self.record(&bytes, rows, state);
            let rows = if rows { parts.sized().to_vec() } else { vec![] };
            records.push((bytes, record, rows));
        }
        LaneReply { ended, records }
    }

    pub fn record(&self, bytes: &[u8], rows: bool, state: bool) -> Record {
        let shape = &self.shape;
        let mut parts = Parts(bytes);
        let head = parts.u32();
        assert_eq!(head & 0xFC00, 0, "bits that have no meaning");
        let draws = draws_of(&mut parts);
        let canonical_bytes = if state { shape.state_bytes() } else { shape.record_canonical_bytes() };
        let record = Record {
            kind: head & 0xFF,
            terminated: head >> 8 & 1 == 1,
            truncated: head >> 9 & 1 == 1,
            deciders: head >> 16,
            draws,
            rows: (rows && head & 0xFF == STEP).then(|| (parts.u32(), parts.u64())),
            canonical: parts.take(canonical_bytes).to_vec(),
            masks: parts.take(shape.agents * shape.mask_words() * 4).to_vec(),
            observations: parts.take(shape.agents * shape.observation_bytes).to_vec(),
            rewards: parts.take(shape.agents * size_of::<f64>()).to_vec(),
        };
        assert!(parts.0.is_empty(), "{} bytes follow the record", parts.0.len());
        record
    }

    pub fn draw_log(&mut self, lane: u32) -> Vec<Draw> {
        let reply = self.ok(Verb::Draws, &Body::of(&[lane, 0]).0);
        let mut parts = Parts(&reply);
        let draws = draws_of(&mut parts);
        assert!(parts.0.is_empty());
        draws
    }

    pub fn snapshot(&mut self, lane: u32) -> Vec<u8> {
        let reply = self.ok(Verb::Snapshot, &Body::of(&[1, lane]).0);
        let mut parts = Parts(&reply);
        let bytes = parts.sized().to_vec();
        assert!(parts.0.is_empty());
        bytes
    }

    pub fn tokens(&self, words: &mut Words, lanes: usize, step_count: usize) -> Vec<u32> {
        words.tokens(self.shape.action, lanes * step_count * self.shape.tokens_per_step())
    }
}

#[derive(Clone, Copy)]
pub struct Steps<'a> {
    pub mode: u32,
    pub grain: u32,
    pub window: u32,
    pub lane_first: u32,
    pub lane_count: u32,
    pub tokens: &'a [u32],
}

impl Default for Steps<'_> {
    fn default() -> Self {
        Steps { mode: DIGEST, grain: GRAIN_NONE, window: 64, lane_first: 0, lane_count: LANES, tokens: &[] }
    }
}

pub struct LaneReply {
    pub ended: u32,
    pub records: Vec<(Vec<u8>, Record, Vec<u8>)>,
}
