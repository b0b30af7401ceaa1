//! The queues of the uplink that a worker reads: its own, those of siblings that rest, or none.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use smoltcp::time::{Duration, Instant};

use super::rest::{Rest, Wish, is_much};
use super::siblings::{Mail, Siblings};
use super::token::Readiness;
use crate::stack::ShardId;
use crate::uplink::Uplink;

/// A queue, and whose it is.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) owner: ShardId,
    pub(super) uplink: Arc<dyn Uplink>,
    pub(super) readable: bool,
}

/// Those that this worker reads.
#[derive(Debug, Default)]
pub(super) struct Queues {
    read: Vec<Queue>,
    rest: Rest,
    taken: u64,
    /// Who has asked for its queue and not yet got it.
    owed: BTreeSet<ShardId>,
    /// When to try again to give it back.
    again: Option<Instant>,
}

impl Queues {
    /// Each of them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.read.iter_mut()
    }

    /// How many it has begun to read.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether frames may be waiting.
    pub(super) fn readable(&self) -> bool {
        self.read.iter().any(|queue| queue.readable)
    }

    /// Frames are waiting in the queue of that number.
    pub(super) fn note(&mut self, number: u32) {
        for queue in self.iter_mut().filter(|queue| queue.owner.0 == number as usize) {
            queue.readable = true;
        }
    }

    /// Reads a queue from now on.
    pub(super) fn take(
        &mut self,
        now: Instant,
        registry: &Registry,
        siblings: &Siblings,
        owner: ShardId,
        uplink: Arc<dyn Uplink>,
    ) -> io::Result<()> {
        let number = u32::try_from(owner.0).map_err(io::Error::other)?;
        registry.register(
            &mut SourceFd(&uplink.as_fd().as_raw_fd()),
            Readiness::Uplink(number).into(),
            Interest::READABLE,
        )?;
        if owner == siblings.mine() {
            self.rest.resume(now);
        }
        self.taken += 1;
        self.read.push(Queue {
            owner,
            uplink,
            readable: true,
        });
        Ok(())
    }

    /// Gives a sibling its queue back.
    pub(super) fn give_back(&mut self, registry: &Registry, siblings: &Siblings, owner: ShardId) {
        self.owed.insert(owner);
        self.pay(registry, siblings);
    }

    /// Gives back what is owed; what meets a full inbox stays owed.
    fn pay(&mut self, registry: &Registry, siblings: &Siblings) {
        let mut owed = std::mem::take(&mut self.owed);
        self.hand(registry, siblings, |queue| {
            owed.contains(&queue.owner).then_some(queue.owner)
        });
        owed.retain(|owner| self.read.iter().any(|queue| queue.owner == *owner));
        self.owed = owed;
    }

    /// Hands queues over where the flows of this worker, `mine`, and of all say so.
    pub(super) fn settle(&mut self, now: Instant, registry: &Registry, siblings: &Siblings, mine: usize) {
        let me = siblings.mine();
        if !self.owed.is_empty() {
            self.pay(registry, siblings);
            self.again = Some(now + AGAIN);
        }
        if me == FIRST {
            if self.read.len() > 1 && is_much(siblings.flows()) {
                self.hand(registry, siblings, |queue| (queue.owner != me).then_some(queue.owner));
            }
            return;
        }
        match self.rest.judge(now, mine, siblings.flows()) {
            Some(Wish::Give) => {
                self.hand(registry, siblings, |_| Some(FIRST));
                if self.read.is_empty() {
                    self.rest.rest();
                }
            }
            // An inbox that is full has room again when its owner next looks, and so will we.
            Some(Wish::Recall) if siblings.hand(FIRST, Mail::Recall(me)).is_err() => self.rest.rest(),
            Some(Wish::Recall) | None => {}
        }
    }

    /// When [`Queues::settle`] is due.
    pub(super) fn deadline(&self, siblings: &Siblings, mine: usize) -> Option<Instant> {
        let waits = siblings.mine() != FIRST;
        let rest = waits.then(|| self.rest.deadline(mine, siblings.flows())).flatten();
        let again = self.again.filter(|_| !self.owed.is_empty());
        rest.into_iter().chain(again).min()
    }

    /// Hands over those for which `to` names somebody; one whose inbox is full gets it another time.
    fn hand(&mut self, registry: &Registry, siblings: &Siblings, to: impl Fn(&Queue) -> Option<ShardId>) {
        self.read.retain(|queue| {
            let Some(shard) = to(queue) else { return true };
            let mail = Mail::Queue {
                owner: queue.owner,
                uplink: Arc::clone(&queue.uplink),
            };
            // Ours first: in two places, each frame would wake both.
            let fd = queue.uplink.as_fd().as_raw_fd();
            let handed = siblings.hand(shard, mail).is_ok();
            if handed && let Err(error) = registry.deregister(&mut SourceFd(&fd)) {
                tracing::error!(%error, "a queue of the uplink that is no longer read still wakes");
            }
            !handed
        });
    }
}

/// Time for whoever has a full inbox to make room in it.
const AGAIN: Duration = Duration::from_millis(1);

/// It reads everybody's queue while the others rest.
pub(super) const FIRST: ShardId = ShardId(0);

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

    use mio::{Poll, Waker};

    use super::*;
    use crate::stack::Offload;
    use crate::uplink::{FrameError, UplinkKind};

    #[derive(Debug)]
    struct Silent(OwnedFd);

    impl AsFd for Silent {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }

    impl Uplink for Silent {
        fn kind(&self) -> UplinkKind {
            UplinkKind::Tap
        }

        fn recv(&self, _: &mut [u8]) -> Result<(Offload, usize), FrameError> {
            Err(FrameError::NotReady)
        }

        fn send_parts(&self, _: Offload, _: [&[u8]; 2]) -> Result<(), FrameError> {
            Ok(())
        }
    }

    /// It is likely to be: who reads the queue has filled it with what came by it.
    #[test]
    fn a_queue_is_given_back_although_the_inbox_was_full() {
        let polls = [Poll::new().unwrap(), Poll::new().unwrap()];
        let wakers = polls
            .each_ref()
            .map(|poll| Arc::new(Waker::new(poll.registry(), Readiness::Inbox.into()).unwrap()));
        let [(first, _orders), (_second, inbox)] = <[_; 2]>::try_from(Siblings::meet(&wakers)).unwrap();
        let (fd, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let (registry, now, owner) = (polls[0].registry(), Instant::from_secs(1000), ShardId(1));
        let mut queues = Queues::default();
        queues
            .take(now, registry, &first, owner, Arc::new(Silent(fd.into())))
            .unwrap();
        let frame = || Mail::Frame {
            offload: Offload::default(),
            frame: Box::default(),
        };
        while first.hand(owner, frame()).is_ok() {}
        queues.give_back(registry, &first, owner);
        queues.settle(now, registry, &first, 0);
        let due = queues.deadline(&first, 0).expect("it is tried again");
        assert!(due > now && due < now + Duration::from_secs(1));
        assert!(inbox.try_iter().all(|mail| matches!(mail, Mail::Frame { .. })));
        queues.settle(due, registry, &first, 0);
        assert!(inbox.try_iter().any(|mail| matches!(mail, Mail::Queue { .. })));
        assert_eq!(queues.deadline(&first, 0), None);
    }
}
