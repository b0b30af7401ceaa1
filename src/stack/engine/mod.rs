//! The engine: owns every flow and mapping of a network, takes frames, host events and time, returns outputs.
//!
//! # Loop contract
//!
//! After any `handle_*`, `drain` or `fill`, call [`Engine::poll_action`] until `None`, then
//! [`Engine::poll_transmit`] until `None`, then wait until [`Engine::poll_timeout`] or the next input.
//! Every flow, mapping and echo id that the shell has seen ends with exactly one `Close…` action, and none comes back
//! before that action was taken.
//!
//! This file holds the way in and the way out; each protocol has a file of its own beside it.

mod admission;
mod arp;
mod dhcp;
mod dhcpv6;
mod echo;
mod failures;
mod fragments;
mod host;
mod ipv6;
mod neighbours;
mod relay;
mod room;
mod routers;
mod segments;
mod turns;
mod udp;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ahash::RandomState;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv6Cidr};

use crate::stack::Offload;
use crate::stack::associations::Associations;
use crate::stack::container::{Containers, TokenBucket};
use crate::stack::control::Control;
use crate::stack::counters::{Counters, Discard};
use crate::stack::datagram::Link;
use crate::stack::dhcp::Dhcp;
use crate::stack::dhcp::leases::Leases;
use crate::stack::directory::{Directory, ShardId};
use crate::stack::flow::{Flows, TimeWait};
use crate::stack::fragments::Fragments;
use crate::stack::frame::{OUT_BYTES, Packet, ethernet};
use crate::stack::icmp::{IcmpError, Way, may_be_reported};
use crate::stack::icmpv6;
use crate::stack::ledger::{Kind, Ledger};
use crate::stack::links::Links;
use crate::stack::random::Random;
use crate::stack::rings::{RingMemory, Sockets};
use crate::stack::timer::{Deadline, Timers};
use crate::stack::types::{Action, Attachment, Config, EchoId, Fault, FlowId, MappingId, Passage, Transmit};
use crate::stack::udp::{Client, ClientKey, Mapping};

/// The stack of one network, or of a share of its traffic.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    directory: Directory,
    ledger: Ledger,
    links: Links,
    containers: Containers,
    flows: Flows,
    time_wait: TimeWait,
    sockets: Sockets,
    mappings: Associations<SocketAddr, Mapping>,
    clients: Associations<ClientKey, Client>,
    client_index: HashMap<Client, u32, RandomState>,
    echoes: Associations<(IpAddr, u16), ()>,
    /// Flows that may have something to send, each once.
    ready: VecDeque<FlowId>,
    control: Control,
    /// How many of those have gone since a flow last had its turn.
    answers: u8,
    fragments: Fragments,
    /// Who has which address, where they are given from a range.
    leases: Option<Leases>,
    /// Whose the connections are that containers open; none: ours.
    newcomers: Option<ShardId>,
    /// What is left of the right of those to ask for an address who have none.
    strangers: TokenBucket,
    /// The slot of the next router advertisement.
    advertised: Option<Instant>,
    actions: VecDeque<Action>,
    timers: Timers,
    counters: Counters,
    random: Random,
    /// A copy of the one segment that is amended.
    scratch: Vec<u8>,
    /// A copy of the one segment whose extension headers are taken off.
    plain: Vec<u8>,
}

/// What the engines of one network have in common besides the [`Directory`].
#[derive(Debug, Clone)]
pub struct Common {
    /// Who holds how much.
    pub ledger: Ledger,
    /// Who is linked to whom.
    pub links: Links,
}

impl Engine {
    /// `memory` is where the rings of TCP flows lie; `seed` keys the hash tables, sequence numbers and ids.
    pub fn new(config: Config, memory: Box<dyn RingMemory>, seed: [u64; 4]) -> Self {
        let common = Common {
            ledger: Ledger::new(config.limits),
            links: Links::new(seed),
        };
        Self::shard(Directory::default(), &common, config, memory, seed)
    }

