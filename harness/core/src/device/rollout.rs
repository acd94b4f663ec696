//! Many steps in one launch, with actions sampled by the kernel, and digests by which two sides are compared.
//!
//! Nothing is copied for a step: a lane's tokens are numbered words of a sequence of its own, its episodes are reset where
//! they end, and all that it said is chained to one word. The readable rules do the same here, so that whoever runs
//! kernels can be judged by them without a record. A digest covers heads, states, rewards, masks and observations, but no
//! regions, which the records of the judge's view do.

use super::{BLOCK, Device, DeviceRules, OnDevice, Parameters, kernel};
use crate::host::table::{RawHeader, RawRollout};
use crate::lane::{Header, Lane};
use crate::rules::Rules;
use crate::shape::{ActionKind, Resets, Shape};
use crate::token::continuous_token;
use bytemuck::{bytes_of, cast_slice, cast_slice_mut};
use rayon::prelude::*;

/// What a rollout counts for each lane, and the seed of its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// The seed of the tokens.
    pub seed: u64,
    /// All that each lane has said, chained.
    pub digests: Vec<u64>,
    /// Steps of each lane.
    pub played: Vec<u32>,
    /// Episodes of each lane that have ended.
    pub ended: Vec<u32>,
    /// The head of each lane's last step: its flags and who decides next.
    pub heads: Vec<u32>,
}

impl Rollout {
    /// Before the first step of some lanes.
    pub fn new(seed: u64, lanes: usize) -> Self {
        Rollout { seed, digests: vec![0; lanes], played: vec![0; lanes], ended: vec![0; lanes], heads: vec![0; lanes] }
    }
}

/// Chains a word to a digest: `ls_chain`.
fn chain(digest: u64, word: u32) -> u64 {
    let mixed = (digest ^ u64::from(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ mixed >> 29
}

fn chain_bytes(digest: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let digest = words.iter().fold(digest, |digest, word| chain(digest, u32::from_le_bytes(*word)));
    rest.iter().fold(digest, |digest, byte| chain(digest, u32::from(*byte)))
}

/// Token `index` of a lane: an ordinary action; a continuous one lies between -1 and 1.
pub fn token(action: ActionKind, seed: u64, stream: u64, index: u32) -> u32 {
    let word = crate::draws::draw_word(seed, stream, 0, index);
    match action {
        ActionKind::Discrete { .. } => word >> 1,
        ActionKind::Continuous => continuous_token((word >> 8) as f32 / 8_388_608.0 - 1.0),
    }
}

/// Lanes of the readable rules that play the same rollouts.
pub struct RustRollout<R: Rules> {
    world: R::World,
    shape: Shape,
    lanes: Vec<Lane<R>>,
    /// What they counted.
    pub rollout: Rollout,
}

impl<R: Rules> RustRollout<R> {
    /// Lanes with the streams 0, 1, … after their first reset.
    pub fn new(world: R::World, lane_count: usize, seed: u64) -> Self {
        let shape = R::shape(&world);
        let lanes = (0..lane_count).map(|stream| {
            let mut lane = Lane::new(&shape);
            lane.header = Header { seed, stream: stream as u64, ..Header::default() };
            lane.reset(&world, &shape);
            lane
        });
        let lanes = lanes.collect();
        RustRollout { world, shape, lanes, rollout: Rollout::new(!seed, lane_count) }
    }

    /// Plays steps of all lanes.
    pub fn play(&mut self, step_count: usize) {
        let (world, shape, seed) = (&self.world, &self.shape, self.rollout.seed);
        let width = shape.tokens_per_step();
        let counts = self.rollout.digests.par_iter_mut().zip(&mut self.rollout.played);
        let counts = counts.zip(self.rollout.ended.par_iter_mut().zip(&mut self.rollout.heads));
        self.lanes.par_iter_mut().zip(counts).for_each(|(lane, ((digest, played), (ended, head)))| {
            let mut tokens = vec![0; width];
            for _ in 0..step_count {
                for (i, place) in tokens.iter_mut().enumerate() {
                    let index = played.wrapping_mul(width as u32).wrapping_add(i as u32);
                    *place = token(shape.action, seed, lane.header.stream, index);
                }
                let outcome = lane.step(world, shape, &tokens);
                *played = played.wrapping_add(1);
                *head = u32::from(outcome.terminated) << 8 | u32::from(outcome.truncated) << 9 | lane.deciders() << 16;
                *digest = chain(*digest, *head);
                *digest = chain_bytes(*digest, bytes_of(&lane.state));
                *digest = chain_bytes(*digest, cast_slice(lane.rewards()));
                *digest = lane.masks().iter().fold(*digest, |digest, word| chain(digest, *word));
                *digest = chain_bytes(*digest, lane.observation());
                if outcome.terminated || outcome.truncated {
                    *ended += 1;
                    if shape.resets == Resets::Harness {
                        lane.reset(world, shape);
                    }
                }
            }
        });
    }

    /// One lane's state.
    pub fn state(&self, lane: usize) -> &R::State {
        &self.lanes[lane].state
    }
}

/// Where a rollout's arrays stand on a device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    digests: u64,
    played: u64,
    ended: u64,
    heads: u64,
}

/// How a rollout is launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launches {
    /// Steps in each launch.
    pub steps: usize,
    /// Launches, each after the one before.
    pub times: usize,
    /// Whether digests are made.
    pub digests: bool,
    /// Whether observations are written.
    pub observations: bool,
    /// Whether the launches are one graph, where the device has graphs.
    pub graph: bool,
}

