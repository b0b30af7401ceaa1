//! The agent: the helper's child that owns the bridge. Hidden command `gangplank agent`.
//!
//! It lives in the network's user and network namespace, where it is uid 0; outside it is the user. It does what the
//! helper asks over its standard input, one request at a time, and nothing else: it reads no file of the user's, opens
//! no socket but netlink's and the uplink's, and answers nobody else. Everything that it makes is in its network namespace and goes
//! with it.
//!
//! # Its end
//!
//! When the channel ends, the helper has died, in whatever manner: the agent kills every process in the containers'
//! namespaces that the helper started (`owned`; attached ones belong to others), removes all links and ends. SIGTERM
//! does the same. A terminal's SIGINT does not reach it: it is in a session of its own.

mod bridge;
mod ingress;
mod uplink;
mod userns;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::runtime::Runtime;

use super::channel::{AgentAnswer, AgentRequest, Reply, receive, send};
use super::namespace::{Namespace, members};
use super::refusal::Refusal;
use crate::sys::descriptors;
use bridge::Bridge;

/// Runs until the channel on standard input ends.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("agent: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    descriptors::close_inherited(&[])?;
    log_to_stderr();
    // Else it would be called "exe", as the link by which it was started.
    let _ = nix::sys::prctl::set_name(c"gangplank");
    // Fails only for the leader of a process group, whom a terminal's signals do not reach by the group either.
    let _ = nix::unistd::setsid();
    let channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut agent = Agent {
        channel,
        runtime: None,
        bridge: None,
    };
    let end = agent.serve();
    agent.clean_up();
    end
}

struct Agent {
    channel: UnixStream,
    /// Made after the namespaces: threads could not follow there.
    runtime: Option<Runtime>,
    bridge: Option<Bridge>,
}

/// An answer and the descriptors that go with it.
type Outcome = Reply<(AgentAnswer, Vec<OwnedFd>)>;

impl Agent {
    fn serve(&mut self) -> io::Result<()> {
        let terminated = termination()?;
        while wait(&self.channel, &terminated)? {
            let Some(request) = receive(&self.channel)? else {
                break;
            };
            let last = matches!(request, AgentRequest::Shutdown);
            let outcome = self.answer(request)?;
            let (reply, fds) = match outcome {
                Ok((answer, fds)) => (Ok(answer), fds),
                Err(refusal) => (Err(refusal), Vec::new()),
            };
            if last {
                self.clean_up();
            }
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            send::<Reply<AgentAnswer>>(&self.channel, &reply, &fds)?;
            if last {
                break;
            }
        }
        Ok(())
    }

    /// Takes the descriptors that follow the request even if it is refused; an error here is the channel's.
    fn answer(&mut self, request: AgentRequest) -> io::Result<Outcome> {
        Ok(match request {
            AgentRequest::Network { spec, userns } => {
                let userns = if userns {
                    Some(descriptors::receive(&self.channel)?)
                } else {
                    None
                };
                self.network(spec, userns)
            }
            AgentRequest::Attach { spec, owned } => {
                let netns = Namespace::from_fd(descriptors::receive(&self.channel)?)?;
                self.with_bridge(async |bridge| bridge.attach(&netns, &spec, owned).await)
                    .map(|ifname| (AgentAnswer::Port { ifname }, Vec::new()))
            }
            AgentRequest::Cable { spec } => {
                let made = self.with_bridge(async |bridge| bridge.cable(&spec).await);
                made.map(|(ifname, tap)| (AgentAnswer::Cable { ifname }, vec![tap.fd]))
            }
            AgentRequest::Detach { port } => self
                .with_bridge(async |bridge| bridge.detach(&port).await)
                .map(|()| (AgentAnswer::Done, Vec::new())),
            AgentRequest::Bridge => self
                .with_bridge(async |bridge| bridge.view().await)
                .map(|view| (AgentAnswer::Bridge(view), Vec::new())),
            AgentRequest::Icc { icc } => self
                .with_bridge(async |bridge| bridge.set_icc(icc).await)
                .map(|()| (AgentAnswer::Done, Vec::new())),
            AgentRequest::Spoofed { port } => self
                .with_bridge(async |bridge| Ok(bridge.spoofed(port.as_deref())))
                .map(|frames| (AgentAnswer::Spoofed { frames }, Vec::new())),
            AgentRequest::Shutdown => Ok((AgentAnswer::Done, Vec::new())),
        })
    }

    fn network(&mut self, spec: super::NetworkSpec, userns: Option<OwnedFd>) -> Outcome {
        if self.runtime.is_some() {
            return Err(Refusal::OutOfOrder);
        }
        userns::enter(userns)?;
        // Nothing that we might run could gain anything; only now, for it bars an AppArmor profile's change too.
        nix::sys::prctl::set_no_new_privs().map_err(|errno| Refusal::kernel("no_new_privs", &errno.into()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Refusal::kernel("starting the runtime", &error))?;
        let made = runtime.block_on(Bridge::create(spec));
        self.runtime = Some(runtime);
        let (bridge, uplink) = made?;
        self.bridge = Some(bridge);
        Ok((
            AgentAnswer::Uplink {
                kind: uplink.kind,
                queues: uplink.queues.len(),
                ifname: uplink.ifname,
                offload: uplink.offload,
                refused: uplink.refused,
            },
            uplink.queues,
        ))
    }

    fn with_bridge<T>(&mut self, act: impl AsyncFnOnce(&mut Bridge) -> Reply<T>) -> Reply<T> {
        match (&self.runtime, &mut self.bridge) {
            (Some(runtime), Some(bridge)) => runtime.block_on(act(bridge)),
            (_, _) => Err(Refusal::OutOfOrder),
        }
    }

    /// Ends the containers and removes the links. What fails is left to the kernel, which removes it with us.
    fn clean_up(&mut self) {
        let (Some(runtime), Some(bridge)) = (&self.runtime, self.bridge.take()) else {
            return;
        };
        for _ in 0..KILL_ROUNDS {
            let owned = runtime.block_on(bridge.owned());
            let victims = members(&owned).unwrap_or_default().into_iter();
            let killed = victims.filter(|pid| kill(*pid, Signal::SIGKILL).is_ok()).count();
            if killed == 0 {
                break;
            }
            std::thread::sleep(KILL_PAUSE);
        }
        if let Err(error) = runtime.block_on(bridge.destroy()) {
            tracing::warn!("{error}");
        }
    }
}

/// Standard error is the helper's log.
pub(in crate::netns) fn log_to_stderr() {
    let log = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_target(false);
    // Fails only where a log is set up already, which will do.
    let _ = log.try_init();
}

/// SIGTERM as a descriptor.
fn termination() -> io::Result<SignalFd> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.thread_block()?;
    Ok(SignalFd::with_flags(
        &signals,
        SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK,
    )?)
}

/// Waits for a request or the channel's end; `false` when we were asked to end.
fn wait(channel: &UnixStream, terminated: &SignalFd) -> io::Result<bool> {
    let mut fds = [
        PollFd::new(channel.as_fd(), PollFlags::POLLIN),
        PollFd::new(terminated.as_fd(), PollFlags::POLLIN),
    ];
    loop {
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => return Ok(!fds[1].any().unwrap_or(true)),
            Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A process may fork while we look; after so many rounds it is the kernel's turn.
const KILL_ROUNDS: usize = 40;
/// Between two looks: a killed process is a member until the kernel has taken it apart.
const KILL_PAUSE: Duration = Duration::from_millis(10);
