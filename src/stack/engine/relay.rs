//! Frames from one container to another that is linked to it, while the bridge keeps them apart.
//!
//! The two look for each other by ARP and neighbour discovery; the stack answers in the other's place with the gateway's
//! hardware address ([`arp`](super::arp), [`neighbours`](super::neighbours)), and passes on what comes so and
//! [`Links`](crate::stack::Links) admit. It stands for the bridge, not for a router: the packet leaves as it came, time to
//! live, checksum and offload header included, with other hardware addresses in front. So a superframe costs
//! no copy of ours. Datagrams that came in fragments were put together to see their ports, and are cut again.
//!
//! Only packets without IP options or extension headers pass, and with offloads only those whose offload header says what
//! the packet is: the kernel acts on it behind us, and must not be able to write another port into the packet.
//!
//! When containers are set apart, or together again, both ends of a link are told where the other is from now on: else
//! they would ask for a while where it was.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use smoltcp::time::Instant;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, TcpPacket,
    UdpPacket,
};

use super::{Engine, v4};
use crate::policy::links::{LinkProtocol, LinkRules};
use crate::stack::counters::Discard;
use crate::stack::datagram::Datagram;
use crate::stack::ends::Ends;
use crate::stack::frame::{ETHERNET_HEADER, IPV4_HEADER, Packet, write_ethernet};
use crate::stack::ipv6::IPV6_HEADER;
use crate::stack::links::{Content, Flags, Message};
use crate::stack::ndp::{ADVERTISEMENT, Standing, write_advertisement};
use crate::stack::types::{Passage, Payload};
use crate::stack::{Gso, GsoType, Offload, PartialChecksum, icmpv6};

impl Engine {
    /// Takes the links of the network, for all engines that share them.
    pub fn set_links(&mut self, rules: LinkRules) {
        let isolated = rules.isolated;
        let pairs: Vec<_> = rules.links.iter().map(|rule| (rule.parent, rule.child)).collect();
        if self.links.set(rules).isolated == isolated {
            return;
        }
        for (parent, child) in pairs {
            self.announce(parent, child, isolated);
            self.announce(child, parent, isolated);
        }
    }

