"""slirp4netns: what its options do to a namespace, and what goes through."""
import contextlib
import os
import subprocess

from host import HOST, HOST6
from processes import Failure, read, wait_until
from scenarios import scenario
from servers import LONG_NAME, NAME, TXT
from stage import FREE, SECOND, SECOND6, SECRET, SILENT, TALK, UNREACHABLE

GUEST, GATEWAY, DNS = "10.0.2.100", "10.0.2.2", "10.0.2.3"
GATEWAY6, DNS6 = "fd00::2", "fd00::3"


def configured(stage, *options, **how):
    """A container with slirp4netns beside it."""
    box = stage.box()
    stage.slirp(box, "-c", *options, **how)
    return box


def layout(box, tap="tap0"):
    """What was set up: the hardware address is random, so only whether there is one."""
    links = box.ask("links")
    for it in links.values():
        it["mac"] = bool(it["mac"])
    return {"lo": links.get("lo"), "tap": links.get(tap), "others": sorted(set(links) - {"lo", tap}), "routes": box.ask("routes")}


@scenario("slirp4netns")
def configure(stage):
    """-c: lo up, address, mask, MTU, default route"""
    seen = layout(configured(stage))
    return stage.take_for_granted(seen["tap"]["addresses"] == [f"{GUEST}/24"] and f"default via {GATEWAY} dev tap0" in seen["routes"], seen)


@scenario("slirp4netns")
def configure_beside_another(stage):
    """-c in a container that has a default route: its own goes before it"""
    box = stage.box_with_a_way_out()
    stage.slirp(box, "-c")
    return {"ways": box.ask("ways")}


@scenario("slirp4netns")
def configure_nothing(stage):
    """without -c there is a TAP, and neither addresses nor lo are touched"""
    box = stage.box()
    stage.slirp(box)
    return layout(box)


@scenario("slirp4netns")
def configure_by_hand(stage):
    """without -c, addresses set by the caller as RootlessKit sets them"""
    box = stage.box()
    stage.slirp(box, "--mtu=65520")
    by_hand(box)
    return {"tcp": box.ask("tcp", to=HOST, port=TALK), "layout": layout(box)}


def by_hand(box):
    for line in ("link set lo up", "link set tap0 mtu 65520 up", f"addr add {GUEST}/24 dev tap0", f"route add default via {GATEWAY} dev tap0"):
        box.ask("run", words=["ip", *line.split()])


@scenario("slirp4netns")
def tap_made_before(stage):
    """a persistent TAP of that name is attached to, whatever was set on it"""
    box = stage.box()
    box.ask("run", words=["ip", "tuntap", "add", "name", "tap0", "mode", "tap"])
    by_hand(box)
    stage.slirp(box, "--mtu=65520")
    return stage.take_for_granted("said" in (seen := box.ask("tcp", to=HOST, port=TALK)), {"tcp": seen, "layout": layout(box)})


@scenario("slirp4netns")
def tap_taken(stage):
    """a TAP that somebody else has open"""
    box = configured(stage)
    run = stage.started([stage.program("slirp4netns"), "-c", box.pid, "tap0"])
    return {"exit": run.wait(), "says": run.where("child failed")}


@scenario("slirp4netns")
def tap_name(stage):
    """another name of the TAP"""
    box = configured(stage, tap="eth7")
    return {"layout": layout(box, "eth7"), "tcp": box.ask("tcp", to=HOST, port=TALK)}


@scenario("slirp4netns")
def mtu_small(stage):
    """--mtu=576: the interface has it and data passes"""
    box = configured(stage, "--mtu=576")
    return {"mtu": box.ask("links")["tap0"]["mtu"], "give": box.ask("give", to=HOST, port=TALK, mib=1)}


@scenario("slirp4netns")
def mtu_wide(stage):
    """--mtu 65520, as two words"""
    box = configured(stage, "--mtu", "65520")
    return {"mtu": box.ask("links")["tap0"]["mtu"], "give": box.ask("give", to=HOST, port=TALK, mib=4)}


@scenario("slirp4netns")
def mtu_widest(stage):
    """the greatest MTU"""
    box = configured(stage, "-m65521")
    return {"mtu": box.ask("links")["tap0"]["mtu"], "tcp": box.ask("tcp", to=HOST, port=TALK)}


