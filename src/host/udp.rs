//! Host sockets for datagrams: of a UDP mapping, and of a published port.
//!
//! A mapping's socket is unconnected, so that one port serves every target (RFC 4787 REQ-1). Both kinds move many
//! datagrams with one system call where the kernel can: UDP_SEGMENT cuts a superframe of a container on its way out,
//! UDP_GRO hands over what came in together (udp(7), linux/udp.h).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use super::errno::would_block;
use super::failure::next_failure;
use super::handling::Told;
use super::outbound::Outbound;
use crate::stack::{Failure, Handling};
use crate::sys::datagrams::{self, Batch};
use crate::sys::error_queue;

/// A bound socket that is watched.
#[derive(Debug)]
pub struct UdpSide {
    socket: UdpSocket,
    /// A call has failed with what may have been the error of an earlier datagram: its queue of errors is to be read.
    failing: bool,
    told: Told,
}

impl UdpSide {
    /// Opens the socket of a mapping whose container port is `port`, in the address family of `target`; it sends from
    /// `outbound`.
    ///
    /// The kernel chooses the number; its parity follows the container's where that is possible (RFC 4787 REQ-4). The
    /// number itself is not kept: it could shadow a service that the host starts later.
    pub fn open(
        target: SocketAddr,
        outbound: Outbound,
        port: u16,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let bind = |number| UdpSocket::bind(outbound.bound(target.ip(), number));
        let mut socket = bind(0)?;
        let number = socket.local_addr()?.port();
        if number % 2 != port % 2
            && let Ok(neighbour) = bind(number ^ 1)
        {
            socket = neighbour;
        }
        outbound.choose_device(&socket, target.ip())?;
        Self::watch(socket, registry, token)
    }

    /// Takes over a bound socket.
    pub fn watch(mut socket: UdpSocket, registry: &Registry, token: Token) -> io::Result<Self> {
        // A kernel before 5.0 hands datagrams over one by one.
        let _ = setsockopt(&socket, sockopt::UdpGroSegment, &true);
        // As much as may be had (net.core.rmem_max): whatever comes while other flows are served waits here or is lost.
        let _ = setsockopt(&socket, sockopt::RcvBuf, &BUFFER);
        let own = socket.local_addr()?.ip();
        error_queue::enable(&socket, own)?;
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(Self {
            socket,
            failing: false,
            told: Told::of(own),
        })
    }

    /// Has what is received tell to which of our addresses it came, if it may have come to several.
    pub fn tell_where_to(&self) -> io::Result<()> {
        let own = self.socket.local_addr()?.ip();
        if own.is_unspecified() {
            datagrams::tell_where_to(&self.socket, own)?;
        }
        Ok(())
    }

    /// What is sent next is to be treated so on its way.
    pub fn handle(&mut self, handling: Handling) {
        self.told.tell(&self.socket, handling);
    }

    /// Sends a datagram, or several of `segment` bytes.
    pub fn send(&mut self, target: SocketAddr, payload: &[u8], segment: Option<NonZeroU16>) -> io::Result<()> {
        self.send_from(None, target, payload, segment)
    }

    /// The same `from` one of our addresses, if the socket has several.
    pub fn send_from(
        &mut self,
        from: Option<IpAddr>,
        target: SocketAddr,
        payload: &[u8],
        segment: Option<NonZeroU16>,
    ) -> io::Result<()> {
        let sent = match segment.filter(|segment| payload.len() > segment.get().into()) {
            None => self.send_one(from, target, payload),
            Some(segment) => self.send_several(from, target, payload, segment),
        };
        sent.map_err(|error| {
            // It has a port, so it lacks an address to go out from: IPv6 is switched off by sysctl.
            if error.kind() == io::ErrorKind::AddrNotAvailable {
                Errno::ENETUNREACH.into()
            } else {
                error
            }
        })
    }

    fn send_one(&mut self, from: Option<IpAddr>, target: SocketAddr, payload: &[u8]) -> io::Result<()> {
        match from {
            Some(_) => self.insist(|socket| datagrams::send(socket, from, target, payload, None)),
            None => self.insist(|socket| socket.send_to(payload, target).map(drop)),
        }
    }

