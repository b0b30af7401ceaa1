"""pasta and pesto: what is set up in a namespace, what goes out, and what comes in by its ports."""
import contextlib
import os
import re
import socket
import time

from clients import from_host
from host import HOST, HOST6
from pasta_words import CLOSED, join
from scenarios import scenario
from servers import LONG_NAME, NAME, TXT
from stage import FREE, SECOND, SECRET, SILENT, TALK, UNREACHABLE, stop

# Addresses that the host does not have, so that the host's own can be talked to.
ADDRESS, GATEWAY, ADDRESS6, GATEWAY6 = "10.0.3.15", "10.0.3.2", "fd00:3::15", "fd00:3::2"
OWN = ("-I", "tap0", "-a", ADDRESS, "-n", "24", "-g", GATEWAY)
NO_TCP = ("-u", "none", "-T", "none", "-U", "none")


def own(stage, *options):
    """One with addresses of its own, no ports, unless the options say so."""
    given = " ".join(options)
    closed = [word for flag in ("-t", "-u", "-T", "-U") if f"{flag} " not in given for word in (flag, "none")]
    box = stage.box()
    run = join(stage, box, "-4", *OWN, *closed, *options)
    return box, run


def layout(box):
    """What was set up."""
    links = box.ask("links")
    for it in links.values():
        it["mac"] = bool(it["mac"])
    return {"links": links, "routes": box.ask("routes")}


# What is set up.


@scenario("pasta")
def config_net(stage):
    """--config-net copies the host's addresses, its way out and its interface's name"""
    box = stage.box()
    run = join(stage, box, "-4", *CLOSED)
    seen = layout(box)
    addresses = seen["links"].get("host0", {}).get("addresses", [])
    return stage.take_for_granted(f"{HOST}/24" in addresses, {"exit": run.exit, "first address": f"{HOST}/24" in addresses,
                                  "default": [it for it in seen["routes"] if it.startswith("default")],
                                  "lo": seen["links"]["lo"], "mtu": seen["links"]["host0"]["mtu"]})


@scenario("pasta")
def config_net_all_addresses(stage):
    """--config-net copies all addresses of the interface"""
    box = stage.box()
    join(stage, box, "-4", *CLOSED)
    return {"addresses": box.ask("links").get("host0", {}).get("addresses")}


@scenario("pasta")
def config_net_both_families(stage):
    """--config-net copies IPv6 addresses and the way out, too, ready to be used"""
    box = stage.box()
    run = join(stage, box, *CLOSED)
    addresses = box.ask("links").get("host0", {}).get("addresses", [])
    return {"exit": run.exit, "address": any(it.startswith("2001:db8:51::") for it in addresses),
            "default": sum(it.startswith("default") for it in box.ask("routes"))}


@scenario("pasta")
def config_net_beside_another(stage):
    """--config-net in a container that has a default route: its own goes before it"""
    box = stage.box_with_a_way_out()
    run = join(stage, box, "-4", *CLOSED)
    return {"exit": run.exit, "ways": box.ask("ways")}


@scenario("pasta")
def config_net_without(stage):
    """without --config-net nothing has an address"""
    box = stage.box()
    file = stage.path("plain.pid")
    run = stage.tried([stage.program("pasta"), "-q", "-4", *OWN, *CLOSED, "-P", file, box.pid])
    kill_later(stage, file)
    return {"exit": run.exit, "layout": layout(box)}


def kill_later(stage, file):
    """The process that is told of there, however the scenario ends."""
    with contextlib.suppress(OSError), open(file) as text:
        stage.stack.callback(stop, int(text.read()))


@scenario("pasta")
def addresses_given(stage):
    """-a -n -g: these and no others"""
    box, run = own(stage)
    return stage.take_for_granted(run.exit == 0, {"exit": run.exit, "layout": layout(box)})


@scenario("pasta")
def mask_dotted(stage):
    """-n with a mask in dots"""
    box = stage.box()
    join(stage, box, "-4", "-I", "tap0", "-a", ADDRESS, "-n", "255.255.254.0", "-g", GATEWAY, *CLOSED)
    return layout(box)


@scenario("pasta")
def address_alone(stage):
    """-a without a mask and without a gateway"""
    box = stage.box()
    run = join(stage, box, "-4", "-I", "tap0", "-a", ADDRESS, *CLOSED)
    return {"exit": run.exit, "addresses": box.ask("links").get("tap0", {}).get("addresses")}


@scenario("pasta")
def address_in_brackets(stage):
    """-a with an address in brackets"""
    box = stage.box()
    run = join(stage, box, "-6", "-I", "tap0", "-a", f"[{ADDRESS6}]", "-g", GATEWAY6, *CLOSED)
    return {"exit": run.exit, "addresses": box.ask("links").get("tap0", {}).get("addresses")}


