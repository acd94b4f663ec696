//! What every side promises before it is compared: to repeat itself, to keep lanes apart, and to say what it did.
//!
//! A claim that fails here would make every later tier lie, so the reference is held to the same claims.

use super::{Check, CheckOutcome, Stage, TierReport, Tokens};
use crate::manifest::{Action, Configuration, Level, ToleranceMode};
use crate::side::{Injection, LaneStart, Play, Side, SideError, Source, Stepped, Terms};
use crate::sides::open_pair;
use crate::watch::{Stop, Watch};
use lockstep_core::HEAD_STEP;
use lockstep_core::wire::{Mode, Verb};

/// Steps that each claim is tried on, unless the side is too slow for so many.
pub const STEPS: usize = 96;
/// Lanes that the claims are tried with.
pub const LANES: usize = 4;

/// Opens the same side with another number of lanes.
pub type Reopen<'a> = &'a dyn Fn(usize) -> Result<Side, SideError>;

type Claim = fn(&mut Trial<'_>) -> Result<CheckOutcome, SideError>;

const CLAIMS: [(&str, Claim); 12] = [
    ("a trace played twice gives the same digests", repeats),
    ("a lane's results do not depend on its place", place),
    ("a lane's results do not depend on its neighbours", neighbours),
    ("resetting one lane leaves the others alone", partial_reset),
    ("a lane's results do not depend on how many lanes there are", batch_size),
    ("a trace played in other frames gives the same records", frames),
    ("a restored snapshot goes on as the original", snapshot),
    ("a snapshot can be restored into another lane", snapshot_elsewhere),
    ("an injected state goes on as the original", inject),
    ("digests are those of the records", digests),
    ("rows are those that the records count", rows),
    ("a wrong request gets an error and the side goes on", wrong_requests),
];

/// Held against backends alone: a reference is what it is, and its snapshots are opaque.
const LEAVES_NOTHING: &str = "a reset leaves nothing of the last episode behind";

/// What one claim is tried on.
struct Trial<'a> {
    side: &'a mut Side,
    reopen: Reopen<'a>,
    configuration: &'a Configuration,
    seed: u64,
    /// Steps of each trace.
    steps: usize,
}

