"""The private host of the runtimes: its servers, a cgroup that is the user's, and who is slirp4netns there."""
import contextlib
import ctypes
import hashlib
import os
import re
import signal
import subprocess

import host
import servers
from host import HOST, HOST6, Host
from processes import Failure, do, named, read, wait_until, write

SECOND, SERVER = "198.51.100.9", servers.SERVER_ADDRESS
TALK, SECRET = 20002, 20000  # at every address; only on the loopback
RESOLVER = HOST
CLONE_NEWCGROUP = 0x02000000
# What must be gone when a runtime has let go of its containers.
HELPERS = ("slirp4netns", "pasta", "passt", "rootlessport", "rootlesskit", "rootlesskit-docker-proxy")


class NotSo(Exception):
    """It behaves otherwise; the text is what was observed."""


class Skipped(Exception):
    """This machine lacks what the check needs; the text says what."""


def expect(condition, observed):
    """What was observed, if it is so."""
    if not condition:
        raise NotSo(str(observed))
    return observed


class Ground:
    """One for all checks. What a check starts it ends, or leaves to `tidy`."""

    def __init__(self, folder, settings):
        self.folder, self.settings = folder, settings
        self.host = Host(folder, True, settings.path)
        self.stack = contextlib.ExitStack()
        self.kept = {}

    def __enter__(self):
        host.lay_ground(self.folder)
        host.add_second_family()
        do("ip", "address", "add", f"{SECOND}/32", "dev", "host0")
        # Of no interface whose addresses a container may be given.
        do("ip", "address", "add", f"{SERVER}/32", "dev", "lo")
        # Whoever forwards all ports leaves these out.
        write("/proc/sys/net/ipv4/ip_local_port_range", "32768 60999")
        write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")
        host.use_resolver(RESOLVER)
        self.lay_runtime_folder()
        self.lay_cgroup()
        servers.serve_names(RESOLVER)
        for address in (HOST, SECOND, SERVER, HOST6, "127.0.0.1", "::1"):
            servers.serve_talk(address, TALK)
        servers.serve_talk("127.0.0.1", SECRET)
        self.gangplank = self.host.adopt(self.settings.gangplank, "gangplank") if os.path.exists(self.settings.gangplank) else None
        self.links = None
        if not self.settings.original:
            if not self.gangplank:
                raise SystemExit(f"no {self.settings.gangplank}: `cargo build --release` makes it, --gangplank names another")
            self.links = self.host.adopt_personalities(self.gangplank)
            self.host.environment["PATH"] = f"{self.links}:{self.host.environment['PATH']}"
        return self

    def __exit__(self, *_):
        self.tidy()
        # What runtimes keep for themselves (podman's pause process) goes with the host; the cgroup is the machine's.
        for pid in map(int, read(f"{self.cgroup}/cgroup.procs").split()):
            if pid != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        write(f"{self.hierarchy}/cgroup.procs", str(os.getpid()))
        for _ in range(50):
            done = subprocess.run(["find", self.cgroup, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"], capture_output=True)
            if done.returncode == 0 or not os.path.exists(self.cgroup):
                break
            with contextlib.suppress(Failure):
                wait_until("its processes are gone", lambda: not read(f"{self.cgroup}/cgroup.procs").split(), 0.2)

    def lay_runtime_folder(self):
        """Where a login puts it: paths of sockets must be short."""
        folder = f"/run/user/{host.UID}"
        os.makedirs(folder)
        os.chown(folder, host.UID, host.UID)
        os.chmod(folder, 0o700)
        self.host.environment["XDG_RUNTIME_DIR"] = folder

    def lay_cgroup(self):
        """A folder of the unified hierarchy, the user's, as the root of what everybody here sees of cgroups. On a machine
        of the old hierarchies it is beside them, and holds no controllers."""
        self.hierarchy = os.path.join(self.folder, "ground", "cgroup")
        os.mkdir(self.hierarchy)
        do("mount", "-t", "cgroup2", "cgroup2", self.hierarchy)
        self.cgroup = os.path.join(self.hierarchy, f"gangplank-runtimes-{os.path.basename(self.folder)}")
        os.mkdir(self.cgroup)
        for name in (".", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"):
            os.chown(os.path.join(self.cgroup, name), host.UID, host.UID)
        write(f"{self.cgroup}/cgroup.procs", str(os.getpid()))
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWCGROUP) != 0:
            raise Failure(f"no cgroup namespace: {os.strerror(ctypes.get_errno())}")
        subprocess.run(["umount", "--recursive", "--lazy", "/sys/fs/cgroup"], capture_output=True)
        do("mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup")

    def once(self, make):
        """What is made by the first check that needs it and kept for the others."""
        if make not in self.kept:
            self.kept[make] = make(self)
        return self.kept[make]

    def need(self, program):
        """A program that this machine may lack."""
        if not self.host.find(program):
            raise Skipped(f"no {program} on this machine")

    def need_option(self, program, option):
        """One that not every release knows."""
        done = self.host.tried([program, "--help"])
        if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", done.stdout + done.stderr):
            raise Skipped(f"{program} of this machine has no {option}")

    def need_release(self, program, least):
        """The first numbers of what `--version` says."""
        said = self.host.run([program, "--version"])
        found = re.search(r"(\d+)\.(\d+)", said)
        if tuple(map(int, found.groups())) < least:
            raise Skipped(f"needs {program} {'.'.join(map(str, least))}, this is {found[0]}")

    def tidy(self):
        self.stack.close()

    def left(self):
        """Helpers that are still there."""
        return list(named(*HELPERS).values())

    def expect_nothing_left(self, limit=5):
        """Soon no helper is there any more."""
        try:
            wait_until("they are gone", lambda: not self.left(), limit)
        except Failure:
            raise NotSo(f"still there: {self.left()}") from None
        return "no process is left"


def zeros_digest(mib):
    """The SHA-256 of so many MiB of zeros."""
    digest = hashlib.sha256()
    for _ in range(mib):
        digest.update(bytes(servers.MIB))
    return digest.hexdigest()


def noise_digest(mib):
    """That of what `give N` of a server sends."""
    digest = hashlib.sha256()
    for block in servers.noise(mib):
        digest.update(block)
    return digest.hexdigest()
