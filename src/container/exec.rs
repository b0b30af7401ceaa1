//! `exec`: one more command in a container that runs already.
//!
//! It joins the user, network, mount and UTS namespaces of the container's process, as far as they are not ours, and
//! goes the same last steps as `run`. What it leaves running belongs to the container and ends with it.

use std::ffi::OsString;
use std::path::PathBuf;

use super::RunError;
use super::channel::{Order, Place};
use super::monitor::Stage;

/// A command for the container of process `pid`.
#[derive(Debug, Clone)]
pub struct Exec {
    /// A process of the container.
    pub pid: i32,
    /// The container's hostname.
    pub hostname: String,
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// `K=V`, as for `run`.
    pub env: Vec<String>,
    /// Working directory; `None`: where we are, as far as that exists inside.
    pub workdir: Option<PathBuf>,
}

/// Runs it in the foreground and returns its exit code, 128+n for a signal.
pub fn exec(exec: &Exec) -> Result<u8, RunError> {
    let order = Order {
        place: Place::Of { pid: exec.pid },
        workdir: exec.workdir.clone(),
        parent: nix::unistd::getpid().into(),
    };
    Stage::start(&order, &exec.hostname, &exec.env, &exec.command)?
        .go()?
        .wait()
}
