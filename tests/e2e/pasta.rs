//! As pasta and pesto: what podman, buildah and RootlessKit rely on, said and done as they do it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::attach::Ship;
use crate::cases;
use crate::dhcp::Client;
use crate::host::{CLIENT, HOST, HOST6, Host, OUTSIDE, OUTSIDE_TOO};
use crate::process::{PATIENCE, Ran, until};
use crate::verdict::{Outcome, contains, holds, same};

cases![
    ten_lives_leave_nothing,
    a_command_in_a_namespace_of_its_own,
    a_command_ignores_what_its_caller_did,
    a_command_is_interrupted,
    the_namespace_looks_like_the_host,
    its_default_route_goes_before_another,
    podmans_start_by_path,
    rootlesskits_start_by_pid,
    published_ports_keep_the_clients_address,
    clients_of_the_loopback_come_from_the_namespace,
    loopback_stays_loopback_where_it_shall,
    ports_that_listen_are_followed,
    ports_of_the_host_are_reached_inside,
    addresses_that_stand_for_the_host,
    names_are_forwarded,
    names_are_asked_at_the_gateway,
    a_busy_port_fails_the_start,
    its_number_may_go_to_a_pipe,
    what_ends_it_in_the_background,
    nobody_is_served_for_whom_it_has_not_started,
    its_callers_mounts_can_go,
    it_ends_with_its_namespace,
    descriptors_that_run_out_are_no_end,
    without_an_interface,
    a_namespace_that_asks_is_told,
    a_namespace_that_asks_by_ipv6_is_told,
    pesto_adds_twice_and_deletes_twice,
    what_passes_is_recorded,
    it_keeps_no_file_system_and_no_privilege,
    it_is_not_served_unconfined,
    no_more_is_asked_for_than_there_is,
    refusals_in_the_originals_words,
    probes,
    datagrams_are_answered_from_where_they_came_to,
    who_asks_once_makes_room_for_others,
    a_listener_serves_both_families,
    addresses_that_are_going_stay_outside,
    a_command_lives_on_a_host_of_another_name,
    who_ignores_children_is_told_of_the_end,
    a_namespace_without_users_is_served,
];

/// A pasta in the background, of one ship.
struct Pasta<'h> {
    host: &'h Host,
    ship: Ship,
    pid: i32,
    folder: PathBuf,
}

impl<'h> Pasta<'h> {
    /// Started with these words for a new ship, by process id; it is ready when this returns.
    fn serve(host: &'h Host, words: &str) -> Outcome<Self> {
        let ship = Ship::sail(host)?;
        let pid = ship.pid();
        Self::start(host, ship, &format!("{words} {pid}"))
    }

    fn start(host: &'h Host, ship: Ship, words: &str) -> Outcome<Self> {
        let folder = host.home().join("pasta");
        if !folder.exists() {
            host.user(&format!("mkdir {}", folder.display()))?.ok()?;
        }
        let pid_file = folder.join("pid");
        let ran = host.gangplank(&format!("pasta --quiet -P {} {words}", pid_file.display()))?;
        ran.ok()?;
        let pid = fs::read_to_string(&pid_file)?;
        holds("a number and a newline", pid.ends_with('\n'))?;
        Ok(Self {
            host,
            ship,
            pid: pid.trim().parse()?,
            folder,
        })
    }

    fn run(&self, line: &str) -> Outcome<String> {
        self.ship.run(self.host, line)
    }

    /// A program of `peer.py` inside, ready.
    fn inside(&self, name: &str, peer: &str) -> Outcome<crate::process::Program> {
        let program = self.host.user_start(name, &self.ship.enter(&self.host.peer(peer)))?;
        program.says("ready")?;
        Ok(program)
    }

    fn is_running(&self) -> Outcome<bool> {
        Ok(fs::exists(format!("/proc/{}/ns/net", self.pid))?)
    }

    /// A field of proc_pid_status(5).
    fn status(&self, field: &str) -> Outcome<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(line.unwrap_or_default().trim().to_owned())
    }

    /// Its process in the namespace, of which it has no other (proc_tid_children(5)).
    fn outpost(&self) -> Outcome<i32> {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid))?;
        Ok(children.trim().parse()?)
    }

    /// Ends it as its callers do, and waits until it has.
    fn end(&self) -> Outcome {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid), Signal::SIGTERM)?;
        self.is_gone()
    }

    fn is_gone(&self) -> Outcome {
        until(PATIENCE, "pasta has ended", || Ok(!self.is_running()?))
    }
}

fn pasta(host: &Host, words: &str) -> Outcome<Ran> {
    host.gangplank(&format!("pasta {words}"))
}

fn ask(host: &Host, address: &str, port: u16) -> Outcome<String> {
    host.user(&host.peer(&format!("tcp-ask {address} {port} hello")))?.ok()
}

fn ten_lives_leave_nothing(host: &Host) -> Outcome {
    let before = host.processes()?;
    for _ in 0..10 {
        let socket = host.home().join("pasta.sock");
        let pasta = Pasta::serve(host, &format!("--config-net -c {} -t 18080", socket.display()))?;
        holds("its socket is there", socket.exists())?;
        pasta.end()?;
        holds("its socket is gone", !socket.exists())?;
        holds("its PID file is gone", !pasta.folder.join("pid").exists())?;
        drop(pasta);
        until(PATIENCE, "no process is left", || {
            Ok(host.processes()?.is_subset(&before))
        })?;
        same(
            "its port is free",
            host.user(&host.peer("hold-tcp 0.0.0.0 18080"))?.ok()?.as_str(),
            "bound",
        )?;
    }
    Ok(())
}

fn a_command_in_a_namespace_of_its_own(host: &Host) -> Outcome {
    host.needs_taps()?;
    pasta(host, "--config-net -- true")?.ok()?;
    pasta(host, "--config-net sh -c 'exit 7'")?.code(7)?;
    pasta(host, "--config-net --no-pidns sh -c 'kill -KILL $$'")?.code(137)?;
    let said = pasta(
        host,
        "-q --config-net -- sh -c 'id -u; echo $$; readlink /proc/self/ns/user; ls /proc/1/exe'",
    )?;
    let said = said.ok()?;
    let mut lines = said.lines();
    same("root inside", lines.next(), Some("0"))?;
    same("the first process", lines.next(), Some("1"))?;
    pasta(host, "-q -- /nonexistent")?
        .code(1)?
        .one_line(&["Failed to start command or shell: No such file or directory"])?;
    let echo = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let line = format!(
        "-q --config-net -- {}",
        host.peer(&format!("tcp-ask {OUTSIDE_TOO} 7000 hello"))
    );
    same("out", pasta(host, &line)?.ok()?.as_str(), "answer hello")?;
    echo.says(&format!("peer {HOST} "))
}

