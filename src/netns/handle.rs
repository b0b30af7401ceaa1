//! The helper's side of the agent: blocking calls, each bounded.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::channel::{AgentAnswer, AgentRequest, BridgeView, Reply, receive, send};
use super::namespace::{Namespace, OpenError};
use super::refusal::Refusal;
use super::spec::{InterfaceSpec, NetworkSpec};
use crate::sys::descriptors;
use crate::sys::pidfd::PidFd;
use crate::sys::tun::OffloadBits;
use crate::uplink::UplinkKind;

/// A running agent. Dropping it closes the channel, upon which the agent takes everything down.
#[derive(Debug)]
pub struct Agent {
    pid: i32,
    process: PidFd,
    userns: Namespace,
    link: Mutex<Link>,
}

/// Where the bridge's frames reach the helper.
#[derive(Debug)]
pub struct UplinkEnd {
    /// What it is: the first of the kinds asked for that worked.
    pub kind: UplinkKind,
    /// Where frames are read and written; see [`crate::uplink::open`].
    pub queues: Vec<OwnedFd>,
    /// What the kernel leaves to its reader.
    pub offload: OffloadBits,
    /// Name of the bridge's port.
    pub ifname: String,
    /// The kinds that did not work, each with the reason.
    pub refused: Vec<String>,
}

/// The bridge's end of a cable.
#[derive(Debug)]
pub struct CableEnd {
    /// Where frames are read and written; the port goes when it is closed.
    pub fd: OwnedFd,
    /// Name of the port.
    pub port: String,
}

