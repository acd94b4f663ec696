//! What training drives: the lanes of any backend in step, behind one trait, so that the table of functions serves them
//! all alike.
//!
//! [`Batch`] is a driver over any rules. A backend that lays out its lanes in its own way implements the trait itself,
//! and is named to [`export_env!`](crate::export_env) with its opener.

use crate::batch::{Batch, BatchError, Buffers, ResetMode, refuse_finished, refuse_tokens};
use crate::bytes::Reader;
use crate::lane::{Header, Source, append_seat, read_seat};
use crate::options::{Files, Options};
use crate::rules::{Reward, Rules};
use crate::seat::Slices;
use crate::shape::Shape;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Where the results of one step of all lanes are written, as in [`Buffers`], with rewards as bytes.
pub struct Outputs<'a> {
    /// `lanes × agents × observation_bytes`.
    pub observations: &'a mut [u8],
    /// `lanes × agents` values of the reward's type, aligned for it.
    pub rewards: &'a mut [u8],
    /// `lanes`.
    pub terminated: &'a mut [u8],
    /// `lanes`.
    pub truncated: &'a mut [u8],
    /// `lanes × agents × mask_words`, empty without a mask.
    pub masks: &'a mut [u32],
    /// As `observations`: the last observation of an episode that ended in this step (mode `SameStep`), else untouched.
    pub final_observations: &'a mut [u8],
    /// `lanes`: the agents who decide next, one bit each; empty if nobody asks.
    pub deciders: &'a mut [u32],
}

impl Outputs<'_> {
    /// With rewards as numbers.
    ///
    /// # Errors
    /// If the rewards are not aligned for their type.
    pub fn buffers<W: Reward>(&mut self) -> Result<Buffers<'_, W>, BatchError> {
        let rewards = bytemuck::try_cast_slice_mut(self.rewards)
            .map_err(|_| BatchError(format!("the buffer of rewards is not one of aligned {}", W::DTYPE)))?;
        Ok(Buffers {
            observations: self.observations,
            rewards,
            terminated: self.terminated,
            truncated: self.truncated,
            masks: self.masks,
            final_observations: self.final_observations,
        })
    }

    /// Cuts it before lane `count`.
    fn split_at(self, count: usize, sizes: &PartSizes) -> (Self, Self)
    where
        Self: Sized,
    {
        let (observations, observations_rest) = self.observations.split_at_mut(count * sizes.observation);
        let (rewards, rewards_rest) = self.rewards.split_at_mut(count * sizes.reward);
        let (terminated, terminated_rest) = self.terminated.split_at_mut(count);
        let (truncated, truncated_rest) = self.truncated.split_at_mut(count);
        let (masks, masks_rest) = self.masks.split_at_mut(count * sizes.masks);
        let (finals, finals_rest) = self.final_observations.split_at_mut(count * sizes.observation);
        let deciders_count = if self.deciders.is_empty() { 0 } else { count };
        let (deciders, deciders_rest) = self.deciders.split_at_mut(deciders_count);
        (
            Outputs { observations, rewards, terminated, truncated, masks, final_observations: finals, deciders },
            Outputs {
                observations: observations_rest,
                rewards: rewards_rest,
                terminated: terminated_rest,
                truncated: truncated_rest,
                masks: masks_rest,
                final_observations: finals_rest,
                deciders: deciders_rest,
            },
        )
    }
}

/// Where lanes are to start.
#[derive(Debug, Clone, Copy)]
pub enum Starts<'a> {
    /// Each at the first episode of this seed and stream.
    At(&'a [(u64, u64)]),
    /// Each at the episode after the one that it is in.
    Next,
}

impl Starts<'_> {
    /// The header that a lane starts with, which is at `next` otherwise.
    pub fn header(&self, lane: usize, next: impl FnOnce() -> Header) -> Header {
        match self {
            Starts::At(starts) => {
                let (seed, stream) = starts[lane];
                Header { seed, stream, ..Header::default() }
            }
            Starts::Next => next(),
        }
    }
}

/// The lanes of one backend in step.
pub trait Driver: Send {
    /// The environment's name.
    fn environment(&self) -> &'static str;

    /// The reward's type, as the manifest names it.
    fn reward(&self) -> &'static str;

    /// The sizes of its configuration.
    fn shape(&self) -> &Shape;

    /// How many lanes it has.
    fn lane_count(&self) -> usize;

