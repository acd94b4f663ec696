//! The tools of this machine that references need: a Python, a C compiler.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Where it is.
    pub path: PathBuf,
    /// Its first line of version.
    pub version: String,
}

/// The tools, as far as they are there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tools {
    /// The Python interpreter itself, not a shim.
    pub python: Option<Tool>,
    /// The C compiler.
    pub cc: Option<Tool>,
    /// What prepares a reference is told to reach nothing beyond this machine.
    pub offline: bool,
}

/// What package managers and everything that honours a proxy are told where nothing beyond this machine may be reached:
/// port 9 discards, and nobody listens there.
const OFFLINE: [(&str, &str); 10] = [
    ("PIP_NO_INDEX", "1"),
    ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
    ("UV_OFFLINE", "1"),
    ("npm_config_offline", "true"),
    ("CARGO_NET_OFFLINE", "true"),
    ("http_proxy", "http://127.0.0.1:9"),
    ("https_proxy", "http://127.0.0.1:9"),
    ("HTTP_PROXY", "http://127.0.0.1:9"),
    ("HTTPS_PROXY", "http://127.0.0.1:9"),
    ("ALL_PROXY", "http://127.0.0.1:9"),
];

impl Tools {
    /// Variables for a command that prepares a reference.
    pub(crate) fn variables(&self) -> &'static [(&'static str, &'static str)] {
        if self.offline { &OFFLINE } else { &[] }
    }
}

/// Looks for the tools. A Python that was named wins over `LOCKSTEP_PYTHON`, an active virtual or conda environment,
/// and `python3` on the path, in this order; `CC` wins over `cc`.
pub fn find_tools(python: Option<&Path>) -> Tools {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let in_folder = |name: &str| variable(name).map(|folder| folder.join("bin/python3"));
    let python = python
        .map(Path::to_owned)
        .or_else(|| variable("LOCKSTEP_PYTHON"))
        .or_else(|| in_folder("VIRTUAL_ENV"))
        .or_else(|| in_folder("CONDA_PREFIX"))
        .unwrap_or_else(|| "python3".into());
    // The interpreter is asked where it really is: a shim would cost its start each time.
    let script = "import sys; print(sys.executable); print('Python', sys.version.split()[0])";
    let python = ask(&python, &["-c", script]).and_then(|text| {
        let mut lines = text.lines();
        Some(Tool { path: lines.next()?.into(), version: lines.next()?.to_owned() })
    });
    let cc = variable("CC").unwrap_or_else(|| "cc".into());
    let cc = ask(&cc, &["--version"])
        .map(|text| Tool { path: cc, version: text.lines().next().unwrap_or_default().to_owned() });
    Tools { python, cc, offline: false }
}

/// What a command prints, if it can be run and succeeds.
pub(crate) fn ask(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
