//! `network ls`, `network inspect` and `show`.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::format::{Column, Format, list};
use crate::api::types::{Bridge, Network};
use crate::cli::template::TemplateError;

/// The output of `network ls`, by name.
pub fn networks(networks: &[Network], quiet: bool, format: &Format) -> Result<String, TemplateError> {
    let mut sorted: Vec<_> = networks.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    if quiet {
        return Ok(sorted.iter().map(|network| format!("{}\n", network.name)).collect());
    }
    let rows: Vec<_> = sorted.iter().map(|network| row(network)).collect();
    list(format, NETWORK, &rows)
}

/// The document of `network inspect`: Docker's fields where it has them, ours after them.
pub fn network_document(network: &Network) -> Value {
    let options = &network.options;
    let mut pools = vec![json!({"Subnet": network.subnet.to_string(), "Gateway": network.gateway.to_string()})];
    let v6 = network.subnet6.zip(network.gateway6);
    pools.extend(v6.map(|(subnet, gateway)| json!({"Subnet": subnet.to_string(), "Gateway": gateway.to_string()})));
    json!({
        "Name": network.name,
        "Scope": "local",
        "Driver": "bridge",
        "EnableIPv6": network.subnet6.is_some(),
        "IPAM": {"Driver": "default", "Config": pools},
        "Options": {
            "com.docker.network.bridge.name": options.bridge.as_ref().unwrap_or(&network.name),
            "com.docker.network.bridge.enable_icc": options.icc.to_string(),
            "com.docker.network.bridge.host_binding_ipv4":
                options.host_binding.unwrap_or(Ipv4Addr::UNSPECIFIED).to_string(),
            "com.docker.network.driver.mtu": options.mtu.to_string(),
        },
        "Why": network.why,
        "Uplink": network.uplink,
        "Threads": options.threads,
        "HostAccess": options.host_access,
        "DNS": options.dns,
        "Transient": options.transient,
        "HelperPid": network.helper_pid,
        "AgentPid": network.agent_pid,
        "Attached": network.containers,
        "Counters": network.counters,
    })
}

/// The output of `show`: as a table what `brctl show` prints, tabs included.
pub fn show(bridges: &[Bridge], format: &Format) -> Result<String, TemplateError> {
    if *format == Format::Table {
        return Ok(BRCTL_HEAD.to_owned() + &bridges.iter().map(brctl).collect::<String>());
    }
    let rows: Vec<_> = bridges.iter().map(bridge_row).collect();
    list(format, BRIDGE, &rows)
}

fn row(network: &Network) -> Value {
    json!({
        "Name": network.name,
        "Subnet": network.subnet.to_string(),
        "Gateway": network.gateway.to_string(),
        "ICC": network.options.icc.to_string(),
        "MTU": network.options.mtu.to_string(),
        "Uplink": network.uplink,
        "Containers": network.containers.to_string(),
        "Driver": "bridge",
        "Scope": "local",
    })
}

fn bridge_row(bridge: &Bridge) -> Value {
    json!({"Name": bridge.name, "ID": bridge.id, "STP": yes_no(bridge.stp), "Interfaces": bridge.interfaces})
}

/// brctl puts two tabs after the name, which a name of eight letters pushes out of line: it gets one.
fn brctl(bridge: &Bridge) -> String {
    let tabs = if bridge.name.len() < 8 { "\t\t" } else { "\t" };
    let interfaces = bridge.interfaces.join(BRCTL_NEXT);
    format!(
        "{}{tabs}{}\t{:>3}\t\t{interfaces}\n",
        bridge.name,
        bridge.id,
        yes_no(bridge.stp)
    )
}

fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// bridge-utils, brctl_cmd.c.
const BRCTL_HEAD: &str = "bridge name\tbridge id\t\tSTP enabled\tinterfaces\n";
const BRCTL_NEXT: &str = "\n\t\t\t\t\t\t\t";

const NETWORK: &[Column] = &[
    Column {
        key: "Name",
        head: "NAME",
        shown: true,
    },
    Column {
        key: "Subnet",
        head: "SUBNET",
        shown: true,
    },
    Column {
        key: "Gateway",
        head: "GATEWAY",
        shown: true,
    },
    Column {
        key: "ICC",
        head: "ICC",
        shown: true,
    },
    Column {
        key: "MTU",
        head: "MTU",
        shown: true,
    },
    Column {
        key: "Uplink",
        head: "UPLINK",
        shown: true,
    },
    Column {
        key: "Containers",
        head: "CONTAINERS",
        shown: true,
    },
    Column {
        key: "Driver",
        head: "DRIVER",
        shown: false,
    },
    Column {
        key: "Scope",
        head: "SCOPE",
        shown: false,
    },
];

