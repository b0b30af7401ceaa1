//! The IPv6 half of a network: which subnet it gets, and the addresses in it.
//!
//! A network that is told nothing gets a prefix of its own out of fd00::/8 (RFC 4193 section 3.2): 40 random bits, so
//! that two networks, on whatever machines, do not meet. A container's number is the same in both families: the one with
//! 172.17.0.2 has the prefix and ::2. Pure; the randomness is an input.

use std::net::Ipv6Addr;

use ipnetwork::{IpNetwork, Ipv6Network};
use serde::{Deserialize, Serialize};

use super::facts::HostFacts;
use super::subnet::{self, Occupied};

/// What is asked for, `--subnet6`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subnet6 {
    /// No IPv6.
    None,
    /// A prefix that nobody else has.
    #[default]
    Random,
    /// This one.
    Given(Ipv6Network),
}

impl Subnet6 {
    /// The subnet that was named.
    pub fn given(self) -> Option<Ipv6Network> {
        match self {
            Self::Given(subnet) => Some(subnet),
            Self::None | Self::Random => None,
        }
    }
}

impl From<Option<Ipv6Network>> for Subnet6 {
    fn from(subnet: Option<Ipv6Network>) -> Self {
        subnet.map_or(Self::None, Self::Given)
    }
}

/// The 40 bits that make a prefix unique (RFC 4193 section 3.1).
pub type GlobalId = [u8; 5];

/// The first of these prefixes that nothing on this host uses. A random one is in use only if all are: by a route into
/// fd00::/8 as a whole.
pub fn choose(
    global_ids: impl IntoIterator<Item = GlobalId>,
    facts: &HostFacts,
    others: &[Occupied],
) -> Option<Ipv6Network> {
    global_ids
        .into_iter()
        .filter_map(unique_local)
        .find(|candidate| subnet::check(IpNetwork::V6(*candidate), facts, others).is_ok())
}

/// The gateway's address, the subnet's first.
pub fn gateway(subnet: Ipv6Network) -> Ipv6Addr {
    Ipv6Addr::from_bits(subnet.network().to_bits() | 1)
}

/// The address with this number, if the subnet has so many.
pub(super) fn numbered(subnet: Ipv6Network, number: u128) -> Option<Ipv6Addr> {
    let address = Ipv6Addr::from_bits(subnet.network().to_bits().checked_add(number)?);
    subnet.contains(address).then_some(address)
}

/// fd, the global id, subnet 0: a /64.
fn unique_local([a, b, c, d, e]: GlobalId) -> Option<Ipv6Network> {
    let prefix = [0xfd, a, b, c, d, e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    Ipv6Network::new(prefix.into(), UNIQUE_LOCAL_BITS).ok()
}

/// What stateless autoconfiguration needs (RFC 4862 section 5.5.3, RFC 4291 section 2.5.4).
const UNIQUE_LOCAL_BITS: u8 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::facts::HostRoute;

    const ONE: GlobalId = [0x12, 0x34, 0x56, 0x78, 0x9a];
    const TWO: GlobalId = [1, 2, 3, 4, 5];

    fn net(text: &str) -> Ipv6Network {
        text.parse().unwrap()
    }

    #[test]
    fn the_prefix_is_unique_local() {
        let chosen = choose([ONE], &HostFacts::default(), &[]);
        assert_eq!(chosen, Some(net("fd12:3456:789a::/64")));
        assert_eq!(gateway(net("fd12:3456:789a::/64")).to_string(), "fd12:3456:789a::1");
    }

    #[test]
    fn what_is_in_use_is_passed_over() {
        let others = [Occupied {
            name: "blue".to_owned(),
            subnet: "fd12:3456:789a::/64".parse().unwrap(),
        }];
        let chosen = choose([ONE, TWO], &HostFacts::default(), &others);
        assert_eq!(chosen, Some(net("fd01:203:405::/64")));
        let facts = HostFacts {
            routes: vec![HostRoute {
                destination: "fd00::/8".parse().unwrap(),
                interface: "wg0".to_owned(),
                gateway: None,
            }],
            ..HostFacts::default()
        };
        assert_eq!(choose([ONE, TWO], &facts, &[]), None, "all of them");
    }

    #[test]
    fn numbers_end_with_the_subnet() {
        let shown = |subnet, number| numbered(net(subnet), number).map(|address| address.to_string());
        assert_eq!(shown("fd00:1::/64", 2).as_deref(), Some("fd00:1::2"));
        assert_eq!(shown("fd00:1::/64", 0x1_0002).as_deref(), Some("fd00:1::1:2"));
        assert_eq!(shown("fd00:1::/126", 3).as_deref(), Some("fd00:1::3"));
        assert_eq!(shown("fd00:1::/126", 4), None);
        assert_eq!(shown("ffff::/16", u128::MAX), None);
    }
}
