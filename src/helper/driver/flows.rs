//! The host side of every TCP flow, and the listeners of published TCP ports.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use smoltcp::time::Instant;

use super::apart::Kept;
use super::command::{Destination, Events};
use super::load::{Born, Load};
use super::siblings::{Mail, Siblings};
use super::token::Readiness;
use crate::host::errno::{is_exhaustion, would_block};
use crate::host::outbound::Outbound;
use crate::host::tcp::{Progress, TcpSide};
use crate::stack::{Closing, Engine, FlowId, Handling, PublishId, Target, Unreachable};
use crate::sys::clock;

/// Host sockets by flow.
#[derive(Debug)]
pub(super) struct Flows {
    /// Indexed by [`FlowId`], which the engine keeps small.
    sides: Vec<Option<Side>>,
    /// How many there are.
    count: usize,
    /// Those of them that have not come to an end in one direction at least.
    load: Load,
    listeners: BTreeMap<PublishId, Listener>,
    /// From where connections go out.
    outbound: Outbound,
    /// Ports whose clients of the host's loopback are not ours.
    pub(super) kept: Kept,
}

#[derive(Debug)]
struct Side {
    socket: TcpSide,
    /// The container's side is established; before, nothing moves.
    established: bool,
    /// Neither side has finished sending; when it began.
    going: Option<Born>,
    /// A client's address, and the container's to which it is led if nobody takes it at the first.
    otherwise: Option<(SocketAddr, SocketAddr)>,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    destination: Destination,
}

/// An accepted client of a published port.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    address: SocketAddr,
    /// The container's, and the other to which it is led if nobody takes it there.
    container: SocketAddr,
    otherwise: Option<SocketAddr>,
}

impl Flows {
    /// None yet, on a machine of so many processors.
    pub(super) fn new(processors: usize) -> Self {
        Self {
            sides: Vec::new(),
            count: 0,
            load: Load::new(processors),
            listeners: BTreeMap::new(),
            outbound: Outbound::default(),
            kept: Kept::default(),
        }
    }

    /// Those to come will go out from there.
    pub(super) fn go_out_from(&mut self, outbound: Outbound) {
        self.outbound = outbound;
    }

    /// How many are to be carried.
    pub(super) fn carried(&self) -> usize {
        self.load.carried()
    }

    /// How many keep this worker at its queue: those that have finished on one side may still move much on the other.
    pub(super) fn keeping(&self) -> usize {
        if self.load.is_passing() {
            self.load.carried()
        } else {
            self.count
        }
    }

    /// Connections only pass by, and are not worth sharing out.
    pub(super) fn pass_by(&self) -> bool {
        self.load.is_passing()
    }

    /// To be said now and then.
    pub(super) fn look_at_load(&mut self, now: Instant) {
        self.load.look(now, clock::thread_time);
    }

    /// Remembers readiness.
    pub(super) fn note(&mut self, flow: FlowId, event: &Event) {
        if let Some(side) = self.side(flow) {
            side.socket.note(event);
        }
    }

    /// Opens the host side of an outbound flow.
    pub(super) fn connect(
        &mut self,
        now: Instant,
        engine: &mut Engine,
        registry: &Registry,
        flow: FlowId,
        (target, handling): (Target, Handling),
        events: &Events,
    ) {
        let token = Readiness::Flow(flow).into();
        match target {
            Target::Host(address) => match TcpSide::connect(address, self.outbound, handling, registry, token) {
                Ok(socket) => self.insert(flow, Side::new(socket, false)),
                Err(why) => engine.refused(now, flow, why),
            },
            Target::Resolver { client } => match TcpSide::pair(registry, token) {
                Ok((socket, theirs)) => {
                    self.insert(flow, Side::new(socket, true));
                    engine.connected(now, flow);
                    events.stream(client, theirs);
                }
                Err(_) => engine.refused(now, flow, Unreachable::Exhausted),
            },
        }
    }

    /// What the container sends is to be treated in another manner.
    pub(super) fn handle(&mut self, flow: FlowId, handling: Handling) {
        if let Some(side) = self.side(flow) {
            side.socket.handle(handling);
        }
    }

