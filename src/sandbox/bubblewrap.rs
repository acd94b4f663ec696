//! The command line of `bwrap`.

use super::enter::{Cell, failed, file_bytes};
use super::namespaces::{SYSTEM_FILES, SYSTEM_FOLDERS};
use super::seccomp;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::{Uid, execve};
use std::ffi::CString;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::path::{Path, PathBuf};

/// Where `bwrap` is, if it is.
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("bwrap")).find(|path| path.is_file())
}

/// Becomes `bwrap`, which starts the program. Returns only on failure.
pub fn start(cell: &Cell) -> Result<(), String> {
    let bwrap = program().ok_or("bwrap is not installed")?;
    let mut argv: Vec<String> = vec!["bwrap".into()];
    let mut add = |words: &[&str]| argv.extend(words.iter().map(|&word| word.to_owned()));
    add(&["--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--hostname", "lockstep"]);
    if Uid::effective().is_root() {
        add(&["--uid", "65534", "--gid", "65534"]);
    }
    for folder in SYSTEM_FOLDERS {
        match std::fs::read_link(folder) {
            Ok(target) => add(&["--symlink", &target.display().to_string(), folder]),
            Err(_) if Path::new(folder).is_dir() => add(&["--ro-bind", folder, folder]),
            Err(_) => {}
        }
    }
    for file in SYSTEM_FILES {
        add(&["--ro-bind-try", file, file]);
    }
    let size = file_bytes(cell.purpose).to_string();
    add(&["--proc", "/proc", "--dev", "/dev", "--size", &size, "--tmpfs", "/tmp"]);
    for bind in &cell.binds {
        let kind = if bind.writable { "--bind" } else { "--ro-bind" };
        add(&[kind, &bind.outside.display().to_string(), &bind.inside.display().to_string()]);
    }
    add(&["--remount-ro", "/", "--chdir", &cell.folder.display().to_string()]);
    for program in seccomp::programs(cell.mechanism, cell.purpose).unwrap_or_default() {
        let file = memfd_create("filter", MFdFlags::empty()).map_err(failed("memfd_create"))?;
        let mut file = File::from(file);
        file.write_all(&seccomp::bytes(&program)).and_then(|()| file.rewind()).map_err(failed("filter"))?;
        // It has to outlive the start of bwrap.
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).map_err(failed("fcntl"))?;
        add(&["--add-seccomp-fd", &file.as_raw_fd().to_string()]);
        let _ = file.into_raw_fd();
    }
    add(&["--"]);
    let text = |text: String| CString::new(text).map_err(|_| "a path holds a zero byte".to_owned());
    let mut all: Vec<CString> = argv.into_iter().map(text).collect::<Result<_, String>>()?;
    all.extend(cell.argv.iter().cloned());
    cell.limit(false)?;
    let bwrap = text(bwrap.display().to_string())?;
    execve(&bwrap, &all, &cell.environment).map_err(failed("bwrap"))?;
    Ok(())
}
