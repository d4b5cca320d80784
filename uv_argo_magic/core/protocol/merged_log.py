"""Merge copies of one run's log: those received over the channel, before and after it broke, and the pod's log.

Rule: (boot, n) identifies a line. Two copies with different text for a line raise ProtocolError.
"""

from __future__ import annotations

import json
import re
import zlib
from array import array
from collections import deque

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol import log_reader
from uv_argo_magic.errors import ProtocolError

_RECORD = re.compile(rf"{re.escape(log_reader.PREFIX)}(\w+) (\{{.*)")


def split_lines(text: str) -> list[str]:
    """The lines of a text, each with its newline; only a newline ends a line."""
    lines = text.split("\n")
    rest = lines.pop()
    return [f"{line}\n" for line in lines] + ([rest] if rest else [])


class MergedLog:
    """The lines of one process start, in order and without duplicates. `received` is the number of the last one.

    With `has_one_copy`, repeated lines are not compared, which is faster.
    """

    def __init__(self, *, has_one_copy: bool = False) -> None:
        self.received = 0
        self._has_one_copy = has_one_copy
        self._sums = array("L")  # a checksum of each line; 0: it was not received

    def add(self, text: str, first: int) -> str:
        """The new lines of a copy whose first line has number `first`; earlier lines not received yet are skipped.

        Raises:
            ProtocolError: a line differs from the one in an earlier copy.
        """
        if self._has_one_copy:
            known = max(0, self.received + 1 - first)
            self.received = max(self.received, first - 1 + text.count("\n") + (not text.endswith("\n")))
            return "".join(split_lines(text)[known:]) if known else text
        new = []
        self.skip(first - 1)
        for number, line in enumerate(split_lines(text), first):
            digest = zlib.crc32(line.rstrip("\n").encode("utf-8", "surrogatepass")) or 1
            if number > len(self._sums):
                self._sums.append(digest)
                new.append(line)
            elif self._sums[number - 1] not in (0, digest):
                raise ProtocolError(
                    f"two copies of the run's log differ at line {number}",
                    hint="The log of the pod has one of them: kubectl logs. Please report this with both.",
                )
        self.received = len(self._sums)
        return "".join(new)

    def skip(self, last: int) -> None:
        """Treat the lines up to number `last` as missing."""
        if not self._has_one_copy:
            self._sums.extend([0] * (last - self.received))
        self.received = max(self.received, last)

    def fill(self, kept: str, last: int, *, nonce: str, boot: str, reason: str) -> str:
        """The text to show for lines up to number `last` that were not received: the `kept` records, and gaps.

        Some `kept` records are `dropped` ones, which replace other lines and have a reason; `reason` is for the rest.
        """
        texts = []
        for line in split_lines(kept):
            match = _RECORD.match(line)
            event = log_reader.record(match[2]) if match else None
            if not isinstance(event, ev.Record):
                continue
            if event.n > last:
                reason = event.reason if isinstance(event, ev.Dropped) else reason
                break
            if event.n <= self.received:
                continue
            if isinstance(event, ev.Dropped):
                texts.append(line)
                self.skip(event.n)
            else:
                texts.append(self.add(line, event.n))
        if self.received < last:
            texts.append(dropped(nonce, boot, last, last - self.received, reason))
            self.skip(last)
        return "".join(texts)


