//! One side of a comparison: a reference or a backend behind the frames of `lockstep/1`, as typed calls.
//!
//! A side is asked in two halves, `send` and `receive`, so that reference and backend work at the same time. What it
//! answers is checked before anybody looks at it: sizes, counts and repeated numbers. A side that dies, hangs or lies is
//! named in the error and can be restarted.

mod error;
mod hello;
mod local;
mod module;
mod process;
mod words;

pub use error::{Place, SideError};
pub use hello::{Hello, HelloReply, HelloRequest};
pub use local::{Local, Opener};
pub use module::Module;
pub use process::{CommandLine, LogFile, Process};
pub use words::{Capabilities, Injection, LaneStart, Play, Source, Stepped, Terms, Windows};

use crate::manifest::{Configuration, Level};
use crate::record::{Draw, Measure, Record};
use lockstep_core::wire::{GRAIN_NONE, Mode, Verb};
use lockstep_core::{Digest, PROTOCOL, Reader};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What carries frames to one side and back.
pub trait Channel: Send {
    /// Sends one request. `sequence` counts up.
    ///
    /// # Errors
    /// If the side is gone or does not take the frame within the deadline.
    fn send(&mut self, sequence: u32, verb: Verb, body: &[u8], deadline: Duration) -> Result<(), SideError>;

    /// Receives the reply; `Ok(false)` is an error reply.
    ///
    /// # Errors
    /// If the side is gone, hangs, or sends what is not a frame.
    fn receive(
        &mut self,
        sequence: u32,
        verb: Verb,
        reply: &mut Vec<u8>,
        deadline: Duration,
    ) -> Result<bool, SideError>;

    /// Starts the side anew, before `hello`.
    ///
    /// # Errors
    /// If it can't be started.
    fn restart(&mut self) -> Result<(), SideError>;

    /// CPU seconds that its process and the children of it have used so far, if it is one.
    fn cpu_seconds(&self) -> Option<f64> {
        None
    }

    /// Its process and the children of it.
    fn processes(&self) -> Vec<u32> {
        Vec::new()
    }
}

/// A side after `hello`.
pub struct Side {
    /// `reference`, or the backend's name.
    pub role: String,
    /// What it calls itself.
    pub name: String,
    /// Its version of itself.
    pub version: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// The digest that it chose.
    pub digest: Digest,
    /// What it was asked for.
    pub configuration: Arc<Configuration>,
    /// What it was asked with.
    pub terms: Terms,
    /// Steps that it has played.
    pub steps_played: u64,
    channel: Box<dyn Channel>,
    sequence: u32,
    reply: Vec<u8>,
    request: Vec<u8>,
}

impl Side {
    /// Says hello over a channel that was just opened.
    ///
    /// # Errors
    /// If the side can't be talked to, or is not what the manifest says.
    pub fn connect(
        role: &str,
        channel: Box<dyn Channel>,
        configuration: Arc<Configuration>,
        terms: Terms,
    ) -> Result<Self, SideError> {
        let mut side = Side {
            role: role.to_owned(),
            name: String::new(),
            version: String::new(),
            capabilities: Capabilities {
                inject: "none".into(),
                probe: vec![],
                explain: false,
                draw_sites: false,
                grains: true,
            },
            digest: Digest::Xxh64,
            configuration,
            terms,
            steps_played: 0,
            channel,
            sequence: 0,
            reply: Vec::new(),
            request: Vec::new(),
        };
        side.hello()?;
        Ok(side)
    }

    /// Starts the side anew and says hello again; all lanes are lost.
    ///
    /// # Errors
    /// As [`Side::connect`].
    pub fn restart(&mut self) -> Result<(), SideError> {
        self.channel.restart()?;
        self.sequence = 0;
        self.hello()
    }

