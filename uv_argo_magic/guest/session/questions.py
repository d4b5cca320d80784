"""`input()` and `getpass()` in a session: the question goes to the notebook, and the cell waits for the answer.

Rule: if the front end cannot answer (a detached cell, a batch run, another thread), StdinNotImplementedError at once.
"""

import builtins
import getpass
import json
import os
import select
import threading

from .. import execute


class Questions:
    """Asks through records; `receive` gives the next line that the supervisor sends, or "" at its end."""

    def __init__(self, out, receive):
        self.out = out
        self.receive = receive
        self.are_allowed = False

    def install(self):
        """Replace the functions that refuse questions."""
        builtins.input = self.input
        getpass.getpass = self.getpass

    def input(self, prompt="", /):
        """Ask in the notebook; the answer."""
        return self._ask(str(prompt), is_password=False)

    def getpass(self, prompt="Password: ", stream=None):  # noqa: ARG002 - the signature is getpass's
        """Ask in the notebook, without showing the answer."""
        return self._ask(str(prompt), is_password=True)

    def _ask(self, prompt, *, is_password):
        if not self.are_allowed or threading.current_thread() is not threading.main_thread():
            raise execute.StdinNotImplementedError(
                "%s is not available here, because the front end cannot answer; ask in a cell that is not detached"
                % ("getpass()" if is_password else "input()")
            )
        self.out.emit("input", prompt=prompt, password=is_password)
        line = self.receive()
        if not line:
            raise EOFError
        answer = read_order(line)
        if answer.get("refused"):
            raise execute.StdinNotImplementedError("the front end cannot answer: %s" % answer["refused"])
        return answer["text"]


def read_order(line):
    """What a line from the supervisor says: it is JSON, or the path of a file with it."""
    if line.startswith(b"{"):
        return json.loads(line)
    with open(os.fsdecode(line), "rb") as file:
        return json.loads(file.read())


def wait_for_line(fd, received):
    """The next line on a descriptor that does not block, and what follows it; an empty line at the end."""
    while b"\n" not in received:
        select.select([fd], [], [])
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            continue
        if not data:
            return b"", received
        received += data
    line, _, rest = received.partition(b"\n")
    return line, rest
