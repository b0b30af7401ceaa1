"""Containers with an agent inside: namespaces of the user's, in which `agent.py` takes orders.

How the namespaces come about is the caller's: the words that start the agent in them.
"""
import json
import select
import subprocess

from processes import Failure, end

PYTHON = "/usr/bin/python3"
# The longest that an order may take, its own limits included.
PATIENCE = 90
OWN_NAMESPACES = ("unshare", "--user", "--map-root-user", "--net")


class Box:
    """An agent, and the process that it is. As the user sees it, `pid` is the number to join it by."""

    def __init__(self, host, words=OWN_NAMESPACES, **options):
        self.process = host.start([*words, PYTHON, host.agent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
        self.wait_for_agent()

    def wait_for_agent(self):
        self.pid = self.hear()["ready"]

    def ask(self, do, **arguments):
        """The answer to an order."""
        return self.ask_for(json.dumps({"do": do, **arguments}))

    def ask_for(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failure("the container has ended") from None
        return self.hear()

    def hear(self):
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            raise Failure(f"the container says nothing for {PATIENCE} s")
        line = self.process.stdout.readline()
        if not line:
            raise Failure(f"the container ended with {self.process.wait()}")
        try:
            return json.loads(line)
        except json.JSONDecodeError:
            raise Failure(f"instead of an answer: {line.strip()}") from None

    def end(self):
        end(self.process)
