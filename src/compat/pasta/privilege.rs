//! As whom root serves: nobody, or the user of `--runas`, once everything is set up that needs more.
//!
//! Only for the host's root: that of a user namespace, which podman's is, owns nothing outside and may know no other user.

use std::fs;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, setgid, setgroups, setuid};

/// Why it can't be.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// `--runas` names nobody.
    #[error("Invalid --runas option: {0}")]
    Unknown(String),
    /// Only root can.
    #[error("--runas needs root")]
    NotRoot,
    /// The kernel refused.
    #[error("Can't change to user {0}: {1}")]
    Refused(Uid, &'static str),
}

/// Who is going to serve; none for whoever we are.
pub fn choose(runas: Option<&str>) -> Result<Option<(Uid, Gid)>, PrivilegeError> {
    match runas {
        Some(wanted) => match find(wanted) {
            None => Err(PrivilegeError::Unknown(wanted.to_owned())),
            // Whoever one is already needs no privilege.
            Some(them) if them == (geteuid(), getegid()) && !geteuid().is_root() => Ok(None),
            Some(_) if !geteuid().is_root() => Err(PrivilegeError::NotRoot),
            Some(them) => Ok(Some(them)),
        },
        None if is_the_hosts_root() => Ok(Some(NOBODY)),
        None => Ok(None),
    }
}

/// Becomes them, for good.
pub fn become_them((user, group): (Uid, Gid)) -> Result<(), PrivilegeError> {
    setgroups(&[])
        .and_then(|()| setgid(group))
        .and_then(|()| setuid(user))
        .map_err(|error| PrivilegeError::Refused(user, error.desc()))
}

/// `UID`, `UID:GID`, `LOGIN` or `LOGIN:GROUP`.
fn find(wanted: &str) -> Option<(Uid, Gid)> {
    let (user, group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (wanted, None),
    };
    let (uid, own) = match user.parse() {
        Ok(number) => {
            let known = User::from_uid(Uid::from_raw(number)).ok().flatten();
            (
                Uid::from_raw(number),
                known.map_or(Gid::from_raw(number), |user| user.gid),
            )
        }
        Err(_) => {
            let user = User::from_name(user).ok().flatten()?;
            (user.uid, user.gid)
        }
    };
    let gid = match group.map(|group| (group, group.parse())) {
        None => own,
        Some((_, Ok(number))) => Gid::from_raw(number),
        Some((group, Err(_))) => Group::from_name(group).ok().flatten()?.gid,
    };
    Some((uid, gid))
}

/// All users exist here, so this is the first user namespace (user_namespaces(7)).
fn is_the_hosts_root() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let numbers: Vec<&str> = map.split_ascii_whitespace().collect();
    geteuid().is_root() && numbers == ["0", "0", "4294967295"]
}

/// The user and group that own nothing.
const NOBODY: (Uid, Gid) = (Uid::from_raw(65_534), Gid::from_raw(65_534));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_without_privilege() {
        let (user, group) = (geteuid(), getegid());
        let itself = choose(Some(&format!("{user}:{group}"))).unwrap();
        let other = choose(Some(&format!("{user}:{}", group.as_raw() + 1)));
        if user.is_root() {
            assert_eq!(itself, Some((user, group)));
            assert!(other.is_ok());
        } else {
            assert_eq!(itself, None);
            assert!(matches!(other, Err(PrivilegeError::NotRoot)));
        }
        assert!(matches!(choose(Some("no such user")), Err(PrivilegeError::Unknown(_))));
    }
}
