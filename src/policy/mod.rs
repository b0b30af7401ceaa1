//! Where a destination leads: the host's network, its loopback, the resolver, a refusal or nowhere.
//!
//! A pure table: an address and a port go in, a [`Lead`] comes out. It opens nothing and remembers nothing. The stack
//! asks it once for each new flow, mapping and echo; the shell builds it from the command line, and notes in it which
//! ports are [published](PublishedPorts) just now.
//!
//! Sources: RFC 6890 (special-purpose addresses), RFC 3927 (link local, where clouds put their metadata service),
//! RFC 4291 sections 2.5.5.2 (IPv4-mapped addresses, judged as what they carry) and 2.5.6 (no router forwards what is link
//! local), RFC 6052 and RFC 3056 (other addresses that carry an IPv4 address).

pub mod links;
mod published;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use smoltcp::wire::{Ipv4Cidr, Ipv6Cidr};

pub use published::PublishedPorts;

/// What of the host's loopback containers may reach at the gateway's address.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum HostAccess {
    /// Nothing.
    #[default]
    None,
    /// Every port.
    Loopback,
    /// These ports.
    Ports(Vec<u16>),
}

/// The rules of one network.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The gateway's address and the subnet around it.
    pub subnet: Ipv4Cidr,
    /// The same of IPv6, where the network speaks it.
    pub subnet6: Option<Ipv6Cidr>,
    /// What the gateway's address leads to.
    pub host_access: HostAccess,
    /// And which ports of containers are reached there, too; shared with whoever publishes them.
    pub published: PublishedPorts,
    /// Whether 169.254.0.0/16 and the metadata services elsewhere may be reached.
    pub metadata: bool,
    /// Which addresses are ours, and what they stand for.
    pub layout: Layout,
}

/// The addresses in front of a network. As it is by default, they are the gateway's, and the resolver answers there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Where the resolver answers.
    pub resolver: ResolverPlace,
    /// Where port 853 of the resolver's addresses leads, for questions that we can't read (RFC 7858).
    pub encrypted_dns: Option<IpAddr>,
    /// What the gateway's addresses lead to.
    pub gateway: GatewayLead,
    /// Where the gateway answers on the link, besides its global address.
    pub link_local: Ipv6Addr,
    /// Further addresses of ours.
    pub aliases: Vec<Alias>,
    /// What is said of a port that is closed at one of our addresses.
    pub closed: Closed,
    /// Who has the other addresses of the subnet.
    pub neighbours: Neighbours,
}

/// Where the resolver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResolverPlace {
    /// At the gateway's addresses.
    Gateway,
    /// At an address of its own in each family, or in none.
    At {
        /// Of IPv4.
        v4: Option<Ipv4Addr>,
        /// Of IPv6.
        v6: Option<Ipv6Addr>,
    },
}

/// What the gateway's addresses lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayLead {
    /// The host's loopback, as far as [`HostAccess`] allows.
    Loopback,
    /// The machine that has the address in the host's network: the host's own router, for a network that is its copy.
    Outside,
}

/// An address of ours that is not the gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alias {
    /// The address.
    pub address: IpAddr,
    /// The address of the host that it stands for; without one it swallows what comes. Echo requests are answered here,
    /// either way.
    pub host: Option<IpAddr>,
}

/// What is said of a port that is closed at one of our addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// RST, or port unreachable.
    Refused,
    /// Network unreachable.
    Unreachable,
}

/// Who has the subnet's addresses that are not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Neighbours {
    /// Containers, who answer for themselves.
    Containers,
    /// Machines of the host's own link, for which we answer: the subnet is a copy of the host's. Those given are the
    /// container's.
    Host(Vec<IpAddr>),
}

/// What carries ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

/// Where a destination leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// To this address in the host's network.
    Host(SocketAddr),
    /// To the helper's own resolver.
    Resolver,
    /// To a machine on which nothing listens there: RST or port unreachable.
    Refused,
    /// To no network: network unreachable.
    Unreachable,
    /// To a fence: administratively prohibited.
    Prohibited,
    /// Nowhere a router would carry it: dropped in silence.
    Nowhere,
}

