"""The list of all scenarios: a name, what is to be seen, and the script.

A script is a function of the stage; it returns what it saw, by name. Modules of scenarios add theirs when they are
imported.
"""
SCENARIOS = []


def scenario(program):
    """The function is a scenario of this program; its name and its first line say what is tried."""
    def listed(function):
        add(program, function.__name__, function.__doc__.splitlines()[0], function)
        return function
    return listed


def add(program, name, about, function):
    SCENARIOS.append((f"{program}.{name}", about, function))


def refusals(program, table):
    """Command lines that end by themselves: a name, the words, and texts that callers or people look for in what is
    said. `{pid}` is a container's process, `{gone}` one that has ended, `{home}` a folder, `{long}` a path too long."""
    for name, words, texts in table:
        add(program, name, f"{program} {' '.join(words)}", lambda stage, words=words, texts=texts: refused(stage, program, words, texts))


def refused(stage, program, words, texts):
    known = {"home": stage.home, "long": "/tmp/" + "x" * 110, "gone": GONE}
    if any("{pid}" in word for word in words):
        known["pid"] = stage.box().pid
    run = stage.tried([stage.program(program), *(word.format(**known) for word in words)], limit=3)
    return {"exit": run.exit, "says": run.where(*texts)}


# No process has this number: the most that Linux gives is 4194304.
GONE = 4194303
