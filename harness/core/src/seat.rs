//! A lane by its parts, wherever they lie: the one place in which the rules are called to reset and to step.
//!
//! A [`Lane`](crate::Lane) owns all of its parts; the batch driver has them in arrays, so that a step of thousands of
//! lanes reads and writes memory in order. Logs of draws and rows are types, so that who wants none pays nothing.

use crate::bytes::Writer;
use crate::draws::{Draws, below, draw_word};
use crate::lane::{Header, Source};
use crate::records::{DrawLog, Rows};
use crate::rules::{Mask, Out, Outcome, Regions, Rules, Start};
use crate::shape::Shape;
use crate::token::decode_step;

/// The parts of one lane.
pub(crate) struct Seat<'a, R: Rules> {
    pub header: &'a mut Header,
    pub source: &'a mut Source,
    pub state: &'a mut R::State,
    pub regions: &'a mut Slices,
    /// The agents who decide next, one bit each.
    pub deciders: &'a mut u32,
    /// Those of all agents, as they were last written.
    pub observation: &'a mut [u8],
    pub rewards: &'a mut [R::Reward],
    /// The legal actions of all agents; empty without a mask.
    pub masks: &'a mut [u32],
}

impl<R: Rules> Seat<'_, R> {
    /// Starts the episode that the header names.
    #[inline]
    pub fn reset(&mut self, world: &R::World, shape: &Shape, log: &mut impl Log) {
        let start = Start { seed: self.header.seed, stream: self.header.stream, episode: self.header.episode };
        self.rewards.fill(R::Reward::default());
        R::reset(
            world,
            self.state,
            self.regions,
            start,
            &mut LaneDraws { header: self.header, source: self.source, log },
            &mut LaneOut::<R, _> {
                observation: self.observation,
                observation_bytes: shape.observation_bytes,
                rewards: self.rewards,
                rows: NoRows,
            },
        );
        self.refresh(world, shape);
    }

    /// Plays the tokens of one step. At the end of an episode the header is already that of the next one, and the
    /// caller resets the lane where `shape.resets` says so. `actions` has a word for each token.
    #[inline]
    pub fn step(
        &mut self,
        world: &R::World,
        shape: &Shape,
        tokens: &[u32],
        actions: &mut [u32],
        log: &mut impl Log,
        rows: impl RowSink,
    ) -> Outcome {
        decode_step(shape, *self.deciders, self.masks, tokens, actions);
        self.rewards.fill(R::Reward::default());
        let mut outcome = R::step(
            world,
            self.state,
            self.regions,
            actions,
            &mut LaneDraws { header: self.header, source: self.source, log },
            &mut LaneOut::<R, _> {
                observation: self.observation,
                observation_bytes: shape.observation_bytes,
                rewards: self.rewards,
                rows,
            },
        );
        let header = &mut *self.header;
        header.elapsed = header.elapsed.wrapping_add(1);
        outcome.truncated |= shape.episode_steps_max.is_some_and(|limit| header.elapsed >= limit);
        if outcome.terminated || outcome.truncated {
            header.episode = header.episode.wrapping_add(1);
            header.elapsed = 0;
            header.draw_index = 0;
        }
        self.refresh(world, shape);
        outcome
    }

    /// Derives deciders and masks from the state.
    #[inline]
    pub fn refresh(&mut self, world: &R::World, shape: &Shape) {
        *self.deciders = R::deciders(world, self.state);
        let words = shape.mask_words();
        if words > 0 {
            for agent in 0..shape.agents {
                let mut mask = Mask::new(&mut self.masks[agent * words..(agent + 1) * words]);
                if *self.deciders >> agent & 1 == 1 {
                    R::legal(world, self.state, self.regions, agent, &mut mask);
                }
            }
        }
    }
}

/// Where draws are noted.
pub(crate) trait Log {
    fn push(&mut self, site: u32, bound: u64, value: u64);
}

impl Log for DrawLog<'_> {
    fn push(&mut self, site: u32, bound: u64, value: u64) {
        DrawLog::push(self, site, bound, value);
    }
}

/// Nobody asks what was drawn.
pub(crate) struct NoLog;

impl Log for NoLog {
    #[inline]
    fn push(&mut self, _site: u32, _bound: u64, _value: u64) {}
}

/// Where rows go.
pub(crate) trait RowSink {
    fn wants(&self, grain: usize) -> bool;
    fn row(&mut self, grain: usize) -> Option<Writer<'_>>;
}

impl RowSink for Option<&mut Rows> {
    #[inline]
    fn wants(&self, grain: usize) -> bool {
        self.as_ref().is_some_and(|rows| rows.grain == grain)
    }

    #[inline]
    fn row(&mut self, grain: usize) -> Option<Writer<'_>> {
        let rows = self.as_deref_mut().filter(|rows| rows.grain == grain)?;
        let from = rows.bytes.len();
        rows.bytes.resize(from + rows.row_bytes, 0);
        Some(Writer::new(&mut rows.bytes[from..]))
    }
}

/// Nobody asks for rows.
pub(crate) struct NoRows;

impl RowSink for NoRows {
    #[inline]
    fn wants(&self, _grain: usize) -> bool {
        false
    }

    #[inline]
    fn row(&mut self, _grain: usize) -> Option<Writer<'_>> {
        None
    }
}

/// The regions of a lane, one after the other.
#[derive(Clone)]
pub(crate) struct Slices(pub Vec<Vec<u8>>);

impl Slices {
    /// All zero.
    pub fn new(shape: &Shape) -> Self {
        Slices(shape.regions.iter().map(|region| vec![0; region.bytes]).collect())
    }
}

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

struct LaneDraws<'a, L> {
    header: &'a mut Header,
    source: &'a mut Source,
    log: &'a mut L,
}

impl<L> LaneDraws<'_, L> {
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

impl<L: Log> Draws for LaneDraws<'_, L> {
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

struct LaneOut<'a, R: Rules, S> {
    observation: &'a mut [u8],
    observation_bytes: usize,
    rewards: &'a mut [R::Reward],
    rows: S,
}

impl<R: Rules, S: RowSink> Out<R::Reward> for LaneOut<'_, R, S> {
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
        self.rows.wants(grain)
    }

    #[inline]
    fn row(&mut self, grain: usize) -> Option<Writer<'_>> {
        self.rows.row(grain)
    }
}
