//! As slirp4netns: what its callers rely on, said and done as they do it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::attach::Ship;
use crate::cases;
use crate::dhcp::Client;
use crate::host::{CLIENT, HOST, Host, OUTSIDE, private};
use crate::process::{PATIENCE, Program, Ran, until};
use crate::verdict::{Outcome, contains, fail, holds, same};

cases![
    ten_lives_leave_nothing,
    a_configured_namespace_goes_out,
    its_default_route_goes_before_another,
    a_tap_that_was_made_before_is_used,
    a_namespace_by_path,
    a_tap_by_descriptor,
    paths_through_descriptors,
    an_address_can_be_asked_for,
    host_loopback_can_be_closed,
    names_can_be_left_to_others,
    it_goes_out_from_the_address_it_is_told,
    ipv6_comes_by_advertisement,
    ports_are_forwarded_by_request,
    requests_are_checked_and_may_come_in_pieces,
    silent_clients_hold_nobody_up,
    it_ends_when_its_descriptor_is_hung_up,
    it_ends_when_nobody_reads_its_descriptor,
    it_ends_by_the_signal_and_takes_its_socket_along,
    nothing_but_a_socket_is_removed_for_the_socket,
    a_sandbox_keeps_the_network,
    refusals_in_the_originals_words,
    help_and_version,
];

/// One that serves.
struct Slirp {
    program: Program,
    folder: PathBuf,
}

impl Slirp {
    /// Started with these words; it has told that it is ready.
    fn start(host: &Host, name: &str, words: &str) -> Outcome<Self> {
        let slirp = Self::begin(host, name, &format!("{} {words}", link(host)?))?;
        slirp.is_ready()?;
        Ok(slirp)
    }

    /// Of a line that ends with the program and its words, of which -r 3 is one.
    fn begin(host: &Host, name: &str, line: &str) -> Outcome<Self> {
        let folder = host.home().join(name);
        if !folder.exists() {
            host.user(&format!("mkdir {}", folder.display()))?.ok()?;
        }
        let ready = folder.join("ready");
        let _ = fs::remove_file(&ready);
        let shell = format!("sh -c 'exec \"$@\" 3>{}' sh {line} -r 3", ready.display());
        let program = host.user_start(name, &shell)?;
        Ok(Self { program, folder })
    }

    fn is_ready(&self) -> Outcome {
        until(PATIENCE, "the ready byte", || {
            Ok(fs::read(self.folder.join("ready")).unwrap_or_default() == b"1")
        })
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("api.sock")
    }

    /// Asks the API.
    fn ask(&self, host: &Host, message: &str) -> Outcome<String> {
        host.user(&host.peer(&format!("unix-ask {} '{message}'", self.socket().display())))?
            .ok()
    }

    fn ends(mut self, signal: Signal) -> Outcome<i32> {
        self.program.signal(signal)?;
        self.program.ends(PATIENCE)
    }

    /// A line of /proc/PID/status.
    fn status(&self, field: &str) -> Outcome<String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.program.pid()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(line.unwrap_or_default().trim().to_owned())
    }
}

/// The binary under the name of the other.
fn link(host: &Host) -> Outcome<String> {
    let link = host.home().join("slirp4netns");
    if fs::symlink_metadata(&link).is_err() {
        std::os::unix::fs::symlink(host.binary(), &link)?;
    }
    Ok(link.display().to_string())
}

fn run(host: &Host, words: &str) -> Outcome<Ran> {
    host.user(&format!("{} {words}", link(host)?))
}

/// A namespace that is served as people serve it: configured, by process id.
fn served(host: &Host, options: &str) -> Outcome<(Ship, Slirp)> {
    let ship = Ship::sail(host)?;
    let slirp = Slirp::start(host, "slirp", &format!("-c {options} {} tap0", ship.pid()))?;
    Ok((ship, slirp))
}

/// The same with an API at the usual place.
fn served_with_api(host: &Host, options: &str) -> Outcome<(Ship, Slirp)> {
    let socket = host.home().join("slirp/api.sock");
    served(host, &format!("--api-socket={} {options}", socket.display()))
}

fn ask_outside(host: &Host, ship: &Ship) -> Outcome {
    let said = ship.run(host, &host.peer(&format!("tcp-ask {OUTSIDE} 7000 hello")))?;
    same("out", said.as_str(), "answer hello")
}

