//! Each mechanism that confines candidates, tried with a real program that attempts what it must not be able to do: TCP,
//! UDP, sockets, files of the user, signals, processes, memory, file size, variables. As whoever runs the tests, and as
//! a user without rights where that is root.

use libtest_mimic::{Arguments, Failed, Trial};
use std::process::{Command, ExitCode, Output};

const LOCKSTEP: &str = env!("CARGO_BIN_EXE_lockstep");

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for mechanism in ["bubblewrap", "namespaces", "landlock"] {
        let name = format!("{mechanism}_closes_a_candidate_in");
        trials.push(row(name, broken(&[], mechanism), move || closes(&[], mechanism)));
        let missing = unprivileged_lacks().or_else(|| broken(&UNPRIVILEGED, mechanism));
        let name = format!("{mechanism}_closes_a_candidate_in_for_a_user_without_rights");
        trials.push(row(name, missing, move || closes(&UNPRIVILEGED, mechanism)));
    }
    trials.push(Trial::test("without_a_mechanism_the_probe_sees_that_nothing_is_closed", open));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// How a command runs as nobody.
const UNPRIVILEGED: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

fn row(name: String, missing: Option<String>, test: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    match missing {
        None => Trial::test(name, test),
        Some(reason) => Trial::test(format!("{name} ({reason})"), || Ok(())).with_ignored_flag(true),
    }
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

fn unprivileged_lacks() -> Option<String> {
    let words = [&UNPRIVILEGED[1..], &[LOCKSTEP, "--version"]].concat();
    let lacks = "only root becomes another user, who must be able to start lockstep";
    (!runs(UNPRIVILEGED[0], &words)).then(|| lacks.to_owned())
}

/// Why a mechanism does not work at all: kernels and containers differ in what they allow.
fn broken(before: &[&str], mechanism: &str) -> Option<String> {
    let output = holds(before, mechanism).ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.contains("does not work here"))?;
    Some(line.trim().to_owned())
}

fn holds(before: &[&str], mechanism: &str) -> Result<Output, Failed> {
    let words = [before, &[LOCKSTEP, "__sandbox", "holds", mechanism]].concat();
    Ok(Command::new(words[0]).args(&words[1..]).output()?)
}

fn closes(before: &[&str], mechanism: &str) -> Result<(), Failed> {
    let output = holds(before, mechanism)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("no TCP") && text.contains("no UDP") && text.contains("your files can't be read"), "{text}");
    Ok(())
}

fn open() -> Result<(), Failed> {
    let output = holds(&[], "none")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("TCP CONNECTIONS CAN BE MADE") && text.contains("YOUR FILES CAN BE READ"), "{text}");
    Ok(())
}
