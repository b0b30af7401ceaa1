//! The bodies of requests and answers. `inspect` is Docker's document; everything else is ours.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a network is made with; `up` says it, `inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkOptions {
    /// The IPv4 subnet; `None`: one that nobody uses.
    pub subnet: Option<ipnetwork::Ipv4Network>,
    /// The IPv6 subnet: one that nobody has, a certain one, or none.
    pub subnet6: crate::network::subnet6::Subnet6,
    /// Whether containers reach each other.
    pub icc: bool,
    /// IP MTU of the containers' interfaces, in bytes.
    pub mtu: u16,
    /// Where ports are published whose SPECs name no address; `None` and 0.0.0.0: at every address.
    pub host_binding: Option<Ipv4Addr>,
    /// Name of the bridge; `None`: the network's.
    pub bridge: Option<String>,
    /// What of the host's loopback is reachable at the gateway's address.
    pub host_access: crate::policy::HostAccess,
    /// Resolvers instead of the host's.
    pub dns: Vec<IpAddr>,
    /// `auto`, `tap`, …
    pub uplink: String,
    /// Threads that carry packets; `None`: one for each processor, up to four.
    pub threads: Option<u8>,
    /// A user namespace to build the network in.
    pub userns: Option<PathBuf>,
    /// Started by a command that needed it: goes when its last container leaves.
    pub transient: bool,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            subnet: None,
            subnet6: crate::network::subnet6::Subnet6::default(),
            icc: true,
            mtu: 1500,
            host_binding: None,
            bridge: None,
            host_access: crate::policy::HostAccess::None,
            dns: Vec::new(),
            uplink: "auto".to_owned(),
            threads: None,
            userns: None,
            transient: false,
        }
    }
}

/// A running network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Network {
    /// Its name, which is the bridge's.
    pub name: String,
    /// `run`ning settings, the subnets filled in.
    pub options: NetworkOptions,
    /// The subnet, in CIDR form.
    pub subnet: ipnetwork::Ipv4Network,
    /// The gateway's address.
    pub gateway: Ipv4Addr,
    /// The IPv6 subnet.
    pub subnet6: Option<ipnetwork::Ipv6Network>,
    /// The gateway's IPv6 address.
    pub gateway6: Option<Ipv6Addr>,
    /// Why this subnet was chosen, one line.
    pub why: String,
    /// The uplink in use: `tap`, `tap-plain` or `packet`.
    pub uplink: String,
    /// Process id of the helper.
    pub helper_pid: i32,
    /// Process id of the agent, whose user namespace owns the bridge.
    pub agent_pid: i32,
    /// How many containers are attached.
    pub containers: usize,
    /// Frames and flows counted by the stack.
    pub counters: BTreeMap<String, u64>,
}

/// What `show` shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bridge {
    /// Name of the bridge.
    pub name: String,
    /// `8000.` and the bridge's hardware address.
    pub id: String,
    /// Whether the spanning tree protocol is on.
    pub stp: bool,
    /// Names of its ports.
    pub interfaces: Vec<String>,
}

/// What of a running network is to change; what is `None` stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkUpdate {
    /// Whether containers reach each other.
    pub icc: Option<bool>,
}

/// A container to be: names and addresses are reserved and host ports bound before the answer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CreateContainer {
    /// Its name; `None`: its id.
    pub name: Option<String>,
    /// Its hostname; `None`: its id.
    pub hostname: Option<String>,
    /// The command, empty for an attached namespace.
    pub cmd: Vec<String>,
    /// `K=V` as given with `-e`.
    pub env: Vec<String>,
    /// Working directory.
    pub workdir: Option<PathBuf>,
    /// `-p`, as typed.
    pub publish: Vec<String>,
    /// `-P`.
    pub publish_all: bool,
    /// `--expose`, as typed.
    pub expose: Vec<String>,
    /// `--host-ip`, as typed.
    pub host_ip: Option<String>,
    /// `--link`, as typed.
    pub link: Vec<String>,
    /// `--ip`.
    pub ip: Option<Ipv4Addr>,
    /// `--ip6`.
    pub ip6: Option<Ipv6Addr>,
    /// `--mac-address`.
    pub mac: Option<String>,
    /// Name of the interface inside; `None`: `eth0`.
    pub ifname: Option<String>,
    /// `--dhcp`: the interface is not configured, its namespace asks.
    pub dhcp: bool,
    /// `--add-host NAME:IP`, as typed.
    pub add_host: Vec<String>,
    /// `--rm`.
    pub remove: bool,
    /// `-d`.
    pub detached: bool,
    /// The process that waits for the container; the reservation ends with it.
    pub holder_pid: Option<i32>,
}

/// A reserved container, with what its namespaces need.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Created {
    /// 64 hex digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its hostname.
    pub hostname: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// The gateway's, also the resolver's.
    pub gateway: Ipv4Addr,
    /// The process whose user namespace the container's descends from.
    pub agent_pid: i32,
    /// Lines of its /etc/hosts.
    pub hosts: String,
    /// Its /etc/resolv.conf.
    pub resolv_conf: String,
    /// Variables that tell of its links, `K=V` each; what was asked for with `-e` comes before them.
    pub variables: Vec<String>,
    /// Where the output of a detached command goes.
    pub log: PathBuf,
    /// A directory that must not be seen inside: the helper's own.
    pub hidden: PathBuf,
}

/// The namespaces of a container are there: give it its interface.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartContainer {
    /// The process whose network namespace it is.
    pub pid: Option<i32>,
    /// Or a path of the namespace, as the helper can open it.
    pub netns: Option<PathBuf>,
}

/// The command has ended.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exited {
    /// Its exit code, 128+n for a signal.
    pub code: i32,
}

/// A line of `ps`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerSummary {
    /// 64 hex digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The command, empty for an attached namespace.
    pub cmd: Vec<String>,
    /// When it was created, in nanoseconds since the epoch: two of one second have an order.
    pub created: u64,
    /// How it is.
    pub state: State,
    /// Its address, `None` once it has gone.
    pub ip: Option<Ipv4Addr>,
    /// Exposed and published ports.
    pub ports: Vec<PortMapping>,
}

/// How a container is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// `created`, `running` or `exited`.
    pub status: Status,
    /// Process id of its command, 0 when it has none.
    pub pid: i32,
    /// Exit code of its command, 0 while it runs.
    pub exit_code: i32,
    /// Seconds since the epoch at which it was created.
    pub created_at: u64,
    /// Seconds since the epoch at which it started, 0 before.
    pub started_at: u64,
    /// Seconds since the epoch at which it ended, 0 before.
    pub finished_at: u64,
}

/// Docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Reserved, no interface yet.
    Created,
    /// Attached.
    Running,
    /// Gone, listed until `rm`.
    Exited,
}

impl Status {
    /// The word that is shown and serialised.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited => "exited",
        }
    }
}

/// One container port and where it is published, if it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortMapping {
    /// Port inside.
    pub container_port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Host address and port; `None`: only exposed.
    pub host: Option<(IpAddr, u16)>,
}

/// `publish` and `unpublish`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortSpecs {
    /// SPECs, as typed.
    pub specs: Vec<String>,
}

/// `stop`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// Seconds between SIGTERM and SIGKILL.
    pub timeout: u64,
}

/// `down`, `rm`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Force {
    /// Do it even to what runs.
    pub force: bool,
}

/// Why a request was refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Problem {
    /// One line that says what to do.
    pub message: String,
}
