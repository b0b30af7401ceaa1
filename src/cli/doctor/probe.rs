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

/// `probe-namespaces`: makes a user namespace and in it a network namespace, for this process, which must have one thread.
pub fn probe_namespaces() -> Result<(), ProbeError> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(ProbeError::User)?;
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {uid} 1")),
        ("gid_map", format!("0 {gid} 1")),
    ] {
        std::fs::write(format!("/proc/self/{file}"), text).map_err(ProbeError::Mapping)?;
    }
    unshare(CloneFlags::CLONE_NEWNET).map_err(ProbeError::Network)
}

/// Runs the probe; the error is its words.
pub(super) fn in_a_child() -> Result<(), String> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("gangplank").arg("probe-namespaces").stdin(Stdio::null());
    let output = command
        .output()
        .map_err(|error| format!("the attempt could not be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let line = words.lines().next().unwrap_or_default();
    Err(line.strip_prefix("Error: ").unwrap_or(line).to_owned())
}
