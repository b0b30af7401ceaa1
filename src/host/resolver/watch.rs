//! Whether a file may have changed, asked of inotify(7).
//!
//! resolv.conf is often a link to a file that is replaced, and in containers a file bound over another. So the folder of
//! the path and of each link behind it is watched for that name, and the file itself besides. There is no task:
//! whoever wants to know reads the descriptor, which costs less than a microsecond when nothing has happened, or waits
//! until something has.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::sys::readiness::readable;

/// A watched file. When it has changed, make a new one: its links may lead elsewhere.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: Inotify,
    /// Of the file and its links, each in its folder.
    names: BTreeSet<OsString>,
}

impl Watch {
    /// Fails where the user has used up its instances (max_user_instances), for one.
    pub(super) fn on(file: &Path) -> nix::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut names = BTreeSet::new();
        let mut link = file.to_owned();
        for _ in 0..MAX_LINKS {
            let (Some(folder), Some(name)) = (link.parent(), link.file_name()) else {
                break;
            };
            names.insert(name.to_owned());
            // A folder that is not there yet: whoever wants to know has to look from time to time as well.
            let _ = inotify.add_watch(folder, in_folder());
            let Ok(target) = fs::read_link(&link) else { break };
            link = resolved(folder, target);
        }
        // It follows links and mounts.
        let _ = inotify.add_watch(file, on_file());
        Ok(Self { inotify, names })
    }

    /// Waits until something has happened, in a tokio runtime.
    pub(super) async fn changed(&self) -> io::Result<()> {
        loop {
            readable(self.inotify.as_fd()).await?;
            if self.has_changed() {
                return Ok(());
            }
        }
    }

    /// Whether something has happened since it was made, or last asked.
    pub(super) fn has_changed(&self) -> bool {
        let mut changed = false;
        loop {
            match self.inotify.read_events() {
                // No name: the file itself, a folder that has gone, or a queue that ran over.
                Ok(events) => {
                    changed |= events
                        .iter()
                        .any(|event| event.name.as_ref().is_none_or(|name| self.names.contains(name)));
                }
                Err(Errno::EINTR) => {}
                Err(_) => return changed,
            }
        }
    }
}

fn resolved(folder: &Path, target: PathBuf) -> PathBuf {
    // An absolute target replaces the folder.
    folder.join(target)
}

/// What puts another file in place of a name, or an end to writing it.
fn in_folder() -> AddWatchFlags {
    AddWatchFlags::IN_ONLYDIR
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
}

fn on_file() -> AddWatchFlags {
    AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF
}

/// MAXSYMLINKS of linux/namei.h.
const MAX_LINKS: usize = 40;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// What is done in the folder is seen; then everything is quiet again.
    fn sees(folder: &Path, what: &str, act: impl FnOnce(&Path)) {
        let watch = Watch::on(&folder.join("resolv.conf")).unwrap();
        assert!(!watch.has_changed(), "before: {what}");
        act(folder);
        assert!(watch.has_changed(), "{what}");
        assert!(!watch.has_changed(), "twice: {what}");
    }

    #[test]
    fn every_way_to_change_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::create_dir(folder.join("run")).unwrap();
        fs::write(folder.join("run/stub.conf"), "1").unwrap();
        sees(folder, "made", |at| {
            symlink("run/link.conf", at.join("resolv.conf")).unwrap()
        });
        sees(folder, "its target made", |at| {
            symlink(at.join("run/stub.conf"), at.join("run/link.conf")).unwrap();
        });
        sees(folder, "written two links on", |at| {
            fs::write(at.join("run/stub.conf"), "2").unwrap()
        });
        sees(folder, "replaced two links on", |at| {
            fs::write(at.join("run/new"), "3").unwrap();
            fs::rename(at.join("run/new"), at.join("run/stub.conf")).unwrap();
        });
        sees(folder, "replaced by a file", |at| {
            fs::write(at.join("new"), "4").unwrap();
            fs::rename(at.join("new"), at.join("resolv.conf")).unwrap();
        });
        sees(folder, "written", |at| fs::write(at.join("resolv.conf"), "5").unwrap());
        sees(folder, "deleted", |at| fs::remove_file(at.join("resolv.conf")).unwrap());
    }

    #[test]
    fn what_happens_beside_it_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("resolv.conf");
        fs::write(&file, "1").unwrap();
        let watch = Watch::on(&file).unwrap();
        fs::write(folder.path().join("hosts"), "1").unwrap();
        fs::read(&file).unwrap();
        assert!(!watch.has_changed());
    }

    #[test]
    fn links_in_a_circle_come_to_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("resolv.conf");
        symlink("resolv.conf", &file).unwrap();
        assert!(!Watch::on(&file).unwrap().has_changed());
    }
}