    /// What to do with a packet for another container; `None`: it is for none. What no link carries is dropped in silence:
    /// the answer of somebody who is not there could end what a link goes on carrying a moment later.
    pub(super) fn relay(
        &mut self,
        now: Instant,
        offload: Offload,
        frame: &EthernetFrame<&[u8]>,
        packet: &Packet<'_>,
    ) -> Result<Option<Passage<'static>>, Discard> {
        let policy = &self.config.policy;
        if !policy.is_inside(packet.target) || policy.is_gateway(packet.target) {
            return Ok(None);
        }
        let Some(mac) = self.containers.get(packet.target).map(|container| container.mac) else {
            return Ok(None);
        };
        let message = message(packet).filter(|_| is_plain(packet));
        if !message.is_some_and(|message| self.links.admit(now, &message)) {
            return Err(Discard::Unlinked);
        }
        check_offload(offload, packet)?;
        let whole = offload.gso.is_some() || packet.bytes.len() <= usize::from(self.config.mtu);
        if !whole {
            return self.relay_in_parts(offload, packet, mac).map(Some);
        }
        self.counters.relayed += 1;
        self.counters.frames_out += 1;
        let mut head = [0; ETHERNET_HEADER];
        write_ethernet(&mut head, self.config.gateway_mac, mac, frame.ethertype());
        Ok(Some(Passage::Relay { head }))
    }

    /// A datagram that no frame has room for.
    fn relay_in_parts(
        &mut self,
        offload: Offload,
        packet: &Packet<'_>,
        mac: EthernetAddress,
    ) -> Result<Passage<'static>, Discard> {
        if packet.protocol != IpProtocol::Udp {
            return Err(Discard::Malformed);
        }
        let datagram = packet.udp(offload)?;
        let source = SocketAddr::new(packet.source, datagram.src_port());
        let target = SocketAddr::new(packet.target, datagram.dst_port());
        let parts = Datagram::udp(source, target, Payload::one(datagram.payload()));
        let link = self.link(mac).ok_or(Discard::Full)?;
        let queued = parts.is_some_and(|parts| parts.queue(link, &mut self.control));
        if !queued {
            return Err(Discard::Full);
        }
        self.counters.relayed += 1;
        Ok(Passage::Done)
    }

    /// Whether the stack answers in place of `target` when whoever has `mac` asks for it, by this address or, in IPv6, by
    /// one that it gave itself.
    pub(super) fn stands_for(&self, mac: EthernetAddress, asker: IpAddr, target: IpAddr) -> bool {
        if self.containers.get(target).is_none() {
            return false;
        }
        let is_asker = |address: IpAddr| self.containers.check_source(mac, address).is_ok();
        self.links.stands_for(asker, target) || self.links.askers(target).into_iter().any(is_asker)
    }

    /// Tells the container at `to` behind which hardware address it finds the one at `about`.
    fn announce(&mut self, to: IpAddr, about: IpAddr, isolated: bool) {
        let mac_of = |address| self.containers.get(address).map(|container| container.mac);
        let (Some(to_mac), Some(own)) = (mac_of(to), mac_of(about)) else {
            return;
        };
        let mac = if isolated { self.config.gateway_mac } else { own };
        match (about, to) {
            (IpAddr::V4(about), IpAddr::V4(_)) => self.announce_v4(to_mac, about, mac),
            (IpAddr::V6(about), IpAddr::V6(to)) => {
                let macs = (self.config.gateway_mac, to_mac);
                let ends = Ends::V6 {
                    source: about,
                    target: to,
                };
                // Lost when the queue is full: whoever was not told asks after a few seconds.
                icmpv6::send_on_link(&mut self.control, macs, ends, ADVERTISEMENT, |out| {
                    write_advertisement(out, about, mac, Standing::Host { solicited: false });
                });
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
        }
    }

    /// A gratuitous reply, in the shape that Linux believes at once (arp_is_garp, net/ipv4/arp.c).
    fn announce_v4(&mut self, to_mac: EthernetAddress, about: Ipv4Addr, mac: EthernetAddress) {
        let news = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: mac,
            source_protocol_addr: about,
            target_hardware_addr: mac,
            target_protocol_addr: about,
        };
        let gateway = self.config.gateway_mac;
        // As above.
        self.control
            .push(Offload::default(), ETHERNET_HEADER + news.buffer_len(), |out| {
                write_ethernet(out, gateway, to_mac, EthernetProtocol::Arp);
                news.emit(&mut ArpPacket::new_unchecked(&mut out[ETHERNET_HEADER..]));
            });
    }
}

/// The packet as links see it, if it is one that they carry.
fn message(packet: &Packet<'_>) -> Option<Message> {
    let ends = |source, target| {
        (
            SocketAddr::new(packet.source, source),
            SocketAddr::new(packet.target, target),
        )
    };
    let (ports, content) = match packet.protocol {
        IpProtocol::Tcp => {
            let segment = TcpPacket::new_checked(packet.payload()).ok()?;
            let flags = Flags {
                syn: segment.syn(),
                ack: segment.ack(),
                fin: segment.fin(),
                rst: segment.rst(),
            };
            ((segment.src_port(), segment.dst_port()), Content::Tcp(flags))
        }
        IpProtocol::Udp => {
            let datagram = UdpPacket::new_checked(packet.payload()).ok()?;
            ((datagram.src_port(), datagram.dst_port()), Content::Udp)
        }
        IpProtocol::Icmp | IpProtocol::Icmpv6 => {
            let (protocol, ports) = quoted(packet)?;
            (ports, Content::ErrorAbout(protocol))
        }
        IpProtocol::HopByHop
        | IpProtocol::Igmp
        | IpProtocol::Ipv6Route
        | IpProtocol::Ipv6Frag
        | IpProtocol::IpSecEsp
        | IpProtocol::IpSecAh
        | IpProtocol::Ipv6NoNxt
        | IpProtocol::Ipv6Opts
        | IpProtocol::Unknown(_) => return None,
    };
    let (source, target) = ends(ports.0, ports.1);
    Some(Message {
        source,
        target,
        content,
    })
}

