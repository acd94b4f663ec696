//! The batch driver that training uses: many lanes in step, results written in place, finished lanes reset.
//!
//! The reset modes are Gymnasium's, and `reference`, which is what the reference itself does and what is verified; a
//! test proves the others once against manual resets.

use crate::backend::Fault;
use crate::lane::{Header, Lane, Source};
use crate::rules::Rules;
use crate::scalar::refuse_undefined;
use crate::shape::{Resets, Shape};
use rayon::prelude::*;

/// What happens to a lane whose episode has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetMode {
    /// The next step ignores its action, resets the lane and gives the first observation, with reward 0.
    NextStep,
    /// The same step resets; its observation is the new episode's first, the last one is in `final_observations`.
    SameStep,
    /// Nothing: the caller resets; stepping a finished lane is refused.
    Disabled,
    /// What the reference does in its own step; only where it resets itself.
    Reference,
}

/// Where the results of one step of all lanes are written; all are lane-major.
pub struct Buffers<'a, W> {
    /// `lanes × agents × observation_bytes`.
    pub observations: &'a mut [u8],
    /// `lanes × agents`.
    pub rewards: &'a mut [W],
    /// `lanes`.
    pub terminated: &'a mut [u8],
    /// `lanes`.
    pub truncated: &'a mut [u8],
    /// `lanes × agents × mask_words`, empty without a mask.
    pub masks: &'a mut [u32],
    /// As `observations`: the last observation of an episode that ended in this step (mode `SameStep`), else untouched.
    pub final_observations: &'a mut [u8],
}

/// Why a batch could not step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchError(pub String);

impl std::fmt::Display for BatchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BatchError {}

/// Lanes of one world in step.
pub struct Batch<R: Rules> {
    world: R::World,
    shape: Shape,
    mode: ResetMode,
    lanes: Vec<Lane<R>>,
    finished: Vec<bool>,
}

impl<R: Rules> Batch<R> {
    /// `lane_count` lanes; lane i draws from stream i of `seed`. They start with [`Batch::reset`].
    ///
    /// # Errors
    /// If the mode does not fit an environment that resets itself, or the other way round.
    pub fn new(world: R::World, lane_count: usize, mode: ResetMode) -> Result<Self, BatchError> {
        let shape = R::shape(&world);
        match (mode, shape.resets) {
            (ResetMode::Reference, Resets::Harness) => {
                let name = R::NAME;
                return Err(BatchError(format!("{name} does not reset itself: use NextStep, SameStep or Disabled")));
            }
            (ResetMode::Reference, Resets::Reference) | (_, Resets::Harness) => {}
            (_, Resets::Reference) => return Err(BatchError(format!("{} resets itself: use Reference", R::NAME))),
        }
        let lanes = (0..lane_count).map(|_| Lane::new(&shape)).collect();
        Ok(Batch { world, shape, mode, lanes, finished: vec![true; lane_count] })
    }

    /// The sizes of the configuration.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// One lane, to look at.
    pub fn lane(&self, lane: usize) -> &Lane<R> {
        &self.lanes[lane]
    }

    /// How many lanes.
    pub fn lane_count(&self) -> usize {
        self.lanes.len()
    }

    /// Starts all lanes (or those in `which`) at their first episode; writes their observations and masks, and clears
    /// their rewards and flags. What belongs to the other lanes is not touched.
    pub fn reset(&mut self, seed: u64, which: Option<&[bool]>, out: &mut Buffers<'_, R::Reward>) {
        let (world, shape) = (&self.world, &self.shape);
        let places = places(shape, out);
        self.lanes.par_iter_mut().zip(&mut self.finished).zip(places).enumerate().for_each(
            |(i, ((lane, finished), place))| {
                if which.is_none_or(|which| which[i]) {
                    lane.header = Header { seed, stream: i as u64, ..Header::default() };
                    lane.source = Source::Seeded;
                    lane.reset(world, shape);
                    *finished = false;
                    (*place.terminated, *place.truncated) = (0, 0);
                    lane.copy_out(place.observations, place.rewards, place.masks);
                }
            },
        );
    }

