//! The resolver on the gateway's address: questions of containers go to the host's resolvers.
//!
//! It forwards and nothing else: no cache, no recursion, EDNS untouched, truncated answers passed on so that the
//! client comes back over TCP. Because the helper lives in the host's network namespace, stubs on its loopback
//! (127.0.0.53) work like any other server. It never waits for one upstream alone: the next is asked after
//! `HEAD_START`, the first good answer wins, and SERVFAIL is the answer when there is none.
//!
//! ```text
//!   container's message ─▶ judge ─▶ drop │ answer on the spot │ forward ─▶ upstreams, one after the other
//! ```
//!
//! `message::judge` is where names of our own would be answered. Called by the helper, which is given the messages by
//! the stack; see RFC 1035, 5452 (forgery), 6891 (EDNS), 7766 (TCP).

mod exchange;
mod message;
mod resolv_conf;
mod stream;
mod upstreams;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use self::exchange::{Transport, ask};
use self::message::{Query, Verdict, is_refusal, judge};
use self::upstreams::Upstreams;

pub use self::upstreams::Source;

/// What a resolver is made with.
#[derive(Debug, Clone)]
pub struct ResolverConfig {
    /// Whom to ask.
    pub upstreams: Source,
    /// The longest answer over UDP, in bytes of DNS message: what fits an unfragmented frame. Longer ones are cut and
    /// marked as truncated.
    pub max_udp: usize,
}

/// Forwards questions; clones share everything.
#[derive(Debug, Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstreams: Upstreams,
    in_flight: Semaphore,
    max_udp: usize,
}

impl Resolver {
    /// A resolver that has not asked anybody yet.
    pub fn new(config: ResolverConfig) -> Self {
        let upstreams = Upstreams::new(config.upstreams);
        let in_flight = Semaphore::new(IN_FLIGHT);
        Self {
            shared: Arc::new(Shared {
                upstreams,
                in_flight,
                max_udp: config.max_udp,
            }),
        }
    }

    /// The answer to a message that came over UDP; `None` when it deserves none. Takes four seconds at most.
    pub async fn query_udp(&self, message: Bytes) -> Option<Bytes> {
        self.query(Transport::Udp, message).await
    }

    /// Serves DNS over TCP to one client until its stream ends.
    pub async fn serve_stream(&self, stream: UnixStream) {
        let (from, to) = stream.into_split();
        stream::serve(self, from, to).await;
    }

    async fn query(&self, transport: Transport, message: Bytes) -> Option<Bytes> {
        let query = match judge(message) {
            Verdict::Forward(query) => query,
            Verdict::Answer(answer) => return Some(answer),
            Verdict::Drop => return None,
        };
        Some(match (self.forward(transport, &query).await, transport) {
            (Some(answer), Transport::Udp) => query.udp_answer(answer, self.shared.max_udp),
            (Some(answer), Transport::Tcp) => query.answer(answer),
            (None, _) => query.server_failure(),
        })
    }

    /// The best answer of all upstreams; `None` when nobody has answered in time, or too many wait already.
    async fn forward(&self, transport: Transport, query: &Query) -> Option<Vec<u8>> {
        let _slot = self.shared.in_flight.try_acquire().ok()?;
        let mut race = Race {
            upstreams: &self.shared.upstreams,
            asked: JoinSet::new(),
            refusal: None,
        };
        timeout(PATIENCE, race.run(transport, query))
            .await
            .ok()
            .flatten()
            .or(race.refusal)
    }
}

/// The same question to several upstreams, each with a head start over the next.
struct Race<'a> {
    upstreams: &'a Upstreams,
    asked: JoinSet<(SocketAddr, io::Result<Vec<u8>>)>,
    /// An answer that is better than none.
    refusal: Option<Vec<u8>>,
}

impl Race<'_> {
    /// The first answer that is no refusal.
    async fn run(&mut self, transport: Transport, query: &Query) -> Option<Vec<u8>> {
        for upstream in self.upstreams.in_order(Instant::now()) {
            let query = query.clone();
            self.asked
                .spawn(async move { (upstream, ask(transport, upstream, &query).await) });
            match timeout(HEAD_START, self.first_answer()).await {
                Ok(Some(answer)) => return Some(answer),
                // All that were asked so far have failed: on to the next at once.
                Ok(None) => {}
                Err(_) => self.upstreams.note_dead(upstream, Instant::now()),
            }
        }
        self.first_answer().await
    }

    /// The first answer of those that have been asked; `None` when all have failed or refused.
    async fn first_answer(&mut self) -> Option<Vec<u8>> {
        while let Some(ended) = self.asked.join_next().await {
            match ended {
                Ok((upstream, Ok(answer))) => {
                    self.upstreams.note_alive(upstream);
                    if !is_refusal(&answer) {
                        return Some(answer);
                    }
                    self.refusal.get_or_insert(answer);
                }
                Ok((upstream, Err(error))) => {
                    tracing::debug!(%upstream, %error, "no answer from a resolver of the host");
                    self.upstreams.note_dead(upstream, Instant::now());
                }
                // The runtime is going down.
                Err(_) => return None,
            }
        }
        None
    }
}

/// Until the next upstream is asked as well. A healthy one answers from its cache in a tenth of it, and a client with
/// glibc's five seconds still gets its answer when the first two are dead.
const HEAD_START: Duration = Duration::from_millis(500);

/// Until the client is told that nobody answers; below the five seconds after which glibc asks again.
const PATIENCE: Duration = Duration::from_secs(4);

/// Questions that wait for an answer at the same time; one more is answered with SERVFAIL at once.
const IN_FLIGHT: usize = 256;

#[cfg(test)]
mod tests;
