//! What a runner does on a machine that has nothing but it: looks for a GPU, plays rollouts and kept requests on two
//! sides in one process, and times kernels.
//!
//! `lockstep gpu-bundle` packs a script that calls these as `runner --tool NAME …`. The interpreter of PTX takes a GPU's
//! place where there is none, so all but the timing is tried without one. Each tool prints one JSON value.

use crate::bundle;
use lockstep_core::device::{Device, DeviceRules, Launches, OnDevice, Rollout, RustRollout};
use lockstep_core::wire::Verb;
use lockstep_core::{Fault, Files, Opened, Options, Server, Tool, ToolAnswer};
use serde_json::{Value, json};
use std::time::Instant;

/// The exit code of a tool, and of `lockstep`, where the machine lacks what a backend runs on.
pub const NO_DEVICE: u8 = 6;

/// The tools of a runner.
pub const fn tools<R: DeviceRules>() -> [Tool; 9] {
    [
        Tool { name: "needs", run: needs },
        Tool { name: "gpu", run: gpu },
        Tool { name: "compare", run: compare::<R> },
        Tool { name: "frames", run: frames::<R> },
        Tool { name: "time", run: time::<R> },
        Tool { name: "work", run: work::<R> },
        Tool { name: "machine", run: bundle::machine },
        Tool { name: "told", run: bundle::told },
        Tool { name: "report", run: bundle::report },
    ]
}

/// What a backend lacks on this machine: `needs NAME`.
fn needs(arguments: &[String]) -> ToolAnswer {
    match arguments.first().map(String::as_str) {
        Some("cuda") => driver().map(|()| "null\n".into()),
        _ => Ok("null\n".into()),
    }
}

#[cfg(feature = "cuda")]
fn driver() -> Result<(), (u8, String)> {
    crate::cuda::driver().map_err(|why| (NO_DEVICE, why))
}

#[cfg(not(feature = "cuda"))]
fn driver() -> Result<(), (u8, String)> {
    Err((2, "this runner was built without feature cuda".into()))
}

/// The GPU that would be used.
fn gpu(_: &[String]) -> ToolAnswer {
    driver()?;
    #[cfg(feature = "cuda")]
    {
        let told = crate::cuda::describe().map_err(|why| (NO_DEVICE, why))?;
        Ok(format!("{told}\n"))
    }
    #[cfg(not(feature = "cuda"))]
    Ok("null\n".into())
}

/// What `compare`, `time` and `work` are asked for.
pub(crate) struct Request {
    backend: String,
    options: Options,
    files: Files,
    pub(crate) lanes: usize,
    pub(crate) steps: usize,
    pub(crate) launch: usize,
    pub(crate) seed: u64,
}

impl Request {
    fn read(arguments: &[String]) -> Result<Self, (u8, String)> {
        let usage = |what: &str| (2, format!("the request {what}"));
        let text = arguments.first().map(String::as_str).unwrap_or_default();
        let value: Value = serde_json::from_str(text).map_err(|error| usage(&format!("is not JSON: {error}")))?;
        let number = |key: &str| {
            let number = value[key].as_u64().filter(|number| *number > 0 && *number <= 1 << 31);
            number.map(|number| number as usize).ok_or_else(|| usage(&format!("names no {key} from 1 to 2^31")))
        };
        let files = value["files"].as_object().into_iter().flatten();
        Ok(Request {
            backend: value["backend"].as_str().ok_or_else(|| usage("names no backend"))?.to_owned(),
            options: Options::new(value["options"].as_object().cloned().unwrap_or_default()),
            files: files.filter_map(|(name, path)| Some((name.clone(), path.as_str()?.into()))).collect(),
            lanes: number("lanes")?,
            steps: number("steps")?,
            launch: number("launch")?,
            seed: value["seed"].as_u64().unwrap_or(7),
        })
    }

    pub(crate) fn world<R: DeviceRules>(&self) -> Result<R::World, String> {
        R::world(self.options.clone(), &self.files).map_err(|error| error.0)
    }
}

/// Plays `steps` steps of each lane on `rust` and on the backend, `launch` at a time, and compares the digests of all
/// lanes after each launch: `compare JSON`.
fn compare<R: DeviceRules>(arguments: &[String]) -> ToolAnswer {
    let request = Request::read(arguments)?;
    let told = match request.backend.as_str() {
        "ptx" => beside::<R, crate::Ptx>(&request, crate::Ptx::open),
        #[cfg(feature = "cuda")]
        "cuda" => {
            driver()?;
            beside::<R, crate::Cuda>(&request, crate::Cuda::open)
        }
        other => return Err((2, format!("backend {other:?} can't be compared here, only ptx and cuda"))),
    };
    told.map(|value| format!("{value}\n")).map_err(|why| (1, why))
}

/// What a rollout's tokens are numbered by, for lanes of this seed.
pub(crate) fn token_seed(seed: u64) -> u64 {
    !seed
}

