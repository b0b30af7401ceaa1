//! A [`Plan`] in the words of the engine: the line's set-up, the stack's addresses and where they lead, and what is told to
//! a namespace that configures itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use smoltcp::wire::EthernetAddress;

use super::facts::{Names, RESOLV_CONF};
use super::local::Guest;
use super::options::Options;
use super::plan::{Plan, Side, upstream};
use crate::compat::mooring::Settings;
use crate::host::outbound::{Device, Outbound};
use crate::host::resolver::Source;
use crate::netns::line::{LineSpec, SetUp};
use crate::netns::outpost::OutpostSpec;
use crate::policy::{Alias, GatewayLead, HostAccess, Layout, Neighbours, ResolverPlace};
use crate::stack::{AddressSource, Config, Dhcp, Dhcpv6, Ipv6, Tenure, UplinkCapabilities};
use crate::sys::tun::OffloadBits;

/// What is to be made in the namespace.
pub fn outpost(options: &Options, plan: &Plan) -> OutpostSpec {
    let set_up = options.config_net.then(|| SetUp {
        mac: None,
        mtu: plan.mtu.map(u32::from),
        addresses: plan.addresses(),
        routes: Vec::new(),
        settled: true,
    });
    let line = LineSpec {
        ifname: plan.ifname.clone(),
        offload: OffloadBits::ALL,
        set_up,
    };
    OutpostSpec {
        line: Some(line).filter(|_| !options.splice_only),
        routes: plan.routes(),
        mac: options.ns_mac.map(|mac| mac.0),
    }
}

/// The engine's settings; `names` are the host's.
pub fn settings(options: &Options, plan: &Plan, names: &Names) -> Settings {
    let (v4, v6) = (plan.v4.as_ref(), plan.v6.as_ref());
    let gateway = v4.and_then(|side| side.gateway).unwrap_or(UNUSED_GATEWAY);
    let prefix = v4.and_then(|side| side.addresses.first()).map_or(32, IpNetwork::prefix);
    let mut config = Config::new(
        EthernetAddress(mac(options)),
        gateway,
        prefix,
        plan.mtu.unwrap_or(ETHERNET_MTU),
        HostAccess::None,
        UplinkCapabilities {
            checksum: false,
            tso4: false,
            tso6: false,
            uso: false,
        },
    );
    config.policy.metadata = true;
    config.policy.layout = layout(options, plan, &names.servers);
    config.ipv6 = v6.map(ipv6);
    config.dhcp = dhcp(options, plan, told(options, plan, names));
    Settings {
        config,
        upstreams: upstream(plan).map_or_else(|| Source::File(RESOLV_CONF.into()), Source::Fixed),
        outbound: Outbound {
            v4: options.v4.outbound,
            v6: options.v6.outbound,
            device4: options.outbound_if4.as_deref().and_then(Device::named),
            device6: options.outbound_if6.as_deref().and_then(Device::named),
        },
    }
}

/// Whether resolvers are those of the host's file, whatever that says later.
pub fn reads_resolver_file(plan: &Plan) -> bool {
    upstream(plan).is_none()
}

/// Our hardware address.
pub fn mac(options: &Options) -> [u8; 6] {
    options.mac.map_or(OUR_MAC, |mac| mac.0)
}

/// The addresses at which the namespace is reached.
pub fn guest(plan: &Plan) -> Guest {
    let first = |side: &[IpNetwork]| side.first().map(IpNetwork::ip);
    let v4 = plan.v4.as_ref().and_then(|side| first(&side.addresses));
    let v6 = plan.v6.as_ref().and_then(|side| first(&side.addresses));
    Guest {
        v4: v4.and_then(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }),
        v6: v6.and_then(|address| match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }),
    }
}

/// For a namespace that asks: the addresses that are meant for it, of IPv4 where there is a router to tell of, and its own
/// names. Resolvers and domains are told only where that was asked for.
fn dhcp(options: &Options, plan: &Plan, names: Names) -> Option<Dhcp> {
    let router = plan.v4.as_ref().and_then(|side| side.gateway);
    let Guest { v4, v6 } = guest(plan);
    let v4 = v4.filter(|_| router.is_some() && !options.off.dhcp);
    let v6 = v6.filter(|_| !options.off.dhcpv6);
    if v4.is_none() && v6.is_none() {
        return None;
    }
    Some(Dhcp {
        router,
        dns: if options.dhcp_dns { names.servers } else { Vec::new() },
        search: if options.dhcp_search { names.search } else { Vec::new() },
        hostname: options.hostname.clone(),
        fqdn: options.fqdn.clone(),
        mtu: plan.mtu,
        lease: LEASE,
        source: AddressSource::Guest { v4, v6 },
        v6: DHCPV6,
    })
}

