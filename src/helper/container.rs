//! What the helper knows of one container.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::watch;

use super::hosts_file::HostsFile;
use crate::api::types::{ContainerSummary, CreateContainer, PortMapping, State, Status};
use crate::host::listen::HostPort;
use crate::network::name::Named;
use crate::network::pool::Lease;
use crate::network::ports::{ContainerPort, Front, Reach};
use crate::network::publications::{Claim, Owner};
use crate::stack::{Attachment, PublishId};
use crate::sys::clock;
use crate::sys::pidfd::PidFd;
use crate::uplink::cable::Cable;

/// One container, from its reservation to `rm`.
#[derive(Debug)]
pub(super) struct Container {
    /// 64 hex digits.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) hostname: String,
    /// As asked for.
    pub(super) wish: CreateContainer,
    /// What an image or `--expose` says is served, and every published port.
    pub(super) exposed: BTreeSet<ContainerPort>,
    /// Whom it is linked to.
    pub(super) links: Vec<LinkedTo>,
    /// The lines about links in its hosts file, as it was made.
    pub(super) host_lines: Vec<String>,
    /// Its addresses, as long as it has them.
    pub(super) lease: Option<Lease>,
    /// Where its ports are published unless something else is said.
    pub(super) front: Front,
    /// As which it stands in the books.
    pub(super) owner: Arc<Owner>,
    pub(super) published: Published,
    /// It is being given its interface just now.
    pub(super) starting: bool,
    /// Its interface, as long as it runs.
    pub(super) link: Option<Link>,
    pub(super) state: State,
    /// Nanoseconds since the epoch at which it was created.
    pub(super) created: u64,
    /// The exit code, once there is one; whoever waits looks here.
    pub(super) ended: watch::Sender<Option<i32>>,
}

/// A link to another container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LinkedTo {
    /// Name of the container that it leads to.
    pub(super) child: String,
    /// What it is called here.
    pub(super) alias: String,
}

/// Ports of a container, bound on the host, in the order of their numbers.
pub(super) type Published = BTreeMap<PortKey, Vec<Listener>>;

/// Which port of a container, and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PortKey {
    pub(super) container: ContainerPort,
    pub(super) reach: Reach,
    /// The host's.
    pub(super) port: u16,
}

/// A socket of a published port.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) id: PublishId,
    /// Ours until the container runs, then the driver's.
    pub(super) socket: Option<HostPort>,
}

/// How a running container hangs on the bridge.
#[derive(Debug)]
pub(super) struct Link {
    /// Name of the bridge's port.
    pub(super) port: String,
    /// What joins it to a namespace that no veth can reach.
    pub(super) cable: Option<Cable>,
    /// What the stack knows it by.
    pub(super) attachments: Vec<Attachment>,
    /// Path of its network namespace.
    pub(super) sandbox: String,
    /// Its hosts file; `None` for an attached namespace.
    pub(super) hosts: Option<HostsFile>,
    /// Its command; `None` for an attached namespace.
    pub(super) command: Option<RunningCommand>,
    /// Waits for its end.
    pub(super) watch: tokio::task::AbortHandle,
}

/// A command of ours, by what cannot be given to another when it ends.
#[derive(Debug)]
pub(super) struct RunningCommand {
    pub(super) process: PidFd,
    /// Made for this container alone: whoever is in it belongs to the container. It keeps no interface alive.
    pub(super) user_namespace: Arc<OwnedFd>,
}

/// What a container held when it ended.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) link: Option<Link>,
    pub(super) lease: Option<Lease>,
    pub(super) loopback: Option<Ipv4Addr>,
    pub(super) published: Published,
    /// It stays listed.
    pub(super) stays: bool,
}

impl PortKey {
    pub(super) fn of(claim: &Claim) -> Self {
        Self {
            container: claim.mapping.container,
            reach: claim.mapping.reach,
            port: claim.port,
        }
    }

