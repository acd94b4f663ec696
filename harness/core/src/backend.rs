//! What the serving side needs of a backend: the verbs of the protocol as typed calls over its lanes.
//!
//! [`Scalar`](crate::Scalar) implements it for any [`Rules`](crate::Rules); backends that lay out their lanes in their
//! own way (SIMD, CUDA) implement it themselves and prove the layout through records, inject and snapshot.

use crate::digest::Digest;
use crate::lane::{Header, Source};
use crate::rules::Refusal;
use crate::shape::Shape;
use crate::wire::Mode;
use serde_json::Value;

/// What a request could not be answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The request itself is wrong.
    BadRequest(String),
    /// The request is well formed and this side can't do it.
    Refused(String),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Fault::Refused(refusal.0)
    }
}

impl From<crate::bytes::Cut> for Fault {
    fn from(cut: crate::bytes::Cut) -> Self {
        Fault::BadRequest(cut.to_string())
    }
}

/// Tokens to be played: `lane_count × step_count × agents × width`, all steps of a lane before those of the next.
#[derive(Debug, Clone, Copy)]
pub struct StepMany<'a> {
    /// How much of each step the reply carries.
    pub mode: Mode,
    /// The grain whose rows are wanted.
    pub grain: Option<usize>,
    /// Steps of a digest window.
    pub window: usize,
    /// The first lane.
    pub lane_first: usize,
    /// How many lanes.
    pub lane_count: usize,
    /// How many steps of each lane.
    pub step_count: usize,
    /// The tokens.
    pub tokens: &'a [u32],
}

/// What digests and draw logs look like, as `hello` settled it.
#[derive(Debug, Clone, Copy)]
pub struct Settled {
    /// The digest algorithm.
    pub digest: Digest,
    /// Whether draws are logged with their sites.
    pub named: bool,
}

/// The verbs over lanes. Replies are appended in the form of `docs/protocol.md`.
pub trait Backend: Send {
    /// The sizes of its configuration.
    fn shape(&self) -> &Shape;

    /// How many lanes it has.
    fn lane_count(&self) -> usize;

    /// Starts the episode that `header` names in one lane.
    ///
    /// # Errors
    /// If the lane can't be started like this.
    fn reset(
        &mut self,
        settled: Settled,
        mode: Mode,
        lane: usize,
        header: Header,
        source: Source,
        reply: &mut Vec<u8>,
    ) -> Result<(), Fault>;

    /// Plays tokens.
    ///
    /// # Errors
    /// If a token is not defined (a NaN).
    fn step_many(&mut self, settled: Settled, request: StepMany<'_>, reply: &mut Vec<u8>) -> Result<(), Fault>;

    /// Appends a snapshot of one lane.
    fn snapshot(&self, lane: usize, out: &mut Vec<u8>);

    /// Takes a snapshot back.
    ///
    /// # Errors
    /// If the bytes are not a snapshot of this configuration.
    fn restore(&mut self, lane: usize, bytes: &[u8]) -> Result<(), Fault>;

    /// Sets one lane from a state form and observations.
    ///
    /// # Errors
    /// If the state can't be reproduced exactly.
    #[expect(clippy::too_many_arguments, reason = "they are the parts of the request")]
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
    ) -> Result<(), Fault>;

    /// The draws of the lane's last request, in the form of the draw log.
    fn draws(&self, lane: usize) -> &[u8];

    /// Appends to the lane's list of draws; a seeded lane becomes listed.
    fn append_draws(&mut self, lane: usize, values: &[u32]);

    /// Whether it keeps the rows of grains. A batch backend may leave them to the readable one.
    fn has_grains(&self) -> bool {
        true
    }

    /// The names of the functions that can be probed.
    fn probes(&self) -> &'static [&'static str] {
        &[]
    }

    /// Calls one pure function.
    ///
    /// # Errors
    /// If there is no such function or its input is outside its domain.
    fn probe(&self, function: &str, _input: &Value) -> Result<Value, Fault> {
        Err(Fault::Refused(format!("no function {function} can be probed")))
    }
}