    /// Starts the lanes in `which` (all without it), with seeded draws; writes what they show, no reward and no flag.
    ///
    /// # Errors
    /// If a buffer has not the size of the shape.
    fn reset(&mut self, starts: Starts<'_>, which: Option<&[u8]>, out: &mut Outputs<'_>) -> Result<(), BatchError>;

    /// Plays one step of all lanes. `tokens` has `lanes × agents × width` words.
    ///
    /// # Errors
    /// If a token is not defined, a finished lane is stepped, or a buffer has not the size of the shape.
    fn step(&mut self, tokens: &[u32], out: &mut Outputs<'_>) -> Result<(), BatchError>;

    /// The first lane that has to be reset before the next step.
    fn finished(&self) -> Option<usize> {
        None
    }

    /// A copy of one lane, in the form that all backends of the environment share. `shown` is where the last step wrote.
    ///
    /// # Errors
    /// If a buffer has not the size of the shape.
    fn save(&self, lane: usize, shown: &Outputs<'_>) -> Result<Vec<u8>, BatchError>;

    /// Takes a saved lane back and writes what it shows.
    ///
    /// # Errors
    /// If the bytes are not of this environment and configuration, or this backend can't play the state.
    fn restore(&mut self, lane: usize, bytes: &[u8], out: &mut Outputs<'_>) -> Result<(), BatchError>;

    /// Sets one lane: at a canonical state with the observations of all agents, or at the start of the header's episode.
    ///
    /// # Errors
    /// If the backend refuses the state; the lane is then as it was.
    fn set(
        &mut self,
        lane: usize,
        header: Header,
        source: Source,
        state: Option<(&[u8], &[u8])>,
        out: &mut Outputs<'_>,
    ) -> Result<(), BatchError>;

    /// Appends the canonical state of one lane in the state form.
    fn state(&self, lane: usize, out: &mut Vec<u8>);
}

/// Opens a backend for training: options, files, lanes, mode.
pub type DriverOpener = fn(Options, &Files, usize, ResetMode) -> Result<Box<dyn Driver>, String>;

/// Opens the readable backend of some rules.
///
/// # Errors
/// Names the option, file or mode that is wrong.
pub fn open_rules<R: Rules>(
    options: Options,
    files: &Files,
    lanes: usize,
    mode: ResetMode,
) -> Result<Box<dyn Driver>, String> {
    let world = R::world(options, files).map_err(|error| error.0)?;
    let batch = Batch::<R>::new(world, lanes, mode).map_err(|error| error.0)?;
    Ok(Box::new(batch.on_one_thread()))
}

impl<R: Rules> Driver for Batch<R> {
    fn environment(&self) -> &'static str {
        R::NAME
    }

    fn reward(&self) -> &'static str {
        R::Reward::DTYPE
    }

    fn shape(&self) -> &Shape {
        Batch::shape(self)
    }

    fn lane_count(&self) -> usize {
        Batch::lane_count(self)
    }

    fn reset(&mut self, starts: Starts<'_>, which: Option<&[u8]>, out: &mut Outputs<'_>) -> Result<(), BatchError> {
        let headers: Vec<Option<Header>> = (0..Batch::lane_count(self))
            .map(|i| which.is_none_or(|which| which[i] != 0).then(|| starts.header(i, || self.next(i))))
            .collect();
        self.start(|i| headers[i], &mut out.buffers()?);
        self.write_deciders(out.deciders);
        Ok(())
    }

    fn step(&mut self, tokens: &[u32], out: &mut Outputs<'_>) -> Result<(), BatchError> {
        Batch::step(self, tokens, &mut out.buffers()?)?;
        self.write_deciders(out.deciders);
        Ok(())
    }

    fn finished(&self) -> Option<usize> {
        Batch::finished(self)
    }

    fn save(&self, lane: usize, _shown: &Outputs<'_>) -> Result<Vec<u8>, BatchError> {
        Ok(Batch::save(self, lane))
    }

    fn restore(&mut self, lane: usize, bytes: &[u8], out: &mut Outputs<'_>) -> Result<(), BatchError> {
        Batch::restore(self, lane, bytes)?;
        self.show_set(lane, out)
    }

    fn set(
        &mut self,
        lane: usize,
        header: Header,
        source: Source,
        state: Option<(&[u8], &[u8])>,
        out: &mut Outputs<'_>,
    ) -> Result<(), BatchError> {
        Batch::set(self, lane, header, source, state)?;
        self.show_set(lane, out)
    }

    fn state(&self, lane: usize, out: &mut Vec<u8>) {
        Batch::state(self, lane, out);
    }
}

impl<R: Rules> Batch<R> {
    fn write_deciders(&self, deciders: &mut [u32]) {
        deciders.iter_mut().enumerate().for_each(|(i, word)| *word = self.deciders(i));
    }

