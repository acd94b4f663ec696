//! Confines what nobody has read yet: the build and the runner of a candidate.
//!
//! A confined program is started through `lockstep __sandbox …`, which sets limits, closes what can be closed with the
//! mechanism of this machine, starts the program, and ends all of it when the judge is gone.

#[cfg(target_os = "linux")]
mod bubblewrap;
#[cfg(target_os = "linux")]
mod cgroup;
#[cfg(target_os = "linux")]
pub mod enter;
#[cfg(target_os = "linux")]
mod landlock;
#[cfg(target_os = "linux")]
mod namespaces;
mod probe;
#[cfg(target_os = "linux")]
mod seccomp;

pub use probe::Holds;

use lockstep_harness::side::CommandLine;
use std::path::{Path, PathBuf};

/// What closes a confined program in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mechanism {
    /// `bwrap` makes the namespaces.
    Bubblewrap,
    /// `lockstep` makes the namespaces itself.
    Namespaces,
    /// No namespaces: Landlock for files, a filter of system calls for the rest.
    Landlock,
    /// Limits on memory, processes and file size alone; files and network stay open.
    None,
}

impl Mechanism {
    /// All, best first.
    pub const ALL: [Mechanism; 4] =
        [Mechanism::Bubblewrap, Mechanism::Namespaces, Mechanism::Landlock, Mechanism::None];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Bubblewrap => "bubblewrap",
            Mechanism::Namespaces => "namespaces",
            Mechanism::Landlock => "landlock",
            Mechanism::None => "none",
        }
    }

    /// Whether a confined program sees files elsewhere than where they are.
    pub fn moves_files(self) -> bool {
        matches!(self, Mechanism::Bubblewrap | Mechanism::Namespaces)
    }
}

/// What a confined program is for, which decides how much it may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Purpose {
    /// Compiling: starts other programs and writes files.
    Build,
    /// Serving the judge: one process that computes.
    Run,
}

/// A folder or file that a confined program sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Where it is.
    pub outside: PathBuf,
    /// Where the program sees it, if the mechanism can move it.
    pub inside: PathBuf,
    /// Whether the program may write there.
    pub writable: bool,
}

/// All that a confined program gets beside the system's own programs and libraries.
#[derive(Debug, Clone)]
pub struct Confinement {
    /// What it is for.
    pub purpose: Purpose,
    /// Files and folders.
    pub binds: Vec<Bind>,
    /// Where it starts, as it sees it.
    pub folder: PathBuf,
    /// All its variables.
    pub variables: Vec<(String, String)>,
    /// Names of variables that whoever starts it may add.
    pub passes: Vec<String>,
}

/// How candidates are confined on this machine.
#[derive(Debug, Clone)]
pub struct Sandbox {
    mechanism: Mechanism,
    holds: Option<Holds>,
}

impl Sandbox {
    /// The best mechanism of this machine, tried with a real program: the first for which everything holds, else the
    /// one for which most does.
    pub fn detect() -> Self {
        let mut best = Sandbox::none();
        for mechanism in Mechanism::ALL {
            let tried = Sandbox::try_out(mechanism);
            if tried.closes() {
                return tried;
            }
            if mechanism != Mechanism::None && tried.score() > best.score() {
                best = tried;
            }
        }
        best
    }

    /// This mechanism, tried with a real program.
    pub fn try_out(mechanism: Mechanism) -> Self {
        let untried = Sandbox { mechanism, holds: None };
        let holds = probe::measure(&untried);
        Sandbox { mechanism, holds: Some(holds) }
    }

    /// No sandbox but limits, as `--no-sandbox` asks for.
    pub fn none() -> Self {
        Sandbox { mechanism: Mechanism::None, holds: None }
    }

    /// What closes programs in.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Whether everything was seen to hold, so that source which nobody has read may run.
    pub fn closes(&self) -> bool {
        self.holds.as_ref().is_some_and(Holds::all)
    }

    /// What was seen to hold on this machine, in plain words, one line each; what does not hold says so.
    pub fn describe(&self) -> Vec<String> {
        match &self.holds {
            Some(holds) => holds.describe(self.mechanism),
            None => vec!["nothing is closed: candidates read what you can read and reach the network".into()],
        }
    }

