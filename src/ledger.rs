//! The ledger of a run: JSON lines that are only ever appended, each with the hash of the one before.
//!
//! A line is `{"hash":"…","entry":{…}}`; the hash is SHA-256 over the text of the entry, which itself names the hash of
//! the line before. What is long (prompts, answers, files, compiler output) stands beside the ledger under its own hash.

use crate::agent::price::Price;
use crate::plan::Plan;
use lockstep_harness::keep::write_whole;
use lockstep_harness::race::Speed;
use lockstep_harness::tiers::Counts;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The version of the format.
pub const FORMAT: &str = "lockstep/ledger/1";
/// The file in a run's folder.
pub const FILE: &str = "ledger.jsonl";
/// What the first entry names as the one before.
const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const HEAD: &str = "{\"hash\":\"";
const MIDDLE: &str = "\",\"entry\":";
const HASH_LENGTH: usize = 64;
/// More than any answer has.
const ROOM_BYTES: usize = 1 << 19;

/// The hash under which a long text is kept.
pub type Blob = String;

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// Its place, from 0.
    pub number: u64,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// The hash of the line before.
    pub before: String,
    /// What happened.
    pub event: Event,
}

/// What a run may cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Dollars.
    pub usd: f64,
    /// Tokens in and out.
    pub tokens: u64,
    /// Answers of the model.
    pub rounds: u32,
    /// Minutes of the whole run.
    pub minutes: f64,
    /// Answers for one module.
    pub attempts: u32,
    /// Answers without progress, after which the run stops.
    pub patience: u32,
}

/// What one answer cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Tokens read.
    pub input_tokens: u64,
    /// Those of them that came from a cache.
    pub cached_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Dollars, at the run's prices.
    pub usd: f64,
    /// `measured`, `reported by the agent`, `recorded, paid for then`, `estimated, lower bound`, or `no price known`.
    pub basis: String,
    /// Until the answer was there.
    pub seconds: f64,
}

