"""TCP superframes between a TAP on the bridge and a container: net/core/dev.c, net/ipv4/tcp_output.c, tcp_offload.c."""
from frames import ETHERNET, IPV4, TCP, parse, pseudo_sum, stream_in, stream_out, superframe
from ground import CONTAINER, GATEWAY, MTU, TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, Header, Network, enter_fresh_namespace, expect

OFFLOADS = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6
SEGMENT = MTU - IPV4 - TCP
HEADERS = ETHERNET + IPV4 + TCP
# The most of whole segments that fits below the limit.
OURS = HEADERS + 44 * SEGMENT


def arrives(wire, network, length, gso_size):
    """A superframe goes into the wire; the lengths and segment sizes of what the container's end sees."""
    listener = network.listener()
    wire.send(*superframe(length, gso_size))
    seen = [(len(frame), header.gso_size if header.gso_type else 0) for header, frame in listener.receive_all()]
    return seen


def counted(seen):
    """Runs of equal frames in words."""
    runs = []
    for it in seen:
        if not runs or runs[-1][1] != it:
            runs.append([0, it])
        runs[-1][0] += 1
    return " + ".join(f"{n} of {length}" + (f" (gso_size {size})" if size else "") for n, (length, size) in runs) or "nothing"


def whole_below_64k():
    """A superframe of whole segments and at most 65,535 bytes, Ethernet header included, arrives as it was written."""
    network = Network()
    wire = network.tap(OFFLOADS)
    # 65,481 bytes of payload are 69 segments of 949.
    seen = [arrives(wire, network, *sent) for sent in ((OURS, SEGMENT), (65_535, 949))]
    return expect(seen == [[(OURS, SEGMENT)], [(65_535, 949)]], ", ".join(map(counted, seen)))


def cut_from_64k_on():
    """One byte more, and the kernel cuts it into frames of the MTU in software before it enters a veth."""
    network = Network()
    seen = arrives(network.tap(OFFLOADS), network, 65_536, SEGMENT)
    return expect(len(seen) > 1 and sum(length - HEADERS for length, _ in seen) == 65_536 - HEADERS, counted(seen))


def last_segment_may_be_short():
    """A superframe whose last segment is not full arrives whole, too: only its length counts."""
    network = Network()
    seen = arrives(network.tap(OFFLOADS), network, 65_535, SEGMENT)
    return expect(seen == [(65_535, SEGMENT)], counted(seen))


def container_sends_superframes():
    """A container's TCP leaves by the TAP in superframes of near 64 KB, cut to fit the MTU, the checksum left to us."""
    network = Network()
    frames = stream_out(network, network.tap(OFFLOADS), SEGMENT)
    header, frame = largest(frames)
    segment = parse(frame)
    wanted = Header(Header.NEEDS_CSUM, Header.TCPV4, HEADERS, SEGMENT, ETHERNET + IPV4, 16)
    half_done = segment.checksum == pseudo_sum(CONTAINER, GATEWAY, 6, segment.payload + TCP)
    observed = f"largest of {len(frames)}: {len(frame)} bytes, {header}, pseudo-header's sum there: {half_done}"
    return expect(header == wanted and len(frame) > 60_000 and half_done, observed)


def larger_mss_changes_nothing():
    """An MSS larger than the container's MTU has room for leaves its segments as they are; a smaller one counts."""
    sizes = {}
    for mss in (65_000, SEGMENT, 536):
        network = Network()
        frames = stream_out(network, network.tap(OFFLOADS), mss)
        sizes[mss] = {header.gso_size for header, _ in frames if header.gso_type}
        enter_fresh_namespace()
    observed = ", ".join(f"MSS {mss}: gso_size {' '.join(map(str, found))}" for mss, found in sizes.items())
    return expect(sizes == {65_000: {SEGMENT}, SEGMENT: {SEGMENT}, 536: {536}}, observed)


def container_takes_it_whole():
    """A container's TCP takes a superframe as one segment: one read, one acknowledgement."""
    network = Network()
    payload = bytes(range(256)) * (43 * SEGMENT // 256 + 1)
    payload = payload[:43 * SEGMENT]
    read, acknowledged = stream_in(network, network.tap(OFFLOADS), payload, SEGMENT)
    observed = f"of {len(payload)} bytes {len(read)} in one read, acknowledged {' '.join(map(str, acknowledged))}"
    return expect(read == payload and acknowledged == [len(payload)], observed)


def without_offload_the_kernel_cuts():
    """A TAP that took no offload gets frames of the MTU with complete checksums: the sender's kernel does the work."""
    network = Network()
    frames = stream_out(network, network.tap(0), SEGMENT, 1 << 18)
    header, frame = largest(frames)
    observed = f"largest of {len(frames)}: {len(frame)} bytes, {header}"
    return expect(len(frame) == ETHERNET + MTU and all(it == Header() for it, _ in frames), observed)


def largest(frames):
    expect(frames, "nothing was sent")
    return max(frames, key=lambda it: len(it[1]))


RULES = [whole_below_64k, cut_from_64k_on, last_segment_may_be_short, container_sends_superframes,
         larger_mss_changes_nothing, container_takes_it_whole, without_offload_the_kernel_cuts]
