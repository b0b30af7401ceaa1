"""Who is measured: gangplank on each of its uplinks and in the place of its neighbours, and these.

A peer brings up one namespace that reaches the host (`up`), says how a command gets into it (`inside`), where the host
reaches its port INSIDE_PORT (`published`), and which processes carry its packets (`helpers`). It measures nothing.

To add one: a class with these methods, and a line in `peers`.
"""
import contextlib
import copy
import itertools
import json
import os
import shutil
import signal
import subprocess

from host import WIDE_PORT_RANGE
from machine import CONGESTION_CONTROL
from processes import Failure, children, end, foreign_namespace, wait_until

INSIDE_PORT = 5201
ALL = ("streams", "published", "latency", "connects", "flows", "datagrams", "footprint", "start")
STREAMS = ("streams",)
# The search for a datagram rate takes longer than everything else together; whoever carries them with the same engine over
# a like uplink, or one by one, has nothing to add to it.
NO_DATAGRAMS = tuple(group for group in ALL if group != "datagrams")
# Of what has no process of its own.
KERNEL = tuple(group for group in ALL if group not in ("footprint", "start"))
number = itertools.count(1)


class Peer:
    """What they have in common. Everything that `up` finds out it finds out anew each time."""

    as_root = False
    needs = []

    def __init__(self, name, mtu, groups=ALL):
        self.name, self.mtu, self.groups = name, mtu, groups

    def title(self):
        return f"{self.name}, {self.mtu}"

    def missing(self, machine):
        """What this machine or this program lacks for it."""
        tools = [*self.needs, "iperf3", "nsenter", "setpriv", "unshare"]
        return [tool for tool in tools if not shutil.which(tool, path=machine.environment["PATH"])]

    def congestion_control(self, machine):
        """What its own connections use."""
        return self.run(machine, ["cat", CONGESTION_CONTROL]).strip()

    def run(self, machine, words, limit=60):
        """A command inside, to its end; what it said."""
        return machine.run(self.inside(words), self.as_root, limit)

    def fresh(self):
        """Another one of the same kind, not up yet."""
        return copy.copy(self)

    def widen_ports(self, machine):
        """More ports for outgoing connections, for those who make many."""
        self.run(machine, ["sh", "-c", f"echo {WIDE_PORT_RANGE} > /proc/sys/net/ipv4/ip_local_port_range"])

    def prepare(self, machine):
        """What must be there before `start`, and is not part of it."""

    def up(self, machine):
        self.prepare(machine)
        self.start(machine)


class Gangplank(Peer):
    """A container on the bridge, by veth."""

    def __init__(self, mtu, uplink, groups=ALL):
        super().__init__(f"gangplank {uplink}", mtu, groups)
        self.uplink = uplink

    def missing(self, machine):
        """An uplink may be known to the help and not to this version."""
        try:
            self.start(machine)
            self.down(machine)
        except Failure as failure:
            if "not available" in str(failure):
                return [f"uplink {self.uplink}"]
        return super().missing(machine)

    def version(self, machine):
        return machine.run([machine.gangplank, "--version"]).strip()

    def start(self, machine):
        """The network alone."""
        network = f"bench{next(number)}"
        self.tool = [machine.gangplank, "--network", network]
        machine.run(self.tool + ["up", "--uplink", self.uplink, "--mtu", self.mtu])
        with open(os.path.join(machine.environment["XDG_RUNTIME_DIR"], "gangplank", network, "state.json")) as state:
            self.helper = json.load(state)["helper_pid"]

    def up(self, machine):
        super().up(machine)
        self.address, self.port = machine.server, machine.next_port()
        published = f"{self.address}:{self.port}:{INSIDE_PORT}"
        machine.run(self.tool + ["run", "-d", "--name", "box", "-p", published, "--", "sleep", "infinity"])

    def inside(self, words):
        return self.tool + ["exec", "box", "--", *words]

    def run_true(self, machine):
        machine.run(self.tool + ["run", "--rm", "--", "true"])

    def helpers(self):
        return [self.helper]

    def down(self, machine):
        machine.run(self.tool + ["down", "--force"])


