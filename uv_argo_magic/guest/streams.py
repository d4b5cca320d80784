"""sys.stdout and sys.stderr of the process that runs the cell; they share a pipe with records, to keep the order.

Rules:
- The pipe has frames: a kind (1 stdout, 2 stderr, 3 record as JSON, 4 request to acknowledge), a length, and the bytes.
- While there are few lines, stdout is flushed after each line, so that it is shown even if the code then never releases
  the GIL. If there are many, a thread flushes it every RATE seconds, which is three times as fast. It is never
  unbuffered, because that splits lines. stderr and records flush stdout first, to keep the order.
- After a fork, two processes write. Frames are then smaller than PIPE_BUF, so that the kernel writes each as a whole.
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
FLOOD_WRITES = 20  # in RATE seconds; with more writes, the thread flushes
EBB_BYTES = 2048  # in RATE seconds; with fewer bytes, each line is flushed
PIPE_BUF = 4096
FLUSH_BEFORE = frozenset({"subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.spawn", "pty.spawn"})


class Pipe:
    """The writing end of the pipe, shared by the streams and the records."""

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
            with self.lock:  # only the parent sends records; the lock prevents mixed ones
                self._write(HEADER.pack(RECORD, len(data)) + data)
        else:
            self.send(RECORD, data)

    def sync(self):
        """Wait until the supervisor has read everything so far, so that output of a child process comes after it."""
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
    """The raw part of a text stream: each write is one frame. `fileno` is the real descriptor, for child processes."""

    def __init__(self, pipe, kind, before):
        self.pipe = pipe
        self.kind = kind
        self.name = "stdout" if kind == STDOUT else "stderr"  # as in a notebook
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
    """Both streams; `flush` flushes them, and `emit` sends a record after the text printed before it."""

    make_pipe = Pipe

    def __init__(self, fd, acknowledged):
        self.pipe = self.make_pipe(fd, acknowledged)
        self.raw = _Raw(self.pipe, STDOUT, _nothing)
        self.out = _text(self.raw, 65536)
        self.err = _text(_Raw(self.pipe, STDERR, self._flush_out), 8192)
        self.out.mode = self.err.mode = "w"
        self.closing = False

    def install(self):
        """Replace sys.stdout and sys.stderr, and keep the order of output around child processes and forks."""
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
        except (OSError, ValueError):  # closed by the user's code, or the supervisor has ended
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
            # A forked process often exits with os._exit, which does not flush.
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
