//! The beginning of containers: reserved, then attached; [`ending`](super::ending) is the rest of their lives.
//!
//! What a step takes it gives back in reverse when a later one fails, so that a refused request leaves everything as
//! it was. The agent is awaited without the lock; what it has made is undone when the container was ended meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::container::{Container, Link, RunningCommand, attachments};
use super::driver::Command;
use super::failure::Failure;
use super::hosts_file::HostsFile;
use super::links;
use super::plug::Plugged;
use super::supervisor::{State, Supervisor};
use crate::api::events::Event;
use crate::api::types::{CreateContainer, Created, StartContainer, Status};
use crate::netns::Watch;
use crate::network::hosts::{self, AddHost};
use crate::network::links::LinkSpec;
use crate::network::mac;
use crate::network::name;
use crate::network::pool::{Lease, Wanted};
use crate::network::ports::{ContainerPort, ContainerPorts, Front, HostIp, Mapping, PortSpec, Reach};
use crate::sys::pidfd::PidFd;
use crate::sys::{clock, random};

impl Supervisor {
    /// Reserves name and addresses and binds the ports of a container to be.
    pub(super) async fn create(self: &Arc<Self>, wish: CreateContainer) -> Result<Created, Failure> {
        let refused =
            Event::network("conflict", &self.name).with("container", wish.name.as_deref().unwrap_or_default());
        let created = self.reserve(wish).await;
        self.tell_refused(refused, &created);
        if created.is_err() {
            // The network may have been started for this container alone.
            self.end_if_idle(&*self.lock().await);
        }
        created
    }

