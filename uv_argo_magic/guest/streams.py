"""sys.stdout and sys.stderr of the process that runs the cell, and the pipe on which they and records stay in order.

Rules:
- One pipe carries frames: a kind (1 stdout, 2 stderr, 3 a record as JSON, 4 please acknowledge), a length, the bytes.
- stdout is flushed at each line's end as long as lines are few, so that it shows even if the code after it never
  releases the GIL; when they flood, by a thread every RATE seconds, which takes three times as many. Never
  unbuffered: that tears lines. stderr and records flush stdout first, so that the order is kept.
- After a fork two processes write: frames then stay below PIPE_BUF, which the kernel writes whole.
"""

import _thread
import io
import json
import os
import select
import struct
import sys
import time

STDOUT, STDERR, RECORD, SYNC = 1, 2, 3, 4
HEADER = struct.Struct(">BI")
RATE = 0.01
FLOOD_WRITES = 20  # in RATE seconds: from then on lines wait for the thread
EBB_BYTES = 2048  # in RATE seconds: from then on they do not
PIPE_BUF = 4096
FLUSH_BEFORE = frozenset({"subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.spawn", "pty.spawn"})


class Pipe:
    """The writing end, shared by the streams and the records."""

    def __init__(self, fd, acknowledged):
        self.fd = fd
        self.acknowledged = acknowledged
        self.lock = _thread.allocate_lock()
        self.forked = False

    def send(self, kind, data):
        if self.forked:
            room = PIPE_BUF - HEADER.size
            for start in range(0, len(data), room):
                piece = bytes(data[start : start + room])
                self._write(HEADER.pack(kind, len(piece)) + piece)
            return
        with self.lock:
            self._write(HEADER.pack(kind, len(data)) + bytes(data))

    def record(self, kind, **fields):
        fields["k"] = kind
        data = json.dumps(fields).encode("ascii")
        if self.forked:
            with self.lock:  # only the parent sends records; the lock keeps them whole
                self._write(HEADER.pack(RECORD, len(data)) + data)
        else:
            self.send(RECORD, data)

    def sync(self):
        """Return when the supervisor has read all that was sent: what a child process writes then comes after it."""
        if self.acknowledged < 0 or self.forked:
            return
        self.send(SYNC, b"")
        try:
            if select.select([self.acknowledged], [], [], 0.5)[0]:
                os.read(self.acknowledged, 1)
        except (OSError, ValueError):
            self.acknowledged = -1

    def _write(self, data):
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view) :]


class _Raw(io.RawIOBase):
    """The bottom of a text stream: each write is one frame. `fileno` is the real descriptor, for child processes."""

    def __init__(self, pipe, kind, before):
        self.pipe = pipe
        self.kind = kind
        self.name = "stdout" if kind == STDOUT else "stderr"  # as a notebook's streams are named
        self.before = before
        self.writes = 0
        self.bytes = 0

    def writable(self):
        return True

    def fileno(self):
        return self.kind

    def isatty(self):
        return False

    def write(self, data):
        self.before()
        self.writes += 1
        self.bytes += len(data)
        self.pipe.send(self.kind, data)
        return len(data)


class Streams:
    """Puts both streams in place; `flush` empties them, `emit` sends a record after what was printed before it."""

    make_pipe = Pipe

    def __init__(self, fd, acknowledged):
        self.pipe = self.make_pipe(fd, acknowledged)
        self.raw = _Raw(self.pipe, STDOUT, _nothing)
        self.out = _text(self.raw, 65536)
        self.err = _text(_Raw(self.pipe, STDERR, self._flush_out), 8192)
        self.out.mode = self.err.mode = "w"
        self.closing = False

    def install(self):
        """Become sys.stdout and sys.stderr, and keep the order around child processes and forks."""
        sys.stdout, sys.stderr = self.out, self.err
        sys.addaudithook(self._audit)
        os.register_at_fork(before=self._before_fork, after_in_parent=self._forked, after_in_child=self._in_child)
        _thread.start_new_thread(self._flusher, ())

    def emit(self, kind, **fields):
        self.flush()
        self.pipe.record(kind, **fields)

    def flush(self):
        self._flush_out()
        try:
            self.err.flush()
        except (OSError, ValueError):
            pass

    def _flush_out(self):
        try:
            self.out.flush()
        except (OSError, ValueError):  # closed by the user's code, or the supervisor is gone
            pass

    def _audit(self, event, _args):
        if event in FLUSH_BEFORE and not self.closing:
            self.flush()
            self.pipe.sync()

    def _before_fork(self):
        self.flush()

    def _forked(self):
        self.pipe.forked = True

    def _in_child(self):
        self.pipe.forked = True
        self.pipe.lock = _thread.allocate_lock()
        try:
            # A forked process often leaves by os._exit, which flushes nothing.
            self.out.reconfigure(line_buffering=True)
        except (OSError, ValueError):
            pass
        _thread.start_new_thread(self._flusher, ())

    def _flusher(self):
        sleep = time.sleep
        raw, flood = self.raw, False
        while not self.closing:
            sleep(RATE)
            self.flush()
            change = raw.bytes < EBB_BYTES if flood else raw.writes > FLOOD_WRITES
            raw.writes = raw.bytes = 0
            if change and not self.closing:
                flood = not flood
                try:
                    self.out.reconfigure(line_buffering=not flood)
                except (OSError, ValueError):
                    pass


def _text(raw, size):
    return io.TextIOWrapper(io.BufferedWriter(raw, size), "UTF-8", "backslashreplace", line_buffering=True)


def _nothing():
    pass
