//! The host side of one TCP flow: a socket to the target, an accepted client, or a pair to our own resolver.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use mio::event::{Event, Source};
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, SockRef, Socket, Type};

use super::errno::{unreachable, would_block};
use super::failure::next_failure;
use super::handling::Told;
use super::outbound::Outbound;
use crate::stack::{Failure, Handling, Unconnected, Unreachable};
use crate::sys::error_queue;

/// A flow's host socket with the readiness that it was last told of.
#[derive(Debug)]
pub struct TcpSide {
    stream: Stream,
    told: Told,
    /// Whoever ends its SYN on the way is to be named.
    traced: Option<IpAddr>,
    phase: Phase,
    /// The host is known to have accepted, although nobody has been told.
    accepted: bool,
    readable: bool,
    writable: bool,
    /// The kernel said that no more will come, or that urgent data has: read to the end, short reads or not.
    to_the_end: bool,
    /// The kernel spoke of an error, and nothing has asked which.
    alarmed: bool,
}

/// How far the host side has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// connect(2) is under way.
    Connecting,
    /// The host accepted; for an accepted client, the container has not yet.
    Open,
    /// The host has finished sending.
    Finished,
}

/// What reading or writing came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes were moved.
    Moved(usize),
    /// Nothing for now; the kernel will say when.
    Blocked,
    /// The host has finished sending.
    End,
    /// The socket failed.
    Failed,
}

impl TcpSide {
    /// Starts to connect, from the address that is meant for it.
    pub fn connect(
        target: SocketAddr,
        outbound: Outbound,
        handling: Handling,
        registry: &Registry,
        token: Token,
    ) -> Result<Self, Unreachable> {
        let mut told = Told::of_connection(target.ip());
        let traced = Some(target.ip()).filter(|_| handling.time_to_live < TRACED_BELOW);
        let stream = open(target, handling, &mut told, traced).and_then(|socket| call(socket, outbound, target));
        let stream = stream.map_err(|error| not_connected(&error, target))?;
        let side = Self::register(Stream::Tcp(stream), told, Phase::Connecting, registry, token);
        let side = side.map_err(|error| unreachable(&error))?;
        // A service of this machine has accepted before connect(2) returns. If none has, SO_ERROR is not to be asked yet:
        // it would tell of what the kernel still means to try again (sk_err_soft).
        let accepted = side.stream.is_connected();
        Ok(Self {
            traced,
            accepted,
            writable: accepted,
            ..side
        })
    }

    /// Takes over an accepted client.
    pub fn accepted(stream: TcpStream, client: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        let told = Told::of_connection(client.ip());
        Self::register(Stream::Tcp(stream), told, Phase::Open, registry, token)
    }

