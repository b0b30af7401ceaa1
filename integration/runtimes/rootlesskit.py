"""RootlessKit, as rootless Docker and nerdctl start it: its network drivers and all its port drivers."""
import itertools
import os
import socket

from box import Box
from clients import from_host
from ground import SECRET, TALK, expect
from host import HOST, HOST6
from processes import Failure, wait_until
from servers import NAME as PEER

NAME, NEEDS = "rootlesskit", ["rootlesskit", "slirp4netns", "newuidmap"]
number = itertools.count(1)


class RootlessKit:
    """Commands in it, each with a state folder of its own."""

    def __init__(self, ground):
        self.ground, self.host = ground, ground.host

    def box(self, *options):
        """The agent inside; `state` is the folder of what RootlessKit tells."""
        state = os.path.join(self.host.home, f"state{next(number)}")
        words = ["rootlesskit", f"--state-dir={state}", "--copy-up=/etc", *options]
        log = open(f"{state}.log", "w")
        self.ground.stack.callback(log.close)
        try:
            box = Box(self.host, words, stderr=log)
        except Failure as failure:
            with open(f"{state}.log") as said:
                raise Failure(f"{failure}: {said.read().strip()}") from None
        self.ground.stack.callback(box.end)
        box.state = state
        return box

    def slirp(self, *options):
        return self.box("--net=slirp4netns", *options)

    def refused(self, *options):
        """What it says when it does not start."""
        try:
            self.box(*options)
        except Failure as failure:
            return str(failure)
        return "it starts"


def runtime(ground):
    return ground.once(RootlessKit)


def tcp_out(kit):
    """--net=slirp4netns, no port driver: out to a server of the host's"""
    box = kit.slirp()
    links = box.ask("links")
    expect(links["tap0"]["addresses"] == ["10.0.2.100/24"] and links["tap0"]["mtu"] == 65520, links)
    seen = box.ask("tcp", to=HOST, port=TALK)
    return expect(seen == {"said": f"{HOST} to {HOST}: hello"}, seen)


def much_out_and_in(kit):
    """64 MiB each way, checked"""
    box = kit.slirp()
    seen = [box.ask("give", to=HOST, port=TALK, mib=64), box.ask("take", to=HOST, port=TALK, mib=64)]
    return expect(seen == [{"whole": True}] * 2, seen)


def names(kit):
    """/etc/resolv.conf names the resolver, which answers"""
    box = kit.slirp()
    said = box.ask("read", path="/etc/resolv.conf")["text"]
    seen = box.ask("name", server="10.0.2.3", name=PEER)
    return expect("nameserver 10.0.2.3" in said and seen["answers"] == 1, (said, seen))


def host_loopback(kit):
    """the gateway is the host's loopback, unless --disable-host-loopback"""
    seen = [kit.slirp(*options).ask("tcp", to="10.0.2.2", port=SECRET) for options in ([], ["--disable-host-loopback"])]
    return expect(seen[0] == {"said": "127.0.0.1 to 127.0.0.1: hello"} and seen[1].get("error") == "ENETUNREACH", seen)


def cidr_and_mtu(kit):
    """--cidr and --mtu"""
    box = kit.slirp("--cidr=10.9.7.0/24", "--mtu=1500")
    tap = box.ask("links")["tap0"]
    seen = box.ask("give", to=HOST, port=TALK, mib=4)
    return expect(tap["addresses"] == ["10.9.7.100/24"] and tap["mtu"] == 1500 and seen["whole"], (tap, seen))


def interface_name(kit):
    """--ifname"""
    box = kit.slirp("--ifname=eth0")
    seen = box.ask("tcp", to=HOST, port=TALK)
    return expect("said" in seen and "eth0" in box.ask("links"), seen)


def ipv6(kit):
    """--ipv6: an address by router advertisement, out to a server of the host's"""
    box = kit.slirp("--ipv6")
    address = box.ask("wait_for_address", prefix="fd00::", limit=8)["address"]
    seen = box.ask("tcp", to=HOST6, port=TALK)
    return expect(bool(address) and "said" in seen, (address, seen))


def confined_automatically(kit):
    """--slirp4netns-sandbox=auto --slirp4netns-seccomp=auto: the help is probed, the options are passed, and all works"""
    return confined(kit, "auto")


def confined_by_order(kit):
    """--slirp4netns-sandbox=true --slirp4netns-seccomp=true"""
    return confined(kit, "true")


def confined(kit, how):
    number = kit.host.next_port()
    box = kit.slirp(f"--slirp4netns-sandbox={how}", f"--slirp4netns-seccomp={how}", "--port-driver=slirp4netns", f"--publish=127.0.0.1:{number}:80/tcp")
    box.ask("serve", address="0.0.0.0", port=80)
    seen = [box.ask("tcp", to=HOST, port=TALK), box.ask("name", server="10.0.2.3", name=PEER), from_host("127.0.0.1", number)]
    words = [it for it in kit.ground.left() if "slirp4netns" in it.split()[0]]
    expect(len(words) == 1 and "--enable-sandbox" in words[0] and "--enable-seccomp" in words[0], words)
    return expect("said" in seen[0] and seen[1]["answers"] == 1 and seen[2].endswith(": hello"), seen)


