//! The supervisor of one network: what exists, who holds what, and in which order things come and go.
//!
//! All of a network's state is behind one lock; whatever takes time (the agent, a container that is being stopped)
//! happens on other threads or between two holds of the lock. This file makes and ends the network;
//! [`lifecycle`](super::lifecycle) and [`ending`](super::ending) take containers through their lives,
//! [`queries`](super::queries) answers.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::{Mutex, MutexGuard, mpsc, watch};
use tokio::task::JoinSet;

use super::books::{Books, Descriptors};
use super::container::Container;
use super::driver::{self, Command, DriverHandle, Event};
use super::events::Events;
use super::failure::Failure;
use super::place::{Place, Root};
use super::subnets::{self, Claim, Subnets};
use crate::api::events::Event as Happening;
use crate::api::types::{NetworkOptions, Status};
use crate::host::outbound::Outbound;
use crate::host::resolver::{Resolver, ResolverConfig, Source, follow_search};
use crate::netns::{
    Agent, AgentError, HostFactsError, Namespace, NetworkSpec, OpenError, UplinkEnd, Watch, host_facts,
};
use crate::network::loopback::LoopbackPool;
use crate::network::name;
use crate::network::pool::AddressPool;
use crate::network::subnet::{NoFreeSubnet, SubnetError};
use crate::policy::PublishedPorts;
use crate::stack::{Config, Ledger, UplinkCapabilities};
use crate::sys::pidfd::PidFd;
use crate::sys::random;
use crate::sys::tun::OffloadBits;
use crate::uplink::{self, UplinkKind};

/// One running network.
#[derive(Debug)]
pub struct Supervisor {
    pub(super) name: String,
    pub(super) options: NetworkOptions,
    /// Whether containers reach each other, now.
    pub(super) icc: AtomicBool,
    /// Goes with its last container, unless `up` is said meanwhile.
    pub(super) transient: AtomicBool,
    pub(super) subnets: Subnets,
    pub(super) why: String,
    pub(super) uplink: UplinkKind,
    pub(super) place: Place,
    pub(super) agent: Arc<Agent>,
    pub(super) driver: std::sync::Mutex<DriverHandle>,
    pub(super) resolver: Resolver,
    /// What has happened; see [`Supervisor::tell`].
    pub(super) events: Arc<Events>,
    /// What containers reach at the gateway's address besides what they may of the host's.
    pub(super) published: PublishedPorts,
    state: Mutex<State>,
    /// Why the network ends, once it does.
    ending: watch::Sender<Option<&'static str>>,
}

/// What changes while a network runs.
#[derive(Debug)]
pub(super) struct State {
    pub(super) containers: BTreeMap<String, Container>,
    pub(super) pool: AddressPool,
    pub(super) books: Books,
    /// Addresses of the host's loopback that containers have for themselves.
    pub(super) loopback: LoopbackPool,
}

