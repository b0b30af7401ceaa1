"""The small real programs at the far ends of the tests: they run in containers, on the host and outside.

Each says `ready` when it listens, and one line for each thing that it sees. Only the standard library.
"""
import ctypes
import errno
import fcntl
import hashlib
import http.server
import os
import pty
import re
import select
import signal
import socket
import struct
import sys
import threading
import time


def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")  # one write: threads must not share a line


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def listener(address, port):
    sock = socket.socket(family(address), socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, int(port)))
    sock.listen(512)
    say("ready")
    return sock


def dial(address, port):
    """A connection, or the error that it has come to (see `outcome`)."""
    conn = socket.create_connection((address, int(port)), 10)
    if (result := outcome(conn)) != "connected":
        raise OSError(getattr(errno, result, errno.ENOTCONN), result)
    return conn


def finish(conn):
    """Says that there is no more. A reset that is there already is for whoever reads."""
    try:
        conn.shutdown(socket.SHUT_WR)
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise


def name_of(error):
    if isinstance(error, TimeoutError) and error.errno is None:
        return "timeout"
    return errno.errorcode.get(error.errno, str(error))


# TCP

def tcp_echo(address, port, seconds="0"):
    """Echoes every connection, each piece after so long; says who called."""
    def serve(conn, peer):
        say("peer", peer[0], peer[1])
        with conn:
            while data := conn.recv(65536):
                time.sleep(float(seconds))
                conn.sendall(data)
    sock = listener(address, port)
    while True:
        threading.Thread(target=serve, args=sock.accept(), daemon=True).start()


def tcp_ask(address, port, text, tries="1"):
    """Says what comes back for `text`, sent with a half-close; retries for a server that is still starting."""
    for attempt in range(int(tries)):
        try:
            with dial(address, port) as conn:
                conn.sendall(text.encode())
                finish(conn)
                answer = b""
                while data := conn.recv(65536):
                    answer += data
            say("answer", answer.decode())
            return
        except OSError as error:
            last = error
            time.sleep(0.1)
    say("failed", name_of(last))
    sys.exit(1)


def tcp_ask_twice(address, port, first, seconds, second):
    """Says what comes back for `first` and, so much later, `second`."""
    with socket.create_connection((address, int(port)), 10) as conn:
        say("ready")
        conn.sendall(first.encode())
        time.sleep(float(seconds))
        conn.sendall(second.encode())
        conn.shutdown(socket.SHUT_WR)
        answer = b""
        while data := conn.recv(65536):
            answer += data
    say("answer", answer.decode())


def refusing_server(address, port):
    """Answers before it has read all of a request, and closes: its kernel sends the answer and a reset."""
    sock = listener(address, port)
    while True:
        conn, _ = sock.accept()
        with conn:
            conn.recv(10)
            conn.sendall(b"413" + b"x" * 2000)


def refused_client(address, port, count):
    """Says what comes back for requests that are refused, and how each ends."""
    seen = set()
    for _ in range(int(count)):
        with socket.create_connection((address, int(port)), 10) as conn:
            conn.sendall(b"y" * 5000)
            seen.add(all_of(conn))
    say(*sorted(f"{len(said)} {end}" for said, end in seen))


def all_of(conn):
    """What a connection brings, and its end."""
    said = b""
    try:
        while data := conn.recv(65536):
            said += data
        return said, "EOF"
    except OSError as error:
        return said, name_of(error)


def greeting_server(address, port, count):
    """Greets, and says how many of so many clients have said something."""
    sock = listener(address, port)
    heard = 0
    for _ in range(int(count)):
        conn, _ = sock.accept()
        with conn:
            conn.sendall(b"welcome")
            heard += all_of(conn)[0] == b"a line for the log"
    say("heard", heard)
    time.sleep(1000)


def hasty_client(address, port, count):
    """Says something and closes without having read the greeting: its kernel sends a reset behind it."""
    for _ in range(int(count)):
        conn = socket.create_connection((address, int(port)), 10)
        while not select.select([conn], [], [], 10)[0]:
            pass
        conn.sendall(b"a line for the log")
        conn.close()
    say("said")


def last_words(address, port, seconds, text):
    """Connects, and so much later says something, closes and ends."""
    with socket.create_connection((address, int(port)), 10) as conn:
        say("ready")
        time.sleep(float(seconds))
        conn.sendall(text.encode())


def hearing_server(address, port):
    """Says what each connection brings, and its end."""
    sock = listener(address, port)
    while True:
        conn, _ = sock.accept()
        with conn:
            said, end = all_of(conn)
            say("heard", said.decode(), end)


def finishing_server(address, port, seconds):
    """Finishes at once, and resets so much later, what came meanwhile being unread."""
    sock = listener(address, port)
    while True:
        conn, _ = sock.accept()
        with conn:
            conn.recv(10)
            conn.shutdown(socket.SHUT_WR)
            time.sleep(float(seconds))


def finished_client(address, port):
    """Says whether a reset is seen after the other side has finished."""
    with socket.create_connection((address, int(port)), 10) as conn:
        conn.sendall(b"y" * 5000)
        while conn.recv(100):
            pass
        poll = select.poll()
        poll.register(conn, 0)
        events = poll.poll(20000)
        say("reset" if events and events[0][1] & select.POLLERR else "nothing")


def same_port_client(address, port, own, count):
    """Connects again and again from one port to a server that closes first; says how many were answered."""
    right = 0
    for _ in range(int(count)):
        with socket.socket(family(address), socket.SOCK_STREAM) as conn:
            conn.settimeout(10)
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            conn.bind(("", int(own)))
            conn.connect((address, int(port)))
            right += all_of(conn)[0] == b"welcome"
            finish(conn)
            # Until the other side has acknowledged our end, the port is not free.
            while conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != TCP_CLOSE:
                time.sleep(0.001)
    say("right", right)


TCP_CLOSE = 7  # include/net/tcp_states.h