@scenario("slirp4netns")
def mac_address(stage):
    """--macaddress sets the TAP's"""
    box = configured(stage, "--macaddress=02:00:00:00:00:07")
    return {"mac": box.ask("links")["tap0"]["mac"], "tcp": box.ask("tcp", to=HOST, port=TALK)}


@scenario("slirp4netns")
def cidr(stage):
    """--cidr moves everything"""
    box = configured(stage, "--cidr=10.9.7.0/24")
    return {"layout": layout(box), "host": box.ask("tcp", to="10.9.7.2", port=SECRET), "names": box.ask("name", server="10.9.7.3", name=NAME)}


@scenario("slirp4netns")
def cidr_wide(stage):
    """a /8"""
    box = configured(stage, "--cidr=10.0.0.0/8")
    return {"layout": layout(box), "tcp": box.ask("tcp", to=HOST, port=TALK)}


@scenario("slirp4netns")
def cidr_narrowest(stage):
    """a /25, where +100 still fits"""
    box = configured(stage, "--cidr=192.168.9.128/25")
    return {"layout": layout(box), "tcp": box.ask("tcp", to=HOST, port=TALK)}


@scenario("slirp4netns")
def options_abbreviated(stage):
    """unique beginnings of options, values behind = and as a word of their own"""
    box = stage.box()
    stage.slirp(box, "--conf", "--mt", "1400", "--ci=10.9.7.0/24")
    return layout(box)


@scenario("slirp4netns")
def options_bundled(stage):
    """short options in one word, the last with its value"""
    box = stage.box()
    stage.slirp(box, "-c6m1400")
    return {"mtu": box.ask("links")["tap0"]["mtu"], "route": box.ask("routes")[0]}


@scenario("slirp4netns")
def options_behind_operands(stage):
    """options may follow the operands"""
    box = stage.box()
    run = stage.started([stage.program("slirp4netns"), box.pid, "tap0", "--configure", "-m", "1400"])
    return {"address": box.ask("wait_for_address", prefix=GUEST), "mtu": box.ask("links")["tap0"]["mtu"], "runs": run.runs()}


@scenario("slirp4netns")
def option_twice(stage):
    """of an option given twice, the last counts"""
    return layout(configured(stage, "--mtu=1400", "--mtu=1300", "--cidr=10.9.7.0/24", "--cidr=10.9.8.0/24"))


@scenario("slirp4netns")
def by_path(stage):
    """--netns-type=path with the user namespace's path"""
    box = stage.box()
    stage.slirp(f"/proc/{box.pid}/ns/net", "-c", f"--userns-path=/proc/{box.pid}/ns/user", "--netns-type=path")
    return {"layout": layout(box), "tcp": box.ask("tcp", to=HOST, port=TALK)}


@scenario("slirp4netns")
def by_path_of_descriptors(stage):
    """the paths lead through descriptors that the caller left open, the API's as well"""
    box = stage.box()
    with contextlib.ExitStack() as stack:
        kinds = (f"/proc/{box.pid}/ns/net", f"/proc/{box.pid}/ns/user", stage.home)
        fds = [os.open(path, os.O_RDONLY) for path in kinds]
        for fd in fds:
            stack.callback(os.close, fd)
        net, user, home = fds
        words = ["-c", "--netns-type=path", f"--userns-path=/dev/fd/{user}", f"--api-socket=/proc/self/fd/{home}/api.sock",
                 f"/proc/self/fd/{net}", "tap0"]
        run = stage.started([stage.program("slirp4netns"), *words], pass_fds=fds)
    address = box.ask("wait_for_address", prefix=GUEST)["address"]
    with contextlib.suppress(Failure):
        wait_until("the API is there", lambda: os.path.exists(stage.path("api.sock")))
    return {"address": address, "api": os.path.exists(stage.path("api.sock")), "runs": run.runs()}


@scenario("slirp4netns")
def tap_of_a_tun(stage):
    """an interface of another kind has the TAP's name"""
    box = stage.box()
    box.ask("run", words=["ip", "tuntap", "add", "name", "tap0", "mode", "tun"])
    run = stage.started([stage.program("slirp4netns"), "-c", box.pid, "tap0"])
    return {"exit": run.wait(), "says": run.where("child failed")}


