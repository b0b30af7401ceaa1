//! Errors of the host's network: inside a container a program meets what the same program meets on the host.

use std::time::Duration;

use crate::cases;
use crate::chain::{Chain, END, END6, hops, hops6};
use crate::host::{Host, OUTSIDE, OUTSIDE6};
use crate::verdict::{Outcome, Trouble, contains, holds, same};

cases![
    a_program_meets_the_same_errors_inside_and_on_the_host,
    the_same_over_ipv6,
    a_time_to_live_ends_where_it_would_without_us,
    a_trace_shows_every_router,
    a_trace_shows_every_router_over_ipv6,
    mtr_shows_every_router,
    a_connection_whose_hops_end_says_so,
];

/// One way to fail: whom it asks, what the host's program meets over TCP, what over UDP, and what both inside if that
/// cannot be the same.
struct Row {
    target: &'static str,
    tcp: &'static str,
    udp: &'static str,
    inside: Option<&'static str>,
}

const fn row(target: &'static str, tcp: &'static str, udp: &'static str) -> Row {
    Row {
        target,
        tcp,
        udp,
        inside: None,
    }
}

/// The machine outside is made a router with a route of each kind that ends; so is the host itself.
fn a_program_meets_the_same_errors_inside_and_on_the_host(host: &Host) -> Outcome {
    host.outside("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratelimit=0")?
        .ok()?;
    for route in [
        "unreachable 192.0.2.0/28",
        "prohibit 192.0.2.16/28",
        "blackhole 192.0.2.48/28",
    ] {
        host.outside(&format!("ip route add {route}"))?.ok()?;
    }
    // A router reports five errors at once to one sender, and then one a second (ip_error, net/ipv4/route.c).
    for (network, sender) in [("192.0.2.0/28", 11), ("192.0.2.16/28", 12), ("192.0.2.32/28", 13)] {
        host.root(&format!("ip address add 198.51.100.{sender}/24 dev up0"))?
            .ok()?;
        host.root(&format!("ip route add {network} via {OUTSIDE} src 198.51.100.{sender}"))?
            .ok()?;
    }
    deaf_link(host, "192.0.2.65/28")?;
    for route in [
        "prohibit 203.0.114.0/28",
        "blackhole 203.0.114.16/28",
        "throw 203.0.114.32/28",
    ] {
        host.root(&format!("ip route add {route}"))?.ok()?;
    }
    compare(
        host,
        &[
            row(OUTSIDE, "ECONNREFUSED", "ECONNREFUSED"),
            // Behind a router: unreachable, prohibited, no route at all, a host that does not answer ARP, silence.
            row("192.0.2.1", "EHOSTUNREACH", "EHOSTUNREACH"),
            row("192.0.2.17", "EHOSTUNREACH", "EHOSTUNREACH"),
            row("192.0.2.33", "ENETUNREACH", "ENETUNREACH"),
            row("192.0.2.66", "EHOSTUNREACH", "EHOSTUNREACH"),
            row("192.0.2.49", "ETIMEDOUT", "silence"),
            // Here: a neighbour that does not answer ARP, a next hop that does not, unreachable, no route.
            row("198.51.100.200", "EHOSTUNREACH", "EHOSTUNREACH"),
            row("203.0.113.1", "EHOSTUNREACH", "EHOSTUNREACH"),
            row("203.0.113.200", "EHOSTUNREACH", "EHOSTUNREACH"),
            row("203.0.114.33", "ENETUNREACH", "ENETUNREACH"),
            // No ICMP becomes EACCES or EINVAL (icmp_err_convert): it is as behind any router that prohibits, and better than
            // its silence.
            Row {
                inside: Some("EHOSTUNREACH"),
                ..row("203.0.114.1", "EACCES", "EACCES")
            },
            Row {
                inside: Some("ENETUNREACH"),
                ..row("203.0.114.17", "EINVAL", "EINVAL")
            },
        ],
    )
}

