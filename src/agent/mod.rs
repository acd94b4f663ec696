//! The models that write code, behind one trait: an HTTP endpoint, a command, a mailbox folder, or a kept run.
//!
//! An agent is asked one self-contained question at a time and answers with text; it never sees the tree, and nothing
//! that it does elsewhere is taken. What each answer cost is part of the answer, and what a failed one had already
//! cost is part of the error.

mod anthropic;
mod command;
mod http;
mod key;
mod mailbox;
mod openai;
mod options;
pub mod price;
mod recorded;
mod report;
mod stream;
pub mod tokens;

#[cfg(test)]
mod tests;

pub use options::{AgentKind, AgentOptions, open};
pub use recorded::Recorded;

use lockstep_harness::watch::{Stop, Watch};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest prompt in tokens that is assumed where nobody says more.
pub const CONTEXT_TOKENS: u64 = 200_000;
/// No answer is larger, in bytes, thinking included.
pub const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What the model is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Cut the work into modules.
    Plan,
    /// Write a module from the reference's source.
    Translate,
    /// Write a module from a specification.
    Create,
    /// Mend a module after a divergence or a failed build.
    Repair,
    /// Make it faster without changing what it does.
    Optimize,
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Role::Plan => "plan",
            Role::Translate => "translate",
            Role::Create => "create",
            Role::Repair => "repair",
            Role::Optimize => "optimize",
        })
    }
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What is asked for.
    pub role: Role,
    /// The module that it is about; empty for a plan.
    pub module: String,
    /// Counts the questions of a run, from 1; no two questions of one run share it.
    pub round: u32,
    /// What is the same for all questions of a run.
    pub system: String,
    /// The question.
    pub prompt: String,
    /// The longest answer in tokens, thinking included.
    pub output_tokens_max: u64,
}

impl Request {
    /// `translate rules, round 3`: for people.
    pub fn title(&self) -> String {
        let module = if self.module.is_empty() { String::new() } else { format!(" {}", self.module) };
        format!("{}{module}, round {}", self.role, self.round)
    }

    /// System and question as one text, for agents that take only one.
    pub fn whole(&self) -> String {
        if self.system.trim().is_empty() {
            return self.prompt.clone();
        }
        format!("{}\n\n{}", self.system.trim_end(), self.prompt)
    }
}

/// What an answer took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// All tokens that went in, cached ones included.
    pub input_tokens: u64,
    /// Those of them that came from the provider's cache, which cost less.
    pub cached_tokens: u64,
    /// Those of them that were written to its cache, which may cost more.
    #[serde(default)]
    pub written_tokens: u64,
    /// All tokens that came out, thinking included.
    pub output_tokens: u64,
    /// Whether the agent counted them; else they are estimated from the size of the texts, as a lower bound.
    pub measured: bool,
    /// Dollars, where the agent itself reports them.
    pub cost_usd: Option<f64>,
}

impl Usage {
    /// The least that a question and an answer of these texts took.
    pub fn estimated(request: &Request, answer: &str) -> Self {
        Usage {
            input_tokens: tokens::estimate(&request.system) + tokens::estimate(&request.prompt),
            output_tokens: tokens::estimate(answer),
            ..Usage::default()
        }
    }
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// What the model wrote, without its thinking.
    pub text: String,
    /// The model, as it names itself.
    pub model: String,
    /// What it took.
    pub usage: Usage,
    /// How long it took.
    pub seconds: f64,
    /// Whether it was cut off by a limit of its length.
    pub truncated: bool,
}

/// Something that answers.
pub trait Agent {
    /// `anthropic`, `openai`, `command`, `mailbox` or `recorded`.
    fn name(&self) -> &'static str;
    /// The model that is asked, as far as it is known beforehand.
    fn model(&self) -> String;
    /// The longest prompt in tokens that it takes.
    fn context_tokens(&self) -> u64;
    /// Asks, and waits for the answer; `watch` sees the tokens come out, `stop` ends the wait.
    ///
    /// # Errors
    /// If there is no whole answer; [`AgentError::spent`] tells what was paid all the same.
    fn ask(&mut self, request: &Request, watch: &mut dyn Watch, stop: &Stop) -> Result<Answer, AgentError>;
}