    fn show_set(&self, lane: usize, out: &mut Outputs<'_>) -> Result<(), BatchError> {
        self.show(lane, &mut out.buffers()?);
        if let Some(word) = out.deciders.get_mut(lane) {
            *word = self.deciders(lane);
        }
        Ok(())
    }
}

/// A saved lane of rules without regions: header, draws, state, observations.
pub type Saved<'a, S> = (Header, Source, S, &'a [u8]);

/// The bytes of a saved lane, as [`Batch::save`] writes it, for a backend with another layout.
pub fn write_save<R: Rules>(header: &Header, source: &Source, state: &R::State, observation: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    append_seat::<R>(header, source, state, &Slices(Vec::new()), 0, &mut out);
    out.extend_from_slice(observation);
    out
}

/// Reads what [`write_save`] wrote; the observations have `size` bytes.
///
/// # Errors
/// If the bytes are not of this environment and configuration.
pub fn read_save<R: Rules>(bytes: &[u8], size: usize) -> Result<Saved<'_, R::State>, BatchError> {
    let (_, bytes) = bytes.split_first().ok_or_else(|| BatchError("an empty save".into()))?;
    let mut input = Reader::new(bytes);
    let mut state = bytemuck::Zeroable::zeroed();
    let told = read_seat::<R>(&mut input, &mut state, &mut Slices(Vec::new()), size);
    let (header, source, _) = told.map_err(|refusal| BatchError(refusal.0))?;
    Ok((header, source, state, input.rest()))
}

/// Bytes and words of one lane in each array.
struct PartSizes {
    observation: usize,
    reward: usize,
    masks: usize,
}

/// Drivers of neighbouring lanes, stepped side by side on threads of their own. A lane's results follow its start
/// alone, so they are those of one driver.
pub struct Split {
    parts: Vec<Box<dyn Driver>>,
    pool: ThreadPool,
    /// The process that the pool's threads live in: after a fork they are gone.
    process: u32,
}

impl Split {
    /// `lanes` lanes over `threads` threads.
    ///
    /// # Errors
    /// As the opener, or if the system gives no threads.
    pub fn open(
        threads: usize,
        lanes: usize,
        mut open: impl FnMut(usize) -> Result<Box<dyn Driver>, String>,
    ) -> Result<Self, String> {
        let parts = (0..threads).map(|i| lanes * (i + 1) / threads - lanes * i / threads);
        let parts = parts.map(&mut open).collect::<Result<_, _>>()?;
        Ok(Split { parts, pool: Split::pool(threads)?, process: std::process::id() })
    }

    fn pool(threads: usize) -> Result<ThreadPool, String> {
        let named = |i| format!("lockstep-{i}");
        ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(named)
            .build()
            .map_err(|error| format!("{threads} threads could not be started: {error}"))
    }

    fn sizes(&self) -> PartSizes {
        let shape = self.parts[0].shape();
        let reward = if self.parts[0].reward() == f64::DTYPE { 8 } else { 4 };
        PartSizes {
            observation: shape.agents * shape.observation_bytes,
            reward: shape.agents * reward,
            masks: shape.agents * shape.mask_words(),
        }
    }