    /// One of several that serve a network together, as far as they share the `directory` and what is in `common`. The
    /// limits are the ledger's and hold for all of them; a flow or mapping makes room only for others of the same engine.
    /// Each has a `seed` of its own.
    pub fn shard(
        directory: Directory,
        Common { ledger, links }: &Common,
        config: Config,
        memory: Box<dyn RingMemory>,
        seed: [u64; 4],
    ) -> Self {
        let mut random = Random::new(seed);
        let config = usable(config);
        Self {
            containers: Containers::new(random.hash_key(), config.senders),
            flows: Flows::new(random.hash_key(), directory.clone()),
            time_wait: TimeWait::new(random.hash_key(), directory.clone()),
            sockets: Sockets::new(memory, config.rings),
            mappings: Associations::new(random.hash_key(), Kind::Mapping, ledger),
            clients: Associations::new(random.hash_key(), Kind::Client, ledger),
            client_index: HashMap::with_hasher(random.hash_key()),
            echoes: Associations::new(random.hash_key(), Kind::Echo, ledger),
            ready: VecDeque::new(),
            control: Control::default(),
            answers: 0,
            fragments: Fragments::default(),
            leases: config
                .dhcp
                .as_ref()
                .and_then(Dhcp::range)
                .map(|(first, last)| Leases::new(first, last)),
            newcomers: None,
            strangers: TokenBucket::default(),
            advertised: None,
            actions: VecDeque::new(),
            timers: Timers::default(),
            counters: Counters::default(),
            scratch: Vec::new(),
            plain: Vec::new(),
            directory,
            random,
            ledger: ledger.clone(),
            links: links.clone(),
            config,
        }
    }

    // Commands

    /// A container has come, or has another hardware address now.
    pub fn attach(&mut self, attachment: Attachment) {
        self.containers.attach(attachment);
    }

    /// Ends every flow and mapping of the container: actions follow.
    pub fn detach(&mut self, attachment: Attachment) {
        if !self.containers.detach(attachment) {
            return;
        }
        self.drop_flows_of(attachment.address);
        self.drop_datagrams_of(attachment.address);
        self.fragments.forget(attachment.address);
    }

    /// What the owner of an attached hardware address is told that it is called, if it asks.
    pub fn set_hostname(&mut self, mac: EthernetAddress, hostname: String) {
        self.containers.set_hostname(mac, hostname);
    }

    /// Who asks from now on is told of these domains ([`Dhcp::search`](crate::stack::Dhcp::search)).
    pub fn set_search(&mut self, domains: Vec<String>) {
        if let Some(dhcp) = &mut self.config.dhcp {
            dhcp.search = domains;
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How often a container spoke with an address that is not its own, by its hardware address.
    pub fn spoofed_by(&self, mac: EthernetAddress) -> u64 {
        self.containers.spoofed_by(mac)
    }

    // Frames

    /// Takes one frame from the bridge.
    pub fn handle_frame<'f>(&mut self, now: Instant, offload: Offload, frame: &'f [u8]) -> Passage<'f> {
        match self.receive(now, offload, frame) {
            // Counted where it goes, and as what it became.
            Ok(passage @ (Passage::Elsewhere { .. } | Passage::Whole { .. })) => passage,
            Ok(passage) => {
                self.counters.frames_in += 1;
                passage
            }
            Err(why) => {
                self.counters.frames_in += 1;
                self.counters.discard(why);
                if why == Discard::Spoofed {
                    self.containers.blame(frame);
                }
                Passage::Done
            }
        }
    }

    /// Leaves the connections that containers open from now on to another shard, their first frame passes as
    /// [`Passage::Elsewhere`]; none: they are this one's, as in the beginning. Not for frames that another has left to us.
    pub fn leave_newcomers(&mut self, to: Option<ShardId>) {
        self.newcomers = to;
    }

    /// The host side of what `frame` asked for failed at once: answer it with the ICMP error that fits (rate limited).
    pub fn reject_frame(&mut self, now: Instant, frame: &[u8], why: impl Into<Fault>) {
        let packet = ethernet(frame).and_then(|frame| Packet::parse(&frame));
        if let (Ok(packet), Some(error)) = (packet, IcmpError::for_fault(why.into())) {
            self.report(now, error, packet.source, packet.bytes);
        }
    }

