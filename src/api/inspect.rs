//! The document that `inspect` shows: Docker's, with Docker's field names, so that templates pasted from there work.
//!
//! Only the parts that mean something here. The helper fills it, the command prints it; nothing in it is computed but
//! the map of ports. Source: `docker inspect` of engine 28 and compat.md 3.7.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::timestamp;
use super::types::{PortMapping, State, Status};

/// A container in full.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspect {
    /// 64 hex digits.
    pub id: String,
    /// When it was created (RFC 3339, nanoseconds).
    pub created: String,
    /// The first word of its command, empty for an attached namespace.
    pub path: String,
    /// The other words.
    pub args: Vec<String>,
    /// Its name with a slash before it, as Docker has it; [`Inspect::name_of`] puts it there.
    pub name: String,
    /// How it is.
    pub state: InspectState,
    /// Where the output of a detached command goes.
    pub log_path: String,
    /// What it was made with.
    pub config: Config,
    /// What of the host it was given.
    pub host_config: HostConfig,
    /// What it has.
    pub network_settings: NetworkSettings,
}

/// `.State`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InspectState {
    /// `created`, `running` or `exited`.
    pub status: String,
    /// Whether it runs.
    pub running: bool,
    /// Nothing is ever paused here; templates ask.
    pub paused: bool,
    /// Nor is anything restarted.
    pub restarting: bool,
    /// Nor half removed.
    pub dead: bool,
    /// Process id of its command, 0 when it has none.
    pub pid: i32,
    /// Exit code of its command, 0 while it runs.
    pub exit_code: i32,
    /// RFC 3339.
    pub started_at: String,
    /// RFC 3339.
    pub finished_at: String,
}

/// `.Config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// Its hostname.
    pub hostname: String,
    /// `80/tcp` and the like; the values are empty, as in Docker.
    pub exposed_ports: BTreeMap<String, Exposed>,
    /// `K=V` each.
    pub env: Vec<String>,
    /// The command, empty for an attached namespace.
    pub cmd: Vec<String>,
    /// Where the command began; empty: where `run` was said.
    pub working_dir: String,
}

/// The value of an exposed port: `{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposed {}

/// `.HostConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig {
    /// Name of the network.
    pub network_mode: String,
    /// `/target:/container/alias` each; `null` without links.
    pub links: Option<Vec<String>>,
    /// What was asked for with `-p`: an empty port is one that is chosen.
    pub port_bindings: BTreeMap<String, Vec<PortBinding>>,
    /// `-P`.
    pub publish_all_ports: bool,
    /// `--rm`.
    pub auto_remove: bool,
    /// `--add-host`.
    pub extra_hosts: Vec<String>,
}

/// A host address and port, both as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PortBinding {
    /// Without brackets.
    pub host_ip: String,
    /// A number.
    pub host_port: String,
}

/// `.NetworkSettings`; the addresses are those of the one network, at the top for old templates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkSettings {
    /// The bridge.
    pub bridge: String,
    /// A path by which its network namespace can be opened while it runs.
    pub sandbox_key: String,
    /// Frames that it sent with an address of somebody else's, and that went nowhere; ours, not Docker's.
    pub spoofed_frames: u64,
    /// What is bound for each port; `null`: only exposed.
    pub ports: Ports,
    /// `null`: what [`Self::ports`] was called before Docker 0.6.5; it was still there in 1.0.
    pub port_mapping: Option<Ports>,
    /// Address, gateway and the rest, as in [`Self::networks`].
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// By name of the network.
    pub networks: BTreeMap<String, NetworkEndpoint>,
}

/// One of `.NetworkSettings.Networks`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkEndpoint {
    /// What others on the network can call it.
    pub aliases: Vec<String>,
    /// What identifies the network: here its name does.
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    /// Address, gateway and the rest.
    #[serde(flatten)]
    pub endpoint: Endpoint,
    /// The same as [`Self::aliases`], as it is called today.
    #[serde(rename = "DNSNames")]
    pub dns_names: Vec<String>,
}

/// What is bound for each port of a container.
pub type Ports = BTreeMap<String, Option<Vec<PortBinding>>>;

/// How a container hangs on a network. Empty texts and zeros once it has gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Endpoint {
    /// The gateway's address.
    pub gateway: String,
    /// Its address.
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    /// Of the subnet.
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    /// The gateway's IPv6 address.
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    /// Its IPv6 address.
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    /// Of the IPv6 subnet.
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
    /// Its hardware address.
    pub mac_address: String,
}

impl Inspect {
    /// A container's name as this document has it.
    pub fn name_of(name: &str) -> String {
        format!("/{name}")
    }
}

impl From<&State> for InspectState {
    fn from(state: &State) -> Self {
        Self {
            status: state.status.word().to_owned(),
            running: state.status == Status::Running,
            paused: false,
            restarting: false,
            dead: false,
            pid: state.pid,
            exit_code: state.exit_code,
            started_at: timestamp::rfc3339(state.started_at),
            finished_at: timestamp::rfc3339(state.finished_at),
        }
    }
}

