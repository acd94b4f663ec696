//! One running environment, and all that a snapshot of it holds.

use crate::bytes::{Reader, Writer};
use crate::digest::Digest;
use crate::draws::{Draws, below, draw_word};
use crate::records::{DrawLog, HEAD_INJECT, HEAD_RESET, HEAD_STEP, Rows, TERMINATED, TRUNCATED};
use crate::rules::{Mask, Out, Outcome, Refusal, Regions, Rules, Start};
use crate::shape::{Resets, Shape};
use crate::token::decode_step;
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
    regions: Slices,
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
            regions: Slices(shape.regions.iter().map(|region| vec![0; region.bytes]).collect()),
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
        self.reset_logged(world, shape, &mut DrawLog { bytes: &mut log, count: 0, named: true });
        self.log = log;
    }

    fn reset_logged(&mut self, world: &R::World, shape: &Shape, log: &mut DrawLog<'_>) {
        let start = Start { seed: self.header.seed, stream: self.header.stream, episode: self.header.episode };
        self.rewards.fill(R::Reward::default());
        R::reset(
            world,
            &mut self.state,
            &mut self.regions,
            start,
            &mut LaneDraws { header: &mut self.header, source: &mut self.source, log },
            &mut LaneOut::<R> {
                observation: &mut self.observation,
                observation_bytes: shape.observation_bytes,
                rewards: &mut self.rewards,
                rows: None,
            },
        );
        self.refresh(world, shape);
    }

    /// Plays the tokens of one step. At the end of an episode the header is already that of the next one, and the
    /// caller resets the lane where `shape.resets` says so.
    pub fn step(&mut self, world: &R::World, shape: &Shape, tokens: &[u32]) -> Outcome {
        self.log.clear();
        let mut log = std::mem::take(&mut self.log);
        let outcome =
            self.step_logged(world, shape, tokens, &mut DrawLog { bytes: &mut log, count: 0, named: true }, None);
        self.log = log;
        outcome
    }

    fn step_logged(
        &mut self,
        world: &R::World,
        shape: &Shape,
        tokens: &[u32],
        log: &mut DrawLog<'_>,
        rows: Option<&mut Rows>,
    ) -> Outcome {
        decode_step(shape, self.deciders, &self.masks, tokens, &mut self.actions);
        self.rewards.fill(R::Reward::default());
        let mut outcome = R::step(
            world,
            &mut self.state,
            &mut self.regions,
            &self.actions,
            &mut LaneDraws { header: &mut self.header, source: &mut self.source, log },
            &mut LaneOut::<R> {
                observation: &mut self.observation,
                observation_bytes: shape.observation_bytes,
                rewards: &mut self.rewards,
                rows,
            },
        );
        self.header.elapsed = self.header.elapsed.wrapping_add(1);
        outcome.truncated |= shape.episode_steps_max.is_some_and(|limit| self.header.elapsed >= limit);
        if outcome.terminated || outcome.truncated {
            self.header.episode = self.header.episode.wrapping_add(1);
            self.header.elapsed = 0;
            self.header.draw_index = 0;
        }
        self.refresh(world, shape);
        outcome
    }

    /// Derives deciders and masks from the state.
    fn refresh(&mut self, world: &R::World, shape: &Shape) {
        self.deciders = R::deciders(world, &self.state);
        let words = shape.mask_words();
        if words > 0 {
            for agent in 0..shape.agents {
                let mut mask = Mask::new(&mut self.masks[agent * words..(agent + 1) * words]);
                if self.deciders >> agent & 1 == 1 {
                    R::legal(world, &self.state, &self.regions, agent, &mut mask);
                }
            }
        }
    }

    /// Appends the record of a reset.
    pub(crate) fn record_reset(&mut self, world: &R::World, form: &Form<'_>, buffer: &mut Vec<u8>) {
        let head = begin(buffer);
        let mut log = DrawLog { bytes: buffer, count: 0, named: form.named };
        self.reset_logged(world, form.shape, &mut log);
        let count = log.count;
        self.finish_record(world, form, buffer, head, HEAD_RESET, count);
    }

    /// Appends the record of an injection that was made.
    pub(crate) fn record_inject(&mut self, world: &R::World, form: &Form<'_>, buffer: &mut Vec<u8>) {
        let head = begin(buffer);
        self.rewards.fill(R::Reward::default());
        self.refresh(world, form.shape);
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
        let outcome = self.step_logged(world, form.shape, tokens, &mut log, rows.as_deref_mut());
        let count = log.count;
        if let Some(rows) = rows {
            buffer.extend_from_slice(&((rows.bytes.len() / rows.row_bytes.max(1)) as u32).to_le_bytes());
            buffer.extend_from_slice(&form.digest.of(0, &rows.bytes).to_le_bytes());
        }
        let flags = if outcome.terminated { TERMINATED } else { 0 } | if outcome.truncated { TRUNCATED } else { 0 };
        self.finish_record(world, form, buffer, head, HEAD_STEP | flags, count);
        outcome
    }

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
    pub(crate) fn write_canonical(
        &self,
        world: &R::World,
        shape: &Shape,
        digest: Option<Digest>,
        buffer: &mut Vec<u8>,
    ) {
        let from = buffer.len();
        buffer.resize(from + shape.canonical_bytes, 0);
        let mut writer = Writer::new(&mut buffer[from..]);
        R::canonical(world, &self.state, &mut writer);
        assert_eq!(writer.remaining(), 0, "canonical wrote less than canonical_bytes");
        for (region, bytes) in shape.regions.iter().zip(&self.regions.0).filter(|(region, _)| region.canonical) {
            debug_assert_eq!(region.bytes, bytes.len());
            match digest {
                Some(digest) => buffer.extend_from_slice(&digest.of(0, bytes).to_le_bytes()),
                None => buffer.extend_from_slice(bytes),
            }
        }
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
        self.refresh(world, shape);
        Ok(())
    }

    /// Appends all of the lane.
    pub fn snapshot(&self, out: &mut Vec<u8>) {
        let header = &self.header;
        for word in [header.seed, header.stream, self.chain] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        for word in [header.episode, header.elapsed, header.draw_index] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        match &self.source {
            Source::Seeded => out.extend_from_slice(&[0; 12]),
            Source::Listed { values, place } => {
                for word in [1, *place as u32, values.len() as u32] {
                    out.extend_from_slice(&word.to_le_bytes());
                }
                out.extend_from_slice(bytemuck::cast_slice(values));
            }
        }
        out.extend_from_slice(bytemuck::bytes_of(&self.state));
        for region in &self.regions.0 {
            out.extend_from_slice(region);
        }
        out.extend_from_slice(&self.observation);
        out.extend_from_slice(bytemuck::cast_slice(&self.rewards));
    }

    /// Takes back what [`Lane::snapshot`] wrote.
    ///
    /// # Errors
    /// If the bytes are not a snapshot of this configuration.
    pub fn restore(&mut self, world: &R::World, shape: &Shape, bytes: &[u8]) -> Result<(), Refusal> {
        let mut input = Reader::new(bytes);
        let (seed, stream, chain) = (input.u64()?, input.u64()?, input.u64()?);
        let (episode, elapsed, draw_index) = (input.u32()?, input.u32()?, input.u32()?);
        let (listed, place, count) = (input.u32()?, input.u32()?, input.u32()?);
        let source = match listed {
            0 => Source::Seeded,
            1 => Source::Listed { values: input.u32s(count as usize)?, place: place as usize },
            other => return Err(Refusal(format!("a snapshot has draw source {other}"))),
        };
        let fixed: usize = size_of::<R::State>()
            + self.regions.0.iter().map(Vec::len).sum::<usize>()
            + self.observation.len()
            + size_of_val(&self.rewards[..]);
        if input.rest().len() != fixed {
            return Err(Refusal(format!("a snapshot has {} bytes of state, not {fixed}", input.rest().len())));
        }
        bytemuck::bytes_of_mut(&mut self.state).copy_from_slice(input.take(size_of::<R::State>())?);
        for region in &mut self.regions.0 {
            let size = region.len();
            region.copy_from_slice(input.take(size)?);
        }
        let size = self.observation.len();
        self.observation.copy_from_slice(input.take(size)?);
        bytemuck::cast_slice_mut(&mut self.rewards).copy_from_slice(input.rest());
        self.header = Header { seed, stream, episode, elapsed, draw_index };
        self.source = source;
        self.chain = chain;
        self.log.clear();
        self.refresh(world, shape);
        Ok(())
    }

    /// Writes into buffers of a batch what the last step or reset left: observations, rewards, masks.
    pub(crate) fn copy_out(&self, observation: &mut [u8], rewards: &mut [R::Reward], masks: &mut [u32]) {
        observation.copy_from_slice(&self.observation);
        rewards.copy_from_slice(&self.rewards);
        masks.copy_from_slice(&self.masks);
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
fn begin(buffer: &mut Vec<u8>) -> usize {
    let head = buffer.len();
    buffer.extend_from_slice(&[0; 8]);
    head
}

#[derive(Clone)]
struct Slices(Vec<Vec<u8>>);

impl Regions for Slices {
    #[inline]
    fn load8(&self, region: usize, offset: u32) -> u8 {
        self.0[region][offset as usize]
    }

    #[inline]
    fn store8(&mut self, region: usize, offset: u32, value: u8) {
        self.0[region][offset as usize] = value;
    }

    #[inline]
    fn load32(&self, region: usize, offset: u32) -> u32 {
        debug_assert_eq!(offset % 4, 0);
        let bytes = &self.0[region][offset as usize..][..4];
        u32::from_le_bytes(bytes.try_into().expect("four bytes"))
    }

    #[inline]
    fn store32(&mut self, region: usize, offset: u32, value: u32) {
        debug_assert_eq!(offset % 4, 0);
        self.0[region][offset as usize..][..4].copy_from_slice(&value.to_le_bytes());
    }

    fn clear(&mut self, region: usize) {
        self.0[region].fill(0);
    }
}

struct LaneDraws<'a, 'b> {
    header: &'a mut Header,
    source: &'a mut Source,
    log: &'a mut DrawLog<'b>,
}

impl LaneDraws<'_, '_> {
    #[inline]
    fn next(&mut self) -> (u32, bool) {
        match self.source {
            Source::Seeded => {
                let header = &mut *self.header;
                let word = draw_word(header.seed, header.stream, header.episode, header.draw_index);
                header.draw_index = header.draw_index.wrapping_add(1);
                (word, false)
            }
            Source::Listed { values, place } => {
                let value = values.get(*place).copied().unwrap_or(0);
                *place += 1;
                (value, true)
            }
        }
    }
}

impl Draws for LaneDraws<'_, '_> {
    #[inline]
    fn below(&mut self, bound: u32, site: u32) -> u32 {
        let (word, listed) = self.next();
        let value = if listed { word % bound } else { below(word, bound) };
        self.log.push(site, u64::from(bound), u64::from(value));
        value
    }

    #[inline]
    fn word(&mut self, site: u32) -> u32 {
        let (word, _) = self.next();
        self.log.push(site, 1 << 32, u64::from(word));
        word
    }

    #[inline]
    fn note(&mut self, bound: u64, value: u64, site: u32) {
        self.log.push(site, bound, value);
    }
}

struct LaneOut<'a, R: Rules> {
    observation: &'a mut [u8],
    observation_bytes: usize,
    rewards: &'a mut [R::Reward],
    rows: Option<&'a mut Rows>,
}

impl<R: Rules> Out<R::Reward> for LaneOut<'_, R> {
    #[inline]
    fn observation(&mut self, agent: usize) -> Option<Writer<'_>> {
        let from = agent * self.observation_bytes;
        Some(Writer::new(&mut self.observation[from..from + self.observation_bytes]))
    }

    #[inline]
    fn reward(&mut self, agent: usize, value: R::Reward) {
        self.rewards[agent] = value;
    }

    #[inline]
    fn wants(&self, grain: usize) -> bool {
        self.rows.as_ref().is_some_and(|rows| rows.grain == grain)
    }

    #[inline]
    fn row(&mut self, grain: usize) -> Option<Writer<'_>> {
        let rows = self.rows.as_deref_mut().filter(|rows| rows.grain == grain)?;
        let from = rows.bytes.len();
        rows.bytes.resize(from + rows.row_bytes, 0);
        Some(Writer::new(&mut rows.bytes[from..]))
    }
}
