//! Which container publishes which port of the host, and which number comes next when none is given.
//!
//! Our own table is asked before the kernel, as Docker does: it knows the name of the holder, and a wildcard and one of
//! its addresses conflict even where the kernel would allow both. Whether a port is really free only the bind can tell;
//! the helper makes it, and asks for another candidate when it fails. Pure; called by the helper.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use super::ports::{ContainerPort, Protocol};

/// A listener of the host: what is bound for a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Binding {
    /// Of the host.
    pub address: IpAddr,
    /// Of the host, never 0.
    pub port: u16,
    /// Of both.
    pub protocol: Protocol,
}

/// Who publishes by a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// Id of the container.
    pub id: String,
    /// Its name, for messages.
    pub name: String,
    /// The port inside.
    pub container_port: ContainerPort,
}

/// The published ports of a network.
#[derive(Debug, Clone, Default)]
pub struct Publications {
    // Protocol and port first: a conflict needs both equal.
    by_port: BTreeMap<(Protocol, u16, IpAddr), Publisher>,
}

/// A port that one of our containers has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Bind for {wanted} failed: port is already allocated by container {} ({held}->{})", .publisher.name, .publisher.container_port)]
pub struct PortInUse {
    /// What was asked for.
    pub wanted: Binding,
    /// What stands in the way.
    pub held: Binding,
    /// Whose it is.
    pub publisher: Publisher,
}

impl Binding {
    /// Whether both cannot be bound: the same port, and addresses that are equal or of which one is the family's wildcard.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let same_port = self.protocol == other.protocol && self.port == other.port;
        let same_family = self.address.is_ipv4() == other.address.is_ipv4();
        let wildcard = self.address.is_unspecified() || other.address.is_unspecified();
        same_port && same_family && (wildcard || self.address == other.address)
    }
}

impl Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", SocketAddr::new(self.address, self.port))
    }
}

impl Publications {
    /// Whether our own containers leave `wanted` free.
    pub fn check(&self, wanted: Binding) -> Result<(), PortInUse> {
        let first = (wanted.protocol, wanted.port, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let same_port = self
            .by_port
            .range(first..)
            .take_while(|((protocol, port, _), _)| (*protocol, *port) == (wanted.protocol, wanted.port));
        for (key, publisher) in same_port {
            let held = binding(*key);
            if held.conflicts_with(&wanted) {
                return Err(PortInUse {
                    wanted,
                    held,
                    publisher: publisher.clone(),
                });
            }
        }
        Ok(())
    }

    /// Enters a binding that [`Self::check`] and the kernel have allowed.
    pub fn insert(&mut self, binding: Binding, publisher: Publisher) -> Result<(), PortInUse> {
        self.check(binding)?;
        self.by_port
            .insert((binding.protocol, binding.port, binding.address), publisher);
        Ok(())
    }

    /// Takes a binding out; says whose it was.
    pub fn remove(&mut self, binding: Binding) -> Option<Publisher> {
        self.by_port.remove(&(binding.protocol, binding.port, binding.address))
    }

    /// Takes out all that a container publishes.
    pub fn remove_container(&mut self, id: &str) {
        self.by_port.retain(|_, publisher| publisher.id != id);
    }

    /// What a container publishes, in the order of container port, then host address.
    pub fn of(&self, id: &str) -> Vec<(ContainerPort, Binding)> {
        let own = self.by_port.iter().filter(|(_, publisher)| publisher.id == id);
        let mut list: Vec<_> = own
            .map(|(key, publisher)| (publisher.container_port, binding(*key)))
            .collect();
        list.sort_unstable();
        list
    }
}

/// The numbers for ports that are published without one: the next after the last, as Docker since 1.1 does.
#[derive(Debug, Clone)]
pub struct AutoPorts {
    range: RangeInclusive<u16>,
    reserved: Vec<RangeInclusive<u16>>,
    last: u16,
}

impl AutoPorts {
    /// From Docker's own range, leaving out what the host reserves for itself.
    pub fn new(reserved: Vec<RangeInclusive<u16>>) -> Self {
        Self {
            range: DOCKERS,
            reserved,
            last: *DOCKERS.end(),
        }
    }

    /// The next number that is not reserved and that `is_free` lets pass; `None` after a whole turn without one.
    pub fn next_candidate(&mut self, is_free: impl Fn(u16) -> bool) -> Option<u16> {
        for _ in self.range.clone() {
            self.last = if self.last >= *self.range.end() {
                *self.range.start()
            } else {
                self.last + 1
            };
            let port = self.last;
            if !self.reserved.iter().any(|range| range.contains(&port)) && is_free(port) {
                return Some(port);
            }
        }
        None
    }
}

/// `ip_local_reserved_ports` of the kernel: `8080,9148-9150`. What cannot be read reserves nothing.
pub fn parse_reserved(text: &str) -> Vec<RangeInclusive<u16>> {
    let parse = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.trim().split(',').filter_map(parse).collect()
}

fn binding((protocol, port, address): (Protocol, u16, IpAddr)) -> Binding {
    Binding {
        address,
        port,
        protocol,
    }
}

/// RFC 6335 calls 49152 up dynamic; Docker has begun one above since its first port allocator.
const DOCKERS: RangeInclusive<u16> = 49153..=65535;

#[cfg(test)]
mod tests {
    use super::*;

