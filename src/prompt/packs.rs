//! Divergences as a model reads them: the block, both sides before and after the step, draws, and the lines that ran.
//!
//! The block says what differs; what leads to a repair is the step itself, so each shrunk trace is played once more on
//! both sides, and the reference is asked what it executed. What the model can't use is left out: file names of traces,
//! commands, and lines of files that it may not read.

use super::source::known;
use super::{PACKS_MAX, PromptError, SourceFile, hex};
use lockstep_core::{ActionKind, decode};
use lockstep_harness::compare::draw_text;
use lockstep_harness::divergence::Divergence;
use lockstep_harness::html::{Film, Frame};
use lockstep_harness::manifest::{Action, Configuration, Manifest, ToleranceMode};
use lockstep_harness::record::Record;
use lockstep_harness::report::Finding;
use lockstep_harness::side::{Play, Terms};
use lockstep_harness::sides::{AgainstRust, Sides, open_pair};
use lockstep_harness::tiers::CheckOutcome;
use lockstep_harness::trace::Trace;
use lockstep_harness::verify::Verification;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

/// Values of a state that are shown even if they stay as they are.
const STEADY_VALUES_MAX: usize = 48;
/// Lines of the reference that one pack shows at most.
const LINES_MAX: usize = 90;
/// Steps from a reset up to which no injected state is shown instead.
const FROM_RESET_STEPS_MAX: usize = 8;
/// Steps before the last one whose actions are shown.
const STEPS_SHOWN: usize = 12;

/// One minimized divergence, or one broken claim, as the model reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pack {
    /// What differs, in a few words; no two packs have the same.
    pub kind: String,
    /// What the model reads. It may hold source of the reference, so it is not kept.
    #[serde(skip)]
    pub text: String,
    /// The same with executed lines of the reference as (file, line, hash).
    pub stored: String,
}

/// As it is kept: a run that goes on in another process reads this instead.
#[derive(Deserialize)]
struct Kept {
    kind: String,
    stored: String,
}

impl<'de> Deserialize<'de> for Pack {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Kept { kind, stored } = Kept::deserialize(deserializer)?;
        Ok(Pack { kind, text: stored.clone(), stored })
    }
}

impl Pack {
    /// A pack without reference source.
    pub fn plain(kind: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        Pack { kind: kind.into(), stored: text.clone(), text }
    }
}

/// The packs of a verification: at most three, one per kind, in the order in which the tiers found them.
pub fn packs(verification: &Verification, manifest: &Manifest, sides: &dyn Sides, source: &[SourceFile]) -> Vec<Pack> {
    let mut packs: Vec<Pack> = Vec::new();
    for report in &verification.reports {
        let Ok(configuration) = manifest.configuration(&report.configuration) else { continue };
        let configuration = Arc::new(configuration.clone());
        for finding in &report.findings {
            let kind = finding.minimized.divergence.kind();
            if packs.len() < PACKS_MAX && !packs.iter().any(|pack| pack.kind == kind) {
                let bulk = AgainstRust(sides);
                let judges: &dyn Sides = if report.against == "rust" { &bulk } else { sides };
                packs.push(pack(finding, &configuration, &verification.backend, judges, report.against, source));
            }
        }
        for check in &report.checks {
            let CheckOutcome::Failed(why) = &check.outcome else { continue };
            let kept = report.tier == "traces";
            let claim = if kept { "a trace kept from an earlier round agrees".to_owned() } else { check.claim.clone() };
            let kind = format!("the {} tier: {claim}", report.tier);
            if packs.len() < PACKS_MAX && !packs.iter().any(|pack| pack.kind == kind) {
                let why = without_commands(why);
                let text = format!(
                    "```text\n{} breaks the {} tier in configuration {}\n  claim     {claim}\n  seen      {}\n```",
                    check.side,
                    report.tier,
                    report.configuration,
                    why.trim_end().replace('\n', "\n            ")
                );
                packs.push(Pack::plain(kind, text));
            }
        }
    }
    packs
}

