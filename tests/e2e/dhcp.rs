//! Namespaces that configure themselves: attached with nothing, and then asked for by real clients, busybox's `udhcpc`
//! and ISC's `dhclient`, and by the kernel itself, which takes the route from router advertisements.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use crate::attach::Ship;
use crate::cases;
use crate::host::{Host, OUTSIDE, OUTSIDE6};
use crate::process::{PATIENCE, Program, until};
use crate::verdict::{Outcome, contains, fail, holds, same};

cases![
    udhcpc_configures_all_of_it,
    udhcpc_behind_a_cable,
    renewed_and_released,
    dhclient_is_told_the_same,
    an_address_of_another_network_is_refused,
    the_search_list_is_that_of_the_host,
    the_kernel_takes_the_route_from_advertisements,
    dhclient_gets_the_ipv6_address,
    without_ipv6_there_is_none_to_ask_for,
    who_is_configured_already_may_ask_too,
];

const UP: &str = "up --subnet 172.30.0.0/24 --subnet6 fd00:9::/64 --mtu 1400";

fn udhcpc_configures_all_of_it(host: &Host) -> Outcome {
    let boat = moor(host, UP)?;
    configures_all_of_it(host, |line| boat.run(host, line))
}

fn udhcpc_behind_a_cable(host: &Host) -> Outcome {
    host.gangplank(UP)?.ok()?;
    let ship = Ship::sail(host)?;
    let line = format!("attach --dhcp --pid {} --name guest", ship.pid());
    host.gangplank(&line)?.ok()?;
    configures_all_of_it(host, |line| ship.run(host, line))
}

fn configures_all_of_it(host: &Host, run: impl Fn(&str) -> Outcome<String>) -> Outcome {
    let client = Client::udhcpc(host)?;
    let _server = host.outside_server("echo", "tcp-echo 0.0.0.0 7000")?;
    let _resolver = host.host_server("resolver", "dns-server 127.0.0.53")?;
    search(host, "search corp.example lab\n")?;
    same("no address yet", run("ip -4 address show dev eth0")?.as_str(), "")?;
    same("no route", run("ip -4 route")?.as_str(), "")?;
    contains("up", &run("ip link show dev eth0")?, ",UP")?;
    run("ip link set dev eth0 mtu 1000")?;

    // A search list is told as soon as it was read.
    let mut said = String::new();
    until(PATIENCE, "the search list is told", || {
        said = run(&client.line("-n -q"))?;
        Ok(said.contains(" search corp.example lab"))
    })?;
    let (address, id) = (host.address("guest")?, host.inspect("guest", "{{.Config.Hostname}}")?);
    for part in [
        format!("bound {address}/24"),
        " router 172.30.0.1".to_owned(),
        " dns 172.30.0.1".to_owned(),
        " mtu 1400".to_owned(),
        format!(" hostname {id}"),
        " lease 3600".to_owned(),
    ] {
        contains("told", &said, &part)?;
    }
    let shown = run("ip -4 -oneline address show dev eth0")?;
    contains("address", &shown, &format!("inet {address}/24"))?;
    same("addresses", shown.lines().count(), 1)?;
    contains("route", &run("ip -4 route")?, "default via 172.30.0.1 dev eth0")?;
    contains("MTU", &run("ip link show dev eth0")?, "mtu 1400 ")?;
    let said = run(&host.peer(&format!("tcp-ask {OUTSIDE} 7000 hello")))?;
    same("outside", said.as_str(), "answer hello")?;
    let said = run("dig +short +tries=1 @172.30.0.1 www.example.test")?;
    same("names", said.as_str(), "192.0.2.7")
}

fn renewed_and_released(host: &Host) -> Outcome {
    let boat = moor(host, UP)?;
    let client = Client::udhcpc(host)?;
    let address = host.address("guest")?;
    let program = host.user_start("udhcpc", &boat.enter(&client.line("-f -R")))?;
    program.says(&format!("bound {address}/24"))?;
    // By unicast, from the address.
    program.signal(Signal::SIGUSR1)?;
    program.says(&format!("renew {address}/24"))?;
    program.signal(Signal::SIGUSR2)?;
    let twice = |text: &str| {
        until(PATIENCE, &format!("{text} is said twice"), || {
            Ok(program.output()?.matches(text).count() >= 2)
        })
    };
    // The first time was at its start.
    twice("deconfig")?;
    program.signal(Signal::SIGUSR1)?;
    twice(&format!("bound {address}/24"))
}

