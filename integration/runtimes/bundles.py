"""Sandboxes that leave the network to others: bubblewrap and an OCI bundle of crun's, with slirp4netns' command line and
with `gangplank attach`."""
import itertools
import json
import os

from box import Box
from clients import from_host
from ground import SERVER, TALK, Skipped, expect
from host import HOST
from podman import Podman, fetch
from processes import read, wait_until, write
from servers import NAME as PEER

NAME, NEEDS = "sandboxes", ["slirp4netns"]
number = itertools.count(1)


class Sandboxes:
    """Sandboxes that wait until their network is there, and gangplank's networks."""

    def __init__(self, ground):
        self.ground, self.host = ground, ground.host

    def bubblewrap(self, *options):
        """bubblewrap, blocked before its command; `begin` lets it go on."""
        self.ground.need("bwrap")
        box = Bubblewrap(self.host, options)
        self.ground.stack.callback(box.end)
        return box

    def slirp(self, pid, *options):
        """slirp4netns joined to a process, ready."""
        ready, theirs = os.pipe()
        process = self.host.start(["slirp4netns", "-c", "--mtu=65520", *options, "-r", theirs, pid, "tap0"], pass_fds=[theirs])
        os.close(theirs)
        self.ground.stack.callback(stop, process)
        with os.fdopen(ready, "rb") as pipe:
            expect(pipe.read() == b"1", "slirp4netns is not ready")

    def network(self):
        """A network of gangplank's; the words of its command line."""
        if not self.ground.gangplank:
            raise Skipped("no gangplank has been built")
        tool = [self.ground.gangplank, "--network", f"net{next(number)}"]
        self.host.run([*tool, "up"])
        self.ground.stack.callback(self.host.tried, [*tool, "down", "--force"])
        return tool


class Bubblewrap(Box):
    """Its process is known before its command runs."""

    def __init__(self, host, options):
        info, theirs = os.pipe()
        block, self.go = os.pipe()
        words = ["bwrap", "--unshare-user", "--unshare-net", *options, "--info-fd", str(theirs), "--block-fd", str(block), "--dev-bind", "/", "/"]
        super().__init__(host, words, pass_fds=[theirs, block])
        os.close(theirs)
        os.close(block)
        with os.fdopen(info) as pipe:
            self.pid = json.load(pipe)["child-pid"]
        # It says so before it has given its loopback an address, and ends if somebody else has done that meanwhile.
        wait_until("bubblewrap has a loopback", lambda: "127.0.0.1" in read(f"/proc/{self.pid}/net/fib_trie"))

    def wait_for_agent(self):
        """Not yet."""

    def begin(self):
        os.write(self.go, b"1")
        os.close(self.go)
        self.hear()


def stop(process):
    process.kill()
    process.wait()


def runtime(ground):
    return ground.once(Sandboxes)


def bubblewrap_with_slirp4netns(them):
    """bubblewrap --info-fd --block-fd, and slirp4netns on its process, as bubblejail does"""
    box = them.bubblewrap()
    them.slirp(box.pid, "--disable-host-loopback")
    box.begin()
    seen = [box.ask("tcp", to=HOST, port=TALK), box.ask("name", server="10.0.2.3", name=PEER)]
    return expect("said" in seen[0] and seen[1]["answers"] == 1, seen)


def bubblewrap_with_pasta(them):
    """bubblewrap, and pasta on its process"""
    them.ground.need("pasta")
    box = them.bubblewrap()
    file = os.path.join(them.host.home, "bwrap-pasta.pid")
    words = ["pasta", "--config-net", "--quiet", "-4", "-a", "10.0.3.15", "-n", "24", "-g", "10.0.3.2", "-t", "none", "-u", "none", "-T", "none", "-U", "none",
             "-P", file, box.pid]
    them.host.run(words)
    box.begin()
    seen = box.ask("tcp", to=HOST, port=TALK)
    # By pid, it is not to go with the process in every release.
    them.host.run(["sh", "-c", f"kill $(cat {file})"])
    them.ground.expect_nothing_left()
    return expect("said" in seen, seen)