/// What became of a connection.
fn connect(host: &Host, ship: &Ship, target: &str) -> Outcome<String> {
    let line = ship.enter(&host.peer(&format!("connect {target} 5")));
    Ok(host.user(&line)?.stdout)
}

fn a_configured_namespace_goes_out(host: &Host) -> Outcome {
    let server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let _datagrams = host.outside_server("udp", "udp-echo 0.0.0.0 7002")?;
    let _inner = host.host_server("inner", "tcp-echo 127.0.0.1 7001")?;
    let _resolver = host.host_server("resolver", "dns-server 127.0.0.53")?;
    let (ship, slirp) = served(host, "--mtu=65520")?;
    let link = ship.run(host, "ip address show dev tap0")?;
    contains("its address", &link, "inet 10.0.2.100/24 brd 10.0.2.255")?;
    contains("its MTU", &link, "mtu 65520")?;
    contains("lo", &ship.run(host, "ip link show dev lo")?, ",UP")?;
    contains(
        "its way out",
        &ship.run(host, "ip route")?,
        "default via 10.0.2.2 dev tap0",
    )?;
    ask_outside(host, &ship)?;
    server.says(&format!("peer {HOST} "))?;
    let said = ship.run(host, &host.peer("tcp-ask 10.0.2.2 7001 hello"))?;
    same("the host's loopback", said.as_str(), "answer hello")?;
    let said = ship.run(host, "dig +short +timeout=5 @10.0.2.3 example.test")?;
    holds("a name", !said.is_empty() && !said.contains("timed out"))?;
    let said = ship.run(host, "dig +tcp +short +timeout=5 @10.0.2.3 example.test")?;
    holds("a name by TCP", !said.is_empty() && !said.contains("timed out"))?;
    for address in ["10.0.2.2", "10.0.2.3", OUTSIDE] {
        ship.run(host, &format!("ping -c 1 -W 5 {address}"))?;
    }
    contains(
        "a port that is closed",
        &connect(host, &ship, "10.0.2.2 7999")?,
        "ECONNREFUSED",
    )?;
    contains(
        "nothing else at +3",
        &connect(host, &ship, "10.0.2.3 80")?,
        "ENETUNREACH",
    )?;
    contains(
        "the banner",
        &slirp.program.output()?,
        "* Recommended IP:  10.0.2.100\n",
    )?;
    same("a caller's signal", slirp.ends(Signal::SIGTERM)?, 143)
}

fn its_default_route_goes_before_another(host: &Host) -> Outcome {
    let ship = Ship::sail(host)?;
    ship.has_another_default_route(host)?;
    let _slirp = Slirp::start(host, "slirp", &format!("-c {} tap0", ship.pid()))?;
    let routes = ship.run(host, "ip route show default")?;
    let ways: Vec<&str> = routes
        .lines()
        .map(|route| route.split(" proto ").next().unwrap_or(route).trim())
        .collect();
    same(
        "in this order",
        ways.as_slice(),
        ["default via 10.0.2.2 dev tap0", "default via 10.5.0.2 dev v0"].as_slice(),
    )
}

/// RootlessKit's form: the TAP exists, and the namespace configures itself, with any address.
fn a_tap_that_was_made_before_is_used(host: &Host) -> Outcome {
    let _server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let ship = Ship::sail(host)?;
    ship.run(host, "ip tuntap add name tap0 mode tap")?;
    ship.run(host, "ip link set tap0 address 02:00:00:00:0a:0b up")?;
    let slirp = Slirp::start(host, "slirp", &format!("--mtu 65520 {} tap0", ship.pid()))?;
    let link = ship.run(host, "ip address show dev tap0")?;
    holds("no address was given", !link.contains("inet "))?;
    holds(
        "lo was left alone",
        !ship.run(host, "ip link show dev lo")?.contains(",UP"),
    )?;
    for line in [
        "ip link set tap0 mtu 65520",
        "ip address add 10.0.2.55/24 dev tap0",
        "ip route add default via 10.0.2.2",
    ] {
        ship.run(host, line)?;
    }
    ask_outside(host, &ship)?;
    same("killed as RootlessKit does", slirp.ends(Signal::SIGKILL)?, 137)?;
    contains("the TAP is its maker's", &ship.run(host, "ip link")?, "tap0")?;
    let _again = Slirp::start(host, "again", &format!("--mtu 65520 {} tap0", ship.pid()))?;
    ask_outside(host, &ship)
}

