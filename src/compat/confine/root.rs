//! An empty root: a small tmpfs with `/etc` and, where the resolver file really is elsewhere, that directory.
//!
//! Sources: mount_namespaces(7), pivot_root(2), proc_pid_mountinfo(5), capabilities(7).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::unistd::{chdir, chroot, getegid, geteuid, pivot_root};

use super::{Cell, ConfineError};
use crate::sys::capabilities;

/// Leaves the file system and all privilege but one.
pub(super) fn leave(userns: Option<OwnedFd>) -> Result<(), ConfineError> {
    if let Some(userns) = userns
        && !geteuid().is_root()
    {
        join(userns)?;
    }
    pivot(true, false)?;
    capabilities::keep_only_low_ports().map_err(ConfineError::Capabilities)
}

/// The same for a [`Cell`].
pub(super) fn enter(cell: Cell, userns: Option<OwnedFd>) -> Result<(), ConfineError> {
    let privileged = capabilities::has_sys_admin().map_err(ConfineError::Capabilities)?;
    match userns {
        _ if privileged => {}
        Some(userns) => join(userns)?,
        None => own_user_namespace().map_err(ConfineError::UserNamespace)?,
    }
    pivot(cell.resolver_file, cell.may_chroot)?;
    match privileged {
        true if cell.another_user => capabilities::keep_low_ports_and_users(),
        true => capabilities::keep_only_low_ports(),
        // It was good for this alone.
        false => capabilities::keep_none(),
    }
    .map_err(ConfineError::Capabilities)
}

/// To a new root, in a mount namespace of our own.
fn pivot(resolver_file: bool, may_chroot: bool) -> Result<(), ConfineError> {
    step("unshare new mount namespace", unshare(CloneFlags::CLONE_NEWNS))?;
    // Nothing of this is seen by others, and nothing of theirs comes in.
    let everything = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    step(
        "remount / private",
        mount_at(None, Path::new("/"), None, everything, None),
    )?;
    let folders = if resolver_file { folders() } else { Ok(Vec::new()) };
    let folders = folders.map_err(|error| ConfineError::Root("find /etc/resolv.conf", error))?;
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    step(
        "mount tmpfs on /tmp",
        mount_at(Some("tmpfs"), Path::new(NEW_ROOT), Some("tmpfs"), safe, Some(TMPFS)),
    )?;
    for (folder, opened) in folders {
        bind(&folder, opened.as_ref()).map_err(|error| ConfineError::Root("bind a directory", error))?;
    }
    set_read_only().map_err(|error| ConfineError::Root("remount / as read-only", error))?;
    step("chdir to /tmp", chdir(NEW_ROOT))?;
    match pivot_root(".", ".") {
        // Nobody has the privilege to leave it, nor a call to (chroot(2), fchdir(2)), once the rest is given up, too.
        Err(Errno::EINVAL) if may_chroot => step("chroot to /tmp", chroot("."))?,
        pivoted => {
            step("pivot_root to /tmp", pivoted)?;
            // The old root has come to lie over the new one, and goes (pivot_root(2), NOTES).
            step("umount the old root", umount2(".", MntFlags::MNT_DETACH))?;
        }
    }
    step("chdir to /", chdir("/"))
}

/// A user namespace in which there is nobody but ourselves, by the same number (user_namespaces(7)).
fn own_user_namespace() -> io::Result<()> {
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// Its root is the container's, who could trace what comes in if it did not hide (ptrace(2), "access mode checking").
fn join(userns: OwnedFd) -> Result<(), ConfineError> {
    step("hide from its root", prctl::set_dumpable(false))?;
    match setns(userns, CloneFlags::CLONE_NEWUSER) {
        // We are in it already.
        Ok(()) | Err(nix::Error::EINVAL) => Ok(()),
        Err(errno) => Err(ConfineError::UserNamespace(errno.into())),
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

/// The new root and all that is mounted in it, each for itself: a flag does not reach what lies below.
fn set_read_only() -> io::Result<()> {
    let all = fs::read_to_string("/proc/self/mountinfo")?;
    // How a file's times are kept stays as it is when nothing is said of it.
    let safe = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    for point in points_below(&all, NEW_ROOT) {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | safe;
        mount_at(None, Path::new(&point), None, flags, None)?;
    }
    Ok(())
}

/// Where the last mount at `root` and those in it are, of what proc_pid_mountinfo(5) lists.
fn points_below(mountinfo: &str, root: &str) -> Vec<String> {
    let mounts: Vec<_> = mountinfo.lines().filter_map(Mount::parse).collect();
    let Some(top) = mounts.iter().rfind(|mount| mount.point == root) else {
        return Vec::new();
    };
    let mut known = BTreeSet::from([top.id]);
    // A mount may be listed before the one that it is in, if that was moved.
    while let Some(more) = mounts
        .iter()
        .find(|mount| known.contains(mount.parent) && !known.contains(mount.id))
    {
        known.insert(more.id);
    }
    let below = mounts.iter().filter(|mount| known.contains(mount.id));
    below.map(|mount| mount.point.clone()).collect()
}

/// A line of mountinfo, as far as it is needed.
#[derive(Debug)]
struct Mount<'m> {
    id: &'m str,
    parent: &'m str,
    point: String,
}

impl<'m> Mount<'m> {
    fn parse(line: &'m str) -> Option<Self> {
        let mut fields = line.split(' ');
        let (id, parent, point) = (fields.next()?, fields.next()?, fields.nth(2)?);
        // What would break the line is written in octal.
        let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
        let point = escapes
            .iter()
            .fold(point.to_owned(), |point, (octal, byte)| point.replace(octal, byte));
        Some(Self { id, parent, point })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_the_new_root_and_no_others() {
        let mountinfo = "\
20 1 254:0 / / rw - ext4 /dev/root rw
31 20 0:30 / /tmp rw - tmpfs old rw
32 31 0:31 / /tmp/hidden rw - tmpfs x rw
42 31 0:40 / /tmp rw - tmpfs new rw
44 43 254:0 /a\\040b /tmp/etc/a\\040b rw - ext4 /dev/root rw
43 42 254:0 /etc /tmp/etc rw - ext4 /dev/root rw
";
        assert_eq!(points_below(mountinfo, "/tmp"), ["/tmp", "/tmp/etc/a b", "/tmp/etc"]);
        assert!(points_below(mountinfo, "/srv").is_empty());
    }
}
