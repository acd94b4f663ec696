//! A part of a clone in a folder of its own, where a test may change source and have things filed.

use crate::common::clone;
use std::path::Path;

/// A folder with as much of a clone as counter's hashes cover: nothing is ever filed in the real one.
pub fn tree() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let parts = [
        "Cargo.toml",
        "envs/counter/Cargo.toml",
        "envs/counter/env.toml",
        "envs/counter/src",
        "envs/counter/cuda",
        "harness/core/src",
        "harness/cuda",
        "harness/build/src",
    ];
    parts.iter().for_each(|part| copy(&clone().join(part), &folder.path().join(part)));
    folder
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("it is below a folder")).expect("it can be made");
    if from.is_file() {
        std::fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        return;
    }
    for entry in std::fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.expect("it can be read");
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}
