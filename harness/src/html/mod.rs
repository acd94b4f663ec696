//! The HTML report: one page for one trace, with both sides next to each other, step by step.
//!
//! A page is a file that needs nothing: its style and script stand inside it, every step is already there as HTML, and
//! a content security policy forbids everything else, so that not even a hostile environment can make it send or load
//! something. The script only shows one step and hides the others.

mod escape;
mod expression;
mod film;
mod page;
mod picture;
mod table;

pub use escape::escape;
pub use film::{Film, Frame};
pub use page::{BYTES_MAX, Page};
pub use picture::Picture;

use crate::divergence::Divergence;
use crate::keep::write_whole;
use crate::manifest::Manifest;
use crate::pair::Pair;
use crate::trace::Trace;
use std::path::Path;

/// Plays a trace once more and writes its page.
///
/// # Errors
/// If the file can't be written.
pub fn write(
    path: &Path,
    manifest: &Manifest,
    pair: &mut Pair,
    trace: &Trace,
    block: &str,
    divergence: Option<&Divergence>,
) -> Result<(), String> {
    let film = Film::play(pair, trace, divergence.map(|divergence| divergence.step.unwrap_or(0)));
    let page = Page {
        manifest,
        configuration: &pair.configuration,
        sides: [&pair.reference.role, &pair.backend.role],
        tolerances: &pair.tolerances,
        trace,
        film: &film,
        block,
        divergence,
    };
    write_whole(path, &page.to_html()).map_err(|error| format!("{} can't be written: {error}", path.display()))
}

/// A name for the page of a trace: whatever the names in it hold, it stays one plain file name.
pub fn file_name(trace: &Trace) -> String {
    let plain = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' }).take(60).collect()
    };
    format!("{}-{}-{}.html", plain(&trace.environment), plain(&trace.configuration), trace.id())
}
