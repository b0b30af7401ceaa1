//! The file of a namespace, by whose end we end: watched by its folder, and by descriptors alone, for whoever waits may
//! be confined to where the path leads nowhere.
//!
//! inotify(7) tells at once when the name goes from its folder, and costs nothing until then. Where it is not to be had,
//! for its instances run out, the name is looked at ten times a second: podman starts a container again as soon as it has
//! stopped it, and wants its ports.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use nix::sys::stat::fstatat;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use crate::sys::pidfd::PidFd;
use crate::sys::readiness::readable;

/// A name in a folder.
#[derive(Debug)]
pub struct Watch {
    folder: File,
    name: OsString,
    inotify: Option<Inotify>,
}

impl Watch {
    /// Watches the last name of `path`, as it is: not what a link there leads to.
    pub fn on(path: &Path) -> io::Result<Self> {
        let (folder, name) = split(path).ok_or(io::ErrorKind::InvalidInput)?;
        // Nothing but a hold on the folder: nobody reads, or goes on from there.
        let folder = File::options()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(folder)?;
        let inotify = told_of(path);
        if let Err(error) = &inotify {
            tracing::debug!(%error, "the namespace's path is looked at, now and then");
        }
        Ok(Self {
            folder,
            name: name.to_owned(),
            inotify: inotify.ok(),
        })
    }

    /// Returns when the name is gone. Only what says so for sure ends it.
    pub async fn gone(&self) {
        let Ok(first) = self.look() else { return };
        if let Some(inotify) = &self.inotify {
            while readable(inotify.as_fd()).await.is_ok() {
                if self.is_told(inotify) {
                    return;
                }
            }
        }
        loop {
            match self.look() {
                Ok(now) if first.is_none_or(|first| now.is_none_or(|now| now == first)) => {}
                Ok(_) | Err(Gone) => return,
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Whether what has happened in the folder is the end of the name.
    fn is_told(&self, inotify: &Inotify) -> bool {
        let events = inotify.read_events().unwrap_or_default();
        events.iter().any(|event| self.ends(event))
    }

    fn ends(&self, event: &InotifyEvent) -> bool {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            return self.look().is_err();
        }
        match &event.name {
            Some(name) => *name == self.name,
            // Of the folder itself: it has gone, or leads elsewhere.
            None => true,
        }
    }

    /// Which file has the name now; not known where something keeps us from looking, which says nothing about it.
    fn look(&self) -> Result<Option<(u64, u64)>, Gone> {
        match fstatat(&self.folder, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some((found.st_dev, found.st_ino))),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ESRCH) => Err(Gone),
            Err(_) => Ok(None),
        }
    }
}

/// Nothing has the name.
struct Gone;

/// The process whose end is that of `path`, if it is one of a process's files in /proc, where nothing is told.
pub fn process_of(path: &Path) -> Option<PidFd> {
    let folder = fs::canonicalize(split(path)?.0).ok()?;
    let on_proc = fstatfs(File::open(&folder).ok()?).is_ok_and(|found| found.filesystem_type() == PROC_SUPER_MAGIC);
    let pid = folder
        .strip_prefix("/proc")
        .ok()?
        .iter()
        .next()?
        .to_str()?
        .parse()
        .ok()?;
    PidFd::open(pid).ok().filter(|_| on_proc)
}

fn told_of(path: &Path) -> nix::Result<Inotify> {
    let (folder, _) = split(path).ok_or(Errno::EINVAL)?;
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let ends = AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM;
    let of_folder = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
    inotify.add_watch(&folder, ends | of_folder | AddWatchFlags::IN_ONLYDIR)?;
    Ok(inotify)
}

fn split(path: &Path) -> Option<(PathBuf, &OsStr)> {
    let folder = path.parent()?;
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    Some((folder.to_owned(), path.file_name()?))
}

/// Between two looks, where nothing is told.
const PERIOD: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(without_inotify: bool) -> (tempfile::TempDir, PathBuf, Watch) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("netns");
        fs::write(&path, "").unwrap();
        let mut watch = Watch::on(&path).unwrap();
        assert!(watch.inotify.is_some());
        if without_inotify {
            watch.inotify = None;
        }
        (folder, path, watch)
    }

    async fn ends(watch: &Watch) -> bool {
        tokio::time::timeout(4 * PERIOD, watch.gone()).await.is_ok()
    }

    #[tokio::test]
    async fn a_name_that_goes_is_gone() {
        for without_inotify in [false, true] {
            let (folder, path, watch) = watched(without_inotify);
            fs::write(folder.path().join("other"), "").unwrap();
            fs::remove_file(folder.path().join("other")).unwrap();
            assert!(!ends(&watch).await, "another's end is not its own");
            tokio::join!(watch.gone(), async {
                tokio::time::sleep(PERIOD / 10).await;
                fs::remove_file(&path).unwrap();
            });
            assert!(ends(&watch).await, "and it stays gone");
        }
    }

    #[tokio::test]
    async fn another_file_of_that_name_is_another() {
        for without_inotify in [false, true] {
            let (folder, path, watch) = watched(without_inotify);
            let other = folder.path().join("other");
            fs::write(&other, "").unwrap();
            tokio::join!(watch.gone(), async {
                tokio::time::sleep(PERIOD / 10).await;
                if without_inotify {
                    fs::rename(&other, &path).unwrap();
                } else {
                    fs::remove_file(&path).unwrap();
                    fs::write(&path, "").unwrap();
                }
            });
        }
    }

    #[tokio::test]
    async fn goes_with_its_folder() {
        for without_inotify in [false, true] {
            let (folder, path, watch) = watched(without_inotify);
            fs::remove_file(path).unwrap();
            fs::remove_dir(folder.path()).unwrap();
            assert!(ends(&watch).await);
        }
    }

    #[test]
    fn what_keeps_us_from_looking_is_no_answer() {
        let folder = tempfile::tempdir().unwrap();
        let watch = Watch::on(&folder.path().join("x".repeat(300))).unwrap();
        assert!(matches!(watch.look(), Ok(None)), "ENAMETOOLONG");
    }

    #[test]
    fn a_process_stands_for_its_files() {
        let own = format!("/proc/{}/ns/net", std::process::id());
        assert!(process_of(Path::new(&own)).is_some());
        assert!(process_of(Path::new("/proc/self/ns/net")).is_some());
        assert!(process_of(Path::new("/proc/sys/kernel")).is_none());
        assert!(process_of(Path::new("/tmp/netns")).is_none());
    }
}