@scenario("pasta")
def mask_alone(stage):
    """-n without an address: copies keep their length"""
    box = stage.box()
    run = join(stage, box, "-4", "-I", "tap0", "-n", "16", *CLOSED)
    return {"exit": run.exit, "addresses": box.ask("links").get("tap0", {}).get("addresses")}


@scenario("pasta")
def interface_without_addresses(stage):
    """-i: an interface that has no addresses stands for none"""
    box = stage.box()
    run = join(stage, box, "-4", "-i", "quay", *CLOSED)
    return {"exit": run.exit, "addresses": box.ask("links").get("tap0", {}).get("addresses"), "ways": box.ask("ways")}


@scenario("pasta")
def little_privilege(stage):
    """--netns-only with a process, and --runas with oneself: nothing is asked for that is not there"""
    seen, user = {}, os.stat(stage.home).st_uid
    for words in (("--netns-only",), ("--runas", str(user)), ("--runas", str(user + 1))):
        box = stage.box()
        run = join(stage, box, "-4", "-I", "tap0", *words, *CLOSED)
        seen[words[0] + (" another" if str(user + 1) in words else "")] = {"exit": run.exit, "tap": "tap0" in box.ask("links")}
    return seen


@scenario("pasta")
def addresses_of_both_families(stage):
    """-a and -g once for each family"""
    box = stage.box()
    run = join(stage, box, *OWN, "-a", ADDRESS6, "-g", GATEWAY6, *CLOSED)
    return {"exit": run.exit, "addresses": box.ask("links").get("tap0", {}).get("addresses"), "routes": box.ask("routes")}


@scenario("pasta")
def like_slirp(stage):
    """the options that make it look like slirp4netns, as podman documents them"""
    box = stage.box()
    run = join(stage, box, "--ipv4-only", "-I", "tap0", "-a", "10.0.2.0", "-n", "24", "-g", "10.0.2.2", "--dns-forward", "10.0.2.3", "-m", "1500",
               "--no-ndp", "--no-dhcpv6", "--no-dhcp", *CLOSED)
    return {"exit": run.exit, "layout": layout(box), "names": box.ask("name", server="10.0.2.3", name=NAME)}


@scenario("pasta")
def like_rootlesskit(stage):
    """the options that RootlessKit passes"""
    stage.needs("pasta", "--host-lo-to-ns-lo")
    box = stage.box()
    run = join(stage, box, "--stderr", "--ns-ifname=tap0", "--mtu=65520", "--address=10.0.2.100", "--netmask=24", "--gateway=10.0.2.2",
               "--dns-forward=10.0.2.3", "--no-map-gw", "--ipv4-only", "--tcp-ports=auto", "--udp-ports=auto", "--host-lo-to-ns-lo")
    return {"exit": run.exit, "layout": layout(box), "names": box.ask("name", server="10.0.2.3", name=NAME)}


@scenario("pasta")
def like_podman(stage):
    """the options that podman passes, in its order"""
    stage.needs("pasta", "--map-guest-addr")
    box, port = stage.box(), stage.port()
    box.ask("serve", address="0.0.0.0", port=80)
    target = ["--userns", f"/proc/{box.pid}/ns/user", "-t", f"{port}-{port}:80-80", "--dns-forward", "169.254.1.1", "-u", "none", "-T", "none",
              "-U", "none", "--no-map-gw", "--quiet", "--netns", f"/proc/{box.pid}/ns/net", "--map-guest-addr", "169.254.1.2"]
    run = join(stage, box, target=target)
    # Which of the host's addresses stands for it is another matter.
    return {"exit": run.exit, "client": "hello" in from_host("127.0.0.1", port), "names": box.ask("name", server="169.254.1.1", name=NAME),
            "host": "hello" in box.ask("tcp", to="169.254.1.2", port=TALK).get("said", "")}


@scenario("pasta")
def mtu(stage):
    """-m"""
    box, run = own(stage, "-m", "1500")
    return {"exit": run.exit, "mtu": box.ask("links")["tap0"]["mtu"], "give": box.ask("give", to=HOST, port=TALK, mib=1, limit=3)}


@scenario("pasta")
def mtu_zero(stage):
    """-m 0: none is told"""
    box, run = own(stage, "-m", "0")
    return {"exit": run.exit, "tcp": box.ask("tcp", to=HOST, port=TALK)}