/// What the namespace may be told of the host's names, if nothing else was said. A resolver on the host's loopback is
/// where we are asked in its place, or nowhere.
pub fn told(options: &Options, plan: &Plan, host: &Names) -> Names {
    let v4 = plan.v4.as_ref().and_then(|side| side.resolver).map(IpAddr::V4);
    let v6 = plan.v6.as_ref().and_then(|side| side.resolver).map(IpAddr::V6);
    let inside = |server: &IpAddr| match (server.is_loopback(), server.is_ipv4()) {
        (false, _) => Some(*server),
        (true, true) => v4,
        (true, false) => v6,
    };
    let of_host = || host.servers.iter().filter_map(inside).collect();
    Names {
        servers: options.dns.clone().unwrap_or_else(of_host),
        search: options.search.clone().unwrap_or_else(|| host.search.clone()),
    }
}

/// Our address on the link: the router's, if that has none but this.
fn link_local(plan: &Plan) -> Ipv6Addr {
    let router = plan.v6.as_ref().and_then(|side| side.gateway);
    router
        .filter(Ipv6Addr::is_unicast_link_local)
        .unwrap_or(Layout::default().link_local)
}

/// The namespace is a copy of the host: whatever is not ours is asked of the host's network.
fn layout(options: &Options, plan: &Plan, nameservers: &[IpAddr]) -> Layout {
    let (v4, v6) = (plan.v4.as_ref(), plan.v6.as_ref());
    let mut aliases = Vec::new();
    aliases.extend(v4.into_iter().flat_map(|side| aliases_of(side, Ipv4Addr::LOCALHOST)));
    aliases.extend(v6.into_iter().flat_map(|side| aliases_of(side, Ipv6Addr::LOCALHOST)));
    let named = options
        .v4
        .dns_host
        .map(IpAddr::V4)
        .or(options.v6.dns_host.map(IpAddr::V6));
    Layout {
        resolver: ResolverPlace::At {
            v4: v4.and_then(|side| side.resolver),
            v6: v6.and_then(|side| side.resolver),
        },
        encrypted_dns: named.or(nameservers.first().copied()),
        gateway: GatewayLead::Outside,
        link_local: link_local(plan),
        aliases,
        neighbours: Neighbours::Host(plan.addresses().iter().map(IpNetwork::ip).collect()),
        ..Layout::default()
    }
}

fn aliases_of<A: Copy + Into<IpAddr>>(side: &Side<A>, loopback: A) -> impl Iterator<Item = Alias> + use<A> {
    let alias = |address: A, host: IpAddr| Alias {
        address: address.into(),
        host: Some(host),
    };
    let own = side.addresses.first().map(IpNetwork::ip);
    let guest = side.guest.zip(own).map(|(address, host)| alias(address, host));
    let host = side.host_loopback.map(|address| alias(address, loopback.into()));
    host.into_iter().chain(guest)
}

/// The stack's own address besides the router's is one that nobody is going to have.
fn ipv6(side: &Side<Ipv6Addr>) -> Ipv6 {
    let network = match side.addresses.first() {
        Some(IpNetwork::V6(network)) => network.network(),
        Some(IpNetwork::V4(_)) | None => UNUSED_NETWORK6,
    };
    let router = side.gateway.filter(|gateway| !gateway.is_unicast_link_local());
    let ours = u128::from(network) >> HOST_BITS << HOST_BITS | OUR_HOST_BITS;
    Ipv6 {
        gateway: router.unwrap_or(ours.into()),
        prefix: 64,
        autonomous: true,
    }
}

/// As the original's.
const OUR_MAC: [u8; 6] = [0x9a, 0x55, 0x9a, 0x55, 0x9a, 0x55];

/// Seconds, a day: nobody else is going to have the address.
const LEASE: u32 = 86_400;

/// As the original's, which leaves only rebinding unanswered: that is as RFC 8415 has it (section 18.3.5).
const DHCPV6: Dhcpv6 = Dhcpv6 {
    tenure: Tenure::Permanent,
    preference: None,
    rapid_commit: false,
    unasked: true,
};

/// Of an interface that was given none.
const ETHERNET_MTU: u16 = 1500;

/// Where a host has no router, the stack must have an address all the same; link-local (RFC 3927), next to the original's.
const UNUSED_GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 2, 2);

/// The same of IPv6: a prefix for local use (RFC 4193).
const UNUSED_NETWORK6: Ipv6Addr = Ipv6Addr::new(0xfd67, 0x616e, 0x6770, 0, 0, 0, 0, 0);