@scenario("slirp4netns")
def by_path_from_inside(stage):
    """--netns-type=path by somebody who is in the user namespace already, as podman is"""
    outer = stage.box(words=("unshare", "--user", "--map-root-user"))
    inner = stage.path("netns.pid")
    # By itself, so that it is in its namespace already.
    outer.ask("run", words=["sh", "-c", f"unshare --net sh -c 'echo $$ >{inner}; exec sleep 60' >/dev/null 2>&1 &"])
    wait_until("it is in its namespace", lambda: os.path.exists(inner) and read(inner).endswith("\n"))
    pid = int(read(inner))
    words = ["nsenter", "--user", "--preserve-credentials", f"--target={outer.pid}", "--", stage.program("slirp4netns"), "-c",
             "--netns-type=path", f"/proc/{pid}/ns/net", "tap0"]
    run = stage.started(words)
    look = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-4", "-oneline", "address", "show", "tap0"]
    with contextlib.suppress(Failure):
        wait_until("it has an address", lambda: GUEST in outer.ask("run", words=look)["stdout"])
    seen = outer.ask("run", words=look)["stdout"].split()
    outer.ask("run", words=["kill", str(pid)])
    return {"address": seen[3] if len(seen) > 3 else seen, "runs": run.runs()}


@scenario("slirp4netns")
def by_path_from_outside(stage):
    """--netns-type=path without the user namespace's path, from outside of it: forbidden"""
    box = stage.box()
    run = stage.started([stage.program("slirp4netns"), "-c", "--netns-type=path", f"/proc/{box.pid}/ns/net", "tap0"])
    return {"exit": run.wait(), "says": run.where("child failed")}


@scenario("slirp4netns")
def by_tap_descriptor(stage):
    """--netns-type=tapfd: a descriptor that the caller made"""
    stage.needs("slirp4netns", "tapfd")
    box = stage.box()
    made = stage.started(["nsenter", "--user", "--net", "--preserve-credentials", f"--target={box.pid}", "--", "/usr/bin/python3", "-c",
                          GIVE_TAP, stage.program("slirp4netns")])
    by_hand(box)
    return {"tcp": box.ask("tcp", to=HOST, port=TALK), "runs": made.runs()}


GIVE_TAP = """
import fcntl, os, struct, sys
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", b"tap0", 0x1002))
os.set_inheritable(tap, True)
os.execv(sys.argv[1], ["slirp4netns", "--netns-type=tapfd", "--mtu=65520", str(tap)])
"""


@scenario("slirp4netns")
def tap_descriptor_wrong(stage):
    """--netns-type=tapfd with a descriptor that is none"""
    stage.needs("slirp4netns", "tapfd")
    runs = [stage.tried([stage.program("slirp4netns"), "--netns-type=tapfd", word]) for word in ("x", "-4", "97")]
    return {"exits": [run.exit for run in runs]}


# What goes out.


@scenario("slirp4netns")
def tcp_out(stage):
    """a connection to an address of the host; what the server sees"""
    seen = configured(stage).ask("tcp", to=HOST, port=TALK)
    return stage.take_for_granted(seen == {"said": f"{HOST} to {HOST}: hello"}, seen)


@scenario("slirp4netns")
def tcp_to_gateway(stage):
    """the gateway's address is the host's loopback"""
    seen = configured(stage).ask("tcp", to=GATEWAY, port=SECRET)
    return stage.take_for_granted(seen == {"said": "127.0.0.1 to 127.0.0.1: hello"}, seen)


@scenario("slirp4netns")
def tcp_to_gateway_disabled(stage):
    """--disable-host-loopback"""
    box = configured(stage, "--disable-host-loopback")
    return {"host": box.ask("tcp", to=GATEWAY, port=SECRET), "out": box.ask("tcp", to=HOST, port=TALK), "ping": box.ask("ping", to=GATEWAY)}


@scenario("slirp4netns")
def udp_to_gateway_disabled(stage):
    """--disable-host-loopback holds for datagrams"""
    return configured(stage, "--disable-host-loopback").ask("udp", to=GATEWAY, port=SECRET, limit=1)


