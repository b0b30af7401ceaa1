//! A container's life: reserved, attached, ended, released, forgotten.
//!
//! What a step takes it gives back in reverse when a later one fails, so that a refused request leaves everything as
//! it was. A container that dies without a goodbye is noticed by its pidfd or its namespace's path.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::runtime::Handle;

use super::container::{Container, Link};
use super::driver::Command;
use super::failure::Failure;
use super::ports;
use super::supervisor::{KILL_PATIENCE, KILLED, State, Supervisor};
use crate::api::types::{CreateContainer, Created, StartContainer, Status};
use crate::netns::{Namespace, Watch, members};
use crate::network::hosts::{self, AddHost};
use crate::network::mac;
use crate::network::name;
use crate::network::pool::Wanted;
use crate::network::ports::{ContainerPort, PortSpec};
use crate::stack::Attachment;
use crate::sys::pidfd::PidFd;
use crate::sys::{clock, random};
use crate::uplink::cable::End;

impl Supervisor {
    /// Reserves name and addresses and binds the ports of a container to be.
    pub(super) async fn create(self: &Arc<Self>, wish: CreateContainer) -> Result<Created, Failure> {
        let specs = parse::<PortSpec>(&wish.publish)?;
        let exposed = parse::<ContainerPort>(&wish.expose)?;
        let added = parse::<AddHost>(&wish.add_host)?;
        let mac = wish.mac.as_deref().map(mac::parse).transpose().map_err(Failure::bad)?;
        if wish.ip6.is_some() {
            return Err(Failure::bad(
                "--ip6 needs a network with IPv6, which this version does not carry",
            ));
        }
        let mut random = [0; 32];
        random::fill(&mut random).map_err(Failure::failed)?;
        let id = name::id(random);
        let name = wish.name.clone().unwrap_or_else(|| name::short_id(&id).to_owned());
        let hostname = wish.hostname.clone().unwrap_or_else(|| name::short_id(&id).to_owned());
        name::check_container(&name).map_err(Failure::bad)?;
        name::check_hostname(&hostname).map_err(Failure::bad)?;

        let mut state = self.lock().await;
        if self.is_ending() {
            return Err(Failure::ending());
        }
        if let Some(other) = state.containers.values().find(|other| other.name == name) {
            return Err(Failure::conflict(format!(
                "the name {name} is in use by container {}; remove it with `gangplank rm {name}` or choose another",
                name::short_id(&other.id)
            )));
        }
        let holder = wish.holder_pid;
        let wanted = Wanted { address: wish.ip, mac };
        let lease = state.pool.lease(&name, wanted).map_err(Failure::conflict)?;
        let address = lease.address;
        let mut container = Container::new(id.clone(), name.clone(), hostname.clone(), wish, lease);
        container.exposed = exposed;
        if let Err(failure) = self.bind_ports(&mut state, &mut container, specs) {
            state.pool.release(address);
            self.end_if_idle(&state);
            return Err(failure);
        }
        state.containers.insert(id.clone(), container);
        drop(state);
        if let Some(pid) = holder {
            tokio::spawn(Arc::clone(self).expect_start(id.clone(), pid));
        }
        let of_the_host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        Ok(Created {
            hosts: hosts::hosts(address.into(), &hostname, self.gateway.into(), &added),
            resolv_conf: hosts::resolv_conf(self.gateway.into(), &of_the_host),
            log: self.place.container_log(&id),
            hidden: self.hidden(),
            agent_pid: self.agent.pid(),
            gateway: self.gateway,
            ip: address,
            id,
            name,
            hostname,
        })
    }

