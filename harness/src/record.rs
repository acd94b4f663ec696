//! A record as the judge reads it: the bytes of one step with the configuration that gives them names.

use crate::manifest::{Configuration, Dtype, Field, Value};
use lockstep_core::{Cut, Reader};

/// One draw of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// The place in `draws.sites`, or `u32::MAX`.
    pub site: u32,
    /// Below what.
    pub bound: u64,
    /// What came.
    pub value: u64,
}

/// One record, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Step, reset or inject (`HEAD_*`).
    pub kind: u32,
    /// The episode ended by the rules.
    pub terminated: bool,
    /// The episode ended by a limit.
    pub truncated: bool,
    /// Who decides next.
    pub deciders: u32,
    /// The draws, in order.
    pub draws: Vec<Draw>,
    /// Rows of the grain asked for: count and digest.
    pub rows: Option<(u32, u64)>,
    /// The canonical part; regions as digests or, in state form, in full.
    pub canonical: Vec<u8>,
    /// The masks of all agents.
    pub masks: Vec<u8>,
    /// The observations of all agents.
    pub observations: Vec<u8>,
    /// The rewards of all agents.
    pub rewards: Vec<u8>,
    /// Whether `canonical` is in state form.
    pub state_form: bool,
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// If it is not as long as the configuration says.
    pub fn parse(configuration: &Configuration, bytes: &[u8], state_form: bool, grain: bool) -> Result<Self, Cut> {
        let mut input = Reader::new(bytes);
        let head = input.u32()?;
        let count = input.u32()? as usize;
        if count > input.rest().len() / 20 {
            return Err(Cut);
        }
        let draws = (0..count)
            .map(|_| Ok(Draw { site: input.u32()?, bound: input.u64()?, value: input.u64()? }))
            .collect::<Result<_, Cut>>()?;
        let rows =
            if grain && head & 0xFF == lockstep_core::HEAD_STEP { Some((input.u32()?, input.u64()?)) } else { None };
        let canonical = if state_form { configuration.state_bytes() } else { configuration.canonical_bytes() };
        let record = Record {
            kind: head & 0xFF,
            terminated: head >> 8 & 1 == 1,
            truncated: head >> 9 & 1 == 1,
            deciders: head >> 16,
            draws,
            rows,
            canonical: input.take(canonical)?.to_vec(),
            masks: input.take(configuration.agents * configuration.mask_words() * 4)?.to_vec(),
            observations: input.take(configuration.agents * configuration.observation_bytes())?.to_vec(),
            rewards: input.take(configuration.agents * configuration.reward.bytes())?.to_vec(),
            state_form,
        };
        if input.rest().is_empty() { Ok(record) } else { Err(Cut) }
    }

    /// Whether the episode ended with it.
    pub fn ended(&self) -> bool {
        self.terminated || self.truncated
    }

    /// The record with the names of its configuration.
    pub fn view<'a>(&'a self, configuration: &'a Configuration) -> View<'a> {
        View { record: self, configuration }
    }
}

/// How long records are, to hold many of them to it without reading what they say.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// Bytes beside head, draws and rows.
    fixed: usize,
    grain: bool,
}

impl Measure {
    /// The measure of the records that [`Record::parse`] reads with the same arguments.
    pub fn new(configuration: &Configuration, state_form: bool, grain: bool) -> Self {
        let canonical = if state_form { configuration.state_bytes() } else { configuration.canonical_bytes() };
        let agent = configuration.mask_words() * 4 + configuration.observation_bytes() + configuration.reward.bytes();
        Measure { fixed: canonical + configuration.agents * agent, grain }
    }

    /// Whether a record is as long as its configuration and its count of draws say.
    ///
    /// # Errors
    /// Where [`Record::parse`] has one.
    #[inline]
    pub fn check(&self, bytes: &[u8]) -> Result<(), Cut> {
        let mut input = Reader::new(bytes);
        let (head, draws) = (input.u32()?, input.u32()? as u64);
        let rows = if self.grain && head & 0xFF == lockstep_core::HEAD_STEP { 12 } else { 0 };
        if draws * 20 + (self.fixed + rows) as u64 == input.rest().len() as u64 { Ok(()) } else { Err(Cut) }
    }
}

/// A record with names.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The record.
    pub record: &'a Record,
    /// What gives it names.
    pub configuration: &'a Configuration,
}

impl<'a> View<'a> {
    /// The canonical values with their labels.
    pub fn canonical_values(&self) -> impl Iterator<Item = (String, Value)> + 'a {
        let state_form = self.record.state_form;
        split(&self.configuration.canonical, &self.record.canonical, state_form).flat_map(values)
    }

    /// The observation of one agent, with labels.
    pub fn observation_values(&self, agent: usize) -> impl Iterator<Item = (String, Value)> + 'a {
        let size = self.configuration.observation_bytes();
        let bytes = &self.record.observations[agent * size..(agent + 1) * size];
        split(&self.configuration.observation, bytes, false).flat_map(values)
    }

    /// The reward of one agent.
    pub fn reward(&self, agent: usize) -> Value {
        let dtype = self.configuration.reward;
        dtype.read(&self.record.rewards[agent * dtype.bytes()..][..dtype.bytes()])
    }
}

/// Cuts the bytes of a record's part into its fields.
pub fn split<'a>(
    fields: &'a [Field],
    bytes: &'a [u8],
    state_form: bool,
) -> impl Iterator<Item = (&'a Field, &'a [u8])> {
    let mut rest = bytes;
    fields.iter().map(move |field| {
        let (head, tail) = rest.split_at(if state_form { field.state_bytes() } else { field.bytes() });
        rest = tail;
        (field, head)
    })
}

/// The values of one field with their labels. A region in state form has none.
pub fn values<'a>((field, bytes): (&'a Field, &'a [u8])) -> impl Iterator<Item = (String, Value)> + 'a {
    let width = field.dtype.bytes();
    let shown = field.dtype != Dtype::Region || bytes.len() == width;
    let bytes = if shown { bytes } else { &[] };
    bytes.chunks_exact(width).enumerate().map(move |(index, bytes)| (field.label(index), field.dtype.read(bytes)))
}
