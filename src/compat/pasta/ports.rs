//! The table of rules carried out: what is to be bound is bound, what is not any more is given back.
//!
//! Rules that name their ports are bound when the table changes, and a port that can't be had refuses the change (the table
//! of before is put back), unless the rule is content with what there is. Rules that follow what listens at the other end
//! are looked at once a second ([`Ports::follow`]); ports that are ours on that side don't count, or both directions would
//! chase each other.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;

use nix::errno::Errno;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::datagrams::Conversations;
use super::local::{self, Guest, LocalTarget, Locals};
use super::rule::{Bound, Pif, Rule, Transport};
use super::scan::Scanner;
use super::table::Table;
use crate::compat::mooring::Mooring;
use crate::helper::driver::{Apart, Destination};
use crate::host::listen::{HostPort, Manner};
use crate::netns::outpost::{Outpost, Wanted};
use crate::stack::PublishId;

/// Everything that is bound, on either side.
#[derive(Debug)]
pub struct Ports {
    /// The stack; none where there is no interface, and nobody but the loopback is served.
    mooring: Option<Mooring>,
    outpost: Outpost,
    /// Who takes clients of the host's loopback; none leaves them to the stack.
    locals: Option<(Apart, Arc<Locals>)>,
    guest: Guest,
    free: bool,
    has_ipv6: bool,
    inside: Scanner,
    host: Scanner,
    table: Table,
    changed: Arc<Notify>,
    live: BTreeMap<Key, Live>,
}

/// What [`Ports`] is made of.
#[derive(Debug)]
pub struct Harbour {
    /// The stack.
    pub mooring: Option<Mooring>,
    /// Sockets inside.
    pub outpost: Outpost,
    /// Who takes clients of the host's loopback.
    pub locals: Option<(Apart, Arc<Locals>)>,
    /// The namespace's own addresses.
    pub guest: Guest,
    /// Addresses are bound that the host may not have yet.
    pub free: bool,
    /// Whether IPv6 is spoken.
    pub has_ipv6: bool,
    /// What listens inside.
    pub inside: Scanner,
    /// What listens on the host.
    pub host: Scanner,
}

/// Why a change of the table was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// A port that was named can't be had.
    #[error("Listen failed for {pif} {transport} port {bound}: {why}\nCouldn't listen on requested ports")]
    Port {
        /// Which way.
        pif: Pif,
        /// What.
        transport: Transport,
        /// Address and port.
        bound: String,
        /// What the kernel said.
        why: &'static str,
    },
    /// None of many can be had.
    #[error(
        "Listen failed for {pif} {transport} port {last}: {why}\nAll listens failed for {pif} {transport} {bound}\n\
         Couldn't listen on requested ports"
    )]
    All {
        /// Which way.
        pif: Pif,
        /// What.
        transport: Transport,
        /// Address and ports.
        bound: String,
        /// Address and the last port that was tried.
        last: String,
        /// What the kernel said of that.
        why: &'static str,
    },
}

/// One socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    pif: Pif,
    transport: Transport,
    address: SocketAddr,
    /// The wildcard of IPv6 that takes IPv4's clients, too.
    both: bool,
    interface: Option<String>,
}

/// What it is bound for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Berth {
    target: (Option<IpAddr>, u16),
    /// It comes and goes with what listens at the other end.
    scanned: bool,
}

/// A rule that names its ports, and for each of them its sockets.
#[derive(Debug)]
struct Named {
    pif: Pif,
    rule: Rule,
    sockets: Vec<(u16, Key, Berth)>,
}

#[derive(Debug)]
struct Live {
    berth: Berth,
    holder: Holder,
}

#[derive(Debug)]
enum Holder {
    /// The stack's.
    Published(PublishId),
    /// A task's, which is the socket's only owner.
    Task(JoinHandle<()>),
}