/// One minimized divergence, as the ledger counts it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Killed {
    /// Its kind.
    pub kind: String,
    /// The tier that found it.
    pub tier: String,
    /// The configuration.
    pub configuration: String,
    /// Steps from the start.
    pub steps: usize,
    /// Reference steps that shrinking it took.
    pub reference_steps: u64,
}

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    /// The run began.
    Started(Box<Started>),
    /// A request was made.
    Asked {
        /// Counts from 1.
        round: u32,
        /// What for.
        role: String,
        /// The module, or the backend as a whole.
        module: String,
        /// The request as it is kept: source of the reference stands in it as file, lines and hash.
        prompt: Blob,
        /// Tokens of what was sent, estimated.
        tokens: u64,
        /// What it can cost at most.
        worst_usd: f64,
    },
    /// It was answered.
    Answered {
        /// Of the request.
        round: u32,
        /// The answer, as it came.
        answer: Blob,
        /// Who answered.
        model: String,
        /// It was cut off.
        truncated: bool,
        /// What it cost.
        spent: Spent,
    },
    /// Something was paid, and no answer came of it.
    Lost {
        /// Of the request.
        round: u32,
        /// What it cost.
        spent: Spent,
        /// Why there is no answer.
        why: String,
    },
    /// The plan was read and holds.
    Planned {
        /// The plan.
        plan: Plan,
    },
    /// The plan can't be used.
    PlanRefused {
        /// Why, for the model.
        why: String,
    },
    /// The edits of an answer were applied.
    Edited {
        /// Of the answer.
        round: u32,
        /// Files that changed.
        changed: Vec<String>,
        /// What could not be applied, for the model.
        problems: Vec<String>,
        /// All files as they stand now.
        files: BTreeMap<String, Blob>,
    },
    /// The workshop built it.
    Built {
        /// `library` or `runner`.
        what: String,
        /// The backend.
        backend: String,
        /// It built.
        ok: bool,
        /// What the compiler said where it did not.
        output: Option<Blob>,
        /// How long it took.
        seconds: f64,
    },
    /// The harness judged it.
    Judged {
        /// `module NAME`, `whole BACKEND` or `sealed BACKEND`.
        scope: String,
        /// The backend.
        backend: String,
        /// The tiers that ran.
        tiers: Vec<String>,
        /// Nothing differed.
        agrees: bool,
        /// Rows of the table (configuration and tier) that agree.
        rows: u32,
        /// What was found, one for each kind.
        found: Vec<Killed>,
        /// What the model reads of it: a list of packs, as JSON.
        packs: Option<Blob>,
        /// The table, as people read it.
        table: Blob,
        /// Steps, kept apart.
        counts: Counts,
        /// How long it took.
        seconds: f64,
    },
    /// An answer made it worse: the files are those of an earlier round again.
    WentBack {
        /// The round whose files are kept.
        to_round: u32,
    },
    /// The run begins with the plan and the files of another one, which had converged.
    Taken {
        /// That run.
        run: String,
        /// Its plan.
        plan: Plan,
        /// Its files.
        files: BTreeMap<String, Blob>,
    },
    /// A backend that agrees was timed.
    Timed {
        /// The backend.
        backend: String,
        /// Beside the fastest version before it; `None` for the one that all began with.
        beside_fastest: Option<Speed>,
        /// Beside the reference; `None` for a version that is not kept.
        beside_reference: Option<Speed>,
        /// It is the fastest now.
        kept: bool,
        /// What the model reads of it.
        words: Blob,
    },
    /// A backend is not made faster any more.
    FastEnough {
        /// The backend.
        backend: String,
        /// Why.
        why: String,
    },
    /// A salt was drawn for a candidate whose hash stands.
    Sealed {
        /// The backend.
        backend: String,
        /// The candidate's hash.
        candidate: String,
        /// The salt.
        salt: String,
        /// The seed that follows from both.
        seed: String,
    },
    /// A certificate was written.
    Certified {
        /// The backend.
        backend: String,
        /// The certificate.
        certificate: Blob,
    },
    /// A person gave a hint, which stands in all requests from here on.
    Hint {
        /// The hint.
        text: Blob,
    },
    /// A person edited files.
    EditedByHand {
        /// Files that changed.
        changed: Vec<String>,
        /// All files as they stand now.
        files: BTreeMap<String, Blob>,
    },
    /// The run goes on after a stop.
    Resumed {
        /// Bytes at the end of the ledger that a crash had cut off.
        torn_bytes: u64,
        /// The budget from here on.
        budget: Budget,
    },
    /// The run stopped before its end; it can be resumed.
    Stopped {
        /// Why.
        reason: StopReason,
        /// In words.
        words: String,
    },
    /// The run ended: every backend is certified.
    Finished,
}

/// The first entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Started {
    /// `lockstep/ledger/1`.
    pub format: String,
    /// The run's name.
    pub run: String,
    /// The environment.
    pub environment: String,
    /// `translate`, `translate-verified` or `create`.
    pub workflow: String,
    /// The backends that are written, in order.
    pub backends: Vec<String>,
    /// The reference: name, version, adapter.
    pub reference: [String; 3],
    /// The agent.
    pub agent: String,
    /// The model that was asked for.
    pub model: String,
    /// The hash of all prompt templates.
    pub prompts: String,
    /// SHA-256 of the manifest as the model sees it.
    pub manifest: String,
    /// The version of lockstep.
    pub lockstep: String,
    /// Processor and cores.
    pub machine: String,
    /// Judging seeds follow from it.
    pub seed: u64,
    /// What it may cost.
    pub budget: Budget,
    /// Dollars for tokens, and where they come from; absent where nobody knows.
    pub price: Option<Price>,
    /// The run whose plan and files it begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins_with: Option<String>,
    /// Answers that each backend gets to become faster, once all agree.
    #[serde(default)]
    pub optimize: u32,
    /// The sandbox that candidates run in, in words.
    pub sandbox: String,
    /// The run whose answers are played again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<String>,
    /// `--held-out`: who started it says that the prompts were never changed with this environment in mind.
    #[serde(default)]
    pub held_out: bool,
}

