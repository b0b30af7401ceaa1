//! Room for flows and mappings: whom the limits let in, and who goes for it.
//!
//! A TCP flow is let in three times. Its SYN (or the call to the container) takes a place among the half-open flows; it
//! can cost another handshake its place and never a connection, so a flood of SYNs ends no connection. When the host has
//! answered, it gets a place among the flows if one is free. If none is, but an idle one could make room, that happens only
//! when the handshake is done. If nobody could, the container is refused before it was answered.
//!
//! Between the second and the third step others may have taken what was idle; then the connection is reset. It is the one
//! case in which a connection is accepted and closed, and there are never more of them than half-open flows.

use std::net::IpAddr;

use smoltcp::time::Instant;

use super::Engine;
use crate::stack::associations::{Associations, Room};
use crate::stack::ledger::{Admission, Kind, Place};
use crate::stack::types::FlowId;

impl Engine {
    /// A place among the half-open flows, at the expense of another handshake if need be.
    pub(super) fn half_open_place(&mut self, now: Instant, container: IpAddr) -> Option<Place> {
        let place = self.make_room(now, container, Kind::HalfOpen);
        self.count_refusal(Kind::HalfOpen, place)
    }

    /// Whether a connection of `container` could be let in now, counted if not; and its place, if one is free.
    pub(super) fn flow_place(&mut self, now: Instant, container: IpAddr) -> Option<Option<Place>> {
        let place = match self.ledger.admit(container, Kind::Flow) {
            Admission::Granted(place) => Some(Some(place)),
            Admission::Full(_) => self.may_be_let_in(now, container).then_some(None),
        };
        self.count_refusal(Kind::Flow, place)
    }

    /// The same without taking the place.
    pub(super) fn has_room(&mut self, now: Instant, container: IpAddr) -> bool {
        let room = self.may_be_let_in(now, container).then_some(());
        self.count_refusal(Kind::Flow, room).is_some()
    }

    /// A handshake is done: the flow is a connection now, at the expense of an idle one if need be. False if there is no
    /// room any more.
    pub(super) fn establish(&mut self, now: Instant, id: FlowId) -> bool {
        if !self.flows.has_place(id) {
            let Some(container) = self.flows.get_mut(id).map(|flow| flow.tuple.endpoint.ip()) else {
                return false;
            };
            let place = self.make_room(now, container, Kind::Flow);
            let Some(place) = self.count_refusal(Kind::Flow, place) else {
                return false;
            };
            self.flows.reserve(id, place);
        }
        self.flows.establish(now, id);
        true
    }

    /// A place in one of the tables of associations; `table` and `close` are that table's.
    pub(super) fn association_place<K: std::hash::Hash + Eq + Copy, V>(
        &mut self,
        container: IpAddr,
        kind: Kind,
        table: impl Fn(&mut Self) -> &mut Associations<K, V>,
        close: impl Fn(&mut Self, u32),
    ) -> Option<Place> {
        for _ in 0..TRIES {
            match table(self).room_for(container) {
                Room::Granted(place) => return Some(place),
                Room::Evict(victim) => {
                    self.counters.evict(kind);
                    close(self, victim);
                }
                Room::None => break,
            }
        }
        self.count_refusal(kind, None)
    }

    fn may_be_let_in(&self, now: Instant, container: IpAddr) -> bool {
        self.ledger.full_for(container, Kind::Flow).is_none() || self.victim(now, container, Kind::Flow).is_some()
    }

    fn make_room(&mut self, now: Instant, container: IpAddr, kind: Kind) -> Option<Place> {
        for _ in 0..TRIES {
            if let Admission::Granted(place) = self.ledger.admit(container, kind) {
                return Some(place);
            }
            let victim = self.victim(now, container, kind)?;
            self.counters.evict(kind);
            self.abort(victim);
        }
        None
    }

    /// Which flow has to go for another of `container`.
    fn victim(&self, now: Instant, container: IpAddr, kind: Kind) -> Option<FlowId> {
        let full = self.ledger.full_for(container, kind)?;
        let donors = self.ledger.donors(container, kind, full);
        donors
            .into_iter()
            .find_map(|donor| self.flows.spare(now, donor, kind, donor == container))
    }

    fn count_refusal<T>(&mut self, kind: Kind, granted: Option<T>) -> Option<T> {
        if granted.is_none() {
            self.counters.refuse(kind);
        }
        granted
    }
}

/// Another engine may be faster to take the place that was made.
const TRIES: usize = 3;