impl From<(IpAddr, u16)> for PortBinding {
    fn from((address, port): (IpAddr, u16)) -> Self {
        Self {
            host_ip: address.to_string(),
            host_port: port.to_string(),
        }
    }
}

/// The map of `.NetworkSettings.Ports`: bindings of a port in the order of their addresses.
pub fn ports(mappings: &[PortMapping]) -> Ports {
    let mut ports = Ports::new();
    let mut sorted = mappings.to_vec();
    sorted.sort();
    for mapping in sorted {
        let bound = ports
            .entry(format!("{}/{}", mapping.container_port, mapping.protocol))
            .or_default();
        if let Some(host) = mapping.host {
            bound.get_or_insert_default().push(host.into());
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn mapping(port: u16, protocol: &str, host: Option<(&str, u16)>) -> PortMapping {
        let host = host.map(|(address, port)| (address.parse().unwrap(), port));
        PortMapping {
            container_port: port,
            protocol: protocol.to_owned(),
            host,
        }
    }

    fn web() -> Inspect {
        let endpoint = Endpoint {
            gateway: "172.17.0.1".into(),
            ip_address: "172.17.0.2".into(),
            ip_prefix_len: 16,
            ..Endpoint::default()
        };
        Inspect {
            name: Inspect::name_of("web"),
            config: Config {
                exposed_ports: [("80/tcp".to_owned(), Exposed {})].into(),
                ..Config::default()
            },
            network_settings: NetworkSettings {
                ports: ports(&[
                    mapping(80, "tcp", Some(("::", 8080))),
                    mapping(80, "tcp", Some(("0.0.0.0", 8080))),
                    mapping(443, "tcp", None),
                ]),
                networks: [(
                    "gp0".to_owned(),
                    NetworkEndpoint {
                        endpoint: endpoint.clone(),
                        ..NetworkEndpoint::default()
                    },
                )]
                .into(),
                endpoint,
                ..NetworkSettings::default()
            },
            ..Inspect::default()
        }
    }

    #[test]
    fn the_fields_are_dockers() {
        let document = serde_json::to_value(web()).unwrap();
        for path in [
            "/Id",
            "/Created",
            "/Name",
            "/State/Status",
            "/State/Running",
            "/State/Pid",
            "/State/ExitCode",
            "/State/StartedAt",
            "/State/FinishedAt",
            "/Config/Cmd",
            "/Config/Env",
            "/Config/Hostname",
            "/Config/ExposedPorts",
            "/HostConfig/Links",
            "/HostConfig/PortBindings",
            "/NetworkSettings/Bridge",
            "/NetworkSettings/Gateway",
            "/NetworkSettings/IPAddress",
            "/NetworkSettings/IPPrefixLen",
            "/NetworkSettings/GlobalIPv6Address",
            "/NetworkSettings/MacAddress",
            "/NetworkSettings/SandboxKey",
            "/NetworkSettings/Networks/gp0/IPAddress",
            "/NetworkSettings/Networks/gp0/IPv6Gateway",
            "/NetworkSettings/Networks/gp0/Aliases",
            "/NetworkSettings/Networks/gp0/DNSNames",
            "/NetworkSettings/Networks/gp0/NetworkID",
            "/NetworkSettings/PortMapping",
            "/HostConfig/NetworkMode",
            "/Path",
            "/Args",
        ] {
            assert!(document.pointer(path).is_some(), "{path} in {document}");
        }
        assert_eq!(document["Name"], "/web");
        assert_eq!(document["Config"]["ExposedPorts"], json!({"80/tcp": {}}));
        assert_eq!(document["HostConfig"]["Links"], Value::Null);
    }

    #[test]
    fn ports_are_lists_of_texts_or_null() {
        let document = serde_json::to_value(web()).unwrap();
        let expected = json!({
            "443/tcp": null,
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
        });
        assert_eq!(document["NetworkSettings"]["Ports"], expected);
    }

    #[test]
    fn it_reads_back() {
        let text = serde_json::to_string(&web()).unwrap();
        assert_eq!(serde_json::from_str::<Inspect>(&text).unwrap(), web());
    }

    #[test]
    fn states_are_dockers_words() {
        let state = State {
            status: Status::Exited,
            pid: 0,
            exit_code: 137,
            created_at: 1,
            started_at: 1_700_000_000,
            finished_at: 1_700_000_001,
        };
        let shown = InspectState::from(&state);
        assert_eq!(
            (shown.status.as_str(), shown.running, shown.exit_code),
            ("exited", false, 137)
        );
        assert_eq!(
            (shown.started_at.as_str(), shown.finished_at.as_str()),
            ("2023-11-14T22:13:20Z", "2023-11-14T22:13:21Z")
        );
    }
}
