//! `--link NAME[:ALIAS]`: the words, the variables of the linking container's environment, the lines of its /etc/hosts.
//!
//! In Docker's words the linking container is the *parent* and the one that it links to the *child*; a link is called
//! `/parent/ALIAS`. Only texts: who may link to whom is the helper's business, what a link opens the stack's.
//!
//! Sources: compat.md 3.6, and what Docker's engine 28 sets where its legacy variables are switched on.

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::str::FromStr;

use super::name::{self, NameError};
use super::ports::ContainerPort;

/// One `--link`, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSpec {
    /// Name, id or beginning of an id of the child.
    pub target: String,
    /// What the parent calls it; `None`: by the child's name.
    pub alias: Option<String>,
}

/// Why a `--link` is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Nothing before the colon, or nothing at all.
    #[error("'{0}' names no container: write NAME or NAME:ALIAS")]
    NoTarget(String),
    /// More than one colon.
    #[error("bad format for links: {0}; write NAME or NAME:ALIAS")]
    Format(String),
    /// What stands after the colon.
    #[error("the alias in '{0}': {1}")]
    Alias(String, #[source] NameError),
}

/// The child of a link, as far as its parent is told.
#[derive(Debug, Clone, Copy)]
pub struct Child<'c> {
    /// Its name.
    pub name: &'c str,
    /// Its hostname.
    pub hostname: &'c str,
    /// Its addresses, that of IPv4 first.
    pub addresses: &'c [IpAddr],
    /// The ports that it exposes.
    pub ports: &'c [ContainerPort],
    /// `K=V` each, as it was made with.
    pub env: &'c [String],
}

impl FromStr for LinkSpec {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let (target, alias) = match text.split_once(':') {
            Some((target, alias)) => (target, Some(alias)),
            None => (text, None),
        };
        let target = target.strip_prefix('/').unwrap_or(target);
        if target.is_empty() {
            return Err(LinkError::NoTarget(text.to_owned()));
        }
        let alias = alias.map(|alias| parse_alias(text, alias)).transpose()?;
        Ok(Self {
            target: target.to_owned(),
            alias,
        })
    }
}

impl Display for LinkSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.alias {
            Some(alias) => write!(f, "{}:{alias}", self.target),
            None => write!(f, "{}", self.target),
        }
    }
}

/// The variables that tell `parent` of its link `alias`, as `NAME=VALUE`.
pub fn variables(parent: &str, alias: &str, child: &Child<'_>) -> Vec<String> {
    let prefix = alias.to_uppercase().replace('-', "_");
    let mut variables = vec![format!("{prefix}_NAME=/{parent}/{alias}")];
    let address = child.addresses.first().map(IpAddr::to_string).unwrap_or_default();
    let url = |port: &ContainerPort| format!("{}://{address}:{}", port.protocol, port.port);
    let ports = sorted(child.ports);
    variables.extend(ports.first().map(|port| format!("{prefix}_PORT={}", url(port))));
    for run in runs(&ports) {
        let ([first, ..], [.., last]) = (run, run) else {
            continue;
        };
        let (start, end) = (port_prefix(&prefix, first), port_prefix(&prefix, last));
        variables.extend([
            format!("{start}_START={}", url(first)),
            format!("{start}_PORT_START={}", first.port),
            format!("{end}_END={}", url(last)),
            format!("{start}_PORT_END={}", last.port),
        ]);
    }
    for port in &ports {
        let prefix = port_prefix(&prefix, port);
        variables.extend([
            format!("{prefix}={}", url(port)),
            format!("{prefix}_ADDR={address}"),
            format!("{prefix}_PORT={}", port.port),
            format!("{prefix}_PROTO={}", port.protocol),
        ]);
    }
    let handed_on = child.env.iter().filter_map(|pair| pair.split_once('='));
    let handed_on = handed_on.filter(|(name, _)| !KEPT_BACK.contains(name));
    variables.extend(handed_on.map(|(name, value)| format!("{prefix}_ENV_{name}={value}")));
    variables
}

