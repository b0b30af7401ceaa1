//! Descriptors that a process was born with, and those that others hand it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::unistd::{dup2_stdin, dup2_stdout};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

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

/// Closes every descriptor above stderr but `keep`, whoever left it open; for the first lines of `main`, when nothing but
/// `keep` is owned by anybody.
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

/// Another descriptor, close-on-exec and numbered above `above`, for what we were born with by this number; that one stays
/// as it is.
pub fn copy(number: RawFd, above: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved; a number that is not open is an error.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, above.saturating_add(1)) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Points standard input and output at nothing, so that whoever waits for their end is not kept.
pub fn silence_standard_streams() {
    let Ok(null) = File::options().read(true).write(true).open("/dev/null") else {
        return;
    };
    // Without room for a descriptor they stay as they are.
    let _ = dup2_stdin(&null).and_then(|()| dup2_stdout(&null));
}

/// The hang-up of a descriptor that somebody else holds the other end of: poll(2)'s POLLHUP, and POLLERR, which is how the
/// end that is written to hears it. One that can't be waited for (epoll_ctl(2), EPERM), a file, is never hung up.
#[derive(Debug)]
pub struct HangUp(Option<AsyncFd<OwnedFd>>);

impl HangUp {
    /// Watches the descriptor, in a tokio runtime.
    pub fn watch(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` owns its descriptor, always says the same one, and lives in the `AsyncFd` until that is gone.
        match unsafe { AsyncFd::register_with_interest(fd, Interest::PRIORITY) } {
            Ok(watched) => Ok(Self(Some(watched))),
            Err(error) => match io::Error::from(error) {
                refused if refused.raw_os_error() == Some(libc::EPERM) => Ok(Self(None)),
                error => Err(error),
            },
        }
    }

    /// Waits until it has come.
    pub async fn come(self) {
        let Some(watched) = self.0 else {
            return std::future::pending().await;
        };
        // EPOLLHUP and EPOLLERR come unasked, and without EPOLLIN neither data does nor the end of one direction.
        while let Ok(mut guard) = watched.ready(Interest::PRIORITY | Interest::ERROR).await {
            let ready = guard.ready();
            if ready.is_read_closed() || ready.is_error() {
                return;
            }
            // Urgent data: nobody asked for it.
            guard.clear_ready();
        }
    }
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: closes descriptors by number; the caller's contract is that nothing owns them.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The first descriptor that is not standard input, output or error.
const FIRST: u32 = 3;

#[cfg(test)]
mod tests {
    use std::io::{Write, pipe};
    use std::net::Shutdown;
    use std::task::Poll;

    use super::*;

    /// Whether it has come when whatever is pending has been looked at.
    async fn has_come(hang_up: HangUp) -> bool {
        let mut come = Box::pin(hang_up.come());
        for _ in 0..64 {
            let now = std::future::poll_fn(|context| Poll::Ready(come.as_mut().poll(context).is_ready())).await;
            if now {
                return true;
            }
            tokio::task::yield_now().await;
        }
        false
    }

    fn watch(fd: impl Into<OwnedFd>) -> HangUp {
        HangUp::watch(fd.into()).unwrap()
    }

    #[tokio::test]
    async fn either_end_of_a_pipe_hangs_up() {
        let (reader, writer) = pipe().unwrap();
        let hang_up = watch(reader);
        drop(writer);
        assert!(has_come(hang_up).await, "its writer has gone");
        let (reader, writer) = pipe().unwrap();
        let hang_up = watch(writer);
        drop(reader);
        assert!(has_come(hang_up).await, "its reader has gone");
    }

    #[tokio::test]
    async fn what_goes_on_is_not_hung_up() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (&theirs).write_all(b"x").unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        assert!(!has_come(watch(ours)).await, "the end of one direction");
        for path in ["/dev/null", "/proc/self/exe"] {
            assert!(!has_come(watch(File::open(path).unwrap())).await, "{path}");
        }
    }

    #[test]
    fn a_copy_has_a_number_of_its_own() {
        let file = File::open("/dev/null").unwrap();
        let copied = copy(file.as_raw_fd(), 200).unwrap();
        assert!(copied.as_raw_fd() > 200);
        drop(copied);
        assert!(file.metadata().is_ok());
        assert_eq!(copy(-1, 2).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