impl Ports {
    /// Nothing is bound yet.
    pub fn new(harbour: Harbour) -> Self {
        let Harbour {
            mooring,
            outpost,
            locals,
            guest,
            free,
            has_ipv6,
            inside,
            host,
        } = harbour;
        Self {
            mooring,
            outpost,
            locals,
            guest,
            free,
            has_ipv6,
            inside,
            host,
            table: Table::default(),
            changed: Arc::default(),
            live: BTreeMap::new(),
        }
    }

    /// The rules that are carried out.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Carries out these instead, or none of the change.
    pub async fn apply(&mut self, table: Table) -> Result<(), ListenError> {
        let before = std::mem::replace(&mut self.table, table);
        if let Err(refused) = self.bind_named().await {
            self.table = before;
            if let Err(error) = self.bind_named().await {
                tracing::warn!(%error, "what was bound before can't be bound again");
            }
            return Err(refused);
        }
        self.follow().await;
        self.changed.notify_one();
        Ok(())
    }

    /// Told when the table has become another.
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// Binds what something has begun to listen on at the other end, and lets go of the rest.
    pub async fn follow(&mut self) {
        let rules = [Pif::Host, Pif::Splice].map(|pif| (pif, self.table.of(pif)));
        let mut scanning = rules.iter().flat_map(|(_, rules)| rules.iter());
        let had_any = self.live.values().any(|live| live.berth.scanned);
        if !had_any && !scanning.any(|rule| rule.scan) {
            return;
        }
        let wanted = match self.scanned() {
            Ok(wanted) => wanted,
            // Nothing is known: nothing changes.
            Err(error) => return tracing::warn!(%error, "what listens can't be seen"),
        };
        let gone = |(key, live): (&Key, &Live)| live.berth.scanned && wanted.get(key) != Some(&live.berth);
        let gone: Vec<Key> = self
            .live
            .iter()
            .filter(|pair| gone(*pair))
            .map(|(key, _)| key.clone())
            .collect();
        self.close(gone).await;
        for (key, berth) in wanted {
            if !self.live.contains_key(&key)
                && let Err(error) = self.open(key.clone(), berth).await
            {
                // Another program's, most often; asked for again in a second.
                tracing::debug!(%error, ?key, "not bound");
            }
        }
    }

    /// Whether anything follows what listens.
    pub fn follows(&self) -> bool {
        let rules = self.table.of(Pif::Host).iter().chain(self.table.of(Pif::Splice));
        rules.into_iter().any(|rule| rule.scan)
    }

    /// Brings what is bound by name in line with the table.
    async fn bind_named(&mut self) -> Result<(), ListenError> {
        let named = self.named();
        let wanted: BTreeMap<&Key, &Berth> = named
            .iter()
            .flat_map(|named| named.sockets.iter().map(|(_, key, berth)| (key, berth)))
            .collect();
        let gone = |(key, live): &(&Key, &Live)| !live.berth.scanned && wanted.get(key) != Some(&&live.berth);
        // What follows makes room for what is named.
        let yields = |(key, live): &(&Key, &Live)| live.berth.scanned && wanted.contains_key(key);
        let gone: Vec<Key> = self
            .live
            .iter()
            .filter(|pair| gone(pair) || yields(pair))
            .map(|(key, _)| key.clone())
            .collect();
        self.close(gone).await;
        for Named { pif, rule, sockets } in named {
            self.bind_rule(pif, &rule, sockets).await?;
        }
        Ok(())
    }

    async fn bind_rule(&mut self, pif: Pif, rule: &Rule, keys: Vec<(u16, Key, Berth)>) -> Result<(), ListenError> {
        let transport = rule.protocol;
        let mut any = false;
        let mut refused = None;
        for (port, key, berth) in keys {
            if self.live.contains_key(&key) {
                any = true;
                continue;
            }
            match self.open(key, berth).await {
                Ok(()) => any = true,
                Err(error) if rule.best_effort => refused = Some((port, description(&error))),
                Err(error) => {
                    return Err(ListenError::Port {
                        pif,
                        transport,
                        bound: Bound(rule, port, port).to_string(),
                        why: description(&error),
                    });
                }
            }
        }
        match refused.filter(|_| !any) {
            None => Ok(()),
            Some((port, why)) => Err(ListenError::All {
                pif,
                transport,
                bound: Bound(rule, rule.first, rule.last).to_string(),
                last: Bound(rule, port, port).to_string(),
                why,
            }),
        }
    }

