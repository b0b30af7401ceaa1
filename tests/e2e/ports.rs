//! Many ports at once, the addresses that they are published at, and published ports seen from inside.

use crate::cases;
use crate::host::{HOST, Host, LIMIT};
use crate::process::{PATIENCE, until};
use crate::verdict::{Outcome, Trouble, contains, fail, holds, same};

cases![
    a_range_of_ports,
    one_port_takes_the_first_of_a_range_that_is_free,
    ten_thousand_ports_in_one_call,
    ports_that_do_not_fit_are_refused,
    what_cannot_be_published_whole_is_not_published,
    reserved_ports_are_passed_over,
    one_loopback_address_for_each_container,
    an_address_of_its_own_for_exposed_ports,
    host_ip_is_where_ports_are_published,
    published_ports_are_reached_at_the_gateway,
    published_ports_are_reached_at_the_gateway_over_ipv6,
    what_is_published_at_one_address_is_not_at_the_gateway,
    an_image_says_what_it_exposes,
    dockers_driver_options,
];

fn a_range_of_ports(host: &Host) -> Outcome {
    box_with(host, "-p 8000-8002:7000-7002 -p 9000-9001:9000-9001/udp")?;
    let ports = host.gangplank("port box")?.ok()?;
    same("lines of port", ports.lines().count(), 10)?;
    for line in [
        "7002/tcp -> 0.0.0.0:8002",
        "7002/tcp -> [::]:8002",
        "9001/udp -> [::]:9001",
    ] {
        contains("port", &ports, line)?;
    }
    contains("ps", &host.gangplank("ps")?.ok()?, "0.0.0.0:9000-9001->9000-9001/udp")?;
    serve(host, "box", "7002")?;
    answers(host, "127.0.0.1", "8002")?;
    answers(host, "::1", "8002")?;
    host.gangplank("publish box [::1]:8100-8102:7000-7002")?.ok()?;
    answers(host, "::1", "8102")?;
    host.gangplank("unpublish box 8001-8002:7001-7002")?.ok()?;
    host.gangplank("unpublish box 9000-9001/udp")?.ok()?;
    same(
        "left",
        host.gangplank("port box")?.ok()?.as_str(),
        "7000/tcp -> 0.0.0.0:8000\n7000/tcp -> [::1]:8100\n7000/tcp -> [::]:8000\n7001/tcp -> [::1]:8101\n7002/tcp -> [::1]:8102",
    )?;
    refuses(host, "127.0.0.1", "8002")?;
    host.gangplank("unpublish box 8001-8002:7001-7002")?
        .refused(&["box does not publish 8001-8002:7001-7002"])
}

fn one_port_takes_the_first_of_a_range_that_is_free(host: &Host) -> Outcome {
    let _other = host.host_server("other", "tcp-echo 127.0.0.1 8000")?;
    for (name, port) in [("one", 8001), ("two", 8002)] {
        let run = format!("run -d --name {name} -p 127.0.0.1:8000-8002:7000 -- sleep 100");
        host.gangplank(&run)?.ok()?;
        let bound = host.gangplank(&format!("port {name} 7000"))?.ok()?;
        same(name, bound, format!("127.0.0.1:{port}"))?;
    }
    host.gangplank("run -d --name three -p 127.0.0.1:8000-8002:7000 -- sleep 100")?
        .code(125)?
        .one_line(&["Bind for 127.0.0.1:8000-8002 failed: all ports are allocated"])?;
    same("containers", host.gangplank("ps -a -q")?.ok()?.lines().count(), 2)
}

fn ten_thousand_ports_in_one_call(host: &Host) -> Outcome {
    let limit = host.user("sh -c 'ulimit -Hn'")?.ok()?;
    if limit.parse::<usize>().is_ok_and(|limit| limit < 15_000) {
        return Err(Trouble::Impossible(format!("only {limit} open files are allowed here")));
    }
    box_with(host, "")?;
    serve(host, "box", "29999")?;
    let bound = host.gangplank("publish box 20000-29999:20000-29999")?.ok()?;
    same("lines", bound.lines().count(), 20_000)?;
    answers(host, "127.0.0.1", "29999")?;
    answers(host, "::1", "29999")?;
    contains("ps", &host.gangplank("ps")?.ok()?, "[::]:20000-29999->20000-29999/tcp")?;
    host.gangplank("run -d --name late -p 127.0.0.1:25000:80 -- sleep 100")?
        .code(125)?
        .one_line(&["Bind for 127.0.0.1:25000 failed: port is already allocated by container box"])?;
    host.gangplank("unpublish box 20000-29999")?.ok()?;
    same("listeners", listeners(host)?.as_str(), "")?;
    host.gangplank("publish box 20000-29999:20000-29999")?.ok()?;
    host.gangplank("rm -f box")?.ok()?;
    until(PATIENCE, "no listener is left", || Ok(listeners(host)?.is_empty()))
}

