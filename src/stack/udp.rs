//! What is remembered of UDP: a mapping's peers, and the clients of published ports.
//!
//! A mapping is endpoint-independent (RFC 4787 REQ-1): one for each endpoint of a container, whomever it talks to, and
//! one host socket for it. Its filter is by address and port (section 5): only who was written to may answer. The peers
//! are bounded; beyond that the one not written to for longest is forgotten.

use std::net::SocketAddr;

use smoltcp::time::Duration;

use super::types::PublishId;
use crate::policy::DNS_PORT;

/// What a mapping remembers beside its idle time.
#[derive(Debug)]
pub(super) struct Mapping {
    /// Most recently written to first.
    peers: Vec<Peer>,
    answered: bool,
}

/// Someone the container wrote to.
#[derive(Debug, Clone, Copy)]
struct Peer {
    /// As the host's network knows it.
    real: SocketAddr,
    /// As the container called it.
    shown: SocketAddr,
    /// The clients that there were when nobody had it for one ([`Directory::clients`](super::directory::Directory::clients)).
    asked: u64,
}

impl Mapping {
    pub(super) fn new() -> Self {
        Self {
            peers: Vec::with_capacity(1),
            answered: false,
        }
    }

    /// The container writes to `shown`, which is `real` and, as of `asked`, nobody's client.
    pub(super) fn write_to(&mut self, real: SocketAddr, shown: SocketAddr, asked: u64) {
        let known = self
            .peers
            .iter()
            .position(|peer| peer.real == real && peer.shown == shown);
        if let Some(place) = known {
            self.peers[place].asked = asked;
            self.peers[..=place].rotate_right(1);
            return;
        }
        self.peers.truncate(MAX_PEERS - 1);
        self.peers.insert(0, Peer { real, shown, asked });
    }

    /// The container has written to what it calls `shown`, and there has been no new client since.
    pub(super) fn has_written_to(&self, shown: SocketAddr, clients: u64) -> bool {
        self.peers
            .iter()
            .any(|peer| peer.shown == shown && peer.asked == clients)
    }

    /// Who has answered, as the container knows it; none if it was not written to.
    pub(super) fn answer_from(&mut self, real: SocketAddr) -> Option<SocketAddr> {
        let peer = self.peers.iter().find(|peer| peer.real == real)?;
        self.answered = true;
        Some(peer.shown)
    }

    /// What the container calls `real`, if it has written there.
    pub(super) fn shown(&self, real: SocketAddr) -> Option<SocketAddr> {
        let peer = self.peers.iter().find(|peer| peer.real == real)?;
        Some(peer.shown)
    }

    /// How long it lives after the container's last datagram.
    pub(super) fn lifetime(&self) -> Duration {
        let questions_only = self.peers.iter().all(|peer| peer.real.port() == DNS_PORT);
        match (questions_only, self.answered) {
            (true, _) => DNS_LIFETIME,
            (false, false) => UNANSWERED_LIFETIME,
            (false, true) => ANSWERED_LIFETIME,
        }
    }
}

/// One client of a published port, as it talks to one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub(super) publish: PublishId,
    /// The container's endpoint.
    pub(super) container: SocketAddr,
    /// As the host's network knows it.
    pub(super) real: SocketAddr,
}

/// The container's endpoint, and the client as the container sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ClientKey {
    pub(super) container: SocketAddr,
    pub(super) shown: SocketAddr,
}

/// Long after either side's last datagram that a client of a published port is forgotten.
pub(super) const CLIENT_LIFETIME: Duration = Duration::from_secs(300);

/// RFC 4787 REQ-5 recommends five minutes.
const ANSWERED_LIFETIME: Duration = Duration::from_secs(300);

/// RFC 4787 REQ-5: no less than two minutes.
const UNANSWERED_LIFETIME: Duration = Duration::from_secs(120);

/// RFC 4787 REQ-5 a) allows less for well-known ports. A resolver's longest usual try is 5 seconds (resolv.conf), twice
/// with two servers; and it uses a fresh port for each question, so these are many.
const DNS_LIFETIME: Duration = Duration::from_secs(20);

/// Peers of one mapping, about 16 KB at most; a peer-to-peer client keeps some hundred.
const MAX_PEERS: usize = 256;
