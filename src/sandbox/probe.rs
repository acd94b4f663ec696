//! Tries for real what a confined program must not be able to do, so that nobody has to believe a setting.

use super::{Bind, Confinement, Mechanism, Purpose, Sandbox};
use crate::exit::{Exit, Failure};
use serde::{Deserialize, Serialize};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What was seen to hold; `true` is good.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holds {
    /// Why the mechanism does not work here at all.
    #[serde(default)]
    pub broken: Option<String>,
    /// No TCP connection to this machine.
    pub tcp: bool,
    /// No UDP packet.
    pub udp: bool,
    /// No socket of this machine.
    pub unix: bool,
    /// A file of the user can't be read.
    pub reading: bool,
    /// A folder of the user can't be written.
    pub writing: bool,
    /// No signal to a process outside.
    pub signals: bool,
    /// No process of its own.
    pub processes: bool,
    /// No more memory than is allowed.
    pub memory: bool,
    /// No larger file, and so no longer log, than is allowed.
    pub file_size: bool,
    /// Not one variable of the user is seen.
    pub variables: bool,
}

impl Holds {
    fn rows(&self) -> [(bool, &'static str, &'static str); 10] {
        [
            (self.tcp, "no TCP", "TCP CONNECTIONS CAN BE MADE"),
            (self.udp, "no UDP", "UDP PACKETS CAN BE SENT"),
            (self.unix, "no sockets of this machine", "SOCKETS OF THIS MACHINE CAN BE REACHED"),
            (self.reading, "your files can't be read", "YOUR FILES CAN BE READ"),
            (self.writing, "nothing can be written outside", "YOUR FILES CAN BE WRITTEN"),
            (self.signals, "no signals to other programs", "OTHER PROGRAMS CAN BE SIGNALLED"),
            (self.processes, "a runner starts no process", "PROCESSES CAN BE STARTED"),
            (self.memory, "memory is limited", "MEMORY IS NOT LIMITED"),
            (self.file_size, "files and output are limited", "FILES AND OUTPUT ARE NOT LIMITED"),
            (self.variables, "your variables are hidden", "YOUR VARIABLES CAN BE READ"),
        ]
    }

    /// Whether all of it holds.
    pub fn all(&self) -> bool {
        self.broken.is_none() && self.rows().iter().all(|(holds, ..)| *holds)
    }

    /// How much of it holds.
    pub fn count(&self) -> usize {
        if self.broken.is_some() { 0 } else { self.rows().iter().filter(|(holds, ..)| *holds).count() }
    }

    /// In plain words, what does not hold first.
    pub fn describe(&self, mechanism: Mechanism) -> Vec<String> {
        if let Some(why) = &self.broken {
            return vec![format!("{} does not work here: {why}", mechanism.name())];
        }
        let rows = self.rows();
        let open: Vec<_> = rows.iter().filter(|row| !row.0).map(|row| row.2).collect();
        let closed: Vec<_> = rows.iter().filter(|row| row.0).map(|row| row.1).collect();
        let mut lines = Vec::new();
        if !open.is_empty() {
            lines.push(format!("{}: {}", mechanism.name(), open.join(", ")));
        }
        if !closed.is_empty() {
            lines.push(format!("{}, tried just now: {}", mechanism.name(), closed.join(", ")));
        }
        lines
    }
}

/// What the confined probe is asked to try.
#[derive(clap::Args, Debug)]
pub struct Attempt {
    #[arg(long)]
    tcp: SocketAddr,
    #[arg(long)]
    udp: SocketAddr,
    #[arg(long)]
    unix: PathBuf,
    #[arg(long)]
    read: PathBuf,
    #[arg(long)]
    write: PathBuf,
    #[arg(long)]
    signal: i32,
    #[arg(long)]
    memory: u64,
    #[arg(long)]
    file: u64,
}

/// A variable that the probe must not see.
const SECRET: &str = "LOCKSTEP_PROBE_SECRET";

impl Attempt {
    /// Tries it all and prints what held.
    pub fn run(&self) -> Result<Exit, Failure> {
        let mut holds = Holds {
            broken: None,
            tcp: TcpStream::connect_timeout(&self.tcp, Duration::from_secs(1)).is_err(),
            udp: UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"probe", self.udp)).is_err(),
            unix: std::os::unix::net::UnixStream::connect(&self.unix).is_err(),
            reading: std::fs::read(&self.read).is_err(),
            writing: std::fs::write(&self.write, "probe").is_err(),
            signals: !signal(self.signal),
            processes: Command::new("/proc/self/exe").arg("--version").stdout(Stdio::null()).status().is_err(),
            memory: Vec::<u8>::new().try_reserve_exact(usize::try_from(self.memory).unwrap_or(usize::MAX)).is_err(),
            file_size: false,
            variables: std::env::var_os(SECRET).is_none(),
        };
        holds.file_size = file_is_limited(self.file);
        super::super::commands::print_json(&serde_json::to_value(&holds).unwrap_or_default())?;
        Ok(Exit::Agree)
    }
}

