"""What is measured. Each function takes one peer that is up and gives its figures, by the keys of `report.FIGURES`.

Servers run on the host, clients in the container, and for published ports the other way round. What changes a peer for
good (thousands of ports in TIME_WAIT, buffers that have grown) is measured on a fresh one of its own, never on the one
that the other figures come from.

To add one: a function like `stream`, a line in MEASUREMENTS, and its keys in `report.FIGURES`.
"""
import contextlib
import json
import subprocess
import time

from peers import ALL, INSIDE_PORT
from processes import Failure, processor_seconds, resident, running


def check_outgoing(machine, peer, inside, outside, *how):
    """Data arrives whole over a connection that the container made: whoever takes has the digest of whoever gives."""
    port = machine.next_port()
    with running(machine, machine.transfer_command(outside, "listen", machine.server, port, *how), says="listening") as server:
        said = peer.run(machine, machine.transfer_command(inside, "connect", machine.server, port, *how), None)
        compare(said, server.stdout.read())


def check_published(machine, peer, inside, outside, *how):
    """The same through the published port."""
    listen = peer.inside(machine.transfer_command(inside, "listen", "0.0.0.0", INSIDE_PORT, *how))
    with running(machine, listen, says="listening", root=peer.as_root) as server:
        said = machine.run(machine.transfer_command(outside, "connect", peer.address, peer.port, *how), limit=None)
        compare(said, server.stdout.read())


def compare(one, other):
    if not one.strip() or one != other:
        raise Failure(f"data was damaged on its way: {one.strip()!r} against {other.strip()!r}")


def stream(machine, peer, settings, key, *options):
    """iperf3 from inside against a server on the host."""
    port = machine.next_port()
    with running(machine, ["iperf3", "-s", "-1", "-p", port, "--forceflush"], says="Server listening"):
        client = peer.inside(["iperf3", "-J", "-c", machine.server, "-p", port, "-t", settings.seconds, *options])
        return iperf(machine, peer, settings, key, client, peer.as_root)


def published(machine, peer, settings, key, *options):
    """iperf3 from the host against a server inside, through the published port."""
    inside = peer.inside(["iperf3", "-s", "-1", "-p", INSIDE_PORT, "--forceflush"])
    with running(machine, inside, says="Server listening", root=peer.as_root):
        client = ["iperf3", "-J", "-c", peer.address, "-p", peer.port, "-t", settings.seconds, *options]
        return iperf(machine, peer, settings, key, client)


def iperf(machine, peer, settings, key, client, root=False):
    """What was received, in Gb/s, the segments that had to be sent again for it, and what a GiB cost all processes
    together: both iperf3 and the helper. The kernel's work counts where it happens on a process's account, which is
    nearly all of it."""
    before = processor_seconds(peer.helpers())
    said = json.loads(machine.run(client, root, settings.seconds + 30))["end"]
    helper = processor_seconds(peer.helpers()) - before
    sent, received, used = said["sum_sent"], said["sum_received"], said["cpu_utilization_percent"]
    iperfs = (used["host_total"] + used["remote_total"]) / 100 * received["seconds"]
    gib = received["bytes"] / (1 << 30)
    if not gib:
        raise Failure("nothing was received")
    return {key: received["bits_per_second"] / 1e9, f"{key}_again": sent["retransmits"],
            f"{key}_cpu": (iperfs + helper) / gib, f"{key}_helper_cpu": helper / gib}


def latency(machine, peer, settings):
    """One request at a time, over TCP and over UDP."""
    with load_server(machine) as port:
        return round_trips(machine, peer, settings, port)


def round_trips(machine, peer, settings, port, suffix=""):
    figures = {}
    for protocol in ("tcp", "udp"):
        said = load(machine, peer, ["rr", protocol, machine.server, port, settings.rr_seconds], settings.rr_seconds + 30)
        figures |= {f"{protocol}_rr_{it}{suffix}": said[it] for it in ("p50", "p99")}
        figures[f"{protocol}_rr_rate{suffix}"] = said["count"] / settings.rr_seconds / 0.9
    return figures


def connects(machine, peer, settings, concurrency):
    """Connect, request, answer, close; in a namespace whose ports nobody has used yet."""
    with fresh(machine, peer) as other, load_server(machine) as port:
        other.widen_ports(machine)
        said = load(machine, other, ["connect", machine.server, port, concurrency, settings.rr_seconds])
    if said["failed"]:
        raise Failure(f"{said['failed']} of {said['count'] + said['failed']} connections failed")
    return {f"connects_{concurrency}": said["per_second"]}


def flows(machine, peer, settings):
    """Round trips beside many open flows, and the helper's memory with them."""
    with fresh(machine, peer) as other, load_server(machine) as port:
        other.widen_ports(machine)
        hold = ["hold", machine.server, port, settings.flows, settings.hold_seconds]
        with running(machine, other.inside([machine.load, *hold]), says="{", root=peer.as_root) as holder:
            said = json.loads(holder.line)
            if said["held"] < settings.flows:
                raise LeftOut(f"{said['held']} of {settings.flows} flows in {said['seconds']:.0f} s {said['stopped']}".strip())
            # The helper takes back what it gave them once they rest.
            time.sleep(3)
            memory = {"rss_flows": resident(other.helpers())} if other.helpers() else {}
            return memory | round_trips(machine, other, settings, port, "_flows")


