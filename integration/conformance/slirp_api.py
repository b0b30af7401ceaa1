"""slirp4netns: its API, JSON texts on a socket (compat.md's sources: its api.c and manual)."""
import contextlib
import json
import os
import signal
import socket
import time

from clients import from_host
from processes import Failure
from scenarios import add, scenario
from stage import connect

GUEST = "10.0.2.100"


def container(stage, *options):
    """A container that serves at port 80, and slirp4netns with an API."""
    box = stage.box()
    slirp = stage.slirp(box, "-c", *options, api=True)
    box.ask("serve", address="0.0.0.0", port=80)
    return box, slirp


def forward(slirp, port, **arguments):
    """The usual order; an argument of None is left out."""
    whole = {"proto": "tcp", "host_addr": "127.0.0.1", "host_port": port, "guest_addr": GUEST, "guest_port": 80, **arguments}
    return slirp.order("add_hostfwd", **{key: value for key, value in whole.items() if value is not None})


def kind(reply):
    """What a caller makes of a reply: the keys that there are, and the words of an error."""
    with contextlib.suppress(ValueError):
        said = json.loads(reply)
        if "error" in said:
            return said["error"]["desc"]
        if "entries" in said or "entries" in said.get("return", {}):
            return "a list"
        return {key: sorted(it) if isinstance(it, dict) else type(it).__name__ for key, it in sorted(said.items())}
    return reply


def padded(length):
    """An order of so many bytes."""
    return '{"execute": "list_hostfwd", "x": ""}'.replace('""', f'"{"x" * (length - 36)}"')


REQUESTS = [
    ("malformed", "{", "a text that is not JSON"),
    ("empty", "", "nothing at all"),
    ("array", "[1]", "an array"),
    ("number", "17", "a number"),
    ("null", "null", "null"),
    ("bytes", b"\xff\xfe\x00", "bytes that are no text"),
    ("no_execute", "{}", "no order"),
    ("execute_number", '{"execute": 1}', "an order that is a number"),
    ("execute_unknown", '{"execute": "fly"}', "an unknown order"),
    ("no_arguments", '{"execute": "add_hostfwd"}', "an order without its arguments"),
    ("arguments_text", '{"execute": "add_hostfwd", "arguments": "x"}', "arguments that are a text"),
    ("too_large", '{"execute": "list_hostfwd", "x": "' + "x" * 5000 + '"}', "a text of more than 4095 bytes"),
    ("longest", padded(4095), "a text of 4095 bytes"),
    ("too_large_by_one", padded(4096), "a text of 4096 bytes"),
    ("remove_no_id", '{"execute": "remove_hostfwd", "arguments": {}}', "a removal of nothing"),
    ("remove_unknown", '{"execute": "remove_hostfwd", "arguments": {"id": 77}}', "a removal of what is not there"),
    ("remove_text", '{"execute": "remove_hostfwd", "arguments": {"id": "one"}}', "a removal by a text"),
    ("remove_negative", '{"execute": "remove_hostfwd", "arguments": {"id": -1}}', "a removal by a negative number"),
    ("newline", '{"execute": "list_hostfwd"}\n', "an order with a newline behind it"),
    ("list_empty", '{"execute": "list_hostfwd"}', "the list of nothing"),
]


def asked(stage, request):
    """The reply, and whether the next one who asks is served."""
    _, slirp = container(stage)
    said = slirp.ask(request)
    runs = is_alive(slirp, said)
    return {"reply": kind(said), "runs": runs, "next": kind(slirp.order("list_hostfwd")) if runs else "nobody"}


for one, text, title in REQUESTS:
    add("slirp4netns", f"api_{one}", f"API: {title}", lambda stage, request=text: asked(stage, request))

ARGUMENTS = [
    ("proto_unknown", {"proto": "sctp"}),
    ("proto_empty", {"proto": ""}),
    ("proto_upper", {"proto": "TCP"}),
    ("proto_missing", {"proto": None}),
    ("proto_number", {"proto": 1}),
    ("host_port_missing", {"host_port": None}),
    ("host_port_zero", {"host_port": 0}),
    ("host_port_negative", {"host_port": -1}),
    ("host_port_text", {"host_port": "80"}),
    ("host_port_beyond", {"host_port": 70000}),
    ("host_port_huge", {"host_port": 1e300}),
    ("guest_port_missing", {"guest_port": None}),
    ("guest_port_zero", {"guest_port": 0}),
    ("guest_port_beyond", {"guest_port": 70000}),
    ("guest_port_text", {"guest_port": "80"}),
    ("host_addr_word", {"host_addr": "home"}),
    ("host_addr_number", {"host_addr": 1}),
    ("host_addr_foreign", {"host_addr": "203.0.113.1"}),
    ("guest_addr_word", {"guest_addr": "home"}),
    ("guest_addr_foreign", {"guest_addr": "192.0.2.1"}),
]


def argued(stage, arguments):
    _, slirp = container(stage)
    said = forward(slirp, stage.port(), **arguments)
    return {"reply": kind(said), "runs": is_alive(slirp, said)}


