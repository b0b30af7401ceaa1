//! ARP (RFC 826): the addresses that are ours are answered for, and those at the other end of a link that the stack carries
//! ([`relay`](super::relay)); everything else is not our business.
//!
//! Nothing is learned. A sender that is not what was attached, such as one that claims the gateway's address or a
//! neighbour's, is counted as spoofed, whatever it asks.

use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol};

use super::Engine;
use crate::stack::Offload;
use crate::stack::counters::Discard;
use crate::stack::frame::{ETHERNET_HEADER, write_ethernet};

impl Engine {
    pub(super) fn receive_arp(&mut self, frame: &EthernetFrame<&[u8]>) -> Result<(), Discard> {
        let destination = frame.dst_addr();
        if destination != self.config.gateway_mac && !destination.is_broadcast() {
            return Err(Discard::NotForUs);
        }
        let packet = ArpPacket::new_checked(frame.payload()).map_err(|_| Discard::Truncated)?;
        let ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr,
            target_protocol_addr,
            ..
        } = ArpRepr::parse(&packet).map_err(|_| Discard::Arp)?
        else {
            return Err(Discard::Arp);
        };
        if source_hardware_addr != frame.src_addr() {
            return Err(Discard::Spoofed);
        }
        // A probe (RFC 5227) has no sender's address and claims nothing; the answer says that the address is in use.
        if !source_protocol_addr.is_unspecified() {
            self.admit(source_hardware_addr, source_protocol_addr.into())?;
        }
        // Whoever proclaims an address asks for it as its own (RFC 5227 section 3).
        let policy = &self.config.policy;
        let ours = if source_protocol_addr.is_unspecified() {
            // Whoever probes may be about to have it, where we stand in for others.
            policy.is_ours(target_protocol_addr.into())
        } else {
            policy.answers_for(target_protocol_addr.into()) && source_protocol_addr != target_protocol_addr
        };
        let for_another = || {
            let (asker, target) = (source_protocol_addr.into(), target_protocol_addr.into());
            self.stands_for(source_hardware_addr, asker, target)
        };
        let ours = ours || for_another();
        if operation != ArpOperation::Request || !ours {
            return Err(Discard::Arp);
        }
        let asking = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: self.config.gateway_mac,
            source_protocol_addr: target_protocol_addr,
            target_hardware_addr: source_hardware_addr,
            target_protocol_addr: source_protocol_addr,
        };
        self.answer_arp(asking, source_hardware_addr)
    }

    fn answer_arp(&mut self, answer: ArpRepr, target: EthernetAddress) -> Result<(), Discard> {
        let gateway = self.config.gateway_mac;
        let queued = self
            .control
            .push(Offload::default(), ETHERNET_HEADER + answer.buffer_len(), |out| {
                write_ethernet(out, gateway, target, EthernetProtocol::Arp);
                answer.emit(&mut ArpPacket::new_unchecked(&mut out[ETHERNET_HEADER..]));
            });
        if queued { Ok(()) } else { Err(Discard::Full) }
    }
}