    /// The container has accepted an inbound flow.
    pub(super) fn establish(&mut self, flow: FlowId) {
        if let Some(side) = self.side(flow) {
            side.established = true;
        }
    }

    /// Moves what can be moved, a bounded portion; true when more is left.
    pub(super) fn serve(&mut self, now: Instant, engine: &mut Engine, flow: FlowId) -> bool {
        let Some(side) = self.side(flow) else { return false };
        match side.socket.connect_outcome() {
            Some(Ok(())) => {
                side.established = true;
                engine.connected(now, flow);
            }
            Some(Err(why)) => {
                engine.refused(now, flow, why);
                return false;
            }
            None => {}
        }
        if !side.established {
            return false;
        }
        if !side.drain(now, engine, flow) {
            // What the host said before it reset the connection can still be read.
            side.fill(now, engine, flow);
            engine.reset(now, flow);
            return false;
        }
        match side.fill(now, engine, flow) {
            Filled::Dry if side.socket.has_failed_since() => {
                engine.reset(now, flow);
                false
            }
            Filled::Dry => false,
            Filled::Portion => true,
            Filled::Over => {
                self.note_end(flow);
                false
            }
            Filled::Failed => {
                engine.reset(now, flow);
                false
            }
        }
    }

    /// The container has finished sending.
    pub(super) fn finish(&mut self, flow: FlowId) {
        if let Some(side) = self.side(flow) {
            side.socket.finish();
            self.note_end(flow);
        }
    }

    /// The flow is over; a client that the container did not take is led to its other address.
    pub(super) fn close(&mut self, now: Instant, engine: &mut Engine, registry: &Registry, flow: FlowId, how: Closing) {
        let Some(mut side) = self.sides.get_mut(flow.0 as usize).and_then(Option::take) else {
            return;
        };
        self.count -= 1;
        if let Some(born) = side.going.take() {
            self.load.end(born);
        }
        let otherwise = side.otherwise.take().filter(|_| !side.established);
        match (how, otherwise) {
            (Closing::Graceful, _) => drop(side),
            (Closing::Reset, None) => side.socket.reset(),
            (Closing::Reset, Some((address, container))) => {
                if let Some(stream) = side.socket.release(registry) {
                    let client = Client {
                        stream,
                        address,
                        container,
                        otherwise: None,
                    };
                    self.admit(now, engine, registry, client);
                }
            }
        }
    }

    /// Serves a published TCP port.
    pub(super) fn publish(
        &mut self,
        registry: &Registry,
        token: Token,
        id: PublishId,
        listener: std::net::TcpListener,
        destination: Destination,
    ) -> io::Result<()> {
        let mut socket = TcpListener::from_std(listener);
        registry.register(&mut socket, token, Interest::READABLE)?;
        self.listeners.insert(id, Listener { socket, destination });
        Ok(())
    }

    /// Closes a published TCP port; its flows go on.
    pub(super) fn unpublish(&mut self, id: PublishId) {
        self.listeners.remove(&id);
        self.kept.forget(id);
    }