/// `nohup`, and no more than that: SIGPIPE is ignored by ourselves.
fn a_command_ignores_what_its_caller_did(host: &Host) -> Outcome {
    host.needs_taps()?;
    let ignored = |line: &str| {
        let said = host.user(line)?.ok()?;
        let bits = u64::from_str_radix(said.trim_start_matches("SigIgn:\t"), 16)?;
        Ok::<_, crate::verdict::Trouble>(bits)
    };
    let by_us = |before: &str| {
        let binary = host.binary();
        let look = "-q --config-net -- grep SigIgn /proc/self/status";
        ignored(&format!("sh -c '{before} exec {binary} pasta {look}'"))
    };
    // Whoever runs the tests may ignore some, which nobody undoes.
    let own = ignored("grep SigIgn /proc/self/status")?;
    // A bit for each signal, from 1 on: HUP, INT, PIPE and TERM; SIGPIPE is ignored by ourselves.
    same("as the caller", by_us("trap \"\" HUP INT PIPE TERM;")?, own | 0x5003)?;
    same("and nothing of our own", by_us("trap \"\" HUP;")?, own | 1)
}

/// As the first of its process namespace it is not sent what it has no handler for; a shell that has one goes on.
fn a_command_is_interrupted(host: &Host) -> Outcome {
    host.needs_taps()?;
    for (name, signal, code) in [("interrupted", Signal::SIGINT, 130), ("quit", Signal::SIGQUIT, 0)] {
        let words = "pasta -q --config-net -- sh -c 'echo ready; exec sleep 60'";
        let mut program = host.gangplank_start(name, words)?;
        program.says("ready")?;
        program.signal(signal)?;
        same(name, program.ends(PATIENCE)?, code)?;
    }
    for (name, handler) in [("catches", "echo heard"), ("ignores", "")] {
        let over = host.home().join(name);
        let words = format!(
            "pasta -q --config-net -- sh -c 'trap \"{handler}\" INT; echo ready; until [ -e {} ]; do sleep 0.1; done; exit 7'",
            over.display()
        );
        let mut program = host.gangplank_start(name, &words)?;
        program.says("ready")?;
        program.signal(Signal::SIGINT)?;
        // Long enough for one that takes it for its own.
        crate::process::pause(Duration::from_millis(300));
        fs::write(&over, "")?;
        same(name, program.ends(PATIENCE)?, 7)?;
    }
    Ok(())
}

fn the_namespace_looks_like_the_host(host: &Host) -> Outcome {
    let pasta = Pasta::serve(host, "--config-net -t none -u none -T none -U none")?;
    let address = pasta.run("ip address show dev up0")?;
    contains("address", &address, &format!("inet {HOST}/24"))?;
    contains("MTU", &address, "mtu 65520")?;
    let routes = pasta.run("ip route")?;
    contains("default route", &routes, &format!("default via {OUTSIDE} dev up0"))?;
    contains("another", &routes, "203.0.113.0/25 via 198.51.100.254 dev up0")?;
    holds("an unreachable route is nobody's", !routes.contains("203.0.113.128"))?;
    if host.needs_ipv6().is_ok() {
        contains("IPv6", &address, &format!("inet6 {HOST6}/64 scope global nodad"))?;
        contains("IPv6", &pasta.run("ip -6 route")?, "default via 2001:db8:51::2 dev up0")?;
    }
    if host.needs_ipv6().is_ok() {
        // Whoever stands in for a link must not claim the address that is about to be this one's.
        until(PATIENCE, "its link-local address is its own", || {
            let own = pasta.run("ip -6 address show dev up0 scope link")?;
            Ok(own.contains("fe80::") && !own.contains("tentative"))
        })?;
        let own = pasta.run("ip -6 address show dev up0 scope link")?;
        holds("no duplicate", !own.contains("dadfailed"))?;
    }
    let _echo = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let out = |line: &str| pasta.run(&host.peer(line));
    same(
        "out",
        out(&format!("tcp-ask {OUTSIDE_TOO} 7000 hello"))?.as_str(),
        "answer hello",
    )?;
    // On the host's own link, for whose machines we answer.
    let _near = host.outside_server("near", &format!("udp-echo {CLIENT} 7001"))?;
    contains(
        "near",
        &out(&format!("udp-ask {HOST} 0 {CLIENT} 7001"))?,
        "udp 1400 right",
    )
}

/// A bind mount of a namespace's file, ports in podman's words, everything else closed, the last option behind the path.
/// The namespace has networks of its own: what leads over ours is the first of equals, and nothing of theirs is gone.
fn its_default_route_goes_before_another(host: &Host) -> Outcome {
    let ship = Ship::sail(host)?;
    ship.has_another_default_route(host)?;
    let words = format!("--config-net -t none -u none -T none -U none {}", ship.pid());
    let pasta = Pasta::start(host, ship, &words)?;
    let routes = pasta.run("ip route show default")?;
    let ways: Vec<&str> = routes
        .lines()
        .map(|route| route.split(" proto ").next().unwrap_or(route).trim())
        .collect();
    let ours = format!("default via {OUTSIDE} dev up0");
    same(
        "in this order",
        ways.as_slice(),
        [&ours, "default via 10.5.0.2 dev v0"].as_slice(),
    )
}

fn podmans_start_by_path(host: &Host) -> Outcome {
    let ship = Ship::sail(host)?;
    let path = host.folder().join("netns");
    fs::write(&path, "")?;
    host.root(&format!("mount --bind /proc/{}/ns/net {}", ship.pid(), path.display()))?
        .ok()?;
    let words = format!(
        "--config-net -t 127.0.0.1/18080-18080:80-80 --dns-forward 169.254.1.1 -u none -T none -U none --no-map-gw --quiet \
         --netns {} --map-guest-addr 169.254.1.2",
        path.display()
    );
    let pasta = Pasta::start(host, ship, &words)?;
    let server = pasta.inside("server", &format!("tcp-echo {HOST} 80"))?;
    same("in", ask(host, "127.0.0.1", 18080)?.as_str(), "answer hello")?;
    server.says(&format!("peer {HOST} "))?;
    host.root(&format!("umount -l {}", path.display()))?.ok()?;
    fs::remove_file(&path)?;
    pasta.is_gone()?;
    holds("the process lives", !pasta.run("true")?.contains("gone"))
}

