//! A run of `converge` as one page: tiers over rounds, divergences found and killed, cost and speed.
//!
//! All of it is read from the ledger. The page has no script and loads nothing; whatever a model, a reference or an
//! environment wrote stands in it as text.

mod history;
mod plot;

use crate::converge::Summary;
use crate::ledger::blob;
use crate::run_dir::Run;
use history::{History, Round, TIERS, Verdict};
use lockstep_harness::html::escape;
use std::fmt::Write as _;

const STYLE: &str = include_str!("report.css");
/// Bytes of one pack or compiler output that are shown.
const TEXT_BYTES_MAX: usize = 6_000;

/// The page of a run.
pub fn page(run: &Run) -> String {
    let history = History::of(run);
    let started = &run.started;
    let title = format!("{} {}: {}", started.environment, started.run, run.outcome().words());
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{}</title><style>\n{STYLE}</style></head><body><main>\n<h1>{}</h1>\n",
        escape(&title),
        escape(&title)
    );
    html += &facts(run);
    html += &tiers(&history);
    html += &divergences(&history);
    html += &cost(&history);
    html += &speed(&history);
    html += &rounds(run, &history);
    html + "</main></body></html>\n"
}

fn facts(run: &Run) -> String {
    let (summary, started) = (Summary::of(run), &run.started);
    let mut html = "<dl>".to_owned();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(html, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    };
    row("began", run.entries[0].at.get(..19).unwrap_or_default().replace('T', " "));
    row("reference", format!("{}, {}", started.reference[1], started.reference[2]));
    row("backends", started.backends.join(", "));
    row("model", if summary.models.is_empty() { started.model.clone() } else { summary.models.join(", ") });
    row("rounds", summary.rounds.to_string());
    row("cost", summary.cost());
    row("minutes", format!("{:.1}, of which the model took {:.1}", run.minutes(), summary.model_seconds / 60.0));
    row("divergences", summary.found_in_all().to_string());
    row("certified", if summary.certified.is_empty() { "none".into() } else { summary.certified.join(", ") });
    row("sandbox", started.sandbox.clone());
    if let Some(from) = &started.begins_with {
        row("begins with", format!("plan and files of run {from}"));
    }
    if let Some(of) = &started.recording {
        row("replay of", of.clone());
    }
    if started.held_out {
        row("held out", "the prompts were never changed with this environment in mind".into());
    }
    if summary.by_people > 0 {
        row("by people", format!("{} hints and edits", summary.by_people));
    }
    html + "</dl>\n"
}

/// A table of rounds and tiers.
fn tiers(history: &History) -> String {
    if history.judgements.is_empty() {
        return "<h2>Tiers over rounds</h2>\n<p>Nothing was judged.</p>\n".into();
    }
    let mut html = "<h2>Tiers over rounds</h2>\n<p>Each judgement of the harness, in order. A tier that differs ends it, so \
                    what would come after it was not played.</p>\n<div class=\"wide\"><table><tr><th>round</th><th>what</th>"
        .to_owned();
    for tier in TIERS {
        let _ = write!(html, "<th>{tier}</th>");
    }
    html += "<th class=\"number\">steps</th></tr>\n";
    for judgement in &history.judgements {
        let _ = write!(html, "<tr><td>{}</td><td>{}</td>", judgement.round, escape(&judgement.scope));
        for verdict in judgement.verdicts {
            let (class, text) = match verdict {
                Verdict::Agrees => ("good", "agrees"),
                Verdict::Differs => ("bad", "differs"),
                Verdict::NotPlayed => ("soft", "&#8211;"),
            };
            let _ = write!(html, "<td class=\"{class}\">{text}</td>");
        }
        let _ = writeln!(html, "<td class=\"number\">{}</td></tr>", thousands(judgement.steps));
    }
    html + "</table></div>\n"
}

