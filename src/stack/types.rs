//! The words that core and shell share: what goes into the [`Engine`](super::Engine) and what comes out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;

use smoltcp::wire::EthernetAddress;

use crate::policy::{HostAccess, Policy};

use super::{Dhcp, Offload, RingSizes, ShardId};

/// One TCP flow. Shapes like a small integer so that the shell can index its own table with it; never reused while
/// the shell has not seen [`Action::Close`] for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u32);

/// One UDP mapping (RFC 4787 section 4.1): a container's endpoint and the one host socket that speaks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MappingId(pub u32);

/// One echo mapping (RFC 5508 section 3.1): a container's address and ICMP id and the one ping socket for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EchoId(pub u32);

/// One published UDP port, by the number that the shell gave its listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublishId(pub u32);

/// What the engine must know of its network.
#[derive(Debug, Clone)]
pub struct Config {
    /// The hardware address at which gateway and outside are reached.
    pub gateway_mac: EthernetAddress,
    /// IP MTU of the containers' interfaces, in bytes without the Ethernet header.
    pub mtu: u16,
    /// Where destinations lead; it also knows the gateway's address, answered by the stack, and the subnet around it.
    pub policy: Policy,
    /// The same of IPv6. None, or an MTU below 1280 (RFC 8200 section 5): frames of IPv6 are dropped.
    pub ipv6: Option<Ipv6>,
    /// What those are told who configure themselves, of both families; none: they are not answered.
    pub dhcp: Option<Dhcp>,
    /// Whose frames are taken.
    pub senders: Senders,
    /// What the uplink takes from us.
    pub uplink: UplinkCapabilities,
    /// What may wait in a TCP flow.
    pub rings: RingSizes,
    /// How much one container, and all together, may hold.
    pub limits: Limits,
}

/// The IPv6 side of a network. Its gateway answers at fe80::1 too; each of a container's addresses is an [`Attachment`] of
/// its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6 {
    /// The gateway's global address, the subnet's first.
    pub gateway: Ipv6Addr,
    /// Bits of the subnet around it.
    pub prefix: u8,
    /// Whether addresses may be formed from it: nobody is told which to use.
    pub autonomous: bool,
}

/// Whose frames are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Senders {
    /// Those of containers that were attached, from the addresses that they were given.
    Attached,
    /// Those of the one network namespace behind the uplink, from any address that is not ours; it is what we serve, so
    /// there is nobody whom it could deceive but itself. Its addresses are learnt as they are used.
    Guest {
        /// Where an address is that has not been heard of yet.
        mac: EthernetAddress,
    },
}

/// Bounds on what containers can make us keep, counted over all engines of a network
/// ([`Ledger`](super::Ledger)). What goes beyond evicts what has been idle longest of the container that has most, or
/// is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// TCP flows of the network.
    pub flows: usize,
    /// TCP flows of one container.
    pub flows_per_container: usize,
    /// Flows of the network of which a side has not yet answered: the host a container's SYN, or the container ours.
    pub half_open: usize,
    /// The same for one container.
    pub half_open_per_container: usize,
    /// UDP mappings of the network; as many again for published ports' clients, and for echoes.
    pub mappings: usize,
    /// The same for one container.
    pub mappings_per_container: usize,
}

impl Config {
    /// A network with the usual ring size and limits.
    pub fn new(
        gateway_mac: EthernetAddress,
        gateway: Ipv4Addr,
        prefix: u8,
        mtu: u16,
        host_access: HostAccess,
        uplink: UplinkCapabilities,
    ) -> Self {
        let policy = Policy::new(gateway, prefix, host_access);
        Self {
            gateway_mac,
            mtu,
            policy,
            ipv6: None,
            dhcp: None,
            senders: Senders::Attached,
            uplink,
            rings: RingSizes::default(),
            limits: Limits::default(),
        }
    }
}

impl Limits {
    /// The same shares of what so many descriptors allow: a flow, half-open or not, a mapping and an
    /// echo mapping take one each.
    pub fn within(self, descriptors: usize) -> Self {
        let wanted = self.descriptors();
        let share = |limit: usize| (limit * descriptors.min(wanted) / wanted.max(1)).max(1);
        Self {
            flows: share(self.flows),
            flows_per_container: share(self.flows_per_container),
            half_open: share(self.half_open),
            half_open_per_container: share(self.half_open_per_container),
            mappings: share(self.mappings),
            mappings_per_container: share(self.mappings_per_container),
        }
    }

    /// How many descriptors all of it together takes.
    pub fn descriptors(&self) -> usize {
        self.flows + self.half_open + 2 * self.mappings
    }
}

