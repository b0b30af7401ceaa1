//! Errors of the host's network: inside a container a program meets what the same program meets on the host.

use crate::cases;
use crate::host::{Host, OUTSIDE};
use crate::verdict::{Outcome, contains, same};

cases![
    errors_of_a_router_are_the_same_inside_and_on_the_host,
    a_time_to_live_ends_where_it_would_without_us,
    a_trace_shows_every_router,
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
    same("hops of datagrams", hops(&way), format!("172.17.0.1 {OUTSIDE}"))?;
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

/// Three routers, each a namespace, and a machine behind them.
fn a_trace_shows_every_router(host: &Host) -> Outcome {
    let end = chain(host)?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let inside = |line: &str| host.gangplank(&format!("exec client -- {line}"))?.ok();
    let wanted = format!("172.17.0.1 {OUTSIDE} 10.1.0.2 10.2.0.2 {end}");
    same(
        "datagrams",
        hops(&inside(&format!("traceroute -n -q 1 -w 2 {end}"))?).as_str(),
        wanted.as_str(),
    )?;
    same(
        "pings",
        hops(&inside(&format!("traceroute -I -n -q 1 -w 2 {end}"))?).as_str(),
        wanted.as_str(),
    )?;
    let path = inside(&format!("tracepath -n {end}"))?;
    for router in wanted.split(' ') {
        contains("tracepath", &path, &format!(" {router} "))?;
    }
    contains("tracepath", &path, "reached")?;
    for namespace in ["second", "third", "end"] {
        host.root(&format!("umount {}/{namespace}", host.folder().display()))?
            .ok()?;
    }
    Ok(())
}

/// Puts two more routers behind the one outside, and a machine with the address that is returned behind the last.
fn chain(host: &Host) -> Outcome<&'static str> {
    let folder = host.folder().display();
    let enter = |namespace: &str, line: &str| {
        host.root(&format!("nsenter --net={folder}/{namespace} -- {line}"))?
            .ok()
    };
    for (number, pair) in ["outside", "second", "third", "end"].windows(2).enumerate() {
        let (near, far) = (pair[0], pair[1]);
        let (up, subnet) = (format!("chain{number}"), format!("10.{}.0", number + 1));
        host.root(&format!("touch {folder}/{far}"))?.ok()?;
        host.root(&format!("unshare --net={folder}/{far} true"))?.ok()?;
        enter(near, &format!("ip link add down0 type veth peer name {up}"))?;
        enter(near, &format!("ip link set {up} netns {folder}/{far}"))?;
        enter(near, &format!("ip address add {subnet}.1/30 dev down0"))?;
        enter(near, "ip link set down0 up")?;
        enter(near, "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratelimit=0")?;
        enter(near, &format!("ip route add {END}/32 via {subnet}.2"))?;
        enter(far, &format!("ip address add {subnet}.2/30 dev {up}"))?;
        enter(far, &format!("ip link set {up} up"))?;
        enter(far, "ip link set lo up")?;
        enter(far, &format!("ip route add default via {subnet}.1"))?;
    }
    enter("end", &format!("ip address add {END}/32 dev lo"))?;
    enter("end", "sysctl -qw net.ipv4.icmp_ratelimit=0")?;
    Ok(END)
}

/// The addresses that a traceroute shows.
fn hops(way: &str) -> String {
    let lines = way.lines().skip(1);
    let hops: Vec<_> = lines.filter_map(|line| line.split_whitespace().nth(1)).collect();
    hops.join(" ")
}

/// The errno without the time that it took.
fn word(said: &str) -> &str {
    said.split_whitespace()
        .find(|word| word.starts_with('E'))
        .unwrap_or(said)
}

/// The machine behind three routers.
const END: &str = "192.0.2.1";