    fn send_several(
        &mut self,
        from: Option<IpAddr>,
        target: SocketAddr,
        payload: &[u8],
        segment: NonZeroU16,
    ) -> io::Result<()> {
        let sent = self.insist(|socket| datagrams::send(socket, from, target, payload, Some(segment)));
        match sent.as_ref().map_err(io::Error::raw_os_error) {
            // Too many, too long for the way, or an interface that cannot: one by one then, each with its own fate.
            Err(Some(libc::EINVAL | libc::EIO | libc::EMSGSIZE)) => {
                let datagrams = payload.chunks(segment.get().into());
                let each = datagrams.map(|datagram| self.send_one(from, target, datagram));
                each.reduce(Result::and).unwrap_or(Ok(()))
            }
            Ok(()) | Err(_) => sent,
        }
    }

    /// Calls until the outcome is this call's own: an error that is reported first may be an earlier datagram's, which the
    /// socket was told of meanwhile; [`UdpSide::failure`] has what was said about that one.
    fn insist(&mut self, mut call: impl FnMut(&UdpSocket) -> io::Result<()>) -> io::Result<()> {
        match call(&self.socket) {
            Err(error) if !would_block(&error) => {
                self.failing = true;
                call(&self.socket)
            }
            outcome => outcome,
        }
    }

    /// Takes what waits, as much as the batch has room for.
    pub fn receive(&mut self, batch: &mut Batch) -> io::Result<()> {
        let outcome = batch.receive(&self.socket);
        self.failing |= matches!(&outcome, Err(error) if !would_block(error));
        outcome
    }

    /// The oldest error about a datagram that was sent, with what was quoted of it in `buffer`; looks only after a call
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

/// Bytes that a socket may be sent before they are read: 4 ms of 10 Gb/s with the kernel's own share of it.
const BUFFER: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::Unreachable;

    fn open(port: u16) -> (UdpSide, SocketAddr, mio::Poll) {
        let poll = mio::Poll::new().unwrap();
        let target = SocketAddr::from(([127, 0, 0, 1], 9));
        let side = UdpSide::open(target, Outbound::default(), port, poll.registry(), Token(0)).unwrap();
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
        let (mut sender, from, _poll) = open(1);
        let (mut receiver, to, _poll) = open(2);
        let payload: Vec<u8> = (0..14_100_u32).map(|byte| (byte % 251) as u8).collect();
        sender.send(to, &payload, NonZeroU16::new(1400)).unwrap();
        let mut arrived = Vec::new();
        let mut batch = Batch::new();
        while receiver.receive(&mut batch).is_ok() {
            for (number, message) in batch.messages().iter().enumerate() {
                assert_eq!(message.from, from);
                let segment = message.segment.map_or(message.len, |segment| segment.get().into());
                arrived.extend(batch.slot(number)[..message.len].chunks(segment).map(<[u8]>::to_vec));
            }
        }
        assert_eq!(arrived.len(), 11);
        assert_eq!(arrived.last().map(Vec::len), Some(100));
        assert_eq!(arrived.concat(), payload);
    }

    #[test]
    fn an_error_belongs_to_the_datagram_that_caused_it() {
        let (mut sender, _, _poll) = open(1);
        let (mut receiver, to, _poll) = open(2);
        let closed = SocketAddr::from(([127, 0, 0, 1], 9));
        let mut buffer = [0; 100];
        assert_eq!(sender.failure(&mut buffer), None);
        sender.send(closed, b"first", None).unwrap();
        sender.send(to, b"second", None).unwrap();
        let failure = sender.failure(&mut buffer).unwrap();
        assert_eq!((failure.target, failure.fault), (closed, Unreachable::Refused.into()));
        assert_eq!((failure.offender, failure.quoted), (Some(closed.ip()), &b"first"[..]));
        assert_eq!(sender.failure(&mut buffer), None);
        let mut batch = Batch::new();
        receiver.receive(&mut batch).unwrap();
        assert_eq!(&batch.slot(0)[..6], b"second");
    }

    #[test]
    fn an_empty_datagram_is_one() {
        let (mut sender, _, _poll) = open(1);
        let (mut receiver, to, _poll) = open(2);
        sender.send(to, &[], None).unwrap();
        let mut batch = Batch::new();
        receiver.receive(&mut batch).unwrap();
        let received: Vec<_> = batch.messages().iter().map(|it| (it.len, it.segment)).collect();
        assert_eq!(received, [(0, None)]);
    }
}
