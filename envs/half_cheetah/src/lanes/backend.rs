//! The judge's view of a field: requests over lanes, answered by stepping fields of the lanes asked for.
//!
//! Between requests a lane lies here in the form of its snapshot, which is also that of the readable backend. A request
//! sets its lanes side by side in a field, plays them there, writes each lane's records from the field, and takes them
//! back. So whatever the judge compares came out of the step that training takes.

use super::field::{Field, Noted};
use super::instructions::{Instructions, Precision};
use crate::rules::HalfCheetah;
use crate::state::State;
use crate::world::World;
use lockstep_core::backend::{Backend, Fault, Settled, StepMany};
use lockstep_core::wire::Mode;
use lockstep_core::{
    Files, HEAD_INJECT, HEAD_RESET, HEAD_STEP, Header, Opened, Options, Reader, Refusal, Rules, Shape, Source, Writer,
};
use serde_json::Value;
use std::ops::Range;

/// Lanes that one field plays at a time.
const FIELD_LANES: usize = 512;

/// Bytes of one entry of a draw log.
const DRAW_BYTES: usize = 20;

/// The flag of a step that reached the time limit.
const TRUNCATED: u32 = 1 << 9;

/// Lanes of HalfCheetah behind the verbs of the protocol.
pub struct Simd {
    world: World,
    shape: Shape,
    instructions: Instructions,
    precision: Precision,
    lanes: Vec<Lane>,
}

/// One lane between requests.
#[derive(Clone)]
struct Lane {
    header: Header,
    source: Source,
    state: State,
    observation: Vec<u8>,
    reward: f64,
    chain: u64,
    log: Vec<u8>,
}

impl Simd {
    /// `lanes` lanes before their first reset.
    pub fn new(world: World, lanes: usize, instructions: Instructions, precision: Precision) -> Self {
        let shape = world.shape();
        let lane = Lane {
            header: Header::default(),
            source: Source::Seeded,
            state: bytemuck::Zeroable::zeroed(),
            observation: vec![0; shape.observation_bytes],
            reward: 0.0,
            chain: 0,
            log: Vec::new(),
        };
        Simd { world, shape, instructions, precision, lanes: vec![lane; lanes] }
    }

    /// Opens `rust.simd` for a runner: the instruction set is the one that `LOCKSTEP_HALF_CHEETAH_SIMD` names, or the
    /// fastest.
    ///
    /// # Errors
    /// If the options are wrong, or there is no such instruction set.
    pub fn open(options: Options, files: &Files, lanes: usize) -> Result<Opened, String> {
        let world = World::new(options, files).map_err(|error| error.0)?;
        let simd = Simd::new(world, lanes, Instructions::chosen()?, Precision::Double);
        Ok(Opened::of::<HalfCheetah>(Box::new(simd)))
    }

    /// Opens `rust.f32`, in the same way.
    ///
    /// # Errors
    /// If the options are wrong, or there is no such instruction set.
    pub fn open_single(options: Options, files: &Files, lanes: usize) -> Result<Opened, String> {
        let world = World::new(options, files).map_err(|error| error.0)?;
        let simd = Simd::new(world, lanes, Instructions::chosen()?, Precision::Single);
        Ok(Opened::of::<HalfCheetah>(Box::new(simd)))
    }

    /// Answers reset and inject: the record starts the lane's chain.
    fn answer_start(&mut self, settled: Settled, mode: Mode, lane: usize, head: u32, log: &[u8], reply: &mut Vec<u8>) {
        let (world, lane) = (&self.world, &mut self.lanes[lane]);
        lane.reward = 0.0;
        let mut record = Vec::new();
        append_record(head, log, world, &lane.state, &lane.observation, 0.0, &mut record);
        lane.chain = settled.digest.of(0, &record);
        lane.log.clear();
        lane.log.extend_from_slice(log);
        match mode {
            Mode::Digest => reply.extend_from_slice(&lane.chain.to_le_bytes()),
            Mode::Full | Mode::State => append_sized(reply, &record),
        }
    }

