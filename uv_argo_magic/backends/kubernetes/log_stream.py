"""Convert the bytes of a pod's log to the lines of the program, without duplicates.

Rules:
- The API adds a timestamp to each line. A stream that is opened again starts at a whole second, so it repeats lines.
- Lines that match `omit` are left out, because other programs of the pod can write to the same log.
"""

from __future__ import annotations

import codecs
import re

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(?:Z|[+-]\d\d:\d\d)$")


class LogStream:
    """Converts log bytes to new whole lines without timestamps; drops lines that are repeated after a reconnect."""

    def __init__(self, omit: re.Pattern[str] | None = None) -> None:
        self.last = ""
        """The timestamp of the last line."""
        self._omit = omit
        self._count = 0  # number of returned lines with the last timestamp
        self._skip = 0  # how many of them a reconnect will repeat
        self._repeat_until = ""  # a reconnect repeats lines with timestamps before this
        self._rest = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> str:
        """Add the next piece of the stream, and return its new lines."""
        lines = (self._rest + self._decoder.decode(data)).split("\n")
        self._rest = lines.pop()
        return "".join(self._line(line, "\n") for line in lines)

    def end(self) -> str:
        """End the log, and return its last line if that has no newline."""
        rest, self._rest = self._rest + self._decoder.decode(b"", final=True), ""
        return self._line(rest, "") if rest else ""

    def cut(self) -> None:
        """Handle a broken stream: the incomplete line and the lines of the last second will be repeated."""
        self._rest = ""
        self._decoder.reset()
        self._repeat_until, self._skip = self.last, self._count

    def _line(self, line: str, newline: str) -> str:
        timestamp, blank, text = line.partition(" ")
        if not _TIMESTAMP.match(timestamp):
            timestamp, text = self.last, line
        elif not blank:
            text = ""
        if self._repeat_until:
            if timestamp < self._repeat_until:
                return ""
            if timestamp == self._repeat_until and self._skip:
                self._skip -= 1
                return ""
            self._repeat_until = "" if timestamp > self._repeat_until else self._repeat_until
        self._count = self._count + 1 if timestamp == self.last else 1
        self.last = timestamp
        return "" if self._omit and self._omit.match(text) else text + newline
