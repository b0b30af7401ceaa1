//! Datagrams to a container: UDP and ICMP echo, each a header of 8 bytes and a payload, in fragments where they must.
//!
//! The first frame is written into the caller's buffer, further fragments wait in the control queue. The UDP checksum is
//! left to the kernel where the uplink completes it and the datagram is whole. Several UDP datagrams of equal size, the
//! last may be shorter, travel as one frame that the kernel takes apart (UDP_L4; `__udp_gso_segment`, net/ipv4/udp_offload.c).
//!
//! Sources: RFC 768, RFC 792, RFC 4443 section 4.2, RFC 791 section 3.2 and RFC 8200 section 4.5 (fragmentation), RFC 6864
//! (identification).

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use smoltcp::wire::{EthernetAddress, IpProtocol, checksum};

use super::control::Control;
use super::ends::Ends;
use super::frame::{ETHERNET_HEADER, Fragment, start_for, write_ethernet};
use super::types::{Payload, Transmit};
use super::{Gso, GsoType, Offload, PartialChecksum};

/// One datagram.
#[derive(Debug)]
pub(super) struct Datagram<'p> {
    ends: Ends,
    protocol: IpProtocol,
    head: [u8; HEAD],
    payload: &'p [u8],
    /// Bytes of payload of one datagram, where there are several.
    segment: Option<NonZeroU16>,
}

/// The way to the container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    pub(super) gateway: EthernetAddress,
    pub(super) mac: EthernetAddress,
    /// IP MTU in bytes.
    pub(super) mtu: u16,
    /// The kernel completes checksums.
    pub(super) checksum: bool,
    /// Identification, should the datagram be cut.
    pub(super) id: u16,
}

impl<'p> Datagram<'p> {
    /// UDP, one datagram or several; the checksum is filled in later. None if the payload is too long for IP, or the
    /// addresses are of two families.
    pub(super) fn udp(
        source: SocketAddr,
        target: SocketAddr,
        Payload {
            bytes: payload,
            segment,
        }: Payload<'p>,
    ) -> Option<Self> {
        let len = u16::try_from(HEAD + payload.len()).ok()?;
        let mut head = [0; HEAD];
        head[0..2].copy_from_slice(&source.port().to_be_bytes());
        head[2..4].copy_from_slice(&target.port().to_be_bytes());
        head[4..6].copy_from_slice(&len.to_be_bytes());
        Self {
            ends: Ends::new(source.ip(), target.ip())?,
            protocol: IpProtocol::Udp,
            head,
            payload,
            segment: segment.filter(|segment| payload.len() > usize::from(segment.get())),
        }
        .fitting()
    }

    /// An ICMP echo reply. None under the same conditions.
    pub(super) fn echo_reply(
        source: IpAddr,
        target: IpAddr,
        ident: u16,
        sequence: u16,
        payload: &'p [u8],
    ) -> Option<Self> {
        let ends = Ends::new(source, target)?;
        let mut head = [0; HEAD];
        head[4..6].copy_from_slice(&ident.to_be_bytes());
        head[6..8].copy_from_slice(&sequence.to_be_bytes());
        let (protocol, pseudo) = match ends {
            Ends::V4 { .. } => (IpProtocol::Icmp, 0),
            Ends::V6 { .. } => {
                head[0] = ECHO_REPLY_V6;
                let protocol = IpProtocol::Icmpv6;
                (protocol, ends.pseudo_sum(protocol, HEAD + payload.len()))
            }
        };
        let sum = !checksum::combine(&[pseudo, checksum::data(&head), checksum::data(payload)]);
        head[2..4].copy_from_slice(&sum.to_be_bytes());
        Self {
            ends,
            protocol,
            head,
            payload,
            segment: None,
        }
        .fitting()
    }

    /// Queues the datagram, or its fragments. False if the queue has no room for all of it.
    pub(super) fn queue(mut self, link: Link, control: &mut Control) -> bool {
        let whole = self.fits(link);
        let offload = self.fill_checksum(whole && link.checksum);
        if !whole {
            let step = self.step(link).filter(|_| self.segment.is_none());
            return step.is_some_and(|step| self.queue_fragments(link, step, 0, control));
        }
        control.push(offload, ETHERNET_HEADER + self.ends.header() + self.len(), |out| {
            self.write_part(link, None, 0, self.len(), out);
        })
    }

    /// Writes the datagram, or its first fragment, to `out`. None if there is no room for all of it, or it is several that
    /// would have to be cut.
    pub(super) fn write(mut self, link: Link, control: &mut Control, out: &mut [u8]) -> Option<Transmit> {
        let whole = self.fits(link);
        let offload = self.fill_checksum(whole && link.checksum);
        if whole {
            let start = start_for(ETHERNET_HEADER + self.ends.header() + UDP_HEADER);
            let len = self.write_part(link, None, 0, self.len(), out.get_mut(start..)?)?;
            return Some(Transmit { offload, start, len });
        }
        if self.segment.is_some() {
            return None;
        }
        self.write_fragments(link, control, out)
    }