/// An interface identifier out of nobody's range: "gangplan" in ASCII, with the bit of those that a vendor gave out clear.
const HOST_BITS: u32 = 64;
const OUR_HOST_BITS: u128 = 0x6561_6e67_706c_616e;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compat::pasta::command_line::{Asked, parse};
    use crate::compat::pasta::plan::{Facts, plan};
    use crate::netns::HostView;

    const V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
    const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 1);

    /// What is told with these words, on a host that has nothing of its own.
    fn told(words: &str, change: impl FnOnce(&mut Plan)) -> Option<Dhcp> {
        let line = format!("-a {V4} -n 24 -a {V6} {words}");
        let words = line.split_whitespace().map(std::ffi::OsString::from);
        let Ok(Asked::Run(options)) = parse(words) else {
            panic!("{line}")
        };
        let view = HostView {
            links: Vec::new(),
            routes: Vec::new(),
            has_ipv6: true,
        };
        let servers = ["127.0.0.53", "192.0.2.53", "2001:db8::53"].map(|server| server.parse().unwrap());
        let names = Names {
            servers: servers.to_vec(),
            search: vec!["host.example".to_owned()],
        };
        let facts = Facts {
            view: &view,
            nameservers: &names.servers,
            ephemeral: (32_768, 60_999),
        };
        let mut plan = plan(&options, facts).unwrap();
        change(&mut plan);
        dhcp(&options, &plan, super::told(&options, &plan, &names))
    }

    #[test]
    fn each_family_is_served_by_itself() {
        let served = |words: &str| told(words, |_| {}).map(|dhcp| dhcp.source);
        let guest = |v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>| Some(AddressSource::Guest { v4, v6 });
        for (words, source) in [
            ("", guest(Some(V4), Some(V6))),
            ("-4", guest(Some(V4), None)),
            ("-6", guest(None, Some(V6))),
            ("--no-dhcp", guest(None, Some(V6))),
            ("--no-dhcpv6", guest(Some(V4), None)),
            ("--no-dhcp --no-dhcpv6", None),
            ("-4 --no-dhcp", None),
        ] {
            assert_eq!(served(words), source, "{words}");
        }
        let alone = told("", |plan| plan.v4.as_mut().unwrap().gateway = None).unwrap();
        assert_eq!(Some(alone.source), guest(None, Some(V6)), "no router to tell of");
    }

    #[test]
    fn names_are_told_where_that_was_asked_for() {
        let dhcp = told("-S corp.example -D 192.0.2.1", |_| {}).unwrap();
        assert_eq!((dhcp.dns, dhcp.search), (vec![], vec![]));
        assert_eq!((dhcp.hostname, dhcp.fqdn), (None, None));
        let dhcp = told(
            "--dhcp-dns -S corp.example --dhcp-search -H in --fqdn in.example",
            |_| {},
        )
        .unwrap();
        assert_eq!(dhcp.search, ["corp.example"]);
        assert_eq!(dhcp.hostname.as_deref(), Some("in"));
        assert_eq!(dhcp.fqdn.as_deref(), Some("in.example"));
    }

    /// The host has no routes here: local mode. What is told is what the original tells.
    #[test]
    fn a_resolver_on_the_loopback_is_told_as_where_it_is_asked() {
        for (words, servers) in [
            ("", "169.254.2.2 192.0.2.53 2001:db8::53"),
            ("--map-host-loopback 10.9.9.9", "10.9.9.9 192.0.2.53 2001:db8::53"),
            ("--no-map-gw", "192.0.2.53 2001:db8::53"),
            ("--map-host-loopback none", "192.0.2.53 2001:db8::53"),
            ("--dns-forward 10.9.9.8", "10.9.9.8 192.0.2.53 2001:db8::53"),
            ("--dns-forward fd00::8", "169.254.2.2 192.0.2.53 2001:db8::53"),
            ("-D 192.0.2.1", "192.0.2.1"),
            ("-D 192.0.2.1 -D none", ""),
        ] {
            let dhcp = told(&format!("--dhcp-dns {words}"), |_| {}).unwrap();
            let told: Vec<String> = dhcp.dns.iter().map(ToString::to_string).collect();
            assert_eq!(told.join(" "), servers, "{words}");
        }
    }

    #[test]
    fn the_hosts_search_list_is_told_unless_another_is_given() {
        for (words, search) in [
            ("", &["host.example"][..]),
            ("-S a -S b", &["a", "b"]),
            ("-S none", &[]),
        ] {
            let dhcp = told(&format!("--dhcp-search {words}"), |_| {}).unwrap();
            assert_eq!(dhcp.search, search, "{words}");
        }
    }
}
