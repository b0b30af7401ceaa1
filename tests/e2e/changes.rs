//! What happens to the host while a network runs: routes, addresses and interfaces that come, go and are replaced.

use crate::cases;
use crate::host::{HOST6, Host, OUTSIDE, OUTSIDE_TOO, OUTSIDE6};
use crate::process::{PATIENCE, until};
use crate::verdict::{Outcome, same};

cases![
    a_route_that_covers_the_subnet_is_told_of,
    a_route_that_covers_the_ipv6_subnet_is_told_of,
    another_route_is_nobodys_business,
    a_default_route_that_is_replaced_is_followed,
    an_address_that_is_replaced_is_followed,
    a_flow_outlives_an_interface_that_goes_down_and_up,
    the_way_out_moves_to_another_interface,
    ipv6_that_comes_late_is_used,
];

fn a_route_that_covers_the_subnet_is_told_of(host: &Host) -> Outcome {
    host.gangplank("up --subnet 172.30.0.0/16")?.ok()?;
    host.root(&format!("ip route add 172.30.4.0/24 via {OUTSIDE}"))?.ok()?;
    told(host, "172.30.4.0/24 via 198.51.100.2 on up0")
}

fn a_route_that_covers_the_ipv6_subnet_is_told_of(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    host.gangplank("up --subnet6 fd00:9::/64")?.ok()?;
    host.root(&format!("ip route add fd00:9::/48 via {OUTSIDE6}"))?.ok()?;
    told(host, "fd00:9::/48 via 2001:db8:51::2 on up0")
}

fn another_route_is_nobodys_business(host: &Host) -> Outcome {
    host.gangplank("up --subnet 172.30.0.0/16")?.ok()?;
    host.root(&format!("ip route add 172.31.4.0/24 via {OUTSIDE}"))?.ok()?;
    // What came first is told first.
    host.root(&format!("ip route add 172.30.5.0/24 via {OUTSIDE}"))?.ok()?;
    told(host, "172.30.5.0/24")?;
    same("told", log(host)?.matches("the host has got").count(), 1)
}

fn a_default_route_that_is_replaced_is_followed(host: &Host) -> Outcome {
    let _server = host.outside_server("echo", &format!("tcp-echo {OUTSIDE} 7000"))?;
    host.gangplank("up")?.ok()?;
    asks(host)?;
    host.root(&format!("ip route replace default via {OUTSIDE_TOO}"))?
        .ok()?;
    asks(host)
}

fn an_address_that_is_replaced_is_followed(host: &Host) -> Outcome {
    let server = host.outside_server("echo", &format!("tcp-echo {OUTSIDE} 7000"))?;
    host.gangplank("up")?.ok()?;
    asks(host)?;
    host.root("ip address del 198.51.100.1/24 dev up0")?.ok()?;
    let alone = host.gangplank(&ask(host))?;
    same("without any address", alone.stdout.trim_end(), "failed ENETUNREACH")?;
    host.root("ip address add 198.51.100.9/24 dev up0")?.ok()?;
    asks(host)?;
    server.says("peer 198.51.100.9 ")
}

fn a_flow_outlives_an_interface_that_goes_down_and_up(host: &Host) -> Outcome {
    let server = host.outside_server("late", &format!("tcp-echo {OUTSIDE} 7000 1.5"))?;
    host.gangplank("up")?.ok()?;
    let mut asks = host.gangplank_start("ask", &ask(host))?;
    // Its answer comes later.
    server.says("peer")?;
    host.root("ip link set up0 down")?.ok()?;
    host.root("ip link set up0 up")?.ok()?;
    asks.says("answer hello")?;
    same("exit code", asks.ends(PATIENCE)?, 0)
}

/// From the cable to the air, say: another interface, address and default route. What was there is gone; datagrams of a
/// socket that is open all the while go on by the new way, from the new address, and so do new connections.
fn the_way_out_moves_to_another_interface(host: &Host) -> Outcome {
    let far = "192.0.2.1";
    host.outside(&format!("ip address add {far}/32 dev lo"))?.ok()?;
    host.root(&format!(
        "ip link add up1 type veth peer name out1 netns {}",
        outside(host)
    ))?
    .ok()?;
    host.outside("ip address add 198.51.101.2/24 dev out1")?.ok()?;
    host.outside("ip link set out1 up")?.ok()?;
    let echo = host.outside_server("echo", &format!("udp-echo {far} 9000"))?;
    let server = host.outside_server("tcp", &format!("tcp-echo {far} 7000"))?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let steady = host.peer(&format!("udp-steady {far} 9000"));
    let steady = host.gangplank_start("steady", &format!("exec client -- {steady}"))?;
    steady.says("ready")?;
    host.root("ip link set up0 down")?.ok()?;
    let ask = format!("exec client -- {}", host.peer(&format!("tcp-ask {far} 7000 hello")));
    let between = host.gangplank(&ask)?.code(1)?;
    same("no way", between.stdout.trim_end(), "failed ENETUNREACH")?;
    host.root("ip address add 198.51.101.1/24 dev up1")?.ok()?;
    host.root("ip link set up1 up")?.ok()?;
    host.root("ip route add default via 198.51.101.2")?.ok()?;
    echo.says("from 198.51.101.1 ")?;
    let before = steady.output()?.lines().count();
    until(PATIENCE, "answers come by the new way", || {
        Ok(steady.output()?.lines().count() > before + 1)
    })?;
    same("a connection", host.gangplank(&ask)?.ok()?.as_str(), "answer hello")?;
    server.says("peer 198.51.101.1 ")?;
    drop(steady);
    host.root("ip link del up1")?.ok().map(drop)
}

/// A host that has no IPv6 when the network is made, and gets some.
fn ipv6_that_comes_late_is_used(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    host.root("ip -6 address flush dev up0 scope global")?.ok()?;
    host.root("ip -6 route flush default")?.ok()?;
    let _server = host.outside_server("echo", &format!("tcp-echo {OUTSIDE6} 7000"))?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let ask = host.peer(&format!("tcp-ask {OUTSIDE6} 7000 hello"));
    let ask = format!("exec client -- {ask}");
    let before = host.gangplank(&ask)?.code(1)?;
    same("before", before.stdout.trim_end(), "failed ENETUNREACH")?;
    host.root(&format!("ip address add {HOST6}/64 dev up0 nodad"))?.ok()?;
    same("after", host.gangplank(&ask)?.ok()?.as_str(), "answer hello")
}

fn outside(host: &Host) -> String {
    host.folder().join("outside").display().to_string()
}

fn asks(host: &Host) -> Outcome {
    same("answer", host.gangplank(&ask(host))?.ok()?.as_str(), "answer hello")
}

fn ask(host: &Host) -> String {
    format!("run --rm -- {}", host.peer(&format!("tcp-ask {OUTSIDE} 7000 hello")))
}

fn told(host: &Host, route: &str) -> Outcome {
    let wanted = format!("the host has got the route {route}");
    until(PATIENCE, "the route is told of", || Ok(log(host)?.contains(&wanted)))
}

fn log(host: &Host) -> Outcome<String> {
    Ok(std::fs::read_to_string(host.state().join("gp0/log"))?)
}
