//! One running environment, and all that a snapshot of it holds.

use crate::bytes::{Reader, Writer};
use crate::digest::Digest;
use crate::records::{DrawLog, HEAD_INJECT, HEAD_RESET, HEAD_STEP, Rows, TERMINATED, TRUNCATED};
use crate::rules::{Outcome, Refusal, Rules};
use crate::seat::{NoRows, Seat, Slices};
use crate::shape::{Resets, Shape};
use bytemuck::Zeroable;

/// What a lane's results follow, beside its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// The run's seed.
    pub seed: u64,
    /// By default the lane's number.
    pub stream: u64,
    /// Episodes ended since the start.
    pub episode: u32,
    /// Steps in this episode.
    pub elapsed: u32,
    /// The next draw of this episode.
    pub draw_index: u32,
}

/// Where a lane's draws come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    /// The counter generator.
    #[default]
    Seeded,
    /// A list; past its end it gives 0.
    Listed {
        /// The values.
        values: Vec<u32>,
        /// The next one.
        place: usize,
    },
}

/// One running environment.
#[derive(Clone)]
pub struct Lane<R: Rules> {
    /// What its results follow.
    pub header: Header,
    /// Where its draws come from.
    pub source: Source,
    /// The rules' state.
    pub state: R::State,
    pub(crate) regions: Slices,
    observation: Vec<u8>,
    rewards: Vec<R::Reward>,
    deciders: u32,
    masks: Vec<u32>,
    actions: Vec<u32>,
    pub(crate) chain: u64,
    pub(crate) log: Vec<u8>,
}

impl<R: Rules> Lane<R> {
    /// A lane before its first reset.
    pub fn new(shape: &Shape) -> Self {
        Lane {
            header: Header::default(),
            source: Source::Seeded,
            state: R::State::zeroed(),
            regions: Slices::new(shape),
            observation: vec![0; shape.agents * shape.observation_bytes],
            rewards: vec![R::Reward::default(); shape.agents],
            deciders: 0,
            masks: vec![0; shape.agents * shape.mask_words()],
            actions: vec![0; shape.tokens_per_step()],
            chain: 0,
            log: Vec::new(),
        }
    }

    /// The agents who decide next, one bit each.
    pub fn deciders(&self) -> u32 {
        self.deciders
    }

    /// The observations of all agents, as they were last written.
    pub fn observation(&self) -> &[u8] {
        &self.observation
    }

    /// The rewards of the last step.
    pub fn rewards(&self) -> &[R::Reward] {
        &self.rewards
    }

    /// The legal actions of all agents; empty without a mask.
    pub fn masks(&self) -> &[u32] {
        &self.masks
    }

    /// Starts the episode that the header names.
    pub fn reset(&mut self, world: &R::World, shape: &Shape) {
        self.log.clear();
        let mut log = std::mem::take(&mut self.log);
        self.seat().reset(world, shape, &mut DrawLog { bytes: &mut log, count: 0, named: true });
        self.log = log;
    }

    /// Plays the tokens of one step. At the end of an episode the header is already that of the next one, and the
    /// caller resets the lane where `shape.resets` says so.
    pub fn step(&mut self, world: &R::World, shape: &Shape, tokens: &[u32]) -> Outcome {
        self.log.clear();
        let mut log = std::mem::take(&mut self.log);
        let outcome = self.play(world, shape, tokens, &mut DrawLog { bytes: &mut log, count: 0, named: true }, None);
        self.log = log;
        outcome
    }

    #[inline]
    fn play(
        &mut self,
        world: &R::World,
        shape: &Shape,
        tokens: &[u32],
        log: &mut DrawLog<'_>,
        rows: Option<&mut Rows>,
    ) -> Outcome {
        let mut actions = std::mem::take(&mut self.actions);
        let mut seat = self.seat();
        let outcome = match rows {
            Some(rows) => seat.step(world, shape, tokens, &mut actions, log, Some(rows)),
            None => seat.step(world, shape, tokens, &mut actions, log, NoRows),
        };
        self.actions = actions;
        outcome
    }