def bubblewrap_attached(them):
    """bubblewrap, and `gangplank attach` on its process: out, names, a published port, and another container"""
    tool, number = them.network(), them.host.next_port()
    boxes = [them.bubblewrap() for _ in range(2)]
    for count, box in enumerate(boxes):
        publish = ["--publish", f"{number}:8080"] if count == 0 else []
        them.host.run([*tool, "attach", "--pid", box.pid, "--name", f"guest{count}", *publish])
        box.begin()
    boxes[0].ask("serve", address="0.0.0.0", port=8080)
    inspected = json.loads(them.host.run([*tool, "inspect", "guest0"]))[0]["NetworkSettings"]
    seen = [boxes[0].ask("tcp", to=HOST, port=TALK), boxes[0].ask("name", server=inspected["Gateway"], name=PEER),
            boxes[1].ask("tcp", to=inspected["IPAddress"], port=8080)]
    expect("said" in seen[0] and seen[1]["answers"] == 1 and "said" in seen[2], seen)
    answer = from_host(HOST, number)
    return expect(answer.endswith(": hello"), answer)


def bundle_attached(them):
    """an OCI bundle that crun runs, put on a network by `gangplank attach`: out, by name, and in by a published port"""
    them.ground.need("crun")
    tool, number, name = them.network(), them.host.next_port(), "bundle"
    folder = them.ground.once(Podman).path("bundle")
    # Before its command runs, crun's process is closed to its own user (prctl(2), PR_SET_DUMPABLE): nobody can join it.
    make_bundle(them, folder, f"""
        until ip -4 addr show eth0 2>&1 | grep -q inet; do sleep 0.1; done
        echo hello | nc -w 3 {HOST} {TALK}
        wget -q -O - http://server.test:{TALK}/
        exec httpd -f -p 80 -h /www""")
    crun = ["crun", "--cgroup-manager=cgroupfs", f"--root={them.host.home}/crun"]
    output = os.path.join(folder, "output")
    with open(output, "w") as file:
        started = them.host.start([*crun, "run", "--detach", f"--bundle={folder}", name], stdout=file, stderr=file)
    them.ground.stack.callback(them.host.tried, [*crun, "delete", "--force", name])
    expect(started.wait(20) == 0, read(output))
    pid = json.loads(them.host.run([*crun, "state", name]))["pid"]
    them.host.run([*tool, "attach", "--pid", str(pid), "--name", name, "--publish", f"{number}:80"])
    gateway = json.loads(them.host.run([*tool, "inspect", name]))[0]["NetworkSettings"]["Gateway"]
    write(os.path.join(folder, "resolv.conf"), f"nameserver {gateway}\n")
    expect(fetch(HOST, number) == "served from inside", "a published port")
    said = read(output).split("\n")
    return expect(said[:2] == [f"{HOST} to {HOST}: hello", f"{SERVER} to {SERVER}"], said)


def make_bundle(them, folder, script):
    """A configuration of crun's own, with a root of busybox and our words."""
    os.mkdir(folder)
    os.chown(folder, 61000, 61000)
    them.host.run(["sh", "-c", f"cd {folder} && crun spec --rootless && mkdir rootfs && tar -xf {os.path.dirname(folder)}/image.tar -C rootfs"])
    config = json.loads(read(os.path.join(folder, "config.json")))
    config["process"] |= {"terminal": False, "args": ["/bin/sh", "-c", script]}
    config["root"]["readonly"] = False
    write(os.path.join(folder, "resolv.conf"), "")
    config["mounts"].append({"destination": "/etc/resolv.conf", "type": "bind", "source": os.path.join(folder, "resolv.conf"), "options": ["bind", "ro"]})
    namespaces = config["linux"]["namespaces"]
    if not any(it["type"] == "network" for it in namespaces):
        namespaces.append({"type": "network"})
    write(os.path.join(folder, "config.json"), json.dumps(config))


CHECKS = [bubblewrap_with_slirp4netns, bubblewrap_with_pasta, bubblewrap_attached, bundle_attached]
