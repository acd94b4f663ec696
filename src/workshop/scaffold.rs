//! What stands around a candidate's own files: generated from the manifest, so that nothing of the environment's folder
//! that a model must not see can come along.

use super::WorkshopError;
use crate::edit::Files;
use crate::plan::rules_type;
use crate::prompt::stripped_manifest;
use lockstep_harness::keep::write_whole;
use lockstep_harness::manifest::Manifest;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use toml::{Table, Value};

/// What stands around the candidate's files.
#[derive(Debug, Clone, Copy)]
pub(super) enum Around<'a> {
    /// All that makes a runner of them.
    Runner,
    /// A library of those that are there.
    Library,
    /// A runner of the functions that this file has to be probed.
    Probes(&'a str),
}

/// The feature that compiles CUDA source for the CPU.
const CUDA_HOST: &str = "cuda-host";

/// The files around a candidate.
pub(super) struct Scaffold {
    /// The environment.
    pub(super) name: String,
    rules: String,
    manifest: String,
    backends: Vec<(String, Option<String>)>,
    editable: Vec<String>,
}

impl Scaffold {
    pub(super) fn new(manifest: &Manifest, backends: &[String]) -> Result<Self, WorkshopError> {
        let path = manifest.folder.join("env.toml");
        let text = std::fs::read_to_string(&path).map_err(|source| WorkshopError::Io { path, source })?;
        let tables = &manifest.file.backends;
        let rows = backends.iter().filter_map(|name| Some((name.clone(), tables.get(name)?.feature.clone())));
        let editable = backends.iter().filter_map(|name| tables.get(name)).flat_map(|table| table.editable.clone());
        Ok(Scaffold {
            name: manifest.file.name.clone(),
            rules: rules_type(&manifest.file.name),
            manifest: stripped_manifest(&text)?,
            backends: rows.collect(),
            editable: editable.collect(),
        })
    }

    /// The cargo feature that a backend needs.
    pub(super) fn feature(&self, backend: &str) -> Option<String> {
        self.backends.iter().find(|(name, _)| name == backend)?.1.clone()
    }

    /// Copies core and what builds it, and vendors their crates.
    pub(super) fn copy(&self, root: &Path, tree: &Path, offline: bool) -> Result<(), WorkshopError> {
        let failed = |source| WorkshopError::Io { path: tree.to_owned(), source };
        let no_clone = |what: String| WorkshopError::NoClone { root: root.to_owned(), what };
        let read =
            |path: &str| std::fs::read_to_string(root.join(path)).map_err(|error| no_clone(format!("{path}: {error}")));
        for folder in ["harness/core/src", "harness/build/src", "harness/cuda"] {
            mirror(&root.join(folder), &tree.join(folder)).map_err(failed)?;
        }
        for krate in ["harness/core", "harness/build"] {
            let mut table: Table = read(&format!("{krate}/Cargo.toml"))?
                .parse()
                .map_err(|error: toml::de::Error| no_clone(error.to_string()))?;
            // Their tests stay behind, and with them what only tests need.
            table.remove("dev-dependencies");
            for kind in ["test", "bench", "example"] {
                table.remove(kind);
            }
            put(&tree.join(krate).join("Cargo.toml"), &table.to_string()).map_err(failed)?;
        }
        let clone: Table = read("Cargo.toml")?.parse().map_err(|error: toml::de::Error| no_clone(error.to_string()))?;
        let mut workspace = clone.get("workspace").and_then(Value::as_table).cloned().unwrap_or_default();
        let members =
            ["harness/core", "harness/build"].map(str::to_owned).into_iter().chain([format!("envs/{}", self.name)]);
        workspace.insert("members".into(), Value::Array(members.map(Value::String).collect()));
        if let Some(dependencies) = workspace.get_mut("dependencies").and_then(Value::as_table_mut) {
            dependencies.retain(|_, value| {
                let path = value.get("path").and_then(Value::as_str);
                path.is_none_or(|path| tree.join(path).join("Cargo.toml").is_file())
            });
        }
        let mut top = Table::new();
        top.insert("workspace".into(), Value::Table(workspace));
        if let Some(profile) = clone.get("profile") {
            let mut profile = profile.clone();
            // What is said of single packages is said of packages that are not there.
            for table in profile.as_table_mut().into_iter().flat_map(|table| table.iter_mut()) {
                table.1.as_table_mut().map(|table| table.remove("package"));
            }
            top.insert("profile".into(), profile);
        }
        put(&tree.join("Cargo.toml"), &top.to_string()).map_err(failed)?;
        let folder = tree.join("envs").join(&self.name);
        put(&folder.join("Cargo.toml"), &self.cargo_toml()).map_err(failed)?;
        self.put(&folder, &Files::new(), Around::Runner).map_err(failed)?;
        self.vendor(tree, &read("Cargo.lock")?, offline)
    }