def datagrams(machine, peer, settings, key, way, size, segment=0):
    """The highest rate that arrives, less than one in a thousand lost; bits and datagrams of payload."""
    with load_server(machine) as port:
        words = ["datagrams", way, machine.server, port, size, segment, settings.trial_seconds]
        said = load(machine, peer, words, 120)
    return {key: said["gbps"], f"{key}_rate": said["per_second"], f"{key}_sender_is_full": said["sender_is_full"]}


def footprint(machine, peer, settings):
    """The helper's memory before anything has gone through it."""
    with fresh(machine, peer) as other:
        time.sleep(settings.settle_seconds)
        return {"rss_idle": resident(other.helpers())}


def start(machine, peer, settings):
    """From the command to a network that can be used; and a command in a new container of it."""
    other = peer.fresh()
    other.prepare(machine)
    try:
        figures = {"ready": timed(other.start, machine)}
        if hasattr(other, "run_true"):
            figures["run_true"] = timed(other.run_true, machine)
        return figures
    finally:
        other.down(machine)


def timed(function, machine):
    """In milliseconds, the program's own start included."""
    began = time.perf_counter()
    function(machine)
    return (time.perf_counter() - began) * 1e3


def about_seconds(group, settings):
    """What one measurement takes, as a rule: for the announcement of how long everything will."""
    return {
        "streams": settings.seconds + 1,
        "published": settings.seconds + 1,
        "latency": 2 * settings.rr_seconds + 0.5,
        "connects": settings.rr_seconds + 1,
        # Ten thousand connections one after the other, and as many that end.
        "flows": settings.flows / 2000 + 2 * settings.rr_seconds + 3,
        # About sixteen trials, some of them twice, and the pauses between them.
        "datagrams": 24 * (settings.trial_seconds + 0.15),
        "footprint": settings.settle_seconds + 0.5,
        "start": 0.5,
    }[group]


class LeftOut(Exception):
    """A figure that a peer does not reach within bounds; the reason goes beside it, and nothing is broken."""


@contextlib.contextmanager
def fresh(machine, peer):
    """Another one of the peer's kind for a while."""
    other = peer.fresh()
    try:
        other.up(machine)
        yield other
    finally:
        with contextlib.suppress(Failure, subprocess.TimeoutExpired, AttributeError):
            other.down(machine)


@contextlib.contextmanager
def load_server(machine):
    port = machine.next_port()
    with running(machine, [machine.load, "serve", machine.server, port], says="ready"):
        yield port


def load(machine, peer, words, limit=60):
    return json.loads(peer.run(machine, [machine.load, *words], limit))


# Name, group (see `peers.ALL`), function, its further arguments.
MEASUREMENTS = [
    ("out, 1 stream", "streams", stream, ("out1",)),
    ("in, 1 stream", "streams", stream, ("in1", "-R")),
    ("out, 4 streams", "streams", stream, ("out4", "-P4")),
    ("in, 4 streams", "streams", stream, ("in4", "-R", "-P4")),
    ("published, in", "published", published, ("published_in",)),
    ("published, reverse", "published", published, ("published_reverse", "-R")),
    ("round trips", "latency", latency, ()),
    ("connects, 1 at a time", "connects", connects, (1,)),
    ("connects, 16 at a time", "connects", connects, (16,)),
    ("many flows", "flows", flows, ()),
    ("64-byte datagrams out", "datagrams", datagrams, ("udp64_out", "out", 64)),
    ("64-byte datagrams in", "datagrams", datagrams, ("udp64_in", "in", 64)),
    ("1400-byte datagrams out", "datagrams", datagrams, ("udp1400_out", "out", 1400)),
    ("1400-byte datagrams in", "datagrams", datagrams, ("udp1400_in", "in", 1400)),
    # As many segments as fit into one datagram of IP's.
    ("64 KB sends out", "datagrams", datagrams, ("uso_out", "out", 46 * 1400, 1400)),
    ("64 KB sends in", "datagrams", datagrams, ("uso_in", "in", 46 * 1400, 1400)),
    ("idle memory", "footprint", footprint, ()),
    ("start", "start", start, ()),
]
# 64 MiB are more than the buffers of both kernels hold together, so that every ring on the way wraps and every window
# shuts. Who does not survive that may still answer single messages well.
MUCH, LITTLE = 64, 1
SMALL = tuple(group for group in ALL if group not in ("streams", "published"))
# Whether a connection is carried on in one direction when the other has ended. Who cannot is named, and checked without.
HALF_CLOSES = [
    ("half-close out", check_outgoing, ("give", "take", LITTLE), tuple(group for group in ALL if group != "published")),
    ("half-close, published", check_published, ("give", "take", LITTLE), ("published",)),
]
# What is checked before, and which groups' figures stand on it: name, function, its further arguments, groups.
CHECKS = [
    ("checked transfer out", check_outgoing, ("give", "take", MUCH), ("streams",)),
    ("checked transfer in", check_outgoing, ("take", "give", MUCH), ("streams",)),
    ("checked short transfer out", check_outgoing, ("give", "take", LITTLE), SMALL),
    ("checked short transfer in", check_outgoing, ("take", "give", LITTLE), SMALL),
    ("checked transfer in, published", check_published, ("take", "give", MUCH), ("published",)),
    ("checked transfer reverse, published", check_published, ("give", "take", MUCH), ("published",)),
]
# Seconds for one of them. Everybody who works well needs less than one; who stalls and goes on may do so.
CHECK_LIMIT = 60
CHECK_SECONDS = 1
HALF_CLOSE_LIMIT = 10
# What cannot be measured without the compiled loads.
COMPILED = (latency, connects, flows, datagrams)