impl<R: DeviceRules, D: Device> OnDevice<R, D> {
    /// Resets all lanes, which get the streams 0, 1, …, and begins a new rollout.
    ///
    /// # Errors
    /// If the device has not enough memory, or a kernel fails.
    pub fn begin_rollout(&mut self, seed: u64) -> Result<(), String> {
        let count = self.lane_count;
        let places = match self.rollout {
            Some(places) => places,
            None => {
                let device = self.device.get_mut();
                let mut zeros = |name, bytes| device.allocate(name, bytes, true);
                Places {
                    digests: zeros("the digests", 8 * count)?,
                    played: zeros("the counts of steps", 4 * count)?,
                    ended: zeros("the counts of episodes", 4 * count)?,
                    heads: zeros("the heads", 4 * count)?,
                }
            }
        };
        self.rollout = Some(places);
        let headers: Vec<RawHeader> =
            (0..count).map(|stream| RawHeader { seed, stream: stream as u64, ..RawHeader::default() }).collect();
        let zeros = vec![0u64; count];
        let device = self.device.get_mut();
        device.write(places.digests, cast_slice(&zeros))?;
        for address in [places.played, places.ended, places.heads] {
            device.write(address, &cast_slice(&zeros)[..4 * count])?;
        }
        device.write(self.at.headers, cast_slice(&headers))?;
        for lane in 0..count {
            if !self.lists[lane].is_empty() {
                self.set_list(lane, Vec::new())?;
            }
        }
        let parameters = self.put_lanes(Parameters::default().word(count as u32), 0);
        // No records, and all lanes.
        let parameters = parameters.put(&super::raw_records(0, 0, 0, 0, 0, 0, 0), 8);
        let parameters = parameters.address(self.at.world).address(self.at.shape).address(0).word(0);
        self.device.get_mut().launch(&kernel::<R>("reset"), count, BLOCK, &parameters.0)
    }

    /// Plays steps of all lanes with tokens of `seed`, without a record; the seconds that the device took.
    ///
    /// # Errors
    /// If no rollout was begun, or the kernel fails.
    pub fn rollout(&mut self, seed: u64, launches: Launches) -> Result<f64, String> {
        let places = self.rollout.ok_or("no rollout was begun")?;
        let mut raw = Vec::with_capacity(size_of::<RawRollout>());
        let digests = if launches.digests { places.digests } else { 0 };
        for wide in [digests, places.played, places.ended, places.heads, seed] {
            raw.extend_from_slice(&wide.to_le_bytes());
        }
        raw.extend_from_slice(&(launches.steps as u32).to_le_bytes());
        raw.extend_from_slice(&0u32.to_le_bytes());
        debug_assert_eq!(raw.len(), size_of::<RawRollout>());
        let observations = if launches.observations { self.at.observations } else { 0 };
        let parameters = Parameters::default().word(self.lane_count as u32).put(&raw, 8);
        let parameters = self.put_lanes_with(parameters, 0, observations);
        let parameters = parameters.address(self.at.world).address(self.at.shape);
        let count = self.lane_count;
        let device = self.device.get_mut();
        device.repeat(&kernel::<R>("rollout"), count, BLOCK, &parameters.0, launches.times, launches.graph)
    }

    /// What the lanes have counted since the rollout began, for tokens of `seed`.
    ///
    /// # Errors
    /// If no rollout was begun, or the device can't be read.
    pub fn counted(&self, seed: u64) -> Result<Rollout, String> {
        let places = self.rollout.ok_or("no rollout was begun")?;
        let mut counted = Rollout::new(seed, self.lane_count);
        let mut device = self.device.borrow_mut();
        device.read(places.digests, cast_slice_mut(&mut counted.digests))?;
        device.read(places.played, cast_slice_mut(&mut counted.played))?;
        device.read(places.ended, cast_slice_mut(&mut counted.ended))?;
        device.read(places.heads, cast_slice_mut(&mut counted.heads))?;
        Ok(counted)
    }
}
