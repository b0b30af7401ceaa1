"""pasta: its command line, what it says, and how it comes and goes (compat.md's sources: its manual).

What is compared of outputs is what podman, RootlessKit and people look for, not every word.
"""
import contextlib
import os
import re
import signal
import socket
import subprocess
import time

from processes import Failure, read, wait_until
from scenarios import refusals, scenario
from stage import LIMIT, ends_by_itself, is_alive, stop

REFUSED = [
    ("option_unknown", ["--bogus", "{pid}"], [r"unrecognized option '--bogus'"]),
    ("option_unknown_short", ["-Z", "{pid}"], [r"invalid option -- 'Z'"]),
    ("option_ambiguous", ["--no-", "{pid}"], [r"option '--no-' is ambiguous"]),
    ("option_without_value", ["{pid}", "--mtu"], [r"option '--mtu' requires an argument"]),
    ("option_with_value_too_many", ["--config-net=1", "{pid}"], [r"option '--config-net' doesn't allow an argument"]),
    ("mtu_word", ["--config-net", "-m", "abc", "{pid}"], [r"Invalid MTU: abc"]),
    ("mtu_above", ["--config-net", "-m", "65536", "{pid}"], [r"Invalid MTU: 65536"]),
    ("ports_beyond", ["--config-net", "-t", "99999", "{pid}"], [r"Invalid port specifier"]),
    ("ports_word", ["--config-net", "-t", "web", "{pid}"], [r"Invalid port specifier"]),
    ("ports_backwards", ["--config-net", "-t", "90-80", "{pid}"], [r"Invalid port specifier"]),
    ("ports_unequal", ["--config-net", "-t", "80-90:80-85", "{pid}"], [r"Invalid port specifier"]),
    ("ports_of_address_malformed", ["--config-net", "-t", "1.2.3/80", "{pid}"], [r"Invalid"]),
    ("ports_none_and_some", ["--config-net", "-t", "none", "-t", "12001", "{pid}"], []),
    ("pid_gone", ["--config-net", "{gone}"], [r"4194303"]),
    ("netns_missing", ["--config-net", "--netns", "{home}/none"], [r"{home}|none"]),
    ("netns_no_namespace", ["--config-net", "--netns", "/etc/passwd"], []),
    ("netns_and_pid", ["--config-net", "--netns", "/proc/{pid}/ns/net", "{pid}"], []),
    ("address_word", ["--config-net", "-a", "here", "{pid}"], [r"Invalid address: here"]),
    ("address_loopback", ["--config-net", "-a", "127.0.0.1", "{pid}"], [r"Invalid address: 127\.0\.0\.1"]),
    ("address_broadcast", ["--config-net", "-a", "255.255.255.255", "{pid}"], [r"Invalid address: 255\.255\.255\.255"]),
    ("netmask_word", ["--config-net", "-a", "10.0.3.15", "-n", "wide", "{pid}"], [r"Invalid netmask: wide"]),
    ("netmask_beyond", ["--config-net", "-a", "10.0.3.15", "-n", "33", "{pid}"], [r"Invalid netmask: 33"]),
    ("gateway_word", ["--config-net", "-g", "there", "{pid}"], [r"Invalid gateway address: there"]),
    ("interface_missing", ["--config-net", "-i", "eth77", "{pid}"], [r"eth77"]),
    ("dns_forward_word", ["--config-net", "--dns-forward", "x", "{pid}"], [r"Invalid DNS forwarding address: x"]),
    ("pcap_nowhere", ["--config-net", "-p", "", "{pid}"], [r"Invalid pcap path: "]),
    ("pcap_folder_missing", ["--config-net", "-p", "{home}/none/x.pcap", "{pid}"], []),
    ("pid_folder_missing", ["--config-net", "-P", "{home}/none/x.pid", "{pid}"], []),
    ("log_folder_missing", ["--config-net", "-l", "{home}/none/x.log", "{pid}"], []),
    ("command_missing", ["--config-net", "--", "{home}/none"], []),
]
refusals("pasta", REFUSED)
NEWER = ("--map-host-loopback", "--map-guest-addr", "--host-lo-to-ns-lo")
HELP = ("--config-net", "--ns-ifname", "--interface", "--address", "--netmask", "--gateway", "--mtu", "--dns", "--search", "--dns-forward",
        "--no-map-gw", "--tcp-ports", "--udp-ports", "--tcp-ns", "--udp-ns", "--ipv4-only", "--ipv6-only", "--no-tcp", "--no-udp", "--no-icmp",
        "--no-dhcp", "--no-ndp", "--no-dhcpv6", "--no-ra", "--pid", "--quiet", "--foreground", "--log-file", "--log-size", "--pcap", "--userns",
        "--netns", "--netns-only", "--no-netns-quit")