@scenario("slirp4netns")
def tcp_to_names_address(stage):
    """the resolver's address on another port than 53"""
    return configured(stage).ask("tcp", to=DNS, port=SECRET, limit=2)


@scenario("slirp4netns")
def tcp_refused(stage):
    """a port that nobody listens on"""
    return configured(stage).ask("tcp", to=HOST, port=FREE)


@scenario("slirp4netns")
def tcp_refused_on_loopback(stage):
    """the same on the host's loopback"""
    return configured(stage).ask("tcp", to=GATEWAY, port=FREE)


@scenario("slirp4netns")
def tcp_unreachable(stage):
    """an address that the host has no way to"""
    return configured(stage).ask("tcp", to=UNREACHABLE, port=TALK)


@scenario("slirp4netns")
def tcp_silence(stage):
    """an address that does not answer"""
    return configured(stage).ask("tcp", to=SILENT, port=TALK, limit=1.5)


@scenario("slirp4netns")
def tcp_of_subnet(stage):
    """an address of the subnet that nobody has"""
    return configured(stage).ask("tcp", to="10.0.2.77", port=TALK, limit=2)


@scenario("slirp4netns")
def tcp_half_closed(stage):
    """data still comes when the container's half has ended"""
    seen = configured(stage).ask("give", to=HOST, port=TALK, mib=1)
    return stage.take_for_granted(seen == {"whole": True}, seen)


@scenario("slirp4netns")
def tcp_much_out(stage):
    """16 MiB out, checked"""
    return configured(stage).ask("give", to=HOST, port=TALK, mib=16)


@scenario("slirp4netns")
def tcp_much_in(stage):
    """16 MiB in, checked"""
    return configured(stage).ask("take", to=HOST, port=TALK, mib=16)


@scenario("slirp4netns")
def tcp_slow_answer(stage):
    """an answer that takes its time"""
    return configured(stage).ask("tcp", to=HOST, port=TALK, say="slow one")


@scenario("slirp4netns")
def tcp_many(stage):
    """a hundred connections one after the other"""
    return configured(stage).ask("many", to=HOST, port=TALK, count=100)


@scenario("slirp4netns")
def udp_out(stage):
    """a datagram and its answer"""
    seen = configured(stage).ask("udp", to=HOST, port=TALK)
    return stage.take_for_granted("said" in seen, seen)


@scenario("slirp4netns")
def udp_to_gateway(stage):
    """the host's loopback over UDP"""
    return configured(stage).ask("udp", to=GATEWAY, port=SECRET)


@scenario("slirp4netns")
def udp_large(stage):
    """a datagram of 1400 bytes, as it was"""
    return configured(stage).ask("udp", to=HOST, port=TALK, size=1400)


@scenario("slirp4netns")
def udp_larger_than_mtu(stage):
    """a datagram of 9000 bytes at an MTU of 1500"""
    return configured(stage).ask("udp", to=HOST, port=TALK, size=9000, limit=1.5)


@scenario("slirp4netns")
def udp_refused(stage):
    """a port that nobody listens on"""
    return configured(stage).ask("udp", to=HOST, port=FREE, limit=1.5)


@scenario("slirp4netns")
def udp_unreachable(stage):
    """an address that the host has no way to"""
    return configured(stage).ask("udp", to=UNREACHABLE, port=TALK, limit=1.5)


@scenario("slirp4netns")
def ping_gateway(stage):
    """the gateway answers pings"""
    return configured(stage).ask("ping", to=GATEWAY)


@scenario("slirp4netns")
def ping_out(stage):
    """an address of the host answers pings where the host lets the user ping"""
    return configured(stage).ask("ping", to=HOST, limit=2)


@scenario("slirp4netns")
def names(stage):
    """questions to +3 go to the host's resolver"""
    box = configured(stage)
    seen = {"there": box.ask("name", server=DNS, name=NAME), "not there": box.ask("name", server=DNS, name="none.test")}
    return stage.take_for_granted(seen["there"].get("answers") == 1, seen)


