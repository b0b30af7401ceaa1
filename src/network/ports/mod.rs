//! The words of `-p` and `--expose`: what was typed, as values.
//!
//! ```text
//! SPEC   = [HOSTIP:][HOSTPORTS]:CONTAINERPORTS[/tcp|/udp] | CONTAINERPORTS[/PROTO] | HOSTIP::CONTAINERPORTS
//! EXPOSE = CONTAINERPORTS[/tcp|/udp]
//! PORTS  = PORT | PORT-PORT
//! ```
//!
//! As with Docker an omitted host address means every address of both families, an omitted host port (or 0) one that is
//! chosen; an IPv6 address stands in brackets. Ranges are of one length on both sides, or else one container port takes
//! the first of the host's that is free. What is written with `Display` reads back as the same value.
//!
//! A SPEC is kept as it was said, however many ports it names; [`PortSpec::mappings`] are the single ports. Whether one
//! is free is not known here: that is [`super::publications`], and in the end the bind.

mod parse;

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use parse::SpecError;

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

/// Ports that follow each other, at least one: `8000-8010`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// Ports of a container: one `--expose`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContainerPorts {
    /// Their numbers.
    pub ports: PortRange,
    /// What they speak.
    pub protocol: Protocol,
}

/// Ports to publish: one `-p`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortSpec {
    /// The host address, if one was said.
    pub address: Option<IpAddr>,
    /// The host ports, as many as of the container or one of them; `None`: what is chosen.
    pub host_ports: Option<PortRange>,
    /// The ports in the container.
    pub container: ContainerPorts,
}

/// One port to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// The host's number.
    pub number: Number,
    /// The port in the container.
    pub container: ContainerPort,
    /// The host's addresses.
    pub reach: Reach,
}

/// Which number of the host a port is published on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Number {
    /// This one.
    Exactly(u16),
    /// The first of these that is free.
    FirstFree(PortRange),
    /// One that is chosen.
    Automatic,
}

/// The addresses of the host that a port is published on, all with one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// All, of both families.
    Every,
    /// This one, or all of its family if it is the wildcard.
    At(IpAddr),
}

/// Where ports are published whose SPEC names no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Front {
    /// There.
    At(Reach),
    /// At an address that no other container has, so that a port needs no other number than its own.
    Own(Ipv4Addr),
}

/// `--host-ip`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostIp {
    /// An address of the container's own.
    Auto,
    /// This one.
    At(IpAddr),
}

impl PortRange {
    /// From `first` to `last`, both included; `None` if there is nothing between them.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// One port.
    pub fn one(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }

    /// The first.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The last.
    pub fn last(self) -> u16 {
        self.last
    }

    /// Whether it is no more than one port.
    pub fn is_one(self) -> bool {
        self.first == self.last
    }

    /// Whether `port` is in it.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// How many there are besides the first.
    fn span(self) -> u16 {
        self.last - self.first
    }
}

impl ContainerPorts {
    /// Whether `port` is one of them.
    pub fn contains(self, port: ContainerPort) -> bool {
        self.protocol == port.protocol && self.ports.contains(port.port)
    }

    /// Each of them.
    pub fn each(self) -> impl Iterator<Item = ContainerPort> + use<> {
        let Self { ports, protocol } = self;
        (ports.first..=ports.last).map(move |port| ContainerPort { port, protocol })
    }
}

impl PortSpec {
    /// The single ports, as many as the container's; `front` is where they are published if no address was said.
    pub fn mappings(self, front: Front) -> impl Iterator<Item = Mapping> + use<> {
        let (reach, own) = match (self.address, front) {
            (Some(address), _) => (Reach::At(address), false),
            (None, Front::At(reach)) => (reach, false),
            (None, Front::Own(address)) => (Reach::At(address.into()), true),
        };
        let number = move |container: u16| match self.host_ports {
            Some(host) if host.is_one() || !self.container.ports.is_one() => {
                Number::Exactly(host.first + (container - self.container.ports.first))
            }
            Some(host) => Number::FirstFree(host),
            None if own => Number::Exactly(container),
            None => Number::Automatic,
        };
        self.container.each().map(move |container| Mapping {
            number: number(container.port),
            container,
            reach,
        })
    }

    /// Whether a port that is published so was meant, where nothing said means any.
    pub fn names(&self, container: ContainerPort, reach: Reach, port: u16) -> bool {
        let address = self.address.is_none_or(|address| reach == Reach::At(address));
        let here = self.container.contains(container);
        let number = |host: PortRange| {
            let single = self.container.ports.is_one();
            let offset = container.port.wrapping_sub(self.container.ports.first);
            host.contains(port) && (single || port - host.first == offset)
        };
        address && here && self.host_ports.is_none_or(number)
    }
}