    async fn reserve(self: &Arc<Self>, wish: CreateContainer) -> Result<Created, Failure> {
        let request = Request::parse(wish)?;
        let mut state = self.lock().await;
        if self.is_ending() {
            return Err(Failure::ending());
        }
        let name = &request.name;
        if let Some(other) = state.containers.values().find(|other| other.name == *name) {
            return Err(Failure::conflict(format!(
                "the name {name} is in use by container {}; remove it with `gangplank rm {name}` or choose another",
                name::short_id(&other.id)
            )));
        }
        let links = links::resolve(&state, name, &request.links)?;
        let lease = state.pool.lease(name, request.wanted).map_err(Failure::conflict)?;
        let front = match self.front(&mut state, &request) {
            Ok(front) => front,
            Err(failure) => {
                state.pool.release(lease.address);
                return Err(failure);
            }
        };
        let mappings = request.mappings(front);
        let Request {
            id,
            name,
            hostname,
            wish,
            exposed,
            added,
            ..
        } = request;
        let holder = wish.holder_pid;
        let mut container = Container::new(id.clone(), name.clone(), hostname.clone(), wish, lease, front);
        container.exposed = exposed;
        let told = links::told(&state, &container.name, &links);
        container.host_lines = told.host_lines.clone();
        container.links = links;
        let owner = Arc::clone(&container.owner);
        state.containers.insert(id.clone(), container);
        self.tell_names(&state);
        drop(state);
        let entered = match self.prepare(&owner, mappings).await {
            Ok(prepared) => self.enter(&id, prepared).await.map(drop),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = entered {
            self.release_unused(&id).await;
            return Err(failure);
        }
        self.tell(Event::container("create", &id, &name));
        if let Some(pid) = holder {
            tokio::spawn(Arc::clone(self).expect_start(id.clone(), pid));
        }
        // One word that is not UTF-8 must not cost the others.
        let of_the_host = std::fs::read("/etc/resolv.conf").unwrap_or_default();
        let of_the_host = String::from_utf8_lossy(&of_the_host);
        let gateway = self.subnets.gateway.address;
        Ok(Created {
            hosts: hosts::hosts(&lease.addresses(), &hostname, gateway.into(), &added, &told.host_lines),
            variables: told.variables,
            resolv_conf: hosts::resolv_conf(gateway.into(), &of_the_host),
            log: self.place.container_log(&id),
            hidden: self.hidden(),
            agent_pid: self.agent.pid(),
            gateway,
            ip: lease.address,
            id,
            name,
            hostname,
        })
    }

    /// Where a container's ports are published whose SPECs name no address.
    fn front(&self, state: &mut State, request: &Request) -> Result<Front, Failure> {
        match request.host_ip {
            Some(HostIp::Auto) => {
                // Of this user and network: on a machine of many each has a container called web.
                let user = nix::unistd::Uid::effective();
                let who = format!("{user}/{}/{}", self.name, request.name);
                let own = state.loopback.claim(&who).map(Front::Own);
                own.ok_or_else(|| Failure::failed("no address of the loopback is left; name one with --host-ip"))
            }
            Some(HostIp::At(address)) => Ok(Front::At(Reach::At(address))),
            None => Ok(Front::At(self.options.host_binding.map_or(Reach::Every, |address| {
                if address.is_unspecified() {
                    Reach::Every
                } else {
                    Reach::At(address.into())
                }
            }))),
        }
    }

    /// Gives a reserved container its interface and opens its ports.
    pub(super) async fn attach(self: &Arc<Self>, name: &str, start: StartContainer) -> Result<(), Failure> {
        let (id, spec, owned, lease) = {
            let mut state = self.lock().await;
            let id = find(&state, name)?.id.clone();
            let container = state.containers.get_mut(&id).ok_or_else(Failure::ending)?;
            if container.state.status != Status::Created || container.starting {
                return Err(Failure::conflict(format!(
                    "container {} has been started already",
                    container.name
                )));
            }
            let lease = container.lease.ok_or_else(Failure::ending)?;
            let spec = self.interface(container, &lease);
            container.starting = true;
            (id, spec, container.is_ours(), lease)
        };
        let (supervisor, pid, ends) = (Arc::clone(self), start.pid, self.release_on_end(id.clone()));
        let plugged = blocking(move || supervisor.plug(&start, &spec, owned, ends)).await;
        let mut state = self.lock().await;
        let waiting = state
            .containers
            .get_mut(&id)
            .filter(|container| container.state.status == Status::Created);
        match (plugged, waiting) {
            (Ok(plugged), Some(container)) => {
                self.begin(container, plugged, &lease, pid);
                self.tell_names(&state);
                Ok(())
            }
            (Ok(plugged), None) => {
                drop(state);
                self.pull(plugged.port, plugged.cable).await;
                Err(Failure::conflict(format!(
                    "container {name} was ended before it had started"
                )))
            }
            (Err(failure), waiting) => {
                if let Some(container) = waiting {
                    container.starting = false;
                }
                Err(failure)
            }
        }
    }

    /// The interface is there: the container runs.
    fn begin(self: &Arc<Self>, container: &mut Container, plugged: Plugged, lease: &Lease, pid: Option<i32>) {
        // Before its ports, whose clients may be waiting.
        let attachments = attachments(lease);
        self.tell_begun(container, &plugged.port);
        for attachment in &attachments {
            self.command(Command::Attach(*attachment));
        }
        self.command(Command::Hostname(lease.mac, container.hostname.clone()));
        let watch = Arc::clone(self).watch(container.id.clone(), plugged.watch, plugged.monitor);
        container.link = Some(Link {
            port: plugged.port,
            cable: plugged.cable,
            attachments,
            sandbox: plugged.sandbox,
            hosts: hosts_file(container, plugged.command.as_ref(), pid),
            command: plugged.command,
            watch: tokio::spawn(watch).abort_handle(),
        });
        container.starting = false;
        container.state.status = Status::Running;
        container.state.started_at = clock::wall_seconds();
        container.state.pid = pid.unwrap_or(0);
        self.open_ports(&mut container.published, lease);
    }

    /// Releases a reservation whose process has gone before it was used.
    async fn expect_start(self: Arc<Self>, id: String, holder: i32) {
        // An error means that it has gone already.
        if let Ok(process) = PidFd::open(holder) {
            let _ = Watch::Process(process).gone().await;
        }
        self.release_unused(&id).await;
    }

    fn hidden(&self) -> std::path::PathBuf {
        self.place.path().parent().unwrap_or(self.place.path()).to_owned()
    }
}

/// The hosts file of a command that is about to begin.
fn hosts_file(container: &Container, command: Option<&RunningCommand>, pid: Option<i32>) -> Option<HostsFile> {
    let (command, pid) = command.zip(pid)?;
    let file = HostsFile::of(pid, container.host_lines.clone());
    let file = file.inspect_err(|error| tracing::debug!(%error, "the container's hosts file stays as it is"));
    // Looked at last: it lives, so the file is its own and not that of whoever got its number.
    file.ok()
        .filter(|_| command.process.has_ended().is_ok_and(|ended| !ended))
}

/// A request for a container, understood.
struct Request {
    id: String,
    name: String,
    hostname: String,
    wanted: Wanted,
    specs: Vec<PortSpec>,
    host_ip: Option<HostIp>,
    exposed: BTreeSet<ContainerPort>,
    links: Vec<LinkSpec>,
    added: Vec<AddHost>,
    wish: CreateContainer,
}

impl Request {
    fn parse(wish: CreateContainer) -> Result<Self, Failure> {
        let specs = parse::<PortSpec>(&wish.publish)?;
        let exposed = parse::<ContainerPorts>(&wish.expose)?;
        let links = parse::<LinkSpec>(&wish.link)?;
        let host_ip = wish
            .host_ip
            .as_deref()
            .map(str::parse)
            .transpose()
            .map_err(Failure::bad)?;
        let added = parse::<AddHost>(&wish.add_host)?;
        let mac = wish.mac.as_deref().map(mac::parse).transpose().map_err(Failure::bad)?;
        let mut random = [0; 32];
        random::fill(&mut random).map_err(Failure::failed)?;
        let id = name::id(random);
        let name = wish.name.clone().unwrap_or_else(|| name::short_id(&id).to_owned());
        let hostname = wish.hostname.clone().unwrap_or_else(|| name::short_id(&id).to_owned());
        name::check_container(&name).map_err(Failure::bad)?;
        name::check_hostname(&hostname).map_err(Failure::bad)?;
        Ok(Self {
            id,
            name,
            hostname,
            wanted: Wanted {
                address: wish.ip,
                address6: wish.ip6,
                mac,
            },
            specs,
            host_ip,
            exposed: exposed.into_iter().flat_map(ContainerPorts::each).collect(),
            links,
            added,
            wish,
        })
    }

