//! Plays an adapter through the protocol, to see what changes and how fast it is.

use super::layout::Scalar;
use super::{Taken, adapter, unavailable};
use crate::exit::Failure;
use crate::new::proposal::Request;
use lockstep_core::wire::Mode;
use lockstep_harness::manifest::{Configuration, Manifest, Value};
use lockstep_harness::record::{Record, split, values};
use lockstep_harness::reference::{Reference, Tools, cache_folder, prepare};
use lockstep_harness::side::{LaneStart, LogFile, Play, Process, Side, SideError, Source, Terms};
use lockstep_harness::tiers::Tokens;
use lockstep_harness::watch::Watch;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LANES: usize = 8;
const FRAME: usize = 64;
const SEED: u64 = 20_261_125;

/// What a field held.
#[derive(Debug, Clone, Default)]
pub(super) struct Stats {
    first: Vec<Value>,
    /// Whether any of its values changed.
    pub varies: bool,
    whole: Option<(i128, i128)>,
    real: Option<(f64, f64)>,
}

impl Stats {
    fn look(&mut self, values: impl Iterator<Item = Value>) {
        let known = !self.first.is_empty();
        for (place, value) in values.enumerate() {
            match self.first.get(place) {
                Some(first) => self.varies |= bits(first) != bits(&value),
                None if !known => self.first.push(value),
                None => self.varies = true,
            }
            match value {
                Value::Unsigned(value) => self.whole = Some(wider(self.whole, value.into())),
                Value::Signed(value) => self.whole = Some(wider(self.whole, value.into())),
                Value::Single(value) => self.real = Some(wider(self.real, value.into())),
                Value::Double(value) => self.real = Some(wider(self.real, value)),
                Value::Digest(_) => {}
            }
        }
    }

    /// What it held before the first reset: a reset that makes it something else is a change.
    fn before(&mut self, values: impl Iterator<Item = Value>) {
        self.varies |= self.first.iter().zip(values).any(|(first, value)| bits(first) != bits(&value));
    }

    /// The largest whole number.
    pub fn high_whole(&self) -> i64 {
        self.whole.map_or(0, |(_, high)| high as i64)
    }

    /// What an injected state may hold, as C writes it: whole numbers as they were seen, others with room on both sides.
    pub fn limits(&self, scalar: Scalar) -> Option<(String, String)> {
        if let Some((low, high)) = self.whole {
            let text = |value: i128| match scalar.dtype {
                "u64" => format!("{value}ULL"),
                // The smallest number of C can't be written as one.
                "i64" if value == i128::from(i64::MIN) => "INT64_MIN".to_owned(),
                "i64" => format!("{value}LL"),
                "u32" => format!("{value}U"),
                "i32" if value == i128::from(i32::MIN) => "INT32_MIN".to_owned(),
                _ => value.to_string(),
            };
            return Some((text(low), text(high)));
        }
        let (low, high) = self.real?;
        let room = 4.0 * (high - low);
        let limits = [low - room, high + room];
        limits.iter().all(|limit| limit.is_finite()).then(|| (format!("{:?}", limits[0]), format!("{:?}", limits[1])))
    }
}

fn bits(value: &Value) -> u64 {
    match value {
        Value::Unsigned(value) | Value::Digest(value) => *value,
        Value::Signed(value) => *value as u64,
        Value::Single(value) => value.to_bits().into(),
        Value::Double(value) => value.to_bits(),
    }
}

fn wider<T: PartialOrd + Copy>(range: Option<(T, T)>, value: T) -> (T, T) {
    match range {
        None => (value, value),
        Some((low, high)) => (if value < low { value } else { low }, if value > high { value } else { high }),
    }
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub fields: Vec<Stats>,
    pub extent: u32,
    pub resets: u32,
    pub pointers: u32,
    pub asked: [u32; adapter::GENERATORS.len()],
    pub steps: u64,
    pub episodes: u64,
    pub longest: u64,
}

impl Seen {
    fn record(&mut self, configuration: &Configuration, record: &Record) {
        let every = self.fields.len();
        let fields = split(&configuration.canonical, &record.canonical, false);
        for (place, (field, bytes)) in fields.enumerate() {
            let seen = values((field, bytes)).map(|(_, value)| value);
            if let Some(stats) = self.fields.get_mut(place) {
                stats.look(seen);
                continue;
            }
            if let Some(stats) = self.fields.get_mut(place - every) {
                stats.before(seen);
                continue;
            }
            let numbers: Vec<u32> = seen.map(|value| bits(&value) as u32).collect();
            match field.name.as_str() {
                "own_extent" => self.extent = self.extent.max(numbers[0]),
                "own_resets" => self.resets = self.resets.max(numbers[0]),
                "own_pointers" => self.pointers |= numbers[0],
                _ => {
                    for (most, number) in self.asked.iter_mut().zip(numbers) {
                        *most = number.max(*most);
                    }
                }
            }
        }
    }
}

