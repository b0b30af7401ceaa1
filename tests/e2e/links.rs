//! Containers that are kept apart, and the links that lead across.

use crate::cases;
use crate::host::Host;
use crate::process::{PATIENCE, until};
use crate::verdict::{Outcome, contains, holds, same};

cases![
    the_truth_table,
    icc_changes_for_those_that_run,
    a_link_goes_with_either_end,
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
        let shown = host.gangplank("network inspect gp0 --format {{json}}")?;
        let shown = if shown.code == 0 {
            shown.stdout
        } else {
            host.gangplank("network inspect gp0")?.ok()?
        };
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
