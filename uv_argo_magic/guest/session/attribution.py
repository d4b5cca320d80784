"""Which cell output belongs to: that of the task or thread which writes it, also after that cell has ended.

Rules:
- Tasks inherit the cell by their context, threads from the thread that starts them; others write into the running cell.
- Output of a cell that has ended travels in frames of its own, with the cell's number in the session.
"""

import contextvars
import io
import struct
import sys
import threading
import typing

from .. import streams

LATE_STDOUT, LATE_STDERR = 5, 6
NUMBER = struct.Struct(">I")
cell = contextvars.ContextVar("cell", default=0)
"""Number of the cell that the present task or thread belongs to; 0: the running one."""


class Running:
    """The running cell."""

    number = 0
    """Its number; 0 between cells."""
    interrupt: typing.Any = None
    """Takes an interrupt that came while text was written, with the frame that wrote it; None: there is none."""


class _Raw(streams._Raw):  # noqa: SLF001 - the two are one
    """One frame a write, marked with its cell where that has ended."""

    cell = 0

    def write(self, data):
        if not self.cell or self.cell == Running.number:
            return super().write(data)
        self.before()
        kind = LATE_STDOUT if self.kind == streams.STDOUT else LATE_STDERR
        self.pipe.send(kind, NUMBER.pack(self.cell) + bytes(data))
        return len(data)


class _Text(io.TextIOWrapper):
    """Flushes before the text of another cell."""

    def __init__(self, raw, size):
        io.TextIOWrapper.__init__(self, io.BufferedWriter(raw, size), "UTF-8", "backslashreplace", line_buffering=True)
        self._raw = raw
        self._lock = threading.RLock()

    def write(self, text):
        number = cell.get()
        with self._lock:
            if number != self._raw.cell:
                self.flush()
                self._raw.cell = number
            written = io.TextIOWrapper.write(self, text)
        # A cell that prints without pause is nearly always met while it writes: no signal would come between.
        if Running.interrupt is not None and threading.current_thread() is threading.main_thread():
            Running.interrupt(sys._getframe(1))  # noqa: SLF001 - there is no public name
        return written


class Streams(streams.Streams):
    """stdout and stderr of a session's interpreter."""

    def __init__(self, fd, acknowledged):
        streams.Streams.__init__(self, fd, acknowledged)
        self.raw = _Raw(self.pipe, streams.STDOUT, _nothing)
        self.out = _Text(self.raw, 65536)
        self.err = _Text(_Raw(self.pipe, streams.STDERR, self._flush_out), 8192)
        self.out.mode = self.err.mode = "w"

    def emit(self, kind, **fields):
        number = cell.get()
        if number and number != Running.number:
            fields["cell"] = number
        streams.Streams.emit(self, kind, **fields)


def follow_threads():
    """Let each thread that starts from now on belong to the cell of the thread that starts it."""
    start = threading.Thread.start

    def start_in_cell(thread):
        number = cell.get()
        run = thread.run

        def run_in_cell():
            cell.set(number)
            run()

        if number:
            thread.run = run_in_cell
        start(thread)

    start_in_cell.__doc__ = start.__doc__
    threading.Thread.start = start_in_cell  # type: ignore[method-assign]


def _nothing():
    pass