@scenario("pasta")
def interface_given(stage):
    """-i: whose addresses are copied"""
    box = stage.box()
    run = join(stage, box, "-4", "-i", "host0", "-I", "tap0", *CLOSED)
    return {"exit": run.exit, "address": f"{HOST}/24" in box.ask("links").get("tap0", {}).get("addresses", [])}


@scenario("pasta")
def v4_only(stage):
    """-4"""
    box = stage.box()
    join(stage, box, "-4", *CLOSED)
    return {"six": [it for it in box.ask("links").get("host0", {}).get("addresses", []) if ":" in it]}


@scenario("pasta")
def v6_only(stage):
    """-6"""
    box = stage.box()
    run = join(stage, box, "-6", *CLOSED)
    return {"exit": run.exit, "four": [it for it in box.ask("links").get("host0", {}).get("addresses", []) if ":" not in it]}


@scenario("pasta")
def addresses_by_dhcp(stage):
    """what its DHCP server offers"""
    box = stage.box()
    file = stage.path("plain.pid")
    stage.tried([stage.program("pasta"), "-q", "-4", *OWN, *CLOSED, "-P", file, box.pid])
    kill_later(stage, file)
    box.ask("run", words=["ip", "link", "set", "tap0", "up"])
    seen = box.ask("dhcp", interface="tap0")
    return stage.take_for_granted(seen.get("address") == ADDRESS, seen)


@scenario("pasta")
def addresses_by_dhcp_with_names(stage):
    """--dhcp-dns -D: the resolvers in the offer"""
    box = stage.box()
    file = stage.path("plain.pid")
    stage.tried([stage.program("pasta"), "-q", "-4", *OWN, *CLOSED, "-D", "192.0.2.53", "--dhcp-dns", "-P", file, box.pid])
    kill_later(stage, file)
    box.ask("run", words=["ip", "link", "set", "tap0", "up"])
    return box.ask("dhcp", interface="tap0")


@scenario("pasta")
def addresses_by_dhcp_with_own_names(stage):
    """-H, --fqdn: the container's own names in the offer"""
    stage.needs("pasta", "--fqdn")
    box = stage.box()
    file = stage.path("plain.pid")
    stage.tried([stage.program("pasta"), "-q", "-4", *OWN, *CLOSED, "-H", "inside", "--fqdn", "inside.example.test", "-P", file, box.pid])
    kill_later(stage, file)
    box.ask("run", words=["ip", "link", "set", "tap0", "up"])
    return box.ask("dhcp", interface="tap0")


def asking_by_v6(stage, *options):
    """A container that has nothing but a link-local address."""
    box = stage.box()
    box.ask("run", words=["sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad"])
    file = stage.path("plain.pid")
    stage.tried([stage.program("pasta"), "-q", "-6", "-I", "tap0", "-a", ADDRESS6, "-g", GATEWAY6, *CLOSED, *options, "-P", file, box.pid])
    kill_later(stage, file)
    box.ask("run", words=["ip", "link", "set", "tap0", "up"])
    box.ask("wait_for_address", prefix="fe80::")
    return box


@scenario("pasta")
def addresses_by_dhcpv6(stage):
    """what its DHCPv6 server advertises, gives, prolongs, confirms, and takes back"""
    box = asking_by_v6(stage)
    seen = {"solicit": box.ask("dhcpv6", interface="tap0", kind=1)}
    for name, kind, named in (("request", 3, True), ("confirm", 4, False), ("renew", 5, True), ("release", 8, True), ("decline", 9, True)):
        seen[name] = box.ask("dhcpv6", interface="tap0", kind=kind, address=ADDRESS6, names_server=named, limit=1)
    seen["without server"] = box.ask("dhcpv6", interface="tap0", kind=3, address=ADDRESS6, limit=1)
    seen["elsewhere"] = box.ask("dhcpv6", interface="tap0", kind=3, address="2001:db8:99::9", names_server=True)
    return stage.take_for_granted(seen["solicit"].get("address") == ADDRESS6, seen)


@scenario("pasta")
def addresses_by_dhcpv6_with_names(stage):
    """--dhcp-dns -D, --fqdn: the same by DHCPv6"""
    stage.needs("pasta", "--fqdn")
    box = asking_by_v6(stage, "-D", "2001:db8::53", "--dhcp-dns", "--fqdn", "inside.example.test")
    return {"solicit": box.ask("dhcpv6", interface="tap0", kind=1), "information": box.ask("dhcpv6", interface="tap0", kind=11)}


@scenario("pasta")
def dhcpv6_rebinding(stage):
    """what it says to who asks any server for longer"""
    return asking_by_v6(stage).ask("dhcpv6", interface="tap0", kind=6, address=ADDRESS6, limit=1)