fn rootlesskits_start_by_pid(host: &Host) -> Outcome {
    let ship = Ship::sail(host)?;
    let words = format!(
        "--stderr --ns-ifname=tap0 --mtu=65520 --config-net --address=10.0.2.100 --netmask=24 --gateway=10.0.2.2 \
         --dns-forward=10.0.2.3 --no-map-gw --ipv4-only --tcp-ports=none --udp-ports=none --host-lo-to-ns-lo {}",
        ship.pid()
    );
    let pasta = Pasta::start(host, ship, &words)?;
    contains(
        "address",
        &pasta.run("ip -4 address show dev tap0")?,
        "inet 10.0.2.100/24",
    )?;
    contains("route", &pasta.run("ip route")?, "default via 10.0.2.2 dev tap0")?;
    let _resolver = host.host_server("resolver", "dns-server 127.0.0.53")?;
    let dig = pasta.run("dig +short +tries=1 @10.0.2.3 www.example.test")?;
    same("names", dig.as_str(), "192.0.2.7")?;
    let echo = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let said = pasta.run(&host.peer(&format!("tcp-ask {OUTSIDE_TOO} 7000 hello")))?;
    same("out", said.as_str(), "answer hello")?;
    echo.says(&format!("peer {HOST} "))
}

fn published_ports_keep_the_clients_address(host: &Host) -> Outcome {
    let pasta = Pasta::serve(
        host,
        "--config-net -t 18080:80,18081-18082:81-82 -u 18090:90 -T none -U none",
    )?;
    let server = pasta.inside("server", "tcp-echo 0.0.0.0 80")?;
    let client = |line: &str| host.outside(&host.peer(line))?.ok();
    same(
        "in",
        client(&format!("tcp-ask {HOST} 18080 hello"))?.as_str(),
        "answer hello",
    )?;
    server.says(&format!("peer {OUTSIDE} "))?;
    let second = pasta.inside("second", "tcp-echo 0.0.0.0 82")?;
    same(
        "a range",
        client(&format!("tcp-ask {HOST} 18082 hello"))?.as_str(),
        "answer hello",
    )?;
    second.says(&format!("peer {OUTSIDE} "))?;
    let datagrams = pasta.inside("datagrams", "udp-echo 0.0.0.0 90")?;
    contains(
        "udp",
        &client(&format!("udp-ask {CLIENT} 0 {HOST} 18090"))?,
        "udp 1400 right",
    )?;
    datagrams.says(&format!("from {CLIENT} "))?;
    // Of the host, but not of its loopback: an address that the namespace has, too, so another stands for it.
    same("from the host", ask(host, HOST, 18080)?.as_str(), "answer hello")
}

/// As if a program inside had called, whatever stands for the host: podman maps nothing.
fn clients_of_the_loopback_come_from_the_namespace(host: &Host) -> Outcome {
    let pasta = Pasta::serve(
        host,
        "--config-net --no-map-gw -t 18080:80,18081:81 -u 18090:90 -T none -U none",
    )?;
    let server = pasta.inside("server", "tcp-echo 0.0.0.0 80")?;
    same("in", ask(host, "127.0.0.1", 18080)?.as_str(), "answer hello")?;
    server.says(&format!("peer {HOST} "))?;
    if host.needs_ipv6().is_ok() {
        // Nobody listens by IPv6 inside; the client asks for localhost by it first.
        same("by the other family", ask(host, "::1", 18080)?.as_str(), "answer hello")?;
    }
    let _datagrams = pasta.inside("datagrams", "udp-echo 0.0.0.0 90")?;
    let said = host.user(&host.peer("udp-ask 127.0.0.1 0 127.0.0.1 18090"))?.ok()?;
    contains("udp", &said, "udp 1400 right")?;
    let _hidden = pasta.inside("hidden", "tcp-echo 127.0.0.1 81")?;
    let said = host.user(&host.peer("tcp-ask 127.0.0.1 18081 hello"))?.code(1)?;
    contains(
        "what listens on the loopback inside is not open",
        &said.stdout,
        "failed ECONN",
    )
}

fn loopback_stays_loopback_where_it_shall(host: &Host) -> Outcome {
    let pasta = Pasta::serve(
        host,
        "--config-net --host-lo-to-ns-lo -t 18080:80 -u 18090:90 -T none -U none",
    )?;
    let server = pasta.inside("server", "tcp-echo 127.0.0.1 80")?;
    same("in", ask(host, "127.0.0.1", 18080)?.as_str(), "answer hello")?;
    server.says("peer 127.0.0.1 ")?;
    let datagrams = pasta.inside("datagrams", "udp-echo 127.0.0.1 90")?;
    let said = host.user(&host.peer("udp-ask 127.0.0.1 0 127.0.0.1 18090"))?.ok()?;
    contains("udp", &said, "udp 1400 right")?;
    datagrams.says("from 127.0.0.1 ")
}

/// What begins to listen inside is bound outside, and let go of when it ends.
fn ports_that_listen_are_followed(host: &Host) -> Outcome {
    let pasta = Pasta::serve(host, "--config-net -T none -U none")?;
    let free = || Ok(host.user(&host.peer("hold-tcp 0.0.0.0 7000"))?.ok()? == "bound");
    holds("not yet", free()?)?;
    let server = pasta.inside("server", "tcp-echo 0.0.0.0 7000")?;
    until(PATIENCE, "it is bound", || {
        let said = host.outside(&host.peer(&format!("tcp-ask {HOST} 7000 hello")))?;
        Ok(said.stdout.trim() == "answer hello")
    })?;
    server.says(&format!("peer {OUTSIDE} "))?;
    drop(server);
    until(PATIENCE, "it is free again", free)?;
    let _datagrams = pasta.inside("datagrams", "udp-echo 0.0.0.0 7001")?;
    until(PATIENCE, "UDP, too", || {
        let said = host.outside(&host.peer(&format!("udp-ask {CLIENT} 0 {HOST} 7001")))?;
        Ok(said.stdout.contains("udp 1400 right"))
    })
}

