//! Making a container's namespaces, and joining them later.
//!
//! New ones in two steps, so that the second locks what the first mounted (mount_namespaces(7), "Restrictions on mount
//! namespaces"): first a mount namespace that the agent's user namespace owns, with the container's files bound over
//! the host's; then user, network, mount and UTS namespaces below, in which root is the user and nobody else exists.
//! The process must be single-threaded (unshare(2), CLONE_NEWUSER). Called by the init stage.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getegid, geteuid, sethostname};

use super::channel::Place;
use super::{Failure, OUR_FAILURE, files};
use crate::sys::pidfd::PidFd;

/// Enters the place and stays there.
pub(super) fn enter(place: &Place) -> Result<(), Failure> {
    match place {
        Place::New {
            agent_pid,
            hostname,
            hosts,
            resolv_conf,
            hidden,
        } => {
            join_user(*agent_pid)?;
            own_mounts()?;
            files::install(hidden, &[("hosts", hosts), ("resolv.conf", resolv_conf)])?;
            become_root()?;
            sethostname(hostname).map_err(|error| Failure::ours(format_args!("hostname {hostname}"), error))
        }
        Place::Of { pid } => join(*pid),
    }
}

/// The agent's user namespace; staying is fine where it is ours already.
fn join_user(agent_pid: i32) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::ours("cannot enter the network's user namespace", error);
    let agent = PidFd::open(agent_pid).map_err(failed)?;
    match setns(&agent, CloneFlags::CLONE_NEWUSER) {
        Ok(()) | Err(Errno::EINVAL) => Ok(()),
        Err(error) => Err(failed(error.into())),
    }
}

/// What is mounted on the host still appears (and disappears), what is mounted here stays here.
fn own_mounts() -> Result<(), Failure> {
    let failed = |error: Errno| Failure::ours("cannot make a mount namespace", error);
    unshare(CloneFlags::CLONE_NEWNS).map_err(failed)?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_SLAVE | MsFlags::MS_REC,
        None::<&str>,
    )
    .map_err(failed)
}

fn become_root() -> Result<(), Failure> {
    let (user, group) = (geteuid(), getegid());
    let own = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS;
    unshare(own).map_err(|error| Failure::ours("cannot make the container's namespaces", error))?;
    // user_namespaces(7): a gid_map of our own needs setgroups(2) denied first.
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {user} 1")),
        ("gid_map", format!("0 {group} 1")),
    ] {
        fs::write(format!("/proc/self/{file}"), text)
            .map_err(|error| Failure::ours(format_args!("cannot write the container's {file}"), error))?;
    }
    Ok(())
}

/// The namespaces of a running container, all at once and by descriptor: a pid that was reused in between is refused.
fn join(pid: i32) -> Result<(), Failure> {
    let gone = |_| Failure {
        code: OUR_FAILURE,
        message: format!("process {pid} of the container has ended"),
    };
    let process = PidFd::open(pid).map_err(gone)?;
    let mut others = CloneFlags::empty();
    for (name, flag) in KINDS {
        if differs(pid, name).map_err(gone)? {
            others |= flag;
        }
    }
    if !others.contains(CloneFlags::CLONE_NEWNET) {
        return Err(gone(io::ErrorKind::NotFound.into()));
    }
    setns(&process, others).map_err(|error| Failure::ours("cannot enter the container", error))
}

/// Whether process `pid` is in another namespace of this kind than we are.
fn differs(pid: i32, kind: &str) -> io::Result<bool> {
    let theirs = fs::metadata(format!("/proc/{pid}/ns/{kind}"))?;
    let ours = fs::metadata(format!("/proc/self/ns/{kind}"))?;
    Ok((theirs.dev(), theirs.ino()) != (ours.dev(), ours.ino()))
}

/// The kinds that a container may have of its own; the kernel joins the user namespace first.
const KINDS: [(&str, CloneFlags); 4] = [
    ("user", CloneFlags::CLONE_NEWUSER),
    ("net", CloneFlags::CLONE_NEWNET),
    ("mnt", CloneFlags::CLONE_NEWNS),
    ("uts", CloneFlags::CLONE_NEWUTS),
];
