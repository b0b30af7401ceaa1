//! The /etc/hosts of a running container, whose lines about links are rewritten in place.
//!
//! In place, because the container's programs see the file by a mount and may hold it open. It is found from the directory
//! that was mounted before the container's command began, whatever has been mounted, linked or rooted there since: the
//! container's user is ours, but its programs shall not make us write elsewhere, nor wait. Other lines stay as they are.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;

use crate::network::links::replace_lines;

/// A container's hosts file.
#[derive(Debug)]
pub(super) struct HostsFile {
    way: Way,
    /// The lines about links that are in it.
    lines: Mutex<Vec<String>>,
}

/// How to come to it.
#[derive(Debug)]
enum Way {
    /// It lies in this directory.
    Directory(OwnedFd),
    /// It is bound over the host's.
    File(OwnedFd),
}

impl HostsFile {
    /// That of process `pid`, which has not become the container's command yet; with these `lines` about links in it.
    pub(super) fn of(pid: i32, lines: Vec<String>) -> io::Result<Self> {
        let path = format!("/proc/{pid}/root/etc");
        let etc = open(
            path.as_str(),
            OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        let way = match open_in(&etc, OFlag::O_PATH) {
            Ok(_) => Way::Directory(etc),
            // Another file system: the file is a mount of its own.
            Err(nix::Error::EXDEV) => {
                let path = format!("{path}/hosts");
                Way::File(open(path.as_str(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?)
            }
            Err(errno) => return Err(errno.into()),
        };
        Ok(Self {
            way,
            lines: Mutex::new(lines),
        })
    }

    /// Sees to it that these lines about links are in it, and no others.
    pub(super) fn tell(&self, lines: Vec<String>) {
        let mut known = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if *known == lines {
            return;
        }
        match self.rewrite(&known, &lines) {
            Ok(()) => *known = lines,
            // What the container has made of its file is its own affair.
            Err(error) => tracing::debug!(%error, "a container's hosts file was not rewritten"),
        }
    }

    fn rewrite(&self, old: &[String], new: &[String]) -> io::Result<()> {
        let file = self.open()?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file any more"));
        }
        let mut text = String::new();
        if (&file).take(MOST_BYTES).read_to_string(&mut text)? as u64 == MOST_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let text = replace_lines(&text, old, new);
        // Never empty in between, for whoever reads meanwhile.
        file.write_all_at(text.as_bytes(), 0)?;
        file.set_len(text.len() as u64)
    }

    fn open(&self) -> io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let opened = match &self.way {
            Way::Directory(etc) => open_in(etc, flags),
            Way::File(file) => {
                let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                open(path.as_str(), flags | OFlag::O_CLOEXEC, Mode::empty())
            }
        };
        Ok(File::from(opened?))
    }
}

fn open_in(directory: impl AsFd, flags: OFlag) -> nix::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(resolve);
    openat2(directory, "hosts", how)
}

/// Bytes that the file may have; ours has some hundred.
const MOST_BYTES: u64 = 1024 * 1024;
