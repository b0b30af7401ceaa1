//! `--filter KEY=VALUE`, as Docker reads it: several of one key are alternatives, different keys must all hold.

use crate::api::types::{ContainerSummary, PortMapping, Status};

/// One `--filter`, taken apart but not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Before the first `=`.
    pub key: String,
    /// After it.
    pub value: String,
}

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Docker says: bad format of filter.
    #[error("bad format of filter: write KEY=VALUE")]
    Form,
    /// A key that this command does not have.
    #[error("invalid filter '{key}': there are {known}")]
    Key {
        /// What was typed.
        key: String,
        /// What could have been.
        known: String,
    },
    /// One that asks for what there is not.
    #[error("filter '{key}' matches nothing here: {why}")]
    Absent {
        /// What was typed.
        key: String,
        /// Why there is none.
        why: &'static str,
    },
    /// A value that can't be one of this key.
    #[error("invalid filter '{key}={value}': {expected}")]
    Value {
        /// The key.
        key: String,
        /// What was typed.
        value: String,
        /// What could have been.
        expected: &'static str,
    },
}

/// What `ps` knows of a container when it is asked whether to list it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'c> {
    /// It.
    pub(super) container: &'c ContainerSummary,
    /// Where it is.
    pub(super) network: &'c str,
    /// All there are, for `before` and `since`.
    pub(super) all: &'c [ContainerSummary],
}

impl Filter {
    /// Reads a filter for a command that has these keys.
    pub fn read(text: &str, known: &[&str]) -> Result<Self, FilterError> {
        let (key, value) = text.split_once('=').ok_or(FilterError::Form)?;
        if !known.contains(&key) {
            return Err(FilterError::Key {
                key: key.to_owned(),
                known: known.join(", "),
            });
        }
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }

    /// Reads a filter of `ps`, whose values must make sense.
    pub fn for_ps(text: &str) -> Result<Self, FilterError> {
        if let Some((key, why)) = ABSENT.iter().find(|(key, _)| text.split('=').next() == Some(key)) {
            return Err(FilterError::Absent {
                key: (*key).to_owned(),
                why,
            });
        }
        let filter = Self::read(text, PS_KEYS)?;
        let expected = match filter.key.as_str() {
            "name" | "id" if regex_lite::Regex::new(&filter.value).is_err() => "write a regular expression",
            "status" if !STATUSES.contains(&filter.value.as_str()) => "write created, running or exited",
            "exited" if filter.value.parse::<i32>().is_err() => "write an exit code",
            "publish" | "expose" if Ports::read(&filter.value).is_none() => "write PORT[-PORT][/PROTO]",
            _ => return Ok(filter),
        };
        Err(FilterError::Value {
            key: filter.key,
            value: filter.value,
            expected,
        })
    }
}

/// Whether one of the filters with this key holds, or there is none.
pub(super) fn any(filters: &[Filter], key: &str, mut holds: impl FnMut(&str) -> bool) -> bool {
    let mut values = filters
        .iter()
        .filter(|filter| filter.key == key)
        .map(|filter| filter.value.as_str())
        .peekable();
    values.peek().is_none() || values.any(&mut holds)
}

/// Whether `ps` lists a container.
pub(super) fn lists(filters: &[Filter], candidate: Candidate<'_>) -> bool {
    let Candidate {
        container,
        network,
        all,
    } = candidate;
    let created = |name: &str| {
        let named = |other: &&ContainerSummary| other.name == name || (!name.is_empty() && other.id.starts_with(name));
        all.iter().find(named).map(|other| other.created)
    };
    // Docker's names begin with a slash, so patterns may, too.
    let slashed = format!("/{}", container.name);
    any(filters, "name", |pattern| {
        matches(pattern, &container.name) || matches(pattern, &slashed)
    }) && any(filters, "id", |pattern| matches(pattern, &container.id))
        && any(filters, "status", |word| word == container.state.status.word())
        && any(filters, "network", |name| name == network)
        && any(filters, "exited", |code| {
            container.state.status == Status::Exited && code.parse() == Ok(container.state.exit_code)
        })
        && any(filters, "publish", |ports| {
            holds_port(ports, &container.ports, |port| port.host.map(|(_, number)| number))
        })
        && any(filters, "expose", |ports| {
            holds_port(ports, &container.ports, |port| Some(port.container_port))
        })
        && any(filters, "before", |name| {
            created(name).is_some_and(|other| container.created < other)
        })
        && any(filters, "since", |name| {
            created(name).is_some_and(|other| container.created > other)
        })
}

