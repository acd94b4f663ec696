//! Where runs lie: those that asked a model in the environment's `recordings/`, replays of them in the cache folder.
//!
//! A run that asked a model is never deleted by the tool, however it ended: the list of all that were started is what
//! makes `k of n converged` worth reading.

use crate::exit::Failure;
use crate::ledger::{Entry, Event, FILE, Ledger, Started, StopReason};
use lockstep_harness::manifest::Manifest;
use lockstep_harness::reference::cache_folder;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// One run, as its ledger tells.
#[derive(Clone)]
pub struct Run {
    /// Its folder.
    pub folder: PathBuf,
    /// How it began.
    pub started: Started,
    /// Everything that happened.
    pub entries: Vec<Entry>,
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every backend is certified.
    Converged,
    /// It stopped; why.
    Stopped(StopReason),
    /// It was cut off, or is running.
    Open,
}

impl Outcome {
    /// As people read it.
    pub fn words(&self) -> &'static str {
        match self {
            Outcome::Converged => "converged",
            Outcome::Stopped(StopReason::Interrupted) => "interrupted",
            Outcome::Stopped(StopReason::Budget) => "budget spent",
            Outcome::Stopped(StopReason::NoProgress) => "no progress",
            Outcome::Stopped(StopReason::Agent) => "agent failed",
            Outcome::Stopped(StopReason::Reference) => "reference failed",
            Outcome::Open => "open",
        }
    }
}

impl Run {
    /// Reads a run.
    ///
    /// # Errors
    /// If it has no ledger, or one that was changed.
    pub fn read(folder: &Path) -> Result<Self, Failure> {
        let entries = Ledger::read(folder)?;
        match entries.first().map(|entry| entry.event.clone()) {
            Some(Event::Started(started)) => Ok(Run { folder: folder.to_owned(), started: *started, entries }),
            _ => Err(Failure::usage(format!("{} holds no run that began", folder.display()))),
        }
    }

    /// How it stands.
    pub fn outcome(&self) -> Outcome {
        match self.entries.last().map(|entry| &entry.event) {
            Some(Event::Finished) => Outcome::Converged,
            Some(Event::Stopped { reason, .. }) => Outcome::Stopped(*reason),
            _ => Outcome::Open,
        }
    }

    /// The day it began.
    pub fn day(&self) -> &str {
        self.entries[0].at.split('T').next().unwrap_or_default()
    }

    /// Minutes between its first and last entry, without the time between a stop and what came after.
    pub fn minutes(&self) -> f64 {
        let at = |entry: &Entry| entry.at.parse::<jiff::Timestamp>().map_or(0, |at| at.as_millisecond());
        let spans = self.entries.windows(2).filter(|pair| !matches!(pair[1].event, Event::Resumed { .. }));
        // A clock that went back is no time gained.
        // The sum of nothing is -0.0.
        0.0 + spans.map(|pair| (at(&pair[1]) - at(&pair[0])).max(0) as f64 / 60_000.0).sum::<f64>()
    }
}

/// The folder of the runs that asked a model.
pub fn recordings(manifest: &Manifest) -> PathBuf {
    manifest.folder.join("recordings")
}

/// The folder of replays.
pub fn replays(manifest: &Manifest) -> PathBuf {
    cache_folder().join("replays").join(&manifest.file.name)
}

/// All runs in a folder, oldest first; one whose ledger can't be read is an error that names it.
pub fn runs_in(folder: &Path) -> Result<Vec<Run>, Failure> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let folders = entries.flatten().map(|entry| entry.path()).filter(|path| path.join(FILE).is_file());
    // A run that was killed before its first line was written never began.
    let began = |path: &PathBuf| !Ledger::read(path).is_ok_and(|entries| entries.is_empty());
    let mut runs = folders.filter(began).map(|path| Run::read(&path)).collect::<Result<Vec<_>, _>>()?;
    runs.sort_by(|one, other| one.entries[0].at.cmp(&other.entries[0].at));
    Ok(runs)
}