/// Why a run stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Ctrl-C.
    Interrupted,
    /// A budget is spent.
    Budget,
    /// Too many answers without progress.
    NoProgress,
    /// The agent failed.
    Agent,
    /// The reference failed.
    Reference,
}

/// A ledger that is open for appending.
pub struct Ledger {
    folder: PathBuf,
    file: File,
    /// All entries so far.
    pub entries: Vec<Entry>,
    last: String,
    /// Bytes that a crash had cut off when it was opened.
    pub torn_bytes: u64,
}

/// Why a ledger can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It can't be read or written.
    #[error("the ledger {} can't be used: {source}\n(hint: `lockstep runs` lists all runs; a full disk or a missing folder must be mended first)", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process appends to it.
    #[error("the run in {} is being worked on by another process\n(hint: wait for it to end, or stop it with Ctrl-C; then go on)", folder.display())]
    Busy {
        /// The run's folder.
        folder: PathBuf,
    },
    /// A line is not what was written.
    #[error("the ledger {} was changed at line {line}: {what}\n(hint: nothing after that line can be trusted; take the file from a copy, or start a new run)", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
}

impl Ledger {
    /// A new ledger in a run's folder.
    ///
    /// # Errors
    /// If there is one already, or the folder can't be written.
    pub fn create(folder: &Path) -> Result<Self, LedgerError> {
        let path = folder.join(FILE);
        let failed = |source| LedgerError::Io { path: path.clone(), source };
        std::fs::create_dir_all(folder.join("blobs")).map_err(failed)?;
        let file = File::options().append(true).create_new(true).open(&path).map_err(failed)?;
        claim(&file, folder)?;
        Ok(Ledger { folder: folder.to_owned(), file, entries: Vec::new(), last: NOTHING.to_owned(), torn_bytes: 0 })
    }

    /// Opens a ledger to go on. A last line that a crash cut off is removed; it was never acted upon.
    ///
    /// # Errors
    /// If it can't be read or was changed, or another process has it open.
    pub fn open(folder: &Path) -> Result<Self, LedgerError> {
        let path = folder.join(FILE);
        let failed = |source| LedgerError::Io { path: path.clone(), source };
        let file = File::options().append(true).open(&path).map_err(failed)?;
        claim(&file, folder)?;
        let bytes = std::fs::read(&path).map_err(failed)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
        let torn_bytes = (bytes.len() - whole) as u64;
        if torn_bytes > 0 {
            file.set_len(whole as u64).map_err(failed)?;
        }
        let (entries, last) = parse(&path, &bytes[..whole])?;
        Ok(Ledger { folder: folder.to_owned(), file, entries, last, torn_bytes })
    }

    /// Reads the entries of a ledger, checking each hash; what a crash cut off is left out.
    ///
    /// # Errors
    /// If it can't be read or was changed.
    pub fn read(folder: &Path) -> Result<Vec<Entry>, LedgerError> {
        let path = folder.join(FILE);
        let bytes = std::fs::read(&path).map_err(|source| LedgerError::Io { path: path.clone(), source })?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
        Ok(parse(&path, &bytes[..whole])?.0)
    }