/// Tries every claim on both sides.
///
/// # Errors
/// If the reference can't be opened.
pub fn run(stage: &mut Stage<'_>) -> Result<TierReport, SideError> {
    let configuration = stage.configuration.clone();
    let mut report = TierReport::new("contract", &configuration);
    stage.watch.begin(&format!("{} contract", configuration.name), 2 * CLAIMS.len() as u64);
    let mut pair =
        open_pair(stage.sides, stage.backend, &configuration, LANES, "contract", ToleranceMode::FreeRunning)?;
    let (digest, named) = (pair.reference.digest.name(), pair.reference.capabilities.draw_sites);
    let (sides, backend, deadline) = (stage.sides, stage.backend, stage.sides.deadline());
    let terms = |lanes| Terms { digests: vec![digest], named, deadline, ..Terms::new(lanes) };
    let reopen_reference = |lanes| sides.reference(configuration.clone(), terms(lanes));
    let reopen_backend = |lanes| sides.backend(backend, configuration.clone(), terms(lanes));
    let opened: [(&mut Side, Reopen<'_>); 2] =
        [(&mut pair.reference, &reopen_reference), (&mut pair.backend, &reopen_backend)];
    for (side, reopen) in opened {
        let checks = try_claims(side, reopen, &configuration, stage.seed, STEPS, stage.watch, &stage.stop)?;
        report.stopped |= stage.stop.asked();
        report.checks.extend(checks);
    }
    if let Some(sets) = stage.instructions.clone() {
        for name in &sets.names {
            let variables = [(sets.variable.clone(), name.clone())];
            let outcome = match sides.backend_with(backend, configuration.clone(), terms(LANES), &variables) {
                Ok(mut other) => same_runs(&mut pair.backend, &mut other, &configuration, stage.seed)?,
                // What this machine lacks is visible, and no failure.
                Err(error) => CheckOutcome::Skipped(error.to_string()),
            };
            let claim = format!("instruction set {name} gives the same digests");
            report.checks.push(Check { claim, side: backend.to_owned(), outcome });
        }
    }
    stage.watch.end();
    Ok(report)
}

/// Tries every claim on one side that has [`LANES`] lanes, with traces of `steps` steps.
///
/// # Errors
/// If a reference fails, or the side can't be restarted.
pub fn try_claims(
    side: &mut Side,
    reopen: Reopen<'_>,
    configuration: &Configuration,
    seed: u64,
    steps: usize,
    watch: &mut dyn Watch,
    stop: &Stop,
) -> Result<Vec<Check>, SideError> {
    let role = side.role.clone();
    let mut checks = Vec::new();
    let own = (role != "reference").then_some((LEAVES_NOTHING, leaves_nothing as Claim));
    for (claim, check) in CLAIMS.into_iter().chain(own) {
        if stop.asked() {
            break;
        }
        let mut trial = Trial { side: &mut *side, reopen, configuration, seed, steps };
        let mut hung = false;
        let outcome = match check(&mut trial) {
            Ok(outcome) => outcome,
            // A reference that fails is no finding: nothing can be judged by it.
            Err(error @ (SideError::Died { .. } | SideError::Hung { .. } | SideError::Lying { .. }))
                if role == "reference" =>
            {
                return Err(error);
            }
            Err(error) if error.is_behaviour() || matches!(error, SideError::BadRequest { .. }) => {
                hung = matches!(error, SideError::Hung { .. });
                side.restart()?;
                CheckOutcome::Failed(error.to_string())
            }
            Err(SideError::Refused { message, .. }) => CheckOutcome::Failed(format!("it refuses: {message}")),
            Err(error) => return Err(error),
        };
        checks.push(Check { claim: claim.to_owned(), side: role.clone(), outcome });
        watch.advance(1);
        if hung {
            // The other claims would each wait for the deadline too.
            break;
        }
    }
    Ok(checks)
}

impl Trial<'_> {
    fn start(&self, lane: usize, stream: u64) -> LaneStart {
        // At draw level `recorded` a backend alone has nothing to replay: it gets a list that is long enough.
        let replays = self.configuration.level == Level::Recorded && self.side.role != "reference";
        let source = if replays {
            let draw = |index| lockstep_core::draw_word(self.seed, stream, 0, index);
            Source::Listed((0..4 * self.steps as u32).map(draw).collect())
        } else {
            Source::Seeded
        };
        LaneStart { lane: lane as u32, seed: self.seed, stream, episode: 0, source }
    }

    fn tokens(&self, stream: u64, steps: usize) -> Vec<u32> {
        let mut tokens = Vec::new();
        Tokens::new(self.seed).fill(self.configuration, stream, 0, steps as u64, &mut tokens);
        tokens
    }

    /// The digests of one lane's trace.
    fn chains(&mut self, lane: usize, stream: u64) -> Result<Vec<u64>, SideError> {
        let mut chains = self.side.reset(&[self.start(lane, stream)])?;
        let tokens = self.tokens(stream, self.steps);
        let play = Play::one_lane(self.configuration, lane, &tokens);
        chains.extend(self.side.play(play)?.remove(0).chains);
        Ok(chains)
    }

    /// The records of one lane's tokens from where it stands.
    fn records(&mut self, lane: usize, tokens: &[u32], mode: Mode) -> Result<Vec<Stepped>, SideError> {
        Ok(self.side.play_in_full(Play::one_lane(self.configuration, lane, tokens), mode)?.remove(0))
    }
}

/// Whether two sides play a few traces alike.
fn same_runs(
    side: &mut Side,
    other: &mut Side,
    configuration: &Configuration,
    seed: u64,
) -> Result<CheckOutcome, SideError> {
    let none: Reopen<'_> = &|_| unreachable!("these runs open nothing");
    for stream in 30..42 {
        let mut runs = Vec::new();
        for side in [&mut *side, &mut *other] {
            let mut trial = Trial { side, reopen: none, configuration, seed, steps: STEPS };
            runs.push(trial.chains(LANES - 1, stream)?);
        }
        if runs[0] != runs[1] {
            return Ok(CheckOutcome::Failed(format!("stream {stream} is played otherwise")));
        }
    }
    Ok(CheckOutcome::Passed)
}

fn same<T: PartialEq>(expected: &T, observed: &T, otherwise: &str) -> CheckOutcome {
    if expected == observed { CheckOutcome::Passed } else { CheckOutcome::Failed(otherwise.to_owned()) }
}

fn repeats(trial: &mut Trial<'_>) -> Result<CheckOutcome, SideError> {
    for stream in 0..6 {
        let first = trial.chains(0, stream)?;
        let second = trial.chains(0, stream)?;
        if first != second {
            return Ok(CheckOutcome::Failed(format!("stream {stream} gave two different runs")));
        }
    }
    Ok(CheckOutcome::Passed)
}

fn place(trial: &mut Trial<'_>) -> Result<CheckOutcome, SideError> {
    let first = trial.chains(0, 7)?;
    for lane in 1..LANES {
        if trial.chains(lane, 7)? != first {
            return Ok(CheckOutcome::Failed(format!("lane {lane} plays stream 7 otherwise than lane 0")));
        }
    }
    Ok(CheckOutcome::Passed)
}

fn neighbours(trial: &mut Trial<'_>) -> Result<CheckOutcome, SideError> {
    let alone: Vec<Vec<u64>> = (0..LANES).map(|lane| trial.chains(lane, lane as u64)).collect::<Result<_, _>>()?;
    let starts: Vec<LaneStart> = (0..LANES).map(|lane| trial.start(lane, lane as u64)).collect();
    trial.side.reset(&starts)?;
    let tokens: Vec<u32> = (0..LANES as u64).flat_map(|stream| trial.tokens(stream, trial.steps)).collect();
    let play = Play {
        lane_first: 0,
        lane_count: LANES,
        step_count: trial.steps,
        tokens: &tokens,
        grain: None,
        window: lockstep_core::wire::WINDOW_STEPS_MAX as usize,
    };
    let together = trial.side.play(play)?;
    for lane in 0..LANES {
        if together[lane].chains != alone[lane][1..] {
            return Ok(CheckOutcome::Failed(format!("lane {lane} plays otherwise among {LANES} than alone")));
        }
    }
    Ok(CheckOutcome::Passed)
}

fn partial_reset(trial: &mut Trial<'_>) -> Result<CheckOutcome, SideError> {
    let (half, tokens) = (trial.steps / 2 * trial.configuration.tokens_per_step(), trial.tokens(9, trial.steps));
    let mut runs = Vec::new();
    for disturbed in [false, true] {
        let starts = [trial.start(0, 8), trial.start(1, 9)];
        trial.side.reset(&starts)?;
        let first = trial.records(1, &tokens[..half], Mode::Full)?;
        if disturbed {
            let start = trial.start(0, 10);
            trial.side.reset(&[start])?;
        }
        runs.push((first, trial.records(1, &tokens[half..], Mode::Full)?));
    }
    Ok(same(&runs[0], &runs[1], "lane 1 plays otherwise after a reset of lane 0"))
}

fn batch_size(trial: &mut Trial<'_>) -> Result<CheckOutcome, SideError> {
    let expected = trial.chains(0, 11)?;
    for lanes in [1, 3, 17] {
        let mut other = (trial.reopen)(lanes)?;
        let mut again = Trial {
            side: &mut other,
            reopen: trial.reopen,
            configuration: trial.configuration,
            seed: trial.seed,
            steps: trial.steps,
        };
        if again.chains(lanes - 1, 11)? != expected {
            return Ok(CheckOutcome::Failed(format!("the last of {lanes} lanes plays stream 11 otherwise")));
        }
        other.close();
    }
    Ok(CheckOutcome::Passed)
}

fn frames(trial: &mut Trial<'_>) -> Result<CheckOutcome, SideError> {
    let tokens = trial.tokens(12, trial.steps);
    let mut runs: Vec<Vec<Vec<u8>>> = Vec::new();
    for size in [trial.steps, 1, 7] {
        let start = trial.start(0, 12);
        trial.side.reset(&[start])?;
        let mut bytes = Vec::new();
        for tokens in tokens.chunks(size * trial.configuration.tokens_per_step()) {
            bytes.extend(trial.records(0, tokens, Mode::Full)?.into_iter().map(|stepped| stepped.bytes));
        }
        runs.push(bytes);
    }
    for (run, size) in runs[1..].iter().zip([1, 7]) {
        if *run != runs[0] {
            return Ok(CheckOutcome::Failed(format!("frames of {size} steps give other records than one frame")));
        }
    }
    Ok(CheckOutcome::Passed)
}

fn snapshot(trial: &mut Trial<'_>) -> Result<CheckOutcome, SideError> {
    snapshot_into(trial, 0)
}

fn snapshot_elsewhere(trial: &mut Trial<'_>) -> Result<CheckOutcome, SideError> {
    snapshot_into(trial, LANES - 1)
}

/// The step among `steps` that `at` is among [`STEPS`]; neither the first nor the last.
fn within(at: usize, steps: usize) -> usize {
    (at * steps / STEPS).clamp(1, steps - 1)
}

fn snapshot_into(trial: &mut Trial<'_>, lane: usize) -> Result<CheckOutcome, SideError> {
    let per_step = trial.configuration.tokens_per_step();
    for (stream, at) in [(13, 1), (14, 17), (15, 48), (16, 63), (17, 70)] {
        let at = within(at, trial.steps);
        let tokens = trial.tokens(stream, trial.steps);
        let start = trial.start(0, stream);
        trial.side.reset(&[start])?;
        trial.side.play(Play::one_lane(trial.configuration, 0, &tokens[..at * per_step]))?;
        let blob = trial.side.snapshot(0)?;
        let rest = &tokens[at * per_step..];
        let expected = trial.side.play(Play::one_lane(trial.configuration, 0, rest))?;
        // Something else happens to the lane before the snapshot comes back.
        let other = trial.start(lane, 99);
        trial.side.reset(&[other])?;
        let noise = trial.tokens(99, 5);
        trial.side.play(Play::one_lane(trial.configuration, lane, &noise))?;
        trial.side.restore(lane as u32, &blob)?;
        let observed = trial.side.play(Play::one_lane(trial.configuration, lane, rest))?;
        if expected != observed {
            return Ok(CheckOutcome::Failed(format!("stream {stream} goes on otherwise after a restore at step {at}")));
        }
    }
    Ok(CheckOutcome::Passed)
}

/// What is not compared in a step could be carried from episode to episode, and decide what happens after a million.
fn leaves_nothing(trial: &mut Trial<'_>) -> Result<CheckOutcome, SideError> {
    let mut fresh = (trial.reopen)(LANES)?;
    for stream in 50..53 {
        let (used, tokens) = (trial.start(0, stream), trial.tokens(stream, trial.steps));
        trial.side.reset(&[used])?;
        trial.side.play(Play::one_lane(trial.configuration, 0, &tokens))?;
        let begun = trial.start(0, stream + 100);
        trial.side.reset(std::slice::from_ref(&begun))?;
        fresh.reset(&[begun])?;
        let (expected, observed) = (fresh.snapshot(0)?, trial.side.snapshot(0)?);
        if let Some(at) = (0..expected.len().max(observed.len())).find(|at| expected.get(*at) != observed.get(*at)) {
            return Ok(CheckOutcome::Failed(format!(
                "after {} steps and a reset its snapshot differs from that of a new lane, first in byte {at} of {}: reset has to set every word of State",
                trial.steps,
                expected.len()
            )));
        }
        fresh = (trial.reopen)(LANES)?;
    }
    Ok(CheckOutcome::Passed)
}

fn inject(trial: &mut Trial<'_>) -> Result<CheckOutcome, SideError> {
    if trial.side.capabilities.inject != "full" {
        return Ok(CheckOutcome::Skipped(format!("inject is {}", trial.side.capabilities.inject)));
    }
    let level = trial.configuration.level;
    if level == Level::Recorded || level == Level::Statistical {
        return Ok(CheckOutcome::Skipped(format!(
            "at draw level {} a state does not hold its future draws",
            level.name()
        )));
    }
    let per_step = trial.configuration.tokens_per_step();
    for (stream, at) in [(18, 1), (19, 20), (20, 47), (21, 64)] {
        let at = within(at, trial.steps);
        let tokens = trial.tokens(stream, trial.steps);
        let start = trial.start(0, stream);
        let first = trial.side.reset_in_full(&start, Mode::State)?;
        let records = trial.records(0, &tokens[..at * per_step], Mode::State)?;
        let rest = &tokens[at * per_step..];
        let expected = trial.records(0, rest, Mode::State)?;
        let (mut episode, mut elapsed, mut draw_index) = (0, 0, first.record.draws.len() as u32);
        for stepped in &records {
            draw_index += stepped.record.draws.len() as u32;
            elapsed += u32::from(stepped.record.kind == HEAD_STEP);
            if stepped.record.ended() {
                (episode, elapsed, draw_index) = (episode + 1, 0, 0);
            }
        }
        let last = &records.last().expect("at least one step was made").record;
        let injection = Injection {
            start: LaneStart { lane: 1, episode, ..start },
            elapsed,
            draw_index,
            state: last.canonical.clone(),
            observations: last.observations.clone(),
        };
        let injected = trial.side.inject_in_full(&injection, Mode::State)?;
        if injected.record.canonical != last.canonical || injected.record.observations != last.observations {
            return Ok(CheckOutcome::Failed(format!("the state of stream {stream} at step {at} comes out otherwise")));
        }
        let observed = trial.records(1, rest, Mode::State)?;
        if expected != observed {
            return Ok(CheckOutcome::Failed(format!("stream {stream} goes on otherwise from its state at step {at}")));
        }
    }
    Ok(CheckOutcome::Passed)
}

fn digests(trial: &mut Trial<'_>) -> Result<CheckOutcome, SideError> {
    for stream in 22..26 {
        let told = trial.chains(0, stream)?;
        let digest = trial.side.digest;
        let start = trial.start(0, stream);
        let first = trial.side.reset_in_full(&start, Mode::Full)?;
        let mut computed = vec![digest.of(0, &first.bytes)];
        let tokens = trial.tokens(stream, trial.steps);
        let records = trial.records(0, &tokens, Mode::Full)?;
        let window = lockstep_core::wire::WINDOW_STEPS_MAX as usize;
        for number in 0..trial.steps.div_ceil(window) {
            let inside = records.iter().filter(|stepped| stepped.step / window == number);
            let bytes: Vec<u8> = inside.flat_map(|stepped| stepped.bytes.iter().copied()).collect();
            computed.push(digest.of(computed[number], &bytes));
        }
        if told != computed {
            return Ok(CheckOutcome::Failed(format!("stream {stream} is digested otherwise than its records say")));
        }
        let logged: Vec<_> = records.iter().flat_map(|stepped| stepped.record.draws.iter().copied()).collect();
        if trial.side.draws(0)? != logged {
            return Ok(CheckOutcome::Failed(format!("the draw log of stream {stream} is not that of its records")));
        }
    }
    Ok(CheckOutcome::Passed)
}

fn rows(trial: &mut Trial<'_>) -> Result<CheckOutcome, SideError> {
    let grains = trial.configuration.grains.len();
    if grains == 0 {
        return Ok(CheckOutcome::Skipped("there are no grains".into()));
    }
    if !trial.side.capabilities.grains {
        return Ok(CheckOutcome::Skipped("it leaves the rows of grains to the readable backend".into()));
    }
    for grain in 0..grains {
        let tokens = trial.tokens(27, trial.steps);
        let start = trial.start(0, 27);
        trial.side.reset(std::slice::from_ref(&start))?;
        let plain = trial.records(0, &tokens, Mode::Full)?;
        trial.side.reset(&[start])?;
        let play = Play { grain: Some(grain), ..Play::one_lane(trial.configuration, 0, &tokens) };
        let fine = trial.side.play_in_full(play, Mode::Full)?.remove(0);
        let size: usize = trial.configuration.grains[grain].row.iter().map(|field| field.bytes()).sum();
        for (plain, fine) in plain.iter().zip(&fine) {
            if let Some((count, digest)) = fine.record.rows
                && (count as usize * size != fine.rows.len() || digest != trial.side.digest.of(0, &fine.rows))
            {
                return Ok(CheckOutcome::Failed(format!("the rows of step {} are not those of its record", fine.step)));
            }
            if plain.record != (crate::record::Record { rows: None, ..fine.record.clone() }) {
                return Ok(CheckOutcome::Failed(format!("step {} differs when rows are asked for", fine.step)));
            }
        }
    }
    Ok(CheckOutcome::Passed)
}

fn wrong_requests(trial: &mut Trial<'_>) -> Result<CheckOutcome, SideError> {
    let expected = trial.chains(0, 28)?;
    let word = |word: u32| word.to_le_bytes();
    let mut wrong: Vec<(&str, Verb, Vec<u8>)> = vec![
        ("an empty reset", Verb::Reset, vec![]),
        ("a lane that is not there", Verb::Snapshot, [word(1), word(LANES as u32)].concat()),
        ("a mode that is not there", Verb::Reset, [word(9), word(0)].concat()),
        (
            "tokens that end too early",
            Verb::StepMany,
            [word(0), word(!0), word(64), word(0), word(1), word(5)].concat(),
        ),
        ("a window of no steps", Verb::StepMany, [word(0), word(!0), word(0), word(0), word(0), word(0)].concat()),
        ("a snapshot of garbage", Verb::Restore, [word(1), word(0), word(4), word(0xDEAD_BEEF)].concat()),
        ("a huge count", Verb::Snapshot, [word(!0), word(0)].concat()),
        ("probing what is not JSON", Verb::Probe, b"{".to_vec()),
    ];
    if matches!(trial.configuration.action, Action::Continuous { .. }) {
        let nan = f32::NAN.to_bits().rotate_left(1);
        let mut body = [word(0), word(!0), word(64), word(0), word(1), word(1)].concat();
        body.extend((0..trial.configuration.tokens_per_step()).flat_map(|_| word(nan)));
        wrong.push(("a NaN as an action", Verb::StepMany, body));
    }
    for (what, verb, body) in wrong {
        match trial.side.ask_raw(verb, &body) {
            Err(SideError::BadRequest { .. } | SideError::Refused { .. }) => {}
            Ok(_) => return Ok(CheckOutcome::Failed(format!("{what} was taken"))),
            Err(SideError::Exception { message, .. }) => {
                return Ok(CheckOutcome::Failed(format!("{what} failed inside: {message}")));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(same(&expected, &trial.chains(0, 28)?, "it plays otherwise after wrong requests"))
}