    /// Puts something between the judge and the side, and says hello again through it.
    ///
    /// # Errors
    /// As [`Side::connect`].
    pub fn tap(&mut self, tap: impl FnOnce(Box<dyn Channel>) -> Box<dyn Channel>) -> Result<(), SideError> {
        struct Nobody;
        impl Channel for Nobody {
            fn send(&mut self, _: u32, _: Verb, _: &[u8], _: Duration) -> Result<(), SideError> {
                unreachable!("it stands in for a moment")
            }
            fn receive(&mut self, _: u32, _: Verb, _: &mut Vec<u8>, _: Duration) -> Result<bool, SideError> {
                unreachable!("it stands in for a moment")
            }
            fn restart(&mut self) -> Result<(), SideError> {
                unreachable!("it stands in for a moment")
            }
        }
        self.channel = tap(std::mem::replace(&mut self.channel, Box::new(Nobody)));
        self.restart()
    }

    /// CPU seconds of its process and the children of it so far.
    pub fn cpu_seconds(&self) -> Option<f64> {
        self.channel.cpu_seconds()
    }

    /// Its process and the children of it; none where it is in ours.
    pub fn processes(&self) -> Vec<u32> {
        self.channel.processes()
    }

    fn hello(&mut self) -> Result<(), SideError> {
        let mut hello = self.configuration.hello();
        hello["lanes"] = json!(self.terms.lanes);
        hello["digests"] = json!(self.terms.digests);
        hello["settings"] = self.terms.settings.clone();
        // Where there are no sites, a number of one says nothing.
        hello["draws"]["named"] = json!(self.terms.named && !self.configuration.sites.is_empty());
        let body = hello.to_string();
        self.call(Verb::Hello, body.as_bytes())?;
        let answer: Value = serde_json::from_slice(&self.reply)
            .map_err(|error| self.lying(format!("its hello is not JSON: {error}")))?;
        self.check_hello(&answer)
    }

    fn check_hello(&mut self, answer: &Value) -> Result<(), SideError> {
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        if text("protocol") != PROTOCOL {
            let spoken = text("protocol");
            return Err(SideError::Version { role: self.role.clone(), spoken, expected: PROTOCOL.into() });
        }
        let configuration = self.configuration.clone();
        let named =
            [("environment", configuration.environment.as_str()), ("configuration_hash", configuration.hash.as_str())];
        for (key, expected) in named {
            if text(key) != expected {
                return Err(self.schema(format!("{key} is {:?} there and {expected:?} in the manifest", text(key))));
            }
        }
        let rows: Vec<usize> =
            configuration.grains.iter().map(|grain| grain.row.iter().map(|field| field.bytes()).sum()).collect();
        let sizes = [
            ("canonical_bytes", json!(configuration.canonical_bytes())),
            ("state_bytes", json!(configuration.state_bytes())),
            ("observation_bytes", json!(configuration.observation_bytes())),
            ("mask_bytes", json!(4 * configuration.mask_words())),
            ("reward_bytes", json!(configuration.reward.bytes())),
            ("row_bytes", json!(rows)),
        ];
        for (key, expected) in sizes {
            if answer[key] != expected {
                return Err(self.schema(format!("{key} is {} there and {expected} in the manifest", answer[key])));
            }
        }
        let capabilities = &answer["capabilities"];
        if capabilities["snapshot"] != json!(true) {
            return Err(self.schema("it has no snapshot, which is mandatory".into()));
        }
        let inject = capabilities["inject"].as_str().unwrap_or("none").to_owned();
        if !["full", "patch", "none"].contains(&inject.as_str()) {
            return Err(self.schema(format!("inject is {inject:?}, none of full, patch, none")));
        }
        let digest = text("digest");
        self.digest = Digest::named(&digest)
            .filter(|_| self.terms.digests.contains(&digest.as_str()))
            .ok_or_else(|| self.schema(format!("it digests with {digest:?}, which was not offered")))?;
        self.name = text("name");
        self.version = text("version");
        self.capabilities = Capabilities {
            inject,
            probe: capabilities["probe"]
                .as_array()
                .map(|names| names.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect())
                .unwrap_or_default(),
            explain: capabilities["explain"] == json!(true),
            draw_sites: capabilities["draw_sites"] == json!(true),
            // A side that says nothing keeps them.
            grains: capabilities["grains"] != json!(false),
        };
        Ok(())
    }