fn beside<R: DeviceRules, D: Device>(
    request: &Request,
    open: fn(&'static str) -> Result<D, String>,
) -> Result<Value, String> {
    let mut rust = RustRollout::<R>::new(request.world::<R>()?, request.lanes, request.seed);
    let mut device = OnDevice::<R, D>::new(request.world::<R>()?, request.lanes, open(R::ptx())?)?;
    device.begin_rollout(request.seed)?;
    let (began, mut played) = (Instant::now(), 0);
    let (mut rust_seconds, mut device_seconds) = (0.0, 0.0);
    while played < request.steps {
        let steps = request.launch.min(request.steps - played);
        let clock = Instant::now();
        rust.play(steps);
        rust_seconds += clock.elapsed().as_secs_f64();
        device_seconds += device.rollout(token_seed(request.seed), judged(steps))?;
        let observed = device.counted(token_seed(request.seed))?;
        if observed != rust.rollout {
            let place = first_difference::<R, D>(request, open, played, steps)?;
            return Ok(json!({
                "agrees": false, "backend": request.backend, "device": device.device().name(), "lanes": request.lanes,
                "steps": (played + steps) * request.lanes, "divergence": place,
            }));
        }
        played += steps;
    }
    Ok(json!({
        "agrees": true, "backend": request.backend, "device": device.device().name(), "lanes": request.lanes,
        "steps": request.steps * request.lanes, "episodes": rust.rollout.ended.iter().map(|ended| u64::from(*ended)).sum::<u64>(),
        "launch": request.launch, "seed": request.seed, "seconds": began.elapsed().as_secs_f64(),
        "rust_seconds": rust_seconds, "device_seconds": device_seconds,
        "digest": format!("{:016x}", whole(&rust.rollout)),
    }))
}

/// One launch as it is judged.
fn judged(steps: usize) -> Launches {
    Launches { steps, times: 1, digests: true, observations: true, graph: false }
}

/// The digests of all lanes as one number, to compare between machines.
fn whole(rollout: &Rollout) -> u64 {
    rollout.digests.iter().fold(0, |all, digest| (all ^ digest).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29))
}

/// Plays again, the launch that differed one step at a time: where both sides part.
fn first_difference<R: DeviceRules, D: Device>(
    request: &Request,
    open: fn(&'static str) -> Result<D, String>,
    before: usize,
    steps: usize,
) -> Result<Value, String> {
    let mut rust = RustRollout::<R>::new(request.world::<R>()?, request.lanes, request.seed);
    let mut device = OnDevice::<R, D>::new(request.world::<R>()?, request.lanes, open(R::ptx())?)?;
    device.begin_rollout(request.seed)?;
    if before > 0 {
        rust.play(before);
        device.rollout(token_seed(request.seed), judged(before))?;
    }
    for step in before..before + steps {
        rust.play(1);
        device.rollout(token_seed(request.seed), judged(1))?;
        let observed = device.counted(token_seed(request.seed))?;
        let expected = &rust.rollout;
        let differs = |lane: &usize| {
            expected.digests[*lane] != observed.digests[*lane]
                || expected.heads[*lane] != observed.heads[*lane]
                || expected.ended[*lane] != observed.ended[*lane]
                || expected.played[*lane] != observed.played[*lane]
        };
        let Some(lane) = (0..request.lanes).find(differs) else { continue };
        let words = |state: &R::State| -> Vec<String> {
            let bytes = bytemuck::bytes_of(state).chunks_exact(4);
            bytes.map(|four| format!("{:08x}", u32::from_le_bytes(four.try_into().expect("four bytes")))).collect()
        };
        return Ok(json!({
            "lane": lane, "step": step, "seed": request.seed,
            "expected": {"head": expected.heads[lane], "state": words(rust.state(lane))},
            "observed": {"head": observed.heads[lane], "state": words(&device.state(lane)?)},
        }));
    }
    Ok(json!({"lane": null, "note": "the launch agreed when it was played one step at a time"}))
}

/// Plays kept requests on a backend and on `rust`, and compares their replies, byte for byte, with each other and with
/// those that were kept: `frames NAME FILE`. The file has a JSON object in each line: `name`, then `requests`, each with
/// `verb` and, in hexadecimal, `body` and `reply`.
fn frames<R: DeviceRules>(arguments: &[String]) -> ToolAnswer {
    let [backend, path] = arguments else { return Err((2, "frames takes a backend and a file".into())) };
    let opener: fn(Options, &Files, usize) -> Result<Opened, String> = match backend.as_str() {
        "cuda-host" => Opened::cuda_host::<R>,
        "ptx" => crate::Ptx::backend::<R>,
        #[cfg(feature = "cuda")]
        "cuda" => {
            driver()?;
            crate::Cuda::backend::<R>
        }
        other => return Err((2, format!("there is no backend {other:?} in this runner"))),
    };
    let text = std::fs::read_to_string(path).map_err(|error| (2, format!("{path} can't be read: {error}")))?;
    let mut traces = Vec::new();
    for line in text.lines() {
        let trace: Value = serde_json::from_str(line).map_err(|error| (2, format!("{path} is not JSON: {error}")))?;
        let name = trace["name"].as_str().unwrap_or_default();
        let outcome =
            play_frames(&trace, [("rust", Opened::scalar::<R>), (backend, opener)]).map_err(|why| (2, why))?;
        traces.push(json!({"trace": name, "agrees": outcome.is_none(), "difference": outcome}));
    }
    let agrees = traces.iter().all(|trace| trace["agrees"] == true);
    Ok(format!("{}\n", json!({"backend": backend, "agrees": agrees, "traces": traces})))
}

/// The first request at which a side answers something else than what was kept.
fn play_frames(trace: &Value, sides: [(&str, lockstep_core::Opener); 2]) -> Result<Option<String>, String> {
    let requests = trace["requests"].as_array().ok_or("a trace has no requests")?;
    for (name, opener) in sides {
        let mut server = Server::new(name, opener);
        for (i, request) in requests.iter().enumerate() {
            let verb = request["verb"].as_u64().and_then(|verb| Verb::numbered(u8::try_from(verb).ok()?));
            let verb = verb.ok_or("a request has no verb")?;
            let (body, kept) = (bytes(&request["body"])?, bytes(&request["reply"])?);
            let mut reply = Vec::new();
            let answered =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server.answer(verb, &body, &mut reply)));
            let failed = match answered {
                Ok(Ok(())) => None,
                Ok(Err(Fault::BadRequest(why) | Fault::Refused(why))) => Some(why),
                Err(_) => Some("it panicked".into()),
            };
            if let Some(why) = failed {
                return Ok(Some(format!("{name}, request {i} ({}): {why}", verb.name())));
            }
            // Hello has the name of whoever answers.
            if verb != Verb::Hello && reply != kept {
                let at = reply.iter().zip(&kept).take_while(|(a, b)| a == b).count();
                return Ok(Some(format!("{name}, request {i} ({}): the replies differ at byte {at}", verb.name())));
            }
        }
    }
    Ok(None)
}

