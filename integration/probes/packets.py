"""Packet sockets with offload headers on the end of a veth: net/packet/af_packet.c, packet(7)."""
import errno

from frames import ETHERNET, IPV4, TCP, ethernet, stream_in, stream_out, superframe
from ground import (CONTAINER_MAC, ETH_P_IP, GATEWAY_MAC, MTU, PACKET_QDISC_BYPASS, TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6,
                    Header, Network, enter_fresh_namespace, expect)
from superframes import OURS, SEGMENT, arrives, counted

LARGEST = 65_535
# Before a frame in its slot stand struct tpacket2_hdr and sockaddr_ll (52 bytes), padding, and the offload header.
BEFORE = 76
BLOCK = 1 << 20


def container_sends_superframes():
    """A container's superframe arrives at a packet socket on a veth's end as it would at a TAP."""
    network = Network()
    frames = stream_out(network, network.packet(), SEGMENT)
    header, frame = max(frames, key=lambda it: len(it[1]))
    wanted = Header(Header.NEEDS_CSUM, Header.TCPV4, ETHERNET + IPV4 + TCP, SEGMENT, ETHERNET + IPV4, 16)
    return expect(header == wanted and len(frame) > 60_000, f"largest of {len(frames)}: {len(frame)} bytes, {header}")


def container_takes_superframes():
    """A superframe sent into a packet socket arrives whole up to 65,535 bytes, and the container's TCP takes it as one."""
    network = Network()
    wire = network.packet()
    seen = [arrives(wire, network, *sent) for sent in ((OURS, SEGMENT), (LARGEST, SEGMENT), (LARGEST + 1, SEGMENT))]
    read, acknowledged = stream_in(network, wire, bytes(40 * SEGMENT), SEGMENT)
    observed = f"{', '.join(map(counted, seen))}; read {len(read)}, acknowledged {' '.join(map(str, acknowledged))}"
    return expect(seen[:2] == [[(OURS, SEGMENT)], [(LARGEST, SEGMENT)]] and len(seen[2]) > 1
                  and len(read) == 40 * SEGMENT and acknowledged == [len(read)], observed)


def bypass_carries_superframes():
    """PACKET_QDISC_BYPASS leaves superframes whole, and refuses (ENOBUFS) what the kernel would have to cut."""
    network = Network()
    wire = network.packet(PACKET_QDISC_BYPASS)
    seen = arrives(wire, network, OURS, SEGMENT)
    said = answer(wire, *superframe(LARGEST + 1, SEGMENT))
    return expect(seen == [(OURS, SEGMENT)] and said == "ENOBUFS", f"{counted(seen)}; {LARGEST + 1} bytes: {said}")


def long_frame_is_refused():
    """A frame longer than the MTU that is no superframe is refused (EMSGSIZE)."""
    wire = Network().packet()
    said = [answer(wire, Header(), ethernet(CONTAINER_MAC, GATEWAY_MAC, ETH_P_IP) + bytes(length)) for length in (MTU, MTU + 1)]
    return expect(said == ["taken", "EMSGSIZE"], f"{MTU} bytes: {said[0]}, {MTU + 1}: {said[1]}")


def answer(wire, header, frame):
    """What the kernel says to a frame."""
    try:
        wire.send(header, frame)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "taken"


def ring_has_offload_headers():
    """In a TPACKET_V2 ring the offload header stands before the frame; a slot needs 76 bytes more than the frame, no less."""
    enough = LARGEST + BEFORE + 15 & ~15
    seen = [in_ring(slot) for slot in (enough, enough - 16)]
    (header, fits, start), (_, cut, _) = seen
    observed = f"slots of {enough}: {fits} of {LARGEST} bytes at {start}, {header}; slots of {enough - 16}: {cut}"
    return expect((header.gso_size, fits, start) == (SEGMENT, LARGEST, BEFORE) and cut == enough - 16 - BEFORE, observed)


def in_ring(slot):
    """A superframe's header, how much of it is there, and where, in a ring of such slots."""
    enter_fresh_namespace()
    network = Network()
    ring = network.ring(slot, BLOCK, 1)
    network.tap(OFFLOADS).send(*superframe(LARGEST, SEGMENT))
    found = list(ring.frames())
    expect(len(found) == 1 and found[0][2] == LARGEST, f"{len(found)} frames in the ring")
    header, frame, _, start = found[0]
    return header, len(frame), start


def ring_is_not_bounded_by_rmem():
    """A ring keeps a superframe in each slot, whatever net.core.rmem_max; a socket's buffer of the default size loses some."""
    network = Network()
    ring, listener = network.ring(LARGEST + BEFORE + 15 & ~15, BLOCK, 4), network.listener()
    wire = network.tap(OFFLOADS)
    # What the kernels say by themselves has slots, too.
    sent = 4 * (BLOCK // ring.slot) // 2
    for _ in range(sent):
        wire.send(*superframe(OURS, SEGMENT))
    kept, queued = len(list(ring.frames())), len(listener.receive_all())
    return expect(kept == sent > queued, f"of {sent} superframes {kept} in the ring, {queued} in a buffer of the default size")


OFFLOADS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6
RULES = [container_sends_superframes, container_takes_superframes, bypass_carries_superframes, long_frame_is_refused,
         ring_has_offload_headers, ring_is_not_bounded_by_rmem]
