//! Errors of the host's network: inside a container a program meets what the same program meets on the host.

use crate::cases;
use crate::host::{Host, OUTSIDE};
use crate::verdict::{Outcome, contains, same};

cases![
    errors_of_a_router_are_the_same_inside_and_on_the_host,
    a_time_to_live_ends_where_it_would_without_us,
];

/// The machine outside is made a router with a route of each kind that ends; it answers with ICMP of that kind.
fn errors_of_a_router_are_the_same_inside_and_on_the_host(host: &Host) -> Outcome {
    host.outside("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratelimit=0")?
        .ok()?;
    for (kind, network) in [("unreachable", "192.0.2.0/28"), ("prohibit", "192.0.2.16/28")] {
        host.outside(&format!("ip route add {kind} {network}"))?.ok()?;
    }
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    // The fourth has no route at all.
    let rows = [
        (OUTSIDE, "ECONNREFUSED"),
        ("192.0.2.1", "EHOSTUNREACH"),
        ("192.0.2.17", "EHOSTUNREACH"),
        ("192.0.2.33", "ENETUNREACH"),
    ];
    for (target, errno) in rows {
        for ask in ["connect", "udp-error"] {
            let line = host.peer(&format!("{ask} {target} 7001"));
            let on_host = host.user(&line)?.ok()?;
            let inside = host.gangplank(&format!("exec client -- {line}"))?.ok()?;
            contains(format!("{ask} {target} on the host"), &on_host, errno)?;
            same(format!("{ask} {target} inside"), word(&inside), word(&on_host))?;
        }
    }
    Ok(())
}

/// The gateway is the first hop, as any router would be; the router behind the host is the second.
fn a_time_to_live_ends_where_it_would_without_us(host: &Host) -> Outcome {
    host.outside("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratelimit=0")?
        .ok()?;
    host.outside("ip route add 192.0.2.0/24 dev out0")?.ok()?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let inside = |line: &str| host.gangplank(&format!("exec client -- {line}"));
    let way = inside("traceroute -n -q 1 -w 2 -m 2 192.0.2.1")?.ok()?;
    let hops: Vec<_> = way
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    same("hops of datagrams", hops.join(" "), format!("172.17.0.1 {OUTSIDE}"))?;
    for (hops, router) in [(1, "172.17.0.1"), (2, OUTSIDE)] {
        let pinged = inside(&format!("ping -n -c 1 -W 2 -t {hops} 192.0.2.1"))?;
        contains(
            "ping",
            &pinged.stdout,
            &format!("From {router} icmp_seq=1 Time to live exceeded"),
        )?;
    }
    Ok(())
}

/// The errno without the time that it took.
fn word(said: &str) -> &str {
    said.split_whitespace()
        .find(|word| word.starts_with('E'))
        .unwrap_or(said)
}
