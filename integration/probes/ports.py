"""Flags of a bridge's ports, set without privilege over the host: net/bridge, bridge(8)."""
import select
import socket

from frames import ethernet
from ground import KEPT, SILENCE, bridge, expect, ip, settle, since

# "Local experimental" of IEEE 802, which no kernel speaks by itself.
MARK = 0x88B5
EVERYBODY = "ff:ff:ff:ff:ff:ff"
MACS = {name: f"02:00:00:00:01:0{number}" for number, name in enumerate("abc")}
STRANGER = "02:00:00:00:02:00"


class Ends:
    """A bridge with the ports pa, pb, pc, and a socket on the far end of each: a, b, c."""

    def __init__(self):
        ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0", "link set br0 up")
        for name, mac in MACS.items():
            ip(f"link add p{name} type veth peer name {name} address {mac}", f"link set dev {name} up",
               f"link set dev p{name} master br0 up")
        settle()
        self.sockets = {name: marked(name) for name in MACS}

    def send(self, sender, to, word, source=None):
        """One frame with this word, from the end's own address unless a source is given."""
        self.sockets[sender].send(ethernet(to, source or MACS[sender], MARK) + word.encode())

    def heard(self, end):
        """The words that have arrived at this end since it was asked last."""
        words = []
        while select.select([self.sockets[end]], [], [], SILENCE)[0]:
            words.append(self.sockets[end].recv(64)[14:].decode())
        return words


def marked(interface):
    """Hears and sends frames of our kind at the interface; what it sends itself it does not hear."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind((interface, MARK))
    KEPT.callback(sock.close)
    return sock


def isolated_ports_hear_only_others():
    """Isolated ports hear nothing of each other, broadcast or not, and everything of a port that is not isolated."""
    ends = Ends()
    bridge("link set dev pa isolated on", "link set dev pb isolated on")
    for sender in MACS:
        ends.send(sender, EVERYBODY, f"{sender}-to-all")
    for sender in MACS:
        for to in set(MACS) - {sender}:
            ends.send(sender, MACS[to], f"{sender}-to-{to}")
    heard = {end: sorted(ends.heard(end)) for end in MACS}
    wanted = {"a": ["c-to-a", "c-to-all"], "b": ["c-to-all", "c-to-b"], "c": ["a-to-all", "a-to-c", "b-to-all", "b-to-c"]}
    return expect(heard == wanted, "; ".join(f"{end} heard {' '.join(words)}" for end, words in heard.items()))


def locked_port_lets_one_address_in():
    """A locked port with a static entry in the table lets frames from that address in and drops all others."""
    since(5, 18)
    ends = Ends()
    # The bridge may have learnt the address already, of what a's kernel says by itself.
    bridge("link set dev pa learning off locked on", f"fdb replace {MACS['a']} dev pa master static")
    ends.send("a", EVERYBODY, "forged", source=STRANGER)
    ends.send("a", EVERYBODY, "forged-as-b", source=MACS["b"])
    ends.send("a", EVERYBODY, "own")
    ends.send("c", MACS["a"], "answer")
    heard = {end: ends.heard(end) for end in MACS}
    wanted = {"a": ["answer"], "b": ["own"], "c": ["own"]}
    return expect(heard == wanted, "; ".join(f"{end} heard {' '.join(words)}" for end, words in heard.items()))


RULES = [isolated_ports_hear_only_others, locked_port_lets_one_address_in]
