//! The short way between the host's loopback and the namespace, by sockets on both sides, past the stack.
//!
//! In: a client on the host's loopback comes to the namespace's own address from that very address, as if a program inside
//! had called, or, where that is wanted, from loopback to loopback. Out: what connects to a forwarded port of the
//! namespace's loopback comes to the host's.
//!
//! Whoever asked for `localhost` tries ::1 first and takes a connection that is reset for an answer. So a target that
//! nobody listens at is tried in the other family, too.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream as StdStream};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::mpsc;

use super::datagrams::Conversations;
use crate::helper::driver::ApartClient;
use crate::host::relay::relay;
use crate::netns::outpost::{Outpost, Wanted};
use crate::stack::PublishId;

/// What clients of the host's loopback are led to.
#[derive(Debug)]
pub struct Locals {
    outpost: Outpost,
    /// The namespace's own addresses.
    guest: Guest,
    /// Loopback stays loopback.
    to_loopback: bool,
    targets: Mutex<HashMap<PublishId, LocalTarget>>,
}

/// The addresses at which a namespace's services are reached from inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Guest {
    /// Of IPv4.
    pub v4: Option<Ipv4Addr>,
    /// Of IPv6.
    pub v6: Option<Ipv6Addr>,
}

/// Where one published port leads.
#[derive(Debug, Clone)]
pub struct LocalTarget {
    /// An address of its own.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// Of UDP: the published socket, from which answers come, and those who talk over it.
    pub datagrams: Option<(Arc<UdpSocket>, Arc<Conversations>)>,
}

impl Locals {
    /// Serves clients that come by `clients`, as long as any can come.
    pub fn serve(
        outpost: Outpost,
        guest: Guest,
        to_loopback: bool,
        mut clients: mpsc::Receiver<ApartClient>,
    ) -> Arc<Self> {
        let locals = Arc::new(Self {
            outpost,
            guest,
            to_loopback,
            targets: Mutex::default(),
        });
        let serving = Arc::clone(&locals);
        tokio::spawn(async move {
            while let Some(client) = clients.recv().await {
                serving.take(client);
            }
        });
        locals
    }

    /// Leads clients of `id` there from now on.
    pub fn set(&self, id: PublishId, target: LocalTarget) {
        self.targets().insert(id, target);
    }

    /// Leads them nowhere.
    pub fn forget(&self, id: PublishId) {
        if let Some((_, conversations)) = self.targets().remove(&id).and_then(|target| target.datagrams) {
            conversations.end();
        }
    }

