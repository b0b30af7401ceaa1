//! Which container publishes which port of the host: the books that are asked before the kernel, as Docker does.
//!
//! They know the name of a holder, and that a wildcard and each of its addresses conflict even where the kernel would allow
//! both. Whether a port is really free only the bind can tell, and a great many binds take their time. So a port is
//! *claimed* first, which keeps everybody else off, then bound by the helper without holding the books, and claimed anew
//! if another program turns out to have it ([`Publications::claim_next`]). Whatever is asked costs the logarithm of how
//! many ports are published.
//!
//! Pure; called by the helper.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::automatic::AutoPorts;
use super::ports::{ContainerPort, Mapping, Number, PortRange, Protocol};

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

/// A container that publishes ports.
#[derive(Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its name, for messages.
    pub name: String,
}

/// Who publishes by a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// The container.
    pub owner: Arc<Owner>,
    /// The port inside.
    pub container_port: ContainerPort,
}

/// The published ports of a network.
#[derive(Debug, Clone, Default)]
pub struct Publications {
    // Protocol and port first: a conflict needs both equal.
    by_port: BTreeMap<(Protocol, u16, IpAddr), Publisher>,
    automatic: AutoPorts,
}

/// A number of the host that a port has in the books, at every address of its reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// What was asked for.
    pub mapping: Mapping,
    /// The number.
    pub port: u16,
    /// How many were tried before, where any will do.
    tries: usize,
}

/// A port that one of our containers has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Bind for {wanted} failed: port is already allocated by container {} ({held}->{})", .publisher.owner.name, .publisher.container_port)]
pub struct PortInUse {
    /// What was asked for.
    pub wanted: Binding,
    /// What stands in the way.
    pub held: Binding,
    /// Whose it is.
    pub publisher: Publisher,
}

/// Why a port has no number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// The one that was asked for is taken.
    #[error(transparent)]
    InUse(#[from] PortInUse),
    /// So are all of the range.
    #[error("Bind for {at} failed: all ports are allocated; choose another range")]
    RangeInUse {
        /// Address and range.
        at: String,
    },
    /// No number is left, or none of those tried could be had.
    #[error(
        "no free host port for {0}: {AUTOMATIC_TRIES} tries were all in use; name one with -p HOSTPORT:{port}",
        port = .0.port
    )]
    NoneFree(ContainerPort),
}

impl Binding {
    /// Whether both cannot be bound: the same port, and addresses that are equal or of which one is the family's wildcard.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let same_port = self.protocol == other.protocol && self.port == other.port;
        let same_family = self.address.is_ipv4() == other.address.is_ipv4();
        let wildcard = self.address.is_unspecified() || other.address.is_unspecified();
        same_port && same_family && (wildcard || self.address == other.address)
    }

    fn key(self) -> (Protocol, u16, IpAddr) {
        (self.protocol, self.port, self.address)
    }
}

impl Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", SocketAddr::new(self.address, self.port))
    }
}

impl Claim {
    /// What it stands in the books as.
    pub fn bindings(&self) -> impl Iterator<Item = Binding> + use<> {
        bindings(self.mapping, self.port)
    }

    /// Whether another number would do.
    pub fn is_flexible(&self) -> bool {
        !matches!(self.mapping.number, Number::Exactly(_))
    }
}

impl Publications {
    /// Leaves these numbers out where one is chosen from now on.
    pub fn reserve(&mut self, reserved: Vec<RangeInclusive<u16>>) {
        self.automatic.reserve(reserved);
    }

    /// Claims a number for each of `mappings`, or for none of them: first those that can be had in one way only, then
    /// those of a range, then those for which any will do.
    pub fn claim_all(&mut self, mut mappings: Vec<Mapping>, owner: &Arc<Owner>) -> Result<Vec<Claim>, ClaimError> {
        mappings.sort_unstable_by_key(Mapping::order);
        let mut claims = Vec::with_capacity(mappings.len());
        for mapping in mappings {
            match self.claim(mapping, None, owner) {
                Ok(claim) => claims.push(claim),
                Err(error) => {
                    self.give_back(&claims);
                    return Err(error);
                }
            }
        }
        Ok(claims)
    }

