//! An empty root: a small tmpfs with `/etc` and, where the resolver file really is elsewhere, that directory.
//!
//! Sources: mount_namespaces(7), pivot_root(2), mount_setattr(2), capabilities(7).

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{chdir, geteuid, pivot_root};

use super::ConfineError;
use crate::sys::{capabilities, mounts};

/// Leaves the file system and all privilege but one.
pub(super) fn leave(userns: Option<OwnedFd>) -> Result<(), ConfineError> {
    if let Some(userns) = userns
        && !geteuid().is_root()
    {
        join(userns).map_err(ConfineError::UserNamespace)?;
    }
    step("unshare new mount namespace", unshare(CloneFlags::CLONE_NEWNS))?;
    // Nothing of this is seen by others, and nothing of theirs comes in.
    let everything = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    step(
        "remount / private",
        mount_at(None, Path::new("/"), None, everything, None),
    )?;
    let folders = folders().map_err(|error| ConfineError::Root("find /etc/resolv.conf", error))?;
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    step(
        "mount tmpfs on /tmp",
        mount_at(Some("tmpfs"), Path::new(NEW_ROOT), Some("tmpfs"), safe, Some(TMPFS)),
    )?;
    for (folder, opened) in folders {
        bind(&folder, opened.as_ref()).map_err(|error| ConfineError::Root("bind a directory", error))?;
    }
    mounts::set_read_only(Path::new(NEW_ROOT)).map_err(|error| ConfineError::Root("remount / as read-only", error))?;
    step("chdir to /tmp", chdir(NEW_ROOT))?;
    // The old root comes to lie over the new one, and goes (pivot_root(2), NOTES).
    step("pivot_root to /tmp", pivot_root(".", "."))?;
    step("umount the old root", umount2(".", MntFlags::MNT_DETACH))?;
    step("chdir to /", chdir("/"))?;
    capabilities::keep_only_low_ports().map_err(ConfineError::Capabilities)
}

fn join(userns: OwnedFd) -> io::Result<()> {
    match setns(userns, CloneFlags::CLONE_NEWUSER) {
        // We are in it already.
        Ok(()) | Err(nix::Error::EINVAL) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// What is to be seen: directories with what is bound there, opened before anything covers it.
fn folders() -> io::Result<Vec<(PathBuf, Option<File>)>> {
    let etc = PathBuf::from("/etc");
    let mut folders = vec![(etc.clone(), Some(File::open(&etc)?)), (PathBuf::from("/run"), None)];
    // Without a resolver file there is nothing to be seen of it.
    let real = fs::canonicalize(RESOLV_CONF).unwrap_or_else(|_| RESOLV_CONF.into());
    if let Some(folder) = real.parent().filter(|folder| !folder.starts_with(&etc)) {
        folders.push((folder.to_owned(), Some(File::open(folder)?)));
    }
    Ok(folders)
}

fn bind(folder: &Path, opened: Option<&File>) -> io::Result<()> {
    let inside = Path::new(NEW_ROOT).join(folder.strip_prefix("/").unwrap_or(folder));
    fs::create_dir_all(&inside)?;
    let Some(opened) = opened else { return Ok(()) };
    let source = format!("/proc/self/fd/{}", opened.as_raw_fd());
    // What is mounted below belongs to it, and may not be left out (mount_namespaces(7), restrictions).
    let all = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount_at(Some(&source), &inside, None, all, None).map_err(io::Error::from)
}

fn mount_at(
    source: Option<&str>,
    target: &Path,
    kind: Option<&str>,
    flags: MsFlags,
    data: Option<&str>,
) -> nix::Result<()> {
    mount(source, target, kind, flags, data)
}

fn step(what: &'static str, done: nix::Result<()>) -> Result<(), ConfineError> {
    done.map_err(|errno| ConfineError::Root(what, errno.into()))
}

/// Exists everywhere, and nothing in it is needed.
const NEW_ROOT: &str = "/tmp";

/// Room for a few directories and for no file.
const TMPFS: &str = "size=1k,nr_inodes=32,mode=755";

const RESOLV_CONF: &str = "/etc/resolv.conf";
