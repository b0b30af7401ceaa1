//! One frame behind its offload header per system call, never waiting: what a TAP and a packet socket have in common.
//!
//! Both carry the 10 bytes of [`Offload`] and then one Ethernet frame, linux/if_tun.h (IFF_VNET_HDR) and packet(7)
//! (PACKET_VNET_HDR). Frames are not looked into.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::uio::{readv, writev};

use crate::stack::{Offload, OffloadError};

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
    /// The frame is a superframe of a kind that the kernel has no offload header for; it is gone, read the next.
    #[error("the kernel can't describe this superframe")]
    Indescribable,
    /// The frame leaves work to the kernel, and this uplink has no header to say so: drop it and count.
    #[error("this uplink takes whole frames only")]
    NotWhole,
    /// The interface is down or has gone (EIO, EBADFD, ENETDOWN), or the kernel failed otherwise.
    #[error("the uplink's interface: {0}")]
    Io(#[source] io::Error),
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

/// Reads one frame into `frame` and says how long it is.
pub(super) fn receive(fd: &OwnedFd, frame: &mut [u8]) -> Result<(Offload, usize), FrameError> {
    let mut header = [0; Offload::LEN];
    let read = readv(fd, &mut [IoSliceMut::new(&mut header), IoSliceMut::new(frame)])?;
    let len = read.checked_sub(header.len()).ok_or(FrameError::Truncated)?;
    let offload = Offload::decode(&header)?;
    offload.validate(len)?;
    Ok((offload, len))
}

/// Writes one frame; the kernel takes all of it or none.
pub(super) fn send(fd: &OwnedFd, offload: Offload, [head, rest]: [&[u8]; 2]) -> Result<(), FrameError> {
    let header = offload.encode();
    writev(fd, &[IoSlice::new(&header), IoSlice::new(head), IoSlice::new(rest)])?;
    Ok(())
}

/// Makes reads and writes return instead of wait.
pub(super) fn set_nonblocking(fd: &OwnedFd) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map(|_| ())
}