@scenario("slirp4netns")
def names_over_tcp(stage):
    """an answer that is too long for a datagram, over TCP"""
    box = configured(stage)
    return {"udp": box.ask("name", server=DNS, name=LONG_NAME, kind=TXT), "tcp": box.ask("name", server=DNS, name=LONG_NAME, kind=TXT, over="tcp")}


@scenario("slirp4netns")
def names_disabled(stage):
    """--disable-dns: no answer"""
    box = configured(stage, "--disable-dns")
    return {"udp": box.ask("name", server=DNS, name=NAME, limit=1.5), "out": box.ask("tcp", to=HOST, port=TALK)}


@scenario("slirp4netns")
def addresses_by_dhcp(stage):
    """what its DHCP server offers"""
    box = stage.box()
    stage.slirp(box, "--mtu=1500")
    box.ask("run", words=["ip", "link", "set", "tap0", "up"])
    seen = box.ask("dhcp", interface="tap0")
    return stage.take_for_granted(seen.get("address") == "10.0.2.15", seen)


@scenario("slirp4netns")
def addresses_by_dhcp_of_cidr(stage):
    """the same in another network"""
    box = stage.box()
    stage.slirp(box, "--cidr=10.9.7.0/24")
    box.ask("run", words=["ip", "link", "set", "tap0", "up"])
    return box.ask("dhcp", interface="tap0")


@scenario("slirp4netns")
def outbound_address(stage):
    """--outbound-addr: the address that servers see"""
    box = configured(stage, f"--outbound-addr={SECOND}")
    seen = {"tcp": box.ask("tcp", to=HOST, port=TALK), "udp": box.ask("udp", to=HOST, port=TALK)}
    return stage.take_for_granted(seen["tcp"] == {"said": f"{SECOND} to {HOST}: hello"}, seen)


@scenario("slirp4netns")
def outbound_interface(stage):
    """--outbound-addr with an interface's name"""
    return configured(stage, "--outbound-addr=host0").ask("tcp", to=HOST, port=TALK)


@scenario("slirp4netns")
def outbound_address_foreign(stage):
    """--outbound-addr that the host does not have"""
    return configured(stage, "--outbound-addr=203.0.113.1").ask("tcp", to=HOST, port=TALK, limit=2)


# IPv6.


def with_v6(stage, *options):
    """A container that has got its address."""
    box = stage.box()
    # No waiting for neighbours that have the same address: podman sets this, too.
    box.ask("run", words=["sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad"])
    stage.slirp(box, "-c", "--enable-ipv6", *options)
    address = box.ask("wait_for_address", prefix="fd00::")["address"]
    return box, address


@scenario("slirp4netns")
def v6_address(stage):
    """-6: an address of fd00::/64 by router advertisement, and the default route"""
    box, address = with_v6(stage)
    seen = {"address": bool(address), "default": [it.split(" via ")[0] for it in box.ask("routes") if it.startswith("default")]}
    return stage.take_for_granted(seen["address"], seen)


@scenario("slirp4netns")
def v6_out(stage):
    """a connection and a datagram over IPv6"""
    box, _ = with_v6(stage)
    return {"tcp": box.ask("tcp", to=HOST6, port=TALK), "udp": box.ask("udp", to=HOST6, port=TALK)}


@scenario("slirp4netns")
def v6_to_gateway(stage):
    """fd00::2 is the host's loopback"""
    return with_v6(stage)[0].ask("tcp", to=GATEWAY6, port=SECRET)


@scenario("slirp4netns")
def v6_to_gateway_disabled(stage):
    """--disable-host-loopback holds for IPv6"""
    return with_v6(stage, "--disable-host-loopback")[0].ask("tcp", to=GATEWAY6, port=SECRET, limit=2)


@scenario("slirp4netns")
def v6_ping(stage):
    """the gateway answers pings over IPv6"""
    return with_v6(stage)[0].ask("ping", to=GATEWAY6)


@scenario("slirp4netns")
def v6_refused(stage):
    """a port that nobody listens on, over IPv6"""
    return with_v6(stage)[0].ask("tcp", to=HOST6, port=FREE)


@scenario("slirp4netns")
def v6_names(stage):
    """the resolver at fd00::3"""
    return with_v6(stage)[0].ask("name", server=DNS6, name=NAME, limit=2)