def is_alive(slirp, said):
    """Who has said nothing may be about to die."""
    return slirp.runs(settle=0.5 if said in ("nothing", "a reset") else 0)


for one, changed in ARGUMENTS:
    shown = ", ".join(f"{key} {'missing' if value is None else value!r}" for key, value in changed.items())
    add("slirp4netns", f"api_{one}", f"API: add_hostfwd with {shown}", lambda stage, it=changed: argued(stage, it))


@scenario("slirp4netns")
def api_add_tcp(stage):
    """API: a published port, and who the client seems to be"""
    _, slirp = container(stage)
    port = stage.port()
    seen = {"reply": forward(slirp, port), "client": from_host("127.0.0.1", port)}
    return stage.take_for_granted(seen["reply"] == '{"return":{"id":1}}' and "hello" in seen["client"], seen)


@scenario("slirp4netns")
def api_add_udp(stage):
    """API: a published port of UDP"""
    _, slirp = container(stage)
    port = stage.port()
    return {"reply": forward(slirp, port, proto="udp"), "client": from_host("127.0.0.1", port, kind="udp")}


@scenario("slirp4netns")
def api_add_udp_everywhere(stage):
    """API: a published port of UDP at every address of the host"""
    _, slirp = container(stage)
    port = stage.port()
    return {"reply": forward(slirp, port, proto="udp", host_addr=""), "outside": from_host("198.51.100.1", port, kind="udp"),
            "loopback": from_host("127.0.0.1", port, kind="udp")}


@scenario("slirp4netns")
def api_add_much(stage):
    """API: 8 MiB through a published port, checked"""
    box, slirp = container(stage)
    port = stage.port()
    forward(slirp, port, host_addr="0.0.0.0")
    other = stage.box()
    stage.slirp(other, "-c")
    return {"give": other.ask("give", to="10.0.2.2", port=port, mib=8), "take": other.ask("take", to="10.0.2.2", port=port, mib=8)}


@scenario("slirp4netns")
def api_addresses_empty(stage):
    """API: empty addresses are those left out: every address of the host, and the container's"""
    _, slirp = container(stage)
    port = stage.port()
    seen = {"reply": forward(slirp, port, host_addr="", guest_addr=""), "loopback": from_host("127.0.0.1", port),
            "outside": from_host("198.51.100.1", port), "list": entries(slirp)}
    return hide(seen, port)


@scenario("slirp4netns")
def api_addresses_missing(stage):
    """API: addresses left out"""
    _, slirp = container(stage)
    port = stage.port()
    seen = {"reply": forward(slirp, port, host_addr=None, guest_addr=None), "outside": from_host("198.51.100.1", port), "list": entries(slirp)}
    return hide(seen, port)


@scenario("slirp4netns")
def api_address_of_guest(stage):
    """API: a guest address that the container has beside its own"""
    box, slirp = container(stage)
    box.ask("run", words=["ip", "address", "add", "10.0.2.50/24", "dev", "tap0"])
    port = stage.port()
    return {"reply": forward(slirp, port, guest_addr="10.0.2.50"), "client": from_host("127.0.0.1", port)}


@scenario("slirp4netns")
def api_list(stage):
    """API: the list, as programs read it"""
    _, slirp = container(stage)
    ports = [stage.port() for _ in range(2)]
    forward(slirp, ports[0])
    forward(slirp, ports[1], proto="udp", host_addr="0.0.0.0")
    return hide({"keys": sorted(json.loads(slirp.order("list_hostfwd"))), "entries": entries(slirp)}, *ports)


@scenario("slirp4netns")
def api_list_documented(stage):
    """API: the list as the manual has it, below `return`"""
    _, slirp = container(stage)
    forward(slirp, stage.port())
    return {"entries below return": "entries" in json.loads(slirp.order("list_hostfwd")).get("return", {})}


def entries(slirp):
    """The entries, wherever they stand."""
    said = json.loads(slirp.order("list_hostfwd"))
    found = said["entries"] if "entries" in said else said.get("return", {}).get("entries")
    return [dict(sorted(it.items())) for it in found]


def hide(seen, *ports):
    """Ports differ from one peer to the other."""
    text = json.dumps(seen)
    for number, port in enumerate(ports):
        text = text.replace(str(port), str(number))
    return json.loads(text)


@scenario("slirp4netns")
def api_remove(stage):
    """API: a removed port is refused, and its number is never given again"""
    _, slirp = container(stage)
    ports = [stage.port() for _ in range(3)]
    first, second = forward(slirp, ports[0]), forward(slirp, ports[1])
    removed = slirp.order("remove_hostfwd", id=1)
    seen = {"first": first, "second": second, "removed": removed, "client": from_host("127.0.0.1", ports[0]),
            "other": from_host("127.0.0.1", ports[1]), "again": slirp.order("remove_hostfwd", id=1), "third": forward(slirp, ports[2])}
    return stage.take_for_granted(removed == '{"return":{}}' and seen["client"] == "ConnectionRefusedError", seen)


