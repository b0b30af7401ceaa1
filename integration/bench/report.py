"""What was measured, for people: tables of medians with their ratios, and the figures that are to be reached.

Takes the document that `run --json` writes and nothing else, so that a table can be made again at any time.
"""
import statistics
import textwrap

# Key: heading, digits after the point, whether more is better. The units are in the tables' titles.
FIGURES = {
    "out1": ("out", 2, True), "in1": ("in", 2, True), "out4": ("out, 4 streams", 2, True), "in4": ("in, 4 streams", 2, True),
    "published_in": ("published, in", 2, True), "published_reverse": ("published, reverse", 2, True),
    "out1_cpu": ("out", 2, False), "in1_cpu": ("in", 2, False), "out4_cpu": ("out, 4 streams", 2, False),
    "in4_cpu": ("in, 4 streams", 2, False), "published_in_cpu": ("published, in", 2, False),
    "published_reverse_cpu": ("published, reverse", 2, False),
    "out1_again": ("out", 0, False), "in1_again": ("in", 0, False), "out4_again": ("out, 4 streams", 0, False),
    "in4_again": ("in, 4 streams", 0, False), "published_in_again": ("published, in", 0, False),
    "published_reverse_again": ("published, reverse", 0, False),
    "tcp_rr_p50": ("TCP p50", 0, False), "tcp_rr_p99": ("TCP p99", 0, False),
    "udp_rr_p50": ("UDP p50", 0, False), "udp_rr_p99": ("UDP p99", 0, False),
    "tcp_rr_p50_flows": ("TCP p50", 0, False), "tcp_rr_p99_flows": ("TCP p99", 0, False),
    "udp_rr_p50_flows": ("UDP p50", 0, False), "udp_rr_p99_flows": ("UDP p99", 0, False),
    "connects_1": ("1 at a time", 0, True), "connects_16": ("16 at a time", 0, True),
    "udp64_out_rate": ("64 bytes out, 1/s", 0, True), "udp64_in_rate": ("64 bytes in, 1/s", 0, True),
    "udp1400_out": ("1400 bytes out, Gb/s", 2, True), "udp1400_in": ("1400 bytes in, Gb/s", 2, True),
    "uso_out": ("64 KB sends out, Gb/s", 2, True), "uso_in": ("64 KB sends in, Gb/s", 2, True),
    "rss_idle": ("idle, MB", 1, False), "rss_flows": ("with the flows, MB", 1, False),
    "ready": ("start to ready, ms", 0, False), "run_true": ("`run -- true`, ms", 0, False),
}
# Title and columns of each table.
TABLES = [
    ("TCP streams, Gb/s", ["out1", "in1", "out4", "in4", "published_in", "published_reverse"]),
    ("Processor seconds per GiB, both ends included",
     ["out1_cpu", "in1_cpu", "out4_cpu", "in4_cpu", "published_in_cpu", "published_reverse_cpu"]),
    ("Segments that a stream's sender sent again",
     ["out1_again", "in1_again", "out4_again", "in4_again", "published_in_again", "published_reverse_again"]),
    ("One request at a time, microseconds", ["tcp_rr_p50", "tcp_rr_p99", "udp_rr_p50", "udp_rr_p99"]),
    ("The same beside {flows} open flows", ["tcp_rr_p50_flows", "tcp_rr_p99_flows", "udp_rr_p50_flows", "udp_rr_p99_flows"]),
    ("Connect, request, answer, close: per second", ["connects_1", "connects_16"]),
    ("Datagrams, less than one in a thousand lost",
     ["udp64_out_rate", "udp64_in_rate", "udp1400_out", "udp1400_in", "uso_out", "uso_in"]),
    ("Memory and start", ["rss_idle", "rss_flows", "ready", "run_true"]),
]
OURS = "gangplank tap, 1500"
KERNEL, SLIRP, SLIRP_WIDE, PASTA = "kernel bridge, 1500", "slirp4netns, 1500", "slirp4netns, 65520", "pasta, 65520"
NEIGHBOURS = [PASTA, SLIRP]
# What is to be reached: what, key, whose it is compared with (the best of them, which the table names; none: the figure
# itself; a text: our own figure of that key), the bar, and whether it is to be above.
GOALS = [
    ("out, against the kernel's bridge", "out1", [KERNEL], 1.0, True),
    ("in, against the kernel's bridge", "in1", [KERNEL], 1.0, True),
    ("out, 4 streams, against the kernel's bridge", "out4", [KERNEL], 0.5, True),
    ("in, 4 streams, against the kernel's bridge", "in4", [KERNEL], 0.55, True),
    ("out, against slirp4netns at MTU 1500", "out1", [SLIRP], 12, True),
    ("in, against slirp4netns at MTU 1500", "in1", [SLIRP], 7, True),
    ("out, against slirp4netns at MTU 65520", "out1", [SLIRP_WIDE], 3.5, True),
    ("in, against slirp4netns at MTU 65520", "in1", [SLIRP_WIDE], 2, True),
    ("out, 4 streams, against pasta", "out4", [PASTA], 3, True),
    ("in, against pasta", "in1", [PASTA], 1.1, True),
    ("published, in, against RootlessKit", "published_in", ["rootlesskit builtin, 1500"], 1.0, True),
    ("published, reverse, against RootlessKit", "published_reverse", ["rootlesskit builtin, 1500"], 1.0, True),
    ("TCP round trip p50, against the better neighbour", "tcp_rr_p50", NEIGHBOURS, 0.95, False),
    ("UDP round trip p50, against the better neighbour", "udp_rr_p50", NEIGHBOURS, 0.95, False),
    ("connects, 1 at a time, against pasta", "connects_1", [PASTA], 1.2, True),
    ("connects, 16 at a time, against pasta", "connects_16", [PASTA], 1.2, True),
    ("TCP round trip p50 with many flows, against none", "tcp_rr_p50_flows", "tcp_rr_p50", 1.15, False),
    ("UDP round trip p50 with many flows, against none", "udp_rr_p50_flows", "udp_rr_p50", 1.15, False),
    ("1400-byte datagrams out, against the better neighbour", "udp1400_out", NEIGHBOURS, 2, True),
    ("1400-byte datagrams in, against the better neighbour", "udp1400_in", NEIGHBOURS, 2, True),
    ("64 KB sends out, against the better neighbour", "uso_out", NEIGHBOURS, 5, True),
    ("64 KB sends in, against the better neighbour", "uso_in", NEIGHBOURS, 5, True),
    ("idle memory, MB", "rss_idle", None, 8, False),
    ("memory with many flows, MB", "rss_flows", None, 64, False),
    ("start to ready, ms", "ready", None, 40, False),
    ("`run -- true` on a running network, ms", "run_true", None, 25, False),
]
# The same for gangplank in a neighbour's place, against that neighbour at the same MTU: our title, and the rest as above.
AS_SLIRP, AS_SLIRP_WIDE, AS_PASTA = "gangplank as slirp4netns, 1500", "gangplank as slirp4netns, 65520", "gangplank as pasta, 65520"
PLACE_GOALS = [
    (AS_SLIRP, "out", "out1", SLIRP, 12, True),
    (AS_SLIRP, "in", "in1", SLIRP, 7, True),
    (AS_SLIRP_WIDE, "out", "out1", SLIRP_WIDE, 3.5, True),
    (AS_SLIRP_WIDE, "in", "in1", SLIRP_WIDE, 2, True),
    (AS_PASTA, "in", "in1", PASTA, 1.2, True),
    (AS_PASTA, "out, 4 streams", "out4", PASTA, 1.8, True),
    (AS_SLIRP, "start to ready", "ready", SLIRP, 1.5, False),
    (AS_PASTA, "start to ready", "ready", PASTA, 1.5, False),
    (AS_SLIRP, "idle memory, MB", "rss_idle", None, 8, False),
    (AS_PASTA, "idle memory, MB", "rss_idle", None, 8, False),
]
# The same for the other uplinks, against the first.
UPLINK_GOALS = [("gangplank packet, 1500", key, 0.8) for key in ("out1", "in1", "out4", "in4")]
# Beyond this ratio of the highest round to the lowest, a median says little.
NOISY = 2


