//! `lockstep check`: what an adapter is good for, before anything is translated.

use super::{fresh_seed, parse_count, parse_seed, print_json};
use crate::exit::{Exit, Failure};
use crate::project::{Project, ReferenceOptions};
use crate::survey::{Reading, State, within};
use crate::terminal::{Progress, agreed, diverged};
use lockstep_harness::bench::{commit, machine};
use lockstep_harness::bulk::{self, Alarm, Bulk, Compared, Counted};
use lockstep_harness::certificate::today;
use lockstep_harness::compare::Tolerances;
use lockstep_harness::manifest::{Configuration, Level, Manifest};
use lockstep_harness::pair::Pair;
use lockstep_harness::reference::{cache_folder, find_tools, prepare};
use lockstep_harness::report::{replay_block, thousands};
use lockstep_harness::side::{CommandLine, LaneStart, LogFile, Play, Process, Side, SideError, Source, Terms};
use lockstep_harness::tiers::contract::{self, LANES, try_claims};
use lockstep_harness::tiers::{Check, CheckOutcome, Tokens};
use lockstep_harness::watch::{Stop, Watch};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Check an adapter alone: conformance, and whether it agrees with itself
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  lockstep check counter --adapter c\n  lockstep check pong -c default --steps 100M\n  lockstep check pong -c default --steps 100M --backend rust.simd\n\nNo backend is needed. The adapter is held to the claims of the contract tier, played twice in one process, in two, and with another hash seed, and its speed is measured. Its source is read for chance, clocks and the order of sets, by file and line, and for keys that no model should see. Without --steps this ends within a minute, if the adapter plays 20 steps/s or more; at less than some 500 it plays shorter traces, and says so. With --steps two processes of it are compared for as long as you like: whatever differs is a false alarm. With --backend the same is done with a backend."
)]
pub struct Arguments {
    /// An environment in envs/, or the folder of one
    environment: String,
    /// Only these configurations (repeatable)
    #[arg(long, short, value_name = "NAME")]
    configuration: Vec<String>,
    /// Also compare two processes over so many steps of each configuration, e.g. 100M
    #[arg(long, value_name = "N", value_parser = parse_count)]
    steps: Option<u64>,
    /// Check a backend alone instead of the adapter
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// The seed of the run, as an earlier run printed it
    #[arg(long, value_parser = parse_seed)]
    seed: Option<u64>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reference: ReferenceOptions,
}

/// Traces that are compared between processes.
const STREAMS: u64 = 8;
/// Steps of each.
const STEPS: u64 = 256;
/// How long the speed is measured.
const SPEED_TIME: Duration = Duration::from_secs(1);
/// Claims that are not begun within this time are not tried: the whole has to end within a minute.
const CLAIMS_TIME: Duration = Duration::from_secs(30);
/// Nor are traces between processes.
const COMPARE_TIME: Duration = Duration::from_secs(4);
/// How long all claims may take, as far as their number of steps decides it.
const CLAIMS_AIM: Duration = Duration::from_secs(20);
/// Traces of one length that all claims together play, about.
const CLAIMS_TRACES: f64 = 70.0;
/// Fewer steps than these say little.
const STEPS_MIN: usize = 6;

/// How much is played at a speed, so that the whole ends within a minute.
struct Amount {
    /// Steps of each trace that a claim plays.
    claims: usize,
    /// Steps of each trace that is compared between processes.
    compared: u64,
}

impl Amount {
    /// What there is time for at so many steps a second.
    fn at(speed: f64) -> Self {
        let claims = CLAIMS_AIM.as_secs_f64() * speed / CLAIMS_TRACES;
        let compared = COMPARE_TIME.as_secs_f64() * speed / 4.0;
        Amount {
            claims: (claims as usize).clamp(STEPS_MIN, contract::STEPS),
            compared: (compared as u64).clamp(STEPS_MIN as u64, STEPS),
        }
    }

    /// What was reduced, in words.
    fn reduced(&self, speed: f64) -> Option<String> {
        (self.claims < contract::STEPS || self.compared < STEPS).then(|| {
            format!(
                "reduced at {speed:.0} steps/s: claims were tried on traces of {} steps instead of {}, processes compared over traces of {} instead of {STEPS}; --steps N compares for as long as you like",
                self.claims,
                contract::STEPS,
                self.compared,
            )
        })
    }
}

