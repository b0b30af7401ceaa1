//! The table of TCP flows, and what remains of those that are over.
//!
//! A flow is found by its tuple in a keyed hash table and lives in a slab, so that neither a packet nor an event of the
//! host costs more when there are more flows. Its phases: a **held** SYN, which costs a copy of its headers and waits for
//! the host side; **open**, with a smoltcp interface of its own; **over**, an empty place that keeps the id reserved until
//! the shell has taken [`Action::Close`](super::Action::Close).
//!
//! Beside its phase a flow has a **standing** with the [`Ledger`](super::Ledger): *half-open* until both sides have
//! answered, first without and, once the host has answered, with a place among the flows if one is free; then
//! *established*. Each container's flows stand in an order by standing and idle time, so whoever has to make room is
//! found without a search. To move a flow in that order costs a look-up in a tree, so it is done at most once a
//! [`TOUCH`]: a flow that carries a million packets costs no more than one that carries one.
//!
//! A connection that we closed first passes TIME-WAIT in a table of its own, where it costs some 100 bytes and no ring.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use ahash::RandomState;
use slab::Slab;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, EthernetProtocol, IpVersion};

use super::directory::{Directory, Key};
use super::ledger::{Kind, Place};
use super::segment::Segment;
use super::tcp::Connection;
use super::types::{FlowId, Handling};

/// A flow's addresses, as the container sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tuple {
    /// The container's address and port.
    pub(super) endpoint: SocketAddr,
    /// The address and port that we speak from: of the outside machine, of the client, or of the gateway.
    pub(super) our: SocketAddr,
}

impl Tuple {
    pub(super) fn family(&self) -> IpVersion {
        if self.endpoint.is_ipv4() {
            IpVersion::Ipv4
        } else {
            IpVersion::Ipv6
        }
    }

    /// Bytes of the headers of a segment without options.
    pub(super) fn headers(&self) -> u16 {
        match self.family() {
            IpVersion::Ipv4 => TCP_IPV4_HEADERS,
            IpVersion::Ipv6 => TCP_IPV6_HEADERS,
        }
    }

    pub(super) fn ethertype(&self) -> EthernetProtocol {
        match self.family() {
            IpVersion::Ipv4 => EthernetProtocol::Ipv4,
            IpVersion::Ipv6 => EthernetProtocol::Ipv6,
        }
    }
}

/// One flow.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) tuple: Tuple,
    /// The container's hardware address, where it was heard last.
    pub(super) mac: EthernetAddress,
    pub(super) phase: Phase,
    /// How its container's packets are to be treated, as the shell knows it.
    pub(super) handling: Handling,
    /// It stands in the queue of those that may have something to send.
    pub(super) queued: bool,
    /// The slot of its deadline.
    pub(super) armed: Option<Instant>,
    /// The slot of the next look at its rings.
    pub(super) look: Option<Instant>,
    places: Places,
    /// When it began, was established, or last carried something, to within [`TOUCH`].
    used: Instant,
}

/// What a flow holds in the ledger; nothing once it is over.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Until both sides have answered.
    pub(super) half_open: Option<Place>,
    /// Of a connection.
    pub(super) flow: Option<Place>,
}

/// In what order a container's flows make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// Half-open, without a place among the flows.
    Calling,
    /// Half-open, with one.
    Reserved,
    Established,
}

impl Places {
    fn standing(&self) -> Standing {
        match (&self.half_open, &self.flow) {
            (Some(_), None) => Standing::Calling,
            (Some(_), Some(_)) => Standing::Reserved,
            (None, _) => Standing::Established,
        }
    }
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
    directory: Directory,
    /// Those that are not over.
    order: BTreeSet<(IpAddr, Standing, Instant, FlowId)>,
}

impl Flows {
    pub(super) fn new(key: RandomState, directory: Directory) -> Self {
        Self {
            slots: Slab::new(),
            index: HashMap::with_hasher(key),
            directory,
            order: BTreeSet::new(),
        }
    }

    pub(super) fn find(&self, tuple: &Tuple) -> Option<FlowId> {
        self.index.get(tuple).copied()
    }

