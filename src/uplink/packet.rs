//! A packet socket with offload headers on one end of a veth pair whose other end is a port of the bridge: no
//! /dev/net/tun at all.
//!
//! Superframes and partial checksums pass a veth untouched and travel with the same header as on a TAP, so this is as
//! fast as one. Three things differ:
//!
//! - The queue towards us is the socket's buffer, counted in bytes of kernel memory and bounded by the host's
//!   net.core.rmem_max, not a thousand frames: what does not fit is lost, and TCP slows down for it.
//! - What we send is delivered before the call returns, unless the container's side is behind; then the send buffer
//!   fills (EAGAIN) and the frame is lost as on any Ethernet.
//! - A frame that is longer than the interface's MTU and no superframe is refused (EMSGSIZE).
//!
//! The descriptor comes from the agent, which has it from [`crate::sys::packet`]. Source: packet(7), PACKET_VNET_HDR.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::frames::{FrameError, receive, send, set_nonblocking};
use super::{Uplink, UplinkKind};
use crate::stack::Offload;

/// An opened and bound packet socket.
#[derive(Debug)]
pub struct Packet {
    fd: OwnedFd,
}

impl Packet {
    /// Takes over a packet socket that carries offload headers.
    pub fn new(fd: OwnedFd) -> std::io::Result<Self> {
        set_nonblocking(&fd)?;
        Ok(Self { fd })
    }
}

impl Uplink for Packet {
    fn kind(&self) -> UplinkKind {
        UplinkKind::Packet
    }

    fn recv(&self, frame: &mut [u8]) -> Result<(Offload, usize), FrameError> {
        let received = receive(&self.fd, frame);
        if let Err(FrameError::Io(error)) = &received
            && error.raw_os_error() == Some(libc::EINVAL)
        {
            // virtio_net_hdr_from_skb() has no word for it: UDP superframes before Linux 6.2. The frame is gone.
            return Err(FrameError::Indescribable);
        }
        received
    }

    fn send(&self, offload: Offload, frame: &[u8]) -> Result<(), FrameError> {
        send(&self.fd, offload, frame)
    }
}

impl AsFd for Packet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