fn the_same_over_ipv6(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    host.outside("sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.icmp.ratelimit=0")?
        .ok()?;
    let routes = [
        "unreachable 2001:db8:52:1::/64",
        "prohibit 2001:db8:52:2::/64",
        "blackhole 2001:db8:52:4::/64",
    ];
    for route in routes {
        host.outside(&format!("ip -6 route add {route}"))?.ok()?;
    }
    deaf_link(host, "2001:db8:52:5::1/64 nodad")?;
    // A next hop that is known to be deaf is passed over for the default one (rt6_score_route, net/ipv6/route.c): whether
    // the last SYN finds it so is a matter of milliseconds, so behind the default one nobody answers either.
    host.outside("ip -6 route add 2001:db8:51:1::/64 dev deaf0")?.ok()?;
    let routes = [
        "2001:db8:51:1::/64 via 2001:db8:51::254",
        "prohibit 2001:db8:51:3::/64",
        "blackhole 2001:db8:51:4::/64",
        "throw 2001:db8:51:5::/64",
    ];
    for route in routes {
        host.root(&format!("ip -6 route add {route}"))?.ok()?;
    }
    compare(
        host,
        &[
            row(OUTSIDE6, "ECONNREFUSED", "ECONNREFUSED"),
            // Of "unreachable" Linux makes code 0, no route.
            row("2001:db8:52:1::7", "ENETUNREACH", "ENETUNREACH"),
            row("2001:db8:52:2::7", "EACCES", "EACCES"),
            row("2001:db8:52:3::7", "ENETUNREACH", "ENETUNREACH"),
            row("2001:db8:52:5::7", "EHOSTUNREACH", "EHOSTUNREACH"),
            row("2001:db8:52:4::7", "ETIMEDOUT", "silence"),
            row("2001:db8:51::200", "EHOSTUNREACH", "EHOSTUNREACH"),
            row("2001:db8:51:1::7", "EHOSTUNREACH", "EHOSTUNREACH"),
            row("2001:db8:51:2::7", "EHOSTUNREACH", "EHOSTUNREACH"),
            row("2001:db8:51:3::7", "EACCES", "EACCES"),
            row("2001:db8:51:5::7", "ENETUNREACH", "ENETUNREACH"),
            Row {
                inside: Some("ENETUNREACH"),
                ..row("2001:db8:51:4::7", "EINVAL", "EINVAL")
            },
        ],
    )
}

/// Gives the machine outside a link on which it has this address, and on which nobody answers.
fn deaf_link(host: &Host, address: &str) -> Outcome {
    host.outside("ip link add deaf0 type veth peer name deaf1")?.ok()?;
    host.outside("ip link set deaf0 up")?.ok()?;
    host.outside("ip link set deaf1 up")?.ok()?;
    host.outside(&format!("ip address add {address} dev deaf0"))?.ok()?;
    Ok(())
}

/// Runs all rows at once, on the host and inside at the same time: most of them wait.
fn compare(host: &Host, rows: &[Row]) -> Outcome {
    let targets: Vec<&str> = rows.iter().map(|row| row.target).collect();
    let line = host.peer(&format!("errnos 7001 {}", targets.join(" ")));
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let mut on_host = host.user_start("errnos", &line)?;
    let inside = host.gangplank(&format!("exec client -- {line}"))?.ok()?;
    same("exit code on the host", on_host.ends(Duration::from_secs(30))?, 0)?;
    let table = |inside: bool| {
        let lines = rows.iter().map(|row| {
            let same = row.inside.filter(|_| inside);
            format!(
                "{} {} {}\n",
                row.target,
                same.unwrap_or(row.tcp),
                same.unwrap_or(row.udp)
            )
        });
        lines.collect::<String>()
    };
    same("on the host", on_host.output()?.trim_end(), table(false).trim_end())?;
    same("inside", inside.as_str(), table(true).trim_end())
}