@scenario("slirp4netns")
def api_remove_and_add(stage):
    """API: the same port again after its removal"""
    _, slirp = container(stage)
    port = stage.port()
    forward(slirp, port)
    slirp.order("remove_hostfwd", id=1)
    return {"again": kind(forward(slirp, port)), "client": from_host("127.0.0.1", port)}


@scenario("slirp4netns")
def api_remove_under_connection(stage):
    """API: a connection that is there goes on when its port is removed"""
    _, slirp = container(stage)
    port = stage.port()
    forward(slirp, port)
    with socket.create_connection(("127.0.0.1", port), 3) as sock:
        sock.settimeout(3)
        # There is no telling from here when it has reached the container.
        time.sleep(0.3)
        slirp.order("remove_hostfwd", id=1)
        try:
            sock.sendall(b"still\n")
            return {"said": sock.makefile().read().strip()}
        except OSError as error:
            return {"said": type(error).__name__}


@scenario("slirp4netns")
def api_busy(stage):
    """API: a port that a program on the host has"""
    _, slirp = container(stage)
    with socket.create_server(("127.0.0.1", 0)) as other:
        return {"reply": kind(forward(slirp, other.getsockname()[1]))}


@scenario("slirp4netns")
def api_twice(stage):
    """API: the same order twice"""
    _, slirp = container(stage)
    port = stage.port()
    return {"replies": [kind(forward(slirp, port)), kind(forward(slirp, port))], "client": from_host("127.0.0.1", port)}


@scenario("slirp4netns")
def api_privileged(stage):
    """API: a port below 1024"""
    _, slirp = container(stage)
    return {"reply": kind(forward(slirp, 81))}


@scenario("slirp4netns")
def api_nobody_listens(stage):
    """API: a published port behind which nobody listens"""
    _, slirp = container(stage)
    port = stage.port()
    forward(slirp, port, guest_port=81)
    return {"client": from_host("127.0.0.1", port)}


@scenario("slirp4netns")
def api_in_parts(stage):
    """API: an order that comes in two parts"""
    _, slirp = container(stage)
    return {"reply": kind(slirp.ask('{"execute": "list_', 'hostfwd"}'))}


@scenario("slirp4netns")
def api_without_an_end(stage):
    """API: the beginning of an order, and no more"""
    _, slirp = container(stage)
    return {"reply": kind(slirp.ask('{"execute": "list_', half_close=False, limit=20))}


@scenario("slirp4netns")
def api_without_half_close(stage):
    """API: a client that only writes and reads"""
    _, slirp = container(stage)
    return {"reply": kind(slirp.ask('{"execute": "list_hostfwd"}', half_close=False))}


@scenario("slirp4netns")
def api_silent_client(stage):
    """API: a client that says nothing does not stop the container's packets, nor other clients"""
    box, slirp = container(stage)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(slirp.api_path)
        ping = box.ask("ping", to="10.0.2.2", limit=1.5)
        try:
            other = kind(slirp.ask('{"execute": "list_hostfwd"}', limit=1.5))
        except OSError as error:
            other = type(error).__name__
    return {"ping": ping, "other client": other}


@scenario("slirp4netns")
def api_client_that_leaves(stage):
    """API: clients that leave without a word, or before the answer"""
    _, slirp = container(stage)
    for text in (b"", b'{"execute": "list_hostfwd"}', b"{"):
        with socket.socket(socket.AF_UNIX) as client:
            connect(client, slirp.api_path)
            client.sendall(text)
    return {"next": kind(slirp.order("list_hostfwd")), "runs": slirp.runs()}


@scenario("slirp4netns")
def api_path_taken(stage):
    """API: the socket of one that was killed is replaced"""
    stage.slirp(stage.box(), "-c", api=True).signal(signal.SIGKILL)
    slirp = stage.slirp(stage.box(), "-c", api=True)
    return stage.take_for_granted((seen := kind(slirp.order("list_hostfwd"))) == "a list", {"reply": seen})


@scenario("slirp4netns")
def api_path_of_a_file(stage):
    """API: somebody's file stands where the socket is to be"""
    path = stage.path("api.sock")
    with open(path, "w") as file:
        file.write("old")
    os.chown(path, os.stat(stage.home).st_uid, -1)
    try:
        stage.slirp(stage.box(), "-c", api=True)
    except Failure:
        return {"starts": False, "file is left": os.path.isfile(path)}
    return {"starts": True, "file is left": os.path.isfile(path)}


@scenario("slirp4netns")
def api_many(stage):
    """API: two hundred orders one after the other"""
    _, slirp = container(stage)
    replies = [kind(forward(slirp, port)) for port in range(11000, 11200)]
    return {"all": all(it == {"return": ["id"]} for it in replies), "count": len(entries(slirp))}


@scenario("slirp4netns")
def api_of_cidr(stage):
    """API: the container's address in another network is the one meant when it is left out"""
    box, slirp = container(stage, "--cidr=10.9.7.0/24")
    port = stage.port()
    return {"reply": forward(slirp, port, guest_addr=None), "client": from_host("127.0.0.1", port)}