fn ports_of_the_host_are_reached_inside(host: &Host) -> Outcome {
    let server = host.host_server("server", "tcp-echo 127.0.0.1 7000")?;
    let _datagrams = host.host_server("datagrams", "udp-echo 127.0.0.1 7001")?;
    let pasta = Pasta::serve(host, "--config-net -t none -u none -T 17000:7000 -U 7001")?;
    let inside = |line: &str| pasta.run(&host.peer(line));
    same("TCP", inside("tcp-ask 127.0.0.1 17000 hello")?.as_str(), "answer hello")?;
    server.says("peer 127.0.0.1 ")?;
    contains("UDP", &inside("udp-ask 127.0.0.1 0 127.0.0.1 7001")?, "udp 1400 right")?;
    pasta.end()?;
    drop(pasta);
    let pasta = Pasta::serve(host, "--config-net -t none -u none -U none")?;
    until(PATIENCE, "what listens is followed", || {
        let said = host.user(&pasta.ship.enter(&host.peer("tcp-ask 127.0.0.1 7000 hello")))?;
        Ok(said.stdout.trim() == "answer hello")
    })
}

fn addresses_that_stand_for_the_host(host: &Host) -> Outcome {
    let loopback = host.host_server("loopback", "tcp-echo 127.0.0.1 7000")?;
    let own = host.host_server("own", &format!("tcp-echo {HOST} 7001"))?;
    let none = "-t none -u none -T none -U none";
    let pasta = Pasta::serve(host, &format!("--config-net {none} --map-guest-addr 169.254.1.2"))?;
    let said = |pasta: &Pasta<'_>, address: &str, port: u16| {
        let line = pasta.ship.enter(&host.peer(&format!("tcp-ask {address} {port} hello")));
        Ok::<_, crate::verdict::Trouble>(host.user(&line)?.stdout.trim().to_owned())
    };
    same("the router's", said(&pasta, OUTSIDE, 7000)?.as_str(), "answer hello")?;
    for address in [OUTSIDE, "169.254.1.2"] {
        pasta.run(&format!("ping -c 1 -W 10 {address}"))?;
    }
    loopback.says("peer 127.0.0.1 ")?;
    same(
        "the host's own",
        said(&pasta, "169.254.1.2", 7001)?.as_str(),
        "answer hello",
    )?;
    own.says(&format!("peer {HOST} "))?;
    pasta.end()?;
    drop(pasta);
    let pasta = Pasta::serve(host, &format!("--config-net {none} --no-map-gw"))?;
    same("no more", said(&pasta, OUTSIDE, 7000)?.as_str(), "failed ECONNREFUSED")?;
    pasta.end()?;
    drop(pasta);
    let mapped = format!("--config-net {none} --map-host-loopback 169.254.1.3");
    let pasta = Pasta::serve(host, &mapped)?;
    same("another", said(&pasta, "169.254.1.3", 7000)?.as_str(), "answer hello")
}

/// Both ways, and by the resolver that resolv.conf names now.
fn names_are_forwarded(host: &Host) -> Outcome {
    let pasta = Pasta::serve(
        host,
        "--config-net -t none -u none -T none -U none --dns-forward 169.254.1.1",
    )?;
    let dig = |way: &str| {
        let line = format!("dig +short +tries=1 {way} @169.254.1.1 www.example.test");
        Ok::<_, crate::verdict::Trouble>(host.user(&pasta.ship.enter(&line))?.stdout.trim().to_owned())
    };
    let first = host.host_server("first", "dns-server 127.0.0.53")?;
    for way in ["+notcp", "+tcp"] {
        same(way, dig(way)?.as_str(), "192.0.2.7")?;
    }
    drop(first);
    let second = host.host_server("second", "dns-server 127.0.0.54")?;
    fs::write(host.folder().join("resolv.conf"), "nameserver 127.0.0.54\n")?;
    until(PATIENCE, "the other resolver is asked", || {
        Ok(dig("+notcp")? == "192.0.2.7")
    })?;
    second.says("www.example.test 1")
}

/// Nobody named an address for it: a resolver on the host's loopback is asked where that loopback is.
fn names_are_asked_at_the_gateway(host: &Host) -> Outcome {
    let words = "--config-net -a 10.0.3.15 -n 24 -g 10.0.3.2 -t none -u none -T none -U none";
    let pasta = Pasta::serve(host, words)?;
    let _resolver = host.host_server("resolver", "dns-server 127.0.0.53")?;
    for way in ["+notcp", "+tcp"] {
        let said = pasta.run(&format!("dig +short +tries=1 {way} @10.0.3.2 www.example.test"))?;
        same(way, said.trim(), "192.0.2.7")?;
    }
    Ok(())
}

fn a_busy_port_fails_the_start(host: &Host) -> Outcome {
    let ship = Ship::sail(host)?;
    let _busy = host.host_server("busy", "tcp-echo 127.0.0.1 18099")?;
    let words = format!("--config-net -q -t 18098 -t 127.0.0.1/18099-18099:80-80 {}", ship.pid());
    let ran = pasta(host, &words)?.code(1)?;
    same(
        "why",
        ran.stderr.as_str(),
        "Listen failed for HOST TCP port 127.0.0.1/18099: Address already in use\nCouldn't listen on requested ports\n",
    )?;
    same(
        "nothing is held",
        host.user(&host.peer("hold-tcp 0.0.0.0 18098"))?.ok()?.as_str(),
        "bound",
    )?;
    until(PATIENCE, "nor an interface", || {
        Ok(!ship.run(host, "ip link")?.contains("up0"))
    })?;
    // What is content with less is not refused.
    let pasta = Pasta::start(
        host,
        ship,
        "--config-net -t ~1-18090 -u none -T none -U none --netns /dev/null",
    );
    holds("a device is no namespace", pasta.is_err())
}

/// Whoever reads there waits for the end, which is no later than readiness.
fn its_number_may_go_to_a_pipe(host: &Host) -> Outcome {
    for file in ["/dev/stdout", "/dev/stderr"] {
        let ship = Ship::sail(host)?;
        let said = host.user(&format!(
            "sh -c 'pid=$({} pasta -q --config-net -P {file} {} 2>&1) && echo $pid'",
            host.binary(),
            ship.pid()
        ))?;
        let pid: i32 = said.ok()?.parse()?;
        holds("it serves", fs::exists(format!("/proc/{pid}/ns/net"))?)?;
        drop(ship);
        until(PATIENCE, "pasta has ended", || {
            Ok(!fs::exists(format!("/proc/{pid}/ns/net"))?)
        })?;
    }
    Ok(())
}