    /// Does what is due; a great many deadlines are done in portions.
    pub fn handle_timeout(&mut self, now: Instant) {
        for _ in 0..MAX_DUE {
            let Some(deadline) = self.timers.pop_due(now) else {
                return;
            };
            match deadline {
                Deadline::Flow(id) => self.flow_timeout(now, id),
                Deadline::Look(id) => self.look_timeout(now, id),
                Deadline::TimeWait => self.time_wait_timeout(now),
                Deadline::Mapping(id) => self.mapping_timeout(now, id),
                Deadline::Client(id) => self.client_timeout(now, id),
                Deadline::Echo(id) => self.echo_timeout(now, id),
                Deadline::Advertisement => self.advertisement_timeout(now),
                Deadline::Fragments => self.fragments_timeout(now),
            }
        }
    }

    // Outputs

    /// What the shell is to do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front()?;
        match action {
            Action::Close { flow, how } => {
                // One that its container has reset has gone on until now.
                self.close(flow, how);
                self.flows.release(flow);
            }
            Action::CloseMapping { mapping: MappingId(id) } => self.mappings.release(id),
            Action::CloseEcho { echo: EchoId(id) } => self.echoes.release(id),
            Action::Handle { flow, .. } => {
                if let Some(connection) = self.connection(flow) {
                    connection.told.former = None;
                }
            }
            Action::Connect { .. } | Action::Established { .. } => {}
            Action::Drain { .. } | Action::Fill { .. } | Action::Finish { .. } => {}
        }
        Some(action)
    }

    /// Writes the next frame for the uplink into `out`, at least [`OUT_BYTES`], best on a cache line.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<Transmit> {
        let out = out.get_mut(..OUT_BYTES)?;
        // What answers comes first, but whoever has answers made without end holds up nobody's stream.
        let answer = (self.answers < ANSWERS).then(|| self.control.pop(out)).flatten();
        self.answers = if answer.is_some() { self.answers + 1 } else { 0 };
        // A flow may have ended in its turn, and left a reset.
        let transmit = answer
            .or_else(|| self.transmit_flows(now, out))
            .or_else(|| self.control.pop(out));
        self.counters.frames_out += u64::from(transmit.is_some());
        transmit
    }

    /// When [`Engine::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn receive<'f>(&mut self, now: Instant, offload: Offload, bytes: &'f [u8]) -> Result<Passage<'f>, Discard> {
        let frame = ethernet(bytes)?;
        match frame.ethertype() {
            EthernetProtocol::Arp => self.receive_arp(&frame).map(|()| Passage::Done),
            EthernetProtocol::Ipv4 => self.receive_ipv4(now, offload, &frame),
            EthernetProtocol::Ipv6 => self.receive_ipv6(now, offload, &frame),
            EthernetProtocol::Unknown(_) => Err(Discard::EtherType),
        }
    }

    fn receive_ipv4<'f>(
        &mut self,
        now: Instant,
        offload: Offload,
        frame: &EthernetFrame<&'f [u8]>,
    ) -> Result<Passage<'f>, Discard> {
        if frame.dst_addr().is_broadcast() {
            return self.receive_broadcast(now, offload, frame).map(|()| Passage::Done);
        }
        // Nobody routes multicast here.
        if frame.dst_addr() != self.config.gateway_mac {
            return Err(Discard::NotForUs);
        }
        let packet = Packet::parse_v4(frame)?;
        if let Some(place) = packet.place {
            return self.receive_fragment(now, offload, frame, &packet, place);
        }
        self.admit(packet.mac, packet.source)?;
        if let Some(passage) = self.relay(now, offload, frame, &packet)? {
            return Ok(passage);
        }
        if packet.time_to_live == 1 && !self.config.policy.is_ours(packet.target) {
            self.report(now, IcmpError::TimeExceeded, packet.source, packet.bytes);
            return Err(Discard::TimeToLive);
        }
        match packet.protocol {
            IpProtocol::Tcp => self.receive_tcp(now, offload, &packet),
            IpProtocol::Udp => self.receive_udp(now, offload, &packet),
            IpProtocol::Icmp => self.receive_icmp(now, offload, &packet),
            IpProtocol::HopByHop
            | IpProtocol::Igmp
            | IpProtocol::Ipv6Route
            | IpProtocol::Ipv6Frag
            | IpProtocol::IpSecEsp
            | IpProtocol::IpSecAh
            | IpProtocol::Icmpv6
            | IpProtocol::Ipv6NoNxt
            | IpProtocol::Ipv6Opts
            | IpProtocol::Unknown(_) => Err(Discard::Protocol),
        }
    }

    /// Tells the container at `source` what became of its packet, if it may be told and was not told too often.
    fn report(&mut self, now: Instant, error: IcmpError, source: IpAddr, packet: &[u8]) {
        self.report_as(None, now, error, source, packet);
    }

    /// The same as the word of `reporter`.
    fn report_as(&mut self, reporter: Option<IpAddr>, now: Instant, error: IcmpError, source: IpAddr, packet: &[u8]) {
        let gateway_mac = self.config.gateway_mac;
        let reportable = match source {
            IpAddr::V4(_) => may_be_reported(packet),
            IpAddr::V6(_) => icmpv6::may_be_reported(packet),
        };
        let gateway = self.config.policy.gateway_beside(source).filter(|_| reportable);
        let (Some(gateway), Some(container)) = (gateway, self.containers.get_mut(source)) else {
            return;
        };
        let mac = container.mac;
        let sent = container.errors.take(now)
            && match gateway {
                IpAddr::V4(gateway) => {
                    let way = Way {
                        gateway_mac,
                        gateway,
                        mac,
                        reporter: reporter.and_then(v4),
                    };
                    error.send(&mut self.control, way, packet)
                }
                IpAddr::V6(gateway) => {
                    let way = icmpv6::Way {
                        gateway_mac,
                        gateway,
                        mac,
                        reporter: reporter.and_then(v6),
                    };
                    icmpv6::send(error, &mut self.control, way, packet)
                }
            };
        if sent {
            self.counters.icmp_errors += 1;
        } else {
            self.counters.icmp_suppressed += 1;
        }
    }

    /// The way to the container at `address`.
    fn link_to(&mut self, address: IpAddr) -> Option<Link> {
        let mac = self.containers.get(address)?.mac;
        self.link(mac)
    }

    /// The way to the interface `mac`.
    fn link(&mut self, mac: EthernetAddress) -> Option<Link> {
        let id = u16::try_from(self.random.draw() & 0xffff).ok()?;
        let (gateway, checksum) = (self.config.gateway_mac, self.config.uplink.checksum);
        Some(Link {
            gateway,
            mac,
            mtu: self.config.mtu,
            checksum,
            id,
        })
    }

    /// Counts a frame that is returned at once, or the datagram that was not delivered.
    fn count_delivery(&mut self, transmit: Option<Transmit>, otherwise: Discard) -> Option<Transmit> {
        match transmit {
            Some(_) => self.counters.frames_out += 1,
            None => self.counters.discard(otherwise),
        }
        transmit
    }
}

/// The configuration with nothing in it that the protocols forbid, and what its parts have to know of each other.
fn usable(mut config: Config) -> Config {
    config.mtu = config.mtu.max(SMALLEST_MTU);
    config.ipv6 = config.ipv6.filter(|_| config.mtu >= SMALLEST_IPV6_MTU);
    config.policy.subnet6 = config
        .ipv6
        .map(|ipv6| Ipv6Cidr::new(ipv6.gateway, ipv6.prefix.min(128)));
    config
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address.to_canonical() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address.to_canonical() {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

/// Deadlines of one call: a thousand mappings that expire together cost the frames in waiting well under a millisecond.
const MAX_DUE: usize = 256;

/// RFC 791: what every network must carry.
const SMALLEST_MTU: u16 = 68;

/// RFC 8200 section 5: the same of IPv6.
const SMALLEST_IPV6_MTU: u16 = 1280;

/// Answers that go in a row while flows wait, each of which may send a superframe then.
const ANSWERS: u8 = 4;
