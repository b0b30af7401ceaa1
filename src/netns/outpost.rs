//! A process of ours inside a network namespace of others, which opens sockets there.
//!
//! A socket belongs to the namespace in which it was made, whoever uses it later. So a child joins the namespace, makes the
//! line as [`super::line`] does, and stays: it binds and opens what it is asked for and hands the descriptors over. The
//! caller stays where the host's network is, with no power over the namespace.
//!
//! Besides the sockets it hands over the namespace's own tables of sockets (proc_net(5): a table shows the namespace in
//! which it was opened), from which the caller sees what listens inside.
//!
//! What the caller can't do at its own end, for it has left the file system, the child does at its last ([`Chores`]).
//!
//! The child ends with the channel, or with the caller; what it has inherited of the caller's descriptors it holds for as
//! long, but for the standard streams, and what its chores let go. It is not dumpable, so the root of the namespace can't
//! take it over, keeps no privilege but that of binding low ports there, and the system calls that its chores leave it; if
//! it is killed or stopped, no more sockets come, and that is told as an error.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout};
use rtnetlink::packet_route::route::{RouteAttribute, RouteFlags, RouteMessage, RouteScope};
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};
use tokio::sync::oneshot;

use super::channel::{Reply, receive, send};
use super::host_view::ViewedRoute;
use super::line::{self, LineError, LineSpec};
use super::netlink::{ask, connect, index_of, prepend_route, set_sysctl};
use super::refusal::Refusal;
use crate::sys::tun::{Attached, OffloadBits};
use crate::sys::{capabilities, code, descriptors, process};

/// What is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutpostSpec {
    /// The line; none for sockets alone.
    pub line: Option<LineSpec>,
    /// What leads over it, copied from elsewhere; added after everything else.
    pub routes: Vec<ViewedRoute>,
    /// Its hardware address, where it is not configured otherwise.
    pub mac: Option<[u8; 6]>,
}

/// The tables of sockets of a network namespace.
#[derive(Debug)]
pub struct SocketTables {
    /// TCP over IPv4 and IPv6, then UDP; a kernel without IPv6 has two of them.
    pub files: Vec<(Table, File)>,
}

/// Which table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Of TCP.
    Tcp,
    /// Of UDP.
    Udp,
}

/// A socket to open inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// TCP, or else UDP.
    pub stream: bool,
    /// What is bound; none leaves it to whoever connects it.
    pub bind: Option<SocketAddr>,
    /// The family, where nothing is bound.
    pub v6: bool,
    /// The interface that it is bound to.
    pub interface: Option<String>,
}

/// The way to the child; clones are the same one, and the last that is dropped ends it.
#[derive(Debug, Clone)]
pub struct Outpost {
    orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
struct Order {
    wanted: Wanted,
    reply: oneshot::Sender<io::Result<OwnedFd>>,
}

/// A child that has done what it was to do first, and waits.
#[derive(Debug)]
pub struct Garrison {
    channel: UnixStream,
}

/// Ends the child when this is dropped, and waits until it has done what it was to do last.
#[derive(Debug)]
pub struct Recall(UnixStream);

impl Drop for Recall {
    fn drop(&mut self) {
        // Its own end closes when it ends. One that is stopped keeps nobody for long.
        let _ = self.0.shutdown(Shutdown::Write);
        while let Ok(1..) = self.0.read(&mut [0; 64]) {}
    }
}

/// What the child does for the caller besides, in the file system that there is at the start.
pub trait Chores {
    /// First of all: lets go of what is the caller's alone.
    fn arrive(&mut self);
    /// When nothing is left but to open sockets and to leave: gives up what that does not take.
    fn settle(&mut self) -> io::Result<()>;
    /// Last, when it is told to end.
    fn leave(&mut self);
}

/// Starts the child in `netns`, with the privilege that `userns` gives (see [`line::tie`]), and has it make the line.
pub fn establish(
    spec: &OutpostSpec,
    userns: Option<OwnedFd>,
    netns: OwnedFd,
    chores: impl Chores,
) -> Result<(Option<Attached>, SocketTables, Garrison), LineError> {
    let serve = |channel| serve(spec, userns, netns, channel, chores);
    let (_child, channel) = process::spawn_copy(serve).map_err(LineError::Start)?;
    let reply: Option<Reply<Established>> = receive(&channel).map_err(LineError::Died)?;
    let gone = || LineError::Died(io::ErrorKind::UnexpectedEof.into());
    let Established { line, tables } = reply.ok_or_else(gone)??;
    let line = match line {
        None => None,
        Some((offload, mac)) => Some(Attached {
            fd: descriptors::receive(&channel).map_err(LineError::Died)?,
            offload,
            mac,
        }),
    };
    let files = tables.into_iter().map(|tcp| {
        let table = if tcp { Table::Tcp } else { Table::Udp };
        Ok((table, File::from(descriptors::receive(&channel)?)))
    });
    let files = files.collect::<io::Result<_>>().map_err(LineError::Died)?;
    channel.set_read_timeout(Some(PATIENCE)).map_err(LineError::Died)?;
    channel.set_write_timeout(Some(PATIENCE)).map_err(LineError::Died)?;
    Ok((line, SocketTables { files }, Garrison { channel }))
}

impl Garrison {
    /// The way to its end.
    pub fn recall(&self) -> io::Result<Recall> {
        self.channel.try_clone().map(Recall)
    }