#[cfg(target_os = "linux")]
fn signal(pid: i32) -> bool {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn signal(_pid: i32) -> bool {
    true
}

/// Writes past the limit where there is a place to write; where there is none, the limit alone is read.
#[cfg(target_os = "linux")]
fn file_is_limited(bytes: u64) -> bool {
    use std::io::Write;
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_FSIZE);
    if limit.is_ok_and(|(_, hard)| hard > bytes) {
        return false;
    }
    let Ok(mut file) = std::fs::File::create("/tmp/lockstep-probe") else { return true };
    // SAFETY: ignoring a signal runs no code of ours; without that, the write below would end this process.
    let _ =
        unsafe { nix::sys::signal::signal(nix::sys::signal::Signal::SIGXFSZ, nix::sys::signal::SigHandler::SigIgn) };
    let block = vec![0; 1 << 20];
    let written = (0..=bytes >> 20).try_for_each(|_| file.write_all(&block));
    let _ = std::fs::remove_file("/tmp/lockstep-probe");
    written.is_err()
}

#[cfg(not(target_os = "linux"))]
fn file_is_limited(_bytes: u64) -> bool {
    false
}

/// Starts the probe in a sandbox and gathers what held, as seen from within and from outside.
pub fn measure(sandbox: &Sandbox) -> Holds {
    match attempt(sandbox) {
        Ok(holds) => holds,
        Err(why) => Holds { broken: Some(why), ..Holds::default() },
    }
}

#[cfg(not(target_os = "linux"))]
fn attempt(_sandbox: &Sandbox) -> Result<Holds, String> {
    Err("programs are confined on Linux only".into())
}

#[cfg(target_os = "linux")]
fn attempt(sandbox: &Sandbox) -> Result<Holds, String> {
    use super::enter::{file_bytes, memory_bytes};
    let text = |error: std::io::Error| error.to_string();
    if sandbox.mechanism == Mechanism::Bubblewrap && super::bubblewrap::program().is_none() {
        return Err("bwrap is not installed (apt install bubblewrap)".into());
    }
    // A file of the user, readable to everybody that comes to it.
    let folder = tempfile::tempdir().map_err(text)?;
    let secret = folder.path().join("secret");
    let (socket, written) = (folder.path().join("socket"), folder.path().join("written"));
    std::fs::write(&secret, "secret").map_err(text)?;
    open_to_all(folder.path()).map_err(text)?;
    let unix = UnixListener::bind(&socket).map_err(text)?;
    let tcp = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    let udp = UdpSocket::bind("127.0.0.1:0").map_err(text)?;
    udp.set_nonblocking(true).map_err(text)?;
    let mut victim = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().map_err(text)?;
    let program = std::fs::canonicalize(super::helper()).map_err(text)?;
    let inside = sandbox.place(&program, "/lockstep/probe");
    let confinement = Confinement {
        purpose: Purpose::Run,
        binds: vec![Bind { outside: program, inside: inside.clone(), writable: false }],
        folder: "/".into(),
        variables: vec![("PATH".into(), "/usr/bin:/bin".into())],
        passes: vec![],
    };
    let address = |address: std::io::Result<SocketAddr>| address.map(|it| it.to_string()).map_err(text);
    let mut argv = vec![inside.display().to_string(), "__sandbox".into(), "probe".into()];
    for (name, value) in [
        ("tcp", address(tcp.local_addr())?),
        ("udp", address(udp.local_addr())?),
        ("unix", socket.display().to_string()),
        ("read", secret.display().to_string()),
        ("write", written.display().to_string()),
        ("signal", victim.id().to_string()),
        ("memory", (memory_bytes(Purpose::Run) + (1 << 20)).to_string()),
        ("file", file_bytes(Purpose::Run).to_string()),
    ] {
        argv.push(format!("--{name}={value}"));
    }
    let command = sandbox.command(&confinement, &argv);
    let output = Command::new(&command.argv[0])
        .args(&command.argv[1..])
        .env(SECRET, "secret")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output();
    let signalled = matches!(victim.try_wait(), Ok(Some(_)));
    let _ = victim.kill();
    let _ = victim.wait();
    let output = output.map_err(text)?;
    let mut holds: Holds = serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.lines().last().unwrap_or("its probe said nothing").trim_start_matches("error: ").to_owned()
    })?;
    holds.udp &= udp.recv(&mut [0; 16]).is_err();
    holds.writing &= !written.exists();
    holds.signals &= !signalled;
    drop(unix);
    Ok(holds)
}

#[cfg(target_os = "linux")]
fn open_to_all(folder: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777))
}
