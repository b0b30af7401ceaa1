//! The descriptor over which frames pass between bridge and stack.
//!
//! `netns` opens and configures the interfaces; this module only reads and writes. The helper has one uplink, of one of
//! three kinds:
//!
//! | kind | what it is | offloads | needs |
//! | --- | --- | --- | --- |
//! | [`Tap`] | a TAP with offload headers | all that the kernel has | /dev/net/tun |
//! | [`TapPlain`] | a TAP without | none | /dev/net/tun |
//! | [`Packet`] | a packet socket on the end of a veth pair | all | nothing |
//!
//! [`cable`] joins two TAPs where no veth can reach.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::stack::Offload;

pub mod cable;
mod frames;
mod kind;
mod packet;
mod tap;
mod tap_plain;

pub use cable::Cable;
pub use frames::FrameError;
pub use kind::UplinkKind;
pub use packet::Packet;
pub use tap::Tap;
pub use tap_plain::TapPlain;

/// A source and sink of Ethernet frames with their offload headers; never waits.
pub trait Uplink: AsFd + Send + std::fmt::Debug {
    /// Which kind it is.
    fn kind(&self) -> UplinkKind;

    /// Receives one frame into `buffer` and says how long it is. With room for [`FRAME_BYTES`] none is cut short.
    fn recv(&self, buffer: &mut [u8]) -> Result<(Offload, usize), FrameError>;

    /// Sends one frame; the kernel takes all of it or none.
    fn send(&self, offload: Offload, frame: &[u8]) -> Result<(), FrameError>;
}

/// Takes over a descriptor of this kind.
pub fn open(kind: UplinkKind, fd: OwnedFd) -> io::Result<Box<dyn Uplink>> {
    Ok(match kind {
        UplinkKind::Tap => Box::new(Tap::new(fd)?),
        UplinkKind::TapPlain => Box::new(TapPlain::new(fd)?),
        UplinkKind::Packet => Box::new(Packet::new(fd)?),
    })
}

/// The largest frame: 64 KB of IP and an Ethernet header, with room for a VLAN tag.
pub const FRAME_BYTES: usize = 65_536 + 18;
