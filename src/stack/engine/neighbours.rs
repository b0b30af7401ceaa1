//! Neighbour discovery (RFC 4861): the gateway's two addresses are answered for, those at the other end of a link that the
//! stack carries ([`relay`](super::relay)), routers are asked for ([`routers`](super::routers)), everything else is not ours.
//!
//! Nothing is learned, and advertisements of containers are nobody's business. What ARP is to IPv4; so is the rule that a
//! sender who is not what was attached is counted as spoofed, whatever it asks.

use std::net::{IpAddr, Ipv6Addr};

use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, EthernetFrame};

use super::Engine;
use crate::stack::counters::Discard;
use crate::stack::ends::Ends;
use crate::stack::frame::Packet;
use crate::stack::icmpv6;
use crate::stack::ndp::{ADVERTISEMENT, NEIGHBOUR_SOLICITATION, Solicitation, Standing, write_advertisement};
use crate::stack::router::ROUTER_SOLICITATION;

impl Engine {
    pub(super) fn receive_neighbour(
        &mut self,
        now: Instant,
        frame: &EthernetFrame<&[u8]>,
        packet: &Packet<'_>,
    ) -> Result<(), Discard> {
        let multicast = packet.target.is_multicast() && frame.dst_addr().is_multicast();
        if frame.dst_addr() != self.config.gateway_mac && !multicast {
            return Err(Discard::NotForUs);
        }
        // From no farther than this link (section 7.1.1).
        if packet.time_to_live != HOP_LIMIT {
            return Err(Discard::Malformed);
        }
        if !icmpv6::has_good_checksum(packet) {
            return Err(Discard::Checksum);
        }
        self.check_neighbour(packet)?;
        match packet.payload().first() {
            Some(&NEIGHBOUR_SOLICITATION) => {
                let solicitation = Solicitation::parse(packet.payload())?;
                self.answer_solicitation(packet, solicitation)
            }
            Some(&ROUTER_SOLICITATION) => self.receive_router_solicitation(now, packet),
            Some(_) | None => Err(Discard::Neighbour),
        }
    }

    /// A probe for a duplicate (RFC 4862 section 5.4.2) has no sender's address and claims nothing.
    fn check_neighbour(&mut self, packet: &Packet<'_>) -> Result<(), Discard> {
        let nobody = packet.source.is_unspecified() && self.containers.serves(packet.mac);
        if nobody || self.is_own_link_local(packet) {
            return Ok(());
        }
        self.admit(packet.mac, packet.source)
    }

    fn answer_solicitation(&mut self, packet: &Packet<'_>, solicitation: Solicitation) -> Result<(), Discard> {
        let Solicitation { target, sender } = solicitation;
        if sender.is_some_and(|sender| sender != packet.mac) {
            return Err(Discard::Spoofed);
        }
        let probe = packet.source.is_unspecified();
        if probe && (sender.is_some() || !packet.target.is_multicast()) {
            return Err(Discard::Malformed);
        }
        let solicited = !probe;
        let policy = &self.config.policy;
        // Whoever probes may be about to have it, where we stand in for others.
        let ours = policy.is_ours(target.into()) || solicited && policy.answers_for(target.into());
        let standing = if policy.is_gateway(target.into()) {
            Standing::Router { solicited }
        } else if ours || solicited && self.stands_for(packet.mac, packet.source, target.into()) {
            Standing::Host { solicited }
        } else {
            return Err(Discard::Neighbour);
        };
        // Whoever probes has no address to be answered at: section 7.2.4.
        let (to, mac) = match packet.source {
            IpAddr::V6(source) if !probe => (source, packet.mac),
            IpAddr::V4(_) | IpAddr::V6(_) => (ALL_NODES, ALL_NODES_MAC),
        };
        let gateway_mac = self.config.gateway_mac;
        let ends = Ends::V6 {
            source: target,
            target: to,
        };
        let queued = icmpv6::send_on_link(&mut self.control, (gateway_mac, mac), ends, ADVERTISEMENT, |out| {
            write_advertisement(out, target, gateway_mac, standing);
        });
        if queued { Ok(()) } else { Err(Discard::Full) }
    }
}

/// What a message that was sent on this link still has.
const HOP_LIMIT: u8 = 255;

/// RFC 4291 section 2.7.1, and RFC 2464 section 7.
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
pub(super) const ALL_NODES_MAC: EthernetAddress = EthernetAddress([0x33, 0x33, 0, 0, 0, 1]);
