//! The report of runs that are kept, and of one that is hostile.

use super::*;
use crate::ledger::{Event, Killed, Ledger, Spent};
use lockstep_harness::race::Speed;
use lockstep_harness::tiers::Counts;
use std::collections::BTreeMap;
use std::path::Path;

const HOSTILE: &str = "</pre></td><script>alert(1)</script><img src=http://x/ onerror=a()>\u{202e}";

fn kept(environment: &str, run: &str) -> Run {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("envs").join(environment).join("recordings").join(run);
    Run::read(&folder).expect("the recording is kept")
}

/// A kept run with more events at its end.
fn more(folder: &Path, events: impl FnOnce(&Ledger) -> Vec<Event>) -> Run {
    let mut ledger = Ledger::create(folder).unwrap();
    let began = kept("pong", "2026-11-24-1");
    ledger.append(Event::Started(Box::new(began.started))).unwrap();
    for event in events(&ledger) {
        ledger.append(event).unwrap();
    }
    Run::read(folder).unwrap()
}

fn answered(round: u32, answer: String) -> [Event; 2] {
    let spent = Spent { output_tokens: 7, usd: 0.25, seconds: 3.0, ..Spent::default() };
    [
        Event::Asked {
            round,
            role: "repair".into(),
            module: HOSTILE.into(),
            prompt: answer.clone(),
            tokens: 1,
            worst_usd: 1.0,
        },
        Event::Answered { round, answer, model: HOSTILE.into(), truncated: false, spent },
    ]
}

fn judged(table: &str, tiers: &[&str], found: &[(&str, &str)], packs: Option<String>) -> Event {
    let found = found.iter().map(|(kind, tier)| Killed {
        kind: (*kind).into(),
        tier: (*tier).into(),
        configuration: HOSTILE.into(),
        steps: 3,
        reference_steps: 1,
    });
    let found: Vec<Killed> = found.collect();
    Event::Judged {
        scope: "whole rust".into(),
        backend: "rust".into(),
        tiers: tiers.iter().map(|tier| (*tier).to_owned()).collect(),
        agrees: found.is_empty(),
        rows: 3,
        found,
        packs,
        table: table.into(),
        counts: Counts::default(),
        seconds: 1.0,
    }
}

#[test]
fn the_kept_run_of_pong_is_shown_whole() {
    let run = kept("pong", "2026-11-24-1");
    let html = page(&run);
    assert!(html.contains("pong 2026-11-24-1: converged"), "{html:.600}");
    assert_eq!(html.matches("<details>").count(), 3, "one for each answer");
    assert!(html.contains("rust is certified") && html.contains("cuda-host is certified"));
    assert!(html.contains("was not timed"));
    for (open, close) in [("<table>", "</table>"), ("<svg ", "</svg>"), ("<details>", "</details>"), ("<dl>", "</dl>")]
    {
        assert_eq!(html.matches(open).count(), html.matches(close).count(), "{open}");
    }
}

#[test]
fn a_tier_that_differs_hides_those_after_it_and_what_is_gone_later_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let run = more(&folder.path().join("run"), |ledger| {
        let text = ledger.keep("text").unwrap();
        let mut events = Vec::new();
        events.extend(answered(1, text.clone()));
        events.push(judged(&text, &[], &[("reward of p1", "property"), ("claim: x", "contract")], None));
        events.extend(answered(2, text.clone()));
        events.push(judged(&text, &[], &[("reward of p1", "property")], None));
        events.extend(answered(3, text.clone()));
        events.push(judged(&text, &["traces", "contract", "property"], &[], None));
        events
    });
    let history = History::of(&run);
    let words = |place: usize| -> String {
        let letter = |verdict: &Verdict| match verdict {
            Verdict::Agrees => 'a',
            Verdict::Differs => 'd',
            Verdict::NotPlayed => '-',
        };
        history.judgements[place].verdicts.iter().map(letter).collect()
    };
    assert_eq!([words(0), words(1), words(2)], ["a-dd---", "a-ad---", "a-aa---"]);
    let killed: Vec<_> = history.divergences.iter().map(|one| (one.kind.as_str(), one.found, one.killed)).collect();
    assert_eq!(killed, [("reward of p1", 1, Some(3)), ("claim: x", 1, Some(2))]);
}

#[test]
fn what_a_model_or_an_environment_wrote_stands_in_it_as_text() {
    let folder = tempfile::tempdir().unwrap();
    let run = more(&folder.path().join("run"), |ledger| {
        let hostile = ledger.keep(HOSTILE).unwrap();
        let mut events = answered(1, hostile.clone()).to_vec();
        events.push(Event::PlanRefused { why: HOSTILE.into() });
        events.push(Event::Built {
            what: HOSTILE.into(),
            backend: HOSTILE.into(),
            ok: false,
            output: Some(hostile.clone()),
            seconds: 1.0,
        });
        events.push(judged(&hostile, &[], &[(HOSTILE, "property")], Some(hostile.clone())));
        let speed = Speed { ratio: 2.0, least: 1.5, most: 2.5, runs: 5, steps: 1, lanes: 1, nanoseconds: 1.0 };
        events.push(Event::Timed {
            backend: HOSTILE.into(),
            beside_fastest: Some(speed),
            beside_reference: None,
            kept: true,
            words: hostile,
        });
        events.push(Event::EditedByHand { changed: vec![HOSTILE.into()], files: BTreeMap::new() });
        events
    });
    let html = page(&run);
    assert!(html.contains("2.00x (1.50 to 2.50 in 5 runs)"));
    assert!(html.matches("&lt;script&gt;").count() >= 6, "each place shows it");
    assert!(!html.contains("<script") && !html.contains("<img") && !html.contains('\u{202e}'));
}
