//! Docker's document about a container, filled.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use super::container::{Container, Link};
use super::supervisor::Supervisor;
use crate::api::inspect::{
    Config, Endpoint, Exposed, HostConfig, Inspect, NetworkEndpoint, NetworkSettings, PortBinding, ports,
};
use crate::api::timestamp;
use crate::network::mac;
use crate::network::name::short_id;
use crate::network::ports::{Front, Mapping, Number, PortSpec, Reach};

/// Everything that `inspect` shows; so many frames of the container claimed to be somebody else's.
pub(super) fn document(supervisor: &Supervisor, container: &Container, spoofed_frames: u64) -> Inspect {
    let wish = &container.wish;
    let endpoint = endpoint(supervisor, container);
    let mut names = vec![container.name.clone(), short_id(&container.id).to_owned()];
    names.dedup();
    Inspect {
        id: container.id.clone(),
        created: timestamp::rfc3339_nanos(container.created),
        path: wish.cmd.first().cloned().unwrap_or_default(),
        args: wish.cmd.iter().skip(1).cloned().collect(),
        name: Inspect::name_of(&container.name),
        state: (&container.state).into(),
        log_path: supervisor.place.container_log(&container.id).display().to_string(),
        config: Config {
            hostname: container.hostname.clone(),
            exposed_ports: exposed(container),
            env: wish.env.clone(),
            cmd: wish.cmd.clone(),
            working_dir: wish
                .workdir
                .as_ref()
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
        },
        host_config: HostConfig {
            network_mode: supervisor.name.clone(),
            links: links(container),
            port_bindings: wanted(&wish.publish),
            publish_all_ports: wish.publish_all,
            auto_remove: wish.remove,
            extra_hosts: wish.add_host.clone(),
        },
        network_settings: NetworkSettings {
            bridge: supervisor.bridge_name().to_owned(),
            sandbox_key: container
                .link
                .as_ref()
                .map(|Link { sandbox, .. }| sandbox.clone())
                .unwrap_or_default(),
            spoofed_frames,
            ports: ports(&container.ports()),
            port_mapping: None,
            endpoint: endpoint.clone(),
            networks: BTreeMap::from([(
                supervisor.name.clone(),
                NetworkEndpoint {
                    aliases: names.clone(),
                    network_id: supervisor.name.clone(),
                    endpoint,
                    dns_names: names,
                },
            )]),
        },
    }
}

fn links(container: &Container) -> Option<Vec<String>> {
    let words = container.links.iter();
    let words = words.map(|link| format!("/{}:/{}/{}", link.child, container.name, link.alias));
    Some(words.collect()).filter(|words: &Vec<_>| !words.is_empty())
}

fn endpoint(supervisor: &Supervisor, container: &Container) -> Endpoint {
    let Some(lease) = &container.lease else {
        return Endpoint::default();
    };
    let subnets = supervisor.subnets;
    Endpoint {
        gateway: subnets.gateway.address.to_string(),
        ip_address: lease.address.to_string(),
        ip_prefix_len: subnets.v4.prefix(),
        ipv6_gateway: text(subnets.gateway.address6),
        global_ipv6_address: text(lease.address6),
        global_ipv6_prefix_len: subnets.v6.map_or(0, |subnet| subnet.prefix()),
        mac_address: mac::format(lease.mac),
    }
}

/// Docker writes nothing for what there is not.
fn text(address: Option<Ipv6Addr>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}

/// Exposed ports, those among them that are published.
fn exposed(container: &Container) -> BTreeMap<String, Exposed> {
    let named = container
        .ports()
        .into_iter()
        .map(|port| format!("{}/{}", port.container_port, port.protocol));
    named.map(|port| (port, Exposed {})).collect()
}

/// What `-p` asked for, as typed; what came of it stands in `NetworkSettings`.
fn wanted(specs: &[String]) -> BTreeMap<String, Vec<PortBinding>> {
    let mut wanted = BTreeMap::<String, Vec<PortBinding>>::new();
    let specs = specs.iter().filter_map(|spec| spec.parse::<PortSpec>().ok());
    for Mapping {
        number,
        container,
        reach,
    } in specs.flat_map(|spec| spec.mappings(Front::At(Reach::Every)))
    {
        let host_ip = match reach {
            Reach::Every => String::new(),
            Reach::At(address) => address.to_string(),
        };
        let host_port = match number {
            Number::Exactly(port) => port.to_string(),
            Number::FirstFree(range) => range.to_string(),
            Number::Automatic => String::new(),
        };
        let binding = PortBinding { host_ip, host_port };
        wanted.entry(container.to_string()).or_default().push(binding);
    }
    wanted
}
