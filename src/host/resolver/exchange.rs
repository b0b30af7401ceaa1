//! One question to one upstream, over UDP or TCP.
//!
//! Against forged answers (RFC 5452): every question leaves from a port of its own that the kernel picks at random,
//! under a random id; the socket is connected, so the kernel passes only what comes from the upstream's address; and
//! id and question must match. What does not match is passed over, a bounded number of times.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::counters::Counter;
use super::message::{Query, is_truncated};
use crate::sys::random;

/// How to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// Asks and waits for the answer, for ever if the upstream is silent: the caller has the clock.
pub(super) async fn ask(
    transport: Transport,
    upstream: SocketAddr,
    query: &Query,
    strange: &Counter,
) -> io::Result<Vec<u8>> {
    let mut id = [0; 2];
    random::fill(&mut id)?;
    match transport {
        Transport::Udp => ask_udp(upstream, query, id, strange).await,
        Transport::Tcp => match ask_tcp(upstream, query, id, strange).await {
            Ok(answer) => Ok(answer),
            // Some stubs and routers know UDP only; a short answer serves as well.
            Err(error) => match ask_udp(upstream, query, id, strange).await {
                Ok(answer) if !is_truncated(&answer) => Ok(answer),
                Ok(_) | Err(_) => Err(error),
            },
        },
    }
}

async fn ask_udp(upstream: SocketAddr, query: &Query, id: [u8; 2], strange: &Counter) -> io::Result<Vec<u8>> {
    let any = if upstream.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(upstream).await?;
    socket.send(&query.with_id(id)).await?;
    for _ in 0..MAX_STRANGE {
        let mut answer = Vec::with_capacity(MAX_MESSAGE);
        socket.recv_buf(&mut answer).await?;
        if query.is_answered_by(&answer, id) {
            answer.shrink_to_fit();
            return Ok(answer);
        }
        strange.add();
    }
    Err(not_an_answer())
}

async fn ask_tcp(upstream: SocketAddr, query: &Query, id: [u8; 2], strange: &Counter) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&framed(&query.with_id(id))?).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    if query.is_answered_by(&answer, id) {
        return Ok(answer);
    }
    strange.add();
    Err(not_an_answer())
}

/// The message behind its length, as TCP carries it (RFC 1035 section 4.2.2), in one piece (RFC 7766 section 8).
pub(super) fn framed(message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes(), message].concat())
}

fn not_an_answer() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the upstream's message does not answer the question",
    )
}

/// The longest message there is, in bytes.
const MAX_MESSAGE: usize = 65_535;

/// Messages that may come instead of the answer. A forger has this many guesses at a 16-bit id, if it can forge the
/// source and hit the port.
const MAX_STRANGE: u32 = 8;
