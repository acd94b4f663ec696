//! Where a backend's time goes, by function, as `perf` samples it from outside while the backend plays.

use super::run::Loop;
use crate::workshop::Built;
use lockstep_harness::bulk::{Bulk, Compared, play};
use lockstep_harness::compare::Tolerances;
use lockstep_harness::pair::Pair;
use lockstep_harness::side::Side;
use lockstep_harness::watch::Silent;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long it is sampled.
const SAMPLED: Duration = Duration::from_millis(1500);
/// Steps between two looks at the clock.
const STEPS: u64 = 1 << 17;
/// Functions that are shown.
const SHOWN: usize = 14;

impl Loop<'_> {
    /// A line for each function that takes a hundredth of the time or more; `None` where nothing can be sampled.
    pub(super) fn profile(&self, backend: &str, built: &Built) -> Option<String> {
        let folder = tempfile::tempdir().ok()?;
        let data = folder.path().join("perf.data");
        let open = || self.open(backend, built).ok();
        let mut pair = Pair::new(open()?, open()?, Tolerances::default(), Tolerances::default());
        let mut sampler = sampler(&pair.backend, &data)?;
        let began = Instant::now();
        let mut seed = 0;
        while began.elapsed() < SAMPLED && !self.stop.asked() {
            let lanes = pair.backend.terms.lanes;
            let bulk =
                Bulk { compared: Compared::Digests, steps: STEPS, lanes, trace_steps: 4096, seed, alarms_max: 1 };
            if play(&mut pair, &bulk, &mut Silent, &self.stop).is_err() {
                break;
            }
            seed += 1;
        }
        if let Some(pid) = Pid::from_raw(sampler.id() as i32) {
            let _ = kill_process(pid, Signal::INT);
        }
        let _ = sampler.wait();
        // While they live, `perf` looks for their program through their eyes, where nothing of ours is.
        drop(pair);
        report(&data, &built.runner, &self.workshop.seen(built), folder.path())
    }
}

fn sampler(side: &Side, data: &Path) -> Option<std::process::Child> {
    let pids = side.processes().iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    Command::new("perf")
        .args(["record", "-q", "-F", "997", "-p", &pids, "-o"])
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()
}

/// What `perf` makes of its samples. The program lies elsewhere for whoever is in the sandbox, so it is put where
/// the samples say that it is.
fn report(data: &Path, runner: &Path, seen: &Path, folder: &Path) -> Option<String> {
    let root = folder.join("root");
    let place = root.join(seen.strip_prefix("/").ok()?);
    std::fs::create_dir_all(place.parent()?).ok()?;
    std::fs::copy(runner, &place).ok()?;
    let output = Command::new("perf")
        .args(["report", "-q", "--stdio", "--no-children", "-F", "overhead,dso,symbol", "--percent-limit", "1", "-i"])
        .arg(data)
        .arg("--symfs")
        .arg(&root)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Share, file, where it runs, function.
    let line = |line: &str| {
        let (share, rest) = line.trim().split_once(char::is_whitespace)?;
        let (place, name) = rest
            .split_once("[k]")
            .map(|(_, name)| ("in the kernel, ", name))
            .or_else(|| Some(("", rest.split_once("[.]")?.1)))?;
        share.ends_with('%').then(|| format!("  {share:>7}  {place}{}", name.trim()))
    };
    let lines: Vec<String> = text.lines().filter_map(line).take(SHOWN).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}
