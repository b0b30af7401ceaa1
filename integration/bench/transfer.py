"""One end of a checked transfer; prints how much went by and its digest (and "listening" before that).

    transfer.py give|take listen|connect ADDRESS PORT

Whoever takes must have the digest of whoever gives. Each block has a number in it, so that a block that is lost,
doubled or out of place shows. Runs in a container and on the host, as a program of its own.
"""
import hashlib
import os
import socket
import sys

CHECKED_BYTES = 256 << 20
BLOCK = 1 << 18


def main(role, how, address, port):
    if how == "listen":
        with socket.create_server((address, int(port))) as server:
            print("listening", flush=True)
            conn = server.accept()[0]
    else:
        conn = socket.create_connection((address, int(port)), 10)
        # From here on whoever started us sets the limit; some helpers stall for seconds and go on.
        conn.settimeout(None)
    with conn:
        print(*(give(conn) if role == "give" else take(conn)))


def give(conn):
    digest, length = hashlib.sha256(), 0
    noise = os.urandom(BLOCK - 8)
    for number in range(CHECKED_BYTES // BLOCK):
        block = number.to_bytes(8, "little") + noise
        conn.sendall(block)
        digest.update(block)
        length += len(block)
    # Not a half-close: not every neighbour carries one, and it is the bytes that are checked here.
    conn.recv(1)
    return length, digest.hexdigest()


def take(conn):
    digest, length = hashlib.sha256(), 0
    while data := conn.recv(BLOCK):
        digest.update(data)
        length += len(data)
        if length == CHECKED_BYTES:
            conn.sendall(b"!")
    return length, digest.hexdigest()


if __name__ == "__main__":
    main(*sys.argv[1:])