# No port is taken from the host, so that nothing meets.
CLOSED = ("-t", "none", "-u", "none", "-T", "none", "-U", "none")


def join(stage, box, *options, target=None):
    """pasta beside a container, in the background; its process."""
    file = stage.path(f"pasta{stage.port()}.pid")
    run = stage.tried([stage.program("pasta"), "--config-net", "--quiet", *options, "--pid", file, *(target or [box.pid])])
    pid = None
    if run.exit == 0 and os.path.exists(file):
        with open(file) as text:
            pid = int(text.read())
        stage.stack.callback(stop, pid, signal.SIGKILL)
    run.daemon, run.pid_file = pid, file
    return run


@scenario("pasta")
def help_text(stage):
    """--help names the options that callers pass"""
    run = stage.tried([stage.program("pasta"), "--help"])
    return {"exit": run.exit, "options": [it for it in HELP if re.search(rf"(?<![\w-]){it}(?![\w-])", run.says())]}


@scenario("pasta")
def version_text(stage):
    """--version succeeds, on stdout, and begins with pasta"""
    run = stage.tried([stage.program("pasta"), "--version"])
    return {"exit": run.exit, "says": run.where("^pasta ")}


@scenario("pasta")
def version_behind_options(stage):
    """an option that is known and --version behind it: how callers ask whether there is one"""
    stage.needs("pasta", "--host-lo-to-ns-lo")
    return {option: stage.tried([stage.program("pasta"), option, "--version"]).exit for option in ("--host-lo-to-ns-lo", "--no-such-thing")}


@scenario("pasta")
def command(stage):
    """a command in namespaces of its own: it is root there, its interface is up, its exit status is told"""
    words = ["--config-net", *CLOSED, "--", "sh", "-c", "id -u; ip -oneline -4 address show up | cut -d' ' -f2 | sort -u | wc -l; exit 7"]
    run = stage.tried([stage.program("pasta"), *words])
    return stage.take_for_granted(run.exit == 7, {"exit": run.exit, "stdout": run.stdout().split()})


@scenario("pasta")
def command_by_signal(stage):
    """a command that a signal ends"""
    run = stage.tried([stage.program("pasta"), "--config-net", *CLOSED, "--", "sh", "-c", "kill -9 $$"])
    return {"exit": run.exit}


@scenario("pasta")
def command_without_dashes(stage):
    """the first word that is no option begins the command, whose own options are its own"""
    run = stage.tried([stage.program("pasta"), "--config-net", *CLOSED, "sh", "-c", "exit 3"])
    return {"exit": run.exit}


@scenario("pasta")
def command_streams(stage):
    """a command has the caller's streams"""
    words = [stage.program("pasta"), "--config-net", "--quiet", *CLOSED, "--", "sh", "-c", "cat; echo error >&2"]
    done = stage.host.tried(words, limit=10, stdin=open(__file__))
    with open(__file__) as file:
        return {"exit": done.returncode, "stdin": done.stdout == file.read(), "stderr": "error\n" in done.stderr}


@scenario("pasta")
def command_alone(stage):
    """a command has processes of its own"""
    run = stage.tried([stage.program("pasta"), "--config-net", "--quiet", *CLOSED, "--", "sh", "-c", "echo $$; ls /proc | grep -c '^[0-9]*$'"])
    return {"few": [int(it) < 10 for it in run.stdout().split()]}


@scenario("pasta")
def command_ends_it(stage):
    """nothing is left when the command has ended"""
    file = stage.path("pasta.pid")
    run = stage.tried([stage.program("pasta"), "--config-net", "-P", file, *CLOSED, "--", "cat", file])
    pid = run.stdout().strip()
    return {"exit": run.exit, "told": pid.isdigit(), "left": pid.isdigit() and ends_by_itself(int(pid), 2)}


@scenario("pasta")
def quiet(stage):
    """--quiet says nothing at all"""
    run = join(stage, stage.box(), *CLOSED)
    text = re.sub(r"Failed to send \d+ bytes to syslog\n", "", run.says())
    return {"exit": run.exit, "says": text}


@scenario("pasta")
def readiness(stage):
    """when the call returns, everything is set up"""
    box = stage.box()
    run = join(stage, box, *CLOSED, "-I", "tap0")
    link = box.ask("links").get("tap0", {})
    return {"exit": run.exit, "up": link.get("up"), "addresses": bool(link.get("addresses")), "routes": bool(box.ask("routes"))}


