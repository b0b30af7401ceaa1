//! Two sockets joined: what comes out of one goes into the other, by splice(2), without a copy of ours.
//!
//! For connections that need no stack: between the host's loopback and a namespace's. Half-closing passes (FIN becomes
//! shutdown), and so does a reset. Each direction has a pipe of its own, from its first byte on.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::fcntl::{OFlag, SpliceFFlags, splice};
use nix::unistd::pipe2;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Carries both directions until both are over, or one fails, upon which the other side is reset.
pub async fn relay(first: TcpStream, second: TcpStream) -> io::Result<()> {
    let _ = first.set_nodelay(true).and_then(|()| second.set_nodelay(true));
    let carried = tokio::try_join!(pump(&first, &second), pump(&second, &first));
    if carried.is_err() {
        for stream in [&first, &second] {
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
    carried.map(|_| ())
}

async fn pump(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    from.readable().await?;
    let (outlet, inlet) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
    loop {
        let taken = from
            .async_io(Interest::READABLE, || shift(from, &inlet, PORTION))
            .await?;
        if taken == 0 {
            // ENOTCONN: the other side has reset it meanwhile, which the other direction is told of.
            let _ = socket2::SockRef::from(to).shutdown(Shutdown::Write);
            return Ok(());
        }
        let mut left = taken;
        while left > 0 {
            left -= to.async_io(Interest::WRITABLE, || shift(&outlet, to, left)).await?;
        }
    }
}

fn shift(from: &impl AsFd, to: &impl AsFd, most: usize) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    Ok(splice(from, None, to, None, most, flags)?)
}

/// As much as a pipe holds by default (pipe(7)).
const PORTION: usize = 64 * 1024;
