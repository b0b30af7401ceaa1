//! Datagrams larger than the MTU: containers send them in fragments, and so do the machines outside.

use crate::cases;
use crate::host::{HOST, HOST6, Host, OUTSIDE, OUTSIDE6};
use crate::verdict::{Outcome, contains, same};

cases![
    large_datagrams_out_and_back,
    large_datagrams_out_and_back_over_ipv6,
    large_datagrams_to_a_published_port,
    large_datagrams_to_a_published_port_over_ipv6,
    large_pings,
    large_pings_over_ipv6,
];

/// Two fragments, many, and as many as there can be.
const SIZES: &str = "1473 8000 60000 65507";

fn large_datagrams_out_and_back(host: &Host) -> Outcome {
    let _server = host.outside_server("echo", "udp-echo 0.0.0.0 9000")?;
    all_right(&inside(host, &host.peer(&format!("udp-sizes {OUTSIDE} 9000 {SIZES}")))?)
}

fn large_datagrams_out_and_back_over_ipv6(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    let _server = host.outside_server("echo", &format!("udp-echo {OUTSIDE6} 9000"))?;
    all_right(&inside(
        host,
        &host.peer(&format!("udp-sizes {OUTSIDE6} 9000 {SIZES}")),
    )?)
}

fn large_datagrams_to_a_published_port(host: &Host) -> Outcome {
    host.container("-p 9000:9001/udp", "echo", &host.peer("udp-echo 0.0.0.0 9001"), "ready")?;
    all_right(&outside(host, HOST)?)
}

fn large_datagrams_to_a_published_port_over_ipv6(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    host.container("-p 9000:9001/udp", "echo", &host.peer("udp-echo :: 9001"), "ready")?;
    all_right(&outside(host, HOST6)?)
}

fn large_pings(host: &Host) -> Outcome {
    pings(host, OUTSIDE, "{{.NetworkSettings.Gateway}}")
}

fn large_pings_over_ipv6(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    pings(host, OUTSIDE6, "{{.NetworkSettings.IPv6Gateway}}")
}

/// Of a machine outside by the host's ping socket, and of the gateway, which the stack answers for.
fn pings(host: &Host, outside: &str, gateway: &str) -> Outcome {
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    for target in [outside, &host.inspect("client", gateway)?] {
        for size in [8000, 60_000] {
            let said = host.gangplank(&format!("exec client -- ping -n -c 1 -W 10 -s {size} {target}"))?;
            contains(target, &said.stdout, "1 packets transmitted, 1 received")?;
        }
    }
    Ok(())
}

fn inside(host: &Host, command: &str) -> Outcome<String> {
    host.gangplank(&format!("run --rm -- {command}"))?.ok()
}

fn outside(host: &Host, target: &str) -> Outcome<String> {
    host.outside(&host.peer(&format!("udp-sizes {target} 9000 {SIZES}")))?
        .ok()
}

fn all_right(said: &str) -> Outcome {
    let sizes = SIZES.split(' ').count();
    same(format!("answers in\n{said}"), said.matches("right").count(), sizes)
}
