//! A folder as an agent: a request is written to it, an answer awaited in it, so that a person or any program can be
//! the model. `docs/agents.md` describes it for whoever answers.
//!
//! A file that is there may be half-written, by an editor as well as by a program. An answer therefore counts only once
//! it says that it is finished: by its last line, or by a second file.

use super::{ANSWER_BYTES_MAX, Agent, AgentError, Answer, Request, Usage, quoted};
use lockstep_harness::watch::{Stop, Watch};
use serde::Deserialize;
use serde_json::json;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// The last line of a finished answer.
pub const END_LINE: &str = "END OF ANSWER";
/// How often the folder is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// A folder as an agent.
pub struct Mailbox {
    folder: PathBuf,
    run: String,
    model: String,
    context_tokens: u64,
    limit: Option<Duration>,
    bytes: usize,
}

/// What may stand beside an answer, in `answer-0001.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sidecar {
    model: Option<String>,
    input_tokens: Option<u64>,
    #[serde(default)]
    cached_tokens: u64,
    #[serde(default)]
    written_tokens: u64,
    output_tokens: Option<u64>,
    cost_usd: Option<f64>,
    #[serde(default)]
    truncated: bool,
}

/// The files of one round.
struct Round {
    request: PathBuf,
    request_json: PathBuf,
    answer: PathBuf,
    answer_json: PathBuf,
    done: PathBuf,
}

impl Mailbox {
    /// The mailbox of one run, in a folder of its name below `folder`; both are made.
    ///
    /// # Errors
    /// If the name can't be that of a folder, or the folder can't be made.
    pub fn new(
        folder: &Path,
        run: &str,
        model: String,
        context_tokens: u64,
        limit: Option<Duration>,
    ) -> Result<Self, AgentError> {
        if run.is_empty() || run.starts_with('.') || run.contains(['/', '\\', '\0']) {
            return Err(AgentError::Options(format!("{run:?} can't be the name of a mailbox's folder")));
        }
        let inside = folder.join(run);
        std::fs::create_dir_all(&inside)
            .and_then(|()| inside.canonicalize())
            .map(|folder| Mailbox {
                folder,
                run: run.to_owned(),
                model,
                context_tokens,
                limit,
                bytes: ANSWER_BYTES_MAX,
            })
            .map_err(|error| failed(&inside, format!("{error}; name another --mailbox")))
    }

    fn round(&self, round: u32) -> Round {
        let file = |name: &str| self.folder.join(name.replace('#', &format!("{round:04}")));
        Round {
            request: file("request-#.md"),
            request_json: file("request-#.json"),
            answer: file("answer-#.md"),
            answer_json: file("answer-#.json"),
            done: file("answer-#.done"),
        }
    }

    /// Writes the request, unless it is there already; then an answer that is there is one to this request.
    fn post(&self, request: &Request, round: &Round, watch: &mut dyn Watch) -> Result<(), AgentError> {
        let text = self.text(request, round);
        match std::fs::read_to_string(&round.request) {
            Ok(there) if there == text => return Ok(()),
            Ok(_) => {
                let old = self.set_aside(round)?;
                watch.say(&format!(
                    "round {} was asked otherwise before; what belonged to that is now {old}-…",
                    request.round
                ));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // An answer to a question that was never asked is none.
                if [&round.answer, &round.done].iter().any(|path| path.exists()) {
                    let old = self.set_aside(round)?;
                    watch.say(&format!("an answer was there before its request; it is now {old}-…"));
                }
            }
            Err(error) => return Err(failed(&round.request, error.to_string())),
        }
        let json = serde_json::to_string_pretty(&json!({
            "run": self.run,
            "round": request.round,
            "role": request.role,
            "module": request.module,
            "answer": round.answer,
            "finished": round.done,
            "usage": round.answer_json,
            "output_tokens_max": request.output_tokens_max,
            "system": request.system,
            "prompt": request.prompt,
        }));
        write(&round.request_json, &json.expect("JSON can be written"))?;
        write(&round.request, &text)
    }

