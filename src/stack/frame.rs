//! Views of frames: every length and field is checked here, once, before the rest of the stack reads a byte. The headers
//! of IPv6 have a file of their own, `ipv6`.
//!
//! Over `smoltcp::wire`, whose accessors panic on short buffers; what comes out of this module cannot be short. A fragment
//! says of which part of a datagram it is, and IP options are skipped, as by a router that knows none.
//!
//! Sources: RFC 791 section 3.1, RFC 1122 sections 3.2.1 and 3.3.6, RFC 1812 section 5.2.2.

use std::net::{IpAddr, Ipv4Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv4Repr, TCP_HEADER_LEN, TcpPacket,
    UdpPacket,
};

use super::Offload;
use super::counters::Discard;
use super::types::Handling;

/// Bytes of an Ethernet header.
pub(super) const ETHERNET_HEADER: usize = 14;

/// Bytes of an IPv4 header without options, the only kind that is sent.
pub(super) const IPV4_HEADER: usize = 20;

/// Bytes that a frame may have: more does not fit the offload of any kernel.
pub(super) const MAX_FRAME: usize = 65_535;

/// Bytes of the buffer that frames are written into: the largest frame, wherever it begins.
pub const OUT_BYTES: usize = MAX_FRAME + CACHE_LINE;

/// Bytes of the headers of most superframes: Ethernet, IPv4 and TCP without options.
pub const TCP_HEADERS: usize = ETHERNET_HEADER + IPV4_HEADER + TCP_HEADER_LEN;

/// Where in a buffer that lies on a cache line a frame is to begin whose payload shall lie on one, too. The kernel copies
/// what is behind the headers into pages of its own, and is faster where the two lie alike.
pub(super) fn start_for(headers: usize) -> usize {
    headers.wrapping_neg() % CACHE_LINE
}

/// Bytes of a cache line.
pub const CACHE_LINE: usize = 64;

/// A valid IP packet on its way from a container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'f> {
    /// The sender's hardware address.
    pub(super) mac: EthernetAddress,
    pub(super) source: IpAddr,
    /// Of the same family.
    pub(super) target: IpAddr,
    /// What it carries.
    pub(super) protocol: IpProtocol,
    pub(super) time_to_live: u8,
    /// DSCP and ECN.
    pub(super) class: u8,
    /// IPv4's DF is clear.
    pub(super) divisible: bool,
    /// The packet, from the first byte of its IP header to the last of its payload.
    pub(super) bytes: &'f [u8],
    /// Bytes of the IP header with its options or extension headers.
    pub(super) header: usize,
    /// Where a fragment belongs.
    pub(super) place: Option<Place>,
}

/// Which part of a datagram a fragment is: the fields that both families have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) id: u32,
    /// Bytes of the datagram before it.
    pub(super) offset: usize,
    /// Others follow.
    pub(super) more: bool,
}

impl Place {
    /// Whether the fragment is but a part; one that is the whole is called atomic (RFC 6946).
    pub(super) fn is_part(&self) -> bool {
        self.more || self.offset != 0
    }
}

impl<'f> Packet<'f> {
    /// Checks the IP header of `frame`.
    pub(super) fn parse(frame: &EthernetFrame<&'f [u8]>) -> Result<Self, Discard> {
        match frame.ethertype() {
            EthernetProtocol::Ipv4 => Self::parse_v4(frame),
            EthernetProtocol::Ipv6 => Self::parse_v6(frame),
            EthernetProtocol::Arp | EthernetProtocol::Unknown(_) => Err(Discard::EtherType),
        }
    }

    /// Checks the IPv4 header of `frame`.
    pub(super) fn parse_v4(frame: &EthernetFrame<&'f [u8]>) -> Result<Self, Discard> {
        let packet = Ipv4Packet::new_checked(frame.payload()).map_err(|_| Discard::Truncated)?;
        if packet.version() != 4 {
            return Err(Discard::Malformed);
        }
        if !packet.verify_checksum() {
            return Err(Discard::Checksum);
        }
        if packet.hop_limit() == 0 {
            return Err(Discard::TimeToLive);
        }
        let place = Place {
            id: packet.ident().into(),
            offset: packet.frag_offset().into(),
            more: packet.more_frags(),
        };
        Ok(Self {
            mac: frame.src_addr(),
            source: packet.src_addr().into(),
            target: packet.dst_addr().into(),
            protocol: packet.next_header(),
            time_to_live: packet.hop_limit(),
            class: packet.dscp() << 2 | packet.ecn(),
            divisible: !packet.dont_frag(),
            header: packet.header_len().into(),
            place: Some(place).filter(Place::is_part),
            bytes: &packet.into_inner()[..usize::from(Ipv4Packet::new_unchecked(frame.payload()).total_len())],
        })
    }