    /// Starts lanes; returns the chain of each.
    ///
    /// # Errors
    /// If the side fails.
    pub fn reset(&mut self, starts: &[LaneStart]) -> Result<Vec<u64>, SideError> {
        self.write_reset(Mode::Digest, starts);
        self.ask(Verb::Reset)?;
        self.read_chains(starts.len())
    }

    /// Starts one lane and returns its record.
    ///
    /// # Errors
    /// If the side fails.
    pub fn reset_in_full(&mut self, start: &LaneStart, mode: Mode) -> Result<Stepped, SideError> {
        self.write_reset(mode, std::slice::from_ref(start));
        self.ask(Verb::Reset)?;
        self.read_one_record(mode)
    }

    fn write_reset(&mut self, mode: Mode, starts: &[LaneStart]) {
        self.begin(&[mode as u32, starts.len() as u32]);
        for start in starts {
            words(&mut self.request, &[start.lane, start.episode]);
            write_seeds(&mut self.request, start);
        }
    }

    /// Sends tokens whose digests [`Side::finish_play`] collects.
    ///
    /// # Errors
    /// If the side does not take them.
    pub fn begin_play(&mut self, play: Play<'_>) -> Result<(), SideError> {
        self.write_play(Mode::Digest, play);
        let request = std::mem::take(&mut self.request);
        let result = self.send(Verb::StepMany, &request);
        self.request = request;
        result
    }

    /// The digests of the tokens that were sent.
    ///
    /// # Errors
    /// If the side fails.
    pub fn finish_play(&mut self, play: Play<'_>) -> Result<Vec<Windows>, SideError> {
        self.receive(Verb::StepMany)?;
        self.steps_played += (play.lane_count * play.step_count) as u64;
        let windows = play.step_count.div_ceil(play.window);
        let reply = std::mem::take(&mut self.reply);
        let mut input = Reader::new(&reply);
        let mut lanes = Vec::with_capacity(play.lane_count);
        let parsed = (|| {
            for _ in 0..play.lane_count {
                let episodes_ended = input.u32()?;
                let chains = (0..windows).map(|_| input.u64()).collect::<Result<_, _>>()?;
                lanes.push(Windows { episodes_ended, chains });
            }
            Ok::<_, lockstep_core::Cut>(())
        })();
        let complete = parsed.is_ok() && input.rest().is_empty();
        let size = reply.len();
        self.reply = reply;
        if !complete {
            return Err(
                self.lying(format!("it answered step_many with {size} bytes, which is not a digest per window"))
            );
        }
        Ok(lanes)
    }

    /// Plays tokens and returns digests.
    ///
    /// # Errors
    /// If the side fails.
    pub fn play(&mut self, play: Play<'_>) -> Result<Vec<Windows>, SideError> {
        self.begin_play(play)?;
        self.finish_play(play)
    }

    /// Sends tokens whose records [`Side::finish_play_in_full`] collects.
    ///
    /// # Errors
    /// If the side does not take them.
    pub fn begin_play_in_full(&mut self, play: Play<'_>, mode: Mode) -> Result<(), SideError> {
        self.write_play(mode, play);
        let request = std::mem::take(&mut self.request);
        let result = self.send(Verb::StepMany, &request);
        self.request = request;
        result
    }

    /// The records of the tokens that were sent, lane by lane.
    ///
    /// # Errors
    /// If the side fails, or its records are not as the manifest says.
    pub fn finish_play_in_full(&mut self, play: Play<'_>, mode: Mode) -> Result<Vec<Vec<Stepped>>, SideError> {
        self.finish_play_unread(play)?;
        self.read_play(play, mode)
    }