impl Mapping {
    /// Its place among others that want numbers at once: whose number can be had in one way only comes first, then, as
    /// with Docker, the lower port of the container.
    pub fn order(&self) -> (u8, ContainerPort, Number) {
        let kind = match self.number {
            Number::Exactly(_) => 0,
            Number::FirstFree(_) => 1,
            Number::Automatic => 2,
        };
        (kind, self.container, self.number)
    }
}

impl Reach {
    /// What is bound.
    pub fn addresses(self) -> impl Iterator<Item = IpAddr> {
        let (first, second) = match self {
            Self::Every => (Ipv4Addr::UNSPECIFIED.into(), Some(Ipv6Addr::UNSPECIFIED.into())),
            Self::At(address) => (address, None),
        };
        std::iter::once(first).chain(second)
    }
}

impl Front {
    /// What `-P` makes of an exposed port.
    pub fn mapping(self, container: ContainerPort) -> Mapping {
        let (number, reach) = match self {
            Self::At(reach) => (Number::Automatic, reach),
            Self::Own(address) => (Number::Exactly(container.port), Reach::At(address.into())),
        };
        Mapping {
            number,
            container,
            reach,
        }
    }
}

impl Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V4(address)) => write!(f, "{address}:")?,
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
            None => {}
        }
        match (self.address, self.host_ports) {
            (_, Some(ports)) => write!(f, "{ports}:")?,
            (Some(_), None) => write!(f, ":")?,
            (None, None) => {}
        }
        write!(f, "{}", self.container)
    }
}

impl Display for HostIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str(AUTO),
            Self::At(address) => write!(f, "{address}"),
        }
    }
}

impl Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_one() {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl Display for ContainerPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ports, self.protocol)
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

