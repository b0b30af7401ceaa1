//! DHCP: what namespaces that configure themselves ask for, and what they are told.
//!
//! Here are the settings of a server and the formats of its messages, [`v4`] and [`v6`]; who may ask, and what is
//! answered, is the engine's. A server of ours keeps next to no state: an address is leased to a hardware address for as
//! long as the shell has it attached, so there is nothing to lose and nothing to expire. Only a server that gives IPv4
//! addresses of its own, from a [range](AddressSource::Range) or to a [guest](AddressSource::Guest), has to remember to
//! whom ([`leases`]).
//!
//! Every message that is written has a bound, and parts are left out in order of worth where it is too small.

pub(super) mod leases;
mod search;
pub(super) mod v4;
pub(super) mod v6;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What whoever asks is told, besides its address. The mask is that of the subnet, and the server the gateway.
#[derive(Debug, Clone)]
pub struct Dhcp {
    /// Where the default route of IPv4 leads; that of IPv6 is the business of router advertisements.
    pub router: Option<Ipv4Addr>,
    /// Resolvers of both families, the first asked first; three of each are told.
    pub dns: Vec<IpAddr>,
    /// Domains to look for names in, as resolv.conf has them. What is no domain is left out.
    pub search: Vec<String>,
    /// The name of whoever asks, unless its hardware address has one
    /// ([`Engine::set_hostname`](crate::stack::Engine::set_hostname)). For IPv4 alone (RFC 2132 section 3.14).
    pub hostname: Option<String>,
    /// The same with its domain, of both families (RFC 4702, RFC 4704). What is no name is left out.
    pub fqdn: Option<String>,
    /// The interface's MTU in bytes, without the Ethernet header.
    pub mtu: Option<u16>,
    /// Seconds for which an address is leased; half of them, and seven eighths, before it is asked for again.
    pub lease: u32,
    /// Which address.
    pub source: AddressSource,
    /// What there is to choose for IPv6.
    pub v6: Dhcpv6,
}

/// What RFC 8415 leaves to a server, and how long addresses of IPv6 are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dhcpv6 {
    /// How long.
    pub tenure: Tenure,
    /// How much advertisements say that they are to be preferred to other servers' (section 21.8); none: not a word.
    pub preference: Option<u8>,
    /// A client that asks for it gets its address without being advertised anything first (section 18.3.1).
    pub rapid_commit: bool,
    /// Resolvers, domains and names are told to whoever asks for other things, too (section 18.3: "additional options").
    pub unasked: bool,
}

/// How long an address of IPv6 is its client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenure {
    /// For the seconds of [`Dhcp::lease`], or until it is given back. Who comes with another gets its own besides.
    Leased,
    /// For ever (section 7.7). It is the one answer to every question about addresses, also to a confirmation's, and can't
    /// be given back: nothing is heard of that. Whatever else a client has is not for this link.
    Permanent,
}

/// Where the addresses come from that are leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressSource {
    /// The shell has given them already: an attached hardware address gets those that it was attached with, of both
    /// families, and nobody else gets any.
    Attached,
    /// Whoever asks gets an IPv4 address from here: the lowest that is free, and later the same again, by its client
    /// identifier or else its hardware address. What is leased counts as attached, until it is released or someone else
    /// gets it. For networks with one engine: others would not hear of it. Of IPv6 nobody gets any.
    Range {
        /// The first.
        first: Ipv4Addr,
        /// The last; no more than 4096 are used.
        last: Ipv4Addr,
    },
    /// There is one who can ask, and these are its addresses. That of IPv4 is leased like a range of one. In a family
    /// without an address nobody is answered.
    Guest {
        /// Of IPv4.
        v4: Option<Ipv4Addr>,
        /// Of IPv6.
        v6: Option<Ipv6Addr>,
    },
}

impl Dhcp {
    /// Whether anybody is answered who asks by IPv4.
    pub(super) fn serves_v4(&self) -> bool {
        !matches!(self.source, AddressSource::Guest { v4: None, .. })
    }

    /// The same of IPv6.
    pub(super) fn serves_v6(&self) -> bool {
        !matches!(self.source, AddressSource::Guest { v6: None, .. })
    }

    /// Whether addresses of IPv6 are given, too.
    pub(super) fn gives_ipv6(&self) -> bool {
        match self.source {
            AddressSource::Attached => true,
            AddressSource::Range { .. } => false,
            AddressSource::Guest { v6, .. } => v6.is_some(),
        }
    }

    /// The addresses of IPv4 that it gives to those who have none.
    pub(super) fn range(&self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        match self.source {
            AddressSource::Attached => None,
            AddressSource::Range { first, last } => Some((first, last)),
            AddressSource::Guest { v4, .. } => v4.map(|address| (address, address)),
        }
    }

    fn dns4(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.dns.iter().filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        })
    }

    fn dns6(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.dns.iter().filter_map(|address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(*address),
        })
    }
}

impl Default for Dhcpv6 {
    /// Leases of the only server that there is.
    fn default() -> Self {
        Self {
            tenure: Tenure::Leased,
            preference: Some(HIGHEST_PREFERENCE),
            rapid_commit: true,
            unasked: false,
        }
    }
}

/// RFC 8415 section 18.2.1: whoever hears it need not wait for other servers.
const HIGHEST_PREFERENCE: u8 = 255;

/// As many resolvers as anybody asks: MAXNS of resolv.h.
const MAX_RESOLVERS: usize = 3;

/// Bytes of the largest IP packet that is written, whatever the MTU: clients' buffers are seldom larger.
const MOST: u16 = 1500;