const BRIDGE: &[Column] = &[
    Column {
        key: "Name",
        head: "BRIDGE NAME",
        shown: true,
    },
    Column {
        key: "ID",
        head: "BRIDGE ID",
        shown: true,
    },
    Column {
        key: "STP",
        head: "STP ENABLED",
        shown: true,
    },
    Column {
        key: "Interfaces",
        head: "INTERFACES",
        shown: true,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::NetworkOptions;

    fn network(name: &str, containers: usize) -> Network {
        Network {
            name: name.into(),
            options: NetworkOptions::default(),
            subnet: "172.17.0.0/16".parse().unwrap(),
            gateway: [172, 17, 0, 1].into(),
            subnet6: None,
            gateway6: None,
            why: "nobody uses it".into(),
            uplink: "tap".into(),
            helper_pid: 7,
            agent_pid: 8,
            containers,
            counters: [("frames_in".to_owned(), 3)].into(),
        }
    }

    fn bridge(interfaces: &[&str]) -> Bridge {
        let interfaces = interfaces.iter().map(|name| (*name).to_owned()).collect();
        Bridge {
            name: "gp0".into(),
            id: "8000.0242ac110001".into(),
            stp: false,
            interfaces,
        }
    }

    #[test]
    fn the_table_of_networks() {
        let both = [network("gp0", 2), network("blue", 0)];
        let expected = "\
NAME      SUBNET          GATEWAY      ICC       MTU       UPLINK    CONTAINERS
blue      172.17.0.0/16   172.17.0.1   true      1500      tap       0
gp0       172.17.0.0/16   172.17.0.1   true      1500      tap       2
";
        assert_eq!(networks(&both, false, &Format::Table).unwrap(), expected);
        assert_eq!(networks(&both, true, &Format::Table).unwrap(), "blue\ngp0\n");
        assert_eq!(
            networks(&both, false, &"{{.Name}} {{.Driver}}".parse().unwrap()).unwrap(),
            "blue bridge\ngp0 bridge\n"
        );
    }

    #[test]
    fn dockers_template_for_a_subnet_works() {
        let template = "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}} {{.Why}}";
        let format = template.parse().unwrap();
        let text = super::super::documents(&format, &[network_document(&network("gp0", 0))]).unwrap();
        assert_eq!(text, "172.17.0.0/16 172.17.0.1 nobody uses it\n");
    }

    #[test]
    fn both_subnets_are_in_the_document() {
        let both = Network {
            subnet6: Some("fd00:9::/64".parse().unwrap()),
            gateway6: Some("fd00:9::1".parse().unwrap()),
            ..network("gp0", 0)
        };
        let document = network_document(&both);
        assert_eq!(document["EnableIPv6"], true);
        assert_eq!(
            document["IPAM"]["Config"][1],
            json!({"Subnet": "fd00:9::/64", "Gateway": "fd00:9::1"})
        );
        let document = network_document(&network("gp0", 0));
        assert_eq!(document["EnableIPv6"], false);
        assert_eq!(document["IPAM"]["Config"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn show_is_brctl_show() {
        let expected = "bridge name\tbridge id\t\tSTP enabled\tinterfaces\n\
                        gp0\t\t8000.0242ac110001\t no\t\ttap0\n\
                        \t\t\t\t\t\t\tveth1\n";
        assert_eq!(show(&[bridge(&["tap0", "veth1"])], &Format::Table).unwrap(), expected);
        assert!(
            show(&[bridge(&[])], &Format::Table)
                .unwrap()
                .ends_with("8000.0242ac110001\t no\t\t\n")
        );
        let json = show(&[bridge(&["tap0"])], &Format::Json).unwrap();
        assert_eq!(
            json,
            "{\"Name\":\"gp0\",\"ID\":\"8000.0242ac110001\",\"STP\":\"no\",\"Interfaces\":[\"tap0\"]}\n"
        );
        assert_eq!(
            show(&[bridge(&["a", "b"])], &r#"{{join .Interfaces ","}}"#.parse().unwrap()).unwrap(),
            "a,b\n"
        );
    }
}
