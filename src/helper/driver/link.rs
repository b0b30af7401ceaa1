//! The way out of a worker: its queue of the uplink, and what is written there.

use std::sync::Arc;

use super::buffer::Buffer;
use crate::stack::{OUT_BYTES, Offload, Transmit};
use crate::uplink::Uplink;

/// The uplink with the one buffer that every outgoing frame is written into.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) uplink: Arc<dyn Uplink>,
    pub(super) buffer: Buffer,
    /// Frames that the kernel had no room for; TCP sends them again, datagrams are lost as on any wire.
    pub(super) dropped: u64,
}

impl Link {
    pub(super) fn new(uplink: Arc<dyn Uplink>) -> Self {
        Self {
            uplink,
            buffer: Buffer::new(OUT_BYTES, 0),
            dropped: 0,
        }
    }

    /// Sends a frame as it came, with another header in front.
    pub(super) fn pass_on(&mut self, offload: Offload, frame: &[u8], head: &[u8]) {
        let rest = frame.get(head.len()..).unwrap_or_default();
        if let Err(error) = self.uplink.send_parts(offload, [head, rest]) {
            self.dropped += 1;
            tracing::debug!(%error, len = frame.len(), "frame between containers dropped");
        }
    }

    /// Sends what the engine wrote into the buffer.
    pub(super) fn send(&mut self, transmit: Transmit) {
        if let Err(error) = self.uplink.send(transmit.offload, transmit.frame(&self.buffer)) {
            self.dropped += 1;
            tracing::debug!(%error, len = transmit.len, "frame to the bridge dropped");
        }
    }
}
