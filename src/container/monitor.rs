//! The monitor: parent of a container's command from its first process to its last.
//!
//! In the foreground it is the command line itself ([`run`]); behind `-d` it is a process of its own, in a session of
//! its own, that outlives the command line ([`detach`] starts it, [`detached_main`] is it). It must have one thread
//! when it starts the command: PR_SET_PDEATHSIG follows the *thread* that forked. When the command ends, what it left
//! running in the container is killed.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::prctl;
use nix::unistd::{Pid, getpid, setsid};
use serde::{Deserialize, Serialize};

use super::channel::{Channel, Go, Order, Place, Report};
use super::supervise::Supervisor;
use super::{Failure, Helper, Job, RunError};
use crate::api::types::Created;
use crate::netns::inhabitants;

/// Runs a container's command in the foreground and returns its exit code, 128+n for a signal.
pub fn run(job: &Job, helper: &mut dyn Helper) -> Result<u8, RunError> {
    let result = start(job, helper).and_then(Running::wait);
    report_end(helper, &result);
    result
}

/// Runs it in the background: returns the monitor's process id once the command has begun. Its output is appended to
/// the container's log. `context` is handed to the monitor's [`detached_main`], which makes its [`Helper`] of it.
pub fn detach(job: &Job, context: &str) -> Result<i32, RunError> {
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&job.created.log)?;
    let mut command = ourselves("monitor");
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut channel = Channel::hand_to(&mut command)?;
    let mut child = command.args(&job.command).spawn()?;
    drop(command);
    let order = Detached {
        created: job.created.clone(),
        env: job.env.clone(),
        workdir: job.workdir.clone(),
        context: context.to_owned(),
    };
    match channel.send(&order).and_then(|()| channel.receive()) {
        Ok(Some(Report::Ready)) => Ok(pid_of(&child).as_raw()),
        Ok(Some(Report::Failed(failure))) => Err(RunError::Inside(failure)),
        Ok(None) | Err(_) => Err(early_end(&mut child)),
    }
}

/// The monitor behind `-d` (`gangplank monitor FD COMMAND…`), with the arguments behind `monitor`; `connect` makes the
/// helper of the context that [`detach`] was given. Returns the exit code.
pub fn detached_main<H: Helper>(
    mut arguments: impl Iterator<Item = OsString>,
    connect: impl FnOnce(&str) -> Result<H, Box<dyn Error>>,
) -> u8 {
    let result = Channel::adopt(arguments.next())
        .map_err(RunError::from)
        .and_then(|channel| monitor_detached(channel, arguments.collect(), connect));
    result.unwrap_or_else(|error| error.code())
}

fn monitor_detached<H: Helper>(
    mut channel: Channel,
    command: Vec<OsString>,
    connect: impl FnOnce(&str) -> Result<H, Box<dyn Error>>,
) -> Result<u8, RunError> {
    let Some(Detached {
        created,
        env,
        workdir,
        context,
    }) = channel.receive()?
    else {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    };
    let job = Job {
        created,
        command,
        env,
        workdir,
    };
    setsid().map_err(io::Error::from)?;
    let mut helper = connect(&context)
        .map_err(RunError::Attach)
        .inspect_err(|error| tell(&mut channel, Err(error)))?;
    let started = start(&job, &mut helper);
    tell(&mut channel, started.as_ref());
    drop(channel);
    // The command has its own working directory by now; ours must not keep a file system busy. "/" is always there.
    let _ = env::set_current_dir("/");
    let result = started.and_then(Running::wait);
    report_end(&mut helper, &result);
    result
}

/// Tells the command line how it went; should that be gone, the container runs all the same.
fn tell(channel: &mut Channel, started: Result<&Running, &RunError>) {
    let report = match started {
        Ok(_) => Report::Ready,
        Err(error) => Report::Failed(Failure {
            code: error.code(),
            message: error.to_string(),
        }),
    };
    let _ = channel.send(&report);
}

fn report_end(helper: &mut dyn Helper, result: &Result<u8, RunError>) {
    helper.exited(result.as_ref().map_or_else(RunError::code, |code| *code));
}

