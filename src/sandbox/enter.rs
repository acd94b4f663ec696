//! `lockstep __sandbox enter`: sets limits, closes the program in, starts it, and ends all of it with its judge.
//!
//! This process stays outside as the parent: it waits for the program and for the hang-up of what it is served on
//! (descriptor 3, or standard input), so that nothing outlives a judge that was killed.

use super::cgroup::Group;
use super::{Bind, Enter, Mechanism, Purpose, Task, bubblewrap, landlock, namespaces, seccomp};
use crate::exit::{Exit, Failure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, Uid, chdir, execve, fork};
use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// Memory that a program may have, in bytes: of one process, and of all of them where they can be counted in sum.
pub fn memory_bytes(purpose: Purpose) -> u64 {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    match purpose {
        Purpose::Build => 8192 * MIB,
        // Each thread reserves room for its stack and its share of the heap.
        Purpose::Run => (4096 + 128 * threads) * MIB,
    }
}

/// The size of one file, and so of what a runner prints.
pub fn file_bytes(purpose: Purpose) -> u64 {
    match purpose {
        Purpose::Build => 1024 * MIB,
        Purpose::Run => 16 * MIB,
    }
}

/// Processes and threads.
pub fn processes(purpose: Purpose) -> u64 {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    match purpose {
        Purpose::Build => 256 + 32 * threads,
        Purpose::Run => 32 + 4 * threads,
    }
}

/// Runs the hidden verb.
pub fn run(arguments: super::Arguments) -> Result<Exit, Failure> {
    match arguments.task {
        Task::Probe(attempt) => attempt.run(),
        Task::Holds { mechanism } => {
            let tried = super::Sandbox::try_out(mechanism);
            for line in tried.describe() {
                anstream::println!("{line}");
            }
            Ok(if tried.closes() { Exit::Agree } else { Exit::Diverged })
        }
        Task::Enter(enter) => {
            let code = Cell::new(enter).and_then(|cell| cell.start());
            match code {
                Ok(code) => std::process::exit(code),
                Err(message) => {
                    Err(Failure::usage(format!("a program could not be confined: {message}\n(hint: lockstep doctor)")))
                }
            }
        }
    }
}

/// A confinement, ready to be closed.
pub struct Cell {
    pub mechanism: Mechanism,
    pub purpose: Purpose,
    pub folder: PathBuf,
    pub binds: Vec<Bind>,
    pub environment: Vec<CString>,
    pub argv: Vec<CString>,
    /// The user that the program becomes, where root starts it and the mechanism can.
    pub user: Option<u32>,
}

impl Cell {
    fn new(enter: Enter) -> Result<Self, String> {
        let bind = |writable| {
            move |(outside, inside): (PathBuf, PathBuf)| {
                // Within, links of the outside lead nowhere.
                let outside = outside.canonicalize().map_err(|error| format!("{}: {error}", outside.display()))?;
                Ok(Bind { outside, inside, writable })
            }
        };
        let readable = enter.readable.into_iter().map(bind(false));
        let all = readable.chain(enter.writable.into_iter().map(bind(true)));
        let mut binds = all.collect::<Result<Vec<Bind>, String>>()?;
        // What lies within another comes after it, or that one would hide it.
        binds.sort_by_key(|bind| bind.inside.components().count());
        let passed = enter.pass.iter().filter_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?)));
        let variables = enter.variable.iter().cloned().chain(passed);
        let text = |text: String| CString::new(text).map_err(|_| "an argument holds a zero byte".to_owned());
        let environment: Result<_, String> = variables.map(text).collect();
        let argv: Result<_, String> = enter.argv.into_iter().map(text).collect();
        let root = Uid::effective().is_root() && enter.mechanism == Mechanism::Namespaces;
        Ok(Cell {
            mechanism: enter.mechanism,
            purpose: enter.purpose,
            folder: enter.folder,
            binds,
            environment: environment?,
            argv: argv?,
            user: root.then(|| user(enter.purpose)),
        })
    }

    fn start(&self) -> Result<i32, String> {
        close_others(self.purpose)?;
        if let Some(user) = self.user {
            for bind in self.binds.iter().filter(|bind| bind.writable) {
                hand_over(&bind.outside, user).map_err(|error| format!("{}: {error}", bind.outside.display()))?;
            }
        }
        let group = Uid::effective().is_root().then(|| Group::join(self.purpose));
        nix::sys::prctl::set_child_subreaper(true).map_err(failed("prctl"))?;
        if self.mechanism == Mechanism::Namespaces {
            namespaces::unshare()?;
        }
        // SAFETY: this process has one thread: the verb starts none before this line.
        let child = match unsafe { fork() }.map_err(failed("fork"))? {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                let message = match self.mechanism {
                    Mechanism::Bubblewrap => bubblewrap::start(self),
                    Mechanism::Namespaces => namespaces::start(self),
                    Mechanism::Landlock => landlock::close(self).and_then(|()| self.execute()),
                    Mechanism::None => self.execute(),
                };
                if let Err(message) = message {
                    eprintln!("error: a program could not be confined with {}: {message}", self.mechanism.name());
                }
                std::process::exit(125);
            }
        };
        let code = supervise(child);
        end_descendants();
        if let Some(group) = group {
            group.leave();
        }
        code
    }

    /// Limits, filter, program: the last steps, in the process that becomes the program. Returns only on failure.
    pub fn execute(&self) -> Result<(), String> {
        let folder = if self.mechanism.moves_files() { self.folder.clone() } else { existing(&self.folder) };
        chdir(&folder).map_err(failed("chdir"))?;
        self.limit(self.mechanism == Mechanism::Namespaces)?;
        nix::sys::prctl::set_no_new_privs().map_err(failed("no_new_privs"))?;
        if self.mechanism != Mechanism::None {
            for program in seccomp::programs(self.mechanism, self.purpose).unwrap_or_default() {
                seccompiler::apply_filter(&program).map_err(|error| error.to_string())?;
            }
        }
        execve(&self.argv[0], &self.argv, &self.environment)
            .map_err(|error| format!("{}: {error}", self.argv[0].to_string_lossy()))?;
        Ok(())
    }

    /// Sets the limits of this process and of all that it starts. Where processes are not counted for this program
    /// alone, those that the user has already come on top.
    pub fn limit(&self, counted_alone: bool) -> Result<(), String> {
        let others = if counted_alone { 0 } else { tasks_of_user() };
        let limits = [
            (Resource::RLIMIT_CORE, 0),
            (Resource::RLIMIT_FSIZE, file_bytes(self.purpose)),
            (Resource::RLIMIT_AS, memory_bytes(self.purpose)),
            (Resource::RLIMIT_NOFILE, 1024),
            (Resource::RLIMIT_MEMLOCK, MIB),
            (Resource::RLIMIT_NPROC, processes(self.purpose) + others),
        ];
        for (resource, limit) in limits {
            let (_, hard) = getrlimit(resource).map_err(failed("getrlimit"))?;
            setrlimit(resource, limit.min(hard), limit.min(hard)).map_err(failed("setrlimit"))?;
        }
        Ok(())
    }
}

