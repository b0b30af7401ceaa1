//! Addresses of one network: which container has which, and which comes next.
//!
//! The gateway is the first host address. Containers get the address after the one given last, wrapping at the end, so
//! that an address just given back is not at once somebody else's (Docker of 2014 did the same; its successor takes the
//! lowest free one). A lease holds the IPv4, the IPv6 and the hardware address together. The IPv6 address has the IPv4
//! one's number in its subnet, as far as that is free there. Called by the helper; pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use smoltcp::wire::EthernetAddress;

use super::mac;
use super::subnet::{self, SubnetError};
use super::subnet6;

/// The addresses of a network and their holders.
#[derive(Debug, Clone)]
pub struct AddressPool {
    subnet: Ipv4Network,
    subnet6: Option<Ipv6Network>,
    last: Ipv4Addr,
    leases: BTreeMap<Ipv4Addr, Held>,
}

/// What a container may ask for; what it leaves out is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `--ip`.
    pub address: Option<Ipv4Addr>,
    /// `--ip6`.
    pub address6: Option<Ipv6Addr>,
    /// `--mac-address`.
    pub mac: Option<EthernetAddress>,
}

/// What a container got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its IPv6 address, where the network has any.
    pub address6: Option<Ipv6Addr>,
    /// Its hardware address.
    pub mac: EthernetAddress,
}

impl Lease {
    /// Its addresses of both families, IPv4 first.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let v6 = self.address6.map(IpAddr::V6);
        std::iter::once(self.address.into()).chain(v6).collect()
    }
}

