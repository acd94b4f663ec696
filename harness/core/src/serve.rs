//! The serving side of `lockstep/1`: what a runner does between its first and its last frame.
//!
//! [`Server`] answers one request after the other and knows nothing of processes, so that test suites can ask it
//! directly; [`serve()`] puts it behind descriptors 3 and 4.

use crate::PROTOCOL;
use crate::backend::{Backend, Fault, Settled, StepMany};
use crate::bench::Bencher;
use crate::bytes::Reader;
use crate::digest::Digest;
use crate::lane::{Header, Source};
use crate::options::{Files, Options};
use crate::records::DRAW_BYTES;
use crate::rules::{Refusal, Reward, Rules};
use crate::scalar::Scalar;
use crate::shape::{ActionKind, Resets, Shape};
use crate::wire::{FrameHeader, GRAIN_NONE, Mode, Verb, WINDOW_STEPS_MAX, read_frame, write_frame};
use serde_json::{Map, Value, json};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::FromRawFd;
use std::process::ExitCode;

/// What opens a backend once `hello` has named options, files and lanes.
pub type Opener = fn(Options, &Files, usize) -> Result<Opened, String>;

/// A backend and what it says about itself.
pub struct Opened {
    /// The environment's name.
    pub environment: &'static str,
    /// The lanes.
    pub backend: Box<dyn Backend>,
    /// Bytes of one reward.
    pub reward_bytes: usize,
    /// Its name on the wire.
    pub reward_dtype: &'static str,
}

impl Opened {
    /// The readable backend of some rules.
    ///
    /// # Errors
    /// If the world can't be built.
    pub fn scalar<R: Rules>(options: Options, files: &Files, lanes: usize) -> Result<Self, String> {
        let world = R::world(options, files).map_err(|error| error.0)?;
        Ok(Opened::of::<R>(Box::new(Scalar::<R>::new(world, lanes))))
    }

    /// Any backend of the environment whose rules these are.
    pub fn of<R: Rules>(backend: Box<dyn Backend>) -> Self {
        Opened { environment: R::NAME, backend, reward_bytes: size_of::<R::Reward>(), reward_dtype: R::Reward::DTYPE }
    }
}

/// Answers requests. Lives as long as one connection.
pub struct Server {
    name: String,
    opener: Opener,
    session: Option<Session>,
}

struct Session {
    backend: Box<dyn Backend>,
    settled: Settled,
}

impl Server {
    /// A server before `hello`, for the backend `name`.
    pub fn new(name: &str, opener: Opener) -> Self {
        Server { name: name.to_owned(), opener, session: None }
    }

    /// Answers one request; the reply's body is appended to `reply`.
    ///
    /// # Errors
    /// What the error reply tells.
    pub fn answer(&mut self, verb: Verb, body: &[u8], reply: &mut Vec<u8>) -> Result<(), Fault> {
        if verb == Verb::Hello {
            let answer = self.hello(body)?;
            reply.extend_from_slice(answer.to_string().as_bytes());
            return Ok(());
        }
        if verb == Verb::Close {
            return Ok(());
        }
        let Some(session) = &mut self.session else {
            return Err(Fault::BadRequest(format!("{} came before hello", verb.name())));
        };
        match verb {
            Verb::Hello | Verb::Close => unreachable!("answered above"),
            Verb::Reset => session.reset(body, reply),
            Verb::StepMany => session.step_many(body, reply),
            Verb::Snapshot => session.snapshot(body, reply),
            Verb::Restore => session.restore(body),
            Verb::Inject => session.inject(body, reply),
            Verb::Draws => session.draws(body, reply),
            Verb::Probe => session.probe(body, reply),
            Verb::Explain => Err(Fault::Refused("a backend does not explain its steps".into())),
        }
    }