/// What was paid for an answer that did not come.
pub type Spent = Option<Box<Usage>>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The options don't say which agent, or contradict each other.
    #[error("{0}")]
    Options(String),
    /// The environment has no key; nothing was sent.
    #[error(
        "{agent} needs a key, but {variable} is not set; set it, name another variable with --key-variable, or say --no-key for an endpoint that needs none"
    )]
    NoKey {
        /// The agent.
        agent: &'static str,
        /// The variable that was looked at.
        variable: String,
    },
    /// No price is known, so no budget could hold.
    #[error("the price of {model:?} is not in the table of {day}; give it in USD for a million tokens with --price-in and --price-out (0 and 0 for a model of your own)", day = price::LOOKED_UP)]
    NoPrice {
        /// The model.
        model: String,
    },
    /// No connection.
    #[error("{host} can't be reached: {reason}; check --base-url, the proxy variables and --ca-file")]
    Unreachable {
        /// The endpoint.
        host: String,
        /// What the network said.
        reason: String,
    },
    /// The endpoint refuses this request, and would refuse it again.
    #[error("{host} refused the request with status {status}: {message}; correct the key, --model or --base-url")]
    Refused {
        /// The endpoint.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The endpoint is overloaded or broken, and was so each time.
    #[error(
        "{host} had no answer in {attempts} attempts, the last with status {status}: {message}; try again later with `lockstep resume`"
    )]
    Busy {
        /// The endpoint.
        host: String,
        /// The last HTTP status.
        status: u16,
        /// What it said.
        message: String,
        /// How often it was asked.
        attempts: u32,
    },
    /// It took too long.
    #[error("{agent} {what} {seconds} s; try again, or allow more with --answer-timeout")]
    Timeout {
        /// The agent.
        agent: String,
        /// What it failed to do in that time: `did not answer within`, `was silent for`.
        what: &'static str,
        /// The limit.
        seconds: u64,
        /// What was paid.
        spent: Spent,
    },
    /// The connection ended inside an answer.
    #[error("{host} broke off inside its answer ({reason}); try again with `lockstep resume`")]
    Cut {
        /// The endpoint.
        host: String,
        /// What the network said.
        reason: String,
        /// What was paid.
        spent: Spent,
    },
    /// It is not what this kind of agent sends.
    #[error("{agent} sent what is no answer: {reason}; check that {check}")]
    Malformed {
        /// The agent.
        agent: String,
        /// What is wrong with it.
        reason: String,
        /// What to look at.
        check: &'static str,
        /// What was paid.
        spent: Spent,
    },
    /// It is longer than any answer can be.
    #[error("{agent} sent more than {limit} bytes; ask for less, or use another model")]
    TooLarge {
        /// The agent.
        agent: String,
        /// The limit in bytes.
        limit: usize,
        /// What was paid.
        spent: Spent,
    },
    /// The model does not want to answer.
    #[error("the model declined to answer ({reason}); use another model")]
    Declined {
        /// What it gave as reason.
        reason: String,
        /// What was paid.
        spent: Spent,
    },
    /// The command failed.
    #[error("the command {command:?} {status}: {last_line}; try it by hand")]
    Command {
        /// The program.
        command: String,
        /// How it ended.
        status: String,
        /// The last thing that it said.
        last_line: String,
        /// What was paid.
        spent: Spent,
    },
    /// A file of the mailbox, or of the command's folder, can't be used.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A kept run has no answer to this.
    #[error(
        "the recording has no answer to {asked}; it has {there}; replay it with the version that it was made with, or record a new one with --agent"
    )]
    Exhausted {
        /// What was asked.
        asked: String,
        /// What it has.
        there: String,
    },
    /// Ctrl-C.
    #[error("stopped while waiting for an answer; go on with `lockstep resume`")]
    Stopped {
        /// What was paid.
        spent: Spent,
    },
}

impl AgentError {
    /// What was paid for it, as a lower bound; a ledger must count it.
    pub fn spent(&self) -> Option<&Usage> {
        match self {
            AgentError::Timeout { spent, .. }
            | AgentError::Cut { spent, .. }
            | AgentError::Malformed { spent, .. }
            | AgentError::TooLarge { spent, .. }
            | AgentError::Declined { spent, .. }
            | AgentError::Command { spent, .. }
            | AgentError::Stopped { spent } => spent.as_deref(),
            _ => None,
        }
    }
}

/// Text from outside as it may stand in a message: one line, no control characters, not too long.
fn quoted(text: &str) -> String {
    const CHARACTERS_MAX: usize = 400;
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CHARACTERS_MAX + 1).collect();
    let words = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(CHARACTERS_MAX) {
        Some((at, _)) => format!("{}…", &words[..at]),
        None => words,
    }
}