fn pack(
    finding: &Finding,
    configuration: &Arc<Configuration>,
    backend: &str,
    sides: &dyn Sides,
    against: &str,
    source: &[SourceFile],
) -> Pack {
    // A short way from a reset shows all that leads there; a long one is better replaced by the state just before.
    let minimized = &finding.minimized;
    let (trace, divergence, injected) = match &minimized.short {
        Ok(short) if minimized.trace.steps() > FROM_RESET_STEPS_MAX => (&short.trace, &short.divergence, true),
        _ => (&minimized.trace, &minimized.divergence, false),
    };
    let mut text = format!("```text\n{}```\n", without_commands(&finding.block(configuration)));
    let options = &configuration.options;
    let _ = writeln!(text, "\nConfiguration `{}`, options {options}.", configuration.name);
    if injected {
        text.push_str("\nThe same difference needs fewer steps from an injected state, which is shown here:\n");
    }
    if divergence.is_failure() {
        // What a failure says stands in the block; the sides may not survive being asked again.
        let _ = write!(text, "\n{}", start_text(trace, divergence, configuration, None));
        return Pack::plain(divergence.kind(), text);
    }
    match films(trace, divergence, configuration, backend, sides, &finding.tier) {
        Ok(film) => {
            let frames = Frames::find(&film, divergence);
            let _ = write!(text, "\n{}", start_text(trace, divergence, configuration, frames.before));
            text.push_str(&frames.table(configuration, divergence));
        }
        Err(reason) => {
            let _ = writeln!(text, "\nThe step could not be played again: {reason}");
        }
    }
    let mut stored = text.clone();
    if against == "reference"
        && let Ok(Some(lines)) = explained(trace, divergence, configuration, sides, source)
    {
        text.push_str(&lines.0);
        stored.push_str(&lines.1);
    }
    Pack { kind: finding.minimized.divergence.kind(), text, stored }
}

/// A block without the rows that tell people what to type, and without its seed, which a model should not build on.
fn without_commands(block: &str) -> String {
    let rows = ["short", "replay", "seed"];
    let lines = block.lines().filter(|line| {
        let word = line.split_whitespace().next().unwrap_or_default();
        !(line.starts_with("  ") && rows.contains(&word))
    });
    lines.map(|line| format!("{line}\n")).collect()
}

fn films(
    trace: &Trace,
    divergence: &Divergence,
    configuration: &Arc<Configuration>,
    backend: &str,
    sides: &dyn Sides,
    tier: &str,
) -> Result<Film, String> {
    let mode = ToleranceMode::FreeRunning;
    let mut pair = open_pair(sides, backend, configuration, 1, tier, mode).map_err(|error| error.to_string())?;
    Ok(Film::play(&mut pair, trace, Some(divergence.step.unwrap_or(0))))
}

/// The frame that differs, and the one before it.
struct Frames<'a> {
    before: Option<&'a Frame>,
    after: Option<&'a Frame>,
}

impl<'a> Frames<'a> {
    fn find(film: &'a Film, divergence: &Divergence) -> Self {
        let at =
            film.frames.iter().position(|frame| frame.step == divergence.step && frame.reset == divergence.after_reset);
        Frames {
            before: at.and_then(|at| at.checked_sub(1)).and_then(|at| film.frames.get(at)),
            after: at.and_then(|at| film.frames.get(at)),
        }
    }

