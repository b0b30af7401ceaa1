"""Somebody inside of a container: takes one order a line from its input, answers each with a line, both JSON.

    {"do": NAME of a function here, its arguments…}

Errors of sockets are answers (`{"error": "ECONNREFUSED", …}`), so that they can be compared. Durations are told as classes:
what two programs on a busy machine have in common.
"""
import contextlib
import errno
import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
import time

import servers

ORDERS = {}
# Where an answer must come, and how long silence is watched.
LIMIT = 5


def order(function):
    ORDERS[function.__name__] = function
    return function


def main():
    print(json.dumps({"ready": os.getpid()}), flush=True)
    for line in sys.stdin:
        words = json.loads(line)
        began = time.monotonic()
        try:
            answer = ORDERS[words.pop("do")](**words)
        except TimeoutError:
            answer = {"error": "silence"}
        except OSError as error:
            answer = {"error": errno.errorcode.get(error.errno, str(error)), "after": duration(time.monotonic() - began)}
        print(json.dumps(answer), flush=True)


def duration(seconds):
    return "at once" if seconds < 1 else "soon" if seconds < LIMIT else "late"


@order
def links():
    """Interfaces with what was set on them; the kernel's own link-local addresses aside."""
    return {it["ifname"]: {"mtu": it["mtu"], "up": "UP" in it["flags"], "mac": it.get("address"),
                           "addresses": sorted(f"{a['local']}/{a['prefixlen']}" for a in it["addr_info"] if a["scope"] != "link")}
            for it in listed("address")}


@order
def routes():
    """Those of both families, as words."""
    found = [it for family in ("-4", "-6") for it in listed("route", family)]
    return sorted(" ".join(filter(None, [it["dst"], it.get("gateway") and f"via {it['gateway']}", f"dev {it['dev']}"]))
                  for it in found if not it["dst"].startswith(("fe80", "ff00", "multicast")))


@order
def ways():
    """The default routes of IPv4, the first first."""
    return [f"{it['gateway']} {it['dev']}" for it in listed("route", "-4") if it["dst"] == "default"]


def listed(what, family=None):
    words = ["ip", "-json", *([family] if family else []), what, "show"]
    said = subprocess.run(words, capture_output=True, text=True, env={"PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"}).stdout
    return json.loads(said or "[]")


@order
def wait_for_address(prefix, limit=LIMIT):
    """An address that comes by itself (of router advertisements), usable; and the default route."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        for it in listed("address"):
            for address in it["addr_info"]:
                if address["local"].startswith(prefix) and not address.get("tentative"):
                    return {"address": address["local"]}
        time.sleep(0.05)
    return {"address": None}


@order
def tcp(to, port, say="hello", source=None, limit=LIMIT):
    """What a server answers to a line."""
    with socket.create_connection((to, port), limit, (source, 0) if source else None) as sock:
        sock.sendall(f"{say}\n".encode())
        return {"said": until_end(sock).decode(errors="replace").strip()}


@order
def udp(to, port, say="hello", size=0, limit=LIMIT, tries=1):
    """What comes back for a datagram of a text, or whether one of a size comes back as it was."""
    data = os.urandom(size) if size else say.encode()
    with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((to, port))
        sock.settimeout(limit / tries)
        for attempt in range(tries):
            sock.send(data)
            try:
                back = sock.recv(65535)
            except TimeoutError:
                if attempt + 1 == tries:
                    raise
                continue
            return {"same": back == data} if size else {"said": back.decode(errors="replace")}


@order
def give(to, port, mib, limit=60):
    """A transfer to a server, checked by its digest."""
    digest = hashlib.sha256()
    with socket.create_connection((to, port), LIMIT) as sock:
        sock.settimeout(limit)
        sock.sendall(b"digest\n")
        for block in servers.noise(mib):
            digest.update(block)
            sock.sendall(block)
        sock.shutdown(socket.SHUT_WR)
        return {"whole": until_end(sock).decode().strip() == digest.hexdigest()}


@order
def take(to, port, mib, limit=60):
    """A transfer from a server, compared byte by byte."""
    with socket.create_connection((to, port), LIMIT) as sock:
        sock.settimeout(limit)
        sock.sendall(f"give {mib}\n".encode())
        return {"whole": until_end(sock) == b"".join(servers.noise(mib))}


@order
def many(to, port, count):
    """So many connections one after the other; how many were answered."""
    return {"answered": sum("said" in tcp(to, port) for _ in range(count))}


@order
def serve(address, port):
    """Answers from now on."""
    servers.serve_talk(address, port)
    return {}


@order
def name(server, name, kind=servers.A, over="udp", limit=LIMIT):
    """A question to a name server, over UDP or TCP."""
    asked = servers.question(name, kind, 0x4711)
    if over == "tcp":
        with socket.create_connection((server, 53), limit) as sock:
            sock.sendall(struct.pack("!H", len(asked)) + asked)
            length = struct.unpack("!H", exactly(sock, 2))[0]
            return servers.read_answer(exactly(sock, length))
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(limit)
        sock.connect((server, 53))
        sock.send(asked)
        return servers.read_answer(sock.recv(65535))


@order
def ping(to, limit=LIMIT):
    """One echo, by a raw socket of the container's root."""
    v6 = ":" in to
    family, protocol = (socket.AF_INET6, socket.getprotobyname("ipv6-icmp")) if v6 else (socket.AF_INET, socket.IPPROTO_ICMP)
    request, reply = (128, 129) if v6 else (8, 0)
    body = struct.pack("!HH", 4711, 1) + b"echo of us"
    with socket.socket(family, socket.SOCK_RAW, protocol) as sock:
        sock.connect((to, 0))
        # Of ICMPv6 the kernel makes the checksum.
        sock.send(struct.pack("!BBH", request, 0, checksum(struct.pack("!BBH", request, 0, 0) + body)) + body)
        deadline = time.monotonic() + limit
        while (left := deadline - time.monotonic()) > 0:
            sock.settimeout(left)
            data = sock.recv(2048)
            data = data if v6 else data[(data[0] & 15) * 4:]
            if data[0] == reply and data[4:] == body:
                return {"said": "echo"}
        raise TimeoutError


