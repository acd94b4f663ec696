//! `lockstep schema`: prints the JSON Schema of a format; those in `docs/schemas/` come from it.

use super::print_json;
use crate::exit::{Exit, Failure};
use lockstep_harness::certificate::Certificate;
use lockstep_harness::manifest::ManifestFile;
use lockstep_harness::reference::ReferenceFile;
use lockstep_harness::side::Hello;
use lockstep_harness::trace::Line;

/// Print the JSON Schema of a format
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:\n  lockstep schema manifest > docs/schemas/manifest.json")]
pub struct Arguments {
    /// The format
    format: Format,
}

#[derive(clap::ValueEnum, Debug, Clone, Copy)]
enum Format {
    /// Both messages of the protocol's `hello`
    Hello,
    /// env.toml
    Manifest,
    /// reference.toml
    Reference,
    /// A line of a trace file
    Trace,
    /// certificate.json
    Certificate,
}

/// Runs the verb.
pub fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let schema = match arguments.format {
        Format::Hello => schemars::schema_for!(Hello),
        Format::Manifest => schemars::schema_for!(ManifestFile),
        Format::Reference => schemars::schema_for!(ReferenceFile),
        Format::Trace => schemars::schema_for!(Line),
        Format::Certificate => schemars::schema_for!(Certificate),
    };
    print_json(schema.as_value())?;
    Ok(Exit::Agree)
}
