//! The rings of TCP flows: what they cost is what their flows really move.
//!
//! A ring is a range of address space; a page of it costs memory once it is written. smoltcp writes a ring from its start
//! when the container's side has acknowledged everything, but never goes back to the start of the ring for the host, so
//! even a flow that says little would come to own all pages. Three rules keep that small:
//!
//! - **Recycling.** smoltcp never lets go of a ring, so a socket keeps its two rings for good and serves one flow after
//!   another. The last few that carried little are kept as they are, so that connections that come and go touch no new
//!   page; the pages of the others are given back first.
//! - **Giving back.** A flow that has written to its rings is looked at every [`LOOK`]. A ring that carried less than a
//!   [`BUSY`]th of its size meanwhile and is empty gives back its pages. So a flow owns what it moves in that time.
//! - **Bounds.** There are never more sockets than there were flows at one time, which [`Limits`](super::Limits) bound.
//!
//! *Empty* is more than nothing to be read: what arrived out of order lies in the ring too, behind a gap
//! ([`Space::has_gap`](super::space::Space::has_gap)).
//!
//! smoltcp 0.14 forgets a former connection when a socket is opened again, except for two things that do no harm: its
//! count of duplicate acknowledgements, which holds for one sequence number, and the wish for a fast retransmission, which
//! at the worst says the first segment twice.
//!
//! The memory itself is the shell's: it comes in by [`RingMemory`], like every other thing that is made of system calls.

use std::fmt;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::Duration;

/// Bytes of each of a TCP flow's two rings; a page of them is memory once it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingSizes {
    /// What may wait for the host: the largest window that a container is offered.
    pub inward: usize,
    /// What may wait for the container, or for its acknowledgement.
    pub outward: usize,
}

impl RingSizes {
    /// Both of `bytes`.
    pub const fn each(bytes: usize) -> Self {
        Self {
            inward: bytes,
            outward: bytes,
        }
    }
}

impl Default for RingSizes {
    /// As much as it takes that nobody on the way waits for anybody. A container sends on while 512 KiB drain into the
    /// host's socket, which has a buffer of its own behind. Towards the container the ring is the only buffer: with
    /// 512 KiB the sender, the container and this stack took turns and woke each other for every superframe (0.51 s of
    /// processor time for a GiB); with 2 MiB each finds work when it looks (0.30 s), and 4 MiB gain nothing more.
    fn default() -> Self {
        Self {
            inward: 512 * 1024,
            outward: 2 * 1024 * 1024,
        }
    }
}

/// Where rings lie.
pub trait RingMemory: fmt::Debug + Send {
    /// Two new rings, the one inward first, whatever is in them; none if there is no room for more.
    fn reserve(&mut self, sizes: RingSizes) -> Option<[Ring; 2]>;

    /// The ring is empty: its memory is not needed until it is written again. What was in it may be lost.
    fn give_back(&mut self, ring: RingId);
}

/// A ring as it was reserved.
#[derive(Debug)]
pub struct Ring {
    /// Its name when it is given back.
    pub id: RingId,
    /// Its bytes, lent for good.
    pub memory: &'static mut [u8],
}

/// One ring; shapes like a small integer so that the memory can index its own table with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RingId(pub u32);

/// A socket with its two rings, used by one flow after another.
pub(super) struct RingedSocket {
    /// The socket alone, as smoltcp's interface wants it.
    pub(super) set: SocketSet<'static>,
    handle: SocketHandle,
    /// From the container to the host.
    pub(super) inward: Usage,
    /// From the host to the container.
    pub(super) outward: Usage,
}

/// How much of a ring is in use.
#[derive(Debug)]
pub(super) struct Usage {
    id: RingId,
    /// Bytes of it.
    size: usize,
    /// Bytes from its start that former flows have left with pages.
    warm: usize,
    /// Bytes that this flow has written since the pages were given back; it owns no page beyond these.
    written: usize,
    /// Bytes written since it was last looked at.
    lately: usize,
}

/// All sockets that no flow uses.
#[derive(Debug)]
pub(super) struct Sockets {
    memory: Box<dyn RingMemory>,
    sizes: RingSizes,
    /// With pages of their own, the last used last.
    warm: Vec<RingedSocket>,
    /// Without.
    cold: Vec<RingedSocket>,
}

