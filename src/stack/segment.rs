//! TCP segments: what the engine reads of one before smoltcp does, and the few it writes itself.
//!
//! It writes those that need no connection: resets (RFC 9293 section 3.10.7.1), the answer to a refused SYN and the
//! last ACK of a connection in TIME-WAIT. Everything else is smoltcp's.

use std::net::{Ipv4Addr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetProtocol, IpAddress, IpProtocol, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
};

use super::Offload;
use super::control::Control;
use super::flow::Tuple;
use super::frame::{ETHERNET_HEADER, IPV4_HEADER, Ipv4Header, ipv4_of, write_ethernet};

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
        let (Some(source), Some(target)) = (ipv4_of(tuple.our.ip()), ipv4_of(tuple.endpoint.ip())) else {
            return false;
        };
        let repr = self.repr(tuple);
        let len = ETHERNET_HEADER + IPV4_HEADER + repr.buffer_len();
        control.push(Offload::default(), len, |out| {
            write_ethernet(out, gateway, mac, EthernetProtocol::Ipv4);
            let packet = &mut out[ETHERNET_HEADER..];
            let payload_len = repr.buffer_len();
            Ipv4Header {
                source,
                target,
                protocol: IpProtocol::Tcp,
                payload_len,
                fragment: None,
            }
            .write(packet);
            emit(&repr, &mut packet[IPV4_HEADER..], source, target);
        })
    }

    /// The packet as if it came from the endpoint, to be shown to the flow's own interface.
    pub(super) fn write_from_endpoint(self, tuple: &Tuple, out: &mut [u8; BARE_PACKET]) -> Option<()> {
        let (source, target) = (ipv4_of(tuple.endpoint.ip())?, ipv4_of(tuple.our.ip())?);
        let repr = self.repr(&Tuple {
            endpoint: tuple.our,
            our: tuple.endpoint,
        });
        let payload_len = repr.buffer_len();
        Ipv4Header {
            source,
            target,
            protocol: IpProtocol::Tcp,
            payload_len,
            fragment: None,
        }
        .write(out);
        emit(&repr, &mut out[IPV4_HEADER..], source, target);
        Some(())
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

/// Bytes of an IPv4 packet that holds a TCP header and nothing else.
pub(super) const BARE_PACKET: usize = IPV4_HEADER + smoltcp::wire::TCP_HEADER_LEN;

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

fn emit(repr: &TcpRepr<'_>, out: &mut [u8], source: Ipv4Addr, target: Ipv4Addr) {
    let mut packet = TcpPacket::new_unchecked(out);
    repr.emit(
        &mut packet,
        &source.into(),
        &target.into(),
        &ChecksumCapabilities::default(),
    );
}
