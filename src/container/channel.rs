//! Messages between a monitor and the process it starts: JSON behind a four-byte length, over a socket pair whose far
//! end is handed down by number.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Failure;
use crate::sys::process;

/// What the init stage is told first.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// Which namespaces.
    pub(super) place: Place,
    /// Working directory; `None`: where we are.
    pub(super) workdir: Option<PathBuf>,
    /// The process whose end ends the command.
    pub(super) parent: i32,
}

/// Namespaces to make or to join.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Place {
    /// A new container.
    New {
        /// The process whose user namespace is the parent.
        agent_pid: i32,
        /// Its hostname.
        hostname: String,
        /// Its /etc/hosts.
        hosts: String,
        /// Its /etc/resolv.conf.
        resolv_conf: String,
        /// A directory to cover.
        hidden: PathBuf,
    },
    /// Those of this process.
    Of {
        /// Its id.
        pid: i32,
    },
}

/// What comes back.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Report {
    /// Done; waiting for [`Go`], if this is an init stage.
    Ready,
    /// Not possible.
    Failed(Failure),
}

/// Become the command.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Go;

/// One end.
#[derive(Debug)]
pub(super) struct Channel(UnixStream);

impl Channel {
    /// Gives `command` the far end, its number as the next argument, and returns the near end. The far end is closed
    /// here when `command` is dropped.
    pub(super) fn hand_to(command: &mut Command) -> io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        let far = OwnedFd::from(far);
        command.arg(far.as_raw_fd().to_string());
        process::hand_down(command, far);
        Ok(Self(near))
    }

    /// The far end, from the argument that [`Channel::hand_to`] made.
    pub(super) fn adopt(argument: Option<OsString>) -> io::Result<Self> {
        let number = argument
            .as_deref()
            .and_then(OsStr::to_str)
            .and_then(|number| number.parse().ok());
        let number = number.ok_or_else(|| io::Error::other("no channel: this command is not for people"))?;
        crate::sys::descriptors::close_inherited(&[number])?;
        Ok(Self(UnixStream::from(process::adopt(number)?)))
    }

    /// Sends one message.
    pub(super) fn send<T: Serialize>(&mut self, message: &T) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        self.0.write_all(&[&length.to_be_bytes(), body.as_slice()].concat())
    }

    /// Waits for a message; `None` when the other end was closed instead.
    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut length = [0; 4];
        if self.0.read(&mut length[..1])? == 0 {
            return Ok(None);
        }
        self.0.read_exact(&mut length[1..])?;
        let length = u64::from(u32::from_be_bytes(length));
        let mut body = Vec::new();
        (&mut self.0).take(length).read_to_end(&mut body)?;
        Ok(Some(serde_json::from_slice(&body)?))
    }
}
