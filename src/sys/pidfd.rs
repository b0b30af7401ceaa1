//! Processes by descriptor: a pid can be reused, a pidfd can't (pidfd_open(2), since Linux 5.3).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::unix::AsyncFd;

/// One process; readable (poll, epoll) once it has ended.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// The process that has this id now.
    pub fn open(pid: i32) -> io::Result<Self> {
        // SAFETY: no pointers; the result is checked below.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = RawFd::try_from(fd)
            .ok()
            .filter(|fd| *fd >= 0)
            .ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just made this descriptor for us, close-on-exec, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Another descriptor of the same process.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Sends a signal to the process, never to one that took over its id.
    pub fn send_signal(&self, signal: nix::sys::signal::Signal) -> io::Result<()> {
        let info: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: a null siginfo is allowed (pidfd_send_signal(2)); the descriptor is open, for we own it.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal as i32, info, 0) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Whether the process has ended; a zombie has.
    pub fn has_ended(&self) -> io::Result<bool> {
        self.wait_ended(PollTimeout::ZERO)
    }

    /// Waits until the process has ended; `false` when it has not in time.
    pub fn wait_ended(&self, timeout: impl Into<PollTimeout>) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        Ok(poll(&mut fds, timeout.into())? > 0)
    }

    /// Waits until the process has ended, in a tokio runtime.
    pub async fn ended(self) -> io::Result<()> {
        // SAFETY: `self` owns its descriptor, always says the same one, and lives in the `AsyncFd` until that is gone.
        let process = unsafe { AsyncFd::register(self) }?;
        process.readable().await?.retain_ready();
        Ok(())
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for PidFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<PidFd> for OwnedFd {
    fn from(pidfd: PidFd) -> Self {
        pidfd.0
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn sees_the_end() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = PidFd::open(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(!pidfd.has_ended().unwrap());
        pidfd.send_signal(nix::sys::signal::Signal::SIGKILL).unwrap();
        assert!(pidfd.wait_ended(5000u16).unwrap());
        child.wait().unwrap();
        assert_eq!(PidFd::open(-1).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
