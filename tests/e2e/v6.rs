//! IPv6: what a container has, whom it reaches by it, who reaches it, and what it is told where there is no way.

use crate::attach::Ship;
use crate::cases;
use crate::host::{CLIENT, CLIENT6, HOST, HOST6, Host, OUTSIDE, OUTSIDE6};
use crate::process::{PATIENCE, until};
use crate::verdict::{Outcome, contains, fail, holds, same};

cases![
    both_addresses_are_shown_and_there,
    an_address_can_be_asked_for,
    a_subnet_in_use_is_refused,
    containers_reach_each_other_by_address_and_name,
    addresses_lead_back_to_names,
    tcp_and_udp_out_from_the_hosts_address,
    ping_reaches_the_outside,
    the_gateway_is_a_neighbour,
    errors_are_those_of_the_host,
    without_ipv6_on_the_host_there_is_no_route,
    a_published_port_keeps_the_clients_address,
    published_udp_keeps_the_clients_address,
    who_listens_on_ipv4_alone_is_found_too,
    every_network_has_a_prefix_of_its_own,
    without_a_subnet_there_is_none,
    a_sibling_user_namespace_has_both,
];

const UP: &str = "up --subnet6 fd00:9::/64";

fn both_addresses_are_shown_and_there(host: &Host) -> Outcome {
    up(host)?;
    host.gangplank("run -d --name web -- sleep 100")?.ok()?;
    let settings = "{{with .NetworkSettings}}{{.GlobalIPv6Address}}/{{.GlobalIPv6PrefixLen}} {{.IPv6Gateway}}{{end}}";
    same(
        "inspect",
        host.inspect("web", settings)?.as_str(),
        "fd00:9::2/64 fd00:9::1",
    )?;
    let network = "{{.EnableIPv6}}{{range .IPAM.Config}} {{.Subnet}} {{.Gateway}}{{end}}";
    let shown = host
        .gangplank_words(&["network", "inspect", "--format", network, "gp0"], crate::host::LIMIT)?
        .ok()?;
    contains("network inspect", &shown, "true ")?;
    contains("network inspect", &shown, " fd00:9::/64 fd00:9::1")?;
    let inside = |line: &str| host.gangplank(&format!("exec web -- {line}"))?.ok();
    let address = inside("ip -o -6 address show dev eth0")?;
    let mut shown = address.lines().filter(|line| line.contains("fd00:9::2/64"));
    holds(
        format!("it does not wait in\n{address}"),
        shown.next().is_some_and(|line| !line.contains("tentative")),
    )?;
    // The kernel's own comes when a thread of the kernel gets round to it, and is tentative until another does.
    let proof = inside("cat /proc/sys/net/ipv6/conf/eth0/accept_dad")?;
    same("nor has anything else to be proved", proof.as_str(), "0")?;
    until(PATIENCE, "nothing waits", || {
        Ok(!inside("ip -o -6 address show dev eth0")?.contains("tentative"))
    })?;
    contains("route", &inside("ip -6 route")?, "default via fe80::1 dev eth0")?;
    let hosts = inside("cat /etc/hosts")?;
    contains("hosts", &hosts, "\nfd00:9::2\t")?;
    contains("hosts", &hosts, "::1\tlocalhost ip6-localhost ip6-loopback")?;
    let resolv_conf = inside("cat /etc/resolv.conf")?;
    holds("the resolver has one address", !resolv_conf.contains("fd00"))
}

fn an_address_can_be_asked_for(host: &Host) -> Outcome {
    up(host)?;
    host.gangplank("run -d --name db --ip6 fd00:9::77 -- sleep 100")?.ok()?;
    same("inspect", host.address6("db")?.as_str(), "fd00:9::77")?;
    for (address, part) in [
        ("fd00:9::77", "in use by db"),
        ("fd00:8::7", "outside the network's subnet fd00:9::/64"),
        ("fd00:9::1", "is the gateway"),
    ] {
        // The exit code of a `run` that failed by us.
        let ran = host.gangplank(&format!("run --ip6 {address} -- true"))?.code(125)?;
        ran.one_line(&[part])?;
    }
    host.gangplank("network create four --subnet6 none")?.ok()?;
    let ran = host
        .gangplank("run --network four --ip6 fd00:9::7 -- true")?
        .code(125)?;
    ran.one_line(&["--ip6 needs a network with IPv6"])
}

