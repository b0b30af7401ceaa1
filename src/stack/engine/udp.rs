//! UDP: mappings outward, published ports inward, questions to the resolver.
//!
//! A datagram from a container is, in this order: an answer to a client of a published port, which goes back through
//! that port's listener; a message to the gateway's DHCP server; a question to its resolver; or the use of the mapping of
//! its endpoint. The shell
//! brings datagrams of the host in with the `deliver_` functions, each of which writes one frame at once.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use smoltcp::time::Instant;

use super::Engine;
use crate::policy::{DNS_PORT, Lead, Transport};
use crate::stack::counters::Discard;
use crate::stack::datagram::{Datagram, UDP_HEADER};
use crate::stack::directory::{Key, ShardId};
use crate::stack::frame::{ETHERNET_HEADER, IPV4_HEADER, Packet};
use crate::stack::icmp::IcmpError;
use crate::stack::ipv6::IPV6_HEADER;
use crate::stack::ledger::Kind;
use crate::stack::timer::Deadline;
use crate::stack::types::{Action, ClientSocket, EchoId, MappingId, Passage, Payload, PublishId, Transmit};
use crate::stack::udp::{CLIENT_LIFETIME, Client, ClientKey, Mapping};
use crate::stack::{GsoType, Offload};

impl Engine {
    /// How many datagrams of `segment` bytes from `from` one frame to a container may carry: one where they would have to be cut or the
    /// kernel does not take them apart.
    pub fn datagrams_per_frame(&self, from: SocketAddr, segment: NonZeroU16) -> usize {
        let segment = usize::from(segment.get());
        let header = if canonical(from).is_ipv4() {
            IPV4_HEADER
        } else {
            IPV6_HEADER
        };
        let cut = header + UDP_HEADER + segment > usize::from(self.config.mtu);
        if cut || !self.config.uplink.uso || !self.config.uplink.checksum {
            return 1;
        }
        let room = MAX_SUPERFRAME - ETHERNET_HEADER - header - UDP_HEADER;
        (room / segment).clamp(1, MAX_DATAGRAMS)
    }

    /// Writes what reached a mapping's socket: a datagram, or several of `segment` bytes as far as
    /// [`Engine::datagrams_per_frame`] allows. None if the mapping has expired or never wrote to `from`.
    pub fn deliver_datagram(
        &mut self,
        _now: Instant,
        MappingId(id): MappingId,
        from: SocketAddr,
        payload: Payload<'_>,
        out: &mut [u8],
    ) -> Option<Transmit> {
        let from = canonical(from);
        let known = self.mappings.get_mut(id);
        let ends = known.and_then(|entry| Some((entry.value.answer_from(from)?, entry.key)));
        let transmit = ends.and_then(|(shown, container)| self.write_udp(shown, container, payload, out));
        self.count_delivery(transmit, Discard::Filtered)
    }

    /// Writes what a client sent to a published port, as [`Engine::deliver_datagram`] does; none if no such container is attached.
    pub fn deliver_published(
        &mut self,
        now: Instant,
        publish: PublishId,
        client: SocketAddr,
        container: SocketAddr,
        payload: Payload<'_>,
        out: &mut [u8],
    ) -> Option<Transmit> {
        let client = Client {
            publish,
            container,
            real: canonical(client),
        };
        let shown = self.show_client(now, client);
        let transmit = shown.and_then(|shown| self.write_udp(shown, container, payload, out));
        self.count_delivery(transmit, Discard::Filtered)
    }

    /// Forgets the clients of ports that are published no more: what containers send them is theirs to begin from now on.
    pub fn unpublish(&mut self, ports: &[PublishId]) {
        let ports: BTreeSet<&PublishId> = ports.iter().collect();
        let of_these = |(client, id): (&Client, &u32)| ports.contains(&client.publish).then_some(*id);
        let clients: Vec<u32> = self.client_index.iter().filter_map(of_these).collect();
        for id in clients {
            self.forget_client(id);
        }
    }

