//! The way out: TCP, UDP and echo to the machine outside, and honest errors where there is no way.

use crate::cases;
use crate::host::{HOST, Host, OUTSIDE, OUTSIDE_TOO, OUTSIDE6};
use crate::process::OneCore;
use crate::verdict::{Outcome, Trouble, contains, fail, holds, same};

cases![
    tcp_reaches_the_outside_from_the_hosts_address,
    connection_refused_within_50_ms,
    an_unreachable_host_is_ehostunreach,
    no_route_is_enetunreach,
    a_silent_host_is_not_answered_for,
    half_close_send_then_read_the_answer,
    half_close_read_to_the_end_then_send,
    a_reset_stays_a_reset,
    two_hundred_connections_at_once,
    udp_echo_out,
    a_burst_of_datagrams_out_and_one_back,
    datagrams_in_bursts_arrive_as_they_were_sent,
    two_servers_see_one_host_port,
    ping_reaches_the_outside,
    ping_is_prohibited_where_the_host_forbids_it,
    a_dead_hop_does_not_answer_pings,
];

pub(crate) fn tcp_reaches_the_outside_from_the_hosts_address(host: &Host) -> Outcome {
    let server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    same(
        "answer",
        inside(host, &format!("tcp-ask {OUTSIDE} 7000 hello"))?.as_str(),
        "answer hello",
    )?;
    server.says(&format!("peer {HOST} "))
}

pub(crate) fn connection_refused_within_50_ms(host: &Host) -> Outcome {
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let mut times = Vec::new();
    // The bound is the product's; a machine busy with other tests may miss it twice.
    for _ in 0..3 {
        let said = host
            .gangplank(&format!(
                "exec client -- {}",
                host.peer(&format!("connect {OUTSIDE} 7001"))
            ))?
            .ok()?;
        let Some(time) = said.strip_prefix("ECONNREFUSED ") else {
            fail!("not refused: {said}")
        };
        times.push(time.parse::<f64>()?);
    }
    holds(
        format!("one of {times:?} ms is below 50"),
        times.iter().any(|time| *time < 50.0),
    )
}

fn an_unreachable_host_is_ehostunreach(host: &Host) -> Outcome {
    let said = inside(host, "connect 203.0.113.200 80 5")?;
    contains("unreachable route", &said, "EHOSTUNREACH")?;
    contains(
        "dead next hop",
        &inside(host, "connect 203.0.113.1 80 15")?,
        "EHOSTUNREACH",
    )
}

fn no_route_is_enetunreach(host: &Host) -> Outcome {
    host.root("ip route del default")?.ok()?;
    contains("no route", &inside(host, "connect 192.0.2.1 80 5")?, "ENETUNREACH")
}

/// Nothing comes back from this address, so nothing may come back to the container: no RST, no early SYN-ACK.
fn a_silent_host_is_not_answered_for(host: &Host) -> Outcome {
    contains("silence", &inside(host, "connect 192.0.2.1 80 2")?, "timeout")
}

pub(crate) fn half_close_send_then_read_the_answer(host: &Host) -> Outcome {
    let _server = host.outside_server("digest", "digest-server 0.0.0.0 7000")?;
    contains(
        "answer",
        &inside(host, &format!("tcp-ask {OUTSIDE} 7000 hello"))?,
        "answer 5 2cf24dba",
    )
}

fn half_close_read_to_the_end_then_send(host: &Host) -> Outcome {
    let server = host.outside_server("late", "late-server 0.0.0.0 7000 3000000")?;
    let said = staying(host, &format!("late-client {OUTSIDE} 7000 3000000"))?;
    contains("the server's FIN", &said, "greeting greeting and FIN")?;
    server.says("received 3000000")
}

pub(crate) fn a_reset_stays_a_reset(host: &Host) -> Outcome {
    let _server = host.outside_server("reset", "reset-server 0.0.0.0 7000")?;
    same(
        "in",
        inside(host, &format!("read-error {OUTSIDE} 7000"))?.as_str(),
        "ended by ECONNRESET",
    )?;
    let server = host.outside_server("read-error", "read-error-server 0.0.0.0 7001")?;
    staying(host, &format!("reset-client {OUTSIDE} 7001"))?;
    server.says("ended by ECONNRESET")
}

fn two_hundred_connections_at_once(host: &Host) -> Outcome {
    let _server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    same(
        "answers",
        inside(host, &format!("many {OUTSIDE} 7000 200"))?.as_str(),
        "right 200",
    )
}

pub(crate) fn udp_echo_out(host: &Host) -> Outcome {
    let server = host.outside_server("echo", "udp-echo 0.0.0.0 9000")?;
    let said = inside(host, &format!("udp-ask 0.0.0.0 5000 {OUTSIDE} 9000"))?;
    // 4 bytes, none, 1400 and 1472, which is all that a frame holds.
    same(format!("answers in\n{said}"), said.matches("right").count(), 4)?;
    server.says(&format!("from {HOST} "))
}