/// Why there is no lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Every address is held.
    #[error("no free address in {0}: remove a container or make a network with a wider {1}")]
    Exhausted(IpNetwork, &'static str),
    /// `--ip6` without IPv6.
    #[error("--ip6 needs a network with IPv6, and this one has none: see `gangplank up --subnet6`")]
    NoIpv6,
    /// `--ip` of another network.
    #[error("address {0} is outside the network's subnet {1}")]
    Outside(IpAddr, IpNetwork),
    /// `--ip` with a meaning of its own.
    #[error("address {0} is the {1} of {2}: choose another")]
    Special(IpAddr, &'static str, IpNetwork),
    /// `--ip` of another container.
    #[error("address {0} is in use by {1}")]
    AddressInUse(IpAddr, String),
    /// `--mac-address` of another container or of the gateway.
    #[error("hardware address {} is in use by {}", mac::format(*.0), .1)]
    MacInUse(EthernetAddress, String),
}

#[derive(Debug, Clone)]
struct Held {
    mac: EthernetAddress,
    address6: Option<Ipv6Addr>,
    holder: String,
}

impl AddressPool {
    /// A pool with everything free; the subnets must have room for a gateway and a container.
    pub fn new(subnet: Ipv4Network, subnet6: Option<Ipv6Network>) -> Result<Self, SubnetError> {
        for subnet in [Some(subnet.into()), subnet6.map(IpNetwork::V6)].into_iter().flatten() {
            subnet::check_shape(subnet)?;
        }
        let mut pool = Self {
            subnet,
            subnet6,
            last: subnet.network(),
            leases: BTreeMap::new(),
        };
        pool.last = pool.gateway().address;
        Ok(pool)
    }

    /// The IPv4 subnet whose addresses these are.
    pub fn subnet(&self) -> Ipv4Network {
        self.subnet
    }

    /// The IPv6 subnet, where there is one.
    pub fn subnet6(&self) -> Option<Ipv6Network> {
        self.subnet6
    }

    /// The first host addresses and their hardware address.
    pub fn gateway(&self) -> Lease {
        let address = after(self.subnet.network());
        Lease {
            address,
            address6: self.subnet6.map(subnet6::gateway),
            mac: mac::from_ipv4(address),
        }
    }

    /// Leases what is wanted, or the next free address and what is made from it: hardware and IPv6 address.
    pub fn lease(&mut self, holder: &str, wanted: Wanted) -> Result<Lease, LeaseError> {
        if let Some(mac) = wanted.mac {
            self.check_mac(mac)?;
        }
        if let Some(address6) = wanted.address6 {
            self.check6(address6)?;
        }
        let mut lease = match wanted.address {
            Some(address) => self.exactly(address, wanted.mac)?,
            None => self.next_free(wanted.mac)?,
        };
        lease.address6 = match (self.subnet6, wanted.address6) {
            (Some(subnet), None) => Some(self.free6(subnet, lease.address)?),
            (_, wanted) => wanted,
        };
        self.leases.insert(
            lease.address,
            Held {
                mac: lease.mac,
                address6: lease.address6,
                holder: holder.to_owned(),
            },
        );
        Ok(lease)
    }

    /// Gives an address back, and what was leased with it; unknown ones are not held, which is what was asked for.
    pub fn release(&mut self, address: Ipv4Addr) {
        self.leases.remove(&address);
    }

    /// Who holds `address`.
    pub fn holder(&self, address: Ipv4Addr) -> Option<&str> {
        self.leases.get(&address).map(|held| held.holder.as_str())
    }

    fn exactly(&self, address: Ipv4Addr, mac: Option<EthernetAddress>) -> Result<Lease, LeaseError> {
        if !self.subnet.contains(address) {
            return Err(LeaseError::Outside(address.into(), self.subnet.into()));
        }
        if let Some(meaning) = self.meaning(address) {
            return Err(LeaseError::Special(address.into(), meaning, self.subnet.into()));
        }
        if let Some(holder) = self.holder(address) {
            return Err(LeaseError::AddressInUse(address.into(), holder.to_owned()));
        }
        let mac = mac.unwrap_or_else(|| mac::from_ipv4(address));
        self.check_mac(mac)?;
        Ok(Lease {
            address,
            address6: None,
            mac,
        })
    }

    /// Whether an IPv6 address can be leased.
    fn check6(&self, address: Ipv6Addr) -> Result<(), LeaseError> {
        let subnet = self.subnet6.ok_or(LeaseError::NoIpv6)?;
        if !subnet.contains(address) {
            return Err(LeaseError::Outside(address.into(), subnet.into()));
        }
        let meaning = match address {
            // RFC 4291 section 2.6.1.
            _ if address == subnet.network() => Some("routers' anycast address"),
            _ if address == subnet6::gateway(subnet) => Some("gateway"),
            _ => None,
        };
        if let Some(meaning) = meaning {
            return Err(LeaseError::Special(address.into(), meaning, subnet.into()));
        }
        match self.leases.values().find(|held| held.address6 == Some(address)) {
            Some(held) => Err(LeaseError::AddressInUse(address.into(), held.holder.clone())),
            None => Ok(()),
        }
    }

    /// The IPv6 address with the number of this IPv4 address; the first free one where that is somebody's, or beyond the
    /// subnet.
    fn free6(&self, subnet: Ipv6Network, address: Ipv4Addr) -> Result<Ipv6Addr, LeaseError> {
        let own = u128::from(address.to_bits() - self.subnet.network().to_bits());
        // So many addresses can't all be held.
        let others = FIRST_CONTAINER..=FIRST_CONTAINER + self.leases.len() as u128;
        std::iter::once(own)
            .chain(others)
            .filter_map(|number| subnet6::numbered(subnet, number))
            .find(|address| self.check6(*address).is_ok())
            .ok_or(LeaseError::Exhausted(subnet.into(), "--subnet6"))
    }

    /// Walks the host addresses once, from the one after the last given.
    fn next_free(&mut self, mac: Option<EthernetAddress>) -> Result<Lease, LeaseError> {
        let start = self.last;
        let mut address = self.following(start);
        loop {
            if let Ok(lease) = self.exactly(address, mac) {
                self.last = address;
                return Ok(lease);
            }
            if address == start {
                return Err(LeaseError::Exhausted(self.subnet.into(), "--subnet"));
            }
            address = self.following(address);
        }
    }

    /// The address after this one, the first of the subnet after the last.
    fn following(&self, address: Ipv4Addr) -> Ipv4Addr {
        if address == self.subnet.broadcast() {
            self.subnet.network()
        } else {
            after(address)
        }
    }

    fn meaning(&self, address: Ipv4Addr) -> Option<&'static str> {
        match address {
            _ if address == self.subnet.network() => Some("network address"),
            _ if address == self.subnet.broadcast() => Some("broadcast address"),
            _ if address == self.gateway().address => Some("gateway"),
            _ => None,
        }
    }

    fn check_mac(&self, mac: EthernetAddress) -> Result<(), LeaseError> {
        if mac == self.gateway().mac {
            return Err(LeaseError::MacInUse(mac, "the gateway".to_owned()));
        }
        match self.leases.values().find(|held| held.mac == mac) {
            Some(held) => Err(LeaseError::MacInUse(mac, held.holder.clone())),
            None => Ok(()),
        }
    }
}

