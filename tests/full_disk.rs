//! A finding survives a full disk, where this machine lets a test fill one: else the row is listed as skipped.

#[expect(dead_code, reason = "the command runs in a namespace of its own; only the clone is needed")]
#[path = "common/mod.rs"]
mod common;

use libtest_mimic::{Arguments, Failed, Trial};
use std::path::Path;
use std::process::{Command, ExitCode};

const NAME: &str = "a_finding_survives_a_full_disk";
/// Mounts a disk of one page at `$1` and fills it; then runs the rest.
const SCRIPT: &str =
    "mount -t tmpfs -o size=4k tmpfs \"$1\" && head -c 4096 /dev/zero > \"$1/filler\"; shift; exec \"$@\"";

fn main() -> ExitCode {
    let trial = match in_namespace(&std::env::temp_dir(), "true", &[]).map(|output| output.status.success()) {
        Ok(true) => Trial::test(NAME, survives),
        Ok(false) => skipped("this machine allows no mount namespace, so no disk can be filled"),
        Err(_) => skipped("there is no unshare, package util-linux"),
    };
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

fn skipped(reason: &str) -> Trial {
    Trial::test(format!("{NAME} ({reason})"), || Ok(())).with_ignored_flag(true)
}

/// Runs a program where `full` is a disk without room.
fn in_namespace(full: &Path, program: &str, arguments: &[&str]) -> std::io::Result<std::process::Output> {
    Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-ec", SCRIPT, "sh"])
        .arg(full)
        .arg(program)
        .args(arguments)
        .env("TMPDIR", full)
        .current_dir(common::clone())
        .output()
}

fn survives() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let reference = folder.path().join("reference");
    std::fs::create_dir(&reference)?;
    let original = common::clone().join("references/counter");
    for name in ["counter.py", "adapter.py", "reference.toml", "adapter.c", "counter.h"] {
        std::fs::copy(original.join(name), reference.join(name))?;
    }
    let text = std::fs::read_to_string(reference.join("counter.py"))?;
    assert!(text.contains("self.value -= 1"), "counter.py no longer has the line that is edited");
    std::fs::write(reference.join("counter.py"), text.replace("self.value -= 1", "self.value -= 2"))?;
    let full = folder.path().join("full");
    std::fs::create_dir(&full)?;
    let (reference, traces) = (reference.display().to_string(), full.display().to_string());
    let arguments = ["verify", "counter", "-c", "default", "--seed", "7", "--steps", "2000", "--reference", &reference];
    let output =
        in_namespace(&full, env!("CARGO_BIN_EXE_lockstep"), &[&arguments[..], &["--traces", &traces]].concat())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("{\"format\":\"lockstep/trace/1\""), "{text}");
    Ok(())
}
