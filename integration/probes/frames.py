"""IPv4 frames between gateway and container, and the least of a TCP that the container's kernel will talk to.

Every TCP and UDP frame is made as the stack makes it: the transport checksum holds the pseudo-header's sum, the offload
header says where it is to be completed.
"""
import contextlib
import socket
import struct
import time
from typing import NamedTuple

from ground import CONTAINER, CONTAINER_MAC, ETH_P_IP, GATEWAY, GATEWAY_MAC, PATIENCE, Header, NotSo

ETHERNET, IPV4, TCP, UDP = 14, 20, 20, 8
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
SCALE = 7
OUR_PORT = 4000
OUR_SEQ = 1000


class Segment(NamedTuple):
    """What is needed of a TCP segment of the container's."""

    sport: int
    seq: int
    ack: int
    flags: int
    payload: int
    checksum: int


def tcp(header_options=b"", *, dport, seq, ack, flags, payload=b"", gso_size=0, window=65535):
    """A TCP frame to the container, with its offload header; a superframe if `gso_size` is given."""
    length = TCP + len(header_options)
    segment = struct.pack("!HHIIBBHHH", OUR_PORT, dport, seq, ack, length << 2, flags, window, 0, 0) + header_options
    segment = bytearray(segment + payload)
    struct.pack_into("!H", segment, 16, pseudo_sum(GATEWAY, CONTAINER, socket.IPPROTO_TCP, len(segment)))
    kind = Header.TCPV4 if gso_size else 0
    header = Header(Header.NEEDS_CSUM, kind, ETHERNET + IPV4 + length, gso_size, ETHERNET + IPV4, 16)
    return header, ipv4(socket.IPPROTO_TCP, segment)


def udp(*, sport, dport, payload, gso_size=0):
    """A UDP frame to the container, with its offload header; a superframe if `gso_size` is given."""
    datagram = bytearray(struct.pack("!HHHH", sport, dport, UDP + len(payload), 0) + payload)
    struct.pack_into("!H", datagram, 6, pseudo_sum(GATEWAY, CONTAINER, socket.IPPROTO_UDP, len(datagram)))
    kind = Header.UDP_L4 if gso_size else 0
    header = Header(Header.NEEDS_CSUM, kind, ETHERNET + IPV4 + UDP, gso_size, ETHERNET + IPV4, 6)
    return header, ipv4(socket.IPPROTO_UDP, datagram)


def superframe(length, gso_size):
    """A TCP superframe of this length, Ethernet header included; no connection knows it."""
    payload = bytes(length - ETHERNET - IPV4 - TCP)
    return tcp(dport=1, seq=1, ack=1, flags=ACK, payload=payload, gso_size=gso_size)


def ipv4(protocol, payload):
    header = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, 0, IPV4 + len(payload), 0, 0x4000, 64, protocol, 0,
                                   socket.inet_aton(GATEWAY), socket.inet_aton(CONTAINER)))
    struct.pack_into("!H", header, 10, 0xFFFF & ~folded(header))
    return ethernet(CONTAINER_MAC, GATEWAY_MAC, ETH_P_IP) + header + payload


def ethernet(to, source, kind):
    return mac(to) + mac(source) + kind.to_bytes(2, "big")


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def parse(frame):
    """The TCP segment in a frame."""
    total = struct.unpack_from("!H", frame, ETHERNET + 2)[0]
    sport, _, seq, ack, offset, flags, _, checksum = struct.unpack_from("!HHIIBBHH", frame, ETHERNET + IPV4)
    return Segment(sport, seq, ack, flags, total - IPV4 - (offset >> 4) * 4, checksum)


def pseudo_sum(source, target, protocol, length):
    """What the field holds when the checksum is left to the kernel: the sum, not its complement."""
    return folded(socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!HH", protocol, length))


def folded(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def stream_out(network, wire, mss, length=1 << 20):
    """The container sends so many bytes to us, who announced this MSS. What came over the wire, in order."""
    with network.socket(socket.SOCK_STREAM) as sock:
        # One that paces (BBR) may send less at once; gangplank's containers do without, too.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        sock.setblocking(False)
        sock.connect_ex((GATEWAY, OUR_PORT))
        syn = parse(expect_frame(wire, "a SYN")[1])
        options = struct.pack("!BBHBBBB", 2, 4, mss, 3, 3, SCALE, 1)
        wire.send(*tcp(options, dport=syn.sport, seq=OUR_SEQ, ack=syn.seq + 1 & 0xFFFFFFFF, flags=SYN | ACK))
        return list(take(sock, wire, syn, length))


def take(sock, wire, syn, length):
    """Acknowledges all that comes until so many bytes have."""
    block, next_seq = bytes(1 << 16), syn.seq + 1 & 0xFFFFFFFF
    deadline = time.monotonic() + PATIENCE
    while length > 0 and time.monotonic() < deadline:
        # Not connected yet, or its buffer is full.
        with contextlib.suppress(BlockingIOError):
            sock.send(block)
        while received := wire.receive(0.01):
            segment = parse(received[1])
            if segment.payload == 0 or segment.seq != next_seq:
                continue
            yield received
            next_seq = next_seq + segment.payload & 0xFFFFFFFF
            length -= segment.payload
            wire.send(*tcp(dport=syn.sport, seq=OUR_SEQ + 1, ack=next_seq, flags=ACK))


def stream_in(network, wire, payload, gso_size):
    """We send one superframe over a connection to the container. What it read at once, and how it acknowledged it."""
    with network.socket(socket.SOCK_STREAM) as server:
        server.listen(1)
        port = server.getsockname()[1]
        options = struct.pack("!BBHBBBB", 2, 4, 1460, 3, 3, SCALE, 1)
        wire.send(*tcp(options, dport=port, seq=OUR_SEQ, ack=0, flags=SYN))
        answer = next(segment for segment in segments(wire, "a SYN|ACK") if segment.flags & SYN)
        here = {"dport": port, "ack": answer.seq + 1 & 0xFFFFFFFF}
        wire.send(*tcp(**here, seq=OUR_SEQ + 1, flags=ACK))
        with server.accept()[0] as sock:
            wire.send(*tcp(**here, seq=OUR_SEQ + 1, flags=ACK | PSH, payload=payload, gso_size=gso_size))
            sock.settimeout(PATIENCE)
            read = sock.recv(1 << 17)
            answers = [parse(frame) for _, frame in wire.receive_all()]
    return read, [it.ack - OUR_SEQ - 1 for it in answers if it.sport == port]


def segments(wire, awaited):
    """The container's segments, one by one."""
    while True:
        yield parse(expect_frame(wire, awaited)[1])


def expect_frame(wire, awaited):
    """The next frame."""
    received = wire.receive()
    if not received:
        raise NotSo(f"{awaited} never came")
    return received