@scenario("pasta")
def dhcpv6_off(stage):
    """--no-dhcpv6: nobody answers"""
    return asking_by_v6(stage, "--no-dhcpv6").ask("dhcpv6", interface="tap0", kind=1, limit=1)


@scenario("pasta")
def dhcp_off(stage):
    """--no-dhcp: nobody offers"""
    box = stage.box()
    file = stage.path("plain.pid")
    stage.tried([stage.program("pasta"), "-q", "-4", *OWN, *CLOSED, "--no-dhcp", "-P", file, box.pid])
    kill_later(stage, file)
    box.ask("run", words=["ip", "link", "set", "tap0", "up"])
    return box.ask("dhcp", interface="tap0", limit=1.5)


# What goes out.


@scenario("pasta")
def tcp_out(stage):
    """a connection to an address of the host; what the server sees"""
    seen = own(stage)[0].ask("tcp", to=HOST, port=TALK)
    return stage.take_for_granted(seen == {"said": f"{HOST} to {HOST}: hello"}, seen)


@scenario("pasta")
def outbound_interfaces(stage):
    """--outbound-if4: what is bound to an interface leaves by no other; the host's loopback is not outside"""
    seen = {}
    for name in ("host0", "lo"):
        box, _ = own(stage, "--outbound-if4", name, "-i", "host0")
        seen[name] = {"tcp": box.ask("tcp", to=HOST, port=TALK, limit=2), "udp": box.ask("udp", to=HOST, port=TALK, limit=2),
                      "ping": box.ask("ping", to=HOST, limit=2), "loopback": box.ask("tcp", to=GATEWAY, port=SECRET, limit=2)}
    return seen


@scenario("pasta")
def tcp_to_gateway(stage):
    """the gateway's address is the host's loopback"""
    seen = own(stage)[0].ask("tcp", to=GATEWAY, port=SECRET)
    return stage.take_for_granted(seen == {"said": "127.0.0.1 to 127.0.0.1: hello"}, seen)


@scenario("pasta")
def tcp_to_gateway_unmapped(stage):
    """--no-map-gw"""
    box, run = own(stage, "--no-map-gw")
    return {"exit": run.exit, "host": box.ask("tcp", to=GATEWAY, port=SECRET, limit=1.5).get("said"), "out": box.ask("tcp", to=HOST, port=TALK)}


@scenario("pasta")
def host_loopback_mapped(stage):
    """--map-host-loopback: another address for the host's loopback"""
    stage.needs("pasta", "--map-host-loopback")
    box, _ = own(stage, "--map-host-loopback", "10.0.3.9")
    return {"there": box.ask("tcp", to="10.0.3.9", port=SECRET), "gateway": box.ask("tcp", to=GATEWAY, port=SECRET, limit=1.5).get("said")}


@scenario("pasta")
def host_loopback_unmapped(stage):
    """--map-host-loopback none"""
    stage.needs("pasta", "--map-host-loopback")
    return {"gateway": own(stage, "--map-host-loopback", "none")[0].ask("tcp", to=GATEWAY, port=SECRET, limit=1.5).get("said")}


@scenario("pasta")
def guest_address_mapped(stage):
    """--map-guest-addr: the host by an address that the container shares with it"""
    stage.needs("pasta", "--map-guest-addr")
    box = stage.box()
    join(stage, box, "-4", *CLOSED, "--map-guest-addr", "169.254.1.2")
    return {kind: "hello" in box.ask(kind, to="169.254.1.2", port=TALK, limit=2).get("said", "") for kind in ("tcp", "udp")}


@scenario("pasta")
def tcp_refused(stage):
    """a port that nobody listens on"""
    return own(stage)[0].ask("tcp", to=HOST, port=FREE, limit=2)


@scenario("pasta")
def tcp_refused_on_loopback(stage):
    """the same on the host's loopback"""
    return own(stage)[0].ask("tcp", to=GATEWAY, port=FREE, limit=2)


@scenario("pasta")
def tcp_unreachable(stage):
    """an address that the host has no way to"""
    return own(stage)[0].ask("tcp", to=UNREACHABLE, port=TALK, limit=3)


@scenario("pasta")
def tcp_silence(stage):
    """an address that does not answer"""
    return own(stage)[0].ask("tcp", to=SILENT, port=TALK, limit=1.5)


@scenario("pasta")
def tcp_half_closed(stage):
    """data still comes when the container's half has ended"""
    return own(stage)[0].ask("give", to=HOST, port=TALK, mib=1, limit=3)