    fn write_fragments(&self, link: Link, control: &mut Control, out: &mut [u8]) -> Option<Transmit> {
        let step = self.step(link)?;
        if !control.has_room(self.len() / step) {
            return None;
        }
        let len = self.write_part(link, self.fragment(link, 0, step), 0, step, out)?;
        self.queue_fragments(link, step, step, control);
        Some(Transmit {
            offload: Offload::default(),
            start: 0,
            len,
        })
    }

    /// Queues the fragments from `start` on. False if there is no room for all.
    fn queue_fragments(&self, link: Link, step: usize, start: usize, control: &mut Control) -> bool {
        if !control.has_room((self.len() - start).div_ceil(step)) {
            return false;
        }
        for start in (start..self.len()).step_by(step) {
            let part = step.min(self.len() - start);
            let frame = ETHERNET_HEADER + self.ends.fragment_header() + part;
            control.push(Offload::default(), frame, |out| {
                self.write_part(link, self.fragment(link, start, step), start, part, out);
            });
        }
        true
    }

    fn fragment(&self, link: Link, start: usize, step: usize) -> Option<Fragment> {
        Some(Fragment {
            id: link.id,
            offset: u16::try_from(start).ok()?,
            more: start + step < self.len(),
        })
    }

    /// Bytes of each fragment but the last.
    fn step(&self, link: Link) -> Option<usize> {
        let room = usize::from(link.mtu).checked_sub(self.ends.fragment_header())?;
        Some(room / FRAGMENT_UNIT * FRAGMENT_UNIT).filter(|step| *step > 0)
    }

    /// Writes one frame with `part` bytes of header and payload from `start` on; returns its length.
    fn write_part(
        &self,
        link: Link,
        fragment: Option<Fragment>,
        start: usize,
        part: usize,
        out: &mut [u8],
    ) -> Option<usize> {
        let header = if fragment.is_some() {
            self.ends.fragment_header()
        } else {
            self.ends.header()
        };
        let len = ETHERNET_HEADER + header + part;
        let out = out.get_mut(..len)?;
        write_ethernet(out, link.gateway, link.mac, self.ends.ethertype());
        let packet = &mut out[ETHERNET_HEADER..];
        self.ends.write(packet, self.protocol, part, fragment);
        let body = &mut packet[header..];
        if start == 0 {
            body[..HEAD].copy_from_slice(&self.head);
            body[HEAD..].copy_from_slice(&self.payload[..part - HEAD]);
        } else {
            body.copy_from_slice(&self.payload[start - HEAD..start - HEAD + part]);
        }
        Some(len)
    }

    fn fill_checksum(&mut self, by_kernel: bool) -> Offload {
        if self.protocol != IpProtocol::Udp {
            return Offload::default();
        }
        let pseudo = self.ends.pseudo_sum(IpProtocol::Udp, self.len());
        if by_kernel {
            self.head[6..8].copy_from_slice(&pseudo.to_be_bytes());
            return Offload {
                partial_checksum: Some(udp_checksum(self.ends)),
                gso: self.segment.map(|segment| udp_superframe(self.ends, segment)),
                ..Offload::default()
            };
        }
        let sum = !checksum::combine(&[pseudo, checksum::data(&self.head), checksum::data(self.payload)]);
        // Zero would mean that there is none (RFC 768).
        let sum = if sum == 0 { u16::MAX } else { sum };
        self.head[6..8].copy_from_slice(&sum.to_be_bytes());
        Offload::default()
    }

    fn fitting(self) -> Option<Self> {
        // IPv6 does not count its own header, but a superframe has no room for more.
        let counted = match (self.ends, self.segment) {
            (Ends::V6 { .. }, None) => 0,
            (Ends::V4 { .. }, _) | (Ends::V6 { .. }, Some(_)) => self.ends.header(),
        };
        (counted + self.len() <= usize::from(u16::MAX)).then_some(self)
    }

    /// Whether it crosses the link without being cut; each of several must.
    fn fits(&self, link: Link) -> bool {
        let payload = self.segment.map_or(self.payload.len(), |segment| segment.get().into());
        self.ends.header() + HEAD + payload <= usize::from(link.mtu)
    }

    fn len(&self) -> usize {
        HEAD + self.payload.len()
    }
}

fn udp_superframe(ends: Ends, segment: NonZeroU16) -> Gso {
    let headers = ETHERNET_HEADER + ends.header() + UDP_HEADER;
    Gso {
        kind: GsoType::UdpL4,
        size: segment.get(),
        headers: u16::try_from(headers).unwrap_or(u16::MAX),
        ecn: false,
    }
}

/// Where the kernel completes the sum of a UDP datagram.
fn udp_checksum(ends: Ends) -> PartialChecksum {
    let start = ETHERNET_HEADER + ends.header();
    PartialChecksum {
        start: u16::try_from(start).unwrap_or(u16::MAX),
        offset: 6,
    }
}

/// Bytes of a UDP header (RFC 768).
pub(super) const UDP_HEADER: usize = 8;

/// The same of an ICMP echo's (RFC 792).
const HEAD: usize = UDP_HEADER;

/// Fragments are counted in units of 8 bytes.
const FRAGMENT_UNIT: usize = 8;

/// RFC 4443 section 4.2; IPv4's is 0.
const ECHO_REPLY_V6: u8 = 129;