fn dhclient_is_told_the_same(host: &Host) -> Outcome {
    let boat = moor(host, UP)?;
    let client = Client::dhclient(host)?;
    let address = host.address("guest")?;
    let program = host.user_start("dhclient", &boat.enter(&client.line("-4 -d")))?;
    program.says(&format!("BOUND {address} 255.255.255.0 172.30.0.1 172.30.0.1 1400"))
}

/// A client that remembers an address from elsewhere is told no, and gets the right one.
fn an_address_of_another_network_is_refused(host: &Host) -> Outcome {
    let boat = moor(host, UP)?;
    let client = Client::dhclient(host)?;
    let remembered = "lease { interface \"eth0\"; fixed-address 10.0.2.15; option subnet-mask 255.255.255.0; \
        option dhcp-server-identifier 10.0.2.2; option dhcp-lease-time 86400; \
        renew never; rebind never; expire never; }\n";
    fs::write(host.home().join("leases"), remembered)?;
    let program = host.user_start("dhclient", &boat.enter(&client.line("-4 -d")))?;
    program.says(&format!("BOUND {} ", host.address("guest")?))?;
    contains("refused", &program.output()?, "DHCPNAK from 172.30.0.1")
}

fn the_search_list_is_that_of_the_host(host: &Host) -> Outcome {
    let boat = moor(host, UP)?;
    let client = Client::udhcpc(host)?;
    for list in ["one.example", "two.example three.example", ""] {
        search(host, &format!("search {list}\n"))?;
        let told = format!(" search {list} ;");
        until(PATIENCE, &format!("{list:?} is told"), || {
            Ok(boat.run(host, &client.line("-n -q"))?.contains(&told))
        })?;
    }
    Ok(())
}

/// By itself, for the prefix says that it is not one to make addresses from.
fn the_kernel_takes_the_route_from_advertisements(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    let boat = moor(host, UP)?;
    let accepts = boat.run(host, "cat /proc/sys/net/ipv6/conf/eth0/accept_ra")?;
    same("accept_ra", accepts.as_str(), "1")?;
    until(PATIENCE, "both routes are there", || {
        let routes = boat.run(host, "ip -6 route")?;
        Ok(routes.contains("default via fe80::1 dev eth0 proto ra")
            && routes.contains("fd00:9::/64 dev eth0 proto kernel"))
    })?;
    let addresses = boat.run(host, "ip -6 address show dev eth0")?;
    holds(
        format!("only the link's own in\n{addresses}"),
        !addresses.contains("fd00"),
    )
}

fn dhclient_gets_the_ipv6_address(host: &Host) -> Outcome {
    host.needs_ipv6()?;
    let boat = moor(host, UP)?;
    let client = Client::dhclient(host)?;
    let _server = host.outside_server("echo", "tcp-echo :: 7000")?;
    search(host, "search corp.example lab\n")?;
    until(PATIENCE, "its link-local address is its own", || {
        let addresses = boat.run(host, "ip -6 address show dev eth0")?;
        Ok(addresses.contains("fe80:") && !addresses.contains("tentative"))
    })?;
    let address = host.address6("guest")?;
    let program = host.user_start("dhclient", &boat.enter(&client.line("-6 -d")))?;
    program.says(&format!("BOUND6 {address}/"))?;
    let said = program.output()?;
    contains("resolver", &said, " dns fd00:9::1")?;
    contains("search list", &said, " search corp.example. lab.")?;
    let shown = boat.run(host, "ip -6 -oneline address show dev eth0 scope global")?;
    contains("address", &shown, &format!("inet6 {address}/"))?;
    same("addresses", shown.lines().count(), 1)?;
    until(PATIENCE, "the router has been heard", || {
        Ok(boat.run(host, "ip -6 route")?.contains("default via fe80::1"))
    })?;
    let said = boat.run(host, &host.peer(&format!("tcp-ask {OUTSIDE6} 7000 hello")))?;
    same("outside", said.as_str(), "answer hello")
}

fn without_ipv6_there_is_none_to_ask_for(host: &Host) -> Outcome {
    let boat = moor(host, "up --subnet6 none")?;
    let client = Client::udhcpc(host)?;
    let said = boat.run(host, &client.line("-n -q"))?;
    contains("IPv4", &said, &format!("bound {}/", host.address("guest")?))?;
    same("IPv6", boat.run(host, "ip -6 address show dev eth0")?.as_str(), "")
}