fn divergences(history: &History) -> String {
    let mut html = "<h2>Divergences</h2>\n".to_owned();
    if history.divergences.is_empty() {
        return html + "<p>None was found.</p>\n";
    }
    html += "<p>By kind, each shrunk to the fewest steps. Killed is one that a later judgement, which got as far, no longer \
             shows.</p>\n<div class=\"wide\"><table><tr><th>kind</th><th>tier</th><th>configuration</th>\
             <th class=\"number\">steps</th><th class=\"number\">found in round</th><th class=\"number\">killed in round</th></tr>\n";
    for one in &history.divergences {
        let killed = one.killed.map_or("<span class=\"bad\">open</span>".to_owned(), |round| round.to_string());
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{killed}</td></tr>",
            escape(&one.kind),
            escape(&one.tier),
            escape(&one.configuration),
            one.steps,
            one.found
        );
    }
    html += "</table></div>\n";
    html + &plot::divergences(history)
}

fn cost(history: &History) -> String {
    let mut html = "<h2>Cost</h2>\n".to_owned();
    if history.rounds.is_empty() {
        return html + "<p>Nobody was asked.</p>\n";
    }
    html += &plot::cost(history);
    html
}

fn speed(history: &History) -> String {
    let mut html = "<h2>Speed</h2>\n".to_owned();
    if history.timed.is_empty() {
        return html
            + "<p>It was not timed: <code>--optimize N</code> has a model make verified backends faster.</p>\n";
    }
    html += "<p>CPU time of the reference over that of the backend, or of the version before over that of this one, both in \
             lockstep with every digest compared. What answering the judge costs is in it on both sides, so the rules alone \
             differ by more. <code>lockstep bench</code> times a backend as training uses it.</p>\n";
    html += &plot::speed(history);
    html += "<div class=\"wide\"><table><tr><th>round</th><th>backend</th><th>beside the version before</th>\
             <th>beside the reference</th><th></th></tr>\n";
    for timed in &history.timed {
        let shown = |speed: &Option<lockstep_harness::race::Speed>| {
            speed.map_or("&#8211;".to_owned(), |speed| escape(&speed.to_string()))
        };
        let (class, word) = if timed.kept { ("good", "kept") } else { ("near", "dropped") };
        let _ = writeln!(
            html,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"{class}\">{word}</td></tr>",
            timed.round,
            escape(&timed.backend),
            shown(&timed.beside_fastest),
            shown(&timed.beside_reference)
        );
    }
    html + "</table></div>\n"
}

/// Every round: what was asked, and what came of the answer.
fn rounds(run: &Run, history: &History) -> String {
    let mut html = "<h2>Rounds</h2>\n".to_owned();
    for round in &history.rounds {
        let Round { number, asked, tokens, usd, seconds, outcome, .. } = round;
        let _ = writeln!(
            html,
            "<details><summary>{number}: {}, {tokens} tokens written, ${usd:.3}, {seconds:.0} s: {}</summary>",
            escape(asked),
            escape(outcome)
        );
        for name in &round.texts {
            let text = blob(&run.folder, name).unwrap_or_else(|error| error.to_string());
            let _ = writeln!(html, "<pre>{}</pre>", escape(&readable(&text)));
        }
        html += "</details>\n";
    }
    let shown = lockstep_harness::report::shown(&run.folder);
    html + &format!(
        "<p>Requests and answers as they came: <code>lockstep runs {} {} --request N</code>, <code>--answer N</code>; the \
         ledger is {}/ledger.jsonl.</p>\n",
        escape(&run.started.environment),
        escape(&run.started.run),
        escape(&shown.to_string())
    )
}

/// Packs are kept as JSON; all else is text as it stands.
fn readable(text: &str) -> String {
    let packs: Option<Vec<crate::prompt::Pack>> = serde_json::from_str(text).ok();
    let text = match packs {
        Some(packs) => packs.iter().map(|pack| pack.stored.as_str()).collect::<Vec<_>>().join("\n"),
        None => text.to_owned(),
    };
    let end = (0..=text.len().min(TEXT_BYTES_MAX)).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    if end == text.len() { text } else { format!("{}\n… ({} bytes)", &text[..end], text.len()) }
}

fn thousands(count: u64) -> String {
    lockstep_harness::report::thousands(count)
}

#[cfg(test)]
mod tests;
