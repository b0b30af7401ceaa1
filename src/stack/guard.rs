//! What is decided about a segment before smoltcp sees it.
//!
//! RFC 5961: smoltcp 0.14 takes any reset inside the window, and drops a SYN on an open connection in silence. Here a
//! reset counts only if it is exactly where the next byte would be (section 3.2), one elsewhere in the window and any SYN
//! (section 4.2) are challenged, and so is an acknowledgement of what was never sent (section 5.2), which smoltcp would
//! believe as long as the bytes wait in its ring. No reset ever reaches smoltcp.
//!
//! Seven more things are mended on the way in, each found in smoltcp 0.14's `socket/tcp.rs`:
//!
//! - after its SYN it accepts data up to the unscaled window *shifted by the scale*, beyond its own ring, and panics when
//!   such data is put in order. What would not fit the ring is cut off here, by dropping the segment;
//! - a FIN behind payload of which only a part is inside the window is taken although bytes before it are missing; the
//!   FIN is taken off such a segment and comes again with the retransmission;
//! - a FIN that is new behind payload that is old counts for outside the window; it is shown without the payload;
//! - a segment with an old acknowledgement is dropped together with its payload, so that data reordered by the network
//!   would have to be sent again; its acknowledgement is raised to the present one;
//! - three duplicate acknowledgements while only our FIN is outstanding stop the timer that would send it again, so these
//!   are kept from it;
//! - an acknowledgement that closes the window while more is on its way has it probe behind what is on its way, and forget
//!   the timer that would send that again. Linux says so when it has no memory for what it drops (tcp_select_window,
//!   ICSK_ACK_NOMEM). It is shown the least window that is one, and hears of the closed one when it has sent again;
//! - windows are told in units of 2^scale bytes, rounded down, so one may end before the last one did, and what was sent up
//!   to there is cut. The container goes on with the number behind it (tcp_acceptable_seq allows for such a difference), and
//!   whatever it acknowledges then would count for outside the window; it is shown where the next byte would be.

use smoltcp::socket::tcp::State;
use smoltcp::wire::TcpPacket;

use super::frame::Packet;
use super::ipv6::fix_length;
use super::segment::{Segment, before, wire_number};
use super::tcp::Connection;

/// What to do with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Show it to smoltcp.
    Pass,
    /// Show it to smoltcp with these changes.
    Amend(Amendment),
    /// Answer with a challenge ACK.
    Challenge,
    /// The container has reset the connection.
    Reset,
    /// Nothing.
    Ignore,
}

/// Changes to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Amendment {
    /// Take the FIN off.
    pub(super) without_fin: bool,
    /// Take the payload off, if there is any, and put what is left, a FIN or nothing, at this sequence number.
    pub(super) empty_at: Option<u32>,
    /// Another acknowledgement, and the window that goes with it.
    pub(super) ack: Option<(u32, u16)>,
}

impl Amendment {
    /// Copies `packet` with these changes.
    pub(super) fn apply(&self, packet: &Packet<'_>, copy: &mut Vec<u8>) {
        copy.clear();
        copy.extend_from_slice(packet.bytes);
        let mut segment = TcpPacket::new_unchecked(&mut copy[packet.header..]);
        if let Some((ack, window)) = self.ack {
            segment.set_ack_number(wire_number(ack));
            segment.set_window_len(window);
        }
        if self.without_fin {
            segment.set_fin(false);
        }
        if let Some(seq) = self.empty_at {
            segment.set_seq_number(wire_number(seq));
            let headers = packet.header + usize::from(segment.header_len());
            copy.truncate(headers);
            fix_length(copy);
        }
    }
}

impl Connection {
    /// Judges a segment of this connection's tuple.
    pub(super) fn judge(&self, segment: &Segment) -> Verdict {
        match self.state() {
            State::SynSent => self.judge_while_calling(segment),
            State::Listen | State::SynReceived => self.judge_while_answering(segment),
            State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck
            | State::TimeWait
            | State::Closed => self.judge_open(segment),
        }
    }

    /// SYN-SENT: a reset counts if it acknowledges our SYN (RFC 9293 section 3.10.7.3).
    fn judge_while_calling(&self, segment: &Segment) -> Verdict {
        match segment.ack {
            Some(ack) if segment.rst && ack == self.space.sent => Verdict::Reset,
            _ if segment.rst => Verdict::Ignore,
            _ => Verdict::Pass,
        }
    }

