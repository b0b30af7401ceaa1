"""slirp4netns: its command line, and what it says (compat.md's sources: its main.c and manual).

What is compared of outputs is what feature probes, callers and people look for, not every word.
"""
import os
import re
import select
import signal
import socket

from scenarios import refusals, scenario
from stage import SECOND, ends_by_itself

USAGE = r"Usage: \S+ \[OPTION\]"
REFUSED = [
    ("no_operands", [], [USAGE]),
    ("no_tap_name", ["{pid}"], [USAGE]),
    ("option_unknown", ["--bogus", "1", "tap0"], [r"unrecognized option '--bogus'"]),
    ("option_unknown_short", ["-Z", "1", "tap0"], [r"invalid option -- 'Z'"]),
    ("option_ambiguous", ["--enable-s", "1", "tap0"], [r"option '--enable-s' is ambiguous"]),
    ("option_without_value", ["1", "tap0", "--mtu"], [r"option '--mtu' requires an argument"]),
    ("option_without_value_short", ["1", "tap0", "-m"], [r"option requires an argument -- 'm'"]),
    ("option_with_value_too_many", ["--configure=1", "1", "tap0"], [r"option '--configure' doesn't allow an argument"]),
    ("mtu_zero", ["--mtu=0", "{pid}", "tap0"], [r"MTU must be a positive integer \(< 65522\)"]),
    ("mtu_above", ["-m65522", "{pid}", "tap0"], [r"MTU must be a positive integer \(< 65522\)"]),
    ("mtu_negative", ["--mtu=-1", "{pid}", "tap0"], [r"MTU must be a positive integer \(< 65522\)"]),
    ("mtu_word", ["--mtu=big", "{pid}", "tap0"], [r"MTU must be a positive integer \(< 65522\)"]),
    ("ready_fd_word", ["--ready-fd=x", "{pid}", "tap0"], [r"ready-fd must be a non-negative integer"]),
    ("ready_fd_negative", ["--ready-fd=-1", "{pid}", "tap0"], [r"ready-fd must be a non-negative integer"]),
    ("exit_fd_word", ["--exit-fd=x", "{pid}", "tap0"], [r"exit-fd must be a non-negative integer"]),
    ("exit_fd_negative", ["-e", "-3", "{pid}", "tap0"], [r"exit-fd must be a non-negative integer"]),
    ("cidr_word", ["--cidr=home", "{pid}", "tap0"], [r"invalid CIDR: home"]),
    ("cidr_without_prefix", ["--cidr=10.0.2.0", "{pid}", "tap0"], [r"invalid CIDR: 10\.0\.2\.0"]),
    ("cidr_octet", ["--cidr=300.0.2.0/24", "{pid}", "tap0"], [r"invalid CIDR: 300\.0\.2\.0/24"]),
    ("cidr_host_address", ["--cidr=10.0.2.100/24", "{pid}", "tap0"],
     [r"CIDR needs to be a network address like 10\.0\.2\.0/24, not like 10\.0\.2\.100/24"]),
    ("cidr_narrow", ["--cidr=10.0.2.0/26", "{pid}", "tap0"], [r"prefix length needs to be 1-25"]),
    ("cidr_all", ["--cidr=0.0.0.0/0", "{pid}", "tap0"], [r"prefix length needs to be 1-25"]),
    ("cidr_beyond", ["--cidr=10.0.2.0/33", "{pid}", "tap0"], [r"prefix length needs to be 1-25"]),
    ("cidr_prefix_signed", ["--cidr=10.0.2.0/+24", "{pid}", "tap0"], [r"invalid CIDR: 10\.0\.2\.0/\+24"]),
    ("cidr_prefix_long", ["--cidr=10.0.2.0/024", "{pid}", "tap0"], [r"invalid CIDR: 10\.0\.2\.0/024"]),
    ("cidr_prefix_of_three", ["--cidr=10.0.2.0/100", "{pid}", "tap0"], [r"invalid CIDR: 10\.0\.2\.0/100"]),
    ("pid_blank_behind", ["{pid} ", "tap0"], [r"PID must be a positive integer"]),
    ("mtu_blank_behind", ["-m", "1500 ", "{pid}", "tap0"], [r"MTU must be a positive integer \(< 65522\)"]),
    ("tap_name_of_lo", ["-c", "{pid}", "lo"], [r"child failed\(1\)"]),
    ("tap_name_with_colon", ["-c", "{pid}", "a:b"], [r"child failed\(1\)"]),
    ("pid_word", ["one", "tap0"], [r"PID must be a positive integer"]),
    ("pid_zero", ["0", "tap0"], [r"PID must be a positive integer"]),
    ("pid_gone", ["{gone}", "tap0"], [r"/proc/4194303/ns/\w+"]),
    ("netns_type_unknown", ["--netns-type=bogus", "{pid}", "tap0"], [r"bogus"]),
    ("netns_path_missing", ["--netns-type=path", "{home}/none", "tap0"],
     [r"existing path expected when --netns-type=path"]),
    ("netns_path_no_namespace", ["--netns-type=path", "/etc/passwd", "tap0"], [r"child failed\(1\)"]),
    ("userns_path_missing", ["--userns-path={home}/none", "--netns-type=path", "/proc/{pid}/ns/net", "tap0"],
     [r"userns path doesn't exist"]),
    ("mac_without_configure", ["--macaddress=02:00:00:00:00:09", "{pid}", "tap0"],
     [r"--macaddr cannot be specified when --configure or -c is not specified"]),
    ("mac_malformed", ["-c", "--macaddress=02:00:zz", "{pid}", "tap0"], [r"[Mm][Aa][Cc]"]),
    ("outbound_address_unknown", ["-c", "--outbound-addr=nowhere", "{pid}", "tap0"], [r"nowhere|outbound"]),
    ("outbound_address6_unknown", ["-c", "--outbound-addr6=nowhere", "{pid}", "tap0"], [r"nowhere|outbound"]),
    ("api_path_too_long", ["--api-socket={long}", "{pid}", "tap0"],
     [r"the specified API socket path is too long \(>= 108\)"]),
    ("api_folder_missing", ["-c", "--api-socket={home}/none/api.sock", "{pid}", "tap0"], [r"api_bindlisten: bind", r"do_slirp failed"]),
    ("tap_name_too_long", ["-c", "{pid}", "a-name-longer-than-fifteen"], []),
    ("target_unknown", ["--target-type=bogus", "{pid}", "tap0"], [r"bogus"]),
    ("target_bess_with_configure", ["--target-type=bess", "-c", "{home}/bess.sock"], []),
]
refusals("slirp4netns", REFUSED)
HELP = ("--configure", "--exit-fd", "--ready-fd", "--mtu", "--enable-ipv6", "--api-socket", "--cidr", "--disable-host-loopback",
        "--netns-type", "--userns-path", "--enable-sandbox", "--enable-seccomp", "--outbound-addr", "--outbound-addr6",
        "--disable-dns", "--macaddress", "--help", "--version")
