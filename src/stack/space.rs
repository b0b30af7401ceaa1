//! The sequence space of a connection, as far as it can be read from the segments that pass.
//!
//! smoltcp keeps these numbers to itself; the guard in front of it and the segments written without it need them.

use smoltcp::wire::TcpPacket;

use super::frame::IPV4_HEADER;
use super::ipv6::{IPV6_HEADER, is_ipv6};
use super::segment::{Segment, before};

/// Both directions.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Space {
    /// The highest sequence number sent, plus one: SND.NXT.
    pub(super) sent: u32,
    /// The highest acknowledgement received: SND.UNA.
    pub(super) acked: u32,
    /// The last acknowledgement sent.
    pub(super) last_ack: u32,
    /// The window sent with it, unscaled.
    pub(super) last_window: u16,
    /// The shift of our windows.
    pub(super) shift: u32,
    /// The shift of the container's windows.
    pub(super) peer_shift: u32,
    /// Bytes that the container takes from `acked` on.
    pub(super) peer_window: u32,
    /// The container's initial sequence number.
    pub(super) peer_initial: u32,
    /// The highest sequence number received with payload, plus one.
    furthest: u32,
    /// The container was sent something since it last sent something.
    pub(super) answered: bool,
    /// Bytes given to the host.
    pub(super) drained: u32,
    /// Something was sent already, so the fields above count.
    started: bool,
}

impl Space {
    /// Takes over what the container's SYN says about its side; `ring` is our own side's ring in bytes.
    pub(super) fn meet(&mut self, syn: &Segment, ring: usize) {
        self.peer_initial = syn.seq;
        self.furthest = syn.seq.wrapping_add(1);
        if let Some(scale) = syn.scale {
            let bits = usize::BITS - ring.leading_zeros();
            self.shift = bits.saturating_sub(u16::BITS);
            self.peer_shift = scale.min(MAX_WINDOW_SCALE);
        }
    }

    /// Reads a segment that was shown to smoltcp.
    pub(super) fn note_received(&mut self, segment: &Segment) {
        let (acked, sent) = (self.acked, self.sent);
        if let Some(ack) = segment.ack.filter(|ack| before(acked, *ack) && !before(sent, *ack)) {
            self.acked = ack;
        }
        // Of what repeats something old, a keep-alive for one, smoltcp does not read the window either.
        if !segment.syn && segment.ack == Some(self.acked) && !before(segment.seq, self.last_ack) {
            self.peer_window = u32::from(segment.window) << self.peer_shift;
        }
        self.answered &= segment.len == 0;
        let end = segment.end().wrapping_sub(u32::from(segment.fin));
        if segment.len > 0 && before(self.furthest, end) {
            self.furthest = end;
        }
    }

    /// Whether something was received that lies beyond `next`, the next byte in order. smoltcp may not have kept it, but
    /// then it comes again.
    pub(super) fn has_gap(&self, next: u32) -> bool {
        before(next, self.furthest)
    }

    /// Reads an IP packet of smoltcp's, which has neither options nor extension headers.
    pub(super) fn note_sent(&mut self, packet: &[u8]) {
        let header = if is_ipv6(packet) { IPV6_HEADER } else { IPV4_HEADER };
        let payload = packet.get(header..).unwrap_or_default();
        let Ok(segment) = TcpPacket::new_checked(payload) else {
            return;
        };
        let sent = Segment::of(&segment);
        // It answers a segment that is none of this connection's, and its number is that segment's.
        if sent.rst {
            return;
        }
        if !self.started {
            self.started = true;
            self.sent = sent.seq;
            self.acked = sent.seq;
        }
        if before(self.sent, sent.end()) {
            self.sent = sent.end();
        }
        self.answered |= sent.len > 0;
        if let Some(ack) = sent.ack {
            self.last_ack = ack;
            self.last_window = sent.window;
        }
    }
}

/// RFC 7323 section 2.3.
const MAX_WINDOW_SCALE: u32 = 14;