fn a_subnet_in_use_is_refused(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    let refuse = |subnet: &str, parts: &[&str]| host.gangplank(&format!("up --subnet6 {subnet}"))?.refused(parts);
    refuse("2001:db8:51::/64", &["--subnet6", "an address of this host"])?;
    refuse("2001:db8:51:2::/64", &["--subnet6", "the route"])?;
    host.gangplank("network create blue --subnet6 fd00:9::/64")?.ok()?;
    refuse("fd00:9::/60", &["--subnet6", "of network blue"])?;
    let ran = host.gangplank("up --mtu 1000 --subnet6 fd00:8::/64")?;
    ran.refused(&["--subnet6 needs an --mtu of 1280"])
}

fn containers_reach_each_other_by_address_and_name(host: &Host) -> Outcome {
    up(host)?;
    host.container("", "echo", &host.peer("tcp-echo :: 7000"), "ready")?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let inside = |line: &str| host.gangplank(&format!("exec client -- {line}"))?.ok();
    let (server, client) = (host.address6("echo")?, host.address6("client")?);
    for name in [server.as_str(), "echo"] {
        let said = inside(&host.peer(&format!("tcp-ask {name} 7000 hello")))?;
        same(name, said.as_str(), "answer hello")?;
    }
    host.logged("echo", &format!("peer {client} "))?;
    contains("getent", &inside("getent ahostsv6 echo.gp0")?, &server)?;
    let gateway = host.inspect("client", "{{.NetworkSettings.Gateway}}")?;
    same(
        "AAAA",
        inside(&format!("dig +short @{gateway} echo AAAA"))?.as_str(),
        server.as_str(),
    )?;
    contains(
        "the host has none",
        &inside(&format!("dig @{gateway} host.containers.internal AAAA"))?,
        "status: NOERROR",
    )
}

fn addresses_lead_back_to_names(host: &Host) -> Outcome {
    up(host)?;
    host.gangplank("run -d --name web -- sleep 100")?.ok()?;
    let gateway = host.inspect("web", "{{.NetworkSettings.Gateway}}")?;
    let back = |address: &str| {
        let line = format!("exec web -- dig +short @{gateway} -x {address}");
        host.gangplank(&line)?.ok()
    };
    same("container", back("fd00:9::2")?.as_str(), "web.gp0.")?;
    same("gateway", back("fd00:9::1")?.as_str(), "host.containers.internal.")?;
    same("nobody", back("fd00:9::77")?.as_str(), "")
}

fn tcp_and_udp_out_from_the_hosts_address(host: &Host) -> Outcome {
    up(host)?;
    let server = host.outside_server("tcp", "tcp-echo :: 7000")?;
    let said = inside(host, &format!("tcp-ask {OUTSIDE6} 7000 hello"))?;
    same("tcp", said.as_str(), "answer hello")?;
    server.says(&format!("peer {HOST6} "))?;
    let server = host.outside_server("udp", &format!("udp-echo {OUTSIDE6} 9000"))?;
    let said = inside(host, &format!("udp-ask :: 5000 {OUTSIDE6} 9000"))?;
    // 4 bytes, none, 1400; 1472 is more than fits a frame, and the pieces may not come through.
    holds(format!("answers in\n{said}"), said.matches("right").count() >= 3)?;
    server.says(&format!("from {HOST6} "))
}

fn ping_reaches_the_outside(host: &Host) -> Outcome {
    up(host)?;
    let said = host
        .gangplank(&format!("run --rm -- ping -6 -n -c 3 -i 1 -W 10 {OUTSIDE6}"))?
        .ok()?;
    contains("ping", &said, "3 packets transmitted, 3 received")
}

