//! Processes: what one hands to the program it becomes (descriptors by number, signal dispositions), a child that goes on
//! with the same program, and what /proc says about any.

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::CloneFlags;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{ForkResult, Pid, fork};

/// Lets the program that `command` starts inherit `fd` under the number it has here. It becomes the command's, so
/// that it is closed here when the command is dropped.
pub fn hand_down(command: &mut Command, fd: OwnedFd) {
    let keep_open = move || {
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::empty()))
            .map(|_| ())
            .map_err(io::Error::from)
    };
    // SAFETY: between fork and exec only one fcntl(2) runs, which is async-signal-safe; it allocates nothing.
    unsafe { command.pre_exec(keep_open) };
}

/// Takes over a descriptor that [`hand_down`] left open, by its number; close-on-exec from now on. For the first
/// lines of a personality's `main`.
pub fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    if number <= libc::STDERR_FILENO {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: no memory is involved; a number that is not open is an error.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, as fcntl has just shown, and the starter left it to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Gives every signal its default disposition, as a program expects it that nobody started in the background.
pub fn default_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL is a valid disposition; the numbers that cannot be set (SIGKILL, SIGSTOP, libc's own)
        // are refused without effect.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Holds back every signal that can be (not SIGKILL) until this process has ended. For one that has a single thread.
pub fn hold_signals() -> io::Result<()> {
    Ok(SigSet::all().thread_block()?)
}

/// Ignores signals from now on, and in every copy of this process.
pub fn ignore(signals: &[Signal]) {
    for signal in signals {
        // SAFETY: SIG_IGN is a valid disposition.
        unsafe { libc::signal(*signal as libc::c_int, libc::SIG_IGN) };
    }
}

/// Gives signals the dispositions with which this process was started, as far as exec(2) leaves them: what is caught
/// becomes the default there, what is ignored stays so. That is all but those of SIGPIPE, which the runtime of the language
/// ignores before `main`, and of SIGCHLD, which we do not; for a process that has ignored nothing else since.
pub fn restore_signals() {
    if !PIPE_WAS_IGNORED.load(Ordering::Relaxed) {
        // SAFETY: SIG_DFL is a valid disposition.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    }
    if CHILDREN_WERE_IGNORED.load(Ordering::Relaxed) {
        ignore(&[Signal::SIGCHLD]);
    }
}

/// Whether whoever started this process had it ignore SIGPIPE.
static PIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// The same of SIGCHLD, with which nobody could ask how a child has ended (wait(2), NOTES).
static CHILDREN_WERE_IGNORED: AtomicBool = AtomicBool::new(false);

/// Runs before the language's runtime does (System V ABI, "Initialization and Termination Functions"), as nobody can tell
/// afterwards.
// SAFETY: the section holds pointers to functions that the C library calls without anything that they could rely on but
// itself, before `main`; this one does no more than sigaction(2) and setting flags.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_THE_RUNTIME: extern "C" fn() = {
    extern "C" fn look() {
        PIPE_WAS_IGNORED.store(ignores(libc::SIGPIPE), Ordering::Relaxed);
        if ignores(libc::SIGCHLD) {
            CHILDREN_WERE_IGNORED.store(true, Ordering::Relaxed);
            // SAFETY: SIG_DFL is a valid disposition.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        }
    }
    look
};

/// The parent of a process, as long as that lives.
pub fn parent(pid: i32) -> Option<i32> {
    status(pid, "PPid:")
}

/// The real user id of a process. Its files in /proc belong to root where it is closed (PR_SET_DUMPABLE), and say nothing.
pub fn user(pid: i32) -> Option<u32> {
    status(pid, "Uid:")
}

/// The first number behind `key` (proc_pid_status(5)).
fn status<T: FromStr>(pid: i32, key: &str) -> Option<T> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix(key))?;
    numbers.split_whitespace().next()?.parse().ok()
}

/// Whether we were started to ignore a signal, as shells start what is to go on in the background.
pub fn ignores(signal: libc::c_int) -> bool {
    // SAFETY: a sigaction is plain data, valid when all zero.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: asks for a disposition and sets none; `now` is where it is written.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut now) };
    asked == 0 && now.sa_sigaction == libc::SIG_IGN
}

/// Runs `work` in a child that goes on with this very program, with one end of a socket pair; returns the child and the
/// other end. The child ends with what `work` returns.
///
/// Only for a process that has a single thread; with more it fails, for a lock that another thread holds would never be
/// released in the child.
pub fn spawn_copy(work: impl FnOnce(UnixStream) -> u8) -> io::Result<(Pid, UnixStream)> {
    if fs::read_dir("/proc/self/task")?.count() > 1 {
        return Err(io::Error::other("a process of several threads can't be copied"));
    }
    let (ours, theirs) = UnixStream::pair()?;
    // SAFETY: this is the process's only thread, so that no lock is held by one that the child does not have.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok((child, ours)),
        ForkResult::Child => {
            drop(ours);
            end_with(|| work(theirs))
        }
    }
}

/// The same in new namespaces, of which that of processes, if it is among them, has the child as its first.
pub fn spawn_copy_in(namespaces: CloneFlags, work: impl FnOnce(UnixStream) -> u8) -> io::Result<(Pid, UnixStream)> {
    if fs::read_dir("/proc/self/task")?.count() > 1 {
        return Err(io::Error::other("a process of several threads can't be copied"));
    }
    let (ours, theirs) = UnixStream::pair()?;
    let flags = libc::c_long::from(namespaces.bits() | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with no stack given this is fork(2) but for the namespaces; and as there, this is the
    // process's only thread.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match i32::try_from(child) {
        Ok(0) => {
            drop(ours);
            end_with(|| work(theirs))
        }
        Ok(child) if child > 0 => Ok((Pid::from_raw(child), ours)),
        Ok(_) | Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Ends a copied process with what `work` returns.
fn end_with(work: impl FnOnce() -> u8) -> ! {
    // What the parent's frames above would do on their way out is not the child's business.
    let code = catch_unwind(AssertUnwindSafe(work)).unwrap_or(PANICKED);
    // SAFETY: ends the process at once; nothing of it runs any more.
    unsafe { libc::_exit(code.into()) }
}

/// As a Rust program ends when its first thread panics.
const PANICKED: u8 = 101;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_not_copied() {
        // The test's own runner is one of them.
        assert!(spawn_copy(|_| 0).is_err());
    }
}
