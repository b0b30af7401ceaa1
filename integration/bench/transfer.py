"""One end of a checked transfer; prints how much went by and its digest (and "listening" before that).

    transfer.py give|take listen|connect ADDRESS PORT MIB end|open

Whoever takes must have the digest of whoever gives. Each block has a number in it, so that a block that is lost,
doubled or out of place shows. The giver ends its half of the connection right behind the last byte and the taker answers
with the digest over the other half, so that an end which is lost on the way, overtakes data or is taken for the end of
both halves shows as well; `open` leaves the half-close out, for those who do not carry one. Runs in a container and on
the host, as a program of its own.
"""
import hashlib
import os
import socket
import sys

BLOCK = 1 << 18


def main(role, how, address, port, mib, ending):
    if how == "listen":
        with socket.create_server((address, int(port))) as server:
            print("listening", flush=True)
            conn = server.accept()[0]
    else:
        conn = socket.create_connection((address, int(port)), 10)
        # From here on whoever started us sets the limit; some helpers stall for seconds and go on.
        conn.settimeout(None)
    with conn:
        print(*(give if role == "give" else take)(conn, int(mib) << 20, ending == "end"))


def give(conn, size, half_close):
    digest, length = hashlib.sha256(), 0
    noise = os.urandom(BLOCK - 8)
    for number in range(size // BLOCK):
        block = number.to_bytes(8, "little") + noise
        conn.sendall(block)
        digest.update(block)
        length += len(block)
    if half_close:
        conn.shutdown(socket.SHUT_WR)
    answer = conn.makefile("r").read(len(digest.hexdigest()))
    if answer != digest.hexdigest():
        sys.exit(f"the answer was {answer!r}, not the digest {digest.hexdigest()}")
    return length, digest.hexdigest()


def take(conn, size, half_close):
    digest, length = hashlib.sha256(), 0
    while data := conn.recv(BLOCK):
        digest.update(data)
        length += len(data)
        if not half_close and length == size:
            conn.sendall(digest.hexdigest().encode())
    if half_close:
        conn.sendall(digest.hexdigest().encode())
    return length, digest.hexdigest()


if __name__ == "__main__":
    main(*sys.argv[1:])
