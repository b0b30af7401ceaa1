//! Addresses of one network: which container has which, and which comes next.
//!
//! The gateway is the first host address. Containers get the address after the one given last, wrapping at the end, so
//! that an address just given back is not at once somebody else's (Docker of 2014 did the same; its successor takes the
//! lowest free one). A lease holds the IPv4 and the hardware address together. Called by the helper; pure.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnetwork::{IpNetwork, Ipv4Network};
use smoltcp::wire::EthernetAddress;

use super::mac;
use super::subnet::{self, SubnetError};

/// The addresses of a network and their holders.
#[derive(Debug, Clone)]
pub struct AddressPool {
    subnet: Ipv4Network,
    last: Ipv4Addr,
    leases: BTreeMap<Ipv4Addr, Held>,
}

/// What a container may ask for; what it leaves out is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `--ip`.
    pub address: Option<Ipv4Addr>,
    /// `--mac-address`.
    pub mac: Option<EthernetAddress>,
}

/// What a container got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its hardware address.
    pub mac: EthernetAddress,
}

/// Why there is no lease.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Every address is held.
    #[error("no free address in {0}: remove a container or make a network with a wider --subnet")]
    Exhausted(Ipv4Network),
    /// `--ip` of another network.
    #[error("address {0} is outside the network's subnet {1}")]
    Outside(Ipv4Addr, Ipv4Network),
    /// `--ip` with a meaning of its own.
    #[error("address {0} is the {1} of {2}: choose another")]
    Special(Ipv4Addr, &'static str, Ipv4Network),
    /// `--ip` of another container.
    #[error("address {0} is in use by {1}")]
    AddressInUse(Ipv4Addr, String),
    /// `--mac-address` of another container or of the gateway.
    #[error("hardware address {} is in use by {}", mac::format(*.0), .1)]
    MacInUse(EthernetAddress, String),
}

#[derive(Debug, Clone)]
struct Held {
    mac: EthernetAddress,
    holder: String,
}

impl AddressPool {
    /// A pool with everything free; the subnet must have room for a gateway and a container.
    pub fn new(subnet: Ipv4Network) -> Result<Self, SubnetError> {
        subnet::check_shape(IpNetwork::V4(subnet))?;
        let mut pool = Self {
            subnet,
            last: subnet.network(),
            leases: BTreeMap::new(),
        };
        pool.last = pool.gateway().address;
        Ok(pool)
    }

    /// The subnet whose addresses these are.
    pub fn subnet(&self) -> Ipv4Network {
        self.subnet
    }

    /// The first host address and its hardware address.
    pub fn gateway(&self) -> Lease {
        let address = after(self.subnet.network());
        Lease {
            address,
            mac: mac::from_ipv4(address),
        }
    }

    /// Leases what is wanted, or the next free address and the hardware address made from it.
    pub fn lease(&mut self, holder: &str, wanted: Wanted) -> Result<Lease, LeaseError> {
        if let Some(mac) = wanted.mac {
            self.check_mac(mac)?;
        }
        let lease = match wanted.address {
            Some(address) => self.exactly(address, wanted.mac)?,
            None => self.next_free(wanted.mac)?,
        };
        self.leases.insert(
            lease.address,
            Held {
                mac: lease.mac,
                holder: holder.to_owned(),
            },
        );
        Ok(lease)
    }

    /// Gives an address back; unknown ones are not held, which is what was asked for.
    pub fn release(&mut self, address: Ipv4Addr) {
        self.leases.remove(&address);
    }

    /// Who holds `address`.
    pub fn holder(&self, address: Ipv4Addr) -> Option<&str> {
        self.leases.get(&address).map(|held| held.holder.as_str())
    }

    fn exactly(&self, address: Ipv4Addr, mac: Option<EthernetAddress>) -> Result<Lease, LeaseError> {
        if !self.subnet.contains(address) {
            return Err(LeaseError::Outside(address, self.subnet));
        }
        if let Some(meaning) = self.meaning(address) {
            return Err(LeaseError::Special(address, meaning, self.subnet));
        }
        if let Some(holder) = self.holder(address) {
            return Err(LeaseError::AddressInUse(address, holder.to_owned()));
        }
        let mac = mac.unwrap_or_else(|| mac::from_ipv4(address));
        self.check_mac(mac)?;
        Ok(Lease { address, mac })
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
                return Err(LeaseError::Exhausted(self.subnet));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(subnet: &str) -> AddressPool {
        AddressPool::new(subnet.parse().unwrap()).unwrap()
    }

    fn any(pool: &mut AddressPool, holder: &str) -> String {
        pool.lease(holder, Wanted::default()).unwrap().address.to_string()
    }

    fn at(address: &str) -> Wanted {
        Wanted {
            address: Some(address.parse().unwrap()),
            mac: None,
        }
    }

    fn with_mac(mac: &str) -> Wanted {
        Wanted {
            address: None,
            mac: Some(mac::parse(mac).unwrap()),
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
            Err(LeaseError::Exhausted(pool.subnet()))
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
}