    /// The rules that name their ports, each with the sockets that it takes.
    fn named(&self) -> Vec<Named> {
        let mut named = Vec::new();
        for pif in [Pif::Host, Pif::Splice] {
            for rule in self.table.of(pif).iter().filter(|rule| !rule.scan) {
                let keys = rule.ports().flat_map(|port| {
                    let keys = self.keys(pif, rule, port);
                    keys.into_iter().map(move |(key, berth)| (port, key, berth))
                });
                named.push(Named {
                    pif,
                    rule: rule.clone(),
                    sockets: keys.collect(),
                });
            }
        }
        named
    }

    /// What is wanted of the rules that follow.
    fn scanned(&mut self) -> io::Result<BTreeMap<Key, Berth>> {
        let mut wanted = BTreeMap::new();
        for pif in [Pif::Host, Pif::Splice] {
            if !self.table.of(pif).iter().any(|rule| rule.scan) {
                continue;
            }
            let (listening, other) = match pif {
                Pif::Host => (self.inside.look()?, Pif::Splice),
                Pif::Splice => (self.host.look()?, Pif::Host),
            };
            let ours: BTreeSet<(Transport, u16)> = self
                .live
                .keys()
                .filter(|key| key.pif == other)
                .map(|key| (key.transport, key.address.port()))
                .collect();
            for rule in self.table.of(pif).iter().filter(|rule| rule.scan) {
                let last = rule.to_first.saturating_add(rule.last - rule.first);
                let there = listening.of(rule.protocol).range(rule.to_first..=last);
                for port in there.filter(|port| !ours.contains(&(rule.protocol, **port))) {
                    wanted.extend(self.keys(pif, rule, rule.first + (port - rule.to_first)));
                }
            }
        }
        Ok(wanted)
    }

