//! Associations that live as long as they are used: UDP mappings, clients of published UDP ports, echo ids.
//!
//! A table with a key and, for each container, an order of idleness from which the one that has been idle longest is
//! evicted when a limit of the [`Ledger`] is reached. A use costs one hash look-up and nothing in the order, which is
//! corrected lazily: whoever stands first in it without having been idle since it was filed is filed anew (second chance).
//!
//! Ids are small and do not return before [`Associations::release`], so that the shell never meets an id twice while it
//! still holds the first one's socket.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;

use ahash::RandomState;
use slab::Slab;
use smoltcp::time::{Duration, Instant};

use super::ledger::{Admission, Kind, Ledger, Place};

/// One association.
#[derive(Debug)]
pub(super) struct Entry<K, V> {
    pub(super) value: V,
    pub(super) key: K,
    owner: IpAddr,
    used: Instant,
    /// `used` when it was last put into the order.
    filed: Instant,
    /// The slot of its deadline.
    pub(super) armed: Option<Instant>,
    /// Its place in the ledger.
    _place: Place,
}

/// The table.
#[derive(Debug)]
pub(super) struct Associations<K, V> {
    entries: Slab<Option<Entry<K, V>>>,
    index: HashMap<K, usize, RandomState>,
    order: BTreeSet<(IpAddr, Instant, usize)>,
    kind: Kind,
    ledger: Ledger,
}

/// What has to be done before an association can be made.
#[derive(Debug)]
pub(super) enum Room {
    /// Nothing.
    Granted(Place),
    /// This one has to go.
    Evict(u32),
    /// Nobody here has one to give.
    None,
}

impl<K: Hash + Eq + Copy, V> Associations<K, V> {
    pub(super) fn new(key: RandomState, kind: Kind, ledger: &Ledger) -> Self {
        Self {
            entries: Slab::new(),
            index: HashMap::with_hasher(key),
            order: BTreeSet::new(),
            kind,
            ledger: ledger.clone(),
        }
    }

    pub(super) fn find(&self, key: &K) -> Option<u32> {
        self.index.get(key).and_then(|id| u32::try_from(*id).ok())
    }

    pub(super) fn get(&self, id: u32) -> Option<&Entry<K, V>> {
        self.entries.get(id as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Entry<K, V>> {
        self.entries.get_mut(id as usize)?.as_mut()
    }

    /// Room for one more of `owner`.
    pub(super) fn room_for(&mut self, owner: IpAddr) -> Room {
        let full = match self.ledger.admit(owner, self.kind) {
            Admission::Granted(place) => return Room::Granted(place),
            Admission::Full(full) => full,
        };
        let donors = self.ledger.donors(owner, self.kind, full);
        let victim = donors.into_iter().find_map(|donor| self.idlest_of(donor));
        victim.map_or(Room::None, Room::Evict)
    }

    /// Adds an association of `owner`; the key must be new.
    pub(super) fn insert(&mut self, now: Instant, owner: IpAddr, place: Place, key: K, value: V) -> Option<u32> {
        let id = self.entries.insert(Some(Entry {
            value,
            key,
            owner,
            used: now,
            filed: now,
            armed: None,
            _place: place,
        }));
        self.index.insert(key, id);
        self.order.insert((owner, now, id));
        u32::try_from(id).ok()
    }

    /// Takes an association out; its id stays reserved until it is released.
    pub(super) fn remove(&mut self, id: u32) -> Option<Entry<K, V>> {
        let entry = self.entries.get_mut(id as usize)?.take()?;
        self.index.remove(&entry.key);
        self.order.remove(&(entry.owner, entry.filed, id as usize));
        Some(entry)
    }

    /// Frees the id of an association that was removed.
    pub(super) fn release(&mut self, id: u32) {
        if self.entries.get(id as usize).is_some_and(Option::is_none) {
            self.entries.remove(id as usize);
        }
    }

    /// Every association of `owner`.
    pub(super) fn of_owner(&self, owner: IpAddr) -> Vec<u32> {
        let of_owner = self.order.range((owner, Instant::from_micros(i64::MIN), 0)..);
        of_owner
            .take_while(|(other, _, _)| *other == owner)
            .filter_map(|(_, _, id)| u32::try_from(*id).ok())
            .collect()
    }

    fn first_of(&self, owner: IpAddr) -> Option<usize> {
        let mut of_owner = self.order.range((owner, Instant::from_micros(i64::MIN), 0)..);
        of_owner
            .next()
            .filter(|(other, _, _)| *other == owner)
            .map(|(_, _, id)| *id)
    }

    fn idlest_of(&mut self, owner: IpAddr) -> Option<u32> {
        for _ in 0..MAX_REFILED {
            let id = self.first_of(owner)?;
            if !self.refile(id) {
                return u32::try_from(id).ok();
            }
        }
        self.first_of(owner).and_then(|id| u32::try_from(id).ok())
    }

    /// Puts an association that was used since it was filed where it belongs; false if it stands there already.
    fn refile(&mut self, id: usize) -> bool {
        let Some(entry) = self.entries.get_mut(id).and_then(Option::as_mut) else {
            return false;
        };
        if entry.filed == entry.used {
            return false;
        }
        self.order.remove(&(entry.owner, entry.filed, id));
        entry.filed = entry.used;
        self.order.insert((entry.owner, entry.filed, id));
        true
    }
}

impl<K, V> Entry<K, V> {
    /// Begins the idle time anew.
    pub(super) fn touch(&mut self, now: Instant) {
        self.used = now;
    }

    /// When it will have been idle for `lifetime`.
    pub(super) fn expiry(&self, lifetime: Duration) -> Instant {
        self.used + lifetime
    }
}

/// Second chances in one search; bounds the work of a single packet, at the price of evicting one that was in use when
/// this many in a row were.
const MAX_REFILED: usize = 32;
