//! Containers among themselves: one bridge, and two that do not meet.

use crate::host::{Host, LIMIT};
use crate::verdict::{Outcome, contains, holds, same};
use crate::{cases, json};

cases![
    container_to_container_by_the_bridge,
    a_container_pings_its_neighbour_and_the_gateway,
    two_networks_do_not_reach_each_other,
    the_same_name_in_two_networks,
];

fn container_to_container_by_the_bridge(host: &Host) -> Outcome {
    host.container("", "server", &host.peer("tcp-echo 0.0.0.0 7000"), "ready")?;
    let server = host.address("server")?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let said = host
        .gangplank(&format!(
            "exec client -- {}",
            host.peer(&format!("tcp-ask {server} 7000 hello"))
        ))?
        .ok()?;
    same("answer", said.as_str(), "answer hello")?;
    // Straight over the bridge, not through the stack: the server sees the client itself.
    host.logged("server", &format!("peer {} ", host.address("client")?))
}

fn a_container_pings_its_neighbour_and_the_gateway(host: &Host) -> Outcome {
    host.gangplank("run -d --name one -- sleep 100")?.ok()?;
    let neighbour = host.address("one")?;
    let gateway = host.inspect("one", "{{.NetworkSettings.Gateway}}")?;
    for address in [neighbour, gateway] {
        let said = host
            .gangplank(&format!("run --rm -- ping -n -c 2 -i 1 -W 10 {address}"))?
            .ok()?;
        contains(format!("ping {address}"), &said, "2 received")?;
    }
    Ok(())
}

fn two_networks_do_not_reach_each_other(host: &Host) -> Outcome {
    host.gangplank("network create red")?.ok()?;
    host.gangplank("network create blue")?.ok()?;
    host.gangplank(&format!(
        "run -d --network red --name server -- {}",
        host.peer("tcp-echo 0.0.0.0 7000")
    ))?
    .ok()?;
    let server = host
        .gangplank_words(
            &[
                "inspect",
                "--network",
                "red",
                "--format",
                "{{.NetworkSettings.IPAddress}}",
                "server",
            ],
            LIMIT,
        )?
        .ok()?;
    let red = host
        .gangplank(&format!(
            "run --rm --network red -- {}",
            host.peer(&format!("tcp-ask {server} 7000 hello 100"))
        ))?
        .ok()?;
    same("within red", red.as_str(), "answer hello")?;
    let blue = host
        .gangplank(&format!(
            "run --rm --network blue -- {}",
            host.peer(&format!("connect {server} 7000 2"))
        ))?
        .ok()?;
    holds(format!("from blue: {blue}"), !blue.contains("connected"))
}

fn the_same_name_in_two_networks(host: &Host) -> Outcome {
    host.gangplank("network create red")?.ok()?;
    for network in ["gp0", "red"] {
        host.gangplank(&format!("run -d --network {network} --name web -- sleep 100"))?
            .ok()?;
    }
    let gateway = |network: &str| {
        let text = host.gangplank(&format!("network inspect {network}"))?.ok()?;
        json::text(&json::parse(&text)?, "gateway")
    };
    holds("two gateways", gateway("gp0")? != gateway("red")?)
}
