//! The backend `ptx` has its own enemies: bugs planted in the CUDA source, each of which must be caught, with its place.
//!
//! Each test compiles the source anew, with one line changed and with line numbers; so they need NVRTC, and are listed
//! as skipped where there is none. What they plant is what only a device shows: `cuda-host` plays a lane at a time.

#[path = "../../../harness/cuda/on_device.rs"]
mod on_device;

use libtest_mimic::{Arguments, Failed, Trial};
use lockstep_core::backend::{Backend, Settled, StepMany};
use lockstep_core::device::{DeviceRules, OnDevice};
use lockstep_core::wire::Mode;
use lockstep_core::{Digest, Header, Options, Rules, Scalar, Source, draw_word};
use lockstep_device::{Checks, Ptx, Work};
use lockstep_env_pong::Pong;
use lockstep_harness::cuda::{Flat, nvrtc::Nvrtc};
use lockstep_harness::manifest::Manifest;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// The last block is not full.
const LANES: usize = 100;
const SETTLED: Settled = Settled { digest: Digest::Xxh64, named: true };

type Test = fn(&Cuda) -> Result<(), Failed>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let compiled: [(&str, Test); 10] = [
        ("ptx_of_the_source_as_it_is_agrees_with_rust_without_fault_or_race", as_it_is),
        ("ptx_lint_names_the_line_where_contraction_is_switched_on", contraction),
        ("ptx_lint_names_the_line_of_a_sinf", sine),
        ("ptx_lint_names_the_line_of_a_float_atomic", float_atomic),
        ("ptx_names_the_thread_that_a_missing_bounds_guard_lets_through", missing_guard),
        ("ptx_names_the_thread_after_the_last_lane_of_the_last_block", tail_lane),
        ("ptx_names_the_word_of_an_observation_that_is_never_written", unwritten_word),
        ("ptx_names_the_line_at_which_a_lane_reads_its_neighbour", neighbour),
        ("ptx_names_the_line_of_a_race_on_a_shared_counter", race),
        ("ptx_names_the_word_of_a_layout_that_is_not_that_of_the_host", layout),
    ];
    let mut trials: Vec<Trial> = match Cuda::read() {
        Ok(source) => {
            let source = Arc::new(source);
            compiled
                .into_iter()
                .map(|(name, test)| {
                    let source = source.clone();
                    Trial::test(name, move || test(&source))
                })
                .collect()
        }
        Err(why) => compiled
            .into_iter()
            .map(|(name, _)| Trial::test(format!("{name} ({why})"), || Ok(())).with_ignored_flag(true))
            .collect(),
    };
    trials.push(Trial::test("ptx_of_the_repository_plays_rollouts_as_rust_does", || {
        on_device::rollouts_agree::<Pong>(&["default", "frameskip8", "continuous", "odd"], 40, 200);
        Ok(())
    }));
    trials.push(Trial::test("ptx_of_the_repository_agrees_with_rust_without_fault_or_race", kept));
    trials.push(
        Trial::test("ptx_speed (a measurement: -- --ignored --nocapture ptx_speed)", speed).with_ignored_flag(true),
    );
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The CUDA source and its compiler.
struct Cuda {
    flat: Flat,
    nvrtc: Nvrtc,
}

impl Cuda {
    fn read() -> Result<Self, String> {
        let nvrtc = Nvrtc::find(None).map_err(|_| "NVRTC is not on this machine; lockstep doctor --fix fetches it")?;
        let manifest = Manifest::read(Path::new(env!("CARGO_MANIFEST_DIR"))).map_err(|error| error.to_string())?;
        let flat = Flat::read(&manifest).map_err(|error| error.to_string())?.ok_or("there is no CUDA source")?;
        Ok(Cuda { flat, nvrtc })
    }

    /// PTX of the source in which the first text has become the second, and the line at which that is: `file:line`.
    fn planted(&self, from: &str, to: &str) -> Result<(String, String), Failed> {
        let at = self.flat.text.find(from).ok_or_else(|| format!("the source no longer has {from:?}"))?;
        if self.flat.text[at + 1..].contains(from) {
            return Err(format!("the source has {from:?} twice").into());
        }
        let before = &self.flat.text[..at];
        let head = before.rfind("#line ").ok_or("the source has no #line")?;
        let mut words = before[head..].lines().next().unwrap_or_default().split(' ').skip(1);
        let first: usize = words.next().unwrap_or_default().parse()?;
        let line = first + before[head..].matches('\n').count() - 1;
        let place = format!("{}:{line}", words.next().unwrap_or_default().trim_matches('"'));
        let flat = Flat { text: self.flat.text.replacen(from, to, 1), ..self.flat.clone() };
        Ok((self.compiled(&flat)?, place))
    }

