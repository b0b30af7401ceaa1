//! The host socket of one UDP mapping: unconnected, so that one port serves every target (RFC 4787 REQ-1).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};

/// Opens the socket of a mapping whose container port is `port`, in the address family of `target`.
///
/// The kernel chooses the number; its parity follows the container's where that is possible (RFC 4787 REQ-4). The
/// number itself is not kept: it could shadow a service that the host starts later.
pub fn open(target: SocketAddr, port: u16, registry: &Registry, token: Token) -> io::Result<UdpSocket> {
    let mut socket = bind(target, 0)?;
    let number = socket.local_addr()?.port();
    if number % 2 != port % 2
        && let Ok(neighbour) = bind(target, number ^ 1)
    {
        socket = neighbour;
    }
    registry.register(&mut socket, token, Interest::READABLE)?;
    Ok(socket)
}

fn bind(target: SocketAddr, port: u16) -> io::Result<UdpSocket> {
    let any = match target {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
    };
    UdpSocket::bind(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parity_follows_the_container() {
        let poll = mio::Poll::new().unwrap();
        let target = SocketAddr::from(([127, 0, 0, 1], 9));
        for port in [4000, 4001, 4002, 4003] {
            let socket = open(target, port, poll.registry(), Token(0)).unwrap();
            assert_eq!(socket.local_addr().unwrap().port() % 2, port % 2);
        }
    }
}
