//! What `lockstep check` tells of an environment beyond its claims: where chance comes from, how large its state is, and
//! how long each tier will take.

mod randomness;
mod text;

use randomness::{Finding, Randomness, randomness};

use crate::exit::Failure;
use crate::new::pin;
use crate::outgoing::{Withheld, may_leave};
use crate::project::{Project, ReferenceOptions};
use lockstep_core::wire::Mode;
use lockstep_harness::manifest::{Configuration, Level, ManifestFile};
use lockstep_harness::reference::{find_tools, prepare};
use lockstep_harness::report::thousands;
use lockstep_harness::side::{LaneStart, Play, Side, SideError, Source};
use lockstep_harness::tiers::{Tokens, interaction, property};
use lockstep_harness::verify::{FUZZ_STEPS, ROLLOUT_STEPS};
use lockstep_harness::watch::{Stop, Watch};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Snapshots that are weighed, one after another.
const SNAPSHOTS: usize = 6;
/// Steps between two of them, at most.
const STEPS: u64 = 256;
/// How long that may take.
const TIME_MAX: Duration = Duration::from_secs(6);
/// Starts that are timed.
const STARTS: u64 = 20;

/// What was read of a reference.
pub struct Reading {
    randomness: Randomness,
    withheld: Vec<Withheld>,
    pinned: Option<String>,
}

impl Reading {
    /// Reads the reference's source: chance, keys, and whether it is still the one that `reference.toml` pins.
    ///
    /// # Errors
    /// If the reference can't be prepared.
    pub fn of(project: &Project, options: &ReferenceOptions, watch: &mut dyn Watch) -> Result<Self, Failure> {
        let reference = project.reference(options.reference.as_deref())?;
        let tools = find_tools(options.python.as_deref());
        let prepared = prepare(&reference, options.adapter.as_deref(), &tools, watch)?;
        let randomness = randomness(&reference, &prepared, &tools);
        let texts = randomness.files.iter().map(|path| (path, std::fs::read(path).unwrap_or_default()));
        let withheld = texts
            .filter_map(|(path, bytes)| may_leave(path, &String::from_utf8_lossy(&bytes), &reference.folder).err())
            .collect();
        let now = pin(&randomness.files);
        let pinned = reference.file.version.starts_with("source ") && reference.file.version != now;
        Ok(Reading { randomness, withheld, pinned: pinned.then_some(now) })
    }

    /// In lines for people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.randomness.lines();
        lines.extend(
            self.withheld.iter().flat_map(|why| why.to_string().lines().map(str::to_owned).collect::<Vec<_>>()),
        );
        if let Some(now) = &self.pinned {
            lines.push(format!("the source is another one than reference.toml pins: set version = \"{now}\" there"));
        }
        lines
    }

    /// For `--json`.
    pub fn json(&self) -> Value {
        let withheld: Vec<String> = self.withheld.iter().map(ToString::to_string).collect();
        json!({"randomness": self.randomness, "withheld": withheld, "source_now": self.pinned})
    }
}

/// A stop that is asked when the time is over too.
pub fn within(stop: &Stop, time: Duration) -> Stop {
    let (limited, until) = (Stop::default(), Instant::now() + time);
    let (asked, whole) = (limited.clone(), stop.clone());
    std::thread::spawn(move || {
        while Instant::now() < until && !whole.asked() {
            std::thread::sleep(Duration::from_millis(100));
        }
        asked.ask();
    });
    limited
}

