//! Where a network keeps its socket, lock, state and logs.
//!
//! One directory a network, below `$XDG_RUNTIME_DIR/gangplank` or, without it, `/tmp/gangplank-<uid>`; both 0700 and
//! refused when they belong to somebody else, are open to others, or are symbolic links planted in our way.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

/// The directory of every network of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(PathBuf);

/// The directory of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    directory: PathBuf,
}

/// Why a directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// It could not be made or looked at.
    #[error("{}: {source}; give another with --runtime-dir", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A link or a file stands there.
    #[error("{} is not a directory (links are not followed here); remove it or give another with --runtime-dir", .0.display())]
    NotADirectory(PathBuf),
    /// It is somebody else's.
    #[error("{} is owned by uid {owner}, not by you (uid {us}); give another with --runtime-dir", path.display())]
    NotOurs {
        /// Which.
        path: PathBuf,
        /// Whose.
        owner: u32,
        /// Ours.
        us: u32,
    },
    /// Others may look or write.
    #[error("{} is open to other users (mode {mode:04o}); chmod 700 it", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl Root {
    /// The root to use: what was asked for, or the user's runtime directory.
    pub fn choose(asked: Option<&Path>, xdg_runtime_dir: Option<&OsStr>) -> Self {
        if let Some(asked) = asked {
            return Self(std::path::absolute(asked).unwrap_or_else(|_| asked.to_owned()));
        }
        match xdg_runtime_dir.map(Path::new) {
            // The XDG base directory specification: a relative path is to be ignored, and the user must own it. Root by
            // way of su(1) still has the user's, and what root leaves there shuts the user out.
            Some(directory) if directory.is_absolute() && is_our_directory(directory) => {
                Self(directory.join("gangplank"))
            }
            Some(_) | None => Self(PathBuf::from(format!("/tmp/gangplank-{}", Uid::effective()))),
        }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes sure that it, and the place of `network` in it, are ours alone, as far as they are there.
    pub fn check(&self, network: &str) -> Result<(), PlaceError> {
        for path in [&self.0, &self.place(network).directory] {
            if fs::symlink_metadata(path).is_ok() {
                check(path)?;
            }
        }
        Ok(())
    }

    /// Makes it if it isn't there, and makes sure that it is ours alone.
    pub fn make(&self) -> Result<(), PlaceError> {
        make(&self.0)
    }

    /// The place of a network.
    pub fn place(&self, network: &str) -> Place {
        Place {
            directory: self.0.join(network),
        }
    }

    /// Names of the networks that have a place, sorted.
    pub fn networks(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.0) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }
}

impl Place {
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Makes it if it isn't there, and makes sure that it is ours alone.
    pub fn make(&self) -> Result<(), PlaceError> {
        make(&self.directory)
    }

    /// The API's socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("api.sock")
    }

    /// Held by the running helper.
    pub fn lock(&self) -> PathBuf {
        self.directory.join("lock")
    }

    /// What the network is.
    pub fn state(&self) -> PathBuf {
        self.directory.join("state.json")
    }

    /// What the helper and the agent have to say; stays behind.
    pub fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Where the output of a detached container goes.
    pub fn container_log(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.log"))
    }
}

fn is_our_directory(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == Uid::effective().as_raw())
}

fn make(path: &Path) -> Result<(), PlaceError> {
    let unusable = |source| PlaceError::Unusable {
        path: path.to_owned(),
        source,
    };
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(unusable(error)),
    }
    check(path)
}

fn check(path: &Path) -> Result<(), PlaceError> {
    let metadata = fs::symlink_metadata(path).map_err(|source| PlaceError::Unusable {
        path: path.to_owned(),
        source,
    })?;
    let us = Uid::effective().as_raw();
    if !metadata.is_dir() {
        return Err(PlaceError::NotADirectory(path.to_owned()));
    }
    if metadata.uid() != us {
        return Err(PlaceError::NotOurs {
            path: path.to_owned(),
            owner: metadata.uid(),
            us,
        });
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(PlaceError::Open {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_relative_runtime_directory_is_ignored() {
        let root = Root::choose(None, Some(OsStr::new("run/user")));
        assert_eq!(root.path(), Path::new(&format!("/tmp/gangplank-{}", Uid::effective())));
    }

    #[test]
    fn another_users_runtime_directory_is_ignored() {
        let ours = tempfile::tempdir().unwrap();
        let root = Root::choose(None, Some(ours.path().as_os_str()));
        assert_eq!(root.path(), ours.path().join("gangplank"));
        // Of root for everybody else, and of nobody in particular for root.
        let other = if Uid::effective().is_root() {
            nix::unistd::chown(ours.path(), Some(Uid::from_raw(61_000)), None).unwrap();
            ours.path()
        } else {
            Path::new("/")
        };
        let root = Root::choose(None, Some(other.as_os_str()));
        assert_eq!(root.path(), Path::new(&format!("/tmp/gangplank-{}", Uid::effective())));
    }

    #[test]
    fn links_and_open_directories_are_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let link = scratch.path().join("link");
        symlink(scratch.path(), &link).unwrap();
        assert!(matches!(
            Root(link.clone()).check("gp0"),
            Err(PlaceError::NotADirectory(_))
        ));
        assert!(matches!(Root(link).make(), Err(PlaceError::NotADirectory(_))));
        assert!(Root(scratch.path().join("absent")).check("gp0").is_ok());

        let open = scratch.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Root(open).make(), Err(PlaceError::Open { mode: 0o755, .. })));

        let ours = Root(scratch.path().join("ours"));
        ours.make().unwrap();
        ours.place("gp0").make().unwrap();
        assert_eq!(ours.networks(), ["gp0"]);
    }
}
