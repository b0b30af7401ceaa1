//! Host ports: bound when they are promised, handed to the driver when their container is there.
//!
//! A TCP port is bound *and* listening from the start, so that nobody else can take it (Docker holds it the same
//! way); connections that come before the container wait in the kernel's queue.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Socket, Type};

use crate::network::ports::Protocol;

/// A bound host port.
#[derive(Debug)]
pub enum HostPort {
    /// Listening.
    Tcp(TcpListener),
    /// Bound.
    Udp(UdpSocket),
}

impl HostPort {
    /// Binds exactly `address`: an IPv6 wildcard takes no IPv4 (IPV6_V6ONLY), loopback stays loopback.
    pub fn bind(protocol: Protocol, address: SocketAddr) -> io::Result<Self> {
        Self::bind_as(protocol, address, &Manner::default())
    }

    /// The same in a `manner` of its own.
    pub fn bind_as(protocol: Protocol, address: SocketAddr, manner: &Manner) -> io::Result<Self> {
        let kind = match protocol {
            Protocol::Tcp => Type::STREAM,
            Protocol::Udp => Type::DGRAM,
        };
        let socket = Socket::new(Domain::for_address(address), kind, None)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        if let Some(interface) = &manner.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        if manner.free {
            match address {
                SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
                SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
            }
        }
        match protocol {
            Protocol::Tcp => {
                // Connections of an earlier life in TIME-WAIT don't hold the port.
                socket.set_reuse_address(true)?;
                socket.bind(&address.into())?;
                socket.listen(BACKLOG)?;
                Ok(Self::Tcp(socket.into()))
            }
            Protocol::Udp => {
                socket.bind(&address.into())?;
                Ok(Self::Udp(socket.into()))
            }
        }
    }

    /// What it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr(),
            Self::Udp(socket) => socket.local_addr(),
        }
    }
}

/// How a port is bound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manner {
    /// To this interface only (SO_BINDTODEVICE).
    pub interface: Option<String>,
    /// To an address that the host may not have yet (IP_FREEBIND).
    pub free: bool,
}

/// Whether this host has IPv6 at all; without it a wildcard port is bound for IPv4 only.
pub fn has_ipv6() -> bool {
    UdpSocket::bind((IpAddr::from([0u16; 8]), 0)).is_ok()
}

/// Connections waiting to be accepted; the kernel cuts it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_port_is_held() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let first = HostPort::bind(protocol, SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
            let second = HostPort::bind(protocol, first.local_addr().unwrap());
            assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        }
    }
}
