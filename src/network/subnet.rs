//! Which subnet a network gets: the middle rule between Docker's two.
//!
//! Docker of 2014 let every route of the host veto a candidate: safe, but a VPN that pushes 0.0.0.0/1 and 128.0.0.0/1
//! left nothing. Docker today looks at link routes only: always finds one, and may shadow what a VPN leads to. Here
//!
//! - interface prefixes, nameservers, our other networks, on-link routes and specific routes **veto**;
//! - default-like routes (`/0`, the pair of `/1`) **never** do;
//! - wide aggregates by a gateway (up to `/12`) cost **points**, so that a freer candidate wins; when there is none, the least bad
//!   one is taken, with a warning.
//!
//! Of the candidates with the fewest points the first wins, so that the same host always gets the same answer.
//! The list is the one of moby's `ipamutils`, with 10.0.0.0/8 in /16s after it. Pure; called by the helper.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::{IpNetwork, Ipv4Network};

use super::facts::{HostFacts, HostRoute};

/// A network of ours and what it occupies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupied {
    /// Name of the network.
    pub name: String,
    /// Its subnet.
    pub subnet: IpNetwork,
}

/// The subnet chosen, and the choice in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The subnet.
    pub subnet: Ipv4Network,
    /// One line that explains it.
    pub why: String,
    /// What will be out of reach with it, one line each.
    pub warnings: Vec<String>,
}

/// Every candidate is vetoed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no free subnet: all {candidates} candidates are in use ({example}, …); give one with --subnet")]
pub struct NoFreeSubnet {
    candidates: usize,
    example: String,
}

/// Why a subnet given with `--subnet` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// An address instead of a network.
    #[error("{given} has host bits set: say {network}")]
    HostBits {
        /// As given.
        given: IpNetwork,
        /// The network it lies in.
        network: IpNetwork,
    },
    /// No room for a gateway and a container.
    #[error("{0} is too small: it needs a gateway and a container, so a prefix of at most /{1}")]
    TooSmall(IpNetwork, u8),
    /// Shorter than any private range.
    #[error("{0} is too wide: give a prefix of at least /{1}")]
    TooWide(IpNetwork, u8),
    /// Not unicast, or with a meaning of its own.
    #[error("{0} lies in {1} ({2}): containers cannot have these addresses")]
    Special(IpNetwork, IpNetwork, &'static str),
    /// Somebody uses it.
    #[error("{0} overlaps {1}: choose another")]
    Overlap(IpNetwork, Conflict),
}

/// What a subnet overlaps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// One of our networks.
    #[error("{} of network {}", .0.subnet, .0.name)]
    Network(Occupied),
    /// An interface of the host.
    #[error("{0}, an address of this host")]
    Prefix(IpNetwork),
    /// A resolver of the host.
    #[error("the nameserver {0}")]
    Nameserver(IpAddr),
    /// A route of the host.
    #[error("the route {}", describe(.0))]
    Route(HostRoute),
}

/// The first candidate with the fewest points.
pub fn choose(facts: &HostFacts, others: &[Occupied]) -> Result<Choice, NoFreeSubnet> {
    let mut vetoed = Vec::new();
    let mut best: Option<(Ipv4Network, Vec<&HostRoute>)> = None;
    for candidate in candidates() {
        let subnet = IpNetwork::V4(candidate);
        if let Some(conflict) = conflict(subnet, facts, others) {
            vetoed.push((candidate, conflict));
            continue;
        }
        let shadowed = shadowed(subnet, facts);
        if best.as_ref().is_none_or(|(_, least)| points(&shadowed) < points(least)) {
            best = Some((candidate, shadowed));
        }
    }
    let Some((subnet, shadowed)) = best else {
        return Err(none_free(&vetoed));
    };
    Ok(Choice {
        subnet,
        why: explain(subnet, &vetoed, &shadowed),
        warnings: warnings(subnet, &shadowed),
    })
}

