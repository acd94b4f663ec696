//! The pages of a new environment: a README to be filled in, what no model sees, and what the folder of traces is for.

use super::proposal::{Proposal, Request, Source};
use super::typescript;
use lockstep_harness::report::thousands;
use std::fmt::Write as _;

/// `.lockstepignore`.
pub(super) const IGNORE: &str = "\
# What no model ever sees, one pattern a line, as in .gitignore. A file of `model_may_read` that matches is an error, and so
# is one that holds what looks like a key: `lockstep check` says it, and `lockstep converge` sends nothing.
.env*
*.key
*.pem
*secret*
*credential*
";

/// `traces/README.md`.
pub(super) const TRACES: &str = "\
What was found is kept here, one trace a file, and replayed before anything new is tried. Commit these files.
";

/// `README.md`.
pub(super) fn readme(name: &str, request: &Request, proposal: &Proposal) -> String {
    let source = match &request.source {
        Source::From(entry) => format!("`{entry}`"),
        Source::Gymnasium(id) => format!("Gymnasium's {id} ({})", proposal.version),
    };
    let mut text = format!(
        "# {name}\n\nTaken from {source} by `lockstep new`. `lockstep check {name}` tries it, `lockstep converge {name}` has a model translate it.\n\n\
         | file | what |\n| --- | --- |\n\
         | `env.toml` | the manifest: what is compared, and how much is played |\n\
         | `reference/{}` | reads the environment's state and observation; yours to change |\n\
         | `reference/reference.toml` | how it is started, and what a model may read |\n\
         | `.lockstepignore` | what no model ever sees |\n\
         | `traces/` | what was found |\n\n\
         ## Fields\n\n| field | type | where |\n| --- | --- | --- |\n",
        match (&proposal.c, typescript::entry(request)) {
            (Some(_), _) => "adapter.c",
            (None, Some(_)) => "adapter.mjs",
            (None, None) => "adapter.py",
        }
    );
    for field in &proposal.canonical {
        let shape: String = field.shape.iter().map(|size| format!("[{size}]")).collect();
        let _ = writeln!(text, "| `{}` | {}{shape} | `{}` |", field.name, field.dtype, field.reference);
    }
    let _ = write!(
        text,
        "\nSeen in {} random steps, {} episodes. ",
        thousands(proposal.steps),
        thousands(proposal.episodes)
    );
    if !proposal.constants.is_empty() {
        let _ = write!(text, "Never changed, so not compared: {}. ", proposal.constants.join(", "));
    }
    for (name, _, bound) in &proposal.sizes {
        let _ = write!(text, "The list `{name}` has room for {bound}. ");
    }
    for (what, why) in &proposal.left_out {
        let _ = write!(text, "Left out: `{what}`, {why}. ");
    }
    text.truncate(text.trim_end().len());
    text.push_str("\n\n## Quirks\n\nNone is known yet.\n");
    text
}
