//! The judge's view of a field: requests over lanes, answered by stepping fields of the lanes asked for.
//!
//! Between requests a lane lies here in the form of its snapshot, which is also that of the readable backend. A request
//! sets its lanes side by side in fields, plays them there, writes each lane's records from the field's arrays, and
//! takes them back. So whatever the judge compares came out of the step that training takes.

use super::field::{Field, Layout, Outputs};
use super::instructions::Instructions;
use crate::rules::Pong;
use crate::state::State;
use crate::world::World;
use lockstep_core::backend::{Backend, Fault, Settled, StepMany};
use lockstep_core::wire::Mode;
use lockstep_core::{
    Files, HEAD_INJECT, HEAD_RESET, HEAD_STEP, Header, Opened, Options, Reader, Refusal, Rules, SITE_UNNAMED, Shape,
    Source, TERMINATED, Writer, decode,
};
use std::ops::Range;

/// Lanes that one field plays at a time: enough to fill its vectors, few enough to stay in a near cache with what is
/// written about them.
const FIELD_LANES: usize = 64;

/// The place of `serve` in the manifest's `draws.sites`.
const SITE_SERVE: u32 = 0;
/// `rand() % 2`.
const SERVE_BOUND: u64 = 2;

/// Lanes of Pong behind the verbs of the protocol.
pub struct Simd {
    world: World,
    shape: Shape,
    instructions: Instructions,
    layout: Layout,
    lanes: Vec<Lane>,
}

/// One lane between requests.
#[derive(Clone)]
struct Lane {
    header: Header,
    source: Source,
    state: State,
    observation: [f32; 8],
    reward: f32,
    chain: u64,
    log: Vec<u8>,
}

impl Simd {
    /// `lanes` lanes before their first reset.
    ///
    /// # Errors
    /// Names the option with which the state would not be whole numbers.
    pub fn new(world: World, lanes: usize, instructions: Instructions, layout: Layout) -> Result<Self, String> {
        let mut field = Field::new(&world, 1, instructions)?;
        field.start(0, Header::default(), Source::Seeded);
        let lane = Lane {
            header: Header::default(),
            source: Source::Seeded,
            state: field.state(0),
            observation: [0.0; 8],
            reward: 0.0,
            chain: 0,
            log: Vec::new(),
        };
        Ok(Simd { shape: world.shape(), world, instructions, layout, lanes: vec![lane; lanes] })
    }

    /// Opens it for a runner: the instruction set is the one that `LOCKSTEP_PONG_SIMD` names, or the fastest.
    ///
    /// # Errors
    /// If the options are wrong or not all default, or there is no such instruction set.
    pub fn open(options: Options, files: &Files, lanes: usize) -> Result<Opened, String> {
        let world = World::new(options, files).map_err(|error| error.0)?;
        let simd = Simd::new(world, lanes, Instructions::chosen()?, layout_chosen()?)?;
        Ok(Opened::of::<Pong>(Box::new(simd)))
    }

    fn field(&self, lanes: usize) -> Field {
        Field::new(&self.world, lanes, self.instructions).expect("the options were found good")
    }

    /// Answers reset and inject: the record starts the lane's chain.
    fn answer_start(&mut self, settled: Settled, mode: Mode, lane: usize, head: u32, log: &[u8], reply: &mut Vec<u8>) {
        let lane = &mut self.lanes[lane];
        lane.reward = 0.0;
        let mut record = Vec::new();
        append_record(head, log, &self.world, &lane.state, &lane.observation, 0.0, &mut record);
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
        let mut field = self.field(count);
        let lanes = &mut self.lanes[lanes];
        let (mut observations, mut rewards) = (vec![0.0; 8 * count], vec![0.0; count]);
        for (i, lane) in lanes.iter_mut().enumerate() {
            let source = std::mem::take(&mut lane.source);
            field.set(i, lane.header, source, &lane.state, lane.observation).expect("it was checked when it came in");
            lane.log.clear();
        }
        let (mut actions, mut terminals) = (vec![0; count], vec![0; count]);
        let mut answers: Vec<Answer> = vec![Answer::default(); count];
        let mut drawn: Vec<Option<u32>> = vec![None; count];
        for step in 0..steps {
            for (i, action) in actions.iter_mut().enumerate() {
                *action = decode(self.shape.action, &[], tokens[i * steps + step]) as u8;
            }
            let outputs = Outputs { observations: &mut observations, rewards: &mut rewards, terminals: &mut terminals };
            field.step(self.layout, &actions, outputs);
            field.points().iter().for_each(|point| drawn[point.lane] = Some(point.drawn));
            let is_window_end = (step + 1) % request.window == 0 || step + 1 == steps;
            for (i, lane) in lanes.iter_mut().enumerate() {
                let answer = &mut answers[i];
                let head = HEAD_STEP | if terminals[i] != 0 { TERMINATED } else { 0 };
                let view = observation(self.layout, &observations, count, i);
                let log = drawn[i].take().map(|value| draw(settled.named, value));
                let log = log.as_ref().map_or(&[][..], |log| &log[..]);
                let from = answer.window.len();
                append_record(head, log, &self.world, &field.state(i), &view, rewards[i], &mut answer.window);
                lane.log.extend_from_slice(log);
                answer.ended += u32::from(terminals[i] != 0);
                if request.mode != Mode::Digest {
                    append_sized(&mut answer.records, &answer.window[from..]);
                }
                if is_window_end {
                    lane.chain = settled.digest.of(lane.chain, &answer.window);
                    answer.window.clear();
                    if request.mode == Mode::Digest {
                        answer.records.extend_from_slice(&lane.chain.to_le_bytes());
                    }
                }
            }
        }
        for (i, (lane, answer)) in lanes.iter_mut().zip(&answers).enumerate() {
            lane.header = field.header(i);
            lane.source = field.source(i).clone();
            lane.state = field.state(i);
            if steps > 0 {
                lane.observation = observation(self.layout, &observations, count, i);
                lane.reward = rewards[i];
            }
            reply.extend_from_slice(&answer.ended.to_le_bytes());
            if request.mode != Mode::Digest {
                reply.extend_from_slice(&(steps as u32).to_le_bytes());
            }
            reply.extend_from_slice(&answer.records);
        }
    }
}