/// Whether a subnet that the user names can be used. A wide aggregate is the user's own decision, and no error.
pub fn check(subnet: IpNetwork, facts: &HostFacts, others: &[Occupied]) -> Result<(), SubnetError> {
    check_shape(subnet)?;
    match conflict(subnet, facts, others) {
        Some(conflict) => Err(SubnetError::Overlap(subnet, conflict)),
        None => Ok(()),
    }
}

/// What a route means that the host has got while `subnet` is in use; nothing, unless it leads there. The containers keep
/// the addresses: the bridge is nearer to them.
pub fn covered(subnet: IpNetwork, route: &HostRoute) -> Option<String> {
    let leads_there = weight(route) != Weight::Nothing && overlap(route.destination, subnet);
    leads_there.then(|| {
        format!(
            "the host has got the route {}, and {subnet} is ours: hosts there with these addresses are out of the containers' reach; take the network down and choose another subnet if you need them",
            describe(route)
        )
    })
}

/// What can be said about a subnet without looking at the host.
pub fn check_shape(subnet: IpNetwork) -> Result<(), SubnetError> {
    let (widest, narrowest) = match subnet {
        IpNetwork::V4(_) => (8, 30),
        IpNetwork::V6(_) => (16, 126),
    };
    if subnet.prefix() > narrowest {
        return Err(SubnetError::TooSmall(subnet, narrowest));
    }
    if subnet.prefix() < widest {
        return Err(SubnetError::TooWide(subnet, widest));
    }
    let network = network_of(subnet);
    if network != subnet {
        return Err(SubnetError::HostBits { given: subnet, network });
    }
    match special().into_iter().find(|(range, _)| overlap(*range, subnet)) {
        Some((range, meaning)) => Err(SubnetError::Special(subnet, range, meaning)),
        None => Ok(()),
    }
}

/// Whether two prefixes share an address; never across families.
pub fn overlap(a: IpNetwork, b: IpNetwork) -> bool {
    match (a, b) {
        (IpNetwork::V4(a), IpNetwork::V4(b)) => a.overlaps(b),
        (IpNetwork::V6(a), IpNetwork::V6(b)) => a.overlaps(b),
        (IpNetwork::V4(_), IpNetwork::V6(_)) | (IpNetwork::V6(_), IpNetwork::V4(_)) => false,
    }
}

/// The first reason why `subnet` is out of the question.
fn conflict(subnet: IpNetwork, facts: &HostFacts, others: &[Occupied]) -> Option<Conflict> {
    let network = || {
        others
            .iter()
            .find(|other| overlap(other.subnet, subnet))
            .cloned()
            .map(Conflict::Network)
    };
    let prefix = || {
        let hit = facts.prefixes.iter().find(|prefix| overlap(**prefix, subnet));
        hit.copied().map(Conflict::Prefix)
    };
    let nameserver = || {
        let hit = facts.nameservers.iter().find(|address| subnet.contains(**address));
        hit.copied().map(Conflict::Nameserver)
    };
    let route = || {
        let vetoing = facts.routes.iter().filter(|route| weight(route) == Weight::Veto);
        let hit = vetoing.into_iter().find(|route| overlap(route.destination, subnet));
        hit.cloned().map(Conflict::Route)
    };
    network().or_else(prefix).or_else(route).or_else(nameserver)
}

/// The wide aggregates that lead into `subnet`.
fn shadowed(subnet: IpNetwork, facts: &HostFacts) -> Vec<&HostRoute> {
    let aggregates = facts.routes.iter().filter(|route| weight(route) == Weight::Points);
    aggregates.filter(|route| overlap(route.destination, subnet)).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    Nothing,
    Points,
    Veto,
}

fn weight(route: &HostRoute) -> Weight {
    match (route.destination.prefix(), route.gateway) {
        (..=DEFAULT_LIKE, _) => Weight::Nothing,
        (..=AGGREGATE, Some(_)) => Weight::Points,
        _ => Weight::Veto,
    }
}

/// The narrower an aggregate, the likelier somebody is there.
fn points(shadowed: &[&HostRoute]) -> u32 {
    shadowed.iter().map(|route| u32::from(route.destination.prefix())).sum()
}

