//! What a process hands to the program it becomes: descriptors by number and signal dispositions.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

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
