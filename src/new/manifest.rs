//! The manifest that `lockstep new` proposes, with what was seen as comments.

use super::proposal::{Proposal, Request};
use super::quoted;
use lockstep_harness::report::thousands;
use serde_json::Value;
use std::fmt::Write as _;

/// Steps per second above which the tiers are worth their defaults.
const FAST: u64 = 4_000;

/// The text of `env.toml`.
pub(super) fn env_toml(name: &str, request: &Request, proposal: &Proposal) -> String {
    let mut text = format!(
        "# The manifest of `{name}`, proposed by `lockstep new` after {} random steps in {} episodes. It is yours now.\n\
         # What is not listed here is not compared, so be generous. Every key: `lockstep schema manifest`.\n\
         format = \"lockstep/manifest/1\"\nname = {}\ntitle = {}\nworkflow = \"translate\"\nreference = \"reference\"           # reference/reference.toml\n",
        thousands(proposal.steps),
        thousands(proposal.episodes),
        quoted(name),
        quoted(&proposal.about),
    );
    if proposal.resets_itself {
        text.push_str("resets = \"reference\"              # the step that ends an episode begins the next one\n");
    }
    if proposal.width != 1 {
        let _ = writeln!(text, "width = {}                     # actions of one step", proposal.width);
    }
    text.push_str(&action(proposal));
    text.push_str(&draws(proposal));
    let _ = writeln!(text, "\n[reward]\ndtype = {}\n\n# What changed while it was played.", quoted(&proposal.reward));
    for field in &proposal.canonical {
        let words = proposal.words.get(&field.name);
        let reference = if field.name == "capacity" && field.reference.contains(' ') {
            field.reference.clone()
        } else {
            format!("{}.{}", proposal.class, field.reference)
        };
        text.push_str(&self::field("canonical", &field.name, &field.dtype, &field.shape, &reference, words));
    }
    if !proposal.constants.is_empty() {
        let _ = writeln!(
            text,
            "# Never changed, so not compared; list what may change after all (here and in reference/adapter.py):\n{}",
            commented(&proposal.constants.join(", "))
        );
    }
    for (what, why) in &proposal.left_out {
        let _ = writeln!(text, "# LEFT OUT, although it changes: {what}, {why}.");
    }
    text.push('\n');
    for field in &proposal.observation {
        let words = proposal.words.get(&field.name);
        text.push_str(&self::field("observation", &field.name, &field.dtype, &field.shape, &field.reference, words));
    }
    text.push_str("[configurations.default]\n");
    if let Some(limit) = proposal.episode_steps_max {
        let _ = writeln!(text, "episode_steps_max = {limit}");
    }
    if !request.options.is_empty() {
        let rows = request.options.iter().map(|(key, value)| format!("{} = {}", quoted(key), inline(value)));
        let _ = writeln!(text, "options = {{ {} }}", rows.collect::<Vec<_>>().join(", "));
    }
    if !proposal.sizes.is_empty() {
        text.push_str(
            "\n# A list that outgrows its bound ends the episode as truncated and is counted; reports say in how many traces.\n\
             [[bucket]]\nname = \"capacity\"\nwhen = \"capacity > 0\"\nminimum = 0\n",
        );
    }
    // Half a minute of rollout for a slow one, the defaults for a fast one.
    let rollout = (proposal.speed * 25).clamp(2_000, 100_000);
    if proposal.speed < FAST {
        let _ = writeln!(
            text,
            "\n# For a reference of some {} steps/s; raise them for a campaign.\n[tiers]\nlanes = 16\ntrace_steps = 512\nrollout_steps = {{ default = {rollout} }}\nfuzz_steps = {}",
            thousands(proposal.speed),
            (rollout / 3).max(1_000)
        );
    } else {
        text.push_str("\n[tiers]\nlanes = 16\ntrace_steps = 512\n");
    }
    text.push_str(BACKENDS);
    text
}

const BACKENDS: &str = r#"
[backends.rust]
files = ["src/world.rs", "src/state.rs", "src/rules.rs"]
loop = ["src/world.rs", "src/state.rs", "src/rules.rs"]   # what `lockstep converge` has a model write
about = "the readable one"

[backends.cuda-host]
files = ["cuda/rules.cuh", "src/cuda.rs"]
loop = ["cuda/rules.cuh", "src/cuda.rs"]
about = "the CUDA source, built for the CPU"
feature = "cuda-host"
"#;

fn action(proposal: &Proposal) -> String {
    let action = &proposal.action;
    if action.kind == "continuous" {
        let (low, high) = (action.low.unwrap_or(-1.0), action.high.unwrap_or(1.0));
        return format!("\n[action]\nkind = \"continuous\"\nlow = {low:?}\nhigh = {high:?}\n");
    }
    let names: Vec<String> = action.names.iter().map(|name| quoted(name)).collect();
    let mask = if action.mask { "mask = true                          # action_masks()\n" } else { "" };
    format!(
        "\n[action]\nkind = \"discrete\"\nnames = [{}]       # say what they mean, for whoever reads a report\n{mask}",
        names.join(", ")
    )
}

fn draws(proposal: &Proposal) -> String {
    let used: Vec<String> =
        proposal.used.iter().map(|(name, count)| format!("{name} ({})", thousands(*count))).collect();
    let seen = if used.is_empty() { "none was seen".to_owned() } else { format!("seen: {}", used.join(", ")) };
    let why = if proposal.why.is_empty() {
        match proposal.level.as_str() {
            "served" => "its generators ask Lockstep, and both sides get the same numbers".to_owned(),
            _ => "its generators draw as ever, and the backend replays what they drew".to_owned(),
        }
    } else {
        format!("not served: {}", proposal.why)
    };
    format!("\n# Random numbers; {seen}.\n{}\n[draws]\nlevel = {}\n", commented(&why), quoted(&proposal.level))
}

fn field(
    table: &str,
    name: &str,
    dtype: &str,
    shape: &[usize],
    reference: &str,
    words: Option<&Vec<Option<String>>>,
) -> String {
    let mut text = format!("[[{table}]]\nname = {}\ndtype = {}\n", quoted(name), quoted(dtype));
    if !shape.is_empty() {
        let _ = writeln!(text, "shape = {shape:?}");
    }
    let _ = writeln!(text, "reference = {}", quoted(reference));
    if let Some(words) = words {
        let meant: Vec<String> = words
            .iter()
            .enumerate()
            .map(|(place, word)| {
                format!("{place} {}", word.as_deref().map_or("None".to_owned(), |word| format!("'{word}'")))
            })
            .collect();
        let _ = writeln!(text, "unit = {}", quoted(&meant.join(", ")));
    }
    text.push('\n');
    text
}

/// JSON as an inline value of TOML.
fn inline(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let rows = map.iter().map(|(key, value)| format!("{} = {}", quoted(key), inline(value)));
            format!("{{ {} }}", rows.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Lines of a comment, none too long.
fn commented(text: &str) -> String {
    let mut lines = vec!["#".to_owned()];
    for word in text.split_whitespace() {
        if lines.last().is_some_and(|line| line.len() + word.len() > 116) {
            lines.push("#".to_owned());
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n")
}