    /// What is to be published: what `-p` says, and with `-P` or an address of its own whatever is exposed besides.
    fn mappings(&self, front: Front) -> impl Iterator<Item = Mapping> + use<> {
        let mut exposed = BTreeSet::new();
        if self.wish.publish_all || matches!(front, Front::Own(_)) {
            exposed.clone_from(&self.exposed);
            for port in self.specs.iter().flat_map(|spec| spec.container.each()) {
                exposed.remove(&port);
            }
        }
        let said = self.specs.clone().into_iter();
        said.flat_map(move |spec| spec.mappings(front))
            .chain(exposed.into_iter().map(move |port| front.mapping(port)))
    }
}

/// The container that a name, an id or the beginning of one means.
pub(super) fn find<'s>(state: &'s State, given: &str) -> Result<&'s Container, Failure> {
    let id = name::resolve(given, state.containers.values().map(Container::named)).map_err(Failure::unknown)?;
    state
        .containers
        .get(id)
        .ok_or_else(|| Failure::unknown(format!("no such container: {given}")))
}

pub(super) fn parse<T: std::str::FromStr<Err: ToString>>(texts: &[String]) -> Result<Vec<T>, Failure> {
    texts.iter().map(|text| text.parse().map_err(Failure::bad)).collect()
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Failure::failed(error)))
}