    fn hello(&mut self, body: &[u8]) -> Result<Value, Fault> {
        let hello: Value =
            serde_json::from_slice(body).map_err(|error| Fault::BadRequest(format!("hello is not JSON: {error}")))?;
        let text = |key: &str| hello[key].as_str().unwrap_or_default();
        if text("protocol") != PROTOCOL {
            return Err(Fault::BadRequest(format!("the judge speaks {:?}, this side {PROTOCOL:?}", text("protocol"))));
        }
        let configuration = &hello["configuration"];
        let options = Options::new(configuration["options"].as_object().cloned().unwrap_or_default());
        let files = files(hello["files"].as_object());
        let lanes = hello["lanes"].as_u64().filter(|lanes| (1..=1 << 24).contains(lanes));
        let lanes = lanes.ok_or_else(|| Fault::BadRequest("hello names no number of lanes from 1 to 2^24".into()))?;
        let opened = (self.opener)(options, &files, lanes as usize).map_err(Fault::BadRequest)?;
        if text("environment") != opened.environment {
            let asked = text("environment");
            return Err(Fault::BadRequest(format!("the judge asks for {asked:?}, this is {:?}", opened.environment)));
        }
        let shape = opened.backend.shape();
        agree(&hello, shape, opened.reward_dtype)?;
        let offered = hello["digests"].as_array().cloned().unwrap_or_default();
        let digest = offered.iter().find_map(|name| Digest::named(name.as_str()?));
        let digest = digest.ok_or_else(|| Fault::BadRequest("hello offers neither xxh64 nor blake2b".into()))?;
        let named = hello["draws"]["named"].as_bool().unwrap_or(true);
        let answer = json!({
            "protocol": PROTOCOL,
            "environment": opened.environment,
            "name": self.name,
            "version": env!("CARGO_PKG_VERSION"),
            "configuration_hash": configuration["hash"],
            "digest": digest.name(),
            "canonical_bytes": shape.record_canonical_bytes(),
            "state_bytes": shape.state_bytes(),
            "observation_bytes": shape.observation_bytes,
            "mask_bytes": 4 * shape.mask_words(),
            "reward_bytes": opened.reward_bytes,
            "row_bytes": shape.row_bytes,
            "capabilities": {
                "snapshot": true, "inject": "full", "probe": opened.backend.probes(), "explain": false, "draw_sites": true,
                "grains": opened.backend.has_grains(),
            },
        });
        self.session = Some(Session { backend: opened.backend, settled: Settled { digest, named } });
        Ok(answer)
    }
}

/// What the judge reads in the manifest must be what the rules were built for.
fn agree(hello: &Value, shape: &Shape, reward: &str) -> Result<(), Fault> {
    let action = match shape.action {
        ActionKind::Discrete { count, extra, mask } => {
            json!({"kind": "discrete", "count": count, "extra": extra, "mask": mask})
        }
        ActionKind::Continuous => json!({"kind": "continuous"}),
    };
    let resets = if shape.resets == Resets::Harness { "harness" } else { "reference" };
    let ours = json!({
        "agents": shape.agents, "width": shape.width, "resets": resets, "reward": reward,
        "episode_steps_max": shape.episode_steps_max, "action": action,
    });
    for (key, value) in ours.as_object().expect("an object was built") {
        let theirs = &hello[key];
        let same = match value {
            Value::Object(parts) => parts.iter().all(|(part, value)| theirs[part] == *value),
            value => theirs == value,
        };
        if !same {
            return Err(Fault::BadRequest(format!("the manifest says {key} = {theirs}, the rules say {value}")));
        }
    }
    Ok(())
}

fn files(object: Option<&Map<String, Value>>) -> Files {
    let entries = object.into_iter().flatten();
    entries.filter_map(|(name, path)| Some((name.clone(), path.as_str()?.into()))).collect()
}

impl Session {
    fn lane(&self, input: &mut Reader<'_>) -> Result<usize, Fault> {
        let lane = input.u32()? as usize;
        if lane >= self.backend.lane_count() {
            return Err(Fault::BadRequest(format!("there is no lane {lane}, only {}", self.backend.lane_count())));
        }
        Ok(lane)
    }

    fn reset(&mut self, body: &[u8], reply: &mut Vec<u8>) -> Result<(), Fault> {
        let mut input = Reader::new(body);
        let mode = mode(&mut input)?;
        for _ in 0..input.u32()? {
            let lane = self.lane(&mut input)?;
            let episode = input.u32()?;
            let (seed, stream) = (input.u64()?, input.u64()?);
            let source = source(&mut input, 0)?;
            let header = Header { seed, stream, episode, elapsed: 0, draw_index: 0 };
            self.backend.reset(self.settled, mode, lane, header, source, reply)?;
        }
        end(&input)
    }

    fn step_many(&mut self, body: &[u8], reply: &mut Vec<u8>) -> Result<(), Fault> {
        let mut input = Reader::new(body);
        let mode = mode(&mut input)?;
        let (grain, window) = (input.u32()?, input.u32()?);
        let (lane_first, lane_count, step_count) =
            (input.u32()? as usize, input.u32()? as usize, input.u32()? as usize);
        let shape = self.backend.shape();
        if lane_first.checked_add(lane_count).is_none_or(|end| end > self.backend.lane_count()) {
            return Err(Fault::BadRequest(format!("lanes {lane_first} + {lane_count} are more than there are")));
        }
        if !(1..=WINDOW_STEPS_MAX).contains(&window) {
            return Err(Fault::BadRequest(format!("a window has 1 to {WINDOW_STEPS_MAX} steps, not {window}")));
        }
        let grain = (grain != GRAIN_NONE).then_some(grain as usize);
        if let Some(grain) = grain.filter(|grain| *grain >= shape.row_bytes.len()) {
            return Err(Fault::BadRequest(format!("there is no grain {grain}")));
        }
        let count = lane_count.checked_mul(step_count).and_then(|count| count.checked_mul(shape.tokens_per_step()));
        let tokens = input.u32s(count.ok_or(crate::bytes::Cut)?)?;
        end(&input)?;
        let request =
            StepMany { mode, grain, window: window as usize, lane_first, lane_count, step_count, tokens: &tokens };
        self.backend.step_many(self.settled, request, reply)
    }