    fn score(&self) -> usize {
        self.holds.as_ref().map_or(0, Holds::count)
    }

    /// Where a program sees what lies at `outside`.
    pub fn place(&self, outside: &Path, inside: &str) -> PathBuf {
        if self.mechanism.moves_files() { PathBuf::from(inside) } else { outside.to_owned() }
    }

    /// How a confined program is started: a command line to which more arguments of the program can be appended.
    pub fn command(&self, confinement: &Confinement, argv: &[String]) -> CommandLine {
        let text = |path: &Path| path.display().to_string();
        let mut all = vec![helper(), "__sandbox".to_owned(), "enter".to_owned()];
        let mut option = |name: &str, value: String| all.push(format!("--{name}={value}"));
        option("mechanism", self.mechanism.name().into());
        option("purpose", if confinement.purpose == Purpose::Build { "build" } else { "run" }.into());
        option("folder", text(&confinement.folder));
        for bind in &confinement.binds {
            let name = if bind.writable { "writable" } else { "readable" };
            option(name, format!("{}{SEPARATOR}{}", text(&bind.outside), text(&bind.inside)));
        }
        for (name, value) in &confinement.variables {
            option("variable", format!("{name}={value}"));
        }
        for name in &confinement.passes {
            option("pass", name.clone());
        }
        all.push("--".into());
        all.extend_from_slice(argv);
        CommandLine::new(all)
    }
}

/// Stands between the two paths of a bind, which may hold colons and equals signs.
pub(crate) const SEPARATOR: char = '\u{1f}';

/// This program, even if it was built anew or removed since it started.
fn helper() -> String {
    let itself = if cfg!(target_os = "linux") { Some(PathBuf::from("/proc/self/exe")) } else { None };
    // A unit test is another program, beside which the real one lies.
    let tests =
        std::env::current_exe().ok().filter(|path| path.parent().is_some_and(|folder| folder.ends_with("deps")));
    let beside = tests.map(|path| path.with_file_name("../lockstep"));
    beside.or(itself).unwrap_or_else(|| "lockstep".into()).display().to_string()
}

#[cfg(not(target_os = "linux"))]
pub mod enter {
    //! Elsewhere than on Linux nothing can be confined.

    use crate::exit::{Exit, Failure};

    /// Runs the hidden verb.
    pub fn run(_arguments: super::Arguments) -> Result<Exit, Failure> {
        Err(Failure::usage("programs are confined on Linux only\n(hint: --no-sandbox)"))
    }
}

/// Start a program confined (used by `lockstep` itself)
#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    pub task: Task,
}

/// What the hidden verb does.
#[derive(clap::Subcommand, Debug)]
pub enum Task {
    /// Confine and start a program
    Enter(Enter),
    /// Try, from within, what a confined program must not be able to do
    Probe(probe::Attempt),
    /// Say what holds with a mechanism on this machine; exit code 1 if not everything does
    Holds {
        /// What closes programs in
        #[arg(value_enum)]
        mechanism: Mechanism,
    },
}

/// A confinement on the command line.
#[derive(clap::Args, Debug)]
pub struct Enter {
    /// What closes it in
    #[arg(long, value_enum)]
    pub mechanism: Mechanism,
    /// What it is for
    #[arg(long, value_enum)]
    pub purpose: Purpose,
    /// Where it starts
    #[arg(long)]
    pub folder: PathBuf,
    /// A file or folder that it reads: where it is, U+001F, where it sees it
    #[arg(long, value_parser = parse_bind)]
    pub readable: Vec<(PathBuf, PathBuf)>,
    /// A folder that it writes, likewise
    #[arg(long, value_parser = parse_bind)]
    pub writable: Vec<(PathBuf, PathBuf)>,
    /// A variable, NAME=VALUE
    #[arg(long)]
    pub variable: Vec<String>,
    /// The name of a variable of ours that it keeps
    #[arg(long)]
    pub pass: Vec<String>,
    /// The program
    #[arg(last = true, required = true)]
    pub argv: Vec<String>,
}

fn parse_bind(text: &str) -> Result<(PathBuf, PathBuf), String> {
    let (outside, inside) = text.split_once(SEPARATOR).unwrap_or((text, text));
    Ok((outside.into(), inside.into()))
}
