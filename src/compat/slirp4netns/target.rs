//! Whom to serve: from what was said to a line into that namespace.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::complain;
use super::options::{Options, Target};
use crate::compat::slirp4netns::network;
use crate::netns::line::{self, LineError, LineSpec};
use crate::sys::process;
use crate::sys::tun::{Attached, OffloadBits, TapError};

/// Why nobody can be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    /// A namespace's file can't be opened.
    #[error("{}: {reason}", path.display())]
    Open { path: PathBuf, reason: &'static str },
    /// The descriptor that was named is not open.
    #[error("tapfd {0}: {1}")]
    Descriptor(RawFd, String),
    /// It is not a TAP's.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// The TAP can't be had.
    #[error(transparent)]
    Line(#[from] LineError),
}

/// A namespace's TAP, and the user namespace that gives privilege over it.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) line: Attached,
    pub(super) userns: Option<OwnedFd>,
}

/// Opens the line. The process must have a single thread.
pub(super) fn serve(options: &Options) -> Result<Served, TargetError> {
    let (userns, netns, tap) = match &options.target {
        Target::Descriptor(number) => {
            let fd = process::adopt(*number).map_err(|error| TargetError::Descriptor(*number, error.to_string()))?;
            let line = Attached::adopt(fd, OffloadBits::ALL)?;
            return Ok(Served { line, userns: None });
        }
        Target::Process { pid, userns, tap } => {
            let of_process = PathBuf::from(format!("/proc/{pid}/ns/user"));
            let netns = PathBuf::from(format!("/proc/{pid}/ns/net"));
            // The network's first: its name is the one that callers look for.
            let netns = open(&netns)?;
            (Some(open(userns.as_ref().unwrap_or(&of_process))?), netns, tap)
        }
        Target::Path { path, userns, tap } => {
            let userns = userns.as_deref().map(open).transpose()?;
            (userns, open(path)?, tap)
        }
    };
    let spec = LineSpec {
        ifname: tap.clone(),
        offload: OffloadBits::ALL,
        set_up: network::set_up(options),
    };
    let privilege = userns.as_ref().map(File::try_clone).transpose();
    let privilege = privilege.map_err(|error| TargetError::Line(LineError::Start(error)))?;
    let line = line::tie(&spec, privilege.map(OwnedFd::from), netns.into())?;
    let number = line.fd.as_raw_fd();
    complain(format_args!("sent tapfd={number} for {tap}"));
    complain(format_args!("received tapfd={number}"));
    Ok(Served {
        line,
        userns: userns.map(OwnedFd::from),
    })
}

/// Never waits, whatever the path leads to.
fn open(path: &Path) -> Result<File, TargetError> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    file.map_err(|error| TargetError::Open {
        path: path.to_owned(),
        reason: reason(&error),
    })
}

/// In the C library's words.
fn reason(error: &io::Error) -> &'static str {
    error
        .raw_os_error()
        .map_or("cannot be opened", |errno| Errno::from_raw(errno).desc())
}
