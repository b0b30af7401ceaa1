//! The one TAP that ties a network namespace of others to the host: no bridge, no agent.
//!
//! A child that lives no longer than this takes joins the namespaces, opens the TAP there, configures it if that is
//! wanted, and passes its descriptor back; so the caller stays where the host's network is. The TAP may have been made by
//! whoever wants to be served (RootlessKit does): it is attached to, and nothing of it is changed that was not asked for.
//!
//! The child is a copy of the caller and not a program of its own ([`crate::netns::join`]): it costs a millisecond less
//! on the way to being ready, which callers wait for, and works where /proc/self/exe cannot be started any more.
//!
//! The descriptor keeps the network namespace alive. Whoever is to end with it must watch what stands for its life
//! ([`super::Watch`]).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use ipnetwork::IpNetwork;
use nix::sched::{CloneFlags, setns};
use nix::sys::wait::waitpid;
use rtnetlink::packet_route::address::AddressHeaderFlags;
use rtnetlink::packet_route::route::{RouteMessage, RouteScope};
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};
use serde::{Deserialize, Serialize};

use super::channel::{Reply, receive, send};
use super::netlink::{ask, connect, index_of, prepend_route, set_sysctl};
use super::refusal::Refusal;
use crate::sys::tun::{Attached, OffloadBits, Tap};
use crate::sys::{descriptors, process};

/// What is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineSpec {
    /// Name of the interface.
    pub ifname: String,
    /// Offloads to ask the TAP for.
    pub offload: OffloadBits,
    /// How it is configured, and `lo` brought up; none leaves that to the namespace.
    pub set_up: Option<SetUp>,
}

/// How an interface is configured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetUp {
    /// Its hardware address; none keeps the kernel's choice.
    pub mac: Option<[u8; 6]>,
    /// Its IP MTU in bytes; none keeps the kernel's.
    pub mtu: Option<u32>,
    /// Its addresses.
    pub addresses: Vec<IpNetwork>,
    /// What leads over it.
    pub routes: Vec<LineRoute>,
    /// Its link-local IPv6 address is good at once; nobody else is on this link.
    pub settled: bool,
}