/// SIGTERM and SIGQUIT, and nothing that somebody means for a terminal or for another; of both its processes.
fn what_ends_it_in_the_background(host: &Host) -> Outcome {
    let pasta = Pasta::serve(host, "--config-net -t none -u none -T none -U none")?;
    let ignored = u64::from_str_radix(&pasta.status("SigIgn")?, 16)?;
    for signal in [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
    ] {
        holds(format!("{signal} is ignored"), ignored & 1 << (signal as i32 - 1) != 0)?;
        for pid in [pasta.pid, pasta.outpost()?] {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal)?;
        }
    }
    let _echo = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let said = pasta.run(&host.peer(&format!("tcp-ask {OUTSIDE_TOO} 7000 hello")))?;
    same("it serves on", said.as_str(), "answer hello")?;
    pasta.outpost()?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pasta.pid), Signal::SIGQUIT)?;
    pasta.is_gone()
}

/// Whoever is killed before its end has told nobody that it serves; and then it does not.
fn nobody_is_served_for_whom_it_has_not_started(host: &Host) -> Outcome {
    let ship = Ship::sail(host)?;
    let pipe = host.home().join("pid");
    host.user(&format!("mkfifo {}", pipe.display()))?.ok()?;
    let words = format!("pasta -q --config-net -P {} {}", pipe.display(), ship.pid());
    let mut first = host.gangplank_start("first", &words)?;
    // Until somebody reads there the copy, which opens it, is before all else.
    let children = format!("/proc/{0}/task/{0}/children", first.pid());
    until(PATIENCE, "there is a copy", || {
        Ok(fs::read_to_string(&children)?.trim().parse::<i32>().is_ok())
    })?;
    first.signal(Signal::SIGSTOP)?;
    let pid: i32 = fs::read_to_string(&pipe)?.trim().parse()?;
    // Time to say that it serves, and to go on if it can.
    crate::process::pause(Duration::from_millis(300));
    first.signal(Signal::SIGKILL)?;
    same("it was killed", first.ends(PATIENCE)?, 137)?;
    until(PATIENCE, "the copy has ended", || {
        Ok(!fs::exists(format!("/proc/{pid}/ns/net"))?)
    })
}

/// Neither the folder in which it was started nor that of its number is held.
fn its_callers_mounts_can_go(host: &Host) -> Outcome {
    let ship = Ship::sail(host)?;
    let folders = ["here", "number"].map(|name| host.home().join(name));
    for folder in &folders {
        fs::create_dir(folder)?;
        let mounted = format!("mount -t tmpfs -o mode=0777 tmpfs {}", folder.display());
        host.root(&mounted)?.ok()?;
    }
    let line = format!(
        "sh -c 'cd {} && exec {} pasta -q --config-net -P {}/pid {}'",
        folders[0].display(),
        host.binary(),
        folders[1].display(),
        ship.pid()
    );
    host.user(&line)?.ok()?;
    for folder in &folders {
        host.root(&format!("umount {}", folder.display()))?.ok()?;
    }
    Ok(())
}

fn it_ends_with_its_namespace(host: &Host) -> Outcome {
    // By process id, and by the process's file, of which the kernel tells nobody.
    for path in [false, true] {
        let ship = Ship::sail(host)?;
        let target = if path {
            format!("--netns /proc/{}/ns/net", ship.pid())
        } else {
            ship.pid().to_string()
        };
        let Pasta { ship, pid, .. } = Pasta::start(host, ship, &format!("--config-net -t 18080 {target}"))?;
        drop(ship);
        until(PATIENCE, "pasta has ended", || {
            Ok(!fs::exists(format!("/proc/{pid}/ns/net"))?)
        })?;
        same(
            "its port is free",
            host.user(&host.peer("hold-tcp 0.0.0.0 18080"))?.ok()?.as_str(),
            "bound",
        )?;
    }
    let mut foreground = {
        let ship = Ship::sail(host)?;
        let program = host.gangplank_start("foreground", &format!("pasta -f --config-net {}", ship.pid()))?;
        program.says("Outbound forwarding rules")?;
        program.signal(Signal::SIGTERM)?;
        program
    };
    same("SIGTERM is a good end", foreground.ends(Duration::from_secs(10))?, 0)
}

/// The original takes what it can't open for gone.
fn descriptors_that_run_out_are_no_end(host: &Host) -> Outcome {
    let _echo = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let ship = Ship::sail(host)?;
    let path = host.home().join("netns");
    symlink(format!("/proc/{}/ns/net", ship.pid()), &path)?;
    let pid_file = host.home().join("pid");
    let line = format!(
        "sh -c 'ulimit -n 64 && exec {} pasta -q --config-net -t none -u none -T none -U none -P {} --netns {}'",
        host.binary(),
        pid_file.display(),
        path.display()
    );
    host.user(&line)?.ok()?;
    let pid = fs::read_to_string(&pid_file)?;
    let crowd = host.user_start(
        "crowd",
        &ship.enter(&host.peer(&format!("crowd {OUTSIDE_TOO} 7000 100"))),
    )?;
    // Twice as long as a path is left unwatched.
    crate::process::pause(Duration::from_secs(2));
    holds("it serves on", fs::exists(format!("/proc/{}/ns/net", pid.trim()))?)?;
    drop(crowd);
    until(PATIENCE, "there is room again", || {
        let line = ship.enter(&host.peer(&format!("tcp-ask {OUTSIDE_TOO} 7000 hello")));
        Ok(host.user(&line)?.stdout.trim() == "answer hello")
    })?;
    fs::remove_file(&path)?;
    until(PATIENCE, "it ends with its path", || {
        Ok(!fs::exists(format!("/proc/{}/ns/net", pid.trim()))?)
    })
}