/// What one lane answers to `step_many`.
#[derive(Clone, Default)]
struct Answer {
    ended: u32,
    /// The records of the window that is being played.
    window: Vec<u8>,
    /// The records, or the chains.
    records: Vec<u8>,
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
        let mut field = self.field(1);
        let drawn = field.start(0, header, source);
        let mut observation = [0.0; 8];
        field.observe(Layout::Rows, &mut observation);
        let ours = &mut self.lanes[lane];
        (ours.header, ours.source) = (field.header(0), field.source(0).clone());
        (ours.state, ours.observation) = (field.state(0), observation);
        self.answer_start(settled, mode, lane, HEAD_RESET, &draw(settled.named, drawn), reply);
        Ok(())
    }

    fn step_many(&mut self, settled: Settled, request: StepMany<'_>, reply: &mut Vec<u8>) -> Result<(), Fault> {
        if request.grain.is_some() {
            return Err(Fault::Refused("rust.simd keeps no rows of a grain: ask backend rust for them".into()));
        }
        for first in (0..request.lane_count).step_by(FIELD_LANES) {
            let end = request.lane_count.min(first + FIELD_LANES);
            let tokens = &request.tokens[first * request.step_count..end * request.step_count];
            let lanes = request.lane_first + first..request.lane_first + end;
            self.play(settled, &request, lanes, tokens, reply);
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
        out.extend_from_slice(bytemuck::cast_slice(observation));
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
        let observation = bytemuck::pod_read_unaligned::<[f32; 8]>(input.take(32)?);
        let reward = input.f32()?;
        if !input.rest().is_empty() {
            return Err(Fault::BadRequest(format!("{} bytes follow a snapshot", input.rest().len())));
        }
        let header = Header { seed, stream, episode, elapsed, draw_index };
        self.take_in(lane, header, source, state, observation)?;
        (self.lanes[lane].reward, self.lanes[lane].chain) = (reward, chain);
        self.lanes[lane].log.clear();
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
        Pong::inject(&self.world, &mut injected, &mut Reader::new(state))?;
        self.take_in(lane, header, source, injected, bytemuck::pod_read_unaligned(observation))?;
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
}

impl Simd {
    /// Takes a lane from outside, if a field can play it.
    fn take_in(
        &mut self,
        lane: usize,
        header: Header,
        source: Source,
        state: State,
        observation: [f32; 8],
    ) -> Result<(), Refusal> {
        self.field(1).set(0, header, Source::Seeded, &state, observation)?;
        let lane = &mut self.lanes[lane];
        (lane.header, lane.source, lane.state, lane.observation) = (header, source, state, observation);
        Ok(())
    }
}

/// The layout that `LOCKSTEP_PONG_LAYOUT` names; columns by default.
fn layout_chosen() -> Result<Layout, String> {
    match std::env::var("LOCKSTEP_PONG_LAYOUT").as_deref() {
        Err(_) | Ok("columns") => Ok(Layout::Columns),
        Ok("rows") => Ok(Layout::Rows),
        Ok(other) => Err(format!("LOCKSTEP_PONG_LAYOUT is {other:?}, neither columns nor rows")),
    }
}

fn observation(layout: Layout, observations: &[f32], lanes: usize, lane: usize) -> [f32; 8] {
    match layout {
        Layout::Columns => std::array::from_fn(|i| observations[i * lanes + lane]),
        Layout::Rows => std::array::from_fn(|i| observations[8 * lane + i]),
    }
}

/// One entry of a draw log.
fn draw(named: bool, value: u32) -> [u8; 20] {
    let mut entry = [0; 20];
    let mut out = Writer::new(&mut entry);
    out.u32(if named { SITE_SERVE } else { SITE_UNNAMED });
    out.u64(SERVE_BOUND);
    out.u64(value.into());
    entry
}

fn append_record(
    kind: u32,
    log: &[u8],
    world: &World,
    state: &State,
    observation: &[f32; 8],
    reward: f32,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&(kind | Pong::deciders(world, state) << 16).to_le_bytes());
    out.extend_from_slice(&((log.len() / 20) as u32).to_le_bytes());
    out.extend_from_slice(log);
    let mut canonical = [0; 48];
    Pong::canonical(world, state, &mut Writer::new(&mut canonical));
    out.extend_from_slice(&canonical);
    out.extend_from_slice(bytemuck::cast_slice(observation));
    out.extend_from_slice(&reward.to_le_bytes());
}

fn append_sized(reply: &mut Vec<u8>, bytes: &[u8]) {
    reply.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    reply.extend_from_slice(bytes);
}
