//! The manifest of an environment, `env.toml`: what it is compared on, and how strictly.
//!
//! The file is read strictly (an unknown key is an error that names it), checked as a whole, and then resolved into
//! [`Configuration`]s, which are what everything else works with.

mod file;
mod resolve;
mod schema;

pub use file::{
    ActionTable, Amount, BackendTable, BucketTable, CeilingTable, ConfigurationTable, FieldTable, GrainTable,
    InstructionsTable, InvariantTable, KnownDivergence, ManifestFile, PictureTable, ProbeTable, QuirkTable,
    RegionTable, ShapeTable, Statistic, TiersTable, ToleranceMode, ToleranceTable,
};
pub use resolve::{Action, Configuration, Grain, Level};
pub use schema::{Dtype, Field, Value};

use std::path::{Path, PathBuf};

/// The version of the format that this harness reads.
pub const FORMAT: &str = "lockstep/manifest/1";

/// A manifest that was read and checked.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The folder of the environment.
    pub folder: PathBuf,
    /// What stands in the file.
    pub file: ManifestFile,
    configurations: Vec<Configuration>,
}

/// Why a manifest can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file could not be read.
    #[error("the manifest {} could not be read: {source}\n(hint: name an environment in envs/, or the folder of one)", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML, or has an unknown key or a wrong type.
    #[error("the manifest {} is not valid: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What and where.
        message: String,
    },
    /// The file contradicts itself or leaves out what is needed.
    #[error("the manifest of {environment} is not valid: {message}")]
    Wrong {
        /// The environment.
        environment: String,
        /// What and where.
        message: String,
    },
    /// There is no such configuration.
    #[error("{environment} has no configuration {name:?}, only {known}")]
    NoConfiguration {
        /// The environment.
        environment: String,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
}

impl Manifest {
    /// Reads `env.toml` in `folder`.
    ///
    /// # Errors
    /// If the file can't be read or is not valid; the error names the key.
    pub fn read(folder: &Path) -> Result<Self, ManifestError> {
        let path = folder.join("env.toml");
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ManifestError::Unreadable { path: path.clone(), source })?;
        let mut manifest = Manifest::parse(&text).map_err(|error| match error {
            ManifestError::Invalid { message, .. } => ManifestError::Invalid { path, message },
            other => other,
        })?;
        manifest.folder = folder.to_owned();
        Ok(manifest)
    }

    /// Reads the text of a manifest, as a library carries it.
    ///
    /// # Errors
    /// As [`Manifest::read`].
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let invalid = |message: String| ManifestError::Invalid { path: "env.toml".into(), message };
        let file: ManifestFile = toml::from_str(text).map_err(|error| invalid(error.to_string()))?;
        if file.format != FORMAT {
            return Err(invalid(format!("its format is {:?}, this lockstep reads {FORMAT:?}", file.format)));
        }
        let configurations = resolve::resolve(&file)
            .map_err(|message| ManifestError::Wrong { environment: file.name.clone(), message })?;
        Ok(Manifest { folder: PathBuf::new(), file, configurations })
    }

    /// All configurations, `default` first, then as in the file.
    pub fn configurations(&self) -> &[Configuration] {
        &self.configurations
    }

    /// One configuration by name.
    ///
    /// # Errors
    /// If there is none; the error lists what there is.
    pub fn configuration(&self, name: &str) -> Result<&Configuration, ManifestError> {
        self.configurations.iter().find(|configuration| configuration.name == name).ok_or_else(|| {
            let known: Vec<_> = self.configurations.iter().map(|configuration| configuration.name.as_str()).collect();
            ManifestError::NoConfiguration {
                environment: self.file.name.clone(),
                name: name.to_owned(),
                known: known.join(", "),
            }
        })
    }
}
