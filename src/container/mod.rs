//! A command in namespaces of its own, the file system the host's: what `run` and `exec` start.
//!
//! Three processes play: the *monitor* ([`monitor`]: the command line itself in the foreground, a process of its own
//! behind `-d`) is the parent; the *init* stage ([`init`]) is a copy of our binary that enters the namespaces, waits
//! until the helper has attached the interface, and becomes the *command*, so that it keeps its process id.
//!
//! ```text
//!   monitor ── order ─▶ init      agent's user namespace, then user+net+mount+UTS below it
//!           ◀─ ready ──            (monitor: the helper attaches eth0)
//!           ── go ────▶            exec
//!           ◀─ end of file ──      the command runs; a failure comes as a message instead
//! ```
//!
//! The container's user namespace is a child of the agent's: its root can neither touch the bridge nor take away the
//! mounts made above it, and every member can be found and killed by that namespace ([`inhabitants`](crate::netns::inhabitants)). There is no pid
//! namespace: the command sees the host's processes, and may signal those of its own user.
//!
//! This module talks to no helper: the callers give it a [`Helper`]. Called by `cli` and `main`.

mod channel;
mod command;
pub mod exec;
mod files;
pub mod init;
pub mod monitor;
mod namespaces;
mod supervise;
mod terminal;

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::api::types::Created;

/// The two things that a monitor needs of the helper.
pub trait Helper {
    /// The namespaces of process `pid` are there: give them their interface.
    fn attach(&mut self, pid: i32) -> Result<(), Box<dyn Error>>;

    /// It is over, with this exit code; called exactly once, also when the command never ran.
    fn exited(&mut self, code: u8);
}

/// A container's command, ready to run.
#[derive(Debug, Clone)]
pub struct Job {
    /// What the helper reserved.
    pub created: Created,
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// `K=V` as given with `-e`; a `K` alone stays what it is in our own environment.
    pub env: Vec<String>,
    /// `-w`; `None`: where we are.
    pub workdir: Option<PathBuf>,
}

/// Why a command did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The machine refused a process, a descriptor or a signal mask.
    #[error("cannot start the command: {0}")]
    Start(#[from] std::io::Error),
    /// The helper refused.
    #[error("{0}")]
    Attach(Box<dyn Error>),
    /// It failed inside, on its way to the command or at it.
    #[error("{0}")]
    Inside(#[from] Failure),
    /// Something killed it before the command began.
    #[error("the container was killed before its command began (signal {0})")]
    Killed(i32),
}

impl RunError {
    /// The exit code that says so (cli.md): 125 ours, 126 not executable, 127 not found.
    pub fn code(&self) -> u8 {
        match self {
            Self::Start(_) | Self::Attach(_) | Self::Killed(_) => OUR_FAILURE,
            Self::Inside(failure) => failure.code,
        }
    }
}

/// What a process on its way into the container could not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[error("{message}")]
pub struct Failure {
    /// 125, 126 or 127.
    pub code: u8,
    /// One line that says what to do.
    pub message: String,
}

impl Failure {
    /// A failure of ours: `what` could not be done because of `error`.
    fn ours(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        Self {
            code: OUR_FAILURE,
            message: format!("{what}: {error}"),
        }
    }
}

/// Exit code of `run` and `exec` for a failure that is not the command's.
const OUR_FAILURE: u8 = 125;
