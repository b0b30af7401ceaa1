//! Network namespaces of others: opened safely, identified, and placed relative to the network's own.
//!
//! A namespace is what its file's device and inode numbers say (namespaces(7)); neither pid nor path is an identity.
//! Opening never waits (a FIFO in place of a namespace), never trusts a pid that may have been reused (the pidfd comes
//! first), and tells the cases apart that a user can do something about. Called by the helper before it attaches, and
//! by the agent to find the processes it must end.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::sched::CloneFlags;
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};
use nix::unistd::{Pid, geteuid};
use serde::{Deserialize, Serialize};

use crate::sys;
use crate::sys::pidfd::PidFd;

/// An opened namespace; it lives at least as long as this.
#[derive(Debug)]
pub struct Namespace {
    fd: OwnedFd,
    identity: Identity,
}

/// What tells namespaces apart while they live; the numbers of one that is gone may be given out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Device number of nsfs.
    pub device: u64,
    /// Inode number there, as `readlink /proc/PID/ns/net` shows it.
    pub inode: u64,
}

/// How a network namespace is related to the network, which decides how it can be attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinship {
    /// Owned by the network's user namespace or one below: a veth reaches it.
    Descendant,
    /// Owned by another user namespace of ours: only a process that joins it can make an interface there.
    Sibling,
    /// The namespace that this process itself is in, the host's as far as we are concerned.
    Host,
    /// Somebody else's.
    Foreign,
}

/// Why a namespace can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No process has this pid.
    #[error("no process has pid {0}; is the container still running?")]
    NoProcess(i32),
    /// The process is another user's, or more privileged than we are.
    #[error("process {0} belongs to another user; only namespaces of your own processes can be attached")]
    OthersProcess(i32),
    /// The process is ours and lets nobody join it (prctl(2), PR_SET_DUMPABLE), as crun's does until its command runs.
    #[error("process {0} is closed, even to you, as a runtime's is until its command runs; start the command first")]
    ClosedProcess(i32),
    /// Not a process id at all.
    #[error("{0} is no process id; it is the number that `ps` shows for the container's first process")]
    NotAPid(i32),
    /// Nothing is at the path.
    #[error("{0}: no such file; is the namespace still there?")]
    NoFile(PathBuf),
    /// The path is not for us.
    #[error("{0}: permission denied")]
    Forbidden(PathBuf),
    /// The path leads to a file, directory, pipe or the like.
    #[error("{0} is no namespace; give a file like /proc/PID/ns/{kind} or one bound from it", kind = .1)]
    NotANamespace(PathBuf, &'static str),
    /// Anything else.
    #[error("{what}: {source}")]
    Io {
        /// Pid or path.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Namespace {
    /// The network namespace of a process, and the process to watch.
    pub fn of_process(pid: i32) -> Result<(Self, PidFd), OpenError> {
        let failed = |source: io::Error| process_error(pid, source);
        if pid <= 0 {
            return Err(OpenError::NotAPid(pid));
        }
        let process = PidFd::open(pid).map_err(failed)?;
        let file = File::open(format!("/proc/{pid}/ns/net")).map_err(failed)?;
        // Still alive now, so the pid was not reused in between and the file is of this very process.
        if process.has_ended().map_err(failed)? {
            return Err(OpenError::NoProcess(pid));
        }
        let namespace = Self::from_fd(file.into()).map_err(failed)?;
        Ok((namespace, process))
    }

    /// The network namespace that a file stands for.
    pub fn net_at(path: &Path) -> Result<Self, OpenError> {
        Self::at(path, CloneFlags::CLONE_NEWNET, "net")
    }

    /// The user namespace that a file stands for.
    pub fn user_at(path: &Path) -> Result<Self, OpenError> {
        Self::at(path, CloneFlags::CLONE_NEWUSER, "user")
    }

    /// Takes over the descriptor of a namespace.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let file = File::from(fd);
        let identity = Identity::of(&file.metadata()?);
        Ok(Self {
            fd: file.into(),
            identity,
        })
    }

    /// What tells it from others.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The user namespace that owns it; EPERM when that is not ours or below ours.
    pub fn owner(&self) -> io::Result<Self> {
        Self::from_fd(sys::namespace::owner(self.as_fd())?)
    }

    /// How this network namespace can be attached to a network whose agent is in `network`, a user namespace.
    pub fn kinship(&self, network: &Self) -> io::Result<Kinship> {
        if self.identity == Identity::of(&fs::metadata("/proc/self/ns/net")?) {
            return Ok(Kinship::Host);
        }
        let Some(owner) = visible(self.owner())? else {
            return Ok(Kinship::Foreign);
        };
        if owner.descends_from(network)? {
            return Ok(Kinship::Descendant);
        }
        let ours = sys::namespace::owner_uid(owner.as_fd())? == geteuid().as_raw();
        Ok(if ours { Kinship::Sibling } else { Kinship::Foreign })
    }

    fn at(path: &Path, wanted: CloneFlags, kind: &'static str) -> Result<Self, OpenError> {
        let failed = |source: io::Error| path_error(path, source);
        let wrong = || OpenError::NotANamespace(path.to_owned(), kind);
        // O_PATH opens nothing but the name: no FIFO waits, no device notices.
        let name = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH)
            .open(path)
            .map_err(failed)?;
        if fstatfs(&name).map_err(|error| failed(error.into()))?.filesystem_type() != NSFS_MAGIC {
            return Err(wrong());
        }
        let file = File::open(sys_path(&name)).map_err(failed)?;
        if sys::namespace::kind(file.as_fd()).map_err(failed)? != wanted {
            return Err(wrong());
        }
        Self::from_fd(file.into()).map_err(failed)
    }

    /// Whether this user namespace is `ancestor` or below it.
    fn descends_from(&self, ancestor: &Self) -> io::Result<bool> {
        if self.identity == ancestor.identity {
            return Ok(true);
        }
        let mut parent = visible(sys::namespace::parent(self.as_fd()).and_then(Self::from_fd))?;
        while let Some(namespace) = parent {
            if namespace.identity == ancestor.identity {
                return Ok(true);
            }
            parent = visible(sys::namespace::parent(namespace.as_fd()).and_then(Self::from_fd))?;
        }
        Ok(false)
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Namespace> for OwnedFd {
    fn from(namespace: Namespace) -> Self {
        namespace.fd
    }
}

impl Identity {
    /// Of a namespace's file.
    pub fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.st_dev(),
            inode: metadata.st_ino(),
        }
    }
}

