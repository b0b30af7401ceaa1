"""Programs that run beside a script: started, waited for, looked at in /proc, ended.

Knows nothing of hosts, users or what is tried.
"""
import contextlib
import os
import subprocess
import time


class Failure(Exception):
    """Something does not work; its text says what."""


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
            with contextlib.suppress(BrokenPipeError):
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


def named(*names):
    """Living processes by the name of their program: pid and command line of each. Zombies have ended."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").rstrip("\0").split("\0")
            if os.path.basename(words[0]) in names:
                found[int(pid)] = " ".join(words)
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


def do(*words):
    """A command that must work, heard only when it does not."""
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"`{' '.join(words)}` ended with {done.returncode}: {done.stderr or done.stdout}")


def read(path):
    with open(path) as file:
        return file.read()


def write(path, text):
    with open(path, "w") as file:
        file.write(text)