def ports_none(kit):
    """--port-driver=none: nothing comes in, everything goes out"""
    box = kit.slirp("--port-driver=none")
    box.ask("serve", address="0.0.0.0", port=80)
    seen = box.ask("tcp", to=HOST, port=TALK)
    return expect("said" in seen, seen)


def ports_builtin(kit):
    """--port-driver=builtin"""
    return ports(kit, "builtin")


def ports_slirp4netns(kit):
    """--port-driver=slirp4netns: ports are opened by the API's socket"""
    return ports(kit, "slirp4netns")


def ports(kit, driver):
    """Published at the start, and added, listed and removed later."""
    numbers = [kit.host.next_port() for _ in range(3)]
    box = kit.slirp(f"--port-driver={driver}", f"--publish=127.0.0.1:{numbers[0]}:80/tcp", f"--publish=0.0.0.0:{numbers[1]}:80/udp")
    box.ask("serve", address="0.0.0.0", port=80)
    seen = [from_host("127.0.0.1", numbers[0]), from_host(HOST, numbers[1], kind="udp"), from_host(HOST, numbers[0])]
    expect(seen[0].endswith(": hello") and seen[1].endswith(": hello") and seen[2] == "ConnectionRefusedError", seen)
    tool = ["rootlessctl", f"--socket={box.state}/api.sock"]
    added = kit.host.run([*tool, "add-ports", f"127.0.0.1:{numbers[2]}:80/tcp"]).strip()
    seen = [from_host("127.0.0.1", numbers[2])]
    listed = kit.host.run([*tool, "list-ports"])
    expect(seen[0].endswith(": hello") and str(numbers[2]) in listed, (seen, listed))
    kit.host.run([*tool, "remove-ports", added])
    gone = from_host("127.0.0.1", numbers[2])
    return expect(gone == "ConnectionRefusedError", f"open, added, listed; after its removal {gone}")


def ports_much(kit):
    """32 MiB each way through a published port of each driver, checked"""
    for driver in ("builtin", "slirp4netns"):
        number = kit.host.next_port()
        box = kit.slirp(f"--port-driver={driver}", f"--publish=0.0.0.0:{number}:80/tcp")
        box.ask("serve", address="0.0.0.0", port=80)
        other = Box(kit.host, ["env"])
        kit.ground.stack.callback(other.end)
        seen = [other.ask(way, to=HOST, port=number, mib=32) for way in ("give", "take")]
        expect(seen == [{"whole": True}] * 2, (driver, seen))
    return "builtin, slirp4netns"


def port_busy(kit):
    """a port that a program on the host has: it does not start, and says why"""
    with socket.create_server(("127.0.0.1", 0)) as other:
        publish = f"--publish=127.0.0.1:{other.getsockname()[1]}:80/tcp"
        said = kit.refused("--net=slirp4netns", "--port-driver=slirp4netns", publish)
    return expect("add_hostfwd" in said, said.strip().splitlines()[-1][:200])


def pasta(kit):
    """--net=pasta: out, names, and ports by its implicit driver"""
    kit.ground.need_option("rootlesskit", "pasta")
    kit.ground.need("pasta")
    number = kit.host.next_port()
    box = kit.box("--net=pasta", "--port-driver=implicit")
    box.ask("serve", address="0.0.0.0", port=number)
    seen = [box.ask("tcp", to=HOST, port=TALK), box.ask("name", server="10.0.2.3", name=PEER)]
    wait_until("the port is forwarded", lambda: from_host(HOST, number).endswith(": hello"))
    return expect("said" in seen[0] and seen[1]["answers"] == 1, seen)


def detached_netns(kit):
    """--detach-netns: the network namespace by its path"""
    kit.ground.need_option("rootlesskit", "--detach-netns")
    number = kit.host.next_port()
    box = kit.slirp("--detach-netns", "--port-driver=builtin", f"--publish=127.0.0.1:{number}:80/tcp")
    said = box.ask("run", words=["nsenter", f"--net={box.state}/netns", "ip", "-4", "-o", "address", "show", "tap0"])["stdout"]
    return expect("10.0.2.100/24" in said, said)


def nothing_left(kit):
    """when it ends, however, no helper is left"""
    box = kit.slirp("--port-driver=slirp4netns")
    expect(any("slirp4netns" in it.split()[0] for it in kit.ground.left()), "no helper while it runs")
    box.end()
    return kit.ground.expect_nothing_left()


CHECKS = [tcp_out, much_out_and_in, names, host_loopback, cidr_and_mtu, interface_name, ipv6, confined_automatically, confined_by_order, ports_none,
          ports_builtin, ports_slirp4netns, ports_much, port_busy, pasta, detached_netns, nothing_left]
