//! The batch driver that training uses: many lanes in step, results written in place, finished lanes reset.
//!
//! The reset modes are Gymnasium's, and `reference`, which is what the reference itself does and what is verified; a
//! test proves the others once against manual resets.
//!
//! What one step needs of all lanes lies in arrays, in the order of the lanes. The rules write observations and masks
//! into arrays of the batch, because what they don't write stays as it was, whatever the caller does with his buffers;
//! each lane's are copied out while they are in the cache. Everything else is written to the caller's buffers directly.

use crate::backend::Fault;
use crate::bytes::Reader;
use crate::lane::{Header, Lane, Source, append_canonical, append_seat, read_seat};
use crate::rules::Rules;
use crate::scalar::refuse_undefined;
use crate::seat::{NoLog, NoRows, Seat, Slices};
use crate::shape::{ActionKind, Resets, Shape};
use bytemuck::Zeroable;

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

/// What a batch keeps of one lane, beside its observations and masks.
pub struct BatchLane<R: Rules> {
    /// What its results follow.
    pub header: Header,
    /// Where its draws come from.
    pub source: Source,
    /// The rules' state.
    pub state: R::State,
    regions: Slices,
    deciders: u32,
    finished: bool,
}

/// Lanes of one world in step.
pub struct Batch<R: Rules> {
    world: R::World,
    shape: Shape,
    mode: ResetMode,
    lanes: Vec<BatchLane<R>>,
    observations: Vec<u8>,
    masks: Vec<u32>,
    spread: bool,
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
        let lane = |_| BatchLane {
            header: Header::default(),
            source: Source::Seeded,
            state: R::State::zeroed(),
            regions: Slices::new(&shape),
            deciders: 0,
            finished: true,
        };
        let lanes = (0..lane_count).map(lane).collect();
        let sizes = Sizes::of(&shape);
        let (observations, masks) = (vec![0; lane_count * sizes.observation], vec![0; lane_count * sizes.mask]);
        Ok(Batch { world, shape, mode, lanes, observations, masks, spread: true })
    }

    /// The same, stepped by the calling thread alone: no pool of threads is asked for, so that a call costs nothing
    /// more, and works in a process that was forked.
    pub fn on_one_thread(mut self) -> Self {
        self.spread = false;
        self
    }

    /// The sizes of the configuration.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// One lane, to look at.
    pub fn lane(&self, lane: usize) -> &BatchLane<R> {
        &self.lanes[lane]
    }

    /// How many lanes.
    pub fn lane_count(&self) -> usize {
        self.lanes.len()
    }

    /// Starts all lanes (or those in `which`) at their first episode; writes their observations and masks, and clears
    /// their rewards and flags. What belongs to the other lanes is not touched.
    pub fn reset(&mut self, seed: u64, which: Option<&[bool]>, out: &mut Buffers<'_, R::Reward>) {
        let first = |i: usize| Header { seed, stream: i as u64, ..Header::default() };
        self.start(|i| which.is_none_or(|which| which[i]).then(|| first(i)), out);
    }

    /// Starts the episodes that `headers` names, with seeded draws, as [`Batch::reset`]; where it names none the lane
    /// is not touched.
    pub fn start(&mut self, headers: impl Fn(usize) -> Option<Header> + Sync, out: &mut Buffers<'_, R::Reward>) {
        let (world, shape) = (&self.world, &self.shape);
        let lanes = Part::of(&mut self.lanes, &mut self.observations, &mut self.masks, &[], shape, out);
        lanes.each(self.spread, &|i, mut one, _| {
            if let Some(header) = headers(i) {
                one.lane.header = header;
                one.lane.source = Source::Seeded;
                one.reset(world, shape);
                (*one.terminated, *one.truncated) = (0, 0);
                one.show();
            }
        });
    }

    /// The header of the episode after the one that a lane is in: the next one has begun where the last step ended it.
    pub fn next(&self, lane: usize) -> Header {
        let BatchLane { header, finished, .. } = &self.lanes[lane];
        let episode = if *finished { header.episode } else { header.episode.wrapping_add(1) };
        Header { episode, elapsed: 0, draw_index: 0, ..*header }
    }

    /// Appends the canonical state of one lane in the state form.
    pub fn state(&self, lane: usize, out: &mut Vec<u8>) {
        let BatchLane { state, regions, .. } = &self.lanes[lane];
        append_canonical::<R>(&self.world, &self.shape, state, regions, None, out);
    }

    /// Sets one lane from outside, as [`Lane::inject`] does; without a state the episode of the header starts.
    ///
    /// # Errors
    /// If sizes are wrong or the rules refuse the state; the lane is then as it was.
    pub fn set(
        &mut self,
        lane: usize,
        header: Header,
        source: Source,
        state: Option<(&[u8], &[u8])>,
    ) -> Result<(), BatchError> {
        let mut set = Lane::<R>::new(&self.shape);
        match state {
            Some((state, observation)) => set
                .inject(&self.world, &self.shape, header, source, state, observation)
                .map_err(|refusal| BatchError(refusal.0))?,
            None => {
                (set.header, set.source) = (header, source);
                set.reset(&self.world, &self.shape);
            }
        }
        let sizes = Sizes::of(&self.shape);
        part_mut(&mut self.observations, lane, sizes.observation).copy_from_slice(set.observation());
        part_mut(&mut self.masks, lane, sizes.mask).copy_from_slice(set.masks());
        let deciders = set.deciders();
        let Lane { header, source, state, regions, .. } = set;
        self.lanes[lane] = BatchLane { header, source, state, regions, deciders, finished: false };
        Ok(())
    }

    /// The agents of a lane who decide next, one bit each.
    pub fn deciders(&self, lane: usize) -> u32 {
        self.lanes[lane].deciders
    }

    /// Writes what one lane shows after it was set or restored: observations and masks as they are kept, no reward, no
    /// flag.
    pub fn show(&self, lane: usize, out: &mut Buffers<'_, R::Reward>) {
        let sizes = Sizes::of(&self.shape);
        part_mut(out.observations, lane, sizes.observation).copy_from_slice(part(
            &self.observations,
            lane,
            sizes.observation,
        ));
        part_mut(out.masks, lane, sizes.mask).copy_from_slice(part(&self.masks, lane, sizes.mask));
        part_mut(out.rewards, lane, sizes.reward).fill(R::Reward::default());
        (out.terminated[lane], out.truncated[lane]) = (0, 0);
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
        refuse_tokens(self.shape.action, tokens)?;
        refuse_finished(self.finished())?;
        let (world, shape, mode) = (&self.world, &self.shape, self.mode);
        let lanes = Part::of(&mut self.lanes, &mut self.observations, &mut self.masks, tokens, shape, out);
        lanes.each(self.spread, &|_, mut one, actions| {
            if one.lane.finished && mode == ResetMode::NextStep {
                one.reset(world, shape);
                (*one.terminated, *one.truncated) = (0, 0);
            } else {
                let tokens = one.tokens;
                let outcome = one.seat().step(world, shape, tokens, actions, &mut NoLog, NoRows);
                (*one.terminated, *one.truncated) = (outcome.terminated.into(), outcome.truncated.into());
                one.lane.finished = (outcome.terminated || outcome.truncated) && mode != ResetMode::Reference;
                if one.lane.finished && mode == ResetMode::SameStep {
                    one.restart(world, shape);
                }
            }
            one.show();
        });
        Ok(())
    }

    /// The first lane that has to be reset before the next step (mode `Disabled`).
    pub fn finished(&self) -> Option<usize> {
        if self.mode == ResetMode::Disabled { self.lanes.iter().position(|lane| lane.finished) } else { None }
    }

    /// A copy of one lane, to save.
    pub fn save(&self, lane: usize) -> Vec<u8> {
        let kept = &self.lanes[lane];
        let mut out = vec![u8::from(kept.finished)];
        append_seat::<R>(&kept.header, &kept.source, &kept.state, &kept.regions, 0, &mut out);
        out.extend_from_slice(part(&self.observations, lane, Sizes::of(&self.shape).observation));
        out
    }

    /// Takes a saved lane back.
    ///
    /// # Errors
    /// If the bytes are not of this environment and configuration.
    pub fn restore(&mut self, lane: usize, bytes: &[u8]) -> Result<(), BatchError> {
        let (finished, bytes) = bytes.split_first().ok_or_else(|| BatchError("an empty save".into()))?;
        let sizes = Sizes::of(&self.shape);
        let kept = &mut self.lanes[lane];
        let mut input = Reader::new(bytes);
        let told = read_seat::<R>(&mut input, &mut kept.state, &mut kept.regions, sizes.observation);
        let (header, source, _) = told.map_err(|refusal| BatchError(refusal.0))?;
        (kept.header, kept.source, kept.finished) = (header, source, *finished != 0);
        part_mut(&mut self.observations, lane, sizes.observation).copy_from_slice(input.rest());
        Seat::<R> {
            header: &mut kept.header,
            source: &mut kept.source,
            state: &mut kept.state,
            regions: &mut kept.regions,
            deciders: &mut kept.deciders,
            observation: &mut [],
            rewards: &mut [],
            masks: part_mut(&mut self.masks, lane, sizes.mask),
        }
        .refresh(&self.world, &self.shape);
        Ok(())
    }
}