def welcome_server(address, port):
    """Greets and closes."""
    sock = listener(address, port)
    while True:
        conn, _ = sock.accept()
        with conn:
            conn.sendall(b"welcome")


def connect(address, port, timeout="10", hops=None):
    """Says how a connection that may go so many hops ends up, and after how many milliseconds."""
    sock = socket.socket(family(address), socket.SOCK_STREAM)
    if hops:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, int(hops))
    sock.settimeout(float(timeout))
    start = time.monotonic()
    try:
        sock.connect((address, int(port)))
        result = outcome(sock)
    except OSError as error:
        result = name_of(error)
    say(result, round((time.monotonic() - start) * 1000, 1))


def outcome(sock):
    """What connect() has come to. One with a timeout asks the kernel when poll() wakes, and rarely the state is there
    before the error is (Linux 6.18, an ICMP error on a busy machine): it then takes a closed socket for a connected one."""
    try:
        sock.getpeername()
        return "connected"
    except OSError as error:
        return errno.errorcode.get(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), name_of(error))


def digest_server(address, port):
    """Reads each connection to its end and only then answers: `LENGTH SHA256`."""
    sock = listener(address, port)
    while True:
        conn, _ = sock.accept()
        with conn:
            digest, length = hashlib.sha256(), 0
            while data := conn.recv(1 << 16):
                digest.update(data)
                length += len(data)
            say("eof", length)
            time.sleep(0.3)
            conn.sendall(f"{length} {digest.hexdigest()}".encode())


def late_server(address, port, count):
    """Shuts its own direction first, then reads `count` bytes that come after its FIN."""
    sock = listener(address, port)
    conn, _ = sock.accept()
    with conn:
        conn.sendall(b"greeting")
        conn.shutdown(socket.SHUT_WR)
        length = 0
        while data := conn.recv(1 << 16):
            length += len(data)
        say("received", length)


def late_client(address, port, count):
    """Reads to the server's FIN, waits, then sends `count` bytes."""
    with socket.create_connection((address, int(port)), 10) as conn:
        greeting = b""
        while data := conn.recv(100):
            greeting += data
        say("greeting", greeting.decode(), "and FIN")
        time.sleep(0.3)
        conn.sendall(bytes(int(count)))


def reset_server(address, port):
    """Answers every connection's first bytes with a reset."""
    sock = listener(address, port)
    while True:
        conn, _ = sock.accept()
        conn.recv(100)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        conn.close()


def reset_client(address, port):
    """Connects, sends, and resets."""
    conn = socket.create_connection((address, int(port)), 10)
    conn.sendall(b"hello")
    time.sleep(0.3)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()
    say("reset sent")


def read_error_server(address, port):
    """Says how reading from each connection ends."""
    sock = listener(address, port)
    while True:
        conn, _ = sock.accept()
        try:
            while conn.recv(65536):
                pass
            say("ended by FIN")
        except OSError as error:
            say("ended by", name_of(error))


def read_error(address, port):
    """Sends a little and says how reading ends."""
    with socket.create_connection((address, int(port)), 10) as conn:
        conn.sendall(b"hello")
        try:
            data = conn.recv(100)
            say("ended by FIN" if not data else "data")
        except OSError as error:
            say("ended by", name_of(error))


def many(address, port, count):
    """Opens `count` connections at once, then asks each something of its own."""
    conns = [socket.create_connection((address, int(port)), 10) for _ in range(int(count))]
    for number, conn in enumerate(conns):
        conn.sendall(f"<{number}>".encode())
    right = sum(conn.recv(100) == f"<{number}>".encode() for number, conn in enumerate(conns))
    say("right", right)


def crowd(address, port, count):
    """Opens `count` connections one after another, asks those that came about and keeps them; counts the others."""
    kept, refused, slowest = [], 0, 0
    for _ in range(int(count)):
        start = time.monotonic()
        try:
            kept.append(dial(address, port))
        except ConnectionRefusedError:
            refused += 1
            slowest = max(slowest, time.monotonic() - start)
    for conn in kept:
        conn.sendall(b"?")
    right = sum(conn.recv(1) == b"?" for conn in kept)
    say("kept", len(kept), "right", right, "refused", refused, "slowest", round(slowest * 1000))
    signal.pause()


# Bulk data: the sender's and the receiver's digest must agree

def blocks(count):
    """`count` bytes that do not repeat, in blocks of 1 MiB."""
    noise = os.urandom((1 << 20) - 8)
    for number in range(count >> 20):
        yield number.to_bytes(8, "little") + noise


class Pace:
    """`full` speed, or `slow`: the second tenth in sips, and in the middle a stop of three seconds."""

    def __init__(self, pace, total):
        self.slow, self.total, self.done, self.stopped = pace == "slow", total, 0, False

    def step(self, length):
        self.done += length
        if self.slow and self.total < 10 * self.done < 2 * self.total:
            time.sleep(0.02 * length / (1 << 20))
        if self.slow and not self.stopped and 2 * self.done > self.total:
            self.stopped = True
            time.sleep(3)


def connection(how, address, port):
    if how == "listen":
        sock = listener(address, port)
        return sock.accept()[0]
    return socket.create_connection((address, int(port)), 10)


def give(how, address, port, count, pace):
    """Sends `count` bytes."""
    conn, digest, pace = connection(how, address, port), hashlib.sha256(), Pace(pace, int(count))
    with conn:
        for block in blocks(int(count)):
            conn.sendall(block)
            digest.update(block)
            pace.step(len(block))
        conn.shutdown(socket.SHUT_WR)
        conn.recv(1)
    say("gave", count, digest.hexdigest())


def take(how, address, port, count, pace):
    """Receives to the end."""
    conn, digest, length, pace = connection(how, address, port), hashlib.sha256(), 0, Pace(pace, int(count))
    with conn:
        while data := conn.recv(1 << 18):
            digest.update(data)
            length += len(data)
            pace.step(len(data))
    say("took", length, digest.hexdigest())


