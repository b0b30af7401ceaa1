//! Ports: the PORTS column of `ps`, and the lines of `port`.
//!
//! The column is `DisplayablePorts` of docker/cli: runs of exposed ports and of ports published on their own number are
//! written as ranges, ports published on another number follow one by one. Its order is Docker's, too: a run stands where
//! it ends, those that go on to the last port where they began.

use std::cmp::Ordering;
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use super::format::{Column, Format, list};
use crate::api::types::PortMapping;
use crate::cli::template::TemplateError;
use crate::network::ports::ContainerPort;

/// `port NAME PORT` of a port that is not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no public port '{port}' published for {container}")]
pub struct NoPublicPort {
    port: ContainerPort,
    container: String,
}

/// What `port` prints: `80/tcp -> 0.0.0.0:8080` for each published port, or with `wanted` the host's side only.
pub fn port(container: &str, mappings: &[PortMapping], wanted: Option<ContainerPort>) -> Result<String, NoPublicPort> {
    let Some(wanted) = wanted else {
        return Ok(port_lines(mappings));
    };
    let mut of_port = mappings.to_vec();
    of_port.retain(|mapping| mapping.container_port == wanted.port && mapping.protocol == wanted.protocol.to_string());
    let addresses = sorted(published(&of_port).iter().map(|(_, host)| host.to_string()));
    if addresses.is_empty() {
        return Err(NoPublicPort {
            port: wanted,
            container: container.to_owned(),
        });
    }
    Ok(addresses)
}

/// What `port --format` prints of the published ports, of `wanted` alone where it is given.
pub fn port_list(
    mappings: &[PortMapping],
    wanted: Option<ContainerPort>,
    format: &Format,
) -> Result<String, TemplateError> {
    let is_wanted = |name: &str| wanted.is_none_or(|port| port.to_string() == name);
    let rows: Vec<Value> = published(mappings)
        .into_iter()
        .map(|(mapping, host)| (format!("{}/{}", mapping.container_port, mapping.protocol), host))
        .filter(|(name, _)| is_wanted(name))
        .map(|(name, host)| json!({"Port": name, "HostIp": host.ip().to_string(), "HostPort": host.port().to_string()}))
        .collect();
    list(format, COLUMNS, &rows)
}

/// A line for each binding; also what `publish` prints of those it made.
pub fn port_lines(mappings: &[PortMapping]) -> String {
    let line = |(mapping, host): &(&PortMapping, SocketAddr)| {
        format!("{}/{} -> {host}", mapping.container_port, mapping.protocol)
    };
    sorted(published(mappings).iter().map(line))
}