class Report:
    """The document with its medians."""

    def __init__(self, document):
        self.document = document
        self.medians = {row["title"]: {key: statistics.median(values) for key, values in row["figures"].items() if values}
                        for row in document["configurations"]}
        self.figures = {row["title"]: row["figures"] for row in document["configurations"]}
        self.noisy = {row["title"]: {key for key, values in row["figures"].items() if key in FIGURES and differ(key, values)}
                      for row in document["configurations"]}

    def summarize(self):
        """Puts beside the rounds what is made of them, for who reads the document without this module."""
        for row in self.document["configurations"]:
            row["medians"] = self.medians[row["title"]]
            row["noisy"] = sorted(self.noisy[row["title"]])
        names = ("what", "bar", "reached", "compared_with", "good")
        self.document["goals"] = [dict(zip(names, line)) for line in self.goals()[1:]]

    def figure(self, title, key):
        return self.medians.get(title, {}).get(key)

    def ratio(self, one, other):
        """Of one figure to another, each a title and a key; none where either is missing. The median of the rounds' ratios:
        what else the machine does comes and goes over minutes, and the figures of a round are from the same ones. Where
        one has fewer rounds, the medians' ratio."""
        ours, theirs = self.rounds(*one), self.rounds(*other)
        if len(ours) == len(theirs) and all(theirs):
            ratios = [figure / base for figure, base in zip(ours, theirs)]
            return statistics.median(ratios) if ratios else None
        figure, base = self.figure(*one), self.figure(*other)
        return figure / base if figure is not None and base else None

    def rounds(self, title, key):
        return self.figures.get(title, {}).get(key) or []

    def heading(self):
        about, machine = self.document, self.document["machine"]
        model = f" ({machine['processor']})" if machine.get("processor", "unknown") != "unknown" else ""
        marked = f" A figure with ~ is noisy: its rounds differ more than {NOISY} times." if any(self.noisy.values()) else ""
        return (f"Kernel {machine['kernel']}, {machine['processors']} processors{model}, {self.congestion_control()}; medians of "
                f"{about['rounds']} rounds of {about['seconds']} s; in brackets the ratio to {about['reference']}, where that "
                f"was measured: of the same round, the median.{marked}")

    def congestion_control(self):
        """The host's, and whose differs."""
        here = self.document["machine"].get("congestion_control", "unknown")
        others = sorted({f"{row['congestion_control']} inside {row['name']}" for row in self.document["configurations"]
                         if row.get("congestion_control", here) != here})
        return ", ".join([f"TCP congestion control {here}", *(others or ["the same inside"])])

    def tables(self):
        """Title and lines of each table that has a figure, with the columns that have one."""
        for title, keys in TABLES:
            keys = [key for key in keys if any(self.figure(name, key) is not None for name in self.medians)]
            lines = [[name, *cells] for name in self.medians if any(cells := [self.cell(name, key) for key in keys])]
            if lines:
                headings = ["configuration, MTU", *(FIGURES[key][0] for key in keys)]
                yield title.format(flows=f"{self.document['flows']:,}"), [headings, *lines]

    def cell(self, name, key):
        figure = self.figure(name, key)
        if figure is None:
            return ""
        ratio = self.ratio((name, key), (self.document["reference"], key))
        text = f"{figure:,.{FIGURES[key][1]}f}{'~' if key in self.noisy[name] else ''}"
        plain = ratio is None or is_evidence(key) or name == self.document["reference"]
        return text if plain else f"{text} ({ratio:.2f})"

    def goals(self):
        """What is to be reached, what was, beside whom, and whether that is enough. Only what somebody was measured for."""
        lines = []
        for what, key, against, bar, above in GOALS:
            bases = [(OURS, against)] if isinstance(against, str) else [(title, key) for title in against or []]
            lines.append(self.goal(what, OURS, key, bases, bar, above))
        for title, words, key, against, bar, above in PLACE_GOALS:
            what = f"{title.partition(',')[0]}, {words}" + (f", against {against}" if against else "")
            lines.append(self.goal(what, title, key, [(against, key)] if against else [], bar, above))
        for title, key, bar in UPLINK_GOALS:
            what = f"{title.partition(',')[0]}, {FIGURES[key][0]}, against tap"
            lines.append(self.goal(what, title, key, [(OURS, key)], bar, True))
        return [["what", "at least or at most", "reached", "compared with", "good"], *filter(None, lines)]

    def goal(self, what, title, key, bases, bar, above):
        """One line. With a neighbour missing, what is reached is not good yet: that one may be the better. What is not
        reached beside those who are there is not reached."""
        if not any(self.figure(name, key) is not None for name in self.medians):
            return None
        line = [what, f"{'≥' if above else '≤'} {bar:g}"]
        own = self.figure(title, key)
        there = [base for base in bases if self.figure(*base)]
        missing = [name for name, base_key in bases if (name, base_key) not in there]
        if own is None or (bases and not there):
            return [*line, "–", f"not measured: {', '.join(missing if own is not None else [title])}", "?"]
        best = (max if above else min)(there, key=lambda base: self.figure(*base), default=None)
        reached = self.ratio((title, key), best) if best else own
        enough = reached >= bar if above else reached <= bar
        noisy = any(one and one[1] in self.noisy[one[0]] for one in ((title, key), best))
        others = f" (not measured: {', '.join(missing)})" if missing else ""
        verdict = "NO" if not enough else "?" if missing else "yes"
        compared = best[0] if best else ""
        return [*line, f"{reached:.2f}{'~' if noisy else ''}", compared + others, verdict]

    def troubles(self):
        for row in self.document["configurations"]:
            if "missing" in row:
                yield f"{row['title']}: left out, missing: {', '.join(row['missing'])}"
            for what, why in row.get("failed", {}).items():
                yield f"{row['title']}: {what} failed: {why.strip().splitlines()[-1]}"
            for what, why in row.get("left_out", {}).items():
                yield f"{row['title']}: {what} left out: {why}"


