//! Who sends a packet of ours to whom: two addresses of one family, and the IP header that says so.
//!
//! What the stack writes itself (datagrams, bare segments, ICMP) differs by family only here.
//!
//! Sources: RFC 791, RFC 8200 sections 3, 4.5 (fragment header) and 8.1 (pseudo-header).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::wire::{EthernetProtocol, IpProtocol, Ipv6Packet, Ipv6Repr, checksum};

use super::frame::{Fragment, IPV4_HEADER, Ipv4Header};
use super::ipv6::IPV6_HEADER;

/// Sender and receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    V4 { source: Ipv4Addr, target: Ipv4Addr },
    V6 { source: Ipv6Addr, target: Ipv6Addr },
}

impl Ends {
    /// None if the two are not of one family; a mapped address counts for what it carries.
    pub(super) fn new(source: IpAddr, target: IpAddr) -> Option<Self> {
        match (source.to_canonical(), target.to_canonical()) {
            (IpAddr::V4(source), IpAddr::V4(target)) => Some(Self::V4 { source, target }),
            (IpAddr::V6(source), IpAddr::V6(target)) => Some(Self::V6 { source, target }),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }

    /// Bytes of the IP header of an unfragmented packet.
    pub(super) fn header(self) -> usize {
        match self {
            Self::V4 { .. } => IPV4_HEADER,
            Self::V6 { .. } => IPV6_HEADER,
        }
    }

    /// Bytes of the IP header of a fragment.
    pub(super) fn fragment_header(self) -> usize {
        match self {
            Self::V4 { .. } => IPV4_HEADER,
            Self::V6 { .. } => IPV6_HEADER + FRAGMENT_HEADER,
        }
    }

    pub(super) fn ethertype(self) -> EthernetProtocol {
        match self {
            Self::V4 { .. } => EthernetProtocol::Ipv4,
            Self::V6 { .. } => EthernetProtocol::Ipv6,
        }
    }

    /// The sum of the pseudo-header before `len` bytes of `protocol`.
    pub(super) fn pseudo_sum(self, protocol: IpProtocol, len: usize) -> u16 {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        match self {
            Self::V4 { source, target } => checksum::pseudo_header_v4(&source, &target, protocol, len),
            Self::V6 { source, target } => checksum::pseudo_header_v6(&source, &target, protocol, len),
        }
    }

    /// Writes the header of a packet with `payload_len` bytes of `protocol` to the start of `out`.
    pub(super) fn write(self, out: &mut [u8], protocol: IpProtocol, payload_len: usize, fragment: Option<Fragment>) {
        match self {
            Self::V4 { source, target } => Ipv4Header {
                source,
                target,
                protocol,
                payload_len,
                fragment,
            }
            .write(out),
            Self::V6 { source, target } => write_v6(out, (source, target), protocol, payload_len, fragment),
        }
    }
}

fn write_v6(
    out: &mut [u8],
    (src_addr, dst_addr): (Ipv6Addr, Ipv6Addr),
    protocol: IpProtocol,
    payload_len: usize,
    fragment: Option<Fragment>,
) {
    let mut repr = Ipv6Repr {
        src_addr,
        dst_addr,
        next_header: protocol,
        payload_len,
        hop_limit: HOP_LIMIT,
    };
    if let Some(fragment) = fragment {
        repr.next_header = IpProtocol::Ipv6Frag;
        repr.payload_len += FRAGMENT_HEADER;
        let place = fragment.offset | u16::from(fragment.more);
        let header = &mut out[IPV6_HEADER..IPV6_HEADER + FRAGMENT_HEADER];
        header[..2].copy_from_slice(&[protocol.into(), 0]);
        header[2..4].copy_from_slice(&place.to_be_bytes());
        header[4..].copy_from_slice(&u32::from(fragment.id).to_be_bytes());
    }
    repr.emit(&mut Ipv6Packet::new_unchecked(&mut out[..IPV6_HEADER]));
}

/// RFC 8200 section 4.5.
const FRAGMENT_HEADER: usize = 8;

/// As that of IPv4, and what smoltcp uses for its segments too.
const HOP_LIMIT: u8 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_family_and_mapped_addresses_for_what_they_carry() {
        let of = |source: &str, target: &str| Ends::new(source.parse().unwrap(), target.parse().unwrap());
        assert_eq!(of("10.0.0.1", "fd00::1"), None);
        assert_eq!(of("::ffff:10.0.0.1", "10.0.0.2"), of("10.0.0.1", "10.0.0.2"));
        assert_eq!(of("fd00::1", "fd00::2").map(Ends::header), Some(IPV6_HEADER));
    }
}
