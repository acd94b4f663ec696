//! Prepares a reference in the cache folder: once, whole, and by one process at a time.

use super::{Reference, Tools};
use crate::side::CommandLine;
use crate::watch::Watch;
use etcetera::BaseStrategy;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why a reference can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// `reference.toml` can't be read.
    #[error("the reference {} is not valid: {message}\n(hint: see references/README.md for what it holds)", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// There is no such adapter.
    #[error("the reference {reference} has no adapter {name:?}, only {known}")]
    NoAdapter {
        /// The reference.
        reference: String,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A tool is missing.
    #[error(
        "the reference {reference} needs {tool}, which is not on this machine\n(hint: lockstep doctor says what to type)"
    )]
    NoTool {
        /// The reference.
        reference: String,
        /// The tool.
        tool: String,
    },
    /// The cache folder can't be written.
    #[error("the cache folder {} can't be written: {source}\n(hint: set LOCKSTEP_CACHE to a folder that can)", path.display())]
    Cache {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A step failed.
    #[error("the reference {reference} could not be prepared: {step}\n{output}")]
    Step {
        /// The reference.
        reference: String,
        /// What was being done.
        step: String,
        /// The end of what it printed.
        output: String,
        /// Whether the step says that this machine can't have the reference, by ending with [`UNAVAILABLE`].
        unavailable: bool,
    },
}

/// How a step of `prepare` ends that finds no network, or nothing that was built for this machine.
pub const UNAVAILABLE: i32 = 69;

/// A reference that is ready to be started.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// How it is started.
    pub command: CommandLine,
    /// The adapter's name.
    pub adapter: String,
    /// A hash of all that it was made from.
    pub hash: String,
    /// Where its prepared files are.
    pub folder: PathBuf,
}

/// Where things are kept between runs: `LOCKSTEP_CACHE`, else `lockstep` in the user's cache folder.
pub fn cache_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("LOCKSTEP_CACHE").filter(|folder| !folder.is_empty()) {
        return folder.into();
    }
    let base = etcetera::choose_base_strategy().map(|strategy| strategy.cache_dir());
    base.unwrap_or_else(|_| std::env::temp_dir()).join("lockstep")
}

/// Makes the reference ready, if it is not yet.
///
/// # Errors
/// If a tool is missing, a step fails (offline, for example), or the cache can't be written.
pub fn prepare(
    reference: &Reference,
    adapter: Option<&str>,
    tools: &Tools,
    watch: &mut dyn Watch,
) -> Result<Prepared, PrepareError> {
    let (adapter_name, adapter) = reference.adapter(adapter)?;
    let name = &reference.file.name;
    let texts = adapter.prepare.iter().flat_map(|step| &step.argv).chain(&adapter.argv);
    let all: String = texts.map(String::as_str).collect::<Vec<_>>().join(" ");
    for (hole, tool, missing) in [("{python}", &tools.python, "Python 3"), ("{cc}", &tools.cc, "a C compiler")] {
        if all.contains(hole) && tool.is_none() {
            return Err(PrepareError::NoTool { reference: name.clone(), tool: missing.to_owned() });
        }
    }
    if let Some(tool) = adapter.lacks() {
        return Err(PrepareError::NoTool { reference: name.clone(), tool: tool.to_owned() });
    }
    let cache = cache_folder();
    let in_cache = |source| PrepareError::Cache { path: cache.clone(), source };
    let references = cache.join("references");
    std::fs::create_dir_all(&references).map_err(in_cache)?;
    let hash = hash(reference, tools, &all).map_err(in_cache)?;
    let mut place = format!("{name}-{adapter_name}-{}", &hash[..16]);
    if adapter.holds_paths {
        let home = reference.folder.canonicalize().unwrap_or_else(|_| reference.folder.clone());
        let home = Sha256::digest(home.as_os_str().as_encoded_bytes());
        home[..4].iter().for_each(|byte| place += &format!("{byte:02x}"));
    }
    let folder = references.join(place);
    let holes = holes(reference, tools, &folder);
    if !folder.join(DONE).exists() {
        let lock = File::create(references.join(format!("{name}-{adapter_name}.lock"))).map_err(in_cache)?;
        if lock.try_lock().is_err() {
            watch.say(&format!("another run is preparing the reference {name}; waiting for it"));
            lock.lock().map_err(in_cache)?;
        }
        // The other run may have done it meanwhile.
        if !folder.join(DONE).exists() {
            make(reference, adapter, &folder, &holes, tools.variables(), watch)?;
        }
    }
    let command = CommandLine {
        argv: adapter.argv.iter().map(|text| fill(text, &holes)).collect(),
        folder: None,
        variables: adapter
            .variables
            .iter()
            .map(|(name, text)| (name.clone(), fill(text, &holes)))
            .chain([(crate::sides::SETTING.to_owned(), adapter.setting.clone())])
            .chain([("LOCKSTEP_SDK".to_owned(), reference.sdk.join("python").display().to_string())])
            .collect(),
    };
    Ok(Prepared { command, adapter: adapter_name.to_owned(), hash, folder })
}

/// The file that says that a prepared folder is whole.
const DONE: &str = ".prepared";