    /// How it leaves: the stack is one hop (RFC 1812 section 5.3.1). What ends here for its target may not have more.
    pub(super) fn handling(&self, offload: Offload) -> Handling {
        Handling {
            time_to_live: self.time_to_live.saturating_sub(1).max(1),
            class: self.class,
            divisible: self.divisible || offload.assembled,
        }
    }

    /// What the packet carries.
    pub(super) fn payload(&self) -> &'f [u8] {
        &self.bytes[self.header..]
    }

    /// The TCP segment inside.
    pub(super) fn tcp(&self, offload: Offload) -> Result<TcpPacket<&'f [u8]>, Discard> {
        let segment = TcpPacket::new_checked(self.payload()).map_err(|_| Discard::Truncated)?;
        if segment.src_port() == 0 || segment.dst_port() == 0 {
            return Err(Discard::PortZero);
        }
        if must_verify(offload) && !segment.verify_checksum(&self.source.into(), &self.target.into()) {
            return Err(Discard::Checksum);
        }
        Ok(segment)
    }

    /// The UDP datagram inside, or the datagrams of a superframe.
    pub(super) fn udp(&self, offload: Offload) -> Result<UdpPacket<&'f [u8]>, Discard> {
        let datagram = UdpPacket::new_checked(self.payload()).map_err(|_| Discard::Truncated)?;
        if datagram.src_port() == 0 || datagram.dst_port() == 0 {
            return Err(Discard::PortZero);
        }
        if must_verify(offload) && !datagram.verify_checksum(&self.source.into(), &self.target.into()) {
            return Err(Discard::Checksum);
        }
        Ok(datagram)
    }
}

/// The Ethernet frame in `bytes`.
pub(super) fn ethernet(bytes: &[u8]) -> Result<EthernetFrame<&[u8]>, Discard> {
    EthernetFrame::new_checked(bytes).map_err(|_| Discard::Truncated)
}

/// The kernel vouches for the checksum if it has verified it, or if it has yet to be computed.
pub(super) fn must_verify(offload: Offload) -> bool {
    !offload.verified && offload.partial_checksum.is_none()
}

/// Writes an Ethernet header to the start of `out`.
pub(super) fn write_ethernet(out: &mut [u8], source: EthernetAddress, target: EthernetAddress, kind: EthernetProtocol) {
    let mut frame = EthernetFrame::new_unchecked(out);
    frame.set_src_addr(source);
    frame.set_dst_addr(target);
    frame.set_ethertype(kind);
}

/// What an IPv4 header of ours says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ipv4Header {
    pub(super) source: Ipv4Addr,
    pub(super) target: Ipv4Addr,
    pub(super) protocol: IpProtocol,
    /// Bytes after the header.
    pub(super) payload_len: usize,
    /// Place in a fragmented datagram.
    pub(super) fragment: Option<Fragment>,
}

/// Where a fragment belongs (RFC 791 section 3.2).
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment {
    pub(super) id: u16,
    /// Bytes, a multiple of 8.
    pub(super) offset: u16,
    pub(super) more: bool,
}

impl Ipv4Header {
    /// Writes the header to the start of `out`. Whole datagrams are atomic (RFC 6864): DF set, id 0.
    pub(super) fn write(&self, out: &mut [u8]) {
        let repr = Ipv4Repr {
            src_addr: self.source,
            dst_addr: self.target,
            next_header: self.protocol,
            payload_len: self.payload_len,
            hop_limit: TIME_TO_LIVE,
        };
        let mut packet = Ipv4Packet::new_unchecked(&mut out[..IPV4_HEADER]);
        repr.emit(&mut packet, &ChecksumCapabilities::default());
        if let Some(fragment) = self.fragment {
            packet.set_ident(fragment.id);
            packet.set_dont_frag(false);
            packet.set_more_frags(fragment.more);
            packet.set_frag_offset(fragment.offset);
            packet.fill_checksum();
        }
    }
}

/// RFC 1700's default, which smoltcp uses for its segments too.
const TIME_TO_LIVE: u8 = 64;
