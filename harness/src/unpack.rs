//! Writes files that the program carries into the cache folder, once for each version of them.

use crate::reference::cache_folder;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// The folder in the cache, below `name`, that holds these files by their paths, and nothing else. It is written by
/// whoever needs it first; its name is their hash, and appears when everything is in it.
///
/// # Errors
/// If the cache folder can't be written.
pub fn unpack(name: &str, files: &[(&str, &[u8])]) -> io::Result<PathBuf> {
    let parent = cache_folder().join(name);
    let mut state = Sha256::new();
    for part in files.iter().flat_map(|(path, bytes)| [path.as_bytes(), bytes]) {
        state.update((part.len() as u64).to_le_bytes());
        state.update(part);
    }
    let hash: String = state.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let folder = parent.join(hash);
    if folder.is_dir() {
        return Ok(folder);
    }
    std::fs::create_dir_all(&parent)?;
    let lock = File::create(parent.join("lock"))?;
    lock.lock()?;
    if !folder.is_dir() {
        let whole = tempfile::tempdir_in(&parent)?;
        for (path, bytes) in files {
            let path = whole.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(whole.path()))?;
            std::fs::write(path, bytes)?;
        }
        std::fs::rename(whole.keep(), &folder)?;
    }
    Ok(folder)
}