BANNER = ("Starting slirp", "* MTU:", "* Network:", "* Netmask:", "* Gateway:", "* DNS:", "* DHCP begin:", "* DHCP end:",
          "* Recommended IP:", "* API Socket:", "* Outbound IPv4:", "* MAC address:", "WARNING: 127.0.0.1:* on the host is accessible")


@scenario("slirp4netns")
def help_text(stage):
    """--help goes to stdout, succeeds, and names what feature probes grep for"""
    run = stage.tried([stage.program("slirp4netns"), "--help"])
    return {"exit": run.exit, "stderr": run.stderr(), "options": [it for it in HELP if re.search(rf"(?<![\w-]){it}(?![\w-])", run.stdout())],
            "usage": run.where(USAGE)}


@scenario("slirp4netns")
def help_short(stage):
    """-h is --help"""
    run = stage.tried([stage.program("slirp4netns"), "-h"])
    return {"exit": run.exit, "usage": run.where(USAGE)}


@scenario("slirp4netns")
def version_text(stage):
    """--version is five lines that machines read"""
    run = stage.tried([stage.program("slirp4netns"), "--version"])
    lines = run.stdout().splitlines()
    keys = [re.match(r"[\w ]*?(?=:| version)", line) for line in lines]
    config = re.search(r"SLIRP_CONFIG_VERSION_MAX: (\d+)", run.stdout())
    return {"exit": run.exit, "keys": [it and it[0] for it in keys], "outbound and dns": bool(config) and int(config[1]) >= 3,
            "number": bool(re.fullmatch(r"slirp4netns version \d+\.\d+\.\d+(\S*)", lines[0] if lines else "")),
            "stderr": run.stderr()}


@scenario("slirp4netns")
def version_short(stage):
    """-v is --version, and a unique beginning of a long option is that option"""
    runs = [stage.tried([stage.program("slirp4netns"), word]) for word in ("-v", "--vers", "--v")]
    return {word: [run.exit, run.where("^slirp4netns version")] for word, run in zip(("-v", "--vers", "--v"), runs)}


