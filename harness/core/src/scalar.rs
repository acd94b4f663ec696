//! The readable backend over any rules: lane after lane, spread over threads.

use crate::backend::{Backend, Fault, Settled, StepMany};
use crate::lane::{Form, Header, Lane, Source};
use crate::records::{DRAW_BYTES, Rows};
use crate::rules::Rules;
use crate::shape::{ActionKind, Shape};
use crate::wire::Mode;
use rayon::prelude::*;
use serde_json::Value;

/// Lanes of one world, each stepped by the rules as they stand.
pub struct Scalar<R: Rules> {
    world: R::World,
    shape: Shape,
    lanes: Vec<Lane<R>>,
}

impl<R: Rules> Scalar<R> {
    /// `lane_count` lanes before their first reset.
    pub fn new(world: R::World, lane_count: usize) -> Self {
        let shape = R::shape(&world);
        let lanes = (0..lane_count).map(|_| Lane::new(&shape)).collect();
        Scalar { world, shape, lanes }
    }

    /// One lane, to look at.
    pub fn lane(&self, lane: usize) -> &Lane<R> {
        &self.lanes[lane]
    }
}

impl<R: Rules> Backend for Scalar<R> {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn lane_count(&self) -> usize {
        self.lanes.len()
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
        let lane = &mut self.lanes[lane];
        lane.header = header;
        lane.source = source;
        answer_start(lane, &self.world, &self.shape, settled, mode, reply, Lane::record_reset);
        Ok(())
    }

    fn step_many(&mut self, settled: Settled, request: StepMany<'_>, reply: &mut Vec<u8>) -> Result<(), Fault> {
        refuse_undefined(self.shape.action, request.tokens)?;
        let (world, shape) = (&self.world, &self.shape);
        let lanes = &mut self.lanes[request.lane_first..request.lane_first + request.lane_count];
        // Not chunks of `tokens`: without any token there would be no chunks, and no answer for the lanes.
        let lane_size = request.step_count * shape.tokens_per_step();
        let lane_tokens = |i: usize| &request.tokens[i * lane_size..(i + 1) * lane_size];
        if request.mode == Mode::Digest {
            let stride = 4 + 8 * request.step_count.div_ceil(request.window);
            let from = reply.len();
            reply.resize(from + stride * request.lane_count, 0);
            lanes.par_iter_mut().zip(reply[from..].par_chunks_mut(stride)).enumerate().for_each_init(
                Vec::new,
                |buffer, (i, (lane, out))| {
                    let tokens = lane_tokens(i);
                    let ended = play(lane, world, shape, settled, &request, tokens, buffer, |window, chain| {
                        out[4 + 8 * window..][..8].copy_from_slice(&chain.to_le_bytes());
                    });
                    out[..4].copy_from_slice(&ended.to_le_bytes());
                },
            );
        } else {
            // Alone, there is nobody to wait for, and nothing to put together afterwards.
            if lanes.len() == 1 || rayon::current_num_threads() == 1 {
                for (i, lane) in lanes.iter_mut().enumerate() {
                    play_in_full(lane, world, shape, settled, &request, lane_tokens(i), reply);
                }
                return Ok(());
            }
            let replies: Vec<Vec<u8>> = lanes
                .par_iter_mut()
                .enumerate()
                .map(|(i, lane)| {
                    let mut reply = Vec::new();
                    play_in_full(lane, world, shape, settled, &request, lane_tokens(i), &mut reply);
                    reply
                })
                .collect();
            replies.iter().for_each(|lane| reply.extend_from_slice(lane));
        }
        Ok(())
    }

    fn snapshot(&self, lane: usize, out: &mut Vec<u8>) {
        self.lanes[lane].snapshot(out);
    }

    fn restore(&mut self, lane: usize, bytes: &[u8]) -> Result<(), Fault> {
        Ok(self.lanes[lane].restore(&self.world, &self.shape, bytes)?)
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
        let lane = &mut self.lanes[lane];
        lane.inject(&self.world, &self.shape, header, source, state, observation)?;
        answer_start(lane, &self.world, &self.shape, settled, mode, reply, Lane::record_inject);
        Ok(())
    }

