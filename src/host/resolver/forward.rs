//! A question to the host's resolvers: to one after the other, each with a head start, until one has an answer.
//!
//! ```text
//!   0 s       0.5 s     1 s             2 s
//!   first ────────────────────────────▶ │ again, in case datagrams were lost
//!             second ─────────────────▶ │ again
//! ```
//!
//! Whoever answers wins, and SERVFAIL, NOTIMP and REFUSED only when nobody has anything better. An exchange that has
//! lost goes on by itself until it knows whether its server lives: a server that is slow over one name is not dead, and
//! the order in resolv.conf can mean something. The list is looked at again at each step, so that a question which
//! found the old servers dead goes to the new ones.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};

use super::counters::Counters;
use super::exchange::{Transport, ask};
use super::message::{Query, is_refusal};
use super::upstreams::Upstreams;

/// What exchanges share.
#[derive(Debug)]
pub(super) struct Forwarder {
    upstreams: Upstreams,
    counters: Arc<Counters>,
    /// Sockets to upstreams.
    exchanges: Arc<Semaphore>,
}

impl Forwarder {
    pub(super) fn new(upstreams: Upstreams, counters: Arc<Counters>) -> Self {
        Self {
            upstreams,
            counters,
            exchanges: Arc::new(Semaphore::new(EXCHANGES)),
        }
    }

    /// The best answer of all upstreams; `None` when nobody has answered in time.
    pub(super) async fn forward(self: &Arc<Self>, transport: Transport, query: &Query) -> Option<Vec<u8>> {
        let (sender, answers) = mpsc::channel(EXCHANGES);
        let mut race = Race {
            forwarder: self,
            transport,
            query,
            asked: Vec::new(),
            under_way: 0,
            sender,
            answers,
            refusal: None,
        };
        timeout(PATIENCE, race.run()).await.ok().flatten().or(race.refusal)
    }

    async fn exchange(&self, transport: Transport, upstream: SocketAddr, query: &Query) -> io::Result<Vec<u8>> {
        let asking = ask(transport, upstream, query, &self.counters.strange);
        let outcome = timeout(PATIENCE, asking)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match &outcome {
            Ok(_) => self.upstreams.note_alive(upstream),
            Err(error) => {
                tracing::debug!(%upstream, %error, "no answer from a resolver of the host");
                self.upstreams.note_dead(upstream, Instant::now());
            }
        }
        outcome
    }
}

/// The same question to several upstreams.
struct Race<'a> {
    forwarder: &'a Arc<Forwarder>,
    transport: Transport,
    query: &'a Query,
    /// In this round.
    asked: Vec<SocketAddr>,
    under_way: usize,
    sender: mpsc::Sender<io::Result<Vec<u8>>>,
    answers: mpsc::Receiver<io::Result<Vec<u8>>>,
    /// An answer that is better than none.
    refusal: Option<Vec<u8>>,
}

impl Race<'_> {
    /// The first answer that is no refusal; `None` when all have failed or refused.
    async fn run(&mut self) -> Option<Vec<u8>> {
        let upstreams = &self.forwarder.upstreams;
        for upstream in upstreams.to_probe(Instant::now()) {
            self.start(upstream);
        }
        loop {
            let next = self.next();
            if let Some(upstream) = next {
                self.start(upstream);
            } else if self.under_way == 0 {
                return None;
            }
            let patience = if next.is_some() { HEAD_START } else { AGAIN };
            match timeout(patience, self.first_answer()).await {
                Ok(Some(answer)) => return Some(answer),
                // All that were asked so far have failed: on to the next at once.
                Ok(None) => {}
                Err(_) => match next {
                    Some(upstream) => upstreams.note_dead(upstream, Instant::now()),
                    None => self.asked.clear(),
                },
            }
        }
    }

    /// Who has not been asked in this round.
    fn next(&self) -> Option<SocketAddr> {
        let order = self.forwarder.upstreams.in_order(Instant::now());
        order.into_iter().find(|upstream| !self.asked.contains(upstream))
    }

    fn start(&mut self, upstream: SocketAddr) {
        self.asked.push(upstream);
        // Without a slot it counts as asked and failed.
        let Ok(slot) = Arc::clone(&self.forwarder.exchanges).try_acquire_owned() else {
            return;
        };
        self.under_way += 1;
        let (forwarder, query, transport) = (Arc::clone(self.forwarder), self.query.clone(), self.transport);
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let outcome = forwarder.exchange(transport, upstream, &query).await;
            drop(slot);
            // The race may be over.
            let _ = sender.send(outcome).await;
        });
    }

    /// The first answer of those that have been asked; `None` when all have failed or refused.
    async fn first_answer(&mut self) -> Option<Vec<u8>> {
        while self.under_way > 0 {
            let outcome = self.answers.recv().await?;
            self.under_way -= 1;
            match outcome {
                Ok(answer) if !is_refusal(&answer) => return Some(answer),
                Ok(refusal) => _ = self.refusal.get_or_insert(refusal),
                Err(_) => {}
            }
        }
        None
    }
}

/// Until the next upstream is asked as well. A healthy one answers from its cache in a tenth of it, and a client with
/// glibc's five seconds still gets its answer when the first two are dead.
pub(super) const HEAD_START: Duration = Duration::from_millis(500);

/// Until all are asked once more.
const AGAIN: Duration = Duration::from_secs(1);

/// Until the client is told that nobody answers; below the five seconds after which glibc asks again.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);

/// Sockets to upstreams at the same time, those of lost exchanges included.
pub(super) const EXCHANGES: usize = 256;
