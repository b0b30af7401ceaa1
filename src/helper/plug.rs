//! Hanging a namespace on the bridge, and taking it off again.
//!
//! A veth where the agent's capabilities reach; a cable (two TAPs joined) where the namespace belongs to a sibling user
//! namespace of the same user.

use std::net::Ipv6Addr;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use super::container::{Container, RunningCommand};
use super::driver::Command;
use super::failure::Failure;
use super::lifecycle::blocking;
use super::supervisor::{SELF, Supervisor};
use crate::api::types::StartContainer;
use crate::netns::{CableEnd, InterfaceSpec, Kinship, Namespace, Watch, inhabitants, join};
use crate::network::pool::Lease;
use crate::stack::Attachment;
use crate::sys::namespace;
use crate::sys::pidfd::PidFd;
use crate::sys::process;
use crate::sys::tun::OffloadBits;
use crate::uplink::cable::{Cable, End};

impl Supervisor {
    /// The interface of a container with this lease.
    pub(super) fn interface(&self, container: &Container, lease: &Lease) -> InterfaceSpec {
        let addresses = lease.addresses().into_iter();
        let router = self.subnets.v6.map(|_| ROUTER.into());
        InterfaceSpec {
            ifname: container.wish.ifname.clone().unwrap_or_else(|| "eth0".to_owned()),
            mac: lease.mac.0,
            addresses: addresses.filter_map(|address| self.subnets.prefixed(address)).collect(),
            gateways: std::iter::once(self.subnets.gateway.address.into())
                .chain(router)
                .collect(),
            asks: container.wish.dhcp,
            mtu: self.options.mtu,
        }
    }

    /// Hangs a namespace on the bridge; takes milliseconds.
    pub(super) fn plug(
        &self,
        start: &StartContainer,
        spec: &InterfaceSpec,
        owned: bool,
        on_cable_end: impl FnOnce(End) + Send + 'static,
    ) -> Result<Plugged, Failure> {
        let Opened {
            namespace,
            watch,
            sandbox,
        } = open(start)?;
        let command = match &watch {
            Watch::Process(process) if owned => Some(self.command_in(start, process)?),
            Watch::Path { .. } if owned => {
                return Err(Failure::bad("a command is started by its process, not by a path"));
            }
            Watch::Process(_) | Watch::Path { .. } => None,
        };
        // Its parent; an error means that it has gone, and that nobody is going to say an exit code.
        let monitor = start.pid.filter(|_| owned).and_then(process::parent);
        let monitor = monitor.and_then(|pid| PidFd::open(pid).ok());
        let (port, cable) = match namespace.kinship(self.agent.userns()).map_err(Failure::failed)? {
            Kinship::Descendant => (
                self.agent.attach(&namespace, spec, owned).map_err(Failure::failed)?,
                None,
            ),
            Kinship::Sibling => self.lay_cable(&namespace, spec, on_cable_end)?,
            Kinship::Host => {
                return Err(Failure::bad(
                    "that is the host's own network namespace: name a container's",
                ));
            }
            Kinship::Foreign => {
                return Err(Failure::bad(
                    "the namespace belongs to another user: only your own can be attached",
                ));
            }
        };
        Ok(Plugged {
            port,
            cable,
            watch,
            sandbox,
            command,
            monitor,
        })
    }

    /// The command whose first process this is. Everything in its user namespace is going to be killed, so that must be
    /// one that was made for the container.
    fn command_in(&self, start: &StartContainer, process: &PidFd) -> Result<RunningCommand, Failure> {
        let pid = start.pid.unwrap_or_default();
        let user_namespace = inhabitants::user_namespace(pid).map_err(Failure::bad)?;
        let parent = namespace::parent(user_namespace.as_fd()).and_then(Namespace::from_fd);
        let made_for_it = parent.is_ok_and(|parent| parent.identity() == self.agent.userns().identity());
        // Looked at last: it lives, so the namespace is its own and not that of whoever got its number.
        if !made_for_it || process.has_ended().map_err(Failure::failed)? {
            return Err(Failure::bad(format!(
                "process {pid} is in no user namespace of its own below the network's: attach it without a command"
            )));
        }
        Ok(RunningCommand {
            process: process.try_clone().map_err(Failure::failed)?,
            user_namespace: Arc::new(user_namespace),
        })
    }

    fn lay_cable(
        &self,
        namespace: &Namespace,
        spec: &InterfaceSpec,
        on_end: impl FnOnce(End) + Send + 'static,
    ) -> Result<(String, Option<Cable>), Failure> {
        let CableEnd { fd: near, port } = self.agent.cable(spec).map_err(Failure::failed)?;
        let far = join::make_interface(Path::new(SELF), namespace, spec, OffloadBits::ALL)
            .map_err(|error| self.unplug_port(&port, error))?;
        let cable = Cable::start(near, far, on_end).map_err(|error| self.unplug_port(&port, error))?;
        Ok((port, Some(cable)))
    }

    fn unplug_port(&self, port: &str, error: impl ToString) -> Failure {
        if let Err(error) = self.agent.detach(port) {
            tracing::warn!(%error, port, "left behind");
        }
        Failure::failed(error)
    }

    /// The stack forgets a container's interface.
    pub(super) fn unplug(&self, attachments: Vec<Attachment>) {
        for attachment in attachments {
            self.command(Command::Detach(attachment));
        }
    }

    /// Takes an interface off the bridge, both its ends.
    pub(super) fn pull(&self, port: String, cable: Option<Cable>) -> impl Future<Output = ()> + use<> {
        let agent = Arc::clone(&self.agent);
        let outcome = blocking(move || {
            drop(cable);
            agent.detach(&port).map_err(Failure::failed)
        });
        async {
            if let Err(error) = outcome.await {
                tracing::debug!(%error, "a port of the bridge had gone already");
            }
        }
    }
}

/// What hanging a namespace on the bridge gave.
pub(super) struct Plugged {
    pub(super) port: String,
    pub(super) cable: Option<Cable>,
    pub(super) watch: Watch,
    pub(super) sandbox: String,
    pub(super) command: Option<RunningCommand>,
    /// Who is going to say the command's exit code.
    pub(super) monitor: Option<PidFd>,
}

/// The namespace that is meant, what stands for its life, and its path.
struct Opened {
    namespace: Namespace,
    watch: Watch,
    sandbox: String,
}

fn open(start: &StartContainer) -> Result<Opened, Failure> {
    match start {
        StartContainer { pid: Some(pid), .. } => {
            let (namespace, process) = Namespace::of_process(*pid).map_err(Failure::bad)?;
            Ok(Opened {
                namespace,
                watch: Watch::Process(process),
                sandbox: format!("/proc/{pid}/ns/net"),
            })
        }
        StartContainer { netns: Some(path), .. } => {
            let namespace = Namespace::net_at(path).map_err(Failure::bad)?;
            let watch = Watch::Path {
                path: path.clone(),
                identity: namespace.identity(),
            };
            Ok(Opened {
                namespace,
                watch,
                sandbox: path.display().to_string(),
            })
        }
        StartContainer { pid: None, netns: None } => Err(Failure::bad("name a namespace: --pid or --netns")),
    }
}

/// The gateway as IPv6 has routers, by a link-local address: it is the same in every network, and outlives its prefix (RFC
/// 4861 section 6.1.2).
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
