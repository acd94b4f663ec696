//! The backend `cuda-host`: an environment's CUDA source, built for the CPU.
//!
//! The kernels keep their lanes in flat arrays and write records as `docs/protocol.md` has them, except for digests,
//! which are filled in here. A launch is a loop over a few lanes; threads take launches, so that the kernels see the
//! batches that they see on a device. Nothing here knows the rules.

mod bench;
mod lanes;
mod play;
pub(crate) mod settle;
pub(crate) mod table;

use crate::backend::{Backend, Fault, Settled, StepMany};
use crate::bytes::Reader;
use crate::device::Rollout;
use crate::lane::{Header, Source};
use crate::options::{Files, Options};
use crate::rules::{Refusal, Rules};
use crate::scalar::refuse_undefined;
use crate::serve::Opened;
use crate::shape::Shape;
use crate::wire::Mode;
use bytemuck::{Pod, Zeroable, bytes_of, cast_slice, cast_slice_mut};
use lanes::Lanes;
use play::{Buffers, Play};
use rayon::prelude::*;
use serde_json::Value;
use table::{
    LAYOUT_WORDS_MAX, RawHeader, RawLanes, RawList, RawRecords, RawRollout, RawShape, RawSteps, TABLE_VERSION,
};

pub use table::HostTable;

/// Lanes of one launch at most: their records of a window fit into a cache.
const LAUNCH_LANES_MAX: usize = 8;

/// Rules that have CUDA source too.
pub trait HostRules: Rules {
    /// The world as that source sees it: plain words.
    type DeviceWorld: Pod + Send + Sync;

    /// The words of a world.
    fn device_world(world: &Self::World) -> Self::DeviceWorld;

    /// The table that the compiled source exports.
    fn host_table() -> &'static HostTable;
}

impl Opened {
    /// The backend `cuda-host` of some rules.
    ///
    /// # Errors
    /// If the world can't be built.
    pub fn cuda_host<R: HostRules>(options: Options, files: &Files, lanes: usize) -> Result<Self, String> {
        let world = R::world(options, files).map_err(|error| error.0)?;
        Ok(Opened::of::<R>(Box::new(CudaHost::<R>::new(world, lanes))))
    }
}

/// Sizes and offsets as the compiled source has them: those of the structs that all sources share, then the rules' own.
pub fn layout<R: HostRules>() -> Vec<u32> {
    let mut words = vec![u32::MAX; LAYOUT_WORDS_MAX];
    // SAFETY: the source writes at most as many words as it is told.
    unsafe { (R::host_table().layout)(LAYOUT_WORDS_MAX as u32, words.as_mut_ptr()) };
    words.truncate(words.iter().position(|word| *word == u32::MAX).unwrap_or(words.len()));
    words
}

/// The part of [`layout`] that all sources share, as Rust has it.
pub fn shared_layout<R: HostRules>() -> [u32; 8] {
    [
        size_of::<RawShape>(),
        size_of::<RawHeader>(),
        size_of::<RawList>(),
        size_of::<RawLanes>(),
        size_of::<RawRecords>(),
        size_of::<RawSteps>(),
        size_of::<RawRollout>(),
        size_of::<R::Reward>(),
    ]
    .map(|size| size as u32)
}

/// Lanes of one world, stepped by the CUDA source.
pub struct CudaHost<R: HostRules> {
    world: R::World,
    shape: Shape,
    fixed: Fixed<R>,
    headers: Vec<RawHeader>,
    states: Vec<R::State>,
    regions: Vec<u32>,
    observations: Vec<u8>,
    rewards: Vec<R::Reward>,
    masks: Vec<u32>,
    lists: Vec<Vec<u32>>,
    chains: Vec<u64>,
    logs: Vec<Vec<u8>>,
}

/// What no launch changes.
struct Fixed<R: HostRules> {
    table: &'static HostTable,
    world: R::DeviceWorld,
    shape: RawShape,
    draws_max: usize,
    rows_max: Vec<u32>,
}

impl<R: HostRules> CudaHost<R> {
    /// `lane_count` lanes before their first reset.
    pub fn new(world: R::World, lane_count: usize) -> Self {
        let shape = R::shape(&world);
        let fixed = Fixed::<R>::new(&world, &shape);
        CudaHost {
            headers: vec![RawHeader::default(); lane_count],
            states: vec![R::State::zeroed(); lane_count],
            regions: vec![0; lane_count * fixed.shape.region_words as usize],
            observations: vec![0; lane_count * shape.agents * shape.observation_bytes],
            rewards: vec![R::Reward::default(); lane_count * shape.agents],
            masks: vec![0; lane_count * shape.agents * shape.mask_words()],
            lists: vec![Vec::new(); lane_count],
            chains: vec![0; lane_count],
            logs: vec![Vec::new(); lane_count],
            fixed,
            shape,
            world,
        }
    }

