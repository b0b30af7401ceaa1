//! The resolver on the gateway's address: it knows the network's own names and asks the host's resolvers for the rest.
//!
//! No cache and no recursion; EDNS is untouched, and truncated answers are passed on so that the client comes back over
//! TCP. Because the helper lives in the host's network namespace, stubs on its loopback (127.0.0.53) work like any other
//! server.
//!
//! ```text
//!   container's message ─▶ judge ─▶ drop │ local: a name of ours │ forward: upstreams, one after the other
//! ```
//!
//! [`Resolver::at_once`] is the first two thirds of it and never waits: the data plane calls it on its own thread, which
//! spares a container's name the way to the supervisor and back. What is left comes to [`Resolver::query_udp`]. See
//! RFC 1035, 2308 (negative answers), 5452 (forgery), 6891 (EDNS), 7766 (TCP).

mod counters;
mod exchange;
mod forward;
mod local;
mod message;
mod resolv_conf;
mod search;
mod slots;
mod stream;
mod upstreams;
mod watch;

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use nix::unistd::gethostname;
use tokio::net::UnixStream;

use self::counters::Counters;
use self::exchange::Transport;
use self::forward::Forwarder;
use self::message::{MAX_QUERY, Query, Verdict, judge};
use self::slots::{Asker, Questions, Streams};
use self::upstreams::Upstreams;
use crate::network::zone::Zone;

pub use self::search::{follow_search, search_list};
pub use self::upstreams::Source;

/// What a resolver is made with.
#[derive(Debug, Clone)]
pub struct ResolverConfig {
    /// Whom to ask.
    pub upstreams: Source,
    /// The longest answer over UDP, in bytes of DNS message: what fits an unfragmented frame. Longer ones are cut and
    /// marked as truncated.
    pub max_udp: usize,
    /// The network's own names.
    pub zone: Zone,
}

/// Answers questions; clones share everything.
#[derive(Debug, Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Replaced as a whole, so that readers hold the lock for no longer than a look-up.
    zone: RwLock<Arc<Zone>>,
    forwarder: Arc<Forwarder>,
    questions: Questions,
    streams: Streams,
    counters: Arc<Counters>,
    max_udp: usize,
}

/// What can be said to a message without waiting.
#[derive(Debug, PartialEq, Eq)]
pub enum AtOnce {
    /// This.
    Answer(Bytes),
    /// Nothing, now or later.
    Drop,
    /// Nothing yet: others have to be asked.
    Later,
}

impl Resolver {
    /// A resolver that has not asked anybody yet.
    pub fn new(config: ResolverConfig) -> Self {
        let counters = Arc::new(Counters::default());
        let forwarder = Forwarder::new(Upstreams::new(config.upstreams), Arc::clone(&counters));
        Self {
            shared: Arc::new(Shared {
                zone: RwLock::new(Arc::new(config.zone)),
                forwarder: Arc::new(forwarder),
                questions: Questions::default(),
                streams: Streams::default(),
                counters,
                max_udp: config.max_udp,
            }),
        }
    }

    /// Knows these names from now on, and no others.
    pub fn set_zone(&self, zone: Zone) {
        *self.shared.zone.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(zone);
    }

    /// The answer to a container's message that came over UDP, as far as nobody has to be asked.
    pub fn at_once(&self, client: IpAddr, message: &[u8]) -> AtOnce {
        // Longer ones are dropped whatever they say.
        let start = message.get(..=MAX_QUERY).unwrap_or(message);
        let query = match self.judge(Bytes::copy_from_slice(start)) {
            Ok(query) => query,
            Err(at_once) => return at_once,
        };
        match local::answer(&self.zone(), client, None, &query, query.udp_limit(self.shared.max_udp)) {
            Some(answer) => {
                self.shared.counters.local.add();
                AtOnce::Answer(answer)
            }
            None => AtOnce::Later,
        }
    }

    /// The answer to a container's message that came over UDP; `None` when it deserves none. Takes four seconds at most.
    pub async fn query_udp(&self, client: IpAddr, message: Bytes) -> Option<Bytes> {
        self.query(client, Asker::Container(client), message).await
    }

    /// Serves DNS over TCP to one container's client until its stream ends, or others need its place.
    pub async fn serve_stream(&self, client: IpAddr, stream: UnixStream) {
        let place = self.shared.streams.open();
        let (from, to) = stream.into_split();
        tokio::select! {
            () = stream::serve(self, client, from, to) => {}
            _ = place => {}
        }
    }

    /// What has been counted, by name.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.shared.counters.pairs().into_iter()
    }

    async fn query(&self, client: IpAddr, asker: Asker, message: Bytes) -> Option<Bytes> {
        let query = match self.judge(message) {
            Ok(query) => query,
            Err(AtOnce::Answer(answer)) => return Some(answer),
            Err(AtOnce::Drop | AtOnce::Later) => return None,
        };
        let (transport, limit) = match asker {
            Asker::Container(_) => (Transport::Udp, query.udp_limit(self.shared.max_udp)),
            Asker::Streams => (Transport::Tcp, usize::from(u16::MAX)),
        };
        // Asked of the kernel each time: it may be given another.
        let host = gethostname().ok().and_then(|name| name.into_string().ok());
        if let Some(answer) = local::answer(&self.zone(), client, host.as_deref(), &query, limit) {
            self.shared.counters.local.add();
            return Some(answer);
        }
        match (self.forward(asker, transport, &query).await, transport) {
            (Some(answer), Transport::Udp) => Some(query.udp_answer(answer, limit)),
            (Some(answer), Transport::Tcp) => Some(query.answer(answer)),
            (None, _) => query.server_failure(),
        }
    }

    async fn forward(&self, asker: Asker, transport: Transport, query: &Query) -> Option<Vec<u8>> {
        let counters = &self.shared.counters;
        let Some(_slot) = self.shared.questions.take(asker) else {
            counters.refused.add();
            return None;
        };
        counters.forwarded.add();
        let answer = self.shared.forwarder.forward(transport, query).await;
        if answer.is_none() {
            counters.unanswered.add();
        }
        answer
    }

    fn judge(&self, message: Bytes) -> Result<Query, AtOnce> {
        match judge(message) {
            Verdict::Ask(query) => Ok(query),
            Verdict::Answer(answer) => Err(AtOnce::Answer(answer)),
            Verdict::Drop => {
                self.shared.counters.malformed.add();
                Err(AtOnce::Drop)
            }
        }
    }

    fn zone(&self) -> Arc<Zone> {
        Arc::clone(&self.shared.zone.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
