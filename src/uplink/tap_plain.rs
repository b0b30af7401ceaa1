//! A TAP without offload headers, for sandboxes whose TAP cannot do more (gVisor's, for one).
//!
//! Frames are whole both ways: the kernel completes checksums and cuts superframes before we read, and the engine is told
//! that nothing is done for it ([`crate::stack::UplinkCapabilities`], all false). Every frame costs what a superframe
//! costs elsewhere, so this is the slow one. The descriptor comes from the agent, which has it from
//! [`crate::sys::plain_tap`]. Source: linux/if_tun.h (IFF_NO_PI).

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::uio::writev;

use super::frames::{FrameError, set_nonblocking};
use super::{Uplink, UplinkKind};
use crate::stack::Offload;

/// An opened TAP.
#[derive(Debug)]
pub struct TapPlain {
    fd: OwnedFd,
}

impl TapPlain {
    /// Takes over a TAP that carries frames and nothing else.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        set_nonblocking(&fd)?;
        Ok(Self { fd })
    }
}

impl Uplink for TapPlain {
    fn kind(&self) -> UplinkKind {
        UplinkKind::TapPlain
    }

    fn recv(&self, frame: &mut [u8]) -> Result<(Offload, usize), FrameError> {
        let len = nix::unistd::read(&self.fd, frame)?;
        Ok((Offload::default(), len))
    }

    fn send_parts(&self, offload: Offload, [head, rest]: [&[u8]; 2]) -> Result<(), FrameError> {
        if offload.partial_checksum.is_some() || offload.gso.is_some() {
            return Err(FrameError::NotWhole);
        }
        writev(&self.fd, &[IoSlice::new(head), IoSlice::new(rest)])?;
        Ok(())
    }
}

impl AsFd for TapPlain {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