    /// Gives a reserved container its interface and opens its ports.
    pub(super) async fn attach(self: &Arc<Self>, name: &str, start: StartContainer) -> Result<(), Failure> {
        let (id, spec, owned, attachment) = {
            let state = self.lock().await;
            let container = find(&state, name)?;
            if container.state.status != Status::Created {
                return Err(Failure::conflict(format!(
                    "container {} has been started already",
                    container.name
                )));
            }
            let Some(lease) = &container.lease else {
                return Err(Failure::ending());
            };
            let attachment = Attachment {
                mac: lease.mac,
                address: lease.address.into(),
            };
            (
                container.id.clone(),
                self.interface(container, attachment)?,
                container.is_ours(),
                attachment,
            )
        };
        let (supervisor, pid, ends) = (Arc::clone(self), start.pid, self.release_on_end(id.clone()));
        let plugged = blocking(move || supervisor.plug(&start, &spec, owned, ends)).await?;
        // Frames may come as soon as the interface is up, so the stack hears of it in the same breath.
        self.command(Command::Attach(attachment));
        let mut state = self.lock().await;
        let Some(container) = state.containers.get_mut(&id) else {
            drop(state);
            self.unplug(attachment, plugged.port, plugged.cable).await;
            return Err(Failure::ending());
        };
        let watch = tokio::spawn(Arc::clone(self).watch(id, plugged.watch)).abort_handle();
        container.link = Some(Link {
            port: plugged.port,
            cable: plugged.cable,
            attachment,
            sandbox: plugged.sandbox,
            watch,
        });
        container.state.status = Status::Running;
        container.state.started_at = clock::wall_seconds();
        container.state.pid = pid.unwrap_or(0);
        for published in &mut container.published {
            ports::open(self, published, attachment);
        }
        Ok(())
    }

    /// The monitor says that the command has ended.
    pub(super) async fn exited(self: &Arc<Self>, name: &str, code: i32) -> Result<(), Failure> {
        let id = find(&*self.lock().await, name)?.id.clone();
        self.release(&id, code).await;
        Ok(())
    }

    /// Ends a command: SIGTERM, and after `patience` seconds SIGKILL.
    pub(super) async fn stop(self: &Arc<Self>, name: &str, patience: u64) -> Result<(), Failure> {
        let (id, mut ended) = {
            let state = self.lock().await;
            let container = find(&state, name)?;
            if !container.is_ours() {
                return Err(Failure::conflict(format!(
                    "{0} was attached, not run: take it off the network with `gangplank detach {0}`",
                    container.name
                )));
            }
            if container.state.status == Status::Exited {
                return Ok(());
            }
            signal(container, Signal::SIGTERM);
            (container.id.clone(), container.ended.subscribe())
        };
        let gone = tokio::time::timeout(Duration::from_secs(patience), ended.wait_for(Option::is_some));
        if gone.await.is_err() {
            self.kill(&id).await;
            let _ = tokio::time::timeout(KILL_PATIENCE, ended.wait_for(Option::is_some)).await;
        }
        Ok(())
    }

    /// The exit code of a command, once it has ended.
    pub(super) async fn wait(&self, name: &str) -> Result<i32, Failure> {
        let mut ended = find(&*self.lock().await, name)?.ended.subscribe();
        let code = ended.wait_for(Option::is_some).await.map_err(|_| Failure::ending())?;
        Ok(code.unwrap_or(KILLED))
    }

    /// Takes the interface out of a namespace that was attached.
    pub(super) async fn detach(self: &Arc<Self>, name: &str) -> Result<(), Failure> {
        let id = {
            let state = self.lock().await;
            let container = find(&state, name)?;
            if container.is_ours() {
                return Err(Failure::conflict(format!(
                    "{0} was run here, not attached: end it with `gangplank stop {0}`",
                    container.name
                )));
            }
            container.id.clone()
        };
        self.release(&id, 0).await;
        Ok(())
    }

    /// Forgets a container; one that runs only when forced.
    pub(super) async fn remove(self: &Arc<Self>, name: &str, force: bool) -> Result<(), Failure> {
        let (id, running, ours) = {
            let state = self.lock().await;
            let container = find(&state, name)?;
            (
                container.id.clone(),
                container.state.status != Status::Exited,
                container.is_ours(),
            )
        };
        if running && !force {
            return Err(Failure::conflict(format!(
                "container {name} is running: stop it first or say rm -f"
            )));
        }
        if running && ours {
            self.kill(&id).await;
        }
        self.release(&id, KILLED).await;
        self.forget(&mut *self.lock().await, &id);
        Ok(())
    }

