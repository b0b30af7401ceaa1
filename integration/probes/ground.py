"""The ground that the probes stand on: namespaces, interfaces, and the two wires over which frames pass.

All of it is made in a user namespace of the probes' own, also as root: root of that has no power over the host, as
gangplank's agent has none. Programs needed: `ip` and `bridge` of iproute2. Knows nothing of the rules.
"""
import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import re
import select
import socket
import struct
import subprocess
import time
from typing import NamedTuple

GATEWAY, CONTAINER = "10.88.0.1", "10.88.0.2"
GATEWAY_MAC, CONTAINER_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
MTU = 1500
# How long to wait for a frame that must come, and for one that must not. Delivery takes microseconds.
PATIENCE, SILENCE = 1.0, 0.05

# linux/sched.h
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
# linux/if_tun.h
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x4000, 0x0100
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_USO4, TUN_F_USO6 = 0x01, 0x02, 0x04, 0x20, 0x40
# linux/if_packet.h
SOL_PACKET = 263
PACKET_RX_RING, PACKET_VERSION, PACKET_VNET_HDR, PACKET_QDISC_BYPASS, PACKET_IGNORE_OUTGOING = 5, 10, 15, 20, 23
TPACKET_V2, TP_STATUS_USER = 1, 1
# linux/if_ether.h
ETH_P_ALL, ETH_P_IP = 0x0003, 0x0800


class NotSo(Exception):
    """The kernel behaves otherwise; the text is what was observed."""


class Untried(Exception):
    """This machine lacks what the probe needs; the text says what."""


def expect(condition, observed):
    """What was observed, if it is so."""
    if not condition:
        raise NotSo(observed)
    return observed


class Header(NamedTuple):
    """struct virtio_net_hdr of linux/virtio_net.h, as this machine writes numbers."""

    flags: int = 0
    gso_type: int = 0
    hdr_len: int = 0
    gso_size: int = 0
    csum_start: int = 0
    csum_offset: int = 0

    NEEDS_CSUM = 1
    TCPV4, UDP_L4 = 1, 5

    def pack(self):
        return HEADER.pack(*self)

    def __str__(self):
        kind = {0: "no superframe", self.TCPV4: "TCPV4", self.UDP_L4: "UDP_L4"}.get(self.gso_type, hex(self.gso_type))
        size = f" gso_size {self.gso_size}" if self.gso_type else ""
        checksum = f", NEEDS_CSUM at {self.csum_start}+{self.csum_offset}" if self.flags & self.NEEDS_CSUM else ""
        return kind + size + checksum


HEADER = struct.Struct("=BBHHHH")


class Namespace:
    """A network namespace that lives as long as the probe."""

    def __init__(self):
        home = current_namespace()
        call("unshare", CLONE_NEWNET)
        self.fd = kept(current_namespace())
        enter(home)
        os.close(home)

    @contextlib.contextmanager
    def entered(self):
        """Sockets and commands of the block belong to it."""
        home = current_namespace()
        enter(self.fd)
        try:
            yield
        finally:
            enter(home)
            os.close(home)


class Wire:
    """A descriptor that carries frames behind their offload headers."""

    def __init__(self, fd):
        self.fd = kept(fd)
        os.set_blocking(fd, False)

    def send(self, header, frame):
        os.write(self.fd, header.pack() + frame)

    def receive(self, limit=PATIENCE):
        """The next IPv4 frame, or none within the limit; what the kernels say by themselves is passed over."""
        deadline = time.monotonic() + limit
        while select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
            data = os.read(self.fd, HEADER.size + 65536 + 18)
            header, frame = Header(*HEADER.unpack_from(data)), data[HEADER.size:]
            if frame[12:14] == ETH_P_IP.to_bytes(2, "big"):
                return header, frame
        return None

    def receive_all(self):
        """All IPv4 frames until it is silent."""
        frames = []
        while received := self.receive(SILENCE if frames else PATIENCE):
            frames.append(received)
        return frames