/// Where an echo request leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EchoLead {
    /// We answer.
    Gateway,
    /// To this address in the host's network.
    Host(IpAddr),
    /// As [`Lead::Prohibited`].
    Prohibited,
    /// As [`Lead::Nowhere`].
    Nowhere,
}

impl Policy {
    /// The rules of the network whose gateway is `gateway` in a subnet of `prefix` bits; metadata services are closed.
    pub fn new(gateway: Ipv4Addr, prefix: u8, host_access: HostAccess) -> Self {
        let subnet = Ipv4Cidr::new(gateway, prefix.min(32));
        Self {
            subnet,
            subnet6: None,
            host_access,
            published: PublishedPorts::default(),
            metadata: false,
            layout: Layout::default(),
        }
    }

    /// The gateway's address.
    pub fn gateway(&self) -> Ipv4Addr {
        self.subnet.address()
    }

    /// The gateway's global IPv6 address.
    pub fn gateway6(&self) -> Option<Ipv6Addr> {
        self.subnet6.map(|subnet| subnet.address())
    }

    /// The gateway's address of the same family as `address`.
    pub fn gateway_beside(&self, address: IpAddr) -> Option<IpAddr> {
        match address {
            IpAddr::V4(_) => Some(self.gateway().into()),
            IpAddr::V6(_) => self.gateway6().map(IpAddr::V6),
        }
    }