/// Runs the verb.
pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let project = Project::find(&arguments.environment)?;
    let manifest = &project.manifest;
    for name in &arguments.configuration {
        manifest.configuration(name)?;
    }
    let seed = arguments.seed.unwrap_or_else(fresh_seed);
    let stop = Stop::on_signals().map_err(|error| Failure::usage(error.to_string()))?;
    let mut progress = Progress::new(arguments.json);
    let options = &arguments.reference;
    if let Some(backend) = arguments.backend.as_ref().filter(|name| !manifest.file.backends.contains_key(*name)) {
        let known: Vec<&str> = manifest.file.backends.keys().map(String::as_str).collect();
        return Err(Failure::usage(format!(
            "{} has no backend {backend:?}, only {}",
            manifest.file.name,
            known.join(", ")
        )));
    }
    let (role, command) = match &arguments.backend {
        Some(backend) => {
            let mut command = project.runner(backend, &mut progress)?;
            command.argv.push(backend.clone());
            (backend.as_str(), command)
        }
        None => {
            let reference = project.reference(options.reference.as_deref())?;
            let tools = find_tools(options.python.as_deref());
            ("reference", prepare(&reference, options.adapter.as_deref(), &tools, &mut progress)?.command)
        }
    };
    let deadline = Duration::from_secs(options.deadline.max(1));
    let open = |configuration: &Arc<Configuration>, lanes: usize, variables: &[(&str, &str)]| {
        let mut command: CommandLine = command.clone();
        command.variables.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let log = LogFile::create(&cache_folder().join("logs"), role).map_err(|error| SideError::NotStarted {
            role: role.into(),
            command: command.argv.join(" "),
            reason: error.to_string(),
        })?;
        let terms = Terms { deadline, ..Terms::new(lanes) };
        let process = Process::start(role, command, log)?;
        Side::connect(role, Box::new(process), configuration.clone(), terms)
    };
    let playable = arguments.backend.as_ref().and_then(|name| manifest.file.backends[name].configurations.clone());
    let asked = |name: &String| {
        playable.as_ref().is_none_or(|names| names.contains(name))
            && (arguments.configuration.is_empty() || arguments.configuration.contains(name))
    };
    if !arguments.json {
        anstream::eprintln!("{} {role}, seed {seed:#x}", manifest.file.name);
    }
    let began = Instant::now();
    let mut rows = Vec::new();
    let mut failed = false;
    for configuration in manifest.configurations().iter().filter(|configuration| asked(&configuration.name)) {
        let configuration = Arc::new(configuration.clone());
        progress.begin(&format!("{} check", configuration.name), 15);
        let mut side = open(&configuration, LANES, &[])?;
        let reopen = |lanes: usize| open(&configuration, lanes, &[]);
        let speed = speed(&mut side, &configuration, seed)?;
        let amount = Amount::at(speed);
        let tried = Instant::now();
        let limit = within(&stop, CLAIMS_TIME.saturating_sub(began.elapsed()).max(CLAIMS_TIME / 20));
        let mut checks = try_claims(&mut side, &reopen, &configuration, seed, amount.claims, &mut progress, &limit)?;
        // What the tier itself takes, with traces of full length.
        let took = tried.elapsed();
        let contract = took.mul_f64(contract::STEPS as f64 / amount.claims as f64);
        if limit.asked() && !stop.asked() {
            let outcome = CheckOutcome::Skipped(format!("{} s were over", took.as_secs()));
            checks.push(Check { claim: "the claims after these".into(), side: role.into(), outcome });
        }
        let others = [
            ("two processes give the same digests", &[][..]),
            ("another hash seed gives the same digests", &[("PYTHONHASHSEED", "20261123")][..]),
        ];
        // A backend has no hash seed.
        for (claim, variables) in others.into_iter().take(if role == "reference" { 2 } else { 1 }) {
            let mut other = open(&configuration, LANES, variables)?;
            let outcome = compare(&mut side, &mut other, &configuration, seed, amount.compared)?;
            checks.push(Check { claim: claim.into(), side: role.into(), outcome });
            other.close();
            progress.advance(1);
        }
        progress.end();
        let itself = match arguments.steps.filter(|_| !stop.asked()) {
            Some(steps) => {
                let (lanes, traces) = sizes(manifest);
                let pair = (open(&configuration, lanes, &[])?, open(&configuration, lanes, &[])?);
                let bulk = Bulk { compared: Compared::Digests, steps, lanes, trace_steps: traces, seed, alarms_max: 3 };
                let (check, itself) = against_itself(pair, &bulk, role, &mut progress, &stop)?;
                checks.push(check);
                Some(itself)
            }
            None => None,
        };
        failed |= checks.iter().any(|check| matches!(check.outcome, CheckOutcome::Failed(_)));
        let missing = missing(&side, &configuration);
        // Of a backend there is neither a state to be made small nor source that anybody has to be warned of.
        let state = match role {
            "reference" => Some(State::of(&mut side, &configuration, &manifest.file, speed, contract, seed)?),
            _ => None,
        };
        if !arguments.json {
            for check in &checks {
                match &check.outcome {
                    CheckOutcome::Failed(why) => diverged(&format!(
                        "{}: {}\n  seen      {}",
                        configuration.name,
                        check.claim,
                        why.replace('\n', "\n            ")
                    )),
                    CheckOutcome::Skipped(why) => {
                        anstream::println!("{}: {} - skipped: {why}", configuration.name, check.claim);
                    }
                    CheckOutcome::Passed => {}
                }
            }
            let passed = checks.iter().filter(|check| check.outcome == CheckOutcome::Passed).count();
            let minutes = 1e6 / speed / 60.0;
            anstream::println!(
                "{:<16} {passed} of {} checks, {} steps/s in lockstep, {minutes:.1} minutes per million steps",
                configuration.name,
                checks.len(),
                thousands(speed as u64)
            );
            if let Some(Itself { counted, seconds, .. }) = &itself {
                anstream::println!(
                    "{:<16} {} steps of two processes of {role}, {} traces, {} episodes: {}, {seconds:.0} s{}",
                    "",
                    thousands(counted.steps),
                    thousands(counted.traces),
                    thousands(counted.episodes),
                    alarms(counted.alarms.len()),
                    if counted.stopped { ", stopped" } else { "" }
                );
            }
            if let Some(line) = amount.reduced(speed) {
                anstream::println!("{:<16} {line}", "");
            }
            for line in missing.iter().chain(&state.as_ref().map(State::lines).unwrap_or_default()) {
                anstream::println!("{:<16} {line}", "");
            }
        }
        rows.push(json!({
            "configuration": configuration.name, "checks": checks, "steps_per_second": speed, "reduced": amount.reduced(speed), "missing": missing,
            "against_itself": itself.as_ref().map(Itself::json),
            "state": state.as_ref().map(State::json),
        }));
        side.close();
        if stop.asked() {
            return Ok(Exit::Stopped);
        }
    }
    let reading = match role {
        "reference" => Some(Reading::of(&project, options, &mut progress)?),
        _ => None,
    };
    if arguments.json {
        print_json(
            &json!({"environment": manifest.file.name, "side": role, "machine": machine(), "commit": commit(&manifest.folder),
            "day": today(), "command": std::env::args().collect::<Vec<_>>()[1..].join(" "), "seed": format!("{seed:#x}"),
            "configurations": rows, "reading": reading.as_ref().map(Reading::json)}),
        )?;
        return Ok(if failed { Exit::Diverged } else { Exit::Agree });
    }
    for line in reading.iter().flat_map(Reading::lines) {
        anstream::println!("{line}");
    }
    if !failed {
        let who = arguments.backend.as_deref().unwrap_or("the adapter");
        agreed(&format!("{who} of {} keeps its promises", manifest.file.name));
    }
    Ok(if failed { Exit::Diverged } else { Exit::Agree })
}

