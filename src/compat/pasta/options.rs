//! What can be asked of pasta, as its command line says it ([`super::command_line`] reads that).

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use smoltcp::wire::EthernetAddress;

use super::rule::{Pif, Transport};
use super::spec::Ports;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Which namespace.
    pub target: Target,
    /// The user namespace to join for it (`--userns`).
    pub userns: Option<PathBuf>,
    /// Join no user namespace but a process's own, and make none.
    pub netns_only: bool,
    /// Stay when the namespace goes.
    pub no_netns_quit: bool,
    /// Leave the command in our own process-id namespace.
    pub no_pidns: bool,
    /// Configure the interface in the namespace.
    pub config_net: bool,
    /// `-a`, `-g` and their like, by family.
    pub v4: Family<Ipv4Addr>,
    /// The same of IPv6.
    pub v6: Family<Ipv6Addr>,
    /// `-n`.
    pub mask: Option<u8>,
    /// Name inside.
    pub ns_ifname: Option<String>,
    /// Template outside, for both families.
    pub interface: Option<String>,
    /// Template and way out of IPv4 alone.
    pub outbound_if4: Option<String>,
    /// The same of IPv6.
    pub outbound_if6: Option<String>,
    /// `-m`; 0 assigns none.
    pub mtu: Option<u16>,
    /// Our hardware address.
    pub mac: Option<EthernetAddress>,
    /// The namespace's.
    pub ns_mac: Option<EthernetAddress>,
    /// `-D`, to be handed out instead of the host's; an empty list for none.
    pub dns: Option<Vec<IpAddr>>,
    /// `-S`, likewise.
    pub search: Option<Vec<String>>,
    /// `-H`.
    pub hostname: Option<String>,
    /// `--fqdn`.
    pub fqdn: Option<String>,
    /// Hand out resolvers.
    pub dhcp_dns: bool,
    /// Hand out the search list.
    pub dhcp_search: bool,
    /// The gateway does not stand for the host.
    pub no_map_gw: bool,
    /// `-4`.
    pub ipv4_only: bool,
    /// `-6`.
    pub ipv6_only: bool,
    /// What is switched off.
    pub off: Off,
    /// Bind addresses that the host does not have yet.
    pub freebind: bool,
    /// What is forwarded, in the order in which it was written.
    pub forwards: Vec<Forward>,
    /// A client of the host's loopback comes to the namespace's.
    pub host_lo_to_ns_lo: bool,
    /// No sockets inside the namespace for clients of the host.
    pub no_splice: bool,
    /// Sockets inside the namespace and nothing else: no interface.
    pub splice_only: bool,
    /// `--chroot-fallback`: a new root is entered by chroot(2) where pivot_root(2) does not go.
    pub chroot_fallback: bool,
    /// Copy addresses and routes; both are obsolete to say no to.
    pub no_copy_routes: bool,
    /// As above.
    pub no_copy_addrs: bool,
    /// Stay in the foreground.
    pub foreground: bool,
    /// How much is said.
    pub loudness: Loudness,
    /// `-l`.
    pub log_file: Option<PathBuf>,
    /// `--log-size`.
    pub log_size: Option<u64>,
    /// `-P`.
    pub pid_file: Option<PathBuf>,
    /// `-p`.
    pub pcap: Option<PathBuf>,
    /// `-c`.
    pub conf_path: Option<PathBuf>,
    /// `--runas`.
    pub runas: Option<String>,
    /// What is to be said about options that go, one line each.
    pub remarks: Vec<String>,
}

/// Which namespace is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A new one, for this command; without one, the user's shell.
    Command(Vec<OsString>),
    /// That of a process.
    Pid(i32),
    /// That at a path, or of a name in /run/netns.
    Netns(PathBuf),
}

/// What is chosen for one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family<A> {
    /// `-a`.
    pub address: Option<(A, Option<u8>)>,
    /// `-g`.
    pub gateway: Option<A>,
    /// `-o`.
    pub outbound: Option<A>,
    /// `--dns-forward`.
    pub dns_forward: Option<A>,
    /// `--dns-host`.
    pub dns_host: Option<A>,
    /// `--map-host-loopback`.
    pub host_loopback: Mapped<A>,
    /// `--map-guest-addr`.
    pub guest: Mapped<A>,
}

/// An address that stands for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapped<A> {
    /// Nobody said.
    Default,
    /// No address does.
    Nothing,
    /// This one.
    At(A),
}

/// What is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Off {
    /// `--no-tcp`.
    pub tcp: bool,
    /// `--no-udp`.
    pub udp: bool,
    /// `--no-icmp`.
    pub icmp: bool,
    /// `--no-dhcp`.
    pub dhcp: bool,
    /// `--no-ndp`.
    pub ndp: bool,
    /// `--no-dhcpv6`.
    pub dhcpv6: bool,
    /// `--no-ra`.
    pub ra: bool,
}

/// One `-t`, `-u`, `-T` or `-U` that forwards something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// Which way.
    pub pif: Pif,
    /// What.
    pub protocol: Transport,
    /// Which ports; none switches off what goes without saying.
    pub ports: Option<Ports>,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Loudness {
    /// What goes wrong.
    Quiet,
    /// And what was set up.
    #[default]
    Normal,
    /// And what happens (`-d`, `--trace`).
    Debug,
}

impl Options {
    /// Whether this family is spoken at all, as far as the command line says.
    pub fn wants_v4(&self) -> bool {
        !self.ipv6_only
    }

    /// The same of IPv6.
    pub fn wants_v6(&self) -> bool {
        !self.ipv4_only
    }
}

impl Default for Target {
    fn default() -> Self {
        Self::Command(Vec::new())
    }
}

impl<A> Default for Family<A> {
    fn default() -> Self {
        Self {
            address: None,
            gateway: None,
            outbound: None,
            dns_forward: None,
            dns_host: None,
            host_loopback: Mapped::Default,
            guest: Mapped::Default,
        }
    }
}
