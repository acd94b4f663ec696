//! References: what `reference.toml` says, and how one prepares itself on first use.
//!
//! What is prepared (a virtual environment, a compiled adapter) lies in the user's cache folder under a name that is a
//! hash of everything that it was made from, so that clones share it, an edit makes a new one, and two runs at once
//! wait for each other instead of writing over each other.

mod carried;
mod prepare;
mod tools;

pub use carried::sdk_folder;
pub(crate) use prepare::files_below;
pub use prepare::{PrepareError, Prepared, bench_builds, cache_folder, prepare};
pub use tools::{Tool, Tools, find_tools};

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The version of the format.
pub const FORMAT: &str = "lockstep/reference/1";

/// `reference.toml` as it stands in the file.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReferenceFile {
    /// `lockstep/reference/1`.
    pub format: String,
    /// Its name.
    pub name: String,
    /// What is pinned.
    pub version: String,
    /// What it is and where it comes from.
    #[serde(default)]
    pub about: String,
    /// Its licence.
    pub licence: String,
    /// Files that may stand in a prompt, as far as the licence allows.
    #[serde(default)]
    pub model_may_read: Vec<String>,
    /// The adapters; one is the default.
    pub adapters: BTreeMap<String, AdapterTable>,
}

/// One adapter.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdapterTable {
    /// Whether it is used when none is named.
    #[serde(default)]
    pub default: bool,
    /// The reference setting that it runs with, for tolerances that name one.
    #[serde(default = "default_setting")]
    pub setting: String,
    /// How it is started; `{python} {cc} {here} {sdk} {prepared}` are filled in.
    pub argv: Vec<String>,
    /// Variables that it is started with, filled in likewise.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Programs that it needs beside `{python}` and `{cc}`.
    #[serde(default)]
    pub needs: Vec<String>,
    /// What is prepared keeps absolute paths of the reference's folder (a source map does), so that each copy of the
    /// folder gets one of its own.
    #[serde(default)]
    pub holds_paths: bool,
    /// What is done once, in order.
    #[serde(default)]
    pub prepare: Vec<PrepareStep>,
    /// Builds of the bare reference for `lockstep bench`.
    #[serde(default)]
    pub bench: Vec<BenchBuild>,
}

fn default_setting() -> String {
    "default".into()
}

/// A build of the bare reference, without adapter and digests.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BenchBuild {
    /// Its name in the table, with its flags.
    pub name: String,
    /// The compiler that it needs beside `{cc}`; without it the build is left out.
    #[serde(default)]
    pub needs: Option<String>,
    /// How it is built, once; filled in as `argv` of the adapter.
    #[serde(default)]
    pub build: Vec<String>,
    /// How it is run; `{steps} {lane_steps} {lanes} {options}` are filled in too. It prints JSON with `steps` and
    /// `cpu_seconds`.
    pub argv: Vec<String>,
    /// Whether it is a legal build that ratios may be taken against.
    #[serde(default)]
    pub anchor: bool,
}

/// One step of preparing.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrepareStep {
    /// What people see while it runs.
    pub say: String,
    /// The command, filled in as `argv`.
    pub argv: Vec<String>,
    /// The reference works without it.
    #[serde(default)]
    pub optional: bool,
}

/// A reference in its folder.
#[derive(Debug, Clone)]
pub struct Reference {
    /// Its folder.
    pub folder: PathBuf,
    /// The SDKs' folder.
    pub sdk: PathBuf,
    /// What stands in the file.
    pub file: ReferenceFile,
}

impl AdapterTable {
    /// The first program that it needs and that is not on this machine.
    pub fn lacks(&self) -> Option<&str> {
        let there = |program: &&String| tools::ask(Path::new(program), &["--version"]).is_some();
        self.needs.iter().find(|program| !there(program)).map(String::as_str)
    }
}

impl Reference {
    /// Reads `reference.toml` in `folder`; the SDKs are in `sdk`, or where that is no folder, those that the program
    /// carries.
    ///
    /// # Errors
    /// If the file is missing or not valid.
    pub fn read(folder: &Path, sdk: &Path) -> Result<Self, PrepareError> {
        let path = folder.join("reference.toml");
        let invalid = |message: String| PrepareError::Invalid { path: path.clone(), message };
        let text = std::fs::read_to_string(&path).map_err(|error| invalid(error.to_string()))?;
        let file: ReferenceFile = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        if file.format != FORMAT {
            return Err(invalid(format!("its format is {:?}, this lockstep reads {FORMAT:?}", file.format)));
        }
        if file.adapters.values().filter(|adapter| adapter.default).count() != 1 {
            return Err(invalid("exactly one adapter is the default".into()));
        }
        Ok(Reference { folder: folder.to_owned(), sdk: sdk_folder(sdk)?, file })
    }

    /// The adapter with this name, or the default one.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn adapter(&self, name: Option<&str>) -> Result<(&str, &AdapterTable), PrepareError> {
        let found = match name {
            Some(name) => self.file.adapters.get_key_value(name),
            None => self.file.adapters.iter().find(|(_, adapter)| adapter.default),
        };
        found.map(|(name, adapter)| (name.as_str(), adapter)).ok_or_else(|| PrepareError::NoAdapter {
            reference: self.file.name.clone(),
            name: name.unwrap_or_default().to_owned(),
            known: self.file.adapters.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }
}