    fn on(address: &str, port: u16, protocol: Protocol) -> Binding {
        Binding {
            address: address.parse().unwrap(),
            port,
            protocol,
        }
    }

    fn tcp(address: &str, port: u16) -> Binding {
        on(address, port, Protocol::Tcp)
    }

    fn web() -> Publisher {
        Publisher {
            id: "b9ff".into(),
            name: "web".into(),
            container_port: "80".parse().unwrap(),
        }
    }

    fn published(binding: Binding) -> Publications {
        let mut publications = Publications::default();
        publications.insert(binding, web()).unwrap();
        publications
    }

    #[test]
    fn a_wildcard_conflicts_with_each_of_its_addresses() {
        for (held, wanted, free) in [
            (tcp("0.0.0.0", 80), tcp("0.0.0.0", 80), false),
            (tcp("0.0.0.0", 80), tcp("127.0.0.1", 80), false),
            (tcp("127.0.0.1", 80), tcp("0.0.0.0", 80), false),
            (tcp("::", 80), tcp("::1", 80), false),
            (tcp("::1", 80), tcp("::", 80), false),
            (tcp("127.0.0.1", 80), tcp("127.0.0.2", 80), true),
            (tcp("0.0.0.0", 80), tcp("::", 80), true),
            (tcp("0.0.0.0", 80), tcp("0.0.0.0", 81), true),
            (tcp("0.0.0.0", 80), on("0.0.0.0", 80, Protocol::Udp), true),
        ] {
            assert_eq!(published(held).check(wanted).is_ok(), free, "{held} {wanted}");
        }
    }

    #[test]
    fn the_error_says_who_has_it() {
        let error = published(tcp("0.0.0.0", 8080))
            .check(tcp("127.0.0.1", 8080))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "Bind for 127.0.0.1:8080 failed: port is already allocated by container web (0.0.0.0:8080->80/tcp)"
        );
    }

    #[test]
    fn a_refused_insert_changes_nothing() {
        let mut publications = published(tcp("0.0.0.0", 8080));
        let other = Publisher {
            id: "0123".into(),
            name: "db".into(),
            container_port: "5432".parse().unwrap(),
        };
        assert!(publications.insert(tcp("127.0.0.1", 8080), other).is_err());
        assert!(publications.of("0123").is_empty());
        assert_eq!(publications.of("b9ff"), [("80".parse().unwrap(), tcp("0.0.0.0", 8080))]);
    }

    #[test]
    fn what_a_container_publishes_goes_with_it() {
        let mut publications = published(tcp("::", 8080));
        publications.insert(tcp("0.0.0.0", 8080), web()).unwrap();
        let shown: Vec<_> = publications
            .of("b9ff")
            .iter()
            .map(|(_, binding)| binding.to_string())
            .collect();
        assert_eq!(shown, ["0.0.0.0:8080", "[::]:8080"]);
        assert_eq!(publications.remove(tcp("::", 8080)), Some(web()));
        assert_eq!(publications.remove(tcp("::", 8080)), None);
        publications.remove_container("b9ff");
        assert_eq!(publications.check(tcp("0.0.0.0", 8080)), Ok(()));
    }

    #[test]
    fn automatic_ports_go_on_after_the_last_and_wrap() {
        let mut auto = AutoPorts::new(parse_reserved("49154,49156-49158\n"));
        let first: Vec<_> = (0..3).filter_map(|_| auto.next_candidate(|_| true)).collect();
        assert_eq!(first, [49153, 49155, 49159]);
        auto.last = 65534;
        let wrapped: Vec<_> = (0..2).filter_map(|_| auto.next_candidate(|_| true)).collect();
        assert_eq!(wrapped, [65535, 49153]);
    }

    #[test]
    fn taken_numbers_are_passed_over_and_a_full_range_ends() {
        let mut auto = AutoPorts::new(Vec::new());
        assert_eq!(auto.next_candidate(|port| port > 50_000), Some(50_001));
        assert_eq!(auto.next_candidate(|_| false), None);
        assert_eq!(
            auto.next_candidate(|_| true),
            Some(50_002),
            "a fruitless turn ends where it began"
        );
    }

    #[test]
    fn reserved_ports_are_the_kernels_words() {
        assert_eq!(parse_reserved("8080,9148-9150\n"), [8080..=8080, 9148..=9150]);
        assert!(parse_reserved("\n").is_empty());
        assert_eq!(parse_reserved("x,80,99999"), [80..=80]);
    }
}