/// Why the agent did not do it.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It could not be started.
    #[error("can't start the agent: {0}")]
    Spawn(#[source] io::Error),
    /// It refused, and nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It has died; the network is gone with it.
    #[error("the agent has died; take the network down and up again")]
    Died,
    /// It is stuck, or the channel is.
    #[error("the agent does not answer ({0}); take the network down and up again")]
    Broken(String),
    /// Its user namespace can't be opened.
    #[error("the agent's user namespace: {0}")]
    UserNamespace(#[from] OpenError),
}

#[derive(Debug)]
struct Link {
    channel: UnixStream,
    child: Child,
    /// An answer may be on its way that nobody waits for any more: no other can be told from it.
    broken: bool,
}

impl Agent {
    /// Starts `exe agent` and has it make the network, in a user namespace of its own or in the one given.
    pub fn spawn(exe: &Path, spec: &NetworkSpec, userns: Option<&Namespace>) -> Result<(Self, UplinkEnd), AgentError> {
        let (child, channel) = start(exe, "agent").map_err(AgentError::Spawn)?;
        let pid = i32::try_from(child.id()).map_err(|error| AgentError::Spawn(io::Error::other(error)))?;
        // Our child is not reaped yet, so the pid is its own.
        let process = PidFd::open(pid).map_err(AgentError::Spawn)?;
        let mut link = Link {
            channel,
            child,
            broken: false,
        };
        let request = AgentRequest::Network {
            spec: spec.clone(),
            userns: userns.is_some(),
        };
        let made = link.ask(&request, userns.map(AsFd::as_fd).as_slice());
        let AgentAnswer::Uplink {
            kind,
            queues,
            ifname,
            offload,
            refused,
        } = made.inspect_err(|_| link.kill())?
        else {
            return Err(link.unexpected());
        };
        let queues = (0..queues).map(|_| link.receive_fd()).collect::<Result<_, _>>()?;
        let userns = Namespace::user_at(Path::new(&format!("/proc/{pid}/ns/user")))?;
        let agent = Self {
            pid,
            process,
            userns,
            link: Mutex::new(link),
        };
        let uplink = UplinkEnd {
            kind,
            queues,
            offload,
            ifname,
            refused,
        };
        Ok((agent, uplink))
    }

    /// Its process id, for those who enter its user namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Readable once the agent has died.
    pub fn process(&self) -> &PidFd {
        &self.process
    }

    /// The network's user namespace.
    pub fn userns(&self) -> &Namespace {
        &self.userns
    }

    /// Connects a network namespace by a veth and returns the port's name; the processes in an `owned` one are killed
    /// when the network ends without a goodbye.
    pub fn attach(&self, netns: &Namespace, spec: &InterfaceSpec, owned: bool) -> Result<String, AgentError> {
        let mut link = self.link();
        let request = AgentRequest::Attach {
            spec: spec.clone(),
            owned,
        };
        match link.ask(&request, &[netns.as_fd()])? {
            AgentAnswer::Port { ifname } => Ok(ifname),
            AgentAnswer::Uplink { .. }
            | AgentAnswer::Cable { .. }
            | AgentAnswer::Bridge(_)
            | AgentAnswer::Spoofed { .. }
            | AgentAnswer::Done => Err(link.unexpected()),
        }
    }

    /// Makes the bridge's end of a cable for a container with this interface; [`crate::netns::join`] makes the other.
    pub fn cable(&self, spec: &InterfaceSpec) -> Result<CableEnd, AgentError> {
        let mut link = self.link();
        let AgentAnswer::Cable { ifname } = link.ask(&AgentRequest::Cable { spec: spec.clone() }, &[])? else {
            return Err(link.unexpected());
        };
        Ok(CableEnd {
            fd: link.receive_fd()?,
            port: ifname,
        })
    }

    /// Removes a port, be it there still or not.
    pub fn detach(&self, port: &str) -> Result<(), AgentError> {
        self.link()
            .ask(&AgentRequest::Detach { port: port.to_owned() }, &[])
            .map(|_| ())
    }

    /// The bridge as the kernel describes it.
    pub fn bridge(&self) -> Result<BridgeView, AgentError> {
        let mut link = self.link();
        let AgentAnswer::Bridge(view) = link.ask(&AgentRequest::Bridge, &[])? else {
            return Err(link.unexpected());
        };
        Ok(view)
    }

    /// How many frames with an address of somebody else's came in at a port, or at all ports so far, and were dropped
    /// there; 0 where the kernel cannot look at them.
    pub fn spoofed(&self, port: Option<&str>) -> Result<u64, AgentError> {
        let mut link = self.link();
        let port = port.map(str::to_owned);
        let AgentAnswer::Spoofed { frames } = link.ask(&AgentRequest::Spoofed { port }, &[])? else {
            return Err(link.unexpected());
        };
        Ok(frames)
    }

    /// Lets containers reach each other, or not, from now on: all of them, or nothing has changed.
    pub fn set_icc(&self, icc: bool) -> Result<(), AgentError> {
        self.link().ask(&AgentRequest::Icc { icc }, &[]).map(|_| ())
    }

    /// Ends the network: owned containers, ports, bridge, agent. When it returns, nothing of it runs; an
    /// agent that has died is reaped by it.
    pub fn shutdown(&self) -> Result<(), AgentError> {
        let mut link = self.link();
        let result = link.ask(&AgentRequest::Shutdown, &[]).map(|_| ());
        // The end of the channel means the same to an agent that did not hear the request.
        let _ = link.channel.shutdown(std::net::Shutdown::Both);
        if !self.process.wait_ended(END_PATIENCE_MS).unwrap_or(false) {
            let _ = self.process.send_signal(Signal::SIGKILL);
        }
        let _ = link.child.wait();
        result
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    fn ask(&mut self, request: &AgentRequest, fds: &[BorrowedFd<'_>]) -> Result<AgentAnswer, AgentError> {
        if self.broken {
            return Err(AgentError::Broken("it failed before".to_owned()));
        }
        send(&self.channel, request, fds).map_err(|error| self.fail(&error))?;
        let reply: Option<Reply<AgentAnswer>> = receive(&self.channel).map_err(|error| self.fail(&error))?;
        let reply = reply.ok_or_else(|| self.fail(&io::ErrorKind::UnexpectedEof.into()))?;
        Ok(reply?)
    }

    fn receive_fd(&mut self) -> Result<OwnedFd, AgentError> {
        descriptors::receive(&self.channel).map_err(|error| self.fail(&error))
    }

    fn fail(&mut self, error: &io::Error) -> AgentError {
        self.broken = true;
        #[expect(clippy::wildcard_enum_match_arm, reason = "three kinds of many")]
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                AgentError::Died
            }
            io::ErrorKind::WouldBlock => AgentError::Broken("timed out".to_owned()),
            _ => AgentError::Broken(error.to_string()),
        }
    }

    fn unexpected(&mut self) -> AgentError {
        self.broken = true;
        AgentError::Broken("unexpected answer".to_owned())
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a hidden command of our own binary with a channel as its standard input, and nothing else of ours.
pub(super) fn start(exe: &Path, command: &str) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_read_timeout(Some(PATIENCE))?;
    ours.set_write_timeout(Some(PATIENCE))?;
    let mut command_line = Command::new(exe);
    command_line
        .arg0("gangplank")
        .arg(command)
        .env_clear()
        .current_dir("/")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null());
    let child = command_line.spawn()?;
    Ok((child, ours))
}

/// How long an answer may take: twice what the agent gives the kernel.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the agent may take for its end, in milliseconds.
const END_PATIENCE_MS: u16 = 5_000;