pub(crate) fn refuse_tokens(action: ActionKind, tokens: &[u32]) -> Result<(), BatchError> {
    refuse_undefined(action, tokens).map_err(|fault| match fault {
        Fault::BadRequest(error) | Fault::Refused(error) => BatchError(error),
    })
}

pub(crate) fn refuse_finished(lane: Option<usize>) -> Result<(), BatchError> {
    match lane {
        None => Ok(()),
        Some(lane) => Err(BatchError(format!("lane {lane} has finished its episode: reset it first"))),
    }
}

/// How much of each array belongs to one lane.
#[derive(Clone, Copy)]
struct Sizes {
    observation: usize,
    reward: usize,
    mask: usize,
    tokens: usize,
}

impl Sizes {
    fn of(shape: &Shape) -> Self {
        Sizes {
            observation: shape.agents * shape.observation_bytes,
            reward: shape.agents,
            mask: shape.agents * shape.mask_words(),
            tokens: shape.tokens_per_step(),
        }
    }
}

fn part<T>(all: &[T], i: usize, size: usize) -> &[T] {
    &all[i * size..(i + 1) * size]
}

fn part_mut<T>(all: &mut [T], i: usize, size: usize) -> &mut [T] {
    &mut all[i * size..(i + 1) * size]
}

/// Neighbouring lanes with all that belongs to them.
struct Part<'a, R: Rules> {
    first: usize,
    sizes: Sizes,
    lanes: &'a mut [BatchLane<R>],
    observations: &'a mut [u8],
    masks: &'a mut [u32],
    /// Empty in a reset.
    tokens: &'a [u32],
    out: Buffers<'a, R::Reward>,
}

