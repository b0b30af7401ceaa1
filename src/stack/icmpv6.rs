//! ICMPv6 errors: what a container is told when its packet goes no further, and the checksum of what it says itself.
//!
//! The errors are those of [`icmp`](super::icmp) in the words of RFC 4443; so are the rules of who may be told
//! (section 2.4 e): nobody about an error, a multicast or a packet without a proper sender.

use std::net::{IpAddr, Ipv6Addr};

use smoltcp::wire::{EthernetAddress, EthernetProtocol, IpProtocol, Ipv6Packet, checksum};

use super::Offload;
use super::control::Control;
use super::ends::Ends;
use super::frame::{ETHERNET_HEADER, Packet, write_ethernet};
use super::icmp::IcmpError;
use super::ipv6::IPV6_HEADER;

/// The gateway's addresses and the container's, and who reports if it is neither gateway nor target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) gateway_mac: EthernetAddress,
    pub(super) gateway: Ipv6Addr,
    pub(super) mac: EthernetAddress,
    pub(super) reporter: Option<Ipv6Addr>,
}

/// Queues the error about `packet`, an IPv6 packet with a checked header. False when the queue is full.
pub(super) fn send(error: IcmpError, control: &mut Control, way: Way, packet: &[u8]) -> bool {
    let about = Ipv6Packet::new_unchecked(packet);
    let usual = match error {
        IcmpError::Port | IcmpError::Protocol => about.dst_addr(),
        IcmpError::Network
        | IcmpError::Host
        | IcmpError::TooBig { .. }
        | IcmpError::Parameter
        | IcmpError::SourceRoute
        | IcmpError::HostUnknown
        | IcmpError::Isolated
        | IcmpError::Prohibited
        | IcmpError::TimeExceeded => way.gateway,
    };
    let source = way.reporter.unwrap_or(usual);
    let ends = Ends::V6 {
        source,
        target: about.src_addr(),
    };
    let quoted = &packet[..packet.len().min(MAX_QUOTE)];
    send_message(
        control,
        (way.gateway_mac, way.mac),
        ends,
        (HEAD + quoted.len(), USUAL),
        |message| {
            message[..2].copy_from_slice(&kind_and_code(error));
            message[4..HEAD].copy_from_slice(&detail(error).to_be_bytes());
            message[HEAD..].copy_from_slice(quoted);
        },
    )
}

/// Queues a message of `len` bytes and a hop limit, which `write` fills in but for its checksum. False when the queue is full.
fn send_message(
    control: &mut Control,
    (gateway_mac, mac): (EthernetAddress, EthernetAddress),
    ends: Ends,
    (len, hop_limit): (usize, u8),
    write: impl FnOnce(&mut [u8]),
) -> bool {
    control.push(Offload::default(), ETHERNET_HEADER + IPV6_HEADER + len, |out| {
        write_ethernet(out, gateway_mac, mac, EthernetProtocol::Ipv6);
        ends.write(&mut out[ETHERNET_HEADER..], IpProtocol::Icmpv6, len, None);
        Ipv6Packet::new_unchecked(&mut out[ETHERNET_HEADER..]).set_hop_limit(hop_limit);
        let message = &mut out[ETHERNET_HEADER + IPV6_HEADER..];
        write(message);
        let pseudo = ends.pseudo_sum(IpProtocol::Icmpv6, len);
        let sum = !checksum::combine(&[pseudo, checksum::data(message)]);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    })
}

/// RFC 4443 section 3. What only IPv4 distinguishes is an address that cannot be reached.
fn kind_and_code(error: IcmpError) -> [u8; 2] {
    match error {
        IcmpError::Network => [1, 0],
        IcmpError::Prohibited => [1, 1],
        IcmpError::Host | IcmpError::SourceRoute | IcmpError::HostUnknown | IcmpError::Isolated => [1, 3],
        IcmpError::Port => [1, 4],
        IcmpError::TooBig { .. } => [2, 0],
        IcmpError::TimeExceeded => [3, 0],
        IcmpError::Parameter => [4, 0],
        IcmpError::Protocol => [4, 1],
    }
}

/// The word after the checksum: the MTU (section 3.2), or where the packet names the protocol (section 3.4).
fn detail(error: IcmpError) -> u32 {
    match error {
        IcmpError::TooBig { mtu } => mtu.into(),
        IcmpError::Protocol => NEXT_HEADER,
        IcmpError::Network
        | IcmpError::Host
        | IcmpError::Port
        | IcmpError::Parameter
        | IcmpError::SourceRoute
        | IcmpError::HostUnknown
        | IcmpError::Isolated
        | IcmpError::Prohibited
        | IcmpError::TimeExceeded => 0,
    }
}

/// Queues a message of neighbour discovery: of a hop limit by which the receiver sees that it is from this link.
pub(super) fn send_on_link(
    control: &mut Control,
    macs: (EthernetAddress, EthernetAddress),
    ends: Ends,
    len: usize,
    write: impl FnOnce(&mut [u8]),
) -> bool {
    send_message(control, macs, ends, (len, ON_LINK), write)
}

/// Whether an error may be sent about `packet`, an IPv6 packet with a checked header. In doubt, behind extension headers,
/// only if it is not ICMPv6 at all.
pub(super) fn may_be_reported(packet: &[u8]) -> bool {
    let about = Ipv6Packet::new_unchecked(packet);
    let (source, target) = (about.src_addr(), about.dst_addr());
    let answerable = !source.is_multicast() && !source.is_unspecified() && !target.is_multicast();
    let plain = matches!(about.next_header(), IpProtocol::Tcp | IpProtocol::Udp);
    let echo = about.next_header() == IpProtocol::Icmpv6 && packet.get(IPV6_HEADER) == Some(&ECHO_REQUEST);
    answerable && (plain || echo)
}

/// Whether the sum of the ICMPv6 message in `packet` is right.
pub(super) fn has_good_checksum(packet: &Packet<'_>) -> bool {
    let (IpAddr::V6(source), IpAddr::V6(target)) = (packet.source, packet.target) else {
        return false;
    };
    let message = packet.payload();
    let pseudo = Ends::V6 { source, target }.pseudo_sum(IpProtocol::Icmpv6, message.len());
    checksum::combine(&[pseudo, checksum::data(message)]) == u16::MAX
}

/// The hop limit of neighbour discovery (RFC 4861 section 7.1), and of all else.
const ON_LINK: u8 = 255;
const USUAL: u8 = 64;

/// Where the IPv6 header says what follows.
const NEXT_HEADER: u32 = 6;

/// Bytes before the quotation.
const HEAD: usize = 8;

/// RFC 4443 section 3: as much of the packet as fits the smallest MTU of IPv6.
pub(super) const MAX_QUOTE: usize = 1280 - IPV6_HEADER - HEAD;

/// RFC 4443 section 4.1.
pub(super) const ECHO_REQUEST: u8 = 128;