    /// Receives the records of the tokens that were sent, and looks at none of them: they stand in [`Side::unread`].
    ///
    /// # Errors
    /// If the side fails.
    pub fn finish_play_unread(&mut self, play: Play<'_>) -> Result<(), SideError> {
        self.receive(Verb::StepMany)?;
        self.steps_played += (play.lane_count * play.step_count) as u64;
        Ok(())
    }

    /// The bytes that were received last.
    pub fn unread(&self) -> &[u8] {
        &self.reply
    }

    /// Reads the records that [`Side::finish_play_unread`] has received.
    ///
    /// # Errors
    /// If they are not as the manifest says.
    pub fn read_play(&self, play: Play<'_>, mode: Mode) -> Result<Vec<Vec<Stepped>>, SideError> {
        let mut lanes: Vec<Vec<Stepped>> = (0..play.lane_count).map(|_| Vec::with_capacity(play.step_count)).collect();
        self.walk_play(play, mode, |lane, step, bytes, rows| {
            let record = Record::parse(&self.configuration, bytes, mode == Mode::State, play.grain.is_some())?;
            lanes[lane].push(Stepped { step, record, rows: rows.to_vec(), bytes: bytes.to_vec() });
            Ok(())
        })?;
        Ok(lanes)
    }

    /// Holds the records that were received to the manifest without reading them; returns the last one of each lane.
    ///
    /// # Errors
    /// If they are not as the manifest says.
    pub fn measure_play(&self, play: Play<'_>, mode: Mode) -> Result<Vec<&[u8]>, SideError> {
        let mut last: Vec<&[u8]> = vec![&[]; play.lane_count];
        let measure = Measure::new(&self.configuration, mode == Mode::State, play.grain.is_some());
        self.walk_play(play, mode, |lane, _, bytes, _| {
            last[lane] = bytes;
            measure.check(bytes)
        })?;
        Ok(last)
    }