    /// Each value before and after; those that differ, or change, or all of a small state.
    fn table(&self, configuration: &Configuration, divergence: &Divergence) -> String {
        let Some(after) = self.after else { return String::new() };
        let (Some(expected), Some(observed)) = (&after.expected, &after.observed) else {
            return after.failure.as_ref().map_or(String::new(), |failure| format!("\n{failure}\n"));
        };
        let before = self.before.and_then(|frame| frame.expected.as_ref());
        let (theirs, ours) = (values(configuration, expected), values(configuration, observed));
        let earlier = before.map(|record| values(configuration, record)).unwrap_or_default();
        let all = theirs.len() <= STEADY_VALUES_MAX;
        let mut text = String::from("\n| value | before | expected | observed | |\n| --- | --- | --- | --- | --- |\n");
        let mut left_out = 0;
        for (index, ((name, expected), (_, observed))) in theirs.iter().zip(&ours).enumerate() {
            let before = earlier.get(index).map_or("", |(_, value)| value.as_str());
            let differs = expected != observed;
            if !all && !differs && before == expected {
                left_out += 1;
                continue;
            }
            let mark = if differs { "differs" } else { "" };
            let _ = writeln!(text, "| {name} | {before} | {expected} | {observed} | {mark} |");
        }
        if left_out > 0 {
            let _ = writeln!(text, "\n{left_out} more values are equal and did not change.");
        }
        for (name, record) in [("expected", expected), ("observed", observed)] {
            let draws: Vec<String> = record.draws.iter().map(|draw| draw_text(configuration, draw)).collect();
            let draws = if draws.is_empty() { "none".to_owned() } else { draws.join(", ") };
            let _ = writeln!(text, "\nDraws {name}: {draws}.");
        }
        if let Some(row) = &divergence.row {
            let _ = writeln!(
                text,
                "\nThe first row that differs: {} {}, {}: expected {}, observed {}.",
                row.grain,
                row.row + 1,
                row.label,
                row.expected,
                row.observed
            );
        }
        text
    }
}

/// Every value of a record with its name.
fn values(configuration: &Configuration, record: &Record) -> Vec<(String, String)> {
    let view = record.view(configuration);
    let mut values: Vec<(String, String)> =
        view.canonical_values().map(|(name, value)| (name, value.to_string())).collect();
    for agent in 0..configuration.agents {
        let of = if configuration.agents > 1 { format!(" of agent {agent}") } else { String::new() };
        let seen = view.observation_values(agent);
        values.extend(seen.map(|(name, value)| (format!("observation {name}{of}"), value.to_string())));
        values.push((format!("reward{of}"), view.reward(agent).to_string()));
    }
    if let (Action::Discrete { names, mask: true, .. }, size) = (&configuration.action, configuration.mask_words() * 4)
    {
        for agent in 0..configuration.agents {
            let bytes = &record.masks[agent * size..(agent + 1) * size];
            let legal = names.iter().enumerate().filter(|(action, _)| bytes[action / 8] >> (action % 8) & 1 == 1);
            let legal: Vec<&str> = legal.map(|(_, name)| name.as_str()).collect();
            values.push((format!("legal actions of agent {agent}"), legal.join(" ")));
        }
    }
    values.push(("deciders".into(), format!("{:#b}", record.deciders)));
    values.push(("terminated".into(), record.terminated.to_string()));
    values.push(("truncated".into(), record.truncated.to_string()));
    values
}

/// Where the trace starts and what is played.
fn start_text(trace: &Trace, divergence: &Divergence, configuration: &Configuration, before: Option<&Frame>) -> String {
    let steps = trace.steps();
    let from = if trace.state.is_some() { "an injected state" } else { "a reset" };
    let Some(step) = divergence.step else { return format!("It differs right at {from}, before any step.\n") };
    let count = if steps == 1 { "1 step is".to_owned() } else { format!("{steps} steps are") };
    let mut text = format!("From {from}, {count} played.");
    let first = step.saturating_sub(STEPS_SHOWN);
    let per_step = trace.tokens_per_step;
    // Which action a token means depends on the mask of that moment, which is known for the last step alone.
    if trace.tokens.len() >= (step + 1) * per_step {
        let masked = matches!(configuration.action, Action::Discrete { mask: true, .. });
        if !masked && first < step {
            let earlier = (first..step)
                .map(|step| actions(configuration, None, &trace.tokens[step * per_step..(step + 1) * per_step]));
            let _ = write!(text, " The actions before the last: {}.", earlier.collect::<Vec<_>>().join("; "));
        }
        let record = before.and_then(|frame| frame.expected.as_ref());
        if !masked || record.is_some() {
            let last = actions(configuration, record, &trace.tokens[step * per_step..(step + 1) * per_step]);
            let which =
                if divergence.after_reset { "the step before the reset that differs" } else { "the step that differs" };
            let _ = write!(text, " The action of {which}: {last}.");
        }
    }
    text.push('\n');
    text
}

