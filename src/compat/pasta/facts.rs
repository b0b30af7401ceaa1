//! What this host says of itself, and what we say of ourselves.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::Path;

use crate::host::resolver::search_list;
use crate::netns::nameservers;
use crate::netns::outpost::{SocketTables, Table};

/// The ports that the host gives away by itself (ip-sysctl.rst of the kernel, `ip_local_port_range`).
pub fn ephemeral_ports() -> (u16, u16) {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(low)), Some(Ok(high))) => (low, high),
        (_, _) => USUAL_RANGE,
    }
}

/// Whom names are asked of, and what they are completed with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// Resolvers.
    pub servers: Vec<IpAddr>,
    /// The search list.
    pub search: Vec<String>,
}

impl Names {
    /// The host's.
    pub fn of_host() -> Self {
        Self {
            servers: nameservers(&fs::read_to_string(RESOLV_CONF).unwrap_or_default()),
            search: search_list(Path::new(RESOLV_CONF)),
        }
    }
}

/// The tables of sockets of the namespace that we are in; a kernel without IPv6 has two.
pub fn socket_tables() -> SocketTables {
    let tables = [
        (Table::Tcp, "/proc/self/net/tcp"),
        (Table::Tcp, "/proc/self/net/tcp6"),
        (Table::Udp, "/proc/self/net/udp"),
        (Table::Udp, "/proc/self/net/udp6"),
    ];
    let open = tables
        .iter()
        .filter_map(|(table, path)| Some((*table, File::open(path).ok()?)));
    SocketTables { files: open.collect() }
}

/// What `--version` says. Callers compare the date in it with the one that brought an option, so it is that of the
/// original whose options these are.
pub fn version(name: &str) -> String {
    format!(
        "{name} 0.0~git20261002.gangplank-{}\ngangplank speaks {name}'s command line; it is not passt's {name}.\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Where the host's resolvers are named.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The kernel's default.
const USUAL_RANGE: (u16, u16) = (32_768, 60_999);