fn ports_that_do_not_fit_are_refused(host: &Host) -> Outcome {
    host.user(&format!("prlimit --nofile=900 {} up", host.binary()))?.ok()?;
    box_with(host, "-p 8080:80")?;
    host.gangplank("publish box 9000-9999:9000-9999")?.refused(&[
        "1000 ports take 1000 descriptors",
        "of the 900 that the network's helper may have open (ulimit -Hn)",
        "publish fewer",
    ])?;
    same("port", host.gangplank("port box")?.ok()?.lines().count(), 2)?;
    host.gangplank("publish box 9000-9099:9000-9099")?.ok()?;
    host.gangplank("publish box 9100-9199:9100-9199")?
        .refused(&["100 ports take 100 descriptors"])?;
    host.gangplank("unpublish box 9000-9099:9000-9099")?.ok()?;
    host.gangplank("publish box 9100-9199:9100-9199")?.ok().map(drop)
}

fn what_cannot_be_published_whole_is_not_published(host: &Host) -> Outcome {
    box_with(host, "-p 8080:80")?;
    let _other = host.host_server("other", "tcp-echo 127.0.0.1 9005")?;
    let before = (host.gangplank("port box")?.ok()?, listeners(host)?);
    for (specs, part) in [
        (
            "9100:1 9000-9010:9000-9010",
            "Bind for 0.0.0.0:9005 failed: port is already allocated",
        ),
        (
            "9100:1 9200 8080:2",
            "Bind for 0.0.0.0:8080 failed: port is already allocated by container box",
        ),
        (
            "9100:1 192.0.2.7:9101:2",
            "Bind for 192.0.2.7:9101 failed: this host does not have the address",
        ),
        (
            "9100:1 9100:2",
            "Bind for 0.0.0.0:9100 failed: port is already allocated by container box",
        ),
        ("9100:1 99:2", "net.ipv4.ip_unprivileged_port_start"),
    ] {
        host.gangplank(&format!("publish box {specs}"))?.refused(&[part])?;
        same(
            specs,
            (host.gangplank("port box")?.ok()?, listeners(host)?),
            before.clone(),
        )?;
    }
    let rest = host.user(&host.peer("hold-tcp 0.0.0.0 9100"))?.ok()?;
    same("9100 is the host's", rest.as_str(), "bound")?;
    host.gangplank("run -d --name two -p 9100:1 -p 8080:2 -- sleep 100")?
        .code(125)?
        .one_line(&["port is already allocated by container box"])?;
    same("containers", host.gangplank("ps -a -q")?.ok()?.lines().count(), 1)?;
    host.gangplank("publish box 9100:1 9000-9010:9000")?.ok()?;
    same(
        "the first of the range",
        host.gangplank("port box 9000")?.ok()?.as_str(),
        "0.0.0.0:9000\n[::]:9000",
    )
}

fn reserved_ports_are_passed_over(host: &Host) -> Outcome {
    // Nor may another program's be given: a wildcard conflicts with each of its addresses.
    let _other = host.host_server("other", "tcp-echo 127.0.0.1 49153")?;
    box_with(host, "-p 80")?;
    same(
        "first",
        host.gangplank("port box 80")?.ok()?.as_str(),
        "0.0.0.0:49154\n[::]:49154",
    )?;
    host.root("sysctl -q -w net.ipv4.ip_local_reserved_ports=49155,49157-49160")?
        .ok()?;
    let bound = host.gangplank("publish box 81 82 83/udp")?.ok()?;
    for line in [
        "81/tcp -> [::]:49156",
        "82/tcp -> 0.0.0.0:49161",
        "83/udp -> [::]:49162",
    ] {
        contains("publish", &bound, line)?;
    }
    // Who names a reserved one may have it.
    host.gangplank("publish box 49155:84")?.ok().map(drop)
}

