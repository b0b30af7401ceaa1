//! Who has what, where the flows of one network are shared out among several engines (*shards*), each on a thread of its
//! own with a queue of the uplink of its own.
//!
//! The kernel spreads frames over the queues and keeps those of a flow together, but not for ever: a TAP forgets after
//! three idle seconds where a flow was answered from (drivers/net/tun.c, TUN_FLOW_EXPIRE), and a flow that came from the
//! host has no queue that the kernel could know of before it was used. So whoever meets a flow first *claims* it here,
//! and a shard that is shown a frame of somebody else's hands it over ([`Passage::Elsewhere`](super::Passage::Elsewhere)).
//!
//! The directory is asked when a flow begins or ends and when a frame belongs to nothing that the shard knows; the
//! packets in between find their flow in the shard's own table. A network with one shard has no directory at all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::RandomState;

use super::flow::Tuple;
use super::random::Random;
use super::udp::ClientKey;

/// One engine of several, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub usize);

/// A shard's hold on the directory; the one for a network without others knows nothing and finds nothing.
#[derive(Debug, Clone, Default)]
pub struct Directory(Option<Hold>);

#[derive(Debug, Clone)]
struct Hold {
    shard: ShardId,
    claims: Arc<Mutex<Claims>>,
    clients: Arc<AtomicU64>,
}

type Claims = HashMap<Key, ShardId, RandomState>;

/// What can be somebody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A TCP connection, its TIME-WAIT included.
    Flow(Tuple),
    /// The UDP mapping of a container's endpoint.
    Mapping(SocketAddr),
    /// A client of a published UDP port.
    Client(ClientKey),
}

impl Directory {
    /// One for each of `shards`; `seed` keys the table.
    pub fn shared(shards: usize, seed: [u64; 4]) -> Vec<Self> {
        if shards <= 1 {
            return vec![Self::default()];
        }
        let claims = HashMap::with_hasher(Random::new(seed).hash_key());
        let claims = Arc::new(Mutex::new(claims));
        let clients = Arc::new(AtomicU64::new(0));
        let hold = |shard| Hold {
            shard: ShardId(shard),
            claims: Arc::clone(&claims),
            clients: Arc::clone(&clients),
        };
        (0..shards).map(|shard| Self(Some(hold(shard)))).collect()
    }

    /// The other shard that has it.
    pub(super) fn elsewhere(&self, key: Key) -> Option<ShardId> {
        let hold = self.0.as_ref()?;
        hold.claims().get(&key).copied().filter(|owner| *owner != hold.shard)
    }

    /// Makes it ours; false if another shard has it.
    pub(super) fn claim(&self, key: Key) -> bool {
        let Some(hold) = &self.0 else { return true };
        let mut claims = hold.claims();
        let ours = *claims.entry(key).or_insert(hold.shard) == hold.shard;
        if matches!(key, Key::Client(_)) {
            // Behind the claim: who sees the new count finds it.
            hold.clients.fetch_add(1, Ordering::Release);
        }
        ours
    }

    /// How many clients of published UDP ports have been claimed: as long as it stays, what has been found to be nobody's
    /// client is none.
    pub(super) fn clients(&self) -> u64 {
        self.0.as_ref().map_or(0, |hold| hold.clients.load(Ordering::Acquire))
    }

    /// Gives up what is ours.
    pub(super) fn release(&self, key: Key) {
        let Some(hold) = &self.0 else { return };
        if let Entry::Occupied(claim) = hold.claims().entry(key)
            && *claim.get() == hold.shard
        {
            claim.remove();
        }
    }
}

impl Hold {
    fn claims(&self) -> MutexGuard<'_, Claims> {
        // Every change is one call of the map's: a shard that panicked left nothing half done.
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(port: u16) -> Key {
        Key::Mapping(SocketAddr::from(([10, 0, 0, 2], port)))
    }

    #[test]
    fn what_one_has_the_others_find() {
        let shards = Directory::shared(3, [1, 2, 3, 4]);
        assert!(shards[1].claim(key(7)));
        assert!(shards[1].claim(key(7)), "twice is once");
        assert!(!shards[0].claim(key(7)));
        assert_eq!(shards[0].elsewhere(key(7)), Some(ShardId(1)));
        assert_eq!(shards[1].elsewhere(key(7)), None);
        assert_eq!(shards[2].elsewhere(key(8)), None);
        shards[0].release(key(7));
        assert_eq!(
            shards[2].elsewhere(key(7)),
            Some(ShardId(1)),
            "only its owner gives it up"
        );
        shards[1].release(key(7));
        assert!(shards[2].claim(key(7)));
    }

    #[test]
    fn alone_everything_is_ours() {
        let sole = Directory::shared(1, [1, 2, 3, 4]).remove(0);
        assert!(sole.claim(key(7)));
        assert_eq!(sole.elsewhere(key(7)), None);
        sole.release(key(7));
    }
}
