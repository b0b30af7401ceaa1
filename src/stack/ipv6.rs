//! Views of IPv6 packets: the header, and the chain of extension headers behind it.
//!
//! The chain is walked here, once and with a bound, to find what it carries. Of its headers none is acted on: options
//! that may be skipped are skipped, all others turn the packet away. It ends at a fragment header, for what is behind that
//! is but a part; an atomic fragment is a whole packet with one header more.
//!
//! Sources: RFC 8200 sections 3 and 4, RFC 5095 (type 0 routing headers), RFC 2675 (jumbograms, never agreed to), RFC 6946
//! (atomic fragments).

use smoltcp::wire::{EthernetFrame, IpProtocol, Ipv4Packet, Ipv6Packet};

use super::counters::Discard;
use super::frame::{Packet, Place};

/// Bytes of the header without extensions.
pub(super) const IPV6_HEADER: usize = 40;

impl<'f> Packet<'f> {
    /// Checks the IPv6 header of `frame` and those that extend it.
    pub(super) fn parse_v6(frame: &EthernetFrame<&'f [u8]>) -> Result<Self, Discard> {
        let packet = Ipv6Packet::new_checked(frame.payload()).map_err(|_| Discard::Truncated)?;
        if packet.version() != 6 {
            return Err(Discard::Malformed);
        }
        if packet.hop_limit() == 0 {
            return Err(Discard::TimeToLive);
        }
        let bytes = &frame.payload()[..packet.total_len()];
        let Upper {
            protocol,
            header,
            place,
        } = upper_layer(bytes, packet.next_header())?;
        Ok(Self {
            mac: frame.src_addr(),
            source: packet.src_addr().into(),
            target: packet.dst_addr().into(),
            protocol,
            time_to_live: packet.hop_limit(),
            class: packet.traffic_class(),
            divisible: place.is_some(),
            bytes,
            header,
            place,
        })
    }

    /// Whether extension headers stand before what an IPv6 packet carries.
    pub(super) fn is_extended(&self) -> bool {
        self.source.is_ipv6() && self.header > IPV6_HEADER
    }

    /// The same packet without extension headers, copied to `copy`; smoltcp knows next to none.
    pub(super) fn without_extensions<'c>(&self, copy: &'c mut Vec<u8>) -> Packet<'c> {
        copy.clear();
        copy.extend_from_slice(&self.bytes[..IPV6_HEADER]);
        copy.extend_from_slice(self.payload());
        let mut header = Ipv6Packet::new_unchecked(&mut copy[..]);
        header.set_next_header(self.protocol);
        // Shorter than before.
        header.set_payload_len(u16::try_from(self.payload().len()).unwrap_or(u16::MAX));
        Packet {
            mac: self.mac,
            source: self.source,
            target: self.target,
            protocol: self.protocol,
            time_to_live: self.time_to_live,
            class: self.class,
            divisible: self.divisible,
            bytes: copy,
            header: IPV6_HEADER,
            place: None,
        }
    }
}

/// What the chain of headers leads to.
#[derive(Debug, PartialEq, Eq)]
struct Upper {
    protocol: IpProtocol,
    /// Where that begins.
    header: usize,
    /// What the fragment header says, if there is one.
    place: Option<Place>,
}

/// Which of the two families a packet of at least a byte is of.
pub(super) fn is_ipv6(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first >> 4 == 6)
}

/// Corrects what the header of an IP packet says of its length, after the packet was cut.
pub(super) fn fix_length(packet: &mut [u8]) {
    let len = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    if is_ipv6(packet) {
        let behind = u16::try_from(packet.len() - IPV6_HEADER).unwrap_or(u16::MAX);
        Ipv6Packet::new_unchecked(packet).set_payload_len(behind);
    } else {
        let mut header = Ipv4Packet::new_unchecked(packet);
        header.set_total_len(len);
        header.fill_checksum();
    }
}

