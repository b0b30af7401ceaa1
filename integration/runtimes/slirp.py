"""podman with slirp4netns for each container by itself: `--network slirp4netns:…`."""
import socket

from clients import from_host
from ground import SECOND, SECRET, SERVER, TALK, expect, noise_digest, zeros_digest
from host import HOST, HOST6
from podman import IMAGE, Podman, fetch

NAME, NEEDS = "podman-slirp4netns", ["podman", "crun", "conmon", "slirp4netns", "busybox"]
SAY = "echo hello | nc -w 3 {} {}"


def runtime(ground):
    return ground.once(Podman)


def who_is_slirp4netns(podman):
    """podman's slirp4netns is the one that is to be tried, and its version is understood"""
    path = podman("info", "--format", "{{.Host.Slirp4NetNS.Executable}}").strip()
    version = podman("info", "--format", "{{.Host.Slirp4NetNS.Version}}").strip()
    ours = podman.ground.links
    expect(path.startswith(ours) if ours else path == "/usr/bin/slirp4netns", path)
    return expect(version.startswith("slirp4netns version") and "SLIRP_CONFIG_VERSION_MAX" in version, version.splitlines()[0])


def tcp_out(podman):
    """a container reaches a server of the host's, which sees the host's address"""
    said = podman.inside("slirp4netns", SAY.format(HOST, TALK))
    return expect(said == f"{HOST} to {HOST}: hello", said)


def much_out_and_in(podman):
    """32 MiB each way, checked by their digests"""
    said = podman.inside("slirp4netns", f"""
        {{ echo digest; dd if=/dev/zero bs=1M count=32 2>/dev/null; }} | nc {HOST} {TALK}
        echo give 32 | nc {HOST} {TALK} | sha256sum""").split()
    return expect(said[:2] == [zeros_digest(32), noise_digest(32)], " ".join(said))


def names(podman):
    """names go to the resolver at +3, which asks the host's"""
    said = podman.inside("slirp4netns", f"cat /etc/resolv.conf; wget -q -O - http://server.test:{TALK}/")
    return expect("nameserver 10.0.2.3" in said and said.endswith(f"{SERVER} to {SERVER}"), said.splitlines()[-1])


def datagrams_out(podman):
    """datagrams go out and their answers come back"""
    seen = podman.box("slirp4netns").ask("udp", to=HOST, port=TALK)
    return expect(seen == {"said": f"{HOST} to {HOST}: hello"}, seen)


def ping_gateway(podman):
    """the gateway answers pings"""
    said = podman.inside("slirp4netns", "ping -c 1 -W 10 10.0.2.2", "--cap-add=net_raw")
    return expect("1 packets received" in said, said.splitlines()[-2:])


def host_loopback_closed(podman):
    """allow_host_loopback=false, which is podman's default: the host's loopback is out of reach"""
    said = podman.inside("slirp4netns", SAY.format("10.0.2.2", SECRET) + " 2>&1; true")
    return expect("hello" not in said, said or "no answer")


def host_loopback_open(podman):
    """allow_host_loopback=true: the gateway is the host's loopback"""
    said = podman.inside("slirp4netns:allow_host_loopback=true", SAY.format("10.0.2.2", SECRET))
    return expect(said == "127.0.0.1 to 127.0.0.1: hello", said)


def cidr(podman):
    """cidr=…: address, route and resolver follow"""
    said = podman.inside("slirp4netns:cidr=10.9.7.0/24", "ip -4 -o addr show tap0; ip route; cat /etc/resolv.conf; " + SAY.format(HOST, TALK))
    wanted = ("10.9.7.100/24", "default via 10.9.7.2 dev tap0", "nameserver 10.9.7.3", "hello")
    return expect(all(it in said for it in wanted), " ".join(said.split()))


def cidr_wrong(podman):
    """a cidr that is no network: podman shows what slirp4netns says"""
    done = podman.tried("run", "--rm", "--network", "slirp4netns:cidr=10.9.7.100/24", IMAGE, "true")
    said = done.stderr.strip()
    return expect(done.returncode != 0 and "CIDR needs to be a network address like" in said, said.splitlines()[-1] if said else "nothing")


def outbound_address(podman):
    """outbound_addr=…: servers see that address"""
    said = podman.inside(f"slirp4netns:outbound_addr={SECOND}", SAY.format(HOST, TALK))
    return expect(said == f"{SECOND} to {HOST}: hello", said)


def outbound_interface(podman):
    """outbound_addr=INTERFACE"""
    said = podman.inside("slirp4netns:outbound_addr=host0", SAY.format(HOST, TALK))
    return expect(said == f"{HOST} to {HOST}: hello", said)


def mtu(podman):
    """the MTU is 65520, or that of mtu=…"""
    widths = [podman.inside(network, "cat /sys/class/net/tap0/mtu; " + SAY.format(HOST, TALK)) for network in ("slirp4netns", "slirp4netns:mtu=1500")]
    return expect([it.split()[0] for it in widths] == ["65520", "1500"] and all("hello" in it for it in widths), widths)


def ipv6(podman):
    """IPv6 by router advertisement, out to a server of the host's"""
    said = podman.inside("slirp4netns:enable_ipv6=true", f"""
        for turn in 1 2 3 4 5 6 7 8 9; do ip -6 addr show tap0 | tr '\\n' ' '; ip -6 route | grep -q default && break; sleep 0.3; done
        {SAY.format(HOST6, TALK)}""")
    return expect("fd00::" in said and said.endswith(f"{HOST6} to {HOST6}: hello"), said.splitlines()[-1])


