//! A wire that holds one packet: how a flow's own smoltcp interface takes a packet in and gives one out.
//!
//! `Medium::Ip`, so no neighbours and no ARP. The outgoing packet is built directly in the buffer that is lent here,
//! which is the caller's frame behind its Ethernet header: no copy, no allocation.
//!
//! Superpackets of IPv6 need a detour. smoltcp 0.14 drops an IPv6 packet that is larger than the interface's MTU even where
//! the device would cut it, and does not tell the device where to cut (`dispatch_ip` in `iface/interface/mod.rs`; IPv4 has
//! both). So the interface of such a flow is told an MTU as large as a superpacket, and the wire mends on the way out what
//! that makes smoltcp say: the segment size that a SYN announces is that of the true MTU, and what exceeds the segment size
//! towards the container is marked to be cut there.

use std::num::{NonZeroU16, NonZeroUsize};

use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, PacketMeta, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{IpProtocol, IpVersion, Ipv4Packet, Ipv6Packet, TCP_HEADER_LEN, TcpPacket, checksum};

use super::frame::{ETHERNET_HEADER, IPV4_HEADER, MAX_FRAME};
use super::ipv6::{IPV6_HEADER, is_ipv6};
use super::types::UplinkCapabilities;
use super::{Gso, GsoType, Offload, PartialChecksum};

/// What a flow's device is able to do; smoltcp copies it when the interface is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Abilities {
    /// The family of the flow's addresses.
    pub(super) family: IpVersion,
    /// IP MTU of the containers, in bytes.
    pub(super) mtu: u16,
    /// Payload of one segment towards the container, in bytes.
    pub(super) segment: u16,
    pub(super) uplink: UplinkCapabilities,
}

impl Abilities {
    fn capabilities(self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu.into();
        // What comes in was checked by the frame's view already.
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.checksum.tcp = if self.uplink.checksum {
            Checksum::None
        } else {
            Checksum::Tx
        };
        if let Some(superpacket) = self.superpacket() {
            match self.family {
                IpVersion::Ipv4 => capabilities.segmentation.tcpv4 = NonZeroUsize::new(superpacket),
                IpVersion::Ipv6 => {
                    capabilities.segmentation.tcpv6 = NonZeroUsize::new(superpacket);
                    capabilities.max_transmission_unit = superpacket;
                }
            }
        }
        capabilities
    }

    /// Bytes of the largest IP packet to be cut by the kernel, none if it cuts none. One byte more than 65,535 with the
    /// Ethernet header, and the kernel cuts it in software on its way over bridge and veth. Whole segments, as the container
    /// would get from a host that cuts for itself.
    fn superpacket(self) -> Option<usize> {
        let segment = usize::from(self.segment.max(1));
        // No option is ever sent with data.
        let headers = self.headers();
        let room = MAX_FRAME - ETHERNET_HEADER - headers;
        self.is_cut().then_some(headers + room / segment * segment)
    }

    /// The uplink cuts what is too large.
    fn is_cut(self) -> bool {
        let cuts = match self.family {
            IpVersion::Ipv4 => self.uplink.tso4,
            IpVersion::Ipv6 => self.uplink.tso6,
        };
        self.uplink.checksum && cuts
    }

    /// Bytes of an IP and a TCP header without options.
    fn headers(self) -> usize {
        let ip = match self.family {
            IpVersion::Ipv4 => IPV4_HEADER,
            IpVersion::Ipv6 => IPV6_HEADER,
        };
        ip + TCP_HEADER_LEN
    }

    /// Mends what smoltcp wrote under a false MTU, if that was needed; the size of segments if `packet` is to be cut. The
    /// checksum is not there yet: an uplink that cuts leaves it to [`Emitted::seal`].
    fn mend(self, packet: &mut [u8]) -> Option<NonZeroU16> {
        if self.family == IpVersion::Ipv4 || !self.is_cut() {
            return None;
        }
        let own = usize::from(self.mtu).saturating_sub(self.headers());
        let mut segment = TcpPacket::new_checked(packet.get_mut(IPV6_HEADER..)?).ok()?;
        if segment.syn() {
            announce(&mut segment, u16::try_from(own).unwrap_or(u16::MAX));
        }
        NonZeroU16::new(self.segment).filter(|size| segment.payload_mut().len() > usize::from(size.get()))
    }
}

/// Changes the segment size that a SYN of smoltcp's announces, its first option.
fn announce(syn: &mut TcpPacket<&mut [u8]>, size: u16) {
    if let [MAX_SEGMENT_SIZE, MAX_SEGMENT_SIZE_LEN, high, low, ..] = syn.options_mut() {
        [*high, *low] = size.to_be_bytes();
    }
}

