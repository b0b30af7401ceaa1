//! What the choice of a subnet has to know about the host.
//!
//! Filled from netlink and resolv.conf by the shell; read by [`super::subnet`].

use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// Where the host's packets go today.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Routes of the main table.
    pub routes: Vec<HostRoute>,
    /// Addresses of the host's interfaces with their prefix lengths.
    pub prefixes: Vec<IpNetwork>,
    /// Resolvers of resolv.conf.
    pub nameservers: Vec<IpAddr>,
}

/// One route of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoute {
    /// What it leads to; `/0` for a default route.
    pub destination: IpNetwork,
    /// The interface it leaves by.
    pub interface: String,
    /// The next hop; `None`: the destination is on the link.
    pub gateway: Option<IpAddr>,
}
