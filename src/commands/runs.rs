//! `lockstep runs` and `lockstep cost`: all runs of `converge` that were started, how they ended, and what they cost.

use super::print_json;
use crate::converge::Summary;
use crate::exit::{Exit, Failure};
use crate::ledger::{Event, blob};
use crate::project::{Project, known};
use crate::run_dir::{Outcome, Run, find, recordings, replays, runs_in};
use lockstep_harness::keep::write_whole;
use lockstep_harness::report::shown;
use serde_json::json;
use std::path::PathBuf;

/// List all runs of `converge` that were started, or show one
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  lockstep runs\n  lockstep runs pong 2026-11-24-1\n  lockstep runs pong 2026-11-24-1 --answer 3\n  lockstep runs pong 2026-11-24-1 --html run.html"
)]
pub struct Arguments {
    /// An environment [default: all in envs/]
    environment: Option<String>,
    /// One run, event by event
    run: Option<String>,
    /// Print the answer of this round, as it came
    #[arg(long, value_name = "ROUND", requires = "run")]
    answer: Option<u32>,
    /// Print the request of this round, as it is kept
    #[arg(long, value_name = "ROUND", requires = "run", conflicts_with = "answer")]
    request: Option<u32>,
    /// Write one run as a page: tiers over rounds, divergences, cost, speed
    #[arg(long, value_name = "FILE", requires = "run", conflicts_with_all = ["answer", "request", "json"])]
    html: Option<PathBuf>,
    /// List replays of recordings too
    #[arg(long)]
    replays: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Say what runs of `converge` have cost, failed ones included
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  lockstep cost pong")]
pub struct CostArguments {
    /// An environment [default: all in envs/]
    environment: Option<String>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb `runs`.
pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    if let (Some(environment), Some(run)) = (&arguments.environment, &arguments.run) {
        let project = Project::find(environment)?;
        let run = Run::read(&find(&project.manifest, run)?)?;
        return show(&run, &arguments);
    }
    let runs = all(arguments.environment.as_deref(), arguments.replays)?;
    if arguments.json {
        print_json(&json!(runs.iter().map(|run| Summary::of(run).json(run)).collect::<Vec<_>>()))?;
        return Ok(Exit::Agree);
    }
    if runs.is_empty() {
        anstream::println!("no run was started yet (hint: lockstep converge ENV --agent …)");
        return Ok(Exit::Agree);
    }
    anstream::println!(
        "{:<13} {:<14} {:<14} {:>6} {:>10} {:>9} {:>6} {:>8}  model",
        "environment",
        "run",
        "outcome",
        "rounds",
        "tokens",
        "cost",
        "found",
        "minutes"
    );
    for run in &runs {
        let summary = Summary::of(run);
        anstream::println!(
            "{:<13} {:<14} {:<14} {:>6} {:>10} {:>9} {:>6} {:>8.1}  {}{}{}",
            run.started.environment,
            run.started.run,
            run.outcome().words(),
            summary.rounds,
            summary.input_tokens + summary.output_tokens,
            format!("${:.2}", summary.usd),
            summary.found_in_all(),
            run.minutes(),
            if summary.models.is_empty() { run.started.model.clone() } else { summary.models.join(", ") },
            if run.started.held_out { " (held out)" } else { "" },
            run.started.recording.as_ref().map(|name| format!(" (replay of {name})")).unwrap_or_default(),
        );
    }
    let asked: Vec<&Run> = runs.iter().filter(|run| run.started.recording.is_none()).collect();
    let converged = asked.iter().filter(|run| run.outcome() == Outcome::Converged).count();
    anstream::println!("{converged} of {} runs converged", asked.len());
    Ok(Exit::Agree)
}

/// Runs the verb `cost`.
pub fn cost(arguments: CostArguments) -> Result<Exit, Failure> {
    let runs = all(arguments.environment.as_deref(), false)?;
    let mut rows: Vec<(String, usize, usize, f64, u64, Vec<String>)> = Vec::new();
    for run in &runs {
        let summary = Summary::of(run);
        let place = rows.iter().position(|row| row.0 == run.started.environment).unwrap_or_else(|| {
            rows.push((run.started.environment.clone(), 0, 0, 0.0, 0, Vec::new()));
            rows.len() - 1
        });
        let row = &mut rows[place];
        row.1 += usize::from(run.outcome() == Outcome::Converged);
        row.2 += 1;
        row.3 += summary.usd;
        row.4 += summary.found_in_all();
        for basis in summary.bases {
            if !row.5.contains(&basis) {
                row.5.push(basis);
            }
        }
    }
    if arguments.json {
        let rows = rows.iter().map(|row| {
            json!({"environment": row.0, "converged": row.1, "runs": row.2, "usd": row.3, "divergences_found": row.4, "usd_basis": row.5})
        });
        print_json(&json!(rows.collect::<Vec<_>>()))?;
        return Ok(Exit::Agree);
    }
    anstream::println!("{:<13} {:>9} {:>9} {:>16}  basis", "environment", "converged", "cost", "per divergence");
    for (environment, converged, started, usd, found, bases) in &rows {
        let each = if *found == 0 { "-".to_owned() } else { format!("${:.3}", usd / *found as f64) };
        anstream::println!(
            "{environment:<13} {:>9} {:>9} {each:>16}  {}",
            format!("{converged} of {started}"),
            format!("${usd:.2}"),
            bases.join("; ")
        );
    }
    Ok(Exit::Agree)
}

fn all(environment: Option<&str>, with_replays: bool) -> Result<Vec<Run>, Failure> {
    let names = environment.map_or_else(known, |name| vec![name.to_owned()]);
    let mut runs = Vec::new();
    for name in names {
        let project = Project::find(&name)?;
        runs.extend(runs_in(&recordings(&project.manifest))?);
        if with_replays {
            runs.extend(runs_in(&replays(&project.manifest))?);
        }
    }
    Ok(runs)
}

fn show(run: &Run, arguments: &Arguments) -> Result<Exit, Failure> {
    if let Some(path) = &arguments.html {
        write_whole(path, &crate::run_report::page(run))
            .map_err(|error| Failure::usage(format!("{} can't be written: {error}", path.display())))?;
        anstream::println!("{}", shown(path));
        return Ok(Exit::Agree);
    }
    if let Some(round) = arguments.answer.or(arguments.request) {
        let wanted = run.entries.iter().find_map(|entry| match &entry.event {
            Event::Answered { round: at, answer, .. } if *at == round && arguments.answer.is_some() => Some(answer),
            Event::Asked { round: at, prompt, .. } if *at == round && arguments.request.is_some() => Some(prompt),
            _ => None,
        });
        let wanted = wanted.ok_or_else(|| Failure::usage(format!("run {} has no round {round}", run.started.run)))?;
        anstream::println!("{}", blob(&run.folder, wanted)?);
        return Ok(Exit::Agree);
    }
    if arguments.json {
        let mut value = Summary::of(run).json(run);
        value["events"] = json!(run.entries);
        print_json(&value)?;
        return Ok(Exit::Agree);
    }
    for entry in &run.entries {
        anstream::println!("{}  {}", entry.at.get(..19).unwrap_or(&entry.at), line(&entry.event));
    }
    anstream::print!("{}", Summary::of(run).text(run));
    Ok(Exit::Agree)
}

/// One event in one line.
fn line(event: &Event) -> String {
    match event {
        Event::Started(started) => {
            format!("started   {} with {} {}", started.backends.join(", "), started.agent, started.model)
        }
        Event::Asked { round, role, module, tokens, .. } => {
            format!("asked     round {round}: {role} {module}, {tokens} tokens")
        }
        Event::Answered { model, spent, .. } => {
            format!("answered  {} tokens by {model}, ${:.3}, {:.0} s", spent.output_tokens, spent.usd, spent.seconds)
        }
        Event::Lost { spent, why, .. } => format!("lost      ${:.3}: {why}", spent.usd),
        Event::Planned { plan } => {
            let names: Vec<&str> = plan.modules.iter().map(|module| module.name.as_str()).collect();
            format!("planned   {}", names.join(", "))
        }
        Event::PlanRefused { why } => format!("plan      refused: {why}"),
        Event::Edited { changed, problems, .. } if problems.is_empty() => format!("edited    {}", changed.join(", ")),
        Event::Edited { changed, problems, .. } => {
            format!("edited    {}; {} edits did not apply", changed.join(", "), problems.len())
        }
        Event::Built { what, backend, ok, seconds, .. } => {
            format!("built     {what} of {backend}: {}, {seconds:.0} s", if *ok { "ok" } else { "fails" })
        }
        Event::Judged { scope, agrees, found, seconds, .. } => {
            let kinds: Vec<String> = found.iter().map(|one| format!("{} ({})", one.kind, one.tier)).collect();
            let verdict = if *agrees { "agrees".to_owned() } else { format!("diverges: {}", kinds.join("; ")) };
            format!("judged    {scope}: {verdict}, {seconds:.0} s")
        }
        Event::WentBack { to_round } => format!("back      to the files of round {to_round}"),
        Event::Taken { run, .. } => format!("taken     plan and files of run {run}"),
        Event::Timed { backend, beside_fastest, beside_reference, kept, .. } => {
            let beside = match (beside_fastest, beside_reference) {
                (Some(speed), _) => {
                    format!("{speed} of the version before, {}", if *kept { "kept" } else { "dropped" })
                }
                (None, Some(speed)) => format!("{speed} of the reference, in lockstep"),
                (None, None) => "not timed".into(),
            };
            format!("timed     {backend}: {beside}")
        }
        Event::FastEnough { backend, why } => format!("speed     of {backend} as it is: {why}"),
        Event::Sealed { backend, seed, .. } => format!("sealed    {backend}: seed {seed}"),
        Event::Certified { backend, .. } => format!("certified {backend}"),
        Event::Hint { .. } => "hint      from a person".into(),
        Event::EditedByHand { changed, .. } => format!("by hand   {}", changed.join(", ")),
        Event::Resumed { .. } => "resumed".into(),
        Event::Stopped { words, .. } => format!("stopped   {words}"),
        Event::Finished => "finished".into(),
    }
}
