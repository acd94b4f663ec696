//! The verbs of the protocol over lanes on a device.

use super::{BLOCK, Device, DeviceRules, OnDevice, Parameters, kernel, raw_records, raw_steps};
use crate::backend::{Backend, Fault, Settled, StepMany};
use crate::bytes::Reader;
use crate::host::settle::Form;
use crate::lane::{Header, Source};
use crate::rules::Refusal;
use crate::scalar::refuse_undefined;
use crate::shape::{Resets, Shape};
use crate::wire::Mode;
use bytemuck::{Zeroable, cast_slice, cast_slice_mut};
use rayon::prelude::*;
use serde_json::Value;

/// Bytes of records that launches leave at most before they are fetched.
const RECORD_BYTES_MAX: usize = 64 << 20;
/// Bytes of rows that one lane may leave in one launch, unless a single step leaves more.
const ROWS_BYTES_MAX: usize = 1 << 20;

/// What the device holds for one request over some lanes.
struct Room {
    count: usize,
    stride: usize,
    rows_stride: usize,
    bytes: u64,
    used: u64,
    rows: u64,
    rows_used: u64,
    ended: u64,
}

/// What has become of one lane in a request.
#[derive(Default)]
struct Told {
    reply: Vec<u8>,
    window: Vec<u8>,
    settled: usize,
    records: u32,
    log: Vec<u8>,
}

/// A device that fails is a bug of the source, or of the machine, as a panic of the Rust rules is.
fn sure<R: DeviceRules, T>(result: Result<T, String>) -> T {
    result.unwrap_or_else(|why| panic!("the kernels of {}: {why}", R::NAME))
}