impl Default for Limits {
    /// As many flows as connection tracking behind a kernel's bridge has room for on a small machine (65,536,
    /// nf_conntrack_max); one container alone gets seven eighths, so that the next finds room at once. An eighth may be
    /// half-open: 8,192 handshakes of 100 ms are 80,000 a second. All of it together takes 106,496 descriptors; a machine
    /// that allows fewer gets the same shares of those ([`Limits::within`]).
    fn default() -> Self {
        Self {
            flows: 65_536,
            flows_per_container: 57_344,
            half_open: 8_192,
            half_open_per_container: 4_096,
            mappings: 16_384,
            mappings_per_container: 4_096,
        }
    }
}

/// What the kernel at the other end of the uplink does for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UplinkCapabilities {
    /// It completes partial checksums.
    pub checksum: bool,
    /// It segments TCP over IPv4.
    pub tso4: bool,
    /// It segments TCP over IPv6.
    pub tso6: bool,
    /// It takes several datagrams in one frame (VIRTIO_NET_HDR_GSO_UDP_L4).
    pub uso: bool,
}

/// A container's interface as the stack knows it: the only source addresses it may send from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attachment {
    /// Its hardware address.
    pub mac: EthernetAddress,
    /// Its address.
    pub address: IpAddr,
}

/// How a packet is to be treated on its way, as its sender wrote into the IP header: the host's socket does the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handling {
    /// What is left of its time to live, or hop limit, after the hop that we are.
    pub time_to_live: u8,
    /// DSCP and ECN (RFC 2474, RFC 3168): IPv4's type of service, IPv6's traffic class.
    pub class: u8,
    /// It may be cut on the way: without DF, or in IPv6 cut by its sender already.
    pub divisible: bool,
}

impl Handling {
    /// What hosts write unless they are told otherwise, one hop later.
    pub const USUAL: Self = Self {
        time_to_live: 63,
        class: 0,
        divisible: false,
    };

    /// What of it is a connection's: not what TCP itself decides, for each side is a TCP of its own. Those are the bits of
    /// ECN (RFC 3168 section 6.1) and whether a segment may be cut.
    pub fn of_connection(self) -> Self {
        Self {
            time_to_live: self.time_to_live,
            class: self.class & DSCP,
            divisible: Self::USUAL.divisible,
        }
    }
}

/// What a frame from the bridge asks of the shell, beyond what the engine has kept for itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Passage<'f> {
    /// Nothing: it was consumed, answered or dropped (and counted).
    Done,
    /// Send a datagram to the host's network.
    Datagram {
        /// From this socket; opened by the shell when it sees the mapping for the first time.
        socket: ClientSocket,
        /// To this address.
        target: SocketAddr,
        /// The datagram, or several of `segment` bytes each (the last may be shorter).
        payload: &'f [u8],
        /// Bytes of one datagram when the frame is a superframe (UDP_SEGMENT).
        segment: Option<NonZeroU16>,
        /// As it is to be treated.
        handling: Handling,
    },
    /// Send an echo request to the host's network.
    Echo {
        /// From this ping socket.
        echo: EchoId,
        /// To this address.
        target: IpAddr,
        /// The container's sequence number.
        sequence: u16,
        /// The echo's data.
        payload: &'f [u8],
        /// As a datagram's.
        handling: Handling,
    },
    /// A DNS message to the gateway.
    Query {
        /// The container's endpoint, to be given back with the answer.
        client: SocketAddr,
        /// The message.
        payload: &'f [u8],
    },
    /// Show this frame to the engine that made it of fragments, as [`Offload::ASSEMBLED`]. It becomes no other of its kind.
    Whole {
        /// The frame.
        frame: Vec<u8>,
    },
    /// Send the frame back to the bridge with its offload header, and with this Ethernet header in place of its own.
    Relay {
        /// The new header.
        head: [u8; 14],
    },
    /// Show the frame to that engine: what it belongs to is there.
    Elsewhere {
        /// One of those that share the directory.
        shard: ShardId,
    },
}

/// What came from the host: one datagram, or several of `segment` bytes, of which the last may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'p> {
    /// All bytes.
    pub bytes: &'p [u8],
    /// Bytes of one datagram, where there are several.
    pub segment: Option<NonZeroU16>,
}

impl<'p> Payload<'p> {
    /// One datagram.
    pub fn one(bytes: &'p [u8]) -> Self {
        Self { bytes, segment: None }
    }
}

/// The host socket that a datagram leaves by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientSocket {
    /// The mapping's own socket.
    Mapping {
        /// Which.
        id: MappingId,
        /// The container's port, so that the shell can keep number or parity (RFC 4787 REQ-3, REQ-4).
        port: u16,
    },
    /// The listener of a published port: an answer to its client.
    Published(PublishId),
}