fn after(address: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits().wrapping_add(1))
}

/// Number of the first address that is nobody's from the start.
const FIRST_CONTAINER: u128 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(subnet: &str) -> AddressPool {
        AddressPool::new(subnet.parse().unwrap(), None).unwrap()
    }

    fn pool6(subnet: &str, subnet6: &str) -> AddressPool {
        AddressPool::new(subnet.parse().unwrap(), Some(subnet6.parse().unwrap())).unwrap()
    }

    fn any(pool: &mut AddressPool, holder: &str) -> String {
        pool.lease(holder, Wanted::default()).unwrap().address.to_string()
    }

    fn at(address: &str) -> Wanted {
        Wanted {
            address: Some(address.parse().unwrap()),
            ..Wanted::default()
        }
    }

    fn with_mac(mac: &str) -> Wanted {
        Wanted {
            mac: Some(mac::parse(mac).unwrap()),
            ..Wanted::default()
        }
    }

    #[test]
    fn the_gateway_is_first_and_the_first_container_second() {
        let mut pool = pool("172.17.0.0/16");
        assert_eq!(pool.gateway().address.to_string(), "172.17.0.1");
        let lease = pool.lease("a", Wanted::default()).unwrap();
        assert_eq!(lease.address.to_string(), "172.17.0.2");
        assert_eq!(mac::format(lease.mac), "02:42:ac:11:00:02");
        assert_eq!(any(&mut pool, "b"), "172.17.0.3");
    }

    #[test]
    fn an_address_given_back_is_not_the_next_one() {
        let mut pool = pool("10.5.0.0/29");
        assert_eq!(any(&mut pool, "a"), "10.5.0.2");
        pool.release("10.5.0.2".parse().unwrap());
        assert_eq!(any(&mut pool, "b"), "10.5.0.3");
        for last in [4, 5, 6] {
            assert_eq!(any(&mut pool, "c"), format!("10.5.0.{last}"));
        }
        assert_eq!(
            any(&mut pool, "d"),
            "10.5.0.2",
            "wraps past broadcast, network and gateway"
        );
    }

    #[test]
    fn a_full_pool_says_so_and_recovers() {
        let mut pool = pool("10.5.0.0/30");
        assert_eq!(any(&mut pool, "a"), "10.5.0.2");
        assert_eq!(
            pool.lease("b", Wanted::default()),
            Err(LeaseError::Exhausted(pool.subnet().into(), "--subnet"))
        );
        pool.release("10.5.0.2".parse().unwrap());
        assert_eq!(any(&mut pool, "b"), "10.5.0.2", "the last one given is tried too");
    }

    #[test]
    fn a_wanted_address_must_be_a_free_one_of_the_subnet() {
        let mut pool = pool("10.5.0.0/24");
        assert_eq!(
            pool.lease("db", at("10.5.0.77")).unwrap().address.to_string(),
            "10.5.0.77"
        );
        for (address, expected) in [
            (
                "10.6.0.1",
                "address 10.6.0.1 is outside the network's subnet 10.5.0.0/24",
            ),
            (
                "10.5.0.0",
                "address 10.5.0.0 is the network address of 10.5.0.0/24: choose another",
            ),
            (
                "10.5.0.1",
                "address 10.5.0.1 is the gateway of 10.5.0.0/24: choose another",
            ),
            (
                "10.5.0.255",
                "address 10.5.0.255 is the broadcast address of 10.5.0.0/24: choose another",
            ),
            ("10.5.0.77", "address 10.5.0.77 is in use by db"),
        ] {
            assert_eq!(pool.lease("web", at(address)).unwrap_err().to_string(), expected);
        }
        assert_eq!(
            any(&mut pool, "web"),
            "10.5.0.2",
            "asking in vain, or for a certain one, does not move the sequence"
        );
    }

    #[test]
    fn hardware_addresses_are_unique_too() {
        let mut pool = pool("10.5.0.0/24");
        pool.lease("thief", with_mac("02:42:0a:05:00:04")).unwrap();
        let error = pool.lease("web", with_mac("02:42:0a:05:00:04")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "hardware address 02:42:0a:05:00:04 is in use by thief"
        );
        let error = pool.lease("web", with_mac("02:42:0a:05:00:01")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "hardware address 02:42:0a:05:00:01 is in use by the gateway"
        );
        let error = pool.lease("web", at("10.5.0.4")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "hardware address 02:42:0a:05:00:04 is in use by thief"
        );
        assert_eq!(any(&mut pool, "a"), "10.5.0.3");
        assert_eq!(
            any(&mut pool, "b"),
            "10.5.0.5",
            "an address whose hardware address is taken is passed over"
        );
    }

    #[test]
    fn the_top_of_the_address_space_wraps_inside_the_subnet() {
        let mut pool = pool("223.255.255.252/30");
        assert_eq!(any(&mut pool, "a"), "223.255.255.254");
    }

    fn at6(address: &str) -> Wanted {
        Wanted {
            address6: Some(address.parse().unwrap()),
            ..Wanted::default()
        }
    }

    fn any6(pool: &mut AddressPool, holder: &str) -> Result<String, LeaseError> {
        let lease = pool.lease(holder, Wanted::default())?;
        Ok(lease.address6.map(|address| address.to_string()).unwrap_or_default())
    }

    #[test]
    fn both_families_have_one_number() {
        let mut both = pool6("172.17.0.0/16", "fd00:9::/64");
        assert_eq!(both.gateway().address6, "fd00:9::1".parse().ok());
        assert_eq!(any6(&mut both, "a").unwrap(), "fd00:9::2");
        let far = both.lease("b", at("172.17.1.2")).unwrap();
        assert_eq!(far.address6, "fd00:9::102".parse().ok());
        let lease = pool("172.17.0.0/16").lease("a", Wanted::default()).unwrap();
        assert_eq!(lease.address6, None);
    }

    #[test]
    fn a_wanted_ipv6_address_must_be_a_free_one_of_the_subnet() {
        let mut both = pool6("10.5.0.0/24", "fd00:9::/64");
        let lease = both.lease("db", at6("fd00:9::3")).unwrap();
        assert_eq!(lease.address6, "fd00:9::3".parse().ok());
        for (address, expected) in [
            (
                "fd00:8::3",
                "address fd00:8::3 is outside the network's subnet fd00:9::/64",
            ),
            (
                "fd00:9::",
                "address fd00:9:: is the routers' anycast address of fd00:9::/64: choose another",
            ),
            (
                "fd00:9::1",
                "address fd00:9::1 is the gateway of fd00:9::/64: choose another",
            ),
            ("fd00:9::3", "address fd00:9::3 is in use by db"),
        ] {
            assert_eq!(both.lease("web", at6(address)).unwrap_err().to_string(), expected);
        }
        assert_eq!(
            any6(&mut both, "web").unwrap(),
            "fd00:9::2",
            "10.5.0.3 has a number that is somebody else's"
        );
        let refused = pool("10.5.0.0/24").lease("web", at6("fd00:9::3"));
        assert_eq!(refused, Err(LeaseError::NoIpv6));
    }

    #[test]
    fn an_ipv6_address_goes_back_with_its_lease() {
        let mut pool = pool6("10.5.0.0/24", "fd00:9::/64");
        pool.lease("db", at6("fd00:9::77")).unwrap();
        pool.release("10.5.0.2".parse().unwrap());
        assert!(pool.lease("db", at6("fd00:9::77")).is_ok());
    }

    #[test]
    fn a_narrow_ipv6_subnet_is_used_up_too() {
        let mut pool = pool6("10.5.0.0/24", "fd00:9::/126");
        assert_eq!(any6(&mut pool, "a").unwrap(), "fd00:9::2");
        assert_eq!(any6(&mut pool, "b").unwrap(), "fd00:9::3");
        assert_eq!(
            any6(&mut pool, "c").unwrap_err().to_string(),
            "no free address in fd00:9::/126: remove a container or make a network with a wider --subnet6"
        );
        pool.release("10.5.0.2".parse().unwrap());
        assert_eq!(any6(&mut pool, "d").unwrap(), "fd00:9::2");
    }
}