@scenario("pasta")
def start_to_ready(stage):
    """ready within a second, five times; `integration/bench` has the figures"""
    seconds = []
    for _ in range(5):
        box = stage.box()
        began = time.monotonic()
        join(stage, box, *CLOSED)
        seconds.append(time.monotonic() - began)
    return {"median below a second": sorted(seconds)[2] < 1}


@scenario("pasta")
def pid_file(stage):
    """the process's number and a newline, in a file that the caller can read"""
    run = join(stage, stage.box(), *CLOSED)
    with open(run.pid_file) as file:
        text = file.read()
    return {"form": bool(re.fullmatch(r"\d+\n", text)), "alive": is_alive(run.daemon)}


@scenario("pasta")
def pid_to_a_pipe(stage):
    """the number to a pipe of the caller's, who waits for its end: `pid=$(pasta -P /dev/stdout ...)`"""
    box, seen = stage.box(), {}
    for stream, others in (("stdout", "2>/dev/null"), ("stderr", "2>&1 >/dev/null")):
        words = [stage.program("pasta"), "--config-net", "-q", *CLOSED, "-I", stream, "-P", f"/dev/{stream}", box.pid]
        run = stage.tried(["sh", "-c", f'pid=$("$@" {others}); echo "$pid"', "sh", *words], limit=5)
        seen[stream] = bool(re.fullmatch(r"\d+\n", run.stdout())) or run.exit
        with contextlib.suppress(ValueError):
            stage.stack.callback(stop, int(run.stdout()))
    return seen


@scenario("pasta")
def streams_let_go(stage):
    """who waits for the end of its output waits no longer than it takes to be ready"""
    box, file = stage.box(), stage.path("pasta.pid")
    began = time.monotonic()
    process = stage.host.start([stage.program("pasta"), "--config-net", "--quiet", *CLOSED, "-P", file, box.pid], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    stage.stack.callback(process.kill)
    try:
        process.communicate(timeout=5)
        seen = {"end": time.monotonic() - began < 5, "exit": process.returncode}
    except subprocess.TimeoutExpired:
        seen = {"end": False}
    with open(file) as text:
        stage.stack.callback(stop, int(text.read()))
    return seen


@scenario("pasta")
def session_of_its_own(stage):
    """in the background it belongs to no session of the caller's, and holds none of its standard streams"""
    run = join(stage, stage.box(), *CLOSED)
    with contextlib.suppress(Failure):
        wait_until("it has its own", lambda: session(run.daemon) != os.getsid(0), 1)
    return {"another session": session(run.daemon) != os.getsid(0)}


def session(pid):
    """Field 6 of proc(5)'s stat."""
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[3])


@scenario("pasta")
def command_ignores(stage):
    """a command ignores the signals that pasta's caller had it ignore: nohup"""
    words = [stage.program("pasta"), "--config-net", "-q", *CLOSED, "--", "grep", "SigIgn", "/proc/self/status"]
    run = stage.tried(["sh", "-c", 'trap "" HUP INT PIPE; exec "$@"', "sh", *words])
    return {"exit": run.exit, "ignored": run.stdout().strip()}


@scenario("pasta")
def command_interrupted(stage):
    """a command without a handler ends by the terminal's signals, whoever is the first of a process namespace"""
    seen = {}
    for name, number in (("INT", signal.SIGINT), ("QUIT", signal.SIGQUIT)):
        run = stage.started([stage.program("pasta"), "--config-net", "-q", *CLOSED, "--", "sh", "-c", "echo ready; exec sleep 20"],
                            start_new_session=True)
        wait_until("it runs", lambda run=run: "ready" in run.stdout())
        os.killpg(run.pid, number)
        seen[name] = run.wait()
    return seen


@scenario("pasta")
def background_signalled(stage):
    """in the background it ends by SIGTERM and SIGQUIT, and lives through what it has no use for"""
    seen = {}
    for name in ("HUP", "INT", "USR1", "USR2", "ALRM", "TERM", "QUIT"):
        run = join(stage, stage.box(), *CLOSED)
        os.kill(run.daemon, getattr(signal, f"SIG{name}"))
        seen[name] = ends_by_itself(run.daemon, 0.5 if name not in ("TERM", "QUIT") else LIMIT)
    return seen


