//! The main jobs over each kind of uplink, and which kind `auto` finds on machines that lack something.
//!
//! All other cases run over what `auto` finds where they run: `tap`, where nothing is missing. `GANGPLANK_E2E_UPLINK`
//! makes it another (see [`crate::host::Machine`]).

use crate::cases;
use crate::host::{Host, OUTSIDE};
use crate::verdict::{Outcome, contains, holds, same};
use crate::{attach, bulk, inbound, names, outbound};

cases![
    the_main_jobs_by_tap,
    the_main_jobs_by_tap_plain,
    the_main_jobs_by_packet,
    bulk_by_packet_loses_no_frame,
    without_a_ring_the_packet_uplink_works_and_says_so,
    auto_without_the_device_is_packet,
    auto_where_a_tap_takes_no_offload_header_is_tap_plain,
];

fn the_main_jobs_by_tap(host: &Host) -> Outcome {
    host.needs_taps()?;
    main_jobs(host, "tap")?;
    attach::an_attached_namespace_serves_a_published_port(host)
}

fn the_main_jobs_by_tap_plain(host: &Host) -> Outcome {
    host.needs_taps()?;
    main_jobs(host, "tap-plain")?;
    // A cable's TAPs are its own.
    attach::an_attached_namespace_serves_a_published_port(host)
}

fn the_main_jobs_by_packet(host: &Host) -> Outcome {
    main_jobs(host, "packet")
}

/// Whatever net.core.rmem_max is, which nobody has raised on most machines.
fn bulk_by_packet_loses_no_frame(host: &Host) -> Outcome {
    host.gangplank("up --uplink packet")?.ok()?;
    bulk::out(host, "full", "full", 4 * SIZE)?;
    same("frames lost", lost(host)?.as_str(), "0")?;
    holds("the log is quiet", !log(host)?.contains("a ring"))
}

fn without_a_ring_the_packet_uplink_works_and_says_so(host: &Host) -> Outcome {
    let line = format!("without-packet-ring {} up --uplink packet", host.binary());
    host.user(&host.peer(&line))?.ok()?;
    shown(host, "packet")?;
    bulk::out(host, "full", "full", SIZE)?;
    bulk::into(host, "full", "full", SIZE)?;
    let log = log(host)?;
    contains("log", &log, "packet sockets: the kernel refuses a ring")?;
    same("complaints", log.matches("a ring").count(), 1)
}

fn log(host: &Host) -> Outcome<String> {
    Ok(std::fs::read_to_string(host.state().join("gp0/log"))?)
}

/// What the kernel had no room for on the way to the stack.
fn lost(host: &Host) -> Outcome<String> {
    host.network("uplink_lost")
}

fn auto_without_the_device_is_packet(host: &Host) -> Outcome {
    let closed = host.folder().join("no-tun");
    std::fs::create_dir(&closed)?;
    let mounted = host.root(&format!("mount --bind {} /dev/net", closed.display()))?;
    mounted.possible("there is no /dev/net to hide here")?;
    for kind in ["tap", "tap-plain"] {
        host.gangplank(&format!("up --uplink {kind}"))?
            .refused(&[&format!("{kind}: /dev/net/tun"), "modprobe tun"])?;
    }
    let doctor = host.gangplank("doctor")?;
    same("doctor's code", doctor.code, 0)?;
    contains("doctor", &doctor.stdout, "limited     /dev/net/tun")?;
    host.gangplank("up")?.ok()?;
    shown(host, "packet")?;
    outbound::tcp_reaches_the_outside_from_the_hosts_address(host)?;
    let ship = attach::Ship::sail_anyway(host)?;
    host.gangplank(&format!("attach --pid {} --name ship", ship.pid()))?
        .refused(&["two TAPs", "/dev/net/tun"])?;
    host.root("umount /dev/net")?.ok().map(drop)
}

fn auto_where_a_tap_takes_no_offload_header_is_tap_plain(host: &Host) -> Outcome {
    host.needs_taps()?;
    let line = |words: &str| host.peer(&format!("without-offload-header {} {words}", host.binary()));
    let refused = host.user(&line("up --uplink tap"))?;
    refused.refused(&["tap: the TAP driver refuses", "offload header"])?;
    host.user(&line("up"))?.ok()?;
    shown(host, "tap-plain")?;
    outbound::tcp_reaches_the_outside_from_the_hosts_address(host)
}

fn main_jobs(host: &Host, kind: &str) -> Outcome {
    host.gangplank(&format!("up --uplink {kind}"))?.ok()?;
    shown(host, kind)?;
    do_main_jobs(host)
}

/// In the network that is up.
pub(crate) fn do_main_jobs(host: &Host) -> Outcome {
    for job in JOBS {
        job(host)?;
        clear(host)?;
    }
    bulk::out(host, "full", "full", SIZE)?;
    bulk::into(host, "full", "full", SIZE)?;
    twenty_containers(host)
}

fn twenty_containers(host: &Host) -> Outcome {
    let _server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    for number in 1..=20 {
        host.gangplank(&format!("run -d --name c{number} -- sleep 100"))?.ok()?;
    }
    let ask = host.peer(&format!("tcp-ask {OUTSIDE} 7000 hello"));
    for number in 1..=20 {
        let said = host.gangplank(&format!("exec c{number} -- {ask}"))?.ok()?;
        same(format!("c{number}"), said.as_str(), "answer hello")?;
    }
    let ping = format!("exec c1 -- ping -n -c 1 -W 10 {}", host.address("c20")?);
    contains("ping", &host.gangplank(&ping)?.ok()?, "1 received")
}

/// `network inspect` and `network ls` say which uplink it is.
fn shown(host: &Host, kind: &str) -> Outcome {
    let inspected = host.gangplank("network inspect --format {{.Uplink}} gp0")?.ok()?;
    same("network inspect", inspected.as_str(), kind)?;
    let listed = host.gangplank("network ls --format {{.Uplink}}")?.ok()?;
    same("network ls", listed.as_str(), kind)
}

fn clear(host: &Host) -> Outcome {
    let ids = host.gangplank("ps -a -q")?.ok()?;
    if ids.is_empty() {
        return Ok(());
    }
    let ids = ids.split_whitespace().collect::<Vec<_>>().join(" ");
    host.gangplank(&format!("rm -f {ids}"))?.ok().map(drop)
}

/// Of the way out, the way in, datagrams, pings and names: each leaves nothing but containers.
const JOBS: &[fn(&Host) -> Outcome] = &[
    outbound::tcp_reaches_the_outside_from_the_hosts_address,
    outbound::connection_refused_within_50_ms,
    outbound::half_close_send_then_read_the_answer,
    outbound::a_reset_stays_a_reset,
    outbound::udp_echo_out,
    outbound::ping_reaches_the_outside,
    inbound::curl_fetches_http_server_and_its_log_shows_the_client,
    inbound::published_udp_keeps_the_clients_address,
    names::getent_over_udp,
    names::getent_over_tcp,
];
/// Bytes of a transfer: 64 MiB.
const SIZE: u64 = 64 << 20;