impl<R: DeviceRules, D: Device> OnDevice<R, D> {
    fn form(&self, settled: Settled, mode: Mode, grain: Option<usize>) -> Form<'_> {
        Form { shape: &self.shape, settled, mode, grain, reward_bytes: size_of::<R::Reward>() }
    }

    fn room(&mut self, count: usize, stride: usize, rows_stride: usize) -> Result<Room, String> {
        // Records begin at whole words.
        let (stride, rows_stride) = (stride.next_multiple_of(8), rows_stride.next_multiple_of(8));
        let device = self.device.get_mut();
        Ok(Room {
            count,
            stride,
            rows_stride,
            bytes: device.allocate("the records", count * stride, false)?,
            used: device.allocate("the counts of records", 4 * count, true)?,
            rows: device.allocate("the rows", (count * rows_stride).max(8), false)?,
            rows_used: device.allocate("the counts of rows", 4 * count, true)?,
            ended: device.allocate("the counts of episodes", 4 * count, true)?,
        })
    }

    fn release(&mut self, room: &Room) -> Result<(), String> {
        let device = self.device.get_mut();
        for address in [room.bytes, room.used, room.rows, room.rows_used, room.ended] {
            device.release(address)?;
        }
        Ok(())
    }

    fn put_room(&self, parameters: Parameters, room: &Room) -> Parameters {
        let Room { bytes, used, rows, rows_used, ended, stride, rows_stride, .. } = *room;
        parameters.put(&raw_records(bytes, used, rows, rows_used, ended, stride, rows_stride), 8)
    }

    fn launch_reset(&mut self, first: usize, room: &Room, which: u64, named: bool) -> Result<(), String> {
        let parameters = self.put_lanes(Parameters::default().word(room.count as u32), first);
        let parameters = self.put_room(parameters, room).address(self.at.world).address(self.at.shape);
        let parameters = parameters.address(which).word(u32::from(named));
        let block = if room.count == 1 { 1 } else { BLOCK };
        self.device.get_mut().launch(&kernel::<R>("reset"), room.count, block, &parameters.0)
    }

    /// Fetches what the last launch left and completes it.
    fn fetch(&mut self, first: usize, room: &Room, form: Settling, told: &mut [Told]) -> Result<(), String> {
        let mut used = vec![0u32; room.count];
        let mut rows_used = vec![0u32; room.count];
        let mut pieces = Vec::with_capacity(room.count);
        {
            let mut device = self.device.borrow_mut();
            device.read(room.used, cast_slice_mut(&mut used))?;
            if form.grain.is_some() {
                device.read(room.rows_used, cast_slice_mut(&mut rows_used))?;
            }
            for (i, told) in told.iter().enumerate() {
                let mut bytes = vec![0; used[i] as usize - told.settled];
                if !bytes.is_empty() {
                    device.read(room.bytes + (i * room.stride + told.settled) as u64, &mut bytes)?;
                }
                let mut rows = vec![0; rows_used[i] as usize];
                if !rows.is_empty() {
                    device.read(room.rows + (i * room.rows_stride) as u64, &mut rows)?;
                }
                pieces.push((bytes, rows));
            }
        }
        let canonical = self.shape.regions.iter().any(|region| region.canonical);
        let regions: Vec<Vec<u32>> = match canonical {
            true => (0..room.count)
                .map(|i| if pieces[i].0.is_empty() { Ok(Vec::new()) } else { self.regions(first + i) })
                .collect::<Result<_, _>>()?,
            false => vec![Vec::new(); room.count],
        };
        let (shape, Settling { settled, mode, grain }) = (&self.shape, form);
        let form = Form { shape, settled, mode, grain, reward_bytes: size_of::<R::Reward>() };
        told.par_iter_mut().zip(pieces).zip(regions).for_each(|((told, (mut bytes, rows)), regions)| {
            let regions = canonical_parts(shape, &regions);
            let (mut rest, mut rows) = (&mut bytes[..], &rows[..]);
            while !rest.is_empty() {
                let record = form.take(&regions, &mut rest, &mut rows, &mut told.log);
                if mode != Mode::Digest {
                    form.emit(&regions, &record, &mut told.reply);
                }
                told.records += 1;
            }
            told.settled += bytes.len();
            told.window.extend_from_slice(&bytes);
        });
        let mut device = self.device.borrow_mut();
        if form.grain.is_some() {
            device.write(room.rows_used, &vec![0; 4 * room.count])?;
        }
        Ok(())
    }

    /// Answers reset and inject: the one record that was left starts the lane's chain.
    fn answer_start(&mut self, lane: usize, room: &Room, form: Settling, reply: &mut Vec<u8>) -> Result<(), String> {
        let mut told = [Told::default()];
        self.fetch(lane, room, form, &mut told)?;
        let [told] = told;
        self.chains[lane] = form.settled.digest.of(0, &told.window);
        self.logs[lane] = told.log;
        match form.mode {
            Mode::Digest => reply.extend_from_slice(&self.chains[lane].to_le_bytes()),
            Mode::Full | Mode::State => reply.extend_from_slice(&told.reply),
        }
        Ok(())
    }

    /// Plays the tokens of some lanes; their replies stand one after the other.
    fn play(&mut self, form: Settling, request: &StepMany<'_>, first: usize, count: usize) -> Result<Vec<u8>, String> {
        let width = self.shape.tokens_per_step();
        let lane_tokens = request.step_count * width;
        let offset = (first - request.lane_first) * lane_tokens;
        let tokens = self.tokens_at(&request.tokens[offset..offset + count * lane_tokens])?;
        // The digest of a region is that of one step, so nothing may be played before it has been taken.
        let one_by_one = self.shape.regions.iter().any(|region| region.canonical);
        let row_bytes = form.grain.map_or(0, |grain| self.rows_max[grain] as usize * self.shape.row_bytes[grain]);
        let launch_steps = match one_by_one {
            true => 1,
            false => (ROWS_BYTES_MAX / row_bytes.max(1)).clamp(1, request.window),
        };
        let record = self.form(form.settled, form.mode, form.grain).record_bytes_max(self.draws_max);
        let window = request.window.min(request.step_count.max(1));
        let room = self.room(count, 2 * window * record, launch_steps * row_bytes)?;
        let head = if form.mode == Mode::Digest { 4 } else { 8 };
        let mut told: Vec<Told> = (0..count).map(|_| Told { reply: vec![0; head], ..Told::default() }).collect();
        let mut ended = vec![0u32; count];
        let mut step = 0;
        while step < request.step_count {
            let end = request.step_count.min(step + request.window);
            self.device.get_mut().write(room.used, &vec![0; 4 * count])?;
            told.iter_mut().for_each(|told| {
                told.window.clear();
                told.settled = 0;
            });
            while step < end {
                let steps = launch_steps.min(end - step);
                let at = tokens + 4 * (step * width) as u64;
                let parameters = self.put_lanes(Parameters::default().word(count as u32), first);
                let parameters = self.put_room(parameters, &room).address(self.at.world).address(self.at.shape);
                let parameters =
                    parameters.put(&raw_steps(at, lane_tokens, steps, form.grain, !one_by_one, form.settled.named), 8);
                self.device.get_mut().launch(&kernel::<R>("step_many"), count, BLOCK, &parameters.0)?;
                self.fetch(first, &room, form, &mut told)?;
                if one_by_one && self.shape.resets == Resets::Harness {
                    self.reset_ended(first, &room, form, &mut ended, &mut told)?;
                }
                step += steps;
            }
            for (i, told) in told.iter_mut().enumerate() {
                let chain = &mut self.chains[first + i];
                *chain = form.settled.digest.of(*chain, &told.window);
                if form.mode == Mode::Digest {
                    told.reply.extend_from_slice(&chain.to_le_bytes());
                }
            }
        }
        self.device.get_mut().read(room.ended, cast_slice_mut(&mut ended))?;
        self.release(&room)?;
        let mut reply = Vec::new();
        for (i, mut told) in told.into_iter().enumerate() {
            told.reply[..4].copy_from_slice(&ended[i].to_le_bytes());
            if form.mode != Mode::Digest {
                told.reply[4..8].copy_from_slice(&told.records.to_le_bytes());
            }
            reply.extend_from_slice(&told.reply);
            self.logs[first + i] = told.log;
        }
        Ok(reply)
    }

    /// Resets the lanes whose episode ended in the last launch.
    fn reset_ended(
        &mut self,
        first: usize,
        room: &Room,
        form: Settling,
        before: &mut Vec<u32>,
        told: &mut [Told],
    ) -> Result<(), String> {
        let mut after = vec![0u32; room.count];
        self.device.get_mut().read(room.ended, cast_slice_mut(&mut after))?;
        let which: Vec<u8> = before.iter().zip(&after).map(|(before, after)| u8::from(before != after)).collect();
        *before = after;
        if !which.contains(&1) {
            return Ok(());
        }
        let device = self.device.get_mut();
        let address = device.allocate("which lanes are reset", which.len(), true)?;
        device.write(address, &which)?;
        self.launch_reset(first, room, address, form.settled.named)?;
        self.device.get_mut().release(address)?;
        self.fetch(first, room, form, told)
    }

    fn inject_or_refuse(&mut self, lane: usize, room: &Room, canonical: &[u8]) -> Result<bool, String> {
        let device = self.device.get_mut();
        let refused = device.allocate("refusals", 4, true)?;
        let given = device.allocate("canonical fields", canonical.len().max(4), true)?;
        device.write(given, canonical)?;
        let parameters = self.put_lanes(Parameters::default().word(1).address(refused), lane);
        let parameters = self.put_room(parameters, room).address(self.at.world).address(self.at.shape).address(given);
        let device = self.device.get_mut();
        device.launch(&kernel::<R>("inject"), 1, 1, &parameters.0)?;
        let mut word = [0u32];
        device.read(refused, cast_slice_mut(&mut word))?;
        device.release(refused)?;
        device.release(given)?;
        Ok(word[0] != 0)
    }

    fn snapshot_of(&self, lane: usize, out: &mut Vec<u8>) -> Result<(), String> {
        let header = self.header(lane)?;
        let list = &self.lists[lane];
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
        out.extend_from_slice(bytemuck::bytes_of(&self.state(lane)?));
        out.extend_from_slice(cast_slice(&self.regions(lane)?));
        for (address, size) in self.row_major() {
            let mut bytes = vec![0; size];
            self.device.borrow_mut().read(address + (lane * size) as u64, &mut bytes)?;
            out.extend_from_slice(&bytes);
        }
        Ok(())
    }

    /// The arrays of a lane that lie in one piece and belong to a snapshot: observations and rewards.
    fn row_major(&self) -> [(u64, usize); 2] {
        let agents = self.shape.agents;
        [
            (self.at.observations, agents * self.shape.observation_bytes),
            (self.at.rewards, agents * size_of::<R::Reward>()),
        ]
    }

    /// Takes state, regions, observations and rewards of a lane from bytes.
    fn restore_parts(&mut self, lane: usize, mut rest: &[u8]) -> Result<(), String> {
        let mut take = |size: usize| {
            let (head, tail) = rest.split_at(size);
            rest = tail;
            head
        };
        let state = take(size_of::<R::State>());
        let regions = take(4 * self.raw_shape.region_words as usize).chunks_exact(4);
        let regions: Vec<u32> = regions.map(|four| u32::from_ne_bytes(four.try_into().expect("four bytes"))).collect();
        let rows = self.row_major();
        let rows = rows.map(|(address, size)| (address + (lane * size) as u64, take(size)));
        let (address, stride) = (self.at.states + 4 * lane as u64, 4 * self.lane_count);
        let device = self.device.get_mut();
        device.write_apart(address, stride, state.len() / 4, state)?;
        for (address, bytes) in rows {
            device.write(address, bytes)?;
        }
        self.set_regions(lane, &regions)
    }

    /// Derives deciders and masks of a lane whose state was set.
    fn refresh(&mut self, lane: usize) -> Result<(), String> {
        let parameters = self.put_lanes(Parameters::default().word(1), lane);
        let parameters = parameters.address(self.at.world).address(self.at.shape);
        self.device.get_mut().launch(&kernel::<R>("legal"), 1, 1, &parameters.0)
    }
}

