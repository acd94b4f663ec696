//! One request over some lanes: cut into launches, and their records completed with digests.

use super::lanes::Lanes;
use super::settle::Form;
use super::table::{GRAIN_NONE, RawRecords, RawSteps};
use super::{Fixed, HostRules};
use crate::backend::{Settled, StepMany};
use crate::shape::{Resets, Shape};
use crate::wire::Mode;
use std::ptr::null;

/// Bytes of rows that one lane may leave in one launch, unless a single step leaves more.
const ROWS_BYTES_MAX: usize = 1 << 20;

/// Where launches leave their records, and what has become of them.
#[derive(Default)]
pub(super) struct Buffers {
    records: Vec<u8>,
    stride: usize,
    used: Vec<u32>,
    settled: Vec<u32>,
    rows: Vec<u8>,
    rows_stride: usize,
    rows_used: Vec<u32>,
    ended: Vec<u32>,
    record_counts: Vec<u32>,
    replies: Vec<Vec<u8>>,
}

impl Buffers {
    /// Room for `lanes` lanes; what earlier requests left is forgotten.
    pub fn prepare(&mut self, lanes: usize, stride: usize, rows_stride: usize) {
        (self.stride, self.rows_stride) = (stride, rows_stride);
        assert!(stride.max(rows_stride) <= u32::MAX as usize);
        self.records.resize(lanes * stride, 0);
        self.rows.resize(lanes * rows_stride, 0);
        for counts in [&mut self.used, &mut self.settled, &mut self.rows_used, &mut self.ended, &mut self.record_counts]
        {
            counts.clear();
            counts.resize(lanes, 0);
        }
        self.replies.iter_mut().for_each(Vec::clear);
        self.replies.resize_with(lanes, Vec::new);
    }

    fn begin_window(&mut self) {
        self.used.fill(0);
        self.settled.fill(0);
    }

    pub fn raw(&mut self) -> RawRecords {
        RawRecords {
            bytes: self.records.as_mut_ptr(),
            used: self.used.as_mut_ptr(),
            rows: self.rows.as_mut_ptr(),
            rows_used: self.rows_used.as_mut_ptr(),
            ended: self.ended.as_mut_ptr(),
            stride: self.stride as u32,
            rows_stride: self.rows_stride as u32,
        }
    }

    fn window(&self, lane: usize) -> &[u8] {
        &self.records[lane * self.stride..][..self.used[lane] as usize]
    }
}

/// One request, and how it is cut into launches.
pub(super) struct Play<'a, R: HostRules> {
    pub fixed: &'a Fixed<R>,
    pub shape: &'a Shape,
    pub settled: Settled,
    pub mode: Mode,
    pub grain: Option<usize>,
}