/// The gateway is the first hop, as any router would be; the router behind the host is the second.
fn a_time_to_live_ends_where_it_would_without_us(host: &Host) -> Outcome {
    host.outside("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratelimit=0")?
        .ok()?;
    host.outside("ip route add 192.0.2.0/24 dev out0")?.ok()?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let inside = |line: &str| host.gangplank(&format!("exec client -- {line}"));
    let way = inside("traceroute -n -q 1 -w 5 -m 2 192.0.2.1")?.ok()?;
    same("hops of datagrams", seen(&way), format!("172.17.0.1 {OUTSIDE}"))?;
    for (hops, router) in [(1, "172.17.0.1"), (2, OUTSIDE)] {
        let pinged = inside(&format!("ping -n -c 1 -W 10 -t {hops} 192.0.2.1"))?;
        contains(
            "ping",
            &pinged.stdout,
            &format!("From {router} icmp_seq=1 Time to live exceeded"),
        )?;
    }
    Ok(())
}

/// By datagrams and by pings.
fn a_trace_shows_every_router(host: &Host) -> Outcome {
    let _chain = Chain::make(host)?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    traces(host, "-4", END, &hops())
}

fn a_trace_shows_every_router_over_ipv6(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    let _chain = Chain::make(host)?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let address = host.address6("client")?;
    let gateway = host.inspect("client", "{{ .NetworkSettings.IPv6Gateway }}")?;
    holds(
        format!("{gateway} is the gateway of {address}"),
        gateway.ends_with("::1"),
    )?;
    traces(host, "-6", END6, &hops6(&gateway))
}

fn traces(host: &Host, family: &str, end: &str, hops: &str) -> Outcome {
    let inside = |line: &str| host.gangplank(&format!("exec client -- {line}"))?.ok();
    for (what, options) in [("datagrams", ""), ("pings", "-I"), ("connections", "-T -p 7000")] {
        let way = inside(&format!("traceroute {family} {options} -n -q 1 -w 5 {end}"))?;
        same(what, seen(&way).as_str(), hops)?;
    }
    let path = inside(&format!("tracepath {family} -n {end}"))?;
    for router in hops.split(' ') {
        contains("tracepath", &path, &format!(" {router} "))?;
    }
    contains("tracepath", &path, "reached")?;
    Ok(())
}

fn mtr_shows_every_router(host: &Host) -> Outcome {
    if host.user("mtr --version").is_err() {
        return Err(Trouble::Impossible("the program mtr is not installed".to_owned()));
    }
    let _chain = Chain::make(host)?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let mut ways = vec![("-4", END, hops())];
    if host.needs_ipv6().is_ok() {
        let gateway = host.inspect("client", "{{ .NetworkSettings.IPv6Gateway }}")?;
        ways.push(("-6", END6, hops6(&gateway)));
    }
    for (family, end, hops) in ways {
        let report = host
            .gangplank(&format!("exec client -- mtr {family} -n -r -c 2 -i 0.3 {end}"))?
            .ok()?;
        for router in hops.split(' ') {
            contains("mtr", &report, &format!("-- {router} "))?;
        }
    }
    Ok(())
}

/// As on the host: the router's word ends the attempt.
fn a_connection_whose_hops_end_says_so(host: &Host) -> Outcome {
    let chain = Chain::make(host)?;
    let _server = host.root_server(
        "echo",
        &chain.inside("end", &host.peer(&format!("tcp-echo {END} 7000"))),
    )?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    for (hops, result) in [(1, "EHOSTUNREACH"), (2, "EHOSTUNREACH"), (5, "connected")] {
        let line = host.peer(&format!("connect {END} 7000 10 {hops}"));
        let inside = host.gangplank(&format!("exec client -- {line}"))?.ok()?;
        contains(format!("after {hops} hops"), &inside, result)?;
    }
    Ok(())
}

/// The addresses that a traceroute shows.
fn seen(way: &str) -> String {
    let lines = way.lines().skip(1);
    let hops: Vec<_> = lines.filter_map(|line| line.split_whitespace().nth(1)).collect();
    hops.join(" ")
}