fn explain(subnet: Ipv4Network, vetoed: &[(Ipv4Network, Conflict)], shadowed: &[&HostRoute]) -> String {
    let mut why = match shadowed {
        [] => format!("{subnet} is the first candidate that nothing on this host uses"),
        [route, ..] => format!(
            "{subnet} is the least bad candidate: all others are in use or weigh more than {}",
            describe(route)
        ),
    };
    for (candidate, conflict) in vetoed.iter().take(EXPLAINED) {
        why.push_str(&format!("; {candidate} overlaps {conflict}"));
    }
    if vetoed.len() > EXPLAINED {
        why.push_str(&format!("; and {} more", vetoed.len() - EXPLAINED));
    }
    why
}

fn warnings(subnet: Ipv4Network, shadowed: &[&HostRoute]) -> Vec<String> {
    let warn = |route: &&HostRoute| {
        let route = describe(route);
        format!(
            "{subnet} lies in the route {route}: hosts there with these addresses are out of the containers' reach; choose another subnet with --subnet if you need them"
        )
    };
    shadowed.iter().map(warn).collect()
}

fn none_free(vetoed: &[(Ipv4Network, Conflict)]) -> NoFreeSubnet {
    let example = vetoed
        .first()
        .map(|(candidate, conflict)| format!("{candidate} overlaps {conflict}"));
    NoFreeSubnet {
        candidates: vetoed.len(),
        example: example.unwrap_or_default(),
    }
}

fn describe(route: &HostRoute) -> String {
    match route.gateway {
        Some(gateway) => format!("{} via {gateway} on {}", route.destination, route.interface),
        None => format!("{} on {}", route.destination, route.interface),
    }
}

fn network_of(subnet: IpNetwork) -> IpNetwork {
    // The prefix came out of a valid network, so `new` cannot refuse it.
    IpNetwork::new(subnet.network(), subnet.prefix()).unwrap_or(subnet)
}

/// moby's `ipamutils` pools, then 10.0.0.0/8, each cut to the size Docker cuts.
fn candidates() -> impl Iterator<Item = Ipv4Network> {
    let sixteens = (17..=31).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let twenties = (0..=240)
        .step_by(16)
        .map(|third| (Ipv4Addr::new(192, 168, third, 0), 20));
    let tens = (0..=255).map(|second| (Ipv4Addr::new(10, second, 0, 0), 16));
    sixteens
        .chain(twenties)
        .chain(tens)
        .filter_map(|(address, prefix)| Ipv4Network::new(address, prefix).ok())
}

