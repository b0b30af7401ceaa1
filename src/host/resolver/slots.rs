//! How much may go on at the same time: questions of one container, questions in all, connections.
//!
//! Nobody waits for a slot. A question without one is refused at once; a connection without one takes that of the
//! oldest, whose client has had its time: one that is silent in all of them cannot keep others from asking.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Asker {
    /// A container, over UDP.
    Container(IpAddr),
    /// Whoever uses TCP, all together.
    Streams,
}

/// Questions in flight.
#[derive(Debug, Default)]
pub(super) struct Questions {
    taken: Mutex<BTreeMap<Asker, usize>>,
}

/// One question in flight, as long as it is held.
#[derive(Debug)]
pub(super) struct Slot<'q> {
    questions: &'q Questions,
    asker: Asker,
}

impl Questions {
    /// A slot, if there is one for this asker.
    pub(super) fn take(&self, asker: Asker) -> Option<Slot<'_>> {
        let mut taken = lock(&self.taken);
        let all: usize = taken.values().sum();
        let own = taken.get(&asker).copied().unwrap_or_default();
        if all >= IN_FLIGHT || own >= asker.limit() {
            return None;
        }
        taken.insert(asker, own + 1);
        Some(Slot { questions: self, asker })
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut taken = lock(&self.questions.taken);
        if let Some(count) = taken.get_mut(&self.asker) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.asker);
            }
        }
    }
}

impl Asker {
    fn limit(self) -> usize {
        match self {
            Self::Container(_) => IN_FLIGHT / 4,
            Self::Streams => IN_FLIGHT / 2,
        }
    }
}

/// Connections that are being served, the oldest first; what is sent to one, or its loss, ends it.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Arc<Mutex<VecDeque<oneshot::Sender<()>>>>,
}

impl Streams {
    /// Room for one more. The receiver hears when it has to go.
    pub(super) fn open(&self) -> oneshot::Receiver<()> {
        let (end, ended) = oneshot::channel();
        let mut open = lock(&self.open);
        open.retain(|end| !end.is_closed());
        if open.len() >= STREAMS {
            // Dropping it is the message.
            open.pop_front();
        }
        open.push_back(end);
        ended
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it is held; counts are sound even if something did.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Questions that wait for an upstream's answer at the same time; one container may have a quarter of them, TCP half.
pub(super) const IN_FLIGHT: usize = 256;

/// Connections at the same time.
pub(super) const STREAMS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_container_cannot_take_all() {
        let questions = Questions::default();
        let container = |last| Asker::Container(IpAddr::from([10, 0, 0, last]));
        let mut held: Vec<_> = std::iter::from_fn(|| questions.take(container(2))).collect();
        assert_eq!(held.len(), IN_FLIGHT / 4);
        held.extend(std::iter::from_fn(|| questions.take(Asker::Streams)));
        assert_eq!(held.len(), IN_FLIGHT / 4 * 3, "nor can connections");
        held.extend(std::iter::from_fn(|| questions.take(container(3))));
        assert_eq!(held.len(), IN_FLIGHT);
        assert!(questions.take(container(4)).is_none());
        held.pop();
        assert!(questions.take(container(4)).is_some());
        held.clear();
        assert!(lock(&questions.taken).is_empty(), "what is over leaves nothing behind");
    }

    #[test]
    fn the_oldest_connection_goes_first() {
        let streams = Streams::default();
        let mut open: VecDeque<_> = (0..STREAMS).map(|_| streams.open()).collect();
        // Ended by itself: its place is free.
        drop(open.remove(1));
        open.push_back(streams.open());
        assert!(
            open.iter_mut()
                .all(|ended| ended.try_recv() == Err(oneshot::error::TryRecvError::Empty))
        );
        let _newest = streams.open();
        let is_over = |ended: &mut oneshot::Receiver<()>| ended.try_recv() == Err(oneshot::error::TryRecvError::Closed);
        assert!(is_over(&mut open[0]) && !is_over(&mut open[1]));
    }
}
