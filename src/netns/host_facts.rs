//! What the host uses already: routes, addresses, resolvers. Read once, when a subnet is to be chosen.
//!
//! Only reads, in the network namespace of the caller, by rtnetlink and resolv.conf(5); what follows from it is
//! decided in `network`.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use futures_util::TryStreamExt;
use ipnetwork::IpNetwork;
use nix::net::if_::if_indextoname;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{Handle, RouteMessageBuilder};

use super::netlink::{ask, connect, links, name_of};
use super::refusal::Refusal;
use crate::network::facts::{HostFacts, HostRoute};

/// Why the host could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum HostFactsError {
    /// Netlink failed.
    #[error("reading the host's routes: {0}")]
    Netlink(#[from] Refusal),
    /// Netlink can't be opened.
    #[error("opening netlink: {0}")]
    Open(#[source] io::Error),
}

/// Gathers the facts; a `resolv_conf` that can't be read names no resolver.
pub async fn host_facts(resolv_conf: &Path) -> Result<HostFacts, HostFactsError> {
    let handle = connect().map_err(HostFactsError::Open)?;
    let resolv_conf = std::fs::read_to_string(resolv_conf).unwrap_or_default();
    Ok(HostFacts {
        routes: routes(&handle).await?,
        prefixes: prefixes(&handle).await?,
        nameservers: nameservers(&resolv_conf),
    })
}

async fn routes(handle: &Handle) -> Result<Vec<HostRoute>, Refusal> {
    let links = links(handle).await?;
    let names: BTreeMap<u32, &str> = links
        .iter()
        .filter_map(|link| Some((link.header.index, name_of(link)?)))
        .collect();
    let mut routes = dump(handle, RouteMessageBuilder::<Ipv4Addr>::new().build()).await?;
    // Without IPv6 the kernel would answer with the routes of every family that there is.
    if Path::new(IPV6_ADDRESSES).exists() {
        routes.extend(dump(handle, RouteMessageBuilder::<Ipv6Addr>::new().build()).await?);
    }
    let routes = routes.iter().filter(|route| table_of(route) != RT_TABLE_LOCAL);
    let name = |index: u32| names.get(&index).map(|name| (*name).to_owned());
    Ok(routes.filter_map(|route| host_route(route, name)).collect())
}

/// A route that the kernel has just told of, unless it is one of the host's own addresses.
pub(super) fn new_route(route: &RouteMessage) -> Option<HostRoute> {
    let name = |index: u32| if_indextoname(index).ok()?.into_string().ok();
    host_route(route, name).filter(|_| table_of(route) != RT_TABLE_LOCAL)
}

async fn dump(handle: &Handle, family: RouteMessage) -> Result<Vec<RouteMessage>, Refusal> {
    ask("listing routes", handle.route().get(family).execute().try_collect()).await
}

async fn prefixes(handle: &Handle) -> Result<Vec<IpNetwork>, Refusal> {
    let all = handle.address().get().execute();
    let addresses: Vec<AddressMessage> = ask("listing addresses", all.try_collect()).await?;
    Ok(addresses.iter().filter_map(prefix).collect())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "three attributes of many, and two families"
)]
fn host_route(route: &RouteMessage, name: impl Fn(u32) -> Option<String>) -> Option<HostRoute> {
    let unspecified = match route.header.address_family {
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let (mut address, mut gateway) = (unspecified, None);
    let mut interface = String::new();
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(destination) => address = ip(destination)?,
            RouteAttribute::Gateway(next) => gateway = ip(next),
            RouteAttribute::Oif(index) => interface = name(*index).unwrap_or_default(),
            _ => {}
        }
    }
    let destination = IpNetwork::new(address, route.header.destination_prefix_length).ok()?;
    Some(HostRoute {
        destination,
        interface,
        gateway,
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "IP addresses only")]
pub(super) fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

/// RTA_TABLE, which the header's byte can't always hold.
#[expect(clippy::wildcard_enum_match_arm, reason = "one attribute of many")]
pub(super) fn table_of(route: &RouteMessage) -> u32 {
    let table = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    table.unwrap_or(route.header.table.into())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "one attribute of many")]
fn prefix(address: &AddressMessage) -> Option<IpNetwork> {
    address.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(ip) => IpNetwork::new(*ip, address.header.prefix_len).ok(),
        _ => None,
    })
}

/// The `nameserver` lines of a resolv.conf(5); an IPv6 zone (`%eth0`) says nothing about the address.
pub fn nameservers(resolv_conf: &str) -> Vec<IpAddr> {
    let servers = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == "nameserver")?;
        words.next()?.split('%').next()?.parse().ok()
    });
    servers.collect()
}

/// There is no such file where the kernel was started without IPv6 (proc_net(5)).
pub(super) const IPV6_ADDRESSES: &str = "/proc/net/if_inet6";

/// The table of the host's own addresses and their broadcasts (linux/rtnetlink.h).
const RT_TABLE_LOCAL: u32 = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_nameservers_as_the_resolver_does() {
        let servers = nameservers(
            "# nameserver 192.0.2.1\nnameserver 127.0.0.53\n nameserver\t192.0.2.9 # office\n\
             nameserver fe80::1%eth0\nnameservers 192.0.2.2\nnameserver\nnameserver x\noptions edns0\n",
        );
        let expected: [IpAddr; 3] = [
            "127.0.0.53".parse().unwrap(),
            "192.0.2.9".parse().unwrap(),
            "fe80::1".parse().unwrap(),
        ];
        assert_eq!(servers, expected);
    }

    #[test]
    fn sees_loopback() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let facts = runtime.block_on(host_facts(Path::new("/nonexistent"))).unwrap();
        assert!(facts.prefixes.contains(&"127.0.0.1/8".parse().unwrap()), "{facts:?}");
        assert!(facts.nameservers.is_empty());
        for route in &facts.routes {
            let families = route.gateway.map(|gateway| gateway.is_ipv4());
            assert_eq!(
                route.destination.is_ipv4(),
                families.unwrap_or(route.destination.is_ipv4()),
                "{route:?}"
            );
        }
    }
}
