//! Cargo in the sandbox: with a limit on time and on what it prints, ended by Ctrl-C.

use super::WorkshopError;
use lockstep_harness::side::CommandLine;
use lockstep_harness::watch::Stop;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The longest that a build may take.
pub(super) const BUILD: Duration = Duration::from_secs(600);
/// What is kept of the compiler's output.
const OUTPUT_BYTES_MAX: usize = 200_000;
/// How often an ending build is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Cargo, ready to be started in the sandbox.
pub(super) struct Cargo<'a> {
    pub(super) command: CommandLine,
    pub(super) folder: PathBuf,
    pub(super) common: Vec<String>,
    /// What stands for what in the output: paths of the workshop become paths from the environment's folder.
    pub(super) places: Vec<(String, String)>,
    pub(super) began: Instant,
    /// How long it may take.
    pub(super) limit: Duration,
    pub(super) stop: &'a Stop,
}

impl Cargo<'_> {
    /// Runs it with these arguments, the verb first.
    ///
    /// # Errors
    /// If it does not succeed.
    pub(super) fn run(self, arguments: &[String]) -> Result<(), WorkshopError> {
        let failed = |error: std::io::Error| WorkshopError::NoCompiler(error.to_string());
        let mut child = Command::new(&self.command.argv[0])
            .args(&self.command.argv[1..])
            .args(&arguments[..1])
            .args(&self.common)
            .args(&arguments[1..])
            .envs(self.command.variables.iter().cloned())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let mut errors = child.stderr.take().expect("it was piped");
        let reader = std::thread::spawn(move || {
            let (mut kept, mut buffer) = (Vec::new(), [0; 8192]);
            // All of it is read, so that the compiler never waits; the first part is kept.
            while let Ok(count @ 1..) = errors.read(&mut buffer) {
                let room = OUTPUT_BYTES_MAX - kept.len();
                kept.extend_from_slice(&buffer[..count.min(room)]);
            }
            String::from_utf8_lossy(&kept).into_owned()
        });
        let end = |child: &mut std::process::Child| {
            if let Some(pid) = Pid::from_raw(child.id() as i32) {
                // It may have ended by itself.
                let _ = kill_process_group(pid, Signal::KILL);
            }
            let _ = child.wait();
        };
        let status = loop {
            match child.try_wait().map_err(failed)? {
                Some(status) => break status,
                None if self.stop.asked() => {
                    end(&mut child);
                    return Err(WorkshopError::Stopped);
                }
                None if self.began.elapsed() > self.limit => {
                    end(&mut child);
                    let output =
                        format!("error: the build took longer than {} s and was ended\n", self.limit.as_secs());
                    return Err(WorkshopError::DoesNotBuild { output });
                }
                None => std::thread::sleep(LOOK),
            }
        };
        let mut output = reader.join().unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        if status.code() == Some(125) || output.starts_with("error: a program could not be confined") {
            return Err(WorkshopError::NoCompiler(output));
        }
        for (long, short) in &self.places {
            output = output.replace(long, short);
        }
        Err(WorkshopError::DoesNotBuild { output })
    }
}

/// Copies a runner to a name of its own: the next build would write over it while it runs.
pub(super) fn built_runner(made: &Path, folder: &Path) -> std::io::Result<PathBuf> {
    let bytes = std::fs::read(made)?;
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("runner-{}", &crate::ledger::hash(&bytes)[..16]));
    if !path.exists() {
        let partial = tempfile::NamedTempFile::new_in(folder)?;
        std::fs::copy(made, partial.path())?;
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(partial.path(), std::fs::Permissions::from_mode(0o755))?;
        partial.persist(&path).map_err(|error| error.error)?;
    }
    Ok(path)
}

/// The folder of the toolchain that compiles candidates.
pub(super) fn sysroot() -> Result<PathBuf, WorkshopError> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(["--print", "sysroot"]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| WorkshopError::NoCompiler(error.to_string()))?;
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if path.join("bin/cargo").is_file() || path.join("bin/rustc").is_file() {
        return Ok(path);
    }
    Err(WorkshopError::NoCompiler(format!("{} holds no cargo", path.display())))
}