fn the_gateway_is_a_neighbour(host: &Host) -> Outcome {
    up(host)?;
    for address in ["fd00:9::1", "fe80::1%eth0"] {
        let said = host
            .gangplank(&format!("run --rm -- ping -6 -n -c 1 -W 10 {address}"))?
            .ok()?;
        contains(address, &said, "1 received")?;
    }
    Ok(())
}

fn errors_are_those_of_the_host(host: &Host) -> Outcome {
    up(host)?;
    for (target, error) in [
        (format!("{OUTSIDE6} 7001"), "ECONNREFUSED"),
        ("2001:db8:51:2::7 80".to_owned(), "EHOSTUNREACH"),
        ("2001:db8:99::7 80 1".to_owned(), "timeout"),
    ] {
        contains(&target, &inside(host, &format!("connect {target}"))?, error)?;
    }
    Ok(())
}

fn without_ipv6_on_the_host_there_is_no_route(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    for conf in ["all", "default"] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{conf}/disable_ipv6"), "1")?;
    }
    let _server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    up(host)?;
    let mut times = Vec::new();
    // On a busy machine a first packet may find the interface not yet ready, and then it comes again after a second.
    for _ in 0..3 {
        let said = inside(host, &format!("connect {OUTSIDE6} 7000 5"))?;
        let Some(time) = said.strip_prefix("ENETUNREACH ") else {
            fail!("not ENETUNREACH: {said}")
        };
        times.push(time.parse::<f64>()?);
    }
    holds(
        format!("one of {times:?} ms is at once"),
        times.iter().any(|time| *time < 1000.0),
    )?;
    let said = inside(host, &format!("udp-error {OUTSIDE6} 7000"))?;
    same("udp", said.as_str(), "ENETUNREACH")?;
    let said = inside(host, &format!("tcp-ask {OUTSIDE} 7000 hello"))?;
    same("IPv4", said.as_str(), "answer hello")?;
    host.container("-p 8080:7000", "echo", &host.peer("tcp-echo :: 7000"), "ready")?;
    let said = inside(host, "tcp-ask echo 7000 hello")?;
    same("names", said.as_str(), "answer hello")
}

fn a_published_port_keeps_the_clients_address(host: &Host) -> Outcome {
    up(host)?;
    host.container("-p 8080:7000", "echo", &host.peer("tcp-echo :: 7000"), "ready")?;
    let ask = |source: &str, address: &str| {
        let script = format!(
            "import socket; s = socket.create_connection((\"{address}\", 8080), 10, (\"{source}\", 0)); \
             s.sendall(b\"hello\"); print(s.recv(9).decode())"
        );
        host.outside(&format!("{} -c '{script}'", host.python()))?.ok()
    };
    same("IPv6", ask(CLIENT6, HOST6)?.as_str(), "hello")?;
    host.logged("echo", &format!("peer {CLIENT6} "))?;
    same("IPv4", ask(CLIENT, HOST)?.as_str(), "hello")?;
    host.logged("echo", &format!("peer ::ffff:{CLIENT} "))?;
    let said = host.user(&host.peer("tcp-ask ::1 8080 hello"))?.ok()?;
    same("loopback", said.as_str(), "answer hello")?;
    host.logged("echo", "peer fd00:9::1 ")
}

fn published_udp_keeps_the_clients_address(host: &Host) -> Outcome {
    up(host)?;
    host.container("-p 9000:9001/udp", "echo", &host.peer("udp-echo :: 9001"), "ready")?;
    let said = host
        .outside(&host.peer(&format!("udp-ask {CLIENT6} 4567 {HOST6} 9000")))?
        .ok()?;
    holds(format!("answers in\n{said}"), said.matches("right").count() >= 3)?;
    host.logged("echo", &format!("from {CLIENT6} 4567 "))
}

