//! A finding survives a full disk, where this machine lets a test fill one: else the row is listed as skipped.

#[expect(dead_code, reason = "the command runs in a namespace of its own; only the clone is needed")]
#[path = "common/mod.rs"]
mod common;

use libtest_mimic::{Arguments, Failed, Trial};
use std::path::Path;
use std::process::{Command, ExitCode};

const NAME: &str = "a_finding_survives_a_full_disk";
const LOOP: &str = "a_run_stops_before_it_asks_where_the_disk_is_full_and_goes_on_where_there_is_room";
/// Mounts a disk of one page at `$1` and fills it; then runs the rest.
const SCRIPT: &str =
    "mount -t tmpfs -o size=4k tmpfs \"$1\" && head -c 4096 /dev/zero > \"$1/filler\"; shift; exec \"$@\"";

fn main() -> ExitCode {
    let trials = match in_namespace(&std::env::temp_dir(), "true", &[]).map(|output| output.status.success()) {
        Ok(true) => vec![Trial::test(NAME, survives), Trial::test(LOOP, goes_on)],
        Ok(false) => skipped("this machine allows no mount namespace, so no disk can be filled"),
        Err(_) => skipped("there is no unshare, package util-linux"),
    };
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn skipped(reason: &str) -> Vec<Trial> {
    let row = |name| Trial::test(format!("{name} ({reason})"), || Ok(())).with_ignored_flag(true);
    vec![row(NAME), row(LOOP)]
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

/// Mounts a disk of 1 MiB at `$1`, with the manifest `$2` in it, fills it up, and has the command `$3` ask once; then makes
/// room and goes on.
const ASKS: &str = r#"
mount -t tmpfs -o size=1m tmpfs "$1"
cp "$2" "$1/env.toml"
head -c 700k /dev/zero > "$1/filler"
options="--agent command --model m --price-in 1 --price-out 1 --budget-rounds 1 --no-sandbox --reference $5"
code=0
"$3" converge "$1" --yes --backend rust $options --command "$4" || code=$?
echo "the first time: $code"
"$3" runs "$1"
rm "$1/filler"
code=0
"$3" resume "$1" "$(ls "$1/recordings")" $options --command "$4" || code=$?
echo "the second time: $code"
"#;

fn goes_on() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let (disk, asked) = (folder.path().join("counter"), folder.path().join("asked"));
    std::fs::create_dir(&disk)?;
    let plan = serde_json::json!({"modules": [{
        "name": "game", "backend": "rust", "files": ["src/world.rs", "src/state.rs", "src/rules.rs"], "depends_on": [],
        "exports": ["World", "State", "Counter"], "interface": "all", "vectors": ["build", "contract", "property", "interaction"],
    }]});
    let agent = folder.path().join("agent.sh");
    std::fs::write(&agent, format!("cat > /dev/null; echo x >> {}; echo '{plan}'\n", asked.display()))?;
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-ec", ASKS, "sh"])
        .arg(&disk)
        .arg(common::clone().join("envs/counter/env.toml"))
        .arg(env!("CARGO_BIN_EXE_lockstep"))
        .arg(format!("sh {}", agent.display()))
        .arg(common::clone().join("references/counter"))
        .current_dir(common::clone())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("the first time: 2") && text.contains("No space left on device"), "{text}");
    assert!(text.contains("0 of 1 runs converged"), "the ledger is whole: {text}");
    assert!(text.contains("the second time: 5") && text.contains("plan      1 modules: game"), "{text}");
    assert_eq!(std::fs::read_to_string(&asked)?, "x\n", "it was asked once: {text}");
    Ok(())
}
