//! Keeps what was found: a trace is written as soon as it diverges, and again when it has been shrunk.
//!
//! Files appear whole or not at all. Where the environment's folder can't be written, the temporary folder is tried,
//! and failing that the caller gets the text to print: a finding is never lost.

use crate::manifest::Configuration;
use crate::trace::Trace;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes a file so that it appears whole or not at all.
///
/// # Errors
/// If the folder can't be written or the disk is full.
pub fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    // A temporary file is readable by its owner alone; what we keep is as readable as any other file.
    use std::os::unix::fs::PermissionsExt;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Keeps a trace in `folder`, or in the temporary folder; the text if neither can be written.
///
/// # Errors
/// The text of the trace, to be printed.
pub fn keep(folder: &Path, configuration: &Configuration, trace: &Trace) -> Result<PathBuf, String> {
    let text = trace.to_text(configuration);
    let name = format!("{}.jsonl", trace.id());
    let path = folder.join(&name);
    if write_whole(&path, &text).is_ok() {
        return Ok(path);
    }
    let path = std::env::temp_dir().join(format!("lockstep-{}-{name}", trace.environment));
    if write_whole(&path, &text).is_ok() {
        return Ok(path);
    }
    Err(text)
}