/// Why a network did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The name is no name.
    #[error(transparent)]
    Name(#[from] name::NameError),
    /// No subnet is left.
    #[error(transparent)]
    NoSubnet(#[from] NoFreeSubnet),
    /// The subnet asked for can't be had.
    #[error("--subnet: {0}")]
    Subnet(#[from] SubnetError),
    /// The IPv6 subnet asked for can't be had.
    #[error("--subnet6: {0}")]
    Subnet6(#[source] SubnetError),
    /// The interfaces are too small for IPv6.
    #[error("--subnet6 needs an --mtu of 1280 at least, as IPv6 does; raise it or say --subnet6 none")]
    Ipv6Mtu,
    /// The kernel was started without IPv6.
    #[error("--subnet6 is not available: this kernel has no IPv6; leave it out or say --subnet6 none")]
    NoIpv6,
    /// The uplink asked for is unknown.
    #[error("--uplink {0}: write auto, tap, tap-plain or packet")]
    Uplink(String),
    /// What the host uses could not be learnt.
    #[error(transparent)]
    Facts(#[from] HostFactsError),
    /// The user namespace asked for can't be entered.
    #[error("--userns: {0}")]
    UserNamespace(#[from] OpenError),
    /// Isolation or bridge could not be made.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The API's socket could not be bound.
    #[error("cannot listen on {}: {source}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel refused something ordinary.
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
}

impl Supervisor {
    /// Builds the network: subnet, agent with bridge, data plane, resolver.
    pub async fn start(
        root: &Root,
        place: &Place,
        network: &str,
        options: &NetworkOptions,
    ) -> Result<Arc<Self>, StartError> {
        name::check_network(network)?;
        let uplinks =
            UplinkKind::candidates(&options.uplink).ok_or_else(|| StartError::Uplink(options.uplink.clone()))?;
        let facts = host_facts(Path::new(RESOLV_CONF)).await?;
        let Claim { choice, subnet6 } = subnets::claim(root, place, network, options, &facts)?;
        for warning in &choice.warnings {
            tracing::warn!("{warning}");
        }
        let pool = AddressPool::new(choice.subnet, subnet6)?;
        let subnets = Subnets::of(&pool);
        let (agent, uplink) = spawn_agent(network, options, uplinks).await?;
        for refused in &uplink.refused {
            tracing::info!("the uplink is {}, for there is no {refused}", uplink.kind.word());
        }
        let mut config = Config::new(
            subnets.gateway.mac,
            subnets.gateway.address,
            subnets.v4.prefix(),
            options.mtu,
            options.host_access.clone(),
            capabilities(uplink.offload),
        );
        config.ipv6 = subnets.ipv6();
        config.dhcp = Some(subnets.dhcp(options.mtu));
        let descriptors = descriptors();
        config.limits = config.limits.within(descriptors);
        let ledger = Ledger::new(config.limits);
        let resolver = resolver(options, network, &subnets);
        let (events, receiver) = driver::Events::channel(resolver.clone());
        let queues = uplink::open(uplink.kind, uplink.queues)?;
        let driver = driver::spawn(&config, &ledger, queues, Outbound::default(), random::seed, &events)?;
        let supervisor = Arc::new(Self {
            name: network.to_owned(),
            options: options.clone(),
            icc: AtomicBool::new(options.icc),
            transient: AtomicBool::new(options.transient),
            subnets,
            why: choice.why,
            uplink: uplink.kind,
            place: place.clone(),
            agent: Arc::new(agent),
            driver: std::sync::Mutex::new(driver),
            resolver,
            events: Arc::new(Events::new(network)),
            published: config.policy.published,
            state: Mutex::new(State {
                containers: BTreeMap::new(),
                pool,
                books: Books::new(Descriptors::new(descriptors, ledger)),
                loopback: LoopbackPool::default(),
            }),
            ending: watch::channel(None).0,
        });
        supervisor.tell(Happening::network("up", network).with("subnet", supervisor.subnets.v4));
        for warning in &choice.warnings {
            supervisor.tell(Happening::network("conflict", network).with("reason", warning));
        }
        tokio::spawn(hear(Arc::clone(&supervisor), receiver));
        tokio::spawn(guard(Arc::clone(&supervisor)));
        tokio::spawn(supervisor.subnets.mind_routes(Arc::clone(&supervisor.events)));
        tokio::spawn(hand_on_search(Arc::clone(&supervisor)));
        tokio::spawn(await_first_container(Arc::clone(&supervisor)));
        Ok(supervisor)
    }

    /// The reason, when the network is to end.
    pub async fn ending(&self) -> &'static str {
        let mut ending = self.ending.subscribe();
        loop {
            if let Some(reason) = *ending.borrow_and_update() {
                return reason;
            }
            if ending.changed().await.is_err() {
                return "forgotten";
            }
        }
    }

    /// Takes everything down: containers, agent with bridge, data plane.
    pub async fn end(self: &Arc<Self>) {
        self.conclude("ended");
        let mut released = JoinSet::new();
        let ids: Vec<String> = self.lock().await.containers.keys().cloned().collect();
        for id in ids {
            let supervisor = Arc::clone(self);
            released.spawn(async move { supervisor.release(&id, KILLED).await });
        }
        while released.join_next().await.is_some() {}
        // Before its uplink goes.
        self.driver().stop();
        let agent = Arc::clone(&self.agent);
        let ended = tokio::task::spawn_blocking(move || agent.shutdown()).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!(%error, "the agent did not end by itself");
        }
        let reason = self.ending.borrow().unwrap_or_default();
        self.tell(Happening::network("down", &self.name).with("reason", reason));
        self.events.close();
    }

    /// Asks the network to end, unless containers are attached and nobody insists.
    pub(super) async fn down(&self, force: bool) -> Result<(), Failure> {
        let state = self.lock().await;
        let attached: Vec<&str> = state
            .containers
            .values()
            .filter(|container| container.state.status != Status::Exited)
            .map(|container| container.name.as_str())
            .collect();
        if !force && !attached.is_empty() {
            return Err(Failure::conflict(format!(
                "network {} has containers attached ({}); end them first or say --force",
                self.name,
                attached.join(", ")
            )));
        }
        self.conclude("down");
        Ok(())
    }

    /// Ends a network that a command started in passing, once nothing is left in it.
    pub(super) fn end_if_idle(&self, state: &State) {
        if self.transient.load(Ordering::Relaxed) && state.containers.is_empty() {
            self.conclude("the last container has left");
        }
    }

    /// Stays when the last container leaves.
    pub(super) fn keep(&self) {
        self.transient.store(false, Ordering::Relaxed);
    }

    /// Says why the network ends; the first reason stays.
    pub(super) fn conclude(&self, reason: &'static str) {
        self.ending.send_if_modified(|ending| {
            let first = ending.is_none();
            ending.get_or_insert(reason);
            first
        });
    }

    /// Name of the bridge.
    pub(super) fn bridge_name(&self) -> &str {
        self.options.bridge.as_deref().unwrap_or(&self.name)
    }

    /// Whether new containers are still welcome.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.borrow().is_some()
    }

    pub(super) async fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().await
    }

    pub(super) fn driver(&self) -> std::sync::MutexGuard<'_, DriverHandle> {
        // Nothing panics while it is held; if something did, sending is still sound.
        self.driver.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn command(&self, command: Command) {
        self.driver().send(command);
    }
}

async fn spawn_agent(
    network: &str,
    options: &NetworkOptions,
    uplinks: Vec<UplinkKind>,
) -> Result<(Agent, UplinkEnd), StartError> {
    let spec = NetworkSpec {
        name: options.bridge.clone().unwrap_or_else(|| network.to_owned()),
        mtu: options.mtu,
        icc: options.icc,
        uplinks,
        queues: options.threads.map_or_else(threads, usize::from),
        offload: OffloadBits::ALL,
    };
    let userns = options.userns.as_deref().map(Namespace::user_at).transpose()?;
    let spawned = tokio::task::spawn_blocking(move || Agent::spawn(Path::new(SELF), &spec, userns.as_ref())).await;
    Ok(spawned.map_err(io::Error::other)??)
}

/// One for each processor that we may use, and never so many that other programs feel it.
fn threads() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MOST_THREADS)
}

