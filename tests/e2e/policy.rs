//! What a container may not reach unless somebody said so.

use crate::cases;
use crate::host::{Host, OUTSIDE};
use crate::verdict::{Outcome, contains, holds, same};

cases![
    the_hosts_loopback_is_refused_by_default,
    host_access_loopback_opens_the_gateway,
    host_access_ports_opens_these_only,
    the_metadata_address_is_refused,
    the_api_is_not_visible_in_a_container,
    the_runtime_folder_is_closed_to_others,
];

fn the_hosts_loopback_is_refused_by_default(host: &Host) -> Outcome {
    let echo = host.host_server("echo", "tcp-echo 127.0.0.1 7000")?;
    let udp = host.host_server("udp", "udp-echo 127.0.0.1 7000")?;
    let gateway = gateway(host)?;
    let said = inside(host, &format!("connect {gateway} 7000 3"))?;
    contains("TCP at the gateway", &said, "ECONNREFUSED")?;
    inside(host, &format!("udp-error {gateway} 7000"))?;
    same("who called by TCP", echo.output()?.contains("peer"), false)?;
    same("who called by UDP", udp.output()?.contains("from"), false)?;
    // A container's own 127.0.0.1 is its own.
    contains("loopback", &inside(host, "connect 127.0.0.1 7000 3")?, "ECONNREFUSED")
}

fn host_access_loopback_opens_the_gateway(host: &Host) -> Outcome {
    let _echo = host.host_server("echo", "tcp-echo 127.0.0.1 7000")?;
    let _udp = host.host_server("udp", "udp-echo 127.0.0.1 7000")?;
    host.gangplank("up --host-access loopback")?.ok()?;
    let gateway = gateway(host)?;
    same(
        "TCP",
        inside(host, &format!("tcp-ask {gateway} 7000 hello"))?.as_str(),
        "answer hello",
    )?;
    let said = inside(host, &format!("udp-ask 0.0.0.0 5000 {gateway} 7000"))?;
    same(format!("UDP: {said}"), said.matches("right").count(), 4)
}

fn host_access_ports_opens_these_only(host: &Host) -> Outcome {
    let _one = host.host_server("one", "tcp-echo 127.0.0.1 7000")?;
    let _two = host.host_server("two", "tcp-echo 127.0.0.1 7001")?;
    let _three = host.host_server("three", "tcp-echo 127.0.0.1 7002")?;
    host.gangplank("up --host-access 7000,7002")?.ok()?;
    let gateway = gateway(host)?;
    for port in ["7000", "7002"] {
        same(
            port,
            inside(host, &format!("tcp-ask {gateway} {port} hello"))?.as_str(),
            "answer hello",
        )?;
    }
    contains(
        "7001",
        &inside(host, &format!("connect {gateway} 7001 3"))?,
        "ECONNREFUSED",
    )
}

/// The ground has a server at that address: without the refusal the container would reach it.
fn the_metadata_address_is_refused(host: &Host) -> Outcome {
    let server = host.outside_server("metadata", "tcp-echo 0.0.0.0 80")?;
    let udp = host.outside_server("udp", "udp-echo 169.254.169.254 80")?;
    let said = inside(host, "connect 169.254.169.254 80 5")?;
    holds(
        format!("refused at once: {said}"),
        !said.contains("connected") && !said.contains("timeout"),
    )?;
    inside(host, "udp-error 169.254.169.254 80")?;
    let ping = host.gangplank("run --rm -- ping -n -c 1 -W 2 169.254.169.254")?;
    holds("no echo", !ping.stdout.contains("bytes from 169.254.169.254"))?;
    same("who called by TCP", server.output()?.contains("peer"), false)?;
    same("who called by UDP", udp.output()?.contains("from"), false)?;
    // The same server at its other address is there.
    same(
        "elsewhere",
        inside(host, &format!("tcp-ask {OUTSIDE} 80 hello"))?.as_str(),
        "answer hello",
    )
}

fn the_api_is_not_visible_in_a_container(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    let socket = host.state().join("gp0/api.sock");
    holds("it is there on the host", socket.exists())?;
    host.gangplank(&format!("run --rm -- test ! -e {}", socket.display()))?
        .ok()
        .map(drop)
}

fn the_runtime_folder_is_closed_to_others(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    crate::host::private(&host.state(), 0o700)?;
    crate::host::private(&host.state().join("gp0"), 0o700)
}

fn gateway(host: &Host) -> Outcome<String> {
    host.gangplank("run -d --name asked -- sleep 100")?.ok()?;
    host.inspect("asked", "{{.NetworkSettings.Gateway}}")
}

fn inside(host: &Host, peer: &str) -> Outcome<String> {
    host.gangplank(&format!("run --rm -- {}", host.peer(peer)))?.ok()
}