    /// The observations of all agents of a lane, as they were last written.
    pub fn observation(&self, lane: usize) -> &[u8] {
        let size = self.shape.agents * self.shape.observation_bytes;
        &self.observations[lane * size..(lane + 1) * size]
    }

    /// The rewards of a lane's last step.
    pub fn rewards(&self, lane: usize) -> &[R::Reward] {
        &self.rewards[lane * self.shape.agents..(lane + 1) * self.shape.agents]
    }

    /// A lane's state.
    pub fn state(&self, lane: usize) -> &R::State {
        &self.states[lane]
    }

    /// The observations of all agents of a lane, as its state would be observed now.
    pub fn observe(&mut self, lane: usize) -> Vec<u8> {
        let mut observations = vec![0; self.shape.agents * self.shape.observation_bytes];
        let (fixed, mut lanes) = self.lanes(lane, 1);
        lanes.launch(|raw| {
            let (world, shape) = (fixed.world(), &raw const fixed.shape);
            // SAFETY: `raw` has one lane, and `observations` the size of its observations.
            unsafe { (fixed.table.observe)(1, observations.as_mut_ptr(), raw, world, shape) }
        });
        observations
    }

    /// Plays one step of all lanes without a record, as training does; lanes whose episode ended are reset at once
    /// unless the rules do that. `heads` gets the head of each lane's record.
    ///
    /// # Errors
    /// If a token is not defined (a NaN).
    pub fn step(&mut self, tokens: &[u32], heads: &mut [u32]) -> Result<(), Fault> {
        refuse_undefined(self.shape.action, tokens)?;
        let (lane_count, width) = (self.headers.len(), self.shape.tokens_per_step());
        assert_eq!((tokens.len(), heads.len()), (lane_count * width, lane_count));
        let size = lane_count.div_ceil(rayon::current_num_threads()).max(1);
        let (fixed, lanes) = self.lanes(0, lane_count);
        let chunks = lanes.chunks(size);
        chunks.into_par_iter().zip(heads.par_chunks_mut(size)).zip(tokens.par_chunks(size * width)).for_each(
            |((mut lanes, heads), tokens)| {
                let count = lanes.headers.len() as u32;
                lanes.launch(|raw| {
                    let (world, shape) = (fixed.world(), &raw const fixed.shape);
                    // SAFETY: `raw`, `heads` and `tokens` have `count` lanes.
                    unsafe { (fixed.table.step)(count, raw, heads.as_mut_ptr(), world, shape, tokens.as_ptr()) }
                });
            },
        );
        Ok(())
    }

    /// Plays steps with actions sampled by the source, without records; see [`Rollout`].
    ///
    /// # Panics
    /// If `rollout` is of another number of lanes.
    pub fn rollout(&mut self, rollout: &mut Rollout, step_count: usize) {
        let lane_count = self.headers.len();
        assert_eq!(rollout.digests.len(), lane_count);
        let size = lane_count.div_ceil(rayon::current_num_threads()).max(1);
        let seed = rollout.seed;
        let (fixed, lanes) = self.lanes(0, lane_count);
        let digests = rollout.digests.par_chunks_mut(size).zip(rollout.played.par_chunks_mut(size));
        let counts = rollout.ended.par_chunks_mut(size).zip(rollout.heads.par_chunks_mut(size));
        lanes.chunks(size).into_par_iter().zip(digests).zip(counts).for_each(
            |((mut lanes, (digests, played)), (ended, heads))| {
                let count = lanes.headers.len() as u32;
                let raw_rollout = RawRollout {
                    digests: digests.as_mut_ptr(),
                    played: played.as_mut_ptr(),
                    ended: ended.as_mut_ptr(),
                    heads: heads.as_mut_ptr(),
                    seed,
                    step_count: step_count as u32,
                    unused: 0,
                };
                lanes.launch(|raw| {
                    let (world, shape) = (fixed.world(), &raw const fixed.shape);
                    // SAFETY: `raw` and the arrays of `raw_rollout` have `count` lanes.
                    unsafe { (fixed.table.rollout)(count, &raw_rollout, raw, world, shape) }
                });
            },
        );
    }

    /// Lanes `first..first + count`, and what their launches need.
    fn lanes(&mut self, first: usize, count: usize) -> (&Fixed<R>, Lanes<'_, R>) {
        fn part<T>(all: &mut [T], size: usize, first: usize, count: usize) -> &mut [T] {
            &mut all[first * size..(first + count) * size]
        }
        let (shape, words) = (&self.shape, self.fixed.shape.region_words as usize);
        let lanes = Lanes {
            shape,
            region_words: words,
            headers: part(&mut self.headers, 1, first, count),
            states: part(&mut self.states, 1, first, count),
            regions: part(&mut self.regions, words, first, count),
            observations: part(&mut self.observations, shape.agents * shape.observation_bytes, first, count),
            rewards: part(&mut self.rewards, shape.agents, first, count),
            masks: part(&mut self.masks, shape.agents * shape.mask_words(), first, count),
            lists: &self.lists[first..first + count],
            chains: part(&mut self.chains, 1, first, count),
            logs: part(&mut self.logs, 1, first, count),
        };
        (&self.fixed, lanes)
    }