@scenario("pasta")
def tcp_much_out(stage):
    """16 MiB out, checked"""
    return own(stage)[0].ask("give", to=HOST, port=TALK, mib=16, limit=5)


@scenario("pasta")
def tcp_much_in(stage):
    """16 MiB in, checked"""
    return own(stage)[0].ask("take", to=HOST, port=TALK, mib=16, limit=5)


@scenario("pasta")
def tcp_many(stage):
    """a hundred connections one after the other"""
    return own(stage)[0].ask("many", to=HOST, port=TALK, count=100)


@scenario("pasta")
def tcp_off(stage):
    """--no-tcp: connections get nowhere, datagrams do"""
    box, _ = own(stage, "--no-tcp")
    return {"tcp": box.ask("tcp", to=HOST, port=TALK, limit=1.5).get("said"), "udp": box.ask("udp", to=HOST, port=TALK)}


@scenario("pasta")
def udp_out(stage):
    """a datagram and its answer"""
    seen = own(stage)[0].ask("udp", to=HOST, port=TALK, tries=3)
    return stage.take_for_granted("said" in seen, seen)


@scenario("pasta")
def udp_to_gateway(stage):
    """the host's loopback over UDP"""
    return own(stage)[0].ask("udp", to=GATEWAY, port=SECRET, tries=3)


@scenario("pasta")
def udp_large(stage):
    """a datagram of 1400 bytes, as it was"""
    return own(stage)[0].ask("udp", to=HOST, port=TALK, size=1400, tries=3)


@scenario("pasta")
def udp_larger(stage):
    """a datagram of 30000 bytes, below the MTU of the interface"""
    return own(stage)[0].ask("udp", to=HOST, port=TALK, size=30000, tries=3)


@scenario("pasta")
def udp_refused(stage):
    """a port that nobody listens on"""
    return own(stage)[0].ask("udp", to=HOST, port=FREE, limit=1.5)


@scenario("pasta")
def udp_off(stage):
    """--no-udp: datagrams get nowhere, connections do"""
    box, _ = own(stage, "--no-udp")
    return {"udp": box.ask("udp", to=HOST, port=TALK, limit=1.5).get("said"), "tcp": box.ask("tcp", to=HOST, port=TALK)}


@scenario("pasta")
def ping_gateway(stage):
    """the gateway answers pings"""
    return own(stage)[0].ask("ping", to=GATEWAY, limit=2)


@scenario("pasta")
def ping_out(stage):
    """an address of the host answers pings where the host lets the user ping"""
    return own(stage)[0].ask("ping", to=HOST, limit=2)


@scenario("pasta")
def ping_off(stage):
    """--no-icmp: no answers"""
    return own(stage, "--no-icmp")[0].ask("ping", to=HOST, limit=1.5)


@scenario("pasta")
def names(stage):
    """--dns-forward: questions to that address go to the host's resolver"""
    box, _ = own(stage, "--dns-forward", "10.0.3.3")
    seen = {"there": box.ask("name", server="10.0.3.3", name=NAME), "not there": box.ask("name", server="10.0.3.3", name="none.test")}
    return stage.take_for_granted(seen["there"].get("answers") == 1, seen)


@scenario("pasta")
def names_over_tcp(stage):
    """the same over TCP"""
    box, _ = own(stage, "--dns-forward", "10.0.3.3")
    return box.ask("name", server="10.0.3.3", name=LONG_NAME, kind=TXT, over="tcp", limit=2)


@scenario("pasta")
def names_at_gateway(stage):
    """--dns-forward with the gateway's address"""
    box, _ = own(stage, "--dns-forward", GATEWAY)
    return {"names": box.ask("name", server=GATEWAY, name=NAME), "host": box.ask("tcp", to=GATEWAY, port=SECRET)}


@scenario("pasta")
def names_without_forwarding(stage):
    """a resolver on the host's loopback, and nobody said where it is asked: at the gateway, which the offer names"""
    box = stage.box()
    file = stage.path("plain.pid")
    stage.tried([stage.program("pasta"), "-q", "-4", *OWN, *CLOSED, "--dhcp-dns", "-P", file, box.pid])
    kill_later(stage, file)
    box.ask("run", words=["ip", "link", "set", "tap0", "up"])
    offer = box.ask("dhcp", interface="tap0")
    box, _ = own(stage)
    seen = {"offer": offer, "names": box.ask("name", server=GATEWAY, name=NAME)}
    return stage.take_for_granted(seen["names"].get("answers") == 1, seen)


@scenario("pasta")
def v6_out(stage):
    """a connection and a datagram over IPv6"""
    box = stage.box()
    join(stage, box, *OWN, "-a", ADDRESS6, "-g", GATEWAY6, *CLOSED)
    return {"tcp": box.ask("tcp", to=HOST6, port=TALK), "udp": box.ask("udp", to=HOST6, port=TALK, tries=3)}