def make_file(path, count):
    """Writes a file of bytes that do not repeat."""
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for block in blocks(int(count)):
            file.write(block)
            digest.update(block)
    say(digest.hexdigest())


def put_server(address, port):
    """An HTTP server that takes PUT and says the body's digest."""
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self):
            digest, left = hashlib.sha256(), int(self.headers["Content-Length"])
            while left:
                data = self.rfile.read(min(left, 1 << 18))
                if not data:
                    break
                digest.update(data)
                left -= len(data)
            say("put", digest.hexdigest())
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = http.server.ThreadingHTTPServer((address, int(port)), Handler)
    say("ready")
    server.serve_forever()


# UDP

def udp_echo(*endpoints):
    """Echoes datagrams on each `ADDRESS PORT`; says who sent them."""
    socks = []
    for address, port in zip(endpoints[::2], endpoints[1::2]):
        sock = socket.socket(family(address), socket.SOCK_DGRAM)
        sock.bind((address, int(port)))
        socks.append(sock)
    say("ready")
    while True:
        for sock in select.select(socks, [], [])[0]:
            data, peer = sock.recvfrom(65536)
            say("from", peer[0], peer[1], "to", sock.getsockname()[0], len(data))
            sock.sendto(data, peer)


def udp_ask(source, port, *endpoints):
    """Sends from one socket to each `ADDRESS PORT`, and says what comes back from where."""
    sock = socket.socket(family(endpoints[0]), socket.SOCK_DGRAM)
    sock.bind((source, int(port)))
    sock.settimeout(3)
    for length in (4, 0, 1400, 1472):
        for address, target in zip(endpoints[::2], endpoints[1::2]):
            payload = os.urandom(length)
            try:
                sock.sendto(payload, (address, int(target)))
                data, peer = sock.recvfrom(65536)
                right = data == payload and peer[:2] == (address, int(target))
                say(f"udp {length} {'right' if right else 'wrong'} from {peer[0]}")
            except OSError as error:
                say(f"udp {length} {name_of(error)}")


def udp_sizes(address, port, *lengths):
    """Sends a datagram of each length, and says whether it comes back as it was."""
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    sock.settimeout(3)
    for length in map(int, lengths):
        payload = os.urandom(length)
        try:
            sock.sendto(payload, (address, int(port)))
            say(f"udp {length} {'right' if sock.recvfrom(65536)[0] == payload else 'wrong'}")
        except OSError as error:
            say(f"udp {length} {name_of(error)}")


def udp_late_echo(address, port, seconds):
    """Echoes each datagram after so long."""
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    sock.bind((address, int(port)))
    say("ready")
    while True:
        data, peer = sock.recvfrom(65536)
        threading.Timer(float(seconds), sock.sendto, (data, peer)).start()


def udp_many(address, port, count):
    """Sends something of its own from each of `count` sockets at once, and says how many get it back."""
    socks = [socket.socket(family(address), socket.SOCK_DGRAM) for _ in range(int(count))]
    for number, sock in enumerate(socks):
        sock.settimeout(10)
        sock.sendto(f"<{number}>".encode(), (address, int(port)))
    right = 0
    for number, sock in enumerate(socks):
        try:
            right += sock.recvfrom(100)[0] == f"<{number}>".encode()
        except OSError as error:
            say(name_of(error))
    say("right", right)


def udp_in_turn(address, port, count):
    """The same one after the other: each socket waits for its own before the next one sends."""
    right = 0
    for number in range(int(count)):
        with socket.socket(family(address), socket.SOCK_DGRAM) as sock:
            sock.settimeout(1)
            sock.sendto(f"<{number}>".encode(), (address, int(port)))
            try:
                right += sock.recvfrom(100)[0] == f"<{number}>".encode()
            except OSError as error:
                say(name_of(error))
                break
    say("right", right)


def udp_tally(address, port):
    """Answers `end` with the number of all datagrams before it, and with their digest, each with its length."""
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    sock.bind((address, int(port)))
    say("ready")
    count, digest = 0, hashlib.sha256()
    while True:
        data, peer = sock.recvfrom(65536)
        if data == b"end":
            sock.sendto(b"%d %s" % (count, digest.hexdigest().encode()), peer)
            count, digest = 0, hashlib.sha256()
        else:
            count += 1
            digest.update(b"%d " % len(data) + data)


def udp_medley(address, port):
    """Sends datagrams in bursts: some of one size, some with a shorter last, some of all sizes; all must arrive, in order."""
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    sock.settimeout(5)
    count, digest = 0, hashlib.sha256()
    for lengths in ([100] * 20, [1400] * 10 + [7], [5, 5, 6, 5, 5], [0, 1, 0, 1], [1472] * 8, range(1, 1400, 70), [300] * 90):
        for length in lengths:
            data = os.urandom(length)
            count += 1
            digest.update(b"%d " % length + data)
            sock.sendto(data, (address, int(port)))
        time.sleep(0.02)
    sock.sendto(b"end", (address, int(port)))
    arrived, theirs = sock.recv(100).decode().split()
    if theirs == digest.hexdigest():
        say("in order")
    else:
        say("not as they were sent" if int(arrived) == count else f"{arrived} of {count}")


def burst():
    """What one sendmsg with UDP_SEGMENT (linux/udp.h) makes 21 datagrams of: the whole, and its ancillary data."""
    payload = b"".join(bytes([number]) * 1400 for number in range(20)) + b"last"
    return payload, [(socket.IPPROTO_UDP, 103, struct.pack("H", 1400))]


def caught(sock):
    """How many of a burst's datagrams come in, each whole."""
    whole, _ = burst()
    missing = {whole[at:at + 1400] for at in range(0, len(whole), 1400)}
    while missing:
        missing.remove(sock.recvfrom(65536)[0])
    return 21