/// For `map_err`: what failed, and why.
pub fn failed<E: std::fmt::Display>(what: &str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}

fn existing(folder: &Path) -> PathBuf {
    if folder.is_dir() { folder.to_owned() } else { "/".into() }
}

/// A user that nobody is. Builds share one, as they share folders; each runner has its own, so that its processes are
/// counted alone.
fn user(purpose: Purpose) -> u32 {
    const FIRST: u32 = 0x4C53_0000;
    match purpose {
        Purpose::Build => FIRST,
        Purpose::Run => FIRST + 1 + std::process::id() % 0xFFFE,
    }
}

/// Gives a folder with all that is in it to a user, if it is not yet theirs.
fn hand_over(path: &Path, user: u32) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    if std::fs::symlink_metadata(path)?.uid() == user {
        return Ok(());
    }
    if path.symlink_metadata()?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            hand_over(&entry?.path(), user)?;
        }
    }
    std::os::unix::fs::lchown(path, Some(user), Some(user))
}

/// Descriptors that the program must not inherit are closed when it starts.
fn close_others(purpose: Purpose) -> Result<(), String> {
    let first: libc::c_uint = if purpose == Purpose::Run { 5 } else { 3 };
    // SAFETY: the call takes three numbers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(format!("close_range: {}", std::io::Error::last_os_error())) }
}

/// Threads of this user, as a limit of processes counts them.
fn tasks_of_user() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let own = Uid::current().as_raw();
    let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let own = folders.filter(|entry| entry.metadata().is_ok_and(|data| data.uid() == own));
    own.map(|entry| std::fs::read_dir(entry.path().join("task")).map_or(0, |tasks| tasks.count() as u64)).sum()
}

/// Waits for the program, and ends it soon after whoever it serves is gone.
fn supervise(child: Pid) -> Result<i32, String> {
    // SAFETY: 0 and 3 are looked at only while they are open, and nothing here closes them.
    let watched: Vec<BorrowedFd> = [0, 3]
        .into_iter()
        .filter(|number| Path::new("/proc/self/fd").join(number.to_string()).symlink_metadata().is_ok())
        .map(|number| unsafe { BorrowedFd::borrow_raw(number) })
        .collect();
    let pid = rustix::process::Pid::from_raw(child.as_raw()).expect("a child has a number");
    let program =
        rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).map_err(failed("pidfd_open"))?;
    let mut gone: Option<Instant> = None;
    loop {
        let mut descriptors = vec![PollFd::new(std::os::fd::AsFd::as_fd(&program), PollFlags::POLLIN)];
        if gone.is_none() {
            descriptors.extend(watched.iter().map(|watched| PollFd::new(*watched, PollFlags::empty())));
        }
        let patience = if gone.is_some() { PollTimeout::from(100u16) } else { PollTimeout::NONE };
        match poll(&mut descriptors, patience) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(format!("poll: {error}")),
        }
        match waitpid(child, Some(WaitPidFlag::WNOHANG)).map_err(failed("waitpid"))? {
            WaitStatus::Exited(_, code) => return Ok(code),
            WaitStatus::Signaled(_, signal, _) => return Ok(128 + signal as i32),
            _ => {}
        }
        let hung_up = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        if gone.is_none() && descriptors[1..].iter().any(|fd| fd.revents().is_some_and(|it| it.intersects(hung_up))) {
            gone = Some(Instant::now());
        }
        if gone.is_some_and(|since| since.elapsed() > Duration::from_millis(500)) {
            // It may have ended by itself.
            let _ = kill(child, Signal::SIGKILL);
        }
    }
}

/// Ends what a program without a namespace of processes left behind; such orphans become children of this process.
fn end_descendants() {
    let until = Instant::now() + Duration::from_secs(5);
    let children = format!("/proc/self/task/{}/children", std::process::id());
    while let Ok(text) = std::fs::read_to_string(&children) {
        let pids: Vec<i32> = text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        if pids.is_empty() || Instant::now() > until {
            return;
        }
        for pid in pids {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            let _ = waitpid(Pid::from_raw(pid), None);
        }
    }
}
