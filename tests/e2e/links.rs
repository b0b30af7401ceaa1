//! Containers that are kept apart, and the links that lead across.

use crate::attach::Ship;
use crate::cases;
use crate::host::Host;
use crate::process::{PATIENCE, until};
use crate::verdict::{Outcome, contains, fail, holds, same};

cases![
    the_truth_table,
    icc_changes_for_those_that_run,
    a_link_goes_with_either_end,
    nothing_forged_arrives,
    nothing_forged_arrives_by_a_cable,
    a_client_finds_its_server_by_the_variables,
    an_alias_is_asked_for_by_one_alone,
    a_link_that_cannot_be_made_leaves_everything,
];

/// {icc on, off} × {linked, not} × {exposed, other port} × {tcp, udp, icmp} × {v4, v6} × {a→b, b→a}.
fn the_truth_table(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    for icc in [true, false] {
        for linked in [true, false] {
            host.gangplank(&format!("up --icc={icc}"))?.ok()?;
            host.container(EXPOSED, "bee", &host.peer(MESH), "ready")?;
            let link = if linked { "--link bee" } else { "" };
            host.container(&format!("{EXPOSED} {link}"), "ant", &host.peer(MESH), "ready")?;
            let there = match (icc, linked) {
                (true, _) => EVERYTHING,
                (false, true) => BY_LINK,
                (false, false) => "",
            };
            let back = if icc { EVERYTHING } else { "" };
            let case = format!("icc={icc} linked={linked}");
            same(
                format!("{case} ant to bee"),
                reached(host, "ant", "bee", there)?.as_str(),
                there,
            )?;
            same(
                format!("{case} bee to ant"),
                reached(host, "bee", "ant", back)?.as_str(),
                back,
            )?;
            // Once more, now that each knows of the other what it may.
            same(
                format!("{case} ant to bee"),
                reached(host, "ant", "bee", there)?.as_str(),
                there,
            )?;
            host.gangplank("down --force")?.ok()?;
        }
    }
    Ok(())
}

fn icc_changes_for_those_that_run(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    host.gangplank("up")?.ok()?;
    host.container(EXPOSED, "bee", &host.peer(MESH), "ready")?;
    host.container(&format!("{EXPOSED} --link bee"), "ant", &host.peer(MESH), "ready")?;
    host.container(EXPOSED, "cat", &host.peer(MESH), "ready")?;
    for icc in [true, false, true, false] {
        same(
            "said",
            host.gangplank(&format!("network update gp0 --icc={icc}"))?.ok()?,
            "gp0",
        )?;
        let shown = host.gangplank("network inspect gp0")?.ok()?;
        contains(
            "inspect",
            &shown,
            &format!("\"com.docker.network.bridge.enable_icc\": \"{icc}\""),
        )?;
        let all = if icc { EVERYTHING } else { "" };
        same("cat to bee", reached(host, "cat", "bee", all)?.as_str(), all)?;
        let by_link = if icc { EVERYTHING } else { BY_LINK };
        same("ant to bee", reached(host, "ant", "bee", by_link)?.as_str(), by_link)?;
        same("bee to ant", reached(host, "bee", "ant", all)?.as_str(), all)?;
        // Those that come later, too.
        host.container("", "dog", &host.peer(MESH), "ready")?;
        same("cat to dog", reached(host, "cat", "dog", all)?.as_str(), all)?;
        host.gangplank("rm -f dog")?.ok()?;
        // The gateway answers whoever asks.
        let gateway = host.inspect("ant", "{{.NetworkSettings.Gateway}}")?;
        host.gangplank(&format!("exec ant -- ping -n -c 1 -W 5 {gateway}"))?
            .ok()?;
    }
    host.gangplank("up --icc=false")?.ok()?;
    host.gangplank("up --icc=true")?
        .refused(&["--icc is false, not true", "gangplank network update gp0 --icc=true"])?;
    host.gangplank("network update")?.code(2)?;
    host.gangplank("network update nowhere --icc=true")?
        .refused(&["nowhere"])
}

fn a_link_goes_with_either_end(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    host.gangplank("up --icc=false")?.ok()?;
    host.container(EXPOSED, "bee", &host.peer(MESH), "ready")?;
    let first = host.address("bee")?;
    host.container("--link bee:db", "ant", &host.peer(MESH), "ready")?;
    same("linked", reached(host, "ant", "bee", BY_LINK)?.as_str(), BY_LINK)?;
    let hosts = || host.gangplank("exec ant -- cat /etc/hosts")?.ok();
    contains("hosts", &hosts()?, &format!("{first}\tdb "))?;
    let named = || host.gangplank("exec ant -- getent ahostsv4 db").map(|ran| ran.stdout);
    contains("getent", &named()?, &first)?;
    host.gangplank("rm -f bee")?.ok()?;
    until(PATIENCE, "the line is gone", || Ok(!hosts()?.contains("\tdb ")))?;
    // Its address goes to somebody whom nobody is linked to.
    host.gangplank(&format!(
        "run -d --name other --ip {first} {EXPOSED} -- {}",
        host.peer(MESH)
    ))?
    .ok()?;
    host.logged("other", "ready")?;
    same("no link", reached(host, "ant", "other", "")?.as_str(), "")?;
    // And back at another address.
    host.container(EXPOSED, "bee", &host.peer(MESH), "ready")?;
    let second = host.address("bee")?;
    holds("another address", second != first)?;
    until(PATIENCE, "the line is back", || {
        Ok(hosts()?.contains(&format!("{second}\tdb ")))
    })?;
    contains("getent", &named()?, &second)?;
    same("linked again", reached(host, "ant", "bee", BY_LINK)?.as_str(), BY_LINK)?;
    host.gangplank("rm -f ant")?.ok()?;
    host.container("", "ant", &host.peer(MESH), "ready")?;
    same("linked no more", reached(host, "ant", "bee", "")?.as_str(), "")
}

