//! TCP segments: what the engine reads of one before smoltcp does, and the few it writes itself.
//!
//! It writes those that need no connection: resets (RFC 9293 section 3.10.7.1), the answer to a refused SYN and the
//! last ACK of a connection in TIME-WAIT. Everything else is smoltcp's.

use std::net::SocketAddr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{EthernetAddress, IpAddress, IpProtocol, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};

use super::Offload;
use super::control::Control;
use super::ends::Ends;
use super::flow::Tuple;
use super::frame::{ETHERNET_HEADER, write_ethernet};
use super::ipv6::IPV6_HEADER;

/// What the sequence checks need to know of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) seq: u32,
    /// None without the ACK flag.
    pub(super) ack: Option<u32>,
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    /// Bytes of payload.
    pub(super) len: u32,
    pub(super) window: u16,
    /// The window scale option, of a SYN only.
    pub(super) scale: Option<u32>,
    /// The segment size option, of a SYN only.
    pub(super) mss: Option<u16>,
}

impl Segment {
    pub(super) fn of(packet: &TcpPacket<&[u8]>) -> Self {
        let options = packet.syn().then(|| packet.options_summary().ok()).flatten();
        Self {
            scale: options.and_then(|options| options.window_scale).map(u32::from),
            mss: options.and_then(|options| options.max_segment_size),
            seq: number(packet.seq_number()),
            ack: packet.ack().then(|| number(packet.ack_number())),
            syn: packet.syn(),
            fin: packet.fin(),
            rst: packet.rst(),
            len: u32::try_from(packet.payload().len()).unwrap_or(u32::MAX),
            window: packet.window_len(),
        }
    }

    /// The sequence number after this segment.
    pub(super) fn end(&self) -> u32 {
        self.seq
            .wrapping_add(self.len)
            .wrapping_add(u32::from(self.syn))
            .wrapping_add(u32::from(self.fin))
    }

    /// Payload that the sender of this SYN takes in one segment, in bytes, as smoltcp reads it.
    pub(super) fn takes(&self) -> u16 {
        self.mss
            .filter(|mss| *mss != 0)
            .unwrap_or(DEFAULT_MSS)
            .max(SMALLEST_MSS)
    }

    /// A SYN that may open a flow: nothing else is set (RFC 9293 section 3.10.7.2).
    pub(super) fn opens(&self) -> bool {
        self.syn && self.ack.is_none() && !self.fin && !self.rst
    }

    /// The reset that answers this segment where no connection is (RFC 9293 section 3.10.7.1); none answers a reset.
    pub(super) fn refusal(&self) -> Option<Reply> {
        if self.rst {
            return None;
        }
        Some(match self.ack {
            Some(ack) => Reply {
                control: TcpControl::Rst,
                seq: ack,
                ack: None,
                window: 0,
            },
            None => Reply {
                control: TcpControl::Rst,
                seq: 0,
                ack: Some(self.end()),
                window: 0,
            },
        })
    }
}

/// A segment without payload, written without smoltcp.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reply {
    pub(super) control: TcpControl,
    pub(super) seq: u32,
    pub(super) ack: Option<u32>,
    pub(super) window: u16,
}

impl Reply {
    /// Queues it for the container of `tuple`, from the address it had called.
    pub(super) fn send(
        self,
        control: &mut Control,
        gateway: EthernetAddress,
        mac: EthernetAddress,
        tuple: &Tuple,
    ) -> bool {
        let Some(ends) = Ends::new(tuple.our.ip(), tuple.endpoint.ip()) else {
            return false;
        };
        let repr = self.repr(tuple);
        let len = ETHERNET_HEADER + ends.header() + repr.buffer_len();
        control.push(Offload::default(), len, |out| {
            write_ethernet(out, gateway, mac, ends.ethertype());
            emit(&repr, ends, &mut out[ETHERNET_HEADER..]);
        })
    }

    /// The packet as if it came from the endpoint, to be shown to the flow's own interface; as much of `out` as it takes.
    pub(super) fn write_from_endpoint<'o>(self, tuple: &Tuple, out: &'o mut [u8; BARE_PACKET]) -> Option<&'o [u8]> {
        let ends = Ends::new(tuple.endpoint.ip(), tuple.our.ip())?;
        let repr = self.repr(&Tuple {
            endpoint: tuple.our,
            our: tuple.endpoint,
        });
        let packet = &mut out[..ends.header() + repr.buffer_len()];
        emit(&repr, ends, packet);
        Some(packet)
    }

    fn repr(self, tuple: &Tuple) -> TcpRepr<'static> {
        TcpRepr {
            src_port: tuple.our.port(),
            dst_port: tuple.endpoint.port(),
            control: self.control,
            seq_number: wire_number(self.seq),
            ack_number: self.ack.map(wire_number),
            window_len: self.window,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        }
    }
}

/// Bytes of the largest packet that holds a TCP header and nothing else.
pub(super) const BARE_PACKET: usize = IPV6_HEADER + smoltcp::wire::TCP_HEADER_LEN;

/// `a` comes before `b` on the circle of sequence numbers (RFC 9293 section 3.4).
pub(super) fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

/// smoltcp's sequence number as a plain one.
pub(super) fn number(seq: TcpSeqNumber) -> u32 {
    seq.0.cast_unsigned()
}

/// The IP address and port of `address` as smoltcp writes them.
pub(super) fn wire_endpoint(address: SocketAddr) -> (IpAddress, u16) {
    (address.ip().into(), address.port())
}

/// The other way round.
pub(super) fn wire_number(seq: u32) -> TcpSeqNumber {
    TcpSeqNumber(seq.cast_signed())
}

/// Writes the packet from its IP header on.
fn emit(repr: &TcpRepr<'_>, ends: Ends, out: &mut [u8]) {
    ends.write(out, IpProtocol::Tcp, repr.buffer_len(), None);
    let mut packet = TcpPacket::new_unchecked(&mut out[ends.header()..]);
    let (source, target): (IpAddress, IpAddress) = match ends {
        Ends::V4 { source, target } => (source.into(), target.into()),
        Ends::V6 { source, target } => (source.into(), target.into()),
    };
    repr.emit(&mut packet, &source, &target, &ChecksumCapabilities::default());
}

/// RFC 9293 section 3.7.1: what is assumed without the option.
const DEFAULT_MSS: u16 = 536;

/// What smoltcp takes at least, like Linux (TCP_MIN_SND_MSS).
const SMALLEST_MSS: u16 = 48;
