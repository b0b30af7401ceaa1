//! Who holds how much: TCP flows, half-open flows and mappings, counted by container for the whole network.
//!
//! A network's engines share one ledger, so that its limits hold however many engines carry its traffic. It is consulted
//! when something is made or ends, never for a packet. What is granted is a [`Place`], which gives itself back when it is
//! dropped: nothing can be counted twice or forgotten.
//!
//! The ledger knows numbers, not flows. When a limit is reached, it says at whose expense room may be made
//! ([`Ledger::donors`]); which of a donor's flows goes is the engine's choice, for it knows who is idle, and it can only
//! end its own. So a container whose flows all live in another engine keeps them, and the next best one gives.
//!
//! The rule is max-min fairness: a place is taken from whoever has most, and only from one who has more than the newcomer;
//! else the newcomer gives up one of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::types::Limits;

/// The accounts of one network; its clones are the same ledger.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Mutex<[Account; Kind::COUNT]>>);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A TCP connection, established or about to be.
    Flow,
    /// A TCP flow of which either side has not yet answered.
    HalfOpen,
    /// A UDP mapping.
    Mapping,
    /// A client of a published UDP port.
    Client,
    /// An echo mapping.
    Echo,
}

impl Kind {
    pub(super) const COUNT: usize = 5;
}

/// What became of a request for a place.
#[derive(Debug)]
pub(super) enum Admission {
    /// There was room.
    Granted(Place),
    /// Room has to be made first.
    Full(Full),
}

/// Whose limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The container's own.
    Own,
    /// The network's.
    All,
}

/// The right to hold one thing; given back when dropped.
pub(super) struct Place {
    ledger: Ledger,
    owner: IpAddr,
    kind: Kind,
}

/// One kind's numbers.
#[derive(Debug)]
struct Account {
    limit: usize,
    limit_each: usize,
    total: usize,
    held: BTreeMap<IpAddr, usize>,
    /// The same by number; who has most comes last.
    ranking: BTreeSet<(usize, IpAddr)>,
}

impl Ledger {
    /// Nothing is held yet.
    pub fn new(limits: Limits) -> Self {
        let account = |limit: usize, limit_each: usize| Account {
            limit: limit.max(1),
            limit_each: limit_each.max(1),
            total: 0,
            held: BTreeMap::new(),
            ranking: BTreeSet::new(),
        };
        let mappings = || account(limits.mappings, limits.mappings_per_container);
        // In the order of `Kind`.
        Self(Arc::new(Mutex::new([
            account(limits.flows, limits.flows_per_container),
            account(limits.half_open, limits.half_open_per_container),
            mappings(),
            mappings(),
            mappings(),
        ])))
    }

    /// Other limits from now on. What is held beyond them stays, and nothing comes in its place.
    pub fn limit(&self, limits: Limits) {
        let Self(fresh) = Self::new(limits);
        let fresh = fresh.lock().unwrap_or_else(PoisonError::into_inner);
        for (account, fresh) in self.lock().iter_mut().zip(fresh.iter()) {
            (account.limit, account.limit_each) = (fresh.limit, fresh.limit_each);
        }
    }

    /// A place for `owner`, if there is one.
    pub(super) fn admit(&self, owner: IpAddr, kind: Kind) -> Admission {
        let mut accounts = self.lock();
        let account = &mut accounts[kind as usize];
        if let Some(full) = account.full_for(owner) {
            return Admission::Full(full);
        }
        account.count(owner, 1);
        Admission::Granted(Place {
            ledger: self.clone(),
            owner,
            kind,
        })
    }

    /// Which limit keeps `owner` from one more, if any does.
    pub(super) fn full_for(&self, owner: IpAddr, kind: Kind) -> Option<Full> {
        self.lock()[kind as usize].full_for(owner)
    }

    /// At whose expense room may be made for `owner`, the first choice first; the last one is `owner` itself.
    pub(super) fn donors(&self, owner: IpAddr, kind: Kind, full: Full) -> Vec<IpAddr> {
        let accounts = self.lock();
        let account = &accounts[kind as usize];
        let own = account.held(owner);
        let ahead = account.ranking.iter().rev().take_while(|(held, _)| *held > own);
        let ahead = ahead.take(MAX_DONORS).map(|(_, container)| *container);
        let others = if full == Full::All { ahead.collect() } else { Vec::new() };
        others.into_iter().chain([owner]).collect()
    }

