//! Descriptors that a process was born with, and those that others hand it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::unistd::{dup2_stdin, dup2_stdout};

use passfd::FdPassingExt;

/// Hands a descriptor to the other side of a stream, in its place among the bytes.
pub fn send(stream: &UnixStream, fd: BorrowedFd<'_>) -> io::Result<()> {
    stream.send_fd(fd.as_raw_fd())
}

/// Takes the next descriptor from the other side of a stream.
pub fn receive(stream: &UnixStream) -> io::Result<OwnedFd> {
    let fd = stream.recv_fd()?;
    // SAFETY: the kernel has just made this descriptor for us by SCM_RIGHTS, and `passfd` keeps no copy of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Closes every descriptor above stderr but `keep`, whoever left it open; for the first lines of `main`, before
/// anything owns a descriptor.
pub fn close_inherited(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(*fd).ok()).collect();
    keep.sort_unstable();
    let mut first = FIRST;
    for kept in keep.into_iter().filter(|kept| *kept >= FIRST) {
        if kept > first {
            close_range(first, kept - 1)?;
        }
        first = kept + 1;
    }
    close_range(first, u32::MAX)
}

/// Points standard input and output at nothing, so that whoever waits for their end is not kept.
pub fn silence_standard_streams() {
    let Ok(null) = File::options().read(true).write(true).open("/dev/null") else {
        return;
    };
    // Without room for a descriptor they stay as they are.
    let _ = dup2_stdin(&null).and_then(|()| dup2_stdout(&null));
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: closes descriptors by number; the caller's contract is that nothing owns them yet.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The first descriptor that is not standard input, output or error.
const FIRST: u32 = 3;