fn one_loopback_address_for_each_container(host: &Host) -> Outcome {
    let names = ["one", "two", "three"];
    let mut fronts = Vec::new();
    for name in names {
        host.container(
            "--host-ip auto -p 8080",
            name,
            &host.peer("tcp-echo 0.0.0.0 8080"),
            "ready",
        )?;
        let front = front(host, name)?;
        answers(host, &front, "8080")?;
        contains("ps", &host.gangplank("ps")?.ok()?, &format!("{front}:8080->8080/tcp"))?;
        same(
            "port",
            host.gangplank(&format!("port {name}"))?.ok()?,
            format!("8080/tcp -> {front}:8080"),
        )?;
        fronts.push(front);
    }
    let different: std::collections::BTreeSet<_> = fronts.iter().collect();
    same("addresses", different.len(), 3)?;
    holds(
        format!("not the common ones: {fronts:?}"),
        fronts
            .iter()
            .all(|front| front.starts_with("127.") && !front.starts_with("127.0.")),
    )?;
    refuses(host, "127.0.0.1", "8080")?;
    // The name keeps its address.
    host.gangplank("rm -f two")?.ok()?;
    refuses(host, &fronts[1], "8080")?;
    host.gangplank("run -d --name two --host-ip auto -p 8080 -- sleep 100")?
        .ok()?;
    same("again", front(host, "two")?, fronts[1].clone())?;
    // What is published later stands beside, and a conflict is one line.
    host.gangplank("publish one 9090:8080")?.ok()?;
    answers(host, &fronts[0], "9090")?;
    host.gangplank("rm -f two")?.ok()?;
    let _other = host.host_server("other", &format!("tcp-echo {} 8080", fronts[1]))?;
    host.gangplank("run -d --name two --host-ip auto -p 8080 -- sleep 100")?
        .code(125)?
        .one_line(&[&format!(
            "Bind for {}:8080 failed: port is already allocated",
            fronts[1]
        )])
}

fn an_address_of_its_own_for_exposed_ports(host: &Host) -> Outcome {
    box_with(host, "--host-ip auto --expose 7000-7001 --expose 7001/udp -p 8001:7001")?;
    let front = front(host, "box")?;
    same(
        "port",
        host.gangplank("port box")?.ok()?,
        format!("7000/tcp -> {front}:7000\n7001/tcp -> {front}:8001\n7001/udp -> {front}:7001"),
    )?;
    serve(host, "box", "7000")?;
    answers(host, &front, "7000")?;
    host.gangplank("run -d --name low --host-ip auto --expose 80 -- sleep 100")?
        .code(125)?
        .one_line(&["net.ipv4.ip_unprivileged_port_start"])?;
    same("containers", host.gangplank("ps -a -q")?.ok()?.lines().count(), 1)
}

fn host_ip_is_where_ports_are_published(host: &Host) -> Outcome {
    box_with(host, "--host-ip 127.0.0.1 -P --expose 90 -p 8080:80 -p [::1]:8081:81")?;
    let bound = host.gangplank("port box")?.ok()?;
    contains("80", &bound, "80/tcp -> 127.0.0.1:8080")?;
    contains("81", &bound, "81/tcp -> [::1]:8081")?;
    contains("90", &bound, "90/tcp -> 127.0.0.1:49153")?;
    same("no more", bound.lines().count(), 3)?;
    // The same for a whole network.
    host.gangplank("network create quay -o com.docker.network.bridge.host_binding_ipv4=127.0.0.2")?
        .ok()?;
    host.gangplank("run --network quay -d --name box -p 8080:80 -- sleep 100")?
        .ok()?;
    same(
        "port",
        host.gangplank("port --network quay box")?.ok()?.as_str(),
        "80/tcp -> 127.0.0.2:8080",
    )
}