    /// Copies the crates of the lock file beside the copy, unless they are there.
    fn vendor(&self, tree: &Path, lock: &str, offline: bool) -> Result<(), WorkshopError> {
        let failed = |source| WorkshopError::Io { path: tree.to_owned(), source };
        let wanted = crate::ledger::hash(format!("{lock}{}", self.cargo_toml()).as_bytes());
        let mark = tree.join("vendor/.of");
        if std::fs::read_to_string(&mark).is_ok_and(|there| there == wanted) {
            return Ok(());
        }
        for path in ["vendor", ".cargo"] {
            match std::fs::remove_dir_all(tree.join(path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        put(&tree.join("Cargo.lock"), lock).map_err(failed)?;
        std::fs::create_dir_all(tree.join("cargo-home")).map_err(failed)?;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let vendor = |offline: &[&str]| {
            let mut command = Command::new(&cargo);
            command.args(["vendor", "--quiet", "--versioned-dirs"]).args(offline).arg("vendor").current_dir(tree);
            command.stdin(Stdio::null()).output()
        };
        let mut output = vendor(&["--offline"]).map_err(|error| WorkshopError::Vendor(error.to_string()))?;
        if !output.status.success() && !offline {
            output = vendor(&[]).map_err(|error| WorkshopError::Vendor(error.to_string()))?;
        }
        if !output.status.success() {
            return Err(WorkshopError::Vendor(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let config = "[source.crates-io]\nreplace-with = \"vendored\"\n\n[source.vendored]\ndirectory = \"vendor\"\n";
        put(&tree.join(".cargo/config.toml"), config).map_err(failed)?;
        put(&mark, &wanted).map_err(failed)
    }

    /// Writes the scaffold and the candidate's files; editable files that the candidate does not have are removed.
    pub(super) fn put(&self, folder: &Path, files: &Files, around: Around<'_>) -> io::Result<()> {
        put(&folder.join("env.toml"), &self.manifest)?;
        put(&folder.join("build.rs"), &self.build_rs())?;
        put(&folder.join("src/lib.rs"), &self.lib_rs(files, matches!(around, Around::Runner)))?;
        let main = if let Around::Probes(file) = around { self.probes_rs(file) } else { self.main_rs() };
        put(&folder.join("src/main.rs"), &main)?;
        for path in &self.editable {
            let place = folder.join(path);
            match files.get(path) {
                Some(text) => put(&place, text)?,
                None => match std::fs::remove_file(&place) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                },
            }
        }
        Ok(())
    }

    fn cargo_toml(&self) -> String {
        let name = &self.name;
        format!(
            "[package]\nname = \"lockstep-env-{name}\"\nversion = \"0.1.0\"\nedition.workspace = true\n\n\
             [features]\n{CUDA_HOST} = [\"lockstep-build/{CUDA_HOST}\"]\n\n\
             [lib]\ncrate-type = [\"rlib\"]\n\n\
             [[bin]]\nname = \"lockstep-env-{name}\"\npath = \"src/main.rs\"\n\n\
             [dependencies]\nbytemuck.workspace = true\nlockstep-core.workspace = true\nserde_json.workspace = true\n\n\
             [build-dependencies]\nlockstep-build.workspace = true\n"
        )
    }

    fn build_rs(&self) -> String {
        format!("fn main() {{\n    lockstep_build::cuda_host({:?}, {:?});\n}}\n", self.name, self.rules)
    }

    fn lib_rs(&self, files: &Files, whole: bool) -> String {
        let mut text = "#![allow(warnings)]\n".to_owned();
        let mut there = BTreeSet::new();
        for path in &self.editable {
            let Some(module) = module_name(path) else { continue };
            if !files.contains_key(path) {
                continue;
            }
            if module == "cuda" {
                let _ = writeln!(text, "#[cfg(feature = \"{CUDA_HOST}\")]");
            }
            let _ = writeln!(text, "pub mod {module};");
            there.insert(module);
        }
        if whole {
            let _ = writeln!(text, "pub use rules::{};", self.rules);
            for (module, item) in [("state", "State"), ("world", "World")] {
                if there.contains(module) {
                    let _ = writeln!(text, "pub use {module}::{item};");
                }
            }
        }
        text
    }

    fn probes_rs(&self, file: &str) -> String {
        let module = module_name(file).unwrap_or_default();
        format!(
            "fn main() -> std::process::ExitCode {{\n    lockstep_core::probe_with(lockstep_env_{}::{module}::probe)\n}}\n",
            self.name
        )
    }

    fn main_rs(&self) -> String {
        let rules = &self.rules;
        format!(
            "use lockstep_core::{{Opened, Opener}};\nuse lockstep_env_{}::{rules};\n\n\
             fn main() -> std::process::ExitCode {{\n    let backends: &[(&str, Opener)] = &[\n        \
             (\"rust\", Opened::scalar::<{rules}>),\n        #[cfg(feature = \"{CUDA_HOST}\")]\n        \
             (\"{CUDA_HOST}\", Opened::cuda_host::<{rules}>),\n    ];\n    lockstep_core::run_with(backends, &[])\n}}\n",
            self.name
        )
    }
}

/// The module that a file in `src/` is.
pub(super) fn module_name(path: &str) -> Option<&str> {
    let module = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    (!module.contains('/')).then_some(module)
}

/// Writes a file unless it says so already, so that what did not change is not built again.
fn put(path: &Path, text: &str) -> io::Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    write_whole(path, text)
}

/// Makes `to` hold what `from` holds, and nothing else.
fn mirror(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        names.insert(entry.file_name());
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            mirror(&entry.path(), &place)?;
        } else {
            let bytes = std::fs::read(entry.path())?;
            if std::fs::read(&place).ok().as_ref() != Some(&bytes) {
                std::fs::write(&place, bytes)?;
            }
        }
    }
    for entry in std::fs::read_dir(to)? {
        let entry = entry?;
        if names.contains(&entry.file_name()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?
        } else {
            std::fs::remove_file(entry.path())?
        }
    }
    Ok(())
}