    /// Hands out each record that was received as lane, step, bytes and rows.
    fn walk_play<'a>(
        &'a self,
        play: Play<'_>,
        mode: Mode,
        mut each: impl FnMut(usize, usize, &'a [u8], &'a [u8]) -> Result<(), lockstep_core::Cut>,
    ) -> Result<(), SideError> {
        debug_assert!(mode != Mode::Digest, "digests are no records");
        let cut = |_| self.lying("its records end too early".into());
        let mut input = Reader::new(&self.reply);
        for lane in 0..play.lane_count {
            let _episodes_ended = input.u32().map_err(cut)?;
            let count = input.u32().map_err(cut)?;
            let mut step = 0;
            for _ in 0..count {
                let size = input.u32().map_err(cut)? as usize;
                let bytes = input.take(size).map_err(cut)?;
                let rows = match play.grain {
                    Some(_) => {
                        let size = input.u32().map_err(cut)? as usize;
                        input.take(size).map_err(cut)?
                    }
                    None => &[],
                };
                let after_step = bytes.first().is_some_and(|kind| u32::from(*kind) != lockstep_core::HEAD_STEP);
                if after_step && step == 0 {
                    return Err(self.lying("a reset record came before the first step".into()));
                }
                each(lane, if after_step { step - 1 } else { step }, bytes, rows).map_err(|_| {
                    self.lying(format!("a record has {size} bytes, which is not what the manifest says"))
                })?;
                step += usize::from(!after_step);
            }
            if step != play.step_count {
                return Err(self.lying(format!("it sent records of {step} steps for {}", play.step_count)));
            }
        }
        if input.rest().is_empty() {
            Ok(())
        } else {
            Err(self.lying(format!("{} bytes follow its records", input.rest().len())))
        }
    }

    /// Plays tokens and returns records.
    ///
    /// # Errors
    /// As [`Side::finish_play_in_full`].
    pub fn play_in_full(&mut self, play: Play<'_>, mode: Mode) -> Result<Vec<Vec<Stepped>>, SideError> {
        self.begin_play_in_full(play, mode)?;
        self.finish_play_in_full(play, mode)
    }

    fn write_play(&mut self, mode: Mode, play: Play<'_>) {
        debug_assert_eq!(play.tokens.len(), play.lane_count * play.step_count * self.configuration.tokens_per_step());
        self.begin(&[
            mode as u32,
            play.grain.map_or(GRAIN_NONE, |grain| grain as u32),
            play.window as u32,
            play.lane_first as u32,
            play.lane_count as u32,
            play.step_count as u32,
        ]);
        words(&mut self.request, play.tokens);
    }

    /// Copies lanes out.
    ///
    /// # Errors
    /// If the side fails.
    pub fn snapshot(&mut self, lane: u32) -> Result<Vec<u8>, SideError> {
        self.begin(&[1, lane]);
        self.ask(Verb::Snapshot)?;
        let mut input = Reader::new(&self.reply);
        let blob = input.u32().and_then(|size| input.take(size as usize)).map(<[u8]>::to_vec);
        blob.map_err(|_| self.lying("its snapshot ends too early".into()))
    }

    /// Copies a snapshot into a lane.
    ///
    /// # Errors
    /// If the side fails.
    pub fn restore(&mut self, lane: u32, blob: &[u8]) -> Result<(), SideError> {
        self.begin(&[1, lane, blob.len() as u32]);
        self.request.extend_from_slice(blob);
        self.ask(Verb::Restore)
    }

    /// Sets states; returns the chain of each lane.
    ///
    /// # Errors
    /// If the side fails or refuses one of them.
    pub fn inject(&mut self, injections: &[Injection]) -> Result<Vec<u64>, SideError> {
        self.write_inject(Mode::Digest, injections);
        self.ask(Verb::Inject)?;
        self.read_chains(injections.len())
    }

    /// Sets one state and returns the record.
    ///
    /// # Errors
    /// If the side fails or refuses it.
    pub fn inject_in_full(&mut self, injection: &Injection, mode: Mode) -> Result<Stepped, SideError> {
        self.write_inject(mode, std::slice::from_ref(injection));
        self.ask(Verb::Inject)?;
        self.read_one_record(mode)
    }

    fn write_inject(&mut self, mode: Mode, injections: &[Injection]) {
        self.begin(&[mode as u32, injections.len() as u32]);
        for injection in injections {
            let start = &injection.start;
            words(&mut self.request, &[start.lane, start.episode, injection.elapsed, injection.draw_index]);
            write_seeds(&mut self.request, start);
            for part in [&injection.state, &injection.observations] {
                words(&mut self.request, &[part.len() as u32]);
                self.request.extend_from_slice(part);
            }
        }
    }

    /// The draws of the lane's last request.
    ///
    /// # Errors
    /// If the side fails.
    pub fn draws(&mut self, lane: u32) -> Result<Vec<Draw>, SideError> {
        self.begin(&[lane, 0]);
        self.ask(Verb::Draws)?;
        let mut input = Reader::new(&self.reply);
        let draws: Result<Vec<Draw>, lockstep_core::Cut> = (|| {
            let count = input.u32()?;
            (0..count).map(|_| Ok(Draw { site: input.u32()?, bound: input.u64()?, value: input.u64()? })).collect()
        })();
        draws.map_err(|_| self.lying("its draw log ends too early".into()))
    }

    /// Appends to the lane's list of draws.
    ///
    /// # Errors
    /// If the side fails.
    pub fn append_draws(&mut self, lane: u32, values: &[u32]) -> Result<(), SideError> {
        self.begin(&[lane, 1, values.len() as u32]);
        words(&mut self.request, values);
        self.ask(Verb::Draws)
    }

    /// Calls one pure function.
    ///
    /// # Errors
    /// If the side fails or refuses it.
    pub fn probe(&mut self, function: &str, input: &Value) -> Result<Value, SideError> {
        self.ask_json(Verb::Probe, &json!({"function": function, "input": input}))
            .map(|answer| answer["output"].clone())
    }

    /// Makes one step of a lane and tells what ran.
    ///
    /// # Errors
    /// If the side fails or does not explain.
    pub fn explain(&mut self, lane: u32, tokens: &[u32]) -> Result<Value, SideError> {
        self.ask_json(Verb::Explain, &json!({"lane": lane, "tokens": tokens}))
    }

    /// Sends any bytes as the body of a verb: for conformance checks.
    ///
    /// # Errors
    /// What the side answers.
    pub fn ask_raw(&mut self, verb: Verb, body: &[u8]) -> Result<Vec<u8>, SideError> {
        self.call(verb, body)?;
        Ok(self.reply.clone())
    }

    /// Asks the side to end.
    pub fn close(mut self) {
        // A side that is already gone is closed.
        let _ = self.call(Verb::Close, &[]);
    }

    /// Whether draws of the reference are replayed by the backend.
    pub fn replays_draws(&self) -> bool {
        self.configuration.level == Level::Recorded
    }

    fn ask_json(&mut self, verb: Verb, body: &Value) -> Result<Value, SideError> {
        self.call(verb, body.to_string().as_bytes())?;
        serde_json::from_slice(&self.reply)
            .map_err(|error| self.lying(format!("its answer to {} is not JSON: {error}", verb.name())))
    }

    fn begin(&mut self, head: &[u32]) {
        self.request.clear();
        words(&mut self.request, head);
    }

    fn ask(&mut self, verb: Verb) -> Result<(), SideError> {
        let request = std::mem::take(&mut self.request);
        let result = self.call(verb, &request);
        self.request = request;
        result
    }

    fn call(&mut self, verb: Verb, body: &[u8]) -> Result<(), SideError> {
        self.send(verb, body)?;
        self.receive(verb)
    }

    fn send(&mut self, verb: Verb, body: &[u8]) -> Result<(), SideError> {
        self.sequence += 1;
        self.channel.send(self.sequence, verb, body, self.terms.deadline)
    }

    fn receive(&mut self, verb: Verb) -> Result<(), SideError> {
        self.reply.clear();
        if self.channel.receive(self.sequence, verb, &mut self.reply, self.terms.deadline)? {
            return Ok(());
        }
        let answer: Value = serde_json::from_slice(&self.reply)
            .map_err(|error| self.lying(format!("its error reply is not JSON: {error}")))?;
        Err(SideError::replied(&self.role, verb, &answer))
    }

    fn read_chains(&self, count: usize) -> Result<Vec<u64>, SideError> {
        if self.reply.len() != 8 * count {
            return Err(self.lying(format!("it answered with {} bytes for {count} digests", self.reply.len())));
        }
        Ok(self.reply.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes"))).collect())
    }

    fn read_one_record(&self, mode: Mode) -> Result<Stepped, SideError> {
        let mut input = Reader::new(&self.reply);
        let bytes = input.u32().and_then(|size| input.take(size as usize));
        let bytes = bytes.map_err(|_| self.lying("its record ends too early".into()))?;
        let record = Record::parse(&self.configuration, bytes, mode == Mode::State, false).map_err(|_| {
            self.lying(format!("a record has {} bytes, which is not what the manifest says", bytes.len()))
        })?;
        Ok(Stepped { step: 0, record, rows: Vec::new(), bytes: bytes.to_vec() })
    }

    fn lying(&self, what: String) -> SideError {
        SideError::Lying { role: self.role.clone(), what }
    }

    fn schema(&self, what: String) -> SideError {
        SideError::Schema { role: self.role.clone(), what }
    }
}

fn write_seeds(request: &mut Vec<u8>, start: &LaneStart) {
    request.extend_from_slice(&start.seed.to_le_bytes());
    request.extend_from_slice(&start.stream.to_le_bytes());
    match &start.source {
        Source::Seeded => words(request, &[0, 0]),
        Source::Listed(values) => {
            words(request, &[1, values.len() as u32]);
            words(request, values);
        }
    }
}

fn words(out: &mut Vec<u8>, words: &[u32]) {
    out.reserve(4 * words.len());
    words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
}