fn start(job: &Job, helper: &mut dyn Helper) -> Result<Running, RunError> {
    // Orphans inside become our children, so that they are reaped where process 1 does not care.
    prctl::set_child_subreaper(true).map_err(io::Error::from)?;
    let created = &job.created;
    let order = Order {
        place: Place::New {
            agent_pid: created.agent_pid,
            hostname: created.hostname.clone(),
            hosts: created.hosts.clone(),
            resolv_conf: created.resolv_conf.clone(),
            hidden: created.hidden.clone(),
        },
        workdir: job.workdir.clone(),
        parent: getpid().as_raw(),
    };
    let env = [created.variables.as_slice(), &job.env].concat();
    let stage = Stage::start(&order, &created.hostname, &env, &job.command)?;
    let pid = pid_of(&stage.child);
    let attached = helper.attach(pid.as_raw()).map_err(RunError::Attach);
    match attached.and_then(|()| Ok(inhabitants::user_namespace(pid.as_raw())?)) {
        Ok(user_namespace) => Ok(Running {
            members: Some(user_namespace),
            ..stage.go()?
        }),
        Err(error) => Err(stage.abandon(error)),
    }
}

/// An init stage in its namespaces, waiting for leave.
#[derive(Debug)]
pub(super) struct Stage {
    child: Child,
    channel: Channel,
}

impl Stage {
    /// Starts it and waits until it is in place.
    pub(super) fn start(order: &Order, hostname: &str, env: &[String], argv: &[OsString]) -> Result<Self, RunError> {
        let mut command = ourselves("init");
        let channel = Channel::hand_to(&mut command)?;
        let child = command
            .args(argv)
            .env_clear()
            .envs(environment(hostname, env))
            .spawn()?;
        drop(command);
        let mut stage = Self { child, channel };
        match stage.channel.send(order).and_then(|()| stage.channel.receive()) {
            Ok(Some(Report::Ready)) => Ok(stage),
            Ok(Some(Report::Failed(failure))) => Err(stage.abandon(failure.into())),
            Ok(None) | Err(_) => Err(early_end(&mut stage.child)),
        }
    }

    /// Lets it become the command.
    pub(super) fn go(mut self) -> Result<Running, RunError> {
        let supervisor = Supervisor::new()?;
        match self.channel.send(&Go).and_then(|()| self.channel.receive()) {
            // Closed by exec: the command runs, or has ended already.
            Ok(None) => Ok(Running {
                child: self.child,
                supervisor,
                members: None,
            }),
            Ok(Some(Report::Failed(failure))) => Err(self.abandon(failure.into())),
            Ok(Some(Report::Ready)) | Err(_) => Err(early_end(&mut self.child)),
        }
    }

    /// Ends it: without a channel it exits by itself.
    fn abandon(self, why: RunError) -> RunError {
        let Self { mut child, channel } = self;
        drop(channel);
        // It is our child and nobody else waits for it; there is nothing to learn from how it ended.
        let _ = child.wait();
        why
    }
}

/// A command that has begun.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    supervisor: Supervisor,
    /// The container's user namespace, whose members end with the command.
    members: Option<OwnedFd>,
}

impl Running {
    /// Waits for its end.
    pub(super) fn wait(self) -> Result<u8, RunError> {
        let code = self.supervisor.wait(pid_of(&self.child))?;
        if let Some(members) = &self.members {
            inhabitants::kill_all(members)?;
        }
        Ok(code)
    }
}

/// A copy of our binary as one of its personalities; `/proc/self/exe` stays right when the file was replaced.
fn ourselves(personality: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("gangplank").arg(personality);
    command
}

/// Ours, for the file system is the host's, less our own settings, and what was asked for.
fn environment(hostname: &str, asked: &[String]) -> Vec<(OsString, OsString)> {
    let ours = env::vars_os().filter(|(name, _)| !name.to_string_lossy().starts_with("GANGPLANK_"));
    let asked = asked.iter().filter_map(|pair| pair.split_once('='));
    let own = std::iter::once(("HOSTNAME", hostname));
    ours.chain(own.chain(asked).map(|(name, value)| (name.into(), value.into())))
        .collect()
}

/// What to say of a process that ended without a word.
fn early_end(child: &mut Child) -> RunError {
    match child.wait() {
        Ok(status) => status.signal().map_or_else(
            || Failure::ours("the container's first process ended early", status).into(),
            RunError::Killed,
        ),
        Err(error) => error.into(),
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// What [`detach`] tells the monitor; the command travels as arguments, so that process lists show it.
#[derive(Debug, Serialize, Deserialize)]
struct Detached {
    created: Created,
    env: Vec<String>,
    workdir: Option<PathBuf>,
    context: String,
}
