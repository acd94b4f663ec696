//! A side in its own process: descriptors 3 and 4, a deadline on each frame, its output kept in a log.
//!
//! The child leads its own process group, so that a hung tree can be ended whole.

use super::{Channel, SideError};
use command_fds::{CommandFdExt, FdMapping};
use lockstep_core::wire::{BODY_BYTES_MAX, FrameHeader, HEADER_BYTES, Verb};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How a side is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Where it runs; here if absent.
    pub folder: Option<PathBuf>,
    /// Variables on top of ours.
    pub variables: Vec<(String, String)>,
}

impl CommandLine {
    /// A command without anything special.
    pub fn new(argv: Vec<String>) -> Self {
        CommandLine { argv, folder: None, variables: Vec::new() }
    }

    /// A program without arguments.
    pub fn program(path: &Path) -> Self {
        CommandLine::new(vec![path.display().to_string()])
    }
}

/// Where a side's output goes.
#[derive(Debug, Clone)]
pub struct LogFile {
    /// The file.
    pub path: PathBuf,
}

impl LogFile {
    /// A log for `role` in `folder`, emptied.
    ///
    /// # Errors
    /// If the folder can't be written.
    pub fn create(folder: &Path, role: &str) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("{}-{}.log", role.replace('/', "-"), std::process::id()));
        File::create(&path)?;
        Ok(LogFile { path })
    }

    /// The last line that is not blank, of the last 8 KiB.
    pub fn last_line(&self) -> String {
        let read = || -> io::Result<String> {
            let mut file = File::open(&self.path)?;
            let size = file.metadata()?.len();
            file.seek(SeekFrom::Start(size.saturating_sub(8192)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("(it printed nothing)").trim().to_owned()
    }
}

/// A side in its own process.
pub struct Process {
    role: String,
    command: CommandLine,
    log: LogFile,
    running: Option<Running>,
}

struct Running {
    child: Child,
    stream: UnixStream,
}

impl Process {
    /// Starts the command.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start(role: &str, command: CommandLine, log: LogFile) -> Result<Self, SideError> {
        let mut process = Process { role: role.to_owned(), command, log, running: None };
        process.restart()?;
        Ok(process)
    }

    fn spawn(&self) -> io::Result<Running> {
        let (ours, theirs) = UnixStream::pair()?;
        let reading: OwnedFd = theirs.try_clone()?.into();
        let writing: OwnedFd = theirs.into();
        let output = File::options().append(true).open(&self.log.path)?;
        let mut command = Command::new(&self.command.argv[0]);
        command
            .args(&self.command.argv[1..])
            .envs(self.command.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .fd_mappings(vec![
                FdMapping { parent_fd: reading, child_fd: 3 },
                FdMapping { parent_fd: writing, child_fd: 4 },
            ])
            .map_err(|error| io::Error::other(error.to_string()))?;
        if let Some(folder) = &self.command.folder {
            command.current_dir(folder);
        }
        // The command keeps our copies of the child's descriptors; they close with it at the end of this function.
        Ok(Running { child: command.spawn()?, stream: ours })
    }

    /// The side is gone: tells how it ended, and makes sure of it.
    fn died(&mut self, verb: Verb) -> SideError {
        let status = match self.running.take() {
            Some(mut running) => {
                let patience = Instant::now() + Duration::from_millis(500);
                let status = loop {
                    match running.child.try_wait() {
                        Ok(None) if Instant::now() < patience => std::thread::sleep(Duration::from_millis(5)),
                        Ok(None) => break "closed the connection and went on running".to_owned(),
                        Ok(Some(status)) => break describe(status),
                        Err(error) => break error.to_string(),
                    }
                };
                end(running);
                status
            }
            None => "was not running".into(),
        };
        SideError::Died {
            role: self.role.clone(),
            verb: verb.name(),
            status,
            last_line: self.log.last_line(),
            log: self.log.path.display().to_string(),
        }
    }

    fn failed(&mut self, error: &io::Error, verb: Verb, deadline: Duration) -> SideError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                if let Some(running) = self.running.take() {
                    end(running);
                }
                let log = self.log.path.display().to_string();
                SideError::Hung { role: self.role.clone(), verb: verb.name(), deadline, log }
            }
            io::ErrorKind::InvalidData => {
                if let Some(running) = self.running.take() {
                    end(running);
                }
                SideError::Lying { role: self.role.clone(), what: error.to_string() }
            }
            _ => self.died(verb),
        }
    }
}

