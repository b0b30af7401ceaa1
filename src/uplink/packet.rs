//! Packet sockets with offload headers on one end of a veth pair whose other end is a port of the bridge: no
//! /dev/net/tun at all.
//!
//! Superframes and partial checksums pass a veth untouched and travel with the same header as on a TAP, so this is as
//! fast as one. Four things differ:
//!
//! - Frames wait in a ring that the kernel shares with us ([`crate::sys::packet_ring`]), whose slots are all of one size.
//!   Slots for superframes alone would be few (63 in 4 MiB), and a burst of small frames would overrun them. So there are
//!   two sockets with a ring each, and a filter has each hear what fits: [`SMALL`] and [`LARGE`]. The order of frames is
//!   kept by the moments of their coming.
//! - Where the kernel refuses a ring, one socket's ordinary queue must do: bounded by the host's net.core.rmem_max, three
//!   to six superframes if nobody has raised it. What does not fit is lost and counted, and TCP slows down for it.
//! - What we send is delivered before the call returns, unless the container's side is behind; then the send buffer
//!   fills (EAGAIN) and the frame is lost as on any Ethernet.
//!   PACKET_QDISC_BYPASS is not set: a veth has no queueing discipline, and with it nothing was measurably faster.
//! - A frame that is longer than the interface's MTU and no superframe is refused (EMSGSIZE).
//!
//! The descriptors come from the agent, which has them from [`crate::sys::packet`]. Source: packet(7), PACKET_VNET_HDR.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use socket2::{SockFilter, SockRef};

use super::frames::{FrameError, receive, send, set_nonblocking};
use super::{FRAME_BYTES, Uplink, UplinkKind};
use crate::stack::Offload;
use crate::sys::packet::{PacketError, losses};
use crate::sys::packet_ring::{Frame, Ring, Shape};

/// Opened and bound packet sockets.
#[derive(Debug)]
pub struct Packet {
    /// Ready when a frame is.
    readiness: Epoll,
    /// Another descriptor of the first socket.
    sender: OwnedFd,
    queue: Queue,
    /// Frames lost so far; the kernel forgets what it has told.
    lost: AtomicU64,
}

#[derive(Debug)]
enum Queue {
    /// One thread reads; the lock is never waited for.
    Rings(Mutex<Rings>),
    Socket(OwnedFd),
}

impl Packet {
    /// Takes over two packet sockets on the same interface that carry offload headers.
    pub fn new(sockets: [OwnedFd; 2]) -> io::Result<Self> {
        let [first, second] = sockets;
        set_nonblocking(&first)?;
        let sender = first.try_clone()?;
        let readiness = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let queue = match Rings::lay(first, second) {
            Ok(rings) => {
                readiness.add(&rings.small, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
                readiness.add(&rings.large, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
                Queue::Rings(Mutex::new(rings))
            }
            Err((socket, refused)) => {
                tracing::warn!("{refused}; the uplink's queue is as short as net.core.rmem_max");
                readiness.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
                Queue::Socket(socket)
            }
        };
        Ok(Self {
            readiness,
            sender,
            queue,
            lost: AtomicU64::new(0),
        })
    }
}

impl Uplink for Packet {
    fn kind(&self) -> UplinkKind {
        UplinkKind::Packet
    }

    fn recv(&self, buffer: &mut [u8]) -> Result<(Offload, usize), FrameError> {
        let mut copied = (Offload::default(), 0);
        match &self.queue {
            Queue::Rings(rings) => locked(rings).receive(&mut |offload, frame| {
                // Shorter than the frame: cut, as a system call would.
                let len = frame.len().min(buffer.len());
                buffer[..len].copy_from_slice(&frame[..len]);
                copied = (offload, len);
            })?,
            Queue::Socket(socket) => copied = receive_describable(socket, buffer)?,
        }
        Ok(copied)
    }

    fn lend(&self, buffer: &mut [u8], handle: &mut dyn FnMut(Offload, &[u8])) -> Result<(), FrameError> {
        match &self.queue {
            Queue::Rings(rings) => locked(rings).receive(handle),
            Queue::Socket(socket) => {
                let (offload, len) = receive_describable(socket, buffer)?;
                handle(offload, buffer.get(..len).unwrap_or_default());
                Ok(())
            }
        }
    }

    fn send_parts(&self, offload: Offload, parts: [&[u8]; 2]) -> Result<(), FrameError> {
        send(&self.sender, offload, parts)
    }

    fn lost(&self) -> u64 {
        // A socket whose interface is gone counts as before.
        let count = |socket: &dyn AsFd| losses(socket.as_fd()).map_or(0, u64::from);
        let since = match &self.queue {
            Queue::Rings(rings) => {
                let rings = locked(rings);
                count(&rings.small) + count(&rings.large)
            }
            Queue::Socket(socket) => count(socket),
        };
        self.lost.fetch_add(since, Ordering::Relaxed) + since
    }
}

impl AsFd for Packet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.readiness.0.as_fd()
    }
}

/// Both rings as one queue.
#[derive(Debug)]
struct Rings {
    small: Ring,
    large: Ring,
}

