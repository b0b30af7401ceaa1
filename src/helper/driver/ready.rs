//! Sources of readiness with work left, each once, served in turn.
//!
//! The kernel tells of each edge once, so whoever leaves work behind must stand here until it is done. A listener for
//! whose clients there is no descriptor comes back after a pause: its edge has passed, and to try at once is to spin.

use std::collections::{HashSet, VecDeque};

use smoltcp::time::{Duration, Instant};

use super::token::Readiness;

/// What is to be served.
#[derive(Debug, Default)]
pub(super) struct Ready {
    order: VecDeque<Readiness>,
    /// The same, to be found.
    queued: HashSet<Readiness>,
    starved: Vec<Readiness>,
    /// When the starved are tried again.
    retry: Option<Instant>,
}

impl Ready {
    /// Puts a source at the end, unless it stands in the queue already.
    pub(super) fn push(&mut self, source: Readiness) {
        if self.queued.insert(source) {
            self.order.push_back(source);
        }
    }

    /// Takes the first.
    pub(super) fn pop(&mut self) -> Option<Readiness> {
        let source = self.order.pop_front()?;
        self.queued.remove(&source);
        Some(source)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Lets a source wait until descriptors or memory may have come back.
    pub(super) fn starve(&mut self, now: Instant, source: Readiness) {
        if !self.starved.contains(&source) {
            self.starved.push(source);
        }
        self.retry.get_or_insert(now + PAUSE);
    }

    /// Puts the starved back when their pause is over.
    pub(super) fn wake(&mut self, now: Instant) {
        if self.retry.is_some_and(|at| at <= now) {
            self.retry = None;
            for source in std::mem::take(&mut self.starved) {
                self.push(source);
            }
        }
    }

    /// When [`Ready::wake`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.retry
    }
}

/// A flow that ends gives a descriptor back; ten tries a second cost nothing and no client notices.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::{FlowId, PublishId};

    #[test]
    fn each_source_stands_once() {
        let mut ready = Ready::default();
        let (one, two) = (Readiness::Flow(FlowId(1)), Readiness::Flow(FlowId(2)));
        for source in [one, two, one, one] {
            ready.push(source);
        }
        assert_eq!([ready.pop(), ready.pop(), ready.pop()], [Some(one), Some(two), None]);
        ready.push(one);
        assert_eq!(ready.pop(), Some(one), "it may come again once it was served");
    }

    #[test]
    fn the_starved_come_back_after_a_pause() {
        let mut ready = Ready::default();
        let port = Readiness::Published(PublishId(7));
        let start = Instant::from_millis(5_000);
        ready.starve(start, port);
        ready.starve(start + Duration::from_millis(50), port);
        assert_eq!(
            ready.deadline(),
            Some(start + PAUSE),
            "a second failure does not put it off"
        );
        ready.wake(start);
        assert_eq!(ready.pop(), None);
        ready.wake(start + PAUSE);
        assert_eq!([ready.pop(), ready.pop()], [Some(port), None]);
        assert_eq!(ready.deadline(), None);
    }
}
