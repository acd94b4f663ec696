//! The command `lockstep`: reads arguments, runs one verb, and turns what came of it into words and an exit code.

mod agent;
mod carried;
#[cfg(test)]
#[path = "../tests/cheats/mod.rs"]
mod cheats;
mod commands;
mod config;
mod converge;
mod edit;
mod exit;
mod gpu;
mod ledger;
mod new;
mod outgoing;
mod plan;
mod project;
mod prompt;
mod provenance;
mod run_dir;
mod run_report;
mod sandbox;
mod survey;
mod terminal;
mod workshop;

use clap::{Parser, Subcommand};
use exit::Exit;
use std::process::ExitCode;

/// Verifies that a fast reinforcement-learning environment is the same as its slow reference.
///
/// Exit codes: 0 agree, 1 diverged, 2 usage, 3 reference unavailable, 4 candidate did not build, 5 budget spent,
/// 6 no GPU for backend cuda, 70 our own bug, 130 stopped by Ctrl-C.
#[derive(Parser)]
#[command(name = "lockstep", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Example:\n  lockstep verify pong\n\nColours honour NO_COLOR. Kept files go to LOCKSTEP_CACHE, else to the user's cache folder.\n\nDefaults for options stand in lockstep.toml, here or in a folder above (`[verify] steps = 100000`, `[reference] python = \"…\"`); variables such as LOCKSTEP_VERIFY_STEPS or LOCKSTEP_PYTHON win over the file, and what is typed wins over both."
)]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Converge(commands::converge::Arguments),
    Resume(commands::resume::Arguments),
    Runs(commands::runs::Arguments),
    Cost(commands::runs::CostArguments),
    New(commands::new::Arguments),
    Verify(commands::verify::Arguments),
    Replay(commands::replay::Arguments),
    Record(commands::record::Arguments),
    Fuzz(commands::fuzz::Arguments),
    Minimize(commands::minimize::Arguments),
    Bench(commands::bench::Arguments),
    Certify(commands::certify::Arguments),
    Check(commands::check::Arguments),
    Doctor(commands::doctor::Arguments),
    Ptx(commands::ptx::Arguments),
    GpuBundle(commands::gpu_bundle::Arguments),
    GpuImport(commands::gpu_import::Arguments),
    Test(commands::test::Arguments),
    Schema(commands::schema::Arguments),
    Completions(commands::completions::Arguments),
    #[command(name = "__sandbox", hide = true)]
    Sandbox(sandbox::Arguments),
}

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        anstream::eprintln!("error: lockstep itself failed: {panic}\n(hint: please report this, with what you typed)");
    }));
    let run = std::panic::catch_unwind(|| {
        let arguments: Arguments = config::arguments()?;
        match arguments.command {
            Verb::Converge(arguments) => commands::converge::run(arguments),
            Verb::Resume(arguments) => commands::resume::run(arguments),
            Verb::Runs(arguments) => commands::runs::run(arguments),
            Verb::Cost(arguments) => commands::runs::cost(arguments),
            Verb::New(arguments) => commands::new::run(arguments),
            Verb::Verify(arguments) => commands::verify::run(arguments),
            Verb::Replay(arguments) => commands::replay::run(arguments),
            Verb::Record(arguments) => commands::record::run(arguments),
            Verb::Fuzz(arguments) => commands::fuzz::run(arguments),
            Verb::Minimize(arguments) => commands::minimize::run(arguments),
            Verb::Bench(arguments) => commands::bench::run(arguments),
            Verb::Check(arguments) => commands::check::run(arguments),
            Verb::Certify(arguments) => commands::certify::run(arguments),
            Verb::Doctor(arguments) => commands::doctor::run(arguments),
            Verb::Ptx(arguments) => commands::ptx::run(arguments),
            Verb::GpuBundle(arguments) => commands::gpu_bundle::run(arguments),
            Verb::GpuImport(arguments) => commands::gpu_import::run(arguments),
            Verb::Test(arguments) => commands::test::run(arguments),
            Verb::Schema(arguments) => commands::schema::run(arguments),
            Verb::Sandbox(arguments) => sandbox::enter::run(arguments),
            Verb::Completions(arguments) => commands::completions::run(arguments),
        }
    });
    match run {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(failure)) => {
            terminal::error(&failure.message);
            failure.exit.into()
        }
        Err(_) => Exit::Bug.into(),
    }
}
