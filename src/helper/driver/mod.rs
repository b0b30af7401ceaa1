//! The driver of the data plane: what waits, feeds the stack, drains it and arms the next wait.
//!
//! It owns every descriptor over which packets pass (uplink, host sockets, published ports) and takes no protocol
//! decision. The supervisor talks to it by [`Command`] and hears [`Event`]s; nothing here waits for either.
//!
//! It is one [`worker`](worker::Worker) or several, each a thread with a queue of the uplink, an engine and flows of its
//! own. A flow stays with the worker that answered its first packet, and the kernel puts the next ones into that one's queue;
//! what comes to another is handed over ([`siblings`]). While there is little to carry ([`load`]) the first worker reads all
//! queues and the others rest ([`rest`]). What begins is shared out: connections of containers and clients of published
//! ports go to the worker with the fewest flows, published ports to the workers in turn.

mod apart;
mod asked;
mod buffer;
mod command;
mod datagrams;
mod flows;
mod linger;
mod link;
mod load;
mod queues;
mod ready;
mod rest;
mod siblings;
mod token;
mod train;
mod worker;

use std::io;
use std::sync::Arc;

use mio::{Poll, Waker};

use crate::host::outbound::Outbound;
use crate::stack::{Common, Config, Directory, Ledger, Links, ShardId};
use crate::sys::clock;
use crate::uplink::Uplink;

pub use apart::{Apart, ApartClient};
pub use command::{Command, Destination, DriverHandle, Event, Events, Opening};

use queues::FIRST;
use siblings::Siblings;
use token::Readiness;
use worker::Worker;

/// Starts a worker's thread for each queue of the uplink; they share the `ledger`, host sockets go out from `outbound`, and
/// `seed` draws secrets.
pub fn spawn(
    config: &Config,
    ledger: &Ledger,
    queues: Vec<Box<dyn Uplink>>,
    outbound: Outbound,
    seed: impl Fn() -> io::Result<[u64; 4]>,
    events: &Events,
) -> io::Result<DriverHandle> {
    let directories = Directory::shared(queues.len(), seed()?);
    let common = Common {
        ledger: ledger.clone(),
        links: Links::new(seed()?),
    };
    let polls = queues.iter().map(|_| Poll::new()).collect::<io::Result<Vec<_>>>()?;
    let wakers = polls
        .iter()
        .map(|poll| Waker::new(poll.registry(), Readiness::Inbox.into()).map(Arc::new))
        .collect::<io::Result<Vec<_>>>()?;
    let mut handle = DriverHandle::default();
    let inboxes = Siblings::meet(&wakers);
    let queues: Vec<Arc<dyn Uplink>> = queues.into_iter().map(Arc::from).collect();
    let shards = polls.into_iter().zip(&queues).zip(directories).zip(inboxes).zip(wakers);
    for ((((poll, uplink), directory), (siblings, mail)), waker) in shards {
        let engine = worker::engine(directory, &common, config.clone(), seed()?);
        let (commands, orders) = std::sync::mpsc::channel();
        let first = siblings.mine() == FIRST;
        let mut worker = Worker::new(poll, Arc::clone(uplink), engine, siblings, orders, mail, events.clone())?;
        worker.go_out_from(outbound);
        if first {
            for (shard, uplink) in queues.iter().enumerate() {
                worker.take_queue(clock::now(), ShardId(shard), Arc::clone(uplink));
            }
        }
        let thread = std::thread::Builder::new()
            .name("stack".to_owned())
            .spawn(move || worker.run())?;
        handle.add(commands, waker, thread);
    }
    Ok(handle)
}