class EarlyCopy:
    """Merges a log with an early copy of it; both are complete from the first line on. `nonce` is the run's.

    The log can also contain lines of other programs. They are left out while the log is behind the copy.
    """

    def __init__(self, nonce: str) -> None:
        self._prefix = f"{log_reader.PREFIX}{nonce} "
        self._early: deque[str] = deque()  # lines that the log has not had yet
        self._log: deque[str] = deque()  # lines that the copy has not had yet
        self._has_ended = False

    def add_early(self, text: str) -> str:
        """Add text of the copy, and return the lines that are new.

        Raises:
            ProtocolError: it differs from the log.
        """
        new = []
        for line in split_lines(text):
            while self._log and not self._is_next(self._log, line):
                self._log.popleft()
            if self._log:
                self._log.popleft()
            else:
                self._early.append(line)
                new.append(line)
        return "".join(new)

    def add_log(self, text: str) -> str:
        """Add text of the log, and return the lines that are new.

        Raises:
            ProtocolError: it differs from the copy.
        """
        new = []
        for line in split_lines(text):
            if not self._early:
                new.append(line)
                if not self._has_ended:
                    self._log.append(line)
            elif self._is_next(self._early, line):
                self._early.popleft()
        return "".join(new)

    def end_early(self) -> None:
        """End the copy, which can be before the log ends."""
        self._has_ended = True
        self._log.clear()

    def _is_next(self, lines: deque[str], line: str) -> bool:
        """Whether the line is the next one in `lines`; False if it is a line of another program in the log."""
        expected = lines[0]
        if line == expected:
            return True
        of_log = expected if lines is self._log else line
        if of_log.startswith(self._prefix):
            raise ProtocolError(
                "the log of the pod differs from the output that the cell sent",
                hint="kubectl logs shows the log. Please report this.",
            )
        return False


class SessionLog:
    """The lines of one run in the log of its session's pod, which can lack its beginning; `nonce` is the run's.

    Records of waiting cells can be between those of the running cell. Raw lines belong to the running cell. The number
    of a raw line is certain only once the next record is read; for an `is_live` log, lines are returned before that.
    """

    def __init__(self, nonce: str, *, is_live: bool = False) -> None:
        self.has_ended = False
        """Whether the run's exit record was read."""
        self.boot = ""
        """The boot of the run; "" before its first record."""
        self._nonce = nonce
        self._is_live = is_live
        self._running: str | None = None  # nonce of the running cell; "": none, None: unknown
        self._waiting: set[str] = set()  # nonces of cells that were sent after the log begins
        self._last = 0
        self._raw: list[str] = []

    def feed(self, text: str) -> list[tuple[int, str]]:
        """The run's lines in the next whole lines of the log, as (number of the first line, text)."""
        found: list[tuple[int, str]] = []
        for line in split_lines(text):
            match = _RECORD.match(line)
            if match is not None:
                self._record(match[1], line, log_reader.record(match[2]), found)
            elif self._running in (None, self._nonce):
                self._raw.append(line)
            if self.has_ended:
                return found
        if self._is_live and self._running == self._nonce and self._last:
            self._take(found, self._last + 1)
        return found

    def _record(self, nonce: str, line: str, event: ev.AnyRecord | ev.Unreadable, found: list[tuple[int, str]]) -> None:
        if isinstance(event, ev.Unreadable):
            return
        if isinstance(event, ev.Hello):
            self._waiting.add(nonce)
        elif self._running is None and nonce not in self._waiting and not isinstance(event, ev.Note):
            self._running = nonce  # it was already running where the log begins
        if self._running not in (None, self._nonce):
            self._raw.clear()
        if nonce == self._nonce:
            missing = event.n - 1 - self._last
            # There can be more raw lines than numbers, if other programs write to the log, or fewer, if it has gaps.
            del self._raw[0 if self._last and len(self._raw) < missing else max(0, missing) :]
            self._take(found, event.n - len(self._raw))
            found.append((event.n, line))
            self._last = event.n
            self.boot = event.boot
            self.has_ended = isinstance(event, ev.Exited)
        if isinstance(event, ev.PhaseStarted) and event.phase == "running":
            self._running = nonce
            self._raw.clear()
        elif isinstance(event, ev.Exited) and nonce == self._running:
            self._running = ""

    def _take(self, found: list[tuple[int, str]], first: int) -> None:
        if self._raw:
            found.append((first, "".join(self._raw)))
            self._last = first + len(self._raw) - 1
            self._raw = []


def dropped(nonce: str, boot: str, last: int, lines: int, reason: str) -> str:
    """A record that replaces `lines` missing lines, of which the last has number `last`."""
    fields = {"lines": lines, "reason": reason, "k": "dropped", "b": boot, "n": last, "t": 0.0}
    return f"{log_reader.PREFIX}{nonce} {json.dumps(fields)}\n"
