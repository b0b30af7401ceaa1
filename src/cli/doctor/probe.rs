//! A real attempt: sysctls do not tell what AppArmor, SELinux or a seccomp filter will say.
//!
//! `unshare` wants a process with one thread, and its effect cannot be undone, so a child of ours does it: this program
//! again, with the hidden command `probe-namespaces`.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::sys::packet::{self, PacketError};

/// What kept us from namespaces.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The first step.
    #[error("no user namespace: {0}")]
    User(Errno),
    /// Becoming root in it.
    #[error("a user namespace, but no mapping in it: {0}")]
    Mapping(io::Error),
    /// What AppArmor forbids: the namespace is there, its capabilities are not.
    #[error("a user namespace, but no network namespace in it: {0}")]
    Network(Errno),
}

/// What the attempt led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probed {
    /// Making a user and a network namespace.
    pub(super) namespaces: Result<(), String>,
    /// Making a packet socket in them; fine as long as they could not be made.
    pub(super) packet: Result<(), String>,
}

/// `probe-namespaces`: makes a user namespace and in it a network namespace, for this process, which must have one
/// thread; then tries what the uplink `packet` needs there.
pub fn probe_namespaces() -> Result<Result<(), PacketError>, ProbeError> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(ProbeError::User)?;
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {uid} 1")),
        ("gid_map", format!("0 {gid} 1")),
    ] {
        std::fs::write(format!("/proc/self/{file}"), text).map_err(ProbeError::Mapping)?;
    }
    unshare(CloneFlags::CLONE_NEWNET).map_err(ProbeError::Network)?;
    Ok(packet::probe())
}

/// Runs the probe; the errors are its words: of namespaces on stderr, of packet sockets on stdout.
pub(super) fn in_a_child() -> Probed {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("gangplank").arg("probe-namespaces").stdin(Stdio::null());
    let (namespaces, packet) = match command.output() {
        Err(error) => (Err(format!("the attempt could not be started: {error}")), Ok(())),
        Ok(output) if !output.status.success() => (Err(first_line(&output.stderr)), Ok(())),
        Ok(output) if !output.stdout.is_empty() => (Ok(()), Err(first_line(&output.stdout))),
        Ok(_) => (Ok(()), Ok(())),
    };
    Probed { namespaces, packet }
}

fn first_line(output: &[u8]) -> String {
    let words = String::from_utf8_lossy(output);
    let line = words.lines().next().unwrap_or_default();
    line.strip_prefix("Error: ").unwrap_or(line).to_owned()
}