@scenario("pasta")
def v6_to_gateway(stage):
    """the gateway is the host's loopback over IPv6, too"""
    box = stage.box()
    join(stage, box, *OWN, "-a", ADDRESS6, "-g", GATEWAY6, *CLOSED)
    return box.ask("tcp", to=GATEWAY6, port=SECRET, limit=2)


@scenario("pasta")
def two_beside_each_other(stage):
    """two containers with the same addresses do not meet"""
    boxes = [own(stage)[0] for _ in range(2)]
    return {"out": [box.ask("tcp", to=HOST, port=TALK) for box in boxes]}


# What comes in.


def serving(stage, *options):
    """A container that serves at ports 80 and 81."""
    box, run = own(stage, *options)
    for port in (80, 81):
        box.ask("serve", address="0.0.0.0", port=port)
    return box, run


@scenario("pasta")
def port_forwarded(stage):
    """-t HOST:CONTAINER, and who the clients seem to be"""
    port = stage.port()
    _, run = serving(stage, "-t", f"{port}:80")
    seen = {"exit": run.exit, "outside": from_host(HOST, port)}
    return stage.take_for_granted("hello" in seen["outside"], seen)


@scenario("pasta")
def port_forwarded_to_loopback(stage):
    """-t, and a client on the host's loopback"""
    port = stage.port()
    serving(stage, "-t", f"{port}:80")
    return {"client": from_host("127.0.0.1", port)}


@scenario("pasta")
def port_of_address(stage):
    """-t ADDRESS/PORT binds that address alone"""
    port = stage.port()
    serving(stage, "-t", f"{SECOND}/{port}:80")
    return {"there": from_host(SECOND, port), "elsewhere": from_host(HOST, port)}


@scenario("pasta")
def port_same_number(stage):
    """-t PORT: the same number on both sides"""
    port = stage.port()
    box, _ = own(stage, "-t", str(port))
    box.ask("serve", address="0.0.0.0", port=port)
    return {"client": from_host(HOST, port)}


@scenario("pasta")
def port_range(stage):
    """-t A-B:C-D"""
    port = stage.port()
    serving(stage, "-t", f"{port}-{port + 1}:80-81")
    return {"clients": [from_host(HOST, port), from_host(HOST, port + 1)], "beside": from_host(HOST, port + 2)}


@scenario("pasta")
def port_range_of_one(stage):
    """-t A-A:C-C as podman writes it"""
    port = stage.port()
    serving(stage, "-t", f"{port}-{port}:80-80")
    return {"client": from_host(HOST, port)}


@scenario("pasta")
def ports_listed(stage):
    """-t with a list"""
    port = stage.port()
    serving(stage, "-t", f"{port}:80,{port + 1}:81")
    return {"clients": [from_host(HOST, port), from_host(HOST, port + 1)]}


@scenario("pasta")
def ports_repeated(stage):
    """-t several times"""
    port = stage.port()
    _, run = serving(stage, "-t", f"{port}:80", "-t", f"{port + 1}:81")
    return {"exit": run.exit, "clients": [from_host(HOST, port), from_host(HOST, port + 1)]}


@scenario("pasta")
def ports_excluded(stage):
    """-t A-B,~C: all but this one"""
    port = stage.port()
    box, run = own(stage, "-t", f"{port}-{port + 2},~{port + 1}")
    for number in range(3):
        box.ask("serve", address="0.0.0.0", port=port + number)
    return {"exit": run.exit, "clients": [from_host(HOST, port + number) for number in range(3)]}


@scenario("pasta")
def port_busy(stage):
    """-t with a port that a program on the host has: nothing starts, and the reason is told"""
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        run = join(stage, stage.box(), "-4", *OWN, "-t", f"{HOST}/{port}:80", *NO_TCP)
    return {"exit": run.exit, "says": run.where("Address already in use")}


@scenario("pasta")
def port_privileged(stage):
    """-t with a port below 1024"""
    run = join(stage, stage.box(), "-4", *OWN, "-t", "81:80", *NO_TCP)
    return {"exit": run.exit, "says": run.where("Permission denied")}


@scenario("pasta")
def port_of_foreign_address(stage):
    """-t with an address that the host does not have"""
    run = join(stage, stage.box(), "-4", *OWN, "-t", f"203.0.113.1/{stage.port()}:80", *NO_TCP)
    return {"exit": run.exit, "says": run.where("Cannot assign requested address")}