class InBox(Peer):
    """A namespace of one sleeping process, which a helper is joined to."""

    unshared = ["--user", "--map-root-user", "--net"]
    entered = ["--user", "--net", "--preserve-credentials"]
    box = helper = None

    def prepare(self, machine):
        self.helper = None
        self.box = machine.start(["unshare", *self.unshared, "sleep", "infinity"], self.as_root)
        wait_until("the namespaces are there", lambda: foreign_namespace(self.box.pid))

    def inside(self, words):
        return ["nsenter", *self.entered, "--target", self.box.pid, "--", *words]

    def helpers(self):
        return [self.helper.pid]

    def down(self, machine):
        end(self.helper, self.box)


class KernelBridge(InBox):
    """What root has: a veth to a bridge with an address. Nothing runs but the kernel, and a published port is the
    container's own address: an upper bound for whoever translates or relays."""

    as_root = True
    unshared, entered = ["--net"], ["--net"]

    def version(self, machine):
        return f"kernel {machine.describe()['kernel']}"

    def start(self, machine):
        mine = next(number)
        self.bridge, outer, subnet = f"bridge{mine}", f"outer{mine}", f"10.99.{mine}"
        self.address, self.port = f"{subnet}.2", INSIDE_PORT
        for line in (f"link add {self.bridge} type bridge", f"address add {subnet}.1/24 dev {self.bridge}",
                     f"link add {outer} mtu {self.mtu} type veth peer name eth0 mtu {self.mtu} netns {self.box.pid}",
                     f"link set {outer} master {self.bridge} up", f"link set {self.bridge} up"):
            machine.run(["ip", *line.split()], root=True)
        for line in ("link set lo up", f"address add {self.address}/24 dev eth0", "link set eth0 up",
                     f"route add default via {subnet}.1"):
            self.run(machine, ["ip", *line.split()])

    def helpers(self):
        return []

    def down(self, machine):
        end(self.box)
        machine.run(["ip", "link", "delete", self.bridge], root=True)


