"""Images made over the network: `podman build` and buildah."""
import os

from ground import SERVER, TALK, expect
from podman import IMAGE, Podman
from processes import write

NAME, NEEDS = "images", ["podman", "crun", "conmon", "slirp4netns", "busybox"]
FETCHING = f"""FROM {IMAGE}
RUN wget -q -O /www/fetched http://{SERVER}:{TALK}/ && wget -q -O /www/by-name http://server.test:{TALK}/
CMD cat /www/fetched
"""


def runtime(ground):
    return ground.once(Podman)


def build(podman):
    """podman build with a RUN that fetches over the network, by address and by name"""
    folder = context(podman, "build", FETCHING)
    podman("build", "--quiet", "--tag", "localhost/fetched", folder)
    said = podman("run", "--rm", "--network", "none", "localhost/fetched").strip()
    return expect(said == f"{SERVER} to {SERVER}", said)


def build_leaves_nothing(podman):
    """podman build without its cache, and no helper when it has ended"""
    podman("build", "--quiet", "--no-cache", "--tag", "localhost/fetched2", context(podman, "build-again", FETCHING))
    return podman.ground.expect_nothing_left()


def build_that_fails(podman):
    """a RUN that fetches from a port that nobody listens on fails at once, and leaves nothing"""
    folder = context(podman, "build-fails", f"FROM {IMAGE}\nRUN wget -q -O /www/fetched http://{SERVER}:20003/\n")
    done = podman.tried("build", "--no-cache", folder)
    expect(done.returncode != 0 and "refused" in done.stdout + done.stderr, done.stderr)
    return podman.ground.expect_nothing_left()


def buildah_run(podman):
    """buildah run fetches over the network"""
    podman.ground.need("buildah")
    container = buildah(podman, "from", IMAGE)
    said = buildah(podman, "run", container, "--", "wget", "-q", "-O", "-", f"http://server.test:{TALK}/")
    buildah(podman, "rm", container)
    expect(said == f"{SERVER} to {SERVER}", said)
    return podman.ground.expect_nothing_left()


def buildah_build(podman):
    """buildah build with a RUN that fetches over the network"""
    podman.ground.need("buildah")
    buildah(podman, "build", "--quiet", "--tag", "localhost/fetched3", context(podman, "buildah", FETCHING))
    return podman.ground.expect_nothing_left()


def buildah(podman, *words):
    return podman.host.run(["env", *podman.extra(), "buildah", *words]).strip()


def context(podman, name, text):
    """A folder with a Containerfile."""
    folder = podman.path(name)
    os.mkdir(folder)
    write(os.path.join(folder, "Containerfile"), text)
    return folder


CHECKS = [build, build_leaves_nothing, build_that_fails, buildah_run, buildah_build]
