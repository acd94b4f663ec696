//! The source that candidates are built on, which the program carries: so that an environment needs no clone.

use include_dir::{Dir, include_dir};
use lockstep_harness::unpack::unpack;
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

/// A folder with the parts of a clone that the workshop copies, in the cache.
///
/// # Errors
/// If the cache folder can't be written.
pub fn source() -> io::Result<PathBuf> {
    let all = all();
    let files: Vec<(&str, &[u8])> = all.iter().map(|(path, bytes)| (path.as_str(), *bytes)).collect();
    unpack("source", &files)
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
    use std::collections::BTreeSet;

    #[test]
    fn what_is_carried_is_what_the_clone_has() {
        let clone = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (path, bytes) in all() {
            assert!(std::fs::read(clone.join(&path)).expect("it is in the clone") == bytes, "{path} is another");
        }
        let carried: BTreeSet<String> = all().into_iter().map(|(path, _)| path).collect();
        for (folder, _) in FOLDERS {
            let mut folders = vec![clone.join(folder)];
            while let Some(folder) = folders.pop() {
                for entry in std::fs::read_dir(folder).expect("it is there").flatten() {
                    let path = entry.path();
                    if path.is_dir() {
                        folders.push(path);
                        continue;
                    }
                    let path = path.strip_prefix(clone).expect("below").display().to_string();
                    assert!(carried.contains(&path), "{path} is not carried");
                }
            }
        }
    }
}
