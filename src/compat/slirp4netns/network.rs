//! What the options mean for the stack: addresses, and where they lead.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network};
use smoltcp::wire::EthernetAddress;

use super::options::Options;
use crate::compat::mooring::Settings;
use crate::host::outbound::Outbound;
use crate::host::resolver::Source;
use crate::netns::line::{LineRoute, SetUp};
use crate::policy::{Alias, Closed, HostAccess, Layout, ResolverPlace};
use crate::stack::{AddressSource, Config, Dhcp, Dhcpv6, Ipv6, UplinkCapabilities};

/// The addresses of the original, by their distance from the network's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) network: Ipv4Network,
    pub(super) gateway: Ipv4Addr,
    pub(super) resolver: Ipv4Addr,
    pub(super) dhcp_first: Ipv4Addr,
    pub(super) dhcp_last: Ipv4Addr,
    pub(super) guest: Ipv4Addr,
}

impl Addresses {
    /// Of a network that has room for them: 25 bits at most.
    pub(super) fn of(network: Ipv4Network) -> Self {
        let at = |distance| Ipv4Addr::from_bits(network.network().to_bits().wrapping_add(distance));
        Self {
            network,
            gateway: at(2),
            resolver: at(3),
            dhcp_first: at(15),
            dhcp_last: at(30),
            guest: at(100),
        }
    }
}

/// What the namespace is tied to.
pub(super) fn settings(options: &Options) -> Settings {
    let addresses = Addresses::of(options.cidr);
    let access = if options.host_loopback {
        HostAccess::Loopback
    } else {
        HostAccess::None
    };
    let mut config = Config::new(
        gateway_mac(addresses.gateway),
        addresses.gateway,
        addresses.network.prefix(),
        options.mtu,
        access,
        // The line's own are filled in when it is known.
        UplinkCapabilities {
            checksum: false,
            tso4: false,
            tso6: false,
            uso: false,
        },
    );
    config.ipv6 = options.ipv6.then_some(Ipv6 {
        gateway: GATEWAY6,
        prefix: 64,
        autonomous: true,
    });
    config.dhcp = Some(dhcp(options, addresses));
    // As the original has it: nothing outside is fenced off.
    config.policy.metadata = true;
    config.policy.layout = layout(options, addresses);
    Settings {
        config,
        upstreams: Source::File(RESOLV_CONF.into()),
        outbound: Outbound {
            v4: options.outbound,
            v6: options.outbound6,
            ..Outbound::default()
        },
    }
}

/// For whoever asks instead of being configured.
fn dhcp(options: &Options, addresses: Addresses) -> Dhcp {
    Dhcp {
        router: Some(addresses.gateway),
        dns: options.dns.then_some(addresses.resolver.into()).into_iter().collect(),
        search: Vec::new(),
        hostname: None,
        fqdn: None,
        mtu: Some(options.mtu),
        lease: LEASE,
        source: AddressSource::Range {
            first: addresses.dhcp_first,
            last: addresses.dhcp_last,
        },
        v6: Dhcpv6::default(),
    }
}

fn layout(options: &Options, addresses: Addresses) -> Layout {
    let silent = Alias {
        address: addresses.resolver.into(),
        host: None,
    };
    Layout {
        resolver: ResolverPlace::At {
            v4: options.dns.then_some(addresses.resolver),
            v6: (options.dns && options.ipv6).then_some(RESOLVER6),
        },
        link_local: LINK_LOCAL,
        // Questions time out; they don't go to whoever has the address in the host's network.
        aliases: if options.dns { Vec::new() } else { vec![silent] },
        closed: Closed::Unreachable,
        ..Layout::default()
    }
}

/// How the TAP is configured, where that is wanted. IPv6 comes by router advertisement.
pub(super) fn set_up(options: &Options) -> Option<SetUp> {
    let Addresses {
        network,
        gateway,
        guest,
        ..
    } = Addresses::of(options.cidr);
    let address = IpNetwork::new(guest.into(), network.prefix()).ok()?;
    let everywhere = IpNetwork::new(Ipv4Addr::UNSPECIFIED.into(), 0).ok()?;
    options.configure.then_some(SetUp {
        mac: options.mac,
        mtu: Some(options.mtu.into()),
        addresses: vec![address],
        routes: vec![LineRoute {
            to: everywhere,
            gateway: Some(gateway.into()),
        }],
        // It asks as the namespace's own settings say.
        settled: false,
    })
}

/// Locally administered, and as the original makes it of the address.
fn gateway_mac(gateway: Ipv4Addr) -> EthernetAddress {
    let [a, b, c, d] = gateway.octets();
    EthernetAddress([0x52, 0x55, a, b, c, d])
}

/// Of fd00::/64.
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const RESOLVER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3);

/// Where the router is on the link.
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);

/// A day, as the original has it.
const LEASE: u32 = 24 * 3600;

const RESOLV_CONF: &str = "/etc/resolv.conf";

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::options::parse;
    use super::*;
    use crate::policy::{EchoLead, Lead, Transport};

    fn policy(line: &str) -> crate::policy::Policy {
        let options = parse(line.split_whitespace().map(OsString::from), |_| {}).unwrap();
        settings(&options).config.policy
    }

    fn lead(line: &str, target: &str) -> Lead {
        policy(line).lead(Transport::Tcp, target.parse().unwrap())
    }

    #[test]
    fn addresses_of_the_original() {
        let addresses = Addresses::of("10.0.2.0/24".parse().unwrap());
        assert_eq!(addresses.gateway.to_string(), "10.0.2.2");
        assert_eq!(addresses.resolver.to_string(), "10.0.2.3");
        assert_eq!(addresses.dhcp_first.to_string(), "10.0.2.15");
        assert_eq!(addresses.dhcp_last.to_string(), "10.0.2.30");
        assert_eq!(addresses.guest.to_string(), "10.0.2.100");
    }

    #[test]
    fn where_they_lead() {
        let host = |text: &str| Lead::Host(text.parse().unwrap());
        let table = [
            ("10.0.2.2:80", host("127.0.0.1:80")),
            ("10.0.2.2:53", host("127.0.0.1:53")),
            ("10.0.2.3:53", Lead::Resolver),
            ("10.0.2.3:80", Lead::Unreachable),
            ("10.0.2.77:80", Lead::Nowhere),
            ("169.254.169.254:80", host("169.254.169.254:80")),
            ("192.0.2.1:80", host("192.0.2.1:80")),
        ];
        for (target, expected) in table {
            assert_eq!(lead("1 tap0", target), expected, "{target}");
        }
        for address in ["10.0.2.2", "10.0.2.3"] {
            assert_eq!(policy("1 tap0").lead_echo(address.parse().unwrap()), EchoLead::Gateway);
        }
        assert_eq!(lead("--disable-host-loopback 1 tap0", "10.0.2.2:80"), Lead::Unreachable);
        assert_eq!(lead("--disable-dns 1 tap0", "10.0.2.3:53"), Lead::Nowhere);
        assert!(policy("--disable-dns 1 tap0").answers_for("10.0.2.3".parse().unwrap()));
    }
}
