//! Frames in memory that the kernel writes and we read: PACKET_RX_RING of a packet socket, version 2.
//!
//! A [`Ring`] is a row of slots of one size. The kernel copies a frame and its offload header into the next slot and
//! hands the slot over by its status word; we hand it back when we are done with the frame. No system call is needed
//! for either, and what the ring holds does not depend on net.core.rmem_max. Nobody needs a privilege for it, and the
//! kernel counts the memory to nobody: to the process it is resident once it is mapped, which is why it is mapped only
//! when the first frame is there.
//!
//! Version 3 packs frames of any size closely, but hands them over by blocks that are full or a millisecond old: no
//! request could be answered sooner. Sources: Documentation/networking/packet_mmap.rst, linux/if_packet.h,
//! net/packet/af_packet.c (tpacket_rcv, packet_set_ring).

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::packet::{PacketError, set};

/// How many slots of which size a ring has, in one block of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    slot: u32,
    block: u32,
}

impl Shape {
    /// As many slots as `block` bytes hold, each for a frame of `frame` bytes; a power of two wastes no memory, for the
    /// kernel rounds up to one (alloc_pg_vec).
    pub const fn new(block: u32, frame: u32) -> Self {
        let slot = (HEADERS + frame).next_multiple_of(ALIGNMENT);
        assert!(
            slot <= block && block.is_power_of_two(),
            "a block holds at least one slot"
        );
        Self { slot, block }
    }

    /// The longest frame that a slot holds.
    pub const fn frame(self) -> u32 {
        self.slot - HEADERS
    }

    /// How many frames it holds.
    pub const fn slots(self) -> u32 {
        self.block / self.slot
    }
}

/// The frames of one packet socket, in the order of their coming.
#[derive(Debug)]
pub struct Ring {
    socket: OwnedFd,
    shape: Shape,
    memory: Option<NonNull<u8>>,
    /// The slot that the kernel hands over next.
    next: u32,
}

// SAFETY: the memory is the ring's own mapping, shared with nobody but the kernel, and valid on every thread.
unsafe impl Send for Ring {}

/// When a frame came: seconds and nanoseconds of the host's clock.
pub type Moment = (u32, u32);

impl Ring {
    /// Gives a packet socket that carries offload headers a ring; what it has heard before is lost. A socket that can't
    /// have one is returned as it was.
    pub fn new(socket: OwnedFd, shape: Shape) -> Result<Self, (OwnedFd, PacketError)> {
        match lay(socket.as_fd(), shape) {
            Ok(()) => Ok(Self {
                socket,
                shape,
                memory: None,
                next: 0,
            }),
            Err(refused) => Err((socket, refused)),
        }
    }

    /// When the frame came that [`take`](Self::take) would return.
    pub fn oldest(&self) -> Option<Moment> {
        let header = self.header()?;
        Some((header.tp_sec, header.tp_nsec))
    }

    /// The oldest frame; its slot is the kernel's again when it is dropped.
    pub fn take(&mut self) -> Option<Frame<'_>> {
        let header = self.header()?;
        let start = self.slot()?;
        self.next = (self.next + 1) % self.shape.slots();
        Some(Frame {
            start,
            header,
            slot: self.shape.slot,
            ring: PhantomData,
        })
    }

    /// Maps the memory if a frame is waiting and it is not mapped yet; whether it has done so.
    pub fn open(&mut self) -> io::Result<bool> {
        if self.memory.is_some() || !readable(self.socket.as_fd())? {
            return Ok(false);
        }
        self.memory = Some(map(self.socket.as_fd(), self.shape)?);
        Ok(true)
    }

    /// The header of the next slot, if the kernel has handed it over.
    fn header(&self) -> Option<libc::tpacket2_hdr> {
        let slot = self.slot()?;
        // SAFETY: the slot begins with the status word, aligned to 16 bytes, and the mapping lives as long as we do.
        let status = unsafe { AtomicU32::from_ptr(slot.cast().as_ptr()) };
        if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: a slot is longer than its header, is plain data, and is ours until we give it back.
        Some(unsafe { slot.cast().read() })
    }

    fn slot(&self) -> Option<NonNull<u8>> {
        let memory = self.memory?;
        // SAFETY: `next` is below the number of slots, and all slots together are not longer than the mapping.
        Some(unsafe { memory.add((self.next * self.shape.slot) as usize) })
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if let Some(memory) = self.memory {
            // SAFETY: the memory is `map`'s with this shape, and no frame is left that borrows it.
            unsafe { unmap(memory, self.shape) };
        }
    }
}

