//! Router solicitations (RFC 4861 section 4.1) and the advertisements that answer them (section 4.2), for namespaces that
//! configure themselves.
//!
//! The prefix is said to be on the link, and not to be one to form addresses from where a container has the addresses that it
//! was given: whatever it sent from one of its own making would be dropped as spoofed. A host without an address that
//! it could form uses those that it has (RFC 4862 section 5.5.3 a passes over such a prefix). The flags of
//! DHCPv6 say whether a server is there that knows them.

use std::net::Ipv6Addr;

use smoltcp::wire::EthernetAddress;

use super::counters::Discard;
use super::ndp::{SOURCE_LINK_LAYER, source_link_layer};
use super::types::Ipv6;

/// Reads a message of type 133 (section 6.1.1), options included: whom the sender says it is.
pub(super) fn parse_solicitation(message: &[u8]) -> Result<Option<EthernetAddress>, Discard> {
    let (head, options) = message
        .split_first_chunk::<SOLICITATION_HEAD>()
        .ok_or(Discard::Truncated)?;
    if head[1] != 0 {
        return Err(Discard::Malformed);
    }
    source_link_layer(options)
}

/// What a router says of itself and its link.
#[derive(Debug, Clone, Copy)]
pub(super) struct Advertisement {
    pub(super) mac: EthernetAddress,
    pub(super) mtu: u16,
    pub(super) ipv6: Ipv6,
    /// Addresses are to be had by DHCPv6.
    pub(super) managed: bool,
    /// Where names are asked for, if anywhere.
    pub(super) resolver: Option<Ipv6Addr>,
}

impl Advertisement {
    /// Bytes of it: the head, and options for hardware address, MTU, prefix and resolver.
    pub(super) fn len(self) -> usize {
        16 + 8 + 8 + 32 + if self.resolver.is_some() { 24 } else { 0 }
    }

    /// Writes it to `out`, of that length and zeroed, without its checksum.
    pub(super) fn write(self, out: &mut [u8]) {
        let Self {
            mac,
            mtu,
            ipv6: Ipv6 {
                gateway,
                prefix,
                autonomous,
            },
            managed,
            resolver,
        } = self;
        let form = if autonomous { AUTONOMOUS } else { 0 };
        let lifetime = LIFETIME.to_be_bytes();
        out[..2].copy_from_slice(&[ROUTER_ADVERTISEMENT, 0]);
        out[4] = HOP_LIMIT;
        out[5] = if managed { MANAGED | OTHER } else { 0 };
        out[6..8].copy_from_slice(&lifetime[2..]);
        out[16..18].copy_from_slice(&[SOURCE_LINK_LAYER, 1]);
        out[18..24].copy_from_slice(&mac.0);
        out[24..26].copy_from_slice(&[MTU, 1]);
        out[30..32].copy_from_slice(&mtu.to_be_bytes());
        out[32..36].copy_from_slice(&[PREFIX, 4, prefix, ON_LINK | form]);
        out[36..40].copy_from_slice(&lifetime);
        out[40..44].copy_from_slice(&lifetime);
        out[48..64].copy_from_slice(&network(gateway, prefix).octets());
        if let Some(resolver) = resolver {
            out[64..66].copy_from_slice(&[RESOLVER, 3]);
            out[68..72].copy_from_slice(&lifetime);
            out[72..88].copy_from_slice(&resolver.octets());
        }
    }
}

/// The first address of the subnet around `gateway`.
fn network(gateway: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let host_bits = 128 - u32::from(prefix.min(128));
    let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
    Ipv6Addr::from_bits(gateway.to_bits() & mask)
}

/// Types of sections 4.1 and 4.2.
pub(super) const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;

/// Bytes before the options of a solicitation.
const SOLICITATION_HEAD: usize = 8;

/// What hosts are to start with, as we do ourselves.
const HOP_LIMIT: u8 = 64;

/// Flags of section 4.2: addresses are to be had by DHCPv6, and other things.
const MANAGED: u8 = 0x80;
const OTHER: u8 = 0x40;

/// Seconds for which an advertisement holds: three times the pause between two (section 6.2.1, AdvDefaultLifetime; RFC 8106
/// section 5.1 has the same for resolvers).
const LIFETIME: u32 = 3 * PAUSE;

/// Seconds between two advertisements that nobody asked for: the longest that section 6.2.1 allows (MaxRtrAdvInterval).
pub(super) const PAUSE: u32 = 1800;

/// Options of sections 4.6.2 and 4.6.4, and of RFC 8106 section 5.1.
const PREFIX: u8 = 3;
const MTU: u8 = 5;
const RESOLVER: u8 = 25;

/// The prefix is on the link, and addresses may be formed from it.
const ON_LINK: u8 = 0x80;
const AUTONOMOUS: u8 = 0x40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solicitations() {
        let with = |options: &[u8]| parse_solicitation(&[&[133, 0, 0, 0, 0, 0, 0, 0], options].concat());
        assert_eq!(with(&[]), Ok(None));
        assert_eq!(
            with(&[1, 1, 2, 0, 0, 0, 0, 9]),
            Ok(Some(EthernetAddress([2, 0, 0, 0, 0, 9])))
        );
        assert_eq!(with(&[1, 0, 2, 0, 0, 0, 0, 9]), Err(Discard::Malformed));
        assert_eq!(with(&[1, 2, 2, 0, 0, 0, 0, 9]), Err(Discard::Malformed));
        assert_eq!(parse_solicitation(&[133; 7]), Err(Discard::Truncated));
        assert_eq!(parse_solicitation(&[133; 8]), Err(Discard::Malformed), "code 133");
    }

    #[test]
    fn the_network_around_a_gateway() {
        let gateway = "fd12:3456::1:0:0:1".parse().unwrap();
        for (prefix, expected) in [
            (64, "fd12:3456::"),
            (128, "fd12:3456::1:0:0:1"),
            (0, "::"),
            (8, "fd00::"),
        ] {
            assert_eq!(
                network(gateway, prefix),
                expected.parse::<Ipv6Addr>().unwrap(),
                "/{prefix}"
            );
        }
    }
}