    /// A pair whose other end is handed to the resolver.
    pub fn pair(registry: &Registry, token: Token) -> io::Result<(Self, StdUnixStream)> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        let told = Told::of_connection(Ipv6Addr::UNSPECIFIED.into());
        let side = Self::register(
            Stream::Pair(UnixStream::from_std(ours)),
            told,
            Phase::Open,
            registry,
            token,
        )?;
        Ok((side, theirs))
    }

    /// What the container sends is to be treated so on its way.
    pub fn handle(&mut self, handling: Handling) {
        if let Stream::Tcp(stream) = &self.stream {
            self.told.tell(stream, handling);
        }
    }

    /// Has the kernel tell of it; where that fails the other side is told by RST, for nobody will serve it.
    fn register(mut stream: Stream, told: Told, phase: Phase, registry: &Registry, token: Token) -> io::Result<Self> {
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        let registered = stream
            .prepare()
            .and_then(|()| registry.register(stream.source(), token, interest));
        if let Err(error) = registered {
            stream.end_by_reset();
            return Err(error);
        }
        let open = phase == Phase::Open;
        // What came before the registration makes an edge of it; that there is room for what is sent first is known.
        Ok(Self {
            stream,
            told,
            traced: None,
            phase,
            accepted: open,
            readable: false,
            writable: open,
            to_the_end: false,
            alarmed: false,
        })
    }

    /// Remembers what the kernel said.
    pub fn note(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
        self.to_the_end |= event.is_read_closed() || event.is_priority() || event.is_error();
        self.alarmed |= event.is_error();
    }

    /// Whether it was reset after the host had finished, when no read tells any more.
    pub fn has_failed_since(&mut self) -> bool {
        if self.phase != Phase::Finished || !std::mem::take(&mut self.alarmed) {
            return false;
        }
        match &self.stream {
            Stream::Tcp(stream) => !matches!(stream.take_error(), Ok(None)),
            Stream::Pair(_) => false,
        }
    }

    /// How far it has come.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether reading may bring something.
    pub fn is_readable(&self) -> bool {
        self.readable && self.phase == Phase::Open
    }

    /// Whether writing may bring something.
    pub fn is_writable(&self) -> bool {
        self.writable && self.phase != Phase::Connecting
    }

    /// The outcome of connect(2), once there is one.
    pub fn connect_outcome(&mut self) -> Option<Result<(), Unconnected>> {
        let Stream::Tcp(stream) = &self.stream else { return None };
        if self.phase != Phase::Connecting || !self.writable {
            return None;
        }
        let peer = if self.accepted {
            Ok(())
        } else {
            stream.peer_addr().map(drop)
        };
        match peer {
            Ok(()) => {
                (self.phase, self.accepted) = (Phase::Open, true);
                if let Some(target) = self.traced.take() {
                    // ICMP does not end what is established (RFC 5461), unless it is asked for.
                    let _ = error_queue::disable(stream, target);
                }
                return Some(Ok(()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
            Err(error) => return Some(Err(self.unconnected(&error))),
        }
        match stream.take_error() {
            Ok(Some(error)) | Err(error) => Some(Err(self.unconnected(&error))),
            // Not decided yet: mio may wake for less.
            Ok(None) => {
                self.writable = false;
                None
            }
        }
    }

    /// Why it is not connected, in the words of the machine that said so if it is to be named.
    fn unconnected(&self, error: &io::Error) -> Unconnected {
        let mut quoted = [0; QUOTED_BYTES];
        let said = match &self.stream {
            Stream::Tcp(stream) if self.traced.is_some() => next_failure(stream, &mut quoted),
            Stream::Tcp(_) | Stream::Pair(_) => None,
        };
        said.map_or_else(
            || unreachable(error).into(),
            |Failure { fault, offender, .. }| Unconnected { fault, offender },
        )
    }

    /// Reads bytes of the host.
    pub fn read(&mut self, space: &mut [u8]) -> Progress {
        if !self.is_readable() {
            return Progress::Blocked;
        }
        match self.stream.read(space) {
            Ok(0) if space.is_empty() => Progress::Blocked,
            Ok(0) => {
                self.phase = Phase::Finished;
                Progress::End
            }
            Ok(count) => {
                // A short read has emptied the socket, and what comes later makes a new edge (epoll(7), Q9). Not so at
                // urgent data, before which the kernel stops (tcp_recvmsg).
                self.readable = count == space.len() || self.to_the_end;
                Progress::Moved(count)
            }
            Err(error) if would_block(&error) => {
                self.readable = false;
                Progress::Blocked
            }
            Err(_) => Progress::Failed,
        }
    }

    /// Writes bytes of the container.
    pub fn write(&mut self, bytes: &[u8]) -> Progress {
        if !self.is_writable() {
            return Progress::Blocked;
        }
        match self.stream.write(bytes) {
            Ok(count) => {
                self.writable = count == bytes.len();
                Progress::Moved(count)
            }
            Err(error) if would_block(&error) => {
                self.writable = false;
                Progress::Blocked
            }
            Err(_) => {
                self.readable = true;
                Progress::Failed
            }
        }
    }

    /// The container has finished sending.
    pub fn finish(&mut self) {
        // ENOTCONN means that the host reset it meanwhile; the next read tells.
        let _ = match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Pair(stream) => stream.shutdown(Shutdown::Write),
        };
    }

    /// Gives an accepted client back, watched by nobody; `None`, and closed, when that fails or it is none.
    pub fn release(self, registry: &Registry) -> Option<TcpStream> {
        let Stream::Tcp(mut stream) = self.stream else {
            return None;
        };
        registry.deregister(&mut stream).ok().map(|()| stream)
    }

    /// Closes with RST instead of FIN.
    pub fn reset(self) {
        self.stream.end_by_reset();
    }
}

/// A socket whose SYN is treated so already.
fn open(target: SocketAddr, handling: Handling, told: &mut Told, traced: Option<IpAddr>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM.nonblocking(), None)?;
    told.tell(&socket, handling);
    if let Some(target) = traced {
        error_queue::enable(&socket, target)?;
    }
    Ok(socket)
}