    /// Appends an event; it is on the disk when this returns.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn append(&mut self, event: Event) -> Result<&Entry, LedgerError> {
        let failed = |source| LedgerError::Io { path: self.folder.join(FILE), source };
        let number = self.entries.len() as u64;
        let entry = Entry { number, at: jiff::Timestamp::now().to_string(), before: self.last.clone(), event };
        let text = serde_json::to_string(&entry).map_err(|error| failed(io::Error::other(error)))?;
        let hash = hash(text.as_bytes());
        let line = format!("{HEAD}{hash}{MIDDLE}{text}}}\n");
        // One write, so that a crash leaves a whole line or a torn last one.
        let size = self.file.metadata().map_err(failed)?.len();
        if let Err(error) = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data()) {
            // Half a line would make the next one unreadable.
            let _ = self.file.set_len(size);
            return Err(failed(error));
        }
        self.last = hash;
        self.entries.push(entry);
        Ok(self.entries.last().expect("it was just pushed"))
    }

    /// Keeps a text under its hash.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn keep(&self, text: &str) -> Result<Blob, LedgerError> {
        let name = hash(text.as_bytes());
        let path = self.folder.join("blobs").join(&name);
        if !path.is_file() {
            write_whole(&path, text).map_err(|source| LedgerError::Io { path, source })?;
        }
        Ok(name)
    }

    /// Takes room on the disk for an answer, before it is asked for: what was paid for can then be kept.
    ///
    /// # Errors
    /// If there is none.
    pub fn put_room_aside(&self) -> Result<(), LedgerError> {
        let path = self.room();
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(&vec![0; ROOM_BYTES])?;
            file.sync_all()
        });
        written.map_err(|source| {
            let _ = std::fs::remove_file(&path);
            LedgerError::Io { path, source }
        })
    }

    /// Gives the room back.
    pub fn use_room(&self) {
        let _ = std::fs::remove_file(self.room());
    }

    fn room(&self) -> PathBuf {
        self.folder.join("blobs/room")
    }

    /// A text that was kept.
    ///
    /// # Errors
    /// If it is gone or was changed.
    pub fn blob(&self, name: &str) -> Result<String, LedgerError> {
        blob(&self.folder, name)
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// A text that a run has kept.
///
/// # Errors
/// If it is gone or was changed.
pub fn blob(folder: &Path, name: &str) -> Result<String, LedgerError> {
    let path = folder.join("blobs").join(name);
    let changed = |what: &str| LedgerError::Changed { path: path.clone(), line: 1, what: what.to_owned() };
    if name.len() != HASH_LENGTH || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(changed("its name is no hash"));
    }
    let text = std::fs::read_to_string(&path).map_err(|source| LedgerError::Io { path: path.clone(), source })?;
    if hash(text.as_bytes()) != name {
        return Err(changed("its text does not have the hash that is its name"));
    }
    Ok(text)
}

/// Makes this process the only one that appends, until it ends, however it ends.
fn claim(file: &File, folder: &Path) -> Result<(), LedgerError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => Err(LedgerError::Busy { folder: folder.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(LedgerError::Io { path: folder.join(FILE), source }),
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<(Vec<Entry>, String), LedgerError> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut last = NOTHING.to_owned();
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let changed = |what: String| LedgerError::Changed { path: path.to_owned(), line: index + 1, what };
        let line = std::str::from_utf8(line).map_err(|_| changed("it is not text".into()))?;
        let rest = line.strip_prefix(HEAD).ok_or_else(|| changed("it does not begin with its hash".into()))?;
        let named = rest.get(..HASH_LENGTH).ok_or_else(|| changed("its hash is cut off".into()))?;
        let text = rest[HASH_LENGTH..].strip_prefix(MIDDLE).and_then(|text| text.strip_suffix("}\n"));
        let text = text.ok_or_else(|| changed("it has no entry".into()))?;
        if hash(text.as_bytes()) != named {
            return Err(changed("its text does not have its hash".into()));
        }
        let entry: Entry = serde_json::from_str(text).map_err(|error| changed(error.to_string()))?;
        if entry.before != last || entry.number != index as u64 {
            return Err(changed("it does not follow the line before".into()));
        }
        last = named.to_owned();
        entries.push(entry);
    }
    match entries.first().map(|entry| &entry.event) {
        Some(Event::Started(started)) if started.format == FORMAT => Ok((entries, last)),
        Some(Event::Started(started)) => Err(LedgerError::Changed {
            path: path.to_owned(),
            line: 1,
            what: format!("its format is {:?}, this lockstep reads {FORMAT:?}", started.format),
        }),
        None => Ok((entries, last)),
        Some(_) => {
            Err(LedgerError::Changed { path: path.to_owned(), line: 1, what: "the run does not begin there".into() })
        }
    }
}