/// Makes this process the only one that has a model write this environment, as long as what it returns lives: two would
/// adopt their files into one folder. Replays change nothing there and need no claim.
///
/// # Errors
/// If another process has it.
pub fn claim(manifest: &Manifest) -> Result<File, Failure> {
    let path = manifest.folder.join("env.toml");
    let failed = |error: std::io::Error| Failure::usage(format!("{} can't be locked: {error}", path.display()));
    let file = File::open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let name = &manifest.file.name;
            Err(Failure::usage(format!(
                "another run has a model write {name} right now\n(hint: wait for it to end, or stop it with Ctrl-C and go on with `lockstep resume`; `lockstep runs {name}` lists them)"
            )))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// The run with this name among the recordings or the replays of an environment, or the folder of one.
pub fn find(manifest: &Manifest, name: &str) -> Result<PathBuf, Failure> {
    let as_folder = Path::new(name);
    if as_folder.join(FILE).is_file() {
        return Ok(as_folder.to_owned());
    }
    let plain = !name.is_empty() && !name.contains(['/', '\\']) && name != "..";
    let places = [recordings(manifest), replays(manifest)];
    let found = places.iter().map(|place| place.join(name)).find(|folder| plain && folder.join(FILE).is_file());
    found.ok_or_else(|| {
        let environment = &manifest.file.name;
        Failure::usage(format!(
            "{environment} has no run {name:?}\n(hint: `lockstep runs {environment}` lists those that there are)"
        ))
    })
}

/// A new folder for a run, named by day and a count.
///
/// # Errors
/// If it can't be made.
pub fn fresh(parent: &Path) -> Result<(String, PathBuf), Failure> {
    let failed = |error: std::io::Error| {
        Failure::usage(format!("{} can't be written: {error}\n(hint: a run keeps its ledger there)", parent.display()))
    };
    std::fs::create_dir_all(parent).map_err(failed)?;
    let day = lockstep_harness::certificate::today();
    for count in 1.. {
        let name = format!("{day}-{count}");
        let folder = parent.join(&name);
        // Whoever makes the folder owns it, so that two runs that start at once don't share one.
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok((name, folder)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
    }
    unreachable!("there are more numbers than folders")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_went_back_shortens_no_run_and_time_between_a_stop_and_a_resume_is_none_of_it() {
        let at = ["10:00:00", "10:06:00", "09:00:00", "09:02:00", "23:00:00", "23:01:00"];
        let started = r#"{"kind":"started","format":"lockstep/ledger/1","run":"r","environment":"e","workflow":"translate",
            "backends":["rust"],"reference":["e","1","c"],"agent":"mailbox","model":"m","prompts":"","manifest":"","lockstep":"0",
            "machine":"","seed":1,"budget":{"usd":1,"tokens":1,"rounds":1,"minutes":1,"attempts":1,"patience":1},"price":null,
            "sandbox":"none"}"#;
        let budget = r#"{"usd":1,"tokens":1,"rounds":1,"minutes":1,"attempts":1,"patience":1}"#;
        let events = [
            started.to_owned(),
            r#"{"kind":"went_back","to_round":1}"#.into(),
            r#"{"kind":"went_back","to_round":1}"#.into(),
            r#"{"kind":"stopped","reason":"interrupted","words":""}"#.into(),
            format!(r#"{{"kind":"resumed","torn_bytes":0,"budget":{budget}}}"#),
            r#"{"kind":"finished"}"#.into(),
        ];
        let entries: Vec<Entry> = events
            .iter()
            .zip(at)
            .map(|(event, at)| Entry {
                number: 0,
                at: format!("2026-11-25T{at}Z"),
                before: String::new(),
                event: serde_json::from_str(event).unwrap(),
            })
            .collect();
        let Event::Started(started) = entries[0].event.clone() else { panic!() };
        let run = Run { folder: PathBuf::new(), started: *started, entries };
        assert_eq!(run.minutes(), 6.0 + 0.0 + 2.0 + 1.0);
    }
}
