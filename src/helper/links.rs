//! Links between containers: who may have one, what the linking container is told, and what the stack is.
//!
//! A link leads to whoever has the child's name: it is gone while nobody of that name runs, and is there again when
//! somebody does. The stack, the resolver and the hosts files of running containers are told anew whenever a container
//! comes, starts, ends or goes, and when its ports change.

use std::sync::atomic::Ordering;

use super::container::{Container, LinkedTo};
use super::driver::Command;
use super::failure::Failure;
use super::lifecycle::find;
use super::supervisor::{State, Supervisor};
use crate::api::types::Status;
use crate::network::links::{Child, LinkSpec, host_lines, variables};
use crate::network::pool::Lease;
use crate::network::ports::{ContainerPort, Protocol};
use crate::policy::links::{LinkPort, LinkProtocol, LinkRule, LinkRules};

/// What a container to be learns of those it links to.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) variables: Vec<String>,
    pub(super) host_lines: Vec<String>,
}

impl Supervisor {
    /// Tells the stack who is linked to whom, and rewrites the hosts files of those whose links have moved.
    pub(super) fn tell_links(&self, state: &State) {
        let linked = state
            .containers
            .values()
            .filter(|container| !container.links.is_empty());
        let mut links = Vec::new();
        for parent in linked {
            let Some(lease) = parent.lease.as_ref().filter(|_| parent.link.is_some()) else {
                continue;
            };
            let children = children(state, parent);
            for (_, child) in &children {
                links.extend(
                    child
                        .lease
                        .iter()
                        .flat_map(|other| rules(lease, other, &child.open_ports())),
                );
            }
            if let Some(file) = parent.link.as_ref().and_then(|link| link.hosts.as_ref()) {
                file.tell(lines(&children));
            }
        }
        self.command(Command::Links(LinkRules {
            isolated: !self.icc.load(Ordering::Relaxed),
            links,
        }));
    }
}

/// The links that a container of this name asks for, if all of them can be made.
pub(super) fn resolve(state: &State, parent: &str, specs: &[LinkSpec]) -> Result<Vec<LinkedTo>, Failure> {
    let mut links: Vec<LinkedTo> = Vec::new();
    for LinkSpec { target, alias } in specs {
        let child = find(state, target)
            .map_err(|failure| failure.prefixed(format_args!("could not get container for {target}")))?;
        let alias = alias.clone().unwrap_or_else(|| child.name.clone());
        if child.state.status != Status::Running {
            return Err(Failure::conflict(format!(
                "Cannot link to a non running container: /{} AS /{parent}/{alias}",
                child.name
            )));
        }
        if links.iter().any(|link| link.alias == alias && link.child != child.name) {
            return Err(Failure::bad(format!(
                "the alias {alias} is given to two containers: give each --link an ALIAS of its own"
            )));
        }
        links.push(LinkedTo {
            child: child.name.clone(),
            alias,
        });
    }
    Ok(links)
}

/// What a container of this name with these links is told of them as it starts.
pub(super) fn told(state: &State, parent: &str, links: &[LinkedTo]) -> Told {
    let mut told = Told::default();
    for link in links {
        let Some(child) = running(state, &link.child) else {
            continue;
        };
        with_child(child, |child| {
            told.variables.extend(variables(parent, &link.alias, &child));
            told.host_lines.extend(host_lines(&link.alias, &child));
        });
    }
    told
}

/// The aliases of a container's links, each with the container that it leads to now.
fn children<'s>(state: &'s State, parent: &'s Container) -> Vec<(&'s str, &'s Container)> {
    let links = parent.links.iter();
    links
        .filter_map(|link| Some((link.alias.as_str(), running(state, &link.child)?)))
        .collect()
}

fn lines(children: &[(&str, &Container)]) -> Vec<String> {
    let lines = children.iter();
    lines
        .flat_map(|(alias, child)| with_child(child, |child| host_lines(alias, &child)))
        .collect()
}

/// The running container of this name.
pub(super) fn running<'s>(state: &'s State, name: &str) -> Option<&'s Container> {
    let mut named = state.containers.values().filter(|container| container.name == name);
    named.find(|container| container.link.is_some())
}

fn with_child<T>(container: &Container, then: impl FnOnce(Child<'_>) -> T) -> T {
    then(Child {
        name: &container.name,
        hostname: &container.hostname,
        addresses: &container.lease.as_ref().map(Lease::addresses).unwrap_or_default(),
        ports: &container.open_ports(),
        env: &container.wish.env,
    })
}

/// One rule for each family that both have.
fn rules(parent: &Lease, child: &Lease, ports: &[ContainerPort]) -> Vec<LinkRule> {
    let ports: Vec<LinkPort> = ports.iter().map(link_port).collect();
    let pairs = parent.addresses().into_iter().flat_map(|parent| {
        let children = child.addresses().into_iter();
        children.map(move |child| (parent, child))
    });
    let of_one_family = pairs.filter(|(parent, child)| parent.is_ipv4() == child.is_ipv4());
    of_one_family
        .map(|(parent, child)| LinkRule {
            parent,
            child,
            ports: ports.clone(),
        })
        .collect()
}

fn link_port(port: &ContainerPort) -> LinkPort {
    LinkPort {
        protocol: match port.protocol {
            Protocol::Tcp => LinkProtocol::Tcp,
            Protocol::Udp => LinkProtocol::Udp,
        },
        port: port.port,
    }
}
