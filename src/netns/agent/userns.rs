//! The agent's own namespaces: made, or joined and made, and what to say where that is forbidden.
//!
//! The agent is single-threaded until this is done (unshare(2) asks for it). Inside it is uid 0; outside it stays the
//! user. No helper program, no /etc/subuid: one id is mapped, our own. Sources: user_namespaces(7); the three places
//! that forbid it are user.max_user_namespaces (ENOSPC), Debian's kernel.unprivileged_userns_clone (EPERM) and
//! Ubuntu's kernel.apparmor_restrict_unprivileged_userns (EPERM or EACCES, later, when the capabilities are used).

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{getegid, geteuid};

use crate::netns::refusal::Refusal;

/// Enters a network namespace of our own, in a user namespace of our own or in the one given.
pub(super) fn enter(userns: Option<OwnedFd>) -> Result<(), Refusal> {
    // Read now: in a user namespace of its own a process sees that one's limits, not those that bind it.
    let sysctls = Sysctls::read();
    match userns {
        Some(userns) => join_user_namespace(userns)?,
        None => make_user_namespace(&sysctls)?,
    }
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| sysctls.denied("a network namespace", errno))
}

fn join_user_namespace(userns: OwnedFd) -> Result<(), Refusal> {
    match setns(userns, CloneFlags::CLONE_NEWUSER) {
        // EINVAL: we are in it already (setns(2)).
        Ok(()) | Err(nix::Error::EINVAL) => Ok(()),
        Err(errno) => Err(Refusal::CannotJoin(errno.desc().to_owned())),
    }
}

fn make_user_namespace(sysctls: &Sysctls) -> Result<(), Refusal> {
    let (uid, gid) = (geteuid(), getegid());
    let denied = |errno| sysctls.denied("a user namespace", errno);
    unshare(CloneFlags::CLONE_NEWUSER).map_err(denied)?;
    let write = |path, value: &str| {
        fs::write(path, value).map_err(|error| match error.raw_os_error() {
            Some(errno @ (libc::EPERM | libc::EACCES)) => denied(nix::Error::from_raw(errno)),
            _ => Refusal::kernel(path, &error),
        })
    };
    // Without CAP_SETGID outside, a gid may be mapped only by those who have given up setgroups(2).
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/gid_map", &format!("0 {gid} 1"))?;
    write("/proc/self/uid_map", &format!("0 {uid} 1"))
}

/// The settings that forbid user namespaces; `None` where the kernel has no such setting.
#[derive(Debug, Default)]
struct Sysctls {
    max_user_namespaces: Option<u64>,
    max_net_namespaces: Option<u64>,
    unprivileged_userns_clone: Option<u64>,
    apparmor_restrict: Option<u64>,
}

impl Sysctls {
    fn read() -> Self {
        let number = |name: &str| read_number(&format!("/proc/sys/{name}")).ok();
        Self {
            max_user_namespaces: number("user/max_user_namespaces"),
            max_net_namespaces: number("user/max_net_namespaces"),
            unprivileged_userns_clone: number("kernel/unprivileged_userns_clone"),
            apparmor_restrict: number("kernel/apparmor_restrict_unprivileged_userns"),
        }
    }

    fn denied(&self, what: &str, errno: nix::Error) -> Refusal {
        Refusal::UserNamespace(explain(what, errno, self))
    }
}

fn read_number(path: &str) -> io::Result<u64> {
    fs::read_to_string(path)?.trim().parse().map_err(io::Error::other)
}

/// The line that names what forbids `what` and the command that changes it.
fn explain(what: &str, errno: nix::Error, sysctls: &Sysctls) -> String {
    let forbidden = errno == nix::Error::EPERM || errno == nix::Error::EACCES;
    let remedy = if errno == nix::Error::ENOSPC || errno == nix::Error::EUSERS {
        limit(sysctls)
    } else if forbidden && sysctls.unprivileged_userns_clone == Some(0) {
        "kernel.unprivileged_userns_clone is 0; allow it with: sysctl kernel.unprivileged_userns_clone=1".to_owned()
    } else if forbidden && sysctls.apparmor_restrict.is_some_and(|value| value != 0) {
        "kernel.apparmor_restrict_unprivileged_userns is on; give gangplank an AppArmor profile with `userns,`, \
         or allow it with: sysctl kernel.apparmor_restrict_unprivileged_userns=0"
            .to_owned()
    } else if forbidden {
        "a sandbox around us forbids it (seccomp, chroot, or a container without nesting)".to_owned()
    } else {
        "the kernel does not say more; see user_namespaces(7)".to_owned()
    };
    format!("can't make {what}: {}; {remedy}", errno.desc())
}

fn limit(sysctls: &Sysctls) -> String {
    match sysctls {
        Sysctls {
            max_user_namespaces: Some(0),
            ..
        } => "user.max_user_namespaces is 0; allow it with: sysctl user.max_user_namespaces=10000".to_owned(),
        Sysctls {
            max_net_namespaces: Some(0),
            ..
        } => "user.max_net_namespaces is 0; allow it with: sysctl user.max_net_namespaces=10000".to_owned(),
        Sysctls { .. } => {
            "all that user.max_user_namespaces and user.max_net_namespaces allow are in use, or 32 are nested; raise \
             them with sysctl"
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno::{EACCES, EINVAL, ENOSPC, EPERM};

    use super::*;

    #[test]
    fn names_what_forbids_it() {
        let none = Sysctls::default;
        for (errno, sysctls, named) in [
            (
                ENOSPC,
                Sysctls {
                    max_user_namespaces: Some(0),
                    ..none()
                },
                "sysctl user.max_user_namespaces=10000",
            ),
            (
                ENOSPC,
                Sysctls {
                    max_net_namespaces: Some(0),
                    ..none()
                },
                "sysctl user.max_net_namespaces=10000",
            ),
            (
                ENOSPC,
                Sysctls {
                    max_user_namespaces: Some(9),
                    ..none()
                },
                "are in use",
            ),
            (
                EPERM,
                Sysctls {
                    unprivileged_userns_clone: Some(0),
                    ..none()
                },
                "kernel.unprivileged_userns_clone=1",
            ),
            (
                EPERM,
                Sysctls {
                    unprivileged_userns_clone: Some(1),
                    ..none()
                },
                "a sandbox around us",
            ),
            (
                EPERM,
                Sysctls {
                    apparmor_restrict: Some(1),
                    ..none()
                },
                "AppArmor profile",
            ),
            (
                EACCES,
                Sysctls {
                    apparmor_restrict: Some(1),
                    ..none()
                },
                "AppArmor profile",
            ),
            (
                EPERM,
                Sysctls {
                    apparmor_restrict: Some(0),
                    ..none()
                },
                "a sandbox around us",
            ),
            (EPERM, none(), "a sandbox around us"),
            (EINVAL, none(), "user_namespaces(7)"),
        ] {
            let line = explain("a user namespace", errno, &sysctls);
            assert!(line.contains(named), "{errno} with {sysctls:?}: {line}");
            assert!(!line.contains('\n'), "{line}");
        }
    }
}
