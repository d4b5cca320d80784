"""Read uv's output from a pseudo terminal, because uv reports the progress of downloads only on terminals.

Temporary lines become `progress` records, at most one per second. The remaining lines are uv's log, the same as without
a terminal.
"""

import os
import re
import time

WIDTH = 200  # columns of the terminal
INTERVAL = 1.0  # seconds between two records
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
ERASED = re.compile(r"\r|\x1b\[[0-9;?]*[A-Za-z]")
FRAME = re.compile(r"Preparing packages\.\.\. \((\d+)/(\d+)\)([^\r]*)\r")
BAR = re.compile(r"(\S+) +-+ +([0-9.]+) (B|[KMG]iB)/([0-9.]+) (B|[KMG]iB)")


def open_terminal():
    """Open a pseudo terminal, and return its two ends; None if there is none."""
    try:
        import fcntl
        import struct
        import termios

        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, WIDTH, 0, 0))
    except (ImportError, OSError):
        return None
    return ours, theirs


class Screen:
    """The content of uv's terminal; progress records are sent with `emit(kind, **fields)`."""

    def __init__(self, emit):
        self.emit = emit
        self.pending = ""  # text after the last permanent line
        self.files = {}  # package -> (bytes so far, size)
        self.last = None
        self.due = 0.0

    def feed(self, text):
        """Add terminal output; return its permanent lines, each with its newline."""
        *lines, self.pending = (self.pending + text).split("\n")
        frames = FRAME.findall(self.pending)
        if frames:
            self._read(*frames[-1])
            # Keep text that can be the beginning of the next frame.
            self.pending = self.pending[-40 * WIDTH :]
        lines = [_final(line) for line in lines]
        if self.last and any(line.startswith("Prepared ") for line in lines):
            _, of, _, size = self.last
            self.emit("progress", done=of, of=of, bytes=size, size=size)
            self.last = None
        return "".join(line + "\n" for line in lines)

    def close(self):
        """The remaining text after uv has ended."""
        line, self.pending = _final(self.pending), ""
        return line + "\n" if line else ""

    def _read(self, done, of, bars):
        sizes = {
            name: (float(now) * UNITS[unit], float(size) * UNITS[of_unit])
            for name, now, unit, size, of_unit in BAR.findall(ERASED.sub(" ", bars))
        }
        # The bar of a file disappears when the file is complete.
        self.files = {name: (size, size) for name, (_, size) in self.files.items()}
        self.files.update(sizes)
        now, size = (int(sum(column)) for column in zip((0, 0), *self.files.values()))
        progress = (int(done), int(of), now, size)
        if int(of) and progress != self.last and time.monotonic() >= self.due:
            self.last, self.due = progress, time.monotonic() + INTERVAL
            self.emit("progress", done=progress[0], of=progress[1], bytes=now, size=size)


def _final(line):
    """The final state of a line on the terminal."""
    text = ERASED.split(line.rstrip("\r"))[-1]
    if "\u2800" <= text[:1] <= "\u28ff":  # not erased: rows of the full width, the first with a spinner
        while len(text) > WIDTH and text[WIDTH - 1] == " ":
            text = text[WIDTH:]
    return text.rstrip()