class Slirp4netns(InBox):
    """A namespace with slirp4netns' TAP."""

    needs = ["slirp4netns"]

    def program(self, machine):
        return "slirp4netns"

    def version(self, machine):
        return machine.run([self.program(machine), "--version"]).splitlines()[0]

    def start(self, machine):
        self.api = os.path.join(machine.home, f"slirp{next(number)}.sock")
        ready, write = os.pipe()
        words = [self.program(machine), "-c", f"--mtu={self.mtu}", f"--ready-fd={write}", f"--api-socket={self.api}", self.box.pid, "tap0"]
        self.helper = machine.start(words, pass_fds=[write], stdout=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(ready, "rb") as pipe:
            if pipe.read(1) != b"1":
                raise Failure(f"{self.name} ended before it was ready")

    def up(self, machine):
        super().up(machine)
        self.address, self.port = machine.server, machine.next_port()
        order = {"execute": "add_hostfwd", "arguments": {"proto": "tcp", "host_addr": self.address, "host_port": self.port,
                                                         "guest_port": INSIDE_PORT}}
        machine.run(["/usr/bin/python3", "-c", ASK_SLIRP, self.api, json.dumps(order)])


class Pasta(InBox):
    """A namespace with pasta's TAP, and an address of its own there: pasta's short cut between sockets is for loopback
    addresses only, so that what is measured is the way over the TAP."""

    needs = ["pasta"]

    def program(self, machine):
        return "pasta"

    def version(self, machine):
        said = machine.run([self.program(machine), "--version"]).splitlines()[0]
        if "unknown" not in said:
            return said
        # Debian 12's does not know its own; its package does.
        with contextlib.suppress(Failure, OSError):
            said = f"pasta {machine.run(['dpkg-query', '--show', '--showformat=${Version}', 'passt'])}"
        return said

    def start(self, machine):
        name = os.path.join(machine.home, f"pasta{next(number)}.pid")
        self.address, self.port = machine.server, machine.next_port()
        # It goes to the background when it is ready.
        machine.run([self.program(machine), "--config-net", "--quiet", "--ipv4-only", "--mtu", self.mtu, "--address", "10.0.3.15",
                     "--netmask", "255.255.255.0", "--gateway", "10.0.3.2", "--udp-ports", "none", "--tcp-ns", "none",
                     "--udp-ns", "none", "--tcp-ports", f"{self.address}/{self.port}:{INSIDE_PORT}", "--pid", name, self.box.pid])
        with open(name) as file:
            self.pid = int(file.read())

    def helpers(self):
        return [self.pid]

    def down(self, machine):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        super().down(machine)


class AsSlirp4netns(Slirp4netns):
    """gangplank, called as slirp4netns."""

    needs = []

    def program(self, machine):
        return os.path.join(machine.personalities, "slirp4netns")

    def version(self, machine):
        return machine.run([machine.gangplank, "--version"]).strip()


class AsPasta(Pasta):
    """gangplank, called as pasta."""

    needs = []

    def program(self, machine):
        return os.path.join(machine.personalities, "pasta")

    def version(self, machine):
        return machine.run([machine.gangplank, "--version"]).strip()


class RootlessKit(InBox):
    """RootlessKit with its builtin port driver, as rootless Docker has it; slirp4netns carries what goes out."""

    needs = ["rootlesskit", "slirp4netns", "newuidmap"]

    def __init__(self, mtu):
        super().__init__("rootlesskit builtin", mtu, ("published",))

    def version(self, machine):
        return machine.run(["rootlesskit", "--version"]).strip()

    def start(self, machine):
        state = os.path.join(machine.home, f"rootlesskit{next(number)}")
        self.address, self.port = machine.server, machine.next_port()
        words = ["rootlesskit", f"--state-dir={state}", "--net=slirp4netns", f"--mtu={self.mtu}", "--disable-host-loopback",
                 "--copy-up=/etc", "--port-driver=builtin", f"--publish={self.address}:{self.port}:{INSIDE_PORT}/tcp",
                 "sh", "-c", "echo ready $$; exec sleep infinity"]
        self.helper = machine.start(words, stdout=subprocess.PIPE)
        line = self.helper.stdout.readline()
        if not line.startswith("ready"):
            raise Failure("rootlesskit ended before it was ready")
        # Without a pid namespace of its own the number is ours, too.
        self.inner = int(line.split()[1])

    def prepare(self, machine):
        """It makes its namespaces itself."""
        self.helper = None

    def inside(self, words):
        return ["nsenter", *self.entered, "--target", self.inner, "--", *words]

    def helpers(self):
        return [pid for pid in children(self.helper.pid) if pid != self.inner]


def peers(machine):
    """All of them. The first MTU of each is the one that it is usually run with."""
    found = [KernelBridge("kernel bridge", 1500, KERNEL), KernelBridge("kernel bridge", 65520, STREAMS)] if machine.private else []
    found += [Slirp4netns("slirp4netns", 1500), Slirp4netns("slirp4netns", 65520, STREAMS),
              Pasta("pasta", 65520), Pasta("pasta", 1500, STREAMS), RootlessKit(1500)]
    found += [AsSlirp4netns("gangplank as slirp4netns", 1500, NO_DATAGRAMS), AsSlirp4netns("gangplank as slirp4netns", 65520, STREAMS),
              AsPasta("gangplank as pasta", 65520, NO_DATAGRAMS)]
    for uplink in uplinks(machine):
        groups = NO_DATAGRAMS if uplink == "tap-plain" else ALL
        found += [Gangplank(1500, uplink, groups), Gangplank(65520, uplink, STREAMS)]
    return found


def uplinks(machine):
    """Those that this gangplank offers; the help names each with what it is."""
    said = machine.run([machine.gangplank, "up", "--help"])
    return [uplink for uplink in UPLINKS if f"- {uplink}:" in said]


UPLINKS = ["tap", "packet", "tap-plain"]
ASK_SLIRP = """
import socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.sendall(sys.argv[2].encode())
sock.shutdown(socket.SHUT_WR)
said = sock.recv(4096).decode()
sys.exit(said if "error" in said else 0)
"""
