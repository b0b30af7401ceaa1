//! Every deadline of the engine: one enum, one table, one minimum.
//!
//! Deadlines move with almost every packet, nearly always to a later moment. So they are re-armed lazily: whoever owns
//! one keeps in a slot when it is to be called, [`Timers::arm`] touches the table only for an earlier call, and an owner
//! that is called too early looks at its own clock and arms itself again. Owners that vanish [`disarm`](Timers::disarm).

use std::collections::BTreeSet;

use smoltcp::time::Instant;

use super::types::{EchoId, FlowId, MappingId};

/// Whose deadline it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deadline {
    /// A flow's retransmission, probe or end of patience.
    Flow(FlowId),
    /// The next look at a flow's rings.
    Look(FlowId),
    /// The oldest entry in TIME-WAIT.
    TimeWait,
    /// A UDP mapping's idle time.
    Mapping(MappingId),
    /// The idle time of a client of a published UDP port.
    Client(u32),
    /// An echo mapping's idle time.
    Echo(EchoId),
    /// The next router advertisement that nobody asked for.
    Advertisement,
    /// The oldest datagram in assembly.
    Fragments,
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeSet<(Instant, Deadline)>,
}

impl Timers {
    /// Sees to it that `deadline` is called at `at` or before; `armed` is its owner's slot.
    pub(super) fn arm(&mut self, armed: &mut Option<Instant>, deadline: Deadline, at: Instant) {
        if armed.is_some_and(|earlier| earlier <= at) {
            return;
        }
        self.disarm(armed, deadline);
        self.queue.insert((at, deadline));
        *armed = Some(at);
    }

    /// Forgets `deadline`.
    pub(super) fn disarm(&mut self, armed: &mut Option<Instant>, deadline: Deadline) {
        if let Some(at) = armed.take() {
            self.queue.remove(&(at, deadline));
        }
    }

    /// The next deadline that is due; its owner must clear its slot.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Deadline> {
        let (at, _) = self.queue.first()?;
        if *at > now {
            return None;
        }
        self.queue.pop_first().map(|(_, deadline)| deadline)
    }

    /// When the next call is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }
}