@scenario("pasta")
def port_not_served(stage):
    """-t with a port behind which nobody listens"""
    port = stage.port()
    own(stage, "-t", f"{port}:80")
    return {"client": from_host(HOST, port)}


@scenario("pasta")
def port_of_udp(stage):
    """-u"""
    port = stage.port()
    serving(stage, "-u", f"{port}:80")
    return {"client": from_host(HOST, port, kind="udp"), "loopback": from_host("127.0.0.1", port, kind="udp")}


@scenario("pasta")
def port_of_udp_asked(stage):
    """-u at every address: who asked one of them is answered from there"""
    port = stage.port()
    serving(stage, "-u", f"{port}:80")
    return {address: from_host(address, port, kind="udp", limit=1) for address in (SECOND, "127.0.0.2", "127.0.0.1")}


@scenario("pasta")
def port_of_families(stage):
    """-t with an address of a family that is switched off"""
    seen = {}
    for family, address in (("-4", "::1"), ("-6", "127.0.0.1"), ("-4", "127.0.0.1"), ("-6", "::1")):
        words = [family, "-t", f"{address}/{stage.port()}", "-u", "none", "-T", "none", "-U", "none"]
        seen[f"{family} {address}"] = join(stage, stage.box(), *words).exit
    return seen


@scenario("pasta")
def ports_of_udp_inherited(stage):
    """UDP has TCP's ports unless said otherwise"""
    port = stage.port()
    box = stage.box()
    join(stage, box, "-4", *OWN, "-t", f"{port}:80", "-T", "none", "-U", "none")
    box.ask("serve", address="0.0.0.0", port=80)
    return {"udp": from_host(HOST, port, kind="udp", limit=1)}


@scenario("pasta")
def port_much(stage):
    """8 MiB each way through a published port, checked"""
    port = stage.port()
    serving(stage, "-t", f"{port}:80")
    other, _ = own(stage)
    return {"give": other.ask("give", to=HOST, port=port, mib=8, limit=5), "take": other.ask("take", to=HOST, port=port, mib=8, limit=5)}


@scenario("pasta")
def ports_automatic(stage):
    """-t auto: what the container listens on, soon after it does"""
    port = stage.port()
    box, _ = own(stage, "-t", "auto")
    before = from_host("127.0.0.1", port)
    box.ask("serve", address="0.0.0.0", port=port)
    return {"before": before, "after": later(lambda: from_host("127.0.0.1", port))}


def later(look, limit=4):
    """Looks until it is no refusal, for a while."""
    deadline = time.monotonic() + limit
    while (seen := look()) == "ConnectionRefusedError" and time.monotonic() < deadline:
        time.sleep(0.1)
    return "answered" if "hello" in (seen or "") else seen


@scenario("pasta")
def ports_none(stage):
    """-t none"""
    port = stage.port()
    box, _ = own(stage, "-t", "none")
    box.ask("serve", address="0.0.0.0", port=port)
    return {"client": from_host("127.0.0.1", port)}


@scenario("pasta")
def host_port_inside(stage):
    """-T: a port of the host's loopback on the container's"""
    port = stage.port()
    box, run = own(stage, "-T", f"{port}:{SECRET}")
    return {"exit": run.exit, "tcp": box.ask("tcp", to="127.0.0.1", port=port), "beside": box.ask("tcp", to="127.0.0.1", port=port + 1)}


@scenario("pasta")
def host_port_inside_same_number(stage):
    """-T PORT"""
    box, _ = own(stage, "-T", str(SECRET))
    return {"tcp": box.ask("tcp", to="127.0.0.1", port=SECRET)}


@scenario("pasta")
def host_port_inside_of_udp(stage):
    """-U"""
    port = stage.port()
    box, _ = own(stage, "-U", f"{port}:{SECRET}")
    return {"udp": box.ask("udp", to="127.0.0.1", port=port, tries=3)}


@scenario("pasta")
def host_ports_inside_automatic(stage):
    """-T auto: what the host's loopback listens on"""
    box, _ = own(stage, "-T", "auto")
    deadline = time.monotonic() + 4
    while (seen := box.ask("tcp", to="127.0.0.1", port=SECRET)).get("error") == "ECONNREFUSED" and time.monotonic() < deadline:
        time.sleep(0.1)
    return {"tcp": seen}


@scenario("pasta")
def loopback_kept(stage):
    """--host-lo-to-ns-lo: a client on the host's loopback reaches what listens on the container's"""
    stage.needs("pasta", "--host-lo-to-ns-lo")
    port = stage.port()
    box, _ = own(stage, "-t", f"{port}:80", "--host-lo-to-ns-lo")
    box.ask("serve", address="127.0.0.1", port=80)
    return {"client": from_host("127.0.0.1", port)}


