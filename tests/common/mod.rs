//! Runs the real `lockstep` and says what came of it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The clone.
pub fn clone() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The interpreter of this machine.
pub fn python() -> String {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let output = output.expect("the tests need python3");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Writes a file and returns its path as text.
pub fn written(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("the folder can be written");
    path.display().to_string()
}

/// A trace file with these tokens in today's configuration, and the folder that it lives in.
pub fn trace_of(environment: &str, configuration: &str, steps: &[&str]) -> (tempfile::TempDir, String) {
    let manifest = lockstep_harness::manifest::Manifest::read(&clone().join("envs").join(environment));
    let manifest = manifest.expect("the manifest is valid");
    let configuration = manifest.configuration(configuration).expect("it is there");
    let empty = lockstep_harness::trace::Trace::seeded(configuration, 1, 0, vec![]).to_text(configuration);
    let mut lines: Vec<String> = empty.lines().take(1).map(str::to_owned).collect();
    lines.extend(steps.iter().enumerate().map(|(step, tokens)| format!("{{\"step\":{step},\"tokens\":{tokens}}}")));
    lines.push(format!("{{\"end\":{}}}", steps.len()));
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = written(folder.path(), "trace.jsonl", &(lines.join("\n") + "\n"));
    (folder, path)
}

/// Runs `lockstep` in the clone.
pub fn lockstep(arguments: &[&str]) -> Run {
    command(arguments).run()
}

/// `lockstep` in the clone, before it runs.
pub fn command(arguments: &[&str]) -> Lockstep {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command.args(arguments).current_dir(clone()).env("NO_COLOR", "1").env_remove("LOCKSTEP_SEED");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Lockstep { command, shown: arguments.join(" ") }
}

/// A command that is not yet running.
pub struct Lockstep {
    command: Command,
    shown: String,
}

impl Lockstep {
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// In another folder than the clone.
    pub fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    pub fn run(self) -> Run {
        self.spawn().wait()
    }

    pub fn spawn(mut self) -> Running {
        let child = self.command.spawn().expect("lockstep was built");
        Running { child, shown: self.shown }
    }
}

/// A command that is running.
pub struct Running {
    child: Child,
    shown: String,
}

impl Running {
    pub fn interrupt(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is running");
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("it is running");
    }

    pub fn wait(self) -> Run {
        let output = self.child.wait_with_output().expect("it ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let stdout = text(&output.stdout);
        let all = format!("{}{stdout}", text(&output.stderr));
        Run { shown: self.shown, code: output.status.code(), stdout, all }
    }
}

/// What came of a command.
pub struct Run {
    shown: String,
    code: Option<i32>,
    pub stdout: String,
    all: String,
}

impl Run {
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "lockstep {} ended otherwise:\n{}", self.shown, self.all);
        assert!(!self.all.contains("panicked"), "lockstep {} panicked:\n{}", self.shown, self.all);
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.all.contains(text), "lockstep {} does not say {text:?}:\n{}", self.shown, self.all);
        self
    }
}