@scenario("pasta")
def mounts_let_go(stage):
    """in the background it holds neither the folder in which it was started nor that of its number"""
    box, seen = stage.box(), {}
    folders = [stage.path("here"), stage.path("number")]
    for folder in folders:
        os.mkdir(folder)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0777", "tmpfs", folder], check=True)
        stage.stack.callback(subprocess.run, ["umount", "--lazy", folder], stderr=subprocess.DEVNULL)
    file = os.path.join(folders[1], "pid")
    stage.tried([stage.program("pasta"), "--config-net", "-q", *CLOSED, "-P", file, box.pid], cwd=folders[0])
    with open(file) as text:
        stage.stack.callback(stop, int(text.read()))
    for folder in folders:
        with contextlib.suppress(Failure):
            # The caller may go on a little before the last of it.
            wait_until("it can go", lambda folder=folder: subprocess.run(["umount", folder], stderr=subprocess.DEVNULL).returncode == 0, 1)
        seen[os.path.basename(folder)] = not os.path.ismount(folder)
    return seen


@scenario("pasta")
def foreground(stage):
    """--foreground stays; SIGTERM ends it with 0"""
    box = stage.box()
    file = stage.path("pasta.pid")
    run = stage.started([stage.program("pasta"), "--config-net", "-f", "-q", *CLOSED, "-I", "tap0", "-P", file, box.pid])
    address = box.ask("wait_for_address", prefix="198.51.100.1")["address"]
    with contextlib.suppress(Failure):
        wait_until("it has written its number", lambda: os.path.exists(file) and os.path.getsize(file))
    runs = run.runs()
    return {"address": address, "runs": runs, "exit": run.signal(signal.SIGTERM)}


@scenario("pasta")
def container_gone(stage):
    """it goes by itself when the container's process has ended"""
    box = stage.box()
    run = join(stage, box, *CLOSED)
    box.end()
    return {"within 3 s": ends_by_itself(run.daemon, 3)}


@scenario("pasta")
def namespace_file_gone(stage):
    """it goes by itself when the namespace's file is unmounted and removed"""
    box = stage.box()
    # The user's own mounts are in namespaces of his; root's do for a file.
    file = stage.path("netns")
    open(file, "w").close()
    subprocess.run(["mount", "--bind", f"/proc/{box.pid}/ns/net", file], check=True)
    stage.stack.callback(subprocess.run, ["umount", "--lazy", file], stderr=subprocess.DEVNULL)
    run = join(stage, box, *CLOSED, "--userns", f"/proc/{box.pid}/ns/user", target=["--netns", file])
    subprocess.run(["umount", "--lazy", file], check=True)
    os.remove(file)
    return {"exit": run.exit, "within 3 s": ends_by_itself(run.daemon, 3) if run.daemon else None}


@scenario("pasta")
def namespace_file_gone_and_kept(stage):
    """--no-netns-quit: it stays when the file is removed"""
    box = stage.box()
    file = stage.path("netns")
    open(file, "w").close()
    subprocess.run(["mount", "--bind", f"/proc/{box.pid}/ns/net", file], check=True)
    stage.stack.callback(subprocess.run, ["umount", "--lazy", file], stderr=subprocess.DEVNULL)
    run = join(stage, box, *CLOSED, "--no-netns-quit", "--userns", f"/proc/{box.pid}/ns/user", target=["--netns", file])
    subprocess.run(["umount", "--lazy", file], check=True)
    os.remove(file)
    return {"exit": run.exit, "after 2 s": ends_by_itself(run.daemon, 2) if run.daemon else None}


@scenario("pasta")
def by_path(stage):
    """--netns and --userns by path"""
    box = stage.box()
    run = join(stage, box, *CLOSED, "-I", "tap0", "--userns", f"/proc/{box.pid}/ns/user", target=["--netns", f"/proc/{box.pid}/ns/net"])
    return {"exit": run.exit, "tap": "tap0" in box.ask("links")}


@scenario("pasta")
def options_behind_operands(stage):
    """podman's order: options follow the namespace"""
    box = stage.box()
    target = ["--userns", f"/proc/{box.pid}/ns/user", "--netns", f"/proc/{box.pid}/ns/net", "--ns-ifname", "tap9", *CLOSED]
    return {"exit": join(stage, box, target=target).exit, "tap": "tap9" in box.ask("links")}


@scenario("pasta")
def option_twice(stage):
    """of an option given twice, the last counts"""
    box = stage.box()
    run = join(stage, box, *CLOSED, "-I", "tap1", "-I", "tap2", "-m", "1400", "-m", "1300")
    links = box.ask("links")
    return {"exit": run.exit, "mtu": links.get("tap2", {}).get("mtu"), "first": "tap1" in links}


