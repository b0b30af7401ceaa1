//! Host sockets for datagrams: of a UDP mapping, and of a published port.
//!
//! A mapping's socket is unconnected, so that one port serves every target (RFC 4787 REQ-1). Both kinds move many
//! datagrams with one system call where the kernel can: UDP_SEGMENT cuts a superframe of a container on its way out,
//! UDP_GRO hands over what came in together (udp(7), linux/udp.h).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::os::fd::AsRawFd;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};

/// A bound socket that is watched.
#[derive(Debug)]
pub struct UdpSide {
    socket: UdpSocket,
    /// Where recvmsg(2) says how long one datagram of several is; kept, so that receiving allocates nothing.
    control: Vec<u8>,
}

/// What was received: one datagram, or several of `segment` bytes, of which the last may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Who sent it.
    pub from: SocketAddr,
    /// Bytes of the buffer that were written.
    pub len: usize,
    /// Bytes of one datagram, where there are several.
    pub segment: Option<NonZeroU16>,
}

impl UdpSide {
    /// Opens the socket of a mapping whose container port is `port`, in the address family of `target`.
    ///
    /// The kernel chooses the number; its parity follows the container's where that is possible (RFC 4787 REQ-4). The
    /// number itself is not kept: it could shadow a service that the host starts later.
    pub fn open(target: SocketAddr, port: u16, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut socket = bind(target, 0)?;
        let number = socket.local_addr()?.port();
        if number % 2 != port % 2
            && let Ok(neighbour) = bind(target, number ^ 1)
        {
            socket = neighbour;
        }
        Self::watch(socket, registry, token)
    }

    /// Takes over a bound socket.
    pub fn watch(mut socket: UdpSocket, registry: &Registry, token: Token) -> io::Result<Self> {
        // A kernel before 5.0 hands datagrams over one by one.
        let _ = setsockopt(&socket, sockopt::UdpGroSegment, &true);
        registry.register(&mut socket, token, Interest::READABLE)?;
        let control = nix::cmsg_space!(libc::c_int);
        Ok(Self { socket, control })
    }

    /// Sends a datagram, or several of `segment` bytes.
    pub fn send(&self, target: SocketAddr, payload: &[u8], segment: Option<NonZeroU16>) -> io::Result<()> {
        let Some(segment) = segment.filter(|segment| payload.len() > segment.get().into()) else {
            return self.socket.send_to(payload, target).map(drop);
        };
        let cut = [ControlMessage::UdpGsoSegments(&segment.get())];
        let target_address = SockaddrStorage::from(target);
        let parts = [IoSlice::new(payload)];
        match sendmsg(
            self.socket.as_raw_fd(),
            &parts,
            &cut,
            MsgFlags::empty(),
            Some(&target_address),
        ) {
            Ok(_) => Ok(()),
            // Too many, too long for the way, or an interface that cannot: one by one then, each with its own fate.
            Err(Errno::EINVAL | Errno::EIO | Errno::EMSGSIZE) => payload
                .chunks(segment.get().into())
                .try_for_each(|datagram| self.socket.send_to(datagram, target).map(drop)),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Receives into `buffer`.
    pub fn recv(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut parts = [IoSliceMut::new(buffer)];
        let received = recvmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut self.control),
            MsgFlags::empty(),
        )?;
        let segment = received.cmsgs()?.find_map(segment_of);
        let from = received.address.as_ref().and_then(endpoint);
        let from = from.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Received {
            from,
            len: received.bytes,
            segment,
        })
    }
}

fn bind(target: SocketAddr, port: u16) -> io::Result<UdpSocket> {
    let any = match target {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
    };
    UdpSocket::bind(any)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the other messages were not asked for")]
fn segment_of(message: ControlMessageOwned) -> Option<NonZeroU16> {
    match message {
        ControlMessageOwned::UdpGroSegments(size) => NonZeroU16::new(u16::try_from(size).ok()?),
        _ => None,
    }
}

fn endpoint(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|v6| SocketAddr::from((v6.ip(), v6.port())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::errno::would_block;

    fn open(port: u16) -> (UdpSide, SocketAddr, mio::Poll) {
        let poll = mio::Poll::new().unwrap();
        let side = UdpSide::open(SocketAddr::from(([127, 0, 0, 1], 9)), port, poll.registry(), Token(0)).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], side.socket.local_addr().unwrap().port()));
        (side, address, poll)
    }

    #[test]
    fn parity_follows_the_container() {
        for port in [4000, 4001, 4002, 4003] {
            let (_, address, _poll) = open(port);
            assert_eq!(address.port() % 2, port % 2);
        }
    }

    #[test]
    fn a_superframe_arrives_as_its_datagrams() {
        let (sender, from, _poll) = open(1);
        let (mut receiver, to, _poll) = open(2);
        let payload: Vec<u8> = (0..14_100_u32).map(|byte| (byte % 251) as u8).collect();
        sender.send(to, &payload, NonZeroU16::new(1400)).unwrap();
        let mut arrived = Vec::new();
        let mut buffer = vec![0; 65_535];
        loop {
            match receiver.recv(&mut buffer) {
                Ok(Received {
                    from: seen,
                    len,
                    segment,
                }) => {
                    assert_eq!(seen, from);
                    let segment = segment.map_or(len, |segment| segment.get().into());
                    arrived.extend(buffer[..len].chunks(segment).map(<[u8]>::to_vec));
                }
                Err(error) if would_block(&error) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(arrived.len(), 11);
        assert_eq!(arrived.last().map(Vec::len), Some(100));
        assert_eq!(arrived.concat(), payload);
    }

    #[test]
    fn an_empty_datagram_is_one() {
        let (sender, _, _poll) = open(1);
        let (mut receiver, to, _poll) = open(2);
        sender.send(to, &[], None).unwrap();
        let received = receiver.recv(&mut [0; 10]).unwrap();
        assert_eq!((received.len, received.segment), (0, None));
    }
}