def differ(key, values):
    """Whether rounds differ too much for their median to mean something."""
    return not is_evidence(key) and max(values) > NOISY * min(values)


def is_evidence(key):
    """Counts of what went wrong: no ratio of them means anything, and they always differ."""
    return key.endswith("_again")


def text(report):
    """For a terminal."""
    yield from textwrap.wrap(report.heading(), 120)
    for title, lines in [*report.tables(), ("To be reached", report.goals())]:
        if len(lines) > 1:
            yield ""
            yield f"{title}:"
            yield from aligned(lines)
    troubles = list(report.troubles())
    if troubles:
        yield ""
        yield from troubles


def aligned(lines):
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        cells = [cell.ljust(width) if not column else cell.rjust(width) for column, (cell, width) in enumerate(zip(line, widths))]
        yield "  " + "  ".join(cells).rstrip()


def markdown(report):
    """For the README."""
    yield report.heading()
    for title, lines in report.tables():
        yield ""
        yield f"| {title} | " + " | ".join(lines[0][1:]) + " |"
        yield "| --- |" + " ---: |" * (len(lines[0]) - 1)
        for line in lines[1:]:
            yield "| " + " | ".join(cell or "–" for cell in line) + " |"
    versions = sorted({row["version"] for row in report.document["configurations"] if "version" in row})
    yield ""
    yield f"Measured: {', '.join(versions)}. " + "Each configuration first passed a transfer that was checked byte by byte."
