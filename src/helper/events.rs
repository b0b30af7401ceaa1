//! What has happened in a network, told to whoever listens: `gangplank events`.
//!
//! [`Events::publish`] stamps an event and puts it into a ring; it never waits, whoever reads. The last [`KEPT`] are kept for
//! those who come later and ask. Each reader follows the ring at its own pace: one that falls a whole ring behind is told
//! how many it has lost, and goes on from there. What a connection takes before its reader does is bounded by hyper's
//! buffer and the socket's.
//!
//! Called wherever something of note happens; read by [`super::routes`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio::time::Instant;

use crate::api::events::{Event, EventQuery};
use crate::sys::clock;

/// The events of one network.
#[derive(Debug)]
pub(super) struct Events {
    network: String,
    told: Mutex<Told>,
}

/// What has been told, and to whom the next is.
#[derive(Debug)]
struct Told {
    last: VecDeque<Arc<Event>>,
    /// `None` once the network has ended.
    readers: Option<Sender<Arc<Event>>>,
}

/// A reader of events.
#[derive(Debug)]
pub(super) struct Subscription {
    network: String,
    /// What it asked for of the past.
    past: VecDeque<Arc<Event>>,
    live: Option<Receiver<Arc<Event>>>,
    until: Option<Until>,
}

/// The end of what a reader wants, on both clocks.
#[derive(Debug, Clone, Copy)]
struct Until {
    nanos: u64,
    deadline: Instant,
}

impl Events {
    /// No events yet, and no readers.
    pub(super) fn new(network: &str) -> Self {
        Self {
            network: network.to_owned(),
            told: Mutex::new(Told {
                last: VecDeque::new(),
                readers: Some(channel(KEPT).0),
            }),
        }
    }

    /// The network's name.
    pub(super) fn network(&self) -> &str {
        &self.network
    }

    /// Tells of an event, which happens now.
    pub(super) fn publish(&self, event: Event) {
        let mut told = self.lock();
        let Some(readers) = &told.readers else { return };
        // A clock that is set back must not put an event before its cause.
        let before = told.last.back().map_or(0, |last| last.time_nano);
        let event = Arc::new(event.at(clock::wall_nanos().max(before)));
        // An error means that nobody listens.
        let _ = readers.send(Arc::clone(&event));
        if told.last.len() == KEPT {
            told.last.pop_front();
        }
        told.last.push_back(event);
    }

    /// Reads events from now on, and before them those of the past that were asked for: none twice, none left out.
    pub(super) fn subscribe(&self, query: EventQuery) -> Subscription {
        let told = self.lock();
        let past = query.since.into_iter().flat_map(|since| {
            let wanted = move |event: &&Arc<Event>| event.time_nano >= since;
            told.last.iter().filter(wanted).cloned()
        });
        Subscription {
            network: self.network.clone(),
            past: past.collect(),
            live: told.readers.as_ref().map(Sender::subscribe),
            until: query.until.map(Until::at),
        }
    }

    /// Lets every reader come to its end: there will be no more.
    pub(super) fn close(&self) {
        self.lock().readers = None;
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        // Nothing panics while it is held; if something did, what has been told is still sound.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// The next event; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Arc<Event>> {
        let event = match self.past.pop_front() {
            Some(event) => event,
            None => self.live().await?,
        };
        let wanted = self.until.is_none_or(|until| event.time_nano <= until.nanos);
        wanted.then_some(event)
    }

    async fn live(&mut self) -> Option<Arc<Event>> {
        let live = self.live.as_mut()?;
        let received = match self.until {
            Some(until) => tokio::time::timeout_at(until.deadline, live.recv()).await.ok()?,
            None => live.recv().await,
        };
        match received {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(count)) => {
                let gap = Event::lost(&self.network, count);
                Some(Arc::new(gap.at(clock::wall_nanos())))
            }
            Err(RecvError::Closed) => None,
        }
    }
}

impl Until {
    fn at(nanos: u64) -> Self {
        let left = nanos.saturating_sub(clock::wall_nanos());
        let far = Duration::from_secs(A_YEAR);
        Self {
            nanos,
            deadline: Instant::now() + Duration::from_nanos(left).min(far),
        }
    }
}

/// As many as `docker events` can look back; two hundred bytes each, most of them.
const KEPT: usize = 256;

/// Longer than anybody waits; tokio's clock has an end.
const A_YEAR: u64 = 365 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(events: &Events, count: u64) {
        for number in 0..count {
            events.publish(Event::network("test", "gp0").with("number", number));
        }
    }

    fn number(event: &Event) -> String {
        event.actor.attributes.get("number").cloned().unwrap_or_default()
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(future)
    }

    async fn all(mut subscription: Subscription) -> Vec<Arc<Event>> {
        let mut events = Vec::new();
        while let Some(event) = subscription.next().await {
            events.push(event);
        }
        events
    }

    #[test]
    fn a_reader_hears_what_comes_and_not_what_was() {
        let events = Events::new("gp0");
        told(&events, 1);
        let subscription = events.subscribe(EventQuery::default());
        events.publish(Event::network("up", "gp0"));
        events.close();
        let heard = run(all(subscription));
        assert_eq!(
            heard.iter().map(|event| event.action.as_str()).collect::<Vec<_>>(),
            ["up"]
        );
        assert!(heard[0].time_nano > 1_700_000_000_000_000_000);
    }

    #[test]
    fn the_past_comes_first_and_nothing_twice() {
        let events = Events::new("gp0");
        told(&events, 3);
        let subscription = events.subscribe(EventQuery {
            since: Some(0),
            until: None,
        });
        told(&events, 2);
        events.close();
        let heard: Vec<_> = run(all(subscription)).iter().map(|event| number(event)).collect();
        assert_eq!(heard, ["0", "1", "2", "0", "1"]);
    }

    #[test]
    fn only_the_last_are_kept_and_only_those_since() {
        let events = Events::new("gp0");
        told(&events, 300);
        let from = |since| {
            let until = Some(clock::wall_nanos());
            run(all(events.subscribe(EventQuery {
                since: Some(since),
                until,
            })))
        };
        let kept = from(0);
        assert_eq!((kept.len(), number(&kept[0])), (KEPT, "44".to_owned()));
        assert!(kept.is_sorted_by_key(|event| event.time_nano));
        assert!(from(u64::MAX).is_empty());
    }

    #[test]
    fn a_reader_that_is_too_slow_is_told_and_goes_on() {
        let events = Events::new("gp0");
        let subscription = events.subscribe(EventQuery::default());
        told(&events, 300);
        events.close();
        let heard = run(all(subscription));
        assert!(heard[0].is_gap());
        assert_eq!(heard[0].actor.attributes["count"], "44");
        assert_eq!((heard.len(), number(&heard[1])), (KEPT + 1, "44".to_owned()));
    }

    #[test]
    fn until_ends_it_also_while_nothing_happens() {
        let events = Events::new("gp0");
        let soon = clock::wall_nanos() + 20_000_000;
        let subscription = events.subscribe(EventQuery {
            since: None,
            until: Some(soon),
        });
        told(&events, 1);
        assert_eq!(run(all(subscription)).len(), 1);
        let never = events.subscribe(EventQuery {
            since: None,
            until: Some(u64::MAX),
        });
        events.close();
        assert!(run(all(never)).is_empty());
    }
}
