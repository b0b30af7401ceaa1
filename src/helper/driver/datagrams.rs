//! The host side of UDP mappings, echo mappings and published UDP ports.
//!
//! A socket is opened when the first datagram of its mapping leaves, and closed when the engine says that the mapping
//! has expired; which answers pass is the engine's decision alone.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Once;

use mio::net::UdpSocket;
use mio::{Registry, Token};
use smoltcp::time::Instant;

use super::apart::Kept;
use super::asked::Asked;
use super::command::Destination;
use super::link::Link;
use super::token::Readiness;
use super::train::Train;
use crate::host::echo::{HEADER, PingSocket, Reply, Request};
use crate::host::errno::{unreachable, unsent, would_block};
use crate::host::outbound::Outbound;
use crate::host::udp::UdpSide;
use crate::stack::{
    ClientSocket, EchoId, Engine, Failure, Fault, Handling, MappingId, Payload, PublishId, Transmit, Unreachable,
};
use crate::sys::datagrams::{Batch, Message};

/// Host sockets by mapping.
#[derive(Debug)]
pub(super) struct Datagrams {
    mappings: HashMap<MappingId, UdpSide>,
    echoes: HashMap<EchoId, PingSocket>,
    published: HashMap<PublishId, Published>,
    /// On their way out.
    train: Train,
    /// How they are to be treated.
    handling: Handling,
    /// On their way in.
    batch: Batch,
    /// The echo being received.
    echo: Box<[u8]>,
    /// From where they go out.
    outbound: Outbound,
    /// Ports whose clients of the host's loopback are not ours.
    pub(super) kept: Kept,
}

/// What a container sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing<'f> {
    pub(super) socket: ClientSocket,
    pub(super) target: SocketAddr,
    pub(super) payload: &'f [u8],
    /// Bytes of one datagram, where there are several.
    pub(super) segment: Option<NonZeroU16>,
    /// As it is to be treated.
    pub(super) handling: Handling,
    /// The frame that it came in.
    pub(super) frame: &'f [u8],
}

#[derive(Debug)]
struct Published {
    socket: UdpSide,
    destination: Destination,
    /// From where its clients are answered, if it is bound to several addresses.
    asked: Asked,
}

impl Datagrams {
    /// None yet; they will go out from `outbound`.
    pub(super) fn new(outbound: Outbound) -> Self {
        Self {
            mappings: HashMap::new(),
            echoes: HashMap::new(),
            published: HashMap::new(),
            train: Train::default(),
            handling: Handling::USUAL,
            batch: Batch::new(),
            echo: vec![0; ECHO_BYTES].into_boxed_slice(),
            outbound,
            kept: Kept::default(),
        }
    }

    /// Sends a container's datagram, or a superframe's several: at once, or with others of their kind when
    /// [`Datagrams::flush`] is called. `refuse` hears which frame's could not be sent.
    pub(super) fn send(&mut self, registry: &Registry, outgoing: Outgoing<'_>, mut refuse: impl FnMut(&[u8], Fault)) {
        let Outgoing {
            socket,
            target,
            payload,
            segment,
            handling,
            frame,
        } = outgoing;
        if segment.is_none() && self.handling == handling && self.train.join(socket, target, payload) {
            return;
        }
        self.flush(registry, &mut refuse);
        self.handling = handling;
        if segment.is_none() {
            self.train.begin(socket, target, payload, frame);
        } else if let Err(why) = self.send_now(registry, socket, target, payload, segment) {
            refuse(frame, why);
        }
    }

    /// How many mappings there are.
    pub(super) fn count(&self) -> usize {
        self.mappings.len()
    }

    /// Sends what has gathered.
    pub(super) fn flush(&mut self, registry: &Registry, mut refuse: impl FnMut(&[u8], Fault)) {
        let Some((socket, target)) = self.train.depart() else {
            return;
        };
        let train = std::mem::take(&mut self.train);
        if let Err(why) = self.send_now(registry, socket, target, train.payload(), train.segment()) {
            refuse(train.frame(), why);
        }
        self.train = train;
    }

    fn send_now(
        &mut self,
        registry: &Registry,
        socket: ClientSocket,
        target: SocketAddr,
        payload: &[u8],
        segment: Option<NonZeroU16>,
    ) -> Result<(), Fault> {
        let handling = self.handling;
        let (socket, from) = match socket {
            ClientSocket::Mapping { id, port } => (self.mapping(registry, id, port, target)?, None),
            // The port was unpublished while its client's answer was on the way.
            ClientSocket::Published(id) => {
                let Published { socket, asked, .. } = self.published.get_mut(&id).ok_or(Unreachable::Refused)?;
                (socket, asked.by(target))
            }
        };
        socket.handle(handling);
        sent(socket.send_from(from, target, payload, segment), target)
    }