    /// Gives up a number that another program has, for the next one.
    pub fn claim_next(&mut self, claim: &Claim, owner: &Arc<Owner>) -> Result<Claim, ClaimError> {
        self.give_back(std::slice::from_ref(claim));
        self.claim(claim.mapping, Some(claim), owner)
    }

    /// Takes claims out of the books.
    pub fn give_back<'c>(&mut self, claims: impl IntoIterator<Item = &'c Claim>) {
        for binding in claims.into_iter().flat_map(Claim::bindings) {
            self.remove(binding);
        }
    }

    /// Takes a binding out; says whose it was.
    pub fn remove(&mut self, binding: Binding) -> Option<Publisher> {
        self.by_port.remove(&binding.key())
    }

    /// Whether our own containers leave `wanted` free.
    pub fn check(&self, wanted: Binding) -> Result<(), PortInUse> {
        match self.in_the_way_of(wanted) {
            None => Ok(()),
            Some((held, publisher)) => Err(PortInUse {
                wanted,
                held,
                publisher: publisher.clone(),
            }),
        }
    }

    fn claim(&mut self, mapping: Mapping, before: Option<&Claim>, owner: &Arc<Owner>) -> Result<Claim, ClaimError> {
        let tries = before.map_or(0, |claim| claim.tries + 1);
        let port = match mapping.number {
            Number::Exactly(port) => {
                bindings(mapping, port).try_for_each(|wanted| self.check(wanted))?;
                port
            }
            Number::FirstFree(range) => self.first_free(mapping, range, before.map(|claim| claim.port))?,
            Number::Automatic => self
                .any(mapping)
                .filter(|_| tries < AUTOMATIC_TRIES)
                .ok_or(ClaimError::NoneFree(mapping.container))?,
        };
        for binding in bindings(mapping, port) {
            let publisher = Publisher {
                owner: Arc::clone(owner),
                container_port: mapping.container,
            };
            self.by_port.insert(binding.key(), publisher);
        }
        Ok(Claim { mapping, port, tries })
    }

    fn first_free(&self, mapping: Mapping, range: PortRange, after: Option<u16>) -> Result<u16, ClaimError> {
        let first = after.map_or(u32::from(range.first()), |port| u32::from(port) + 1);
        let mut left = (first..=range.last().into()).filter_map(|port| u16::try_from(port).ok());
        left.find(|port| self.is_free(mapping, *port)).ok_or_else(|| {
            let address = mapping.reach.addresses().next();
            let at = match address {
                Some(IpAddr::V6(address)) => format!("[{address}]:{range}"),
                Some(IpAddr::V4(address)) => format!("{address}:{range}"),
                None => range.to_string(),
            };
            ClaimError::RangeInUse { at }
        })
    }

    fn any(&mut self, mapping: Mapping) -> Option<u16> {
        let mut automatic = std::mem::take(&mut self.automatic);
        let port = automatic.next_candidate(|port| self.is_free(mapping, port));
        self.automatic = automatic;
        port
    }

    fn is_free(&self, mapping: Mapping, port: u16) -> bool {
        bindings(mapping, port).all(|wanted| self.in_the_way_of(wanted).is_none())
    }

    /// The first binding that conflicts.
    fn in_the_way_of(&self, wanted: Binding) -> Option<(Binding, &Publisher)> {
        let (protocol, port, address) = wanted.key();
        let (lowest, highest): (IpAddr, IpAddr) = match address {
            IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into()),
            IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::from_bits(u128::MAX).into()),
        };
        let held = if address.is_unspecified() {
            self.by_port
                .range((protocol, port, lowest)..=(protocol, port, highest))
                .next()
        } else {
            [lowest, address]
                .into_iter()
                .find_map(|address| self.by_port.get_key_value(&(protocol, port, address)))
        };
        held.map(|((protocol, port, address), publisher)| {
            let held = Binding {
                address: *address,
                port: *port,
                protocol: *protocol,
            };
            (held, publisher)
        })
    }
}