impl Rings {
    /// Gives both sockets their rings, or returns one that hears everything.
    fn lay(first: OwnedFd, second: OwnedFd) -> Result<Self, (OwnedFd, PacketError)> {
        let filtered = filter(&first, Hears::Longer).and_then(|()| filter(&second, Hears::UpTo));
        if let Err(source) = filtered {
            let step = "a filter";
            return Err((unfiltered(first), PacketError::Kernel { step, source }));
        }
        let small = match Ring::new(second, SMALL) {
            Ok(small) => small,
            Err((_, refused)) => return Err((unfiltered(first), refused)),
        };
        match Ring::new(first, LARGE) {
            Ok(large) => Ok(Self { small, large }),
            Err((first, refused)) => Err((unfiltered(first), refused)),
        }
    }

    fn receive(&mut self, handle: &mut dyn FnMut(Offload, &[u8])) -> Result<(), FrameError> {
        let frame = self.next()?.ok_or(FrameError::NotReady)?;
        // Too long for its slot: more than 64 KB (the container has raised gso_max_size), which no header can say.
        let (header, bytes) = frame.whole().ok_or(FrameError::Indescribable)?;
        let offload = Offload::decode(header)?;
        offload.validate(bytes.len())?;
        handle(offload, bytes);
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let mut ring = self.ahead();
        if ring.is_none() && self.open()? {
            ring = self.ahead();
        }
        match ring {
            Some(Hears::UpTo) => Ok(self.small.take()),
            Some(Hears::Longer) => Ok(self.large.take()),
            None => Ok(None),
        }
    }

    /// Whose oldest frame is the older one.
    fn ahead(&self) -> Option<Hears> {
        let large = self.large.oldest();
        let small = self.small.oldest();
        // A large one that came before the small one may have come between the two looks.
        let large = large.or_else(|| small.and_then(|_| self.large.oldest()));
        match (small, large) {
            (Some(small), Some(large)) if large < small => Some(Hears::Longer),
            (Some(_), _) => Some(Hears::UpTo),
            (None, Some(_)) => Some(Hears::Longer),
            (None, None) => None,
        }
    }

    /// Nothing is to be seen: the memory may not be mapped yet, or the interface may be gone, which recv(2) would tell.
    fn open(&mut self) -> Result<bool, FrameError> {
        let opened = [self.small.open(), self.large.open()];
        for opened in opened {
            if opened.map_err(FrameError::Io)? {
                return Ok(true);
            }
        }
        match SockRef::from(&self.small).take_error() {
            Ok(None) => Ok(false),
            Ok(Some(error)) | Err(error) => Err(FrameError::Io(error)),
        }
    }
}

/// Which frames a socket hears.
#[derive(Debug, Clone, Copy)]
enum Hears {
    /// Those that fit a slot of [`SMALL`].
    UpTo,
    /// All others.
    Longer,
}

fn filter(socket: &OwnedFd, hears: Hears) -> io::Result<()> {
    let (up_to, longer) = match hears {
        Hears::UpTo => (ALL_OF_IT, 0),
        Hears::Longer => (0, ALL_OF_IT),
    };
    SockRef::from(socket).attach_filter(&[
        SockFilter::new(LOAD_LENGTH, 0, 0, 0),
        SockFilter::new(JUMP_IF_GREATER, 1, 0, SMALL.frame()),
        SockFilter::new(RETURN, 0, 0, up_to),
        SockFilter::new(RETURN, 0, 0, longer),
    ])
}

fn unfiltered(socket: OwnedFd) -> OwnedFd {
    // There may be none.
    let _ = SockRef::from(&socket).detach_filter();
    socket
}

/// By system call, which is an error for a frame that can't be described: virtio_net_hdr_from_skb() has no word for UDP
/// superframes before Linux 6.2. The frame is gone.
fn receive_describable(socket: &OwnedFd, buffer: &mut [u8]) -> Result<(Offload, usize), FrameError> {
    let received = receive(socket, buffer);
    if let Err(FrameError::Io(error)) = &received
        && error.raw_os_error() == Some(libc::EINVAL)
    {
        return Err(FrameError::Indescribable);
    }
    received
}

fn locked(rings: &Mutex<Rings>) -> MutexGuard<'_, Rings> {
    rings.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For frames of the usual MTU of 1500, with room for a VLAN tag: 327 slots in 512 KiB.
const SMALL: Shape = Shape::new(512 << 10, 1500 + 18);
/// For superframes, and for the single frames of a larger MTU: 63 slots in 4 MiB, what a few flows' windows hold.
#[expect(clippy::cast_possible_truncation, reason = "of a constant that fits")]
const LARGE: Shape = Shape::new(4 << 20, FRAME_BYTES as u32);
/// What a filter returns: how many bytes of the frame are heard.
const ALL_OF_IT: u32 = u32::MAX;
/// Instructions of classic BPF, linux/bpf_common.h: BPF_LD | BPF_W | BPF_LEN, BPF_JMP | BPF_JGT | BPF_K, BPF_RET | BPF_K.
const LOAD_LENGTH: u16 = 0x80;
const JUMP_IF_GREATER: u16 = 0x25;
const RETURN: u16 = 0x06;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_the_headers() {
        assert_eq!(u32::from(LOAD_LENGTH), libc::BPF_LD | libc::BPF_W | libc::BPF_LEN);
        assert_eq!(u32::from(JUMP_IF_GREATER), libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K);
        assert_eq!(u32::from(RETURN), libc::BPF_RET | libc::BPF_K);
        assert_eq!((SMALL.slots(), LARGE.slots()), (327, 63));
        assert!(LARGE.frame() as usize >= FRAME_BYTES);
    }
}