    #[inline]
    fn seat(&mut self) -> Seat<'_, R> {
        Seat {
            header: &mut self.header,
            source: &mut self.source,
            state: &mut self.state,
            regions: &mut self.regions,
            deciders: &mut self.deciders,
            observation: &mut self.observation,
            rewards: &mut self.rewards,
            masks: &mut self.masks,
        }
    }

    /// Appends the record of a reset.
    pub(crate) fn record_reset(&mut self, world: &R::World, form: &Form<'_>, buffer: &mut Vec<u8>) {
        let head = begin(buffer);
        let mut log = DrawLog { bytes: buffer, count: 0, named: form.named };
        self.seat().reset(world, form.shape, &mut log);
        let count = log.count;
        self.finish_record(world, form, buffer, head, HEAD_RESET, count);
    }

    /// Appends the record of an injection that was made.
    pub(crate) fn record_inject(&mut self, world: &R::World, form: &Form<'_>, buffer: &mut Vec<u8>) {
        let head = begin(buffer);
        self.rewards.fill(R::Reward::default());
        self.seat().refresh(world, form.shape);
        self.finish_record(world, form, buffer, head, HEAD_INJECT, 0);
    }

    /// Plays one step and appends its record.
    #[inline]
    pub(crate) fn record_step(
        &mut self,
        world: &R::World,
        form: &Form<'_>,
        tokens: &[u32],
        mut rows: Option<&mut Rows>,
        buffer: &mut Vec<u8>,
    ) -> Outcome {
        let head = begin(buffer);
        let mut log = DrawLog { bytes: buffer, count: 0, named: form.named };
        let outcome = self.play(world, form.shape, tokens, &mut log, rows.as_deref_mut());
        let count = log.count;
        if let Some(rows) = rows {
            buffer.extend_from_slice(&((rows.bytes.len() / rows.row_bytes.max(1)) as u32).to_le_bytes());
            buffer.extend_from_slice(&form.digest.of(0, &rows.bytes).to_le_bytes());
        }
        let flags = if outcome.terminated { TERMINATED } else { 0 } | if outcome.truncated { TRUNCATED } else { 0 };
        self.finish_record(world, form, buffer, head, HEAD_STEP | flags, count);
        outcome
    }

    #[inline]
    fn finish_record(
        &self,
        world: &R::World,
        form: &Form<'_>,
        buffer: &mut Vec<u8>,
        head: usize,
        kind: u32,
        draw_count: u32,
    ) {
        let word = kind | self.deciders << 16;
        buffer[head..head + 4].copy_from_slice(&word.to_le_bytes());
        buffer[head + 4..head + 8].copy_from_slice(&draw_count.to_le_bytes());
        self.write_canonical(world, form.shape, if form.state { None } else { Some(form.digest) }, buffer);
        buffer.extend_from_slice(bytemuck::cast_slice(&self.masks));
        buffer.extend_from_slice(&self.observation);
        buffer.extend_from_slice(bytemuck::cast_slice(&self.rewards));
    }

    /// Appends the canonical part: regions as digests, or in full where there is no digest.
    #[inline]
    pub(crate) fn write_canonical(
        &self,
        world: &R::World,
        shape: &Shape,
        digest: Option<Digest>,
        buffer: &mut Vec<u8>,
    ) {
        append_canonical::<R>(world, shape, &self.state, &self.regions, digest, buffer);
    }

    /// Sets header, draws, state and observations from outside.
    ///
    /// # Errors
    /// If sizes are wrong or the rules refuse the state.
    pub fn inject(
        &mut self,
        world: &R::World,
        shape: &Shape,
        header: Header,
        source: Source,
        state: &[u8],
        observation: &[u8],
    ) -> Result<(), Refusal> {
        if state.len() != shape.state_bytes() {
            return Err(Refusal(format!("a state has {} bytes, not {}", shape.state_bytes(), state.len())));
        }
        if observation.len() != self.observation.len() {
            return Err(Refusal(format!(
                "the observations have {} bytes, not {}",
                self.observation.len(),
                observation.len()
            )));
        }
        let mut input = Reader::new(&state[..shape.canonical_bytes]);
        R::inject(world, &mut self.state, &mut input)?;
        if !input.rest().is_empty() {
            return Err(Refusal(format!("inject left {} bytes unread", input.rest().len())));
        }
        let mut rest = Reader::new(&state[shape.canonical_bytes..]);
        for (region, bytes) in shape.regions.iter().zip(&mut self.regions.0) {
            if region.canonical {
                bytes.copy_from_slice(rest.take(region.bytes)?);
            }
        }
        self.observation.copy_from_slice(observation);
        self.header = header;
        self.source = source;
        self.seat().refresh(world, shape);
        Ok(())
    }

    /// Appends all of the lane.
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        append_seat::<R>(&self.header, &self.source, &self.state, &self.regions, self.chain, out);
        out.extend_from_slice(&self.observation);
        out.extend_from_slice(bytemuck::cast_slice(&self.rewards));
    }

    /// Takes back what [`Lane::snapshot`] wrote.
    ///
    /// # Errors
    /// If the bytes are not a snapshot of this configuration.
    pub fn restore(&mut self, world: &R::World, shape: &Shape, bytes: &[u8]) -> Result<(), Refusal> {
        let mut input = Reader::new(bytes);
        let rest = self.observation.len() + size_of_val(&self.rewards[..]);
        (self.header, self.source, self.chain) = read_seat::<R>(&mut input, &mut self.state, &mut self.regions, rest)?;
        let size = self.observation.len();
        self.observation.copy_from_slice(input.take(size)?);
        bytemuck::cast_slice_mut(&mut self.rewards).copy_from_slice(input.rest());
        self.log.clear();
        self.seat().refresh(world, shape);
        Ok(())
    }

    /// Whether the driver has to reset after an episode.
    pub(crate) fn needs_reset(shape: &Shape, outcome: Outcome) -> bool {
        (outcome.terminated || outcome.truncated) && shape.resets == Resets::Harness
    }
}

