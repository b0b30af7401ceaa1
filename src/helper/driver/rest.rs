//! Who reads the queues of the uplink: while there is little to carry the first worker reads all of them, and the others
//! rest.
//!
//! A TAP spreads new flows over its queues. With a connection for each request that wakes one sleeping thread after the
//! other, each time for a few packets: on a machine of two processors a fifth of the connections a second is lost to it,
//! and the programs that talk lose a processor. So a worker without flows hands its queue to the first one. It gets it back
//! when the flows have become more than one worker should carry, or when it has been given one by itself (the client of a
//! published port). Whatever queue a frame came by, the flow's owner answers by its own, and the TAP remembers that.

use smoltcp::time::{Duration, Instant};

/// What a worker other than the first does about its queue. It begins without.
#[derive(Debug)]
pub(super) struct Rest {
    has_queue: bool,
    /// It has asked for its queue and not yet got it.
    asked: bool,
    /// When there was last enough to do for all.
    busy: Instant,
}

/// What is to be done about the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Hand it to the first worker.
    Give,
    /// Ask the first worker for it.
    Recall,
}

impl Default for Rest {
    fn default() -> Self {
        Self {
            has_queue: false,
            asked: false,
            busy: Instant::ZERO,
        }
    }
}

impl Rest {
    /// It has its queue.
    pub(super) fn resume(&mut self, now: Instant) {
        (self.has_queue, self.asked, self.busy) = (true, false, now);
    }

    /// Its queue is the first worker's, and it has not asked for it.
    pub(super) fn rest(&mut self) {
        (self.has_queue, self.asked) = (false, false);
    }

    /// Looks at the flows of this worker, and of all.
    pub(super) fn judge(&mut self, now: Instant, mine: usize, all: usize) -> Option<Wish> {
        if is_much(all) {
            self.busy = now;
        }
        if self.has_queue {
            return (mine == 0 && now - self.busy >= CALM).then_some(Wish::Give);
        }
        let wanted = mine > 0 && !self.asked;
        self.asked |= wanted;
        wanted.then_some(Wish::Recall)
    }

    /// When to look again, if nothing happens until then.
    pub(super) fn deadline(&self, mine: usize, all: usize) -> Option<Instant> {
        (self.has_queue && mine == 0 && !is_much(all)).then(|| self.busy + CALM)
    }
}

/// Whether there are more flows than the first worker should carry alone.
pub(super) fn is_much(flows: usize) -> bool {
    flows > FEW
}

/// One connection at a time: the one that is closing, the one that opens, and one more for whoever looks on.
const FEW: usize = 2;

/// How long there must have been little to do before a worker rests.
const CALM: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn rests_when_little_was_to_do_for_a_while() {
        let mut rest = Rest::default();
        assert_eq!(rest.judge(at(0), 0, 9), None, "it is given its queue");
        rest.resume(at(0));
        assert_eq!(rest.judge(at(500), 4, 9), None);
        assert_eq!(rest.judge(at(590), 0, 1), None);
        assert_eq!(rest.deadline(0, 1), Some(at(600)));
        assert_eq!(rest.judge(at(600), 1, 2), None, "a flow keeps it");
        assert_eq!(rest.deadline(1, 2), None);
        assert_eq!(rest.judge(at(601), 0, 1), Some(Wish::Give));
    }

    #[test]
    fn asks_once_for_its_queue_when_it_has_a_flow() {
        let mut rest = Rest::default();
        assert_eq!(rest.judge(at(5000), 0, 1), None);
        assert_eq!(rest.judge(at(5000), 1, 2), Some(Wish::Recall));
        assert_eq!(rest.judge(at(5001), 1, 2), None);
        rest.resume(at(5002));
        assert_eq!(rest.judge(at(5003), 0, 1), None, "not at once back again");
        rest.rest();
        assert_eq!(rest.judge(at(9000), 1, 1), Some(Wish::Recall));
    }
}