/// A route over the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineRoute {
    /// Where to; a prefix of no bits is the default route of its family.
    pub to: IpNetwork,
    /// By whom, or straight on the link.
    pub gateway: Option<IpAddr>,
}

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The child could not be started.
    #[error("can't start the process that joins the namespaces: {0}")]
    Start(#[source] io::Error),
    /// It was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The child has died.
    #[error("the process that joins the namespaces failed: {0}")]
    Died(#[source] io::Error),
}

/// Opens the TAP in `netns`, with the privilege that `userns` gives: an error of joining that is no error, for whoever is
/// in it already, or has privilege over the other anyway.
pub fn tie(spec: &LineSpec, userns: Option<OwnedFd>, netns: OwnedFd) -> Result<Attached, LineError> {
    let (child, channel) =
        process::spawn_copy(|channel| serve(spec, userns, netns, &channel)).map_err(LineError::Start)?;
    let line = fetch(&channel);
    // It has answered and ends, or has died.
    let _ = waitpid(child, None);
    line
}

/// What the child says before it passes the descriptor.
#[derive(Debug, Serialize, Deserialize)]
struct Tied {
    offload: Option<OffloadBits>,
    mac: [u8; 6],
}

fn fetch(channel: &UnixStream) -> Result<Attached, LineError> {
    let reply: Option<Reply<Tied>> = receive(channel).map_err(LineError::Died)?;
    let gone = || LineError::Died(io::ErrorKind::UnexpectedEof.into());
    let Tied { offload, mac } = reply.ok_or_else(gone)??;
    let fd = descriptors::receive(channel).map_err(LineError::Died)?;
    Ok(Attached { fd, offload, mac })
}

fn serve(spec: &LineSpec, userns: Option<OwnedFd>, netns: OwnedFd, channel: &UnixStream) -> u8 {
    let sent = match open(spec, userns, netns) {
        Ok(Attached { fd, offload, mac }) => send::<Reply<Tied>>(channel, &Ok(Tied { offload, mac }), &[fd.as_fd()]),
        Err(refusal) => send::<Reply<Tied>>(channel, &Err(refusal), &[]),
    };
    u8::from(sent.is_err())
}

pub(super) fn open(spec: &LineSpec, userns: Option<OwnedFd>, netns: OwnedFd) -> Reply<Attached> {
    let refused = |errno: nix::Error| Refusal::CannotJoin(errno.desc().to_owned());
    // As for `join`: the root in there must not take over what enters.
    nix::sys::prctl::set_dumpable(false).map_err(refused)?;
    if let Some(userns) = userns {
        // What was lacking shows at once, when the network namespace is joined.
        let _ = setns(userns, CloneFlags::CLONE_NEWUSER);
    }
    setns(netns, CloneFlags::CLONE_NEWNET).map_err(refused)?;
    let line = Tap::attach(&spec.ifname, spec.offload)?;
    let Some(set_up) = &spec.set_up else {
        return Ok(line);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Refusal::kernel("starting the runtime", &error))?;
    runtime.block_on(configure(&spec.ifname, set_up))?;
    Ok(Attached {
        mac: set_up.mac.unwrap_or(line.mac),
        ..line
    })
}

async fn configure(ifname: &str, set_up: &SetUp) -> Reply<()> {
    let handle = connect().map_err(|error| Refusal::kernel("opening netlink", &error))?;
    let lo = index_of(&handle, "lo").await?;
    let up = LinkUnspec::new_with_index(lo).up().build();
    ask("bringing lo up", handle.link().set(up).execute()).await?;
    let index = index_of(&handle, ifname).await?;
    let mut link = LinkUnspec::new_with_index(index);
    if let Some(mac) = set_up.mac {
        link = link.address(mac.to_vec());
    }
    if let Some(mtu) = set_up.mtu {
        link = link.mtu(mtu);
    }
    ask(
        "setting hardware address and MTU",
        handle.link().set(link.build()).execute(),
    )
    .await?;
    for address in &set_up.addresses {
        add_address(&handle, index, *address).await?;
    }
    if set_up.settled {
        // A kernel without IPv6 has no such file.
        set_sysctl(&format!("/proc/sys/net/ipv6/conf/{ifname}/accept_dad"), "0");
    }
    let up = LinkUnspec::new_with_index(index).up().build();
    ask("bringing the interface up", handle.link().set(up).execute()).await?;
    for route in &set_up.routes {
        add_route(&handle, index, *route).await?;
    }
    Ok(())
}

async fn add_address(handle: &Handle, index: u32, address: IpNetwork) -> Reply<()> {
    // One that is there already, from an earlier life of ours, is as good.
    let mut request = handle.address().add(index, address.ip(), address.prefix()).replace();
    if address.is_ipv6() {
        // Nobody else is on this link.
        request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
    }
    ask(&format!("adding address {address}"), request.execute()).await
}

async fn add_route(handle: &Handle, index: u32, LineRoute { to, gateway }: LineRoute) -> Reply<()> {
    let step = match gateway {
        Some(gateway) => format!("adding the route to {to} by {gateway}"),
        None => format!("adding the route to {to}"),
    };
    prepend_route(handle, route_message(index, to, gateway), &step).await
}

fn route_message(index: u32, to: IpNetwork, gateway: Option<IpAddr>) -> RouteMessage {
    match to {
        IpNetwork::V4(to) => {
            let route = RouteMessageBuilder::<Ipv4Addr>::new()
                .output_interface(index)
                .destination_prefix(to.ip(), to.prefix());
            match gateway {
                Some(IpAddr::V4(gateway)) => route.gateway(gateway).build(),
                Some(IpAddr::V6(_)) | None => route.scope(RouteScope::Link).build(),
            }
        }
        IpNetwork::V6(to) => {
            let route = RouteMessageBuilder::<Ipv6Addr>::new()
                .output_interface(index)
                .destination_prefix(to.ip(), to.prefix());
            match gateway {
                Some(IpAddr::V6(gateway)) => route.gateway(gateway).build(),
                Some(IpAddr::V4(_)) | None => route.build(),
            }
        }
    }
}
