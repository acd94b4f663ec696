//! A folder that carries accepted environments to a machine with a GPU and nothing else, and what comes back from there.
//!
//! Only the way there is trusted: results are read as if somebody had made them up, and are bound to the source in the
//! tree by its hashes.

pub mod benchmark;
pub mod pack;
pub mod results;
pub mod script;
#[cfg(test)]
mod tests;

use crate::exit::Failure;
use crate::project::Project;
use lockstep_harness::certificate::hash_source;
use lockstep_harness::cuda::Flat;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of a bundle's manifest.
pub const BUNDLE: &str = "lockstep/gpu-bundle/1";
/// The version of what comes back.
pub const RESULTS: &str = "lockstep/gpu/1";

/// `manifest.json` of a bundle.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// `lockstep/gpu-bundle/1`.
    pub format: String,
    /// The version of Lockstep that packed it.
    pub lockstep: String,
    /// The commit of the tree, with `+` if something was not committed.
    pub commit: String,
    /// The day on which it was packed, in UTC.
    pub day: String,
    /// The target that the runners were built for.
    pub target: String,
    /// The newest version of the C library that a runner asks for.
    pub libc: String,
    /// The compiler.
    pub compiler: String,
    /// The profile that the runners were built with.
    pub profile: String,
    /// What is in it.
    pub environments: BTreeMap<String, Packed>,
}

/// One environment of a bundle.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packed {
    /// What its results are about.
    pub source: Hashes,
    /// The configurations that are played.
    pub configurations: Vec<String>,
    /// The kept traces that are played.
    pub traces: usize,
    /// SHA-256 of each file.
    pub files: BTreeMap<String, String>,
    /// What is not in it, and why.
    pub left_out: Vec<String>,
}

/// Hashes of the source behind a result. The compiler is not among them: results of another one are as good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hashes {
    /// The environment's own source, in Rust and CUDA.
    pub rules: String,
    /// What it is built on.
    pub core: String,
    /// The text that the kernels are compiled from.
    pub kernels: String,
}

impl Hashes {
    /// Those of the tree; `None` without CUDA source.
    pub fn of(project: &Project) -> Result<Option<(Self, String)>, Failure> {
        let unreadable = |error: std::io::Error| Failure::usage(format!("the source can't be read: {error}"));
        let Some(flat) = Flat::read(&project.manifest).map_err(unreadable)? else { return Ok(None) };
        let core = project.source()?.join("harness/core");
        let source = hash_source(&project.manifest, &core).map_err(unreadable)?;
        Ok(Some((Hashes { rules: source.rules, core: source.core, kernels: flat.hash() }, source.compiler)))
    }

    /// What differs, in words.
    pub fn differences(&self, other: &Hashes) -> Vec<&'static str> {
        let parts = [
            (&self.rules, &other.rules, "the environment's source"),
            (&self.core, &other.core, "lockstep-core"),
            (&self.kernels, &other.kernels, "the kernels' source"),
        ];
        parts.into_iter().filter(|(own, other, _)| own != other).map(|(_, _, what)| what).collect()
    }
}