/// The state of one configuration, and what the tiers take.
pub struct State {
    /// Bytes of the state form.
    state: usize,
    /// Bytes of the snapshots, and the step at which each was taken.
    snapshots: Vec<(u64, usize)>,
    /// Minutes by tier, for the reference alone.
    minutes: Vec<(&'static str, f64)>,
}

impl State {
    /// Weighs the state and counts the minutes, from steps per second and what the contract tier took.
    ///
    /// # Errors
    /// If the side fails.
    pub fn of(
        side: &mut Side,
        configuration: &Configuration,
        file: &ManifestFile,
        speed: f64,
        contract: Duration,
        seed: u64,
    ) -> Result<Self, SideError> {
        let start = |stream| LaneStart { lane: 0, seed, stream, episode: 0, source: Source::Seeded };
        let steps = ((TIME_MAX.as_secs_f64() * speed) as u64 / SNAPSHOTS as u64).clamp(1, STEPS);
        let began = Instant::now();
        side.reset(&[start(1 << 44)])?;
        let mut snapshots = vec![(0, side.snapshot(0)?.len())];
        for round in 1..SNAPSHOTS as u64 {
            let mut tokens = Vec::new();
            Tokens::new(seed).fill(configuration, 1 << 44, (round - 1) * steps, round * steps, &mut tokens);
            side.play(Play::one_lane(configuration, 0, &tokens))?;
            snapshots.push((round * steps, side.snapshot(0)?.len()));
            if began.elapsed() > TIME_MAX {
                break;
            }
        }
        // What a case of the lower tiers costs: a start with its state in full, and one step.
        let began = Instant::now();
        let mut starts = 0;
        while starts < STARTS && began.elapsed() < TIME_MAX {
            side.reset_in_full(&start(starts), Mode::State)?;
            let mut tokens = Vec::new();
            Tokens::new(seed).fill(configuration, starts, 0, 1, &mut tokens);
            side.play(Play::one_lane(configuration, 0, &tokens))?;
            starts += 1;
        }
        let case = began.elapsed().as_secs_f64() / starts.max(1) as f64;
        let tiers = &file.tiers;
        let rollout = tiers.rollout_steps.get(&configuration.name).copied().unwrap_or(ROLLOUT_STEPS);
        let mut minutes = vec![("contract", contract.as_secs_f64() / 60.0)];
        let injects = side.capabilities.inject == "full";
        if matches!(configuration.level, Level::Exact | Level::Served) {
            if injects {
                minutes.push(("property", property::CASES as f64 * case / 60.0));
                minutes.push(("interaction", 2.0 * interaction::PAIRS_MAX as f64 * case / 60.0));
            }
            minutes.push(("fuzz", tiers.fuzz_steps.unwrap_or(FUZZ_STEPS) as f64 / speed / 60.0));
        }
        minutes.push(("rollout", rollout as f64 / speed / 60.0));
        Ok(State { state: configuration.state_bytes(), snapshots, minutes })
    }

    /// How much the snapshot grew, if it did so all the time: something is kept that no reset empties.
    fn growth(&self) -> Option<(u64, usize, usize)> {
        let [(_, first), .., (steps, last)] = self.snapshots[..] else { return None };
        let rising = self.snapshots[1..].windows(2).all(|pair| pair[0].1 < pair[1].1);
        (self.snapshots.len() > 3 && rising && last > first + first / 2).then_some((steps, first, last))
    }

    /// In lines for people.
    pub fn lines(&self) -> Vec<String> {
        let last = self.snapshots.last().map_or(0, |snapshot| snapshot.1);
        let steps = self.snapshots.last().map_or(0, |snapshot| snapshot.0);
        let size = |bytes: usize| format!("{} bytes", thousands(bytes as u64));
        let mut lines =
            vec![format!("state {}, a snapshot {} after {} steps", size(self.state), size(last), thousands(steps))];
        if let Some((steps, first, last)) = self.growth() {
            lines.push(format!(
                "GROWS: a snapshot had {} at first and {} after {} steps; a backend has room for a fixed state, so empty in `reset` what only grows",
                size(first),
                size(last),
                thousands(steps)
            ));
        }
        let tiers: Vec<String> = self.minutes.iter().map(|(tier, minutes)| format!("{tier} {minutes:.1}")).collect();
        let all: f64 = self.minutes.iter().map(|(_, minutes)| minutes).sum();
        lines.push(format!("minutes per tier, the reference alone: {}; together {all:.1}", tiers.join(", ")));
        lines
    }

    /// For `--json`.
    pub fn json(&self) -> Value {
        let minutes: serde_json::Map<String, Value> =
            self.minutes.iter().map(|(tier, minutes)| ((*tier).to_owned(), json!(minutes))).collect();
        json!({"state_bytes": self.state, "snapshot_bytes": self.snapshots, "grows": self.growth().is_some(), "minutes": minutes})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_grows_only_if_it_never_shrinks_and_becomes_half_as_large_again() {
        let of = |sizes: &[usize]| State {
            state: 0,
            snapshots: sizes.iter().enumerate().map(|(round, size)| (round as u64 * STEPS, *size)).collect(),
            minutes: Vec::new(),
        };
        assert!(of(&[100, 200, 300, 400]).growth().is_some());
        assert!(of(&[100, 200, 150, 400]).growth().is_none());
        assert!(of(&[100, 101, 102, 103]).growth().is_none());
        assert!(of(&[100, 200]).growth().is_none());
    }
}
