//! The options that choose an agent, and the agent that they choose.

use super::anthropic::{self, Anthropic};
use super::command::Command;
use super::http::{Endpoint, Limits, Target, is_of_this_machine};
use super::key::Key;
use super::mailbox::Mailbox;
use super::openai::{self, OpenAi};
use super::price::{self, Price};
use super::{Agent, AgentError, CONTEXT_TOKENS};
use std::path::PathBuf;
use std::time::Duration;

/// How long an answer of an endpoint or a command may take, unless somebody says otherwise.
const ANSWER_SECONDS: u64 = 1800;

/// The kinds of agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum AgentKind {
    /// The messages API of Anthropic, over HTTPS
    Anthropic,
    /// Chat completions of OpenAI or of any endpoint that follows it, a local one too
    Openai,
    /// Any command that reads a prompt and prints an answer
    Command,
    /// A folder: requests are written to it, answers are awaited in it
    Mailbox,
    /// A kept run, replayed; costs nothing
    Recorded,
}

/// The options that every verb with an agent has.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct AgentOptions {
    /// Who writes the code [default: recorded where the environment has a recording]
    #[arg(long, value_enum, value_name = "KIND", help_heading = "Agent")]
    pub agent: Option<AgentKind>,
    /// The model, as its provider names it
    #[arg(long, value_name = "NAME", help_heading = "Agent")]
    pub model: Option<String>,
    /// Another endpoint of the agent's kind, such as http://localhost:11434/v1
    #[arg(long, value_name = "URL", help_heading = "Agent")]
    pub base_url: Option<String>,
    /// The variable with the key [default: ANTHROPIC_API_KEY, OPENAI_API_KEY]
    #[arg(long, value_name = "VARIABLE", help_heading = "Agent")]
    pub key_variable: Option<String>,
    /// The endpoint needs no key
    #[arg(long, help_heading = "Agent")]
    pub no_key: bool,
    /// Further certificates to trust, in PEM format
    #[arg(long, value_name = "FILE", help_heading = "Agent")]
    pub ca_file: Option<PathBuf>,
    /// Reach nothing beyond this machine: an endpoint has to be on it, and no package is fetched
    #[arg(long, help_heading = "Agent")]
    pub offline: bool,
    /// The command line of the agent `command`, such as "claude -p --output-format json"
    #[arg(long, value_name = "LINE", help_heading = "Agent")]
    pub command: Option<String>,
    /// The folder of the agent `mailbox`
    #[arg(long, value_name = "FOLDER", help_heading = "Agent")]
    pub mailbox: Option<PathBuf>,
    /// USD for a million input tokens, where the price table does not know the model
    #[arg(long, value_name = "USD", value_parser = dollars, requires = "price_out", help_heading = "Agent")]
    pub price_in: Option<f64>,
    /// USD for a million output tokens
    #[arg(long, value_name = "USD", value_parser = dollars, requires = "price_in", help_heading = "Agent")]
    pub price_out: Option<f64>,
    /// USD for a million cached input tokens [default: as --price-in]
    #[arg(long, value_name = "USD", value_parser = dollars, requires = "price_in", help_heading = "Agent")]
    pub price_cached: Option<f64>,
    /// The longest prompt that the model takes [default: what the price table says, else 200000]
    #[arg(long, value_name = "TOKENS", help_heading = "Agent")]
    pub context_tokens: Option<u64>,
    /// How long one answer may take [default: 1800; the mailbox waits as long as it has to]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Agent")]
    pub answer_timeout: Option<u64>,
}

fn dollars(text: &str) -> Result<f64, String> {
    let dollars: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if dollars.is_finite() && dollars >= 0.0 { Ok(dollars) } else { Err(format!("{text} is no price")) }
}

impl AgentOptions {
    /// The price of a model: what was given, else what the table says.
    pub fn price(&self, model: &str) -> Option<Price> {
        match (self.price_in, self.price_out) {
            (Some(input), Some(output)) => Some(Price::given(input, self.price_cached, output)),
            _ => Price::of(model),
        }
    }

    fn context(&self, model: &str) -> u64 {
        self.context_tokens.or_else(|| price::context_tokens(model)).unwrap_or(CONTEXT_TOKENS)
    }

    fn model(&self, kind: &str) -> Result<String, AgentError> {
        let model = self.model.clone().unwrap_or_default();
        if model.trim().is_empty() {
            return Err(AgentError::Options(format!("the agent {kind} needs a --model")));
        }
        Ok(model)
    }