/// RFC 6890 and its registry: what can be no container's address.
fn special() -> Vec<(IpNetwork, &'static str)> {
    let parse = |(text, meaning): &(&str, &'static str)| text.parse().ok().map(|range| (range, *meaning));
    SPECIAL.iter().filter_map(parse).collect()
}

/// OpenVPN's `redirect-gateway def1` covers everything with 0.0.0.0/1 and 128.0.0.0/1.
const DEFAULT_LIKE: u8 = 1;
/// 10.0.0.0/8 and 172.16.0.0/12 are what VPNs and campuses push; a /16 already means a place.
const AGGREGATE: u8 = 12;
/// How many vetoes the explanation names: it stays one line.
const EXPLAINED: usize = 2;

const SPECIAL: &[(&str, &str)] = &[
    ("0.0.0.0/8", "this network"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/16", "loopback and v4-mapped"),
    ("64:ff9b::/32", "translation"),
    ("fe80::/10", "link-local"),
    ("ff00::/8", "multicast"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    fn on_link(destination: &str, interface: &str) -> HostRoute {
        HostRoute {
            destination: net(destination),
            interface: interface.to_owned(),
            gateway: None,
        }
    }

    fn via(destination: &str, gateway: &str) -> HostRoute {
        HostRoute {
            destination: net(destination),
            interface: "tun0".to_owned(),
            gateway: Some(gateway.parse().unwrap()),
        }
    }

    fn routes(routes: Vec<HostRoute>) -> HostFacts {
        HostFacts {
            routes,
            ..HostFacts::default()
        }
    }

    fn chosen(facts: &HostFacts) -> String {
        choose(facts, &[]).unwrap().subnet.to_string()
    }

    #[test]
    fn an_empty_host_gets_dockers_first() {
        let choice = choose(&HostFacts::default(), &[]).unwrap();
        assert_eq!(choice.subnet.to_string(), "172.17.0.0/16");
        assert_eq!(
            choice.why,
            "172.17.0.0/16 is the first candidate that nothing on this host uses"
        );
        assert!(choice.warnings.is_empty());
    }

    #[test]
    fn routes_weigh_by_what_they_are() {
        for (table, expected) in [
            (vec![via("0.0.0.0/0", "10.0.0.1")], "172.17.0.0/16"),
            (
                vec![via("0.0.0.0/1", "10.8.0.1"), via("128.0.0.0/1", "10.8.0.1")],
                "172.17.0.0/16",
            ),
            (
                vec![on_link("0.0.0.0/1", "wg0"), on_link("128.0.0.0/1", "wg0")],
                "172.17.0.0/16",
            ),
            (vec![on_link("172.17.0.0/16", "docker0")], "172.18.0.0/16"),
            (vec![via("172.17.3.0/24", "10.8.0.1")], "172.18.0.0/16"),
            (vec![via("172.17.3.4/32", "10.8.0.1")], "172.18.0.0/16"),
            (vec![via("172.16.0.0/12", "10.8.0.1")], "192.168.0.0/20"),
            (vec![on_link("172.16.0.0/12", "eth0")], "192.168.0.0/20"),
            (
                vec![via("172.16.0.0/12", "10.8.0.1"), via("192.168.0.0/16", "10.8.0.1")],
                "10.0.0.0/16",
            ),
            (
                vec![via("172.16.0.0/12", "10.8.0.1"), on_link("192.168.1.0/24", "eth0")],
                "192.168.16.0/20",
            ),
        ] {
            assert_eq!(chosen(&routes(table.clone())), expected, "{table:?}");
        }
    }

    #[test]
    fn the_least_bad_one_is_taken_with_a_warning() {
        let facts = routes(vec![
            via("172.16.0.0/12", "10.8.0.1"),
            via("10.0.0.0/8", "10.8.0.1"),
            via("192.168.0.0/16", "10.8.0.1"),
        ]);
        let choice = choose(&facts, &[]).unwrap();
        assert_eq!(choice.subnet.to_string(), "10.0.0.0/16");
        assert!(
            choice.why.starts_with("10.0.0.0/16 is the least bad candidate"),
            "{}",
            choice.why
        );
        assert_eq!(choice.warnings.len(), 1);
        assert!(
            choice.warnings[0].contains("10.0.0.0/8 via 10.8.0.1 on tun0"),
            "{:?}",
            choice.warnings
        );
    }

    #[test]
    fn prefixes_nameservers_and_our_networks_veto() {
        let facts = HostFacts {
            prefixes: vec![net("172.17.0.1/16")],
            nameservers: vec!["172.18.0.53".parse().unwrap()],
            ..HostFacts::default()
        };
        let others = [Occupied {
            name: "gp0".to_owned(),
            subnet: net("172.19.0.0/16"),
        }];
        let choice = choose(&facts, &others).unwrap();
        assert_eq!(choice.subnet.to_string(), "172.20.0.0/16");
        assert!(
            choice
                .why
                .contains("172.17.0.0/16 overlaps 172.17.0.1/16, an address of this host"),
            "{}",
            choice.why
        );
        assert!(choice.why.ends_with("; and 1 more"), "{}", choice.why);
    }

    #[test]
    fn a_full_host_is_an_error_that_names_the_option() {
        let facts = routes(vec![
            on_link("172.16.0.0/12", "a"),
            on_link("192.168.0.0/16", "b"),
            on_link("10.0.0.0/8", "c"),
        ]);
        let error = choose(&facts, &[]).unwrap_err().to_string();
        assert!(
            error.contains("all 287 candidates") && error.contains("--subnet"),
            "{error}"
        );
    }

    #[test]
    fn a_given_subnet_must_have_the_shape_of_one() {
        for (given, expected) in [
            ("10.1.2.3/24", "10.1.2.3/24 has host bits set: say 10.1.2.0/24"),
            (
                "10.1.2.0/31",
                "10.1.2.0/31 is too small: it needs a gateway and a container, so a prefix of at most /30",
            ),
            (
                "10.1.2.3/32",
                "10.1.2.3/32 is too small: it needs a gateway and a container, so a prefix of at most /30",
            ),
            ("0.0.0.0/0", "0.0.0.0/0 is too wide: give a prefix of at least /8"),
            (
                "127.1.0.0/16",
                "127.1.0.0/16 lies in 127.0.0.0/8 (loopback): containers cannot have these addresses",
            ),
            (
                "224.0.0.0/16",
                "224.0.0.0/16 lies in 224.0.0.0/4 (multicast): containers cannot have these addresses",
            ),
            (
                "169.254.0.0/16",
                "169.254.0.0/16 lies in 169.254.0.0/16 (link-local): containers cannot have these addresses",
            ),
            (
                "fe80::/64",
                "fe80::/64 lies in fe80::/10 (link-local): containers cannot have these addresses",
            ),
        ] {
            assert_eq!(
                check(net(given), &HostFacts::default(), &[]).unwrap_err().to_string(),
                expected
            );
        }
        for given in ["10.1.2.0/30", "10.0.0.0/8", "203.0.113.0/24", "fd00:1::/64"] {
            assert_eq!(check(net(given), &HostFacts::default(), &[]), Ok(()));
        }
    }

    #[test]
    fn a_given_subnet_must_be_free() {
        let facts = HostFacts {
            routes: vec![
                via("10.0.0.0/8", "192.168.1.1"),
                via("10.9.0.0/16", "192.168.1.1"),
                via("0.0.0.0/0", "192.168.1.1"),
            ],
            prefixes: vec![net("192.168.1.7/24")],
            nameservers: vec!["172.30.0.2".parse().unwrap()],
        };
        let others = [Occupied {
            name: "blue".to_owned(),
            subnet: net("172.17.0.0/16"),
        }];
        for (given, expected) in [
            (
                "10.9.1.0/24",
                "10.9.1.0/24 overlaps the route 10.9.0.0/16 via 192.168.1.1 on tun0: choose another",
            ),
            (
                "192.168.0.0/16",
                "192.168.0.0/16 overlaps 192.168.1.7/24, an address of this host: choose another",
            ),
            (
                "172.17.4.0/24",
                "172.17.4.0/24 overlaps 172.17.0.0/16 of network blue: choose another",
            ),
            (
                "172.30.0.0/24",
                "172.30.0.0/24 overlaps the nameserver 172.30.0.2: choose another",
            ),
        ] {
            assert_eq!(check(net(given), &facts, &others).unwrap_err().to_string(), expected);
        }
        assert_eq!(
            check(net("10.10.0.0/16"), &facts, &others),
            Ok(()),
            "an aggregate is the user's own decision"
        );
    }

    #[test]
    fn a_route_that_comes_later_covers_what_it_leads_to() {
        let ours: IpNetwork = "172.30.0.0/16".parse().unwrap();
        let said = |route: &str, gateway: Option<&str>| {
            let route = HostRoute {
                destination: route.parse().unwrap(),
                interface: "tun0".to_owned(),
                gateway: gateway.map(|address| address.parse().unwrap()),
            };
            covered(ours, &route)
        };
        let warning = said("172.30.9.0/24", None).unwrap();
        assert!(warning.contains("the route 172.30.9.0/24 on tun0"), "{warning}");
        assert!(said("172.16.0.0/12", Some("10.0.0.1")).is_some(), "a VPN's aggregate");
        assert_eq!(said("172.31.0.0/16", None), None);
        assert_eq!(
            said("0.0.0.0/0", Some("10.0.0.1")),
            None,
            "the default route leads everywhere"
        );
        assert_eq!(said("fd00::/8", None), None);
    }

    #[test]
    fn families_do_not_meet() {
        assert!(!overlap(net("0.0.0.0/0"), net("::/0")));
        assert!(overlap(net("fd00::/8"), net("fd00:1::/64")));
    }
}