fn who_is_configured_already_may_ask_too(host: &Host) -> Outcome {
    host.gangplank(UP)?.ok()?;
    let client = Client::udhcpc(host)?;
    let said = host
        .gangplank(&format!("run --rm --name web -- {}", client.line("-n -q")))?
        .ok()?;
    contains("told", &said, "bound 172.30.0.2/24")
}

/// What the host's resolv.conf says besides its nameserver.
fn search(host: &Host, line: &str) -> Outcome {
    let text = format!("nameserver 127.0.0.53\n{line}");
    Ok(fs::write(host.folder().join("resolv.conf"), text)?)
}

/// A real DHCP client, with a script of ours for what it was told.
pub(crate) struct Client(String);

impl Client {
    pub(crate) fn udhcpc(host: &Host) -> Outcome<Self> {
        host.user("busybox udhcpc --help")?
            .possible("there is no busybox with udhcpc")?;
        let script = script(host, "udhcpc.sh", UDHCPC)?;
        Ok(Self(format!(
            "busybox udhcpc -i eth0 -t 15 -T 1 -s {script} -O search -O mtu"
        )))
    }

    pub(crate) fn dhclient(host: &Host) -> Outcome<Self> {
        host.user("dhclient --version")?.possible("there is no dhclient")?;
        let (script, home) = (script(host, "dhclient.sh", DHCLIENT)?, host.home());
        let (home, program) = (home.display(), host.folder().join("dhclient"));
        let program = program.display();
        // Some distributions let the one in its usual place run no script but theirs (AppArmor).
        host.root(&format!("sh -c 'cp $(command -v dhclient) {program}'"))?
            .ok()?;
        Ok(Self(format!(
            "{program} -v -cf /dev/null -lf {home}/leases -pf {home}/pid -sf {script} eth0"
        )))
    }

    pub(crate) fn line(&self, options: &str) -> String {
        format!("{} {options}", self.0)
    }
}

fn script(host: &Host, name: &str, text: &str) -> Outcome<String> {
    let path = host.folder().join(name);
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path.display().to_string())
}

/// A process in user and network namespaces below a container's, which a veth can reach: wherever there is an uplink.
struct Boat {
    _program: Program,
    pid: String,
}

/// A network, and in it a boat with the name `guest` and an interface without anything.
fn moor(host: &Host, up: &str) -> Outcome<Boat> {
    host.gangplank(up)?.ok()?;
    host.gangplank("run -d --name box -- sleep 1000")?.ok()?;
    let inner = "unshare --user --map-root-user --net sh -c 'echo pid $$ && exec sleep 1000'";
    let program = host.gangplank_start("boat", &format!("exec box -- {inner}"))?;
    program.says("pid ")?;
    let pid = program.output()?.trim().trim_start_matches("pid ").to_owned();
    host.gangplank(&format!("attach --dhcp --pid {pid} --name guest"))?
        .ok()?;
    Ok(Boat { _program: program, pid })
}

impl Boat {
    fn enter(&self, line: &str) -> String {
        format!(
            "nsenter --user --net --preserve-credentials --target {} {line}",
            self.pid
        )
    }

    fn run(&self, host: &Host, line: &str) -> Outcome<String> {
        let ran = host.user(&self.enter(line))?;
        if ran.code != 0 {
            fail!("in the boat: {}{}", ran.stdout, ran.stderr);
        }
        ran.ok()
    }
}

/// Configures the interface with what was told, and says it.
const UDHCPC: &str = r#"#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
case $1 in
deconfig)
    ip -4 address flush dev "$interface"
    echo deconfig
    exit ;;
bound | renew)
    ip link set dev "$interface" mtu "$mtu"
    ip address replace "$ip/$mask" dev "$interface"
    ip route replace default via "$router" dev "$interface" ;;
esac
echo "$1 $ip/$mask router $router dns $dns mtu $mtu hostname $hostname lease $lease search $search ;"
"#;

/// The same for dhclient.
const DHCLIENT: &str = r#"#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
case $reason in
BOUND)
    echo "$reason $new_ip_address $new_subnet_mask $new_routers $new_domain_name_servers $new_interface_mtu" ;;
BOUND6)
    ip address replace "$new_ip6_address/$new_ip6_prefixlen" dev "$interface" nodad
    echo "$reason $new_ip6_address/$new_ip6_prefixlen dns $new_dhcp6_name_servers search $new_dhcp6_domain_search" ;;
esac
"#;