/// What the packet in `bytes` carries.
fn upper_layer(bytes: &[u8], first: IpProtocol) -> Result<Upper, Discard> {
    let (mut next, mut at, mut place) = (first, IPV6_HEADER, None);
    for _ in 0..=MAX_EXTENSIONS {
        match next {
            // Only right behind the header (RFC 8200 section 4.1).
            IpProtocol::HopByHop if at != IPV6_HEADER => return Err(Discard::Malformed),
            IpProtocol::HopByHop | IpProtocol::Ipv6Opts => check_options(extension(bytes, at)?)?,
            IpProtocol::Ipv6Route => check_routing(extension(bytes, at)?)?,
            IpProtocol::Ipv6Frag => {
                let fragment = fragment_header(bytes, at)?;
                next = fragment[0].into();
                at += fragment.len();
                let found = read_place(fragment);
                place = Some(found);
                if found.is_part() {
                    return Ok(Upper {
                        protocol: next,
                        header: at,
                        place,
                    });
                }
                continue;
            }
            IpProtocol::Icmp
            | IpProtocol::Igmp
            | IpProtocol::Tcp
            | IpProtocol::Udp
            | IpProtocol::IpSecEsp
            | IpProtocol::IpSecAh
            | IpProtocol::Icmpv6
            | IpProtocol::Ipv6NoNxt
            | IpProtocol::Unknown(_) => {
                return Ok(Upper {
                    protocol: next,
                    header: at,
                    place,
                });
            }
        }
        let header = extension(bytes, at)?;
        next = header[0].into();
        at += header.len();
    }
    Err(Discard::Malformed)
}

/// The extension header at `at`: the protocol behind it, its length in units of 8 bytes beyond the first, content.
fn extension(bytes: &[u8], at: usize) -> Result<&[u8], Discard> {
    let rest = &bytes[at..];
    let units = 1 + usize::from(*rest.get(1).ok_or(Discard::Truncated)?);
    rest.get(..UNIT * units).ok_or(Discard::Truncated)
}

/// The fragment header at `at`, whose second byte is no length (RFC 8200 section 4.5).
fn fragment_header(bytes: &[u8], at: usize) -> Result<&[u8; UNIT], Discard> {
    bytes[at..].first_chunk().ok_or(Discard::Truncated)
}

fn read_place(&[_, _, high, low, id @ ..]: &[u8; UNIT]) -> Place {
    let field = u16::from_be_bytes([high, low]);
    Place {
        id: u32::from_be_bytes(id),
        offset: usize::from(field & OFFSET),
        more: field & MORE != 0,
    }
}

/// Every option must lie inside its header and be of those that may be skipped (RFC 8200 section 4.2).
fn check_options(header: &[u8]) -> Result<(), Discard> {
    let mut rest = &header[2..];
    while let Some((&kind, behind)) = rest.split_first() {
        if kind == PAD1 {
            rest = behind;
            continue;
        }
        let (&len, content) = behind.split_first().ok_or(Discard::Malformed)?;
        if kind & ACTION != SKIP {
            return Err(Discard::Malformed);
        }
        rest = content.get(usize::from(len)..).ok_or(Discard::Malformed)?;
    }
    Ok(())
}

/// A packet that has yet to visit somebody (RFC 8200 section 4.4) goes nowhere by us.
fn check_routing(header: &[u8]) -> Result<(), Discard> {
    let segments_left = header[3];
    if segments_left == 0 {
        Ok(())
    } else {
        Err(Discard::Malformed)
    }
}

/// A packet of the recommended order has five (RFC 8200 section 4.1).
const MAX_EXTENSIONS: usize = 8;

/// Bytes in which extension headers are counted.
const UNIT: usize = 8;

/// Parts of the fragment header's third and fourth byte: an offset in units of 8 bytes, so in bytes where it stands, two
/// bits that mean nothing, and whether others follow.
const OFFSET: u16 = 0xfff8;
const MORE: u16 = 1;

/// The option that is one byte long.
const PAD1: u8 = 0;

