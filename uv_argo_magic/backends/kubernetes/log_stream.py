"""The bytes of a pod's log -> the user's lines, each once.

Rules:
- The API puts a time before each line; a stream that is opened again begins at a whole second, and so repeats lines.
- What Argo's own executor writes is left out.
"""

from __future__ import annotations

import codecs
import re

ARGOS_OWN = re.compile(r'time=.* argo=true|Error: exit status \d+$|.*"argo":true')
"""Lines of Argo's executor in the log; the guest sends a user's line like these as a record."""
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(?:Z|[+-]\d\d:\d\d)$")


class LogStream:
    """Timestamped log bytes -> new whole lines without their timestamps; what a reconnect repeats is dropped."""

    def __init__(self) -> None:
        self.last = ""
        self._count = 0  # lines given out that have the last timestamp
        self._skip = 0  # of those, how many a reconnect will repeat
        self._again = ""  # a reconnect repeats what is older than this
        self._rest = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> str:
        """The new lines in the next piece of the stream."""
        lines = (self._rest + self._decoder.decode(data)).split("\n")
        self._rest = lines.pop()
        return "".join(self._line(line, "\n") for line in lines)

    def end(self) -> str:
        """The last line, if it lacks its newline; after this, the log is complete."""
        rest, self._rest = self._rest + self._decoder.decode(b"", final=True), ""
        return self._line(rest, "") if rest else ""

    def cut(self) -> None:
        """The stream broke: the line in progress will come again, and so will those of the last second."""
        self._rest = ""
        self._decoder.reset()
        self._again, self._skip = self.last, self._count

    def _line(self, line: str, newline: str) -> str:
        stamp, blank, text = line.partition(" ")
        if not _STAMP.match(stamp):
            stamp, text = self.last, line
        elif not blank:
            text = ""
        if self._again:
            if stamp < self._again:
                return ""
            if stamp == self._again and self._skip:
                self._skip -= 1
                return ""
            self._again = "" if stamp > self._again else self._again
        self._count = self._count + 1 if stamp == self.last else 1
        self.last = stamp
        return "" if ARGOS_OWN.match(text) else text + newline
