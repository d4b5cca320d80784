"""Attribute output to cells: text belongs to the cell of the task or thread that writes it, even after the cell's end.

Rules:
- Tasks inherit the cell through their context, and threads from the thread that starts them. All other output belongs
  to the running cell.
- Output of a cell that has ended is sent in separate frames, with the cell's number in the session. So is all output of
  a forked process, because the process does not know when its cell ends.
- Child processes inherit pipes of their cell as stdout and stderr. The supervisor sends these pipes before the first
  child starts. They are the descriptors 1 and 2 until the cell ends.
"""

import _thread
import contextvars
import io
import os
import socket
import struct
import threading

from .. import streams

LATE_STDOUT, LATE_STDERR = 5, 6
NUMBER = struct.Struct(">I")
ENDS = struct.Struct("2i")
cell = contextvars.ContextVar("cell", default=0)
"""Number of the cell to which the current task or thread belongs; 0: the running cell."""


class Running:
    """The running cell."""

    number = 0
    """Number of the running cell; 0 between cells."""


class Pipe(streams.Pipe):
    """Also receives the pipes for child processes of a cell."""

    is_child = False

    def __init__(self, fd, acknowledged):
        streams.Pipe.__init__(self, fd, acknowledged)
        self.sock = socket.socket(fileno=acknowledged)
        self.own = os.dup(1), os.dup(2)
        self.are_replaced = False
        self.syncing = _thread.RLock()  # a signal handler can start a process, too

    def sync(self):
        """As in the base class; the response can include pipes for children of the running cell."""
        if self.is_child or self.acknowledged < 0:
            return
        with self.syncing:
            try:
                while self._take_answer(0):  # responses that came too late
                    pass
                number = cell.get() or Running.number
                self.send(streams.SYNC, NUMBER.pack(number))
                self._take_answer(0.5, number)
            except (OSError, ValueError):
                self.acknowledged = -1

    def leave(self):
        """Restore this process's own pipes at the end of a cell, whose children keep its pipes."""
        with self.syncing:
            if self.are_replaced:
                self.are_replaced = False
                self._become(self.own)

    def _take_answer(self, seconds, number=0):
        if not streams.wait_for([self.sock.fileno()], seconds)[0]:
            return False
        data, control, _, _ = self.sock.recvmsg(1, socket.CMSG_SPACE(ENDS.size))
        for _, _, sent in control:
            ends = ENDS.unpack(sent[: ENDS.size])
            if number and number == Running.number:
                self.are_replaced = True
                self._become(ends)
            for end in ends:
                os.close(end)
        return bool(data)

    @staticmethod
    def _become(ends):
        for end, fd in zip(ends, (1, 2)):
            os.dup2(end, fd)


class _Raw(streams._Raw):  # noqa: SLF001 - the two are one
    """Its frames contain the cell if that has ended."""

    cell = 0

    def kind_and_prefix(self):
        if not self.cell or self.cell == Running.number:
            return self.kind, b""
        return LATE_STDOUT if self.kind == streams.STDOUT else LATE_STDERR, NUMBER.pack(self.cell)


class _Text(io.TextIOWrapper):
    """Flushes before the text of another cell."""

    def __init__(self, raw):
        buffer = io.BufferedWriter(raw, raw.size)
        io.TextIOWrapper.__init__(self, buffer, "UTF-8", "backslashreplace", line_buffering=True)
        self._raw = raw
        self._lock = threading.RLock()
        self._bytes = _Bytes(self, buffer)

    @property
    def buffer(self):
        """The stream of bytes, for the user's code."""
        return self._bytes

    def write(self, text):
        with self._lock:
            self._take_cell()
            return io.TextIOWrapper.write(self, text)

    def write_bytes(self, buffer, data):
        """Write bytes of the current cell to the buffer below this text."""
        with self._lock:
            self._take_cell()
            return buffer.write(data)

    def _take_cell(self):
        number = cell.get()
        if number != self._raw.cell:
            self.flush()
            self._raw.cell = number


class _Bytes(io.BufferedIOBase):
    """`sys.stdout.buffer`, whose bytes belong to the cell that writes them, too."""

    mode = "wb"

    def __init__(self, text, buffer):
        self._text = text
        self._buffer = buffer
        self.raw = buffer.raw

    @property
    def name(self):
        """The name of the stream."""
        return self._buffer.name

    def writable(self):
        return True

    def fileno(self):
        return self._buffer.fileno()

    def write(self, data):
        return self._text.write_bytes(self._buffer, data)

    def flush(self):
        self._buffer.flush()


class Streams(streams.Streams):
    """stdout and stderr of a session's interpreter."""

    make_pipe = Pipe

    def __init__(self, fd, acknowledged):
        streams.Streams.__init__(self, fd, acknowledged)
        self.raw = _Raw(self.pipe, streams.STDOUT, 65536, _nothing)
        self.out = _Text(self.raw)
        self.err = _Text(_Raw(self.pipe, streams.STDERR, 8192, self._flush_out))
        self.out.mode = self.err.mode = "w"

    def emit(self, kind, **fields):
        number = cell.get()
        if number and number != Running.number:
            fields["cell"] = number
        streams.Streams.emit(self, kind, **fields)

    def _before_fork(self):
        super()._before_fork()
        self.pipe.sync()

    def _in_child(self):
        self.pipe.is_child = True  # type: ignore[attr-defined]
        Running.number = -1
        super()._in_child()


def follow_threads():
    """Make each new thread belong to the cell of the thread that starts it."""
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