/// What an ICMP error quotes, a packet that went from its target to its source: the protocol, and the ports as seen from
/// the error's own source.
fn quoted(packet: &Packet<'_>) -> Option<(LinkProtocol, (u16, u16))> {
    let (kind, inner) = (*packet.payload().first()?, packet.payload().get(ICMP_HEADER..)?);
    let (protocol, source, target, ports) = match packet.source {
        IpAddr::V4(_) if ERRORS.contains(&kind) => {
            let (header, rest) = inner.split_first_chunk::<IPV4_HEADER>()?;
            let words: &[u8; 4] = rest.first_chunk()?;
            if header[0] != PLAIN_IPV4 {
                return None;
            }
            let address = |at: usize| Some(IpAddr::from(*header.get(at..)?.first_chunk::<4>()?));
            (header[9], address(12)?, address(16)?, *words)
        }
        IpAddr::V6(_) if ERRORS_V6.contains(&kind) => {
            let (header, rest) = inner.split_first_chunk::<IPV6_HEADER>()?;
            let words: &[u8; 4] = rest.first_chunk()?;
            let address = |at: usize| Some(IpAddr::from(*header.get(at..)?.first_chunk::<16>()?));
            (header[6], address(8)?, address(24)?, *words)
        }
        IpAddr::V4(_) | IpAddr::V6(_) => return None,
    };
    if (source, target) != (packet.target, packet.source) {
        return None;
    }
    let protocol = match protocol {
        TCP => LinkProtocol::Tcp,
        UDP => LinkProtocol::Udp,
        _ => return None,
    };
    let [a, b, c, d] = ports;
    let (from, to) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Some((protocol, (to, from)))
}

/// Whether nothing stands between the IP header and what the packet carries.
fn is_plain(packet: &Packet<'_>) -> bool {
    let usual = if v4(packet.source).is_some() {
        IPV4_HEADER
    } else {
        IPV6_HEADER
    };
    packet.header == usual && packet.place.is_none()
}

/// The kernel at the other end does what this header says, after us: it must be about this very packet.
fn check_offload(offload: Offload, packet: &Packet<'_>) -> Result<(), Discard> {
    let (checksum, gso) = match (packet.protocol, packet.source) {
        (IpProtocol::Tcp, IpAddr::V4(_)) => (Some(TCP_CHECKSUM), Some(GsoType::TcpV4)),
        (IpProtocol::Tcp, IpAddr::V6(_)) => (Some(TCP_CHECKSUM), Some(GsoType::TcpV6)),
        (IpProtocol::Udp, _) => (Some(UDP_CHECKSUM), Some(GsoType::UdpL4)),
        (_, _) => (None, None),
    };
    let start = u16::try_from(ETHERNET_HEADER + packet.header).map_err(|_| Discard::Malformed)?;
    let place = checksum.map(|offset| PartialChecksum { start, offset });
    let told_truly = offload.partial_checksum.is_none_or(|told| Some(told) == place)
        && offload.gso.is_none_or(|Gso { kind, .. }| Some(kind) == gso);
    if told_truly { Ok(()) } else { Err(Discard::Malformed) }
}

/// Numbers in the IP header.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Where the checksum stands in the header (RFC 9293 section 3.1, RFC 768).
const TCP_CHECKSUM: u16 = 16;
const UDP_CHECKSUM: u16 = 6;

/// Bytes before the packet that an error quotes.
const ICMP_HEADER: usize = 8;

/// Version and length of an IPv4 header without options.
const PLAIN_IPV4: u8 = 0x45;

/// Destination unreachable, time exceeded, parameter problem (RFC 792); no redirect.
const ERRORS: [u8; 3] = [3, 11, 12];

/// The same with packet too big (RFC 4443 section 2.1).
const ERRORS_V6: std::ops::RangeInclusive<u8> = 1..=4;