def udp_volley(address, port):
    """Answers each datagram with a burst."""
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    sock.bind((address, int(port)))
    say("ready")
    while True:
        _, peer = sock.recvfrom(65536)
        payload, segments = burst()
        sock.sendmsg([payload], segments, 0, peer)


def udp_burst(address, port):
    """Sends a burst, and says how many datagrams come back."""
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    sock.settimeout(3)
    payload, segments = burst()
    sock.sendmsg([payload], segments, 0, (address, int(port)))
    say("whole", caught(sock))


def udp_catch(address, port):
    """Sends a datagram, and says how many of a burst come back."""
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    sock.settimeout(3)
    sock.sendto(b"go", (address, int(port)))
    say("whole", caught(sock))


def udp_error(address, port):
    """Says the error that a connected UDP socket gets from a closed port or a router."""
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    recv_errors(sock)
    sock.settimeout(0.5)
    sock.connect((address, int(port)))
    # A router sends one error a second (ip_error, net/ipv4/route.c).
    for _ in range(8):
        try:
            sock.send(b"hello")
            sock.recv(100)
            return say("answer")
        except socket.timeout:
            pass
        except OSError as error:
            return say(name_of(error))
    say("timeout")


def udp_steady(address, port):
    """Sends a datagram every 50 ms from one socket; says `ready` with the first answer, then every tenth. What fails is
    tried again."""
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    sock.settimeout(0.05)
    answers = 0
    while True:
        try:
            sock.sendto(b"%d" % answers, (address, int(port)))
            sock.recvfrom(100)
            answers += 1
            if answers == 1:
                say("ready")
            elif answers % 10 == 0:
                say("answers", answers)
            time.sleep(0.05)
        except OSError:
            time.sleep(0.02)


def mark(sock, hops=None, klass=0):
    """Sets what the IP header says of hops and class."""
    v4 = sock.family == socket.AF_INET
    level = socket.IPPROTO_IP if v4 else socket.IPPROTO_IPV6
    sock.setsockopt(level, socket.IP_TTL if v4 else socket.IPV6_UNICAST_HOPS, hops or 64)
    sock.setsockopt(level, socket.IP_TOS if v4 else socket.IPV6_TCLASS, klass)


def udp_marked(address, port):
    """Sends datagrams of one to four bytes, with hops and class of their own."""
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    for length, hops, klass in [(1, None, 0), (2, 9, 0xb9), (3, None, 0x02), (4, None, 0)]:
        mark(sock, hops, klass)
        sock.sendto(bytes(length), (address, int(port)))


def tcp_marked(address, port):
    """Connects and says five bytes with hops and class of their own, then six with others."""
    sock = socket.socket(family(address), socket.SOCK_STREAM)
    sock.settimeout(10)
    mark(sock, 20, 0x48)
    sock.connect((address, int(port)))
    sock.sendall(b"first")
    say(len(sock.recv(100)))
    mark(sock, None, 0x20)
    sock.sendall(b"second")
    say(len(sock.recv(100)))


def tcp_class_server(address, port, klass, seconds="0"):
    """Says when something comes, and echoes it after so long, in this class from then on."""
    sock = listener(address, port)
    while True:
        conn, _ = sock.accept()
        with conn:
            while data := conn.recv(65536):
                say("heard", len(data))
                time.sleep(float(seconds))
                mark(conn, None, int(klass, 0))
                conn.sendall(data)


def wire(interface):
    """Says what comes in by an interface: `tcp`, `udp` or `echo`, to which port, and what the IP header says."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))  # ETH_P_ALL
    sock.bind((interface, 3))
    say("ready")
    while True:
        packet, (_, kind, direction, *_) = sock.recvfrom(65536)
        if direction == 4:  # PACKET_OUTGOING
            continue
        if kind == 0x0800:
            klass, hops, protocol, whole = packet[1], packet[8], packet[9], packet[6] & 0x40
            body = packet[(packet[0] & 15) * 4:int.from_bytes(packet[2:4], "big")]
        elif kind == 0x86DD:
            klass, hops, protocol, whole = (packet[0] & 15) << 4 | packet[1] >> 4, packet[7], packet[6], True
            body = packet[40:40 + int.from_bytes(packet[4:6], "big")]
        else:
            continue
        source, target = struct.unpack(">HH", body[:4])
        ending = f"hops {hops} class {klass:02x} {'whole' if whole else 'divisible'}"
        if protocol == 17:
            say(f"udp {target} len {len(body) - 8} {ending}")
        elif protocol == 6:
            flag = "syn" if body[13] & 2 else "ack"
            say(f"tcp {target} {flag} len {len(body) - (body[12] >> 4) * 4} {ending}")
            say(f"tcp from {source} {flag} len {len(body) - (body[12] >> 4) * 4} {ending}")
        elif (protocol, body[0]) in [(1, 8), (58, 128)]:
            say(f"echo len {len(body) - 8} {ending}")


def udp_path(address, port, size, segment=None):
    """Sends what may not be cut: says the error and the way's MTU, and how a datagram of that length fares; several of a
    size at once where a segment's is given."""
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    v4 = sock.family == socket.AF_INET
    level = socket.IPPROTO_IP if v4 else socket.IPPROTO_IPV6
    discover, mtu = (10, 14) if v4 else (23, 24)  # IP_MTU_DISCOVER, IP_MTU, IPV6_MTU_DISCOVER, IPV6_MTU
    recv_errors(sock)
    sock.setsockopt(level, discover, 2)  # IP_PMTUDISC_DO
    sock.settimeout(1)
    sock.connect((address, int(port)))
    control = [(socket.IPPROTO_UDP, 103, struct.pack("H", int(segment)))] if segment else []
    payload = bytes(int(size) * (3 if segment else 1))
    # The first is lost on the way, as it may be anywhere.
    for _ in range(5):
        try:
            sock.sendmsg([payload], control)
            sock.recv(65536)
            return say("whole")
        except socket.timeout:
            continue
        except OSError as error:
            known = sock.getsockopt(level, mtu)
            said = name_of(error)
            break
    else:
        return say("silence")
    fits = known - (28 if v4 else 48)
    for _ in range(5):
        try:
            sock.send(bytes(fits))
            whole = len(sock.recv(65536)) == fits
            return say(f"{said} {known}, then {'whole' if whole else 'less'}")
        except socket.timeout:
            continue
        except ConnectionRefusedError:
            return say(f"{said} {known}, then refused")
        except OSError:
            continue  # one more about the first
    say(f"{said} {known}, then silence")


