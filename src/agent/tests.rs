//! The agents against real commands, folders and servers, good and bad ones.

mod command;
mod http;
mod https;
mod mailbox;

use super::{Request, Role};
use lockstep_harness::watch::Watch;

/// A question.
fn request(round: u32) -> Request {
    Request {
        role: Role::Translate,
        module: "rules".into(),
        round,
        system: "You translate.".into(),
        prompt: "Translate this.\n".into(),
        output_tokens_max: 1000,
    }
}

/// Remembers what was told.
#[derive(Default)]
struct Heard {
    said: Vec<String>,
    begun: Vec<(String, u64)>,
    advanced: u64,
    ended: u32,
}

impl Watch for Heard {
    fn begin(&mut self, what: &str, total: u64) {
        self.begun.push((what.to_owned(), total));
    }

    fn advance(&mut self, count: u64) {
        self.advanced += count;
    }

    fn end(&mut self) {
        self.ended += 1;
    }

    fn say(&mut self, line: &str) {
        self.said.push(line.to_owned());
    }
}
