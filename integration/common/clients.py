"""Clients on the host: what a server of `servers` behind a published port tells them."""
import socket


def from_host(address, port, say="hello", kind="tcp", limit=3, source=None):
    """Its answer to a line or a datagram; or `silence`, or the kind of error."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as sock:
            sock.settimeout(limit)
            if source:
                sock.bind((source, 0))
            sock.connect((address, port))
            if kind == "udp":
                return asked(sock, say.encode(), limit).strip()
            sock.sendall(f"{say}\n".encode())
            return sock.makefile().read().strip() or "nothing"
    except TimeoutError:
        return "silence"
    except OSError as error:
        return type(error).__name__


def asked(sock, data, limit):
    """A datagram may be lost, the first one of a path above all."""
    sock.settimeout(limit / 3)
    for turn in range(3):
        sock.send(data)
        try:
            return sock.recv(65535).decode()
        except TimeoutError:
            if turn == 2:
                raise