def errnos(port, *addresses):
    """Says for each address how a connection and how a datagram to it end, all tried at once; `silence` is no end."""
    def tcp(address):
        sock = socket.socket(family(address), socket.SOCK_STREAM)
        # 1, 2, 4 and 8 seconds, twice as long as a neighbour is asked for; a router reports no more than one a second.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 3)
        try:
            sock.connect((address, int(port)))
            return "connected"
        except OSError as error:
            return name_of(error)

    def udp(address):
        sock = socket.socket(family(address), socket.SOCK_DGRAM)
        recv_errors(sock)
        sock.settimeout(0.5)
        end = time.monotonic() + 14
        while time.monotonic() < end:
            try:
                sock.connect((address, int(port)))
                sock.send(b"hello")
                sock.recv(100)
                return "answer"
            except socket.timeout:
                pass
            except OSError as error:
                return name_of(error)
        return "silence"

    results = {}
    tries = [threading.Thread(target=lambda a=address, t=attempt: results.update({(a, t): t(a)}))
             for address in addresses for attempt in (tcp, udp)]
    for thread in tries:
        thread.start()
    for thread in tries:
        thread.join()
    for address in addresses:
        say(address, results[address, tcp], results[address, udp])


def recv_errors(sock):
    """IP_RECVERR and IPV6_RECVERR: without, only a closed port is an error (ip(7))."""
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, 11, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, 25, 1)


def hold_udp(address, port):
    """Tries to bind; says whether it could."""
    sock = socket.socket(family(address), socket.SOCK_DGRAM)
    try:
        sock.bind((address, int(port)))
        say("bound")
    except OSError as error:
        say(name_of(error))


def hold_tcp(address, port):
    """Tries to listen; says whether it could."""
    sock = socket.socket(family(address), socket.SOCK_STREAM)
    try:
        if family(address) == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, int(port)))
        sock.listen()
        say("bound")
    except OSError as error:
        say(name_of(error))


# Names

def dns_server(address, port="53", fault=""):
    """A resolver: `*.example.test` is 192.0.2.7, everything else does not exist. Says what was asked and how.

    `long.example.test` has 250 addresses, 4,000 bytes of records. `fault` is `servfail` (for everything), `silent`, or
    `forged`: true answers come after false ones.
    """
    def answer(query, how):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind, name = int.from_bytes(query[at + 1:at + 3], "big"), ".".join(labels)
        say(how, name, kind)
        known = name.endswith("example.test")
        failing = fault == "servfail"
        count = 0 if not known or kind != 1 or failing else 250 if name.startswith("long.") else 1
        flags = 0x8182 if failing else 0x8180 if known else 0x8183
        record = b"\xc0\x0c" + struct.pack(">HHIH4s", 1, 1, 60, 4, socket.inet_aton("192.0.2.7"))
        # The client's OPT record has its size in place of a class; without one it is 512.
        size = int.from_bytes(query[at + 8:at + 10], "big") if query[10:12] == b"\0\1" else 512
        if how == "udp" and at + 5 + count * 16 > size:
            count, flags = 0, flags | 0x200
        head = query[:2] + struct.pack(">HHHHH", flags, 1, count, 0, 0)
        return head + query[12:at + 5] + record * count

    def stream(conn):
        with conn:
            try:
                while size := conn.recv(2, socket.MSG_WAITALL):
                    query = conn.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
                    reply = answer(query, "tcp")
                    conn.sendall(len(reply).to_bytes(2, "big") + reply)
            except OSError:
                pass

    def streams(sock):
        while True:
            conn, _ = sock.accept()
            threading.Thread(target=stream, args=(conn,), daemon=True).start()

    datagrams = socket.socket(family(address), socket.SOCK_DGRAM)
    datagrams.bind((address, int(port)))
    if fault == "forged":
        elsewhere, other_port = (socket.socket(family(address), socket.SOCK_DGRAM) for _ in range(2))
        elsewhere.bind((address[:-1] + "9", int(port)))
        other_port.bind((address, 0))
    threading.Thread(target=streams, args=(listener(address, port),), daemon=True).start()
    while True:
        query, peer = datagrams.recvfrom(4096)
        reply = answer(query, "udp")
        if fault == "silent":
            continue
        if fault == "forged":
            false = reply[:-4] + socket.inet_aton("192.0.2.66")
            elsewhere.sendto(false, peer)
            other_port.sendto(false, peer)
            for mask in (1, 0x8000):
                number = int.from_bytes(query[:2], "big") ^ mask
                datagrams.sendto(number.to_bytes(2, "big") + false[2:], peer)
            datagrams.sendto(false[:13] + bytes([false[13] ^ 1]) + false[14:], peer)
        datagrams.sendto(reply, peer)


