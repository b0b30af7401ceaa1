"""The host that everything runs on: its user, its folder, its addresses, and how commands are started there.

As root the host is private: network, mount and process namespaces of the script's own, with a user, an address, a
default route that leads nowhere and a /dev/net/tun for everybody. For an ordinary user it is the machine as it is.
Knows nothing of what is tried there.
"""
import contextlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile

from processes import Failure, do, read, write

UID = 61000
USER = "gangplank"
HOST, HOST6 = "198.51.100.1", "2001:db8:51::1"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Servers and published ports; reserved, so that no connection of the host's takes one.
PORTS = range(20000, 30000)
WIDE_PORT_RANGE = "1024 65535"
HERE = os.path.dirname(os.path.abspath(__file__))
# Read at once: later there may be another root.
TEXTS = {file: read(os.path.join(HERE, file)) for file in ("agent.py", "servers.py")}
# The personalities of gangplank, by the name that it is called with.
PERSONALITIES = ("slirp4netns", "pasta", "pesto")
# Set in the environment of the command that runs again inside the private host.
MARK = "GANGPLANK_PRIVATE_HOST"


class Host:
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
        # Who takes orders inside of containers; see `box`.
        self.agent = self.share("agent.py", "servers.py")

    def command(self, words, root=False):
        """The words as the user's command."""
        user = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--"]
        return (user if self.private and not root else []) + [str(word) for word in words]

    def start(self, words, root=False, **options):
        options = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "text": True, "cwd": self.home,
                   "env": self.environment, **options}
        return subprocess.Popen(self.command(words, root), **options)

    def run(self, words, root=False, limit=60):
        """Runs to the end (with a limit of None: the caller's alarm); its standard output. A failure says what was run
        and what it said."""
        done = self.tried(words, root, limit)
        if done.returncode != 0:
            raise Failure(f"`{' '.join(map(str, words))}` ended with {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout

    def tried(self, words, root=False, limit=60, **options):
        """Runs to the end, which may be any."""
        options = {"stdin": subprocess.DEVNULL, "cwd": self.home, "env": self.environment, **options}
        return subprocess.run(self.command(words, root), text=True, capture_output=True, timeout=limit, **options)

    def next_port(self):
        """The first of four ports that nobody has had yet."""
        return next(self.ports)

    def find(self, program):
        """Where a program is on the user's PATH, or none."""
        return shutil.which(program, path=self.environment["PATH"])

    def share(self, *files):
        """Copies of files beside this one, as the source folder may be closed to the user; where the first stands."""
        for file in files:
            write(os.path.join(self.folder, file), TEXTS[file])
        return os.path.join(self.folder, files[0])

    def adopt(self, program, name):
        """A copy of a program that the user can run."""
        copy = shutil.copy(program, os.path.join(self.folder, name))
        os.chmod(copy, 0o755)
        return copy

    def adopt_personalities(self, gangplank):
        """A folder in which this gangplank stands under the names of the neighbours that it replaces."""
        folder = os.path.join(self.folder, "personalities")
        os.mkdir(folder)
        for name in PERSONALITIES:
            os.symlink(gangplank, os.path.join(folder, name))
        return folder


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


def is_private():
    """Whether this is the command that runs again, inside the private host."""
    return os.environ.get(MARK) == "private"


def enter_private_host(script, arguments):
    """As root: the same command again in namespaces of its own. The shell is their first process, which buries orphans."""
    os.environ[MARK] = "private"
    os.execvp("unshare", ["unshare", "--net", "--mount", "--ipc", "--pid", "--fork", "--kill-child=KILL", "--mount-proc",
                          "--", "sh", "-c", '"$@"; exit $?', "sh", sys.executable, script, *arguments])


def lay_ground(folder):
    """The private host: a way out with the server's addresses, a user with subordinate ids, a tun node he may open, an
    /etc and a /run of its own."""
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
    lay_etc(ground)
    do("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")


def lay_etc(ground):
    """A copy of the machine's /etc, in which the user is known."""
    etc = os.path.join(ground, "etc")
    do("cp", "--archive", "/etc", etc)
    for file, line in (("passwd", f"{USER}:x:{UID}:{UID}::/:/bin/sh"), ("group", f"{USER}:x:{UID}:")):
        write(os.path.join(etc, file), f"{read(os.path.join(etc, file))}{line}\n")
    for file, text in (("subuid", f"{USER}:200000:65536\n"), ("subgid", f"{USER}:200000:65536\n"), ("hosts", "127.0.0.1\tlocalhost\n")):
        write(os.path.join(etc, file), text)
    do("mount", "--bind", etc, "/etc")


def add_second_family():
    """The same way out in IPv6."""
    do("ip", "address", "add", f"{HOST6}/64", "dev", "host0", "nodad")
    do("ip", "route", "add", "default", "via", "2001:db8:51::fe", "dev", "host0")


def use_resolver(address):
    """The private host asks this one."""
    if os.path.lexists("/etc/resolv.conf"):
        os.remove("/etc/resolv.conf")
    write("/etc/resolv.conf", f"nameserver {address}\n")


@contextlib.contextmanager
def scratch(name):
    """A folder for one run. Its removal never goes through a mount: what is below one may be the machine's."""
    folder = tempfile.mkdtemp(prefix=f"gangplank-{name}-", dir="/tmp")
    try:
        yield folder
    finally:
        for place in reversed(mounts_below(folder)):
            subprocess.run(["umount", "--lazy", place], capture_output=True)
        if not mounts_below(folder):
            subprocess.run(["rm", "--recursive", "--force", "--one-file-system", "--", folder], capture_output=True)


def mounts_below(folder):
    """Where something is mounted there, in the order of mounting: field 5 of proc(5)'s mountinfo."""
    places = [line.split()[4] for line in read("/proc/self/mountinfo").splitlines()]
    return [place for place in places if place.startswith(folder + "/")]
