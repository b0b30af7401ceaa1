//! Fragments from containers: who may send them, and what may not have been cut.

use smoltcp::time::Instant;
use smoltcp::wire::{EthernetFrame, IpProtocol};

use super::Engine;
use crate::stack::Offload;
use crate::stack::counters::Discard;
use crate::stack::frame::{Packet, Place, ethernet};
use crate::stack::ndp;
use crate::stack::timer::Deadline;
use crate::stack::types::Passage;

impl Engine {
    /// Keeps a part of a datagram, or gives the whole back that it completes. Only what is attached may make us
    /// remember; all else is checked of the whole.
    pub(super) fn receive_fragment(
        &mut self,
        now: Instant,
        offload: Offload,
        frame: &EthernetFrame<&[u8]>,
        packet: &Packet<'_>,
        place: Place,
    ) -> Result<Passage<'static>, Discard> {
        let gateway_mac = self.config.gateway_mac;
        if frame.dst_addr() != gateway_mac {
            return Err(Discard::NotForUs);
        }
        self.admit(packet.mac, packet.source)?;
        // What the kernel has yet to cut or to sum up is no fragment.
        if offload.gso.is_some() || offload.partial_checksum.is_some() {
            return Err(Discard::Malformed);
        }
        let put = self.fragments.put(now, gateway_mac, packet, place, &mut self.counters);
        self.arm_fragments();
        let Some(frame) = put? else {
            return Ok(Passage::Done);
        };
        check_whole(&frame)?;
        self.counters.reassembled += 1;
        Ok(Passage::Whole { frame })
    }

    pub(super) fn fragments_timeout(&mut self, now: Instant) {
        self.fragments.armed = None;
        self.fragments.expire(now, &mut self.counters);
        self.arm_fragments();
    }

    fn arm_fragments(&mut self) {
        if let Some(at) = self.fragments.expiry() {
            self.timers.arm(&mut self.fragments.armed, Deadline::Fragments, at);
        }
    }
}

/// Turns away what may not be cut: a fragment, for it might hold another one in turn and so on, and neighbour discovery
/// (RFC 6980 section 5).
fn check_whole(frame: &[u8]) -> Result<(), Discard> {
    let packet = Packet::parse(&ethernet(frame)?)?;
    if packet.place.is_some() {
        return Err(Discard::Fragment);
    }
    let kind = packet.payload().first();
    if packet.protocol == IpProtocol::Icmpv6 && kind.is_some_and(|kind| ndp::TYPES.contains(kind)) {
        return Err(Discard::Neighbour);
    }
    Ok(())
}
