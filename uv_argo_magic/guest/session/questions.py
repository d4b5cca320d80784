"""`input()` and `getpass()` in a session: the notebook asks the user, and the cell waits for the answer.

Rule: if the front end cannot ask (a detached cell, a batch run, another thread), StdinNotImplementedError is raised.
"""

import builtins
import getpass
import json
import os
import threading

from .. import execute, streams


class Questions:
    """Asks with records; `receive` returns the next line from the supervisor, or "" at the end."""

    def __init__(self, out, receive):
        self.out = out
        self.receive = receive
        self.are_allowed = False

    def install(self):
        """Replace the functions that refuse questions."""
        builtins.input = self.input
        getpass.getpass = self.getpass

    def input(self, prompt="", /):
        """Ask in the notebook, and return the answer."""
        return self._ask(str(prompt), is_password=False)

    def getpass(self, prompt="Password: ", stream=None):  # noqa: ARG002 - the signature is getpass's
        """Ask in the notebook without showing the answer, and return it."""
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
    """Read a line from the supervisor, which is JSON or the path of a file with JSON."""
    if line.startswith(b"{"):
        return json.loads(line)
    with open(os.fsdecode(line), "rb") as file:
        return json.loads(file.read())


def wait_for_line(fd, received):
    """The next line on a non-blocking descriptor, and the data after it; an empty line at the end."""
    while b"\n" not in received:
        streams.wait_for([fd])
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            continue
        if not data:
            return b"", received
        received += data
    line, _, rest = received.partition(b"\n")
    return line, rest