@order
def dhcp(interface, limit=LIMIT):
    """What a DHCP server offers (RFC 2131): the address, and options. Over frames, as a client without an address does."""
    mac = bytes.fromhex(links()[interface]["mac"].replace(":", ""))
    discover = struct.pack("!BBBBIHHIIII", 1, 1, 6, 0, 0x4711, 0, 0x8000, 0, 0, 0, 0) + mac + bytes(10 + 192)
    discover += b"\x63\x82\x53\x63" + b"\x35\x01\x01" + b"\x37\x04\x01\x03\x06\x1a" + b"\xff"
    discover += bytes(300 - len(discover))
    segment = struct.pack("!HHHH", 68, 67, 8 + len(discover), 0) + discover
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 1, 0, 64, 17, 0, bytes(4), b"\xff" * 4)
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as sock:
        sock.bind((interface, 0x0800))
        sock.send(b"\xff" * 6 + mac + b"\x08\x00" + header + segment)
        deadline = time.monotonic() + limit
        while (left := deadline - time.monotonic()) > 0:
            sock.settimeout(left)
            packet = sock.recv(2048)[14:]
            start = (packet[0] & 15) * 4
            if packet[9] == 17 and packet[start + 2:start + 4] == struct.pack("!H", 68):
                return offer(packet[start + 8:])
        raise TimeoutError


def offer(message):
    """The address, and those options that callers need."""
    found = {"address": socket.inet_ntoa(message[16:20])}
    at = 240
    while at < len(message) and message[at] != 255:
        if message[at] == 0:
            at += 1
            continue
        code, length = message[at], message[at + 1]
        value = message[at + 2:at + 2 + length]
        if code == 53:
            found["kind"] = value[0]
        elif code in (1, 3, 6):
            found[{1: "mask", 3: "router", 6: "names"}[code]] = [socket.inet_ntoa(value[it:it + 4]) for it in range(0, length, 4)]
        elif code in (12, 81):
            found[{12: "hostname", 81: "fqdn"}[code]] = value.decode("latin-1")
        at += 2 + length
    return found


@order
def dhcpv6(interface, kind, address=None, names_server=False, limit=LIMIT):
    """What a DHCPv6 server answers (RFC 8415) to a message of that kind; `address` is in it, and who the server is if `names_server`."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.settimeout(limit)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sock.bind(("::", 546))
        to = ("ff02::1:2", 547, 0, socket.if_nametoindex(interface))

        def exchange(kind, *options):
            sock.sendto(bytes([kind]) + b"abc" + b"".join(struct.pack("!HH", code, len(data)) + data for code, data in options), to)
            answer = sock.recv(2048)
            return answer[0], dict(options_of(answer[4:]))

        client = (1, bytes.fromhex("0003000102000000000a"))
        inside = b"" if address is None else struct.pack("!HH", 5, 24) + socket.inet_pton(socket.AF_INET6, address) + bytes(8)
        association = (3, b"here" + bytes(8) + inside)
        server = [(2, exchange(1, client, association)[1][2])] if names_server else []
        answered, options = exchange(kind, client, *server, *([] if kind == 11 else [association]))
        found = {"kind": answered, "client": options.get(1) == client[1]}
        if 3 in options and kind != 11:
            found["times"] = options[3][4:12].hex()
            for code, data in options_of(options[3][12:]):
                if code == 5:
                    found["address"], found["lives"] = socket.inet_ntop(socket.AF_INET6, data[:16]), data[16:24].hex()
                elif code == 13:
                    found["status"] = data[1]
        return found | {name: options[code].decode("latin-1") for code, name in ((23, "names"), (24, "search"), (39, "fqdn")) if code in options}


def options_of(data):
    """DHCPv6's options, one by one."""
    while len(data) >= 4:
        code, length = struct.unpack("!HH", data[:4])
        yield code, data[4:4 + length]
        data = data[4 + length:]


def checksum(data):
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


@order
def run(words, limit=30):
    """A command to its end."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL)
    return {"exit": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


@order
def read(path):
    with open(path) as file:
        return {"text": file.read()}


def until_end(sock):
    parts = []
    while data := sock.recv(1 << 18):
        parts.append(data)
    return b"".join(parts)


def exactly(sock, length):
    parts = b""
    while len(parts) < length:
        data = sock.recv(length - len(parts))
        if not data:
            raise OSError(errno.ECONNRESET, "ended")
        parts += data
    return parts


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        main()