    /// Sends a container's echo request.
    pub(super) fn ping(&mut self, registry: &Registry, echo: EchoId, request: Request<'_>) -> Result<(), Fault> {
        let socket = match self.echoes.entry(echo) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let socket = PingSocket::open(request.target, self.outbound, registry, Readiness::Echo(echo).into())
                    .inspect_err(explain_ping)
                    .map_err(|error| unreachable(&error))?;
                new.insert(socket)
            }
        };
        sent(socket.send(request), SocketAddr::new(request.target, 0))
    }

    /// Takes what the hosts answered to a mapping, a bounded portion; true when more may wait.
    pub(super) fn receive(&mut self, now: Instant, engine: &mut Engine, link: &mut Link, mapping: MappingId) -> bool {
        let Some(socket) = self.mappings.get_mut(&mapping) else {
            return false;
        };
        let more = receive_some(socket, &mut self.batch, engine, |engine, message, payload| {
            forward(link, |out| {
                engine.deliver_datagram(now, mapping, message.from, payload, out)
            });
        });
        let failed = fetch_failures(
            |buffer| socket.failure(buffer),
            |failure| engine.mapping_failed(now, mapping, failure),
        );
        more || failed
    }

    /// Takes what clients sent to a published port.
    pub(super) fn receive_published(
        &mut self,
        now: Instant,
        engine: &mut Engine,
        link: &mut Link,
        id: PublishId,
    ) -> bool {
        let Some(published) = self.published.get_mut(&id) else {
            return false;
        };
        let Published {
            socket,
            destination,
            asked,
        } = published;
        let container = |client| destination.of(client).0;
        let kept = &self.kept;
        let more = receive_some(socket, &mut self.batch, engine, |engine, message, payload| {
            let client = message.from;
            if let Some(taker) = kept.taker(id, client) {
                let size = payload.segment.map_or(payload.bytes.len(), |size| size.get().into());
                let one = payload.bytes.is_empty().then_some(payload.bytes);
                let datagrams = one.into_iter().chain(payload.bytes.chunks(size.max(1)));
                return taker.datagrams(id, client, message.to, datagrams);
            }
            if let Some(to) = message.to {
                asked.note(client, to);
            }
            forward(link, |out| {
                engine.deliver_published(now, id, client, container(client), payload, out)
            });
        });
        let failed = fetch_failures(
            |buffer| socket.failure(buffer),
            |failure| engine.published_failed(now, id, container(failure.target), failure),
        );
        more || failed
    }

    /// Takes echo replies.
    pub(super) fn receive_echo(&mut self, now: Instant, engine: &mut Engine, link: &mut Link, echo: EchoId) -> bool {
        let Some(socket) = self.echoes.get_mut(&echo) else {
            return false;
        };
        let more = receive_echoes(socket, &mut self.echo, |reply, payload| {
            forward(link, |out| {
                engine.deliver_echo(now, echo, reply.from, reply.sequence, payload, out)
            });
        });
        let failed = fetch_failures(
            |buffer| socket.failure(buffer),
            |failure| engine.echo_failed(now, echo, failure),
        );
        more || failed
    }

    /// Serves a published UDP port.
    pub(super) fn publish(
        &mut self,
        registry: &Registry,
        token: Token,
        id: PublishId,
        socket: std::net::UdpSocket,
        destination: Destination,
    ) -> io::Result<()> {
        let socket = UdpSide::watch(UdpSocket::from_std(socket), registry, token)?;
        socket.tell_where_to()?;
        let asked = Asked::default();
        self.published.insert(
            id,
            Published {
                socket,
                destination,
                asked,
            },
        );
        Ok(())
    }

    /// Closes a published UDP port.
    pub(super) fn unpublish(&mut self, id: PublishId) {
        self.published.remove(&id);
        self.kept.forget(id);
    }

    /// Closes an expired mapping.
    pub(super) fn close_mapping(&mut self, mapping: MappingId) {
        self.mappings.remove(&mapping);
    }

    /// Closes an expired echo mapping.
    pub(super) fn close_echo(&mut self, echo: EchoId) {
        self.echoes.remove(&echo);
    }

    fn mapping(
        &mut self,
        registry: &Registry,
        id: MappingId,
        port: u16,
        target: SocketAddr,
    ) -> Result<&mut UdpSide, Unreachable> {
        match self.mappings.entry(id) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(new) => {
                let socket = UdpSide::open(target, self.outbound, port, registry, Readiness::Mapping(id).into())
                    .map_err(|error| unreachable(&error))?;
                Ok(new.insert(socket))
            }
        }
    }
}

