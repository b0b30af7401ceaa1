//! What the resolver counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number for each fate of a message.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Answered from the network's own names.
    pub(super) local: Counter,
    /// Sent to the host's resolvers.
    pub(super) forwarded: Counter,
    /// Of those, answered by nobody.
    pub(super) unanswered: Counter,
    /// Refused, because too many were on their way.
    pub(super) refused: Counter,
    /// Dropped, because they were no question.
    pub(super) malformed: Counter,
    /// Answers of upstreams that were passed over: another id or question, or not whole.
    pub(super) strange: Counter,
}

impl Counters {
    /// By name.
    pub(super) fn pairs(&self) -> [(&'static str, u64); 6] {
        [
            ("dns_local", self.local.value()),
            ("dns_forwarded", self.forwarded.value()),
            ("dns_unanswered", self.unanswered.value()),
            ("dns_refused", self.refused.value()),
            ("dns_malformed", self.malformed.value()),
            ("dns_strange_answers", self.strange.value()),
        ]
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(super) fn add(&self) {
        // Nothing is ordered by it.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