@scenario("slirp4netns")
def v6_off(stage):
    """without -6 there is no IPv6"""
    box = configured(stage)
    return {"addresses": [it for it in box.ask("links")["tap0"]["addresses"] if ":" in it], "tcp": box.ask("tcp", to=HOST6, port=TALK)}


@scenario("slirp4netns")
def v6_outbound_address(stage):
    """--outbound-addr6"""
    box, _ = with_v6(stage, f"--outbound-addr6={SECOND6}")
    return box.ask("tcp", to=HOST6, port=TALK)


@scenario("slirp4netns")
def v6_outbound_interface(stage):
    """--outbound-addr6 with an interface's name"""
    try:
        box, _ = with_v6(stage, "--outbound-addr6=host0")
    except Failure:
        return {"tcp": "refused to start"}
    return {"tcp": box.ask("tcp", to=HOST6, port=TALK)}


# What is left to a process that reads a container's packets.


@scenario("slirp4netns")
def sandbox(stage):
    """--enable-sandbox: no new privileges, one capability at most, and everything still works"""
    box = stage.box()
    slirp = stage.slirp(box, "-c", "--enable-sandbox", api=True)
    port = stage.port()
    order = slirp.order("add_hostfwd", proto="tcp", host_addr="127.0.0.1", host_port=port, guest_port=80)
    box.ask("serve", address="0.0.0.0", port=80)
    return {"order": order, "out": box.ask("tcp", to=HOST, port=TALK), "names": box.ask("name", server=DNS, name=NAME),
            "status": slirp.status("NoNewPrivs", "CapBnd", "CapAmb")}


@scenario("slirp4netns")
def sandbox_root(stage):
    """--enable-sandbox: what of the host's files it can see"""
    slirp = stage.slirp(stage.box(), "-c", "--enable-sandbox")
    return {"root": sorted(os.listdir(f"/proc/{slirp.pid}/root/")), "writes": writable(slirp.pid)}


def writable(pid):
    """Whether a file could be made anywhere in its mounts."""
    with open(f"/proc/{pid}/mountinfo") as mounts:
        return any("rw" in line.split()[5].split(",") for line in mounts)


@scenario("slirp4netns")
def seccomp(stage):
    """--enable-seccomp: a filter, and everything still works"""
    box = stage.box()
    slirp = stage.slirp(box, "-c", "--enable-seccomp", "--enable-sandbox")
    return {"status": slirp.status("Seccomp", "NoNewPrivs"), "out": box.ask("tcp", to=HOST, port=TALK),
            "names": box.ask("name", server=DNS, name=NAME), "udp": box.ask("udp", to=HOST, port=TALK)}


@scenario("slirp4netns")
def sandbox_joined_by_path(stage):
    """--enable-sandbox with paths of namespaces"""
    box = stage.box()
    try:
        stage.slirp(f"/proc/{box.pid}/ns/net", "-c", "--enable-sandbox", f"--userns-path=/proc/{box.pid}/ns/user", "--netns-type=path")
    except Failure:
        return {"out": "refused to start"}
    return {"out": box.ask("tcp", to=HOST, port=TALK)}


@scenario("slirp4netns")
def descriptors_inherited(stage):
    """descriptors of the caller's that it holds on to"""
    read, write = os.pipe()
    ready, theirs = os.pipe()
    words = ["-c", f"--ready-fd={theirs}", stage.box().pid, "tap0"]
    run = stage.started([stage.program("slirp4netns"), *words], pass_fds=[write, theirs])
    os.close(write)
    os.close(theirs)
    os.read(ready, 1)
    os.close(ready)
    held = os.path.exists(f"/proc/{run.pid}/fd/{write}") and os.readlink(f"/proc/{run.pid}/fd/{write}").startswith("pipe")
    os.close(read)
    return {"held": held}


@scenario("slirp4netns")
def two_beside_each_other(stage):
    """two containers with the same addresses do not meet"""
    boxes = [configured(stage), configured(stage)]
    return {"out": [box.ask("tcp", to=HOST, port=TALK) for box in boxes],
            "links": subprocess.run(["ip", "-oneline", "link", "show", "type", "tun"], capture_output=True, text=True).stdout}
