//! What a container's packets ask of the way in their IP headers reaches the wire, and what is too long for the way is
//! told how long it may be.

use std::time::Duration;

use crate::cases;
use crate::chain::{Chain, END, END6};
use crate::host::{CLIENT, HOST, Host, OUTSIDE, OUTSIDE_TOO, OUTSIDE6};
use crate::process::{PATIENCE, Program, pause, until};
use crate::verdict::{Outcome, contains, holds, same};

cases![
    hops_and_class_reach_the_wire,
    hops_and_class_reach_the_wire_over_ipv6,
    a_published_port_answers_in_its_containers_class,
    a_helper_that_was_held_up_sends_in_the_class_of_what_waited,
    what_is_too_long_for_the_hosts_way_is_told_so,
    what_is_too_long_for_a_routers_way_is_told_so,
    the_same_over_ipv6,
];

fn hops_and_class_reach_the_wire(host: &Host) -> Outcome {
    reach_the_wire(host, OUTSIDE, "-4")
}

fn hops_and_class_reach_the_wire_over_ipv6(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    reach_the_wire(host, OUTSIDE6, "-6")
}

/// Of every datagram, of a connection from its SYN on and when it changes its mind, and of a ping.
fn reach_the_wire(host: &Host, target: &str, family: &str) -> Outcome {
    let any = if family == "-4" { "0.0.0.0" } else { "::" };
    let _echo = host.outside_server("echo", &format!("tcp-echo {any} 7000"))?;
    let wire = host.outside_server("wire", "wire out0")?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let inside = |line: &str| host.gangplank(&format!("exec client -- {line}"))?.ok();
    inside(&host.peer(&format!("udp-marked {target} 9000")))?;
    for line in [
        "udp 9000 len 1 hops 63 class 00 whole",
        "udp 9000 len 2 hops 8 class b9 whole",
        "udp 9000 len 3 hops 63 class 02 whole",
        "udp 9000 len 4 hops 63 class 00 whole",
    ] {
        shows(&wire, line)?;
    }
    inside(&host.peer(&format!("tcp-marked {target} 7000")))?;
    // The first is ECN's offer by the host's own TCP, if it makes one (net.ipv4.tcp_ecn); its bits are not ours.
    shows(&wire, "tcp 7000 syn len 0 hops 19 class 48")?;
    shows(&wire, "tcp 7000 ack len 5 hops 19 class 48")?;
    shows(&wire, "tcp 7000 ack len 6 hops 63 class 20")?;
    inside(&format!("ping {family} -n -c 1 -W 10 -t 33 -Q 0xb8 {target}"))?;
    shows(&wire, "echo len 56 hops 32 class b8")?;
    inside(&format!("ping {family} -n -c 1 -W 10 -s 57 {target}"))?;
    shows(&wire, "echo len 57 hops 63 class 00")
}

fn a_published_port_answers_in_its_containers_class(host: &Host) -> Outcome {
    let wire = host.outside_server("wire", "wire out0")?;
    let server = host.peer("tcp-class-server 0.0.0.0 7000 0x48");
    host.container("-p 8080:7000", "server", &server, "ready")?;
    let said = host.outside(&host.peer(&format!("tcp-ask {HOST} 8080 hello")))?.ok()?;
    same("answer", said.as_str(), "answer hello")?;
    shows(&wire, "tcp from 8080 ack len 5 hops 64 class 48")
}

/// What the container answers waits, and so does what the client has to say: both are the same flow's.
fn a_helper_that_was_held_up_sends_in_the_class_of_what_waited(host: &Host) -> Outcome {
    let wire = host.outside_server("wire", "wire out0")?;
    let server = host.peer("tcp-class-server 0.0.0.0 7000 0x48 1");
    host.container("-p 8080:7000", "server", &server, "ready")?;
    let helper = host.network("helper_pid")?;
    let mut client = host.outside_server("client", &format!("tcp-ask-twice {HOST} 8080 hello 0.5 again!"))?;
    host.logged("server", "heard 5")?;
    host.root(&format!("kill -STOP {helper}"))?.ok()?;
    pause(Duration::from_secs(2));
    host.root(&format!("kill -CONT {helper}"))?.ok()?;
    client.says("answer helloagain!")?;
    same("exit code", client.ends(PATIENCE)?, 0)?;
    shows(&wire, "tcp from 8080 ack len 5 hops 64 class 48")
}

