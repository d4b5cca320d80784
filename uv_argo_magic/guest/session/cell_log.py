"""The log of one cell of a session: first in memory, then in a file, with a limited size, until a client has read it.

Rules:
- Lines are numbered from 1. A client that reconnects gets the lines after the last one that it has.
- Beyond the limit, the oldest output is dropped. Other records are kept, and a `dropped` record replaces missing lines.
- If the disk is full, the log becomes shorter, but continues.
"""

import json
import os
import sys
import time

from ..log_writer import Log

IN_MEMORY = 64 * 1024  # bytes; a longer log is in a file
MOST = 64 << 20  # maximum bytes of one log, and of all logs
MOST_IN_MEMORY = 4 << 20  # bytes of one log on a full disk
PIECE = 1 << 20
LONGEST_KEPT = 1 << 19  # maximum bytes of kept records in one response
OUTPUT = frozenset(("text", "display", "result", "traceback", "clear", "uv", "progress", "heartbeat", "snapshot"))


class CellLog(Log):
    """Stores the cell's output; clients read it by position, the number of bytes since the start of the log."""

    def __init__(self, path, nonce, copy=-1, most=MOST):
        Log.__init__(self, -1, nonce)
        self.copy = Log(copy, nonce) if copy >= 0 else None  # the log of the container
        self.path = path
        self.head = bytearray()
        self.in_memory = IN_MEMORY
        self.most = self.limit = most
        self.start = 0  # position of the first byte that is still stored
        self.dropped = 0  # number of the last line before `start`
        self.kept = []  # type: list[tuple[int, int, bytes]]  # records before `start`: first and last line, bytes or b""
        self.marks = []  # type: list[tuple[int, int, int, int]]  # later records: position, end, lines before, lines including it
        self.ended = False
        self.is_read = False  # a client has read the whole log

    @property
    def size(self):
        """Size of the stored log in bytes."""
        return self.spent - self.start

    def raw(self, data, lines):
        """Write whole lines of the user's stdout unchanged."""
        Log.raw(self, data, lines)
        self._bound()

    def emit(self, kind, **fields):
        """Write one record."""
        position, lines = self.spent, self.n
        Log.emit(self, kind, **fields)
        if kind not in OUTPUT:
            self.marks.append((position, self.spent, lines, self.n))
        self._bound()

    def end(self, reason, code=0, detail=""):
        """Write the last record."""
        self.emit("exit", reason=reason, code=code, detail=detail)
        self.ended = True

    def read(self, position, size):
        """At most `size` bytes from a position on."""
        position -= self.start
        if self.fd >= 0:
            return os.pread(self.fd, size, position)
        return bytes(self.head[position : position + size])

    def after(self, number):
        """The log after line `number`: kept records, the position of the rest, and the line number before that."""
        if number < self.dropped:
            kept = [data or self._stand_in(first, last) for first, last, data in self.kept if last > number]
            if sum(map(len, kept)) > LONGEST_KEPT:
                kept = [self._stand_in(1, self.dropped)]
            return b"".join(kept), self.start, self.dropped
        position = self.start
        lines = number - self.dropped
        while lines > 0 and position < self.spent:
            data = self.read(position, PIECE)
            count = data.count(b"\n")
            if count >= lines:
                position += len(data) - len(data.split(b"\n", lines)[-1])
                lines = 0
            else:
                position += len(data)
                lines -= count
        return b"", position, number - lines

    def drop(self, size):
        """Drop the oldest output, and keep about `size` bytes of the newest."""
        position = self.spent - size
        if position <= self.start:
            return
        position = self._line_end(position)
        for begin, end, _, _ in self.marks:
            if begin < position < end:
                position = end
        number = self.dropped
        if self.kept and not self.kept[-1][2]:
            number = self.kept.pop()[0] - 1
        total = self.dropped + self._count_lines(position)
        for begin, end, before, last in self.marks:
            if end <= position:
                if before > number:
                    self.kept.append((number + 1, before, b""))
                self.kept.append((before + 1, last, self.read(begin, end - begin)))
                number = last
        if total > number:
            self.kept.append((number + 1, total, b""))
        self.marks = [mark for mark in self.marks if mark[1] > position]
        self._cut(position)
        self.start, self.dropped = position, total

    @staticmethod
    def last():
        """The frame that follows the log."""
        return {"end": True}

    def remove(self):
        """Remove the file, if there is one."""
        if self.fd >= 0:
            os.close(self.fd)
            os.unlink(self.path)

    def _bound(self):
        if self.size > self.most:
            self.drop(self.most // 2)

    def _stand_in(self, first, last):
        fields = {
            "lines": last - first + 1, "k": "dropped", "b": self.boot, "n": last, "t": round(time.time(), 3),
            "reason": "a session keeps the newest %.3g MB of output" % (self.limit / 1e6),
        }  # fmt: skip
        return (self.prefix + json.dumps(fields) + "\n").encode("ascii")

    def _line_end(self, position):
        """The end of the line with this position."""
        while position < self.spent:
            data = self.read(position, PIECE)
            end = data.find(b"\n")
            if end >= 0:
                return position + end + 1
            position += len(data)
        return position

    def _count_lines(self, position):
        """Number of the lines from the start to a position."""
        count, at = 0, self.start
        while at < position:
            data = self.read(at, min(PIECE, position - at))
            count += data.count(b"\n")
            at += len(data)
        return count

    def _cut(self, position):
        """Remove the bytes before a position."""
        if self.fd < 0:
            del self.head[: position - self.start]
            return
        at = 0
        while position + at < self.spent:
            data = self.read(position + at, PIECE)
            os.pwrite(self.fd, data, at)
            at += len(data)
        os.ftruncate(self.fd, at)
        os.lseek(self.fd, at, os.SEEK_SET)

    def _write(self, data):
        if self.copy is not None:
            self.copy.raw(data, 0)
        if self.fd < 0 and len(self.head) + len(data) > self.in_memory:
            self._move_to_file()
        if self.fd >= 0 and not self._write_to_file(data):
            # The disk is full: shorten the log, and if that does not help, keep it in memory.
            self.most = max(IN_MEMORY, self.size // 2)
            self.drop(self.most // 2)
            if not self._write_to_file(data):
                self._move_to_memory()
        if self.fd < 0:
            self.head += data
        self.spent += len(data)

    def _write_to_file(self, data):
        """Write all the data or nothing; return whether it was written."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError:
            os.ftruncate(self.fd, self.size)
            os.lseek(self.fd, self.size, os.SEEK_SET)
            return False
        return True

    def _move_to_file(self):
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError:
            self._stay_in_memory()
            return
        self.fd = fd
        if self._write_to_file(self.head):
            self.head.clear()
            return
        self.fd = -1
        os.close(fd)
        os.unlink(self.path)
        self._stay_in_memory()

    def _move_to_memory(self):
        self.head[:] = self.read(self.start, self.size)
        self.remove()
        self.fd = -1
        self._stay_in_memory()

    def _stay_in_memory(self):
        self.in_memory = sys.maxsize
        self.most = min(self.most, MOST_IN_MEMORY)