/// As with Docker; here the container that asks may be the one that is asked.
fn published_ports_are_reached_at_the_gateway(host: &Host) -> Outcome {
    host.gangplank("up --icc=false")?.ok()?;
    host.container("-p 8080:7000", "tcp", &host.peer("tcp-echo 0.0.0.0 7000"), "ready")?;
    host.container("-p 9000:9001/udp", "udp", &host.peer("udp-echo 0.0.0.0 9001"), "ready")?;
    let gateway = host.inspect("tcp", "{{.NetworkSettings.Gateway}}")?;
    let ask = host.peer(&format!("tcp-ask {gateway} 8080 hello"));
    for line in [format!("run --rm -- {ask}"), format!("exec tcp -- {ask}")] {
        same("TCP", host.gangplank(&line)?.ok()?.as_str(), "answer hello")?;
    }
    host.logged("tcp", &format!("peer {gateway}"))?;
    let said = inside(host, &format!("udp-ask 0.0.0.0 5000 {gateway} 9000"))?;
    same(format!("UDP: {said}"), said.matches("right").count(), 4)?;
    contains(
        "TCP where UDP is published",
        &inside(host, &format!("connect {gateway} 9000 3"))?,
        "ECONNREFUSED",
    )?;
    host.gangplank("unpublish tcp 8080:7000")?.ok()?;
    // Whoever has the host's port now is not the container's to reach.
    let server = host.host_server("other", "tcp-echo 0.0.0.0 8080")?;
    contains(
        "unpublished",
        &inside(host, &format!("connect {gateway} 8080 3"))?,
        "ECONNREFUSED",
    )?;
    same("who called", server.output()?.contains("peer"), false)
}

fn published_ports_are_reached_at_the_gateway_over_ipv6(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    host.container("-p 8080:7000", "tcp", &host.peer("tcp-echo :: 7000"), "ready")?;
    host.container("-p 9000:9001/udp", "udp", &host.peer("udp-echo :: 9001"), "ready")?;
    let gateway = host.inspect("tcp", "{{.NetworkSettings.IPv6Gateway}}")?;
    same(
        "TCP",
        inside(host, &format!("tcp-ask {gateway} 8080 hello"))?.as_str(),
        "answer hello",
    )?;
    let said = inside(host, &format!("udp-ask :: 5000 {gateway} 9000"))?;
    // 1472 bytes and the headers of IPv6 are more than the MTU, and are cut.
    same(format!("UDP: {said}"), said.matches("right").count(), 4)
}

fn what_is_published_at_one_address_is_not_at_the_gateway(host: &Host) -> Outcome {
    box_with(
        host,
        &format!("-p 127.0.0.1:8080:7000 -p {HOST}:8081:7000 -p 0.0.0.0:8082:7000"),
    )?;
    serve(host, "box", "7000")?;
    let gateway = host.inspect("box", "{{.NetworkSettings.Gateway}}")?;
    for port in ["8080", "8081"] {
        let said = inside(host, &format!("connect {gateway} {port} 3"))?;
        contains(port, &said, "ECONNREFUSED")?;
    }
    same(
        "the wildcard",
        inside(host, &format!("tcp-ask {gateway} 8082 hello"))?.as_str(),
        "answer hello",
    )?;
    same(
        "the host's address",
        inside(host, &format!("tcp-ask {HOST} 8081 hello"))?.as_str(),
        "answer hello",
    )
}