def dns_question(name, number=1):
    """A question for the address of `name`."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", number & 0xffff, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"


def dns_loop(server, seconds):
    """Asks one question after the other; says how many had an address, and the longest time without one in ms."""
    say("ready")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((server, 53))
    sock.settimeout(5)
    end, last, gap, good = time.monotonic() + float(seconds), time.monotonic(), 0, 0
    while time.monotonic() < end:
        question = dns_question(f"n{good}.example.test", good)
        sock.send(question)
        answer = sock.recv(4096)
        now = time.monotonic()
        if answer[:2] == question[:2] and answer[3] & 15 == 0 and answer[7]:
            gap, last, good = max(gap, now - last), now, good + 1
        time.sleep(0.01)
    gap = max(gap, time.monotonic() - last)
    say("good", good, "gap", round(gap * 1000))


def dns_abuse(server, name):
    """Is silent, slow and noisy in every way at once; says whether `name` is answered meanwhile, and in how many ms."""
    silent = [socket.create_connection((server, 53), 5) for _ in range(200)]
    for conn in silent[100:]:
        conn.sendall(b"\0")  # half a length
    slow = [socket.create_connection((server, 53), 5) for _ in range(2)]

    def a_byte_at_a_time(conn, message):
        try:
            for byte in len(message).to_bytes(2, "big") + message:
                conn.sendall(bytes([byte]))
                time.sleep(0.0005)
        except OSError as error:
            say("slow ended by", name_of(error))

    question = dns_question(name)
    senders = [threading.Thread(target=a_byte_at_a_time, args=it, daemon=True)
               for it in zip(slow, [question.ljust(65535, b"\0"), question])]
    for sender in senders:
        sender.start()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((server, 53))
    sock.settimeout(5)
    noise = [os.urandom(size) for size in (0, 1, 11, 12, 13, 100, 1400)]
    loop = question[:12] + b"\xc0\x0c" + question[-4:]
    for message in 20 * (noise + [loop, question[:12] + b"\0", question[:-1], question + b"\0", bytes(1472)]):
        sock.send(message)
    times = []
    for number in range(2000, 2100):
        start = time.monotonic()
        sock.send(dns_question(name, number))
        while sock.recv(4096)[:2] != number.to_bytes(2, "big"):
            pass
        times.append(time.monotonic() - start)
    say("over udp", round(sorted(times)[50] * 1000, 2))
    slow[1].settimeout(5)
    answer = slow[1].recv(2, socket.MSG_WAITALL)
    say("over tcp", int.from_bytes(answer, "big"))
    # Ended by the server, long before its 64 KB are sent; but it has to be told so first.
    senders[0].join(10)


# Terminals and signals

def tty(expect, send, *command):
    """Runs a command on a terminal; when it has said `expect`, types `send`; says the rest and how it ended."""
    pid, master = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    seen, sent = b"", False
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:
            break
        if not data:
            break
        seen += data
        if not sent and expect.encode() in seen:
            sent = True
            os.write(master, send.encode().decode("unicode_escape").encode())
    _, status = os.waitpid(pid, 0)
    say(seen.decode(errors="replace"))
    say("ended with", os.waitstatus_to_exitcode(status))


def trap(code):
    """Waits for SIGTERM and then ends with `code`."""
    def ended(number, frame):
        say("caught", number)
        sys.exit(int(code))
    signal.signal(signal.SIGTERM, ended)
    say("ready")
    while True:
        time.sleep(0.1)  # pause() would miss one that comes just before it


def reader_gone(number, *command):
    """Runs a command that writes to a pipe at this descriptor; leaves when it has written, and says what and how it ended."""
    inner, outer = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(outer, int(number))
        os.set_inheritable(int(number), True)
        os.execv(command[0], command)
    os.close(outer)
    written = os.read(inner, 64).decode()
    os.close(inner)
    say(f"{written!r}, then {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}")


def unix_ask(path, *pieces):
    """Says what is answered to the pieces of a message, sent one after the other."""
    with socket.socket(socket.AF_UNIX) as conn:
        conn.settimeout(10)
        conn.connect(path)
        for piece in pieces:
            conn.sendall(piece.encode())
            time.sleep(0.05 if len(pieces) > 1 else 0)
        conn.shutdown(socket.SHUT_WR)
        answer = b""
        while data := conn.recv(65536):
            answer += data
    say(answer.decode())


def unix_silence(path, count):
    """Connects so many times and says nothing."""
    held = []
    for _ in range(int(count)):
        conn = socket.socket(socket.AF_UNIX)
        conn.connect(path)
        held.append(conn)
    say("ready")
    while True:
        signal.pause()


def hung_up(file, *command):
    """Runs a command that has the end of a pipe at descriptor 4, and hangs it up when there is such a file."""
    inner, outer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(outer)
        os.dup2(inner, 4)
        os.set_inheritable(4, True)
        os.execv(command[0], command)
    os.close(inner)
    while not os.path.exists(file):
        time.sleep(0.01)
    os.close(outer)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def closed():
    """A process that lets nobody look into it or join it, as a runtime's before its command runs."""
    ctypes.CDLL(None).prctl(4, 0)  # PR_SET_DUMPABLE
    say("ready")
    time.sleep(1000)


def tap_of(pid, name, *command):
    """Runs a command that has a TAP of a process's network namespace at descriptor 7."""
    libc = ctypes.CDLL(None, use_errno=True)
    here, there = socket.socketpair()
    if os.fork() == 0:
        for kind in ("user", "net"):
            if libc.setns(os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY), 0) != 0:
                sys.exit(f"setns: {os.strerror(ctypes.get_errno())}")
        tap = os.open("/dev/net/tun", os.O_RDWR)
        tap_without_information, set_interface = 0x0002 | 0x1000, 0x400454CA  # IFF_TAP | IFF_NO_PI, TUNSETIFF
        fcntl.ioctl(tap, set_interface, struct.pack("16sH22x", name.encode(), tap_without_information))
        socket.send_fds(there, [b"x"], [tap])
        os._exit(0)
    _, [tap], _, _ = socket.recv_fds(here, 1, 1)
    os.wait()
    os.dup2(tap, 7)
    os.set_inheritable(7, True)
    os.execv(command[0], command)


