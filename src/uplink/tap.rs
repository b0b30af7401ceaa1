//! A TAP with offload headers: one frame or superframe per read and per write, never waiting.
//!
//! The descriptor comes from the agent ([`crate::netns::Agent`]), which has it from [`crate::sys::tun`]; the helper's
//! driver waits for readiness and calls in here. Source: linux/if_tun.h.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::frames::{FrameError, receive, send, set_nonblocking};
use super::{Uplink, UplinkKind};
use crate::stack::Offload;

/// An opened TAP.
#[derive(Debug)]
pub struct Tap {
    fd: OwnedFd,
}

impl Tap {
    /// Takes over a TAP that carries offload headers.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        set_nonblocking(&fd)?;
        Ok(Self { fd })
    }
}

impl Uplink for Tap {
    fn kind(&self) -> UplinkKind {
        UplinkKind::Tap
    }

    fn recv(&self, frame: &mut [u8]) -> Result<(Offload, usize), FrameError> {
        receive(&self.fd, frame)
    }

    fn send_parts(&self, offload: Offload, parts: [&[u8]; 2]) -> Result<(), FrameError> {
        send(&self.fd, offload, parts)
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
