//! Requests and answers between helper and agent or `join`, over a socket pair that is the child's standard input.
//!
//! A message is its length (4 bytes, little-endian), JSON, and then, where the kind of message says so, descriptors by
//! SCM_RIGHTS. One request, one answer, one at a time. The end of the stream means that the other side has died.

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use super::spec::{InterfaceSpec, NetworkSpec};
use crate::sys::descriptors;
use crate::sys::tun::OffloadBits;
use crate::uplink::UplinkKind;

/// What the agent can be asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum AgentRequest {
    /// Make namespaces, bridge and uplink; the first request. A user namespace to join follows if `userns`.
    Network { spec: NetworkSpec, userns: bool },
    /// Connect a network namespace, which follows, by a veth. The processes of an `owned` one end with the network.
    Attach { spec: InterfaceSpec, owned: bool },
    /// Make one end of a cable, for the container whose interface this is.
    Cable { spec: InterfaceSpec },
    /// Remove a port.
    Detach { port: String },
    /// Describe the bridge.
    Bridge,
    /// Let containers reach each other, or not: those that are there at once, and those to come.
    Icc { icc: bool },
    /// Say how many frames with another's address came in at a port, or at all ports so far.
    Spoofed { port: Option<String> },
    /// Remove everything and end.
    Shutdown,
}

/// What the agent answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum AgentAnswer {
    /// To `Network`; as many descriptors of the uplink's follow.
    Uplink {
        kind: UplinkKind,
        queues: usize,
        ifname: String,
        offload: OffloadBits,
        refused: Vec<String>,
    },
    /// To `Attach`.
    Port { ifname: String },
    /// To `Cable`; the TAP's descriptor follows.
    Cable { ifname: String },
    /// To `Bridge`.
    Bridge(BridgeView),
    /// To `Spoofed`.
    Spoofed { frames: u64 },
    /// To `Detach`, `Icc` and `Shutdown`.
    Done,
}

/// What `join` is asked for, once; the user namespace and then the network namespace follow.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct JoinRequest {
    pub(super) spec: InterfaceSpec,
    pub(super) offload: OffloadBits,
}

/// What `join` answers; the TAP's descriptor follows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Joined;

/// The bridge as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeView {
    /// Name of the bridge.
    pub name: String,
    /// Priority and hardware address, as `brctl show` writes them: `8000.0242ac110001`.
    pub id: String,
    /// Whether the spanning tree protocol is on.
    pub stp: bool,
    /// Names of its ports in the order of their making, the uplink first.
    pub interfaces: Vec<String>,
}

/// An answer or a refusal.
pub(super) type Reply<T> = Result<T, Refusal>;

/// Sends a message, then descriptors.
pub(super) fn send<T: Serialize>(stream: &UnixStream, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let len = u32::try_from(body.len())
        .ok()
        .filter(|len| *len <= MAX_LEN)
        .ok_or(io::ErrorKind::FileTooLarge)?;
    let mut stream_writer = stream;
    stream_writer.write_all(&[&len.to_le_bytes(), body.as_slice()].concat())?;
    for fd in fds {
        descriptors::send(stream, *fd)?;
    }
    Ok(())
}

/// Receives a message; `None` at the end of the stream.
pub(super) fn receive<T: DeserializeOwned>(stream: &UnixStream) -> io::Result<Option<T>> {
    let mut reader = stream;
    let mut len = [0; 4];
    match reader.read_exact(&mut len) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let len = u32::from_le_bytes(len);
    if len > MAX_LEN {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut body = Vec::new();
    reader.take(len.into()).read_to_end(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

/// Bytes of the longest message; ours have a few hundred.
const MAX_LEN: u32 = 64 * 1024;