fn nothing_forged_arrives(host: &Host) -> Outcome {
    for icc in [false, true] {
        host.gangplank(&format!("up --icc={icc}"))?.ok()?;
        host.gangplank("run -d --name eve -- sleep 1000")?.ok()?;
        let run = |line: &str| host.gangplank(&format!("exec eve -- {line}"))?.ok();
        forged_by(host, icc, run)?;
        host.gangplank("down --force")?.ok()?;
    }
    Ok(())
}

fn nothing_forged_arrives_by_a_cable(host: &Host) -> Outcome {
    for icc in [false, true] {
        let ship = Ship::sail(host)?;
        host.gangplank(&format!("up --icc={icc}"))?.ok()?;
        host.gangplank(&format!("attach --pid {} --name eve", ship.pid()))?
            .ok()?;
        forged_by(host, icc, |line| ship.run(host, line))?;
        host.gangplank("down --force")?.ok()?;
    }
    Ok(())
}

/// Eve sends whatever she can to one that another is linked to, both of whom listen to every frame.
fn forged_by(host: &Host, icc: bool, eve: impl Fn(&str) -> Outcome<String>) -> Outcome {
    host.needs_ipv6()?;
    host.container(EXPOSED, "bee", &host.peer(MESH), "ready")?;
    host.gangplank("run -d --name ant --link bee -- sleep 1000")?.ok()?;
    let may = if icc { EVERYTHING } else { BY_LINK };
    same("before", reached(host, "ant", "bee", may)?.as_str(), may)?;
    let listen = |name: &str| {
        let line = format!("exec {name} -- {}", host.peer("overhear"));
        let program = host.gangplank_start(&format!("{name}{icc}"), &line)?;
        program.says("ready").map(|()| program)
    };
    let listeners = [listen("ant")?, listen("bee")?];
    let [own, victim, other] = [party(host, "eve")?, party(host, "bee")?, party(host, "ant")?];
    let gateway = host.inspect("eve", "{{.NetworkSettings.Gateway}}")?;
    eve(&format!("ping -n -c 1 -W 5 {gateway}"))?;
    let known = eve(&format!("ip neighbour show {gateway}"))?;
    let Some(gateway_mac) = known.split_whitespace().skip_while(|word| *word != "lladdr").nth(1) else {
        fail!("no gateway in {known}");
    };
    eve(&host.peer(&format!("forge {own} {victim} {other} {gateway_mac}")))?;
    // Links and the bridge are as they were, and whatever was to arrive at bee has, once this has.
    same("after", reached(host, "ant", "bee", may)?.as_str(), may)?;
    for listener in listeners {
        let heard = listener.output()?;
        let words = heard.lines().filter_map(|line| line.strip_prefix("heard "));
        // What eve says as herself is the bridge's to carry, unless it comes by the gateway.
        let allowed = |line: &&str| icc && line.starts_with("<own") && !line.contains("-relay>");
        let wrong: Vec<_> = words.clone().filter(|line| !allowed(line)).collect();
        holds(format!("icc={icc}: {wrong:?}"), wrong.is_empty())?;
    }
    let counted = |name: &str| host.inspect(name, "{{.NetworkSettings.SpoofedFrames}}");
    let hers: u64 = counted("eve")?.parse()?;
    holds(format!("{hers} counted"), hers >= 50)?;
    for innocent in ["ant", "bee"] {
        same(innocent, counted(innocent)?.as_str(), "0")?;
    }
    Ok(())
}

