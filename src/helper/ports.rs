//! A container's published ports: bound with it, before it runs, or later, and given back with it at the latest.
//!
//! All that one request asks for is claimed in the [books](super::books) at once, or nothing; then bound, without the lock,
//! for ten thousand ports take a while; then entered, if the container is still there. What fails on the way leaves nothing.

use std::collections::BTreeSet;
use std::net::{SocketAddrV4, SocketAddrV6};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::binding::{self, Bound};
use super::books::Closed;
use super::container::{Listener, PortKey, Published, listed};
use super::driver::{Command, Destination, Opening};
use super::failure::Failure;
use super::lifecycle::{blocking, find, parse};
use super::supervisor::{State, Supervisor};
use crate::api::events::Event;
use crate::api::types::{PortMapping, Status};
use crate::host::listen::has_ipv6;
use crate::network::pool::Lease;
use crate::network::ports::{ContainerPort, Mapping, PortSpec, Protocol, Reach};
use crate::network::publications::{Claim, Owner};
use crate::policy::Transport;

/// Ports that are bound and in the books, and that no container has yet.
#[derive(Debug, Default)]
pub(super) struct Prepared(Vec<Bound>);

impl Supervisor {
    /// Publishes more ports of a container.
    pub(super) async fn publish(&self, name: &str, specs: &[String]) -> Result<Vec<PortMapping>, Failure> {
        let specs = parse::<PortSpec>(specs)?;
        let (id, owner, front) = {
            let state = self.lock().await;
            let container = find(&state, name)?;
            if container.state.status == Status::Exited {
                return Err(Failure::conflict(format!(
                    "container {} is not running",
                    container.name
                )));
            }
            (container.id.clone(), Arc::clone(&container.owner), container.front)
        };
        let mappings = specs.into_iter().flat_map(|spec| spec.mappings(front));
        let published = match self.prepare(&owner, mappings).await {
            Ok(prepared) => self.enter(&id, prepared).await,
            Err(failure) => Err(failure),
        };
        self.tell_refused(Event::container("conflict", &id, &owner.name), &published);
        published
    }

    /// Takes published ports back; all of `specs` or none.
    pub(super) async fn unpublish(&self, name: &str, specs: &[String]) -> Result<(), Failure> {
        let parsed = parse::<PortSpec>(specs)?;
        let gone = {
            let mut state = self.lock().await;
            let container = find(&state, name)?;
            let mut gone = BTreeSet::new();
            for (spec, typed) in parsed.iter().zip(specs) {
                let named: Vec<PortKey> = named(&container.published, spec).collect();
                if named.is_empty() {
                    return Err(Failure::unknown(format!(
                        "{} does not publish {typed}; see `gangplank port {0}`",
                        container.name
                    )));
                }
                gone.extend(named);
            }
            let id = container.id.clone();
            let container = state.containers.get_mut(&id).ok_or_else(Failure::ending)?;
            let remove = |key: PortKey| Some((key, container.published.remove(&key)?));
            let gone: Published = gone.into_iter().filter_map(remove).collect();
            self.tell_ports("unpublish", container, &listed(&gone).collect::<Vec<_>>());
            self.tell_links(&state);
            gone
        };
        let closed = self.close_ports(gone).await;
        self.lock().await.books.forget(&closed);
        Ok(())
    }

    /// Claims and binds `mappings` for a container, or none of them.
    pub(super) async fn prepare(
        &self,
        owner: &Arc<Owner>,
        mappings: impl Iterator<Item = Mapping>,
    ) -> Result<Prepared, Failure> {
        let mut mappings = mappings.take(MOST).collect::<Vec<_>>();
        if mappings.len() == MOST {
            return Err(Failure::bad("these are more ports than a host has"));
        }
        if mappings.iter().any(|mapping| mapping.reach == Reach::Every) && !has_ipv6() {
            mappings.iter_mut().for_each(without_ipv6);
        }
        let mut prepared = Prepared::default();
        let mut claims = self.lock().await.books.claim(mappings, owner)?;
        while !claims.is_empty() {
            let bind = move || Ok((binding::bind(&claims), claims));
            let (outcome, tried) = blocking(bind).await?;
            let next = match outcome {
                Ok(round) => {
                    prepared.0.extend(round.bound);
                    self.lock().await.books.claim_next(&round.taken, owner)
                }
                Err(failure) => {
                    self.lock().await.books.give_back(&tried);
                    Err(failure)
                }
            };
            claims = match next {
                Ok(next) => next,
                Err(failure) => {
                    self.discard(prepared).await;
                    return Err(failure);
                }
            };
        }
        Ok(prepared)
    }