/// What the engine wants done; drained with [`Engine::poll_action`](super::Engine::poll_action) after every input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Open the host side of a flow and report with `connected` or `refused`.
    Connect {
        /// Which flow.
        flow: FlowId,
        /// Where to.
        target: Target,
        /// As the SYN is to be treated.
        handling: Handling,
    },
    /// From now on treat what the container sends in this manner.
    Handle {
        /// Which flow.
        flow: FlowId,
        /// In which.
        handling: Handling,
    },
    /// An inbound flow is established: the container accepted it.
    Established {
        /// Which flow.
        flow: FlowId,
    },
    /// Bytes for the host are waiting: call `drain`, now and whenever the host socket takes more.
    Drain {
        /// Which flow.
        flow: FlowId,
    },
    /// There is room for bytes of the host again: call `fill`.
    Fill {
        /// Which flow.
        flow: FlowId,
    },
    /// The container has finished sending and everything is drained: shut the host socket down for writing.
    Finish {
        /// Which flow.
        flow: FlowId,
    },
    /// The flow is over and its id free: close the host socket.
    Close {
        /// Which flow.
        flow: FlowId,
        /// In which manner.
        how: Closing,
    },
    /// A UDP mapping has expired: close its socket.
    CloseMapping {
        /// Which.
        mapping: MappingId,
    },
    /// An echo mapping has expired: close its socket.
    CloseEcho {
        /// Which.
        echo: EchoId,
    },
}

/// The target side of an outbound flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A socket of the host's network.
    Host(SocketAddr),
    /// The helper's own resolver (DNS over TCP).
    Resolver {
        /// The container that asks.
        client: IpAddr,
    },
}

/// How a host socket is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// Both sides have finished.
    Graceful,
    /// The container reset the flow, or never was there: reset the host side (linger 0).
    Reset,
}

/// Why the host side of something could not be reached, as the container is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// ECONNREFUSED: RST, or ICMP port unreachable for UDP.
    Refused,
    /// ENETUNREACH.
    Network,
    /// EHOSTUNREACH.
    Host,
    /// ENOPROTOOPT: the target does not speak the protocol.
    Protocol,
    /// EPROTO: something in the header made no sense to whoever read it.
    Parameter,
    /// EOPNOTSUPP: a source route failed.
    SourceRoute,
    /// EHOSTDOWN: the router knows no such host.
    HostUnknown,
    /// ENONET: the router keeps us apart.
    Isolated,
    /// EACCES, EPERM, or our own policy: administratively prohibited (RFC 1812 section 5.2.7.1, code 13).
    Prohibited,
    /// ETIMEDOUT: silence; the container's own timers decide.
    TimedOut,
    /// No descriptor or no memory on our side: RST.
    Exhausted,
}

/// Why a datagram went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It could not be delivered.
    Unreachable(Unreachable),
    /// Its time to live ended on the way.
    TimeExceeded,
    /// It may not be cut and is larger than this, the MTU of the way in bytes.
    TooBig {
        /// With the IP header.
        mtu: u16,
    },
}

impl From<Unreachable> for Fault {
    fn from(why: Unreachable) -> Self {
        Self::Unreachable(why)
    }
}

/// Why a connection did not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unconnected {
    /// What became of the SYN.
    pub fault: Fault,
    /// Who says so, if it is known.
    pub offender: Option<IpAddr>,
}

impl From<Unreachable> for Unconnected {
    fn from(why: Unreachable) -> Self {
        Self {
            fault: why.into(),
            offender: None,
        }
    }
}

/// What the host's network said about a datagram that had left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure<'p> {
    /// Where the datagram was to go, as the host's network knows it.
    pub target: SocketAddr,
    /// What became of it.
    pub fault: Fault,
    /// Who says so, if it is known.
    pub offender: Option<IpAddr>,
    /// As much of what the host socket sent as was quoted: a payload of UDP, or an echo request from its first byte.
    pub quoted: &'p [u8],
}

/// Why an inbound connection can't become a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No container has this address.
    #[error("no container is attached with this address")]
    NoContainer,
    /// Every port that could stand for the client is taken.
    #[error("no free port at the gateway to stand for the client")]
    NoPort,
    /// The flow table is full.
    #[error("too many flows")]
    Full,
    /// The flow's rings can't be had.
    #[error("no memory for another flow")]
    NoMemory,
}

/// One frame for the uplink, written into the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// What the kernel is to do with it.
    pub offload: Offload,
    /// Where in the buffer the frame begins.
    pub start: usize,
    /// Bytes of the frame, Ethernet header included.
    pub len: usize,
}

impl Transmit {
    /// The frame in the buffer that it was written into.
    pub fn frame<'b>(&self, buffer: &'b [u8]) -> &'b [u8] {
        &buffer[self.start..self.start + self.len]
    }
}

/// The bits of [`Handling::class`] that are DSCP's.
const DSCP: u8 = 0xfc;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_shrink_with_the_descriptors() {
        let usual = Limits::default();
        assert_eq!(usual.within(1_000_000), usual);
        let small = usual.within(3_584);
        assert!(small.descriptors() <= 3_584, "{small:?}");
        assert!(small.flows_per_container < small.flows && small.mappings_per_container < small.mappings);
        assert!(small.half_open_per_container < small.half_open);
        assert_eq!(usual.within(0).flows, 1, "never nothing at all");
    }
}
