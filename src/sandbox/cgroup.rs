//! A control group of its own for a confined program, where root can make one: it bounds processes and memory in sum.

use super::Purpose;
use super::enter::{memory_bytes, processes};
use std::fs;
use std::path::{Path, PathBuf};

/// The groups that were made; empty if none could be.
pub struct Group(Vec<PathBuf>);

impl Group {
    /// Makes a group and puts this process into it. Where that is not possible, nothing happens.
    pub fn join(purpose: Purpose) -> Self {
        let name = format!("lockstep-{}", std::process::id());
        let memory = memory_bytes(purpose).to_string();
        let processes = processes(purpose).to_string();
        // The unified hierarchy offers controllers only where its root hands them on.
        let candidates: [(&str, &[(&str, &str)]); 3] = [
            ("/sys/fs/cgroup/pids", &[("pids.max", &processes)]),
            ("/sys/fs/cgroup/memory", &[("memory.limit_in_bytes", &memory)]),
            ("/sys/fs/cgroup", &[("pids.max", &processes), ("memory.max", &memory)]),
        ];
        let mut made = Vec::new();
        for (root, limits) in candidates {
            let root = Path::new(root);
            if !root.join("cgroup.procs").exists() {
                continue;
            }
            sweep(root);
            let group = root.join(&name);
            let done = fs::create_dir(&group)
                .and_then(|()| limits.iter().try_for_each(|(file, value)| set(&group.join(file), value)))
                .and_then(|()| set(&group.join("cgroup.procs"), &std::process::id().to_string()));
            match done {
                Ok(()) => made.push(group),
                Err(_) => {
                    let _ = fs::remove_dir(&group);
                }
            }
        }
        Group(made)
    }

    /// Leaves the groups and removes them. A process that was killed can't; the next one sweeps.
    pub fn leave(&self) {
        for group in &self.0 {
            if let Some(root) = group.parent() {
                let _ = set(&root.join("cgroup.procs"), &std::process::id().to_string());
            }
            let _ = fs::remove_dir(group);
        }
    }
}

fn set(file: &Path, value: &str) -> std::io::Result<()> {
    // Never made: a limit that the kernel does not offer has no file.
    fs::OpenOptions::new()
        .write(true)
        .open(file)
        .and_then(|mut file| std::io::Write::write_all(&mut file, value.as_bytes()))
}

/// Removes what killed processes left; a group in use can't be removed.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("lockstep-"));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}