    /// From now on sockets can be had; a thread of its own waits for the child.
    pub fn open(self) -> io::Result<Outpost> {
        let (orders, queue) = mpsc::channel::<Order>();
        std::thread::Builder::new().name("outpost".to_owned()).spawn(move || {
            for Order { wanted, reply } in queue {
                // Whoever asked may have gone.
                let _ = reply.send(fetch(&self.channel, &wanted));
            }
        })?;
        Ok(Outpost { orders })
    }
}

impl Outpost {
    /// Opens a socket inside, not waiting; a bound one of TCP listens.
    pub async fn socket(&self, wanted: Wanted) -> io::Result<OwnedFd> {
        let (reply, answer) = oneshot::channel();
        let gone = || io::Error::other("the process in the namespace has gone");
        self.orders.send(Order { wanted, reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// What the child says first; then come the line's descriptor and the tables'.
#[derive(Debug, Serialize, Deserialize)]
struct Established {
    line: Option<(Option<OffloadBits>, [u8; 6])>,
    /// Whether each is of TCP.
    tables: Vec<bool>,
}

/// The child's answer to a [`Wanted`]; the descriptor follows, or this is the error's number.
type Opened = Result<(), i32>;

fn fetch(channel: &UnixStream, wanted: &Wanted) -> io::Result<OwnedFd> {
    send(channel, wanted, &[])?;
    match receive::<Opened>(channel)? {
        Some(Ok(())) => descriptors::receive(channel),
        Some(Err(errno)) => Err(io::Error::from_raw_os_error(errno)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn serve(
    spec: &OutpostSpec,
    userns: Option<OwnedFd>,
    netns: OwnedFd,
    channel: UnixStream,
    mut chores: impl Chores,
) -> u8 {
    // The caller's folder can be unmounted meanwhile.
    let _ = chdir("/");
    chores.arrive();
    let begun = begin(spec, userns, netns).and_then(|begun| {
        silence();
        let settled = chores.settle();
        settled.map_err(|error| Refusal::kernel("confining it", &error))?;
        Ok(begun)
    });
    let told = match begun {
        Ok((line, tables)) => {
            let established = Established {
                line: line.as_ref().map(|line| (line.offload, line.mac)),
                tables: tables.iter().map(|(tcp, _)| *tcp).collect(),
            };
            let fds: Vec<_> = line.iter().map(|line| line.fd.as_fd()).collect();
            let fds: Vec<_> = fds
                .into_iter()
                .chain(tables.iter().map(|(_, file)| file.as_fd()))
                .collect();
            send::<Reply<Established>>(&channel, &Ok(established), &fds)
        }
        Err(refusal) => {
            let _ = send::<Reply<Established>>(&channel, &Err(refusal), &[]);
            return 1;
        }
    };
    if told.is_err() {
        return 1;
    }
    // What only the start needed may stay mapped: it costs memory, nothing else.
    let _ = code::forget();
    while let Ok(Some(wanted)) = receive::<Wanted>(&channel) {
        let answered = match open_socket(&wanted) {
            Ok(socket) => send::<Opened>(&channel, &Ok(()), &[socket.as_fd()]),
            Err(error) => send::<Opened>(&channel, &Err(error.raw_os_error().unwrap_or(libc::EIO)), &[]),
        };
        if answered.is_err() {
            break;
        }
    }
    chores.leave();
    0
}

type Begun = (Option<Attached>, Vec<(bool, File)>);

fn begin(spec: &OutpostSpec, userns: Option<OwnedFd>, netns: OwnedFd) -> Reply<Begun> {
    let refused = |errno: nix::Error| Refusal::CannotJoin(errno.desc().to_owned());
    let line = match &spec.line {
        Some(line) => Some(line::open(line, userns, netns)?),
        None => {
            nix::sys::prctl::set_dumpable(false).map_err(refused)?;
            if let Some(userns) = userns {
                let _ = setns(userns, CloneFlags::CLONE_NEWUSER);
            }
            setns(netns, CloneFlags::CLONE_NEWNET).map_err(refused)?;
            None
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Refusal::kernel("starting the runtime", &error))?;
    runtime.block_on(finish(spec))?;
    drop(runtime);
    // From here on there are only sockets to open and ports to bind.
    capabilities::keep_only_low_ports().map_err(|error| Refusal::kernel("giving up privilege", &error))?;
    // After all that would make it forgotten (prctl(2), PR_SET_PDEATHSIG).
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(refused)?;
    let line = line.map(|line| Attached {
        mac: spec.mac.unwrap_or(line.mac),
        ..line
    });
    let tables = TABLES
        .iter()
        .filter_map(|(tcp, path)| Some((*tcp, File::open(path).ok()?)));
    Ok((line, tables.collect()))
}

/// What a line's own configuration leaves to do: the loopback, which we bind to, and copied routes.
async fn finish(spec: &OutpostSpec) -> Reply<()> {
    let handle = connect().map_err(|error| Refusal::kernel("opening netlink", &error))?;
    let lo = index_of(&handle, "lo").await?;
    let up = LinkUnspec::new_with_index(lo).up().build();
    ask("bringing lo up", handle.link().set(up).execute()).await?;
    let Some(line) = &spec.line else {
        return Ok(());
    };
    let index = index_of(&handle, &line.ifname).await?;
    if let Some(mac) = spec.mac {
        let link = LinkUnspec::new_with_index(index).address(mac.to_vec()).build();
        ask("setting the hardware address", handle.link().set(link).execute()).await?;
    }
    if line.set_up.is_none() {
        return Ok(());
    }
    // What is configured has no use for advertisements; a kernel without IPv6 has no such file.
    set_sysctl(&format!("/proc/sys/net/ipv6/conf/{}/accept_ra", line.ifname), "0");
    for route in &spec.routes {
        add(&handle, index, *route).await?;
    }
    Ok(())
}

async fn add(handle: &Handle, index: u32, route: ViewedRoute) -> Reply<()> {
    let step = match route.gateway {
        Some(gateway) => format!("adding the route to {} by {gateway}", route.to),
        None => format!("adding the route to {}", route.to),
    };
    prepend_route(handle, message(index, route), &step).await
}

fn message(index: u32, route: ViewedRoute) -> RouteMessage {
    use std::net::IpAddr::{V4, V6};
    let mut message = match (route.to.ip(), route.gateway) {
        (V4(to), gateway) => {
            let builder = RouteMessageBuilder::<std::net::Ipv4Addr>::new()
                .output_interface(index)
                .destination_prefix(to, route.to.prefix());
            match (gateway, route.source) {
                (Some(V4(gateway)), Some(V4(source))) => builder.gateway(gateway).pref_source(source).build(),
                (Some(V4(gateway)), _) => builder.gateway(gateway).build(),
                (_, Some(V4(source))) => builder.scope(RouteScope::Link).pref_source(source).build(),
                (_, _) => builder.scope(RouteScope::Link).build(),
            }
        }
        (V6(to), gateway) => {
            let builder = RouteMessageBuilder::<std::net::Ipv6Addr>::new()
                .output_interface(index)
                .destination_prefix(to, route.to.prefix());
            match (gateway, route.source) {
                (Some(V6(gateway)), Some(V6(source))) => builder.gateway(gateway).pref_source(source).build(),
                (Some(V6(gateway)), _) => builder.gateway(gateway).build(),
                (_, Some(V6(source))) => builder.pref_source(source).build(),
                (_, _) => builder.build(),
            }
        }
    };
    if let Some(metric) = route.metric {
        message.attributes.push(RouteAttribute::Priority(metric));
    }
    if route.onlink {
        message.header.flags |= RouteFlags::Onlink;
    }
    message
}

fn open_socket(wanted: &Wanted) -> io::Result<Socket> {
    let domain = match wanted.bind {
        Some(address) => Domain::for_address(address),
        None if wanted.v6 => Domain::IPV6,
        None => Domain::IPV4,
    };
    let socket = Socket::new(domain, if wanted.stream { Type::STREAM } else { Type::DGRAM }, None)?;
    socket.set_nonblocking(true)?;
    if let Some(interface) = &wanted.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    let Some(address) = wanted.bind else {
        return Ok(socket);
    };
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if wanted.stream {
        // Connections of an earlier life in TIME-WAIT don't hold the port.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    if wanted.stream {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

/// Points the standard streams at nothing: whoever waits for the caller's end of them is not kept by us.
fn silence() {
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = dup2_stdin(&null)
            .and_then(|()| dup2_stdout(&null))
            .and_then(|()| dup2_stderr(&null));
    }
}

/// Whether it is TCP's, and where it is (proc_net(5)).
const TABLES: [(bool, &str); 4] = [
    (true, "/proc/self/net/tcp"),
    (true, "/proc/self/net/tcp6"),
    (false, "/proc/self/net/udp"),
    (false, "/proc/self/net/udp6"),
];

/// How long the child may take for a socket: it is a matter of microseconds, unless somebody has stopped it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections waiting to be accepted; the kernel cuts it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