@scenario("slirp4netns")
def help_wins_before_operands(stage):
    """--help answers although the operands are missing or wrong"""
    run = stage.tried([stage.program("slirp4netns"), "--mtu=1400", "--help", "nonsense"])
    return {"exit": run.exit, "usage": run.where(USAGE)}


@scenario("slirp4netns")
def banner(stage):
    """what it is configured to is on stdout, in these words"""
    slirp = stage.slirp(stage.box(), "-c", exit=True, api=True)
    exit_status = slirp.leave()
    said = slirp.stdout()
    return {"exit": exit_status, "lines": [it for it in BANNER if it in said],
            "values": re.findall(r"^\* (?:MTU|Network|Netmask|Gateway|DNS|DHCP begin|DHCP end|Recommended IP): +(\S+)$", said, re.M)}


@scenario("slirp4netns")
def banner_of_options(stage):
    """the banner with everything set"""
    slirp = stage.slirp(stage.box(), "-c", "--mtu=1400", "--cidr=10.9.0.0/16", f"--outbound-addr={SECOND}", "--disable-host-loopback",
                        "--macaddress=02:00:00:00:00:07", exit=True)
    slirp.leave()
    said = slirp.stdout()
    return {"lines": [it for it in BANNER if it in said],
            "values": re.findall(r"^\* (?:MTU|Network|Netmask|Gateway|DNS|DHCP begin|DHCP end|Recommended IP): +(\S+)$", said, re.M)}


@scenario("slirp4netns")
def descriptors_told(stage):
    """the TAP's descriptor is told of on stderr, as logs of callers have it"""
    slirp = stage.slirp(stage.box(), "-c", exit=True)
    slirp.leave()
    return slirp.where(r"sent tapfd=\d+ for tap0", r"received tapfd=\d+")


@scenario("slirp4netns")
def operands_too_many(stage):
    """a third operand is warned of, and no error"""
    box = stage.box()
    run = stage.started([stage.program("slirp4netns"), "-c", box.pid, "tap0", "more"])
    up = box.ask("wait_for_address", prefix="10.0.2.100")
    run.signal(signal.SIGTERM)
    return {"address": up, "warned": run.where("too many arguments")}


@scenario("slirp4netns")
def deprecated_names(stage):
    """--no-host-loopback and --create-sandbox still work, with a warning"""
    slirp = stage.slirp(stage.box(), "-c", "--no-host-loopback", "--create-sandbox", exit=True)
    slirp.leave()
    return slirp.where("WARNING.*no-host-loopback", "WARNING.*create-sandbox")


@scenario("slirp4netns")
def experimental_warnings(stage):
    """options that were new once are warned of"""
    slirp = stage.slirp(stage.box(), "-c", "-6", "--enable-seccomp", f"--outbound-addr={SECOND}", exit=True)
    slirp.leave()
    return slirp.where("WARNING: Support for IPv6 is experimental", "WARNING: Support for seccomp is experimental",
                       "WARNING: Support for --outbound-addr is experimental")


@scenario("slirp4netns")
def ready_byte(stage):
    """one byte, 1, and the end, when the API's socket is there"""
    slirp = stage.slirp(stage.box(), "-c", api=True)
    return stage.take_for_granted(slirp.ready == "1", {"ready": slirp.ready, "socket": os.path.exists(slirp.api_path)})


@scenario("slirp4netns")
def start_to_ready(stage):
    """ready within a second, five times; `integration/bench` has the figures"""
    seconds = sorted(stage.slirp(stage.box(), "-c").seconds for _ in range(5))
    return {"median below a second": seconds[2] < 1}


@scenario("slirp4netns")
def exit_descriptor(stage):
    """the end of the exit descriptor ends it with 0, at once"""
    slirp = stage.slirp(stage.box(), "-c", exit=True)
    return {"exit": slirp.leave(), "says": slirp.where("exitfd event")}


@scenario("slirp4netns")
def exit_descriptor_written(stage):
    """a byte on the exit descriptor ends it as well"""
    box = stage.box()
    ours, theirs = socket.socketpair()
    run = stage.started([stage.program("slirp4netns"), "-c", f"--exit-fd={theirs.fileno()}", box.pid, "tap0"], pass_fds=[theirs.fileno()])
    theirs.close()
    box.ask("wait_for_address", prefix="10.0.2.100")
    before = run.runs()
    ours.send(b"x")
    status = run.wait(2)
    ours.close()
    return {"before": before, "exit": status}


