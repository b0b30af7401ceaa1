//! Host ports: bound when they are promised, handed to the driver when their container is there.
//!
//! A TCP port is bound *and* listening from the start, so that nobody else can take it (Docker holds it the same
//! way); connections that come before the container wait in the kernel's queue.
//!
//! A TCP port at every address is one listener for both families, which the kernel gives IPv4 clients as mapped addresses
//! (RFC 3493 section 3.7): ten thousand ports are ten thousand descriptors. UDP has two sockets, for errors and hop limits
//! are the families' own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Socket, Type};

use crate::network::ports::{Protocol, Reach};

/// A bound host port.
#[derive(Debug)]
pub enum HostPort {
    /// Listening.
    Tcp(TcpListener),
    /// Bound.
    Udp(UdpSocket),
}

/// An address that could not be bound.
#[derive(Debug)]
pub struct NotBound {
    /// Which; of several the first.
    pub address: SocketAddr,
    /// Why not.
    pub error: io::Error,
}

impl HostPort {
    /// How many sockets [`HostPort::bind`] makes.
    pub fn sockets(protocol: Protocol, reach: Reach) -> usize {
        match (protocol, reach) {
            (Protocol::Udp, Reach::Every) => 2,
            (Protocol::Tcp, Reach::Every) | (_, Reach::At(_)) => 1,
        }
    }

    /// Binds exactly `address`: an IPv6 wildcard takes no IPv4, loopback stays loopback.
    pub fn at(protocol: Protocol, address: SocketAddr) -> io::Result<Self> {
        Self::bind_as(protocol, address, &Manner::default())
    }

    /// The same in a `manner` of its own.
    pub fn bind_as(protocol: Protocol, address: SocketAddr, manner: &Manner) -> io::Result<Self> {
        Self::open(protocol, address, !manner.both, manner)
    }

    /// Binds `port` at all addresses of `reach`, or at none.
    pub fn bind(protocol: Protocol, reach: Reach, port: u16) -> Result<Vec<Self>, NotBound> {
        let not_bound = |address: IpAddr| {
            move |error| NotBound {
                address: SocketAddr::new(address, port),
                error,
            }
        };
        if (protocol, reach) == (Protocol::Tcp, Reach::Every) {
            let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            let listener = Self::open(protocol, both, false, &Manner::default())
                .map_err(not_bound(Ipv4Addr::UNSPECIFIED.into()))?;
            return Ok(vec![listener]);
        }
        let bind = |address| Self::at(protocol, SocketAddr::new(address, port)).map_err(not_bound(address));
        reach.addresses().map(bind).collect()
    }

    /// Binds `address`; an IPv6 wildcard takes IPv4, too, unless `only_v6` says no.
    fn open(protocol: Protocol, address: SocketAddr, only_v6: bool, manner: &Manner) -> io::Result<Self> {
        let kind = match protocol {
            Protocol::Tcp => Type::STREAM,
            Protocol::Udp => Type::DGRAM,
        };
        let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), None)?;
        if address.is_ipv6() {
            socket.set_only_v6(only_v6)?;
        }
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
}

/// How a port is bound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manner {
    /// To this interface only (SO_BINDTODEVICE).
    pub interface: Option<String>,
    /// To an address that the host may not have yet (IP_FREEBIND).
    pub free: bool,
    /// At IPv6's every address, to those of IPv4 as well.
    pub both: bool,
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

    fn number(port: &HostPort) -> u16 {
        let address = match port {
            HostPort::Tcp(listener) => listener.local_addr(),
            HostPort::Udp(socket) => socket.local_addr(),
        };
        address.unwrap().port()
    }

    #[test]
    fn a_bound_port_is_held() {
        let local = Reach::At(Ipv4Addr::LOCALHOST.into());
        for (protocol, reach) in [
            (Protocol::Tcp, local),
            (Protocol::Udp, local),
            (Protocol::Tcp, Reach::Every),
        ] {
            let first = HostPort::bind(protocol, reach, 0).unwrap();
            assert_eq!(first.len(), HostPort::sockets(protocol, reach));
            let port = number(&first[0]);
            for held in reach.addresses() {
                let refused = HostPort::bind(protocol, Reach::At(held), port).unwrap_err();
                assert_eq!(refused.error.kind(), io::ErrorKind::AddrInUse, "{held}");
                assert_eq!(refused.address, SocketAddr::new(held, port));
            }
        }
    }

    /// The driver relies on it: ports are watched once their container is there.
    #[test]
    fn a_client_that_came_before_the_listener_is_watched_is_told_of() {
        let bound = HostPort::bind(Protocol::Tcp, Reach::Every, 0).unwrap().remove(0);
        let _client = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, number(&bound))).unwrap();
        let HostPort::Tcp(listener) = bound else { panic!() };
        let mut listener = mio::net::TcpListener::from_std(listener);
        let mut poll = mio::Poll::new().unwrap();
        let mut events = mio::Events::with_capacity(1);
        let (token, interest) = (mio::Token(7), mio::Interest::READABLE);
        poll.registry().register(&mut listener, token, interest).unwrap();
        poll.poll(&mut events, Some(std::time::Duration::from_secs(10)))
            .unwrap();
        assert_eq!(events.iter().map(mio::event::Event::token).collect::<Vec<_>>(), [token]);
    }

    #[test]
    fn one_listener_serves_both_families() {
        let bound = HostPort::bind(Protocol::Tcp, Reach::Every, 0).unwrap();
        let port = number(&bound[0]);
        for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            std::net::TcpStream::connect((address, port)).unwrap();
        }
    }
}