/// What a record is written with.
#[derive(Clone, Copy)]
pub(crate) struct Form<'a> {
    pub shape: &'a Shape,
    pub digest: Digest,
    pub named: bool,
    pub state: bool,
}

/// Leaves room for head and draw count.
#[inline]
fn begin(buffer: &mut Vec<u8>) -> usize {
    let head = buffer.len();
    buffer.extend_from_slice(&[0; 8]);
    head
}

/// Appends the canonical part of a record: regions as digests, or in full where there is no digest.
#[inline]
pub(crate) fn append_canonical<R: Rules>(
    world: &R::World,
    shape: &Shape,
    state: &R::State,
    regions: &Slices,
    digest: Option<Digest>,
    buffer: &mut Vec<u8>,
) {
    let from = buffer.len();
    buffer.resize(from + shape.canonical_bytes, 0);
    let mut writer = Writer::new(&mut buffer[from..]);
    R::canonical(world, state, &mut writer);
    assert_eq!(writer.remaining(), 0, "canonical wrote less than canonical_bytes");
    for (region, bytes) in shape.regions.iter().zip(&regions.0).filter(|(region, _)| region.canonical) {
        debug_assert_eq!(region.bytes, bytes.len());
        match digest {
            Some(digest) => buffer.extend_from_slice(&digest.of(0, bytes).to_le_bytes()),
            None => buffer.extend_from_slice(bytes),
        }
    }
}

/// Appends header, draws, state and regions: the part of a snapshot that lane and batch share.
pub(crate) fn append_seat<R: Rules>(
    header: &Header,
    source: &Source,
    state: &R::State,
    regions: &Slices,
    chain: u64,
    out: &mut Vec<u8>,
) {
    for word in [header.seed, header.stream, chain] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    for word in [header.episode, header.elapsed, header.draw_index] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    match source {
        Source::Seeded => out.extend_from_slice(&[0; 12]),
        Source::Listed { values, place } => {
            for word in [1, *place as u32, values.len() as u32] {
                out.extend_from_slice(&word.to_le_bytes());
            }
            out.extend_from_slice(bytemuck::cast_slice(values));
        }
    }
    out.extend_from_slice(bytemuck::bytes_of(state));
    for region in &regions.0 {
        out.extend_from_slice(region);
    }
}

/// Takes back what [`append_seat`] wrote, behind which `rest` bytes have to stand; returns header, draws and chain.
/// Nothing is changed if the bytes are refused.
pub(crate) fn read_seat<R: Rules>(
    input: &mut Reader<'_>,
    state: &mut R::State,
    regions: &mut Slices,
    rest: usize,
) -> Result<(Header, Source, u64), Refusal> {
    let (seed, stream, chain) = (input.u64()?, input.u64()?, input.u64()?);
    let (episode, elapsed, draw_index) = (input.u32()?, input.u32()?, input.u32()?);
    let (listed, place, count) = (input.u32()?, input.u32()?, input.u32()?);
    let source = match listed {
        0 => Source::Seeded,
        1 => Source::Listed { values: input.u32s(count as usize)?, place: place as usize },
        other => return Err(Refusal(format!("a snapshot has draw source {other}"))),
    };
    let fixed = size_of::<R::State>() + regions.0.iter().map(Vec::len).sum::<usize>() + rest;
    if input.rest().len() != fixed {
        return Err(Refusal(format!("a snapshot has {} bytes of state, not {fixed}", input.rest().len())));
    }
    bytemuck::bytes_of_mut(state).copy_from_slice(input.take(size_of::<R::State>())?);
    for region in &mut regions.0 {
        let size = region.len();
        region.copy_from_slice(input.take(size)?);
    }
    Ok((Header { seed, stream, episode, elapsed, draw_index }, source, chain))
}
