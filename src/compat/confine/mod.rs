//! What a process that carries a hostile container's packets gives up: slirp4netns where it is asked to, pasta always.
//!
//! In two steps, for each needs what the other takes away:
//!
//! | step | when | left afterwards |
//! | --- | --- | --- |
//! | [`Confinement::leave_the_file_system`] | a single thread, the line and every socket with a path open | a read-only root of `etc` and `run`; of privilege, CAP_NET_BIND_SERVICE in the container's user namespace |
//! | [`Confinement::forbid_system_calls`] | all threads started | the system calls that the data plane, the resolver and the API make |
//!
//! Of `/run` only the directory in which the host's resolver file really is can be seen, so no bus and no runtime's socket
//! can be reached. The resolver file is still followed when it changes. [`Cell`] is the same for pasta: the root is empty
//! where the resolvers were named, and of privilege nothing is left that came with a container's user namespace. Its process
//! in that namespace stays where files are, for it removes pasta's at the end, and takes the second step alone.

mod filter;
mod root;

use std::io;
use std::os::fd::OwnedFd;

pub use filter::FilterError;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Confinement {
    /// No file system and no privilege.
    pub sandbox: bool,
    /// Few system calls.
    pub seccomp: bool,
}

/// Why it can't be had; nothing is served without.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The user namespace that gives the privilege can't be joined.
    #[error("create_sandbox: cannot join the user namespace: {0}")]
    UserNamespace(#[source] io::Error),
    /// One of the steps to an empty root.
    #[error("create_sandbox: cannot {0}: {1}")]
    Root(&'static str, #[source] io::Error),
    /// Privilege can't be given up.
    #[error("create_sandbox: cannot drop capabilities: {0}")]
    Capabilities(#[source] io::Error),
    /// The filter of system calls.
    #[error("enable_seccomp: {0}")]
    Filter(#[from] FilterError),
}

/// What a root without anything in it is left with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// The host's resolver file and whatever it may be replaced by, to follow it.
    pub resolver_file: bool,
    /// Whether another user is going to be become.
    pub another_user: bool,
    /// Where the root is no mount that can be left (pivot_root(2), EINVAL: of an initramfs, or of a chroot), it may be
    /// covered instead.
    pub may_chroot: bool,
}

impl Cell {
    /// The first step for whoever is always confined: by the privilege that it has, or else by what `userns` gives, or
    /// else by what a user namespace of its own does.
    pub fn enter(self, userns: Option<OwnedFd>) -> Result<(), ConfineError> {
        root::enter(self, userns)
    }

    /// The second step, without removing files.
    pub fn forbid_system_calls() -> Result<(), ConfineError> {
        filter::install(false)?;
        Ok(())
    }

    /// The second step for a process that stays in the file system, to remove what is of no use after us.
    pub fn forbid_system_calls_but_removing() -> Result<(), ConfineError> {
        filter::install(true)?;
        Ok(())
    }
}

impl Confinement {
    /// The first step. `userns` gives a user who is not root the privilege for it.
    pub fn leave_the_file_system(self, userns: Option<OwnedFd>) -> Result<(), ConfineError> {
        if self.sandbox { root::leave(userns) } else { Ok(()) }
    }

    /// The second step.
    pub fn forbid_system_calls(self) -> Result<(), ConfineError> {
        if self.seccomp {
            filter::install(true)?;
        }
        Ok(())
    }
}