def deaf():
    """Does not hear SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("ready")
    while True:
        signal.pause()


def without_offload_header(*command):
    """Runs a command in a sandbox whose TAP driver knows no offload header: TUNSETVNETHDRSZ is EINVAL there."""
    ioctl = {"x86_64": 16, "aarch64": 29, "riscv64": 29}[os.uname().machine]
    refusing(ioctl, 0x400454D8, command)


def without_packet_ring(*command):
    """Runs a command in a sandbox whose sockets have no option 5: PACKET_RX_RING is EINVAL there."""
    setsockopt = {"x86_64": 54, "aarch64": 208, "riscv64": 208}[os.uname().machine]
    refusing(setsockopt, 5, command, index=2)


def refusing(call, value, command, index=1):
    """Runs a command for which a system call is EINVAL if the argument at this index (from 0) has this value."""
    # Classic BPF over struct seccomp_data: load a word, jump if equal, return; linux/filter.h, linux/seccomp.h.
    load, jump_equal, give = 0x20, 0x15, 0x06
    allow, refuse = 0x7FFF0000, 0x00050000 | errno.EINVAL
    number, argument = 0, 16 + 8 * index
    program = [(load, 0, 0, number), (jump_equal, 0, 2, call), (load, 0, 0, argument),
               (jump_equal, 1, 0, value), (give, 0, 0, allow), (give, 0, 0, refuse)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    filters = ctypes.create_string_buffer(struct.pack("HP", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privs, seccomp, by_filter = 38, 22, 2
    for call in [(no_new_privs, 1, 0, 0, 0), (seccomp, by_filter, ctypes.addressof(filters), 0, 0)]:
        if libc.prctl(*map(ctypes.c_ulong, call)) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    os.execv(command[0], command)


# The helper's API

def events_unread(path):
    """Asks for events and reads nothing of them until SIGUSR1, then says all there are."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    sock.sendall(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n")
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(1)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    say("ready")
    signal.sigwait([signal.SIGUSR1])
    while data := sock.recv(65536):
        sys.stdout.write(data.decode())


def publish_often(path, name, count):
    """Publishes and unpublishes a port so many times, over one connection."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    answers = sock.makefile("rb")
    body = b'{"specs":["8081:81"]}'
    for number in range(int(count)):
        what = "unpublish" if number % 2 else "publish"
        sock.sendall(f"POST /containers/{name}/{what} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
                     f"content-length: {len(body)}\r\n\r\n".encode() + body)
        status, length = answers.readline(), 0
        while (line := answers.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        text = answers.read(length)
        if b" 200 " not in status:
            sys.exit(f"{what}: {status} {text}")
# Links

def mesh(*ports):
    """Echoes TCP and UDP on each port, over both families."""
    for port in map(int, ports):
        for address in ("0.0.0.0", "::"):
            tcp = socket.socket(family(address), socket.SOCK_STREAM)
            udp = socket.socket(family(address), socket.SOCK_DGRAM)
            for sock in (tcp, udp):
                if address == "::":
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((address, port))
            tcp.listen(64)
            threading.Thread(target=mesh_tcp, args=(tcp,), daemon=True).start()
            threading.Thread(target=mesh_udp, args=(udp,), daemon=True).start()
    say("ready")
    threading.Event().wait()


def mesh_tcp(sock):
    while True:
        conn, _ = sock.accept()
        threading.Thread(target=lambda: conn.sendall(conn.recv(64)), daemon=True).start()


def mesh_udp(sock):
    while True:
        data, client = sock.recvfrom(65536)
        sock.sendto(data, client)


def reach(address4, address6, expected, *ports):
    """Says which of these answer: each port by TCP and UDP, a ping, over both families. Goes on until all that are
    expected (joined by commas) have answered, for fifteen rounds at most, and tries each of the others twice."""
    expected = set(filter(None, expected.split(",")))
    cells = {}
    for number, address in (("4", address4), ("6", address6)):
        cells["icmp" + number] = (reach_icmp, address, 0)
        for port in map(int, ports):
            cells[f"tcp{number}:{port}"] = (reach_tcp, address, port)
            cells[f"udp{number}:{port}"] = (reach_udp, address, port)
    reached = set()

    def attempt(cell):
        how, address, port = cells[cell]
        try:
            if how(address, port):
                reached.add(cell)
        except OSError:
            pass
    for attempts in range(1, 16):
        threads = [threading.Thread(target=attempt, args=(cell,)) for cell in set(cells) - reached]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if expected <= reached and attempts >= 2:
            break
    say(",".join(sorted(reached)))


def reach_tcp(address, port):
    with socket.create_connection((address, port), 1) as conn:
        conn.sendall(b"hello")
        return conn.recv(64) == b"hello"


def reach_udp(address, port):
    with socket.socket(family(address), socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.connect((address, port))
        sock.send(b"hello")
        return sock.recv(64) == b"hello"


def reach_icmp(address, _):
    kinds = (socket.IPPROTO_ICMPV6, 128, 129) if ":" in address else (socket.IPPROTO_ICMP, 8, 0)
    with socket.socket(family(address), socket.SOCK_RAW, kinds[0]) as sock:
        sock.settimeout(1)
        echo = struct.pack("!BBHHH", kinds[1], 0, 0, os.getpid() & 0xffff, 1)
        if kinds[1] == 8:
            echo = struct.pack("!BBHHH", 8, 0, internet_sum(echo), os.getpid() & 0xffff, 1)
        sock.sendto(echo, (address, 0))
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            data, peer = sock.recvfrom(2048)
            if peer[0] == address and data[20 if kinds[1] == 8 else 0] == kinds[2]:
                return True
    return False


def internet_sum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def overhear():
    """Says each word of the form <word> in any frame that arrives at eth0, and between which hardware addresses."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sock.bind(("eth0", 3))
    say("ready")
    while True:
        frame, origin = sock.recvfrom(65536)
        # Addresses and sums may have these bytes, too.
        word = re.search(rb"<[a-z0-9-]+>", frame)
        if origin[2] != socket.PACKET_OUTGOING and word:
            say("heard", word[0].decode(), "from", frame[6:12].hex(":"))


