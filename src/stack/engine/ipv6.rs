//! IPv6 frames: whom they may be from, and what becomes of them.
//!
//! A container sends from what was attached. It also gives itself a link-local address, formed however it likes; that is
//! good for neighbour discovery, for DHCPv6 and for pings of the gateway, and for nothing that is remembered: there are
//! 2^64 of them, and the limits count by address.

use std::net::IpAddr;

use smoltcp::time::Instant;
use smoltcp::wire::{EthernetFrame, IpProtocol};

use super::Engine;
use crate::stack::Offload;
use crate::stack::counters::Discard;
use crate::stack::frame::{Packet, Place};
use crate::stack::icmp::IcmpError;
use crate::stack::ndp;
use crate::stack::types::Passage;

impl Engine {
    pub(super) fn receive_ipv6<'f>(
        &mut self,
        now: Instant,
        offload: Offload,
        frame: &EthernetFrame<&'f [u8]>,
    ) -> Result<Passage<'f>, Discard> {
        if self.config.ipv6.is_none() {
            return Err(Discard::Ipv6);
        }
        let packet = Packet::parse_v6(frame)?;
        if let Some(place) = packet.place.filter(Place::is_part) {
            return self.receive_fragment(now, offload, frame, &packet, place);
        }
        let kind = packet
            .payload()
            .first()
            .filter(|_| packet.protocol == IpProtocol::Icmpv6);
        if kind.is_some_and(|kind| ndp::TYPES.contains(kind)) {
            // RFC 6980 section 5: not even an atomic fragment.
            if packet.place.is_some() {
                return Err(Discard::Neighbour);
            }
            return self.receive_neighbour(now, frame, &packet).map(|()| Passage::Done);
        }
        if self.is_for_servers(&packet) {
            return self
                .receive_dhcpv6(now, offload, frame, &packet)
                .map(|()| Passage::Done);
        }
        if frame.dst_addr() != self.config.gateway_mac {
            return Err(Discard::NotForUs);
        }
        self.check_source_v6(&packet)?;
        // A mapped address never stands on the wire (RFC 4038 section 4.2).
        if packet.target != packet.target.to_canonical() {
            return Err(Discard::Nowhere);
        }
        if let Some(passage) = self.relay(now, offload, frame, &packet)? {
            return Ok(passage);
        }
        if packet.time_to_live == 1 && !self.config.policy.is_ours(packet.target) {
            self.report(now, IcmpError::TimeExceeded, packet.source, packet.bytes);
            return Err(Discard::TimeToLive);
        }
        match packet.protocol {
            IpProtocol::Tcp if packet.is_extended() => self.receive_extended_tcp(now, offload, &packet),
            IpProtocol::Tcp => self.receive_tcp(now, offload, &packet),
            IpProtocol::Udp => self.receive_udp(now, offload, &packet),
            IpProtocol::Icmpv6 => self.receive_icmpv6(now, offload, &packet),
            IpProtocol::HopByHop
            | IpProtocol::Icmp
            | IpProtocol::Igmp
            | IpProtocol::Ipv6Route
            | IpProtocol::Ipv6Frag
            | IpProtocol::IpSecEsp
            | IpProtocol::IpSecAh
            | IpProtocol::Ipv6NoNxt
            | IpProtocol::Ipv6Opts
            | IpProtocol::Unknown(_) => Err(Discard::Protocol),
        }
    }

    fn receive_extended_tcp(
        &mut self,
        now: Instant,
        offload: Offload,
        packet: &Packet<'_>,
    ) -> Result<Passage<'static>, Discard> {
        let mut plain = std::mem::take(&mut self.plain);
        let passage = self.receive_tcp(now, offload, &packet.without_extensions(&mut plain));
        self.plain = plain;
        passage
    }

    fn check_source_v6(&mut self, packet: &Packet<'_>) -> Result<(), Discard> {
        let to_gateway = self.config.policy.is_ours(packet.target);
        let link_local = is_link_local(packet.source);
        if self.admit(packet.mac, packet.source).is_ok() {
            // No router forwards what has a link-local sender (RFC 4291 section 2.5.6).
            return if link_local && !to_gateway {
                Err(Discard::Nowhere)
            } else {
                Ok(())
            };
        }
        let echo = to_gateway && packet.protocol == IpProtocol::Icmpv6;
        if echo && self.is_own_link_local(packet) {
            Ok(())
        } else {
            Err(Discard::Spoofed)
        }
    }

    /// Whether the sender is attached and calls itself by a link-local address that nobody was given.
    pub(super) fn is_own_link_local(&self, packet: &Packet<'_>) -> bool {
        let free = packet.source != IpAddr::V6(self.config.policy.layout.link_local)
            && self.containers.get(packet.source).is_none();
        is_link_local(packet.source) && free && self.containers.serves(packet.mac)
    }
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}