    fn set_source(&mut self, lane: usize, header: Header, source: Source) {
        let (listed, list_place, values) = match source {
            Source::Seeded => (0, 0, Vec::new()),
            Source::Listed { values, place } => (1, place as u64, values),
        };
        let Header { seed, stream, episode, elapsed, draw_index } = header;
        let deciders = self.headers[lane].deciders;
        self.headers[lane] =
            RawHeader { seed, stream, list_place, episode, elapsed, draw_index, deciders, listed, unused: 0 };
        self.lists[lane] = values;
    }
}

impl<R: HostRules> Fixed<R> {
    fn new(world: &R::World, shape: &Shape) -> Self {
        let table = R::host_table();
        assert_eq!((table.version, table.size), (TABLE_VERSION, size_of::<HostTable>() as u32), "host_shim.h differs");
        let shared = shared_layout::<R>();
        let own = layout::<R>();
        assert_eq!(own[..shared.len()], shared, "lockstep.cuh and table.rs have different layouts");
        assert_eq!(own[shared.len()], size_of::<R::State>() as u32, "rules.cuh and state.rs have different layouts");
        let world = R::device_world(world);
        let (mut draws_max, mut rows_max) = (0, vec![0; shape.row_bytes.len()]);
        // SAFETY: the pointers are to one word, to one word for each grain, and to a world of the source's layout.
        unsafe {
            let grains = rows_max.len() as u32;
            (table.limits)(grains, &mut draws_max, rows_max.as_mut_ptr(), bytes_of(&world).as_ptr());
        }
        Fixed { table, world, shape: RawShape::of(shape), draws_max: draws_max as usize, rows_max }
    }

    fn world(&self) -> *const u8 {
        bytes_of(&self.world).as_ptr()
    }
}

impl<R: HostRules> Backend for CudaHost<R> {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn lane_count(&self) -> usize {
        self.headers.len()
    }

    fn reset(
        &mut self,
        settled: Settled,
        mode: Mode,
        lane: usize,
        header: Header,
        source: Source,
        reply: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        self.set_source(lane, header, source);
        let (fixed, mut lanes) = self.lanes(lane, 1);
        let play = Play { fixed, shape: lanes.shape, settled, mode, grain: None };
        let mut buffers = Buffers::default();
        buffers.prepare(1, play.record_bytes_max(), 0);
        play.launch_reset(&mut lanes, &mut buffers, None);
        play.answer_start(&mut lanes, &mut buffers, reply);
        Ok(())
    }

    fn step_many(&mut self, settled: Settled, request: StepMany<'_>, reply: &mut Vec<u8>) -> Result<(), Fault> {
        refuse_undefined(self.shape.action, request.tokens)?;
        let lane_size = request.step_count * self.shape.tokens_per_step();
        let size = (request.lane_count / (2 * rayon::current_num_threads())).clamp(1, LAUNCH_LANES_MAX);
        let (fixed, lanes) = self.lanes(request.lane_first, request.lane_count);
        let play = Play { fixed, shape: lanes.shape, settled, mode: request.mode, grain: request.grain };
        let chunks = lanes.chunks(size);
        let replies: Vec<Vec<u8>> = chunks
            .into_par_iter()
            .enumerate()
            .map_init(Buffers::default, |buffers, (i, mut lanes)| {
                let tokens = &request.tokens[i * size * lane_size..][..lanes.headers.len() * lane_size];
                play.step_many(&mut lanes, &request, tokens, buffers)
            })
            .collect();
        replies.iter().for_each(|lanes| reply.extend_from_slice(lanes));
        Ok(())
    }