    /// Plays one step of all lanes. `tokens` has `lanes × agents × width` words.
    ///
    /// # Errors
    /// If the number of tokens is wrong, one is not defined, or a finished lane is stepped in mode `Disabled`.
    pub fn step(&mut self, tokens: &[u32], out: &mut Buffers<'_, R::Reward>) -> Result<(), BatchError> {
        let per_lane = self.shape.tokens_per_step();
        if tokens.len() != per_lane * self.lanes.len() {
            let expected = per_lane * self.lanes.len();
            return Err(BatchError(format!("{} action tokens for {expected}", tokens.len())));
        }
        refuse_undefined(self.shape.action, tokens).map_err(|fault| match fault {
            Fault::BadRequest(error) | Fault::Refused(error) => BatchError(error),
        })?;
        if self.mode == ResetMode::Disabled
            && let Some(lane) = self.finished.iter().position(|finished| *finished)
        {
            return Err(BatchError(format!("lane {lane} has finished its episode: reset it first")));
        }
        let (world, shape, mode) = (&self.world, &self.shape, self.mode);
        let place = places(shape, out);
        self.lanes.par_iter_mut().zip(&mut self.finished).zip(tokens.par_chunks(per_lane)).zip(place).for_each(
            |(((lane, finished), tokens), place)| {
                if *finished && mode == ResetMode::NextStep {
                    lane.reset(world, shape);
                    *finished = false;
                    (*place.terminated, *place.truncated) = (0, 0);
                } else {
                    let outcome = lane.step(world, shape, tokens);
                    (*place.terminated, *place.truncated) = (outcome.terminated.into(), outcome.truncated.into());
                    *finished = outcome.terminated || outcome.truncated;
                    place.rewards.copy_from_slice(lane.rewards());
                    if *finished && mode == ResetMode::SameStep {
                        place.final_observations.copy_from_slice(lane.observation());
                        lane.reset(world, shape);
                        place.observations.copy_from_slice(lane.observation());
                        place.masks.copy_from_slice(lane.masks());
                        *finished = false;
                        return;
                    }
                    if mode == ResetMode::Reference {
                        *finished = false;
                    }
                }
                lane.copy_out(place.observations, place.rewards, place.masks);
            },
        );
        Ok(())
    }

    /// A copy of one lane, to save.
    pub fn save(&self, lane: usize) -> Vec<u8> {
        let mut out = vec![u8::from(self.finished[lane])];
        self.lanes[lane].snapshot(&mut out);
        out
    }

    /// Takes a saved lane back.
    ///
    /// # Errors
    /// If the bytes are not of this environment and configuration.
    pub fn restore(&mut self, lane: usize, bytes: &[u8]) -> Result<(), BatchError> {
        let (finished, bytes) = bytes.split_first().ok_or_else(|| BatchError("an empty save".into()))?;
        self.lanes[lane].restore(&self.world, &self.shape, bytes).map_err(|refusal| BatchError(refusal.0))?;
        self.finished[lane] = *finished != 0;
        Ok(())
    }
}

/// The part of [`Buffers`] that belongs to one lane.
struct Place<'a, W> {
    observations: &'a mut [u8],
    rewards: &'a mut [W],
    terminated: &'a mut u8,
    truncated: &'a mut u8,
    masks: &'a mut [u32],
    final_observations: &'a mut [u8],
}

/// Cuts the buffers into one place per lane.
fn places<'b, W: Send>(
    shape: &Shape,
    out: &'b mut Buffers<'_, W>,
) -> impl IndexedParallelIterator<Item = Place<'b, W>> {
    let lanes = out.terminated.len();
    let observation = shape.agents * shape.observation_bytes;
    let masks = shape.agents * shape.mask_words();
    split(out.observations, observation, lanes)
        .zip(split(out.rewards, shape.agents, lanes))
        .zip(out.terminated.par_iter_mut().zip(out.truncated.par_iter_mut()))
        .zip(split(out.masks, masks, lanes))
        .zip(split(out.final_observations, observation, lanes))
        .map(|((((observations, rewards), (terminated, truncated)), masks), final_observations)| Place {
            observations,
            rewards,
            terminated,
            truncated,
            masks,
            final_observations,
        })
}

/// `lanes` chunks of `size`, of which `size` may be 0.
fn split<T: Send>(slice: &mut [T], size: usize, lanes: usize) -> impl IndexedParallelIterator<Item = &mut [T]> {
    assert_eq!(slice.len(), size * lanes, "a buffer has not the size of the shape");
    let mut rest = slice;
    let mut chunks = Vec::with_capacity(lanes);
    for _ in 0..lanes {
        let (chunk, tail) = rest.split_at_mut(size);
        chunks.push(chunk);
        rest = tail;
    }
    chunks.into_par_iter()
}
