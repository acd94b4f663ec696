//! `lockstep completions`: prints what makes a shell complete verbs and options.

use crate::exit::{Exit, Failure};
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::Write;

/// Print the completions of a shell
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  lockstep completions bash > ~/.local/share/bash-completion/completions/lockstep\n  lockstep completions zsh > ~/.zfunc/_lockstep\n  lockstep completions fish > ~/.config/fish/completions/lockstep.fish"
)]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

/// Runs the verb.
pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut crate::Arguments::command(), "lockstep", &mut script);
    match std::io::stdout().write_all(&script) {
        // Whoever reads may stop reading, as `head` does.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::usage(format!("the completions can't be written: {error}")))
        }
        _ => Ok(Exit::Agree),
    }
}
