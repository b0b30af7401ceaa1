//! What `doctor` looks at. Reads /proc, /etc/subuid and the environment, opens /dev/net/tun and closes it again, and has
//! namespaces made in a child process; changes nothing.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{Uid, User, getegid, getgroups, getuid};

use super::probe::{self, Probed};

/// A machine as one user sees it. What cannot be read is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The user.
    pub uid: u32,
    /// The effective group, and the others.
    pub groups: Vec<u32>,
    /// user.max_user_namespaces.
    pub max_user_namespaces: Option<u64>,
    /// user.max_net_namespaces.
    pub max_net_namespaces: Option<u64>,
    /// kernel.unprivileged_userns_clone, which only Debian's kernels have.
    pub unprivileged_userns_clone: Option<u64>,
    /// kernel.apparmor_restrict_unprivileged_userns, which Ubuntu has since 23.10.
    pub apparmor_restricts_userns: Option<u64>,
    /// What making a user and a network namespace led to.
    pub namespaces: Result<(), String>,
    /// What opening /dev/net/tun led to.
    pub tun: Result<(), OpenFailure>,
    /// What making a packet socket in the namespaces led to.
    pub packet: Result<(), String>,
    /// net.ipv4.ping_group_range.
    pub ping_group_range: Option<(u32, u32)>,
    /// net.ipv4.ip_unprivileged_port_start.
    pub unprivileged_port_start: Option<u32>,
    /// net.ipv4.ip_local_port_range.
    pub local_port_range: Option<(u32, u32)>,
    /// Whether /etc/subuid has a line for the user.
    pub has_subuid: bool,
    /// $XDG_RUNTIME_DIR.
    pub runtime_dir: RuntimeDir,
    /// Soft and hard limit of open files.
    pub open_files: Option<(u64, u64)>,
}

/// Why /dev/net/tun cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenFailure {
    /// No such file, or no driver behind it.
    Missing,
    /// Its mode, or the devices rule of a cgroup.
    NotPermitted,
    /// The system's words.
    Other(String),
}

/// $XDG_RUNTIME_DIR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuntimeDir {
    /// Not set, or empty.
    Unset,
    /// Set, and no directory is there.
    Missing(PathBuf),
    /// A directory.
    Present {
        /// Where.
        path: PathBuf,
        /// Whose.
        owner: u32,
        /// Permission bits.
        mode: u32,
    },
}

impl Facts {
    /// Looks at the machine.
    pub fn read() -> Self {
        let uid = getuid();
        let Probed { namespaces, packet } = probe::in_a_child();
        Self {
            uid: uid.as_raw(),
            groups: groups(),
            max_user_namespaces: sysctl("user/max_user_namespaces"),
            max_net_namespaces: sysctl("user/max_net_namespaces"),
            unprivileged_userns_clone: sysctl("kernel/unprivileged_userns_clone"),
            apparmor_restricts_userns: sysctl("kernel/apparmor_restrict_unprivileged_userns"),
            namespaces,
            tun: open_tun(),
            packet,
            ping_group_range: sysctl_pair("net/ipv4/ping_group_range"),
            unprivileged_port_start: sysctl("net/ipv4/ip_unprivileged_port_start"),
            local_port_range: sysctl_pair("net/ipv4/ip_local_port_range"),
            has_subuid: has_subuid(uid),
            runtime_dir: runtime_dir(),
            open_files: getrlimit(Resource::RLIMIT_NOFILE).ok(),
        }
    }
}

fn groups() -> Vec<u32> {
    let others = getgroups().unwrap_or_default();
    std::iter::once(getegid())
        .chain(others)
        .map(|group| group.as_raw())
        .collect()
}

fn sysctl<T: FromStr>(name: &str) -> Option<T> {
    std::fs::read_to_string(Path::new("/proc/sys").join(name))
        .ok()?
        .trim()
        .parse()
        .ok()
}

fn sysctl_pair(name: &str) -> Option<(u32, u32)> {
    let text = sysctl::<String>(name)?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn open_tun() -> Result<(), OpenFailure> {
    let opened = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    opened.map(drop).map_err(|error| match error.raw_os_error() {
        // No node, or one without a driver behind it.
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => OpenFailure::Missing,
        Some(libc::EACCES | libc::EPERM) => OpenFailure::NotPermitted,
        _ => OpenFailure::Other(error.to_string()),
    })
}

/// subuid(5): lines of `name-or-uid:first:count`.
fn has_subuid(uid: Uid) -> bool {
    let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
    let text = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
    let mut owners = text.lines().filter_map(|line| line.split(':').next());
    owners.any(|owner| owner == uid.to_string() || Some(owner) == name.as_deref())
}

fn runtime_dir() -> RuntimeDir {
    let Some(path) = std::env::var_os("XDG_RUNTIME_DIR")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
    else {
        return RuntimeDir::Unset;
    };
    match std::fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() => RuntimeDir::Present {
            path,
            owner: found.uid(),
            mode: found.mode() & 0o7777,
        },
        _ => RuntimeDir::Missing(path),
    }
}