/// Sockets on both sides and nothing else; a low port inside needs no privilege of the user's.
fn without_an_interface(host: &Host) -> Outcome {
    let server = host.host_server("server", "tcp-echo 127.0.0.1 7000")?;
    let pasta = Pasta::serve(host, "--splice-only -t 18080:80 -u none -T 81:7000 -U none")?;
    let links = pasta.run("ip -brief link")?;
    same("the loopback alone", links.lines().count(), 1)?;
    let inside = pasta.inside("inside", "tcp-echo 127.0.0.1 80")?;
    same("in", ask(host, "127.0.0.1", 18080)?.as_str(), "answer hello")?;
    inside.says("peer 127.0.0.1 ")?;
    let said = pasta.run(&host.peer("tcp-ask 127.0.0.1 81 hello"))?;
    same("out", said.as_str(), "answer hello")?;
    server.says("peer 127.0.0.1 ")
}

/// Without `--config-net`; what is told of resolvers only where that is wanted.
fn a_namespace_that_asks_is_told(host: &Host) -> Outcome {
    let client = Client::udhcpc(host)?;
    let pasta = Pasta::serve(
        host,
        "-I eth0 -m 1400 --no-map-gw -D 192.0.2.53 --dhcp-dns -S 'corp.example lab' --dhcp-search -H inside -t none -u none",
    )?;
    same("no address yet", pasta.run("ip -4 address show dev eth0")?.as_str(), "")?;
    pasta.run("ip link set eth0 up")?;
    let said = pasta.run(&client.line("-n -q"))?;
    for part in [
        format!("bound {HOST}/24"),
        format!(" router {OUTSIDE}"),
        " dns 192.0.2.53".to_owned(),
        " mtu 1400".to_owned(),
        " search corp.example lab".to_owned(),
        " hostname inside".to_owned(),
    ] {
        contains("told", &said, &part)?;
    }
    let _echo = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let said = pasta.run(&host.peer(&format!("tcp-ask {OUTSIDE} 7000 hello")))?;
    same("out", said.as_str(), "answer hello")?;
    pasta.end()?;
    drop(pasta);
    let silent = Pasta::serve(host, "-I eth0 --no-dhcp -t none -u none")?;
    silent.run("ip link set eth0 up")?;
    let asked = host.user(&silent.ship.enter(&client.line("-n -q -t 2")))?;
    holds("nobody answers", asked.code != 0)
}

fn a_namespace_that_asks_by_ipv6_is_told(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    let client = Client::dhclient(host)?;
    let words = "-I eth0 --no-map-gw -D 2001:db8::53 --dhcp-dns -S corp.example --dhcp-search -t none -u none";
    let pasta = Pasta::serve(host, words)?;
    pasta.run("ip link set eth0 up")?;
    until(PATIENCE, "its link-local address is its own", || {
        let own = pasta.run("ip -6 address show dev eth0 scope link")?;
        Ok(own.contains("fe80::") && !own.contains("tentative"))
    })?;
    let program = host.user_start("dhclient", &pasta.ship.enter(&client.line("-6 -d")))?;
    program.says(&format!("BOUND6 {HOST6}/"))?;
    let said = program.output()?;
    contains("resolver", &said, " dns 2001:db8::53")?;
    contains("search list", &said, " search corp.example.")
}

fn pesto_adds_twice_and_deletes_twice(host: &Host) -> Outcome {
    let socket = host.home().join("pasta.sock");
    let socket = socket.display();
    let pasta = Pasta::serve(
        host,
        &format!("--config-net -c {socket} -t none -u none -T none -U none"),
    )?;
    let _server = pasta.inside("server", "tcp-echo 0.0.0.0 18081")?;
    let pesto = |words: &str| host.gangplank(&format!("pesto {words} {socket}"));
    for _ in 0..2 {
        same("silent", pesto("--add -t 0.0.0.0/18081")?.ok()?.as_str(), "")?;
        same("in", ask(host, HOST, 18081)?.as_str(), "answer hello")?;
    }
    same(
        "listed",
        pesto("")?.ok()?,
        format!("passt/pasta configuration ({socket})\n  HOST\n    TCP [0.0.0.0]:18081  =>  18081 \n  SPLICE"),
    )?;
    for _ in 0..2 {
        pesto("--delete -t 0.0.0.0/18081")?.ok()?;
        same(
            "free",
            host.user(&host.peer("hold-tcp 0.0.0.0 18081"))?.ok()?.as_str(),
            "bound",
        )?;
    }
    let _busy = host.host_server("busy", "tcp-echo 127.0.0.1 18099")?;
    pesto("-t 18081")?.ok()?;
    let refused = pesto("-A -t 18082 -t 127.0.0.1/18099")?.code(1)?;
    contains(
        "why",
        &refused.stderr,
        "Listen failed for HOST TCP port 127.0.0.1/18099",
    )?;
    same("as before", ask(host, HOST, 18081)?.as_str(), "answer hello")?;
    let listed = pesto("-s -C HOST")?.ok()?;
    contains("before", &listed, "Previous configuration")?;
    contains("after", &listed, "Updated configuration")?;
    pasta.end()?;
    pesto("")?
        .code(1)?
        .one_line(&["Failed to connect to ", "No such file or directory"])
}

fn what_passes_is_recorded(host: &Host) -> Outcome {
    let record = host.home().join("record");
    // Of others the namespace's secrets are none of the business.
    let pasta = Pasta::serve(host, &format!("--config-net -p {} -t none -u none", record.display()))?;
    same("mode", fs::metadata(&record)?.permissions().mode() & 0o777, 0o600)?;
    let _echo = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    pasta.run(&host.peer(&format!("tcp-ask {OUTSIDE_TOO} 7000 hello-on-the-wire")))?;
    pasta.end()?;
    let bytes = fs::read(&record)?;
    holds("pcap", bytes.starts_with(&0xa1b2_c3d4_u32.to_ne_bytes()))?;
    let said = bytes
        .windows(17)
        .filter(|window| *window == b"hello-on-the-wire")
        .count();
    holds(format!("there and back: {said}"), said >= 2)
}

