//! What names mean inside one network, and which name an address has there.
//!
//! Docker's rules: a container is found by its name, its short id and `NAME.NETWORK`, and the address leads back to
//! `NAME.NETWORK`. The gateway is the host, under the names that Docker and podman gave it. A container that is known
//! but has no address keeps its names, so that none of them is looked for elsewhere while it is down.
//!
//! A table and nothing else: the helper makes a new one when containers come or go, the resolver reads it. Names are
//! text as [`Zone::addresses`] describes, addresses IPv4, which is all that a network has.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnetwork::Ipv4Network;

/// The names of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    network: String,
    subnet: Ipv4Network,
    gateway: Ipv4Addr,
    forward: BTreeMap<String, Vec<Ipv4Addr>>,
    reverse: BTreeMap<Ipv4Addr, String>,
}

/// Whom an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'z> {
    /// The one of this name.
    Named(&'z str),
    /// Nobody, but the address is the network's to give.
    Nobody,
    /// The network knows nothing of it.
    Elsewhere,
}

impl Zone {
    /// A network without containers.
    pub fn new(network: &str, subnet: Ipv4Network, gateway: Ipv4Addr) -> Self {
        let host = HOST.map(|name| (name.to_owned(), vec![gateway]));
        Self {
            network: network.to_lowercase(),
            subnet,
            gateway,
            forward: BTreeMap::from(host),
            reverse: BTreeMap::from([(gateway, HOST[0].to_owned())]),
        }
    }

    /// Adds a container by its name and short id; without an address while it does not run.
    ///
    /// A name that cannot be looked up (two dots in a row, a label of more than 63 bytes) is left out, as is one that
    /// would stand in the host's way. Names that differ in case only are one name to DNS: both addresses are given.
    pub fn add(&mut self, name: &str, short_id: &str, address: Option<Ipv4Addr>) {
        let full = format!("{name}.{}", self.network).to_lowercase();
        for name in [name.to_lowercase().as_str(), &full, short_id] {
            if !is_domain(name) || HOST.contains(&name) {
                continue;
            }
            let addresses = self.forward.entry(name.to_owned()).or_default();
            addresses.extend(address.filter(|address| !addresses.contains(address)));
        }
        if let Some(address) = address
            && is_domain(&full)
        {
            self.reverse.insert(address, full);
        }
    }

    /// The addresses of a name in lower case, its labels joined by dots without one at the end; `None` when the name is
    /// not the network's, and an empty list when it is, but has none now.
    pub fn addresses(&self, name: &str) -> Option<&[Ipv4Addr]> {
        self.forward.get(name).map(Vec::as_slice)
    }

    /// Whom an address belongs to.
    pub fn owner(&self, address: Ipv4Addr) -> Owner<'_> {
        match self.reverse.get(&address) {
            Some(name) => Owner::Named(name),
            None if self.subnet.contains(address) => Owner::Nobody,
            None => Owner::Elsewhere,
        }
    }

    /// The gateway, which stands for the host.
    pub fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// Its subnet.
    pub fn subnet(&self) -> Ipv4Network {
        self.subnet
    }
}

/// Whether a name can be asked for: labels of 1 to 63 bytes, 253 in all (RFC 1035 section 2.3.4, in text form).
fn is_domain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len()))
}

/// The host as podman and as Docker call it; the first is also the name of the gateway's address.
const HOST: [&str; 2] = ["host.containers.internal", "host.docker.internal"];

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);
    const WEB: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
    const OTHER: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 3);

    fn zone() -> Zone {
        Zone::new("gp0", "172.17.0.0/16".parse().unwrap(), GATEWAY)
    }

    #[test]
    fn a_container_is_found_by_name_id_and_network() {
        let mut zone = zone();
        zone.add("Web", "b9ffb0800ca5", Some(WEB));
        for name in ["web", "web.gp0", "b9ffb0800ca5"] {
            assert_eq!(zone.addresses(name), Some(&[WEB][..]), "{name}");
        }
        for name in ["we", "web.gp1", "b9ffb0800ca", "gp0", "", "b9ffb0800ca5.gp0"] {
            assert_eq!(zone.addresses(name), None, "{name}");
        }
        assert_eq!(zone.owner(WEB), Owner::Named("web.gp0"));
    }

    #[test]
    fn the_gateway_is_the_host() {
        let mut zone = zone();
        zone.add("host.docker.internal", "0123456789ab", Some(WEB));
        for name in ["host.containers.internal", "host.docker.internal"] {
            assert_eq!(
                zone.addresses(name),
                Some(&[GATEWAY][..]),
                "no container stands in its way"
            );
        }
        assert_eq!(zone.owner(GATEWAY), Owner::Named("host.containers.internal"));
        assert_eq!(zone.gateway(), GATEWAY);
    }

    #[test]
    fn addresses_of_the_subnet_are_the_networks_alone() {
        let zone = zone();
        assert_eq!(zone.owner(WEB), Owner::Nobody);
        assert_eq!(zone.owner(Ipv4Addr::new(172, 18, 0, 2)), Owner::Elsewhere);
    }

    #[test]
    fn a_stopped_container_keeps_its_names() {
        let mut zone = zone();
        zone.add("db", "0123456789ab", None);
        assert_eq!(zone.addresses("db"), Some(&[][..]));
        assert_eq!(zone.addresses("0123456789ab"), Some(&[][..]));
    }

    #[test]
    fn names_that_differ_in_case_are_one() {
        let mut zone = zone();
        zone.add("web", "b9ffb0800ca5", Some(WEB));
        zone.add("WEB", "0123456789ab", Some(OTHER));
        zone.add("wEb", "1123456789ab", None);
        assert_eq!(zone.addresses("web"), Some(&[WEB, OTHER][..]));
    }

    #[test]
    fn names_that_nobody_can_ask_for_are_left_out() {
        let mut zone = zone();
        for name in ["a..b", "ab.", &"a".repeat(64)] {
            zone.add(name, "0123456789ab", Some(WEB));
            assert_eq!(zone.addresses(&name.to_lowercase()), None, "{name}");
        }
        assert_eq!(zone.addresses("0123456789ab"), Some(&[WEB][..]), "the id still serves");
        assert_eq!(zone.owner(WEB), Owner::Nobody);
    }
}
