//! `lockstep new`: an environment of one's own, from a class or from Gymnasium, in any folder.

use super::print_json;
use crate::exit::{Exit, Failure};
use crate::new::{Draws, Proposal, Request, Source, c, propose, typescript, write};
use crate::terminal::{Progress, agreed};
use lockstep_harness::reference::{PrepareError, Tool, Tools, find_tools, sdk_folder};
use lockstep_harness::report::thousands;
use lockstep_harness::watch::Watch;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Take an environment of your own, or one of Gymnasium's, and write what Lockstep needs beside it
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  lockstep new my_env --from my_env.py:MyEnv\n  lockstep new my_env --from my_env.ts:MyEnv\n  lockstep new my_env --from my_env.c:MyEnv --actions 4\n  lockstep new --gymnasium CliffWalking-v1\n\nThe environment is played with random actions for some seconds. What changes is its state; env.toml lists it, the observation and the bounds of lists, and the adapter in reference/ reads it. Both are plain text and yours to change. The environment itself is not touched, and no clone of Lockstep is needed.\n\nThen: lockstep check my_env"
)]
pub struct Arguments {
    /// The folder to write; its name is the environment's [default: from the class or the id]
    #[arg(value_name = "NAME")]
    name: Option<PathBuf>,
    /// The class: a file (.py, .ts, .js) or module, a colon, and its name; in C (.c, .h) the struct
    #[arg(long, value_name = "FILE:CLASS", required_unless_present = "gymnasium", conflicts_with = "gymnasium")]
    from: Option<String>,
    /// The id of an environment of Gymnasium that is written in Python
    #[arg(long, value_name = "ID")]
    gymnasium: Option<String>,
    /// The Python that it runs in [default: LOCKSTEP_PYTHON, the active environment, python3]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Arguments of the environment, as a JSON object
    #[arg(long, value_name = "JSON", value_parser = parse_options)]
    options: Option<serde_json::Map<String, serde_json::Value>>,
    /// How many actions there are, where the environment has no action_space
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    actions: Option<u32>,
    /// How many numbers an observation has, in C [default: as many as it writes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    observations: Option<u32>,
    /// How random numbers are compared [default: served, or recorded where that can't be]
    #[arg(long)]
    draws: Option<Draws>,
    /// How long it is played
    #[arg(long, value_name = "SECONDS", default_value_t = 6.0)]
    seconds: f64,
    /// After how long it is ended
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    deadline: f64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

fn parse_options(text: &str) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let serde_json::Value::Object(map) = value else {
        return Err("it is no object like {\"size\": 5}".into());
    };
    if map.values().any(serde_json::Value::is_null) {
        return Err("null can't stand in a manifest; leave the key out".into());
    }
    Ok(map)
}

/// Runs the verb.
pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let here = std::env::current_dir().map_err(|error| Failure::usage(format!("this folder: {error}")))?;
    for (option, seconds) in [("--seconds", arguments.seconds), ("--deadline", arguments.deadline)] {
        if !(seconds.is_finite() && (0.1..=86_400.0).contains(&seconds)) {
            return Err(Failure::usage(format!("{option} is a number of seconds from 0.1 to 86400")));
        }
    }
    let source = match (arguments.from, arguments.gymnasium) {
        (Some(entry), _) => Source::From(entry),
        (None, Some(id)) => Source::Gymnasium(id),
        (None, None) => return Err(Failure::usage("name --from FILE.py:CLASS or --gymnasium ID")),
    };
    let folder = here.join(arguments.name.unwrap_or_else(|| default_name(&source).into()));
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() || !name.bytes().all(legal) {
        return Err(Failure::usage(format!(
            "{name:?} is no name for an environment: it is made of a-z, 0-9 and _\n(hint: lockstep new my_env …)"
        )));
    }
    if folder.exists() {
        return Err(Failure::usage(format!(
            "{} is there already\n(hint: choose another name, or remove it first)",
            folder.display()
        )));
    }
    let tools = find_tools(arguments.python.as_deref());
    let request = Request {
        source,
        folder: here.clone(),
        options: arguments.options.unwrap_or_default(),
        actions: arguments.actions,
        draws: arguments.draws,
        seconds: arguments.seconds,
        deadline: arguments.deadline,
        observations: arguments.observations,
    };
    let mut progress = Progress::new(arguments.json);
    // A clone is one's own only when one stands in it.
    let clone = here.ancestors().map(|folder| folder.join("references/sdk")).find(|folder| folder.is_dir());
    let sdk = sdk_folder(&clone.unwrap_or_default())?;
    let mut interpreter = None;
    let proposal = if c::entry(&request).is_some() {
        c::propose(&request, &tools, &sdk, &name, &mut progress)?
    } else if typescript::entry(&request).is_some() {
        typescript::propose(&request, &tools, &sdk, &name, &mut progress)?
    } else {
        let python = python(tools, arguments.python.as_deref(), &name)?;
        progress.begin(&format!("playing it with {} for some {} s", python.version, request.seconds), 0);
        let proposal = propose(&request, &python, &sdk);
        progress.end();
        interpreter = Some(python.path);
        proposal?
    };
    write(&folder, &name, &request, &proposal)?;
    let shown = folder.strip_prefix(&here).unwrap_or(&folder);
    if arguments.json {
        let fields: Vec<&str> = proposal.canonical.iter().map(|field| field.name.as_str()).collect();
        let bounds: Vec<_> =
            proposal.sizes.iter().map(|(name, _, bound)| json!({"list": name, "bound": bound})).collect();
        print_json(&json!({
            "environment": name, "folder": folder, "class": proposal.class, "fields": fields, "bounds": bounds,
            "constants": proposal.constants, "left_out": proposal.left_out, "draws": proposal.level, "why": proposal.why,
            "used": proposal.used, "inject": proposal.put.is_some(), "steps": proposal.steps, "episodes": proposal.episodes,
            "python": interpreter,
        }))?;
        return Ok(Exit::Agree);
    }
    tell(&proposal);
    agreed(&format!("{} is written; look at {}", shown.display(), shown.join("env.toml").display()));
    let option = arguments.python.map_or(String::new(), |path| format!(" --python {}", path.display()));
    anstream::println!("  next       lockstep check {}{option}", shown.display());
    Ok(Exit::Agree)
}