    /// SYN-RECEIVED: a SYN that comes again is answered by the retransmission of our own.
    fn judge_while_answering(&self, segment: &Segment) -> Verdict {
        if segment.rst {
            return if segment.seq == self.next_expected() {
                Verdict::Reset
            } else {
                Verdict::Ignore
            };
        }
        if segment.syn {
            return Verdict::Ignore;
        }
        self.judge_text(segment)
    }

    fn judge_open(&self, segment: &Segment) -> Verdict {
        if segment.rst {
            return self.judge_reset(segment.seq);
        }
        if segment.syn || segment.ack.is_some_and(|ack| before(self.space.sent, ack)) {
            return Verdict::Challenge;
        }
        self.judge_text(segment)
    }

    fn judge_reset(&self, seq: u32) -> Verdict {
        let next = self.next_expected();
        if seq == next {
            return Verdict::Reset;
        }
        let inside = !before(seq, next) && before(seq, next.wrapping_add(self.room()));
        if inside { Verdict::Challenge } else { Verdict::Ignore }
    }

    fn judge_text(&self, segment: &Segment) -> Verdict {
        let end = segment.seq.wrapping_add(segment.len);
        if segment.len > 0 && before(self.next_expected().wrapping_add(self.room()), end) {
            return if self.is_established() {
                Verdict::Challenge
            } else {
                Verdict::Ignore
            };
        }
        if self.repeats_before_fin(segment) {
            return Verdict::Ignore;
        }
        let fin_alone = Some(end).filter(|_| segment.fin && segment.len > 0 && end == self.next_expected());
        let amendment = Amendment {
            without_fin: segment.fin && segment.len > 0 && before(self.window_edge(), end),
            empty_at: fin_alone.or_else(|| self.drawn_in(segment)),
            ack: self.raised(segment).or_else(|| self.left_open(segment)),
        };
        if amendment == Amendment::default() {
            Verdict::Pass
        } else {
            Verdict::Amend(amendment)
        }
    }

    /// An empty segment that acknowledges everything but our FIN once more; behind a gap, too.
    fn repeats_before_fin(&self, segment: &Segment) -> bool {
        let empty = segment.len == 0 && !segment.fin;
        empty && self.owes_only_fin() && segment.ack == Some(self.space.acked)
    }

    /// The present acknowledgement for data that carries an old one, no older than a window (RFC 5961 section 5.2). The
    /// window moves along: what it ended at stays where it was.
    fn raised(&self, segment: &Segment) -> Option<(u32, u16)> {
        let ack = segment
            .ack
            .filter(|ack| segment.len > 0 && before(*ack, self.space.acked))?;
        let age = self.space.acked.wrapping_sub(ack);
        if age > LARGEST_WINDOW {
            return None;
        }
        let passed = u16::try_from(age >> self.space.peer_shift).unwrap_or(u16::MAX);
        Some((self.space.acked, segment.window.saturating_sub(passed)))
    }

    /// The least window for an acknowledgement of a part of what was sent that closes it.
    fn left_open(&self, segment: &Segment) -> Option<(u32, u16)> {
        let part = |ack: &u32| before(self.space.acked, *ack) && before(*ack, self.space.sent);
        segment
            .ack
            .filter(part)
            .filter(|_| segment.window == 0)
            .map(|ack| (ack, 1))
    }

    /// Where the next byte would be, for an acknowledgement alone from behind our window and not from behind our ring. A FIN
    /// that may have been cut off has a number, too.
    fn drawn_in(&self, segment: &Segment) -> Option<u32> {
        let next = self.next_expected();
        let alone = segment.len == 0 && !segment.fin;
        let outside = before(next, segment.seq) && !before(segment.seq, self.window_edge());
        let end = next.wrapping_add(self.room()).wrapping_add(1);
        (alone && outside && !before(end, segment.seq)).then_some(next)
    }

    /// The right edge of the window as it was last sent.
    fn window_edge(&self) -> u32 {
        let window = u32::from(self.space.last_window) << self.space.shift;
        self.space.last_ack.wrapping_add(window)
    }
}

/// RFC 7323 section 2.3: a window is less than 2^30 bytes.
const LARGEST_WINDOW: u32 = 1 << 30;