    /// Renames the files of a round that belong to another question; their new beginning.
    fn set_aside(&self, round: &Round) -> Result<String, AgentError> {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let all = [&round.request, &round.request_json, &round.answer, &round.answer_json, &round.done];
        let free = (1..)
            .map(|number| format!("old-{number}"))
            .find(|old| all.iter().all(|path| !self.folder.join(format!("{old}-{}", name(path))).exists()))
            .expect("numbers don't end");
        for path in all {
            match std::fs::rename(path, self.folder.join(format!("{free}-{}", name(path)))) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed(path, format!("it can't be set aside: {error}")));
                }
                _ => {}
            }
        }
        Ok(free)
    }

    /// The request as a file that needs no other: what it is, how to answer, the question.
    fn text(&self, request: &Request, round: &Round) -> String {
        let (answer, done, usage) = (round.answer.display(), round.done.display(), round.answer_json.display());
        format!(
            "---
lockstep: request
run: {run}
round: {number}
role: {role}
module: {module}
answer: {answer}
finished: {done}
usage: {usage}
output_tokens_max: {max}
---

# How to answer

You are the model in this exchange: a program wrote this file and waits for your answer. All that you need is in this
file. Read no other file, look nothing up, and run nothing; an answer that rests on anything else spoils the run.
Everything below the line is the question, in two parts: what holds for all questions of the run, and this one.

1. Write your answer, all of it and nothing else, to this file:
   `{answer}`
   It has the form that the question asks for, and at most some {max} tokens.
2. Say that it is finished, in one of two ways: make the last line of that file `{END_LINE}`, or create the empty file
   `{done}` once the answer is written.
3. If you know them, write your name and what the answer took to
   `{usage}` before that, as JSON. All keys may be left out:
   `{{\"model\": \"name\", \"input_tokens\": 0, \"cached_tokens\": 0, \"output_tokens\": 0, \"cost_usd\": 0.0}}`

---

{system}

---

{prompt}
",
            run = self.run,
            number = request.round,
            role = request.role,
            module = request.module,
            max = request.output_tokens_max,
            system = request.system.trim_end(),
            prompt = request.prompt.trim_end(),
        )
    }

    /// The answer, if there is a finished one; whether there is one that is not finished.
    fn look(&self, round: &Round) -> Result<(Option<String>, bool), AgentError> {
        // First the mark, then the text: a mark that comes in between belongs to a later look.
        let done = round.done.exists();
        let file = match std::fs::File::open(&round.answer) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((None, false)),
            Err(error) => return Err(failed(&round.answer, error.to_string())),
        };
        let mut bytes = Vec::new();
        file.take(self.bytes as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(&round.answer, error.to_string()))?;
        if bytes.len() > self.bytes {
            let agent = round.answer.display().to_string();
            return Err(AgentError::TooLarge { agent, limit: self.bytes, spent: None });
        }
        // Half a character at the end of what is half-written is no error yet.
        let Ok(text) = String::from_utf8(bytes) else {
            return if done { Err(malformed(&round.answer, "it is not UTF-8".into())) } else { Ok((None, true)) };
        };
        let body = text.trim_end();
        if let Some(body) = body.strip_suffix(END_LINE).filter(|body| body.is_empty() || body.ends_with('\n')) {
            return Ok((Some(body.to_owned()), false));
        }
        Ok(if done { (Some(text), false) } else { (None, true) })
    }

    fn sidecar(&self, round: &Round) -> Result<Sidecar, AgentError> {
        let text = match std::fs::read_to_string(&round.answer_json) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Sidecar::default()),
            Err(error) => return Err(failed(&round.answer_json, error.to_string())),
        };
        let sidecar: Sidecar = serde_json::from_str(&text)
            .map_err(|error| malformed(&round.answer_json, format!("{error}; mend or delete it, then resume")))?;
        if sidecar.cost_usd.is_some_and(|usd| !usd.is_finite() || usd < 0.0) {
            return Err(malformed(&round.answer_json, "its cost_usd is no price; mend it, then resume".into()));
        }
        Ok(sidecar)
    }

    fn take(&self, text: String, request: &Request, round: &Round) -> Result<Answer, AgentError> {
        let sidecar = self.sidecar(round)?;
        let estimated = Usage::estimated(request, &text);
        let counted = sidecar.input_tokens.zip(sidecar.output_tokens);
        let input_tokens = sidecar.input_tokens.unwrap_or(estimated.input_tokens);
        let usage = Usage {
            input_tokens,
            cached_tokens: sidecar.cached_tokens.min(input_tokens),
            written_tokens: sidecar.written_tokens.min(input_tokens),
            output_tokens: sidecar.output_tokens.unwrap_or(estimated.output_tokens),
            measured: counted.is_some(),
            cost_usd: sidecar.cost_usd,
        };
        let model = sidecar.model.as_deref().map(quoted).filter(|model| !model.is_empty());
        let model = model.unwrap_or_else(|| self.model());
        Ok(Answer { text, model, usage, seconds: seconds(round), truncated: sidecar.truncated })
    }

    fn wait(&self, request: &Request, watch: &mut dyn Watch, stop: &Stop) -> Result<Answer, AgentError> {
        let round = self.round(request.round);
        self.post(request, &round, watch)?;
        let (begun, mut shown, mut hinted) = (Instant::now(), false, false);
        loop {
            let (answer, unfinished) = self.look(&round)?;
            if let Some(text) = answer {
                return self.take(text, request, &round);
            }
            if !shown {
                watch.say(&format!("waiting for {}", round.answer.display()));
                watch.say(&format!("  the question is {}", round.request.display()));
                shown = true;
            }
            if unfinished && !hinted && begun.elapsed() >= 8 * LOOK {
                watch.say(&format!(
                    "  an answer is there, but not finished: end it with the line {END_LINE}, or create {}",
                    round.done.display()
                ));
                hinted = true;
            }
            if stop.asked() {
                return Err(AgentError::Stopped { spent: None });
            }
            if let Some(limit) = self.limit.filter(|limit| begun.elapsed() >= *limit) {
                return Err(AgentError::Timeout {
                    agent: format!("the mailbox {}", self.folder.display()),
                    what: "had no finished answer within",
                    seconds: limit.as_secs(),
                    spent: None,
                });
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Agent for Mailbox {
    fn name(&self) -> &'static str {
        "mailbox"
    }

    fn model(&self) -> String {
        if self.model.is_empty() { "unnamed".into() } else { self.model.clone() }
    }

    fn context_tokens(&self) -> u64 {
        self.context_tokens
    }

    fn ask(&mut self, request: &Request, watch: &mut dyn Watch, stop: &Stop) -> Result<Answer, AgentError> {
        watch.begin(&format!("mailbox: {}", request.title()), 0);
        let answer = self.wait(request, watch, stop);
        watch.end();
        answer
    }
}

/// From the request to the answer, by their files, so that it is right after a restart too.
fn seconds(round: &Round) -> f64 {
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::now());
    changed(&round.answer).duration_since(changed(&round.request)).unwrap_or_default().as_secs_f64()
}

/// Writes a file so that it is there whole or not at all.
fn write(path: &Path, text: &str) -> Result<(), AgentError> {
    let folder = path.parent().expect("it is in the mailbox");
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".").suffix(".part").tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        // Others answer: the file is made for its owner alone, but must have the usual rights.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error| failed(path, format!("it can't be written: {error}; make room, or name another --mailbox")))
}

fn failed(path: &Path, reason: String) -> AgentError {
    AgentError::File { path: path.display().to_string(), reason }
}

fn malformed(path: &Path, reason: String) -> AgentError {
    AgentError::Malformed {
        agent: path.display().to_string(),
        reason,
        check: "it is as docs/agents.md says",
        spent: None,
    }
}
