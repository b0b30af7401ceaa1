//! How the workers of one data plane reach each other: an inbox each, bounded, and the number of each one's flows.
//!
//! When one ends, whatever the reason, all do: a network that has lost a share of its flows would be a riddle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use mio::Waker;

use super::flows::Client;
use super::rest::is_much;
use crate::stack::{Offload, ShardId};
use crate::uplink::Uplink;

/// What one worker hands to another.
#[derive(Debug)]
pub(super) enum Mail {
    /// A frame that belongs to something of its.
    Frame {
        /// As it came.
        offload: Offload,
        /// A copy.
        frame: Box<[u8]>,
    },
    /// A queue of the uplink, to be read from now on.
    Queue {
        /// Whose it is.
        owner: ShardId,
        uplink: Arc<dyn Uplink>,
    },
    /// A sibling wants its queue back.
    Recall(ShardId),
    /// A client of a published port, watched by nobody.
    Client(Client),
}

/// A worker's way to all of them.
#[derive(Debug)]
pub(super) struct Siblings {
    mine: usize,
    all: Arc<[Sibling]>,
    ended: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Sibling {
    inbox: SyncSender<Mail>,
    waker: Arc<Waker>,
    flows: AtomicUsize,
}

impl Siblings {
    /// A way to all, and the inbox, for each of those who are woken so.
    pub(super) fn meet(wakers: &[Arc<Waker>]) -> Vec<(Self, Receiver<Mail>)> {
        let (siblings, inboxes): (Vec<_>, Vec<_>) = wakers
            .iter()
            .map(|waker| {
                let (inbox, mail) = sync_channel(INBOX);
                let sibling = Sibling {
                    inbox,
                    waker: Arc::clone(waker),
                    flows: AtomicUsize::new(0),
                };
                (sibling, mail)
            })
            .unzip();
        let (all, ended): (Arc<[Sibling]>, _) = (siblings.into(), Arc::new(AtomicBool::new(false)));
        let way = |mine| Self {
            mine,
            all: Arc::clone(&all),
            ended: Arc::clone(&ended),
        };
        inboxes
            .into_iter()
            .enumerate()
            .map(|(mine, mail)| (way(mine), mail))
            .collect()
    }

    /// Hands something over; gives it back when the inbox is full.
    pub(super) fn hand(&self, ShardId(shard): ShardId, mail: Mail) -> Result<(), Mail> {
        let Some(sibling) = self.all.get(shard) else {
            return Err(mail);
        };
        // Until it says for itself.
        sibling
            .flows
            .fetch_add(usize::from(matches!(mail, Mail::Client(_))), Ordering::Relaxed);
        sibling.inbox.try_send(mail).map_err(|error| match error {
            std::sync::mpsc::TrySendError::Full(mail) | std::sync::mpsc::TrySendError::Disconnected(mail) => mail,
        })?;
        wake(&sibling.waker);
        Ok(())
    }

    /// The one with the fewest flows, if that is not this one and there is enough to do for several.
    pub(super) fn idler(&self) -> Option<ShardId> {
        if !is_much(self.flows()) {
            return None;
        }
        let flows = |shard: usize| {
            self.all
                .get(shard)
                .map_or(usize::MAX, |it| it.flows.load(Ordering::Relaxed))
        };
        let idlest = (0..self.all.len()).min_by_key(|shard| flows(*shard))?;
        (flows(idlest) < flows(self.mine)).then_some(ShardId(idlest))
    }

    /// Which of them this one is.
    pub(super) fn mine(&self) -> ShardId {
        ShardId(self.mine)
    }

    /// Flows of all of them.
    pub(super) fn flows(&self) -> usize {
        self.all.iter().map(|it| it.flows.load(Ordering::Relaxed)).sum()
    }

    /// Says how many flows this one has in the midst of it.
    pub(super) fn say(&self, flows: usize) {
        if let Some(mine) = self.all.get(self.mine) {
            mine.flows.store(flows, Ordering::Relaxed);
        }
    }

    /// One has ended.
    pub(super) fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

impl Drop for Siblings {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.all.iter().for_each(|sibling| wake(&sibling.waker));
    }
}

pub(super) fn wake(waker: &Waker) {
    if let Err(error) = waker.wake() {
        tracing::error!(%error, "the data plane cannot be woken");
    }
}

/// What may wait for a worker. Frames beyond are lost, as in any queue of a network card; clients stay where they are.
const INBOX: usize = 256;
