//! What is asked for: a network's bridge, a container's interface.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::sys::tun::OffloadBits;
use crate::uplink::UplinkKind;

/// A bridge and its uplink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Name of the bridge.
    pub name: String,
    /// IP MTU of bridge and ports, in bytes without the Ethernet header.
    pub mtu: u16,
    /// Whether containers reach each other; if not, their ports are isolated and only the uplink is not.
    pub icc: bool,
    /// Kinds of uplink to try, in this order.
    pub uplinks: Vec<UplinkKind>,
    /// Queues that the uplink shall have, where its kind has any to choose.
    pub queues: usize,
    /// What the uplink shall leave to its reader, of TAPs every bit of it, of packet sockets `uso`; the kernel may agree to
    /// less.
    pub offload: OffloadBits,
}

/// An interface as a container sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceSpec {
    /// Its name.
    pub ifname: String,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Its addresses, each with the prefix of its subnet. It may send from no others.
    pub addresses: Vec<IpNetwork>,
    /// Where the default routes lead, one for each family.
    pub gateways: Vec<IpAddr>,
    /// It is brought up without addresses and routes: the namespace asks for them.
    pub asks: bool,
    /// IP MTU, in bytes without the Ethernet header.
    pub mtu: u16,
}