/// The word for [`HostIp::Auto`].
const AUTO: &str = "auto";

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
                host_ports: host_port.map(PortRange::one),
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
                "8000-8010:80-89",
                "Invalid ranges specified for container and host Ports: 80-89 and 8000-8010; they must be of one \
                 length, or the container's a single port"
                    .into(),
            ),
            (
                "8000:80-89",
                "Invalid ranges specified for container and host Ports: 80-89 and 8000; they must be of one length, or \
                 the container's a single port"
                    .into(),
            ),
            (
                "90-80",
                "Invalid range specified for port: 90-80 ends before it begins".into(),
            ),
            ("0-80", "a container port is 1 to 65535, never 0".into()),
            (
                "0-80:0-80",
                "a container port is 1 to 65535, never 0".into(),
            ),
            (
                "0-1:80-81",
                "a range of host ports begins with 1 at least; leave the host's ports out to have them chosen".into(),
            ),
            ("80-", "'' is no port number, which is 1 to 65535".into()),
            ("80-90-100", "'90-100' is no port number, which is 1 to 65535".into()),
            ("80-70000", "'70000' is no port number, which is 1 to 65535".into()),
            ("8000-8010/tcp:80", "'8010/tcp' is no port number, which is 1 to 65535".into()),
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
    fn ranges_read_and_write() {
        for (given, shown) in [
            ("8000-8010:80-90", "8000-8010:80-90/tcp"),
            ("8000-8010:80", "8000-8010:80/tcp"),
            ("80-90", "80-90/tcp"),
            ("80-80:90-90/udp", "80:90/udp"),
            ("127.0.0.1::80-90/udp", "127.0.0.1::80-90/udp"),
            ("127.0.0.1:8000-8010:80-90", "127.0.0.1:8000-8010:80-90/tcp"),
            ("[::1]:8000-8010:80-90/udp", "[::1]:8000-8010:80-90/udp"),
            ("1-65535:1-65535", "1-65535:1-65535/tcp"),
        ] {
            assert_eq!(spec(given).to_string(), shown, "{given}");
            assert_eq!(spec(shown), spec(given), "{shown} reads back");
        }
    }

    /// Each as `ADDRESS NUMBER PORT`.
    fn mappings(text: &str, front: Front) -> Vec<String> {
        let shown = |mapping: Mapping| {
            let addresses: Vec<_> = mapping.reach.addresses().map(|it| it.to_string()).collect();
            let number = match mapping.number {
                Number::Exactly(port) => port.to_string(),
                Number::FirstFree(range) => format!("({range})"),
                Number::Automatic => "any".into(),
            };
            format!("{} {number} {}", addresses.join("+"), mapping.container)
        };
        spec(text).mappings(front).map(shown).collect()
    }

    #[test]
    fn a_spec_is_so_many_ports() {
        let every = Front::At(Reach::Every);
        for (given, expected) in [
            ("80", vec!["0.0.0.0+:: any 80/tcp"]),
            ("0.0.0.0::80", vec!["0.0.0.0 any 80/tcp"]),
            ("8080:80", vec!["0.0.0.0+:: 8080 80/tcp"]),
            ("80-81/udp", vec!["0.0.0.0+:: any 80/udp", "0.0.0.0+:: any 81/udp"]),
            ("[::1]:65534-65535:1-2", vec!["::1 65534 1/tcp", "::1 65535 2/tcp"]),
            ("8000-8010:80", vec!["0.0.0.0+:: (8000-8010) 80/tcp"]),
        ] {
            assert_eq!(mappings(given, every), expected, "{given}");
        }
        assert_eq!(spec("1-65535:1-65535").mappings(every).count(), 65_535);
    }

    #[test]
    fn where_no_address_is_said_the_front_is_meant() {
        let at = Front::At(Reach::At("127.0.0.1".parse().unwrap()));
        assert_eq!(mappings("80", at), ["127.0.0.1 any 80/tcp"]);
        assert_eq!(mappings("8080:80", at), ["127.0.0.1 8080 80/tcp"]);
        assert_eq!(mappings("127.0.0.9:8080:80", at), ["127.0.0.9 8080 80/tcp"]);
        let own = Front::Own(Ipv4Addr::new(127, 9, 8, 7));
        assert_eq!(mappings("80-81", own), ["127.9.8.7 80 80/tcp", "127.9.8.7 81 81/tcp"]);
        assert_eq!(mappings("8080:80", own), ["127.9.8.7 8080 80/tcp"]);
        assert_eq!(mappings("8000-8001:80", own), ["127.9.8.7 (8000-8001) 80/tcp"]);
        assert_eq!(mappings("127.0.0.1::80", own), ["127.0.0.1 any 80/tcp"]);
        let exposed = "53/udp".parse().unwrap();
        assert_eq!(at.mapping(exposed).number, Number::Automatic);
        assert_eq!(own.mapping(exposed).number, Number::Exactly(53));
    }

    #[test]
    fn what_is_taken_back_is_named_as_it_was_published() {
        let published = ("85/tcp".parse().unwrap(), Reach::Every, 8005);
        for (given, named) in [
            ("85", true),
            ("80-90", true),
            ("8005:85", true),
            ("8000-8010:80-90", true),
            ("8000-8010:85", true),
            ("8001-8011:80-90", false),
            ("8005:84", false),
            ("85/udp", false),
            ("86-90", false),
            ("127.0.0.1:8005:85", false),
            ("0.0.0.0:8005:85", false),
        ] {
            let (container, reach, port) = published;
            assert_eq!(spec(given).names(container, reach, port), named, "{given}");
        }
        let local = Reach::At("127.0.0.1".parse().unwrap());
        assert!(spec("127.0.0.1::85").names(published.0, local, 8005));
        assert!(spec("8005:85").names(published.0, local, 8005));
    }

    #[test]
    fn expose_is_ports_and_a_protocol() {
        for (given, shown, count) in [
            ("80", "80/tcp", 1),
            ("53/udp", "53/udp", 1),
            ("8000-8010/udp", "8000-8010/udp", 11),
            ("65535-65535", "65535/tcp", 1),
        ] {
            let exposed: ContainerPorts = given.parse().unwrap();
            assert_eq!((exposed.to_string().as_str(), exposed.each().count()), (shown, count));
        }
        for given in ["", "0", "8080:80", "80/tcp/udp", "70000", "90-80", "0-9"] {
            let error = given.parse::<ContainerPorts>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("'{given}': ")), "{error}");
        }
        assert_eq!("53/udp".parse::<ContainerPort>().unwrap().to_string(), "53/udp");
        assert_eq!(
            "80-90".parse::<ContainerPort>().unwrap_err().to_string(),
            "'80-90': one port is meant, not a range"
        );
    }

    #[test]
    fn a_host_ip_is_an_address_or_auto() {
        for given in ["auto", "127.0.0.1", "::1"] {
            assert_eq!(given.parse::<HostIp>().unwrap().to_string(), given);
        }
        assert_eq!("[::1]".parse(), Ok(HostIp::At(Ipv6Addr::LOCALHOST.into())));
        assert_eq!("::ffff:1.2.3.4".parse(), Ok(HostIp::At([1, 2, 3, 4].into())));
        let error = "lo".parse::<HostIp>().unwrap_err().to_string();
        assert_eq!(error, "'lo': write auto or an address of the host");
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
            "-80",
            "80-:90-",
            "é-é",
            &":".repeat(10_000),
        ] {
            assert!(given.parse::<PortSpec>().is_err(), "{given}");
        }
    }
}