/// The container's interface takes more than the way out.
fn what_is_too_long_for_the_hosts_way_is_told_so(host: &Host) -> Outcome {
    host.root("ip link set up0 mtu 1400")?.ok()?;
    host.outside("ip link set out0 mtu 1400")?.ok()?;
    let _echo = host.outside_server("echo", "udp-echo 0.0.0.0 9000")?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let inside = |line: &str| host.gangplank(&format!("exec client -- {line}"));
    // Each to an address of its own: afterwards the container knows the way.
    let told = inside(&host.peer(&format!("udp-path {OUTSIDE} 9000 1450")))?.ok()?;
    same("one datagram", told.as_str(), "EMSGSIZE 1400, then whole")?;
    let told = inside(&host.peer(&format!("udp-path {CLIENT} 9001 1450 1450")))?.ok()?;
    same("several at once", told.as_str(), "EMSGSIZE 1400, then refused")?;
    let ping = |whole: &str| inside(&format!("ping -n -c 1 -W 10 -M {whole} -s 1400 {OUTSIDE_TOO}"));
    contains("what may be cut", &ping("dont")?.ok()?, "1 received")?;
    let frag_needed = "From 172.17.0.1 icmp_seq=1 Frag needed and DF set (mtu = 1400)";
    contains("what may not", &ping("do")?.stdout, frag_needed)
}

/// As a program on the host is told it, and `tracepath` shows it.
fn what_is_too_long_for_a_routers_way_is_told_so(host: &Host) -> Outcome {
    let chain = Chain::make(host)?;
    narrow(&chain)?;
    follows(host, &chain, END, "-4")
}

fn the_same_over_ipv6(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    let chain = Chain::make(host)?;
    narrow(&chain)?;
    follows(host, &chain, END6, "-6")
}

/// The way behind the second router takes no more than 1300 bytes.
fn narrow(chain: &Chain<'_>) -> Outcome {
    chain.run("second", "ip link set down0 mtu 1300")?;
    chain.run("third", "ip link set chain2 mtu 1300")?;
    Ok(())
}

fn follows(host: &Host, chain: &Chain<'_>, end: &str, family: &str) -> Outcome {
    let echo = host.peer(&format!("udp-echo {end} 9000"));
    let _echo = host.root_server("echo", &chain.inside("end", &echo))?;
    let digest = host.peer(&format!("digest-server {end} 7000"));
    let _digest = host.root_server("digest", &chain.inside("end", &digest))?;
    host.gangplank("run -d --name client -- sleep 100")?.ok()?;
    let inside = |line: &str| host.gangplank(&format!("exec client -- {line}"))?.ok();
    let path = inside(&format!("tracepath {family} -n {end}"))?;
    contains("tracepath", &path, "pmtu 1300")?;
    contains("tracepath", &path, "reached")?;
    let line = host.peer(&format!("udp-path {end} 9000 1400"));
    let told = inside(&line)?;
    same("inside", told.as_str(), "EMSGSIZE 1300, then whole")?;
    same("on the host", host.user(&line)?.ok()?, told)?;
    // The first answer is lost on the narrow way, and its sender told so.
    let large = inside(&host.peer(&format!("udp-sizes {end} 9000 1400 1400 20000")))?;
    contains("what may be cut", &large, "udp 1400 right\nudp 20000 right")?;
    let said = inside(&host.peer(&format!("tcp-ask {end} 7000 {}", "x".repeat(5000))))?;
    contains("a connection", &said, "answer 5000 ")
}

/// Waits until the wire has shown a packet of this description.
fn shows(wire: &Program, line: &str) -> Outcome {
    let shown = until(PATIENCE, line, || {
        Ok(wire.output()?.lines().any(|shown| shown.starts_with(line)))
    });
    if shown.is_err() {
        holds(format!("{line} in\n{}", wire.output()?), false)?;
    }
    Ok(())
}
