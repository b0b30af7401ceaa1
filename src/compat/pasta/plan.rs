//! What was asked for and what the host has, put together: addresses, routes, and where they lead.
//!
//! Pure: [`Options`] and a [`HostView`] go in, a [`Plan`] comes out, or the reason why not. The interface whose addresses and
//! routes are copied (the template) is that of the first default route of each family; without one, the first with any
//! route; without that, the namespace gets link-local addresses and a gateway that exists for it alone (local mode).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

use super::addresses::class_prefix;
use super::options::{Family, Mapped, Options};
use super::rule::{Pif, Rule, Transport};
use super::spec;
use super::table::Step;
use crate::netns::{HostLink, HostView, ViewedRoute};

/// How a namespace is going to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Name of its interface.
    pub ifname: String,
    /// MTU of the interface in bytes; none leaves the kernel's.
    pub mtu: Option<u16>,
    /// IPv4, if it is spoken.
    pub v4: Option<Side<Ipv4Addr>>,
    /// IPv6, if it is spoken.
    pub v6: Option<Side<Ipv6Addr>>,
    /// What is forwarded from the start.
    pub steps: Vec<Step>,
}

/// One family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side<A> {
    /// The template, if there is one.
    pub template: Option<String>,
    /// The namespace's addresses; in local mode IPv6 has none of its own.
    pub addresses: Vec<IpNetwork>,
    /// Its router, if it has one.
    pub gateway: Option<A>,
    /// What leads over the interface.
    pub routes: Vec<ViewedRoute>,
    /// The address that stands for the host's loopback.
    pub host_loopback: Option<A>,
    /// The address that stands for the host's own, which the namespace has, too.
    pub guest: Option<A>,
    /// The address at which names are asked for.
    pub resolver: Option<A>,
    /// The host's resolver for it, where it was named.
    pub resolver_host: Option<A>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// `-i` or its like.
    #[error("Invalid interface name {0}: No such device")]
    NoInterface(String),
    /// No family is left.
    #[error("External interface not usable")]
    NoFamily,
    /// A protocol is switched off that is to be forwarded.
    #[error("Can't add {0} forwarding rule, {0} not enabled\nUnable to add rule {1}")]
    Disabled(Transport, Box<Rule>),
    /// A family is not spoken that is to be forwarded.
    #[error("{0} forward, but {0} not enabled\nUnable to add rule {1}")]
    NotSpoken(&'static str, Box<Rule>),
}

/// What the plan is made of besides the command line.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'f> {
    /// Interfaces, addresses and routes.
    pub view: &'f HostView,
    /// The servers of resolv.conf.
    pub nameservers: &'f [IpAddr],
    /// The ports that the host gives away by itself.
    pub ephemeral: (u16, u16),
}

/// Makes the plan.
pub fn plan(options: &Options, facts: Facts<'_>) -> Result<Plan, PlanError> {
    let template4 = template(options, options.outbound_if4.as_ref(), facts.view, true)?;
    let template6 = template(options, options.outbound_if6.as_ref(), facts.view, false)?;
    let mtu = match options.mtu {
        None => Some(DEFAULT_MTU),
        Some(0) => None,
        Some(mtu) => Some(mtu),
    };
    let v4 = options.wants_v4().then(|| side4(options, template4, facts));
    let fits_v6 = mtu.is_none_or(|mtu| mtu >= SMALLEST_IPV6_MTU) && facts.view.has_ipv6;
    let v6 = (options.wants_v6() && fits_v6).then(|| side6(options, template6, facts));
    if v4.is_none() && v6.is_none() {
        return Err(PlanError::NoFamily);
    }
    let named = [template4.filter(|_| v4.is_some()), template6.filter(|_| v6.is_some())];
    let named = named.into_iter().flatten().next();
    let ifname = options.ns_ifname.clone();
    Ok(Plan {
        ifname: ifname.unwrap_or_else(|| named.map_or_else(|| "tap0".to_owned(), |link| link.name.clone())),
        mtu,
        steps: steps(options, facts.ephemeral, |address| match address {
            IpAddr::V4(_) => v4.is_some(),
            IpAddr::V6(_) => v6.is_some(),
        })?,
        v4,
        v6,
    })
}