fn start(seed: u64, stream: u64) -> LaneStart {
    LaneStart { lane: 0, seed, stream, episode: 0, source: Source::Seeded }
}

fn compare(
    side: &mut Side,
    other: &mut Side,
    configuration: &Configuration,
    seed: u64,
    steps: u64,
) -> Result<CheckOutcome, Failure> {
    let began = Instant::now();
    for stream in 0..STREAMS {
        if stream > 0 && began.elapsed() > COMPARE_TIME {
            break;
        }
        let mut tokens = Vec::new();
        Tokens::new(seed).fill(configuration, stream, 0, steps, &mut tokens);
        let mut runs = Vec::new();
        for side in [&mut *side, &mut *other] {
            let mut chains = side.reset(&[start(seed, stream)])?;
            chains.extend(side.play(Play::one_lane(configuration, 0, &tokens))?.remove(0).chains);
            runs.push(chains);
        }
        if runs[0] != runs[1] {
            let window = runs[0].iter().zip(&runs[1]).position(|(a, b)| a != b).unwrap_or_default();
            let why = if window == 0 {
                format!("stream {stream} starts otherwise")
            } else {
                format!("stream {stream} differs within steps {} to {}", 64 * (window - 1), 64 * window)
            };
            return Ok(CheckOutcome::Failed(why));
        }
    }
    Ok(CheckOutcome::Passed)
}