/// How a request's records are completed.
#[derive(Clone, Copy)]
struct Settling {
    settled: Settled,
    mode: Mode,
    grain: Option<usize>,
}

/// The bytes of the canonical regions, out of all of a lane's words.
fn canonical_parts<'a>(shape: &Shape, words: &'a [u32]) -> Vec<&'a [u8]> {
    let mut rest = words;
    let mut parts = Vec::new();
    if words.is_empty() {
        return parts;
    }
    for region in &shape.regions {
        let (head, tail) = rest.split_at(region.bytes / 4);
        rest = tail;
        if region.canonical {
            parts.push(cast_slice(head));
        }
    }
    parts
}

impl<R: DeviceRules, D: Device> Backend for OnDevice<R, D> {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn lane_count(&self) -> usize {
        self.lane_count
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
        let form = Settling { settled, mode, grain: None };
        sure::<R, _>(self.set_source(lane, header, source));
        let record = self.form(settled, mode, None).record_bytes_max(self.draws_max);
        let room = sure::<R, _>(self.room(1, record, 0));
        sure::<R, _>(self.launch_reset(lane, &room, 0, settled.named));
        sure::<R, _>(self.answer_start(lane, &room, form, reply));
        sure::<R, _>(self.release(&room));
        Ok(())
    }

