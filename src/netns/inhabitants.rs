//! Who is in a container: every process in its user namespace or one below, whoever started it and however it was
//! orphaned since (`setsid`, double fork, `exec` from another terminal).
//!
//! Processes are held by pidfd before they are looked at, so a reused id is never hit. Called by the monitor at the end
//! of a command, and by the helper, which must not rely on the monitor.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::stat::fstat;

use crate::sys::namespace;
use crate::sys::pidfd::PidFd;

/// The user namespace of process `pid`.
pub fn user_namespace(pid: i32) -> io::Result<OwnedFd> {
    Ok(File::open(format!("/proc/{pid}/ns/user"))?.into())
}

/// Kills every process in `user_namespace` and below. Gives up, with an error, on members that keep appearing.
pub fn kill_all(user_namespace: impl AsFd) -> io::Result<()> {
    let wanted = identity(&user_namespace)?;
    for _ in 0..ROUNDS {
        let members = living(wanted)?;
        if members.is_empty() {
            return Ok(());
        }
        for member in members {
            // One that ended by itself in between is as good as killed.
            let _ = member.send_signal(Signal::SIGKILL);
        }
        thread::sleep(PAUSE);
    }
    Err(io::Error::other("processes of the container keep appearing"))
}

fn living(wanted: Identity) -> io::Result<Vec<PidFd>> {
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Other users' processes cannot be opened and are nobody of ours.
        let Ok(process) = PidFd::open(pid) else {
            continue;
        };
        if is_below(pid, wanted) && !process.has_ended()? {
            members.push(process);
        }
    }
    Ok(members)
}

/// Whether process `pid` is in the wanted user namespace or in a descendant of it.
fn is_below(pid: i32, wanted: Identity) -> bool {
    let mut next = user_namespace(pid).ok();
    while let Some(namespace) = next {
        if identity(&namespace).is_ok_and(|identity| identity == wanted) {
            return true;
        }
        // EPERM at our own: nobody sees above it.
        next = namespace::parent(namespace.as_fd()).ok();
    }
    false
}

fn identity(namespace: impl AsFd) -> io::Result<Identity> {
    let status = fstat(namespace)?;
    Ok((status.st_dev, status.st_ino))
}

/// Device and inode of a namespace.
type Identity = (u64, u64);

/// With [`PAUSE`]: how long somebody may go on forking against us, about two seconds.
const ROUNDS: u32 = 400;

/// Time for killed processes to end.
const PAUSE: Duration = Duration::from_millis(5);