    /// Whether `address` is one of the gateway's.
    pub fn is_gateway(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4 == self.gateway(),
            IpAddr::V6(v6) => self.subnet6.is_some() && (v6 == self.layout.link_local || Some(v6) == self.gateway6()),
        }
    }

    /// Where the resolver answers, of the same family as `address`.
    pub fn resolver_beside(&self, address: IpAddr) -> Option<IpAddr> {
        match (self.layout.resolver, address) {
            (ResolverPlace::Gateway, _) => self.gateway_beside(address),
            (ResolverPlace::At { v4, .. }, IpAddr::V4(_)) => v4.map(IpAddr::V4),
            (ResolverPlace::At { v6, .. }, IpAddr::V6(_)) => v6.map(IpAddr::V6),
        }
    }

    /// Whether the resolver answers at `address`.
    pub fn is_resolver(&self, address: IpAddr) -> bool {
        match self.layout.resolver {
            ResolverPlace::Gateway => self.is_gateway(address),
            ResolverPlace::At { .. } => self.resolver_beside(address) == Some(address),
        }
    }

    /// Whether `address` is ours: the gateway's, the resolver's, an alias.
    pub fn is_ours(&self, address: IpAddr) -> bool {
        self.is_gateway(address) || self.is_resolver(address) || self.alias(address).is_some()
    }

    /// Whether whoever asks the link for `address` is told that it is here.
    pub fn answers_for(&self, address: IpAddr) -> bool {
        let proxied = match &self.layout.neighbours {
            Neighbours::Containers => false,
            Neighbours::Host(guests) => !guests.contains(&address) && is_unicast(address),
        };
        proxied || self.is_ours(address)
    }

    /// Whether a container may have `address` where nobody says which it has.
    pub fn may_be_a_guest(&self, address: IpAddr) -> bool {
        is_unicast(address) && !self.is_ours(address)
    }

    /// Whether a container can be shown a client of the host under its own `address`: answers must come to us.
    pub fn is_showable(&self, address: IpAddr) -> bool {
        let of_family = match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(v6) => !v6.is_unicast_link_local() && v6.to_ipv4_mapped().is_none(),
        };
        let distinct = match &self.layout.neighbours {
            Neighbours::Containers => !self.is_inside(address),
            Neighbours::Host(guests) => !guests.contains(&address),
        };
        is_unicast(address) && of_family && distinct && !self.is_ours(address)
    }

    fn alias(&self, address: IpAddr) -> Option<&Alias> {
        self.layout.aliases.iter().find(|alias| alias.address == address)
    }

    /// Whether `address` belongs to this network, the gateway included.
    pub fn is_inside(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => self.subnet.contains_addr(&v4),
            IpAddr::V6(v6) => self.is_inside_v6(v6),
        }
    }

    fn is_inside_v6(&self, address: Ipv6Addr) -> bool {
        self.subnet6.is_some_and(|subnet| subnet.contains_addr(&address))
    }

    /// Where a datagram or connection to `target` leads.
    pub fn lead(&self, transport: Transport, target: SocketAddr) -> Lead {
        let address = target.ip().to_canonical();
        if target.port() == 0 {
            return Lead::Nowhere;
        }
        if self.is_resolver(address) && target.port() == DNS_PORT {
            return Lead::Resolver;
        }
        if let Some(server) = self.layout.encrypted_dns
            && self.is_resolver(address)
            && target.port() == ENCRYPTED_DNS_PORT
        {
            return Lead::Host(SocketAddr::new(server, ENCRYPTED_DNS_PORT));
        }
        if let Some(alias) = self.alias(address) {
            let host = |host| Lead::Host(SocketAddr::new(host, target.port()));
            return alias.host.map_or(Lead::Nowhere, host);
        }
        if self.is_gateway(address) && self.layout.gateway == GatewayLead::Loopback {
            let loopback = match address {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            return self.lead_to_loopback(transport, SocketAddr::new(loopback, target.port()));
        }
        if self.is_resolver(address) && !self.is_gateway(address) {
            return self.closed();
        }
        match self.scope(address) {
            Scope::Outside => Lead::Host(SocketAddr::new(address, target.port())),
            Scope::Fenced => Lead::Prohibited,
            Scope::Unroutable => Lead::Nowhere,
        }
    }

    /// Where an echo request to `target` leads.
    pub fn lead_echo(&self, target: IpAddr) -> EchoLead {
        let address = target.to_canonical();
        // What it stands for is this host, which always answers itself.
        if self.alias(address).is_some() {
            return EchoLead::Gateway;
        }
        let passed_on = self.is_gateway(address) && self.layout.gateway == GatewayLead::Outside;
        if self.is_ours(address) && !passed_on {
            return EchoLead::Gateway;
        }
        match self.scope(address) {
            Scope::Outside => EchoLead::Host(address),
            Scope::Fenced => EchoLead::Prohibited,
            Scope::Unroutable => EchoLead::Nowhere,
        }
    }

    /// What the gateway's address stands for: the host's `loopback` of the same family, where that is open, or where a
    /// published port is found, as with Docker. That one is ours: what is bound to the wildcard leaves nobody else the
    /// loopback's port.
    fn lead_to_loopback(&self, transport: Transport, loopback: SocketAddr) -> Lead {
        let open = match &self.host_access {
            HostAccess::None => false,
            HostAccess::Loopback => true,
            HostAccess::Ports(ports) => ports.contains(&loopback.port()),
        };
        if open || self.published.contains(transport, loopback) {
            Lead::Host(loopback)
        } else {
            self.closed()
        }
    }

    fn closed(&self) -> Lead {
        match self.layout.closed {
            Closed::Refused => Lead::Refused,
            Closed::Unreachable => Lead::Unreachable,
        }
    }

    fn scope(&self, address: IpAddr) -> Scope {
        match address {
            IpAddr::V4(v4) => self.scope_v4(v4),
            IpAddr::V6(v6) => self.scope_v6(v6),
        }
    }

    fn scope_v4(&self, address: Ipv4Addr) -> Scope {
        let first = address.octets()[0];
        // 0/8 is this network, 127/8 loopback, 224/4 multicast, 240/4 reserved with the limited broadcast.
        if first == 0 || first == 127 || first >= 224 {
            return Scope::Unroutable;
        }
        if self.is_kept_inside(address.into()) {
            return Scope::Unroutable;
        }
        if address.is_link_local() || address == AZURE_WIRE_SERVER {
            return self.fence();
        }
        Scope::Outside
    }

    fn scope_v6(&self, address: Ipv6Addr) -> Scope {
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
            return Scope::Unroutable;
        }
        if let Some(carried) = carried_v4(address) {
            return self.scope_v4(carried);
        }
        if self.is_kept_inside(address.into()) {
            return Scope::Unroutable;
        }
        if address.is_unicast_link_local() {
            return Scope::Fenced;
        }
        if METADATA_V6.contains(&address) {
            return self.fence();
        }
        Scope::Outside
    }

    /// Whether whoever has `address` is inside, where we carry nothing.
    fn is_kept_inside(&self, address: IpAddr) -> bool {
        match &self.layout.neighbours {
            Neighbours::Containers => self.is_inside(address),
            Neighbours::Host(guests) => guests.contains(&address),
        }
    }

    fn fence(&self) -> Scope {
        if self.metadata { Scope::Outside } else { Scope::Fenced }
    }
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            resolver: ResolverPlace::Gateway,
            encrypted_dns: None,
            gateway: GatewayLead::Loopback,
            link_local: LINK_LOCAL_GATEWAY,
            aliases: Vec::new(),
            closed: Closed::Refused,
            neighbours: Neighbours::Containers,
        }
    }
}

