//! The table of TCP flows, and what remains of those that are over.
//!
//! A flow is found by its tuple in a keyed hash table and lives in a slab, so that neither a packet nor an event of the
//! host costs more when there are more flows. Its phases: a **held** SYN, which costs a copy of its headers and waits for
//! the host side; **open**, with a smoltcp interface of its own; **over**, an empty place that keeps the id reserved until
//! the shell has taken [`Action::Close`](super::Action::Close).
//!
//! A connection that we closed first passes TIME-WAIT in a table of its own, where it costs some 100 bytes and no ring.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use ahash::RandomState;
use slab::Slab;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::EthernetAddress;

use super::segment::Segment;
use super::tcp::Connection;
use super::types::FlowId;

/// A flow's addresses, as the container sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tuple {
    /// The container's address and port.
    pub(super) endpoint: SocketAddr,
    /// The address and port that we speak from: of the outside machine, of the client, or of the gateway.
    pub(super) our: SocketAddr,
}

/// One flow.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) tuple: Tuple,
    /// The container's hardware address.
    pub(super) mac: EthernetAddress,
    pub(super) phase: Phase,
    /// It stands in the queue of those that may have something to send.
    pub(super) queued: bool,
    /// The slot of its deadline.
    pub(super) armed: Option<Instant>,
    /// The slot of the next look at its rings.
    pub(super) look: Option<Instant>,
}

/// How far a flow is.
#[derive(Debug)]
pub(super) enum Phase {
    /// The container's SYN, unanswered.
    Held(Held),
    /// smoltcp speaks for us.
    Open(Box<Connection>),
    /// Waiting for its Close action to be taken.
    Over,
}

/// A SYN that waits for the host side.
#[derive(Debug)]
pub(super) struct Held {
    /// IP and TCP header with their options; data that came along was left to the container's retransmission.
    pub(super) syn: Box<[u8]>,
    pub(super) segment: Segment,
    /// Segment size that the container takes, in bytes of payload.
    pub(super) mss: u16,
    /// When it is given up.
    pub(super) until: Instant,
}

/// All flows.
#[derive(Debug)]
pub(super) struct Flows {
    slots: Slab<Flow>,
    index: HashMap<Tuple, FlowId, RandomState>,
}

impl Flows {
    pub(super) fn new(key: RandomState) -> Self {
        Self {
            slots: Slab::new(),
            index: HashMap::with_hasher(key),
        }
    }

    /// How many places are taken, those of flows that are over included.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn find(&self, tuple: &Tuple) -> Option<FlowId> {
        self.index.get(tuple).copied()
    }

    pub(super) fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        self.slots.get_mut(id.0 as usize)
    }

    pub(super) fn insert(&mut self, tuple: Tuple, mac: EthernetAddress, phase: Phase) -> Option<FlowId> {
        let place = self.slots.vacant_entry();
        let id = FlowId(u32::try_from(place.key()).ok()?);
        place.insert(Flow {
            tuple,
            mac,
            phase,
            queued: false,
            armed: None,
            look: None,
        });
        self.index.insert(tuple, id);
        Some(id)
    }

    /// Ends a flow: its tuple is free, its id not yet. Returns what it was, none if it was over before.
    pub(super) fn end(&mut self, id: FlowId) -> Option<Phase> {
        let flow = self.get_mut(id)?;
        let phase = std::mem::replace(&mut flow.phase, Phase::Over);
        let tuple = flow.tuple;
        if matches!(phase, Phase::Over) {
            return None;
        }
        self.index.remove(&tuple);
        Some(phase)
    }

    /// Frees the id of a flow that has ended.
    pub(super) fn release(&mut self, id: FlowId) {
        let over = self
            .slots
            .get(id.0 as usize)
            .is_some_and(|flow| matches!(flow.phase, Phase::Over));
        if over {
            self.slots.remove(id.0 as usize);
        }
    }

    /// The flows of `container` that are not over.
    pub(super) fn of_container(&self, container: std::net::IpAddr) -> Vec<FlowId> {
        let of_container = self
            .slots
            .iter()
            .filter(|(_, flow)| flow.tuple.endpoint.ip() == container && !matches!(flow.phase, Phase::Over));
        of_container
            .filter_map(|(key, _)| u32::try_from(key).ok())
            .map(FlowId)
            .collect()
    }
}

/// Connections whose last ACK may have been lost (RFC 9293 section 3.6.1).
#[derive(Debug)]
pub(super) struct TimeWait {
    entries: HashMap<Tuple, LastAck, RandomState>,
    order: VecDeque<(Instant, Tuple)>,
    /// The slot of its deadline.
    pub(super) armed: Option<Instant>,
}

/// What is said again to a FIN that comes again.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastAck {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) window: u16,
    until: Instant,
}

impl LastAck {
    pub(super) fn new(now: Instant, seq: u32, ack: u32, window: u16) -> Self {
        Self {
            seq,
            ack,
            window,
            until: now + TIME_WAIT,
        }
    }
}

impl TimeWait {
    pub(super) fn new(key: RandomState) -> Self {
        Self {
            entries: HashMap::with_hasher(key),
            order: VecDeque::new(),
            armed: None,
        }
    }

    pub(super) fn insert(&mut self, tuple: Tuple, last: LastAck) {
        if self.order.len() >= MAX_TIME_WAIT {
            self.drop_first();
        }
        self.order.push_back((last.until, tuple));
        self.entries.insert(tuple, last);
    }

    pub(super) fn get(&self, tuple: &Tuple) -> Option<LastAck> {
        self.entries.get(tuple).copied()
    }

    pub(super) fn remove(&mut self, tuple: &Tuple) {
        self.entries.remove(tuple);
    }

    /// When the oldest entry ends.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.front().map(|(until, _)| *until)
    }

    pub(super) fn expire(&mut self, now: Instant) {
        while self.next().is_some_and(|until| until <= now) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let Some((until, tuple)) = self.order.pop_front() else {
            return;
        };
        // The tuple may have come by again since, with an entry of its own.
        if self.entries.get(&tuple).is_some_and(|last| last.until == until) {
            self.entries.remove(&tuple);
        }
    }
}

/// Bytes of an IPv4 and a TCP header without options.
pub(super) const TCP_IPV4_HEADERS: u16 = 40;

/// The wire to a container is a bridge on this machine: nothing that is older than this still travels on it, and a
/// container that missed our last ACK sends its FIN again after 0.2, 0.4, 0.8, 1.6 and 3.2 seconds (Linux), well within.
/// The 2 MSL of RFC 9293 would only keep tuples from being used again.
const TIME_WAIT: Duration = Duration::from_secs(10);

/// Entries, about 1.5 MB; beyond that the oldest goes early.
const MAX_TIME_WAIT: usize = 8192;