    /// Gives a container its ports, and opens them if it runs; says what they are.
    pub(super) async fn enter(&self, id: &str, prepared: Prepared) -> Result<Vec<PortMapping>, Failure> {
        let mut state = self.lock().await;
        let State { containers, books, .. } = &mut *state;
        let alive = containers.get_mut(id);
        let Some(container) = alive.filter(|container| container.state.status != Status::Exited) else {
            drop(state);
            self.discard(prepared).await;
            return Err(Failure::conflict(
                "the container was ended before its ports were published",
            ));
        };
        let mut published = Published::new();
        for Bound { claim, sockets } in prepared.0 {
            let listeners = sockets.into_iter().map(|socket| Listener {
                id: books.next_id(),
                socket: Some(socket),
            });
            published.insert(PortKey::of(&claim), listeners.collect());
        }
        if let Some(lease) = container.lease.filter(|_| container.link.is_some()) {
            self.open_ports(&mut published, &lease);
        }
        let shown: Vec<_> = listed(&published).collect();
        container.published.append(&mut published);
        if container.link.is_some() {
            self.tell_ports("publish", container, &shown);
            self.tell_links(&state);
        }
        Ok(shown)
    }

    /// Hands bound ports to the driver.
    pub(super) fn open_ports(&self, published: &mut Published, lease: &Lease) {
        let mut openings = Vec::with_capacity(published.len());
        for (key, listeners) in published {
            for listener in listeners {
                openings.extend(listener.socket.take().map(|port| Opening {
                    id: listener.id,
                    port,
                    destination: destination(key.container, lease),
                }));
            }
            for bound in key.bound() {
                self.published.open(transport(key.container.protocol), bound);
            }
        }
        self.command(Command::Publish(openings));
    }

    /// Gives ports back to the host. Until the caller has taken what is returned out of the books, nobody else gets them.
    pub(super) async fn close_ports(&self, ports: Published) -> Closed {
        let (closing, mut closed) = mpsc::unbounded_channel();
        let mut keys = Vec::with_capacity(ports.len());
        let mut served = Vec::with_capacity(ports.len());
        for (key, listeners) in ports {
            // First of all: containers must not be led to whoever binds it next.
            for bound in key.bound() {
                self.published.close(transport(key.container.protocol), bound);
            }
            keys.push(key);
            served.extend(listeners.into_iter().filter(|it| it.socket.is_none()).map(|it| it.id));
        }
        self.command(Command::Unpublish(served, closing));
        // Nothing is ever sent; the last sender is dropped when all are closed, or with the driver and every port.
        while let Some(()) = closed.recv().await {}
        Closed(keys)
    }

    async fn discard(&self, prepared: Prepared) {
        // Closed before others may claim them.
        let claims: Vec<Claim> = prepared.0.into_iter().map(|bound| bound.claim).collect();
        self.lock().await.books.give_back(&claims);
    }
}

/// What of the published a SPEC means.
fn named(published: &Published, spec: &PortSpec) -> impl Iterator<Item = PortKey> {
    let ports = spec.container.ports;
    let first = PortKey {
        container: ContainerPort {
            port: ports.first(),
            protocol: Protocol::Tcp,
        },
        reach: Reach::Every,
        port: 0,
    };
    published
        .range(first..)
        .map(|(key, _)| *key)
        .take_while(move |key| key.container.port <= ports.last())
        .filter(|key| spec.names(key.container, key.reach, key.port))
}

/// On a host without IPv6 every address is one of IPv4.
fn without_ipv6(mapping: &mut Mapping) {
    if mapping.reach == Reach::Every {
        mapping.reach = Reach::At(std::net::Ipv4Addr::UNSPECIFIED.into());
    }
}

fn destination(container: ContainerPort, lease: &Lease) -> Destination {
    let port = container.port;
    let v4 = SocketAddrV4::new(lease.address, port);
    lease
        .address6
        .map_or(Destination::One(v4.into()), |address| Destination::Both {
            v4,
            v6: SocketAddrV6::new(address, port, 0, 0),
        })
}

fn transport(protocol: Protocol) -> Transport {
    match protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
    }
}

/// Every port of both protocols, at two addresses; nobody has so many descriptors.
const MOST: usize = 4 * 65_536;