def forge(own, victim, other, gateway_mac):
    """Sends every kind of frame that a container should not: as itself, as `other`, at `victim`. Each of the first three
    is MAC,IPV4,IPV6."""
    own, victim, other = ((bytes.fromhex(mac.replace(":", "")), socket.inet_aton(v4), socket.inet_pton(socket.AF_INET6, v6))
                          for mac, v4, v6 in (party.split(",") for party in (own, victim, other)))
    gateway = bytes.fromhex(gateway_mac.replace(":", ""))
    everybody, all_nodes = b"\xff" * 6, b"\x33\x33\0\0\0\1"
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.bind(("eth0", 0))

    def send(target, source, kind, body):
        sock.send(target + source + struct.pack("!H", kind) + body.ljust(46, b"\0"))
    for way, target in (("direct", victim[0]), ("relay", gateway), ("flood", everybody)):
        send(target, own[0], 0x0800, udp4(own[1], victim[1], f"<own4-{way}>"))
        send(target, own[0], 0x86dd, udp6(own[2], victim[2], f"<own6-{way}>"))
        send(target, own[0], 0x0800, udp4(other[1], victim[1], f"<ip4-{way}>"))
        send(target, own[0], 0x86dd, udp6(other[2], victim[2], f"<ip6-{way}>"))
        send(target, other[0], 0x0800, udp4(other[1], victim[1], f"<mac4-{way}>"))
        send(target, other[0], 0x86dd, udp6(other[2], victim[2], f"<mac6-{way}>"))
        send(target, other[0], 0x0800, udp4(own[1], victim[1], f"<mac-own4-{way}>"))
        tagged = struct.pack("!HH", 1, 0x0800) + udp4(own[1], victim[1], f"<vlan-{way}>")
        send(target, own[0], 0x8100, tagged)
        send(target, own[0], 0x88a8, struct.pack("!HH", 1, 0x8100) + tagged)
        send(target, own[0], 0x88b5, f"<strange-{way}>".encode())
        for name, mac, address in (("ip", own[0], other[1]), ("mac", other[0], other[1]), ("gateway", own[0], gateway_of(own[1]))):
            for operation in (1, 2):
                claim = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + address + victim[0] + victim[1]
                send(target, own[0], 0x0806, claim + f"<arp-{name}-{way}>".encode())
    for name, address in (("other", other[2]), ("router", socket.inet_pton(socket.AF_INET6, "fe80::1"))):
        for way, target in (("direct", victim[0]), ("relay", gateway), ("flood", all_nodes)):
            word = f"<na-{name}-{way}>".encode()
            claim = b"\x88\0\0\0\x60\0\0\0" + address + b"\x02\x01" + own[0]
            for source in (own[2], address, bytes(16)):
                send(target, own[0], 0x86dd, icmp6(source, victim[2], claim, word))
            # Behind an extension header, where a look at fixed places finds nothing.
            send(target, own[0], 0x86dd, icmp6(own[2], victim[2], claim, word, extended=True))
    for way, target in (("direct", victim[0]), ("flood", all_nodes)):
        wrong = b"\x88\0\0\0\x60\0\0\0" + own[2] + b"\x02\x01" + other[0]
        send(target, own[0], 0x86dd, icmp6(own[2], victim[2], wrong, f"<na-mac-{way}>".encode()))
        asked = b"\x87\0\0\0\0\0\0\0" + victim[2] + b"\x01\x01" + own[0]
        send(target, own[0], 0x86dd, icmp6(other[2], victim[2], asked, f"<ns-ip-{way}>".encode()))
        asked = b"\x87\0\0\0\0\0\0\0" + victim[2] + b"\x01\x01" + other[0]
        send(target, own[0], 0x86dd, icmp6(own[2], victim[2], asked, f"<ns-mac-{way}>".encode()))
        router = b"\x86\0\0\0\x40\0\x07\x08" + bytes(8) + b"\x01\x01" + own[0]
        send(target, own[0], 0x86dd, icmp6(b"\xfe\x80" + bytes(13) + b"\x07", victim[2], router, f"<ra-{way}>".encode()))
        redirect = b"\x89\0\0\0\0\0\0\0" + own[2] + other[2]
        send(target, own[0], 0x86dd, icmp6(b"\xfe\x80" + bytes(13) + b"\1", victim[2], redirect, f"<redirect-{way}>".encode()))
    bpdu = b"\x42\x42\x03" + bytes(5) + b"\0" * 8 + b"\0" * 4 + b"\0" * 8 + b"\x80\1\0\0\x14\0\2\0\x0f\0<stp>"
    for group in (0x00, 0x02, 0x0e):
        send(b"\x01\x80\xc2\0\0" + bytes([group]), own[0], len(bpdu), bpdu)
    say("forged")


def gateway_of(address):
    return address[:2] + b"\0\1"


def udp4(source, target, word):
    body = struct.pack("!HHHH", 7000, 7000, 8 + len(word), 0) + word.encode()
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, 17, 0) + source + target
    return head[:10] + struct.pack("!H", internet_sum(head)) + head[12:] + body


def udp6(source, target, word):
    body = struct.pack("!HHHH", 7000, 7000, 8 + len(word), 0) + word.encode()
    return packet6(source, target, 17, body, 6)


def icmp6(source, target, message, word, extended=False):
    """A message of neighbour discovery with a word behind it, in an option that nobody knows."""
    option = b"\xfd" + bytes([(len(word) + 2 + 7) // 8]) + word
    return packet6(source, target, 58, message + option.ljust(-(-len(option) // 8) * 8, b"\0"), 2, extended)


def packet6(source, target, protocol, body, checksum, extended=False):
    pseudo = source + target + struct.pack("!II", len(body), protocol)
    total = internet_sum(pseudo + body + b"\0" * (len(body) % 2))
    body = body[:checksum] + struct.pack("!H", total) + body[checksum + 2:]
    if extended:
        body, protocol = bytes([protocol, 0, 1, 4, 0, 0, 0, 0]) + body, 60
    return struct.pack("!IHBB", 6 << 28, len(body), protocol, 255) + source + target + body


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