/// The lines of the parent's /etc/hosts, one for each of the child's addresses.
pub fn host_lines(alias: &str, child: &Child<'_>) -> Vec<String> {
    let mut names = format!("{alias} {}", child.hostname);
    if alias != child.name {
        names = format!("{names} {}", child.name);
    }
    let addresses = child.addresses.iter();
    addresses.map(|address| format!("{address}\t{names}")).collect()
}

/// The text of a hosts file with `new` lines in place of the `old` ones: where the first of those was, or at the end.
/// What anybody else has written there stays.
pub fn replace_lines(text: &str, old: &[String], new: &[String]) -> String {
    let mut lines: Vec<&str> = Vec::new();
    let mut place = None;
    for line in text.lines() {
        if old.iter().any(|old| old == line) {
            place.get_or_insert(lines.len());
        } else {
            lines.push(line);
        }
    }
    let place = place.unwrap_or(lines.len());
    lines.splice(place..place, new.iter().map(String::as_str));
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// Docker's inspect writes `/child:/parent/alias`, and takes it back.
fn parse_alias(text: &str, alias: &str) -> Result<String, LinkError> {
    let bare = match alias.strip_prefix('/').and_then(|rest| rest.rsplit_once('/')) {
        Some((_, last)) => last,
        None => alias,
    };
    if bare.contains(':') {
        return Err(LinkError::Format(text.to_owned()));
    }
    name::check_hostname(bare).map_err(|error| LinkError::Alias(text.to_owned(), error))?;
    Ok(bare.to_owned())
}

fn port_prefix(prefix: &str, port: &ContainerPort) -> String {
    let protocol = port.protocol.to_string().to_uppercase();
    format!("{prefix}_PORT_{}_{protocol}", port.port)
}

/// TCP before UDP, each by number.
fn sorted(ports: &[ContainerPort]) -> Vec<ContainerPort> {
    let mut ports = ports.to_vec();
    ports.sort_by_key(|port| (port.protocol, port.port));
    ports.dedup();
    ports
}

/// Ports of one protocol that follow each other without a gap; as with Docker three make a run.
fn runs(sorted: &[ContainerPort]) -> impl Iterator<Item = &[ContainerPort]> {
    let follow =
        |a: &ContainerPort, b: &ContainerPort| a.protocol == b.protocol && a.port.checked_add(1) == Some(b.port);
    sorted.chunk_by(follow).filter(|run| run.len() >= SHORTEST_RUN)
}

const SHORTEST_RUN: usize = 3;

/// Variables of the child that say nothing about what it serves.
const KEPT_BACK: [&str; 2] = ["HOME", "PATH"];

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESSES: [IpAddr; 2] = [
        IpAddr::V4(std::net::Ipv4Addr::new(172, 17, 0, 5)),
        IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 5)),
    ];

    fn ports(texts: &[&str]) -> Vec<ContainerPort> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn child<'c>(ports: &'c [ContainerPort], env: &'c [String]) -> Child<'c> {
        Child {
            name: "postgres",
            hostname: "b9ffb0800ca5",
            addresses: &ADDRESSES,
            ports,
            env,
        }
    }

    #[test]
    fn names_and_aliases() {
        for (text, target, alias) in [
            ("db", "db", None),
            ("db:postgres", "db", Some("postgres")),
            ("/db:/web/postgres", "db", Some("postgres")),
            ("b9ff:db", "b9ff", Some("db")),
        ] {
            let spec: LinkSpec = text.parse().unwrap();
            assert_eq!((spec.target.as_str(), spec.alias.as_deref()), (target, alias), "{text}");
            assert_eq!(spec.to_string().parse::<LinkSpec>().unwrap(), spec);
        }
        for (text, part) in [
            ("", "names no container"),
            (":db", "names no container"),
            ("db:a:b", "bad format for links: db:a:b"),
            ("db:", "no hostname"),
            ("db:a b", "no hostname"),
            ("db:a\nb", "no hostname"),
        ] {
            let error = text.parse::<LinkSpec>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn the_variables_of_a_link() {
        let env = ["A=1", "B=x=y", "HOME=/root", "PATH=/bin", "alone"].map(str::to_owned);
        let ports = ports(&["53/udp", "5432/tcp"]);
        assert_eq!(
            variables("web", "my-db", &child(&ports, &env)),
            [
                "MY_DB_NAME=/web/my-db",
                "MY_DB_PORT=tcp://172.17.0.5:5432",
                "MY_DB_PORT_5432_TCP=tcp://172.17.0.5:5432",
                "MY_DB_PORT_5432_TCP_ADDR=172.17.0.5",
                "MY_DB_PORT_5432_TCP_PORT=5432",
                "MY_DB_PORT_5432_TCP_PROTO=tcp",
                "MY_DB_PORT_53_UDP=udp://172.17.0.5:53",
                "MY_DB_PORT_53_UDP_ADDR=172.17.0.5",
                "MY_DB_PORT_53_UDP_PORT=53",
                "MY_DB_PORT_53_UDP_PROTO=udp",
                "MY_DB_ENV_A=1",
                "MY_DB_ENV_B=x=y",
            ]
        );
        assert_eq!(
            variables("web", "db", &child(&[], &[])),
            ["DB_NAME=/web/db"],
            "nothing is exposed"
        );
    }

    #[test]
    fn consecutive_ports_are_a_run() {
        let ports = ports(&["5002", "5000", "5001", "5003/udp", "6000", "6001", "65535"]);
        let variables = variables("web", "db", &child(&ports, &[]));
        let of_runs: Vec<_> = variables
            .iter()
            .filter(|line| line.contains("_START=") || line.contains("_END="))
            .collect();
        assert_eq!(
            of_runs,
            [
                "DB_PORT_5000_TCP_START=tcp://172.17.0.5:5000",
                "DB_PORT_5000_TCP_PORT_START=5000",
                "DB_PORT_5002_TCP_END=tcp://172.17.0.5:5002",
                "DB_PORT_5000_TCP_PORT_END=5002",
            ],
            "two are no run, nor do two protocols make one"
        );
    }

    #[test]
    fn lines_for_hosts() {
        let child = child(&[], &[]);
        assert_eq!(
            host_lines("db", &child),
            [
                "172.17.0.5\tdb b9ffb0800ca5 postgres",
                "fd00:9::5\tdb b9ffb0800ca5 postgres"
            ]
        );
        assert_eq!(host_lines("postgres", &child)[0], "172.17.0.5\tpostgres b9ffb0800ca5");
    }

    #[test]
    fn a_hosts_file_keeps_what_others_wrote() {
        let lines = |texts: &[&str]| -> Vec<String> { texts.iter().map(|text| (*text).to_owned()).collect() };
        let text = "10.0.0.2\tweb\n10.0.0.5\tdb x\n192.0.2.1\tby-hand\n";
        let moved = replace_lines(text, &lines(&["10.0.0.5\tdb x"]), &lines(&["10.0.0.6\tdb y"]));
        assert_eq!(moved, "10.0.0.2\tweb\n10.0.0.6\tdb y\n192.0.2.1\tby-hand\n");
        let gone = replace_lines(&moved, &lines(&["10.0.0.6\tdb y"]), &[]);
        assert_eq!(gone, "10.0.0.2\tweb\n192.0.2.1\tby-hand\n");
        let back = replace_lines(&gone, &[], &lines(&["10.0.0.7\tdb z"]));
        assert_eq!(back, "10.0.0.2\tweb\n192.0.2.1\tby-hand\n10.0.0.7\tdb z\n");
        assert_eq!(replace_lines("no newline", &[], &lines(&["a"])), "no newline\na\n");
    }
}
