"""The log of one run from several copies of it: the session's channel, sent again after it broke, and the pod's log.

Rule: (boot, n) identifies a line, so two copies that differ in one are a ProtocolError.
"""

from __future__ import annotations

import json
import re
import zlib
from array import array
from collections import deque

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.errors import ProtocolError

_RECORD = re.compile(rf"{re.escape(ev.PREFIX)}(\w+) (\{{.*)")


def split_lines(text: str) -> list[str]:
    """The lines of a text, each with its newline; only a newline ends a line."""
    lines = text.split("\n")
    rest = lines.pop()
    return [f"{line}\n" for line in lines] + ([rest] if rest else [])


class MergedLog:
    """The lines of one process start, in order, each once. `received` is the number of the last one.

    With `has_one_copy`, lines that come again are not compared, which takes less time.
    """

    def __init__(self, *, has_one_copy: bool = False) -> None:
        self.received = 0
        self._has_one_copy = has_one_copy
        self._sums = array("L")  # of each line; 0: it did not come

    def add(self, text: str, first: int) -> str:
        """The new lines of a copy, whose lines begin with number `first`; those between are taken as missing.

        Raises:
            ProtocolError: a line is another one than in the copy before.
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
        """Lines up to number `last` do not come."""
        if not self._has_one_copy:
            self._sums.extend([0] * (last - self.received))
        self.received = max(self.received, last)

    def fill(self, kept: str, last: int, *, nonce: str, boot: str, reason: str) -> str:
        """What to show for lines up to number `last` that did not come: the records that were kept, and gaps.

        `kept` are records, some of which stand for others (`dropped`); `reason` is for lines of which none stands.
        """
        shown = []
        for line in split_lines(kept):
            match = _RECORD.match(line)
            event = ev.record(match[2]) if match else None
            if not isinstance(event, ev.Record):
                continue
            if event.n > last:
                reason = event.reason if isinstance(event, ev.Dropped) else reason
                break
            if event.n <= self.received:
                continue
            if isinstance(event, ev.Dropped):
                shown.append(line)
                self.skip(event.n)
            else:
                shown.append(self.add(line, event.n))
        if self.received < last:
            shown.append(dropped(nonce, boot, last, last - self.received, reason))
            self.skip(last)
        return "".join(shown)


class EarlyCopy:
    """A copy of a log that comes early, and the log itself; both from their first line on. `nonce` is the run's.

    The log may have lines of other programs too; those that come after the copy are left out.
    """

    def __init__(self, nonce: str) -> None:
        self._prefix = f"{ev.PREFIX}{nonce} "
        self._early: deque[str] = deque()  # lines that the log must have yet
        self._log: deque[str] = deque()  # lines that the copy must have yet
        self._has_ended = False

    def add_early(self, text: str) -> str:
        """The new lines of the copy.

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
        """The new lines of the log.

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
        """The copy has ended, perhaps before the log."""
        self._has_ended = True
        self._log.clear()

    def _is_next(self, lines: deque[str], line: str) -> bool:
        """Whether a line of one is the next of the other; False: the log has a line of another program."""
        expected = lines[0]
        if line == expected:
            return True
        of_log = expected if lines is self._log else line
        if of_log.startswith(self._prefix):
            raise ProtocolError(
                "the log of the pod differs from what the cell has sent",
                hint="kubectl logs shows the log. Please report this.",
            )
        return False


class SessionLog:
    """The lines of one run in the log of its session's pod, which may lack its beginning; `nonce` is the run's.

    The records of a cell that waits are between those of the one that runs. A raw line belongs to the latter. Its
    number is certain once the next record is read; if the log `is_live`, lines are given before.
    """

    def __init__(self, nonce: str, *, is_live: bool = False) -> None:
        self.has_ended = False
        """The run's exit record was read."""
        self.boot = ""
        """That of the run's records, once one was read."""
        self._nonce = nonce
        self._is_live = is_live
        self._running: str | None = None  # the nonce of the cell that runs; "": none, None: not known yet
        self._waiting: set[str] = set()  # nonces of cells that were sent after the log begins
        self._last = 0
        self._raw: list[str] = []

    def feed(self, text: str) -> list[tuple[int, str]]:
        """The run's lines in the next whole lines of the log: (number of the first, text) of adjacent ones."""
        found: list[tuple[int, str]] = []
        for line in split_lines(text):
            match = _RECORD.match(line)
            if match is not None:
                self._record(match[1], line, ev.record(match[2]), found)
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
            self._running = nonce  # it ran already where the log begins
        if self._running not in (None, self._nonce):
            self._raw.clear()
        if nonce == self._nonce:
            missing = event.n - 1 - self._last
            # Other programs may have written lines as well; where a log lacks some is not known.
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
    """A record for `lines` lines up to number `last`, which a copy of the log does not have."""
    fields = {"lines": lines, "reason": reason, "k": "dropped", "b": boot, "n": last, "t": 0.0}
    return f"{ev.PREFIX}{nonce} {json.dumps(fields)}\n"
