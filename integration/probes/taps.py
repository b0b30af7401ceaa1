"""What a TAP agrees to, and its queues: drivers/net/tun.c, linux/if_tun.h."""
import errno
import socket

from frames import ETHERNET, IPV4, udp
from ground import (GATEWAY, IFF_MULTI_QUEUE, TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_USO4, TUN_F_USO6, Network,
                    accepts, expect, open_tap, since)

TSO = TUN_F_TSO4 | TUN_F_TSO6
USO = TUN_F_USO4 | TUN_F_USO6
FLOWS = 8


def tcp_offload_needs_checksum():
    """A TAP takes every step down from TSO4|TSO6 with CSUM to nothing, and no TSO without CSUM."""
    fd = open_tap("tap").fd
    steps = [TUN_F_CSUM | TSO, TUN_F_CSUM | TUN_F_TSO4, TUN_F_CSUM, 0]
    taken = [offload for offload in (*steps, TSO, TUN_F_TSO4, TUN_F_TSO6) if accepts(fd, offload)]
    return expect(taken == steps, f"taken: {listed(taken)}")


def udp_offload_needs_checksum():
    """A TAP takes USO4|USO6 with all the others or with CSUM alone, but not without CSUM, and not one of the two."""
    since(6, 2)
    fd = open_tap("tap").fd
    good = [TUN_F_CSUM | TSO | USO, TUN_F_CSUM | USO]
    taken = [offload for offload in (*good, USO, TUN_F_CSUM | TUN_F_USO4, TUN_F_CSUM | TUN_F_USO6) if accepts(fd, offload)]
    return expect(taken == good, f"taken: {listed(taken)}")


def refused_offload_changes_nothing():
    """An unknown offload is refused (EINVAL), and what was agreed before stays: a program can ask step by step."""
    network = Network()
    wire = network.tap(TUN_F_CSUM)
    refused = not accepts(wire.fd, 1 << 30)
    with network.socket(socket.SOCK_DGRAM) as sock:
        sock.sendto(b"partial?", (GATEWAY, 4000))
    header, _ = wire.receive()
    return expect(refused and header.flags == 1, f"refused: {refused}; the next frame: {header}")


def queue_follows_the_flow():
    """Frames of a flow come to the queue of a multi-queue TAP over which the flow's last frame was written."""
    network = Network()
    queues = [open_tap("uplink", IFF_MULTI_QUEUE) for _ in range(2)]
    network.plug("uplink")
    written = [[flow + turn & 1 for flow in range(FLOWS)] for turn in range(2)]
    with network.socket(socket.SOCK_DGRAM) as sock:
        came = [[answered_by(queues, sock, 4000 + flow, queue) for flow, queue in enumerate(turn)] for turn in written]
    return expect(came == written, f"{FLOWS} flows written to queues {written}, answers came to {came}")


def answered_by(queues, sock, port, queue):
    """A datagram goes in over this queue, and the container answers. The queue to which the answer comes."""
    queues[queue].send(*udp(sport=port, dport=sock.getsockname()[1], payload=b"to"))
    data, source = sock.recvfrom(16)
    sock.sendto(data, source)
    for number in (queue, 1 - queue):
        received = queues[number].receive(0.1)
        if received and int.from_bytes(received[1][ETHERNET + IPV4 + 2:ETHERNET + IPV4 + 4], "big") == port:
            return number
    return None


def queues_are_decided_at_first():
    """A TAP made with one queue takes no second (EINVAL with IFF_MULTI_QUEUE, EBUSY without); one made for more does."""
    open_tap("single")
    open_tap("several", IFF_MULTI_QUEUE)
    said = [attached(name, flags) for name in ("single", "several") for flags in (IFF_MULTI_QUEUE, 0)]
    return expect(said == ["EINVAL", "EBUSY", "taken", "EINVAL"],
                  f"one queue: {said[0]} with the flag, {said[1]} without; several: {said[2]} with it, {said[3]} without")


def attached(name, flags):
    try:
        open_tap(name, flags)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "taken"


def listed(offloads):
    return ", ".join(f"{it:#04x}" for it in offloads)


RULES = [tcp_offload_needs_checksum, udp_offload_needs_checksum, refused_offload_changes_nothing,
         queue_follows_the_flow, queues_are_decided_at_first]
