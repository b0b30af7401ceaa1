//! What passes between the supervisor's thread and the driver's.

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;
use mio::Waker;
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;
use tokio::sync::mpsc as channel;

use super::apart::Apart;
use super::siblings::wake;
use super::token::Readiness;
use super::worker::Worker;
use crate::host::listen::HostPort;
use crate::host::resolver::{AtOnce, Resolver};
use crate::policy::links::LinkRules;
use crate::stack::{Attachment, PublishId};
use crate::sys::clock;

/// What the supervisor asks of the driver.
#[derive(Debug)]
pub enum Command {
    /// A container may send and receive.
    Attach(Attachment),
    /// It may not any more; its flows end.
    Detach(Attachment),
    /// What the attached container with this hardware address is called.
    Hostname(EthernetAddress, String),
    /// The domains that the host looks for names in.
    Search(Vec<String>),
    /// Serve published ports.
    Publish(Vec<Opening>),
    /// Hand the clients of a port that are on the host's loopback to somebody else; said before the port is published.
    SetApart(PublishId, Apart),
    /// Give published ports back to the host; the sender is dropped when they are closed.
    Unpublish(Vec<PublishId>, channel::UnboundedSender<()>),
    /// An answer of the resolver.
    Answer {
        /// The endpoint that asked.
        client: SocketAddr,
        /// The DNS message.
        message: Bytes,
    },
    /// Who is linked to whom, all of it.
    Links(LinkRules),
    /// How often a container spoke with an address that is not its own; each worker answers for itself.
    Spoofed(EthernetAddress, channel::UnboundedSender<u64>),
    /// What has been counted; each worker answers for itself.
    Counters(channel::UnboundedSender<(&'static str, u64)>),
    /// End the threads.
    Stop,
}

/// A published port that is to be served.
#[derive(Debug)]
pub struct Opening {
    /// The supervisor's number for it.
    pub id: PublishId,
    /// The host's side, bound.
    pub port: HostPort,
    /// The container's side.
    pub destination: Destination,
}

/// Where the clients of a published port are led.
#[derive(Debug, Clone, Copy)]
pub enum Destination {
    /// All of them to this address and port.
    One(SocketAddr),
    /// Each to the container's address of its own family.
    Both {
        /// Its address and port of IPv4.
        v4: SocketAddrV4,
        /// And of IPv6.
        v6: SocketAddrV6,
    },
}

impl Destination {
    /// Where this client is led, and where its connection is if nobody takes it there.
    ///
    /// A client of either family comes to the container's address of that family, and is seen there by its own. In a network
    /// without IPv6 all come to the IPv4 address, as Docker's proxy has it. With IPv6 a client of `localhost` tries ::1
    /// first, and we have accepted its connection before the container was asked: it would not try 127.0.0.1 when that
    /// connection is reset. So a connection that nobody takes at the IPv6 address is led to the IPv4 address.
    pub(super) fn of(&self, client: SocketAddr) -> (SocketAddr, Option<SocketAddr>) {
        match *self {
            Self::One(address) => (address, None),
            Self::Both { v4, v6 } if client.ip().to_canonical().is_ipv6() => (v6.into(), Some(v4.into())),
            Self::Both { v4, .. } => (v4.into(), None),
        }
    }
}

/// What the driver tells the supervisor.
#[derive(Debug)]
pub enum Event {
    /// A DNS message to the gateway, by UDP.
    Query {
        /// The endpoint to answer to.
        client: SocketAddr,
        /// The DNS message.
        message: Bytes,
    },
    /// A DNS connection to the gateway, by TCP.
    Stream {
        /// The container that has opened it.
        client: IpAddr,
        /// Our end.
        stream: UnixStream,
    },
}

/// The way from the driver to the supervisor; bounded for what containers cause. It ends with the driver.
#[derive(Debug, Clone)]
pub struct Events {
    supervisor: channel::Sender<Event>,
    /// Spares what it knows itself the way.
    resolver: Resolver,
}

impl Events {
    /// A channel and its receiver.
    pub fn channel(resolver: Resolver) -> (Self, channel::Receiver<Event>) {
        let (supervisor, receiver) = channel::channel(QUEUED_EVENTS);
        (Self { supervisor, resolver }, receiver)
    }

    /// The answer, if there is one at once; what has to be asked of others goes to the supervisor.
    pub(super) fn query(&self, client: SocketAddr, payload: &[u8]) -> Option<Bytes> {
        match self.resolver.at_once(client.ip(), payload) {
            AtOnce::Answer(answer) => Some(answer),
            AtOnce::Drop => None,
            AtOnce::Later => {
                // A resolver that can't keep up loses datagrams like any other; clients ask again.
                let _ = self.supervisor.try_send(Event::Query {
                    client,
                    message: Bytes::copy_from_slice(payload),
                });
                None
            }
        }
    }

    pub(super) fn stream(&self, client: IpAddr, stream: UnixStream) {
        // Dropped when the queue is full: the client sees its connection closed.
        let _ = self.supervisor.try_send(Event::Stream { client, stream });
    }
}

/// The supervisor's hold on the driver.
#[derive(Debug, Default)]
pub struct DriverHandle {
    workers: Vec<WorkerHandle>,
}

#[derive(Debug)]
struct WorkerHandle {
    commands: mpsc::Sender<Command>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl DriverHandle {
    pub(super) fn add(&mut self, commands: mpsc::Sender<Command>, waker: Arc<Waker>, thread: JoinHandle<()>) {
        self.workers.push(WorkerHandle {
            commands,
            waker,
            thread: Some(thread),
        });
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.workers.len()
    }

    /// Gives a command; one to a driver that has ended is lost, as the end of its events tells.
    pub fn send(&self, command: Command) {
        match command {
            Command::Attach(attachment) => self.tell_all(|| Command::Attach(attachment)),
            Command::Hostname(mac, name) => self.tell_all(|| Command::Hostname(mac, name.clone())),
            Command::Search(domains) => self.tell_all(|| Command::Search(domains.clone())),
            Command::Detach(attachment) => self.tell_all(|| Command::Detach(attachment)),
            Command::Counters(reply) => self.tell_all(|| Command::Counters(reply.clone())),
            Command::Spoofed(mac, reply) => self.tell_all(|| Command::Spoofed(mac, reply.clone())),
            Command::Stop => self.tell_all(|| Command::Stop),
            Command::Publish(openings) => self.share(openings, |it| it.id, Command::Publish),
            Command::SetApart(id, _) => self.tell(id.0 as usize, command),
            Command::Unpublish(ids, closed) => {
                self.share(ids, |id| *id, |ids| Command::Unpublish(ids, closed.clone()));
            }
            // Links are common to all of them.
            Command::Answer { .. } | Command::Links(_) => self.tell(0, command),
        }
    }

    /// Ends the threads and waits for them, a turn of the loop at most.
    pub fn stop(&mut self) {
        self.send(Command::Stop);
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take()
                && thread.join().is_err()
            {
                tracing::error!("the data plane had panicked");
            }
        }
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        self.workers.iter().for_each(|worker| worker.tell(command()));
    }

    /// Tells each of them of its share, in portions that hold nobody up.
    fn share<Item>(&self, items: Vec<Item>, id: impl Fn(&Item) -> PublishId, command: impl Fn(Vec<Item>) -> Command) {
        let mut shares: Vec<Vec<Item>> = self.workers.iter().map(|_| Vec::new()).collect();
        let count = shares.len().max(1);
        for item in items {
            let number = id(&item).0 as usize % count;
            let Some(share) = shares.get_mut(number) else { return };
            share.push(item);
            if share.len() == PORTS_PER_TURN {
                self.tell(number, command(std::mem::take(share)));
            }
        }
        for (number, share) in shares.into_iter().enumerate().filter(|(_, share)| !share.is_empty()) {
            self.tell(number, command(share));
        }
    }

    /// Tells one of them, always the same for a number.
    fn tell(&self, number: usize, command: Command) {
        if let Some(worker) = self.workers.get(number % self.workers.len().max(1)) {
            worker.tell(command);
        }
    }
}

impl WorkerHandle {
    fn tell(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            wake(&self.waker);
        }
    }
}

impl Worker {
    /// Carries out the commands that wait, up to and with one that opens or closes many ports; true when more may wait.
    pub(super) fn obey(&mut self) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Attach(attachment) => self.engine.attach(attachment),
                Command::Hostname(mac, name) => self.engine.set_hostname(mac, name),
                Command::Search(domains) => self.engine.set_search(domains),
                Command::Detach(attachment) => {
                    self.hear_out(clock::now());
                    self.engine.detach(attachment);
                }
                Command::Publish(openings) => {
                    let many = openings.len() == PORTS_PER_TURN;
                    openings.into_iter().for_each(|opening| self.publish(opening));
                    if many {
                        return true;
                    }
                }
                Command::SetApart(id, apart) => {
                    self.flows.kept.set(id, apart.clone());
                    self.datagrams.kept.set(id, apart);
                }
                Command::Unpublish(ids, _closed) => {
                    for id in &ids {
                        self.flows.unpublish(*id);
                        self.datagrams.unpublish(*id);
                    }
                    self.engine.unpublish(&ids);
                    if ids.len() == PORTS_PER_TURN {
                        return true;
                    }
                }
                Command::Answer { client, message } => self.answer(clock::now(), client, &message),
                Command::Links(rules) => self.engine.set_links(rules),
                Command::Spoofed(mac, reply) => {
                    // Whoever asked may have gone.
                    let _ = reply.send(self.engine.spoofed_by(mac));
                }
                Command::Counters(reply) => {
                    let ours = [
                        ("uplink_full", self.link.dropped),
                        ("uplink_lost", self.link.uplink.lost()),
                        ("astray", self.astray),
                        ("queues_taken", self.queues.taken()),
                    ];
                    // Whoever asked may have gone.
                    let counters = self.engine.counters();
                    for pair in counters.pairs().chain(ours) {
                        let _ = reply.send(pair);
                    }
                }
                Command::Stop => self.stopping = true,
            }
        }
        false
    }

    /// Sends a container the resolver's answer.
    pub(super) fn answer(&mut self, now: Instant, client: SocketAddr, message: &[u8]) {
        let transmit = self.engine.deliver_answer(now, client, message, &mut self.link.buffer);
        if let Some(transmit) = transmit {
            self.link.send(transmit);
        }
    }

    /// Clients that came before the container are an edge of their own (epoll_ctl(2) looks when it adds).
    fn publish(&mut self, opening: Opening) {
        let Opening { id, port, destination } = opening;
        let registry = self.poll.registry();
        let token = Readiness::Published(id).into();
        let registered = match port {
            HostPort::Tcp(listener) => self.flows.publish(registry, token, id, listener, destination),
            HostPort::Udp(socket) => self.datagrams.publish(registry, token, id, socket, destination),
        };
        if let Err(error) = registered {
            tracing::error!(%error, ?id, "a published port cannot be watched");
        }
    }
}

/// Ports opened or closed before frames and flows have their turn: well under a millisecond.
const PORTS_PER_TURN: usize = 128;

/// Queries and streams that may wait for the resolver; one more is lost.
const QUEUED_EVENTS: usize = 1024;