    fn lock(&self) -> MutexGuard<'_, [Account; Kind::COUNT]> {
        // Numbers are whole after every statement, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn held(&self, owner: IpAddr) -> usize {
        self.held.get(&owner).copied().unwrap_or(0)
    }

    fn full_for(&self, owner: IpAddr) -> Option<Full> {
        if self.held(owner) >= self.limit_each {
            return Some(Full::Own);
        }
        (self.total >= self.limit).then_some(Full::All)
    }

    fn count(&mut self, owner: IpAddr, change: isize) {
        let before = self.held(owner);
        let after = before.saturating_add_signed(change);
        self.total = self.total.saturating_add_signed(change);
        self.ranking.remove(&(before, owner));
        if after == 0 {
            self.held.remove(&owner);
        } else {
            self.held.insert(owner, after);
            self.ranking.insert((after, owner));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.ledger.lock()[self.kind as usize].count(self.owner, -1);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({:?} of {})", self.kind, self.owner)
    }
}

/// Containers that are asked for a place before a newcomer must give one of its own or is refused; bounds the work of one
/// SYN. More than so many that are all ahead of it and have nothing to give are a network in full use.
const MAX_DONORS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const C: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 3));

    fn ledger() -> Ledger {
        Ledger::new(Limits {
            flows: 6,
            flows_per_container: 4,
            ..Limits::default()
        })
    }

    fn take(ledger: &Ledger, owner: IpAddr) -> Place {
        match ledger.admit(owner, Kind::Flow) {
            Admission::Granted(place) => place,
            Admission::Full(full) => panic!("{full:?}"),
        }
    }

    #[test]
    fn limits_can_change_while_places_are_held() {
        let ledger = ledger();
        let held: Vec<_> = (0..4).map(|_| take(&ledger, A)).collect();
        ledger.limit(Limits {
            flows: 3,
            flows_per_container: 2,
            ..Limits::default()
        });
        assert_eq!(ledger.full_for(B, Kind::Flow), Some(Full::All));
        drop(held);
        let _held = [take(&ledger, A), take(&ledger, A)];
        assert_eq!(ledger.full_for(A, Kind::Flow), Some(Full::Own));
        assert_eq!(ledger.full_for(B, Kind::Flow), None);
    }

    #[test]
    fn each_limit_is_named_and_a_dropped_place_is_room() {
        let ledger = ledger();
        let mut of_a: Vec<Place> = (0..4).map(|_| take(&ledger, A)).collect();
        assert_eq!(ledger.full_for(A, Kind::Flow), Some(Full::Own));
        assert_eq!(
            ledger.full_for(A, Kind::HalfOpen),
            None,
            "kinds have limits of their own"
        );
        let _of_b = [take(&ledger, B), take(&ledger, B)];
        assert_eq!(ledger.full_for(B, Kind::Flow), Some(Full::All));
        of_a.pop();
        assert_eq!(ledger.full_for(B, Kind::Flow), None);
    }

    #[test]
    fn who_has_most_gives_first_and_nobody_gives_to_one_with_as_much() {
        let ledger = ledger();
        let mut places: Vec<Place> = [A, A, A, B, B, C].map(|owner| take(&ledger, owner)).into();
        let donors = |owner| ledger.donors(owner, Kind::Flow, Full::All);
        assert_eq!(donors(C), [A, B, C]);
        assert_eq!(donors(B), [A, B]);
        assert_eq!(donors(A), [A]);
        assert_eq!(
            ledger.donors(C, Kind::Flow, Full::Own),
            [C],
            "its own limit is its own affair"
        );
        places.remove(0);
        assert_eq!(donors(B), [B], "with equal shares nothing moves");
    }

    #[test]
    fn clones_count_together() {
        let ledger = ledger();
        let other = ledger.clone();
        let places = [take(&ledger, A), take(&other, A), take(&ledger, A), take(&other, A)];
        assert_eq!(other.full_for(A, Kind::Flow), Some(Full::Own));
        drop(places);
        assert!(ledger.lock()[0].held.is_empty() && ledger.lock()[0].ranking.is_empty());
    }
}
