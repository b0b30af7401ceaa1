//! A TAP with offload headers: one frame or superframe per read and per write, never waiting.
//!
//! The descriptor comes from the agent ([`crate::netns::Agent`]) or from [`crate::sys::tun`]; the helper's driver
//! waits for readiness and calls in here. Frames are not looked into. Source: linux/if_tun.h; a read or write carries
//! the 10 bytes of [`Offload`] and then one Ethernet frame.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::uio::{readv, writev};

use super::Uplink;
use crate::stack::{Offload, OffloadError};

/// An opened TAP.
#[derive(Debug)]
pub struct Tap {
    fd: OwnedFd,
}

/// Why there is no frame, or why it was not taken.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// No frame is waiting, or the queue is full: ask again when the descriptor is ready.
    #[error("not ready")]
    NotReady,
    /// The kernel has no memory for the frame now, and will not say when it has: drop it and count.
    #[error("no buffers")]
    NoBuffers,
    /// The frame that was read has an offload header that can't be true; it is gone, read the next.
    #[error("bad offload header: {0}")]
    BadHeader(#[from] OffloadError),
    /// The frame that was read is shorter than its offload header; it is gone, read the next.
    #[error("truncated offload header")]
    Truncated,
    /// The interface is down or has gone (EIO, EBADFD), or the kernel failed otherwise.
    #[error("the uplink's interface: {0}")]
    Io(#[source] io::Error),
}

impl Tap {
    /// Takes over a TAP that carries offload headers.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        set_nonblocking(&fd)?;
        Ok(Self { fd })
    }
}

impl Uplink for Tap {
    /// Reads one frame into `frame` and says how long it is. With room for [`MAX_FRAME_LEN`] bytes none is cut short.
    fn recv(&self, frame: &mut [u8]) -> Result<(Offload, usize), FrameError> {
        let mut header = [0; Offload::LEN];
        let read = readv(&self.fd, &mut [IoSliceMut::new(&mut header), IoSliceMut::new(frame)])?;
        let len = read.checked_sub(header.len()).ok_or(FrameError::Truncated)?;
        let offload = Offload::decode(&header)?;
        offload.validate(len)?;
        Ok((offload, len))
    }

    /// Writes one frame; the kernel takes all of it or none.
    fn send(&self, offload: Offload, frame: &[u8]) -> Result<(), FrameError> {
        let header = offload.encode();
        writev(&self.fd, &[IoSlice::new(&header), IoSlice::new(frame)])?;
        Ok(())
    }
}

impl From<nix::Error> for FrameError {
    fn from(errno: nix::Error) -> Self {
        #[expect(clippy::wildcard_enum_match_arm, reason = "all other errors mean the same here")]
        match errno {
            nix::Error::EAGAIN | nix::Error::EINTR => Self::NotReady,
            nix::Error::ENOBUFS | nix::Error::ENOMEM => Self::NoBuffers,
            other => Self::Io(other.into()),
        }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Tap {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Makes reads and writes return instead of wait.
pub(super) fn set_nonblocking(fd: &OwnedFd) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(|_| ())
}

/// Bytes of the longest superframe: what the length of an IP packet can say, and the Ethernet header.
pub const MAX_FRAME_LEN: usize = 65_535 + 14;
