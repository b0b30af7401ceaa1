"""Rootless podman with a configuration, a storage and one image of its own."""
import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess

from box import Box
from processes import wait_until, write

IMAGE = "localhost/busy"
APPLETS = ("sh", "nc", "wget", "ping", "nslookup", "ip", "grep", "sleep", "cat", "echo", "dd", "sha256sum", "httpd", "hostname", "true", "ls", "tr")
number = itertools.count(1)


class Podman:
    """Commands, and containers that are removed with the check that started them."""

    def __init__(self, ground):
        self.ground, self.host = ground, ground.host
        self.folder = os.path.join(ground.folder, type(self).__name__.lower())
        os.mkdir(self.folder)
        helpers = [*([ground.links] if ground.links else []), "/usr/lib/podman", "/usr/libexec/podman", "/usr/lib/cni", "/usr/bin"]
        self.configure("containers.conf", CONTAINERS.format(helpers=json.dumps(helpers)))
        self.configure("storage.conf", STORAGE.format(folder=self.host.home))
        settings = os.path.join(self.host.home, ".config", "containers")
        self.host.run(["mkdir", "-p", settings])
        write(os.path.join(settings, "policy.json"), '{"default": [{"type": "insecureAcceptAnything"}]}')
        write(os.path.join(settings, "registries.conf"), "unqualified-search-registries = []\n")
        self.environment = {**self.host.environment, "CONTAINERS_CONF": self.path("containers.conf"),
                            "CONTAINERS_STORAGE_CONF": self.path("storage.conf"), "BUILDAH_ISOLATION": "rootless"}
        self.make_image()

    def path(self, name):
        return os.path.join(self.folder, name)

    def configure(self, name, text):
        write(self.path(name), text)
        os.chmod(self.path(name), 0o644)

    def make_image(self):
        """busybox, which is linked statically, and links to it."""
        root = self.path("root")
        for folder in ("bin", "etc", "tmp", "usr", "www"):
            os.makedirs(os.path.join(root, folder))
        shutil.copy(self.host.find("busybox"), os.path.join(root, "bin"))
        for applet in APPLETS:
            os.symlink("busybox", os.path.join(root, "bin", applet))
        for folder in ("lib", "lib64"):
            os.symlink(f"usr/{folder}", os.path.join(root, folder))
        write(os.path.join(root, "www", "index.html"), "served from inside\n")
        subprocess.run(["tar", "-C", root, "--owner=0", "--group=0", "-cf", self.path("image.tar"), "."], check=True)
        os.chmod(self.path("image.tar"), 0o644)
        self("import", "--quiet", self.path("image.tar"), IMAGE)

    def __call__(self, *words, limit=60):
        """A command that must work; what it printed."""
        return self.host.run(["env", *self.extra(), "podman", "--log-level=error", *words], limit=limit)

    def tried(self, *words, limit=60):
        return self.host.tried(["podman", "--log-level=error", *words], limit=limit, env=self.environment)

    def extra(self):
        """As words, what the environment has beside the user's."""
        return [f"{key}={value}" for key, value in self.environment.items() if self.host.environment.get(key) != value]

    def inside(self, network, script, *options):
        """A shell's lines in a fresh container on this network; what they print."""
        try:
            return self("run", "--rm", "--network", network, *options, IMAGE, "sh", "-c", script).strip()
        except subprocess.TimeoutExpired:
            # It is not the container that has ended.
            self.tried("rm", "--force", "--time", "0", "--all")
            raise

    def serving(self, network, *options, name=None):
        """A container with an HTTP server at port 80, until the check ends."""
        name = name or f"server{next(number)}"
        self("run", "--detach", "--name", name, "--network", network, *options, IMAGE, "httpd", "-f", "-p", "80", "-h", "/www")
        self.ground.stack.callback(self.remove, name)
        return name

    def box(self, network, *options):
        """A container with the agent inside, which is the host's python over the image's busybox."""
        name = f"agent{next(number)}"
        agent = self.host.agent
        volumes = [word for it in ("/usr", agent, os.path.join(os.path.dirname(agent), "servers.py")) for word in ("--volume", f"{it}:{it}:ro")]
        self.ground.stack.callback(self.remove, name)
        words = ["podman", "--log-level=error", "run", "--rm", "--interactive", "--name", name, "--network", network, *volumes, *options, IMAGE]
        made = Box(self.host, words, env=self.environment)
        self.ground.stack.callback(made.end)
        return made

    def remove(self, name):
        self.tried("rm", "--force", "--time", "0", name)


def fetch(address, port, limit=5):
    """What an HTTP client on the host gets, or the kind of error; waits for a server that has just started."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    seen = []

    def answered():
        with contextlib.suppress(OSError), socket.socket(family) as sock:
            sock.settimeout(limit)
            sock.connect((address, port))
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            seen[:] = [sock.makefile().read().split("\n\n")[-1].strip()]
        return seen and seen[0]

    wait_until(f"an answer of {address}, port {port}", answered, limit)
    return seen[0]


CONTAINERS = """
[containers]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "crun"
helper_binaries_dir = {helpers}
[network]
cni_plugin_dirs = ["/usr/lib/cni"]
"""
STORAGE = """
[storage]
driver = "vfs"
graphroot = "{folder}/storage"
runroot = "{folder}/run/containers"
"""