    fn snapshot(&mut self, body: &[u8], reply: &mut Vec<u8>) -> Result<(), Fault> {
        let mut input = Reader::new(body);
        for _ in 0..input.u32()? {
            let lane = self.lane(&mut input)?;
            let from = reply.len();
            reply.extend_from_slice(&[0; 4]);
            self.backend.snapshot(lane, reply);
            let size = (reply.len() - from - 4) as u32;
            reply[from..from + 4].copy_from_slice(&size.to_le_bytes());
        }
        end(&input)
    }

    fn restore(&mut self, body: &[u8]) -> Result<(), Fault> {
        let mut input = Reader::new(body);
        for _ in 0..input.u32()? {
            let lane = self.lane(&mut input)?;
            let size = input.u32()? as usize;
            self.backend.restore(lane, input.take(size)?)?;
        }
        end(&input)
    }

    fn inject(&mut self, body: &[u8], reply: &mut Vec<u8>) -> Result<(), Fault> {
        let mut input = Reader::new(body);
        let mode = mode(&mut input)?;
        for _ in 0..input.u32()? {
            let lane = self.lane(&mut input)?;
            let (episode, elapsed, draw_index) = (input.u32()?, input.u32()?, input.u32()?);
            let (seed, stream) = (input.u64()?, input.u64()?);
            let source = source(&mut input, draw_index)?;
            let header = Header { seed, stream, episode, elapsed, draw_index };
            let size = input.u32()? as usize;
            let state = input.take(size)?;
            let size = input.u32()? as usize;
            let observation = input.take(size)?;
            self.backend.inject(self.settled, mode, lane, header, source, state, observation, reply)?;
        }
        end(&input)
    }

    fn draws(&mut self, body: &[u8], reply: &mut Vec<u8>) -> Result<(), Fault> {
        let mut input = Reader::new(body);
        let lane = self.lane(&mut input)?;
        match input.u32()? {
            0 => {
                let log = self.backend.draws(lane);
                reply.extend_from_slice(&((log.len() / DRAW_BYTES) as u32).to_le_bytes());
                reply.extend_from_slice(log);
            }
            1 => {
                let count = input.u32()? as usize;
                self.backend.append_draws(lane, &input.u32s(count)?);
            }
            other => return Err(Fault::BadRequest(format!("draws has no op {other}"))),
        }
        end(&input)
    }

    fn probe(&mut self, body: &[u8], reply: &mut Vec<u8>) -> Result<(), Fault> {
        let request: Value =
            serde_json::from_slice(body).map_err(|error| Fault::BadRequest(format!("probe is not JSON: {error}")))?;
        let output = self.backend.probe(request["function"].as_str().unwrap_or_default(), &request["input"])?;
        reply.extend_from_slice(json!({ "output": output }).to_string().as_bytes());
        Ok(())
    }
}

fn mode(input: &mut Reader<'_>) -> Result<Mode, Fault> {
    let number = input.u32()?;
    Mode::numbered(number).ok_or_else(|| Fault::BadRequest(format!("there is no mode {number}")))
}

fn source(input: &mut Reader<'_>, place: u32) -> Result<Source, Fault> {
    let kind = input.u32()?;
    let count = input.u32()? as usize;
    let values = input.u32s(count)?;
    match kind {
        0 => Ok(Source::Seeded),
        1 => Ok(Source::Listed { values, place: place as usize }),
        other => Err(Fault::BadRequest(format!("there is no draw source {other}"))),
    }
}

fn end(input: &Reader<'_>) -> Result<(), Fault> {
    match input.rest().len() {
        0 => Ok(()),
        left => Err(Fault::BadRequest(format!("{left} bytes follow the request"))),
    }
}

/// The main function of a runner with only the readable backend.
pub fn serve<R: Rules>() -> ExitCode {
    run_with(&[("rust", Opened::scalar::<R>)], &[Bencher::scalar::<R>()])
}

/// The main function of a runner with several backends: `runner [NAME]`, the first if none is named, or
/// `runner --list`, which prints the names.
pub fn serve_with(backends: &[(&str, Opener)]) -> ExitCode {
    run_with(backends, &[])
}

/// What a tool prints, or an exit code and what went wrong.
pub type ToolAnswer = Result<String, (u8, String)>;