impl Plan {
    /// The namespace's addresses of both families.
    pub fn addresses(&self) -> Vec<IpNetwork> {
        let v4 = self.v4.iter().flat_map(|side| &side.addresses);
        v4.chain(self.v6.iter().flat_map(|side| &side.addresses))
            .copied()
            .collect()
    }

    /// What leads over its interface, what others rely on first.
    pub fn routes(&self) -> Vec<ViewedRoute> {
        let v4 = self.v4.iter().flat_map(|side| &side.routes);
        let mut routes: Vec<ViewedRoute> = v4
            .chain(self.v6.iter().flat_map(|side| &side.routes))
            .copied()
            .collect();
        // A gateway must be on the link when its route is added.
        routes.sort_by_key(|route| route.gateway.is_some());
        routes
    }
}

/// The rule that a SPEC's becomes in a family or direction that has its own idea of addresses.
pub fn localized(options: &Options, pif: Pif, mut rule: Rule) -> Rule {
    if rule.address.is_none() {
        match (options.ipv4_only, options.ipv6_only) {
            (true, _) => rule.address = Some(Ipv4Addr::UNSPECIFIED.into()),
            (_, true) => rule.address = Some(Ipv6Addr::UNSPECIFIED.into()),
            (false, false) => {}
        }
    }
    if pif == Pif::Splice && rule.interface.is_none() {
        rule.interface = Some("lo".to_owned());
    }
    rule
}

/// What is forwarded from the start; what goes without saying comes after what was said.
fn steps(options: &Options, ephemeral: (u16, u16), is_spoken: impl Fn(IpAddr) -> bool) -> Result<Vec<Step>, PlanError> {
    let off = |protocol| match protocol {
        Transport::Tcp => options.off.tcp,
        Transport::Udp => options.off.udp,
    };
    let mut steps = Vec::new();
    let mut add = |pif, protocol, ports: &spec::Ports| {
        for rule in ports.rules(protocol, ephemeral) {
            let rule = localized(options, pif, rule);
            if off(protocol) {
                return Err(PlanError::Disabled(protocol, Box::new(rule)));
            }
            // It would be accepted, and lead nowhere.
            if let Some(address) = rule.address.filter(|address| !is_spoken(*address)) {
                let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
                return Err(PlanError::NotSpoken(family, Box::new(rule)));
            }
            steps.push(Step::Add(pif, rule));
        }
        Ok(())
    };
    for forward in &options.forwards {
        if let Some(ports) = &forward.ports {
            add(forward.pif, forward.protocol, ports)?;
        }
    }
    let Ok(spec::Spec::Ports(auto)) = spec::parse("auto") else {
        return Ok(steps);
    };
    for pif in [Pif::Host, Pif::Splice] {
        for protocol in [Transport::Tcp, Transport::Udp] {
            let said = |forward: &super::options::Forward| (forward.pif, forward.protocol) == (pif, protocol);
            if !options.forwards.iter().any(said) && !off(protocol) {
                add(pif, protocol, &auto)?;
            }
        }
    }
    Ok(steps)
}

/// The interface whose addresses and routes of one family are copied.
fn template<'v>(
    options: &Options,
    of_family: Option<&String>,
    view: &'v HostView,
    v4: bool,
) -> Result<Option<&'v HostLink>, PlanError> {
    if let Some(name) = options.interface.as_ref().or(of_family) {
        let link = view.link(name);
        // The loopback is no template, and exists.
        if link.is_none() && name != "lo" {
            return Err(PlanError::NoInterface(name.clone()));
        }
        let given = if v4 {
            options.v4.address.is_some() || options.v4.gateway.is_some()
        } else {
            options.v6.address.is_some() || options.v6.gateway.is_some()
        };
        // Where `-i` has nothing to copy, and nothing was given in its place, the family is in local mode.
        let of_family = |link: &&HostLink| link.addresses.iter().any(|address| address.is_ipv4() == v4);
        return Ok(link.filter(|link| options.interface.is_none() || given || of_family(link)));
    }
    let routes = || view.routes.iter().filter(|route| route.to.is_ipv4() == v4);
    let default = routes().find(|route| route.to.prefix() == 0);
    // On an IPv6 link of its own accord there is always a route to its link-local addresses: that is none.
    let any = || routes().find(|route| v4 || !is_link_local(route.to.ip()));
    let chosen = default.or_else(any);
    Ok(chosen.and_then(|route| view.links.iter().find(|link| link.index == route.index)))
}

