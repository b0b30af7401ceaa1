"""Where everything runs: the host, its user, and how commands are started on it.

As root the host is private: network, mount and process namespaces of the benchmark's own, with a user, an address, a
default route that leads nowhere and a /dev/net/tun for everybody. For an ordinary user it is the machine as it is.
Knows nothing of who is measured or how.
"""
import contextlib
import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
import time

UID = 61000
USER = "bench"
HOST = "198.51.100.1"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Servers and published ports; reserved, so that no connection of the host's takes one.
PORTS = range(20000, 30000)
WIDE_PORT_RANGE = "1024 65535"
# Each network namespace has its own; a new one takes the initial one's. A paced one (bbr) and a loss-driven one (cubic,
# reno) give other figures and another order of those who lose segments.
CONGESTION_CONTROL = "/proc/sys/net/ipv4/tcp_congestion_control"
BUFFER_LIMITS = ("ipv4.tcp_rmem", "ipv4.tcp_wmem")
# Set in the environment of the command that runs again inside the private host.
MARK = "GANGPLANK_BENCH_HOST"
HERE = os.path.dirname(os.path.abspath(__file__))


class Failure(Exception):
    """A configuration does not work; its text says why."""


class Machine:
    """The server's address, the user's folder, and how a command becomes the user's."""

    def __init__(self, folder, private, path=None):
        self.folder, self.private = folder, private
        self.server = HOST if private else own_address()
        self.home = os.path.join(folder, "home")
        self.ports = iter(PORTS[1::4])
        self.environment = {"PATH": f"{os.path.abspath(path)}:{PATH}" if path else PATH, "LANG": "C.UTF-8",
                            "HOME": self.home, "TMPDIR": self.home,
                            "XDG_RUNTIME_DIR": os.path.join(self.home, "run"), "USER": USER}
        os.chmod(folder, 0o755)
        for path in (self.home, self.environment["XDG_RUNTIME_DIR"]):
            os.mkdir(path, 0o700)
            if private:
                os.chown(path, UID, UID)
        # Copies, as the source folder may be closed to the user.
        self.transfer = shutil.copy(os.path.join(HERE, "transfer.py"), folder)

    def command(self, words, root=False):
        """The words as the user's command."""
        user = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--"]
        return (user if self.private and not root else []) + [str(word) for word in words]

    def start(self, words, root=False, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stderr", subprocess.DEVNULL)
        return subprocess.Popen(self.command(words, root), env=self.environment, cwd=self.home, text=True, **options)

    def run(self, words, root=False, limit=60):
        """Runs to the end (with a limit of None: the caller's alarm); its standard output. A failure says what was run
        and what it said."""
        done = subprocess.run(self.command(words, root), env=self.environment, cwd=self.home, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=limit)
        if done.returncode != 0:
            raise Failure(f"`{' '.join(map(str, words))}` ended with {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout

    def transfer_command(self, *words):
        return ["/usr/bin/python3", self.transfer, *words]

    def next_port(self):
        """The first of four ports that nobody has had yet."""
        return next(self.ports)

    def adopt(self, program, name):
        """A copy of a program that the user can run."""
        copy = shutil.copy(program, os.path.join(self.folder, name))
        os.chmod(copy, 0o755)
        return copy

    def describe(self):
        """What decides figures and differs between machines; the sysctls are those of the servers' namespace."""
        return {"kernel": platform.release().split("-")[0], "processors": os.cpu_count(), "arch": platform.machine(),
                "processor": processor_model(), "congestion_control": read(CONGESTION_CONTROL).strip(),
                **{it: read(f"/proc/sys/net/{it.replace('.', '/')}").split() for it in BUFFER_LIMITS},
                "private": self.private}


@contextlib.contextmanager
def running(machine, words, says=None, root=False):
    """A program that runs meanwhile; with `says`, from the line on that begins so."""
    process = machine.start(words, root, stdout=subprocess.PIPE if says else subprocess.DEVNULL, stdin=subprocess.PIPE)
    try:
        if says:
            for line in process.stdout:
                if line.startswith(says):
                    process.line = line
                    break
            else:
                raise Failure(f"`{' '.join(map(str, words))}` ended before it said {says!r}")
        yield process
    finally:
        end(process)


def end(*processes):
    """Ends processes, whatever state they are in; one that was never started is None."""
    for process in filter(None, processes):
        # The end of its input reaches a program in a container as well, where a signal to its starter may not.
        if process.stdin:
            process.stdin.close()
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def wait_until(what, condition, limit=5):
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"not within {limit} s: {what}")
        time.sleep(0.02)


def foreign_namespace(pid):
    """Whether a process has a network namespace of its own and a map of its user."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/uid_map") as uid_map:
        return uid_map.read().strip() and os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    return False


def children(pid):
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:
        for task in os.listdir(f"/proc/{parent}/task"):
            with open(f"/proc/{parent}/task/{task}/children") as listed:
                found += map(int, listed.read().split())
    return found


def resident(pids):
    """Resident memory of processes, in MB (10^6 bytes)."""
    def pages(pid):
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1])
    return sum(map(pages, pids)) * os.sysconf("SC_PAGE_SIZE") / 1e6


def processor_seconds(pids):
    """What processes have used of the processors so far, in their own code and in the kernel."""
    def ticks(pid):
        with open(f"/proc/{pid}/stat") as stat:
            # utime and stime are fields 14 and 15 of proc(5); the second may hold spaces.
            return sum(map(int, stat.read().rpartition(")")[2].split()[11:13]))
    return sum(map(ticks, pids)) / os.sysconf("SC_CLK_TCK")


def processor_model():
    models = [line.partition(":")[2].strip() for line in read("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    return models[0] if models else "unknown"


def own_address():
    """The machine's address on its way out (nothing is sent)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))
        except OSError as error:
            sys.exit(f"no address of this machine to measure against ({error}); run as root for a private host")
        return sock.getsockname()[0]


def raise_limits():
    """As many descriptors as may be had: ten thousand flows want one each."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def enter_private_host(script, arguments):
    """As root: the same command again in namespaces of its own."""
    os.environ[MARK] = "private"
    os.execvp("unshare", ["unshare", "--net", "--mount", "--ipc", "--pid", "--fork", "--kill-child=KILL", "--mount-proc",
                          "--", sys.executable, script, *arguments])


def lay_ground(folder):
    """The private host: a way out with the server's address, a user with subordinate ids, a tun node he may open."""
    ground = os.path.join(folder, "ground")
    os.mkdir(ground)
    do("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", ground)
    do("ip", "link", "set", "lo", "up")
    # Both ends stay here: pasta wants an interface with a default route, and nothing is to go over it.
    do("ip", "link", "add", "host0", "type", "veth", "peer", "name", "quay")
    do("ip", "link", "set", "quay", "up")
    do("ip", "link", "set", "host0", "up")
    do("ip", "address", "add", f"{HOST}/24", "dev", "host0")
    do("ip", "route", "add", "default", "via", "198.51.100.254")
    write("/proc/sys/net/ipv4/ip_local_port_range", WIDE_PORT_RANGE)
    write("/proc/sys/net/ipv4/ip_local_reserved_ports", f"{PORTS[0]}-{PORTS[-1]}")
    do("mknod", "-m", "666", os.path.join(ground, "tun"), "c", "10", "200")
    do("mount", "--bind", os.path.join(ground, "tun"), "/dev/net/tun")
    with open("/etc/passwd") as users:
        write(os.path.join(ground, "passwd"), f"{users.read()}{USER}:x:{UID}:{UID}::/:/bin/sh\n")
    for file in ("subuid", "subgid"):
        write(os.path.join(ground, file), f"{USER}:200000:65536\n")
    for file in ("passwd", "subuid", "subgid"):
        if os.path.exists(f"/etc/{file}"):
            do("mount", "--bind", os.path.join(ground, file), f"/etc/{file}")


def clear_ground(folder):
    """The mounts go with the namespace; this one is in the way of the folder's removal."""
    subprocess.run(["umount", "--lazy", os.path.join(folder, "ground")], check=False)


def do(*words):
    subprocess.run(words, check=True)


def read(path):
    with open(path) as file:
        return file.read()


def write(path, text):
    with open(path, "w") as file:
        file.write(text)