    fn compiled(&self, flat: &Flat) -> Result<String, Failed> {
        Ok(self.nvrtc.ptx_with(flat, &["--gpu-architecture=compute_75", "--generate-line-info"])?)
    }
}

/// Opens lanes, resets them and plays both kinds of steps; what came of it.
fn play(ptx: &str, options: Options) -> Result<(Vec<u8>, OnDevice<Pong, Ptx>), String> {
    play_with(ptx, options, Checks { races: true, sectors: true })
}

fn play_with(ptx: &str, options: Options, checks: Checks) -> Result<(Vec<u8>, OnDevice<Pong, Ptx>), String> {
    let world = Pong::world(options, &Default::default()).map_err(|error| error.0)?;
    let mut device = Ptx::open(ptx)?;
    device.check(checks);
    let mut lanes = OnDevice::<Pong, Ptx>::new(world, LANES, device)?;
    let answers = caught(|| answers(&mut lanes))?;
    lanes.step(&tokens(0..LANES))?;
    Ok((answers, lanes))
}

/// What any backend answers to some requests over all lanes.
fn answers(lanes: &mut impl Backend) -> Vec<u8> {
    let mut reply = Vec::new();
    for lane in 0..LANES {
        let header = Header { seed: 7, stream: lane as u64, ..Header::default() };
        lanes.reset(SETTLED, Mode::Full, lane, header, Source::Seeded, &mut reply).expect("it resets");
    }
    let step_count = 150;
    let tokens = tokens(0..LANES * step_count);
    let whole = StepMany {
        mode: Mode::Full,
        grain: None,
        window: 8,
        lane_first: 0,
        lane_count: LANES,
        step_count,
        tokens: &tokens,
    };
    lanes.step_many(SETTLED, whole, &mut reply).expect("it steps");
    reply
}

fn tokens(range: std::ops::Range<usize>) -> Vec<u32> {
    range.map(|i| draw_word(11, 0, 0, i as u32) % 3).collect()
}

/// A kernel that fails is a panic of the backend; its words.
fn caught<T>(play: impl FnOnce() -> T) -> Result<T, String> {
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(play));
    result.map_err(|panic| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(_) => "a panic without words".into(),
    })
}

fn says(result: Result<(Vec<u8>, OnDevice<Pong, Ptx>), String>, expected: &[&str]) -> Result<(), Failed> {
    let Err(why) = result else { return Err("the planted bug was not caught".into()) };
    match expected.iter().find(|part| !why.contains(**part)) {
        Some(part) => Err(format!("it does not say {part:?}, but:\n{why}").into()),
        None => Ok(()),
    }
}

fn agrees(ptx: &str) -> Result<(), Failed> {
    for frameskip in [1, 8] {
        let options = || {
            let number = serde_json::Value::from(frameskip);
            Options::new([("frameskip".to_owned(), number)].into_iter().collect())
        };
        let (observed, mut lanes) = play(ptx, options())?;
        let world = Pong::world(options(), &Default::default()).map_err(|error| error.0)?;
        if answers(&mut Scalar::<Pong>::new(world, LANES)) != observed {
            return Err(format!("ptx and rust differ with frameskip {frameskip}").into());
        }
        lanes.observe(LANES - 1)?;
        let work = lanes.device().take_work();
        if work.sectors_loaded == 0 || work.simt_efficiency() <= 0.0 {
            return Err("nothing was counted".into());
        }
    }
    Ok(())
}

fn kept() -> Result<(), Failed> {
    agrees(Pong::ptx())
}

fn as_it_is(source: &Cuda) -> Result<(), Failed> {
    agrees(&source.compiled(&source.flat)?)
}

fn contraction(source: &Cuda) -> Result<(), Failed> {
    let further = ["--gpu-architecture=compute_75", "--generate-line-info", "--fmad=true"];
    let ptx = source.nvrtc.ptx_with(&source.flat, &further)?;
    says(play(&ptx, Options::default()), &["may give other bits", "rules.cuh:", "compile with --fmad=false"])
}

fn sine(source: &Cuda) -> Result<(), Failed> {
    let (ptx, place) =
        source.planted("out.put_f32(state.ball_x / world.width);", "out.put_f32(sinf(state.ball_x));")?;
    says(play(&ptx, Options::default()), &["may give other bits", &place, "fma.rn.f32"])
}

fn float_atomic(source: &Cuda) -> Result<(), Failed> {
    let (ptx, place) = source.planted(
        "out.put_f32(state.ball_x / world.width);",
        "atomicAdd((f32*)out.at, state.ball_x / world.width); out.at += 4;",
    )?;
    says(play(&ptx, Options::default()), &["may give other bits", &place, "order of float atomics is not fixed"])
}

const GUARD: &str = "    if (thread >= lane_count) return;\n    LsLane<Rules> self = ls_load<Rules>(lanes, shape, lanes.first + thread);\n    LsWriter writer = ls_record_writer(records, thread);\n    LsWriter rows";