    /// The sockets of one port of a rule. Where no address is named, a listener on the host serves both families, for `all`
    /// takes as many descriptors as there are ports; datagrams have one socket for each, as have listeners inside.
    fn keys(&self, pif: Pif, rule: &Rule, port: u16) -> Vec<(Key, Berth)> {
        let both = rule.address.is_none() && self.has_ipv6 && (pif, rule.protocol) == (Pif::Host, Transport::Tcp);
        let addresses: &[IpAddr] = match &rule.address {
            Some(address) => std::slice::from_ref(address),
            None if both => &[IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
            None if self.has_ipv6 => &[IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
            None => &[IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
        };
        let berth = Berth {
            target: rule.target(port),
            scanned: rule.scan,
        };
        let key = |address: &IpAddr| Key {
            pif,
            transport: rule.protocol,
            address: SocketAddr::new(*address, port),
            both,
            interface: rule.interface.clone(),
        };
        addresses.iter().map(|address| (key(address), berth)).collect()
    }

    async fn open(&mut self, key: Key, berth: Berth) -> io::Result<()> {
        let holder = match key.pif {
            Pif::Host => self.open_on_host(&key, berth)?,
            Pif::Splice => self.open_inside(&key, berth).await?,
        };
        self.live.insert(key, Live { berth, holder });
        Ok(())
    }

    fn open_on_host(&self, key: &Key, berth: Berth) -> io::Result<Holder> {
        let manner = Manner {
            interface: key.interface.clone(),
            free: self.free,
            both: key.both,
        };
        let port = HostPort::bind_as(key.transport.into(), key.address, &manner)?;
        let Some(mooring) = &self.mooring else {
            return self.serve_loopback_alone(port, berth);
        };
        let destination = self.destination(key.address.ip(), berth);
        let Some((apart, locals)) = &self.locals else {
            return Ok(Holder::Published(mooring.publish(port, destination)));
        };
        let datagrams = datagrams(&port)?;
        let id = mooring.publish_apart(port, destination, apart.clone());
        let (address, port) = berth.target;
        locals.set(
            id,
            LocalTarget {
                address,
                port,
                datagrams,
            },
        );
        Ok(Holder::Published(id))
    }

    /// Without a stack nobody but the host's loopback is served, and only connections.
    fn serve_loopback_alone(&self, port: HostPort, berth: Berth) -> io::Result<Holder> {
        let (HostPort::Tcp(listener), Some((_, locals))) = (port, &self.locals) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let (address, port) = berth.target;
        let target = LocalTarget {
            address,
            port,
            datagrams: None,
        };
        let serving = Arc::clone(locals).serve_listener(TcpListener::from_std(listener)?, target);
        Ok(Holder::Task(tokio::spawn(serving)))
    }

    /// Where clients that are not the host's loopback come to.
    fn destination(&self, bound: IpAddr, berth: Berth) -> Destination {
        let (address, port) = berth.target;
        let v4 = self.guest.v4.map(|address| SocketAddrV4::new(address, port));
        let v6 = self.guest.v6.map(|address| SocketAddrV6::new(address, port, 0, 0));
        let either = |first: Option<SocketAddr>, second: Option<SocketAddr>| {
            let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
            Destination::One(first.or(second).unwrap_or(nowhere))
        };
        let (any4, any6) = (v4.map(SocketAddr::V4), v6.map(SocketAddr::V6));
        match (address, bound, v4, v6) {
            (Some(address), ..) => Destination::One(SocketAddr::new(address, port)),
            (None, IpAddr::V6(_), Some(v4), Some(v6)) => Destination::Both { v4, v6 },
            (None, IpAddr::V4(_), ..) => either(any4, any6),
            (None, IpAddr::V6(_), ..) => either(any6, any4),
        }
    }

    async fn open_inside(&self, key: &Key, berth: Berth) -> io::Result<Holder> {
        let stream = key.transport == Transport::Tcp;
        let wanted = Wanted {
            stream,
            bind: Some(key.address),
            v6: key.address.is_ipv6(),
            interface: key.interface.clone(),
        };
        let socket = self.outpost.socket(wanted).await?;
        let (address, port) = berth.target;
        let task = if stream {
            let listener = TcpListener::from_std(socket.into())?;
            tokio::spawn(local::serve_inside(listener, address, port))
        } else {
            let socket = UdpSocket::from_std(socket.into())?;
            tokio::spawn(local::serve_datagrams_inside(socket, address, port))
        };
        Ok(Holder::Task(task))
    }

    /// Gives sockets back; they can be bound again when this returns.
    async fn close(&mut self, keys: Vec<Key>) {
        for key in keys {
            match self.live.remove(&key).map(|live| live.holder) {
                Some(Holder::Published(id)) => {
                    if let Some((_, locals)) = &self.locals {
                        locals.forget(id);
                    }
                    if let Some(mooring) = &self.mooring {
                        mooring.unpublish(id).await;
                    }
                }
                Some(Holder::Task(task)) => {
                    task.abort();
                    // Its socket is closed once it has heard of it.
                    let _ = task.await;
                }
                None => {}
            }
        }
    }
}

/// Another hold on a published socket, for answers past the stack.
fn datagrams(port: &HostPort) -> io::Result<Option<(Arc<UdpSocket>, Arc<Conversations>)>> {
    match port {
        HostPort::Tcp(_) => Ok(None),
        HostPort::Udp(socket) => {
            let answers = UdpSocket::from_std(socket.try_clone()?)?;
            Ok(Some((Arc::new(answers), Arc::new(Conversations::default()))))
        }
    }
}

/// In the C library's words, without a number.
fn description(error: &io::Error) -> &'static str {
    error
        .raw_os_error()
        .map_or("Input/output error", |number| Errno::from_raw(number).desc())
}