@scenario("pasta")
def port_of_v6(stage):
    """-t with an IPv6 address, as podman writes it: without brackets"""
    port = stage.port()
    box = stage.box()
    run = join(stage, box, *OWN, "-a", ADDRESS6, "-g", GATEWAY6, "-t", f"::1/{port}-{port}:80-80", *NO_TCP)
    box.ask("serve", address="::", port=80)
    return {"exit": run.exit, "there": from_host("::1", port), "elsewhere": from_host("127.0.0.1", port)}


# pesto: the ports of a pasta that runs.


def controlled(stage):
    """A container that serves, and pasta with a socket to control it by."""
    stage.needs("pasta", "--conf-path")
    path = stage.path("pasta.sock")
    box, run = serving(stage, "-c", path)
    return box, run, path


def pesto(stage, *words):
    run = stage.tried([stage.program("pesto"), *words])
    return run.exit


@scenario("pesto")
def add(stage):
    """--add opens a port, --delete closes it"""
    _, _, path = controlled(stage)
    port = stage.port()
    seen = {"add": pesto(stage, "--add", "-t", f"{port}:80", path), "client": from_host(HOST, port)}
    return {**seen, "delete": pesto(stage, "--delete", "-t", f"{port}:80", path), "after": from_host(HOST, port)}


@scenario("pesto")
def add_twice(stage):
    """--add of what is there"""
    _, _, path = controlled(stage)
    port = stage.port()
    return {"exits": [pesto(stage, "--add", "-t", f"{port}:80", path) for _ in range(2)], "client": from_host(HOST, port)}


@scenario("pesto")
def add_none(stage):
    """--add of none: where there are none, and where there are some"""
    _, _, path = controlled(stage)
    exits = [pesto(stage, "--add", "-t", "none", path), pesto(stage, "--add", "-t", f"{stage.port()}:80", path)]
    return {"exits": [*exits, *(pesto(stage, "--add", flag, "none", path) for flag in ("-t", "-u"))]}


@scenario("pesto")
def delete_nothing(stage):
    """--delete of what is not there"""
    _, _, path = controlled(stage)
    return {"exit": pesto(stage, "--delete", "-t", f"{stage.port()}:80", path)}


@scenario("pesto")
def add_address(stage):
    """--add as container-libs writes it"""
    _, _, path = controlled(stage)
    port = stage.port()
    return {"exit": pesto(stage, "--add", "-t", f"{HOST}/{port}:80", "-u", f"{HOST}/{port}:80", path), "client": from_host(HOST, port),
            "udp": from_host(HOST, port, kind="udp")}


@scenario("pesto")
def add_busy(stage):
    """--add of a port that a program on the host has"""
    _, _, path = controlled(stage)
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        run = stage.tried([stage.program("pesto"), "--add", "-t", f"{HOST}/{port}:80", path])
    return {"exit": run.exit, "something said": bool(run.stderr().strip())}


@scenario("pesto")
def replace(stage):
    """without --add, --delete and --clear the table becomes what is said"""
    _, _, path = controlled(stage)
    port = stage.port()
    pesto(stage, "--add", "-t", f"{port}:80", path)
    return {"exit": pesto(stage, "-t", f"{port + 1}:80", path), "old": from_host(HOST, port), "new": from_host(HOST, port + 1)}


@scenario("pesto")
def clear(stage):
    """--clear HOST"""
    _, _, path = controlled(stage)
    port = stage.port()
    pesto(stage, "--add", "-t", f"{port}:80", path)
    return {"exit": pesto(stage, "--clear", "HOST", path), "client": from_host(HOST, port)}


@scenario("pesto")
def listing(stage):
    """the list"""
    _, _, path = controlled(stage)
    port = stage.port()
    pesto(stage, "--add", "-t", f"{port}:80", path)
    run = stage.tried([stage.program("pesto"), path])
    return {"exit": run.exit, "lines": bool(re.search(rf"TCP \[\S+\]:{port}\s+=>\s+80", run.stdout())), "table": "HOST" in run.stdout()}


@scenario("pesto")
def nobody(stage):
    """nobody is at the socket"""
    run = stage.tried([stage.program("pesto"), stage.path("none.sock")])
    return {"exit": run.exit, "says": run.where("Failed to connect to")}


@scenario("pesto")
def words_malformed(stage):
    """a malformed port, an unknown option"""
    _, _, path = controlled(stage)
    return {"exits": [pesto(stage, "--add", "-t", "99999", path), pesto(stage, "--bogus", path), pesto(stage)]}