    /// Writes the resolver's answer to a question that came as [`Passage::Query`].
    pub fn deliver_answer(
        &mut self,
        _now: Instant,
        client: SocketAddr,
        payload: &[u8],
        out: &mut [u8],
    ) -> Option<Transmit> {
        let resolver = self.config.policy.resolver_beside(client.ip());
        let transmit = resolver.and_then(|resolver| {
            self.write_udp(SocketAddr::new(resolver, DNS_PORT), client, Payload::one(payload), out)
        });
        self.count_delivery(transmit, Discard::Filtered)
    }

    pub(super) fn receive_udp<'f>(
        &mut self,
        now: Instant,
        offload: Offload,
        packet: &Packet<'f>,
    ) -> Result<Passage<'f>, Discard> {
        let datagram = packet.udp(offload)?;
        let segment = segment_of(offload, datagram.payload())?;
        let container = SocketAddr::new(packet.source, datagram.src_port());
        let shown = SocketAddr::new(packet.target, datagram.dst_port());
        let payload = datagram.payload();
        if let Some((publish, target)) = self.published_client(now, container, shown) {
            let socket = ClientSocket::Published(publish);
            return Ok(Passage::Datagram {
                socket,
                target,
                payload,
                segment,
                handling: packet.handling(offload),
            });
        }
        if self.is_dhcp(container, shown) {
            return self.receive_dhcp(now, offload, packet, payload).map(|()| Passage::Done);
        }
        let clients = self.directory.clients();
        if let Some(shard) = self.datagram_elsewhere(container, shown, clients) {
            return Ok(Passage::Elsewhere { shard });
        }
        match self.config.policy.lead(Transport::Udp, shown) {
            // Nobody asks the resolver by superframe; it would have to be taken apart here.
            Lead::Resolver if segment.is_some() => Err(Discard::Malformed),
            Lead::Resolver => Ok(Passage::Query {
                client: container,
                payload,
            }),
            Lead::Host(target) => {
                let id = self
                    .mapping(now, container, (target, shown), clients)
                    .ok_or(Discard::Full)?;
                let socket = ClientSocket::Mapping {
                    id,
                    port: container.port(),
                };
                Ok(Passage::Datagram {
                    socket,
                    target,
                    payload,
                    segment,
                    handling: packet.handling(offload),
                })
            }
            Lead::Refused => Err(self.refuse_datagram(now, packet, IcmpError::Port)),
            Lead::Unreachable => Err(self.refuse_datagram(now, packet, IcmpError::Network)),
            Lead::Prohibited => Err(self.refuse_datagram(now, packet, IcmpError::Prohibited)),
            Lead::Nowhere => Err(Discard::Nowhere),
        }
    }

    /// The other shard whose published port's client, or else whose mapping, this is about. A mapping of ours that has
    /// written there before, and has asked since there was last a new client anywhere, is sure that it is neither.
    fn datagram_elsewhere(&self, container: SocketAddr, shown: SocketAddr, clients: u64) -> Option<ShardId> {
        let mapping = self.mappings.find(&container).and_then(|id| self.mappings.get(id));
        if mapping.is_some_and(|entry| entry.value.has_written_to(shown, clients)) {
            return None;
        }
        let client = Key::Client(ClientKey { container, shown });
        let elsewhere = self.directory.elsewhere(client);
        elsewhere.or_else(|| self.directory.elsewhere(Key::Mapping(container)))
    }

    fn refuse_datagram(&mut self, now: Instant, packet: &Packet<'_>, error: IcmpError) -> Discard {
        self.report(now, error, packet.source, packet.bytes);
        Discard::Refused
    }

    /// The mapping of a container's endpoint, used now to write to `real`; made if there is none.
    fn mapping(
        &mut self,
        now: Instant,
        container: SocketAddr,
        (real, shown): (SocketAddr, SocketAddr),
        clients: u64,
    ) -> Option<MappingId> {
        let id = match self.mappings.find(&container) {
            Some(id) => id,
            None => self.make_mapping(now, container)?,
        };
        let entry = self.mappings.get_mut(id)?;
        entry.touch(now);
        entry.value.write_to(real, shown, clients);
        let at = entry.expiry(entry.value.lifetime());
        self.timers.arm(&mut entry.armed, Deadline::Mapping(MappingId(id)), at);
        Some(MappingId(id))
    }

    fn make_mapping(&mut self, now: Instant, container: SocketAddr) -> Option<u32> {
        let place = self.association_place(
            container.ip(),
            Kind::Mapping,
            |engine| &mut engine.mappings,
            |engine, id| engine.close_mapping(MappingId(id)),
        )?;
        if !self.directory.claim(Key::Mapping(container)) {
            return None;
        }
        self.mappings
            .insert(now, container.ip(), place, container, Mapping::new())
    }

    pub(super) fn mapping_timeout(&mut self, now: Instant, mapping: MappingId) {
        let Some(entry) = self.mappings.get_mut(mapping.0) else {
            return;
        };
        entry.armed = None;
        let at = entry.expiry(entry.value.lifetime());
        if at > now {
            self.timers.arm(&mut entry.armed, Deadline::Mapping(mapping), at);
        } else {
            self.close_mapping(mapping);
        }
    }

    fn close_mapping(&mut self, mapping: MappingId) {
        if let Some(mut entry) = self.mappings.remove(mapping.0) {
            self.timers.disarm(&mut entry.armed, Deadline::Mapping(mapping));
            self.directory.release(Key::Mapping(entry.key));
            self.actions.push_back(Action::CloseMapping { mapping });
        }
    }

    /// Which client of which published port the container calls `shown`, used now.
    fn published_client(
        &mut self,
        now: Instant,
        container: SocketAddr,
        shown: SocketAddr,
    ) -> Option<(PublishId, SocketAddr)> {
        let id = self.clients.find(&ClientKey { container, shown })?;
        let entry = self.clients.get_mut(id)?;
        entry.touch(now);
        Some((entry.value.publish, entry.value.real))
    }

    /// As whom the container sees `client`, used now.
    fn show_client(&mut self, now: Instant, client: Client) -> Option<SocketAddr> {
        if let Some(id) = self.client_index.get(&client) {
            let entry = self.clients.get_mut(*id)?;
            entry.touch(now);
            return Some(entry.key.shown);
        }
        self.expect(client.container.ip());
        self.containers.get(client.container.ip())?;
        let place = self.association_place(
            client.container.ip(),
            Kind::Client,
            |engine| &mut engine.clients,
            Self::forget_client,
        )?;
        let shown = self.stand_in_datagram(client)?;
        let key = ClientKey {
            container: client.container,
            shown,
        };
        if !self.directory.claim(Key::Client(key)) {
            return None;
        }
        let id = self.clients.insert(now, client.container.ip(), place, key, client)?;
        self.client_index.insert(client, id);
        let entry = self.clients.get_mut(id)?;
        let at = entry.expiry(CLIENT_LIFETIME);
        self.timers.arm(&mut entry.armed, Deadline::Client(id), at);
        Some(shown)
    }

    /// An address for the client that this container does not know as someone else's.
    fn stand_in_datagram(&mut self, client: Client) -> Option<SocketAddr> {
        let container = client.container;
        for shown in self.candidates(client.real, container) {
            let resolver = self.config.policy.is_resolver(shown.ip()) && shown.port() == DNS_PORT;
            let key = ClientKey { container, shown };
            let taken = self.clients.find(&key).is_some() || self.directory.elsewhere(Key::Client(key)).is_some();
            if !resolver && !taken {
                return Some(shown);
            }
        }
        None
    }

    pub(super) fn client_timeout(&mut self, now: Instant, id: u32) {
        let Some(entry) = self.clients.get_mut(id) else {
            return;
        };
        entry.armed = None;
        let at = entry.expiry(CLIENT_LIFETIME);
        if at > now {
            self.timers.arm(&mut entry.armed, Deadline::Client(id), at);
        } else {
            self.forget_client(id);
        }
    }

    fn forget_client(&mut self, id: u32) {
        if let Some(mut entry) = self.clients.remove(id) {
            self.timers.disarm(&mut entry.armed, Deadline::Client(id));
            self.directory.release(Key::Client(entry.key));
            self.client_index.remove(&entry.value);
            // The shell never saw this id.
            self.clients.release(id);
        }
    }

    /// Forgets everything about datagrams of a container.
    pub(super) fn drop_datagrams_of(&mut self, container: IpAddr) {
        for id in self.mappings.of_owner(container) {
            self.close_mapping(MappingId(id));
        }
        for id in self.clients.of_owner(container) {
            self.forget_client(id);
        }
        for id in self.echoes.of_owner(container) {
            self.close_echo(EchoId(id));
        }
    }

    fn write_udp(
        &mut self,
        source: SocketAddr,
        target: SocketAddr,
        payload: Payload<'_>,
        out: &mut [u8],
    ) -> Option<Transmit> {
        let link = self.link_to(target.ip())?;
        let datagram = Datagram::udp(source, target, payload)?;
        datagram.write(link, &mut self.control, out)
    }

    /// As whom a container may see a client of the host, best first: as itself; where that cannot be, because it is on
    /// the host's loopback or inside the subnet, or is taken, as the gateway with the same port, then with any port.
    pub(super) fn candidates(&mut self, client: SocketAddr, container: SocketAddr) -> Vec<SocketAddr> {
        let Some(gateway) = self.config.policy.gateway_beside(container.ip()) else {
            return Vec::new();
        };
        let mut candidates = Vec::with_capacity(2 + STAND_IN_TRIES);
        candidates.extend(Some(client).filter(|client| self.is_showable(*client)));
        candidates.push(SocketAddr::new(gateway, client.port()));
        for _ in 0..STAND_IN_TRIES {
            candidates.push(SocketAddr::new(gateway, self.random.port()));
        }
        candidates.retain(|shown| shown.port() != 0 && shown.is_ipv4() == container.is_ipv4());
        candidates
    }

    pub(super) fn is_showable(&self, client: SocketAddr) -> bool {
        self.config.policy.is_showable(client.ip())
    }
}