fn describe(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status  {code}"),
        (_, Some(signal)) => format!("signal       {signal}"),
        _ => status.to_string(),
    }
}

/// Ends a child and all that it started.
fn end(mut running: Running) {
    drop(running.stream);
    if let Some(pid) = Pid::from_raw(running.child.id() as i32) {
        // It may have ended by itself.
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let _ = running.child.wait();
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            end(running);
        }
    }
}

impl Channel for Process {
    fn send(&mut self, sequence: u32, verb: Verb, body: &[u8], deadline: Duration) -> Result<(), SideError> {
        if body.len() > BODY_BYTES_MAX {
            let message = format!("the request would have {} bytes; make frames smaller", body.len());
            return Err(SideError::BadRequest { role: self.role.clone(), verb: verb.name(), message });
        }
        let Some(running) = &mut self.running else { return Err(self.died(verb)) };
        let header = FrameHeader { size: body.len(), sequence, verb: verb as u8, status: 0 };
        let sent = (|| {
            running.stream.set_write_timeout(Some(deadline))?;
            running.stream.write_all(&header.encode())?;
            running.stream.write_all(body)
        })();
        sent.map_err(|error| self.failed(&error, verb, deadline))
    }

    fn receive(
        &mut self,
        sequence: u32,
        verb: Verb,
        reply: &mut Vec<u8>,
        deadline: Duration,
    ) -> Result<bool, SideError> {
        let until = Instant::now() + deadline;
        let Some(running) = &mut self.running else { return Err(self.died(verb)) };
        let received = (|| {
            let mut bytes = [0; HEADER_BYTES];
            read_until(&mut running.stream, &mut bytes, until)?;
            let header = FrameHeader::decode(&bytes)
                .map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, bad.to_string()))?;
            if header.sequence != sequence || header.verb != verb as u8 || header.status > 1 {
                let text = format!(
                    "a reply has number {}, verb {} and status {} for request {sequence}, verb {}",
                    header.sequence, header.verb, header.status, verb as u8
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            reply.resize(header.size, 0);
            read_until(&mut running.stream, reply, until)?;
            Ok(header.status == 0)
        })();
        received.map_err(|error| self.failed(&error, verb, deadline))
    }

    fn restart(&mut self) -> Result<(), SideError> {
        if let Some(running) = self.running.take() {
            end(running);
        }
        match self.spawn() {
            Ok(running) => {
                self.running = Some(running);
                Ok(())
            }
            Err(error) => Err(SideError::NotStarted {
                role: self.role.clone(),
                command: self.command.argv.join(" "),
                reason: error.to_string(),
            }),
        }
    }

    fn cpu_seconds(&self) -> Option<f64> {
        let ticks: f64 = self.processes().into_iter().filter_map(cpu_ticks).sum();
        Some(ticks / rustix::param::clock_ticks_per_second() as f64)
    }

    fn processes(&self) -> Vec<u32> {
        self.running.as_ref().map(|running| tree(running.child.id())).unwrap_or_default()
    }
}

/// A process and all that it has started: a sandbox runs its program as a child.
fn tree(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let children = children.collect::<String>();
    let below = children.split_whitespace().filter_map(|child| child.parse().ok()).flat_map(tree);
    std::iter::once(pid).chain(below).collect()
}

/// User and system time of a process, and of its children that have ended, in clock ticks.
fn cpu_ticks(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces; these are fields 14 to 17 of the whole line.
    let fields = stat.rsplit_once(") ")?.1.split(' ').skip(11).take(4);
    Some(fields.filter_map(|field| field.parse::<f64>().ok()).sum())
}

fn read_until(stream: &mut UnixStream, buffer: &mut [u8], until: Instant) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