@scenario("pasta")
def families_excluded(stage):
    """-4 and -6 together"""
    seen = {}
    for words in (("-4", "-6"), ("-6", "-4")):
        box = stage.box()
        run = join(stage, box, *words, *CLOSED)
        addresses = box.ask("links").get("host0", {}).get("addresses", [])
        families = sorted({6 if ":" in it else 4 for it in addresses})
        seen[" ".join(words)] = {"exit": run.exit, "families": families, "says": run.where(r"mutually exclusive")}
    return seen


@scenario("pasta")
def numbers(stage):
    """numbers as strtoul(3) reads them: behind space and a plus, and an MTU in any base"""
    box, port = stage.box(), stage.port()
    closed = [word for flag in ("-u", "-T", "-U") for word in (flag, "none")]
    run = join(stage, box, "-4", "-I", "tap0", "-m", " 0x5dc", "-t", f" +{port}", *closed, target=[f" +{box.pid}"])
    with socket.socket() as sock:
        taken = not sock.connect_ex(("127.0.0.1", port))
    return {"exit": run.exit, "mtu": box.ask("links").get("tap0", {}).get("mtu"), "port": taken}


@scenario("pasta")
def log_file(stage):
    """--log-file: what it has to say is there"""
    file = stage.path("pasta.log")
    box = stage.box()
    run = stage.tried([stage.program("pasta"), "--config-net", "-l", file, "--log-size", "100000", *CLOSED, "-P", stage.path("log.pid"), box.pid])
    with open(stage.path("log.pid")) as text:
        stage.stack.callback(stop, int(text.read()))
    return {"exit": run.exit, "something": os.path.exists(file) and os.path.getsize(file) > 0}


@scenario("pasta")
def packet_capture(stage):
    """--pcap: a file that begins as such files do, with packets"""
    file, box = stage.path("pasta.pcap"), stage.box()
    run = join(stage, box, *CLOSED, "-a", "10.0.3.15", "-n", "24", "-g", "10.0.3.2", "--pcap", file)
    box.ask("ping", to="10.0.3.2", limit=1)
    with open(file, "rb") as data:
        start = data.read()
    return {"exit": run.exit, "magic": start[:4].hex() in ("d4c3b2a1", "a1b2c3d4"), "packets": len(start) > 100,
            "mode": oct(os.stat(file).st_mode & 0o777)}


@scenario("pasta")
def stderr_option(stage):
    """--stderr is accepted"""
    return {"exit": join(stage, stage.box(), *CLOSED, "--stderr").exit}


@scenario("pasta")
def descriptors_inherited(stage):
    """descriptors of the caller's are let go, but the standard ones"""
    reader, writer = os.pipe()
    file, box = stage.path("pasta.pid"), stage.box()
    stage.tried([stage.program("pasta"), "--config-net", "-q", *CLOSED, "-P", file, box.pid], pass_fds=[writer])
    os.close(writer)
    with open(file) as text:
        pid = int(text.read())
    stage.stack.callback(stop, pid)
    links = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        links.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    mine = os.readlink(f"/proc/self/fd/{reader}")
    os.close(reader)
    return {"held": mine in links}


@scenario("pasta")
def confinement(stage):
    """no new privileges, a filter of system calls, none of the host's files, nothing to write to, and hidden from its user"""
    run = join(stage, stage.box(), *CLOSED)

    def of_all(look):
        """Of the process that is told of, and of those that it has beside it."""
        children = read(f"/proc/{run.daemon}/task/{run.daemon}/children").split()
        return sorted({look(pid) for pid in (run.daemon, *children)})

    def status(key):
        return of_all(lambda pid: re.search(rf"^{key}:\t(.*)$", read(f"/proc/{pid}/status"), re.M)[1])

    # The caller may go on a little before the last of it.
    with contextlib.suppress(Failure):
        wait_until("the filter is there", lambda: status("Seccomp") == ["2"], 1)
    with open(f"/proc/{run.daemon}/mountinfo") as mounts:
        writable = [line for line in mounts if "ro" not in line.split()[5].split(",")]
    return {"NoNewPrivs": status("NoNewPrivs"), "Seccomp": status("Seccomp"), "root": sorted(os.listdir(f"/proc/{run.daemon}/root/")),
            "writable": len(writable), "hidden": of_all(lambda pid: os.stat(f"/proc/{pid}/fd").st_uid == 0)}