/// The interpreter that the environment runs in.
fn python(tools: Tools, asked: Option<&Path>, name: &str) -> Result<Tool, Failure> {
    tools.python.ok_or_else(|| match asked {
        Some(path) => Failure {
            exit: Exit::ReferenceUnavailable,
            message: format!(
                "{} is no Python that runs\n(hint: name the interpreter itself, such as .venv/bin/python)",
                path.display()
            ),
        },
        None => PrepareError::NoTool { reference: name.to_owned(), tool: "Python 3".into() }.into(),
    })
}

/// What was found, in a few lines.
fn tell(proposal: &Proposal) {
    anstream::println!(
        "{} played {} random steps in {} episodes (the longest {}), some {} steps/s",
        proposal.class,
        thousands(proposal.steps),
        thousands(proposal.episodes),
        thousands(proposal.longest),
        thousands(proposal.speed)
    );
    let row = |title: &str, text: &str| anstream::println!("  {title:<10} {text}");
    let shapes: Vec<String> = proposal
        .canonical
        .iter()
        .map(|field| {
            let sizes: String = field.shape.iter().map(|size| format!("[{size}]")).collect();
            format!("{} {}{sizes}", field.name, field.dtype)
        })
        .collect();
    row("state", &shapes.join(", "));
    for (name, _, bound) in &proposal.sizes {
        row("bound", &format!("{name} has room for {bound}; more ends the episode and is counted in `capacity`"));
    }
    if !proposal.constants.is_empty() {
        row("constant", &proposal.constants.join(", "));
    }
    for (what, why) in &proposal.left_out {
        row("left out", &format!("{what}: {why}"));
    }
    let used: Vec<&str> = proposal.used.keys().map(String::as_str).collect();
    let used = if used.is_empty() { "none seen".to_owned() } else { used.join(", ") };
    let why = if proposal.why.is_empty() { String::new() } else { format!(" ({})", proposal.why) };
    row("draws", &format!("{used}: {}{why}", proposal.level));
    if proposal.put.is_none() {
        row(
            "put",
            &format!("not written: {}; without it there are no property and interaction tiers", proposal.no_put),
        );
    }
    if !proposal.surviving.is_empty() {
        let names = proposal.surviving.join(", ");
        row("survives", &format!("{names}, after a reset; so the adapter makes a new environment for each episode"));
    }
    if !proposal.pickled.is_empty() {
        row(
            "snapshot",
            &format!("can't be pickled: {}; write snapshot() and restore() in adapter.py", proposal.pickled),
        );
    }
    let names: Vec<_> =
        proposal.files.iter().map(|file| file.file_name().unwrap_or_default().to_string_lossy()).collect();
    row("readable", &format!("{}; converge may send these to a model, see reference.toml", names.join(", ")));
    if proposal.episodes == 0 {
        row("episodes", "none ended; if that is meant, set episode_steps_max in env.toml");
    }
}

/// `CliffWalking-v1` → `cliff_walking`; `my_env.py:MyEnv` → `my_env`, with a number behind it never.
fn default_name(source: &Source) -> String {
    let text = match source {
        Source::Gymnasium(id) => {
            let last = id.rsplit('/').next().unwrap_or(id);
            match last.rsplit_once("-v") {
                Some((name, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => name,
                _ => last,
            }
        }
        Source::From(entry) => {
            let file = entry.rsplit_once(':').map_or(entry.as_str(), |(file, _)| file);
            let path = Path::new(file);
            let stem = if [".py", ".ts", ".js", ".c", ".h"].iter().any(|end| file.ends_with(end)) {
                path.file_stem().and_then(|stem| stem.to_str())
            } else {
                file.rsplit('.').next()
            };
            stem.unwrap_or(file)
        }
    };
    let mut name = String::new();
    for (place, letter) in text.chars().enumerate() {
        if letter.is_ascii_uppercase() && place > 0 && text.as_bytes()[place - 1].is_ascii_lowercase() {
            name.push('_');
        }
        name.push(if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' });
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_the_id_or_the_file() {
        let gymnasium = |id: &str| default_name(&Source::Gymnasium(id.into()));
        assert_eq!(gymnasium("CliffWalking-v1"), "cliff_walking");
        assert_eq!(gymnasium("ns/FrozenLake8x8-v1"), "frozen_lake8x8");
        assert_eq!(default_name(&Source::From("games/MyEnv.py:X".into())), "my_env");
        assert_eq!(default_name(&Source::From("games.grid:X".into())), "grid");
    }
}
