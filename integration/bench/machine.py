"""The machine that is measured on: a host of `common/host`, and what of it decides figures.

Knows nothing of who is measured or how.
"""
import os
import platform
import shutil

from host import Host
from processes import read

# Each network namespace has its own; a new one takes the initial one's. A paced one (bbr) and a loss-driven one (cubic,
# reno) give other figures and another order of those who lose segments.
CONGESTION_CONTROL = "/proc/sys/net/ipv4/tcp_congestion_control"
BUFFER_LIMITS = ("ipv4.tcp_rmem", "ipv4.tcp_wmem")
HERE = os.path.dirname(os.path.abspath(__file__))


class Machine(Host):
    """With the program that checks transfers."""

    def __init__(self, folder, private, path=None):
        super().__init__(folder, private, path)
        # Copies, as the source folder may be closed to the user.
        self.transfer = shutil.copy(os.path.join(HERE, "transfer.py"), folder)

    def transfer_command(self, *words):
        return ["/usr/bin/python3", self.transfer, *words]

    def describe(self):
        """What decides figures and differs between machines; the sysctls are those of the servers' namespace."""
        return {"kernel": platform.release().split("-")[0], "processors": os.cpu_count(), "arch": platform.machine(),
                "processor": processor_model(), "congestion_control": read(CONGESTION_CONTROL).strip(),
                **{it: read(f"/proc/sys/net/{it.replace('.', '/')}").split() for it in BUFFER_LIMITS},
                "private": self.private}


def processor_model():
    models = [line.partition(":")[2].strip() for line in read("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    return models[0] if models else "unknown"