fn side4(options: &Options, template: Option<&HostLink>, facts: Facts<'_>) -> Side<Ipv4Addr> {
    let given = options.v4.address.map(|(address, prefix)| {
        let bits = prefix.or(options.mask).unwrap_or_else(|| class_prefix(address));
        Ipv4Network::new(address, bits).map(IpNetwork::V4)
    });
    let mut addresses: Vec<IpNetwork> = match given {
        Some(network) => network.into_iter().collect(),
        // Copies keep their length: a mask is of an address that is given.
        None => of_template(template, options, true),
    };
    let local = template.is_none();
    if addresses.is_empty() {
        addresses.extend(Ipv4Network::new(LOCAL_GUEST, LOCAL_PREFIX).map(IpNetwork::V4));
    }
    let found = default_gateway(template, facts.view, true);
    let found = match found {
        Some(IpAddr::V4(gateway)) => Some(gateway),
        Some(IpAddr::V6(_)) | None => local.then_some(LOCAL_GATEWAY),
    };
    let gateway = options.v4.gateway.or(found);
    let routes = routes(
        options,
        template,
        facts.view,
        &addresses,
        gateway.map(IpAddr::V4),
        options.v4.gateway.is_some(),
    );
    let guest = addresses.first().map(IpNetwork::ip);
    mapped(&options.v4, addresses, template, gateway, routes, options, facts, guest)
}

fn side6(options: &Options, template: Option<&HostLink>, facts: Facts<'_>) -> Side<Ipv6Addr> {
    let given = options.v6.address.map(|(address, _)| address);
    // Whatever length was given or is the host's: addresses are formed by the namespace, too (RFC 4862).
    let of_64 = |address: Ipv6Addr| Ipv6Network::new(address, INTERFACE_PREFIX).map(IpNetwork::V6);
    let addresses: Vec<IpNetwork> = match given {
        Some(address) => of_64(address).into_iter().collect(),
        None => of_template(template, options, false),
    };
    let local = template.is_none();
    let found = match default_gateway(template, facts.view, false) {
        Some(IpAddr::V6(gateway)) => Some(gateway),
        Some(IpAddr::V4(_)) | None => local.then_some(LOCAL_GATEWAY6),
    };
    let gateway = options.v6.gateway.or(found);
    let routes = routes(
        options,
        template,
        facts.view,
        &addresses,
        gateway.map(IpAddr::V6),
        options.v6.gateway.is_some(),
    );
    let guest = addresses.first().map(IpNetwork::ip);
    mapped(&options.v6, addresses, template, gateway, routes, options, facts, guest)
}

/// What addresses stand for.
#[expect(clippy::too_many_arguments, reason = "what both families have found out by now")]
fn mapped<A: Copy + Into<IpAddr> + PartialEq>(
    family: &Family<A>,
    addresses: Vec<IpNetwork>,
    template: Option<&HostLink>,
    gateway: Option<A>,
    routes: Vec<ViewedRoute>,
    options: &Options,
    facts: Facts<'_>,
    guest: Option<IpAddr>,
) -> Side<A> {
    let host_loopback = match family.host_loopback {
        Mapped::At(address) => Some(address),
        Mapped::Nothing => None,
        Mapped::Default => gateway.filter(|_| !options.no_map_gw),
    };
    // A resolver on the host's loopback is asked where that loopback is; a router that is one, too, goes on being one.
    let stands_for_resolver = |address: &A| {
        let address: IpAddr = (*address).into();
        let on_loopback = |server: &IpAddr| server.is_loopback() && server.is_ipv4() == address.is_ipv4();
        facts.nameservers.contains(&address) || options.dns.is_none() && facts.nameservers.iter().any(on_loopback)
    };
    let resolver = family.dns_forward.or(host_loopback.filter(stands_for_resolver));
    Side {
        template: template.map(|link| link.name.clone()),
        addresses,
        gateway,
        routes,
        host_loopback,
        guest: match family.guest {
            Mapped::At(address) if guest.is_some() => Some(address),
            Mapped::At(_) | Mapped::Nothing | Mapped::Default => None,
        },
        resolver,
        resolver_host: family.dns_host,
    }
}

