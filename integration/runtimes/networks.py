"""podman with a bridge network of the user's: many containers behind one slirp4netns (rootless-netns)."""
import socket

from clients import from_host
from ground import SERVER, TALK, expect
from host import HOST
from podman import Podman, fetch
from slirp import SAY

NAME, NEEDS = "podman-bridge", ["podman", "crun", "conmon", "slirp4netns", "busybox", "iptables"]


def runtime(ground):
    return ground.once(Bridged)


class Bridged(Podman):
    """podman with a network of its own."""

    def __init__(self, ground):
        super().__init__(ground)
        self.network = "bridge1"
        self("network", "create", self.network)


def tcp_out(podman):
    """a container of the network reaches a server of the host's"""
    said = podman.inside(podman.network, "ip -4 -o addr show eth0; " + SAY.format(HOST, TALK))
    return expect(said.endswith(f"{HOST} to {HOST}: hello"), " ".join(said.split()))


def names(podman):
    """names of the host's resolver"""
    said = podman.inside(podman.network, f"cat /etc/resolv.conf; wget -q -O - http://server.test:{TALK}/")
    return expect(said.endswith(f"{SERVER} to {SERVER}"), said.splitlines()[-1])


def containers_meet(podman):
    """two containers of the network reach each other"""
    server = podman.serving(podman.network)
    address = podman("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", server).strip()
    said = podman.inside(podman.network, f"wget -q -O - http://{address}/")
    return expect(said == "served from inside", f"{address}: {said}")


def datagrams_out(podman):
    """datagrams go out and their answers come back"""
    seen = podman.box(podman.network).ask("udp", to=HOST, port=TALK)
    return expect(seen == {"said": f"{HOST} to {HOST}: hello"}, seen)


def ports(podman):
    """-p on every address of the host, while another container of the network has one, too"""
    numbers = [podman.host.next_port() for _ in range(2)]
    for number in numbers:
        podman.serving(podman.network, "--publish", f"{number}:80")
    said = [fetch(address, number) for number in numbers for address in ("127.0.0.1", HOST)]
    return expect(said == ["served from inside"] * 4, f"{len(said)} answered")


def ports_of_udp(podman):
    """-p PORT/udp"""
    number = podman.host.next_port()
    box = podman.box(podman.network, "--publish", f"{number}:81/udp")
    box.ask("serve", address="0.0.0.0", port=81)
    seen = from_host("127.0.0.1", number, kind="udp")
    return expect(seen.endswith(": hello"), seen)


def one_helper_for_all(podman):
    """all containers of the network share one helper, which ends with the last"""
    servers = [podman.serving(podman.network) for _ in range(2)]
    helpers = [it for it in podman.ground.left() if "slirp4netns" in it.split()[0] or "pasta" in it.split()[0]]
    expect(len(helpers) == 1, helpers)
    podman("rm", "--force", "--time", "0", servers[0])
    podman("exec", servers[1], "sh", "-c", SAY.format(HOST, TALK))
    podman("rm", "--force", "--time", "0", servers[1])
    return expect(podman.ground.expect_nothing_left(), f"one, and then {podman.ground.left()}")


def connect_and_disconnect(podman):
    """a running container is put on the network and taken from it"""
    name = podman.serving(podman.network)
    podman("network", "create", "bridge2")
    try:
        podman("network", "connect", "bridge2", name)
        links = podman("exec", name, "ip", "-o", "link")
        said = podman("exec", name, "sh", "-c", SAY.format(HOST, TALK)).strip()
        podman("network", "disconnect", "bridge2", name)
        expect("eth1" in links and "eth1" not in podman("exec", name, "ip", "-o", "link"), links)
    finally:
        podman("network", "rm", "--force", "bridge2")
    return expect(said.endswith("hello"), said)


def restart(podman):
    """a container of the network that is stopped and started again has its port again"""
    number = podman.host.next_port()
    name = podman.serving(podman.network, "--publish", f"{number}:80")
    fetch("127.0.0.1", number)
    podman("stop", "--time", "0", name)
    podman("start", name)
    return expect(fetch("127.0.0.1", number) == "served from inside", "answers")


def nothing_left(podman):
    """when the last container of the network is removed, no helper and no port is left"""
    number = podman.host.next_port()
    name = podman.serving(podman.network, "--publish", f"{number}:80")
    fetch("127.0.0.1", number)
    podman("rm", "--force", "--time", "0", name)
    with socket.socket() as sock:
        expect(sock.connect_ex(("127.0.0.1", number)) != 0, "the port is still open")
    return podman.ground.expect_nothing_left()


CHECKS = [tcp_out, names, containers_meet, datagrams_out, ports, ports_of_udp, one_helper_for_all, connect_and_disconnect, restart, nothing_left]