/// Something else that a runner can do, without a judge: `runner --tool NAME …`.
#[derive(Clone, Copy)]
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// Does it with what was typed after the name.
    pub run: fn(&[String]) -> ToolAnswer,
}

/// As [`run_with`], with tools.
pub fn run_with_tools(backends: &[(&str, Opener)], benchers: &[Bencher], tools: &[Tool]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [verb, name, rest @ ..] = &arguments[..] else { return run_with(backends, benchers) };
    if verb != "--tool" {
        return run_with(backends, benchers);
    }
    let Some(tool) = tools.iter().find(|tool| tool.name == name) else {
        eprintln!("error: this runner has no tool {name:?}");
        return ExitCode::from(2);
    };
    match (tool.run)(rest) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err((code, error)) => {
            eprintln!("error: {error}");
            ExitCode::from(code)
        }
    }
}

/// As [`serve_with`], with backends that `lockstep bench` can time: `runner --contests NAME` and `runner --bench NAME JSON`.
pub fn run_with(backends: &[(&str, Opener)], benchers: &[Bencher]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match crate::bench::answer(benchers, &arguments) {
        Some(Ok(text)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Some(Err(error)) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
        None => {}
    }
    let asked = std::env::args().nth(1).unwrap_or_else(|| backends[0].0.to_owned());
    if asked == "--list" {
        backends.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let Some((name, opener)) = backends.iter().find(|(name, _)| *name == asked) else {
        let names: Vec<_> = backends.iter().map(|(name, _)| *name).collect();
        eprintln!("error: this runner has no backend {asked}, only {}", names.join(", "));
        return ExitCode::from(2);
    };
    let mut server = Server::new(name, *opener);
    talk(&mut |verb, body, reply| server.answer(verb, body, reply))
}

/// A module's pure functions, before there are rules: options of the configuration, name, input.
pub type ProbeFn = fn(&Options, &str, &Value) -> Result<Value, Refusal>;

/// The main function of a runner that has one module's functions and no rules yet. `hello` brings the options alone, and
/// `probe` is the only other verb.
pub fn probe_with(probe: ProbeFn) -> ExitCode {
    let mut options = Options::default();
    talk(&mut |verb, body, reply| {
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let answer = match verb {
            Verb::Hello => {
                options = Options::new(request["options"].as_object().cloned().unwrap_or_default());
                json!({"protocol": PROTOCOL})
            }
            Verb::Probe => {
                let function = request["function"].as_str().unwrap_or_default();
                json!({"output": probe(&options, function, &request["input"])?})
            }
            Verb::Close => return Ok(()),
            other => return Err(Fault::Refused(format!("a module has no {}, only functions to probe", other.name()))),
        };
        reply.extend_from_slice(answer.to_string().as_bytes());
        Ok(())
    })
}

type Answer<'a> = dyn FnMut(Verb, &[u8], &mut Vec<u8>) -> Result<(), Fault> + 'a;

/// Answers on descriptors 3 and 4 until the judge says goodbye.
fn talk(answer: &mut Answer<'_>) -> ExitCode {
    if !descriptors_are_open() {
        eprintln!("error: a runner is started by `lockstep`, which talks to it on descriptors 3 and 4");
        return ExitCode::from(2);
    }
    // SAFETY: the judge opened 3 and 4 for this process alone (checked above), and nothing else here owns them.
    let (requests, replies) = unsafe { (File::from_raw_fd(3), File::from_raw_fd(4)) };
    match run(answer, requests, replies) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn descriptors_are_open() -> bool {
    [3, 4].iter().all(|number| std::fs::symlink_metadata(format!("/dev/fd/{number}")).is_ok())
}

fn run(answer: &mut Answer<'_>, mut requests: File, replies: File) -> std::io::Result<()> {
    let mut replies = BufWriter::with_capacity(1 << 16, replies);
    let (mut body, mut reply) = (Vec::new(), Vec::new());
    while let Some(header) = read_frame(&mut requests, &mut body)? {
        reply.clear();
        let answered = match Verb::numbered(header.verb) {
            Some(verb) => answer(verb, &body, &mut reply),
            None => Err(Fault::BadRequest(format!("there is no verb {}", header.verb))),
        };
        let status = u8::from(answered.is_err());
        if let Err(fault) = answered {
            reply.clear();
            let (kind, error) = match fault {
                Fault::BadRequest(error) => ("bad_request", error),
                Fault::Refused(error) => ("refused", error),
            };
            reply.extend_from_slice(json!({"kind": kind, "error": error}).to_string().as_bytes());
        }
        let header = FrameHeader { size: reply.len(), sequence: header.sequence, verb: header.verb, status };
        write_frame(&mut replies, header, &reply)?;
        replies.flush()?;
        if Verb::numbered(header.verb) == Some(Verb::Close) {
            break;
        }
    }
    Ok(())
}
