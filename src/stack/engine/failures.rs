//! Errors that come back about datagrams that have left: each becomes the ICMP error that the container would have got
//! without us, from the machine that reported it, about the container's own datagram.
//!
//! The kernel has matched the error with a host socket; here it must also belong to something that the container sent,
//! a peer of the mapping or a client of the published port. What is quoted is rebuilt from the mapping: the IP header
//! and the ports (or the echo's id) as the container knows them, and as much of the payload as was given back.
//!
//! Sources: RFC 5508 section 4 (ICMP errors through a NAT), RFC 792, RFC 1624 (checksum update).

use std::net::{IpAddr, SocketAddr};

use smoltcp::time::Instant;
use smoltcp::wire::{IpProtocol, checksum};

use super::Engine;
use super::udp::canonical;
use crate::stack::counters::Discard;
use crate::stack::datagram::UDP_HEADER;
use crate::stack::ends::Ends;
use crate::stack::icmp::{self, IcmpError};
use crate::stack::icmpv6;
use crate::stack::types::{EchoId, Failure, MappingId, PublishId};
use crate::stack::udp::Client;

impl Engine {
    /// A datagram of a mapping went no further.
    pub fn mapping_failed(&mut self, now: Instant, MappingId(id): MappingId, failure: &Failure<'_>) {
        let target = canonical(failure.target);
        let known = self.mappings.get(id);
        let ends = known.and_then(|entry| Some((entry.key, entry.value.shown(target)?)));
        self.datagram_failed(now, ends, failure);
    }

    /// An answer of `container` to a client of a published port went no further.
    pub fn published_failed(&mut self, now: Instant, publish: PublishId, container: SocketAddr, failure: &Failure<'_>) {
        let client = Client {
            publish,
            container,
            real: canonical(failure.target),
        };
        let known = self.client_index.get(&client).and_then(|id| self.clients.get(*id));
        let ends = known.map(|entry| (container, entry.key.shown));
        self.datagram_failed(now, ends, failure);
    }

    /// An echo request went no further.
    pub fn echo_failed(&mut self, now: Instant, EchoId(id): EchoId, failure: &Failure<'_>) {
        let known = self.echoes.get(id).map(|entry| entry.key);
        let Some(((container, ident), message)) = known.zip(failure.quoted.split_first_chunk()) else {
            return self.counters.discard(Discard::Filtered);
        };
        let (head, data) = message;
        let (protocol, kind) = match container {
            IpAddr::V4(_) => (IpProtocol::Icmp, icmp::ECHO_REQUEST),
            IpAddr::V6(_) => (IpProtocol::Icmpv6, icmpv6::ECHO_REQUEST),
        };
        let quoted = Quoted {
            source: container,
            // Echo targets are not translated.
            target: failure.target.ip(),
            protocol,
            head: echo_head(*head, kind, ident),
            payload: data,
        };
        self.pass_failure_on(now, &quoted, failure);
    }

    fn datagram_failed(&mut self, now: Instant, ends: Option<(SocketAddr, SocketAddr)>, failure: &Failure<'_>) {
        let Some((container, shown)) = ends else {
            return self.counters.discard(Discard::Filtered);
        };
        let quoted = Quoted {
            source: container.ip(),
            target: shown.ip(),
            protocol: IpProtocol::Udp,
            head: udp_head(container.port(), shown.port(), failure.quoted.len()),
            payload: failure.quoted,
        };
        self.pass_failure_on(now, &quoted, failure);
    }

    fn pass_failure_on(&mut self, now: Instant, quoted: &Quoted<'_>, failure: &Failure<'_>) {
        let mut packet = [0; icmpv6::MAX_QUOTE];
        let written = quoted.write(&mut packet);
        let (Some(len), Some(error)) = (written, IcmpError::for_fault(failure.fault)) else {
            return self.counters.discard(Discard::Filtered);
        };
        let reporter = self.reporter(failure, quoted.target);
        self.report_as(reporter, now, error, quoted.source, &packet[..len]);
    }

    /// As whom the container sees the machine that reports: the target as the container calls it; a router as itself,
    /// unless a container could not know it by that address; then nobody is named.
    fn reporter(&self, failure: &Failure<'_>, shown: IpAddr) -> Option<IpAddr> {
        let offender = failure.offender?;
        if offender == failure.target.ip() {
            return Some(shown);
        }
        let showable = self.is_showable(SocketAddr::new(offender, 0));
        Some(offender).filter(|_| showable)
    }
}

/// The container's datagram, as far as it is known.
#[derive(Debug)]
struct Quoted<'p> {
    source: IpAddr,
    target: IpAddr,
    protocol: IpProtocol,
    head: [u8; UDP_HEADER],
    payload: &'p [u8],
}

impl Quoted<'_> {
    /// Writes it into `out` as far as there is room; returns how many bytes.
    fn write(&self, out: &mut [u8; icmpv6::MAX_QUOTE]) -> Option<usize> {
        let ends = Ends::new(self.source, self.target)?;
        let quote = match ends {
            Ends::V4 { .. } => icmp::MAX_QUOTE,
            Ends::V6 { .. } => icmpv6::MAX_QUOTE,
        };
        let room = quote - ends.header() - UDP_HEADER;
        let payload = &self.payload[..self.payload.len().min(room)];
        ends.write(out, self.protocol, UDP_HEADER + payload.len(), None);
        let body = &mut out[ends.header()..];
        body[..UDP_HEADER].copy_from_slice(&self.head);
        body[UDP_HEADER..UDP_HEADER + payload.len()].copy_from_slice(payload);
        Some(ends.header() + UDP_HEADER + payload.len())
    }
}

/// Ports and length; the checksum of what was sent is not known.
fn udp_head(source: u16, target: u16, payload: usize) -> [u8; UDP_HEADER] {
    let len = u16::try_from(UDP_HEADER + payload).unwrap_or(u16::MAX);
    let mut head = [0; UDP_HEADER];
    head[0..2].copy_from_slice(&source.to_be_bytes());
    head[2..4].copy_from_slice(&target.to_be_bytes());
    head[4..6].copy_from_slice(&len.to_be_bytes());
    head
}

/// The head of an echo request with the container's id, its checksum updated (RFC 1624, equation 3).
fn echo_head(mut head: [u8; UDP_HEADER], kind: u8, ident: u16) -> [u8; UDP_HEADER] {
    let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let sum = !checksum::combine(&[!word(2), !word(4), ident]);
    head[0] = kind;
    head[2..4].copy_from_slice(&sum.to_be_bytes());
    head[4..6].copy_from_slice(&ident.to_be_bytes());
    head
}