fn of_template(template: Option<&HostLink>, options: &Options, v4: bool) -> Vec<IpNetwork> {
    let addresses = template.into_iter().flat_map(|link| &link.addresses);
    let addresses = addresses.filter(|network| network.is_ipv4() == v4).copied();
    if options.no_copy_addrs {
        addresses.take(1).collect()
    } else {
        addresses.collect()
    }
}

fn default_gateway(template: Option<&HostLink>, view: &HostView, v4: bool) -> Option<IpAddr> {
    let index = template?.index;
    let of_template = |route: &&ViewedRoute| route.index == index && route.to.is_ipv4() == v4;
    let mut routes = view.routes.iter().filter(of_template);
    routes.find(|route| route.to.prefix() == 0)?.gateway
}

/// The template's routes, or the default route alone where a gateway was named.
fn routes(
    options: &Options,
    template: Option<&HostLink>,
    view: &HostView,
    addresses: &[IpNetwork],
    gateway: Option<IpAddr>,
    named: bool,
) -> Vec<ViewedRoute> {
    let v4 = addresses
        .first()
        .map(IpNetwork::is_ipv4)
        .or(gateway.map(|gateway| gateway.is_ipv4()));
    let copied: Vec<ViewedRoute> = match template {
        Some(link) if !named && !options.no_copy_routes => {
            let of_template = |route: &&ViewedRoute| route.index == link.index && Some(route.to.is_ipv4()) == v4;
            view.routes.iter().filter(of_template).copied().collect()
        }
        Some(_) | None => gateway
            .map(|gateway| default_route(gateway, addresses))
            .into_iter()
            .collect(),
    };
    // The kernel makes these itself, with the addresses.
    let made = |route: &ViewedRoute| {
        route.gateway.is_none()
            && (addresses.iter().any(|own| same_network(own, &route.to))
                || is_link_local(route.to.ip()) && !route.to.is_ipv4())
    };
    let has = |address: IpAddr| addresses.iter().any(|own| own.ip() == address);
    copied
        .into_iter()
        .filter(|route| !made(route))
        .map(|route| ViewedRoute {
            // An address that the namespace does not have can't be preferred.
            source: route.source.filter(|source| has(*source)),
            ..route
        })
        .collect()
}

fn default_route(gateway: IpAddr, addresses: &[IpNetwork]) -> ViewedRoute {
    let any: IpAddr = match gateway {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    ViewedRoute {
        index: 0,
        to: IpNetwork::new(any, 0).unwrap_or_else(|_| any.into()),
        gateway: Some(gateway),
        metric: None,
        source: None,
        onlink: !addresses.iter().any(|own| own.contains(gateway)) && !is_link_local(gateway),
    }
}

fn same_network(own: &IpNetwork, to: &IpNetwork) -> bool {
    own.prefix() == to.prefix() && own.network() == to.network()
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Where names are asked of the host.
pub fn upstream(plan: &Plan) -> Option<Vec<SocketAddr>> {
    let v4 = plan.v4.as_ref().and_then(|side| side.resolver_host).map(IpAddr::V4);
    let v6 = plan.v6.as_ref().and_then(|side| side.resolver_host).map(IpAddr::V6);
    let servers: Vec<SocketAddr> = [v4, v6]
        .into_iter()
        .flatten()
        .map(|address| SocketAddr::new(address, DNS))
        .collect();
    Some(servers).filter(|servers| !servers.is_empty())
}

/// As large as a frame may be without its Ethernet header, cut to whole words: as the original has it.
const DEFAULT_MTU: u16 = 65_520;

/// RFC 8200 section 5.
const SMALLEST_IPV6_MTU: u16 = 1280;

/// Of addresses that interfaces form (RFC 4291 section 2.5.1).
const INTERFACE_PREFIX: u8 = 64;

/// Local mode, as the original has it.
const LOCAL_GUEST: Ipv4Addr = Ipv4Addr::new(169, 254, 2, 1);
const LOCAL_PREFIX: u8 = 16;
const LOCAL_GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 2, 2);
const LOCAL_GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// RFC 1035 section 4.2.
const DNS: u16 = 53;

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
