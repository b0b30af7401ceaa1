//! A network on disk: the lock that makes its helper the only one, and `state.json` for whoever asks while it runs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ipnetwork::{Ipv4Network, Ipv6Network};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::place::{Place, Root};
use crate::api::types::NetworkOptions;

/// What `state.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The network's name.
    pub name: String,
    /// Its settings, as asked for.
    pub options: NetworkOptions,
    /// Its subnet.
    pub subnet: Ipv4Network,
    /// Its IPv6 subnet.
    #[serde(default)]
    pub subnet6: Option<Ipv6Network>,
    /// Process id of the helper.
    pub helper_pid: i32,
}

/// The lock of a network, or of the root; given back when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock at `path`; `None` when somebody else has it.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        Self::acquire(path, FlockArg::LockExclusiveNonblock)
    }

    /// Takes the lock at `path`, waiting for whoever has it.
    pub fn wait(path: &Path) -> io::Result<Self> {
        loop {
            if let Some(lock) = Self::acquire(path, FlockArg::LockExclusive)? {
                return Ok(lock);
            }
        }
    }

    /// Gives it back and removes its file.
    pub fn remove(self) {
        // While we hold it: whoever opened the file before finds it gone and makes another (see `acquire`).
        let _ = fs::remove_file(&self.path);
    }

    fn acquire(path: &Path, how: FlockArg) -> io::Result<Option<Self>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let file = match Flock::lock(file, how) {
            Ok(file) => file,
            Err((_, nix::errno::Errno::EWOULDBLOCK | nix::errno::Errno::EINTR)) => return Ok(None),
            Err((_, errno)) => return Err(errno.into()),
        };
        // The holder before us may have removed the file that we opened.
        let current = fs::metadata(path).ok().map(|metadata| metadata.ino());
        Ok((current == Some(file.metadata()?.ino())).then(|| Self {
            _file: file,
            path: path.to_owned(),
        }))
    }
}

/// Writes the state of a network; whoever reads sees the old or the new, never a half.
pub fn save(place: &Place, saved: &Saved) -> io::Result<()> {
    let target = place.state();
    let draft = target.with_extension("json.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(&serde_json::to_vec_pretty(saved)?)?;
    file.sync_all()?;
    fs::rename(&draft, &target)
}

/// The state of a network; `None` when there is none that can be read.
pub fn load(place: &Place) -> Option<Saved> {
    serde_json::from_slice(&fs::read(place.state()).ok()?).ok()
}

/// The other networks of this user whose helper runs.
pub fn running(root: &Root) -> Vec<Saved> {
    root.networks()
        .iter()
        .map(|name| root.place(name))
        .filter(is_running)
        .filter_map(|place| load(&place))
        .collect()
}

/// Whether a network's helper runs: it holds the lock. Looking makes no file, and two who look at once don't take each
/// other for a helper.
pub fn is_running(place: &Place) -> bool {
    let Ok(file) = File::open(place.lock()) else {
        return false;
    };
    matches!(
        Flock::lock(file, FlockArg::LockSharedNonblock),
        Err((_, nix::errno::Errno::EWOULDBLOCK))
    )
}

/// Removes everything of a network but its log.
pub fn clear(place: &Place, lock: Lock) {
    let Ok(entries) = fs::read_dir(place.path()) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        if entry.path() != place.log() && entry.path() != place.lock() {
            let _ = fs::remove_file(entry.path());
        }
    }
    lock.remove();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, Root) {
        let scratch = tempfile::tempdir().unwrap();
        let root = Root::choose(Some(&scratch.path().join("run")), None);
        root.make().unwrap();
        root.place("gp0").make().unwrap();
        (scratch, root)
    }

    #[test]
    fn a_lock_has_one_holder() {
        let (_scratch, root) = scratch();
        let path = root.place("gp0").lock();
        let lock = Lock::take(&path).unwrap().unwrap();
        assert!(Lock::take(&path).unwrap().is_none());
        assert!(is_running(&root.place("gp0")));
        drop(lock);
        let other = Flock::lock(File::open(&path).unwrap(), FlockArg::LockSharedNonblock).unwrap();
        assert!(!is_running(&root.place("gp0")), "somebody else who looks is no helper");
        drop(other);
        Lock::take(&path).unwrap().unwrap().remove();
        assert!(!is_running(&root.place("gp0")));
        assert!(!path.exists(), "looking leaves nothing");
        assert!(Lock::take(&path).unwrap().is_some());
    }

    #[test]
    fn nothing_stays_but_the_log() {
        let (_scratch, root) = scratch();
        let place = root.place("gp0");
        let lock = Lock::take(&place.lock()).unwrap().unwrap();
        let saved = Saved {
            name: "gp0".to_owned(),
            options: NetworkOptions::default(),
            subnet: "172.17.0.0/16".parse().unwrap(),
            subnet6: Some("fd00:9::/64".parse().unwrap()),
            helper_pid: 1,
        };
        save(&place, &saved).unwrap();
        fs::write(place.log(), "hello\n").unwrap();
        assert_eq!(load(&place), Some(saved.clone()));
        assert_eq!(running(&root), [saved]);
        clear(&place, lock);
        let left: Vec<_> = fs::read_dir(place.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["log"]);
    }
}