/// The wire.
#[derive(Debug)]
pub(super) struct OnePacket<'p> {
    abilities: Abilities,
    ingress: Option<&'p [u8]>,
    out: &'p mut [u8],
    emitted: Option<Emitted>,
}

/// The packet that was given out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Emitted {
    /// Bytes, from the IP header on.
    pub(super) len: usize,
    /// To be cut by the kernel into segments of this payload.
    pub(super) segment: Option<NonZeroU16>,
}

impl Emitted {
    /// Leaves to the kernel the checksum of the packet in `frame`, and the cutting of a superframe, where it does that.
    pub(super) fn seal(self, frame: &mut [u8], uplink: UplinkCapabilities) -> Offload {
        if !uplink.checksum {
            return Offload::default();
        }
        let (kind, header, sum) = self.pseudo_sum(&frame[ETHERNET_HEADER..]);
        let start = ETHERNET_HEADER + header;
        let mut segment = TcpPacket::new_unchecked(&mut frame[start..]);
        segment.set_checksum(sum);
        let start = u16::try_from(start).unwrap_or(0);
        let headers = start + u16::from(segment.header_len());
        let gso = self.segment.map(|size| Gso {
            kind,
            size: size.get(),
            headers,
            ecn: false,
        });
        Offload {
            partial_checksum: Some(PartialChecksum { start, offset: 16 }),
            gso,
            ..Offload::default()
        }
    }

    /// How `packet`, smoltcp's, may be cut, the bytes of its IP header, which has no options, and the sum of its
    /// pseudo-header.
    fn pseudo_sum(self, packet: &[u8]) -> (GsoType, usize, u16) {
        let payload = |header| u32::try_from(self.len - header).unwrap_or(u32::MAX);
        if is_ipv6(packet) {
            let packet = Ipv6Packet::new_unchecked(packet);
            let (source, target) = (packet.src_addr(), packet.dst_addr());
            let sum = checksum::pseudo_header_v6(&source, &target, IpProtocol::Tcp, payload(IPV6_HEADER));
            return (GsoType::TcpV6, IPV6_HEADER, sum);
        }
        let packet = Ipv4Packet::new_unchecked(packet);
        let (source, target) = (packet.src_addr(), packet.dst_addr());
        let sum = checksum::pseudo_header_v4(&source, &target, IpProtocol::Tcp, payload(IPV4_HEADER));
        (GsoType::TcpV4, IPV4_HEADER, sum)
    }
}

impl<'p> OnePacket<'p> {
    /// A wire on which `ingress` waits and which carries one packet to `out`.
    pub(super) fn new(abilities: Abilities, ingress: Option<&'p [u8]>, out: &'p mut [u8]) -> Self {
        Self {
            abilities,
            ingress,
            out,
            emitted: None,
        }
    }

    pub(super) fn emitted(&self) -> Option<Emitted> {
        self.emitted
    }

    fn slot(&mut self) -> Slot<'_> {
        Slot {
            abilities: self.abilities,
            out: self.out,
            emitted: &mut self.emitted,
            segment: None,
        }
    }
}

impl Device for OnePacket<'_> {
    type RxToken<'t>
        = Arrived<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Slot<'t>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(Arrived<'_>, Slot<'_>)> {
        let packet = self.ingress.take()?;
        Some((Arrived(packet), self.slot()))
    }

    fn transmit(&mut self, _: Instant) -> Option<Slot<'_>> {
        if self.emitted.is_some() {
            return None;
        }
        Some(self.slot())
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.abilities.capabilities()
    }
}

/// The packet that comes in.
#[derive(Debug)]
pub(super) struct Arrived<'t>(&'t [u8]);

impl RxToken for Arrived<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Room for the packet that goes out.
#[derive(Debug)]
pub(super) struct Slot<'t> {
    abilities: Abilities,
    out: &'t mut [u8],
    emitted: &'t mut Option<Emitted>,
    segment: Option<NonZeroU16>,
}

impl TxToken for Slot<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let packet = &mut self.out[..len];
        let result = f(packet);
        let segment = self.segment.or(self.abilities.mend(packet));
        *self.emitted = Some(Emitted { len, segment });
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segment = meta.segmentation_offload_size;
    }
}

/// The kind and length of TCP's segment size option (RFC 9293 section 3.2).
const MAX_SEGMENT_SIZE: u8 = 2;
const MAX_SEGMENT_SIZE_LEN: u8 = 4;