/// The processes that are in any of these network namespaces, as far as we may see them.
pub fn members(namespaces: &[Identity]) -> io::Result<Vec<Pid>> {
    let mut members = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process that ends meanwhile, or is not ours, is no member that anyone could act on.
        let Ok(metadata) = fs::metadata(format!("/proc/{pid}/ns/net")) else {
            continue;
        };
        if namespaces.contains(&Identity::of(&metadata)) {
            members.push(Pid::from_raw(pid));
        }
    }
    Ok(members)
}

/// `None` for what lies outside of our own user namespace.
fn visible<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(None),
        Err(error) => Err(error),
    }
}

fn sys_path(name: &File) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", name.as_raw_fd()))
}

fn process_error(pid: i32, source: io::Error) -> OpenError {
    match source.raw_os_error() {
        Some(libc::ESRCH | libc::ENOENT) => OpenError::NoProcess(pid),
        Some(libc::EACCES | libc::EPERM) if sys::process::user(pid) == Some(geteuid().as_raw()) => {
            OpenError::ClosedProcess(pid)
        }
        Some(libc::EACCES | libc::EPERM) => OpenError::OthersProcess(pid),
        // pidfd_open(2) says EINVAL for a thread that is not its process's first.
        Some(libc::EINVAL) => OpenError::NotAPid(pid),
        _ => OpenError::Io {
            what: format!("process {pid}"),
            source,
        },
    }
}

fn path_error(path: &Path, source: io::Error) -> OpenError {
    match source.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => OpenError::NoFile(path.to_owned()),
        Some(libc::EACCES | libc::EPERM) => OpenError::Forbidden(path.to_owned()),
        _ => OpenError::Io {
            what: path.display().to_string(),
            source,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn opens_its_own() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let (by_pid, process) = Namespace::of_process(pid).unwrap();
        let by_path = Namespace::net_at(Path::new("/proc/self/ns/net")).unwrap();
        assert_eq!(by_pid.identity(), by_path.identity());
        assert!(!process.has_ended().unwrap());
        assert!(members(&[by_pid.identity()]).unwrap().contains(&Pid::this()));
        assert_eq!(by_path.kinship(&by_path.owner().unwrap()).unwrap(), Kinship::Host);
    }

    #[test]
    fn tells_what_is_no_namespace() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [
            fifo.as_path(),
            file.as_path(),
            dir.path(),
            Path::new("/dev/null"),
            Path::new("/proc/self/ns/user"),
        ] {
            let error = Namespace::net_at(path).unwrap_err();
            assert!(
                matches!(error, OpenError::NotANamespace(..)),
                "{}: {error}",
                path.display()
            );
        }
        let missing = Namespace::net_at(&dir.path().join("missing")).unwrap_err();
        assert!(matches!(missing, OpenError::NoFile(_)), "{missing}");
    }

    #[test]
    fn tells_what_is_no_process() {
        assert!(matches!(Namespace::of_process(0), Err(OpenError::NotAPid(0))));
        assert!(matches!(Namespace::of_process(-1), Err(OpenError::NotAPid(-1))));
        let mut child = Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // First a zombie, then nothing: no namespace either way.
        PidFd::open(pid).unwrap().wait_ended(5000u16).unwrap();
        assert!(matches!(Namespace::of_process(pid), Err(OpenError::NoProcess(_))));
        child.wait().unwrap();
        assert!(matches!(Namespace::of_process(pid), Err(OpenError::NoProcess(_))));
    }
}
