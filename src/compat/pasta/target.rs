//! Who is served: the namespaces of a process, at a path, or new ones for a command.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::errno::Errno;

use super::command::{self, Command};
use super::options::{Options, Target};
use super::watch::{self, Watch};
use crate::netns::{Namespace, OpenError};
use crate::sys::namespace;
use crate::sys::pidfd::PidFd;

/// The namespaces, and what stands for their life.
#[derive(Debug)]
pub struct Served {
    /// The user namespace to join for it, if that is another than ours.
    pub userns: Option<OwnedFd>,
    /// The network namespace.
    pub netns: OwnedFd,
    /// What we end with.
    pub life: Life,
}

/// What we end with.
#[derive(Debug)]
pub enum Life {
    /// A process.
    Process(PidFd),
    /// A name in a folder.
    Path(Watch),
    /// The command that we have started.
    Command(Command),
    /// Nothing but a signal.
    Unbound,
}

/// Why there is nobody to serve.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// A namespace's file can't be opened.
    #[error("Couldn't open {kind} namespace {}: {why}", path.display())]
    Open {
        /// Network or user.
        kind: &'static str,
        /// Its file.
        path: PathBuf,
        /// What the kernel said.
        why: &'static str,
    },
    /// The file is of something else.
    #[error("Couldn't switch to pasta namespaces: Invalid argument")]
    NotANamespace,
    /// New ones can't be made.
    #[error("Failed to clone process with detached namespaces: {0}")]
    New(&'static str),
    /// New ones can't be set up.
    #[error("{0}")]
    SetUp(String),
}

/// Finds or makes the namespaces.
pub fn find(options: &Options) -> Result<Served, TargetError> {
    match &options.target {
        Target::Pid(pid) => of_process(options, *pid),
        Target::Netns(path) => at_path(options, path),
        Target::Command(words) => {
            let (command, userns, netns) = command::prepare(words, options)?;
            Ok(Served {
                userns: Some(userns).filter(|_| !options.netns_only),
                netns,
                life: Life::Command(command),
            })
        }
    }
}

/// Whether the user namespace of a process has users yet (user_namespaces(7)): `unshare --user` alone leaves that to
/// others. What can't be known is taken for the rule.
pub fn has_users(options: &Options) -> bool {
    match (&options.target, &options.userns) {
        (Target::Pid(pid), None) => {
            fs::read_to_string(format!("/proc/{pid}/uid_map")).map_or(true, |map| !map.is_empty())
        }
        (Target::Pid(_) | Target::Netns(_) | Target::Command(_), _) => true,
    }
}

impl Life {
    /// Returns when it is over, with the command's status if it was one.
    pub async fn over(self) -> u8 {
        match self {
            Self::Process(process) => {
                if let Err(error) = process.ended().await {
                    tracing::warn!(%error, "the process can't be watched");
                    std::future::pending::<()>().await;
                }
                0
            }
            Self::Path(watch) => {
                watch.gone().await;
                0
            }
            Self::Command(command) => command.ended().await,
            Self::Unbound => std::future::pending().await,
        }
    }
}

fn of_process(options: &Options, pid: i32) -> Result<Served, TargetError> {
    let net = PathBuf::from(format!("/proc/{pid}/ns/net"));
    let user = options
        .userns
        .clone()
        .unwrap_or_else(|| format!("/proc/{pid}/ns/user").into());
    // Before the files, so that they are of this very process if it lives afterwards.
    let process = PidFd::open(pid);
    // With `--netns-only`, too, as the original has it: nothing can be made in the other without.
    let userns = different(open("user", &user, Namespace::user_at)?);
    let netns = open("network", &net, Namespace::net_at)?;
    let gone = |_| TargetError::Open {
        kind: "network",
        path: net.clone(),
        why: Errno::ENOENT.desc(),
    };
    let process = process.map_err(gone)?;
    if process.has_ended().map_err(gone)? {
        return Err(gone(io::ErrorKind::NotFound.into()));
    }
    Ok(Served {
        userns,
        netns: netns.into(),
        life: if options.no_netns_quit {
            Life::Unbound
        } else {
            Life::Process(process)
        },
    })
}

fn at_path(options: &Options, path: &Path) -> Result<Served, TargetError> {
    let given = options
        .userns
        .as_deref()
        .map(|userns| open("user", userns, Namespace::user_at))
        .transpose()?;
    // Before the file, so that its end can't be missed.
    let life = if options.no_netns_quit {
        Life::Unbound
    } else {
        life_of(path)
    };
    let netns = open("network", path, Namespace::net_at)?;
    let userns = match given {
        Some(userns) => different(userns),
        // Whoever rules it, if that is somebody below us: nobody else can make an interface there.
        None => netns.owner().ok().and_then(different),
    };
    Ok(Served {
        userns: userns.filter(|_| !options.netns_only),
        netns: netns.into(),
        life,
    })
}

/// A path that can't be watched can't be opened, either, which is said in a moment.
fn life_of(path: &Path) -> Life {
    match watch::process_of(path) {
        Some(process) => Life::Process(process),
        None => Watch::on(path).map_or(Life::Unbound, Life::Path),
    }
}

fn open(
    kind: &'static str,
    path: &Path,
    open: impl FnOnce(&Path) -> Result<Namespace, OpenError>,
) -> Result<Namespace, TargetError> {
    open(path).map_err(|error| {
        let why = match error {
            OpenError::NotANamespace(..) => return TargetError::NotANamespace,
            OpenError::NoFile(_) | OpenError::NoProcess(_) | OpenError::NotAPid(_) => Errno::ENOENT.desc(),
            OpenError::Forbidden(_) | OpenError::OthersProcess(_) | OpenError::ClosedProcess(_) => Errno::EACCES.desc(),
            OpenError::Io { source, .. } => description(&source),
        };
        TargetError::Open {
            kind,
            path: path.to_owned(),
            why,
        }
    })
}

/// The user namespace, unless it is the one that we are in, which nobody can join (setns(2)).
fn different(userns: Namespace) -> Option<OwnedFd> {
    let ours = Namespace::user_at(Path::new("/proc/self/ns/user"));
    let same = ours.is_ok_and(|ours| ours.identity() == userns.identity());
    let below = namespace::parent(userns.as_fd()).is_ok();
    (!same && below).then(|| userns.into())
}

pub(super) fn description(error: &io::Error) -> &'static str {
    error
        .raw_os_error()
        .map_or("Input/output error", |number| Errno::from_raw(number).desc())
}
