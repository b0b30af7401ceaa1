//! Reading SPECs. Docker's words stand in the errors where it has any, for scripts look for them.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use super::{AUTO, ContainerPort, ContainerPorts, HostIp, PortRange, PortSpec, Protocol};

/// Why a text is no port or SPEC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{spec}': {problem}")]
pub struct SpecError {
    spec: String,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("no container port; write [[HOSTIP:]HOSTPORT:]CONTAINERPORT[/PROTO]")]
    NoPort,
    #[error("'{0}' is no port number, which is 1 to 65535")]
    Port(String),
    #[error("a container port is 1 to 65535, never 0")]
    ContainerPortZero,
    #[error("a range of host ports begins with 1 at least; leave the host's ports out to have them chosen")]
    HostRangeZero,
    #[error("Invalid range specified for port: {first}-{last} ends before it begins")]
    Backwards { first: u16, last: u16 },
    #[error(
        "Invalid ranges specified for container and host Ports: {container} and {host}; they must be of one length, or \
         the container's a single port"
    )]
    Lengths { container: PortRange, host: PortRange },
    #[error("one port is meant, not a range")]
    NotOne,
    #[error("sctp is not supported: only tcp and udp")]
    Sctp,
    #[error("'{0}' is no protocol: write tcp or udp")]
    Protocol(String),
    #[error("'{0}' is no address of the host; a name is not looked up")]
    Address(String),
    #[error("write auto or an address of the host")]
    HostIp,
    #[error("an IPv6 address stands in brackets, like [::1]:8080:80")]
    Brackets,
    #[error("the bracket is never closed")]
    OpenBracket,
    #[error("too many parts; write [[HOSTIP:]HOSTPORT:]CONTAINERPORT[/PROTO]")]
    TooManyParts,
}

impl FromStr for PortSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        spec(text).map_err(|problem| problem.about(text))
    }
}

impl FromStr for ContainerPorts {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        container_ports(text).map_err(|problem| problem.about(text))
    }
}

impl FromStr for ContainerPort {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        container_ports(text)
            .and_then(|ContainerPorts { ports, protocol }| {
                let port = ports.is_one().then_some(ports.first()).ok_or(Problem::NotOne)?;
                Ok(Self { port, protocol })
            })
            .map_err(|problem| problem.about(text))
    }
}

impl FromStr for Protocol {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        protocol(text).map_err(|problem| problem.about(text))
    }
}

impl FromStr for HostIp {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        if text == AUTO {
            return Ok(Self::Auto);
        }
        // Brackets as in a SPEC, or none.
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address: Result<IpAddr, _> = bare.unwrap_or(text).parse();
        let address = address.map_err(|_| Problem::HostIp.about(text))?;
        Ok(Self::At(address.to_canonical()))
    }
}

impl Problem {
    fn about(self, spec: &str) -> SpecError {
        SpecError {
            spec: spec.to_owned(),
            problem: self,
        }
    }
}

fn spec(text: &str) -> Result<PortSpec, Problem> {
    let (given, rest) = split_address(text)?;
    let (host, container) = match rest.split_once(':') {
        Some((_, container)) if container.contains(':') => return Err(too_many(text)),
        Some((host, container)) => (host, container),
        None if given.is_some() => return Err(Problem::NoPort),
        None => ("", rest),
    };
    // The container's part first: it holds the protocol, and `8000-8010:80/sctp` has two faults.
    let container = container_ports(container)?;
    let host_ports = host_ports(host)?;
    if let Some(host) = host_ports
        && !container.ports.is_one()
        && host.span() != container.ports.span()
    {
        let container = container.ports;
        return Err(Problem::Lengths { container, host });
    }
    Ok(PortSpec {
        address: given.map(address).transpose()?.flatten(),
        host_ports,
        container,
    })
}

/// Cuts off `HOSTIP:` or `[HOSTIP]:` where there is one.
fn split_address(spec: &str) -> Result<(Option<&str>, &str), Problem> {
    if let Some(bracketed) = spec.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']').ok_or(Problem::OpenBracket)?;
        let rest = rest.strip_prefix(':').ok_or(Problem::NoPort)?;
        // `[10.0.0.1]` and `[]` are left to the parser of addresses, which wants a colon in brackets.
        return if address.contains(':') {
            Ok((Some(address), rest))
        } else {
            Err(Problem::Address(address.to_owned()))
        };
    }
    match spec.matches(':').count() {
        0 | 1 => Ok((None, spec)),
        2 => Ok(spec
            .split_once(':')
            .map_or((None, spec), |(address, rest)| (Some(address), rest))),
        _ => Err(too_many(spec)),
    }
}

/// Many colons are most often an IPv6 address without brackets.
fn too_many(spec: &str) -> Problem {
    let is_v6 = |end: usize| {
        spec.get(..end)
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
    };
    if spec.char_indices().any(|(at, c)| c == ':' && is_v6(at)) {
        Problem::Brackets
    } else {
        Problem::TooManyParts
    }
}

/// Nothing between the start and the first of two colons is no address, as with Docker.
fn address(text: &str) -> Result<Option<IpAddr>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let address: IpAddr = text.parse().map_err(|_| Problem::Address(text.to_owned()))?;
    Ok(Some(address.to_canonical()))
}

fn host_ports(text: &str) -> Result<Option<PortRange>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let ports = range(text)?;
    match (ports.first(), ports.is_one()) {
        (0, true) => Ok(None),
        (0, false) => Err(Problem::HostRangeZero),
        _ => Ok(Some(ports)),
    }
}

fn container_ports(text: &str) -> Result<ContainerPorts, Problem> {
    let (ports, protocol) = match text.split_once('/') {
        Some((ports, word)) => (ports, protocol(word)?),
        None => (text, Protocol::Tcp),
    };
    if ports.is_empty() {
        return Err(Problem::NoPort);
    }
    let ports = range(ports)?;
    if ports.first() == 0 {
        return Err(Problem::ContainerPortZero);
    }
    Ok(ContainerPorts { ports, protocol })
}

fn range(text: &str) -> Result<PortRange, Problem> {
    let (first, last) = match text.split_once('-') {
        // `-1` is a number that is none, rather than a range without a beginning.
        Some((first, last)) if !first.is_empty() => (port(first)?, port(last)?),
        Some(_) | None => {
            let port = port(text)?;
            (port, port)
        }
    };
    PortRange::new(first, last).ok_or(Problem::Backwards { first, last })
}

fn port(text: &str) -> Result<u16, Problem> {
    // `parse` alone would take `+80`.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| Problem::Port(text.to_owned()))
}

fn protocol(text: &str) -> Result<Protocol, Problem> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Err(Problem::Sctp),
        _ => Err(Problem::Protocol(text.to_owned())),
    }
}
