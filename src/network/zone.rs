//! What names mean inside one network, and which name an address has there.
//!
//! Docker's rules: a container is found by its name, its short id and `NAME.NETWORK`, and the address leads back to
//! `NAME.NETWORK`. The gateway is the host, under the names that Docker and podman gave it. A container that is known
//! but has no address keeps its names, so that none of them is looked for elsewhere while it is down.
//!
//! A table and nothing else: the helper makes a new one when containers come or go, the resolver reads it. Names are
//! text as [`Zone::addresses`] describes.
//!
//! The names of the host have IPv4 addresses only: what listens on 127.0.0.1 alone must be found by whoever tries one
//! address and no other. The IPv6 address of the gateway leads back to the same name.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// The names of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    network: String,
    subnets: Vec<IpNetwork>,
    forward: BTreeMap<String, Vec<IpAddr>>,
    /// What one container alone calls others, by its address.
    aliases: BTreeMap<IpAddr, BTreeMap<String, Vec<IpAddr>>>,
    reverse: BTreeMap<IpAddr, String>,
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
    /// Knows no name at all: every question is for others.
    pub fn empty() -> Self {
        Self {
            network: String::new(),
            subnets: Vec::new(),
            forward: BTreeMap::new(),
            aliases: BTreeMap::new(),
            reverse: BTreeMap::new(),
        }
    }

    /// A network without containers, by its subnets with the gateway's address in each.
    pub fn new(network: &str, subnets: impl IntoIterator<Item = (IpNetwork, IpAddr)>) -> Self {
        let (subnets, gateways): (Vec<_>, Vec<_>) = subnets.into_iter().unzip();
        let known = gateways.iter().copied().filter(IpAddr::is_ipv4).collect::<Vec<_>>();
        let reverse = gateways.into_iter().map(|gateway| (gateway, HOST[0].to_owned()));
        Self {
            network: network.to_lowercase(),
            subnets,
            forward: HOST.map(|name| (name.to_owned(), known.clone())).into(),
            aliases: BTreeMap::new(),
            reverse: reverse.collect(),
        }
    }

    /// Adds a container by its name and short id; without addresses while it does not run.
    ///
    /// A name that cannot be looked up (two dots in a row, a label of more than 63 bytes) is left out, as is one that
    /// would stand in the host's way. Names that differ in case only are one name to DNS: both addresses are given.
    pub fn add(&mut self, name: &str, short_id: &str, addresses: &[IpAddr]) {
        let full = format!("{name}.{}", self.network).to_lowercase();
        for name in [name.to_lowercase().as_str(), &full, short_id] {
            if !is_domain(name) || HOST.contains(&name) {
                continue;
            }
            let known = self.forward.entry(name.to_owned()).or_default();
            let new = addresses.iter().filter(|address| !known.contains(address));
            known.extend(new.copied().collect::<Vec<_>>());
        }
        if is_domain(&full) {
            self.reverse
                .extend(addresses.iter().map(|address| (*address, full.clone())));
        }
    }

    /// Adds what the container with the addresses `client`, and nobody else, calls another; without addresses while that
    /// does not run. It comes before everybody's names, as a line in its hosts file does.
    pub fn add_alias(&mut self, client: &[IpAddr], alias: &str, addresses: &[IpAddr]) {
        let alias = alias.to_lowercase();
        if !is_domain(&alias) {
            return;
        }
        for client in client {
            let aliases = self.aliases.entry(*client).or_default();
            aliases.insert(alias.clone(), addresses.to_vec());
        }
    }

    /// What [`Zone::addresses`] says to this client.
    pub fn addresses_for(&self, client: IpAddr, name: &str) -> Option<&[IpAddr]> {
        let own = self.aliases.get(&client).and_then(|aliases| aliases.get(name));
        own.map(Vec::as_slice).or_else(|| self.addresses(name))
    }

    /// The addresses of a name in lower case, its labels joined by dots without one at the end; `None` when the name is
    /// not the network's, and an empty list when it is, but has none now.
    pub fn addresses(&self, name: &str) -> Option<&[IpAddr]> {
        self.forward.get(name).map(Vec::as_slice)
    }

    /// Whom an address belongs to.
    pub fn owner(&self, address: IpAddr) -> Owner<'_> {
        match self.reverse.get(&address) {
            Some(name) => Owner::Named(name),
            None if self.subnet_of(address).is_some() => Owner::Nobody,
            None => Owner::Elsewhere,
        }
    }

    /// The addresses that stand for the host.
    pub fn host(&self) -> &[IpAddr] {
        self.forward.get(HOST[0]).map_or(&[], Vec::as_slice)
    }

    /// The subnet in which an address lies.
    pub fn subnet_of(&self, address: IpAddr) -> Option<IpNetwork> {
        self.subnets.iter().copied().find(|subnet| subnet.contains(address))
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
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 17, 0, 1));
    const WEB: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 17, 0, 2));
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 17, 0, 3));
    const GATEWAY6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 1));
    const WEB6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 2));

    fn zone() -> Zone {
        let subnets = [("172.17.0.0/16", GATEWAY), ("fd00:9::/64", GATEWAY6)];
        Zone::new(
            "gp0",
            subnets.map(|(subnet, gateway)| (subnet.parse().unwrap(), gateway)),
        )
    }

    #[test]
    fn a_container_is_found_by_name_id_and_network() {
        let mut zone = zone();
        zone.add("Web", "b9ffb0800ca5", &[WEB, WEB6]);
        for name in ["web", "web.gp0", "b9ffb0800ca5"] {
            assert_eq!(zone.addresses(name), Some(&[WEB, WEB6][..]), "{name}");
        }
        for name in ["we", "web.gp1", "b9ffb0800ca", "gp0", "", "b9ffb0800ca5.gp0"] {
            assert_eq!(zone.addresses(name), None, "{name}");
        }
        for address in [WEB, WEB6] {
            assert_eq!(zone.owner(address), Owner::Named("web.gp0"));
        }
    }

    #[test]
    fn the_gateway_is_the_host() {
        let mut zone = zone();
        zone.add("host.docker.internal", "0123456789ab", &[WEB]);
        for name in ["host.containers.internal", "host.docker.internal"] {
            assert_eq!(
                zone.addresses(name),
                Some(&[GATEWAY][..]),
                "no container stands in its way"
            );
        }
        for address in [GATEWAY, GATEWAY6] {
            assert_eq!(zone.owner(address), Owner::Named("host.containers.internal"));
        }
        assert_eq!(zone.host(), [GATEWAY]);
    }

    #[test]
    fn addresses_of_the_subnet_are_the_networks_alone() {
        let zone = zone();
        assert_eq!((zone.owner(WEB), zone.owner(WEB6)), (Owner::Nobody, Owner::Nobody));
        for elsewhere in ["172.18.0.2", "fd00:a::2"] {
            assert_eq!(zone.owner(elsewhere.parse().unwrap()), Owner::Elsewhere);
        }
    }

    #[test]
    fn a_stopped_container_keeps_its_names() {
        let mut zone = zone();
        zone.add("db", "0123456789ab", &[]);
        assert_eq!(zone.addresses("db"), Some(&[][..]));
        assert_eq!(zone.addresses("0123456789ab"), Some(&[][..]));
    }

    #[test]
    fn names_that_differ_in_case_are_one() {
        let mut zone = zone();
        zone.add("web", "b9ffb0800ca5", &[WEB]);
        zone.add("WEB", "0123456789ab", &[OTHER]);
        zone.add("wEb", "1123456789ab", &[]);
        assert_eq!(zone.addresses("web"), Some(&[WEB, OTHER][..]));
    }

    #[test]
    fn an_alias_is_one_containers_own() {
        let mut zone = zone();
        zone.add("db", "0123456789ab", &[OTHER]);
        zone.add_alias(&[WEB, WEB6], "DB", &[GATEWAY]);
        zone.add_alias(&[WEB], "gone", &[]);
        for client in [WEB, WEB6] {
            assert_eq!(zone.addresses_for(client, "db"), Some(&[GATEWAY][..]));
        }
        assert_eq!(zone.addresses_for(OTHER, "db"), Some(&[OTHER][..]));
        assert_eq!(zone.addresses_for(WEB, "gone"), Some(&[][..]));
        assert_eq!(zone.addresses_for(OTHER, "gone"), None);
    }

    #[test]
    fn names_that_nobody_can_ask_for_are_left_out() {
        let mut zone = zone();
        for name in ["a..b", "ab.", &"a".repeat(64)] {
            zone.add(name, "0123456789ab", &[WEB]);
            assert_eq!(zone.addresses(&name.to_lowercase()), None, "{name}");
        }
        assert_eq!(zone.addresses("0123456789ab"), Some(&[WEB][..]), "the id still serves");
        assert_eq!(zone.owner(WEB), Owner::Nobody);
    }
}