impl<R: HostRules> Play<'_, R> {
    fn form(&self) -> Form<'_> {
        let reward_bytes = size_of::<R::Reward>();
        Form { shape: self.shape, settled: self.settled, mode: self.mode, grain: self.grain, reward_bytes }
    }

    /// Bytes of one record at most.
    pub fn record_bytes_max(&self) -> usize {
        self.form().record_bytes_max(self.fixed.draws_max)
    }

    /// Bytes of one step's rows at most.
    fn rows_bytes_max(&self) -> usize {
        self.grain.map_or(0, |grain| self.fixed.rows_max[grain] as usize * self.shape.row_bytes[grain])
    }

    /// Plays the tokens of some lanes; their replies stand one after the other.
    pub fn step_many(
        &self,
        lanes: &mut Lanes<'_, R>,
        request: &StepMany<'_>,
        tokens: &[u32],
        buffers: &mut Buffers,
    ) -> Vec<u8> {
        let width = self.shape.tokens_per_step();
        // The digest of a region is that of one step, so nothing may be played before it has been taken.
        let steps_one_by_one = self.shape.regions.iter().any(|region| region.canonical);
        let launch_steps = match steps_one_by_one {
            true => 1,
            false => (ROWS_BYTES_MAX / self.rows_bytes_max().max(1)).clamp(1, request.window),
        };
        let window_bytes = 2 * request.window * self.record_bytes_max();
        buffers.prepare(lanes.headers.len(), window_bytes, launch_steps * self.rows_bytes_max());
        lanes.logs.iter_mut().for_each(Vec::clear);
        let head = if self.mode == Mode::Digest { 4 } else { 8 };
        buffers.replies.iter_mut().for_each(|reply| reply.resize(head, 0));
        let mut step = 0;
        while step < request.step_count {
            let window_end = request.step_count.min(step + request.window);
            buffers.begin_window();
            while step < window_end {
                let count = launch_steps.min(window_end - step);
                let ended = buffers.ended.clone();
                self.launch_steps(lanes, buffers, tokens, request.step_count, step, count, !steps_one_by_one);
                self.settle(lanes, buffers);
                if steps_one_by_one && self.shape.resets == Resets::Harness {
                    let which: Vec<u8> =
                        ended.iter().zip(&buffers.ended).map(|(before, after)| u8::from(before != after)).collect();
                    if which.contains(&1) {
                        self.launch_reset(lanes, buffers, Some(&which));
                        self.settle(lanes, buffers);
                    }
                }
                step += count;
            }
            for (lane, chain) in lanes.chains.iter_mut().enumerate() {
                *chain = self.settled.digest.of(*chain, buffers.window(lane));
                if self.mode == Mode::Digest {
                    buffers.replies[lane].extend_from_slice(&chain.to_le_bytes());
                }
            }
        }
        debug_assert_eq!(tokens.len(), lanes.headers.len() * request.step_count * width);
        let Buffers { replies, ended, record_counts, .. } = buffers;
        for ((reply, ended), records) in replies.iter_mut().zip(ended).zip(record_counts) {
            reply[..4].copy_from_slice(&ended.to_le_bytes());
            if self.mode != Mode::Digest {
                reply[4..8].copy_from_slice(&records.to_le_bytes());
            }
        }
        replies.concat()
    }

    #[expect(clippy::too_many_arguments, reason = "they say which tokens are played")]
    fn launch_steps(
        &self,
        lanes: &mut Lanes<'_, R>,
        buffers: &mut Buffers,
        tokens: &[u32],
        lane_steps: usize,
        first: usize,
        count: usize,
        resets: bool,
    ) {
        let width = self.shape.tokens_per_step();
        buffers.rows_used.fill(0);
        let steps = RawSteps {
            tokens: tokens[first * width..].as_ptr(),
            tokens_stride: u32::try_from(lane_steps * width).expect("a request has less than 2^32 tokens"),
            step_count: count as u32,
            grain: self.grain.map_or(GRAIN_NONE, |grain| grain as u32),
            resets: u32::from(resets),
            named: u32::from(self.settled.named),
        };
        let (fixed, lane_count, records) = (self.fixed, lanes.headers.len() as u32, buffers.raw());
        lanes.launch(|raw| {
            let (world, shape) = (fixed.world(), &raw const fixed.shape);
            // SAFETY: `raw` and `records` have `lane_count` lanes of this shape, and of each lane `lane_steps` steps of
            // tokens are there, of which those before `first` are skipped. The source checks the room for records,
            // draws and rows before it writes.
            unsafe { (fixed.table.step_many)(lane_count, raw, &records, world, shape, &steps) }
        });
    }

    pub fn launch_reset(&self, lanes: &mut Lanes<'_, R>, buffers: &mut Buffers, which: Option<&[u8]>) {
        let (fixed, lane_count, records) = (self.fixed, lanes.headers.len() as u32, buffers.raw());
        let which = which.map_or(null(), <[u8]>::as_ptr);
        lanes.launch(|raw| {
            let (world, shape) = (fixed.world(), &raw const fixed.shape);
            // SAFETY: `raw`, `records` and `which`, where it is not null, have `lane_count` lanes of this shape.
            unsafe {
                (fixed.table.reset)(lane_count, raw, &records, world, shape, which, u32::from(self.settled.named))
            }
        });
    }

    /// Fills in the digests of the records that the last launch left, and passes on draws and records.
    fn settle(&self, lanes: &mut Lanes<'_, R>, buffers: &mut Buffers) {
        for lane in 0..lanes.headers.len() {
            let mut log = std::mem::take(&mut lanes.logs[lane]);
            let records = &mut buffers.records[lane * buffers.stride..][..buffers.used[lane] as usize];
            let mut rest = &mut records[buffers.settled[lane] as usize..];
            let mut rows = &buffers.rows[lane * buffers.rows_stride..][..buffers.rows_used[lane] as usize];
            while !rest.is_empty() {
                let regions: Vec<&[u8]> = lanes.canonical_regions(lane).collect();
                let record = self.form().take(&regions, &mut rest, &mut rows, &mut log);
                if self.mode != Mode::Digest {
                    self.form().emit(&regions, &record, &mut buffers.replies[lane]);
                }
                buffers.record_counts[lane] += 1;
            }
            buffers.settled[lane] = buffers.used[lane];
            buffers.rows_used[lane] = 0;
            lanes.logs[lane] = log;
        }
    }

    /// Answers reset and inject: the one record that stands in `buffers` starts the lane's chain.
    pub fn answer_start(&self, lanes: &mut Lanes<'_, R>, buffers: &mut Buffers, reply: &mut Vec<u8>) {
        lanes.logs[0].clear();
        self.settle(lanes, buffers);
        lanes.chains[0] = self.settled.digest.of(0, buffers.window(0));
        match self.mode {
            Mode::Digest => reply.extend_from_slice(&lanes.chains[0].to_le_bytes()),
            Mode::Full | Mode::State => reply.extend_from_slice(&buffers.replies[0]),
        }
    }
}