    pub(super) fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        self.slots.get_mut(id.0 as usize)
    }

    /// Gives the phase back if another shard has the tuple, or there are too many.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        tuple: Tuple,
        mac: EthernetAddress,
        phase: Phase,
        places: Places,
    ) -> Result<FlowId, Phase> {
        let slot = self.slots.vacant_entry();
        let Ok(id) = u32::try_from(slot.key()).map(FlowId) else {
            return Err(phase);
        };
        if !self.directory.claim(Key::Flow(tuple)) {
            return Err(phase);
        }
        self.order.insert((tuple.endpoint.ip(), places.standing(), now, id));
        slot.insert(Flow {
            tuple,
            mac,
            phase,
            handling: Handling::USUAL,
            queued: false,
            armed: None,
            look: None,
            places,
            used: now,
        });
        self.index.insert(tuple, id);
        Ok(id)
    }

    /// Whether a flow has a place among the flows.
    pub(super) fn has_place(&self, id: FlowId) -> bool {
        let flow = self.slots.get(id.0 as usize);
        flow.is_some_and(|flow| flow.places.flow.is_some())
    }

    /// Gives a half-open flow its place among the flows.
    pub(super) fn reserve(&mut self, id: FlowId, place: Place) {
        self.refile(id, |flow| flow.places.flow = Some(place));
    }

    /// Both sides have answered.
    pub(super) fn establish(&mut self, now: Instant, id: FlowId) {
        self.refile(id, |flow| {
            flow.places.half_open = None;
            flow.used = now;
        });
    }

    /// The flow has carried something.
    pub(super) fn touch(&mut self, now: Instant, id: FlowId) {
        let stale = self.get_mut(id).is_some_and(|flow| now >= flow.used + TOUCH);
        if stale {
            self.refile(id, |flow| flow.used = now);
        }
    }

    /// Which of `owner`'s flows goes first to make room for one of that `kind`; `own` if it is for another flow of its own.
    pub(super) fn spare(&self, now: Instant, owner: IpAddr, kind: Kind, own: bool) -> Option<FlowId> {
        let idle_for = |standing, least| {
            let first = self.first(owner, standing);
            first.filter(|(used, _)| *used + least <= now)
        };
        let half_open = if own { GRACE } else { Duration::ZERO };
        let found = match kind {
            Kind::HalfOpen => {
                let both = [Standing::Calling, Standing::Reserved].map(|standing| idle_for(standing, half_open));
                both.into_iter().flatten().min()
            }
            Kind::Flow => idle_for(Standing::Reserved, GRACE).or_else(|| idle_for(Standing::Established, IDLE)),
            Kind::Mapping | Kind::Client | Kind::Echo => None,
        };
        found.map(|(_, id)| id)
    }

    fn first(&self, owner: IpAddr, standing: Standing) -> Option<(Instant, FlowId)> {
        let start = (owner, standing, Instant::from_micros(i64::MIN), FlowId(0));
        let (of, at, used, id) = *self.order.range(start..).next()?;
        ((of, at) == (owner, standing)).then_some((used, id))
    }

    /// Changes what a flow is ordered by.
    fn refile(&mut self, id: FlowId, change: impl FnOnce(&mut Flow)) {
        let Some(flow) = self.slots.get_mut(id.0 as usize) else {
            return;
        };
        let owner = flow.tuple.endpoint.ip();
        self.order.remove(&(owner, flow.places.standing(), flow.used, id));
        change(flow);
        self.order.insert((owner, flow.places.standing(), flow.used, id));
    }

    /// Ends a flow: its tuple and places are free, its id not yet. Returns what it was, none if it was over before.
    pub(super) fn end(&mut self, id: FlowId) -> Option<Phase> {
        let flow = self.slots.get_mut(id.0 as usize)?;
        let phase = std::mem::replace(&mut flow.phase, Phase::Over);
        if matches!(phase, Phase::Over) {
            return None;
        }
        self.index.remove(&flow.tuple);
        self.directory.release(Key::Flow(flow.tuple));
        let standing = std::mem::take(&mut flow.places).standing();
        self.order.remove(&(flow.tuple.endpoint.ip(), standing, flow.used, id));
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
    pub(super) fn of_container(&self, container: IpAddr) -> Vec<FlowId> {
        let start = (container, Standing::Calling, Instant::from_micros(i64::MIN), FlowId(0));
        let of_container = self.order.range(start..).take_while(|(of, ..)| *of == container);
        of_container.map(|(.., id)| *id).collect()
    }
}

/// Connections whose last ACK may have been lost (RFC 9293 section 3.6.1).
#[derive(Debug)]
pub(super) struct TimeWait {
    entries: HashMap<Tuple, LastAck, RandomState>,
    order: VecDeque<(Instant, Tuple)>,
    directory: Directory,
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
    pub(super) fn new(key: RandomState, directory: Directory) -> Self {
        Self {
            entries: HashMap::with_hasher(key),
            order: VecDeque::new(),
            directory,
            armed: None,
        }
    }

    pub(super) fn insert(&mut self, tuple: Tuple, last: LastAck) {
        if self.order.len() >= MAX_TIME_WAIT {
            self.drop_first();
        }
        if !self.directory.claim(Key::Flow(tuple)) {
            return;
        }
        self.order.push_back((last.until, tuple));
        self.entries.insert(tuple, last);
    }

    pub(super) fn get(&self, tuple: &Tuple) -> Option<LastAck> {
        self.entries.get(tuple).copied()
    }

    pub(super) fn remove(&mut self, tuple: &Tuple) {
        if self.entries.remove(tuple).is_some() {
            self.directory.release(Key::Flow(*tuple));
        }
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
            self.remove(&tuple);
        }
    }
}

/// Bytes of an IPv4 and a TCP header without options.
const TCP_IPV4_HEADERS: u16 = 40;

/// The same of IPv6.
const TCP_IPV6_HEADERS: u16 = 60;

/// The wire to a container is a bridge on this machine: nothing that is older than this still travels on it, and a
/// container that missed our last ACK sends its FIN again after 0.2, 0.4, 0.8, 1.6 and 3.2 seconds (Linux), well within.
/// The 2 MSL of RFC 9293 would only keep tuples from being used again.
const TIME_WAIT: Duration = Duration::from_secs(10);

/// How exactly idle time is known; a flow is moved in the order at most once in that time.
const TOUCH: Duration = Duration::from_secs(1);

/// A flow that has carried nothing for so long may make room for another; one that has carried something never does.
/// Whoever keeps a connection alive on purpose says something within a minute, for that is the usual patience of proxies
/// (nginx, proxy_read_timeout); RFC 5382 REQ-5 asks for more, and gets it wherever there is room.
const IDLE: Duration = Duration::from_secs(60);

/// A handshake that is not done after so long may make room for another of the same container, and a younger one does not:
/// the newcomer's SYN is dropped and comes again after a second (RFC 6298 section 2.1). So a burst is spread, and a flood
/// costs the host no more sockets than the limit in a second.
const GRACE: Duration = Duration::from_secs(1);

/// Entries, about 1.5 MB; beyond that the oldest goes early.
const MAX_TIME_WAIT: usize = 8192;
