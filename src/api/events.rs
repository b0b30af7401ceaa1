//! What happens in a network, as it is told: Docker's events, with Docker's field names.
//!
//! The helper makes them, one JSON object a line, [`super::event_stream`] reads them, `gangplank events` prints them. Words
//! are Docker's where it has them; what a bridge does besides has our own: `attach` and `detach` (an interface came, went),
//! `publish` and `unpublish`, `link` and `unlink`, `conflict` (something was refused, or will not work, because somebody
//! else has it).
//! Source: `docker events` of engine 28.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The action once more, of containers: as Docker's clients have read it for ten years.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// The container's id once more, likewise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// What it happened to.
    #[serde(rename = "Type")]
    pub kind: Kind,
    /// `start`, `die`, …
    #[serde(rename = "Action")]
    pub action: String,
    /// Whom it happened to.
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// `local`: Docker knows swarms, too.
    pub scope: String,
    /// Seconds since the epoch.
    pub time: u64,
    /// Nanoseconds since the epoch.
    #[serde(rename = "timeNano")]
    pub time_nano: u64,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A container.
    Container,
    /// The network.
    Network,
    /// The stream of events itself.
    Daemon,
}

/// Whom an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// A container's id, or the network's name.
    #[serde(rename = "ID")]
    pub id: String,
    /// What else is to be known, by name.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

/// Which events are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Those from then on, as far as they are still known; `None`: only what happens from now on. Nanoseconds since the
    /// epoch, as is the other.
    pub since: Option<u64>,
    /// Those until then; `None`: as long as there are any.
    pub until: Option<u64>,
}

impl Event {
    /// An event of a container; not yet at a time.
    pub fn container(action: &str, id: &str, name: &str) -> Self {
        let event = Self::new(Kind::Container, action, id).with("name", name);
        Self {
            status: action.to_owned(),
            id: id.to_owned(),
            ..event
        }
    }

    /// An event of a network; not yet at a time.
    pub fn network(action: &str, name: &str) -> Self {
        Self::new(Kind::Network, action, name)
            .with("name", name)
            .with("type", "bridge")
    }

    /// A gap in what a reader gets that is too slow.
    pub fn lost(network: &str, count: u64) -> Self {
        Self::new(Kind::Daemon, LOST, network).with("count", count)
    }

    /// The same with one thing more to be known.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.actor.attributes.insert(key.to_owned(), value.to_string());
        self
    }

    /// The same at a time.
    #[must_use]
    pub fn at(self, nanos: u64) -> Self {
        Self {
            time: nanos / 1_000_000_000,
            time_nano: nanos,
            ..self
        }
    }

    /// Whether it says that others are missing.
    pub fn is_gap(&self) -> bool {
        self.kind == Kind::Daemon && self.action == LOST
    }

    fn new(kind: Kind, action: &str, id: &str) -> Self {
        Self {
            status: String::new(),
            id: String::new(),
            kind,
            action: action.to_owned(),
            actor: Actor {
                id: id.to_owned(),
                attributes: BTreeMap::new(),
            },
            scope: "local".to_owned(),
            time: 0,
            time_nano: 0,
        }
    }
}

impl Kind {
    /// The word that is shown and serialised.
    pub fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Network => "network",
            Self::Daemon => "daemon",
        }
    }
}

const LOST: &str = "lost";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_dockers_document() {
        let event = Event::container("die", "b9ff", "web")
            .with("exitCode", 3)
            .at(1_700_000_000_000_000_007);
        let document = serde_json::to_value(&event).unwrap();
        let expected = json!({
            "status": "die",
            "id": "b9ff",
            "Type": "container",
            "Action": "die",
            "Actor": {"ID": "b9ff", "Attributes": {"exitCode": "3", "name": "web"}},
            "scope": "local",
            "time": 1_700_000_000_u64,
            "timeNano": 1_700_000_000_000_000_007_u64,
        });
        assert_eq!(document, expected);
        assert_eq!(serde_json::from_value::<Event>(document).unwrap(), event);
    }

    #[test]
    fn a_network_has_neither_status_nor_id() {
        let document = serde_json::to_value(Event::network("up", "gp0")).unwrap();
        assert_eq!((document.get("status"), document.get("id")), (None, None));
        assert_eq!(
            document["Actor"],
            json!({"ID": "gp0", "Attributes": {"name": "gp0", "type": "bridge"}})
        );
    }

    #[test]
    fn only_a_gap_is_a_gap() {
        assert!(Event::lost("gp0", 3).is_gap());
        assert!(!Event::network("lost", "gp0").is_gap());
    }
}