impl Sockets {
    pub(super) fn new(memory: Box<dyn RingMemory>, sizes: RingSizes) -> Self {
        Self {
            memory,
            sizes: RingSizes {
                inward: sizes.inward.clamp(1, LARGEST_RING),
                outward: sizes.outward.clamp(1, LARGEST_RING),
            },
            warm: Vec::with_capacity(MAX_WARM),
            cold: Vec::new(),
        }
    }

    /// A closed socket; none if there is no memory for its rings.
    pub(super) fn take(&mut self) -> Option<RingedSocket> {
        let used = self.warm.pop().or_else(|| self.cold.pop());
        used.or_else(|| self.make())
    }

    /// A flow is over: the next may have its socket.
    pub(super) fn put_back(&mut self, mut socket: RingedSocket) {
        // Whatever was to be said was said by the engine. Opening it again forgets the rest and empties the rings.
        socket.get_mut().abort();
        socket.inward.begin_anew();
        socket.outward.begin_anew();
        let small = socket.inward.warm.max(socket.outward.warm) <= WARM_RING;
        if small && self.warm.len() < MAX_WARM {
            return self.warm.push(socket);
        }
        self.release(&mut socket.inward);
        self.release(&mut socket.outward);
        self.cold.push(socket);
    }

    /// Looks at a flow's ring that `is_empty` or not, and gives back what it does not need. Whether there is reason to
    /// look again although nothing happens.
    pub(super) fn look_at(&mut self, usage: &mut Usage, is_empty: bool) -> bool {
        let lately = std::mem::take(&mut usage.lately);
        if is_empty && lately < usage.size / BUSY {
            self.release(usage);
        }
        usage.has_pages() && lately > 0
    }

    fn release(&mut self, usage: &mut Usage) {
        if usage.has_pages() {
            *usage = Usage::of(usage.id, usage.size);
            self.memory.give_back(usage.id);
        }
    }

    /// A socket that speaks at once: no Nagle, no delayed ACK, since every batch ends in one turn of each flow anyway.
    fn make(&mut self) -> Option<RingedSocket> {
        let [inward, outward] = self.memory.reserve(self.sizes)?;
        let mut socket = Socket::new(SocketBuffer::new(inward.memory), SocketBuffer::new(outward.memory));
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        let mut set = SocketSet::new(Vec::with_capacity(1));
        let handle = set.add(socket);
        Some(RingedSocket {
            set,
            handle,
            inward: Usage::of(inward.id, self.sizes.inward),
            outward: Usage::of(outward.id, self.sizes.outward),
        })
    }
}

impl RingedSocket {
    pub(super) fn get(&self) -> &Socket<'static> {
        self.set.get(self.handle)
    }

    pub(super) fn get_mut(&mut self) -> &mut Socket<'static> {
        self.set.get_mut(self.handle)
    }

    /// Some pages of its rings are its own.
    pub(super) fn has_pages(&self) -> bool {
        self.inward.has_pages() || self.outward.has_pages()
    }
}

impl fmt::Debug for RingedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingedSocket")
            .field("inward", &self.inward)
            .field("outward", &self.outward)
            .finish_non_exhaustive()
    }
}

impl Usage {
    /// A ring without pages.
    fn of(id: RingId, size: usize) -> Self {
        Self {
            id,
            size,
            warm: 0,
            written: 0,
            lately: 0,
        }
    }

    fn has_pages(&self) -> bool {
        self.warm > 0 || self.written > 0
    }

    /// The next flow writes from the start.
    fn begin_anew(&mut self) {
        self.warm = self.warm.max(self.written);
        self.written = 0;
        self.lately = 0;
    }

    pub(super) fn note_written(&mut self, bytes: usize) {
        self.written = self.written.saturating_add(bytes);
        self.lately = self.lately.saturating_add(bytes);
    }
}

/// What smoltcp takes (RFC 7323 section 2.3).
const LARGEST_RING: usize = 1 << 30;

/// Sockets whose rings stay warm. A connection that asks and is answered leaves two pages behind, 64 of them 512 KiB.
const MAX_WARM: usize = 64;

/// Bytes that a ring may have carried and still stay warm: with [`MAX_WARM`] of them, 4 MiB at the worst.
const WARM_RING: usize = 32 * 1024;

/// Between two looks at a flow. Shorter costs a flow that talks without pause more page faults, longer more memory.
pub(super) const LOOK: Duration = Duration::from_secs(2);

/// A ring that carried a quarter of its size since the last look is kept whole: for the usual sizes that is 64 KB a second
/// inward and 256 KB outward.
const BUSY: usize = 4;
