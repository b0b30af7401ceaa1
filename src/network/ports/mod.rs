//! The words of `-p` and `--expose`: what was typed, as values.
//!
//! ```text
//! SPEC   = [HOSTIP:][HOSTPORT]:CONTAINERPORT[/tcp|/udp] | CONTAINERPORT[/PROTO] | HOSTIP::CONTAINERPORT
//! EXPOSE = PORT[/tcp|/udp]
//! ```
//!
//! As with Docker an omitted host address means every address of both families, an omitted host port (or 0) one that is
//! chosen; an IPv6 address stands in brackets. What is written with `Display` reads back as the same value. Whether a
//! port is free is not known here: that is [`super::publications`], and in the end the bind.

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// What a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

/// A port of a container: `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerPort {
    /// Its number, never 0.
    pub port: u16,
    /// What it speaks.
    pub protocol: Protocol,
}

/// A port to publish: one `-p`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortSpec {
    /// The host address; `None`: all, of both families, with one number.
    pub address: Option<IpAddr>,
    /// The host port; `None`: one that is chosen.
    pub host_port: Option<u16>,
    /// The port in the container.
    pub container: ContainerPort,
}

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
    #[error("a range of ports is not supported: give each port its own -p")]
    Range,
    #[error("sctp is not supported: only tcp and udp")]
    Sctp,
    #[error("'{0}' is no protocol: write tcp or udp")]
    Protocol(String),
    #[error("'{0}' is no address of the host; a name is not looked up")]
    Address(String),
    #[error("an IPv6 address stands in brackets, like [::1]:8080:80")]
    Brackets,
    #[error("the bracket is never closed")]
    OpenBracket,
    #[error("too many parts; write [[HOSTIP:]HOSTPORT:]CONTAINERPORT[/PROTO]")]
    TooManyParts,
}

impl PortSpec {
    /// What to bind, all with one number.
    pub fn addresses(&self) -> Vec<IpAddr> {
        match self.address {
            Some(address) => vec![address],
            None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        }
    }

    /// What `-P` makes of an exposed port.
    pub fn automatic(container: ContainerPort) -> Self {
        Self {
            address: None,
            host_port: None,
            container,
        }
    }
}

impl FromStr for PortSpec {
    type Err = SpecError;

    fn from_str(spec: &str) -> Result<Self, SpecError> {
        parse_spec(spec).map_err(|problem| SpecError {
            spec: spec.to_owned(),
            problem,
        })
    }
}

impl FromStr for ContainerPort {
    type Err = SpecError;

    fn from_str(spec: &str) -> Result<Self, SpecError> {
        parse_container_port(spec).map_err(|problem| SpecError {
            spec: spec.to_owned(),
            problem,
        })
    }
}

impl FromStr for Protocol {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        parse_protocol(text).map_err(|problem| SpecError {
            spec: text.to_owned(),
            problem,
        })
    }
}

impl Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.host_port) {
            (Some(IpAddr::V4(address)), _) => write!(f, "{address}:")?,
            (Some(IpAddr::V6(address)), _) => write!(f, "[{address}]:")?,
            (None, _) => {}
        }
        match (self.address, self.host_port) {
            (_, Some(port)) => write!(f, "{port}:")?,
            (Some(_), None) => write!(f, ":")?,
            (None, None) => {}
        }
        write!(f, "{}", self.container)
    }
}

impl Display for ContainerPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

impl Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

fn parse_spec(spec: &str) -> Result<PortSpec, Problem> {
    let (address, rest) = split_address(spec)?;
    let (host_port, container) = match rest.split_once(':') {
        Some((_, container)) if container.contains(':') => return Err(too_many(spec)),
        Some((host_port, container)) => (host_port, container),
        None if address.is_some() => return Err(Problem::NoPort),
        None => ("", rest),
    };
    // The container's part first: it holds the protocol, and `8000-8010:80/sctp` has two faults.
    let container = parse_container_port(container)?;
    Ok(PortSpec {
        address: address.map(parse_address).transpose()?.flatten(),
        host_port: parse_host_port(host_port)?,
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
fn parse_address(text: &str) -> Result<Option<IpAddr>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let address: IpAddr = text.parse().map_err(|_| Problem::Address(text.to_owned()))?;
    Ok(Some(address.to_canonical()))
}

fn parse_host_port(text: &str) -> Result<Option<u16>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some(parse_port(text)?).filter(|port| *port != 0))
}

fn parse_container_port(text: &str) -> Result<ContainerPort, Problem> {
    let (port, protocol) = match text.split_once('/') {
        Some((port, protocol)) => (port, parse_protocol(protocol)?),
        None => (text, Protocol::Tcp),
    };
    if port.is_empty() {
        return Err(Problem::NoPort);
    }
    match parse_port(port)? {
        0 => Err(Problem::ContainerPortZero),
        port => Ok(ContainerPort { port, protocol }),
    }
}

fn parse_port(text: &str) -> Result<u16, Problem> {
    if let Some((first, last)) = text.split_once('-')
        && [first, last].iter().all(|part| part.parse::<u16>().is_ok())
    {
        return Err(Problem::Range);
    }
    // `parse` alone would take `+80`.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| Problem::Port(text.to_owned()))
}