    /// Calls each part with its first lane and its results.
    fn each(
        &mut self,
        out: &mut Outputs<'_>,
        play: impl Fn(usize, &mut dyn Driver, &mut Outputs<'_>) -> Result<(), BatchError> + Sync,
    ) -> Result<(), BatchError> {
        if self.process != std::process::id() {
            let pool = Split::pool(self.parts.len()).map_err(BatchError)?;
            // Dropping it would wait for threads that this process does not have.
            std::mem::forget(std::mem::replace(&mut self.pool, pool));
            self.process = std::process::id();
        }
        let sizes = self.sizes();
        let mut rest = Outputs {
            observations: out.observations,
            rewards: out.rewards,
            terminated: out.terminated,
            truncated: out.truncated,
            masks: out.masks,
            final_observations: out.final_observations,
            deciders: out.deciders,
        };
        let mut tasks = Vec::with_capacity(self.parts.len());
        let mut first = 0;
        for part in &mut self.parts {
            let count = part.lane_count();
            let (head, tail) = rest.split_at(count, &sizes);
            tasks.push((first, part, head));
            (rest, first) = (tail, first + count);
        }
        self.pool.install(|| {
            tasks.into_par_iter().map(|(first, part, mut out)| play(first, part.as_mut(), &mut out)).collect()
        })
    }

    /// The part that has a lane, the lane's number in it, and its first lane.
    fn part(&self, lane: usize) -> (usize, usize, usize) {
        let mut first = 0;
        for (i, part) in self.parts.iter().enumerate() {
            if lane < first + part.lane_count() {
                return (i, lane - first, first);
            }
            first += part.lane_count();
        }
        panic!("lane {lane} of {first}");
    }

    fn within<'a>(&self, out: &'a mut Outputs<'_>, first: usize, count: usize) -> Outputs<'a> {
        let sizes = self.sizes();
        let all = Outputs {
            observations: out.observations,
            rewards: out.rewards,
            terminated: out.terminated,
            truncated: out.truncated,
            masks: out.masks,
            final_observations: out.final_observations,
            deciders: out.deciders,
        };
        all.split_at(first, &sizes).1.split_at(count, &sizes).0
    }
}

impl Driver for Split {
    fn environment(&self) -> &'static str {
        self.parts[0].environment()
    }

    fn reward(&self) -> &'static str {
        self.parts[0].reward()
    }

    fn shape(&self) -> &Shape {
        self.parts[0].shape()
    }

    fn lane_count(&self) -> usize {
        self.parts.iter().map(|part| part.lane_count()).sum()
    }

    fn reset(&mut self, starts: Starts<'_>, which: Option<&[u8]>, out: &mut Outputs<'_>) -> Result<(), BatchError> {
        self.each(out, |first, part, out| {
            let lanes = first..first + part.lane_count();
            let starts = match starts {
                Starts::At(starts) => Starts::At(&starts[lanes.clone()]),
                Starts::Next => Starts::Next,
            };
            part.reset(starts, which.map(|which| &which[lanes]), out)
        })
    }

    fn step(&mut self, tokens: &[u32], out: &mut Outputs<'_>) -> Result<(), BatchError> {
        let per_lane = self.shape().tokens_per_step();
        // What a part would refuse is found before any of them has stepped.
        refuse_tokens(self.shape().action, tokens)?;
        refuse_finished(self.finished())?;
        self.each(out, |first, part, out| {
            part.step(&tokens[first * per_lane..(first + part.lane_count()) * per_lane], out)
        })
    }

    fn finished(&self) -> Option<usize> {
        let mut first = 0;
        for part in &self.parts {
            if let Some(lane) = part.finished() {
                return Some(first + lane);
            }
            first += part.lane_count();
        }
        None
    }

    fn save(&self, lane: usize, shown: &Outputs<'_>) -> Result<Vec<u8>, BatchError> {
        let (part, lane, first) = self.part(lane);
        let (sizes, count) = (self.sizes(), self.parts[part].lane_count());
        let lanes = first..first + count;
        // A save only reads; copies of this part's results are what it is shown.
        let mut observations =
            shown.observations[lanes.start * sizes.observation..lanes.end * sizes.observation].to_vec();
        let shown = Outputs {
            observations: &mut observations,
            rewards: &mut [],
            terminated: &mut [],
            truncated: &mut [],
            masks: &mut [],
            final_observations: &mut [],
            deciders: &mut [],
        };
        self.parts[part].save(lane, &shown)
    }

    fn restore(&mut self, lane: usize, bytes: &[u8], out: &mut Outputs<'_>) -> Result<(), BatchError> {
        let (part, lane, first) = self.part(lane);
        let mut out = self.within(out, first, self.parts[part].lane_count());
        self.parts[part].restore(lane, bytes, &mut out)
    }

    fn set(
        &mut self,
        lane: usize,
        header: Header,
        source: Source,
        state: Option<(&[u8], &[u8])>,
        out: &mut Outputs<'_>,
    ) -> Result<(), BatchError> {
        let (part, lane, first) = self.part(lane);
        let mut out = self.within(out, first, self.parts[part].lane_count());
        self.parts[part].set(lane, header, source, state, &mut out)
    }

    fn state(&self, lane: usize, out: &mut Vec<u8>) {
        let (part, lane, _) = self.part(lane);
        self.parts[part].state(lane, out);
    }
}
