//! The host's interfaces with their addresses and routes, for a namespace that is to look like the host.
//!
//! Only reads, in the network namespace of the caller; what is copied is decided by whoever asks. Routes are those of the
//! main table, in the kernel's order; of a route with several next hops the heaviest is taken, the first of several
//! that weigh the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use futures_util::TryStreamExt;
use ipnetwork::IpNetwork;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteType,
};
use rtnetlink::{Handle, RouteMessageBuilder};

use super::host_facts::{IPV6_ADDRESSES, ip, table_of};
use super::netlink::{ask, connect, links, name_of};
use super::refusal::Refusal;

/// What the host has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostView {
    /// Its interfaces but the loopback, in the kernel's order.
    pub links: Vec<HostLink>,
    /// Their unicast routes.
    pub routes: Vec<ViewedRoute>,
    /// Whether the kernel speaks IPv6.
    pub has_ipv6: bool,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLink {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its addresses, without those that are good on the link only, and those that nobody is to begin with (deprecated, RFC
    /// 4862 section 5.5.4) beside others.
    pub addresses: Vec<IpNetwork>,
}

/// A route over one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewedRoute {
    /// The interface.
    pub index: u32,
    /// Where to; no bits is the default route.
    pub to: IpNetwork,
    /// By whom, or straight on the link.
    pub gateway: Option<IpAddr>,
    /// Its preference among routes to the same place.
    pub metric: Option<u32>,
    /// The address that what goes there comes from.
    pub source: Option<IpAddr>,
    /// The gateway is on the link, whatever the other routes say.
    pub onlink: bool,
}

impl HostView {
    /// Looks at the host.
    pub async fn gather() -> Result<Self, Refusal> {
        let handle = connect().map_err(|error| Refusal::kernel("opening netlink", &error))?;
        // Without IPv6 the kernel would answer with the routes of every family that there is.
        let has_ipv6 = Path::new(IPV6_ADDRESSES).exists();
        let mut routes = dump(&handle, RouteMessageBuilder::<Ipv4Addr>::new().build()).await?;
        if has_ipv6 {
            routes.extend(dump(&handle, RouteMessageBuilder::<Ipv6Addr>::new().build()).await?);
        }
        let all = handle.address().get().execute();
        let addresses: Vec<AddressMessage> = ask("listing addresses", all.try_collect()).await?;
        let mut view = Self {
            links: Vec::new(),
            routes: routes.iter().filter_map(viewed).collect(),
            has_ipv6,
        };
        for link in links(&handle).await? {
            let (index, Some(name)) = (link.header.index, name_of(&link)) else {
                continue;
            };
            if name != LOOPBACK {
                let of_link = addresses.iter().filter(|address| address.header.index == index);
                view.links.push(HostLink {
                    index,
                    name: name.to_owned(),
                    addresses: preferred(of_link),
                });
            }
        }
        let known = |route: &ViewedRoute| view.links.iter().any(|link| link.index == route.index);
        view.routes.retain(known);
        Ok(view)
    }

    /// The interface of this name.
    pub fn link(&self, name: &str) -> Option<&HostLink> {
        self.links.iter().find(|link| link.name == name)
    }
}

async fn dump(handle: &Handle, family: RouteMessage) -> Result<Vec<RouteMessage>, Refusal> {
    // A table that changes while it is listed is listed once more (NLM_F_DUMP_INTR shows as an error).
    let mut listed = list(handle, family.clone()).await;
    for _ in 1..DUMP_TRIES {
        if listed.is_ok() {
            break;
        }
        listed = list(handle, family.clone()).await;
    }
    listed
}

async fn list(handle: &Handle, family: RouteMessage) -> Result<Vec<RouteMessage>, Refusal> {
    ask("listing routes", handle.route().get(family).execute().try_collect()).await
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a few attributes of many, and two families"
)]
fn viewed(route: &RouteMessage) -> Option<ViewedRoute> {
    if table_of(route) != MAIN_TABLE || route.header.kind != RouteType::Unicast {
        return None;
    }
    let unspecified = match route.header.address_family {
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    let (mut address, mut index) = (unspecified, None);
    let (mut gateway, mut metric, mut source) = (None, None, None);
    let mut onlink = route.header.flags.contains(RouteFlags::Onlink);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(destination) => address = ip(destination)?,
            RouteAttribute::Gateway(next) => gateway = ip(next),
            RouteAttribute::Oif(number) => index = Some(*number),
            RouteAttribute::Priority(preference) => metric = Some(*preference),
            RouteAttribute::PrefSource(preferred) => source = ip(preferred),
            RouteAttribute::MultiPath(hops) => {
                let hop = heaviest(hops)?;
                index = Some(hop.interface_index);
                onlink |= hop.flags.contains(RouteNextHopFlags::Onlink);
                gateway = hop.attributes.iter().find_map(|attribute| match attribute {
                    RouteAttribute::Gateway(next) => ip(next),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    Some(ViewedRoute {
        index: index?,
        to: IpNetwork::new(address, route.header.destination_prefix_length).ok()?,
        // A next hop of the other family (RFC 5549) leads nowhere in a copy.
        gateway: gateway.filter(|gateway: &IpAddr| gateway.is_ipv4() == address.is_ipv4()),
        metric,
        source,
        onlink,
    })
}

fn heaviest(hops: &[RouteNextHop]) -> Option<&RouteNextHop> {
    // Of equals `max_by_key` would take the last.
    hops.iter().rev().max_by_key(|hop| hop.hops)
}

/// Of each family those that are not deprecated, if there are any.
fn preferred<'a>(addresses: impl Iterator<Item = &'a AddressMessage>) -> Vec<IpNetwork> {
    let is_deprecated = |address: &AddressMessage| address.header.flags.contains(AddressHeaderFlags::Deprecated);
    let all: Vec<(IpNetwork, bool)> = addresses
        .filter_map(|address| Some((global(address)?, is_deprecated(address))))
        .collect();
    let has_better = |network: &IpNetwork| {
        all.iter()
            .any(|(other, deprecated)| !deprecated && other.is_ipv4() == network.is_ipv4())
    };
    let chosen = all
        .iter()
        .filter(|(network, deprecated)| !deprecated || !has_better(network));
    chosen.map(|(network, _)| *network).collect()
}

/// An address that is good beyond the link.
#[expect(clippy::wildcard_enum_match_arm, reason = "two attributes of many")]
fn global(address: &AddressMessage) -> Option<IpNetwork> {
    if matches!(address.header.scope, AddressScope::Link | AddressScope::Host) {
        return None;
    }
    // Of a point-to-point link, IFA_LOCAL is ours and IFA_ADDRESS the other end's (rtnetlink(7)).
    let (mut local, mut other) = (None, None);
    for attribute in &address.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => other = Some(*ip),
            _ => {}
        }
    }
    IpNetwork::new(local.or(other)?, address.header.prefix_len).ok()
}

/// How often a listing is tried that changed under us.
const DUMP_TRIES: usize = 3;

/// RT_TABLE_MAIN of linux/rtnetlink.h.
const MAIN_TABLE: u32 = 254;

/// The one interface that every namespace has.
const LOOPBACK: &str = "lo";