fn open(
    place: &Path,
    sdk: &Path,
    tools: &Tools,
    request: &Request,
    lanes: usize,
    watch: &mut dyn Watch,
) -> Result<Side, Failure> {
    let manifest =
        Manifest::read(place).map_err(|error| Failure::bug(format!("the manifest that was written: {error}")))?;
    let configuration = Arc::new(manifest.configuration("default")?.clone());
    let reference = Reference::read(&place.join("reference"), sdk)?;
    let prepared = prepare(&reference, None, tools, watch)?;
    let log = LogFile::create(&cache_folder().join("logs"), "new").map_err(|error| SideError::NotStarted {
        role: "reference".into(),
        command: prepared.command.argv.join(" "),
        reason: error.to_string(),
    })?;
    let process = Process::start("reference", prepared.command, log)?;
    let terms = Terms { deadline: Duration::from_secs_f64(request.deadline), ..Terms::new(lanes) };
    Ok(Side::connect("reference", Box::new(process), configuration, terms)?)
}

fn start(lane: usize) -> LaneStart {
    LaneStart { lane: lane as u32, seed: SEED, stream: lane as u64, episode: 0, source: Source::Seeded }
}

/// The environment's own failure, in its own words.
fn failed(error: SideError) -> Failure {
    let failure = Failure::from(error);
    unavailable(format!("the environment failed while it was played: {}", failure.message))
}

/// Plays the adapter that only looks.
pub(super) fn look(
    place: &Path,
    sdk: &Path,
    tools: &Tools,
    request: &Request,
    every: &[Taken],
    watch: &mut dyn Watch,
) -> Result<Seen, Failure> {
    let mut side = open(place, sdk, tools, request, LANES, watch)?;
    let configuration = side.configuration.clone();
    let mut seen = Seen { fields: vec![Stats::default(); every.len()], ..Seen::default() };
    let mut lengths = [0_u64; LANES];
    for lane in 0..LANES {
        let first = side.reset_in_full(&start(lane), Mode::Full).map_err(failed)?;
        seen.record(&configuration, &first.record);
    }
    let began = Instant::now();
    let until = Duration::from_secs_f64(request.seconds * 0.9);
    let tokens = Tokens::new(SEED);
    let mut from = 0;
    while began.elapsed() < until {
        let mut all = Vec::with_capacity(LANES * FRAME);
        for lane in 0..LANES as u64 {
            tokens.fill(&configuration, lane, from, from + FRAME as u64, &mut all);
        }
        let play =
            Play { lane_first: 0, lane_count: LANES, step_count: FRAME, tokens: &all, grain: None, window: FRAME };
        for (lane, records) in side.play_in_full(play, Mode::Full).map_err(failed)?.iter().enumerate() {
            for record in records.iter().map(|stepped| &stepped.record) {
                seen.record(&configuration, record);
                if record.kind == lockstep_core::HEAD_STEP {
                    seen.steps += 1;
                    lengths[lane] += 1;
                    seen.longest = seen.longest.max(lengths[lane]);
                }
                if record.ended() {
                    seen.episodes += 1;
                    lengths[lane] = 0;
                }
            }
        }
        from += FRAME as u64;
    }
    side.close();
    Ok(seen)
}

/// Steps per second of the adapter that stays, protocol and digests included.
pub(super) fn speed(
    place: &Path,
    sdk: &Path,
    tools: &Tools,
    request: &Request,
    watch: &mut dyn Watch,
) -> Result<u64, Failure> {
    let mut side = open(place, sdk, tools, request, 1, watch)?;
    let configuration = side.configuration.clone();
    side.reset(&[start(0)]).map_err(failed)?;
    let (began, until) = (Instant::now(), Duration::from_secs_f64(request.seconds * 0.1));
    let (mut steps, mut frame) = (0_u64, 16_u64);
    while began.elapsed() < until {
        let mut tokens = Vec::new();
        Tokens::new(SEED).fill(&configuration, 0, steps, steps + frame, &mut tokens);
        side.play(Play::one_lane(&configuration, 0, &tokens)).map_err(failed)?;
        steps += frame;
        frame = (2 * frame).min(16_384);
    }
    side.close();
    Ok((steps as f64 / began.elapsed().as_secs_f64()) as u64)
}