/// The text itself, or what it matches as a pattern.
fn matches(pattern: &str, text: &str) -> bool {
    pattern == text || regex_lite::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

fn holds_port(wanted: &str, ports: &[PortMapping], number: impl Fn(&PortMapping) -> Option<u16>) -> bool {
    Ports::read(wanted).is_some_and(|wanted| {
        let is_wanted = |port: &PortMapping| {
            number(port).is_some_and(|number| (wanted.first..=wanted.last).contains(&number))
                && port.protocol == wanted.protocol
        };
        ports.iter().any(is_wanted)
    })
}

/// `80`, `8000-8080/udp`.
struct Ports {
    first: u16,
    last: u16,
    protocol: String,
}

impl Ports {
    fn read(text: &str) -> Option<Self> {
        let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
        let protocol = protocol.to_ascii_lowercase();
        let ports = Self {
            first: first.parse().ok()?,
            last: last.parse().ok()?,
            protocol,
        };
        let known = matches!(ports.protocol.as_str(), "tcp" | "udp");
        (known && ports.first <= ports.last).then_some(ports)
    }
}

const PS_KEYS: &[&str] = &[
    "before", "exited", "expose", "id", "name", "network", "publish", "since", "status",
];

/// Docker's words for the states that containers have here, and for those that none ever has.
const STATUSES: &[&str] = &[
    "created",
    "running",
    "exited",
    "paused",
    "restarting",
    "removing",
    "dead",
];

/// What Docker can be asked for and containers don't have here.
const ABSENT: &[(&str, &str)] = &[
    ("ancestor", "containers are made of no image"),
    ("label", "containers have no labels"),
    ("volume", "containers have no volumes"),
    ("health", "nobody checks how containers are"),
    ("is-task", "there is no swarm"),
    ("isolation", "that is of Windows"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::State;

    fn container(name: &str, status: Status, exit_code: i32, created: u64) -> ContainerSummary {
        let port = |container_port, host| PortMapping {
            container_port,
            protocol: "tcp".to_owned(),
            host,
        };
        ContainerSummary {
            id: format!("b9ff{created:060}"),
            name: name.to_owned(),
            cmd: Vec::new(),
            created,
            state: State {
                status,
                pid: 0,
                exit_code,
                created_at: 0,
                started_at: 0,
                finished_at: 0,
            },
            ip: None,
            ports: vec![port(80, Some(([0, 0, 0, 0].into(), 8080))), port(443, None)],
        }
    }

    fn listed(texts: &[&str]) -> Vec<String> {
        let all = [
            container("web", Status::Running, 0, 1),
            container("web-db", Status::Exited, 3, 2),
            container("job", Status::Exited, 0, 3),
        ];
        let filters: Vec<_> = texts.iter().map(|text| Filter::for_ps(text).unwrap()).collect();
        let candidate = |container| Candidate {
            container,
            network: "gp0",
            all: &all,
        };
        all.iter()
            .filter(|container| lists(&filters, candidate(container)))
            .map(|container| container.name.clone())
            .collect()
    }

    #[test]
    fn one_key_is_or_and_two_are_and() {
        for (filters, expected) in [
            (vec![], vec!["web", "web-db", "job"]),
            (vec!["name=web"], vec!["web", "web-db"]),
            (vec!["name=^web$"], vec!["web"]),
            (vec!["name=^/web$"], vec!["web"]),
            (vec!["name=^web$", "name=j.b"], vec!["web", "job"]),
            (vec!["name=web", "status=exited"], vec!["web-db"]),
            (vec!["status=running", "status=exited"], vec!["web", "web-db", "job"]),
            (vec!["exited=0"], vec!["job"]),
            (vec!["exited=0", "exited=3"], vec!["web-db", "job"]),
            (vec!["id=b9ff"], vec!["web", "web-db", "job"]),
            (vec!["id=b9ff0*1$"], vec!["web"]),
            (vec!["network=gp0", "name=job"], vec!["job"]),
            (vec!["network=gp1"], vec![]),
            (vec!["status=paused"], vec![]),
            (vec!["before=job"], vec!["web", "web-db"]),
            (vec!["since=web"], vec!["web-db", "job"]),
            (vec!["since=nobody"], vec![]),
        ] {
            assert_eq!(listed(&filters), expected, "{filters:?}");
        }
    }

    #[test]
    fn published_is_the_hosts_number_and_exposed_the_containers() {
        for (filter, any) in [
            ("publish=8080", true),
            ("publish=8080/tcp", true),
            ("publish=8000-8100", true),
            ("publish=8080/udp", false),
            ("publish=80", false),
            ("expose=80", true),
            ("expose=440-450/tcp", true),
            ("expose=8080", false),
        ] {
            assert_eq!(!listed(&[filter]).is_empty(), any, "{filter}");
        }
    }

    #[test]
    fn what_cannot_match_is_refused_with_a_line() {
        for (text, expected) in [
            ("name", "bad format of filter: write KEY=VALUE"),
            (
                "colour=red",
                "invalid filter 'colour': there are before, exited, expose, id, name, network, publish, since, status",
            ),
            (
                "ancestor=busybox",
                "filter 'ancestor' matches nothing here: containers are made of no image",
            ),
            (
                "label=a=b",
                "filter 'label' matches nothing here: containers have no labels",
            ),
            (
                "status=up",
                "invalid filter 'status=up': write created, running or exited",
            ),
            ("exited=x", "invalid filter 'exited=x': write an exit code"),
            (
                "publish=90-80",
                "invalid filter 'publish=90-80': write PORT[-PORT][/PROTO]",
            ),
            (
                "expose=80/sctp",
                "invalid filter 'expose=80/sctp': write PORT[-PORT][/PROTO]",
            ),
            ("name=(", "invalid filter 'name=(': write a regular expression"),
        ] {
            assert_eq!(Filter::for_ps(text).unwrap_err().to_string(), expected);
        }
    }
}