/// The bits of an option's type that say what to do where it is unknown, and their value for going on.
const ACTION: u8 = 0xc0;
const SKIP: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    const UDP: u8 = 17;
    const OPTIONS: u8 = 60;

    fn walk(first: u8, chain: &[&[u8]]) -> Result<(IpProtocol, usize), Discard> {
        walk_to(first, chain).map(|upper| (upper.protocol, upper.header))
    }

    fn walk_to(first: u8, chain: &[&[u8]]) -> Result<Upper, Discard> {
        let bytes = [&[0; IPV6_HEADER][..], &chain.concat()].concat();
        upper_layer(&bytes, first.into())
    }

    #[test]
    fn the_chain_ends_at_a_part() {
        let part = walk_to(44, &[&[OPTIONS, 9, 5, 0xaf, 1, 2, 3, 4]]).unwrap();
        let place = Place {
            id: 0x0102_0304,
            offset: 0x5a8,
            more: true,
        };
        assert_eq!(
            (part.protocol, part.header, part.place),
            (IpProtocol::Ipv6Opts, 48, Some(place))
        );
        let padding = [UDP, 0, 1, 4, 0, 0, 0, 0];
        let atomic = walk_to(44, &[&[OPTIONS, 9, 0, 0, 1, 2, 3, 4], &padding]).unwrap();
        assert_eq!((atomic.protocol, atomic.header), (IpProtocol::Udp, 56));
        assert!(atomic.place.is_some_and(|place| !place.is_part()));
    }

    #[test]
    fn chains_are_walked_to_their_end() {
        let padding = [UDP, 0, 1, 4, 0, 0, 0, 0];
        assert_eq!(walk(UDP, &[]), Ok((IpProtocol::Udp, 40)));
        assert_eq!(walk(OPTIONS, &[&padding]), Ok((IpProtocol::Udp, 48)));
        let router_alert = [OPTIONS, 0, 5, 2, 0, 0, 1, 0];
        assert_eq!(walk(0, &[&router_alert, &padding]), Ok((IpProtocol::Udp, 56)));
        let visited = [UDP, 0, 3, 0, 0, 0, 0, 0];
        assert_eq!(walk(43, &[&visited]), Ok((IpProtocol::Udp, 48)));
        let pad1 = [UDP, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(walk(OPTIONS, &[&pad1]), Ok((IpProtocol::Udp, 48)));
    }

    #[test]
    fn hostile_chains() {
        let again = [OPTIONS, 0, 1, 4, 0, 0, 0, 0];
        let endless = [&again[..]; 100];
        let table: [(&str, u8, Vec<&[u8]>, Discard); 10] = [
            ("nothing there", OPTIONS, vec![], Discard::Truncated),
            ("one byte", OPTIONS, vec![&[UDP]], Discard::Truncated),
            ("half a header", OPTIONS, vec![&[UDP, 0, 1, 4]], Discard::Truncated),
            (
                "past the end",
                OPTIONS,
                vec![&[UDP, 1, 1, 4, 0, 0, 0, 0]],
                Discard::Truncated,
            ),
            ("a hundred", OPTIONS, endless.into(), Discard::Malformed),
            (
                "hop-by-hop behind another",
                OPTIONS,
                vec![&[0, 0, 1, 4, 0, 0, 0, 0]],
                Discard::Malformed,
            ),
            (
                "option past its header",
                OPTIONS,
                vec![&[UDP, 0, 1, 5, 0, 0, 0, 0]],
                Discard::Malformed,
            ),
            (
                "option without length",
                OPTIONS,
                vec![&[UDP, 0, 1, 3, 0, 0, 0, 1]],
                Discard::Malformed,
            ),
            ("jumbogram", 0, vec![&[UDP, 0, 0xc2, 4, 0, 1, 0, 0]], Discard::Malformed),
            (
                "to be routed",
                43,
                vec![&[UDP, 2, 0, 1, 0, 0, 0, 0], &[0; 16]],
                Discard::Malformed,
            ),
        ];
        for (what, first, chain, expected) in table {
            assert_eq!(walk(first, &chain), Err(expected), "{what}");
        }
        assert_eq!(walk(44, &[&[UDP, 0, 0, 0, 0, 0, 0]]), Err(Discard::Truncated));
        let atomic = [44, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(walk(44, &[&atomic[..]; 100]), Err(Discard::Malformed));
    }
}