/// Whether one machine can have the address on a network.
fn is_unicast(address: IpAddr) -> bool {
    let somewhere = !address.is_unspecified() && !address.is_loopback() && !address.is_multicast();
    somewhere && !matches!(address, IpAddr::V4(v4) if v4.is_broadcast() || v4.octets()[0] == 0 || v4.octets()[0] == 127)
}

/// The classes of destination beyond the gateway.
enum Scope {
    Outside,
    Fenced,
    Unroutable,
}

/// The IPv4 address by which a translator or relay on the way would reach what we fence off: inside 64:ff9b::/96 (RFC
/// 6052), 2002::/16 (RFC 3056) and ::/96 (RFC 4291 section 2.5.5.1).
fn carried_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let ([0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] | [0, 0, 0, 0, 0, 0, high, low]) =
        address.segments()
    else {
        return None;
    };
    Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
}

/// Where the gateway's resolver listens (RFC 1035 section 4.2).
pub const DNS_PORT: u16 = 53;

/// RFC 7858 section 3.1.
const ENCRYPTED_DNS_PORT: u16 = 853;

/// Azure's metadata and agent service, the one that is not link local.
const AZURE_WIRE_SERVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Where the gateway answers on the link of every network that speaks IPv6, besides its global address.
pub const LINK_LOCAL_GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// The metadata services' IPv6 addresses: Amazon's, Google's, Oracle's and Scaleway's.
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd00, 0x00c1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    Ipv6Addr::new(0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(host_access: HostAccess) -> Policy {
        Policy::new(Ipv4Addr::new(172, 17, 0, 1), 16, host_access)
    }

    fn lead(policy: &Policy, target: &str) -> Lead {
        policy.lead(Transport::Tcp, target.parse().unwrap())
    }

    fn host(target: &str) -> Lead {
        Lead::Host(target.parse().unwrap())
    }

    #[test]
    fn destinations_by_class() {
        let policy = policy(HostAccess::None);
        let table = [
            ("93.184.216.34:80", host("93.184.216.34:80")),
            ("10.0.0.7:22", host("10.0.0.7:22")),
            ("172.18.0.1:80", host("172.18.0.1:80")),
            ("172.17.0.1:53", Lead::Resolver),
            ("172.17.0.1:80", Lead::Refused),
            ("172.17.0.9:80", Lead::Nowhere),
            ("172.17.255.255:80", Lead::Nowhere),
            ("127.0.0.1:80", Lead::Nowhere),
            ("127.8.8.8:53", Lead::Nowhere),
            ("0.0.0.0:80", Lead::Nowhere),
            ("0.1.2.3:80", Lead::Nowhere),
            ("224.0.0.251:5353", Lead::Nowhere),
            ("239.255.255.250:1900", Lead::Nowhere),
            ("240.0.0.1:80", Lead::Nowhere),
            ("255.255.255.255:67", Lead::Nowhere),
            ("169.254.169.254:80", Lead::Prohibited),
            ("169.254.0.1:80", Lead::Prohibited),
            ("168.63.129.16:80", Lead::Prohibited),
            ("8.8.8.8:0", Lead::Nowhere),
            ("[2001:db8::1]:80", host("[2001:db8::1]:80")),
            ("[::]:80", Lead::Nowhere),
            ("[::1]:80", Lead::Nowhere),
            ("[ff02::fb]:5353", Lead::Nowhere),
            ("[fe80::1]:80", Lead::Prohibited),
            ("[fd00:ec2::254]:80", Lead::Prohibited),
            ("[::ffff:127.0.0.1]:80", Lead::Nowhere),
            ("[::ffff:169.254.169.254]:80", Lead::Prohibited),
            ("[::ffff:172.17.0.1]:53", Lead::Resolver),
            ("[64:ff9b::a9fe:a9fe]:80", Lead::Prohibited),
            ("[64:ff9b::7f00:1]:80", Lead::Nowhere),
            ("[2002:a9fe:a9fe::1]:80", Lead::Prohibited),
            ("[2002:7f00:1::1]:80", Lead::Nowhere),
            ("[::7f00:1]:80", Lead::Nowhere),
            ("[fd20:ce::254]:80", Lead::Prohibited),
        ];
        for (target, expected) in table {
            assert_eq!(lead(&policy, target), expected, "{target}");
        }
    }

    #[test]
    fn gateway_leads_to_loopback_where_allowed() {
        let all = policy(HostAccess::Loopback);
        assert_eq!(lead(&all, "172.17.0.1:8080"), host("127.0.0.1:8080"));
        assert_eq!(lead(&all, "172.17.0.1:53"), Lead::Resolver);
        let some = policy(HostAccess::Ports(vec![8080]));
        assert_eq!(lead(&some, "172.17.0.1:8080"), host("127.0.0.1:8080"));
        assert_eq!(lead(&some, "172.17.0.1:8081"), Lead::Refused);
        assert_eq!(
            lead(&all, "127.0.0.1:8080"),
            Lead::Nowhere,
            "only by the gateway's address"
        );
    }

    #[test]
    fn gateway_leads_to_published_ports() {
        let policy = with_ipv6(HostAccess::Ports(vec![5432]));
        for (transport, bound) in [
            (Transport::Tcp, "0.0.0.0:8080"),
            (Transport::Udp, "[::]:9000"),
            (Transport::Udp, "127.0.0.1:7000"),
            (Transport::Udp, "0.0.0.0:53"),
        ] {
            policy.published.open(transport, bound.parse().unwrap());
        }
        let lead = |transport, target: &str| policy.lead(transport, target.parse().unwrap());
        for (transport, target, expected) in [
            (Transport::Tcp, "172.17.0.1:8080", host("127.0.0.1:8080")),
            (Transport::Udp, "172.17.0.1:8080", Lead::Refused),
            (Transport::Tcp, "[fd12:3456:789a::1]:8080", Lead::Refused),
            (Transport::Udp, "[fd12:3456:789a::1]:9000", host("[::1]:9000")),
            (Transport::Udp, "[fe80::1]:9000", host("[::1]:9000")),
            (Transport::Udp, "172.17.0.1:9000", Lead::Refused),
            (Transport::Udp, "172.17.0.1:7000", Lead::Refused),
            (Transport::Udp, "172.17.0.1:53", Lead::Resolver),
            (Transport::Tcp, "172.17.0.1:5432", host("127.0.0.1:5432")),
            (Transport::Tcp, "172.17.0.9:8080", Lead::Nowhere),
            (Transport::Tcp, "127.0.0.1:8080", Lead::Nowhere),
        ] {
            assert_eq!(lead(transport, target), expected, "{transport:?} {target}");
        }
        policy.published.close(Transport::Tcp, "0.0.0.0:8080".parse().unwrap());
        assert_eq!(lead(Transport::Tcp, "172.17.0.1:8080"), Lead::Refused);
    }

    #[test]
    fn metadata_when_allowed() {
        let policy = Policy {
            metadata: true,
            ..policy(HostAccess::None)
        };
        assert_eq!(lead(&policy, "169.254.169.254:80"), host("169.254.169.254:80"));
        assert_eq!(
            policy.lead_echo("169.254.169.254".parse().unwrap()),
            EchoLead::Host("169.254.169.254".parse().unwrap())
        );
    }

    #[test]
    fn encrypted_questions_go_where_they_are_said_to() {
        let mut policy = policy(HostAccess::None);
        policy.layout.resolver = ResolverPlace::At {
            v4: Some(Ipv4Addr::new(169, 254, 1, 1)),
            v6: None,
        };
        assert_eq!(lead(&policy, "169.254.1.1:853"), Lead::Refused);
        policy.layout.encrypted_dns = Some("192.0.2.53".parse().unwrap());
        assert_eq!(lead(&policy, "169.254.1.1:853"), host("192.0.2.53:853"));
        assert_eq!(lead(&policy, "169.254.1.1:53"), Lead::Resolver);
        assert_eq!(
            lead(&policy, "172.17.0.1:853"),
            Lead::Refused,
            "the resolver's address alone"
        );
    }

    #[test]
    fn echo_by_class() {
        let policy = policy(HostAccess::Loopback);
        let table = [
            ("172.17.0.1", EchoLead::Gateway),
            ("1.1.1.1", EchoLead::Host("1.1.1.1".parse().unwrap())),
            ("127.0.0.1", EchoLead::Nowhere),
            ("172.17.0.3", EchoLead::Nowhere),
            ("169.254.169.254", EchoLead::Prohibited),
            ("224.0.0.1", EchoLead::Nowhere),
        ];
        for (target, expected) in table {
            assert_eq!(policy.lead_echo(target.parse().unwrap()), expected, "{target}");
        }
    }

    #[test]
    fn whatever_stands_for_the_host_answers_echoes() {
        let mut policy = policy(HostAccess::None);
        let address: IpAddr = "172.17.0.2".parse().unwrap();
        for host in [
            None,
            Some(Ipv4Addr::LOCALHOST.into()),
            Some("198.51.100.1".parse().unwrap()),
        ] {
            policy.layout.aliases = vec![Alias { address, host }];
            assert_eq!(policy.lead_echo(address), EchoLead::Gateway, "{host:?}");
        }
    }

    fn with_ipv6(host_access: HostAccess) -> Policy {
        Policy {
            subnet6: Some("fd12:3456:789a::1/64".parse().unwrap()),
            ..policy(host_access)
        }
    }

    #[test]
    fn destinations_by_class_with_ipv6() {
        let policy = with_ipv6(HostAccess::Ports(vec![8080]));
        let table = [
            ("[fd12:3456:789a::1]:53", Lead::Resolver),
            ("[fe80::1]:53", Lead::Resolver),
            ("[fd12:3456:789a::1]:8080", host("[::1]:8080")),
            ("[fe80::1]:8080", host("[::1]:8080")),
            ("172.17.0.1:8080", host("127.0.0.1:8080")),
            ("[fd12:3456:789a::1]:80", Lead::Refused),
            ("[fd12:3456:789a::2]:80", Lead::Nowhere),
            ("[fd12:3456:789a:1::2]:80", host("[fd12:3456:789a:1::2]:80")),
            ("[2001:db8::1]:80", host("[2001:db8::1]:80")),
            ("[fe80::2]:80", Lead::Prohibited),
            ("[ff02::1]:80", Lead::Nowhere),
            ("[::1]:8080", Lead::Nowhere),
        ];
        for (target, expected) in table {
            assert_eq!(lead(&policy, target), expected, "{target}");
        }
        let fenced = Policy {
            metadata: true,
            ..policy
        };
        assert_eq!(lead(&fenced, "[fd00:ec2::254]:80"), host("[fd00:ec2::254]:80"));
        assert_eq!(lead(&fenced, "[fe80::2]:80"), Lead::Prohibited, "no router forwards it");
    }

    #[test]
    fn the_gateway_answers_echoes_at_both_addresses() {
        let policy = with_ipv6(HostAccess::None);
        for gateway in ["fd12:3456:789a::1", "fe80::1"] {
            assert_eq!(policy.lead_echo(gateway.parse().unwrap()), EchoLead::Gateway);
        }
        assert!(policy.is_inside("fd12:3456:789a::77".parse().unwrap()));
        assert!(!policy.is_inside("fd12:3456:789b::77".parse().unwrap()));
    }
}
