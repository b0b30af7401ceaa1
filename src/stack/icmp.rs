//! ICMP errors: what a container is told when its packet goes no further.
//!
//! Who may be told is decided here too: nobody about an error, a broadcast, a multicast or a packet without a proper
//! sender (RFC 1122 section 3.2.2). How often is the container's token bucket, which the engine asks.
//!
//! Sources: RFC 792, RFC 1812 sections 4.3.2 and 5.2.7.1.

use std::net::Ipv4Addr;

use smoltcp::wire::{EthernetAddress, EthernetProtocol, IpProtocol, Ipv4Packet, checksum};

use super::Offload;
use super::control::Control;
use super::frame::{ETHERNET_HEADER, IPV4_HEADER, Ipv4Header, write_ethernet};
use super::types::{Fault, Unreachable};

/// What is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IcmpError {
    /// Type 3 code 0.
    Network,
    /// Type 3 code 1.
    Host,
    /// Type 3 code 2.
    Protocol,
    /// Type 3 code 3.
    Port,
    /// Type 3 code 4 with the MTU of the next hop (RFC 1191 section 4).
    TooBig { mtu: u16 },
    /// Type 3 code 5.
    SourceRoute,
    /// Type 3 code 7.
    HostUnknown,
    /// Type 3 code 8.
    Isolated,
    /// Type 12 code 0, whatever is pointed at.
    Parameter,
    /// Type 3 code 13, communication administratively prohibited.
    Prohibited,
    /// Type 11 code 0, time to live exceeded in transit.
    TimeExceeded,
}

impl IcmpError {
    /// How a fault is told; not at all if there is nothing fitting.
    pub(super) fn for_fault(fault: Fault) -> Option<Self> {
        match fault {
            Fault::Unreachable(why) => Self::for_unreachable(why),
            Fault::TimeExceeded => Some(Self::TimeExceeded),
            Fault::TooBig { mtu } => Some(Self::TooBig { mtu }),
        }
    }

    fn for_unreachable(why: Unreachable) -> Option<Self> {
        match why {
            Unreachable::Refused => Some(Self::Port),
            Unreachable::Network => Some(Self::Network),
            Unreachable::Host => Some(Self::Host),
            Unreachable::Protocol => Some(Self::Protocol),
            Unreachable::Parameter => Some(Self::Parameter),
            Unreachable::SourceRoute => Some(Self::SourceRoute),
            Unreachable::HostUnknown => Some(Self::HostUnknown),
            Unreachable::Isolated => Some(Self::Isolated),
            Unreachable::Prohibited => Some(Self::Prohibited),
            Unreachable::TimedOut | Unreachable::Exhausted => None,
        }
    }

    /// The machine that reports it where nobody else did: a closed port is the destination's own word, all else the
    /// gateway's.
    fn reporter(self, gateway: Ipv4Addr, destination: Ipv4Addr) -> Ipv4Addr {
        match self {
            Self::Port | Self::Protocol => destination,
            Self::Network
            | Self::Host
            | Self::TooBig { .. }
            | Self::Parameter
            | Self::SourceRoute
            | Self::HostUnknown
            | Self::Isolated
            | Self::Prohibited
            | Self::TimeExceeded => gateway,
        }
    }

    fn kind_and_code(self) -> [u8; 2] {
        match self {
            Self::Network => [3, 0],
            Self::Host => [3, 1],
            Self::Protocol => [3, 2],
            Self::Port => [3, 3],
            Self::TooBig { .. } => [3, 4],
            Self::Parameter => [12, 0],
            Self::SourceRoute => [3, 5],
            Self::HostUnknown => [3, 7],
            Self::Isolated => [3, 8],
            Self::Prohibited => [3, 13],
            Self::TimeExceeded => [11, 0],
        }
    }

    fn mtu(self) -> u16 {
        match self {
            Self::TooBig { mtu } => mtu,
            Self::Network
            | Self::Host
            | Self::Protocol
            | Self::Port
            | Self::Parameter
            | Self::SourceRoute
            | Self::HostUnknown
            | Self::Isolated
            | Self::Prohibited
            | Self::TimeExceeded => 0,
        }
    }

    /// Queues the error about `packet`, an IPv4 packet with a checked header. False when the queue is full.
    pub(super) fn send(self, control: &mut Control, way: Way, packet: &[u8]) -> bool {
        let quoted = &packet[..packet.len().min(MAX_QUOTE)];
        let about = Ipv4Packet::new_unchecked(packet);
        let payload_len = HEAD + quoted.len();
        let said = way.reporter;
        let source = said.unwrap_or_else(|| self.reporter(way.gateway, about.dst_addr()));
        let header = Ipv4Header {
            source,
            target: about.src_addr(),
            protocol: IpProtocol::Icmp,
            payload_len,
            fragment: None,
        };
        control.push(Offload::default(), ETHERNET_HEADER + IPV4_HEADER + payload_len, |out| {
            write_ethernet(out, way.gateway_mac, way.mac, EthernetProtocol::Ipv4);
            header.write(&mut out[ETHERNET_HEADER..]);
            let message = &mut out[ETHERNET_HEADER + IPV4_HEADER..];
            message[..2].copy_from_slice(&self.kind_and_code());
            message[6..8].copy_from_slice(&self.mtu().to_be_bytes());
            message[HEAD..].copy_from_slice(quoted);
            let sum = !checksum::data(message);
            message[2..4].copy_from_slice(&sum.to_be_bytes());
        })
    }
}

/// The gateway's addresses and the container's, and who reports if it is neither gateway nor target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) gateway_mac: EthernetAddress,
    pub(super) gateway: Ipv4Addr,
    pub(super) mac: EthernetAddress,
    pub(super) reporter: Option<Ipv4Addr>,
}

/// Whether an error may be sent about `packet`, an IPv4 packet with a checked header.
pub(super) fn may_be_reported(packet: &[u8]) -> bool {
    let about = Ipv4Packet::new_unchecked(packet);
    let (source, target) = (about.src_addr(), about.dst_addr());
    let usual = !target.is_multicast() && !target.is_broadcast() && !target.is_unspecified();
    let answerable = !source.is_multicast() && !source.is_broadcast() && !source.is_unspecified();
    usual && answerable && about.frag_offset() == 0 && !is_icmp_error(&about)
}

/// Of ICMP only an echo request is known not to be an error; in doubt, silence.
fn is_icmp_error(about: &Ipv4Packet<&[u8]>) -> bool {
    about.next_header() == IpProtocol::Icmp && about.payload().first() != Some(&ECHO_REQUEST)
}

/// Bytes before the quotation.
const HEAD: usize = 8;

/// RFC 1812 section 4.3.2.3: as much of the packet as fits a datagram of 576 bytes.
pub(super) const MAX_QUOTE: usize = 576 - IPV4_HEADER - HEAD;

/// RFC 792.
pub(super) const ECHO_REQUEST: u8 = 8;
