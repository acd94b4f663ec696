//! An environment's library: found, loaded, checked, and asked what it is.
//!
//! A library that was loaded stays loaded until the process ends: threads of its own may still be in it.

use crate::Error;
use crate::lanes::Lanes;
use crate::replay;
use lockstep_core::table::{TABLE_VERSION, Table};
use lockstep_harness::manifest::{Action, Configuration, Field, Manifest};
use pyo3::exceptions::{PyFileNotFoundError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use serde_json::{Value, json};
use std::ffi::{CStr, c_char};
use std::path::PathBuf;
use std::sync::Arc;

/// What the symbol of the table begins with; the crate's name follows.
const SYMBOL: &str = "lockstep_env_v1_";

/// What was loaded.
pub struct Loaded {
    /// The table in the library.
    pub table: &'static Table,
    /// The manifest that it carries.
    pub manifest: Manifest,
}

/// The library of one environment.
#[pyclass(frozen, module = "lockstep_rl._core")]
pub struct Library {
    loaded: Arc<Loaded>,
    path: PathBuf,
    backends: Vec<String>,
}

#[pymethods]
impl Library {
    #[new]
    fn new(path: PathBuf) -> PyResult<Self> {
        if !path.is_file() {
            let path = path.display();
            return Err(PyFileNotFoundError::new_err(format!("there is no library {path}: give the path of one")));
        }
        let table = load(&path)?;
        let [manifest, backends] = [table.manifest, table.backends].map(|get| said(get()));
        let manifest = Manifest::parse(&manifest).map_err(|error| {
            Error::new_err(format!("{} carries a manifest that is not valid: {error}", path.display()))
        })?;
        let backends = serde_json::from_str(&backends)
            .map_err(|error| Error::new_err(format!("{} names its backends wrongly: {error}", path.display())))?;
        Ok(Library { loaded: Arc::new(Loaded { table, manifest }), path, backends })
    }

    #[getter]
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    #[getter]
    fn name(&self) -> &str {
        &self.loaded.manifest.file.name
    }

    #[getter]
    fn title(&self) -> &str {
        &self.loaded.manifest.file.title
    }

    #[getter]
    fn backends(&self) -> Vec<String> {
        self.backends.clone()
    }

    #[getter]
    fn configurations(&self) -> Vec<String> {
        self.loaded.manifest.configurations().iter().map(|configuration| configuration.name.clone()).collect()
    }

    /// What a configuration is, as JSON.
    fn configuration(&self, name: &str) -> PyResult<String> {
        let manifest = &self.loaded.manifest;
        let configuration = self.find(name)?;
        let playable: Vec<&String> = self
            .backends
            .iter()
            .filter(|backend| {
                let listed = manifest.file.backends.get(*backend).and_then(|row| row.configurations.as_ref());
                listed.is_none_or(|listed| listed.iter().any(|listed| listed == name))
            })
            .collect();
        // A tolerance beside `rust` says that a backend gives other results than it: that one has to be asked for by name.
        let equal = |backend: &&&String| {
            let rows = &manifest.file.tolerance;
            !rows.iter().any(|row| row.backend == ***backend && row.setting.as_deref() == Some("rust"))
        };
        let fastest = playable.iter().rev().find(equal).map(|backend| backend.as_str());
        let about = manifest.file.configurations[name].about.clone();
        let mut told = described(configuration, about, &playable, manifest.file.picture.is_some());
        told["fastest"] = fastest.unwrap_or("rust").into();
        Ok(told.to_string())
    }

    /// Opens lanes.
    #[pyo3(signature = (configuration, *, backend, lanes, mode, threads, buffers, wraps, options, files))]
    #[expect(clippy::too_many_arguments, reason = "they have names in Python")]
    fn open(
        &self,
        py: Python<'_>,
        configuration: &str,
        backend: &str,
        lanes: usize,
        mode: &str,
        threads: usize,
        buffers: usize,
        wraps: bool,
        options: &str,
        files: &str,
    ) -> PyResult<Lanes> {
        let configuration = self.find(configuration)?.clone();
        let json = |text: &str| {
            serde_json::from_str::<Value>(text).map_err(|error| PyValueError::new_err(format!("not JSON: {error}")))
        };
        let request = json!({"backend": backend, "options": json(options)?, "files": json(files)?, "threads": threads});
        Lanes::open(py, self.loaded.clone(), configuration, &request, lanes, mode, buffers, wraps)
    }

    /// Plays the text of a trace file; see `replay.rs` for what comes back.
    fn replay<'py>(&self, py: Python<'py>, backend: &str, text: &str) -> PyResult<Bound<'py, PyTuple>> {
        replay::replay(py, &self.loaded, backend, text)
    }
}