def ipv6_off(podman):
    """enable_ipv6=false: no address but the kernel's own"""
    said = podman.inside("slirp4netns:enable_ipv6=false", "sleep 0.5; ip -6 addr show tap0")
    return expect("fd00::" not in said, "none of fd00::")


def port(podman, handler, *publish):
    """A server behind a published port of this handler."""
    return podman.serving(f"slirp4netns:port_handler={handler}", *(word for it in publish for word in ("--publish", it)))


def ports_of_rootlesskit(podman):
    """-p with port_handler=rootlesskit, podman's default: on every address of the host"""
    number = podman.host.next_port()
    port(podman, "rootlesskit", f"{number}:80")
    said = [fetch(address, number) for address in ("127.0.0.1", HOST)]
    return expect(said == ["served from inside"] * 2, said)


def ports_of_slirp4netns(podman):
    """-p with port_handler=slirp4netns: on every address of the host"""
    number = podman.host.next_port()
    port(podman, "slirp4netns", f"{number}:80")
    said = [fetch(address, number) for address in ("127.0.0.1", HOST)]
    return expect(said == ["served from inside"] * 2, said)


def ports_of_addresses(podman):
    """-p ADDRESS:PORT:PORT binds that address alone, with both handlers"""
    for handler in ("rootlesskit", "slirp4netns"):
        number = podman.host.next_port()
        port(podman, handler, f"127.0.0.1:{number}:80")
        expect(fetch("127.0.0.1", number) == "served from inside", handler)
        with socket.socket() as sock:
            expect(sock.connect_ex((HOST, number)) != 0, f"{handler} answers at {HOST}")
    return "rootlesskit, slirp4netns"


def ports_of_udp(podman):
    """-p PORT/udp with both handlers"""
    seen = []
    for handler in ("rootlesskit", "slirp4netns"):
        number = podman.host.next_port()
        box = podman.box(f"slirp4netns:port_handler={handler}", "--publish", f"{number}:81/udp")
        box.ask("serve", address="0.0.0.0", port=81)
        seen.append(from_host(HOST, number, kind="udp"))
    return expect(all(it.endswith(": hello") for it in seen), seen)


def ports_in_a_range(podman):
    """-p A-B:C-D with both handlers"""
    for handler in ("rootlesskit", "slirp4netns"):
        number = podman.host.next_port()
        port(podman, handler, f"{number}-{number + 2}:78-80")
        expect(fetch("127.0.0.1", number + 2) == "served from inside", handler)
    return "rootlesskit, slirp4netns"


def port_busy(podman):
    """a port that a program on the host has: the container does not start, and podman says why"""
    with socket.create_server(("0.0.0.0", 0)) as other:
        number = other.getsockname()[1]
        done = podman.tried("run", "--rm", "--network", "slirp4netns:port_handler=slirp4netns", "--publish", f"{number}:80", IMAGE, "true")
    return expect(done.returncode != 0 and "add_hostfwd" in done.stderr, done.stderr.strip().splitlines()[-1] if done.stderr else "it started")


def client_address_kept(podman):
    """with port_handler=slirp4netns the container sees the client's own address"""
    number = podman.host.next_port()
    box = podman.box("slirp4netns:port_handler=slirp4netns", "--publish", f"{number}:80")
    box.ask("serve", address="0.0.0.0", port=80)
    seen = from_host(HOST, number, source=SECOND)
    return expect(seen == f"{SECOND} to 10.0.2.100: hello", seen)


def several_beside_each_other(podman):
    """three containers with the same addresses inside, each behind its own port"""
    numbers = [podman.host.next_port() for _ in range(3)]
    names = [port(podman, "slirp4netns", f"{number}:80") for number in numbers]
    said = [fetch("127.0.0.1", number) for number in numbers]
    outs = [podman("exec", name, "sh", "-c", SAY.format(HOST, TALK)).strip() for name in names]
    return expect(said == ["served from inside"] * 3 and all("hello" in it for it in outs), f"{len(said)} answered")


def restart(podman):
    """a container that is stopped and started again has its port again"""
    number = podman.host.next_port()
    name = port(podman, "slirp4netns", f"{number}:80")
    fetch("127.0.0.1", number)
    podman("stop", "--time", "0", name)
    with socket.socket() as sock:
        expect(sock.connect_ex(("127.0.0.1", number)) != 0, "it answers while it is stopped")
    podman("start", name)
    return expect(fetch("127.0.0.1", number) == "served from inside", "answers")


def nothing_left(podman):
    """when its container is removed, no helper and no socket is left"""
    number = podman.host.next_port()
    name = port(podman, "slirp4netns", f"{number}:80")
    fetch("127.0.0.1", number)
    expect(podman.ground.left(), "no helper while the container runs")
    podman("rm", "--force", "--time", "0", name)
    said = podman.ground.expect_nothing_left()
    sockets = podman.host.run(["find", podman.host.home, "-name", "*.net", "-type", "s"]).split()
    return expect(not sockets, sockets or said)


CHECKS = [who_is_slirp4netns, tcp_out, much_out_and_in, names, datagrams_out, ping_gateway, host_loopback_closed, host_loopback_open, cidr,
          cidr_wrong, outbound_address, outbound_interface, mtu, ipv6, ipv6_off, ports_of_rootlesskit, ports_of_slirp4netns,
          ports_of_addresses, ports_of_udp, ports_in_a_range, port_busy, client_address_kept, several_beside_each_other, restart, nothing_left]