fn parse_protocol(text: &str) -> Result<Protocol, Problem> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Err(Problem::Sctp),
        _ => Err(Problem::Protocol(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> PortSpec {
        text.parse().unwrap()
    }

    fn error(text: &str) -> String {
        text.parse::<PortSpec>().unwrap_err().to_string()
    }

    #[test]
    fn every_form_reads_and_writes() {
        for (given, address, host_port, container, shown) in [
            ("80", None, None, "80/tcp", "80/tcp"),
            ("53/udp", None, None, "53/udp", "53/udp"),
            ("53/UDP", None, None, "53/udp", "53/udp"),
            ("8080:80", None, Some(8080), "80/tcp", "8080:80/tcp"),
            (":80", None, None, "80/tcp", "80/tcp"),
            ("0:80", None, None, "80/tcp", "80/tcp"),
            ("::80", None, None, "80/tcp", "80/tcp"),
            (
                "127.0.0.1:8080:80",
                Some("127.0.0.1"),
                Some(8080),
                "80/tcp",
                "127.0.0.1:8080:80/tcp",
            ),
            (
                "127.0.0.1::80/udp",
                Some("127.0.0.1"),
                None,
                "80/udp",
                "127.0.0.1::80/udp",
            ),
            ("127.0.0.1:0:80", Some("127.0.0.1"), None, "80/tcp", "127.0.0.1::80/tcp"),
            (
                "0.0.0.0:8080:80",
                Some("0.0.0.0"),
                Some(8080),
                "80/tcp",
                "0.0.0.0:8080:80/tcp",
            ),
            ("[::1]:8080:80", Some("::1"), Some(8080), "80/tcp", "[::1]:8080:80/tcp"),
            ("[::]::80", Some("::"), None, "80/tcp", "[::]::80/tcp"),
            (
                "[::ffff:127.0.0.1]:1:2",
                Some("127.0.0.1"),
                Some(1),
                "2/tcp",
                "127.0.0.1:1:2/tcp",
            ),
        ] {
            let parsed = spec(given);
            let expected = PortSpec {
                address: address.map(|text| text.parse().unwrap()),
                host_port,
                container: container.parse().unwrap(),
            };
            assert_eq!(parsed, expected, "{given}");
            assert_eq!(parsed.to_string(), shown, "{given}");
            assert_eq!(spec(shown), parsed, "{shown} reads back");
        }
    }

    #[test]
    fn errors_name_the_spec_and_the_bad_part() {
        let grammar = "write [[HOSTIP:]HOSTPORT:]CONTAINERPORT[/PROTO]";
        for (given, problem) in [
            ("", format!("no container port; {grammar}")),
            ("8080:", format!("no container port; {grammar}")),
            ("8080:/tcp", format!("no container port; {grammar}")),
            ("[::1]", format!("no container port; {grammar}")),
            ("[::1]:80", format!("no container port; {grammar}")),
            ("web", "'web' is no port number, which is 1 to 65535".into()),
            ("80x:80", "'80x' is no port number, which is 1 to 65535".into()),
            ("65536:80", "'65536' is no port number, which is 1 to 65535".into()),
            ("8080:+80", "'+80' is no port number, which is 1 to 65535".into()),
            ("-1:80", "'-1' is no port number, which is 1 to 65535".into()),
            ("8080:0", "a container port is 1 to 65535, never 0".into()),
            (
                "8000-8010:80",
                "a range of ports is not supported: give each port its own -p".into(),
            ),
            (
                "80-90",
                "a range of ports is not supported: give each port its own -p".into(),
            ),
            ("80/sctp", "sctp is not supported: only tcp and udp".into()),
            ("80/http", "'http' is no protocol: write tcp or udp".into()),
            ("80/", "'' is no protocol: write tcp or udp".into()),
            (
                "localhost:8080:80",
                "'localhost' is no address of the host; a name is not looked up".into(),
            ),
            (
                "999.0.0.1:8080:80",
                "'999.0.0.1' is no address of the host; a name is not looked up".into(),
            ),
            (
                "::1:8080:80",
                "an IPv6 address stands in brackets, like [::1]:8080:80".into(),
            ),
            (
                "fd00::1:8080:80",
                "an IPv6 address stands in brackets, like [::1]:8080:80".into(),
            ),
            ("[::1:8080:80", "the bracket is never closed".into()),
            ("1:2:3:4", format!("too many parts; {grammar}")),
            ("[::1]:1:2:3", format!("too many parts; {grammar}")),
        ] {
            assert_eq!(error(given), format!("'{given}': {problem}"));
        }
    }

    #[test]
    fn an_omitted_address_is_both_wildcards() {
        let shown: Vec<_> = spec("80").addresses().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["0.0.0.0", "::"]);
        assert_eq!(spec("0.0.0.0::80").addresses().len(), 1);
    }

    #[test]
    fn expose_is_a_port_and_a_protocol() {
        for (given, shown) in [("80", "80/tcp"), ("53/udp", "53/udp")] {
            assert_eq!(given.parse::<ContainerPort>().unwrap().to_string(), shown);
        }
        for given in ["", "0", "8080:80", "80/tcp/udp", "70000"] {
            let error = given.parse::<ContainerPort>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("'{given}': ")), "{error}");
        }
    }

    #[test]
    fn hostile_specs_do_not_panic() {
        for given in [
            "[",
            "]",
            "[]",
            "[]:",
            ":::::::",
            "é:80",
            "[é]:1:2",
            "\0",
            "/",
            "-",
            "--",
            &":".repeat(10_000),
        ] {
            assert!(given.parse::<PortSpec>().is_err(), "{given}");
        }
    }
}