    /// Takes everything from a container that it holds: it has ended with `code`, or is about to.
    ///
    /// Once per container: whoever notices the end second finds nothing left to do.
    pub(super) async fn release(self: &Arc<Self>, id: &str, code: i32) {
        let mut state = self.lock().await;
        let Some(container) = state.containers.get_mut(id) else {
            return;
        };
        if container.state.status == Status::Exited {
            return;
        }
        container.state.status = Status::Exited;
        container.state.exit_code = code;
        container.state.finished_at = clock::wall_seconds();
        container.state.pid = 0;
        let link = container.link.take();
        let lease = container.lease.take();
        let published = std::mem::take(&mut container.published);
        let stays = container.is_ours() && !container.wish.remove;
        self.close_ports(&mut state, published).await;
        if let Some(Link {
            port,
            cable,
            attachment,
            watch,
            ..
        }) = link
        {
            self.unplug(attachment, port, cable).await;
            // The watch may be what called us: it ends by itself then, abort or not.
            watch.abort();
        }
        if let Some(lease) = lease {
            state.pool.release(lease.address);
        }
        if let Some(container) = state.containers.get(id) {
            // Nobody may be waiting.
            container.ended.send_replace(Some(code));
        }
        if !stays {
            self.forget(&mut state, id);
        }
        self.end_if_idle(&state);
        self.left.notify_waiters();
    }

    /// Sends SIGKILL to everything in the network namespace of a command of ours.
    pub(super) async fn kill(&self, id: &str) {
        let state = self.lock().await;
        let Some(container) = state.containers.get(id).filter(|container| container.is_ours()) else {
            return;
        };
        signal(container, Signal::SIGKILL);
        if let Some(namespace) = Namespace::of_process(container.state.pid)
            .ok()
            .map(|(namespace, _)| namespace)
        {
            kill_members(&namespace);
        }
    }

    fn forget(&self, state: &mut State, id: &str) {
        if state.containers.remove(id).is_some() {
            // Only a detached command has one.
            let _ = std::fs::remove_file(self.place.container_log(id));
        }
        self.end_if_idle(state);
    }

    /// Releases a reservation whose process has gone before it was used.
    async fn expect_start(self: Arc<Self>, id: String, holder: i32) {
        // An error means that it has gone already.
        if let Ok(process) = PidFd::open(holder) {
            let _ = Watch::Process(process).gone().await;
        }
        let unused = self
            .lock()
            .await
            .containers
            .get(&id)
            .is_some_and(|container| container.state.status == Status::Created);
        if unused {
            self.release(&id, KILLED).await;
            self.forget(&mut *self.lock().await, &id);
        }
    }

    /// Releases a container when its process or namespace has gone.
    async fn watch(self: Arc<Self>, id: String, watch: Watch) {
        if let Err(error) = watch.gone().await {
            tracing::error!(%error, id, "the container cannot be watched");
            return;
        }
        // The monitor knows the exit code and is about to say it, unless it was killed too.
        tokio::time::sleep(MONITOR_PATIENCE).await;
        // Not on this task: release() aborts it.
        tokio::spawn(async move { self.release(&id, KILLED).await });
    }

    /// What a cable's thread calls when an interface of its two has gone under it.
    fn release_on_end(self: &Arc<Self>, id: String) -> impl FnOnce(End) + Send + 'static {
        let (supervisor, runtime) = (Arc::downgrade(self), Handle::current());
        move |end| {
            let Some(supervisor) = supervisor.upgrade().filter(|_| end != End::Stopped) else {
                return;
            };
            tracing::info!(?end, id, "the container's interface has gone");
            runtime.spawn(async move { supervisor.release(&id, 0).await });
        }
    }

    fn hidden(&self) -> std::path::PathBuf {
        self.place.path().parent().unwrap_or(self.place.path()).to_owned()
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

/// Signals a container's command; it may have gone already.
fn signal(container: &Container, signal: Signal) {
    if container.state.pid > 0
        && let Ok(process) = PidFd::open(container.state.pid)
        && let Err(error) = process.send_signal(signal)
    {
        tracing::debug!(%error, container = container.name, "signal not sent");
    }
}

fn kill_members(namespace: &Namespace) {
    for pid in members(&[namespace.identity()]).unwrap_or_default() {
        let _ = kill(Pid::from_raw(pid.as_raw()), Signal::SIGKILL);
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Failure::failed(error)))
}

/// How long after a command's end its monitor may take to tell the exit code.
const MONITOR_PATIENCE: Duration = Duration::from_millis(100);
