//! A cable: frames carried between two TAPs, where no veth can reach.
//!
//! One TAP is a port of the bridge, the other a container's interface in a sibling user namespace; see
//! [`crate::netns`]. Frames pass as they are, offload headers included, so that superframes stay whole and the
//! kernels on both sides do all checks. Each cable has a thread of its own that sleeps in poll(2); a full queue or a
//! side that is down loses frames, as an Ethernet does, and the loss is counted.
//!
//! A cable ends when the helper drops it, or when one of its interfaces is deleted. It does not end with the
//! container: both descriptors keep their namespaces alive, so the helper watches the container
//! ([`crate::netns::Watch`]) and drops the cable.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::FRAME_BYTES;
use super::frames::set_nonblocking;
use crate::stack::Offload;

/// A running cable; dropping it stops it and closes both TAPs.
#[derive(Debug)]
pub struct Cable {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
}

/// Why a cable ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was dropped.
    Stopped,
    /// The bridge's interface is gone.
    BridgeGone,
    /// The container's interface is gone.
    ContainerGone,
    /// The kernel failed.
    Failed(Errno),
}

/// What a cable has carried so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CableCounters {
    /// Frames and superframes from the container to the bridge.
    pub from_container: u64,
    /// Frames and superframes from the bridge to the container.
    pub to_container: u64,
    /// Frames that a side did not take.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Counters {
    from_container: AtomicU64,
    to_container: AtomicU64,
    dropped: AtomicU64,
}

impl Cable {
    /// Joins the two TAPs; both carry offload headers. `on_end` is called once, on the cable's thread,
    /// and must not wait for whoever drops the cable.
    pub fn start(bridge: OwnedFd, container: OwnedFd, on_end: impl FnOnce(End) + Send + 'static) -> io::Result<Self> {
        set_nonblocking(&bridge)?;
        set_nonblocking(&container)?;
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let counters = Arc::<Counters>::default();
        let pump = Pump {
            bridge,
            container,
            stop: Arc::clone(&stop),
            counters: Arc::clone(&counters),
        };
        let thread = std::thread::Builder::new().name("cable".to_owned()).spawn(move || {
            let end = pump.run();
            // Both interfaces are gone before anybody hears of it.
            drop(pump);
            on_end(end);
        })?;
        Ok(Self {
            stop,
            thread: Some(thread),
            counters,
        })
    }

    /// What it has carried so far.
    pub fn counters(&self) -> CableCounters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CableCounters {
            from_container: read(&self.counters.from_container),
            to_container: read(&self.counters.to_container),
            dropped: read(&self.counters.dropped),
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // Fails only at a count of 2^64 - 1, and this is the only one.
        let _ = self.stop.write(1);
        let Some(thread) = self.thread.take() else {
            return;
        };
        // `on_end` may own the last of us and drop it on the cable's own thread.
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}

struct Pump {
    bridge: OwnedFd,
    container: OwnedFd,
    stop: Arc<EventFd>,
    counters: Arc<Counters>,
}

impl Pump {
    fn run(&self) -> End {
        let mut frame = vec![0; Offload::LEN + FRAME_BYTES];
        loop {
            if let Err(end) = self.wait().and_then(|()| self.turn(&mut frame)) {
                return end;
            }
        }
    }

    /// Waits for a frame on either side, or the end.
    fn wait(&self) -> Result<(), End> {
        let watch = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut fds = [
            watch(self.stop.as_fd()),
            watch(self.bridge.as_fd()),
            watch(self.container.as_fd()),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(End::Failed(errno)),
        }
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
        let [stop, bridge, container] = fds.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        if !stop.is_empty() {
            Err(End::Stopped)
        } else if bridge.intersects(gone) {
            Err(End::BridgeGone)
        } else if container.intersects(gone) {
            Err(End::ContainerGone)
        } else {
            Ok(())
        }
    }

    /// Carries some frames each way, so that neither side waits long for the other.
    fn turn(&self, frame: &mut [u8]) -> Result<(), End> {
        for _ in 0..BUDGET {
            let out = self.carry(frame, &self.container, &self.bridge, &self.counters.from_container);
            let out = out.map_err(|side| side.end(End::ContainerGone, End::BridgeGone))?;
            let back = self.carry(frame, &self.bridge, &self.container, &self.counters.to_container);
            let back = back.map_err(|side| side.end(End::BridgeGone, End::ContainerGone))?;
            if !out && !back {
                break;
            }
        }
        Ok(())
    }

    /// Carries one frame; `false` when none is waiting.
    fn carry(&self, frame: &mut [u8], from: &OwnedFd, to: &OwnedFd, counter: &AtomicU64) -> Result<bool, Failure> {
        let len = match nix::unistd::read(from, frame) {
            Ok(len) => len,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
            Err(errno) => return Err(Failure::Reading(errno)),
        };
        match nix::unistd::write(to, frame.get(..len).unwrap_or_default()) {
            Ok(_) => counter.fetch_add(1, Ordering::Relaxed),
            Err(Errno::EBADFD) => return Err(Failure::Writing),
            // Full (EAGAIN, ENOBUFS, ENOMEM), down (EIO), or a header that the kernel does not believe (EINVAL).
            Err(_) => self.counters.dropped.fetch_add(1, Ordering::Relaxed),
        };
        Ok(true)
    }
}

/// Which side of a copy failed.
enum Failure {
    Reading(Errno),
    Writing,
}

impl Failure {
    fn end(self, source_gone: End, target_gone: End) -> End {
        match self {
            Self::Reading(Errno::EBADFD) => source_gone,
            Self::Reading(errno) => End::Failed(errno),
            Self::Writing => target_gone,
        }
    }
}

/// Frames each way before the next look at the stop signal: about a millisecond's worth of superframes.
const BUDGET: usize = 64;