fn a_burst_of_datagrams_out_and_one_back(host: &Host) -> Outcome {
    let echo = host.outside_server("echo", "udp-echo 0.0.0.0 9000")?;
    same(
        "echoed",
        inside(host, &format!("udp-burst {OUTSIDE} 9000"))?.as_str(),
        "whole 21",
    )?;
    drop(echo);
    let _volley = host.outside_server("volley", "udp-volley 0.0.0.0 9001")?;
    same(
        "caught",
        inside(host, &format!("udp-catch {OUTSIDE} 9001"))?.as_str(),
        "whole 21",
    )
}

fn two_servers_see_one_host_port(host: &Host) -> Outcome {
    let server = host.outside_server("echo", &format!("udp-echo {OUTSIDE} 9000 {OUTSIDE_TOO} 9001"))?;
    let said = inside(host, &format!("udp-ask 0.0.0.0 5000 {OUTSIDE} 9000 {OUTSIDE_TOO} 9001"))?;
    same(format!("answers in\n{said}"), said.matches("right").count(), 8)?;
    let seen = server.output()?;
    let ports = |to: &str| {
        let lines = seen.lines().filter(|line| line.contains(&format!(" to {to} ")));
        lines
            .filter_map(|line| line.split(' ').nth(2))
            .map(str::to_owned)
            .collect::<std::collections::BTreeSet<_>>()
    };
    let (first, second) = (ports(OUTSIDE), ports(OUTSIDE_TOO));
    same("the first server sees one port", first.len(), 1)?;
    same("the second sees the same", second, first)
}

fn datagrams_in_bursts_arrive_as_they_were_sent(host: &Host) -> Outcome {
    // The kernel keeps what crosses a cable in a queue for each core: a sender that is moved to another one between two
    // datagrams can overtake itself.
    let _alone = OneCore::keep()?;
    let _tally = host.outside_server("tally", &format!("udp-tally {OUTSIDE} 7000"))?;
    for _ in 0..3 {
        same(
            "out",
            inside(host, &format!("udp-medley {OUTSIDE} 7000"))?.as_str(),
            "in order",
        )?;
    }
    host.container(
        "-p 9000:9001/udp",
        "tally",
        &host.peer("udp-tally 0.0.0.0 9001"),
        "ready",
    )?;
    for _ in 0..3 {
        let said = host.outside(&host.peer(&format!("udp-medley {HOST} 9000")))?.ok()?;
        same("in", said.as_str(), "in order")?;
    }
    Ok(())
}

pub(crate) fn ping_reaches_the_outside(host: &Host) -> Outcome {
    let said = host
        .gangplank(&format!("run --rm -- ping -n -c 3 -i 1 -W 10 {OUTSIDE}"))?
        .ok()?;
    contains("ping", &said, "3 packets transmitted, 3 received")?;
    let said = host
        .gangplank(&format!("run --rm -- ping -n -c 2 -i 1 -W 10 -s 1400 {OUTSIDE}"))?
        .ok()?;
    contains("fragments", &said, "2 packets transmitted, 2 received")
}

/// The host's ping_group_range leaves the user out: the container is told, and never by a forged reply.
fn ping_is_prohibited_where_the_host_forbids_it(host: &Host) -> Outcome {
    if let Err(error) = std::fs::write("/proc/sys/net/ipv4/ping_group_range", "1 0") {
        // A namespace knows no groups but those that are mapped.
        let reason = format!("only root can leave every group out of ping_group_range: {error}");
        return Err(Trouble::Impossible(reason));
    }
    host.gangplank("up --threads 2")?.ok()?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    // ICMP type 3 code 13 (RFC 1812 5.2.7.1) and ICMPv6 type 1 code 1, in the words of iputils.
    let mut ways = vec![(OUTSIDE, "Packet filtered"); 4];
    if host.needs_ipv6().is_ok() {
        ways.push((OUTSIDE6, "Administratively prohibited"));
    }
    for (target, words) in ways {
        let ran = host.gangplank(&format!("exec client -- ping -n -c 1 -W 10 {target}"))?;
        holds("no reply", !ran.stdout.contains("bytes from"))?;
        contains("ping", &ran.stdout, words)?;
    }
    let log = std::fs::read_to_string(host.state().join("gp0/log"))?;
    same(
        "lines about it",
        log.matches("net.ipv4.ping_group_range leaves").count(),
        1,
    )
}

fn a_dead_hop_does_not_answer_pings(host: &Host) -> Outcome {
    let ran = host.gangplank("run --rm -- ping -n -c 1 -W 2 192.0.2.1")?;
    same("ping", ran.code, 1)?;
    contains("ping", &ran.stdout, "0 received")
}

/// Runs one of the programs of `peer.py` in a container.
fn inside(host: &Host, peer: &str) -> Outcome<String> {
    host.gangplank(&format!("run --rm -- {}", host.peer(peer)))?.ok()
}

/// The same in a container that stays: what the kernel has yet to send when the program ends is still sent.
fn staying(host: &Host, peer: &str) -> Outcome<String> {
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    host.gangplank(&format!("exec client -- {}", host.peer(peer)))?.ok()
}