    fn snapshot(&self, lane: usize, out: &mut Vec<u8>) {
        let (header, list) = (&self.headers[lane], &self.lists[lane]);
        for word in [header.seed, header.stream, self.chains[lane]] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        let list_head = match header.listed {
            0 => [0; 3],
            _ => [1, header.list_place as u32, list.len() as u32],
        };
        for word in [header.episode, header.elapsed, header.draw_index].iter().chain(&list_head) {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(cast_slice(list));
        out.extend_from_slice(bytes_of(&self.states[lane]));
        let part = |bytes: &[u8]| {
            let size = bytes.len() / self.headers.len();
            bytes[lane * size..(lane + 1) * size].to_vec()
        };
        out.extend_from_slice(&part(cast_slice(&self.regions)));
        out.extend_from_slice(&part(&self.observations));
        out.extend_from_slice(&part(cast_slice(&self.rewards)));
    }

    fn restore(&mut self, lane: usize, bytes: &[u8]) -> Result<(), Fault> {
        let refuse = |cut: crate::bytes::Cut| Fault::from(Refusal::from(cut));
        let mut input = Reader::new(bytes);
        let mut wide = || input.u64().map_err(refuse);
        let (seed, stream, chain) = (wide()?, wide()?, wide()?);
        let mut word = || input.u32().map_err(refuse);
        let (episode, elapsed, draw_index) = (word()?, word()?, word()?);
        let (listed, place, count) = (word()?, word()?, word()?);
        let source = match listed {
            0 => Source::Seeded,
            1 => Source::Listed { values: input.u32s(count as usize).map_err(refuse)?, place: place as usize },
            other => return Err(Fault::Refused(format!("a snapshot has draw source {other}"))),
        };
        let (_, lanes) = self.lanes(lane, 1);
        let states: &mut [u8] = cast_slice_mut(lanes.states);
        let mut parts = [states, cast_slice_mut(lanes.regions), lanes.observations, cast_slice_mut(lanes.rewards)];
        let fixed: usize = parts.iter().map(|part| part.len()).sum();
        if input.rest().len() != fixed {
            return Err(Fault::Refused(format!("a snapshot has {} bytes of state, not {fixed}", input.rest().len())));
        }
        for part in &mut parts {
            part.copy_from_slice(input.take(part.len()).map_err(refuse)?);
        }
        lanes.logs[0].clear();
        lanes.chains[0] = chain;
        self.set_source(lane, Header { seed, stream, episode, elapsed, draw_index }, source);
        let (fixed, mut lanes) = self.lanes(lane, 1);
        lanes.launch(|raw| {
            // SAFETY: `raw` has one lane of this shape.
            unsafe { (fixed.table.legal)(1, raw, fixed.world(), &fixed.shape) }
        });
        Ok(())
    }

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
    ) -> Result<(), Fault> {
        let shape = &self.shape;
        if state.len() != shape.state_bytes() {
            let expected = shape.state_bytes();
            return Err(Fault::Refused(format!("a state has {expected} bytes, not {}", state.len())));
        }
        let observation_bytes = shape.agents * shape.observation_bytes;
        if observation.len() != observation_bytes {
            let observed = observation.len();
            return Err(Fault::Refused(format!("the observations have {observation_bytes} bytes, not {observed}")));
        }
        let canonical = &state[..shape.canonical_bytes];
        let mut before = Vec::new();
        self.snapshot(lane, &mut before);
        self.set_source(lane, header, source);
        let (fixed, mut lanes) = self.lanes(lane, 1);
        let mut rest = &state[canonical.len()..];
        let mut words = &mut lanes.regions[..];
        for region in &lanes.shape.regions {
            let (head, tail) = words.split_at_mut(region.bytes / 4);
            words = tail;
            if region.canonical {
                let (bytes, left) = rest.split_at(region.bytes);
                cast_slice_mut(head).copy_from_slice(bytes);
                rest = left;
            }
        }
        lanes.observations.copy_from_slice(observation);
        let play = Play { fixed, shape: lanes.shape, settled, mode, grain: None };
        let mut buffers = Buffers::default();
        buffers.prepare(1, play.record_bytes_max(), 0);
        let (records, mut refused) = (buffers.raw(), 0);
        lanes.launch(|raw| {
            let (world, shape) = (fixed.world(), &raw const fixed.shape);
            // SAFETY: `raw`, `records` and `refused` have one lane, and `canonical` the size of its canonical fields.
            unsafe { (fixed.table.inject)(1, &mut refused, raw, &records, world, shape, canonical.as_ptr()) }
        });
        if refused == 0 {
            play.answer_start(&mut lanes, &mut buffers, reply);
            return Ok(());
        }
        self.restore(lane, &before)?;
        // The source says only that it refuses; the readable rules have words for it.
        let words = R::inject(&self.world, &mut R::State::zeroed(), &mut Reader::new(canonical));
        Err(words
            .err()
            .unwrap_or_else(|| Refusal("the CUDA source refuses what the Rust source accepts".into()))
            .into())
    }

    fn draws(&self, lane: usize) -> &[u8] {
        &self.logs[lane]
    }

    fn append_draws(&mut self, lane: usize, more: &[u32]) {
        let header = &mut self.headers[lane];
        if header.listed == 0 {
            (header.listed, header.list_place) = (1, 0);
        }
        self.lists[lane].extend_from_slice(more);
    }

    fn probes(&self) -> &'static [&'static str] {
        R::PROBES
    }

    fn probe(&self, function: &str, input: &Value) -> Result<Value, Fault> {
        Ok(R::probe(&self.world, function, input)?)
    }
}
