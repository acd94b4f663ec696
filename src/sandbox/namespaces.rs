//! Namespaces without `bwrap`: a root of its own with little in it, no network, no other processes.

use super::enter::{Cell, failed, file_bytes};
use super::{Bind, Purpose};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::CloneFlags;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Gid, Pid, Uid, chdir, fork, pivot_root, setgroups, sethostname, setresgid, setresuid};
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Folders of programs and libraries, as far as they are there.
pub const SYSTEM_FOLDERS: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"];

/// What finds libraries and compilers.
pub const SYSTEM_FILES: &[&str] = &["/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"];

const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

const OLD: &str = "/.old";

/// Leaves the namespaces of the user. The next child is the first of its own namespace of processes.
pub fn unshare() -> Result<(), String> {
    let mut flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    let (user, group) = (Uid::effective(), Gid::effective());
    if !user.is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    nix::sched::unshare(flags).map_err(failed("unshare"))?;
    if !user.is_root() {
        fs::write("/proc/self/setgroups", "deny").map_err(failed("setgroups"))?;
        fs::write("/proc/self/uid_map", format!("{user} {user} 1")).map_err(failed("uid_map"))?;
        fs::write("/proc/self/gid_map", format!("{group} {group} 1")).map_err(failed("gid_map"))?;
    }
    Ok(())
}

/// The first process of the namespace: builds the root, starts the program and waits for it. Returns only on failure.
pub fn start(cell: &Cell) -> Result<(), String> {
    furnish(cell)?;
    sethostname("lockstep").map_err(failed("sethostname"))?;
    if let Some(user) = cell.user {
        become_nobody(user)?;
    }
    // Only now: a change of user would undo it.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(failed("prctl"))?;
    // SAFETY: this process has one thread.
    let program = match unsafe { fork() }.map_err(failed("fork"))? {
        ForkResult::Child => return cell.execute(),
        ForkResult::Parent { child } => child,
    };
    loop {
        match waitpid(None::<Pid>, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == program => std::process::exit(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => std::process::exit(128 + signal as i32),
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(format!("waitpid: {error}")),
        }
    }
}

fn become_nobody(user: u32) -> Result<(), String> {
    let to = |user: u32| {
        let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
        setgroups(&[]).and_then(|()| setresgid(gid, gid, gid)).and_then(|()| setresuid(uid, uid, uid))
    };
    to(user).map_err(failed("setresuid"))
}

/// Makes a new root of binds and leaves the old one.
fn furnish(cell: &Cell) -> Result<(), String> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(failed("mount /"))?;
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let base = "/tmp";
    mount(Some("tmpfs"), base, Some("tmpfs"), safe, Some("size=1m,mode=755")).map_err(failed("tmpfs"))?;
    chdir(base).map_err(failed("chdir"))?;
    let old = OLD.trim_start_matches('/');
    fs::create_dir(old).map_err(failed("mkdir"))?;
    pivot_root(".", old).map_err(failed("pivot_root"))?;
    chdir("/").map_err(failed("chdir"))?;
    for folder in SYSTEM_FOLDERS {
        let outside = from_old(Path::new(folder));
        match fs::read_link(&outside) {
            Ok(target) => symlink(target, folder).map_err(failed(folder))?,
            Err(_) if outside.is_dir() => bind(&outside, Path::new(folder), false)?,
            Err(_) => {}
        }
    }
    for file in SYSTEM_FILES.iter().map(Path::new).filter(|file| from_old(file).exists()) {
        bind(&from_old(file), file, false)?;
    }
    for device in DEVICES {
        bind_device(&from_old(Path::new(device)), Path::new(device))?;
    }
    for (name, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
        symlink(format!("/proc/self/fd{target}"), format!("/dev/{name}")).map_err(failed("/dev"))?;
    }
    fs::create_dir("/proc").map_err(failed("mkdir"))?;
    let plain = safe | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), plain, none).map_err(failed("mount /proc"))?;
    fs::create_dir("/tmp").map_err(failed("mkdir"))?;
    let size = format!("size={},mode=1777", file_bytes(cell.purpose));
    let flags = if cell.purpose == Purpose::Run { plain } else { safe };
    mount(Some("tmpfs"), "/tmp", Some("tmpfs"), flags, Some(size.as_str())).map_err(failed("mount /tmp"))?;
    for Bind { outside, inside, writable } in &cell.binds {
        bind(&from_old(outside), inside, *writable)?;
    }
    umount2(OLD, MntFlags::MNT_DETACH).map_err(failed("umount"))?;
    fs::remove_dir(OLD).map_err(failed("rmdir"))?;
    set_attributes(Path::new("/"), libc::MOUNT_ATTR_RDONLY, false)
}

fn from_old(path: &Path) -> PathBuf {
    Path::new(OLD).join(path.strip_prefix("/").unwrap_or(path))
}

fn bind(outside: &Path, inside: &Path, writable: bool) -> Result<(), String> {
    attach(outside, inside)?;
    let read_only = if writable { 0 } else { libc::MOUNT_ATTR_RDONLY };
    set_attributes(inside, read_only | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV, true)
}

fn bind_device(outside: &Path, inside: &Path) -> Result<(), String> {
    attach(outside, inside)
}

fn attach(outside: &Path, inside: &Path) -> Result<(), String> {
    let what = inside.display().to_string();
    if outside.is_dir() {
        fs::create_dir_all(inside).map_err(failed(&what))?;
    } else {
        fs::create_dir_all(inside.parent().unwrap_or(Path::new("/"))).map_err(failed(&what))?;
        fs::write(inside, "").map_err(failed(&what))?;
    }
    let none = None::<&str>;
    mount(Some(outside), inside, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).map_err(failed(&what))
}

/// Sets attributes of a mount, and of those below it; what is set already stays.
fn set_attributes(path: &Path, attributes: u64, below: bool) -> Result<(), String> {
    let name = CString::new(path.as_os_str().as_encoded_bytes()).map_err(failed("a path"))?;
    let wanted = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = if below { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path ends in a zero byte and the struct is of the size that is said; both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            name.as_ptr(),
            flags,
            &raw const wanted,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(format!("{}: {}", path.display(), std::io::Error::last_os_error())) }
}
