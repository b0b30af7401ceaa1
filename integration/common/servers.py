"""Small servers, each in threads of its own: what a connection looks like from the other end, and names.

The same on the host and inside of containers. What a client sends first decides what it gets:

    GET …          an HTTP answer that holds the addresses
    digest         the SHA-256 of all that follows, when the client has ended its half of the connection
    give N         N MiB that `noise` makes again, and the end
    slow …         the addresses, half a second later
    anything else  the addresses of both ends as the server sees them, and the line
"""
import contextlib
import hashlib
import random
import socket
import socketserver
import struct
import threading
import time

MIB = 1 << 20
NAME, NAME_ADDRESS, NAME_ADDRESS6 = "peer.test", "192.0.2.7", "2001:db8::7"
# A server, where there is one.
SERVER_NAME, SERVER_ADDRESS = "server.test", "192.0.2.80"
# More than a datagram of DNS without extensions may hold: it comes cut short, and whole over TCP.
LONG_NAME = "long.test"
A, TXT, AAAA = 1, 16, 28


class Talk(socketserver.StreamRequestHandler):
    """One connection."""

    timeout = 60

    def handle(self):
        with contextlib.suppress(OSError):
            self.answer(self.rfile.readline().decode(errors="replace").strip())

    def answer(self, line):
        words = line.split() or [""]
        if words[0] == "digest":
            digest = hashlib.sha256()
            while data := self.rfile.read1(1 << 18):
                digest.update(data)
            self.wfile.write(f"{digest.hexdigest()}\n".encode())
        elif words[0] == "give":
            for block in noise(int(words[1])):
                self.wfile.write(block)
        elif words[0] == "GET":
            while self.rfile.readline().strip():
                pass
            body = self.addresses() + "\n"
            self.wfile.write(f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        else:
            if words[0] == "slow":
                time.sleep(0.5)
            self.wfile.write(f"{self.addresses()}: {line}\n".encode())

    def addresses(self):
        return f"{plain(self.request.getpeername()[0])} to {plain(self.request.getsockname()[0])}"


class Echo(socketserver.DatagramRequestHandler):
    """One datagram; a long one comes back as it is, a short one with the addresses."""

    def handle(self):
        data = self.packet
        if len(data) < 200:
            addresses = f"{plain(self.client_address[0])} to {plain(self.socket.getsockname()[0])}"
            data = f"{addresses}: {data.decode(errors='replace')}".encode()
        self.wfile.write(data)


class Names(socketserver.DatagramRequestHandler):
    """One question in a datagram."""

    def handle(self):
        self.wfile.write(answer_to(self.packet, 512))


class NamesOverTcp(socketserver.StreamRequestHandler):
    """Questions on a connection, each behind its length (RFC 1035, 4.2.2)."""

    def handle(self):
        with contextlib.suppress(OSError, struct.error):
            while True:
                length = struct.unpack("!H", self.rfile.read(2))[0]
                answer = answer_to(self.rfile.read(length), 65535)
                self.wfile.write(struct.pack("!H", len(answer)) + answer)


class TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, *_):
        """A client that vanishes is no news."""


class UdpServer(socketserver.ThreadingUDPServer):
    daemon_threads = allow_reuse_address = True
    max_packet_size = 65535


def serve(kind, handler, address, port):
    """Serves until the process ends, or `shutdown` is called; IPv6 addresses for IPv6 alone."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = type("Server", (kind,), {"address_family": family})((address, port), handler, bind_and_activate=False)
    if family == socket.AF_INET6:
        made.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.server_bind()
    made.server_activate()
    threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True).start()
    return made


def serve_talk(address, port):
    """TCP and UDP on the same port."""
    return [serve(TcpServer, Talk, address, port), serve(UdpServer, Echo, address, port)]


def serve_names(address):
    return [serve(UdpServer, Names, address, 53), serve(TcpServer, NamesOverTcp, address, 53)]


def noise(mib):
    """The same bytes each time for the same length, a MiB at a time."""
    source = random.Random(mib)
    return (source.randbytes(MIB) for _ in range(mib))


def question(name, kind, identity):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", identity, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


def answer_to(message, limit):
    """NAME has one address in each family, SERVER_NAME one, LONG_NAME a long text; no other name is there."""
    identity = message[:2]
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode(errors="replace").lower())
        at += 1 + message[at]
    asked, kind = message[12:at + 5], struct.unpack_from("!H", message, at + 1)[0]
    name = ".".join(labels)
    data = {(NAME, A): [socket.inet_aton(NAME_ADDRESS)], (NAME, AAAA): [socket.inet_pton(socket.AF_INET6, NAME_ADDRESS6)],
            (SERVER_NAME, A): [socket.inet_aton(SERVER_ADDRESS)],
            (LONG_NAME, TXT): [bytes([200]) + bytes([65 + number]) * 200 for number in range(10)]}.get((name, kind), [])
    records = b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, 60, len(it)) + it for it in data)
    flags, count = 0x8180 if name in (NAME, SERVER_NAME, LONG_NAME) else 0x8183, len(data)
    if 12 + len(asked) + len(records) > limit:
        flags, records, count = flags | 0x0200, b"", 0
    return identity + struct.pack("!HHHHH", flags, 1, count, 0, 0) + asked + records


def read_answer(message):
    """The code, the count of answers and whether it was cut short."""
    flags, _, count = struct.unpack_from("!HHH", message, 2)
    return {"code": flags & 15, "answers": count, "cut": bool(flags & 0x0200)}


def plain(address):
    """An IPv4 address as such, however a socket writes it."""
    return address.removeprefix("::ffff:")