/// What tokens mean, for each agent and place.
fn actions(configuration: &Configuration, before: Option<&Record>, tokens: &[u32]) -> String {
    let words = configuration.mask_words();
    let shown = tokens.iter().enumerate().map(|(index, &token)| {
        let agent = index / configuration.width;
        let waits = before.is_some_and(|record| record.deciders >> agent & 1 == 0);
        let text = match &configuration.action {
            _ if waits => "waits".to_owned(),
            Action::Continuous { .. } => {
                let value = f32::from_bits(decode(ActionKind::Continuous, &[], token));
                format!("{value:?} (bits {:#010x})", value.to_bits())
            }
            Action::Discrete { names, extra, mask } => {
                let legal: Vec<u32> = before
                    .map(|record| {
                        let bytes = &record.masks[agent * words * 4..(agent + 1) * words * 4];
                        bytes
                            .chunks_exact(4)
                            .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
                            .collect()
                    })
                    .unwrap_or_default();
                let kind = ActionKind::Discrete { count: names.len() as u32, extra: extra.len() as u32, mask: *mask };
                let action = decode(kind, &legal, token) as usize;
                let name = names.iter().chain(extra).nth(action).map_or("?", String::as_str);
                format!("{action} ({name})")
            }
        };
        if configuration.agents > 1 { format!("agent {agent} {text}") } else { text }
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// The lines of the reference that ran in the step, as sent and as stored; `None` where it can't tell.
fn explained(
    trace: &Trace,
    divergence: &Divergence,
    configuration: &Arc<Configuration>,
    sides: &dyn Sides,
    source: &[SourceFile],
) -> Result<Option<(String, String)>, PromptError> {
    let failed = |error: lockstep_harness::side::SideError| PromptError::Source {
        path: "explain".into(),
        reason: error.to_string(),
    };
    let Some(step) = divergence.step else { return Ok(None) };
    let mut terms = Terms::new(1);
    terms.deadline = sides.deadline();
    let mut side = sides.reference(configuration.clone(), terms).map_err(failed)?;
    if !side.capabilities.explain || source.is_empty() {
        return Ok(None);
    }
    match trace.injection(0) {
        Some(injection) => drop(side.inject(std::slice::from_ref(&injection)).map_err(failed)?),
        None => drop(side.reset(&[trace.lane_start(0)]).map_err(failed)?),
    }
    let per_step = trace.tokens_per_step;
    for first in (0..step).step_by(64) {
        let tokens = &trace.tokens[first * per_step..step.min(first + 64) * per_step];
        side.play(Play::one_lane(configuration, 0, tokens)).map_err(failed)?;
    }
    let answer = side.explain(0, &trace.tokens[step * per_step..(step + 1) * per_step]).map_err(failed)?;
    side.close();
    let Some(lines) = answer["lines"].as_array() else { return Ok(None) };
    let mut seen = BTreeSet::new();
    let (mut sent, mut stored) = (String::new(), String::new());
    for line in lines {
        let (Some(file), Some(number)) = (line["file"].as_str(), line["line"].as_u64()) else { continue };
        let Some(name) = known(source, file) else { continue };
        if !seen.insert((name, number)) || seen.len() > LINES_MAX {
            continue;
        }
        // The text is that of the file itself: what a side says of it is not needed.
        let file = source.iter().find(|file| file.name == name);
        let text = file.and_then(|file| file.text.lines().nth(number as usize - 1)).unwrap_or_default();
        let _ = writeln!(sent, "{name}:{number:<5} {text}");
        let _ = writeln!(stored, "{name}:{number:<5} (sha256 {})", hex(&Sha256::digest(text.as_bytes())));
    }
    if sent.is_empty() {
        return Ok(None);
    }
    let head = "\nThe lines of the reference that ran in this step, each as it ran first:\n\n```text\n";
    Ok(Some((format!("{head}{sent}```\n"), format!("{head}{stored}```\n"))))
}