    /// Plays the tokens of a few lanes side by side, and appends their answers.
    fn play(
        &mut self,
        settled: Settled,
        request: &StepMany<'_>,
        lanes: Range<usize>,
        tokens: &[u32],
        reply: &mut Vec<u8>,
    ) {
        let (steps, count) = (request.step_count, lanes.len());
        let limit = self.shape.episode_steps_max.unwrap_or(u32::MAX);
        let mut field = Field::new(&self.world, count, self.instructions, self.precision);
        let (world, lanes) = (&self.world, &mut self.lanes[lanes]);
        for (i, lane) in lanes.iter_mut().enumerate() {
            field.set(i, &lane.state);
            lane.log.clear();
        }
        let (mut controls, mut rewards) = (vec![[0.0; 6]; count], vec![0.0; count]);
        let mut answers: Vec<Answer> = vec![Answer::default(); count];
        for step in 0..steps {
            for (i, control) in controls.iter_mut().enumerate() {
                let tokens = &tokens[(i * steps + step) * 6..][..6];
                *control = std::array::from_fn(|joint| control_of(tokens[joint]));
            }
            field.step(&controls, &mut rewards);
            let is_window_end = (step + 1) % request.window == 0 || step + 1 == steps;
            for (i, lane) in lanes.iter_mut().enumerate() {
                let answer = &mut answers[i];
                lane.reward = rewards[i];
                field.observe(i, &mut lane.observation);
                lane.header.elapsed = lane.header.elapsed.wrapping_add(1);
                let truncated = lane.header.elapsed >= limit;
                let head = HEAD_STEP | if truncated { TRUNCATED } else { 0 };
                answer.record(request.mode, head, &[], world, field.state(i), lane);
                if truncated {
                    let episode = lane.header.episode.wrapping_add(1);
                    lane.header = Header { episode, elapsed: 0, draw_index: 0, ..lane.header };
                    let mut noted = Noted { named: settled.named, kept: true, ..Noted::default() };
                    field.start(i, lane.header, &mut noted);
                    lane.reward = 0.0;
                    field.observe(i, &mut lane.observation);
                    answer.ended += 1;
                    answer.record(request.mode, HEAD_RESET, &noted.bytes, world, field.state(i), lane);
                    lane.log.extend_from_slice(&noted.bytes);
                }
                if is_window_end {
                    lane.chain = settled.digest.of(lane.chain, &answer.window);
                    answer.window.clear();
                    if request.mode == Mode::Digest {
                        answer.replies.extend_from_slice(&lane.chain.to_le_bytes());
                    }
                }
            }
        }
        for (i, (lane, answer)) in lanes.iter_mut().zip(&answers).enumerate() {
            lane.state = *field.state(i);
            reply.extend_from_slice(&answer.ended.to_le_bytes());
            if request.mode != Mode::Digest {
                reply.extend_from_slice(&answer.records.to_le_bytes());
            }
            reply.extend_from_slice(&answer.replies);
        }
    }
}

/// Beyond this a state is refused in singles. Play that was looked at stays below 28; from some 200 on MuJoCo itself,
/// its state rounded to singles, ends a step elsewhere altogether, so that there is nothing to hold singles to.
const VELOCITY_MAX_SINGLE: f64 = 60.0;

fn refuse_violence(state: &State) -> Result<(), Refusal> {
    match state.qvel.iter().position(|speed| speed.abs() > VELOCITY_MAX_SINGLE) {
        Some(index) => Err(Refusal(format!("qvel[{index}] is beyond {VELOCITY_MAX_SINGLE}, too violent for singles"))),
        None => Ok(()),
    }
}

/// The control that a token stands for.
#[inline]
pub(super) fn control_of(token: u32) -> f32 {
    f32::from_bits(token.rotate_right(1))
}

/// The first token that is not a finite control, with what is said of it.
pub(super) fn undefined(tokens: &[u32]) -> Option<String> {
    let token = tokens.iter().find(|token| !control_of(**token).is_finite())?;
    let action = control_of(*token);
    Some(format!("token {token:#010x} is the action {action}; continuous actions are finite"))
}

/// What one lane answers to `step_many`.
#[derive(Clone, Default)]
struct Answer {
    ended: u32,
    records: u32,
    /// The records of the window that is being played.
    window: Vec<u8>,
    /// The records, or the chains.
    replies: Vec<u8>,
}

impl Answer {
    fn record(&mut self, mode: Mode, head: u32, log: &[u8], world: &World, state: &State, lane: &Lane) {
        let from = self.window.len();
        append_record(head, log, world, state, &lane.observation, lane.reward, &mut self.window);
        self.records += 1;
        if mode != Mode::Digest {
            append_sized(&mut self.replies, &self.window[from..]);
        }
    }
}

impl Backend for Simd {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn has_grains(&self) -> bool {
        false
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
        let mut field = Field::new(&self.world, 1, self.instructions, self.precision);
        let mut noted = Noted { named: settled.named, kept: true, ..Noted::default() };
        field.start(0, header, &mut noted);
        let ours = &mut self.lanes[lane];
        (ours.header, ours.source, ours.state) = (header, source, *field.state(0));
        field.observe(0, &mut ours.observation);
        self.answer_start(settled, mode, lane, HEAD_RESET, &noted.bytes, reply);
        Ok(())
    }