/// SHA-256, in hexadecimal.
pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started() -> Event {
        Event::Started(Box::new(Started {
            format: FORMAT.into(),
            run: "r".into(),
            environment: "counter".into(),
            workflow: "translate".into(),
            backends: vec!["rust".into()],
            reference: ["counter".into(), "1".into(), "python".into()],
            agent: "mailbox".into(),
            model: "m".into(),
            prompts: "p".into(),
            manifest: "m".into(),
            lockstep: "0".into(),
            machine: "x".into(),
            seed: 1,
            budget: Budget { usd: 10.0, tokens: 1, rounds: 1, minutes: 0.1, attempts: 50, patience: 6 },
            price: Some(Price::given(0.1, None, 0.3)),
            sandbox: "none".into(),
            recording: None,
            begins_with: None,
            optimize: 0,
            held_out: false,
        }))
    }

    #[test]
    fn a_ledger_that_is_read_again_is_the_one_that_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::create(folder.path()).unwrap();
        ledger.append(started()).unwrap();
        let name = ledger.keep("a hint").unwrap();
        ledger.append(Event::Hint { text: name.clone() }).unwrap();
        drop(ledger);
        let mut ledger = Ledger::open(folder.path()).unwrap();
        assert_eq!(ledger.entries.len(), 2);
        assert_eq!(ledger.blob(&name).unwrap(), "a hint");
        ledger.append(Event::Finished).unwrap();
        assert_eq!(Ledger::read(folder.path()).unwrap().len(), 3);
    }

    #[test]
    fn a_ledger_that_is_open_is_not_opened_again_and_can_still_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::create(folder.path()).unwrap();
        ledger.append(started()).unwrap();
        let again = Ledger::open(folder.path()).err().unwrap();
        assert!(again.to_string().contains("another process"), "{again}");
        assert_eq!(Ledger::read(folder.path()).unwrap().len(), 1);
        drop(ledger);
        Ledger::open(folder.path()).unwrap();
    }

    #[test]
    fn a_line_that_was_changed_removed_or_swapped_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::create(folder.path()).unwrap();
        ledger.append(started()).unwrap();
        ledger.append(Event::WentBack { to_round: 1 }).unwrap();
        ledger.append(Event::Finished).unwrap();
        let path = folder.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let bad = [
            text.replace("\"to_round\":1", "\"to_round\":2"),
            format!("{}\n{}\n", lines[0], lines[2]),
            format!("{}\n{}\n{}\n", lines[0], lines[2], lines[1]),
            format!("{}\n", lines[1]),
            text.replace("lockstep/ledger/1", "lockstep/ledger/2"),
        ];
        for bad in bad {
            std::fs::write(&path, &bad).unwrap();
            assert!(matches!(Ledger::read(folder.path()), Err(LedgerError::Changed { .. })), "{bad}");
        }
    }

    #[test]
    fn a_torn_last_line_is_dropped_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::create(folder.path()).unwrap();
        ledger.append(started()).unwrap();
        ledger.append(Event::Finished).unwrap();
        drop(ledger);
        let path = folder.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 9]).unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        assert_eq!(ledger.entries.len(), 1);
        assert!(ledger.torn_bytes > 0);
        ledger.append(Event::Finished).unwrap();
        assert_eq!(Ledger::read(folder.path()).unwrap().len(), 2);
    }

    #[test]
    fn a_blob_that_was_changed_or_is_named_like_a_path_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::create(folder.path()).unwrap();
        let name = ledger.keep("text").unwrap();
        std::fs::write(folder.path().join("blobs").join(&name), "other").unwrap();
        assert!(ledger.blob(&name).is_err());
        assert!(ledger.blob("../ledger.jsonl").is_err());
    }
}
