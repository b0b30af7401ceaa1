//! Memory for one frame, that lies well with the kernel's.
//!
//! A superframe is copied between this memory and pages of the kernel's, whose first byte is the first behind the headers
//! (`tun_alloc_skb`, `packet_alloc_skb`). Processors copy slower by a tenth to a third where the two ends do not lie alike
//! within 32 bytes, and so does everybody who copies the frame after us. So a place in the buffer is chosen to lie on a
//! cache line: where payload begins.

use std::ops::{Deref, DerefMut};

use crate::stack::CACHE_LINE;

/// Bytes, one of them on a cache line.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    memory: Box<[u8]>,
    begin: usize,
}

impl Buffer {
    /// Room for `bytes`, of which the one at `payload` is on a cache line.
    pub(super) fn new(bytes: usize, payload: usize) -> Self {
        let memory = vec![0; bytes + CACHE_LINE].into_boxed_slice();
        let begin = memory.as_ptr().addr().wrapping_add(payload).wrapping_neg() % CACHE_LINE;
        Self { memory, begin }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.begin..]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.begin..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_lies_on_a_cache_line() {
        for payload in [0, 10, 54, 64, 74] {
            let buffer = Buffer::new(1000, payload);
            assert_eq!(buffer[payload..].as_ptr().addr() % CACHE_LINE, 0, "{payload}");
            assert!(buffer.len() >= 1000);
        }
    }
}
