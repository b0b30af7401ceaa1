"""What becomes of two sights of the same script: equal, declared, or a fault.

A declaration in `expectations.toml` pins what ours is to be seen doing, at each place where it differs:

    ["slirp4netns.api_proto_missing"]
    verdict = "better"
    reason = "the original dies of it"
    ours = { "reply" = "bad request: add_hostfwd: bad arguments.proto", "runs" = "true" }

Places are the names on the way to a value, joined by `/`; values are written as JSON, texts as they are. A difference at a
place that is not named there is a fault. A scenario that is declared and yet equal says so: originals differ, too.
"""
import json
import re
import tomllib


class Expectations:
    """The declarations."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.declared = tomllib.load(file)

    def judge(self, name, original, ours):
        """A verdict, and what is to be said to it."""
        if "not here" in original:
            return "not here", original["not here"]
        if "failed" in original:
            return "BROKEN", ""
        differing = differences(original, ours)
        declared = self.declared.get(name)
        if not differing:
            return "equal", "though declared otherwise" if declared else ""
        if declared and is_as_declared(declared["ours"], differing, dict(places(ours))):
            return declared["verdict"], declared["reason"]
        return "DIFFERENT", ""


def is_as_declared(declared, differing, ours):
    """Whether whatever of ours differs is declared, and what is declared and differs is as it says. What the original alone
    has needs no word."""
    undeclared = [place for place, (_, value) in differing.items() if value is not None and place not in declared]
    return not undeclared and all(place not in differing or is_like(wanted, ours.get(place)) for place, wanted in declared.items())


def is_like(wanted, value):
    """A text between slashes is a pattern for the whole."""
    if wanted.startswith("/") and wanted.endswith("/"):
        return bool(re.fullmatch(wanted[1:-1], value or ""))
    return wanted == value


def differences(original, ours):
    """Place by place: both values, none where it is missing."""
    one, other = dict(places(original)), dict(places(ours))
    return {place: (one.get(place), other.get(place)) for place in sorted(one.keys() | other.keys()) if one.get(place) != other.get(place)}


def places(seen, way=()):
    """Every value with the way to it; lists are values."""
    if isinstance(seen, dict) and seen:
        for key, value in seen.items():
            yield from places(value, (*way, str(key)))
    else:
        yield "/".join(way), seen if isinstance(seen, str) else json.dumps(seen)


def explain(original, ours, everything=False):
    """For people: what differs, or all."""
    if "failed" in original or "not here" in original:
        yield f"original: {json.dumps(original)}"
    if everything:
        yield from (f"original: {json.dumps(original)}", f"ours:     {json.dumps(ours)}")
    for place, (one, other) in differences(original, ours).items():
        yield f"{place or 'all'}: {one!r} of the original, {other!r} of ours"