/// From outside; and with all of it, what needs files goes on: the record, the log, resolvers, pesto, the end.
fn it_keeps_no_file_system_and_no_privilege(host: &Host) -> Outcome {
    let file = |name: &str| host.home().join(name);
    let (log, record, socket) = (file("log"), file("record"), file("pasta.sock"));
    let words = format!(
        "--config-net -d -l {} -p {} -c {} --dns-forward 169.254.1.1 -t none -u none -T none -U none",
        log.display(),
        record.display(),
        socket.display()
    );
    let pasta = Pasta::serve(host, &words)?;
    // Whoever started it may go on a little before the last of it.
    until(PATIENCE, "the filter is there", || Ok(pasta.status("Seccomp")? == "2"))?;
    for capabilities in ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"] {
        same(capabilities, pasta.status(capabilities)?.as_str(), "0000000000000000")?;
    }
    same("NoNewPrivs", pasta.status("NoNewPrivs")?.as_str(), "1")?;
    let outpost = fs::read_to_string(format!("/proc/{}/status", pasta.outpost()?))?;
    contains("the other process's filter", &outpost, "\nSeccomp:\t2\n")?;
    contains("and privileges", &outpost, "\nNoNewPrivs:\t1\n")?;
    contains("of which it keeps low ports", &outpost, "\nCapEff:\t0000000000000400\n")?;
    let process = format!("/proc/{}", pasta.pid);
    for entry in fs::read_dir(format!("{process}/root"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let resolvers = host.folder().components().nth(1);
        let needed = ["etc", "run"].contains(&name.as_str())
            || resolvers.is_some_and(|folder| folder.as_os_str().to_string_lossy() == name);
        holds(format!("{name} is needed"), needed)?;
    }
    for line in fs::read_to_string(format!("{process}/mountinfo"))?.lines() {
        let options = line.split(' ').nth(5).unwrap_or_default();
        holds(
            format!("read-only: {line}"),
            options.split(',').any(|option| option == "ro"),
        )?;
    }
    let ask = |line: &str| Ok::<_, crate::verdict::Trouble>(host.user(&pasta.ship.enter(line))?.stdout);
    let _echo = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let said = ask(&host.peer(&format!("tcp-ask {OUTSIDE_TOO} 7000 hello")))?;
    same("out", said.trim(), "answer hello")?;
    let size = fs::metadata(&log)?.len();
    holds(format!("the log is of {size} bytes"), size > 0)?;
    let _resolver = host.host_server("resolver", "dns-server 127.0.0.54")?;
    fs::write(host.folder().join("resolv.conf"), "nameserver 127.0.0.54\n")?;
    until(PATIENCE, "resolvers are read again", || {
        Ok(ask("dig +short +tries=1 +time=2 @169.254.1.1 www.example.test")?.trim() == "192.0.2.7")
    })?;
    let _server = pasta.inside("server", "tcp-echo 0.0.0.0 18081")?;
    host.gangplank(&format!("pesto -A -t 18081 {}", socket.display()))?
        .ok()?;
    for address in [HOST, "127.0.0.1"] {
        let said = host.user(&host.peer(&format!("tcp-ask {address} 18081 hello")))?.ok()?;
        same("in", said.as_str(), "answer hello")?;
    }
    pasta.end()?;
    holds("its socket is gone", !socket.exists())?;
    holds("its PID file is gone", !pasta.folder.join("pid").exists())?;
    drop(pasta);
    // Nobody is asked but who was named: nothing is left to be read.
    let pasta = Pasta::serve(host, "--config-net -t none -u none --dns-host 127.0.0.54")?;
    let root = fs::read_dir(format!("/proc/{}/root", pasta.pid))?;
    same("an empty root", root.count(), 0)
}

/// As the original has it: nothing is served without.
fn it_is_not_served_unconfined(host: &Host) -> Outcome {
    let ship = Ship::sail(host)?;
    let pid_file = host.home().join("pid");
    let line = format!(
        "unshare --user --map-root-user sh -c 'echo 0 > /proc/sys/user/max_mnt_namespaces; unshare --net sleep 60 & \
         until [ \"$(readlink /proc/$!/ns/net)\" != \"$(readlink /proc/$$/ns/net)\" ]; do sleep 0.1; done; \
         {} pasta -q --config-net -P {} -t none -u none $!; echo $?; kill $!'",
        host.binary(),
        pid_file.display()
    );
    drop(ship);
    let ran = host.user(&line)?;
    contains("status", &ran.stdout, "1\n")?;
    contains("why", &ran.stderr, "Failed to sandbox process, exiting")?;
    holds(
        "nothing is left",
        !pid_file.exists() || fs::metadata(&pid_file)?.len() == 0,
    )
}

/// A process's user namespace is joined whatever is said, and who one is already needs no privilege.
fn no_more_is_asked_for_than_there_is(host: &Host) -> Outcome {
    let (user, group) = (host.user("id -u")?.ok()?, host.user("id -g")?.ok()?);
    let runas = format!("--runas {}:{}", user.trim(), group.trim());
    let pasta = Pasta::serve(host, &format!("--config-net --netns-only {runas} -t none -u none"))?;
    contains("address", &pasta.run("ip address show dev up0")?, HOST)
}

fn refusals_in_the_originals_words(host: &Host) -> Outcome {
    host.needs_taps()?;
    for (words, said) in [
        ("-m abc -- true", "Invalid MTU: abc"),
        ("-t 99999 -- true", "Invalid port specifier '99999'"),
        (
            "--netns /nonexistent",
            "Couldn't open network namespace /nonexistent: No such file or directory",
        ),
        (
            "--netns nosuch",
            "Couldn't open network namespace /run/netns/nosuch: No such file or directory",
        ),
        (
            "--netns /etc/passwd",
            "Couldn't switch to pasta namespaces: Invalid argument",
        ),
        (
            "99999999",
            "Couldn't open user namespace /proc/99999999/ns/user: No such file or directory",
        ),
        ("-i nosuch -- true", "Invalid interface name nosuch: No such device"),
        (
            "-P /nonexistent/x -q -- true",
            "Couldn't open PID file /nonexistent/x: No such file or directory",
        ),
        (
            "-c /nonexistent/x -q -- true",
            "Failed to bind UNIX domain socket: No such file or directory",
        ),
    ] {
        pasta(host, words)?.code(1)?.one_line(&[said])?;
    }
    let unknown = pasta(host, "--bogus --version")?.code(1)?;
    contains("getopt's words", &unknown.stderr, ": unrecognized option '--bogus'")
}

/// What callers ask first, by the name that they call.
fn probes(host: &Host) -> Outcome {
    let link = host.home().join("pasta");
    symlink(host.binary(), &link)?;
    let probe = |words: &str| host.user(&format!("{} {words}", link.display()))?.ok();
    contains("version", &probe("--version")?, "pasta 0.0~git2026")?;
    contains("options come first", &probe("--host-lo-to-ns-lo --version")?, "pasta ")?;
    contains("help", &probe("--help")?, "--map-guest-addr")?;
    let link = host.home().join("pesto");
    symlink(host.binary(), &link)?;
    let said = host.user(&format!("{} --version", link.display()))?.ok()?;
    contains("pesto", &said, "pesto ")
}