fn make(
    reference: &Reference,
    adapter: &super::AdapterTable,
    folder: &Path,
    holes: &BTreeMap<&'static str, String>,
    variables: &[(&str, &str)],
    watch: &mut dyn Watch,
) -> Result<(), PrepareError> {
    let in_cache = |source| PrepareError::Cache { path: folder.to_owned(), source };
    // What a run left that was cut off is not trusted.
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(in_cache)?;
    }
    std::fs::create_dir_all(folder).map_err(in_cache)?;
    for step in &adapter.prepare {
        watch.begin(&format!("{}: {}", reference.file.name, step.say), 0);
        let argv: Vec<String> = step.argv.iter().map(|text| fill(text, holes)).collect();
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).envs(variables.iter().copied()).current_dir(folder).stdin(Stdio::null());
        let output = command.output();
        watch.end();
        let (code, text) = match output {
            Ok(output) => {
                let text = [output.stdout, output.stderr].concat();
                (output.status.code(), String::from_utf8_lossy(&text).into_owned())
            }
            Err(error) => (None, format!("{}: {error}", argv[0])),
        };
        let succeeded = code == Some(0);
        if !succeeded && !step.optional {
            let lines: Vec<&str> = text.lines().collect();
            let output = lines[lines.len().saturating_sub(12)..].join("\n");
            let (reference, step) = (reference.file.name.clone(), step.say.clone());
            return Err(PrepareError::Step { reference, step, output, unavailable: code == Some(UNAVAILABLE) });
        }
        if !succeeded {
            watch.say(&format!("{} did not work; going on without it", step.say));
        }
    }
    std::fs::write(folder.join(DONE), "").map_err(in_cache)
}

/// The builds that `lockstep bench` times, made where they are not there yet; those whose compiler is missing are left out.
///
/// # Errors
/// If one does not compile.
pub fn bench_builds(
    reference: &Reference,
    prepared: &Prepared,
    tools: &Tools,
    watch: &mut dyn Watch,
) -> Result<Vec<super::BenchBuild>, PrepareError> {
    let (_, adapter) = reference.adapter(Some(&prepared.adapter))?;
    let holes = holes(reference, tools, &prepared.folder);
    let mut builds = Vec::new();
    for row in &adapter.bench {
        if let Some(needs) = &row.needs
            && super::tools::ask(Path::new(needs), &["--version"]).is_none()
        {
            watch.say(&format!("{needs} is not on this machine: {} is left out", row.name));
            continue;
        }
        if !row.build.is_empty() {
            watch.begin(&format!("building {}", row.name), 0);
            let argv: Vec<String> = row.build.iter().map(|text| fill(text, &holes)).collect();
            let output = Command::new(&argv[0]).args(&argv[1..]).stdin(Stdio::null()).output();
            watch.end();
            let failed = |output: String| PrepareError::Step {
                reference: reference.file.name.clone(),
                step: format!("building {}", row.name),
                output,
                unavailable: false,
            };
            let output = output.map_err(|error| failed(format!("{}: {error}", argv[0])))?;
            if !output.status.success() {
                return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
            }
        }
        let argv = row.argv.iter().map(|text| fill(text, &holes)).collect();
        builds.push(super::BenchBuild { argv, ..row.clone() });
    }
    Ok(builds)
}

fn holes(reference: &Reference, tools: &Tools, folder: &Path) -> BTreeMap<&'static str, String> {
    let tool = |tool: &Option<super::Tool>| tool.as_ref().map_or(String::new(), |tool| tool.path.display().to_string());
    BTreeMap::from([
        ("{python}", tool(&tools.python)),
        ("{cc}", tool(&tools.cc)),
        ("{here}", reference.folder.display().to_string()),
        ("{sdk}", reference.sdk.display().to_string()),
        ("{prepared}", folder.display().to_string()),
    ])
}

fn fill(text: &str, holes: &BTreeMap<&'static str, String>) -> String {
    holes.iter().fold(text.to_owned(), |text, (hole, value)| text.replace(hole, value))
}

/// Over the reference's folder, the SDKs, the tools and the commands.
fn hash(reference: &Reference, tools: &Tools, commands: &str) -> io::Result<String> {
    let mut state = Sha256::new();
    state.update(commands.as_bytes());
    for tool in [&tools.python, &tools.cc].into_iter().flatten() {
        state.update(tool.path.as_os_str().as_encoded_bytes());
        state.update(tool.version.as_bytes());
    }
    // An adapter in C is not made anew when the SDK for Python changes.
    let parts = ["c", "node", "python"].into_iter().filter(|part| commands.contains(&format!("{{sdk}}/{part}")));
    let mut folders: Vec<PathBuf> = parts.map(|part| reference.sdk.join(part)).collect();
    if folders.is_empty() {
        folders.push(reference.sdk.clone());
    }
    folders.push(reference.folder.clone());
    for folder in &folders {
        for path in files_below(folder)? {
            let relative = path.strip_prefix(folder).unwrap_or(&path);
            state.update(relative.as_os_str().as_encoded_bytes());
            let mut bytes = Vec::new();
            File::open(&path)?.read_to_end(&mut bytes)?;
            state.update((bytes.len() as u64).to_le_bytes());
            state.update(&bytes);
        }
    }
    // What is compiled from files of the user elsewhere is compiled anew when one of them changes.
    for path in reference.file.model_may_read.iter().filter(|entry| !entry.starts_with('{')) {
        let path = reference.folder.join(path);
        if !path.starts_with(&reference.folder) || path.components().any(|part| part.as_os_str() == "..") {
            state.update(std::fs::read(path).unwrap_or_default());
        }
    }
    Ok(state.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The files below a folder in a fixed order, without what Python leaves behind and without documentation.
pub(crate) fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name == "__pycache__" || name == "tests" || name.starts_with('.') || name.ends_with(".md") {
                continue;
            }
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}
