"""Where a scenario plays: one peer with its containers, what it is asked, and what it leaves behind.

A stage belongs to one scenario and one peer, the original or gangplank in its place: both get the same script. It compares
nothing.
"""
import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import time

from box import Box
from host import HOST, HOST6
from processes import Failure, read, wait_until

SECOND, SECOND6 = "198.51.100.9", "2001:db8:51::9"
# Refused at once by a route, and by nobody at all.
UNREACHABLE, SILENT = "203.0.113.200", "198.51.100.77"
SECRET = 20000  # only on the loopback
TALK, FREE = 20002, 20003  # at every address, and at none
# How long a peer may take to be ready or to end.
LIMIT = 10


class NotHere(Exception):
    """The original of this machine is too old for the scenario; the text says what it lacks."""


class Stage:
    """Everything that is started here is ended by `clear`."""

    def __init__(self, host, folder, original):
        self.host, self.folder, self.original = host, folder, original
        self.stack = contextlib.ExitStack()
        self.number = 0
        # What the scenario is to be heard of: by name.
        self.home = os.path.join(host.home, f"stage{host.next_port()}")
        os.mkdir(self.home, 0o755)
        os.chown(self.home, *[os.stat(host.home).st_uid] * 2)

    def program(self, name):
        path = os.path.join(self.folder, name)
        if not os.path.exists(path):
            raise NotHere(f"no {name}") if self.original else Failure(f"no {path}")
        return path

    def needs(self, program, option):
        """An option that not every release of the original has."""
        if self.original and option not in self.tried([self.program(program), "--help"]).says():
            raise NotHere(f"{program} has no {option}")

    def take_for_granted(self, condition, seen):
        """What the original is known to do; if not, the script proves nothing."""
        if self.original and not condition:
            raise Failure(f"the original does otherwise here: {json.dumps(seen)}")
        return seen

    def box(self, **options):
        made = Box(self.host, **options)
        self.stack.callback(made.end)
        return made

    def box_with_a_way_out(self):
        """One that has a network and a default route already."""
        box = self.box()
        for line in ("link add v0 type veth peer name v1", "link set v0 up", "link set v1 up", "addr add 10.5.0.1/24 dev v0",
                     "route add default via 10.5.0.2"):
            box.ask("run", words=["ip", *line.split()])
        return box

    def path(self, name):
        """A name in a folder of the user's."""
        return os.path.join(self.home, name)

    def port(self):
        return self.host.next_port()

    def tried(self, words, limit=LIMIT, **options):
        """A command to its end; `exit` is its status, or that it runs on and was ended."""
        run = self.started(words, **options)
        run.exit = run.wait(limit)
        run.kill()
        return run

    def started(self, words, **options):
        self.number += 1
        run = Run(self, words, self.number, **options)
        self.stack.callback(run.kill)
        return run

    def slirp(self, target, *options, tap="tap0", ready=True, exit=False, api=False):
        """slirp4netns beside a container, ready, with these options."""
        return Slirp(self, target, options, tap, ready, exit, api)

    def clear(self):
        """Also of what went to the background: it has the stage's mark in its environment."""
        self.stack.close()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as environ:
                if f"{MARK}={self.home}".encode() in environ.read().split(b"\0"):
                    os.kill(int(pid), signal.SIGKILL)


