//! The filter of system calls: no sockets, no new namespaces, no looking into other processes; for a runner also no
//! other process.

use super::{Mechanism, Purpose};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::collections::BTreeMap;

/// Refused to everybody. `io_uring` is here because it makes sockets without the call that the filter sees.
const REFUSED: &[i64] = &[
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_mount_setattr,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_sethostname,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_shmget,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
];

/// Signals to others than oneself. Where there is a namespace of processes, there are no others.
const SIGNALS: &[i64] = &[
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pidfd_open,
    libc::SYS_setpriority,
    libc::SYS_prlimit64,
    libc::SYS_sched_setaffinity,
];

/// Starting a process, as far as a call of its own does it.
#[cfg(target_arch = "x86_64")]
const PROCESSES: &[i64] = &[libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const PROCESSES: &[i64] = &[];

/// The filter as the kernel takes it; none if the machine's kind is not known to the filter.
///
/// It has to be made by the process that executes the program, whose number it holds.
pub fn programs(mechanism: Mechanism, purpose: Purpose) -> Option<Vec<BpfProgram>> {
    let target = std::env::consts::ARCH.try_into().ok()?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.iter().map(|number| (*number, vec![])).collect();
    let new_user = condition(0, SeccompCmpOp::MaskedEq(libc::CLONE_NEWUSER as u64), libc::CLONE_NEWUSER as u64)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![new_user]).ok()?]);
    if purpose == Purpose::Run {
        rules.extend(PROCESSES.iter().map(|number| (*number, vec![])));
        let no_thread = condition(0, SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64), 0)?;
        rules.entry(libc::SYS_clone).or_default().push(SeccompRule::new(vec![no_thread]).ok()?);
    }
    if !mechanism.moves_files() {
        let own = u64::from(std::process::id());
        rules.extend(SIGNALS.iter().map(|number| (*number, vec![])));
        if purpose == Purpose::Run {
            let other = condition(0, SeccompCmpOp::Ne, own)?;
            rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![other]).ok()?]);
            // Limits of oneself can be read; glibc does so for the stack of a thread.
            let other = condition(0, SeccompCmpOp::Ne, 0)?;
            rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![other]).ok()?]);
        } else {
            // Compilers read and set limits of their own.
            rules.remove(&libc::SYS_prlimit64);
        }
    }
    // `clone3` hides its flags in memory; without it the C library falls back to `clone`.
    let unknown = [(libc::SYS_clone3, vec![])].into_iter().collect();
    [(rules, libc::EPERM), (unknown, libc::ENOSYS)]
        .into_iter()
        .map(|(rules, error)| {
            let refuse = SeccompAction::Errno(error as u32);
            SeccompFilter::new(rules, SeccompAction::Allow, refuse, target).ok()?.try_into().ok()
        })
        .collect()
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Option<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).ok()
}

/// The filters one after the other as `bwrap --add-seccomp-fd` reads each.
pub fn bytes(program: &BpfProgram) -> Vec<u8> {
    program
        .iter()
        .flat_map(|filter| {
            let [low, high] = filter.code.to_ne_bytes();
            let [a, b, c, d] = filter.k.to_ne_bytes();
            [low, high, filter.jt, filter.jf, a, b, c, d]
        })
        .collect()
}