fn missing_guard(source: &Cuda) -> Result<(), Failed> {
    let without = GUARD.split_once('\n').map(|(_, rest)| rest).unwrap_or_default();
    let (ptx, _) = source.planted(GUARD, without)?;
    passes_the_end(&ptx)
}

/// The thread after the last lane is caught at the first word past the states, and, where races are looked for, before
/// that: its first words are those of other lanes.
fn passes_the_end(ptx: &str) -> Result<(), Failed> {
    let place = ["pong_step_many, block 0, thread 100", "kernels.cuh:", "of the states, which"];
    says(play_with(ptx, Options::default(), Checks::default()), &[&place[..], &["which has 4800"]].concat())?;
    says(play(ptx, Options::default()), &[&place[..], &["a race"]].concat())
}

fn tail_lane(source: &Cuda) -> Result<(), Failed> {
    let (ptx, _) = source.planted(GUARD, &GUARD.replace("thread >= lane_count", "thread > lane_count"))?;
    passes_the_end(&ptx)
}

fn unwritten_word(source: &Cuda) -> Result<(), Failed> {
    let (ptx, _) = source.planted("out.put_f32(state.ball_x / world.width);", "out.at += 4;")?;
    let (observed, mut lanes) = play(&ptx, Options::default())?;
    let world = Pong::world(Options::default(), &Default::default()).map_err(|error| error.0)?;
    if answers(&mut Scalar::<Pong>::new(world, LANES)) == observed {
        return Err("rust does not see that the word is missing".into());
    }
    let why = lanes.observe(3).expect_err("a word is missing");
    match why.contains("byte 8 of the observations that were asked for was never written") {
        true => Ok(()),
        false => Err(why.into()),
    }
}

fn neighbour(source: &Cuda) -> Result<(), Failed> {
    let (ptx, _) = source.planted(
        "state[i] = lanes.states[LS_STATE_AT(i, words, lane, lanes.stride)]",
        "state[i] = lanes.states[LS_STATE_AT(i, words, lane ^ 1, lanes.stride)]",
    )?;
    says(play(&ptx, Options::default()), &["a race", "the states", "kernels.cuh:", "has read"])
}

fn race(source: &Cuda) -> Result<(), Failed> {
    let kept = "heads[thread] = ls_flags(outcome) | self.header.deciders << 16;";
    let (ptx, place) = source.planted(kept, &format!("{kept} heads[0] += 1;"))?;
    says(play(&ptx, Options::default()), &["pong_step", "a race", "the heads", &place])
}

fn layout(source: &Cuda) -> Result<(), Failed> {
    let (ptx, _) =
        source.planted("        f32 ball_x;\n        f32 ball_y;\n", "        f32 ball_y;\n        f32 ball_x;\n")?;
    says(play(&ptx, Options::default()), &["another layout", "word "])
}

/// Steps in a second of wall-clock time on one core, and what a step costs a warp.
fn speed() -> Result<(), Failed> {
    const COUNT: usize = 1024;
    const STEPS: usize = 256;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let world = Pong::world(Options::default(), &Default::default()).map_err(|error| error.0)?;
    let mut lanes = OnDevice::<Pong, Ptx>::new(world, COUNT, Ptx::open(Pong::ptx())?)?;
    for lane in 0..COUNT {
        let header = Header { seed: 7, stream: lane as u64, ..Header::default() };
        lanes.reset(SETTLED, Mode::Digest, lane, header, Source::Seeded, &mut Vec::new()).expect("it resets");
    }
    let all = tokens(0..COUNT * STEPS);
    lanes.device().take_work();
    let tell = |what: &str, seconds: f64, work: &Work| {
        let steps = (COUNT * STEPS) as f64;
        println!(
            "{what}: {:.3} M steps/s, {:.1} instructions of a thread and {:.2} of a warp a step, SIMT efficiency {:.3}",
            steps / seconds / 1e6,
            work.thread_instructions as f64 / steps,
            work.issues as f64 / steps,
            work.simt_efficiency()
        );
    };
    for run in 0..5 {
        let began = Instant::now();
        let request = StepMany {
            mode: Mode::Digest,
            grain: None,
            window: 64,
            lane_first: 0,
            lane_count: COUNT,
            step_count: STEPS,
            tokens: &all,
        };
        pool.install(|| lanes.step_many(SETTLED, request, &mut Vec::new())).expect("it steps");
        tell(&format!("run {run}, with records"), began.elapsed().as_secs_f64(), &lanes.device().take_work());
        let began = Instant::now();
        for step in 0..STEPS {
            pool.install(|| lanes.step(&all[step * COUNT..][..COUNT]))?;
        }
        tell(&format!("run {run}, as training"), began.elapsed().as_secs_f64(), &lanes.device().take_work());
    }
    Ok(())
}
