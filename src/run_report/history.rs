//! A ledger, read round by round.

use crate::ledger::{Blob, Event};
use crate::run_dir::Run;
use lockstep_harness::race::Speed;

/// Tiers in the order in which they are played.
pub const TIERS: [&str; 7] = ["traces", "probe", "contract", "property", "interaction", "fuzz", "rollout"];

/// What a judgement said of a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing differed.
    Agrees,
    /// Something did.
    Differs,
    /// It was not asked for, or an earlier one ended it.
    NotPlayed,
}

/// One judgement of the harness.
pub struct Judgement {
    /// The answer that it judged.
    pub round: u32,
    /// What was judged, in words.
    pub scope: String,
    /// One for each of [`TIERS`].
    pub verdicts: [Verdict; TIERS.len()],
    /// Steps that were compared with the reference or between backends.
    pub steps: u64,
}

/// A kind of divergence.
pub struct Divergence {
    /// The backend that showed it.
    pub backend: String,
    /// Its kind.
    pub kind: String,
    /// The tier that found it first.
    pub tier: String,
    /// The configuration.
    pub configuration: String,
    /// Steps, shrunk.
    pub steps: usize,
    /// The round in which it was found.
    pub found: u32,
    /// The round in which it was gone.
    pub killed: Option<u32>,
}

/// One answer and what came of it.
pub struct Round {
    /// From 1.
    pub number: u32,
    /// Role and module.
    pub asked: String,
    /// Tokens written.
    pub tokens: u64,
    /// Dollars.
    pub usd: f64,
    /// Until the answer was there.
    pub seconds: f64,
    /// What came of it, in words.
    pub outcome: String,
    /// What the model was told of it.
    pub texts: Vec<Blob>,
}

/// A measurement.
pub struct Timed {
    /// The answer that made this version; 0 before the first one.
    pub round: u32,
    /// The backend.
    pub backend: String,
    /// Beside the version before.
    pub beside_fastest: Option<Speed>,
    /// Beside the reference.
    pub beside_reference: Option<Speed>,
    /// It is the fastest now.
    pub kept: bool,
}

/// A run in tables.
#[derive(Default)]
pub struct History {
    /// All judgements.
    pub judgements: Vec<Judgement>,
    /// All kinds of divergences.
    pub divergences: Vec<Divergence>,
    /// All answers.
    pub rounds: Vec<Round>,
    /// All measurements.
    pub timed: Vec<Timed>,
}

impl History {
    /// Of a run.
    pub fn of(run: &Run) -> Self {
        let mut history = History::default();
        let mut asked = String::new();
        for entry in &run.entries {
            match &entry.event {
                Event::Asked { role, module, .. } => asked = format!("{role} {module}"),
                Event::Answered { round, spent, .. } => history.rounds.push(Round {
                    number: *round,
                    asked: asked.clone(),
                    tokens: spent.output_tokens,
                    usd: spent.usd,
                    seconds: spent.seconds,
                    outcome: String::new(),
                    texts: Vec::new(),
                }),
                Event::Planned { plan } => {
                    let names: Vec<&str> = plan.modules.iter().map(|module| module.name.as_str()).collect();
                    history.came(format!("the plan stands: {}", names.join(", ")), None);
                }
                Event::PlanRefused { why } => history.came(format!("the plan was refused: {why}"), None),
                Event::Edited { problems, .. } if !problems.is_empty() => {
                    history.came(format!("{} edits did not apply", problems.len()), None);
                }
                Event::Built { ok: false, output, .. } => history.came("it did not build".into(), output.clone()),
                Event::Judged { scope, backend, tiers, agrees, found, packs, counts, .. } => {
                    let round = history.round();
                    let first = TIERS.iter().position(|tier| found.iter().any(|one| one.tier == *tier));
                    let played = |tier: &str| {
                        if tiers.is_empty() { tier != "probe" } else { tiers.iter().any(|one| one == tier) }
                    };
                    let verdicts = std::array::from_fn(|place| match first {
                        _ if !played(TIERS[place]) => Verdict::NotPlayed,
                        _ if found.iter().any(|one| one.tier == TIERS[place]) => Verdict::Differs,
                        None if *agrees => Verdict::Agrees,
                        Some(first) if place < first => Verdict::Agrees,
                        _ => Verdict::NotPlayed,
                    });
                    history.see(backend, &verdicts, found, round);
                    let steps = counts.live_free_running + counts.between_backends;
                    history.judgements.push(Judgement { round, scope: scope.clone(), verdicts, steps });
                    let kinds: Vec<String> = found.iter().map(|one| format!("{} ({})", one.kind, one.tier)).collect();
                    let verdict = if *agrees {
                        format!("{scope} agrees")
                    } else {
                        format!("{scope} differs: {}", kinds.join("; "))
                    };
                    history.came(verdict, packs.clone());
                }
                Event::WentBack { to_round } => history.came(format!("back to the files of round {to_round}"), None),
                Event::Timed { backend, beside_fastest, beside_reference, kept, .. } => {
                    let round = history.round();
                    if let Some(speed) = beside_fastest {
                        history.came(
                            format!("{speed} of the version before: {}", if *kept { "kept" } else { "dropped" }),
                            None,
                        );
                    }
                    history.timed.push(Timed {
                        round,
                        backend: backend.clone(),
                        beside_fastest: *beside_fastest,
                        beside_reference: *beside_reference,
                        kept: *kept,
                    });
                }
                Event::Certified { backend, .. } => history.came(format!("{backend} is certified"), None),
                _ => {}
            }
        }
        history
    }

    fn round(&self) -> u32 {
        self.rounds.last().map_or(0, |round| round.number)
    }

    fn came(&mut self, what: String, text: Option<Blob>) {
        let Some(round) = self.rounds.last_mut() else { return };
        if !round.outcome.is_empty() {
            round.outcome += "; ";
        }
        round.outcome += &what;
        round.texts.extend(text);
    }

    /// Notes what a judgement found, and what is gone since: kinds whose tier it played to its end, or got past.
    fn see(&mut self, backend: &str, verdicts: &[Verdict; TIERS.len()], found: &[crate::ledger::Killed], round: u32) {
        let first = verdicts.iter().position(|verdict| *verdict == Verdict::Differs).unwrap_or(TIERS.len());
        for one in self.divergences.iter_mut().filter(|one| one.backend == backend && one.killed.is_none()) {
            let place = TIERS.iter().position(|tier| *tier == one.tier).unwrap_or(0);
            let shown = found.iter().any(|other| other.kind == one.kind);
            if !shown && place <= first && verdicts[place] != Verdict::NotPlayed {
                one.killed = Some(round);
            }
        }
        for one in found {
            let known =
                |other: &&mut Divergence| other.backend == backend && other.kind == one.kind && other.killed.is_none();
            if self.divergences.iter_mut().find(known).is_none() {
                self.divergences.push(Divergence {
                    backend: backend.to_owned(),
                    kind: one.kind.clone(),
                    tier: one.tier.clone(),
                    configuration: one.configuration.clone(),
                    steps: one.steps,
                    found: round,
                    killed: None,
                });
            }
        }
    }
}