/// connect(2), from the address that is meant for the target.
fn call(socket: Socket, outbound: Outbound, target: SocketAddr) -> io::Result<TcpStream> {
    outbound.choose_device(&socket, target.ip())?;
    if let Some(source) = outbound.towards(target.ip()) {
        // The port is chosen when the target is known, of which each has 64 Ki (ip(7)); before Linux 4.2 it is chosen now.
        let _ = setsockopt(&socket, sockopt::IpBindAddressNoPort, &true);
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        Ok(()) | Err(_) => Ok(TcpStream::from_std(socket.into())),
    }
}

/// Why a connection could not even be begun. EADDRNOTAVAIL means that ports have run out, or, where IPv6 is switched off
/// by sysctl, that there is no address to go out from; the second happens to datagrams too.
fn not_connected(error: &io::Error, target: SocketAddr) -> Unreachable {
    let lacks_address = |error: &io::Error| error.kind() == io::ErrorKind::AddrNotAvailable;
    let datagram = || UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).and_then(|socket| socket.connect(target));
    if target.is_ipv6() && lacks_address(error) && datagram().is_err_and(|error| lacks_address(&error)) {
        return Unreachable::Network;
    }
    unreachable(error)
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Pair(UnixStream),
}

impl Stream {
    fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Pair(stream) => stream,
        }
    }

    fn prepare(&self) -> io::Result<()> {
        let Self::Tcp(stream) = self else { return Ok(()) };
        // The container's own Nagle has already decided what is a segment.
        stream.set_nodelay(true)?;
        let socket = SockRef::from(stream);
        // A peer that is gone without a word is found by the host's kernel (tcp_keepalive_time: 2 hours).
        socket.set_keepalive(true)?;
        // Urgent data stays where it stood in the stream (RFC 6093 section 6).
        socket.set_out_of_band_inline(true)
    }

    fn is_connected(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.peer_addr().is_ok(),
            Self::Pair(_) => true,
        }
    }

    fn end_by_reset(&self) {
        if let Self::Tcp(stream) = self {
            // Best effort: without it the host sees a FIN, which is wrong but not harmful.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl Read for Stream {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(space),
            Self::Pair(stream) => stream.read(space),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Pair(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A SYN that may go fewer hops is somebody's who wants to know the way (`traceroute -T`, `mtr --tcp`): hosts begin with 64
/// or more, and no way is longer than half of that.
const TRACED_BELOW: u8 = 32;

/// Bytes of what an ICMP error quotes that are looked at: none.
const QUOTED_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{MsgFlags, send};

    use super::*;

    /// Both ends of a connection, ours as the driver has it.
    fn connection(poll: &mio::Poll) -> (TcpSide, std::net::TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let host = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        let side = TcpSide::accepted(
            TcpStream::from_std(ours),
            host.local_addr().unwrap(),
            poll.registry(),
            Token(0),
        )
        .unwrap();
        (side, host)
    }

    /// Everything that is there, read as the driver does: until there is nothing for now.
    fn read_all(side: &mut TcpSide) -> Vec<u8> {
        let (mut all, mut space) = (Vec::new(), [0; 64]);
        while let Progress::Moved(count) = side.read(&mut space) {
            all.extend_from_slice(&space[..count]);
        }
        all
    }

    #[test]
    fn urgent_data_does_not_stop_the_stream() {
        let mut poll = mio::Poll::new().unwrap();
        let (mut side, host) = connection(&poll);
        for (bytes, flags) in [
            (b"before", MsgFlags::empty()),
            (b"urgent", MsgFlags::MSG_OOB),
            (b"behind", MsgFlags::empty()),
        ] {
            send(host.as_raw_fd(), bytes, flags).unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
        let mut events = mio::Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap();
        events.iter().for_each(|event| side.note(event));
        assert_eq!(String::from_utf8_lossy(&read_all(&mut side)), "beforeurgentbehind");
    }

    #[test]
    fn a_client_that_nobody_can_serve_is_reset() {
        let poll = mio::Poll::new().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let address = client.local_addr().unwrap();
        let (ours, _) = listener.accept().unwrap();
        let mut ours = TcpStream::from_std(ours);
        // What is watched cannot be watched again.
        poll.registry()
            .register(&mut ours, Token(0), Interest::READABLE)
            .unwrap();
        let refused = TcpSide::accepted(ours, address, poll.registry(), Token(1)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        let told = client.read(&mut [0]).unwrap_err();
        assert_eq!(told.kind(), io::ErrorKind::ConnectionReset);
    }
}
