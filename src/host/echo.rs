//! Ping sockets: `socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)`, allowed by `net.ipv4.ping_group_range`.
//!
//! The kernel owns identifier and checksum of what goes out and hands back only the answers to it (`net/ipv4/ping.c`),
//! so an answer that a container sees is always a real one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::socket::{SockaddrStorage, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};

use super::errno::would_block;
use super::failure::next_failure;
use super::handling::Told;
use super::outbound::Outbound;
use crate::stack::{Failure, Handling};
use crate::sys::error_queue;

/// One container's echo id on the host.
#[derive(Debug)]
pub struct PingSocket {
    socket: Socket,
    /// As a UDP socket's.
    failing: bool,
    told: Told,
}

/// An echo request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'p> {
    /// Whom it asks.
    pub target: IpAddr,
    /// Its sequence number.
    pub sequence: u16,
    /// Its data.
    pub payload: &'p [u8],
    /// As it is to be treated on its way.
    pub handling: Handling,
}

/// An echo reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Who answered.
    pub from: IpAddr,
    /// Its sequence number.
    pub sequence: u16,
    /// Bytes of data, at the buffer's [`HEADER`].
    pub len: usize,
}

/// Bytes of an ICMP echo header, before the data.
pub const HEADER: usize = 8;

impl PingSocket {
    /// Opens a ping socket; EACCES when `ping_group_range` leaves the user out.
    pub fn open(target: IpAddr, outbound: Outbound, registry: &Registry, token: Token) -> io::Result<Self> {
        let (domain, protocol) = match target {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::DGRAM, Some(protocol))?;
        socket.set_nonblocking(true)?;
        outbound.choose_device(&socket, target)?;
        if let Some(source) = outbound.towards(target) {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        error_queue::enable(&socket, target)?;
        registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self {
            socket,
            failing: false,
            told: Told::of(target),
        })
    }

    /// Sends an echo request; what fails is tried once more, as by [`UdpSide`](super::udp::UdpSide).
    pub fn send(&mut self, request: Request<'_>) -> io::Result<()> {
        let Request {
            target,
            sequence,
            payload,
            handling,
        } = request;
        self.told.tell(&self.socket, handling);
        match self.try_send(target, sequence, payload) {
            Err(error) if !would_block(&error) => {
                self.failing = true;
                self.try_send(target, sequence, payload)
            }
            outcome => outcome,
        }
    }

    fn try_send(&self, target: IpAddr, sequence: u16, payload: &[u8]) -> io::Result<()> {
        let mut header = [0u8; HEADER];
        header[0] = if target.is_ipv4() {
            ECHO_REQUEST_V4
        } else {
            ECHO_REQUEST_V6
        };
        header[6..8].copy_from_slice(&sequence.to_be_bytes());
        let parts = [io::IoSlice::new(&header), io::IoSlice::new(payload)];
        self.socket
            .send_to_vectored(&parts, &SocketAddr::new(target, 0).into())?;
        Ok(())
    }

    /// Receives an echo reply into `buffer`.
    pub fn recv(&mut self, buffer: &mut [u8]) -> io::Result<Reply> {
        let received = recvfrom::<SockaddrStorage>(self.socket.as_raw_fd(), buffer).map_err(io::Error::from);
        self.failing |= matches!(&received, Err(error) if !would_block(error));
        let (count, from) = received?;
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let from = from.and_then(|address| ip(&address)).ok_or_else(invalid)?;
        let header = buffer
            .get(..count)
            .and_then(<[u8]>::first_chunk::<HEADER>)
            .ok_or_else(invalid)?;
        Ok(Reply {
            from,
            sequence: u16::from_be_bytes([header[6], header[7]]),
            len: count - HEADER,
        })
    }

    /// The oldest error about a request that was sent, with what was quoted of it in `buffer`; looks only after a call
    /// has failed.
    pub fn failure<'b>(&mut self, buffer: &'b mut [u8]) -> Option<Failure<'b>> {
        if !self.failing {
            return None;
        }
        let failure = next_failure(&self.socket, buffer);
        self.failing = failure.is_some();
        failure
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

/// RFC 792, "Echo or Echo Reply Message".
const ECHO_REQUEST_V4: u8 = 8;
/// RFC 4443 section 4.1.
const ECHO_REQUEST_V6: u8 = 128;
