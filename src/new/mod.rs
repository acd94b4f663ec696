//! `lockstep new`, the part that knows nothing of arguments: an environment of one's own is looked at, and a folder is
//! written that `check` and `converge` take.
//!
//! The looking is done in the environment's own language: in Python by the SDK (`lockstep_sdk/propose.py`), in the interpreter
//! that the environment runs in, in Node by `propose.mjs`; in C by an adapter that is written for that.

mod adapter;
pub mod c;
mod manifest;
mod pages;
mod proposal;
pub mod typescript;

pub use adapter::pin;
pub use proposal::{Draws, Proposal, Request, Source, propose};

use crate::exit::Failure;
use lockstep_harness::manifest::Manifest;
use std::path::{Component, Path, PathBuf};

/// Writes the environment's folder, whole or not at all.
///
/// # Errors
/// If it is there already or can't be written.
pub fn write(folder: &Path, name: &str, request: &Request, proposal: &Proposal) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::usage(format!(
            "{} can't be written: {error}\n(hint: go to a folder in which you may write)",
            folder.display()
        ))
    };
    let parent = folder.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(failed)?;
    let whole = tempfile::tempdir_in(parent).map_err(failed)?;
    let files = [
        ("env.toml", manifest::env_toml(name, request, proposal)),
        ("README.md", pages::readme(name, request, proposal)),
        (".lockstepignore", pages::IGNORE.to_owned()),
        ("traces/README.md", pages::TRACES.to_owned()),
    ];
    let own = match (&proposal.c, typescript::entry(request)) {
        (Some(own), _) => [
            ("reference/adapter.c", own.adapter_c(folder)),
            ("reference/reference.toml", own.reference_toml(folder, proposal)),
        ],
        (None, Some(_)) => [
            ("reference/adapter.mjs", typescript::adapter_mjs(proposal)),
            ("reference/reference.toml", typescript::reference_toml(name, folder, proposal)),
        ],
        (None, None) => [
            ("reference/adapter.py", adapter::adapter_py(folder, request, proposal)),
            ("reference/reference.toml", adapter::reference_toml(name, folder, request, proposal)),
        ],
    };
    for (path, text) in files.into_iter().chain(own) {
        let path = whole.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(whole.path())).map_err(failed)?;
        std::fs::write(path, text).map_err(failed)?;
    }
    Manifest::read(whole.path()).map_err(|error| Failure::bug(format!("the manifest that was written: {error}")))?;
    // A temporary folder is its owner's alone; this one is like any other.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(whole.path(), std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    std::fs::rename(whole.keep(), folder).map_err(failed)
}

/// The way from a folder to a file, with `..` where that is needed. Both are absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let plain = |path: &Path| path.components().filter(|part| *part != Component::CurDir).collect::<PathBuf>();
    let (from, to) = (plain(from), plain(to));
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(to.components().skip(shared)).collect()
}

/// A text in quotes, as TOML, JSON and Python take it.
fn quoted(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_from_a_folder_to_a_file_goes_up_only_as_far_as_needed() {
        let way = |from: &str, to: &str| relative(Path::new(from), Path::new(to)).display().to_string();
        assert_eq!(way("/home/me/my_env/reference", "/home/me/my_env.py"), "../../my_env.py");
        assert_eq!(way("/home/me/a/reference", "/home/me/a/src/x.py"), "../src/x.py");
        assert_eq!(way("/home/me", "/home/me/x.py"), "x.py");
    }
}
