//! A container's published ports: bound with it, before it runs, or later, and given back with it at the latest.

use std::net::SocketAddr;

use tokio::sync::oneshot;

use super::binding;
use super::container::{Container, Published};
use super::driver::{Command, Destination};
use super::failure::Failure;
use super::lifecycle::{find, parse};
use super::supervisor::{State, Supervisor};
use crate::api::types::{PortMapping, Status};
use crate::network::pool::Lease;
use crate::network::ports::PortSpec;
use crate::network::publications::{Binding, Publisher};
use crate::stack::PublishId;

impl Supervisor {
    /// Publishes more ports of a container.
    pub(super) async fn publish(&self, name: &str, specs: &[String]) -> Result<Vec<PortMapping>, Failure> {
        let specs = parse::<PortSpec>(specs)?;
        let mut state = self.lock().await;
        let id = find(&state, name)?.id.clone();
        let Some(mut container) = state.containers.remove(&id) else {
            return Err(Failure::ending());
        };
        let before = container.published.len();
        let bound = if container.state.status == Status::Exited {
            Err(Failure::conflict(format!(
                "container {} is not running",
                container.name
            )))
        } else {
            self.bind_ports(&mut state, &mut container, specs)
        };
        if let Some(lease) = container.lease.filter(|_| container.link.is_some()) {
            container.published[before..]
                .iter_mut()
                .for_each(|published| open(self, published, &lease));
        }
        let ports = container.published[before..].iter().map(Published::mapping).collect();
        state.containers.insert(id, container);
        self.tell_links(&state);
        bound.map(|()| ports)
    }

    /// Takes published ports back; all of `specs` or none.
    pub(super) async fn unpublish(&self, name: &str, specs: &[String]) -> Result<(), Failure> {
        let parsed = parse::<PortSpec>(specs)?;
        let mut state = self.lock().await;
        let container = find(&state, name)?;
        let matches = |published: &Published, spec: &PortSpec| {
            published.container_port == spec.container
                && spec.address.is_none_or(|address| address == published.address.ip())
                && spec.host_port.is_none_or(|port| port == published.address.port())
        };
        for (spec, typed) in parsed.iter().zip(specs) {
            if !container.published.iter().any(|published| matches(published, spec)) {
                return Err(Failure::unknown(format!(
                    "{} does not publish {typed}; see `gangplank port {0}`",
                    container.name
                )));
            }
        }
        let id = container.id.clone();
        let Some(container) = state.containers.get_mut(&id) else {
            return Err(Failure::ending());
        };
        let gone: Vec<Published> = container
            .published
            .extract_if(.., |published| parsed.iter().any(|spec| matches(published, spec)))
            .collect();
        self.tell_links(&state);
        drop(state);
        let bindings = self.close_ports(gone).await;
        let mut state = self.lock().await;
        for binding in bindings {
            state.publications.remove(binding);
        }
        Ok(())
    }

    /// Binds every port of `specs` and enters them, or none.
    pub(super) fn bind_ports(
        &self,
        state: &mut State,
        container: &mut Container,
        mut specs: Vec<PortSpec>,
    ) -> Result<(), Failure> {
        // Explicit numbers first, so that no automatic one takes them.
        specs.sort_by_key(|spec| spec.host_port.is_none());
        let before = container.published.len();
        for spec in specs {
            if let Err(failure) = bind_port(state, container, &spec) {
                for published in container.published.drain(before..) {
                    state.publications.remove(key(&published));
                }
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Gives ports back to the host. Until the caller has taken the bindings that are returned out of its books, nobody
    /// else gets them.
    pub(super) async fn close_ports(&self, ports: Vec<Published>) -> Vec<Binding> {
        let bindings = ports.iter().map(key).collect();
        let mut closed = Vec::new();
        for published in ports {
            if published.socket.is_none() {
                let (done, wait) = oneshot::channel();
                self.command(Command::Unpublish(published.id, done));
                closed.push(wait);
            }
        }
        for wait in closed {
            // An error means that the driver has ended, and every port with it.
            let _ = wait.await;
        }
        bindings
    }
}

fn bind_port(state: &mut State, container: &mut Container, spec: &PortSpec) -> Result<(), Failure> {
    for socket in binding::bind(spec, &state.publications, &mut state.automatic)? {
        let address = socket.local_addr().map_err(Failure::failed)?;
        state.last_publish = state.last_publish.wrapping_add(1);
        let id = PublishId(state.last_publish);
        let published = Published {
            container_port: spec.container,
            address,
            id,
            socket: Some(socket),
        };
        let publisher = Publisher {
            id: container.id.clone(),
            name: container.name.clone(),
            container_port: spec.container,
        };
        state
            .publications
            .insert(key(&published), publisher)
            .map_err(Failure::conflict)?;
        container.published.push(published);
    }
    Ok(())
}

/// Hands a bound port to the driver.
pub(super) fn open(supervisor: &Supervisor, published: &mut Published, lease: &Lease) {
    if let Some(port) = published.socket.take() {
        supervisor.command(Command::Publish {
            id: published.id,
            port,
            destination: destination(published, lease),
        });
    }
}

/// A client of either family comes to the container's address of that family, and is seen there by its own.
///
/// In a network without IPv6 all come to the IPv4 address, as Docker's proxy has it. With IPv6 a client of `localhost` tries
/// ::1 first, and we have accepted its connection before the container was asked: it would not try 127.0.0.1 when that
/// connection is reset. So a connection that nobody takes at the IPv6 address is led to the IPv4 address.
fn destination(published: &Published, lease: &Lease) -> Destination {
    let port = published.container_port.port;
    let v4 = SocketAddr::new(lease.address.into(), port);
    let v6 = lease.address6.filter(|_| published.address.is_ipv6());
    match v6 {
        Some(address6) => Destination {
            container: SocketAddr::new(address6.into(), port),
            otherwise: Some(v4),
        },
        None => Destination {
            container: v4,
            otherwise: None,
        },
    }
}

fn key(published: &Published) -> Binding {
    Binding {
        address: published.address.ip(),
        port: published.address.port(),
        protocol: published.container_port.protocol,
    }
}