    /// Accepts clients of a listener of its own; those that are not of the host's loopback are turned away.
    pub async fn serve_listener(self: Arc<Self>, listener: TcpListener, target: LocalTarget) {
        loop {
            match listener.accept().await {
                Ok((client, from)) if from.ip().to_canonical().is_loopback() => {
                    if let Ok(client) = client.into_std() {
                        let (locals, target) = (Arc::clone(&self), target.clone());
                        tokio::spawn(async move { locals.carry(target, client).await });
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "a client was not accepted");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn take(self: &Arc<Self>, client: ApartClient) {
        let locals = Arc::clone(self);
        match client {
            ApartClient::Stream(id, stream) => {
                let Some(target) = self.targets().get(&id).cloned() else {
                    return reset(&stream);
                };
                tokio::spawn(async move { locals.carry(target, stream).await });
            }
            ApartClient::Datagram(id, client, asked, bytes) => {
                let Some(target) = self.targets().get(&id).cloned() else {
                    return;
                };
                let Some((socket, conversations)) = target.datagrams.clone() else {
                    return;
                };
                tokio::spawn(async move {
                    let bound = || socket.local_addr().map(|address| address.ip()).ok();
                    let to = asked.or_else(bound).unwrap_or(client.ip());
                    let candidates = locals.candidates(&target, to, client.ip());
                    let open = || locals.datagram_socket(&candidates);
                    conversations.deliver((client, asked), &bytes, socket, open).await;
                });
            }
        }
    }

    async fn carry(&self, target: LocalTarget, client: StdStream) {
        let (Ok(asked), Ok(peer)) = (client.local_addr(), client.peer_addr()) else {
            return;
        };
        for address in self.candidates(&target, asked.ip(), peer.ip()) {
            if let Ok(inside) = self.connect(address).await
                && let Ok(client) = client.try_clone().and_then(TcpStream::from_std)
            {
                drop(relay(client, inside).await);
                return;
            }
        }
        reset(&client);
    }

    /// Where to try, in this order: a client of `peer` has asked for `asked`.
    fn candidates(&self, target: &LocalTarget, asked: IpAddr, peer: IpAddr) -> Vec<SocketAddr> {
        let port = target.port;
        if let Some(address) = target.address {
            return vec![SocketAddr::new(address, port)];
        }
        let peer = peer.to_canonical();
        let (v4, v6) = if self.to_loopback {
            let asked = match asked.to_canonical() {
                IpAddr::V4(asked) if asked.is_loopback() => asked,
                IpAddr::V4(_) | IpAddr::V6(_) => Ipv4Addr::LOCALHOST,
            };
            (Some(asked), Some(Ipv6Addr::LOCALHOST))
        } else {
            (self.guest.v4, self.guest.v6)
        };
        let (v4, v6) = (v4.map(IpAddr::V4), v6.map(IpAddr::V6));
        let ordered = if peer.is_ipv4() { [v4, v6] } else { [v6, v4] };
        let some = ordered.into_iter().flatten();
        some.map(|address| SocketAddr::new(address, port)).collect()
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = StdStream::from(self.bare(address, true).await?);
        TcpSocket::from_std_stream(socket).connect(address).await
    }

    async fn datagram_socket(&self, candidates: &[SocketAddr]) -> io::Result<UdpSocket> {
        let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in candidates {
            let socket = UdpSocket::from_std(self.bare(*address, false).await?.into())?;
            match socket.connect(*address).await {
                Ok(()) => return Ok(socket),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    async fn bare(&self, address: SocketAddr, stream: bool) -> io::Result<OwnedFd> {
        let wanted = Wanted {
            stream,
            bind: None,
            v6: address.is_ipv6(),
            interface: None,
        };
        self.outpost.socket(wanted).await
    }

    fn targets(&self) -> MutexGuard<'_, HashMap<PublishId, LocalTarget>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leads every connection that comes to `listener`, inside, to the host's loopback or where else it is meant to go.
pub async fn serve_inside(listener: TcpListener, address: Option<IpAddr>, port: u16) {
    loop {
        match listener.accept().await {
            Ok((client, from)) => drop(tokio::spawn(lead_out(
                client,
                host_candidates(address, port, from.ip()),
            ))),
            Err(error) => {
                tracing::debug!(%error, port, "a connection of the namespace's loopback was not accepted");
                // Descriptors have run out, most likely: give them time to come back.
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// The same for datagrams.
pub async fn serve_datagrams_inside(socket: UdpSocket, address: Option<IpAddr>, port: u16) {
    let socket = Arc::new(socket);
    let conversations = Arc::new(Conversations::default());
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        let (len, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // An ICMP error about an answer, or no memory for now.
                tracing::debug!(%error, port, "datagrams of the namespace's loopback");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        let candidates = host_candidates(address, port, client.ip());
        let open = || open_to_host(&candidates);
        conversations
            .deliver((client, None), &buffer[..len], Arc::clone(&socket), open)
            .await;
    }
}

async fn lead_out(client: TcpStream, candidates: Vec<SocketAddr>) {
    for address in candidates {
        if let Ok(host) = TcpStream::connect(address).await {
            drop(relay(client, host).await);
            return;
        }
    }
    let _ = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
}

async fn open_to_host(candidates: &[SocketAddr]) -> io::Result<UdpSocket> {
    let address = candidates.first().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}

fn host_candidates(address: Option<IpAddr>, port: u16, client: IpAddr) -> Vec<SocketAddr> {
    let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    let addresses = match (address, client.to_canonical()) {
        (Some(address), _) => vec![address],
        (None, IpAddr::V4(_)) => vec![v4, v6],
        (None, IpAddr::V6(_)) => vec![v6, v4],
    };
    addresses
        .into_iter()
        .map(|address| SocketAddr::new(address, port))
        .collect()
}

fn reset(stream: &StdStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Between two tries while accepting fails.
const RETRY: Duration = Duration::from_millis(100);

/// The largest UDP payload.
const DATAGRAM_BYTES: usize = 65_535;
