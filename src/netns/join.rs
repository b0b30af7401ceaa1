//! An interface in a namespace that no veth can reach. Hidden command `gangplank join`, and its caller's side.
//!
//! The namespace belongs to a sibling user namespace: podman's, that of `unshare -Ur`. A short-lived process joins
//! both, makes a TAP there that looks like any container's `eth0`, hands its descriptor to the helper and ends. The
//! helper carries frames between that TAP and one on the bridge ([`crate::uplink::cable`]).
//!
//! The descriptor keeps the TAP alive, and the TAP its network namespace, for as long as the helper holds it: the
//! kernel will not say that the container has gone. Whoever joins must therefore [`Watch`](super::Watch) it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use nix::sched::{CloneFlags, setns};

use super::agent::log_to_stderr;
use super::channel::{JoinRequest, Joined, Reply, receive, send};
use super::handle::start;
use super::namespace::Namespace;
use super::netlink::{configure, connect, forgo_queue, index_of, set_ipv6_of};
use super::refusal::Refusal;
use super::spec::InterfaceSpec;
use crate::sys::descriptors;
use crate::sys::tun::{OffloadBits, Tap, TapError};

/// Why there is no interface.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The process could not be started.
    #[error("can't start the process that joins the container's namespaces: {0}")]
    Spawn(#[source] io::Error),
    /// The namespace is out of our reach.
    #[error("the container's user namespace can't be found: {0}")]
    Owner(#[source] io::Error),
    /// It was refused, and nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The process died or is stuck.
    #[error("the process that joins the container's namespaces failed: {0}")]
    Channel(#[source] io::Error),
}

/// Starts `exe join` and has it make the interface in `netns`; returns the TAP, with as many of the `offload` as there
/// are.
pub fn make_interface(
    exe: &Path,
    netns: &Namespace,
    spec: &InterfaceSpec,
    offload: OffloadBits,
) -> Result<OwnedFd, JoinError> {
    let userns = netns.owner().map_err(JoinError::Owner)?;
    let (mut child, channel) = start(exe, "join").map_err(JoinError::Spawn)?;
    let request = JoinRequest {
        spec: spec.clone(),
        offload,
    };
    let made = exchange(&channel, &request, &userns, netns);
    // It has answered and has nothing left to do, or never will; a container can stop it, but not hold us up.
    let _ = child.kill();
    let _ = child.wait();
    made
}

/// Serves one request on standard input.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("join: {error}");
            ExitCode::FAILURE
        }
    }
}

fn exchange(
    channel: &UnixStream,
    request: &JoinRequest,
    userns: &Namespace,
    netns: &Namespace,
) -> Result<OwnedFd, JoinError> {
    send(channel, request, &[userns.as_fd(), netns.as_fd()]).map_err(JoinError::Channel)?;
    let reply: Option<Reply<Joined>> = receive(channel).map_err(JoinError::Channel)?;
    let Joined = reply.ok_or_else(|| JoinError::Channel(io::ErrorKind::UnexpectedEof.into()))??;
    descriptors::receive(channel).map_err(JoinError::Channel)
}

fn run() -> io::Result<()> {
    descriptors::close_inherited(&[])?;
    log_to_stderr();
    let channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let Some(request) = receive::<JoinRequest>(&channel)? else {
        return Ok(());
    };
    let userns = descriptors::receive(&channel)?;
    let netns = descriptors::receive(&channel)?;
    match join(&request, userns, netns) {
        Ok(tap) => send::<Reply<Joined>>(&channel, &Ok(Joined), &[tap.fd.as_fd()]),
        Err(refusal) => send::<Reply<Joined>>(&channel, &Err(refusal), &[]),
    }
}

fn join(request: &JoinRequest, userns: OwnedFd, netns: OwnedFd) -> Reply<Tap> {
    let refused = |errno: nix::Error| Refusal::CannotJoin(errno.desc().to_owned());
    // The container's root has power over what enters its user namespace, but not over what is not dumpable
    // (ptrace(2), access mode checking): it can't take over our channel to the helper.
    nix::sys::prctl::set_dumpable(false).map_err(refused)?;
    match setns(userns, CloneFlags::CLONE_NEWUSER) {
        // EINVAL: we are in it already (setns(2)).
        Ok(()) | Err(nix::Error::EINVAL) => {}
        Err(errno) => return Err(refused(errno)),
    }
    setns(netns, CloneFlags::CLONE_NEWNET).map_err(refused)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Refusal::kernel("starting the runtime", &error))?;
    runtime.block_on(make_tap(&request.spec, request.offload))
}

/// On failure the TAP goes with its descriptor.
async fn make_tap(spec: &InterfaceSpec, offload: OffloadBits) -> Reply<Tap> {
    let tap = match Tap::create(&spec.ifname, offload) {
        Err(TapError::Exists { name }) => return Err(Refusal::InterfaceExists(name)),
        made => made?,
    };
    set_ipv6_of(spec);
    let handle = connect().map_err(|error| Refusal::kernel("opening netlink", &error))?;
    let index = index_of(&handle, &spec.ifname).await?;
    forgo_queue(&handle, index).await;
    configure(&handle, index, spec).await?;
    Ok(tap)
}
