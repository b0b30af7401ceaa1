//! Router advertisements: what is said to a container that configures itself, when it asks and from then on now and then,
//! as what it was told expires.
//!
//! The answer is for all nodes or for the sender's address, and in either case goes to the hardware that asked and to no
//! other container (RFC 6085). Who asks too often is not answered. There is one timer; it stops with the last container.

use std::net::{IpAddr, Ipv6Addr};

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::EthernetAddress;

use super::neighbours::{ALL_NODES, ALL_NODES_MAC};
use super::{Engine, v6};
use crate::stack::counters::Discard;
use crate::stack::dhcp::Dhcp;
use crate::stack::ends::Ends;
use crate::stack::frame::Packet;
use crate::stack::icmpv6;
use crate::stack::router::{Advertisement, PAUSE, parse_solicitation};
use crate::stack::timer::Deadline;

impl Engine {
    /// Answers a solicitation, of which sender, hop limit and checksum are good.
    pub(super) fn receive_router_solicitation(&mut self, now: Instant, packet: &Packet<'_>) -> Result<(), Discard> {
        let sender = parse_solicitation(packet.payload())?;
        if sender.is_some_and(|sender| sender != packet.mac) {
            return Err(Discard::Spoofed);
        }
        let to = match packet.source {
            IpAddr::V6(source) if !source.is_unspecified() => source,
            // Nobody has no hardware address (RFC 4861 section 6.1.1).
            IpAddr::V6(_) if sender.is_some() => return Err(Discard::Malformed),
            IpAddr::V4(_) | IpAddr::V6(_) => ALL_NODES,
        };
        if !self.containers.may_solicit(now, packet.mac) || !self.advertise(packet.mac, to) {
            return Err(Discard::Full);
        }
        self.arm_advertisement(now);
        Ok(())
    }

    pub(super) fn advertisement_timeout(&mut self, now: Instant) {
        self.advertised = None;
        if !self.containers.is_empty() {
            // A queue that is full loses one, and two more come before what was said expires.
            self.advertise(ALL_NODES_MAC, ALL_NODES);
            self.arm_advertisement(now);
        }
    }

    fn arm_advertisement(&mut self, now: Instant) {
        let at = now + Duration::from_secs(PAUSE.into());
        self.timers.arm(&mut self.advertised, Deadline::Advertisement, at);
    }

    /// Whether it was queued.
    fn advertise(&mut self, mac: EthernetAddress, to: Ipv6Addr) -> bool {
        let gateway_mac = self.config.gateway_mac;
        let Some(ipv6) = self.config.ipv6 else { return false };
        let advertisement = Advertisement {
            mac: gateway_mac,
            mtu: self.config.mtu,
            ipv6,
            // Whoever may form an address has no need to ask for one.
            managed: !ipv6.autonomous && self.config.dhcp.as_ref().is_some_and(Dhcp::gives_ipv6),
            resolver: self.config.policy.resolver_beside(ipv6.gateway.into()).and_then(v6),
        };
        let ends = Ends::V6 {
            source: self.config.policy.layout.link_local,
            target: to,
        };
        icmpv6::send_on_link(
            &mut self.control,
            (gateway_mac, mac),
            ends,
            advertisement.len(),
            |out| advertisement.write(out),
        )
    }
}
