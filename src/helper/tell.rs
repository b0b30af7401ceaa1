//! The helper's own events: what [`Events`](super::events::Events) is told of containers, ports and refusals.

use std::net::SocketAddr;

use super::container::{Container, listed};
use super::failure::Failure;
use super::supervisor::Supervisor;
use crate::api::events::Event;
use crate::api::types::PortMapping;

impl Supervisor {
    /// Something has happened; whoever listens to events hears of it.
    pub(super) fn tell(&self, event: Event) {
        self.events.publish(event);
    }

    /// A container has its interface, and a command of ours runs.
    pub(super) fn tell_begun(&self, container: &Container, port: &str) {
        let mut event = of("attach", container).with("network", &self.name).with("port", port);
        if let Some(lease) = &container.lease {
            event = event.with("ip", lease.address);
        }
        self.tell(event);
        if container.is_ours() {
            self.tell(of("start", container));
        }
        self.tell_linked("link", container);
        let ports: Vec<_> = listed(&container.published).collect();
        self.tell_ports("publish", container, &ports);
    }

    /// Ports of a container were published, or are no longer.
    pub(super) fn tell_ports(&self, action: &str, container: &Container, ports: &[PortMapping]) {
        if !ports.is_empty() {
            self.tell(of(action, container).with("ports", words(ports)));
        }
    }

    /// A container's links have begun or ended, with itself.
    pub(super) fn tell_linked(&self, action: &str, container: &Container) {
        for link in &container.links {
            let event = of(action, container).with("target", &link.child);
            self.tell(event.with("alias", &link.alias));
        }
    }

    /// A request came to nothing because somebody else has what it wanted; other refusals are nobody's business.
    pub(super) fn tell_refused<Done>(&self, refused: Event, outcome: &Result<Done, Failure>) {
        if let Err(failure) = outcome
            && failure.is_conflict()
        {
            self.tell(refused.with("reason", failure));
        }
    }
}

/// An event of this container.
pub(super) fn of(action: &str, container: &Container) -> Event {
    Event::container(action, &container.id, &container.name)
}

/// The first few as `ps` writes them: a range of thousands is one event, too.
fn words(ports: &[PortMapping]) -> String {
    let word = |mapping: &PortMapping| {
        let inside = format!("{}/{}", mapping.container_port, mapping.protocol);
        match mapping.host {
            Some((address, port)) => format!("{}->{inside}", SocketAddr::new(address, port)),
            None => inside,
        }
    };
    let mut words: Vec<_> = ports.iter().take(NAMED).map(word).collect();
    if let Some(more) = ports.len().checked_sub(NAMED).filter(|more| *more > 0) {
        words.push(format!("and {more} more"));
    }
    words.join(" ")
}

/// Ports in the text of an event.
const NAMED: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(port: u16) -> PortMapping {
        PortMapping {
            container_port: 80,
            protocol: "tcp".to_owned(),
            host: Some(([0, 0, 0, 0].into(), port)),
        }
    }

    #[test]
    fn thousands_of_ports_are_a_short_text() {
        assert_eq!(words(&[mapping(8080)]), "0.0.0.0:8080->80/tcp");
        let many: Vec<_> = (1..=5000).map(mapping).collect();
        assert!(words(&many).ends_with("0.0.0.0:16->80/tcp and 4984 more"));
        assert!(!words(&many[..16]).contains("more"));
    }
}