/// Knows the network's names, and asks the host's resolvers, or those that were asked for; answers fit a frame to the
/// container.
fn resolver(options: &NetworkOptions, network: &str, subnets: &Subnets) -> Resolver {
    let upstreams = match options.dns.as_slice() {
        [] => Source::File(RESOLV_CONF.into()),
        given => Source::Fixed(given.iter().map(|address| SocketAddr::new(*address, DNS)).collect()),
    };
    let headers = if subnets.v6.is_some() {
        IPV6_AND_UDP_HEADERS
    } else {
        IPV4_AND_UDP_HEADERS
    };
    Resolver::new(ResolverConfig {
        upstreams,
        max_udp: usize::from(options.mtu).saturating_sub(headers),
        zone: subnets.zone(network),
    })
}

fn capabilities(offload: OffloadBits) -> UplinkCapabilities {
    UplinkCapabilities {
        checksum: offload.checksum,
        tso4: offload.tso4,
        tso6: offload.tso6,
        uso: offload.uso,
    }
}

/// How many descriptors containers and their ports may make us hold.
fn descriptors() -> usize {
    // Without an answer the usual limits will do.
    let all = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    usize::try_from(all)
        .unwrap_or(usize::MAX)
        .saturating_sub(OWN_DESCRIPTORS)
}

/// Hears what the driver has to say until it ends.
async fn hear(supervisor: Arc<Supervisor>, mut events: mpsc::Receiver<Event>) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Query { client, message } => {
                let supervisor = Arc::clone(&supervisor);
                tokio::spawn(async move {
                    if let Some(message) = supervisor.resolver.query_udp(client.ip(), message).await {
                        supervisor.command(Command::Answer { client, message });
                    }
                });
            }
            Event::Stream { client, stream } => {
                let resolver = supervisor.resolver.clone();
                match tokio::net::UnixStream::from_std(stream) {
                    Ok(stream) => drop(tokio::spawn(async move { resolver.serve_stream(client, stream).await })),
                    // Containers can cause it as often as they like.
                    Err(error) => tracing::debug!(%error, "a DNS connection was lost"),
                }
            }
        }
    }
    supervisor.conclude("the data plane has ended");
}

/// Who asks for it is told of the host's search list.
async fn hand_on_search(supervisor: Arc<Supervisor>) {
    let tell = |domains| supervisor.command(Command::Search(domains));
    follow_search(Path::new(RESOLV_CONF), tell).await;
}

/// Ends the network with its agent.
async fn guard(supervisor: Arc<Supervisor>) {
    let gone = match PidFd::open(supervisor.agent.pid()) {
        Ok(process) => Watch::Process(process).gone().await,
        Err(error) => Err(error),
    };
    if let Err(error) = gone {
        tracing::error!(%error, "the agent cannot be watched");
    }
    supervisor.conclude("the agent has ended");
}

/// Ends a network that was started for a container which never came.
async fn await_first_container(supervisor: Arc<Supervisor>) {
    tokio::time::sleep(FIRST_CONTAINER).await;
    supervisor.end_if_idle(&*supervisor.lock().await);
}

/// The exit code of what SIGKILL ended: 128 + 9.
pub(super) const KILLED: i32 = 137;

/// Our own binary, also after an update has replaced its file.
pub(super) const SELF: &str = "/proc/self/exe";

/// Kept for ourselves, so that a network whose containers have used up theirs still takes commands: 256 questions to
/// resolvers, 64 connections to ours, three for each container, the API.
const OWN_DESCRIPTORS: usize = 704;

/// Four carry what the memory of a machine can; more are for those who ask.
const MOST_THREADS: usize = 4;

/// RFC 1035 section 4.2.
const DNS: u16 = 53;

/// IPv4 without options (RFC 791 section 3.1) and UDP (RFC 768).
const IPV4_AND_UDP_HEADERS: usize = 20 + 8;

/// IPv6 without extensions (RFC 8200 section 3) and UDP; questions come by either family.
const IPV6_AND_UDP_HEADERS: usize = 40 + 8;

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How long a network that was started in passing waits for its first container: the command that started it may have
/// been killed.
const FIRST_CONTAINER: Duration = Duration::from_secs(10);