@scenario("slirp4netns")
def exit_descriptor_nobody_reads(stage):
    """the end of a pipe that is written to ends it when its reader goes; it may be the ready descriptor as well"""
    box = stage.box()
    reader, writer = os.pipe()
    words = ["-c", f"--exit-fd={writer}", f"--ready-fd={writer}", box.pid, "tap0"]
    run = stage.started([stage.program("slirp4netns"), *words], pass_fds=[writer])
    os.close(writer)
    said = os.read(reader, 16).decode()
    os.close(reader)
    return {"ready": said, "exit": run.wait()}


@scenario("slirp4netns")
def exit_descriptor_of_a_file(stage):
    """a file, and /dev/null, are never hung up"""
    seen = {}
    for path in ("/dev/null", stage.path("file")):
        box = stage.box()
        with open(path, "w") as file:
            words = ["-c", f"--exit-fd={file.fileno()}", box.pid, "tap0"]
            run = stage.started([stage.program("slirp4netns"), *words], pass_fds=[file.fileno()])
        box.ask("wait_for_address", prefix="10.0.2.100")
        seen[os.path.basename(path)] = run.wait(1)
    return seen


@scenario("slirp4netns")
def exit_descriptor_half_closed(stage):
    """a socket of which one direction has ended is not hung up"""
    box = stage.box()
    ours, theirs = socket.socketpair()
    ours.shutdown(socket.SHUT_WR)
    run = stage.started([stage.program("slirp4netns"), "-c", f"--exit-fd={theirs.fileno()}", box.pid, "tap0"], pass_fds=[theirs.fileno()])
    theirs.close()
    box.ask("wait_for_address", prefix="10.0.2.100")
    before = run.wait(1)
    ours.close()
    return {"before": before, "exit": run.wait()}


@scenario("slirp4netns")
def ready_on_stdout(stage):
    """the ready byte on standard output, and what else its reader gets"""
    box = stage.box()
    reader, writer = os.pipe()
    words = ["-c", "--ready-fd=1", box.pid, "tap0"]
    run = stage.started([stage.program("slirp4netns"), *words], stdout=writer)
    os.close(writer)
    said = b""
    while select.select([reader], [], [], 2)[0] and (data := os.read(reader, 64)):
        said += data
    os.close(reader)
    return {"said": said.decode(), "runs": run.runs()}


@scenario("slirp4netns")
def blanks_before_numbers(stage):
    """numbers with blanks before them, as ps writes them"""
    box = stage.box()
    run = stage.started([stage.program("slirp4netns"), "-c", "-m", " 1400", f"  {box.pid}", "tap0"])
    return {"address": box.ask("wait_for_address", prefix="10.0.2.100")["address"], "mtu": box.ask("links")["tap0"]["mtu"], "runs": run.runs()}


@scenario("slirp4netns")
def exit_descriptor_of_api(stage):
    """the socket file after an end by the exit descriptor"""
    slirp = stage.slirp(stage.box(), "-c", exit=True, api=True)
    slirp.leave()
    return {"socket is left": os.path.exists(slirp.api_path)}


@scenario("slirp4netns")
def ended_by_sigterm(stage):
    """SIGTERM ends it; exit status, and the socket file"""
    slirp = stage.slirp(stage.box(), "-c", api=True)
    return {"exit": slirp.signal(signal.SIGTERM), "socket is left": os.path.exists(slirp.api_path)}


@scenario("slirp4netns")
def ended_by_sigint(stage):
    """SIGINT ends it"""
    return {"exit": stage.slirp(stage.box(), "-c").signal(signal.SIGINT)}


@scenario("slirp4netns")
def ended_by_sigkill(stage):
    """SIGKILL takes the TAP away"""
    box = stage.box()
    slirp = stage.slirp(box, "-c")
    before = "tap0" in box.ask("links")
    return {"before": before, "exit": slirp.signal(signal.SIGKILL), "after": "tap0" in box.ask("links")}


@scenario("slirp4netns")
def container_gone(stage):
    """it outlives the process that it was joined by: the caller ends it"""
    box = stage.box()
    slirp = stage.slirp(box, "-c")
    box.end()
    return {"after a second": ends_by_itself(slirp.pid, 1)}


@scenario("slirp4netns")
def ready_descriptor_closed(stage):
    """a ready descriptor that is not open"""
    run = stage.started([stage.program("slirp4netns"), "-c", "--ready-fd=97", stage.box().pid, "tap0"])
    return {"exit": run.wait(1)}


@scenario("slirp4netns")
def standard_streams_closed(stage):
    """started with none of the standard streams, as daemons do"""
    box = stage.box()
    words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", stage.program("slirp4netns"), "-c", box.pid, "tap0"]
    run = stage.started(words)
    return {"address": box.ask("wait_for_address", prefix="10.0.2.100")["address"], "runs": run.runs()}
