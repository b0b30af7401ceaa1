//! The classic introduction to the bridge, command by command; only `docker` has become `gangplank`.

use crate::host::Host;
use crate::process::{PATIENCE, until};
use crate::verdict::{Outcome, contains, fail, holds, same};
use crate::{cases, json};

cases![
    two_containers_are_two_veths_on_the_bridge,
    a_port_is_published_and_asked_for,
    an_automatic_port_is_asked_for_and_used,
    containers_talk_unless_icc_is_off,
];

/// `brctl show`, `docker inspect --format`, `ping`.
fn two_containers_are_two_veths_on_the_bridge(host: &Host) -> Outcome {
    let one = host.gangplank("run -d --name one -- sleep 1000")?.ok()?;
    let two = host.gangplank("run -d --name two -- sleep 1000")?.ok()?;
    holds("two ids", one.len() == 12 && two.len() == 12 && one != two)?;
    let veths = veths(host, "gp0")?;
    same("veths on the bridge", veths.len(), 2)?;
    let gateway = host.inspect("one", "{{.NetworkSettings.Gateway}}")?;
    let mut seen = vec![gateway.clone()];
    for name in [one.as_str(), "two"] {
        let address = host.inspect(name, "{{ .NetworkSettings.IPAddress }}")?;
        let inside = host
            .gangplank(&format!("exec {name} -- ip -o -4 address show dev eth0"))?
            .ok()?;
        contains("the address inside", &inside, &format!("inet {address}/16 "))?;
        let route = host.gangplank(&format!("exec {name} -- ip route show default"))?.ok()?;
        contains("the way out", &route, &format!("default via {gateway} dev eth0"))?;
        holds(format!("{address} is new"), !seen.contains(&address))?;
        seen.push(address);
    }
    let two_address = host.address("two")?;
    host.gangplank(&format!("exec one -- ping -c 1 -W 5 {two_address}"))?
        .ok()?;
    host.gangplank("exec one -- ping -c 1 -W 5 two")?.ok()?;
    host.gangplank("stop -t 1 one")?.ok()?;
    // Nobody waits for the interface of a command that has ended.
    until(
        PATIENCE,
        "one veth is left",
        || Ok(self::veths(host, "gp0")?.len() == 1),
    )?;
    host.gangplank("rm one")?.ok().map(drop)
}

/// `-p 8080:80`, `docker ps`, `docker port ID 80`, `curl`.
fn a_port_is_published_and_asked_for(host: &Host) -> Outcome {
    std::fs::write(host.home().join("page"), "hello from the quay\n")?;
    let server = format!("run -d -p 8080:80 -- {} -m http.server 80", host.python());
    let id = host.gangplank(&server)?.ok()?;
    let listed = host.gangplank("ps --format '{{.ID}} {{.Ports}}'")?.ok()?;
    same("ps", listed, format!("{id} 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"))?;
    same(
        "port ID 80",
        host.gangplank(&format!("port {id} 80"))?.stdout.as_str(),
        "0.0.0.0:8080\n[::]:8080\n",
    )?;
    same(
        "inspect",
        host.inspect(&id, r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}"#)?
            .as_str(),
        "8080",
    )?;
    fetch(host, "http://127.0.0.1:8080/page")
}

/// `-p 80`, `curl $(docker port ID 80 | head -1)`.
fn an_automatic_port_is_asked_for_and_used(host: &Host) -> Outcome {
    std::fs::write(host.home().join("page"), "hello from the quay\n")?;
    let server = format!("run -d -p 80 -- {} -m http.server 80", host.python());
    let id = host.gangplank(&server)?.ok()?;
    let words = format!("curl -sS --max-time 5 $({} port {id} 80 | head -1)/page", host.binary());
    until(PATIENCE, "the server answers", || {
        let ran = host.user(&format!("sh -c '{words}'"))?;
        Ok(ran.code == 0 && ran.stdout == "hello from the quay\n")
    })?;
    let port = host.gangplank(&format!("port {id} 80"))?.ok()?;
    let number = port
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("0.0.0.0:"))
        .and_then(|number| number.parse::<u16>().ok());
    holds(
        format!("{number:?} is one of those that are chosen"),
        number.is_some_and(|number| number >= 32768),
    )
}

/// `docker -d --icc=true`, then `--icc=false`: the gateway and published ports stay, the neighbour does not.
fn containers_talk_unless_icc_is_off(host: &Host) -> Outcome {
    host.gangplank("up --network open --icc=true")?.ok()?;
    host.gangplank("up --network closed --icc=false")?.ok()?;
    for (network, port, talks) in [("open", 8081, true), ("closed", 8082, false)] {
        let server = host.peer("tcp-echo 0.0.0.0 7000");
        host.gangplank(&format!(
            "run -d --network {network} --name server -p {port}:7000 -- {server}"
        ))?
        .ok()?;
        let log = || host.gangplank(&format!("logs --network {network} server"));
        until(PATIENCE, "the server listens", || Ok(log()?.stdout.contains("ready")))?;
        let at = |template: &str| {
            let words = ["inspect", "--network", network, "--format", template, "server"];
            host.gangplank_words(&words, PATIENCE)?.ok()
        };
        let address = at("{{ .NetworkSettings.IPAddress }}")?;
        let ask = host.peer(&format!("connect {address} 7000 {}", if talks { 10 } else { 2 }));
        let asked = host
            .gangplank(&format!("run --rm --network {network} -- {ask}"))?
            .ok()?;
        same(format!("icc on {network}: {asked}"), asked.contains("connected"), talks)?;
        let ping = format!("run --rm --network {network} -- ping -c 1 -W 5");
        let pinged = host.gangplank(&format!("{ping} {address}"))?.code == 0;
        same(format!("ping on {network}"), pinged, talks)?;
        let gateway = at("{{ .NetworkSettings.Gateway }}")?;
        host.gangplank(&format!("{ping} {gateway}"))?.ok()?;
        let published = host.peer(&format!("tcp-ask 127.0.0.1 {port} hello"));
        contains("published", &host.user(&published)?.ok()?, "answer hello")?;
    }
    Ok(())
}

fn fetch(host: &Host, url: &str) -> Outcome {
    until(PATIENCE, "the server answers", || {
        let ran = host.user(&format!("curl -sS --max-time 5 {url}"))?;
        Ok(ran.code == 0 && ran.stdout == "hello from the quay\n")
    })
}

/// What `show` lists beside the uplink.
fn veths(host: &Host, bridge: &str) -> Outcome<Vec<String>> {
    let text = host.gangplank("show")?.ok()?;
    let mut lines = text.lines().skip(1);
    let words: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let [name, _, "no", first] = words.as_slice() else {
        fail!("name, id, STP and an interface: {text}")
    };
    same("the bridge", *name, bridge)?;
    let shown: Vec<String> = std::iter::once(*first)
        .chain(lines.map(str::trim))
        .map(str::to_owned)
        .collect();
    let same_in_json = json::parse(&host.gangplank("show --format json")?.ok()?)?;
    same("as JSON", json::items(&same_in_json["Interfaces"]).len(), shown.len())?;
    Ok(shown
        .into_iter()
        .filter(|interface| interface.starts_with("veth"))
        .collect())
}
