//! One network namespace of others, tied to the host by one TAP: the engine of the personalities.
//!
//! No bridge, no agent, no state on disk: a [`line`](crate::netns::line) comes in, the data plane of the helper
//! ([`crate::helper::driver`]) runs on it with one worker, host ports come and go, names are asked of the host's
//! resolvers. It ends when it is dropped, with the process, or with its line.
//!
//! What the network looks like from inside stands in [`Config`] and its policy; a personality fills them in. The
//! container is a [guest](Senders::Guest): it configures itself, and its addresses are learnt as they are used.
//!
//! Order of a start: [`line::tie`](crate::netns::line::tie) while the process has a single thread, then whatever
//! confines it, then [`Mooring::start`] inside a runtime of the current thread, and readiness is told last.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use smoltcp::wire::EthernetAddress;
use tokio::sync::{mpsc, watch};

use crate::helper::driver::{self, Apart, Command, Destination, DriverHandle, Event, Events, Opening};
use crate::host::listen::HostPort;
use crate::host::outbound::Outbound;
use crate::host::resolver::{Resolver, ResolverConfig, Source};
use crate::network::zone::Zone;
use crate::stack::{Config, Ledger, PublishId, Senders, UplinkCapabilities};
use crate::sys::random;
use crate::sys::tun::{Attached, OffloadBits};
use crate::uplink::{self, Uplink, UplinkKind};

/// What a namespace is tied to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Addresses and where they lead; what the line can do and where its guest is, is filled in here.
    pub config: Config,
    /// Whom names are asked of.
    pub upstreams: Source,
    /// From where host sockets go out.
    pub outbound: Outbound,
}

/// A namespace that is served; clones are the same one, and the last that is dropped ends it.
#[derive(Debug, Clone)]
pub struct Mooring {
    shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
}

#[derive(Debug)]
struct Shared {
    driver: Mutex<DriverHandle>,
    last_publish: AtomicU32,
}

impl Mooring {
    /// Serves `line` from now on, on a thread of its own; names are looked up on the current runtime.
    pub fn start(settings: Settings, line: Attached) -> io::Result<Self> {
        Self::start_over(settings, line, |line| line)
    }

    /// The same with a wrapper around the line.
    pub fn start_over(
        settings: Settings,
        line: Attached,
        wrap: impl Fn(Box<dyn Uplink>) -> Box<dyn Uplink>,
    ) -> io::Result<Self> {
        let Settings {
            mut config,
            upstreams,
            outbound,
        } = settings;
        let Attached { fd, offload, mac } = line;
        config.uplink = capabilities(offload.unwrap_or_default());
        config.senders = Senders::Guest {
            mac: EthernetAddress(mac),
        };
        config.limits = config.limits.within(descriptors_for_guest());
        let kind = if offload.is_some() {
            UplinkKind::Tap
        } else {
            UplinkKind::TapPlain
        };
        let resolver = Resolver::new(ResolverConfig {
            upstreams,
            max_udp: usize::from(config.mtu).saturating_sub(IPV6_AND_UDP_HEADERS),
            zone: Zone::empty(),
        });
        let (events, receiver) = Events::channel(resolver.clone());
        let queues = uplink::open(kind, vec![fd])?.into_iter().map(wrap).collect();
        let ledger = Ledger::new(config.limits);
        let driver = driver::spawn(&config, &ledger, queues, outbound, random::seed, &events)?;
        // The data plane's copy is the last one: its end is the end of the events.
        drop(events);
        let shared = Arc::new(Shared {
            driver: Mutex::new(driver),
            last_publish: AtomicU32::new(0),
        });
        let (over, ended) = watch::channel(false);
        tokio::spawn(hear(Arc::downgrade(&shared), resolver, receiver, over));
        Ok(Self { shared, ended })
    }

    /// Leads the clients of a bound host port to the container.
    pub fn publish(&self, port: HostPort, destination: Destination) -> PublishId {
        let id = self.shared.next_publish();
        let opening = Opening { id, port, destination };
        self.shared.driver().send(Command::Publish(vec![opening]));
        id
    }

    /// The same, but for clients of the host's loopback, who are handed to `apart`.
    pub fn publish_apart(&self, port: HostPort, destination: Destination, apart: Apart) -> PublishId {
        let id = self.shared.next_publish();
        let opening = Opening { id, port, destination };
        let driver = self.shared.driver();
        driver.send(Command::SetApart(id, apart));
        driver.send(Command::Publish(vec![opening]));
        id
    }

    /// Gives a host port back; it can be bound again when this returns. Connections that it brought go on.
    pub async fn unpublish(&self, id: PublishId) {
        let (closing, mut closed) = mpsc::unbounded_channel();
        self.shared.driver().send(Command::Unpublish(vec![id], closing));
        // Nothing is ever sent; the last sender is dropped when it is closed, or with the data plane and every port.
        while let Some(()) = closed.recv().await {}
    }

    /// Returns when the line is lost: the interface was deleted, or the data plane failed.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // An error means that whoever would say so has ended too.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

impl Shared {
    fn next_publish(&self) -> PublishId {
        PublishId(self.last_publish.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn driver(&self) -> MutexGuard<'_, DriverHandle> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.driver().stop();
    }
}

/// Every flow costs a descriptor: takes what the hard limit allows. For the start of a personality, as confinement may
/// forbid it.
pub fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, "the limit of open files stays low");
    }
}

/// Answers what the data plane has no answer for, until it ends.
async fn hear(
    shared: std::sync::Weak<Shared>,
    resolver: Resolver,
    mut events: mpsc::Receiver<Event>,
    over: watch::Sender<bool>,
) {
    while let Some(event) = events.recv().await {
        let resolver = resolver.clone();
        match event {
            Event::Query { client, message } => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    if let Some(message) = resolver.query_udp(client.ip(), message).await
                        && let Some(shared) = shared.upgrade()
                    {
                        shared.driver().send(Command::Answer { client, message });
                    }
                });
            }
            Event::Stream { client, stream } => match tokio::net::UnixStream::from_std(stream) {
                Ok(stream) => drop(tokio::spawn(async move { resolver.serve_stream(client, stream).await })),
                // The container can cause it as often as it likes.
                Err(error) => tracing::debug!(%error, "a DNS connection was lost"),
            },
        }
    }
    // Nobody may be waiting.
    let _ = over.send(true);
}

fn capabilities(offload: OffloadBits) -> UplinkCapabilities {
    UplinkCapabilities {
        checksum: offload.checksum,
        tso4: offload.tso4,
        tso6: offload.tso6,
        uso: offload.uso,
    }
}

/// How many descriptors the container may make us hold.
fn descriptors_for_guest() -> usize {
    // Without an answer the usual limits will do.
    let all = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    let all = usize::try_from(all).unwrap_or(usize::MAX);
    // Of a small limit a part, of a large one all but what is ours.
    all.saturating_sub(OWN_DESCRIPTORS.min(all / 2))
}

/// Kept for ourselves: 256 questions to resolvers, 64 connections to ours, published ports, the API.
const OWN_DESCRIPTORS: usize = 704;

/// IPv6 without extensions (RFC 8200 section 3) and UDP (RFC 768); questions may come by either family.
const IPV6_AND_UDP_HEADERS: usize = 40 + 8;
