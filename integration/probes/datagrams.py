"""UDP superframes between a TAP on the bridge and a container: net/ipv4/udp_offload.c; in TAPs since Linux 6.2."""
import contextlib
import socket
import struct

from frames import ETHERNET, IPV4, UDP, expect_frame, pseudo_sum, udp
from ground import CONTAINER, GATEWAY, MTU, TUN_F_CSUM, TUN_F_USO4, TUN_F_USO6, Header, Network, expect, since

OFFLOADS = TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6
HEADERS = ETHERNET + IPV4 + UDP
DATAGRAM, DATAGRAMS = MTU - IPV4 - UDP, 44
TRAIN = b"".join(bytes([number]) * DATAGRAM for number in range(DATAGRAMS))
# linux/udp.h
UDP_SEGMENT, UDP_GRO = 103, 104


def container_sends_trains():
    """Datagrams that a container sends by one call with UDP_SEGMENT come out of the TAP as one superframe."""
    since(6, 2)
    network = Network()
    wire = network.tap(OFFLOADS)
    with network.socket(socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, DATAGRAM)
        sock.sendto(TRAIN, (GATEWAY, 4000))
    header, frame = expect_frame(wire, "a frame")
    half_done = int.from_bytes(frame[40:42], "big") == pseudo_sum(CONTAINER, GATEWAY, socket.IPPROTO_UDP, len(TRAIN) + UDP)
    wanted = Header(Header.NEEDS_CSUM, Header.UDP_L4, HEADERS, DATAGRAM, ETHERNET + IPV4, 6)
    observed = f"{len(frame)} bytes, {header}, pseudo-header's sum there: {half_done}"
    return expect(header == wanted and frame[HEADERS:] == TRAIN and half_done, observed)


def container_takes_trains():
    """A UDP superframe is one message with its segment size for a socket with UDP_GRO, and datagrams for any other."""
    since(6, 2)
    network = Network()
    wire = network.tap(OFFLOADS)
    sizes = {}
    for wants_trains in (1, 0):
        with network.socket(socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, wants_trains)
            wire.send(*udp(sport=4000, dport=sock.getsockname()[1], payload=TRAIN, gso_size=DATAGRAM))
            sizes[wants_trains] = list(received(sock))
    with_gro, without = sizes[1], sizes[0]
    observed = f"with UDP_GRO {len(with_gro)} message, {with_gro}; without {len(without)}, the first {without[:1]}"
    return expect(with_gro == [(len(TRAIN), DATAGRAM)] and without == [(DATAGRAM, None)] * DATAGRAMS, observed)


def received(sock):
    """Length and segment size of all messages that wait."""
    with contextlib.suppress(TimeoutError):
        while True:
            data, extra, _, _ = sock.recvmsg(1 << 16, socket.CMSG_SPACE(4))
            yield len(data), struct.unpack("i", extra[0][2])[0] if extra else None
            # Whatever else there is was queued with the first.
            sock.settimeout(0.01)


RULES = [container_sends_trains, container_takes_trains]
