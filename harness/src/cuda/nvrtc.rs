//! NVRTC, the compiler of CUDA source, loaded while Lockstep runs: nothing of CUDA is needed to build it.
//!
//! Its library looks for a second one by name only, so that one is loaded first, by its path. A missing library is an
//! error that says what to type.

use super::{Flat, OPTIONS};
use crate::reference::{Tools, cache_folder};
use libloading::Library;
use serde::Serialize;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::ptr::null;

/// The version in `harness/cuda/nvrtc.lock`.
pub const PINNED: &str = "13.0.88";
const LOCK: &str = include_str!("../../cuda/nvrtc.lock");
const LIBRARY: &str = "libnvrtc.so.13";
const BUILTINS: &str = "libnvrtc-builtins.so.13";

/// Why there is no PTX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum NvrtcError {
    /// The compiler is not on this machine.
    #[error(
        "the CUDA compiler {LIBRARY} is not on this machine; looked in {0}\n(hint: lockstep doctor --fix fetches NVRTC {PINNED} from PyPI, 90 MB; or set LOCKSTEP_NVRTC to the folder of an installed one)"
    )]
    Missing(String),
    /// It is there and can't be used.
    #[error(
        "the CUDA compiler in {folder} can't be used: {why}\n(hint: set LOCKSTEP_NVRTC to the folder of NVRTC 13.0)"
    )]
    Unusable {
        /// Where it is.
        folder: String,
        /// What it said.
        why: String,
    },
    /// The source does not compile.
    #[error("the CUDA source of {environment} does not compile\n{log}")]
    DoesNotCompile {
        /// The environment.
        environment: String,
        /// What the compiler said.
        log: String,
        /// The same, line by line.
        diagnostics: Vec<Diagnostic>,
    },
    /// A file can't be read or written, or what came out is not what was expected.
    #[error("{0}")]
    Files(String),
}

/// One thing that the compiler said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file, such as `rules.cuh`.
    pub file: String,
    /// Its line.
    pub line: u32,
    /// Whether it is an error, else a warning or remark.
    pub error: bool,
    /// What it says.
    pub message: String,
}

/// A loaded compiler.
pub struct Nvrtc {
    library: Library,
    _builtins: Option<Library>,
    /// Its version, such as `NVRTC 13.0`.
    pub version: String,
    /// Where it was found.
    pub folder: PathBuf,
}

type Program = *mut c_void;

/// The folders in which the compiler is looked for, in this order: one that was given, that of the pinned wheel, those
/// of installed toolkits.
pub fn folders(given: Option<&Path>) -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = given.map(Path::to_owned).or_else(|| variable("LOCKSTEP_NVRTC")) {
        return vec![folder];
    }
    let mut folders = vec![wheel_folder().join("nvidia/cu13/lib")];
    folders.extend(["CUDA_HOME", "CUDA_PATH"].iter().filter_map(|name| Some(variable(name)?.join("lib64"))));
    folders.extend(["/usr/local/cuda/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib64"].map(PathBuf::from));
    folders
}

/// Where the pinned wheel is unpacked.
fn wheel_folder() -> PathBuf {
    cache_folder().join(format!("nvrtc-{PINNED}"))
}

/// Fetches the pinned wheel into the cache folder, checked against its hash, unless it is there.
///
/// # Errors
/// If there is no Python, no network, or another file than the one that is pinned.
pub fn fetch(tools: &Tools) -> Result<PathBuf, String> {
    let folder = wheel_folder();
    if folder.is_dir() {
        return Ok(folder);
    }
    let python = tools.python.as_ref().ok_or("Python is needed to fetch it\n(hint: apt install python3-venv)")?;
    std::fs::create_dir_all(cache_folder()).map_err(|error| error.to_string())?;
    let partial = tempfile::tempdir_in(cache_folder()).map_err(|error| error.to_string())?;
    let (venv, lock, target) =
        (partial.path().join("venv"), partial.path().join("nvrtc.lock"), partial.path().join("wheel"));
    std::fs::write(&lock, LOCK).map_err(|error| error.to_string())?;
    run(Command::new(&python.path).args(["-m", "venv"]).arg(&venv))?;
    let pip =
        ["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--target"];
    run(Command::new(venv.join("bin/python")).args(pip).arg(&target).arg("-r").arg(&lock))?;
    match std::fs::rename(&target, &folder) {
        // Another run may have been faster.
        Err(error) if !folder.is_dir() => Err(error.to_string()),
        _ => Ok(folder),
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    Err(lines[lines.len().saturating_sub(6)..].join("\n"))
}

/// A file of a folder whose name begins like this.
fn beginning(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten();
    entries
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|own| own.to_string_lossy().starts_with(name)))
}

