//! What was set up, said before we go into the background.

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::facts::Names;
use super::options::Options;
use super::plan::{Plan, Side};
use super::rule::Pif;
use super::table::Table;

/// The lines, as the original has them; `names` are what the namespace may be told.
pub fn banner(options: &Options, plan: &Plan, names: &Names, mac: [u8; 6], table: &Table) -> String {
    let mut text = String::new();
    if let Some(path) = &options.conf_path {
        let _ = writeln!(text, "Configuration socket: {}", path.display());
    }
    text += &templates(plan);
    let _ = writeln!(text, "Namespace interface: {}", plan.ifname);
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    let _ = writeln!(text, "MAC:\n    host: {mac}");
    if let Some(v4) = &plan.v4 {
        mapped(&mut text, "127.0.0.1", v4);
        text += "DHCP:\n";
        if let Some(IpNetwork::V4(network)) = v4.addresses.first() {
            let _ = writeln!(text, "    assign: {}\n    mask: {}", network.ip(), network.mask());
        }
        if let Some(gateway) = v4.gateway {
            let _ = writeln!(text, "    router: {gateway}");
        }
        told(&mut text, names, IpAddr::is_ipv4);
    }
    if let Some(v6) = &plan.v6 {
        mapped(&mut text, "::1", v6);
        text += "NDP/DHCPv6:\n";
        if let Some(network) = v6.addresses.first() {
            let _ = writeln!(text, "    assign: {}", network.ip());
        }
        if let Some(gateway) = v6.gateway {
            let _ = writeln!(text, "    router: {gateway}");
        }
        told(&mut text, names, IpAddr::is_ipv6);
    }
    for (pif, title) in [(Pif::Host, "Inbound"), (Pif::Splice, "Outbound")] {
        let _ = writeln!(text, "{title} forwarding rules ({pif}):");
        for rule in table.of(pif) {
            let _ = writeln!(text, "    {rule}");
        }
    }
    text
}

fn templates(plan: &Plan) -> String {
    let mut named = Vec::new();
    let mut text = String::new();
    let v4 = plan.v4.as_ref().map(|side| ("IPv4", side.template.as_ref()));
    let v6 = plan.v6.as_ref().map(|side| ("IPv6", side.template.as_ref()));
    for (family, template) in [v4, v6].into_iter().flatten() {
        match template {
            Some(name) => named.push(format!("{name} ({family})")),
            None => {
                let _ = writeln!(text, "{family}: no external interface as template, use local mode");
            }
        }
    }
    if !named.is_empty() {
        let _ = writeln!(text, "Template interface: {}", named.join(", "));
    }
    text
}

fn mapped<A: std::fmt::Display>(text: &mut String, loopback: &str, side: &Side<A>) {
    if let Some(address) = &side.host_loopback {
        let _ = writeln!(text, "    NAT to host {loopback}: {address}");
    }
}

fn told(text: &mut String, names: &Names, of_family: impl Fn(&IpAddr) -> bool) {
    let servers = names.servers.iter().filter(|server| of_family(server));
    list(text, "DNS", servers);
    list(text, "DNS search list", names.search.iter());
}

fn list(text: &mut String, title: &str, entries: impl Iterator<Item = impl std::fmt::Display>) {
    for (number, entry) in entries.enumerate() {
        if number == 0 {
            let _ = writeln!(text, "{title}:");
        }
        let _ = writeln!(text, "    {entry}");
    }
}