class Ring:
    """A packet socket with offload headers whose frames come by memory: TPACKET_V2 of linux/if_packet.h."""

    def __init__(self, interface, slot, block, blocks):
        """So many blocks of so many bytes, and in them slots for one frame each."""
        sock = packet_socket()
        sock.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
        self.slot, self.block, self.blocks = slot, block, blocks
        request = struct.pack("IIII", block, blocks, slot, block // slot * blocks)
        sock.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
        sock.bind((interface, ETH_P_ALL))
        self.memory = mmap.mmap(sock.fileno(), block * blocks)
        KEPT.callback(self.memory.close)
        kept(sock.detach())

    def frames(self):
        """All IPv4 frames that wait: offload header, frame as far as it fits, its length, and the bytes before it."""
        for number in range(self.block // self.slot * self.blocks):
            block, place = divmod(number, self.block // self.slot)
            at = block * self.block + place * self.slot
            status, length, fits, start = struct.unpack_from("IIIH", self.memory, at)
            frame = self.memory[at + start:at + start + fits]
            if status & TP_STATUS_USER and frame[12:14] == ETH_P_IP.to_bytes(2, "big"):
                yield Header(*HEADER.unpack_from(self.memory, at + start - HEADER.size)), frame, length, start


class Network:
    """A bridge in the present namespace and one container on it by veth, as gangplank makes them."""

    def __init__(self):
        ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0", "link set br0 up")
        self.container = Namespace()
        there = f"/proc/{os.getpid()}/fd/{self.container.fd}"
        ip(f"link add port type veth peer name eth0 address {CONTAINER_MAC} netns {there}",
           f"link set port mtu {MTU} master br0 up")
        with self.container.entered():
            ip(f"link set eth0 mtu {MTU} up", f"address add {CONTAINER}/24 dev eth0",
               f"neighbour add {GATEWAY} lladdr {GATEWAY_MAC} dev eth0 nud permanent")

    def socket(self, kind):
        """A socket of the container's, at its address."""
        with self.container.entered():
            sock = socket.socket(socket.AF_INET, kind)
        sock.settimeout(PATIENCE)
        sock.bind((CONTAINER, 0))
        return sock

    def listener(self):
        """What arrives at the container's interface, as its kernel sees it."""
        with self.container.entered():
            return packet_wire("eth0")

    def ring(self, slot, block, blocks):
        """The same by a ring."""
        with self.container.entered():
            return Ring("eth0", slot, block, blocks)

    def tap(self, offload):
        """A TAP as the uplink."""
        wire = open_tap("uplink")
        if not accepts(wire.fd, offload):
            raise Untried(f"this kernel's TAP has no offloads {offload:#x}")
        self.plug("uplink")
        return wire

    def packet(self, *options):
        """A packet socket on the far end of a veth as the uplink, with these options set."""
        ip("link add uplink type veth peer name stack", f"link set stack mtu {MTU} arp off up")
        self.plug("uplink")
        return packet_wire("stack", *options)

    def plug(self, interface):
        """Makes it a port of the bridge, and waits until frames pass to and from the container."""
        ip(f"link set {interface} mtu {MTU} master br0 up")
        settle()
        with self.container.entered():
            settle()


def enter_user_namespace():
    """Makes this process root of a user namespace, and of nothing else."""
    uid, gid = os.geteuid(), os.getegid()
    call("unshare", CLONE_NEWUSER)
    for file, line in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{file}", "w") as proc:
            proc.write(line)


def enter_fresh_namespace():
    """A network namespace for the next probe; what was made for the last one goes."""
    KEPT.close()
    call("unshare", CLONE_NEWNET)


def open_tap(name, flags=0):
    """A TAP with offload headers, or one more queue of it. Raises what the kernel says."""
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise Untried(f"/dev/net/tun: {error.strerror}") from None
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags))
    except OSError:
        os.close(fd)
        raise
    return Wire(fd)


def accepts(fd, offload):
    """Whether the TAP takes these offloads."""
    try:
        fcntl.ioctl(fd, TUNSETOFFLOAD, offload)
    except OSError:
        return False
    return True


def packet_socket():
    """Once bound, it hears what arrives at an interface and sends into it, behind offload headers."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    return sock


def packet_wire(interface, *options):
    """A packet socket with further options set, bound."""
    sock = packet_socket()
    for option in options:
        sock.setsockopt(SOL_PACKET, option, 1)
    sock.bind((interface, ETH_P_ALL))
    return Wire(sock.detach())


def ip(*lines):
    """Commands of iproute2's `ip`, in the present namespace."""
    run(["ip", "-batch", "-"], "\n".join(lines))


def bridge(*lines):
    """Commands of iproute2's `bridge`."""
    run(["bridge", "-batch", "-"], "\n".join(lines))


def settle():
    """Waits until every interface carries: the kernel gets to that a while after both ends of a veth are up."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        links = [it for it in listed("ip", "link") if "UP" in it["flags"]]
        carry = all(it["operstate"] in ("UP", "UNKNOWN") and "LOWER_UP" in it["flags"] for it in links)
        if carry and all(it["state"] == "forwarding" for it in listed("bridge", "link")):
            return
        time.sleep(0.01)
    raise Untried("the interfaces do not come up")


def listed(program, what):
    """Everything of this kind that there is in the present namespace."""
    return json.loads(run([program, "-json", what, "show"]) or "[]")


def run(words, text=""):
    """A command's output."""
    try:
        done = subprocess.run(words, input=text, text=True, capture_output=True, env=ENVIRONMENT)
    except FileNotFoundError:
        raise Untried(f"no `{words[0]}`: it is in the package iproute2") from None
    if done.returncode != 0:
        lacking = any(sign in done.stderr for sign in LACKING)
        raise (Untried if lacking else NotSo)(" ".join(f"`{words[0]} {text}`: {done.stderr}".split()))
    return done.stdout


def since(major, minor):
    """The rule is no older than this kernel."""
    release = os.uname().release
    if tuple(map(int, re.match(r"(\d+)\.(\d+)", release).groups())) < (major, minor):
        raise Untried(f"the rule holds since Linux {major}.{minor}, this is {release}")


def kept(fd):
    """The descriptor, to be closed with the probe."""
    KEPT.callback(os.close, fd)
    return fd


def current_namespace():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def enter(fd):
    call("setns", fd, CLONE_NEWNET)


def call(name, *arguments):
    """A function of libc that Python 3.11 has no word for."""
    if getattr(LIBC, name)(*arguments) != 0:
        errno = ctypes.get_errno()
        raise Untried(f"{name}: {os.strerror(errno)}")


# What iproute2 says of a sandbox, of a kernel without the kind of interface, and of a word that it is too old for.
LACKING = ("Operation not permitted", "Operation not supported", "Unknown device type", "is unknown")
# An ordinary user's PATH may lack where `bridge` is.
ENVIRONMENT = {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
KEPT = contextlib.ExitStack()
LIBC = ctypes.CDLL(None, use_errno=True)
