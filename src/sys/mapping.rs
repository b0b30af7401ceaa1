//! Memory that costs nothing until it is written: anonymous mappings for the rings of TCP flows.
//!
//! A mapping lasts as long as the process, for whoever has a ring keeps it; what comes and goes are its pages. So a
//! burst of flows leaves address space behind, and the page tables for it (about 5 KiB for a flow), but no memory.
//!
//! The data plane's driver hands [`Mappings`] to the stack, which says when a ring is empty. Sources: mmap(2), madvise(2).

use std::io;
use std::ptr;

use crate::stack::{Ring, RingId, RingMemory, RingSizes};

/// Rings, each in pages of its own.
#[derive(Debug, Default)]
pub struct Mappings {
    /// Address and length of each ring, by its id.
    rings: Vec<Pages>,
}

/// Whole pages.
#[derive(Debug, Clone, Copy)]
struct Pages {
    address: usize,
    bytes: usize,
}

impl RingMemory for Mappings {
    fn reserve(&mut self, sizes: RingSizes) -> Option<[Ring; 2]> {
        let id = u32::try_from(self.rings.len()).ok()?;
        let inward = sizes.inward.checked_next_multiple_of(page_size())?;
        let outward = sizes.outward.checked_next_multiple_of(page_size())?;
        let both = map(inward.checked_add(outward)?).ok()?;
        let (first, second) = both.split_at_mut(inward);
        let mut ring = |id, memory: &'static mut [u8], bytes| {
            let (address, whole) = (memory.as_ptr().addr(), memory.len());
            self.rings.push(Pages { address, bytes: whole });
            let memory = memory.get_mut(..bytes)?;
            let id = RingId(id);
            Some(Ring { id, memory })
        };
        Some([ring(id, first, sizes.inward)?, ring(id + 1, second, sizes.outward)?])
    }

    fn give_back(&mut self, RingId(id): RingId) {
        let Some(Pages { address, bytes }) = self.rings.get(id as usize).copied() else {
            return;
        };
        let start = ptr::without_provenance_mut(address);
        // SAFETY: the pages are mapped, private and anonymous, and stay so until the process ends; nothing else lies in
        // them. They can only lose what is written there, and the caller promises that nobody reads it before it is
        // written again: to the program it is as if nothing had happened.
        let _ = unsafe { libc::madvise(start, bytes, libc::MADV_DONTNEED) };
    }
}

/// New pages, for good.
fn map(bytes: usize) -> io::Result<&'static mut [u8]> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: the kernel chooses an address that is free, so no memory of the program's is touched.
    let start = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // A huge page would cost a flow that writes one byte 2 MiB. A kernel without them refuses, and that is as good.
    // SAFETY: the mapping was made above and is ours; the advice changes no content.
    let _ = unsafe { libc::madvise(start, bytes, libc::MADV_NOHUGEPAGE) };
    // SAFETY: the mapping is `bytes` long, readable, writable and full of zeros; it is never unmapped, and this is the
    // only reference that is ever made to it.
    Ok(unsafe { std::slice::from_raw_parts_mut(start.cast(), bytes) })
}

fn page_size() -> usize {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    let size = size.ok().flatten().and_then(|size| usize::try_from(size).ok());
    size.unwrap_or(SMALLEST_PAGE)
}

/// Of the architectures that Linux runs on; sysconf(3) always knows the real one.
const SMALLEST_PAGE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of a ring's pages are in memory (mincore(2)).
    fn resident(ring: &[u8]) -> usize {
        let mut pages = vec![0u8; ring.len().div_ceil(page_size())];
        // SAFETY: the range is mapped, and `pages` has a byte for each page of it.
        let result = unsafe { libc::mincore(ring.as_ptr().cast_mut().cast(), ring.len(), pages.as_mut_ptr()) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
        pages.iter().filter(|page| **page & 1 == 1).count()
    }

    #[test]
    fn only_what_is_written_costs_memory() {
        let mut mappings = Mappings::default();
        let [first, second] = mappings.reserve(RingSizes::each(512 * 1024)).unwrap();
        assert_eq!((first.memory.len(), second.memory.len()), (512 * 1024, 512 * 1024));
        assert_eq!((resident(first.memory), resident(second.memory)), (0, 0));
        first.memory[300_000] = 7;
        assert_eq!((resident(first.memory), resident(second.memory)), (1, 0));
    }

    #[test]
    fn what_is_given_back_costs_nothing_and_can_be_written_again() {
        let mut mappings = Mappings::default();
        let [first, second] = mappings.reserve(RingSizes::each(512 * 1024)).unwrap();
        first.memory.fill(1);
        second.memory.fill(2);
        assert_eq!((resident(first.memory), resident(second.memory)), (128, 128));
        mappings.give_back(first.id);
        assert_eq!((resident(first.memory), resident(second.memory)), (0, 128), "no other");
        assert!(second.memory.iter().all(|byte| *byte == 2));
        first.memory.fill(3);
        assert!(first.memory.iter().all(|byte| *byte == 3));
        mappings.give_back(RingId(99));
    }

    #[test]
    fn rings_of_any_size_keep_to_themselves() {
        let mut mappings = Mappings::default();
        for bytes in [1, 1000, 4096, 5000] {
            let [first, second] = mappings.reserve(RingSizes::each(bytes)).unwrap();
            assert_eq!((first.memory.len(), second.memory.len()), (bytes, bytes));
            first.memory.fill(1);
            second.memory.fill(2);
            mappings.give_back(second.id);
            assert!(first.memory.iter().all(|byte| *byte == 1));
        }
    }

    #[test]
    fn no_room_is_no_ring() {
        let mut mappings = Mappings::default();
        assert!(
            mappings.reserve(RingSizes::each(usize::MAX / 4)).is_none(),
            "more than there are addresses"
        );
        assert!(mappings.reserve(RingSizes::each(usize::MAX)).is_none());
        assert!(
            mappings.reserve(RingSizes::each(4096)).is_some(),
            "and the next is served"
        );
    }
}