    fn step_many(&mut self, settled: Settled, request: StepMany<'_>, reply: &mut Vec<u8>) -> Result<(), Fault> {
        if request.grain.is_some() {
            return Err(Fault::Refused("this backend keeps no rows of a grain: ask backend rust for them".into()));
        }
        if let Some(what) = undefined(request.tokens) {
            return Err(Fault::BadRequest(what));
        }
        let lane_tokens = 6 * request.step_count;
        for first in (0..request.lane_count).step_by(FIELD_LANES) {
            let end = request.lane_count.min(first + FIELD_LANES);
            let lanes = request.lane_first + first..request.lane_first + end;
            self.play(settled, &request, lanes, &request.tokens[first * lane_tokens..end * lane_tokens], reply);
        }
        Ok(())
    }

    fn snapshot(&self, lane: usize, out: &mut Vec<u8>) {
        let Lane { header, source, state, observation, reward, chain, .. } = &self.lanes[lane];
        [header.seed, header.stream, *chain].iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        let (kind, place, values) = match source {
            Source::Seeded => (0, 0, &[][..]),
            Source::Listed { values, place } => (1, *place as u32, &values[..]),
        };
        for word in [header.episode, header.elapsed, header.draw_index, kind, place, values.len() as u32] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(bytemuck::cast_slice(values));
        out.extend_from_slice(bytemuck::bytes_of(state));
        out.extend_from_slice(observation);
        out.extend_from_slice(&reward.to_le_bytes());
    }

    fn restore(&mut self, lane: usize, bytes: &[u8]) -> Result<(), Fault> {
        let mut input = Reader::new(bytes);
        let (seed, stream, chain) = (input.u64()?, input.u64()?, input.u64()?);
        let (episode, elapsed, draw_index) = (input.u32()?, input.u32()?, input.u32()?);
        let (kind, place, count) = (input.u32()?, input.u32()?, input.u32()?);
        let values = input.u32s(count as usize)?;
        let source = match kind {
            0 => Source::Seeded,
            1 => Source::Listed { values, place: place as usize },
            other => return Err(Fault::BadRequest(format!("a snapshot has draw source {other}"))),
        };
        let state = bytemuck::pod_read_unaligned::<State>(input.take(size_of::<State>())?);
        let observation = input.take(self.shape.observation_bytes)?.to_vec();
        let reward = input.f64()?;
        if !input.rest().is_empty() {
            return Err(Fault::BadRequest(format!("{} bytes follow a snapshot", input.rest().len())));
        }
        let header = Header { seed, stream, episode, elapsed, draw_index };
        self.lanes[lane] = Lane { header, source, state, observation, reward, chain, log: Vec::new() };
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
        for (name, bytes, size) in [
            ("a state", state, self.shape.state_bytes()),
            ("an observation", observation, self.shape.observation_bytes),
        ] {
            if bytes.len() != size {
                return Err(Fault::Refused(format!("{name} has {size} bytes, not {}", bytes.len())));
            }
        }
        let mut injected = self.lanes[lane].state;
        HalfCheetah::inject(&self.world, &mut injected, &mut Reader::new(state))?;
        if self.precision == Precision::Single {
            refuse_violence(&injected)?;
        }
        let ours = &mut self.lanes[lane];
        (ours.header, ours.source, ours.state) = (header, source, injected);
        ours.observation.copy_from_slice(observation);
        self.answer_start(settled, mode, lane, HEAD_INJECT, &[], reply);
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
        HalfCheetah::PROBES
    }

    fn probe(&self, function: &str, input: &Value) -> Result<Value, Fault> {
        Ok(HalfCheetah::probe(&self.world, function, input)?)
    }
}

fn append_record(
    kind: u32,
    log: &[u8],
    world: &World,
    state: &State,
    observation: &[u8],
    reward: f64,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&(kind | HalfCheetah::deciders(world, state) << 16).to_le_bytes());
    out.extend_from_slice(&((log.len() / DRAW_BYTES) as u32).to_le_bytes());
    out.extend_from_slice(log);
    let mut canonical = [0; size_of::<State>()];
    HalfCheetah::canonical(world, state, &mut Writer::new(&mut canonical));
    out.extend_from_slice(&canonical);
    out.extend_from_slice(observation);
    out.extend_from_slice(&reward.to_le_bytes());
}

fn append_sized(reply: &mut Vec<u8>, bytes: &[u8]) {
    reply.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    reply.extend_from_slice(bytes);
}
