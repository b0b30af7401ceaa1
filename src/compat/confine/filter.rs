//! The system calls that are left, by two filters of seccomp(2), of which the kernel obeys the stricter answer.
//!
//! The first ends the process at what an intruder would do and we never: running programs, entering namespaces, mounting,
//! reading other processes. The second lets through what is listed and says EPERM to everything else: a C library that
//! asks for something new on some path of error must not take a container's network down.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};

/// Why system calls can't be forbidden.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A filter can't be put together, on this machine.
    #[error("the filter: {0}")]
    Build(#[from] BackendError),
    /// The kernel does not take it.
    #[error("seccomp_load(): {0}")]
    Install(#[from] seccompiler::Error),
}

/// Installs both, for all threads and for good. `removes` leaves it possible to remove a file.
pub(super) fn install(removes: bool) -> Result<(), FilterError> {
    let fatal = FATAL.iter().map(|call| (*call, Vec::new())).collect();
    let fatal = program(fatal, SeccompAction::Allow, SeccompAction::KillProcess)?;
    let allowed = program(allowed(removes)?, SeccompAction::Errno(EPERM), SeccompAction::Allow)?;
    apply_filter_all_threads(&fatal)?;
    apply_filter_all_threads(&allowed)?;
    Ok(())
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn program(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<BpfProgram, BackendError> {
    let filter = SeccompFilter::new(rules, otherwise, matched, std::env::consts::ARCH.try_into()?)?;
    filter.try_into()
}

fn allowed(removes: bool) -> Result<Rules, BackendError> {
    let mut rules: Rules = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    rules.extend(OF_THIS_MACHINE.iter().map(|call| (*call, Vec::new())));
    // No socket but for the internet: none of the host's services answers there.
    let families = [libc::AF_INET, libc::AF_INET6];
    rules.insert(libc::SYS_socket, each(0, families.map(i64::from))?);
    // Non-blocking, and how much is waiting.
    rules.insert(
        libc::SYS_ioctl,
        each(1, [libc::FIONBIO, libc::FIONREAD, libc::FIOCLEX].map(request))?,
    );
    // What a thread is called.
    rules.insert(libc::SYS_prctl, each(0, [i64::from(libc::PR_SET_NAME)])?);
    // Memory, but none to run.
    let not_executable = SeccompCmpOp::MaskedEq(bits(libc::PROT_EXEC));
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![rule(2, not_executable.clone(), 0)?]);
    }
    // Relative to nothing but the root, and never to be written.
    let to_write = || SeccompCmpOp::MaskedEq(bits(libc::O_ACCMODE));
    let reading = condition(2, to_write(), bits(libc::O_RDONLY))?;
    let no_folder = condition(0, SeccompCmpOp::Eq, u64::from(libc::AT_FDCWD.cast_unsigned()))?;
    rules.insert(libc::SYS_openat, vec![SeccompRule::new(vec![no_folder, reading])?]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, vec![rule(1, to_write(), bits(libc::O_RDONLY))?]);
    if removes {
        rules.insert(libc::SYS_unlinkat, Vec::new());
        #[cfg(target_arch = "x86_64")]
        rules.insert(libc::SYS_unlink, Vec::new());
    }
    Ok(rules)
}

/// A rule for each value that an argument may have.
fn each<const N: usize>(argument: u8, values: [i64; N]) -> Result<Vec<SeccompRule>, BackendError> {
    let values = values.into_iter().map(i64::cast_unsigned);
    values.map(|value| rule(argument, SeccompCmpOp::Eq, value)).collect()
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![condition(argument, operator, value)?])
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

fn bits(flags: libc::c_int) -> u64 {
    i64::from(flags).cast_unsigned()
}

#[cfg(target_env = "gnu")]
fn request(number: libc::Ioctl) -> i64 {
    number.cast_signed()
}

#[cfg(not(target_env = "gnu"))]
fn request(number: libc::Ioctl) -> i64 {
    number.into()
}

const EPERM: u32 = libc::EPERM.cast_unsigned();

/// What ends the process.
const FATAL: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_memfd_create,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
];

/// What is let through whatever its arguments; on all machines.
const ALLOWED: &[i64] = &[
    // Descriptors: frames, sockets, the API.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_shutdown,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_restart_syscall,
    // What is joined without a copy, a log file that makes room, and a command's status.
    libc::SYS_splice,
    libc::SYS_ftruncate,
    libc::SYS_wait4,
    // The resolver file.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_lseek,
    libc::SYS_readlinkat,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    libc::SYS_uname,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_getrandom,
    // A thread may still be beginning, in the C library's hands, when the filter comes.
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    // The end: of a thread, of a flow of control, of all.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Older names of the same, that only some machines have.
#[cfg(target_arch = "x86_64")]
const OF_THIS_MACHINE: &[i64] = &[
    libc::SYS_epoll_wait,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const OF_THIS_MACHINE: &[i64] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_can_be_put_together() {
        let fatal = FATAL.iter().map(|call| (*call, Vec::new())).collect();
        assert!(program(fatal, SeccompAction::Allow, SeccompAction::KillProcess).is_ok());
        let program = program(
            allowed(true).unwrap(),
            SeccompAction::Errno(EPERM),
            SeccompAction::Allow,
        )
        .unwrap();
        assert!(program.len() < 4096, "BPF_MAXINSNS");
    }

    #[test]
    fn nothing_is_both_allowed_and_fatal() {
        let allowed = allowed(true).unwrap();
        assert!(FATAL.iter().all(|call| !allowed.contains_key(call)));
    }
}