impl Nvrtc {
    /// Loads the compiler.
    ///
    /// # Errors
    /// If it is not on this machine or can't be used.
    pub fn find(given: Option<&Path>) -> Result<Self, NvrtcError> {
        let folders = folders(given);
        let found = folders.iter().find_map(|folder| Some((folder, beginning(folder, LIBRARY)?)));
        let Some((folder, path)) = found else {
            let looked: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
            return Err(NvrtcError::Missing(looked.join(", ")));
        };
        let unusable = |why: String| NvrtcError::Unusable { folder: folder.display().to_string(), why };
        // SAFETY: these are NVIDIA's libraries, whose initialisers do nothing but set up themselves.
        let builtins = beginning(folder, BUILTINS).map(|path| unsafe { Library::new(path) });
        let builtins = builtins.transpose().map_err(|error| unusable(error.to_string()))?;
        // SAFETY: as above.
        let library = unsafe { Library::new(&path) }.map_err(|error| unusable(error.to_string()))?;
        let (mut major, mut minor) = (0, 0);
        // SAFETY: the signature is that of nvrtc.h.
        let code = unsafe {
            let version: libloading::Symbol<'_, unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int> =
                library.get(b"nvrtcVersion\0").map_err(|error| unusable(error.to_string()))?;
            version(&mut major, &mut minor)
        };
        if code != 0 || major != 13 {
            return Err(unusable(format!("it is version {major}.{minor}, not 13")));
        }
        let folder = folder.clone();
        Ok(Nvrtc { library, _builtins: builtins, version: format!("NVRTC {major}.{minor}"), folder })
    }

    /// PTX for a target such as `compute_75`.
    ///
    /// # Errors
    /// If the source does not compile.
    pub fn ptx(&self, flat: &Flat, target: &str) -> Result<String, NvrtcError> {
        self.ptx_with(flat, &[&format!("--gpu-architecture={target}")])
    }

    /// PTX with further options, which stand in for those of [`OPTIONS`] with the same name.
    ///
    /// # Errors
    /// If the source does not compile.
    pub fn ptx_with(&self, flat: &Flat, further: &[&str]) -> Result<String, NvrtcError> {
        let (bytes, _) = self.compile(flat, further, "nvrtcGetPTXSize", "nvrtcGetPTX")?;
        let text = CStr::from_bytes_until_nul(&bytes).map(|text| text.to_string_lossy().into_owned());
        text.map_err(|_| NvrtcError::Files("NVRTC gave PTX without an end".into()))
    }

    /// Machine code for an architecture such as `sm_90`, and what the assembler says about each kernel.
    ///
    /// # Errors
    /// If the source does not compile.
    pub fn cubin(&self, flat: &Flat, architecture: &str) -> Result<(Vec<u8>, String), NvrtcError> {
        let options = [&*format!("--gpu-architecture={architecture}"), "--ptxas-options=-v"];
        self.compile(flat, &options, "nvrtcGetCUBINSize", "nvrtcGetCUBIN")
    }