/// The first tutorial with a database in a container of its own, here while nobody else may reach it.
fn a_client_finds_its_server_by_the_variables(host: &Host) -> Outcome {
    host.user("redis-server --version")?.possible("no redis-server here")?;
    host.gangplank("up --icc=false")?.ok()?;
    let server = "redis-server --bind 0.0.0.0 --protected-mode no --save '' --appendonly no";
    host.container(
        "--expose 6379 -e COLOUR=a=b",
        "redis",
        server,
        "Ready to accept connections",
    )?;
    let client = "redis-cli -h $MY_DB_PORT_6379_TCP_ADDR -p $MY_DB_PORT_6379_TCP_PORT";
    let said = host.gangplank(&format!(
        "run --rm --link redis:my-db -- sh -c '{client} set ship gangplank'"
    ))?;
    same("set", said.ok()?.as_str(), "OK")?;
    host.gangplank("run -d --name web --link redis:my-db -e MY_DB_NAME=mine -- sleep 1000")?
        .ok()?;
    let said = host.gangplank(&format!("exec web -- sh -c '{client} get ship'"))?;
    same("get, in an exec", said.ok()?.as_str(), "gangplank")?;
    let said = host.gangplank("exec web -- redis-cli -h my-db get ship")?;
    same("get, by the alias", said.ok()?.as_str(), "gangplank")?;
    let address = host.address("redis")?;
    let variables = host.gangplank("exec web -- env")?.ok()?;
    for line in [
        "MY_DB_NAME=mine".to_owned(),
        format!("MY_DB_PORT=tcp://{address}:6379"),
        format!("MY_DB_PORT_6379_TCP=tcp://{address}:6379"),
        "MY_DB_PORT_6379_TCP_PROTO=tcp".to_owned(),
        "MY_DB_ENV_COLOUR=a=b".to_owned(),
    ] {
        holds(
            format!("{line} in {variables}"),
            variables.lines().any(|known| known == line),
        )?;
    }
    same(
        "inspect",
        host.inspect("web", "{{json .HostConfig.Links}}")?.as_str(),
        r#"["/redis:/web/my-db"]"#,
    )?;
    let stranger = host.gangplank(&format!(
        "run --rm -- {}",
        host.peer(&format!("connect {address} 6379 2"))
    ))?;
    holds("others", !stranger.stdout.contains("connected"))
}

fn an_alias_is_asked_for_by_one_alone(host: &Host) -> Outcome {
    host.gangplank("run -d --name bee -- sleep 1000")?.ok()?;
    host.gangplank("run -d --name ant --link bee:db -- sleep 1000")?.ok()?;
    let address = host.address("bee")?;
    let gateway = host.inspect("ant", "{{.NetworkSettings.Gateway}}")?;
    for option in ["+notcp", "+tcp"] {
        let ask = |name: &str| {
            let line = format!("exec {name} -- dig +short +tries=1 {option} db A @{gateway}");
            host.gangplank(&line).map(|ran| ran.stdout.trim().to_owned())
        };
        same(format!("ant {option}"), ask("ant")?.as_str(), address.as_str())?;
        holds(format!("bee {option}"), !ask("bee")?.contains(&address))?;
    }
    Ok(())
}

fn a_link_that_cannot_be_made_leaves_everything(host: &Host) -> Outcome {
    host.gangplank("up")?.ok()?;
    host.gangplank("run --name gone -- true")?.ok()?;
    host.gangplank("run -d --name here -- sleep 1000")?.ok()?;
    let before = host.gangplank("ps -a -q")?.ok()?;
    for (link, parts) in [
        (
            "gone:db",
            &["Cannot link to a non running container: /gone AS /web/db"][..],
        ),
        (
            "nobody",
            &["could not get container for nobody", "no such container: nobody"],
        ),
        ("here:a:b", &["bad format for links: here:a:b"]),
        (":db", &["':db' names no container"]),
        ("web", &["no such container: web"]),
    ] {
        let ran = host.gangplank(&format!(
            "run -d --name web -p 8080:80 --link here --link {link} -- sleep 1000"
        ))?;
        ran.code(125)?.one_line(parts)?;
        same(link, host.gangplank("ps -a -q")?.ok()?.as_str(), before.as_str())?;
        let held = host.user(&host.peer("hold-tcp 0.0.0.0 8080"))?.ok()?;
        same(link, held.as_str(), "bound")?;
    }
    host.gangplank("run -d --name web -p 8080:80 --link here -- sleep 1000")?
        .ok()
        .map(drop)
}

/// A container's addresses as `forge` wants them.
fn party(host: &Host, name: &str) -> Outcome<String> {
    host.inspect(
        name,
        "{{.NetworkSettings.MacAddress}},{{.NetworkSettings.IPAddress}},{{.NetworkSettings.GlobalIPv6Address}}",
    )
}

/// What of `to` answers `from`; what is expected is waited for.
fn reached(host: &Host, from: &str, to: &str, expected: &str) -> Outcome<String> {
    let (v4, v6) = (host.address(to)?, host.address6(to)?);
    let line = host.peer(&format!("reach {v4} {v6} '{expected}' 7000 7001"));
    host.gangplank(&format!("exec {from} -- {line}"))?.ok()
}

const MESH: &str = "mesh 7000 7001";
const EXPOSED: &str = "--expose 7000 --expose 7000/udp";
const EVERYTHING: &str = "icmp4,icmp6,tcp4:7000,tcp4:7001,tcp6:7000,tcp6:7001,udp4:7000,udp4:7001,udp6:7000,udp6:7001";
const BY_LINK: &str = "tcp4:7000,tcp6:7000,udp4:7000,udp6:7000";
