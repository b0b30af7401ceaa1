//! The few rtnetlink requests, and settings of /proc/sys/net, that agent, `join` and host facts share.
//!
//! A netlink socket speaks for the network namespace in which it was made, whatever the thread joins later; so
//! [`visit`] is in a namespace just long enough to make one. Requests are awaited one at a time and each is
//! bounded: the kernel answers at once or something is badly wrong.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use ipnetwork::IpNetwork;
use nix::sched::{CloneFlags, setns};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::AddressHeaderFlags;
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage, State};
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};

use super::refusal::Refusal;
use super::spec::InterfaceSpec;

/// A connection that speaks for the namespace of this thread. Needs a current-thread runtime.
pub(super) fn connect() -> io::Result<Handle> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    Ok(handle)
}

/// Runs `visit` in the network namespace `target` and comes back to `home`. Only for single-threaded processes:
/// other threads would stay where they are.
pub(super) fn visit<T>(home: BorrowedFd<'_>, target: BorrowedFd<'_>, visit: impl FnOnce() -> T) -> io::Result<T> {
    setns(target, CloneFlags::CLONE_NEWNET)?;
    let result = visit();
    if setns(home, CloneFlags::CLONE_NEWNET).is_err() {
        // Every later request would land in the container: better no network than one in the wrong place.
        std::process::abort();
    }
    Ok(result)
}

/// Awaits one request's answer, but not for ever.
pub(super) async fn ask<T>(
    step: &str,
    request: impl Future<Output = Result<T, rtnetlink::Error>>,
) -> Result<T, Refusal> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Refusal::kernel(step, &errno(error))),
        Err(_) => Err(Refusal::kernel(step, &io::ErrorKind::TimedOut.into())),
    }
}

/// What the kernel said.
pub(super) fn errno(error: rtnetlink::Error) -> io::Error {
    if let rtnetlink::Error::NetlinkError(message) = error {
        message.to_io()
    } else {
        io::Error::other(error)
    }
}

/// All links of the handle's namespace.
pub(super) async fn links(handle: &Handle) -> Result<Vec<LinkMessage>, Refusal> {
    ask("listing interfaces", handle.link().get().execute().try_collect()).await
}

/// The number of the interface with this name.
pub(super) async fn index_of(handle: &Handle, name: &str) -> Result<u32, Refusal> {
    let step = format!("finding interface {name}");
    let link = ask(&step, handle.link().get().match_name(name).execute().try_next()).await?;
    let link = link.ok_or_else(|| Refusal::kernel(&step, &io::ErrorKind::NotFound.into()))?;
    Ok(link.header.index)
}

/// The name in a link's answer.
pub(super) fn name_of(link: &LinkMessage) -> Option<&str> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "one attribute of many")]
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