    fn compile(
        &self,
        flat: &Flat,
        further: &[&str],
        size_of: &str,
        get: &str,
    ) -> Result<(Vec<u8>, String), NvrtcError> {
        let text = CString::new(flat.text.as_str())
            .map_err(|_| NvrtcError::Files(format!("the CUDA source of {} has a zero byte", flat.environment)))?;
        let name = CString::new(format!("{}.cu", flat.environment)).unwrap_or_default();
        // Warnings about unused constants say nothing: every kernel sees the whole header.
        let name_of = |option: &str| option.split('=').next().unwrap_or_default().to_owned();
        let usual = OPTIONS.iter().filter(|usual| further.iter().all(|own| name_of(own) != name_of(usual)));
        let all = usual.chain(&["--diag-suppress=177"]).chain(further);
        let options: Vec<CString> = all.map(|option| CString::new(*option).unwrap_or_default()).collect();
        let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program: Program = std::ptr::null_mut();
        let code = self.call(
            |create: unsafe extern "C" fn(
                *mut Program,
                *const c_char,
                *const c_char,
                c_int,
                *const *const c_char,
                *const *const c_char,
            ) -> c_int| {
                // SAFETY: the strings end in zero and outlive the call; there are no headers.
                unsafe { create(&mut program, text.as_ptr(), name.as_ptr(), 0, null(), null()) }
            },
            "nvrtcCreateProgram",
        )?;
        if code != 0 {
            return Err(self.unusable(format!("nvrtcCreateProgram gave {code}")));
        }
        let compiled = self.call(
            |compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int| {
                // SAFETY: the program was created, and the options outlive the call.
                unsafe { compile(program, options.len() as c_int, options.as_ptr()) }
            },
            "nvrtcCompileProgram",
        )?;
        let log = self.take(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog")?;
        let log = CStr::from_bytes_until_nul(&log).map(|log| log.to_string_lossy().into_owned()).unwrap_or_default();
        let result = match compiled {
            0 => self.take(program, size_of, get).map(|bytes| (bytes, log)),
            // NVRTC_ERROR_COMPILATION
            6 => Err(NvrtcError::DoesNotCompile {
                environment: flat.environment.clone(),
                diagnostics: diagnostics(&log),
                log,
            }),
            code => Err(self.unusable(format!("nvrtcCompileProgram gave {code}\n{log}"))),
        };
        self.call(
            |destroy: unsafe extern "C" fn(*mut Program) -> c_int| {
                // SAFETY: the program was created and is not used again.
                unsafe { destroy(&mut program) }
            },
            "nvrtcDestroyProgram",
        )?;
        result
    }

    /// One of the texts that belong to a program.
    fn take(&self, program: Program, size_of: &str, get: &str) -> Result<Vec<u8>, NvrtcError> {
        let mut size = 0usize;
        let first = self.call(
            |ask: unsafe extern "C" fn(Program, *mut usize) -> c_int| {
                // SAFETY: the program was created.
                unsafe { ask(program, &mut size) }
            },
            size_of,
        )?;
        let mut bytes = vec![0u8; size];
        let second = self.call(
            |fill: unsafe extern "C" fn(Program, *mut u8) -> c_int| {
                // SAFETY: it writes as many bytes as it has just told.
                unsafe { fill(program, bytes.as_mut_ptr()) }
            },
            get,
        )?;
        if (first, second) == (0, 0) { Ok(bytes) } else { Err(self.unusable(format!("{get} gave {second}"))) }
    }

    fn call<F: Copy>(&self, call: impl FnOnce(F) -> c_int, name: &str) -> Result<c_int, NvrtcError> {
        // SAFETY: every caller's type is the signature of that function in nvrtc.h.
        let function = unsafe { self.library.get::<F>(name.as_bytes()) };
        let function = *function.map_err(|error| self.unusable(error.to_string()))?;
        Ok(call(function))
    }

    fn unusable(&self, why: String) -> NvrtcError {
        NvrtcError::Unusable { folder: self.folder.display().to_string(), why }
    }
}

/// What the compiler said, line by line: `rules.cuh(12): error: …`.
fn diagnostics(log: &str) -> Vec<Diagnostic> {
    let said = log.lines().filter_map(|line| {
        let (place, rest) = line.split_once("): ")?;
        let (file, number) = place.rsplit_once('(')?;
        let error = rest.starts_with("error") || rest.starts_with("catastrophic");
        let message = rest.split_once(": ").map_or(rest, |(_, message)| message).to_owned();
        Some(Diagnostic { file: file.to_owned(), line: number.parse().ok()?, error, message })
    });
    said.collect()
}