/// A port at every address, and a client that takes answers of no other address than it has asked.
fn datagrams_are_answered_from_where_they_came_to(host: &Host) -> Outcome {
    let second = "198.51.100.9";
    host.root(&format!("ip address add {second}/24 dev up0"))?.ok()?;
    let pasta = Pasta::serve(host, "--config-net -t none -u 18090:90 -T none -U none")?;
    let _datagrams = pasta.inside("datagrams", "udp-echo 0.0.0.0 90")?;
    let outside = format!("udp-ask {CLIENT} 0 {second} 18090 {HOST} 18090");
    let said = host.outside(&host.peer(&outside))?.ok()?;
    same("from outside", said.matches("right").count(), 8)?;
    let loopback = "udp-ask 127.0.0.1 0 127.0.0.2 18090 127.0.0.1 18090";
    let said = host.user(&host.peer(loopback))?.ok()?;
    same("from the loopback", said.matches("right").count(), 8)
}

/// More than are remembered at a time, as resolvers do: each question comes from another port.
fn who_asks_once_makes_room_for_others(host: &Host) -> Outcome {
    let _outside = host.host_server("datagrams", "udp-echo 127.0.0.1 7001")?;
    let pasta = Pasta::serve(host, "--config-net -t none -u 18090:90 -T none -U 7001")?;
    let _inside = pasta.inside("datagrams inside", "udp-echo 0.0.0.0 90")?;
    let said = host.user(&host.peer("udp-in-turn 127.0.0.1 18090 1100"))?.ok()?;
    same("in", said.trim(), "right 1100")?;
    let said = pasta.run(&host.peer("udp-in-turn 127.0.0.1 7001 1100"))?;
    same("out", said.trim(), "right 1100")
}

/// A descriptor for each port and not two: `all` takes tens of thousands.
fn a_listener_serves_both_families(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    let pasta = Pasta::serve(host, "--config-net -t 18080-18089:80-89 -u none -T none -U none")?;
    let listeners = |table: &str| Ok::<_, crate::verdict::Trouble>(fs::read_to_string(table)?.matches(":46A").count());
    // 18080 and those behind it, in the kernel's hexadecimal figures.
    same("of IPv4 alone", listeners("/proc/net/tcp")?, 0)?;
    same("of both", listeners("/proc/net/tcp6")?, 10)?;
    let _server = pasta.inside("server", "tcp-echo 0.0.0.0 89")?;
    for address in ["127.0.0.1", "::1", HOST] {
        same(address, ask(host, address, 18089)?.as_str(), "answer hello")?;
    }
    drop(pasta);
    let _taken = host.host_server("taken", "tcp-echo 0.0.0.0 18080")?;
    let ran = self::pasta(host, "--config-net -q -t 18080 -u none -T none -U none -- true")?.code(1)?;
    contains("taken in one family", &ran.stderr, "Address already in use")?;
    let rest = "--config-net -q -t ~1-18079,~18081-65535 -u none -T none -U none -- true";
    let ran = self::pasta(host, rest)?.code(1)?;
    for said in [
        "Listen failed for HOST TCP port */18080: Address already in use",
        "All listens failed for HOST TCP */18080",
    ] {
        contains("none of all", &ran.stderr, said)?;
    }
    Ok(())
}

fn addresses_that_are_going_stay_outside(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    let going = "2001:db8:51::9";
    host.root(&format!("ip address add {going}/64 dev up0 nodad preferred_lft 0"))?
        .ok()?;
    let pasta = Pasta::serve(host, "--config-net -t none -u none")?;
    let addresses = pasta.run("ip -6 address show dev up0")?;
    contains("one that stays", &addresses, HOST6)?;
    holds("a deprecated one", !addresses.contains(going))?;
    holds("all can be used at once", !addresses.contains("tentative"))
}

fn a_command_lives_on_a_host_of_another_name(host: &Host) -> Outcome {
    host.needs_taps()?;
    let name = host.user("uname -n")?.ok()?;
    let inside = pasta(host, "-q --config-net -- uname -n")?.ok()?;
    same("inside", inside.as_str(), format!("pasta-{name}").as_str())?;
    same("and outside as ever", host.user("uname -n")?.ok()?, name)
}

/// The kernel buries the children of whoever ignores SIGCHLD, and their status with them (wait(2)).
fn who_ignores_children_is_told_of_the_end(host: &Host) -> Outcome {
    host.needs_taps()?;
    let ignoring =
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])";
    let by_us = |command: &str| {
        let words = format!("{} pasta -q --config-net -- {command}", host.binary());
        host.user(&format!("python3 -c '{ignoring}' {words}"))
    };
    by_us("sh -c 'exit 7'")?.code(7)?;
    let ran = by_us("grep SigIgn /proc/self/status")?.ok()?;
    let ignored = u64::from_str_radix(ran.trim_start_matches("SigIgn:\t"), 16)?;
    holds("and so does the command", ignored & 1 << 16 != 0)
}

/// Who has not mapped any user yet: `unshare --user` alone.
fn a_namespace_without_users_is_served(host: &Host) -> Outcome {
    host.needs_taps()?;
    let (sleeper, served) = (host.home().join("sleeper"), host.home().join("served"));
    let binary = host.binary();
    let line = format!(
        "sh -c 'unshare --user --net sleep 60 >/dev/null 2>&1 & echo $! >{}; \
         until [ \"$(readlink /proc/$!/ns/net)\" != \"$(readlink /proc/$$/ns/net)\" ]; do sleep 0.1; done; \
         exec {binary} pasta -q --config-net -t none -u none -T none -U none -P {} $!'",
        sleeper.display(),
        served.display()
    );
    let ran = host.user(&line)?;
    let inside = fs::read_to_string(&sleeper)?;
    let inside = inside.trim();
    let routes = fs::read_to_string(format!("/proc/{inside}/net/route"))?;
    host.user(&format!("kill {inside}"))?.ok()?;
    ran.ok()?;
    contains("a default route", &routes, "up0\t00000000")
}