/// Lines as Docker sorts them: naturally, as people would.
fn sorted(lines: impl Iterator<Item = String>) -> String {
    let mut lines: Vec<String> = lines.collect();
    lines.sort_by(|a, b| natural(a.as_bytes(), b.as_bytes()));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Byte by byte, but numbers by their value: `NaturalLess` of fvbommel/sortorder.
fn natural(a: &[u8], b: &[u8]) -> Ordering {
    let (mut a, mut b) = (a, b);
    while let (Some(first), Some(second)) = (a.first(), b.first()) {
        let order = if first.is_ascii_digit() && second.is_ascii_digit() {
            let (number, other);
            (number, a) = cut_number(a);
            (other, b) = cut_number(b);
            number.len().cmp(&other.len()).then_with(|| number.cmp(other))
        } else {
            (a, b) = (&a[1..], &b[1..]);
            first.cmp(second)
        };
        if order.is_ne() {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

/// The digits at the beginning, without zeros before them, and the rest.
fn cut_number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let zeros = number.iter().take_while(|byte| **byte == b'0').count();
    (&number[zeros..], rest)
}

/// The published among the ports, in the order of `docker port`: by container port, then IPv4 before IPv6.
pub fn published(mappings: &[PortMapping]) -> Vec<(&PortMapping, SocketAddr)> {
    let host = |mapping: &PortMapping| mapping.host.map(|(address, port)| SocketAddr::new(address, port));
    let mut list: Vec<_> = mappings
        .iter()
        .filter_map(|mapping| Some((mapping, host(mapping)?)))
        .collect();
    list.sort_by(|(a, a_host), (b, b_host)| {
        (a.container_port, &a.protocol, a_host).cmp(&(b.container_port, &b.protocol, b_host))
    });
    list
}

/// The PORTS column.
pub(super) fn column(mappings: &[PortMapping]) -> String {
    // Docker sorts addresses as texts.
    let key = |mapping: &&PortMapping| {
        let (address, port) = mapping.host.unzip();
        let address = address.map(|address| address.to_string()).unwrap_or_default();
        (mapping.container_port, address, port, mapping.protocol.clone())
    };
    let mut sorted: Vec<_> = mappings.iter().collect();
    sorted.sort_by_cached_key(key);
    let mut ended = Vec::new();
    let mut open: Vec<Run<'_>> = Vec::new();
    let mut renumbered = Vec::new();
    for mapping in sorted {
        let next = Run::of(mapping);
        if next.host_port != next.first {
            renumbered.push(next);
            continue;
        }
        match open.iter_mut().find(|run| run.is_like(&next)) {
            None => open.push(next),
            Some(run) if run.last.checked_add(1) == Some(next.first) => run.last = next.last,
            Some(run) => ended.push(std::mem::replace(run, next)),
        }
    }
    let all = ended.iter().chain(&open).chain(&renumbered);
    all.map(Run::to_string).collect::<Vec<_>>().join(", ")
}

/// Ports that follow each other with the same address and protocol.
struct Run<'m> {
    address: Option<IpAddr>,
    protocol: &'m str,
    host_port: u16,
    first: u16,
    last: u16,
}

impl<'m> Run<'m> {
    fn of(mapping: &'m PortMapping) -> Self {
        let port = mapping.container_port;
        let (address, host_port) = mapping.host.unzip();
        Self {
            address,
            protocol: &mapping.protocol,
            host_port: host_port.unwrap_or(port),
            first: port,
            last: port,
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        self.address == other.address && self.protocol == other.protocol
    }
}

impl std::fmt::Display for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let range = |first: u16| {
            if self.first == self.last {
                first.to_string()
            } else {
                format!("{first}-{}", self.last)
            }
        };
        match self.address {
            Some(IpAddr::V4(address)) => write!(f, "{address}:{}->", range(self.host_port))?,
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:{}->", range(self.host_port))?,
            None => {}
        }
        write!(f, "{}/{}", range(self.first), self.protocol)
    }
}

const COLUMNS: &[Column] = &[
    Column {
        key: "Port",
        head: "PORT",
        shown: true,
    },
    Column {
        key: "HostIp",
        head: "HOST IP",
        shown: true,
    },
    Column {
        key: "HostPort",
        head: "HOST PORT",
        shown: true,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// `[HOST:PORT->]PORT/PROTO`, as the column writes it.
    fn mapping(text: &str) -> PortMapping {
        let (host, container) = text
            .split_once("->")
            .map_or((None, text), |(host, container)| (Some(host), container));
        let container: ContainerPort = container.parse().unwrap();
        let host = host.map(|host| host.parse::<SocketAddr>().unwrap());
        PortMapping {
            container_port: container.port,
            protocol: container.protocol.to_string(),
            host: host.map(|host| (host.ip(), host.port())),
        }
    }

    fn mappings(texts: &[&str]) -> Vec<PortMapping> {
        texts.iter().map(|text| mapping(text)).collect()
    }

    #[test]
    fn the_column() {
        for (given, expected) in [
            (vec![], ""),
            (vec!["80/tcp"], "80/tcp"),
            (
                vec!["[::]:8080->80/tcp", "0.0.0.0:8080->80/tcp"],
                "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
            ),
            (vec!["80/tcp", "443/tcp", "53/udp"], "80/tcp, 53/udp, 443/tcp"),
            (vec!["101/tcp", "100/tcp", "102/tcp", "104/tcp"], "100-102/tcp, 104/tcp"),
            (vec!["100/tcp", "101/udp"], "100/tcp, 101/udp"),
            (
                vec![
                    "0.0.0.0:8001->8001/tcp",
                    "0.0.0.0:8000->8000/tcp",
                    "0.0.0.0:8002->8002/tcp",
                ],
                "0.0.0.0:8000-8002->8000-8002/tcp",
            ),
            (
                vec![
                    "0.0.0.0:80->80/tcp",
                    "[::]:80->80/tcp",
                    "0.0.0.0:81->81/tcp",
                    "[::]:81->81/tcp",
                ],
                "0.0.0.0:80-81->80-81/tcp, [::]:80-81->80-81/tcp",
            ),
            (
                vec!["0.0.0.0:49153->80/tcp", "443/tcp", "127.0.0.1:90->90/udp"],
                "127.0.0.1:90->90/udp, 443/tcp, 0.0.0.0:49153->80/tcp",
            ),
            (vec!["65535/tcp", "1/tcp"], "1/tcp, 65535/tcp"),
            (
                vec![
                    "0.0.0.0:8000->8000/tcp",
                    "8001/tcp",
                    "0.0.0.0:8001->8001/tcp",
                    "8000/tcp",
                ],
                "8000-8001/tcp, 0.0.0.0:8000-8001->8000-8001/tcp",
            ),
            (
                vec![
                    "9.0.0.1:90->90/tcp",
                    "10.0.0.1:90->90/tcp",
                    "9.0.0.1:7->9/tcp",
                    "10.0.0.1:8->9/tcp",
                ],
                "10.0.0.1:90->90/tcp, 9.0.0.1:90->90/tcp, 10.0.0.1:8->9/tcp, 9.0.0.1:7->9/tcp",
            ),
            (
                vec!["127.9.8.7:80->80/tcp", "127.9.8.7:81->81/tcp", "81/udp", "82/udp"],
                "127.9.8.7:80-81->80-81/tcp, 81-82/udp",
            ),
        ] {
            assert_eq!(column(&mappings(&given)), expected);
        }
    }

    #[test]
    fn port_prints_what_docker_prints() {
        let web = mappings(&[
            "[::]:8080->80/tcp",
            "0.0.0.0:8080->80/tcp",
            "443/tcp",
            "127.0.0.1:53->53/udp",
            "0.0.0.0:9->100/tcp",
        ]);
        let asked = |wanted: &str| port("web", &web, Some(wanted.parse().unwrap()));
        let all = "53/udp -> 127.0.0.1:53\n80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n100/tcp -> 0.0.0.0:9\n";
        assert_eq!(port("web", &web, None).as_deref(), Ok(all));
        assert_eq!(asked("80").as_deref(), Ok("0.0.0.0:8080\n[::]:8080\n"));
        assert_eq!(asked("53/udp").as_deref(), Ok("127.0.0.1:53\n"));
        assert_eq!(
            asked("81").unwrap_err().to_string(),
            "no public port '81/tcp' published for web"
        );
        assert_eq!(
            asked("443").unwrap_err().to_string(),
            "no public port '443/tcp' published for web"
        );
        assert_eq!(
            asked("80/udp").unwrap_err().to_string(),
            "no public port '80/udp' published for web"
        );
        assert_eq!(port("web", &[], None).as_deref(), Ok(""));
    }

    #[test]
    fn lines_are_in_natural_order() {
        let web = mappings(&[
            "127.0.0.1:9->80/tcp",
            "0.0.0.0:10000->80/tcp",
            "10.0.0.1:9->80/tcp",
            "9.0.0.1:9->80/tcp",
            "[::1]:9->80/tcp",
            "0.0.0.0:9000->80/tcp",
            "0.0.0.0:9->8/tcp",
        ]);
        let expected = "8/tcp -> 0.0.0.0:9\n80/tcp -> 0.0.0.0:9000\n80/tcp -> 0.0.0.0:10000\n80/tcp -> 9.0.0.1:9\n\
                        80/tcp -> 10.0.0.1:9\n80/tcp -> 127.0.0.1:9\n80/tcp -> [::1]:9\n";
        assert_eq!(port_lines(&web), expected);
        assert_eq!(natural(b"a10", b"a9"), Ordering::Greater);
        assert_eq!(natural(b"a010", b"a10b"), Ordering::Less);
        assert_eq!(natural(b"", b"a"), Ordering::Less);
    }
}