/// Steps of one lane per second, protocol and digests included.
fn speed(side: &mut Side, configuration: &Configuration, seed: u64) -> Result<f64, Failure> {
    side.reset(&[start(seed, 0)])?;
    let began = Instant::now();
    let (mut steps, mut frame) = (0u64, 16u64);
    while began.elapsed() < SPEED_TIME {
        let mut tokens = Vec::new();
        Tokens::new(seed).fill(configuration, 0, steps, steps + frame, &mut tokens);
        side.play(Play::one_lane(configuration, 0, &tokens))?;
        steps += frame;
        frame = (2 * frame).min(16_384);
    }
    Ok(steps as f64 / began.elapsed().as_secs_f64())
}

/// Two processes that were compared for long.
struct Itself {
    counted: Counted,
    seconds: f64,
}

impl Itself {
    fn json(&self) -> serde_json::Value {
        let Counted { steps, traces, episodes, alarms, stopped } = &self.counted;
        json!({
            "steps": steps, "traces": traces, "episodes": episodes, "false_alarms": alarms, "stopped": stopped,
            "seconds": self.seconds,
        })
    }
}

/// Lanes and steps of a trace, as the rollout tier has them.
fn sizes(manifest: &Manifest) -> (usize, u64) {
    let tiers = &manifest.file.tiers;
    (tiers.lanes.unwrap_or(LANES), tiers.trace_steps.unwrap_or(1_024) as u64)
}

/// Compares two processes of one side over many steps.
fn against_itself(
    (first, second): (Side, Side),
    bulk: &Bulk,
    role: &str,
    progress: &mut Progress,
    stop: &Stop,
) -> Result<(Check, Itself), Failure> {
    let configuration = first.configuration.clone();
    let mut pair = Pair::new(first, second, Tolerances::default(), Tolerances::default());
    progress.begin(&format!("{} against itself", configuration.name), bulk.steps);
    let began = Instant::now();
    let counted = bulk::play(&mut pair, bulk, progress, stop);
    progress.end();
    let (counted, seconds) = (counted?, began.elapsed().as_secs_f64());
    let told = |alarm: &Alarm| match &alarm.divergence {
        Some(divergence) => {
            format!(
                "stream {} {}\n{}",
                alarm.stream,
                alarm.again,
                replay_block(&configuration, divergence, alarm.steps)
            )
        }
        None => format!("stream {} {}", alarm.stream, alarm.again),
    };
    let outcome = if counted.alarms.is_empty() {
        CheckOutcome::Passed
    } else {
        let all: Vec<String> = counted.alarms.iter().map(told).collect();
        CheckOutcome::Failed(format!(
            "{}, the first within {} steps\n{}",
            alarms(all.len()),
            counted.alarms[0].steps,
            all.join("\n")
        ))
    };
    pair.reference.close();
    pair.backend.close();
    let claim = format!("two processes agree over {} steps", thousands(counted.steps));
    Ok((Check { claim, side: role.into(), outcome }, Itself { counted, seconds }))
}

fn alarms(count: usize) -> String {
    match count {
        0 => "0 false alarms".into(),
        1 => "1 false alarm".into(),
        count => format!("{count} false alarms"),
    }
}

/// What each missing capability costs.
fn missing(side: &Side, configuration: &Configuration) -> Vec<String> {
    let mut lines = Vec::new();
    if side.capabilities.inject != "full" {
        lines.push(format!(
            "inject is {}: no property and interaction tiers, no teacher-forced steps, no short repros",
            side.capabilities.inject
        ));
    }
    if !side.capabilities.explain {
        lines.push("explain is missing: repair prompts can't show which lines ran".into());
    }
    if !side.capabilities.draw_sites && !configuration.sites.is_empty() {
        lines.push("draw_sites is missing: draws are compared by bound and value, not by who asked".into());
    }
    match configuration.level {
        Level::Recorded => {
            lines.push("draws are recorded: no property, interaction and fuzz tiers; serve them to get these".into());
        }
        Level::Statistical => lines.push("draws are statistical: only frequencies are compared".into()),
        Level::Exact | Level::Served => {}
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reference_is_checked_over_fewer_steps_and_the_line_says_how_many() {
        assert_eq!(Amount::at(5_000.0).reduced(5_000.0), None);
        let slow = Amount::at(20.0);
        // Claims, two comparisons of at least one trace on both sides: with the speed, the snapshots and the starts of
        // processes this has to end within a minute.
        let seconds = (slow.claims as f64 * CLAIMS_TRACES + 4.0 * slow.compared as f64) / 20.0;
        assert!(seconds < 30.0, "{seconds}");
        let line = slow.reduced(20.0).expect("it is slow");
        let said = [format!("of {} steps instead of 96", slow.claims), format!("of {} instead of 256", slow.compared)];
        assert!(said.iter().all(|said| line.contains(said)), "{line}");
    }
}