/// A v4-mapped address of a dual-stack socket as the address it carries.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(carried) => SocketAddr::new(carried.into(), address.port()),
        // Whole: a link-local address is nothing without its scope (RFC 4007 section 6).
        IpAddr::V6(_) => address,
    }
}

/// Bytes of one datagram if the frame holds several, of which there can be so many that each costs next to nothing to ask
/// for and much to send.
fn segment_of(offload: Offload, payload: &[u8]) -> Result<Option<NonZeroU16>, Discard> {
    match offload.gso {
        None => Ok(None),
        Some(gso) if gso.kind == GsoType::UdpL4 && payload.len() <= usize::from(gso.size) * MOST_DATAGRAMS => {
            Ok(NonZeroU16::new(gso.size))
        }
        Some(_) => Err(Discard::Malformed),
    }
}

/// Bytes of a frame that stays below 65,536 with its Ethernet header: one byte more, and the kernel takes it
/// apart in software.
const MAX_SUPERFRAME: usize = 65_535;

/// UDP_MAX_SEGMENTS of linux/udp.h since Linux 6.9; older kernels let a container's frame hold any number.
const MOST_DATAGRAMS: usize = 128;

/// UDP_MAX_SEGMENTS of linux/udp.h before Linux 6.9.
const MAX_DATAGRAMS: usize = 64;

/// Ports tried at the gateway for a client that cannot be shown as itself; with half of them taken, the chance that all
/// fail is one in 65,000.
const STAND_IN_TRIES: usize = 16;
