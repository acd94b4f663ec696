//! Sources of randomness by file and line: found by reading, in Python by its own parser, in C and JavaScript by words.

use super::text;
use lockstep_harness::reference::{Prepared, Reference, Tools};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// `random`, `recorded`, `seed`, `outside`, `torch`, `clock`, `order` or `unread`.
    pub kind: String,
    /// What is called.
    pub what: String,
    /// The line's text.
    pub text: String,
}

/// What was read, and what was found in it.
#[derive(Debug, Clone, Serialize)]
pub struct Randomness {
    /// The files.
    pub files: Vec<PathBuf>,
    /// The places.
    pub findings: Vec<Finding>,
    /// Whether the adapter takes generators over by itself.
    pub taken_over: bool,
}

/// Reads what a model may read of the reference, without its adapter.
pub fn randomness(reference: &Reference, prepared: &Prepared, tools: &Tools) -> Randomness {
    let adapters = reference
        .file
        .adapters
        .values()
        .flat_map(|adapter| &adapter.argv)
        .filter_map(|text| text.strip_prefix("{here}/"));
    // One in TypeScript or for Node is copied beside what it imports.
    let copied = ["adapter.mjs", "adapter.ts"].map(|name| reference.folder.join(name)).into_iter();
    let adapters: Vec<PathBuf> = adapters.map(|path| reference.folder.join(path)).chain(copied).collect();
    let takes_over = |text: String| text.contains("lockstep_sdk.gym") || text.contains("/own.mjs");
    let taken_over = adapters.iter().any(|path| std::fs::read_to_string(path).is_ok_and(takes_over));
    let files: Vec<PathBuf> = reference
        .file
        .model_may_read
        .iter()
        .map(|entry| entry.replace("{prepared}", &prepared.folder.display().to_string()))
        .map(|entry| entry.replace("{here}", &reference.folder.display().to_string()))
        .map(|entry| reference.folder.join(entry))
        .map(|path| path.canonicalize().unwrap_or(path))
        .filter(|path| {
            path.is_file() && !adapters.contains(path) && path.file_stem().is_none_or(|stem| stem != "adapter")
        })
        .collect();
    let is_python = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "py");
    let python: Vec<&PathBuf> = files.iter().filter(is_python).collect();
    let mut findings = in_python(&python, reference, tools);
    for file in files.iter().filter(|path| !is_python(path)) {
        findings.extend(text::scan(file));
    }
    Randomness { files, findings, taken_over }
}

fn in_python(files: &[&PathBuf], reference: &Reference, tools: &Tools) -> Vec<Finding> {
    let Some(python) = tools.python.as_ref().filter(|_| !files.is_empty()) else { return Vec::new() };
    let output = Command::new(&python.path)
        .args(["-m", "lockstep_sdk.scan"])
        .args(files)
        .env("PYTHONPATH", reference.sdk.join("python"))
        .stdin(Stdio::null())
        .output();
    let unread = |why: String| {
        let file = files[0].display().to_string();
        vec![Finding { file, line: 0, kind: "unread".into(), what: why, text: String::new() }]
    };
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
        }
        Ok(output) => unread(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()),
        Err(error) => unread(error.to_string()),
    }
}

impl Randomness {
    /// In lines for people: one for each place, below what it means.
    pub fn lines(&self) -> Vec<String> {
        let here = std::env::current_dir().unwrap_or_default();
        let mut lines = Vec::new();
        for (kinds, taken, by_hand) in MEANING {
            let rows: Vec<&Finding> = self.findings.iter().filter(|row| kinds.contains(&row.kind.as_str())).collect();
            if rows.is_empty() {
                continue;
            }
            lines.push(format!("{}:", if self.taken_over { taken } else { by_hand }));
            for row in rows {
                let file = Path::new(&row.file);
                let file = file.strip_prefix(&here).unwrap_or(file);
                lines.push(format!("  {}:{}  {}    {}", file.display(), row.line, row.what, row.text));
            }
        }
        if lines.is_empty() && !self.files.is_empty() {
            lines.push(format!("no source of randomness was seen in {} files", self.files.len()));
        }
        lines
    }
}

/// Kinds, and what they mean under an adapter that takes generators over, and under one that was written by hand.
const MEANING: [(&[&str], &str, &str); 7] = [
    (
        &["random"],
        "random numbers that Lockstep takes over",
        "random numbers; the adapter has to serve, note or port them",
    ),
    (
        &["recorded"],
        "random numbers by logarithms: they can be recorded, not served (draws.level in env.toml)",
        "random numbers by logarithms; the adapter has to note them",
    ),
    (
        &["seed"],
        "seeding, which does nothing while numbers are served",
        "seeding; a lane has to follow from its seed, stream and episode alone",
    ),
    (
        &["outside", "torch"],
        "random numbers that are NOT taken over: draw from `random` or numpy instead",
        "random numbers that nobody can repeat: draw from a generator that is a part of the environment",
    ),
    (
        &["clock"],
        "clocks, which go on between two runs: count steps instead, or leave them out of the state",
        "clocks, which go on between two runs: count steps instead, or leave them out of the state",
    ),
    (
        &["order"],
        "an order that is not a part of the state: go through sorted(…) instead",
        "an order that is not a part of the state: go through a sorted list instead",
    ),
    (&["unread"], "not read", "not read"),
];