/// A frame in its slot.
#[derive(Debug)]
pub struct Frame<'a> {
    start: NonNull<u8>,
    header: libc::tpacket2_hdr,
    slot: u32,
    ring: PhantomData<&'a mut Ring>,
}

impl Frame<'_> {
    /// Its offload header, and the frame; `None` if it was too long for the slot.
    pub fn whole(&self) -> Option<(&[u8; OFFLOAD], &[u8])> {
        let frame = usize::from(self.header.tp_mac);
        let end = frame.checked_add(self.header.tp_snaplen as usize)?;
        if self.header.tp_len != self.header.tp_snaplen || end > self.slot as usize {
            return None;
        }
        // SAFETY: the slot is that long and in the ring's mapping, which the borrow of the ring keeps; the kernel does
        // not write to it before `drop` gives it back.
        let slot = unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.slot as usize) };
        let offload = slot.get(..frame)?.last_chunk()?;
        Some((offload, slot.get(frame..end)?))
    }
}

impl Drop for Frame<'_> {
    fn drop(&mut self) {
        // SAFETY: as in `Ring::header`; the borrow of the ring keeps the mapping.
        let status = unsafe { AtomicU32::from_ptr(self.start.cast().as_ptr()) };
        status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }
}

fn lay(socket: BorrowedFd<'_>, shape: Shape) -> Result<(), PacketError> {
    set(socket, "slots of version 2", libc::PACKET_VERSION, &VERSION_2)?;
    let request = libc::tpacket_req {
        tp_block_size: shape.block,
        tp_block_nr: 1,
        tp_frame_size: shape.slot,
        tp_frame_nr: shape.slots(),
    };
    set(socket, "a ring", libc::PACKET_RX_RING, &request)?;
    // Whether it can be mapped is to be known while there is another way.
    match map(socket, shape) {
        Ok(memory) => {
            // SAFETY: the memory is `map`'s with this shape, and nobody else has seen it.
            unsafe { unmap(memory, shape) };
            Ok(())
        }
        Err(source) => {
            set(socket, "to do without a ring", libc::PACKET_RX_RING, &NO_RING)?;
            let step = "to map a ring";
            Err(PacketError::Kernel { step, source })
        }
    }
}

fn map(socket: BorrowedFd<'_>, shape: Shape) -> io::Result<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let bytes = shape.block as usize;
    // SAFETY: the kernel chooses an address that is free, so no memory of the program's is touched.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            protection,
            libc::MAP_SHARED,
            socket.as_raw_fd(),
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// # Safety
///
/// The memory comes from [`map`] with the same shape, and nobody uses it any more.
unsafe fn unmap(memory: NonNull<u8>, shape: Shape) {
    // SAFETY: it is a mapping of that length, by the caller's word.
    let _ = unsafe { libc::munmap(memory.as_ptr().cast(), shape.block as usize) };
}

fn readable(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::new(socket, PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::ZERO) {
        // Unknown, and a look does no harm.
        Err(Errno::EINTR) => return Ok(true),
        ready => ready?,
    };
    Ok(fds[0].revents().is_some_and(|ready| ready.contains(PollFlags::POLLIN)))
}

/// What takes a ring away.
const NO_RING: libc::tpacket_req = libc::tpacket_req {
    tp_block_size: 0,
    tp_block_nr: 0,
    tp_frame_size: 0,
    tp_frame_nr: 0,
};
/// TPACKET_V2 of `enum tpacket_versions`.
const VERSION_2: libc::c_int = 1;
/// Slots begin and are cut at multiples of this: TPACKET_ALIGNMENT.
const ALIGNMENT: u32 = 16;
/// Bytes of the offload header, before each frame.
const OFFLOAD: usize = 10;
/// Bytes of a slot before an Ethernet frame: tpacket_rcv aligns the end of TPACKET2_HDRLEN (52) and 16 more to 80, puts
/// the offload header's 10 behind, and the Ethernet header's 14 so that they end there.
const HEADERS: u32 = 80 + 10 - 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constants_are_the_headers() {
        assert_eq!(usize::try_from(ALIGNMENT).unwrap(), libc::TPACKET_ALIGNMENT);
        assert_eq!(libc::TPACKET2_HDRLEN, 52);
    }

    #[test]
    fn slots_hold_the_frame_they_are_made_for() {
        for (block, frame) in [(2 << 20, 65_554), (1 << 19, 1518), (4096, 60)] {
            let shape = Shape::new(block, frame);
            assert!((frame..frame + ALIGNMENT).contains(&shape.frame()), "{shape:?}");
            assert!(shape.slots() * shape.slot <= block && shape.slots() > 0, "{shape:?}");
        }
    }
}
