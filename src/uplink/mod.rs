//! The descriptor over which frames pass between bridge and stack.
//!
//! `netns` opens and configures the interfaces; this module only reads and writes. [`Tap`] is the helper's own uplink;
//! [`cable`] joins two TAPs where no veth can reach.

use std::os::fd::AsFd;

use crate::stack::Offload;

pub mod cable;
pub mod tap;

pub use cable::Cable;
pub use tap::{FrameError, Tap};

/// A source and sink of Ethernet frames with their offload headers; never waits.
pub trait Uplink: AsFd + Send + std::fmt::Debug {
    /// Receives one frame into `buffer` (at least [`FRAME_BYTES`]).
    fn recv(&self, buffer: &mut [u8]) -> Result<(Offload, usize), FrameError>;

    /// Sends one frame; the kernel takes all of it or none.
    fn send(&self, offload: Offload, frame: &[u8]) -> Result<(), FrameError>;
}

/// The largest frame: 64 KB of IP and an Ethernet header, with room for a VLAN tag.
pub const FRAME_BYTES: usize = 65_536 + 18;
