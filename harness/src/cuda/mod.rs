//! An environment's CUDA source as one text, the PTX that is kept of it, and whether the one was made of the other.
//!
//! A GPU's driver, the interpreter and a report of registers all start from this text. PTX stands in the repository, so
//! that it can be linted and interpreted where there is no compiler; its first lines say what it was made from.

pub mod driver;
pub mod nvrtc;
pub mod report;

use crate::keep::write_whole;
use crate::manifest::Manifest;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::{Path, PathBuf};

/// Where PTX is kept, in the environment's folder.
pub const KEPT: &str = "cuda/kernels.ptx";

/// What PTX is kept for: the oldest architecture that the compiler knows. A driver makes any newer one of it.
pub const TARGET: &str = "compute_75";

/// What else PTX is compiled for, and must be the same but for its target.
pub const TARGET_NEW: &str = "compute_90";

/// What machine code is made for, to see what kernels need: the oldest architecture and the one that we aim at.
pub const ARCHITECTURES: [&str; 2] = ["sm_75", "sm_90"];

/// The options that make Rust, the host and a GPU give the same bits.
pub const OPTIONS: [&str; 5] = ["--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true", "--std=c++17"];

/// CUDA source without includes, in one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flat {
    /// The environment.
    pub environment: String,
    /// The text; `#line` says where each part comes from.
    pub text: String,
}

impl Flat {
    /// The source of an environment; `None` where it has none.
    ///
    /// # Errors
    /// If a file can't be read.
    pub fn read(manifest: &Manifest) -> io::Result<Option<Flat>> {
        let rules = manifest.folder.join("cuda/rules.cuh");
        if !rules.is_file() {
            return Ok(None);
        }
        let headers = manifest.folder.join("../../harness/cuda");
        Ok(Some(Flat::of(&manifest.file.name, &rules, &headers)?))
    }

    /// The source that begins with `rules`, whose headers stand beside it or in `headers`.
    ///
    /// # Errors
    /// If a file can't be read.
    pub fn of(environment: &str, rules: &Path, headers: &Path) -> io::Result<Flat> {
        let mut text = String::new();
        paste(rules, headers, &mut Vec::new(), &mut text)?;
        Ok(Flat { environment: environment.to_owned(), text })
    }

    /// A hash of the text and of the options that it is compiled with.
    pub fn hash(&self) -> String {
        let mut state = Sha256::new();
        state.update(self.text.as_bytes());
        OPTIONS.iter().for_each(|option| state.update(option.as_bytes()));
        state.update(TARGET.as_bytes());
        state.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The lines before kept PTX.
    fn head(&self) -> String {
        let (environment, hash) = (&self.environment, self.hash());
        let options = OPTIONS.join(" ");
        format!(
            "// The kernels of {environment}, made by `lockstep ptx {environment}`; not to be edited.\n\
             // source sha256 {hash}\n// options {options} --gpu-architecture={TARGET}\n"
        )
    }
}

/// Appends a file, with the files that it includes in their places, each once.
fn paste(path: &Path, headers: &Path, seen: &mut Vec<PathBuf>, text: &mut String) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if seen.iter().any(|other| other == path) {
        return Ok(());
    }
    seen.push(path.to_owned());
    *text += &format!("#line 1 \"{name}\"\n");
    for (i, line) in std::fs::read_to_string(path)?.lines().enumerate() {
        let included = line.trim().strip_prefix("#include \"").and_then(|rest| rest.strip_suffix('"'));
        match included {
            Some(included) => {
                let beside = path.with_file_name(included);
                let found = if beside.is_file() { beside } else { headers.join(included) };
                paste(&found, headers, seen, text)?;
                *text += &format!("#line {} \"{name}\"\n", i + 2);
            }
            None if line.trim() == "#pragma once" => *text += "\n",
            None => {
                *text += line;
                *text += "\n";
            }
        }
    }
    Ok(())
}

/// How kept PTX stands to the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// It was made from it.
    Fresh,
    /// It is missing, or was made from another one.
    Stale(String),
}

/// Whether the kept PTX was made from the source that is there now.
///
/// # Errors
/// If a file can't be read.
pub fn kept(manifest: &Manifest) -> io::Result<Option<Kept>> {
    let Some(flat) = Flat::read(manifest)? else { return Ok(None) };
    let path = manifest.folder.join(KEPT);
    let hint = format!("(hint: lockstep ptx {})", manifest.file.name);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Some(Kept::Stale(format!("{} is missing\n{hint}", path.display()))));
        }
        Err(error) => return Err(error),
    };
    Ok(Some(match text.starts_with(&flat.head()) {
        true => Kept::Fresh,
        false => Kept::Stale(format!("{} was made from other source than what is there\n{hint}", path.display())),
    }))
}

/// What became of a compilation for the repository.
#[derive(Debug, Clone, Serialize)]
pub struct Made {
    /// The environment.
    pub environment: String,
    /// The compiler.
    pub compiler: String,
    /// Seconds of one compilation to PTX.
    pub seconds: f64,
    /// Bytes of PTX.
    pub bytes: usize,
    /// Whether what was kept is what was made now.
    pub was_the_same: bool,
    /// What the linter says.
    pub findings: Vec<lockstep_ptx::Finding>,
}

/// Compiles the source anew and compares with what is kept, or replaces it.
///
/// # Errors
/// If it does not compile, or what is made differs between architectures in more than its target.
pub fn make(manifest: &Manifest, nvrtc: &nvrtc::Nvrtc, replace: bool) -> Result<Made, nvrtc::NvrtcError> {
    let io = |error: io::Error| nvrtc::NvrtcError::Files(error.to_string());
    let flat = Flat::read(manifest).map_err(io)?;
    let flat = flat.ok_or_else(|| {
        nvrtc::NvrtcError::Files(format!("{} has no CUDA source (cuda/rules.cuh)", manifest.file.name))
    })?;
    let began = std::time::Instant::now();
    let ptx = nvrtc.ptx(&flat, TARGET)?;
    let seconds = began.elapsed().as_secs_f64();
    let newer = nvrtc.ptx(&flat, TARGET_NEW)?;
    let without_target = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with(".target"));
        lines.collect::<Vec<_>>().join("\n")
    };
    if without_target(&ptx) != without_target(&newer) {
        let why = format!("the PTX for {TARGET} and for {TARGET_NEW} differ in more than their target");
        return Err(nvrtc::NvrtcError::Files(why));
    }
    let path = manifest.folder.join(KEPT);
    let text = flat.head() + ptx.trim_end() + "\n";
    let was_the_same = std::fs::read_to_string(&path).is_ok_and(|kept| kept == text);
    if replace && !was_the_same {
        write_whole(&path, &text).map_err(io)?;
    }
    let module = lockstep_ptx::parse(&text).map_err(|error| nvrtc::NvrtcError::Files(error.to_string()))?;
    Ok(Made {
        environment: manifest.file.name.clone(),
        compiler: nvrtc.version.clone(),
        seconds,
        bytes: text.len(),
        was_the_same,
        findings: lockstep_ptx::lint(&module),
    })
}