impl<'a, R: Rules> Part<'a, R> {
    /// All lanes of a batch.
    fn of(
        lanes: &'a mut [BatchLane<R>],
        observations: &'a mut [u8],
        masks: &'a mut [u32],
        tokens: &'a [u32],
        shape: &Shape,
        out: &'a mut Buffers<'_, R::Reward>,
    ) -> Self {
        let sizes = Sizes { tokens: if tokens.is_empty() { 0 } else { shape.tokens_per_step() }, ..Sizes::of(shape) };
        let count = lanes.len();
        let told = [out.observations.len(), out.final_observations.len(), out.masks.len(), out.rewards.len()];
        let flags = [out.terminated.len(), out.truncated.len()];
        let expected = [sizes.observation, sizes.observation, sizes.mask, sizes.reward].map(|size| count * size);
        assert!(told == expected && flags == [count; 2], "a buffer has not the size of the shape");
        let out = Buffers {
            observations: &mut *out.observations,
            rewards: &mut *out.rewards,
            terminated: &mut *out.terminated,
            truncated: &mut *out.truncated,
            masks: &mut *out.masks,
            final_observations: &mut *out.final_observations,
        };
        Part { first: 0, sizes, lanes, observations, masks, tokens, out }
    }

    /// Calls `play` with the number, the parts and room for the actions of each lane, spread over threads.
    fn each(self, spread: bool, play: &(impl Fn(usize, One<'_, R>, &mut [u32]) + Sync)) {
        if !spread {
            return self.in_turn(play);
        }
        let threads = rayon::current_num_threads();
        // Eight parts for each thread, so that one which is held up does not hold up the others.
        let least = if threads == 1 { usize::MAX } else { self.lanes.len().div_ceil(8 * threads) };
        self.spread(least, play);
    }

    fn spread(self, least: usize, play: &(impl Fn(usize, One<'_, R>, &mut [u32]) + Sync)) {
        if self.lanes.len() <= least {
            return self.in_turn(play);
        }
        let (head, tail) = self.split();
        rayon::join(|| head.spread(least, play), || tail.spread(least, play));
    }

    fn in_turn(self, play: &impl Fn(usize, One<'_, R>, &mut [u32])) {
        let sizes = self.sizes;
        let mut actions = vec![0; sizes.tokens];
        for (i, lane) in self.lanes.iter_mut().enumerate() {
            let one = One {
                lane,
                observation: part_mut(self.observations, i, sizes.observation),
                masks: part_mut(self.masks, i, sizes.mask),
                tokens: part(self.tokens, i, sizes.tokens),
                shown_observation: part_mut(self.out.observations, i, sizes.observation),
                final_observation: part_mut(self.out.final_observations, i, sizes.observation),
                shown_masks: part_mut(self.out.masks, i, sizes.mask),
                rewards: part_mut(self.out.rewards, i, sizes.reward),
                terminated: &mut self.out.terminated[i],
                truncated: &mut self.out.truncated[i],
            };
            play(self.first + i, one, &mut actions);
        }
    }

    fn split(self) -> (Self, Self) {
        let (count, sizes) = (self.lanes.len() / 2, self.sizes);
        let (lanes, lanes_rest) = self.lanes.split_at_mut(count);
        let (observations, observations_rest) = self.observations.split_at_mut(count * sizes.observation);
        let (masks, masks_rest) = self.masks.split_at_mut(count * sizes.mask);
        let (tokens, tokens_rest) = self.tokens.split_at(count * sizes.tokens);
        let (shown, shown_rest) = self.out.observations.split_at_mut(count * sizes.observation);
        let (finals, finals_rest) = self.out.final_observations.split_at_mut(count * sizes.observation);
        let (shown_masks, shown_masks_rest) = self.out.masks.split_at_mut(count * sizes.mask);
        let (rewards, rewards_rest) = self.out.rewards.split_at_mut(count * sizes.reward);
        let (terminated, terminated_rest) = self.out.terminated.split_at_mut(count);
        let (truncated, truncated_rest) = self.out.truncated.split_at_mut(count);
        let head = Buffers {
            observations: shown,
            rewards,
            terminated,
            truncated,
            masks: shown_masks,
            final_observations: finals,
        };
        let tail = Buffers {
            observations: shown_rest,
            rewards: rewards_rest,
            terminated: terminated_rest,
            truncated: truncated_rest,
            masks: shown_masks_rest,
            final_observations: finals_rest,
        };
        (
            Part { first: self.first, sizes, lanes, observations, masks, tokens, out: head },
            Part {
                first: self.first + count,
                sizes,
                lanes: lanes_rest,
                observations: observations_rest,
                masks: masks_rest,
                tokens: tokens_rest,
                out: tail,
            },
        )
    }
}

/// One lane with all that belongs to it.
struct One<'a, R: Rules> {
    lane: &'a mut BatchLane<R>,
    observation: &'a mut [u8],
    masks: &'a mut [u32],
    tokens: &'a [u32],
    shown_observation: &'a mut [u8],
    final_observation: &'a mut [u8],
    shown_masks: &'a mut [u32],
    rewards: &'a mut [R::Reward],
    terminated: &'a mut u8,
    truncated: &'a mut u8,
}

impl<R: Rules> One<'_, R> {
    #[inline]
    fn seat(&mut self) -> Seat<'_, R> {
        Seat {
            header: &mut self.lane.header,
            source: &mut self.lane.source,
            state: &mut self.lane.state,
            regions: &mut self.lane.regions,
            deciders: &mut self.lane.deciders,
            observation: self.observation,
            rewards: self.rewards,
            masks: self.masks,
        }
    }

    fn reset(&mut self, world: &R::World, shape: &Shape) {
        self.seat().reset(world, shape, &mut NoLog);
        self.lane.finished = false;
    }

    /// The reset of mode `SameStep`: the reward stays that of the step.
    #[cold]
    fn restart(&mut self, world: &R::World, shape: &Shape) {
        self.final_observation.copy_from_slice(self.observation);
        let rewards = self.rewards.to_vec();
        self.reset(world, shape);
        self.rewards.copy_from_slice(&rewards);
    }

    /// Writes what was kept to the caller's buffers.
    #[inline]
    fn show(self) {
        self.shown_observation.copy_from_slice(self.observation);
        self.shown_masks.copy_from_slice(self.masks);
    }
}
