"""podman with pasta for each container by itself, its default since release 5: `--network pasta:…`."""
import socket

from clients import from_host
from ground import TALK, expect, noise_digest, zeros_digest
from host import HOST
from podman import IMAGE, Podman, fetch
from servers import NAME as PEER
from slirp import SAY

NAME, NEEDS = "podman-pasta", ["podman", "crun", "conmon", "pasta", "busybox"]
# Clients at the address that a container shares with the host are another matter: the original may not answer them.
LOOPBACK = "127.0.0.1"
# Addresses that the host does not have, so that its own can be talked to.
OWN = "pasta:--ipv4-only,-a,10.0.2.0,-n,24,-g,10.0.2.2,--dns-forward,10.0.2.3,-m,1500,--no-ndp,--no-dhcpv6,--no-dhcp"


def runtime(ground):
    ground.need_release("podman", (4, 4))
    return ground.once(Podman)


def like_slirp4netns(podman):
    """the options that make it look like slirp4netns, as podman documents them"""
    said = podman.inside(OWN, "ip -4 -o addr; ip route; " + SAY.format(HOST, TALK))
    return expect("default via 10.0.2.2" in said and said.endswith("hello"), " ".join(said.split()))


def much_out_and_in(podman):
    """32 MiB each way, checked by their digests"""
    said = podman.inside(OWN.replace("-m,1500", "-m,65520"), f"""
        {{ echo digest; dd if=/dev/zero bs=1M count=32 2>/dev/null; }} | nc {HOST} {TALK}
        echo give 32 | nc {HOST} {TALK} | sha256sum""").split()
    return expect(said[:2] == [zeros_digest(32), noise_digest(32)], " ".join(said))


def host_by_name(podman):
    """host.containers.internal is the host, whose address the container shares"""
    podman.ground.need_release("podman", (5, 3))
    said = podman.inside("pasta", "ip -4 -o addr; " + SAY.format("host.containers.internal", TALK))
    return expect(f"{HOST}/24" in said and said.endswith("hello"), said.splitlines()[-1])


def names(podman):
    """names go to the host's resolver"""
    box = podman.box("pasta")
    said = box.ask("read", path="/etc/resolv.conf")["text"]
    server = [line.split()[1] for line in said.splitlines() if line.startswith("nameserver")][0]
    seen = box.ask("name", server=server, name=PEER)
    return expect(seen.get("answers") == 1, (server, seen))


def ports(podman):
    """-p, for clients on the host's loopback"""
    number = podman.host.next_port()
    podman.serving("pasta", "--publish", f"{number}:80")
    said = fetch(LOOPBACK, number)
    return expect(said == "served from inside", said)


def ports_of_addresses(podman):
    """-p ADDRESS:PORT:PORT binds that address alone, -p PORT/udp brings datagrams"""
    numbers = [podman.host.next_port() for _ in range(2)]
    box = podman.box("pasta", "--publish", f"{LOOPBACK}:{numbers[0]}:80", "--publish", f"{numbers[1]}:80/udp")
    box.ask("serve", address="0.0.0.0", port=80)
    seen = [from_host(LOOPBACK, numbers[0]), from_host(HOST, numbers[0]), from_host(LOOPBACK, numbers[1], kind="udp")]
    return expect(seen[0].endswith(": hello") and seen[1] == "ConnectionRefusedError" and seen[2].endswith(": hello"), seen)


def ports_in_a_range(podman):
    """-p A-B:C-D"""
    number = podman.host.next_port()
    podman.serving("pasta", "--publish", f"{number}-{number + 2}:78-80")
    return expect(fetch(LOOPBACK, number + 2) == "served from inside", number)


def port_busy(podman):
    """a port that a program on the host has: the container does not start, and podman says why"""
    with socket.create_server((HOST, 0)) as other:
        publish = f"{HOST}:{other.getsockname()[1]}:80"
        done = podman.tried("run", "--rm", "--network", "pasta", "--publish", publish, IMAGE, "true")
    return expect(done.returncode != 0 and "Address already in use" in done.stderr, done.stderr.strip() or "it started")


def restart(podman):
    """a container that is started again as soon as it has stopped has its port again, ten times"""
    number = podman.host.next_port()
    name = podman.serving("pasta", "--publish", f"{number}:80")
    for _ in range(5):
        fetch(LOOPBACK, number)
        podman("restart", "--time", "0", name)
    for _ in range(5):
        fetch(LOOPBACK, number)
        podman("stop", "--time", "0", name)
        podman("start", name)
    return expect(fetch(LOOPBACK, number) == "served from inside", "answers")


def nothing_left(podman):
    """when its container is removed, no helper is left"""
    number = podman.host.next_port()
    name = podman.serving("pasta", "--publish", f"{number}:80")
    fetch(LOOPBACK, number)
    expect(podman.ground.left(), "no helper while the container runs")
    podman("rm", "--force", "--time", "0", name)
    return podman.ground.expect_nothing_left()


CHECKS = [like_slirp4netns, much_out_and_in, host_by_name, names, ports, ports_of_addresses, ports_in_a_range, port_busy, restart, nothing_left]