    fn draws(&self, lane: usize) -> &[u8] {
        &self.lanes[lane].log
    }

    fn append_draws(&mut self, lane: usize, more: &[u32]) {
        match &mut self.lanes[lane].source {
            Source::Listed { values, .. } => values.extend_from_slice(more),
            source @ Source::Seeded => *source = Source::Listed { values: more.to_vec(), place: 0 },
        }
    }

    fn probes(&self) -> &'static [&'static str] {
        R::PROBES
    }

    fn probe(&self, function: &str, input: &Value) -> Result<Value, Fault> {
        Ok(R::probe(&self.world, function, input)?)
    }
}

/// Refuses what no environment defines: a NaN or an infinity as a continuous action.
pub(crate) fn refuse_undefined(action: ActionKind, tokens: &[u32]) -> Result<(), Fault> {
    if action != ActionKind::Continuous {
        return Ok(());
    }
    match tokens.iter().find(|token| !f32::from_bits(token.rotate_right(1)).is_finite()) {
        None => Ok(()),
        Some(&token) => {
            let action = f32::from_bits(token.rotate_right(1));
            Err(Fault::BadRequest(format!("token {token:#010x} is the action {action}; continuous actions are finite")))
        }
    }
}

/// Answers reset and inject: the record starts the lane's chain.
fn answer_start<R: Rules>(
    lane: &mut Lane<R>,
    world: &R::World,
    shape: &Shape,
    settled: Settled,
    mode: Mode,
    reply: &mut Vec<u8>,
    record: impl Fn(&mut Lane<R>, &R::World, &Form<'_>, &mut Vec<u8>),
) {
    let form = Form { shape, digest: settled.digest, named: settled.named, state: false };
    let mut buffer = Vec::new();
    record(lane, world, &form, &mut buffer);
    lane.chain = settled.digest.of(0, &buffer);
    keep_log(lane, std::iter::once(buffer.as_slice()));
    match mode {
        Mode::Digest => reply.extend_from_slice(&lane.chain.to_le_bytes()),
        Mode::Full => append_sized(reply, &buffer),
        Mode::State => {
            let state = in_state_form(lane, world, shape, &buffer, 0);
            append_sized(reply, &state);
        }
    }
}

/// Plays one lane's tokens window by window; returns how many episodes ended.
#[expect(clippy::too_many_arguments, reason = "the parts of one request over one lane")]
fn play<R: Rules>(
    lane: &mut Lane<R>,
    world: &R::World,
    shape: &Shape,
    settled: Settled,
    request: &StepMany<'_>,
    tokens: &[u32],
    buffer: &mut Vec<u8>,
    mut window_done: impl FnMut(usize, u64),
) -> u32 {
    let form = Form { shape, digest: settled.digest, named: settled.named, state: false };
    let mut rows = rows_wanted(shape, request);
    let mut ended = 0;
    lane.log.clear();
    for (window, tokens) in tokens.chunks(request.window * shape.tokens_per_step()).enumerate() {
        buffer.clear();
        for step in tokens.chunks_exact(shape.tokens_per_step()) {
            if let Some(rows) = &mut rows {
                rows.bytes.clear();
            }
            let from = buffer.len();
            let outcome = lane.record_step(world, &form, step, rows.as_mut(), buffer);
            let mut log = std::mem::take(&mut lane.log);
            append_log(&mut log, &buffer[from..]);
            ended += u32::from(outcome.terminated || outcome.truncated);
            if Lane::<R>::needs_reset(shape, outcome) {
                let from = buffer.len();
                lane.record_reset(world, &form, buffer);
                append_log(&mut log, &buffer[from..]);
            }
            lane.log = log;
        }
        lane.chain = settled.digest.of(lane.chain, buffer);
        window_done(window, lane.chain);
    }
    ended
}

/// Plays one lane's tokens and appends every record.
fn play_in_full<R: Rules>(
    lane: &mut Lane<R>,
    world: &R::World,
    shape: &Shape,
    settled: Settled,
    request: &StepMany<'_>,
    tokens: &[u32],
    reply: &mut Vec<u8>,
) {
    let form = Form { shape, digest: settled.digest, named: settled.named, state: false };
    let mut rows = rows_wanted(shape, request);
    let head = reply.len();
    reply.extend_from_slice(&[0; 8]);
    let (mut ended, mut records) = (0u32, 0u32);
    let mut window = Vec::new();
    let rows_bytes = if request.grain.is_some() { 12 } else { 0 };
    let mut log = Vec::new();
    for tokens in tokens.chunks(request.window * shape.tokens_per_step()) {
        window.clear();
        for step in tokens.chunks_exact(shape.tokens_per_step()) {
            if let Some(rows) = &mut rows {
                rows.bytes.clear();
            }
            let from = window.len();
            let outcome = lane.record_step(world, &form, step, rows.as_mut(), &mut window);
            emit(lane, world, shape, request.mode, &window[from..], rows_bytes, reply);
            if let Some(rows) = &rows {
                append_sized(reply, &rows.bytes);
            }
            append_log(&mut log, &window[from..]);
            records += 1;
            ended += u32::from(outcome.terminated || outcome.truncated);
            if Lane::<R>::needs_reset(shape, outcome) {
                let from = window.len();
                lane.record_reset(world, &form, &mut window);
                emit(lane, world, shape, request.mode, &window[from..], 0, reply);
                if rows.is_some() {
                    append_sized(reply, &[]);
                }
                append_log(&mut log, &window[from..]);
                records += 1;
            }
        }
        lane.chain = settled.digest.of(lane.chain, &window);
    }
    lane.log = log;
    reply[head..head + 4].copy_from_slice(&ended.to_le_bytes());
    reply[head + 4..head + 8].copy_from_slice(&records.to_le_bytes());
}

fn rows_wanted(shape: &Shape, request: &StepMany<'_>) -> Option<Rows> {
    request.grain.map(|grain| Rows { grain, row_bytes: shape.row_bytes[grain], bytes: Vec::new() })
}

fn emit<R: Rules>(
    lane: &Lane<R>,
    world: &R::World,
    shape: &Shape,
    mode: Mode,
    record: &[u8],
    rows_bytes: usize,
    reply: &mut Vec<u8>,
) {
    match mode {
        Mode::State => append_sized(reply, &in_state_form(lane, world, shape, record, rows_bytes)),
        _ => append_sized(reply, record),
    }
}

/// The same record with the canonical part in state form.
fn in_state_form<R: Rules>(
    lane: &Lane<R>,
    world: &R::World,
    shape: &Shape,
    record: &[u8],
    rows_bytes: usize,
) -> Vec<u8> {
    let before = 8 + draw_bytes(record) + rows_bytes;
    let mut out = record[..before].to_vec();
    lane.write_canonical(world, shape, None, &mut out);
    out.extend_from_slice(&record[before + shape.record_canonical_bytes()..]);
    out
}

#[inline]
fn draw_bytes(record: &[u8]) -> usize {
    u32::from_le_bytes(record[4..8].try_into().expect("four bytes")) as usize * DRAW_BYTES
}

#[inline]
fn append_log(log: &mut Vec<u8>, record: &[u8]) {
    let size = draw_bytes(record);
    if size > 0 {
        log.extend_from_slice(&record[8..8 + size]);
    }
}

fn keep_log<'a, R: Rules>(lane: &mut Lane<R>, records: impl Iterator<Item = &'a [u8]>) {
    lane.log.clear();
    for record in records {
        append_log(&mut lane.log, record);
    }
}

#[inline]
fn append_sized(reply: &mut Vec<u8>, bytes: &[u8]) {
    reply.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    reply.extend_from_slice(bytes);
}