/// Gives an interface, still down, its hardware address, MTU, addresses and default routes, and brings it and `lo` up.
/// [`set_ipv6_of`] is to have been called in its namespace. Undoing it is deleting the interface; `lo` stays up, which nobody notices.
pub(super) async fn configure(handle: &Handle, index: u32, spec: &InterfaceSpec) -> Result<(), Refusal> {
    let interface = || LinkUnspec::new_with_index(index);
    let identity = interface().address(spec.mac.to_vec()).mtu(spec.mtu.into()).build();
    ask(
        "setting hardware address and MTU",
        handle.link().set(identity).execute(),
    )
    .await?;
    for address in spec.addresses.iter().filter(|_| !spec.asks) {
        let mut request = handle.address().add(index, address.ip(), address.prefix());
        if address.is_ipv6() {
            // The pool gives no address twice, and a second of waiting for a neighbour to object would be felt.
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        ask(&format!("adding address {address}"), request.execute()).await?;
    }
    ask(
        "bringing the interface up",
        handle.link().set(interface().up().build()).execute(),
    )
    .await?;
    let lo = index_of(handle, "lo").await?;
    ask(
        "bringing lo up",
        handle.link().set(LinkUnspec::new_with_index(lo).up().build()).execute(),
    )
    .await?;
    for gateway in spec.gateways.iter().filter(|_| !spec.asks) {
        add_default_route(handle, index, *gateway).await?;
    }
    Ok(())
}

/// Waits until an interface whose other end has been brought up carries frames. The kernel sees to that in a thread of its own
/// (net/core/link_watch.c) and drops what comes before, and whoever has sent it tries again a second later.
pub(super) async fn until_it_carries(handle: &Handle, index: u32) {
    let waits = |link: &LinkMessage| !link.attributes.contains(&LinkAttribute::OperState(State::Up));
    // One that has gone is not waited for, and one that was taken down again not long.
    let look = async || handle.link().get().match_index(index).execute().try_next().await;
    let carries = async {
        while let Ok(Some(link)) = look().await
            && waits(&link)
        {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    };
    let _ = tokio::time::timeout(LINK_WATCH, carries).await;
}

/// How an interface of the namespace that we are in takes part in IPv6: without an address of ours not at all, with one
/// by that alone, or as the namespace's own settings have it where it is to ask for that.
pub(super) fn set_ipv6_of(spec: &InterfaceSpec) {
    if !spec.addresses.iter().any(IpNetwork::is_ipv6) {
        return switch_off_ipv6_of(&spec.ifname);
    }
    let settings: &[_] = if spec.asks { &[ON] } else { &STATIC };
    for (setting, value) in settings {
        set_sysctl(&format!("/proc/sys/net/ipv6/conf/{}/{setting}", spec.ifname), value);
    }
}

/// Keeps IPv6 off an interface of the namespace that we are in: no address that waits for its uniqueness to be
/// proved, no advertisement from a neighbour believed. A kernel without IPv6 has no such file.
pub(super) fn switch_off_ipv6_of(ifname: &str) {
    set_sysctl(&format!("/proc/sys/net/ipv6/conf/{ifname}/disable_ipv6"), "1");
}

/// Hands what an interface sends to its driver at once, without a queueing discipline in between.
///
/// A TAP takes each frame into the queue that we read, or drops it, and never asks for a pause: what stands before it, which
/// the host chose for its own cards, costs every frame locks and orders nothing (drivers/net/tun.c, `tun_net_xmit`). A veth
/// has none anyway. Best before the interface is up: later the kernel waits for frames that are on their way.
pub(super) async fn forgo_queue(handle: &Handle, index: u32) {
    let mut message = TcMessage::with_index(index.cast_signed());
    message.header.parent = TcHandle::ROOT;
    message.attributes.push(TcAttribute::Kind("noqueue".to_owned()));
    let message = RouteNetlinkMessage::NewQueueDiscipline(message);
    let said = create(handle, message, NLM_F_REPLACE);
    // Slower with it, but no less right.
    if let Err(error) = ask("taking the queue away", said).await {
        tracing::warn!("interface {index}: {error}");
    }
}

/// Adds a route as ip-route(8)'s `prepend` does: of those to the same place that are as good, it is the first, and none is
/// taken away; IPv6 makes one of several ways of them. One that is there already is as good.
pub(super) async fn prepend_route(handle: &Handle, route: RouteMessage, step: &str) -> Result<(), Refusal> {
    // Without NLM_F_EXCL, only the very same route is in the way (net/ipv4/fib_trie.c, `fib_table_insert`).
    match ask(step, create(handle, RouteNetlinkMessage::NewRoute(route), 0)).await {
        Err(refusal) if refusal.errno() == Some(libc::EEXIST) => Ok(()),
        added => added,
    }
}

/// Asks for something to be made, with these flags besides.
async fn create(handle: &Handle, message: RouteNetlinkMessage, flags: u16) -> Result<(), rtnetlink::Error> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | flags;
    let mut answers = handle.clone().request(request)?;
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::Error(error) = answer.payload
            && error.code.is_some()
        {
            return Err(rtnetlink::Error::NetlinkError(error));
        }
    }
    Ok(())
}

/// Has the TCP of the namespace that we are in send as soon as it may.
///
/// A new namespace inherits the host's congestion control. If that is BBR, it paces: a timer stands between every two
/// bursts. On the way to the stack or over the bridge there is no queue that this could spare, and it halves the speed.
/// What leaves the machine does so on the host's sockets, which keep the host's choice. Reno is in every kernel, and open
/// to everybody (net/ipv4/tcp_cong.c, TCP_CONG_NON_RESTRICTED).
pub(super) fn forgo_pacing() {
    let inherited = std::fs::read_to_string(CONGESTION_CONTROL).unwrap_or_default();
    if inherited.starts_with("bbr") {
        set_sysctl(CONGESTION_CONTROL, "reno");
    }
}

/// Sets what a network can do without; a read-only /proc/sys must not be its end.
pub(super) fn set_sysctl(path: &str, value: &str) {
    match std::fs::write(path, value) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::warn!("{path}: {error}"),
        Ok(()) | Err(_) => {}
    }
}

async fn add_default_route(handle: &Handle, index: u32, gateway: IpAddr) -> Result<(), Refusal> {
    let step = format!("adding the default route by {gateway}");
    let route = match gateway {
        IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new()
            .output_interface(index)
            .gateway(gateway)
            .build(),
        IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new()
            .output_interface(index)
            .gateway(gateway)
            .build(),
    };
    match ask(&step, handle.route().add(route).execute()).await {
        Err(refusal) if refusal.errno() == Some(libc::EEXIST) => Err(Refusal::DefaultRouteExists),
        result => result,
    }
}

/// How long the kernel may take for one request; it needs milliseconds, and the helper waits twice as long.
const PATIENCE: Duration = Duration::from_secs(5);

/// The thread that watches links needs microseconds, and on a machine that is busy some milliseconds.
const LINK_WATCH: Duration = Duration::from_millis(200);
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// IPv6 is on, whatever the host's default is (ip-sysctl.rst of the kernel).
const ON: (&str, &str) = ("disable_ipv6", "0");

/// Of an interface that we configure: no neighbour changes routes or addresses, and the link-local address is good at
/// once as ours is.
const STATIC: [(&str, &str); 4] = [ON, ("accept_ra", "0"), ("autoconf", "0"), ("accept_dad", "0")];

/// Of a network namespace, for both address families.
const CONGESTION_CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