fn bindings(mapping: Mapping, port: u16) -> impl Iterator<Item = Binding> + use<> {
    let protocol = mapping.container.protocol;
    mapping.reach.addresses().map(move |address| Binding {
        address,
        port,
        protocol,
    })
}

/// As often as Docker tries.
const AUTOMATIC_TRIES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::ports::{Front, PortSpec, Reach};

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

    fn owner(name: &str) -> Arc<Owner> {
        Arc::new(Owner { name: name.into() })
    }

    fn mappings(specs: &[&str]) -> Vec<Mapping> {
        let specs = specs.iter().map(|spec| spec.parse::<PortSpec>().unwrap());
        specs.flat_map(|spec| spec.mappings(Front::At(Reach::Every))).collect()
    }

    fn claim(publications: &mut Publications, name: &str, specs: &[&str]) -> Result<Vec<Claim>, ClaimError> {
        publications.claim_all(mappings(specs), &owner(name))
    }

    fn numbers(claims: &[Claim]) -> Vec<(u16, u16)> {
        let number = |claim: &Claim| (claim.mapping.container.port, claim.port);
        claims.iter().map(number).collect()
    }

    fn published(specs: &[&str]) -> Publications {
        let mut publications = Publications::default();
        claim(&mut publications, "web", specs).unwrap();
        publications
    }

    #[test]
    fn a_wildcard_conflicts_with_each_of_its_addresses() {
        for (held, wanted, free) in [
            ("0.0.0.0:80:1", tcp("0.0.0.0", 80), false),
            ("0.0.0.0:80:1", tcp("127.0.0.1", 80), false),
            ("127.0.0.1:80:1", tcp("0.0.0.0", 80), false),
            ("255.255.255.255:80:1", tcp("0.0.0.0", 80), false),
            ("[::]:80:1", tcp("::1", 80), false),
            ("[::1]:80:1", tcp("::", 80), false),
            ("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:80:1", tcp("::", 80), false),
            ("127.0.0.1:80:1", tcp("127.0.0.2", 80), true),
            ("0.0.0.0:80:1", tcp("::", 80), true),
            ("0.0.0.0:80:1", tcp("::1", 80), true),
            ("0.0.0.0:80:1", tcp("0.0.0.0", 81), true),
            ("0.0.0.0:80:1", on("0.0.0.0", 80, Protocol::Udp), true),
            ("80:1", tcp("127.0.0.1", 80), false),
            ("80:1", tcp("::1", 80), false),
        ] {
            let checked = published(&[held]).check(wanted);
            assert_eq!(checked.is_ok(), free, "{held} {wanted}");
            if let Err(error) = checked {
                assert!(error.held.conflicts_with(&wanted), "{error}");
            }
        }
    }

    #[test]
    fn the_error_says_who_has_it() {
        let error = published(&["0.0.0.0:8080:80"])
            .check(tcp("127.0.0.1", 8080))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "Bind for 127.0.0.1:8080 failed: port is already allocated by container web (0.0.0.0:8080->80/tcp)"
        );
    }

    #[test]
    fn a_refused_claim_changes_nothing() {
        let mut publications = published(&["0.0.0.0:8005:80"]);
        let before = publications.by_port.clone();
        let error = claim(&mut publications, "db", &["9000:1", "8000-8010:80-90"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Bind for 0.0.0.0:8005 failed: port is already allocated by container web (0.0.0.0:8005->80/tcp)"
        );
        assert_eq!(publications.by_port, before);
        let error = claim(&mut publications, "db", &["9000:1", "9000:2"]).unwrap_err();
        assert!(error.to_string().contains("by container db"), "{error}");
        assert_eq!(publications.by_port, before);
    }

    #[test]
    fn what_is_given_back_is_free() {
        let mut publications = Publications::default();
        let claims = claim(&mut publications, "web", &["8080:80", "53/udp"]).unwrap();
        assert!(claim(&mut publications, "db", &["[::1]:8080:1"]).is_err());
        publications.give_back(&claims);
        assert!(publications.by_port.is_empty());
        assert_eq!(publications.remove(tcp("::", 8080)), None);
    }

    #[test]
    fn one_port_takes_the_first_of_a_range_that_is_free() {
        let mut publications = published(&["8000:1", "127.0.0.1:8002:1"]);
        let first = claim(&mut publications, "db", &["8000-8003:80"]).unwrap();
        assert_eq!(numbers(&first), [(80, 8001)]);
        let second = claim(&mut publications, "db", &["127.0.0.2:8000-8003:80"]).unwrap();
        assert_eq!(numbers(&second), [(80, 8002)], "another address is free there");
        let third = claim(&mut publications, "db", &["8000-8003:81"]).unwrap();
        assert_eq!(numbers(&third), [(81, 8003)]);
        let error = claim(&mut publications, "db", &["8000-8003:82"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Bind for 0.0.0.0:8000-8003 failed: all ports are allocated; choose another range"
        );
    }

    #[test]
    fn exact_ports_come_before_ranges_and_those_before_automatic_ones() {
        let mut publications = Publications::default();
        let claims = claim(
            &mut publications,
            "web",
            &["80", "49153-49160:81", "49153:82", "49154:79"],
        )
        .unwrap();
        assert_eq!(
            numbers(&claims),
            [(79, 49154), (82, 49153), (81, 49155), (80, 49156)],
            "by container port among equals"
        );
    }

    #[test]
    fn numbers_that_others_have_are_passed_over() {
        let mut publications = Publications::default();
        let who = owner("web");
        let claims = claim(&mut publications, "web", &["65534-65535:80"]).unwrap();
        let next = publications.claim_next(&claims[0], &who).unwrap();
        assert_eq!(next.port, 65535);
        assert!(matches!(
            publications.claim_next(&next, &who),
            Err(ClaimError::RangeInUse { .. })
        ));
        assert!(publications.by_port.is_empty(), "what cannot be had is not held");
        let mut automatic = claim(&mut publications, "web", &["80/udp"]).unwrap().remove(0);
        for tried in 1..AUTOMATIC_TRIES {
            let port = automatic.port;
            automatic = publications.claim_next(&automatic, &who).unwrap();
            assert_eq!(automatic.port, port + 1, "try {tried}");
        }
        let error = publications.claim_next(&automatic, &who).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no free host port for 80/udp: 10 tries were all in use; name one with -p HOSTPORT:80"
        );
        assert!(publications.by_port.is_empty());
    }

    #[test]
    fn an_automatic_number_is_free_at_each_address() {
        let mut publications = published(&["[::1]:49153:1", "0.0.0.0:49154:1", "127.9.9.9:49155:1"]);
        let claims = claim(&mut publications, "db", &["80", "81"]).unwrap();
        assert_eq!(numbers(&claims), [(80, 49156), (81, 49157)]);
        publications.reserve(vec![49158..=49159]);
        let claims = claim(&mut publications, "db", &["82"]).unwrap();
        assert_eq!(numbers(&claims), [(82, 49160)]);
    }

    #[test]
    fn a_thousand_addresses_share_a_number_and_a_container_has_ten_thousand() {
        let mut publications = Publications::default();
        for last in 0..1000_u16 {
            let [high, low] = last.to_be_bytes();
            claim(&mut publications, "many", &[&format!("127.9.{high}.{low}:8080:80")]).unwrap();
        }
        assert!(claim(&mut publications, "one", &["8080:80"]).is_err());
        let claims = claim(&mut publications, "one", &["10000-19999:10000-19999"]).unwrap();
        assert_eq!(claims.len(), 10_000);
        assert_eq!(publications.by_port.len(), 21_000);
    }
}