/// A program that knows IPv4 alone is found by `localhost`, which is ::1 first; one that knows IPv6 alone by IPv6.
fn who_listens_on_ipv4_alone_is_found_too(host: &Host) -> Outcome {
    up(host)?;
    host.container("-p 8080:7000", "four", &host.peer("tcp-echo 0.0.0.0 7000"), "ready")?;
    for address in ["::1", "127.0.0.1"] {
        let said = host.user(&host.peer(&format!("tcp-ask {address} 8080 hello")))?.ok()?;
        same(address, said.as_str(), "answer hello")?;
    }
    let ask = host.peer("tcp-echo fd00:9::3 7000");
    host.container("-p 8081:7000 --ip6 fd00:9::3", "six", &ask, "ready")?;
    let ask = |address: &str| host.user(&host.peer(&format!("tcp-ask {address} 8081 hello")));
    same("IPv6", ask("::1")?.ok()?.as_str(), "answer hello")?;
    contains("IPv4", &ask("127.0.0.1")?.code(1)?.stdout, "failed")?;
    host.container("-p 8082:7000", "deaf", "sh -c 'echo ready; exec sleep 100'", "ready")?;
    let said = host.user(&host.peer("tcp-ask ::1 8082 hello"))?.code(1)?;
    contains("nobody", &said.stdout, "failed")
}

fn every_network_has_a_prefix_of_its_own(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    host.gangplank("run -d --name one -- sleep 100")?.ok()?;
    host.gangplank("run -d --name two --network blue -- sleep 100")?.ok()?;
    let address = |network: &str, name: &str| {
        let line = format!("inspect --network {network} --format {{{{.NetworkSettings.GlobalIPv6Address}}}} {name}");
        host.gangplank(&line)?.ok()
    };
    let (one, two) = (address("gp0", "one")?, address("blue", "two")?);
    for address in [&one, &two] {
        holds(
            format!("{address} is unique local"),
            address.starts_with("fd") && address.ends_with("::2"),
        )?;
    }
    holds(format!("{one} and {two} have nothing in common"), one != two)?;
    // No room for IPv6, and nobody has asked for it.
    host.gangplank("network create small --mtu 1000")?.ok()?;
    let shown = host.gangplank("network inspect small --format {{.EnableIPv6}}")?.ok()?;
    same("a small MTU", shown.as_str(), "false")
}

fn without_a_subnet_there_is_none(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    host.gangplank("up --subnet6 none")?.ok()?;
    host.container("-p 8080:7000", "echo", &host.peer("tcp-echo 0.0.0.0 7000"), "ready")?;
    same("inspect", host.address6("echo")?.as_str(), "")?;
    let inside = |line: &str| host.gangplank(&format!("exec echo -- {line}"))?.ok();
    same("address", inside("ip -6 address show dev eth0")?.as_str(), "")?;
    let said = inside(&host.peer(&format!("connect {OUTSIDE6} 80")))?;
    contains("no route", &said, "ENETUNREACH")?;
    let said = host.outside(&host.peer(&format!("tcp-ask {HOST6} 8080 hello")))?.ok()?;
    same("its clients may have IPv6", said.as_str(), "answer hello")
}

fn a_sibling_user_namespace_has_both(host: &Host) -> Outcome {
    up(host)?;
    let ship = Ship::sail(host)?;
    host.gangplank(&format!("attach --pid {} --name ship", ship.pid()))?
        .ok()?;
    let address = host.address6("ship")?;
    contains("eth0", &ship.run(host, "ip -6 address show dev eth0")?, &address)?;
    host.container("", "echo", &host.peer("tcp-echo :: 7000"), "ready")?;
    let ask = |target: &str| ship.run(host, &host.peer(&format!("tcp-ask {target} 7000 hello")));
    same("neighbour", ask(&host.address6("echo")?)?.as_str(), "answer hello")?;
    host.logged("echo", &format!("peer {address} "))?;
    let _server = host.outside_server("echo", "tcp-echo :: 7000")?;
    same("outside", ask(OUTSIDE6)?.as_str(), "answer hello")
}

fn up(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    host.gangplank(UP)?.ok().map(drop)
}

/// Runs one of the programs of `peer.py` in a container.
fn inside(host: &Host, peer: &str) -> Outcome<String> {
    host.gangplank(&format!("run --rm -- {}", host.peer(peer)))?.ok()
}