fn an_image_says_what_it_exposes(host: &Host) -> Outcome {
    let write = |name: &str, text: &str| -> Outcome<String> {
        let path = host.home().join(name);
        std::fs::write(&path, text)?;
        host.root(&format!("chmod 644 {}", path.display()))?.ok()?;
        Ok(path.display().to_string())
    };
    let config = r#"{"ExposedPorts": {"7000/tcp": {}, "53/udp": {}}, "Env": ["TIDE=low", "MOON=full"]}"#;
    let oci = write("oci.json", &format!(r#"{{"os": "linux", "config": {config}}}"#))?;
    let docker = write("docker.json", &format!(r#"[{{"Id": "x", "Config": {config}}}]"#))?;
    for (name, file) in [("one", &oci), ("two", &docker)] {
        let image = format!("--image-config {file} -e TIDE=high");
        host.gangplank(&format!("run -d --name {name} -P {image} --expose 90 -- sleep 100"))?
            .ok()?;
        let said = host
            .gangplank(&format!("run --rm {image} -- sh -c 'echo $TIDE $MOON'"))?
            .ok()?;
        same("environment", said.as_str(), "high full")?;
        let ports = host.gangplank(&format!("port {name}"))?.ok()?;
        for port in ["7000/tcp -> ", "53/udp -> ", "90/tcp -> "] {
            contains("published", &ports, port)?;
        }
        let env = host.inspect(name, "{{json .Config.Env}}")?;
        same("inspect", env.as_str(), r#"["MOON=full","TIDE=high"]"#)?;
    }
    let bad = write("bad.json", r#"{"config": {"ExposedPorts": {"http": {}}}}"#)?;
    host.gangplank(&format!("run -d --image-config {bad} -- sleep 100"))?
        .code(125)?
        .one_line(&[&bad, "'http' is no port number"])
}

fn dockers_driver_options(host: &Host) -> Outcome {
    let options = "-o com.docker.network.bridge.name=br7 -o com.docker.network.bridge.enable_icc=false \
                   -o com.docker.network.driver.mtu=1400";
    host.gangplank(&format!("network create quay {options}"))?.ok()?;
    contains("show", &host.gangplank("show --network quay")?.ok()?, "br7")?;
    let shown = host.gangplank_words(&["network", "inspect", "--format", "{{json .Options}}", "quay"], LIMIT)?;
    let shown = shown.ok()?;
    for part in [
        r#"bridge.name":"br7""#,
        r#"enable_icc":"false""#,
        r#"driver.mtu":"1400""#,
    ] {
        contains("network inspect", &shown, part)?;
    }
    let link = host.gangplank("run --rm --network quay -- ip link show eth0")?.ok()?;
    contains("eth0", &link, "mtu 1400")?;
    host.gangplank(&format!("up --network quay {options}"))?.ok()?;
    host.gangplank("up --network quay -o com.docker.network.bridge.name=br8")?
        .refused(&["com.docker.network.bridge.name is br7, not br8"])?;
    // Without a word it is called like the network.
    host.gangplank("up")?.ok()?;
    host.gangplank("up -o com.docker.network.bridge.name=gp0")?.ok()?;
    host.gangplank("network create pier -o com.docker.network.bridge.enable_ip_masquerade=true")?
        .refused(&["is not known; known are", "com.docker.network.driver.mtu"])
}

/// A container called `box` that serves nothing.
fn box_with(host: &Host, options: &str) -> Outcome {
    host.gangplank(&format!("run -d --name box {options} -- sleep 1000"))?
        .ok()
        .map(drop)
}

/// An echo server on a port of a container, beside its command.
fn serve(host: &Host, container: &str, port: &str) -> Outcome {
    let server = host.peer(&format!("tcp-echo 0.0.0.0 {port}"));
    host.gangplank(&format!("exec {container} -- sh -c '{server} >/dev/null 2>&1 &'"))?
        .ok()?;
    let ask = host.peer(&format!("tcp-ask 127.0.0.1 {port} hello 100"));
    same(
        "the server",
        host.gangplank(&format!("exec {container} -- {ask}"))?.ok()?.as_str(),
        "answer hello",
    )
}

/// The loopback address that a container has for itself.
fn front(host: &Host, name: &str) -> Outcome<String> {
    let bound = host.gangplank(&format!("port {name}"))?.ok()?;
    let first = bound.lines().next().and_then(|line| line.split_once(" -> "));
    match first.and_then(|(_, host)| host.rsplit_once(':')) {
        Some((address, _)) => Ok(address.to_owned()),
        None => fail!("no address in {bound:?}"),
    }
}

/// TCP listeners of the host, without those of tests.
fn listeners(host: &Host) -> Outcome<String> {
    host.root("ss -Hltn sport >= :1024")?.ok()
}

fn inside(host: &Host, peer: &str) -> Outcome<String> {
    host.gangplank(&format!("run --rm -- {}", host.peer(peer)))?.ok()
}

fn answers(host: &Host, address: &str, port: &str) -> Outcome {
    let said = host
        .user(&host.peer(&format!("tcp-ask {address} {port} hello")))?
        .ok()?;
    same(format!("{address} port {port}"), said.as_str(), "answer hello")
}

fn refuses(host: &Host, address: &str, port: &str) -> Outcome {
    until(PATIENCE, &format!("{address} port {port} refuses"), || {
        let said = host.user(&host.peer(&format!("connect {address} {port}")))?.ok()?;
        Ok(said.contains("ECONNREFUSED"))
    })
}