    /// Accepts clients of a published port, a bounded portion.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        engine: &mut Engine,
        registry: &Registry,
        siblings: &Siblings,
        id: PublishId,
    ) -> Accepted {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.listeners.get(&id) else {
                return Accepted::All;
            };
            match listener.socket.accept() {
                Ok((stream, address)) => {
                    if let Some(taker) = self.kept.taker(id, address) {
                        taker.stream(id, stream);
                        continue;
                    }
                    let (container, otherwise) = listener.destination.of(address);
                    let client = Client {
                        stream,
                        address,
                        container,
                        otherwise,
                    };
                    if let Some(client) = hand_on(siblings, client) {
                        self.admit(now, engine, registry, client);
                    }
                }
                Err(error) if would_block(&error) => return Accepted::All,
                Err(error) if is_exhaustion(&error) => {
                    tracing::debug!(%error, ?id, "clients of a published port have to wait");
                    return Accepted::Starved;
                }
                // This client has gone while it waited (accept(2), "Error handling"); the next one may be there.
                Err(error) => tracing::debug!(%error, ?id, "a client of a published port was not accepted"),
            }
        }
        Accepted::Portion
    }

    /// Makes a flow of a client, or closes its connection.
    pub(super) fn admit(&mut self, now: Instant, engine: &mut Engine, registry: &Registry, client: Client) {
        let Client {
            stream,
            address,
            container,
            otherwise,
        } = client;
        let refuse = |stream: TcpStream| {
            let _ = socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
        };
        let flow = match engine.accept(now, address, container) {
            Ok(flow) => flow,
            Err(why) => {
                tracing::debug!(%why, client = %address, "client of a published port refused");
                return refuse(stream);
            }
        };
        match TcpSide::accepted(stream, address, registry, Readiness::Flow(flow).into()) {
            Ok(socket) => {
                let otherwise = otherwise.map(|container| (address, container));
                let side = Side::new(socket, false);
                self.insert(flow, Side { otherwise, ..side });
            }
            Err(_) => engine.reset(now, flow),
        }
    }

    fn insert(&mut self, flow: FlowId, side: Side) {
        let index = flow.0 as usize;
        if self.sides.len() <= index {
            self.sides.resize_with(index + 1, || None);
        }
        let going = Some(self.load.begin());
        self.sides[index] = Some(Side { going, ..side });
        self.count += 1;
    }

    fn note_end(&mut self, flow: FlowId) {
        if let Some(born) = self.side(flow).and_then(|side| side.going.take()) {
            self.load.end(born);
        }
    }

    fn side(&mut self, flow: FlowId) -> Option<&mut Side> {
        self.sides.get_mut(flow.0 as usize)?.as_mut()
    }
}

/// Gives a client to the worker with the fewest flows; gives it back if that is this one, or the other has no room.
fn hand_on(siblings: &Siblings, client: Client) -> Option<Client> {
    let Some(shard) = siblings.idler() else {
        return Some(client);
    };
    match siblings.hand(shard, Mail::Client(client)) {
        Err(Mail::Client(client)) => Some(client),
        Err(Mail::Frame { .. } | Mail::Queue { .. } | Mail::Recall(_)) | Ok(()) => None,
    }
}

/// What accepting clients came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Accepted {
    /// No more are waiting.
    All,
    /// The portion of this turn is full.
    Portion,
    /// There is no descriptor or memory for those that wait in the kernel's queue.
    Starved,
}

/// What reading the host came to.
enum Filled {
    /// Nothing more for now.
    Dry,
    /// The portion of this turn is full.
    Portion,
    /// The host has finished sending.
    Over,
    /// The socket failed.
    Failed,
}

impl Side {
    fn new(socket: TcpSide, established: bool) -> Self {
        Self {
            socket,
            established,
            going: None,
            otherwise: None,
        }
    }

    /// Bytes of the container to the host; false when the socket failed.
    fn drain(&mut self, now: Instant, engine: &mut Engine, flow: FlowId) -> bool {
        let mut failed = false;
        while self.socket.is_writable() && !failed {
            let taken = engine.drain(now, flow, |bytes| match self.socket.write(bytes) {
                Progress::Moved(count) => count,
                Progress::Blocked | Progress::End => 0,
                Progress::Failed => {
                    failed = true;
                    0
                }
            });
            if taken == 0 {
                break;
            }
        }
        !failed
    }

    /// Bytes of the host to the container.
    fn fill(&mut self, now: Instant, engine: &mut Engine, flow: FlowId) -> Filled {
        let mut portion = 0;
        while self.socket.is_readable() {
            if portion >= BYTES_PER_TURN {
                return Filled::Portion;
            }
            let mut progress = Progress::Blocked;
            portion += engine.fill(now, flow, |space| {
                progress = self.socket.read(space);
                match progress {
                    Progress::Moved(count) => count,
                    Progress::Blocked | Progress::End | Progress::Failed => 0,
                }
            });
            match progress {
                Progress::Moved(_) => {}
                Progress::Blocked => return Filled::Dry,
                Progress::End => {
                    engine.finished(now, flow);
                    return Filled::Over;
                }
                Progress::Failed => return Filled::Failed,
            }
        }
        Filled::Dry
    }
}

/// Bytes read of one host socket in one turn; eight superframes.
const BYTES_PER_TURN: usize = 512 * 1024;

/// Clients accepted on one port in one turn.
const ACCEPTS_PER_TURN: usize = 64;