fn a_namespace_by_path(host: &Host) -> Outcome {
    let _server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let ship = Ship::sail(host)?;
    let namespaces = format!("/proc/{}/ns", ship.pid());
    let words = format!("-c --userns-path={namespaces}/user --netns-type=path {namespaces}/net tap0");
    let _slirp = Slirp::start(host, "slirp", &words)?;
    ask_outside(host, &ship)
}

fn a_tap_by_descriptor(host: &Host) -> Outcome {
    let _server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let ship = Ship::sail(host)?;
    let line = host.peer(&format!(
        "tap-of {} tap9 {} --netns-type=tapfd 7",
        ship.pid(),
        link(host)?
    ));
    let slirp = Slirp::begin(host, "slirp", &line)?;
    slirp.is_ready()?;
    for line in [
        "ip link set tap9 up",
        "ip address add 10.0.2.100/24 dev tap9",
        "ip route add default via 10.0.2.2",
    ] {
        ship.run(host, line)?;
    }
    ask_outside(host, &ship)?;
    let ran = run(host, "--netns-type=tapfd 77")?.code(1)?;
    contains("a descriptor that is not open", &ran.stderr, "tapfd 77: ")
}

/// Paths lead through what a caller leaves open, the API's socket among them.
fn paths_through_descriptors(host: &Host) -> Outcome {
    let _server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let ship = Ship::sail(host)?;
    let folder = host.home().join("slirp");
    let line = format!(
        "sh -c 'exec \"$@\" 5</proc/{pid}/ns/net 6</proc/{pid}/ns/user 7<{folder}' sh {link} -c --netns-type=path \
         --userns-path=/dev/fd/6 -a /proc/self/fd/7/api.sock /proc/self/fd/5 tap0",
        pid = ship.pid(),
        folder = folder.display(),
        link = link(host)?,
    );
    let slirp = Slirp::begin(host, "slirp", &line)?;
    slirp.is_ready()?;
    ask_outside(host, &ship)?;
    contains(
        "answered",
        &slirp.ask(host, r#"{"execute":"list_hostfwd"}"#)?,
        "entries",
    )?;
    let socket = slirp.socket();
    same("ended", slirp.ends(Signal::SIGTERM)?, 143)?;
    holds("its socket is gone", !socket.exists())
}

/// Without -c the namespace configures itself: from +15 on.
fn an_address_can_be_asked_for(host: &Host) -> Outcome {
    let client = Client::udhcpc(host)?;
    let ship = Ship::sail(host)?;
    let _server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let _slirp = Slirp::start(host, "slirp", &format!("--mtu=1400 {} eth0", ship.pid()))?;
    ship.run(host, "ip link set eth0 up")?;
    let said = ship.run(host, &client.line("-n -q"))?;
    for part in ["bound 10.0.2.15/24", " router 10.0.2.2", " dns 10.0.2.3", " mtu 1400"] {
        contains("told", &said, part)?;
    }
    let said = ship.run(host, &host.peer(&format!("tcp-ask {OUTSIDE} 7000 hello")))?;
    same("outside", said.as_str(), "answer hello")
}

fn host_loopback_can_be_closed(host: &Host) -> Outcome {
    let _server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let _inner = host.host_server("inner", "tcp-echo 127.0.0.1 7001")?;
    let (ship, slirp) = served(host, "--disable-host-loopback")?;
    contains(
        "the host's loopback",
        &connect(host, &ship, "10.0.2.2 7001")?,
        "ENETUNREACH",
    )?;
    ship.run(host, "ping -c 1 -W 5 10.0.2.2")?;
    ask_outside(host, &ship)?;
    holds("no warning", !slirp.program.output()?.contains("127.0.0.1"))
}

fn names_can_be_left_to_others(host: &Host) -> Outcome {
    let _resolver = host.host_server("resolver", "dns-server 127.0.0.53")?;
    let (ship, _slirp) = served(host, "--disable-dns")?;
    let asked = host.user(&ship.enter("dig +tries=1 +timeout=1 @10.0.2.3 example.test"))?;
    holds("no answer", asked.code == 9)
}

fn it_goes_out_from_the_address_it_is_told(host: &Host) -> Outcome {
    let server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let datagrams = host.outside_server("udp", "udp-echo 0.0.0.0 7002")?;
    host.root("ip address add 198.51.100.9/24 dev up0")?.ok()?;
    let (ship, slirp) = served(host, "--outbound-addr=198.51.100.9")?;
    ask_outside(host, &ship)?;
    server.says("peer 198.51.100.9 ")?;
    ship.run(host, &host.peer(&format!("udp-ask 0.0.0.0 0 {OUTSIDE} 7002")))?;
    datagrams.says("198.51.100.9")?;
    same("ended", slirp.ends(Signal::SIGTERM)?, 143)?;
    drop(ship);
    let (ship, _slirp) = served(host, "--outbound-addr=up0")?;
    ask_outside(host, &ship)?;
    server.says(&format!("peer {HOST} "))
}

fn ipv6_comes_by_advertisement(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    let _inner = host.host_server("inner", "tcp-echo ::1 7001")?;
    let _server = host.outside_server("echo", "tcp-echo :: 7000")?;
    let (ship, slirp) = served(host, "--enable-ipv6")?;
    contains(
        "a warning",
        &slirp.program.output()?,
        "WARNING: Support for IPv6 is experimental",
    )?;
    until(PATIENCE, "an address that may be used", || {
        let addresses = ship.run(host, "ip -6 address show dev tap0 scope global -tentative")?;
        Ok(addresses.contains("inet6 fd00::"))
    })?;
    contains(
        "a way out",
        &ship.run(host, "ip -6 route")?,
        "default via fe80::2 dev tap0",
    )?;
    let said = ship.run(host, &host.peer("tcp-ask fd00::2 7001 hello"))?;
    same("the host's loopback", said.as_str(), "answer hello")?;
    let said = ship.run(
        host,
        &host.peer(&format!("tcp-ask {} 7000 hello", crate::host::OUTSIDE6)),
    )?;
    same("out", said.as_str(), "answer hello")
}

fn ports_are_forwarded_by_request(host: &Host) -> Outcome {
    let (ship, slirp) = served_with_api(host, "")?;
    private(&slirp.socket(), 0o600)?;
    let echo = host.user_start("tcp", &ship.enter(&host.peer("tcp-echo 0.0.0.0 80")))?;
    echo.says("ready")?;
    let datagrams = host.user_start("udp", &ship.enter(&host.peer("udp-echo 0.0.0.0 81")))?;
    datagrams.says("ready")?;
    // As podman says it: an empty address of the container.
    let tcp = r#"{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_addr":"0.0.0.0","host_port":8080,"guest_addr":"","guest_port":80}}"#;
    same("the first", slirp.ask(host, tcp)?.as_str(), r#"{"return":{"id":1}}"#)?;
    let udp = r#"{"execute":"add_hostfwd","arguments":{"proto":"udp","host_port":8081,"guest_addr":"10.0.2.100","guest_port":81}}"#;
    same("the second", slirp.ask(host, udp)?.as_str(), r#"{"return":{"id":2}}"#)?;
    let said = host
        .outside(&format!("{} --bind {CLIENT} {HOST} 8080", client(host)))?
        .ok()?;
    same("in", said.as_str(), "hello")?;
    echo.says(&format!("peer {CLIENT} "))?;
    let said = host.user(&host.peer("tcp-ask 127.0.0.1 8080 hello"))?.ok()?;
    same("in from the host", said.as_str(), "answer hello")?;
    echo.says("peer 10.0.2.2 ")?;
    let said = host
        .outside(&host.peer(&format!("udp-ask {CLIENT} 0 {HOST} 8081")))?
        .ok()?;
    contains("in by UDP", &said, &format!("udp 1472 right from {HOST}"))?;
    datagrams.says(&format!("from {CLIENT} "))?;
    let list = slirp.ask(host, r#"{"execute":"list_hostfwd"}"#)?;
    let entry =
        r#"{"id":1,"proto":"tcp","host_addr":"0.0.0.0","host_port":8080,"guest_addr":"10.0.2.100","guest_port":80}"#;
    contains(
        "in the manual's shape",
        &list,
        &format!("{{\"return\":{{\"entries\":[{entry},"),
    )?;
    contains("in the binary's shape", &list, &format!("}},\"entries\":[{entry},"))?;
    contains(
        "a port that is taken",
        &slirp.ask(host, tcp)?,
        r#"{"error":{"desc":"bad request: add_hostfwd: slirp_add_hostfwd failed"}}"#,
    )?;
    let remove = r#"{"execute":"remove_hostfwd","arguments":{"id":1}}"#;
    same("removed", slirp.ask(host, remove)?.as_str(), r#"{"return":{}}"#)?;
    contains(
        "only once",
        &slirp.ask(host, remove)?,
        "remove_hostfwd: bad arguments.id",
    )?;
    same(
        "its port is free",
        host.user(&host.peer("hold-tcp 0.0.0.0 8080"))?.ok()?.as_str(),
        "bound",
    )?;
    same(
        "numbers are not given again",
        slirp.ask(host, tcp)?.as_str(),
        r#"{"return":{"id":3}}"#,
    )
}

/// A client that can choose its own address.
fn client(host: &Host) -> String {
    let program = "import socket,sys; \
                   c=socket.create_connection((sys.argv[3],int(sys.argv[4])),10,(sys.argv[2],0)); \
                   c.sendall(b\"hello\"); c.shutdown(1); print(c.makefile().read())";
    format!("{} -c '{program}'", host.python())
}

fn requests_are_checked_and_may_come_in_pieces(host: &Host) -> Outcome {
    let (ship, slirp) = served_with_api(host, "")?;
    let socket = slirp.socket();
    let pieces = format!("unix-ask {} '{{\"exec' 'ute\":\"list_' 'hostfwd\"}}'", socket.display());
    let said = host.user(&host.peer(&pieces))?.ok()?;
    contains("in pieces", &said, "entries")?;
    for (message, why) in [
        ("nonsense", "cannot parse JSON"),
        ("[]", "json_object() failed"),
        ("{}", "no execute found"),
        (r#"{"execute":"x"}"#, "unknown execute"),
        (r#"{"execute":"add_hostfwd"}"#, "add_hostfwd: bad arguments.proto"),
        (
            r#"{"execute":"add_hostfwd","arguments":{"proto":1}}"#,
            "add_hostfwd: bad arguments.proto",
        ),
        (
            r#"{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_port":70000,"guest_port":80}}"#,
            "add_hostfwd: bad arguments.host_port",
        ),
        (r#"{"execute":"remove_hostfwd"}"#, "remove_hostfwd: bad arguments.id"),
    ] {
        let expected = format!(r#"{{"error":{{"desc":"bad request: {why}"}}}}"#);
        same(message, slirp.ask(host, message)?, expected)?;
    }
    ship.run(host, "ping -c 1 -W 5 10.0.2.2").map(drop)
}

fn silent_clients_hold_nobody_up(host: &Host) -> Outcome {
    let _server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let (ship, slirp) = served_with_api(host, "")?;
    let silent = host.user_start(
        "silent",
        &host.peer(&format!("unix-silence {} 300", slirp.socket().display())),
    )?;
    silent.says("ready")?;
    ask_outside(host, &ship)?;
    contains(
        "answered",
        &slirp.ask(host, r#"{"execute":"list_hostfwd"}"#)?,
        "entries",
    )
}

fn it_ends_when_its_descriptor_is_hung_up(host: &Host) -> Outcome {
    let ship = Ship::sail(host)?;
    let (hang_up, socket) = (host.home().join("hang-up"), host.home().join("slirp/api.sock"));
    let line = format!(
        "hung-up {} {} -c -e 4 -a {} {} tap0",
        hang_up.display(),
        link(host)?,
        socket.display(),
        ship.pid()
    );
    let mut slirp = Slirp::begin(host, "slirp", &host.peer(&line))?;
    slirp.is_ready()?;
    fs::write(hang_up, "")?;
    same("it ends well", slirp.program.ends(PATIENCE)?, 0)?;
    holds("its socket is gone", !socket.exists())?;
    until(PATIENCE, "the TAP is gone", || {
        Ok(!ship.run(host, "ip link")?.contains("tap0"))
    })
}

/// The end that is written to hears of it otherwise; it may be the ready descriptor, and standard output, where the byte is
/// to come before anything else.
fn it_ends_when_nobody_reads_its_descriptor(host: &Host) -> Outcome {
    let ship = Ship::sail(host)?;
    for number in [4, 1] {
        let line = format!(
            "reader-gone {number} {} -c -r {number} -e {number} {} tap0",
            link(host)?,
            ship.pid()
        );
        let said = host.user(&host.peer(&line))?.ok()?;
        same(format!("descriptor {number}"), said.lines().last(), Some("'1', then 0"))?;
    }
    Ok(())
}

fn it_ends_by_the_signal_and_takes_its_socket_along(host: &Host) -> Outcome {
    for (options, signal, code) in [
        ("", Signal::SIGTERM, 143),
        ("", Signal::SIGINT, 130),
        ("--enable-sandbox --enable-seccomp", Signal::SIGTERM, 143),
    ] {
        let (ship, slirp) = served_with_api(host, options)?;
        let socket = slirp.socket();
        holds("the socket is there with the ready byte", socket.exists())?;
        same(options, slirp.ends(signal)?, code)?;
        holds("the socket is gone", !socket.exists())?;
        drop(ship);
    }
    Ok(())
}

fn nothing_but_a_socket_is_removed_for_the_socket(host: &Host) -> Outcome {
    let ship = Ship::sail(host)?;
    let file = host.home().join("precious");
    host.user(&format!("sh -c 'echo data >{}'", file.display()))?.ok()?;
    let ran = run(host, &format!("-a {} {} tap0", file.display(), ship.pid()))?.code(1)?;
    contains("why", &ran.stderr, "api_bindlisten: bind: ")?;
    contains("at which stage", &ran.stderr, "do_slirp failed\nparent failed")?;
    same("it is there", fs::read_to_string(&file)?.as_str(), "data\n")?;
    holds("no TAP is left", !ship.run(host, "ip link")?.contains("tap0"))?;
    // One that an earlier life left is none of these.
    let socket = host.home().join("slirp/api.sock");
    let (_ship, slirp) = served_with_api(host, "")?;
    same("killed", slirp.ends(Signal::SIGKILL)?, 137)?;
    holds("its socket is left", socket.exists())?;
    let words = format!("-a {} {} tap1", socket.display(), ship.pid());
    let slirp = Slirp::start(host, "slirp", &words)?;
    contains(
        "answered",
        &slirp.ask(host, r#"{"execute":"list_hostfwd"}"#)?,
        "entries",
    )
}

/// What can be seen of it is as with the original; names are found although its file system is gone.
fn a_sandbox_keeps_the_network(host: &Host) -> Outcome {
    let _server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let _resolver = host.host_server("resolver", "dns-server 127.0.0.53")?;
    let (ship, slirp) = served_with_api(host, "--enable-sandbox --enable-seccomp")?;
    for (field, value) in [
        ("CapEff", "0000000000000400"),
        ("CapPrm", "0000000000000400"),
        ("CapBnd", "0000000000000400"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ] {
        same(field, slirp.status(field)?.as_str(), value)?;
    }
    let process = format!("/proc/{}", slirp.program.pid());
    // What is not dumpable is root's (proc(5)), so no process of the user's in the container's user namespace may trace it.
    let owner = fs::metadata(format!("{process}/environ"))?.uid();
    holds(format!("it hides, as {owner}'s"), owner == 0)?;
    let mut root = Vec::new();
    for entry in fs::read_dir(format!("{process}/root"))? {
        root.push(entry?.file_name().to_string_lossy().into_owned());
    }
    root.sort();
    holds(
        format!("its root holds {root:?}"),
        root.iter()
            .all(|name| ["etc", "run"].contains(&name.as_str()) || is_resolvers(name)),
    )?;
    for line in fs::read_to_string(format!("{process}/mountinfo"))?.lines() {
        let options = line.split(' ').nth(5).unwrap_or_default();
        holds(
            format!("read-only: {line}"),
            options.split(',').any(|option| option == "ro"),
        )?;
    }
    ask_outside(host, &ship)?;
    let said = ship.run(host, "dig +short +timeout=5 @10.0.2.3 example.test")?;
    holds("a name", !said.is_empty() && !said.contains("timed out"))?;
    ship.run(host, &format!("ping -c 1 -W 5 {OUTSIDE}"))?;
    let add = r#"{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_port":8080,"guest_port":80}}"#;
    same("a port", slirp.ask(host, add)?.as_str(), r#"{"return":{"id":1}}"#)?;
    let echo = host.user_start("tcp", &ship.enter(&host.peer("tcp-echo 0.0.0.0 80")))?;
    echo.says("ready")?;
    let said = host.user(&host.peer("tcp-ask 127.0.0.1 8080 hello"))?.ok()?;
    same("in", said.as_str(), "answer hello")
}

/// Where this machine's own resolver file really is.
fn is_resolvers(name: &str) -> bool {
    let real = fs::canonicalize("/etc/resolv.conf").unwrap_or_default();
    real.iter().nth(1).is_some_and(|first| first.to_string_lossy() == name)
}

fn refusals_in_the_originals_words(host: &Host) -> Outcome {
    let ship = Ship::sail(host)?;
    let pid = ship.pid();
    ship.run(host, "ip tuntap add name tun0 mode tun")?;
    let table = [
        ("".to_owned(), true, "".to_owned()),
        (format!("{pid}"), true, "".to_owned()),
        ("--x".to_owned(), true, "unrecognized option '--x'".to_owned()),
        ("--disable".to_owned(), true, "is ambiguous; possibilities:".to_owned()),
        (
            format!("--mtu=0 {pid} tap0"),
            true,
            "MTU must be a positive integer".to_owned(),
        ),
        ("x tap0".to_owned(), true, "PID must be a positive integer".to_owned()),
        (format!("--cidr=foo {pid} tap0"), false, "invalid CIDR: foo".to_owned()),
        (
            "--netns-type=path /no/such tap0".to_owned(),
            true,
            "existing path expected when --netns-type=path: No such file or directory".to_owned(),
        ),
        (
            "99999999 tap0".to_owned(),
            false,
            "/proc/99999999/ns/net: No such file or directory\nchild failed(1)\n".to_owned(),
        ),
        (
            "--netns-type=path /etc/passwd tap0".to_owned(),
            false,
            "child failed(1)\n".to_owned(),
        ),
        (
            format!("{pid} a-name-that-is-too-long"),
            false,
            "can't be the name of an interface".to_owned(),
        ),
        (
            format!("{pid} a:b"),
            false,
            "1 to 15 bytes without '/', ':', '%' or space".to_owned(),
        ),
        (
            format!("{pid} lo"),
            false,
            "an interface named lo exists there already, and is not a TAP\nchild failed(1)\n".to_owned(),
        ),
        (
            format!("-c {pid} tun0"),
            false,
            "an interface named tun0 exists there already, and is not a TAP\nchild failed(1)\n".to_owned(),
        ),
        (format!("-e 77 {pid} tap0"), false, "exit-fd 77: ".to_owned()),
        (
            format!("--target-type=bess {pid} tap0"),
            false,
            "not offered".to_owned(),
        ),
    ];
    for (words, usage, why) in table {
        let ran = run(host, &words)?.code(1)?;
        contains(&words, &ran.stderr, &why)?;
        same(&words, ran.stdout.starts_with("Usage: "), usage)?;
    }
    Ok(())
}

fn help_and_version(host: &Host) -> Outcome {
    let help = run(host, "--help")?.ok()?;
    contains("RootlessKit's probe", &help, "--netns-type")?;
    let version = run(host, "-v")?.ok()?;
    contains("podman's", &version, "slirp4netns version 1.")?;
    same("lines", version.lines().count(), 5)?;
    let by_word = host.gangplank("slirp4netns --version")?.ok()?;
    same("as a first argument", by_word.as_str(), version.as_str())
}

fn ten_lives_leave_nothing(host: &Host) -> Outcome {
    let ship = Ship::sail(host)?;
    let socket = host.home().join("slirp/api.sock");
    for life in 0..10 {
        let options = ["", "--enable-sandbox --enable-seccomp"][life % 2];
        let words = format!("-c {options} -a {} {} tap0", socket.display(), ship.pid());
        let slirp = Slirp::start(host, "slirp", &words)?;
        let add = r#"{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_port":8080,"guest_port":80}}"#;
        contains("a port", &slirp.ask(host, add)?, r#""id":1"#)?;
        same("ended", slirp.ends(Signal::SIGTERM)?, 143)?;
        holds("its socket is gone", !socket.exists())?;
        if ship.run(host, "ip link")?.contains("tap0") {
            fail!("the TAP of life {life} is left");
        }
    }
    drop(ship);
    host.nothing_left(Duration::from_secs(10))
}
