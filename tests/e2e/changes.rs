//! What happens to the host while a network runs: routes, addresses and interfaces that come, go and are replaced.

use crate::cases;
use crate::host::{Host, OUTSIDE, OUTSIDE_TOO};
use crate::process::{PATIENCE, until};
use crate::verdict::{Outcome, same};

cases![
    a_route_that_covers_the_subnet_is_told_of,
    another_route_is_nobodys_business,
    a_default_route_that_is_replaced_is_followed,
    an_address_that_is_replaced_is_followed,
    a_flow_outlives_an_interface_that_goes_down_and_up,
];

fn a_route_that_covers_the_subnet_is_told_of(host: &Host) -> Outcome {
    host.gangplank("up --subnet 172.30.0.0/16")?.ok()?;
    host.root(&format!("ip route add 172.30.4.0/24 via {OUTSIDE}"))?.ok()?;
    told(host, "172.30.4.0/24 via 198.51.100.2 on up0")
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
