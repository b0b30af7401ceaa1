//! Small frames that wait for the uplink: ARP and ICMP, bare TCP segments, the later fragments of a datagram.
//!
//! They go before the flows' own frames. The queue is bounded, since containers decide how much is put into it: when it
//! is full, frames are lost as on any wire. Buffers come from a pool and go back to it.

use std::collections::VecDeque;

use super::Offload;
use super::types::Transmit;

/// The queue and its pool.
#[derive(Debug, Default)]
pub(super) struct Control {
    waiting: VecDeque<(Offload, Vec<u8>)>,
    pool: Vec<Vec<u8>>,
}

impl Control {
    /// Whether `frames` more find room.
    pub(super) fn has_room(&self, frames: usize) -> bool {
        self.waiting.len() + frames <= MAX_WAITING
    }

    /// Queues one frame of `len` zeroed bytes after `write` has filled it. False when the queue is full.
    pub(super) fn push(&mut self, offload: Offload, len: usize, write: impl FnOnce(&mut [u8])) -> bool {
        if !self.has_room(1) {
            return false;
        }
        let mut buffer = self.pool.pop().unwrap_or_default();
        buffer.clear();
        buffer.resize(len, 0);
        write(&mut buffer);
        self.waiting.push_back((offload, buffer));
        true
    }

    /// Writes the oldest frame to `out`.
    pub(super) fn pop(&mut self, out: &mut [u8]) -> Option<Transmit> {
        let (offload, buffer) = self.waiting.pop_front()?;
        let len = buffer.len();
        out[..len].copy_from_slice(&buffer);
        if self.pool.len() < MAX_POOLED {
            self.pool.push(buffer);
        }
        Some(Transmit { offload, start: 0, len })
    }
}

/// Frames; one batch of the shell from the uplink is smaller, so a full queue means that the uplink does not drain.
const MAX_WAITING: usize = 1024;

/// Buffers kept for the next frames; 64 of at most one MTU each are below 100 KB.
const MAX_POOLED: usize = 64;