    /// The host's addresses and its port.
    pub(super) fn bound(self) -> impl Iterator<Item = SocketAddr> {
        self.reach
            .addresses()
            .map(move |address| SocketAddr::new(address, self.port))
    }
}

impl Container {
    /// A reserved container without ports; those to come are published at `front`.
    pub(super) fn new(
        id: String,
        name: String,
        hostname: String,
        wish: CreateContainer,
        lease: Lease,
        front: Front,
    ) -> Self {
        let created = clock::wall_nanos();
        let state = State {
            status: Status::Created,
            pid: 0,
            exit_code: 0,
            created_at: created / 1_000_000_000,
            started_at: 0,
            finished_at: 0,
        };
        let (ended, _) = watch::channel(None);
        let owner = Arc::new(Owner { name: name.clone() });
        Self {
            id,
            name,
            hostname,
            wish,
            exposed: BTreeSet::new(),
            links: Vec::new(),
            host_lines: Vec::new(),
            lease: Some(lease),
            front,
            owner,
            published: Published::new(),
            starting: false,
            link: None,
            state,
            created,
            ended,
        }
    }

    /// Whether it is a command of ours and not somebody's namespace.
    pub(super) fn is_ours(&self) -> bool {
        !self.wish.cmd.is_empty()
    }

    /// Marks it as ended, and takes from it what it held.
    pub(super) fn end(&mut self, code: i32) -> Held {
        self.state.status = Status::Exited;
        self.state.exit_code = code;
        self.state.finished_at = clock::wall_seconds();
        self.state.pid = 0;
        Held {
            link: self.link.take(),
            lease: self.lease.take(),
            loopback: match self.front {
                Front::Own(address) => Some(address),
                Front::At(_) => None,
            },
            published: std::mem::take(&mut self.published),
            stays: self.is_ours() && !self.wish.remove,
        }
    }

    /// How it can be called.
    pub(super) fn named(&self) -> Named<'_> {
        Named {
            id: &self.id,
            name: &self.name,
        }
    }

    /// Exposed and published ports, in the order of their numbers.
    pub(super) fn ports(&self) -> Vec<PortMapping> {
        let published: BTreeSet<ContainerPort> = self.published.keys().map(|key| key.container).collect();
        let silent = self.exposed.difference(&published).map(|port| mapping(*port, None));
        let mut ports: Vec<PortMapping> = listed(&self.published).chain(silent).collect();
        ports.sort();
        ports
    }

    /// What it exposes: what was said, and the container's side of what is published.
    pub(super) fn open_ports(&self) -> Vec<ContainerPort> {
        let published = self.published.keys().map(|key| key.container);
        let mut ports: Vec<_> = self.exposed.iter().copied().chain(published).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Its line in `ps`.
    pub(super) fn summary(&self) -> ContainerSummary {
        ContainerSummary {
            id: self.id.clone(),
            name: self.name.clone(),
            cmd: self.wish.cmd.clone(),
            created: self.created,
            state: self.state.clone(),
            ip: self.lease.as_ref().map(|lease| lease.address),
            ports: self.ports(),
        }
    }
}

/// What the stack is to know of whoever has this lease: one for each address.
pub(super) fn attachments(lease: &Lease) -> Vec<Attachment> {
    let addresses = lease.addresses().into_iter();
    addresses
        .map(|address| Attachment {
            mac: lease.mac,
            address,
        })
        .collect()
}

/// Lines of `port`.
pub(super) fn listed(published: &Published) -> impl Iterator<Item = PortMapping> {
    let lines = |key: &PortKey| {
        let container = key.container;
        key.bound()
            .map(move |bound| mapping(container, Some((bound.ip(), bound.port()))))
    };
    published.keys().flat_map(lines)
}

fn mapping(port: ContainerPort, host: Option<(std::net::IpAddr, u16)>) -> PortMapping {
    PortMapping {
        container_port: port.port,
        protocol: port.protocol.to_string(),
        host,
    }
}