fn bytes(value: &Value) -> Result<Vec<u8>, String> {
    let text = value.as_str().ok_or("a request has no bytes")?;
    let digits = text.as_bytes().chunks_exact(2);
    if digits.remainder().is_empty() {
        let bytes = digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect();
        Option::ok_or(bytes, "a request has bytes that are not hexadecimal".into())
    } else {
        Err("a request has half a byte".into())
    }
}

/// Times the kernel that plays many steps, in launches and as a graph: `time JSON`.
fn time<R: DeviceRules>(arguments: &[String]) -> ToolAnswer {
    let request = Request::read(arguments)?;
    let told = match request.backend.as_str() {
        "ptx" => timed::<R, crate::Ptx>(&request, crate::Ptx::open),
        #[cfg(feature = "cuda")]
        "cuda" => {
            driver()?;
            timed::<R, crate::Cuda>(&request, crate::Cuda::open)
        }
        other => return Err((2, format!("backend {other:?} can't be timed here, only ptx and cuda"))),
    };
    told.map(|value| format!("{value}\n")).map_err(|why| (1, why))
}

/// What a step costs by the interpreter's count: `work JSON`.
fn work<R: DeviceRules>(arguments: &[String]) -> ToolAnswer {
    let request = Request::read(arguments)?;
    let told = crate::work::count::<R>(&request);
    told.map(|value| format!("{value}\n")).map_err(|why| (1, why))
}

/// Runs of each form, besides a first one that warms up.
const RUNS: usize = 5;

fn timed<R: DeviceRules, D: Device>(
    request: &Request,
    open: fn(&'static str) -> Result<D, String>,
) -> Result<Value, String> {
    let mut lanes = OnDevice::<R, D>::new(request.world::<R>()?, request.lanes, open(R::ptx())?)?;
    lanes.begin_rollout(request.seed)?;
    let times = request.steps.div_ceil(request.launch);
    let fused = Launches { steps: request.launch, times, digests: false, observations: false, graph: false };
    let single = Launches { steps: 1, times: request.steps, digests: false, observations: true, graph: false };
    let forms = [
        ("fused", "many steps in a launch, without observations", fused),
        ("single", "one step in a launch, with observations", single),
        ("graph", "one step in a launch, with observations, as a graph", Launches { graph: true, ..single }),
    ];
    let mut rows = Vec::new();
    for (name, about, launches) in forms {
        let (mut device, mut wall) = (Vec::new(), Vec::new());
        for run in 0..=RUNS {
            let clock = Instant::now();
            let seconds = lanes.rollout(token_seed(request.seed), launches)?;
            if run > 0 {
                device.push(seconds);
                wall.push(clock.elapsed().as_secs_f64());
            }
        }
        let steps = (launches.steps * launches.times * request.lanes) as f64;
        let mut sorted = device.clone();
        sorted.sort_by(f64::total_cmp);
        rows.push(json!({
            "form": name, "about": about, "steps_per_launch": launches.steps, "launches": launches.times,
            "device_seconds": device, "wall_seconds": wall, "steps_per_second": steps / sorted[RUNS / 2],
        }));
    }
    Ok(json!({"backend": request.backend, "device": lanes.device().name(), "lanes": request.lanes, "rows": rows}))
}