impl Library {
    fn find(&self, name: &str) -> PyResult<&Configuration> {
        self.loaded.manifest.configuration(name).map_err(|error| PyValueError::new_err(error.to_string()))
    }
}

/// The symbol of a library's table, from the name that cargo gave its file: `libNAME.so`, `libNAME.dylib`, `NAME.dll`.
fn symbol(path: &std::path::Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    format!("{SYMBOL}{}", stem.strip_prefix(std::env::consts::DLL_PREFIX).unwrap_or(&stem))
}

/// Loads the library and finds its table.
fn load(path: &std::path::Path) -> PyResult<&'static Table> {
    let shown = path.display();
    // SAFETY: loading runs what the library has for that. Whoever names a library trusts it, as the documentation says.
    let library = unsafe { libloading::Library::new(path) }
        .map_err(|error| Error::new_err(format!("{shown} can't be loaded: {error} (is it built for this machine?)")))?;
    let symbol = symbol(path);
    // SAFETY: the symbol is that of a static, so what is found is the address of one.
    let found = unsafe { library.get::<*const u32>(&symbol) };
    let words: *const u32 = match found {
        Ok(found) => *found,
        Err(_) => {
            return Err(Error::new_err(format!(
                "{shown} exports no {symbol}: it is no Lockstep environment, its crate does not call export_env!, or it has \
                 not the name that cargo gave it"
            )));
        }
    };
    // SAFETY: every version of the table begins with two words, its version and its size.
    let (version, size) = unsafe { (words.read(), words.add(1).read()) };
    if (version, size as usize) != (TABLE_VERSION, size_of::<Table>()) {
        return Err(Error::new_err(format!(
            "{shown} has version {version} of the table of functions, with {size} bytes; this lockstep_rl reads version \
             {TABLE_VERSION}, with {} bytes: build both from the same lockstep",
            size_of::<Table>()
        )));
    }
    std::mem::forget(library);
    // SAFETY: version and size say that this is the table that we know, and the library is never unloaded.
    Ok(unsafe { &*words.cast::<Table>() })
}

/// A text of the library.
pub fn said(text: *const c_char) -> String {
    // SAFETY: the table's functions give C strings that live longer than this call.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

fn described(configuration: &Configuration, about: Option<String>, backends: &[&String], picture: bool) -> Value {
    let action = match &configuration.action {
        Action::Discrete { names, mask, .. } => json!({"kind": "discrete", "names": names, "mask": mask}),
        Action::Continuous { low, high } => json!({"kind": "continuous", "low": low, "high": high}),
    };
    let fields = |fields: &[Field]| -> Vec<Value> {
        fields
            .iter()
            .map(|field| json!({"name": field.name, "dtype": field.dtype.name(), "shape": field.shape}))
            .collect()
    };
    json!({
        "name": configuration.name,
        "about": about,
        "hash": configuration.hash,
        "agents": configuration.agents,
        "width": configuration.width,
        "action": action,
        "observation": fields(&configuration.observation),
        "canonical": fields(&configuration.canonical),
        "reward": configuration.reward.name(),
        "resets": if configuration.reference_resets { "reference" } else { "harness" },
        "episode_steps_max": configuration.episode_steps_max,
        "options": configuration.options,
        "files": configuration.files,
        "backends": backends,
        "picture": picture,
        "hello": configuration.hello(),
    })
}