    fn step_many(&mut self, settled: Settled, request: StepMany<'_>, reply: &mut Vec<u8>) -> Result<(), Fault> {
        refuse_undefined(self.shape.action, request.tokens)?;
        let form = Settling { settled, mode: request.mode, grain: request.grain };
        let record = self.form(settled, request.mode, request.grain).record_bytes_max(self.draws_max);
        let size = (RECORD_BYTES_MAX / (2 * request.window * record)).max(1).next_multiple_of(32);
        let mut first = request.lane_first;
        while first < request.lane_first + request.lane_count {
            let count = size.min(request.lane_first + request.lane_count - first);
            reply.extend_from_slice(&sure::<R, _>(self.play(form, &request, first, count)));
            first += count;
        }
        Ok(())
    }

    fn snapshot(&self, lane: usize, out: &mut Vec<u8>) {
        sure::<R, _>(self.snapshot_of(lane, out));
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
        let rows: usize = self.row_major().iter().map(|(_, size)| size).sum();
        let fixed = size_of::<R::State>() + 4 * self.raw_shape.region_words as usize + rows;
        if input.rest().len() != fixed {
            return Err(Fault::Refused(format!("a snapshot has {} bytes of state, not {fixed}", input.rest().len())));
        }
        sure::<R, _>(self.restore_parts(lane, input.rest()));
        self.logs[lane].clear();
        self.chains[lane] = chain;
        sure::<R, _>(self.set_source(lane, Header { seed, stream, episode, elapsed, draw_index }, source));
        sure::<R, _>(self.refresh(lane));
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
        if state.len() != self.shape.state_bytes() {
            let expected = self.shape.state_bytes();
            return Err(Fault::Refused(format!("a state has {expected} bytes, not {}", state.len())));
        }
        let observation_bytes = self.shape.agents * self.shape.observation_bytes;
        if observation.len() != observation_bytes {
            let observed = observation.len();
            return Err(Fault::Refused(format!("the observations have {observation_bytes} bytes, not {observed}")));
        }
        let canonical = &state[..self.shape.canonical_bytes];
        let mut before = Vec::new();
        self.snapshot(lane, &mut before);
        sure::<R, _>(self.set_source(lane, header, source));
        if self.shape.regions.iter().any(|region| region.canonical) {
            let mut words = sure::<R, _>(self.regions(lane));
            let (mut rest, mut at) = (&state[canonical.len()..], 0);
            for region in &self.shape.regions {
                let count = region.bytes / 4;
                if region.canonical {
                    let (bytes, left) = rest.split_at(region.bytes);
                    cast_slice_mut(&mut words[at..at + count]).copy_from_slice(bytes);
                    rest = left;
                }
                at += count;
            }
            sure::<R, _>(self.set_regions(lane, &words));
        }
        let address = self.at.observations + (lane * observation_bytes) as u64;
        sure::<R, _>(self.device.get_mut().write(address, observation));
        let record = self.form(settled, mode, None).record_bytes_max(self.draws_max);
        let room = sure::<R, _>(self.room(1, record, 0));
        let refused = sure::<R, _>(self.inject_or_refuse(lane, &room, canonical));
        if !refused {
            let form = Settling { settled, mode, grain: None };
            sure::<R, _>(self.answer_start(lane, &room, form, reply));
        }
        sure::<R, _>(self.release(&room));
        if !refused {
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
        let mut header = sure::<R, _>(self.header(lane));
        if header.listed == 0 {
            (header.listed, header.list_place) = (1, 0);
            sure::<R, _>(self.set_header(lane, &header));
        }
        let values = [&self.lists[lane][..], more].concat();
        sure::<R, _>(self.set_list(lane, values));
    }

    fn probes(&self) -> &'static [&'static str] {
        R::PROBES
    }

    fn probe(&self, function: &str, input: &Value) -> Result<Value, Fault> {
        Ok(R::probe(&self.world, function, input)?)
    }
}
