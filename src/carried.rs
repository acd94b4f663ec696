//! The source that candidates are built on, which the program carries: so that an environment needs no clone.

use include_dir::{Dir, include_dir};
use lockstep_harness::reference::cache_folder;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

static CORE: Dir = include_dir!("$CARGO_MANIFEST_DIR/harness/core/src");
static BUILD: Dir = include_dir!("$CARGO_MANIFEST_DIR/harness/build/src");
static CUDA: Dir = include_dir!("$CARGO_MANIFEST_DIR/harness/cuda");
const FOLDERS: [(&str, &Dir); 3] =
    [("harness/core/src", &CORE), ("harness/build/src", &BUILD), ("harness/cuda", &CUDA)];
const FILES: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("../Cargo.toml")),
    ("Cargo.lock", include_str!("../Cargo.lock")),
    ("harness/core/Cargo.toml", include_str!("../harness/core/Cargo.toml")),
    ("harness/build/Cargo.toml", include_str!("../harness/build/Cargo.toml")),
];

/// A folder with the parts of a clone that the workshop copies, in the cache; written once for each version of them.
///
/// # Errors
/// If the cache folder can't be written.
pub fn source() -> io::Result<PathBuf> {
    let parent = cache_folder().join("source");
    let texts = all();
    let mut state = Sha256::new();
    for (path, bytes) in &texts {
        state.update((path.len() as u64).to_le_bytes());
        state.update(path);
        state.update((bytes.len() as u64).to_le_bytes());
        state.update(bytes);
    }
    let hash: String = state.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let folder = parent.join(hash);
    if folder.is_dir() {
        return Ok(folder);
    }
    std::fs::create_dir_all(&parent)?;
    let lock = File::create(parent.join("lock"))?;
    lock.lock()?;
    // The name appears when everything is in it, so that nobody ever sees half of it.
    if !folder.is_dir() {
        let whole = tempfile::tempdir_in(&parent)?;
        for (path, bytes) in &texts {
            let path = whole.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(whole.path()))?;
            std::fs::write(path, bytes)?;
        }
        std::fs::rename(whole.keep(), &folder)?;
    }
    Ok(folder)
}

/// Every file, by its path in a clone.
fn all() -> Vec<(String, &'static [u8])> {
    let mut all: Vec<(String, &[u8])> =
        FILES.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes())).collect();
    for (above, folder) in FOLDERS {
        below(Path::new(above), folder, &mut all);
    }
    all
}

fn below(above: &Path, folder: &'static Dir, all: &mut Vec<(String, &'static [u8])>) {
    for file in folder.files() {
        all.push((above.join(file.path()).display().to_string(), file.contents()));
    }
    for inner in folder.dirs() {
        below(above, inner, all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_carried_is_what_the_clone_has() {
        let clone = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (path, bytes) in all() {
            assert!(std::fs::read(clone.join(&path)).expect("it is in the clone") == bytes, "{path} is another");
        }
        let there = all().len();
        assert!(there > 30, "{there} files");
    }
}