/// Names the sysctl, once for all workers.
fn explain_ping(error: &io::Error) {
    static EXPLAINED: Once = Once::new();
    if error.kind() == io::ErrorKind::PermissionDenied {
        EXPLAINED.call_once(|| {
            tracing::warn!(
                "ping from containers is forbidden: net.ipv4.ping_group_range leaves this user's groups out; \
                 root can allow it with: sysctl -w net.ipv4.ping_group_range='0 2147483647'"
            );
        });
    }
}

/// Receives echo replies until the socket is empty or the portion full; true when more may wait.
fn receive_echoes(socket: &mut PingSocket, buffer: &mut [u8], mut deliver: impl FnMut(Reply, &[u8])) -> bool {
    for _ in 0..DATAGRAMS_PER_TURN {
        match socket.recv(buffer) {
            Ok(reply) => deliver(reply, &buffer[HEADER..HEADER + reply.len]),
            Err(error) if would_block(&error) => return false,
            // An ICMP error about an earlier request, which waits in the socket's queue.
            Err(error) => tracing::debug!(%error, "ping socket"),
        }
    }
    true
}

/// Takes what was said about datagrams that have left, a bounded portion; true when more may wait.
fn fetch_failures(
    mut next: impl for<'b> FnMut(&'b mut [u8]) -> Option<Failure<'b>>,
    mut tell: impl FnMut(&Failure<'_>),
) -> bool {
    let mut buffer = [0; QUOTED_BYTES];
    for _ in 0..FAILURES_PER_TURN {
        let Some(failure) = next(&mut buffer) else {
            return false;
        };
        tell(&failure);
    }
    true
}

/// Receives datagrams until the socket is empty or the portion full, and hands them on in as few frames as the engine
/// allows; true when more may wait.
fn receive_some(
    socket: &mut UdpSide,
    batch: &mut Batch,
    engine: &mut Engine,
    mut deliver: impl FnMut(&mut Engine, &Message, Payload<'_>),
) -> bool {
    for _ in 0..BATCHES_PER_TURN {
        match socket.receive(batch) {
            Ok(()) => hand_on(batch, engine, &mut deliver),
            Err(error) if would_block(&error) => return false,
            // An ICMP error about an earlier datagram, which waits in the socket's queue.
            Err(error) => {
                tracing::debug!(%error, "datagram socket");
                continue;
            }
        }
        if batch.is_short() {
            // Empty; what comes later makes a new edge (epoll(7), Q9).
            return false;
        }
    }
    true
}

/// Hands on what was received. Datagrams of one size that follow each other from one sender share a frame, whether the
/// kernel had gathered them or we do.
fn hand_on(batch: &mut Batch, engine: &mut Engine, deliver: &mut impl FnMut(&mut Engine, &Message, Payload<'_>)) {
    let mut next = 0;
    while let Some(first) = batch.messages().get(next).copied() {
        let at = next;
        next += 1;
        let (mut len, mut segment) = (first.len, first.segment);
        let size = u16::try_from(first.len).ok().and_then(NonZeroU16::new);
        if let (None, Some(size)) = (segment, size) {
            let room = first.len * engine.datagrams_per_frame(first.from, size);
            while let Some(other) = batch.messages().get(next).copied()
                && (other.from, other.to, other.segment) == (first.from, first.to, None)
                && (1..=first.len).contains(&other.len)
                && len % first.len == 0
                && len + other.len <= room
                && batch.append(next, at, len)
            {
                len += other.len;
                next += 1;
                segment = Some(size);
            }
        }
        let payload = &batch.slot(at)[..len];
        match segment {
            None => deliver(engine, &first, Payload::one(payload)),
            Some(size) => {
                let frame = usize::from(size.get()) * engine.datagrams_per_frame(first.from, size);
                for bytes in payload.chunks(frame) {
                    deliver(engine, &first, Payload { bytes, segment });
                }
            }
        }
    }
}

fn forward(link: &mut Link, deliver: impl FnOnce(&mut [u8]) -> Option<Transmit>) {
    if let Some(transmit) = deliver(&mut link.buffer) {
        link.send(transmit);
    }
}

fn sent(outcome: io::Result<()>, target: SocketAddr) -> Result<(), Fault> {
    match outcome {
        // A full send queue loses datagrams, as on any wire.
        Err(error) if !would_block(&error) => Err(unsent(&error, target)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The largest payload of an echo over IPv6 without jumbograms, and its header.
const ECHO_BYTES: usize = 65_535 + HEADER;

/// Echo replies received from one socket in one turn.
const DATAGRAMS_PER_TURN: usize = 64;

/// Errors taken from one socket's queue in one turn; a container is told of a hundred a second.
const FAILURES_PER_TURN: usize = 16;

/// Bytes of a quotation that are of use: an ICMP error has room for 548.
const QUOTED_BYTES: usize = 576;

/// Calls that receive from one socket in one turn, each of [`MESSAGES`](crate::sys::datagrams::MESSAGES).
const BATCHES_PER_TURN: usize = 4;