class Run:
    """A program that was started, with what it says in files, so that it never waits for a reader."""

    def __init__(self, stage, words, number, pass_fds=(), **options):
        self.files = [stage.path(f"{kind}{number}") for kind in ("stdout", "stderr")]
        with open(self.files[0], "w") as stdout, open(self.files[1], "w") as stderr:
            environment = {**stage.host.environment, MARK: stage.home}
            options = {"stdout": stdout, "stderr": stderr, "pass_fds": pass_fds, "env": environment, **options}
            self.process = stage.host.start(words, **options)
        self.pid = self.process.pid

    def stdout(self):
        return read(self.files[0])

    def stderr(self):
        return read(self.files[1])

    def says(self):
        return self.stdout() + self.stderr()

    def where(self, *texts):
        """On which of its outputs it says something."""
        found = {}
        for text in texts:
            places = [name for name, said in (("stdout", self.stdout()), ("stderr", self.stderr())) if re.search(text, said)]
            found[text] = " and ".join(places) or "nowhere"
        return found

    def wait(self, limit=LIMIT):
        """Its exit status as a shell tells it, or that it runs on."""
        try:
            code = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            return "runs on"
        return 128 - code if code < 0 else code

    def runs(self, settle=0):
        """Whether it has not ended; `settle` is how long it may take to."""
        return self.wait(settle) == "runs on"

    def signal(self, number):
        self.process.send_signal(number)
        return self.wait()

    def kill(self):
        if self.runs():
            self.process.kill()
            self.process.wait()

    def status(self, *keys):
        """Lines of /proc/PID/status."""
        found = dict(line.split(":\t", 1) for line in read(f"/proc/{self.pid}/status").splitlines() if ":\t" in line)
        return {key: found.get(key, "").strip() for key in keys}


class Slirp(Run):
    """slirp4netns, from its ready byte on."""

    def __init__(self, stage, target, options, tap, ready, exit, api):
        self.stage, self.api_path, self.exit_fd = stage, stage.path("api.sock"), None
        words, fds = [stage.program("slirp4netns"), *options], []
        if ready:
            self.ready_fd, theirs = os.pipe()
            fds.append(theirs)
            words.append(f"--ready-fd={theirs}")
        if exit:
            theirs, self.exit_fd = os.pipe()
            fds.append(theirs)
            words.append(f"--exit-fd={theirs}")
        if api:
            words.append(f"--api-socket={self.api_path}")
        words += [target if isinstance(target, (str, int)) else target.pid, *([tap] if tap else [])]
        stage.number += 1
        began = time.monotonic()
        super().__init__(stage, words, stage.number, pass_fds=fds)
        stage.stack.callback(self.kill)
        for fd in fds:
            os.close(fd)
        self.ready = self.read_ready() if ready else None
        self.seconds = time.monotonic() - began
        if ready and self.ready != "1":
            raise Failure(f"not ready ({self.ready!r}, exit {self.wait()}): {self.says().strip()}")

    def read_ready(self):
        """Everything on the ready descriptor until it is closed."""
        said = b""
        with os.fdopen(self.ready_fd, "rb", buffering=0) as pipe:
            while select.select([pipe], [], [], LIMIT)[0]:
                data = pipe.read(16)
                if not data:
                    return said.decode()
                said += data
        return f"{said.decode()}, and still open"

    def leave(self):
        """By the exit descriptor."""
        os.close(self.exit_fd)
        return self.wait()

    def ask(self, *parts, half_close=True, pause=0.05, limit=LIMIT):
        """One request to the API, in these parts; what comes back."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(limit)
            connect(sock, self.api_path)
            with contextlib.suppress(BrokenPipeError):
                for number, part in enumerate(parts):
                    time.sleep(pause if number else 0)
                    sock.sendall(part if isinstance(part, bytes) else part.encode())
                if half_close:
                    sock.shutdown(socket.SHUT_WR)
            said = b""
            try:
                while data := sock.recv(65536):
                    said += data
            except TimeoutError:
                return f"{said.decode()} and silence"
            except ConnectionResetError:
                # Behind an answer it is no more than that not all of the request was read.
                return said.decode() or "a reset"
            return said.decode() or "nothing"

    def order(self, execute, **arguments):
        """The same as a JSON text."""
        return self.ask(json.dumps({"execute": execute, **({"arguments": arguments} if arguments else {})}))


def connect(sock, path, limit=2):
    """Where clients stand in line already, one that waits is told to come again."""
    deadline = time.monotonic() + limit
    while True:
        try:
            return sock.connect(path)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def ends_by_itself(pid, limit=LIMIT):
    """Whether a process that is not our child goes within the limit."""
    with contextlib.suppress(Failure):
        wait_until("it ends", lambda: not is_alive(pid), limit)
        return "ends"
    return "runs on"


def is_alive(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    return False


def stop(pid, number=signal.SIGTERM):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


ADDRESSES = [HOST, SECOND, HOST6, SECOND6, "127.0.0.1", "::1"]
MARK = "GANGPLANK_STAGE"