    fn target(
        &self,
        kind: &'static str,
        base: &str,
        variable: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Target, AgentError> {
        let model = self.model(kind)?;
        if self.price(&model).is_none() {
            return Err(AgentError::NoPrice { model });
        }
        let key = match self.no_key {
            true => None,
            false => Some(Key::read(kind, self.key_variable.as_deref().unwrap_or(variable), environment)?),
        };
        let context_tokens = self.context(&model);
        let base = self.base_url.as_deref().unwrap_or(base);
        if self.offline && !is_of_this_machine(base) {
            return Err(AgentError::Options(format!(
                "--offline: {base} is not on this machine; --base-url names one that is, such as http://localhost:11434/v1"
            )));
        }
        Ok(Target { base: base.to_owned(), model, key, context_tokens })
    }
}

/// Opens the agent of the options for the run with this name. Nothing is sent: a missing key, model or price is found
/// here.
///
/// # Errors
/// If the options don't make an agent. A recorded one is made from its run, with [`super::Recorded::new`].
pub fn open(options: &AgentOptions, run: &str) -> Result<Box<dyn Agent>, AgentError> {
    open_in(options, run, &|variable| std::env::var(variable).ok())
}

/// [`open`] with another environment.
pub(super) fn open_in(
    options: &AgentOptions,
    run: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Box<dyn Agent>, AgentError> {
    let answer = Duration::from_secs(options.answer_timeout.unwrap_or(ANSWER_SECONDS));
    let ca_file = options.ca_file.as_deref();
    let missing = |text: &str| AgentError::Options(text.to_owned());
    Ok(match options.agent {
        Some(AgentKind::Anthropic) => {
            let target = options.target("anthropic", anthropic::BASE_URL, "ANTHROPIC_API_KEY", environment)?;
            Box::new(Endpoint::new(Anthropic, target, ca_file, Limits::usual(answer))?)
        }
        Some(AgentKind::Openai) => {
            let target = options.target("openai", openai::BASE_URL, "OPENAI_API_KEY", environment)?;
            Box::new(Endpoint::new(OpenAi::new(&target.base), target, ca_file, Limits::usual(answer))?)
        }
        Some(AgentKind::Command) if options.offline => {
            return Err(missing(
                "--offline: nobody knows what a command reaches; use the agent mailbox, or an endpoint on this machine",
            ));
        }
        Some(AgentKind::Command) => {
            let line = options.command.as_deref().ok_or_else(|| missing("the agent command needs a --command"))?;
            let model = options.model.clone().unwrap_or_default();
            let context_tokens = options.context(&model);
            Box::new(Command::new(line, model, context_tokens, answer)?)
        }
        Some(AgentKind::Mailbox) => {
            let folder = options.mailbox.as_deref().ok_or_else(|| missing("the agent mailbox needs a --mailbox"))?;
            let model = options.model.clone().unwrap_or_default();
            let context_tokens = options.context(&model);
            let limit = options.answer_timeout.map(Duration::from_secs);
            Box::new(Mailbox::new(folder, run, model, context_tokens, limit)?)
        }
        Some(AgentKind::Recorded) => {
            return Err(missing("there is no recording to replay; choose another --agent to make one"));
        }
        None => {
            return Err(missing(
                "no agent is chosen and there is no recording; choose one with --agent (docs/agents.md)",
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offline_takes_an_endpoint_of_this_machine_a_mailbox_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let usual = AgentOptions {
            offline: true,
            no_key: true,
            model: Some("m".into()),
            price_in: Some(0.0),
            price_out: Some(0.0),
            mailbox: Some(folder.path().to_owned()),
            command: Some("true".into()),
            ..AgentOptions::default()
        };
        let opened = |agent, base_url: Option<&str>, offline| {
            let base_url = base_url.map(str::to_owned);
            let options = AgentOptions { agent: Some(agent), base_url, offline, ..usual.clone() };
            open_in(&options, "run", &|_| None).map(|_| ()).map_err(|error| error.to_string())
        };
        for base in ["http://localhost:11434/v1", "http://127.0.0.1:1", "http://[::1]:1"] {
            opened(AgentKind::Openai, Some(base), true).unwrap();
        }
        opened(AgentKind::Mailbox, None, true).unwrap();
        for (agent, base) in [
            (AgentKind::Openai, None),
            (AgentKind::Anthropic, None),
            (AgentKind::Openai, Some("http://localhost.example.org:11434/v1")),
            (AgentKind::Command, None),
        ] {
            assert!(opened(agent, base, false).is_ok());
            let error = opened(agent, base, true).unwrap_err();
            assert!(error.contains("--offline"), "{error}");
        }
    }
}
