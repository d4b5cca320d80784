"""sys.stdout and sys.stderr of the process that runs the cell; they share a pipe with records, to keep the order.

Rules:
- The pipe has frames: a kind (1 stdout, 2 stderr, 3 record as JSON, 4 request to acknowledge), a length, and the bytes.
- While there are few lines, stdout is flushed after each line, so that it is shown even if the code then never releases
  the GIL. If there are many, a thread flushes it every RATE seconds, which is three times as fast. It is never
  unbuffered, because that splits lines. stderr and records flush stdout first, to keep the order.
- After a fork, two processes write. Frames are then smaller than PIPE_BUF, so that the kernel writes each as a whole.
- A signal handler can raise after each call of a function, and it can print. The pipe has only whole frames, and none
  twice: one assignment decides that a frame is written, C code counts its bytes, and what a handler prints waits.
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
UNFLUSHED = (OSError, ValueError, RuntimeError)
"""The supervisor has ended, the user's code closed the stream, or this is a signal handler that interrupted a write."""
FLUSH_BEFORE = frozenset({"subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.spawn", "pty.spawn"})


class Once:
    """A write that is not repeated after an interrupt."""

    sent = 0


class Pipe:
    """The writing end of the pipe, shared by the streams and the records."""

    def __init__(self, fd, acknowledged):
        self.fd = fd
        self.acknowledged = acknowledged
        self.forked = False
        self.reset()

    def reset(self):
        """Begin with no frame, also in a forked process, since another thread can have been writing one."""
        self.lock = _thread.RLock()
        # The frame that is being written, and the numbers of its bytes that were written.
        self.current = (b"", [])  # type: tuple[bytes, list[int]]
        # The frames of signal handlers that interrupted this.
        self.waiting = ()  # type: tuple[bytes, ...]

    def send(self, kind, data, prefix=b"", raw=None):
        """Write frames with the data, each after the prefix, except the bytes that `raw` has sent already."""
        raw = raw or Once()
        is_whole = kind == RECORD or not (prefix or self.forked)  # a forked process sends no records
        room = len(data) if is_whole else PIPE_BUF - HEADER.size - len(prefix)
        if not data or raw.sent == len(data):
            self._send(b"" if data else HEADER.pack(kind, len(prefix)) + prefix, raw, raw.sent)
        for start in range(raw.sent, len(data), room or 1):
            piece = bytes(data[start : start + room])
            self._send(HEADER.pack(kind, len(prefix) + len(piece)) + prefix + piece, raw, start + len(piece))

    def record(self, kind, **fields):
        fields["k"] = kind
        self.send(RECORD, json.dumps(fields).encode("ascii"))

    def _send(self, frame, raw, sent):
        """Write what is left of an interrupted frame, and this one; `raw.sent` is set once it will be written."""
        if self.lock._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001 - this is a signal handler
            self.waiting, raw.sent = (*self.waiting, frame), sent
            return
        with self.lock:
            self._finish()
            self.current, raw.sent = (frame, []), sent
            self._finish()

    def _finish(self):
        while True:
            frame, counts = self.current
            done = sum(counts)
            if done < len(frame):
                counts.extend(map(os.write, (self.fd,), (memoryview(frame)[done:],)))
            elif self.waiting:
                self.current, self.waiting = (self.waiting[0], []), self.waiting[1:]
            else:
                return

    def sync(self):
        """Wait until the supervisor has read everything so far, so that output of a child process comes after it."""
        if self.acknowledged < 0 or self.forked:
            return
        self.send(SYNC, b"")
        try:
            if wait_for([self.acknowledged], 0.5)[0]:
                os.read(self.acknowledged, 1)
        except (OSError, ValueError):
            self.acknowledged = -1


def wait_for(readable, seconds=None, writable=()):
    """Wait until data can be read from or written to some of the descriptors; return those as two lists.

    `select.select` supports only numbers below 1024, and a kernel can have many open files.
    """
    wanted = dict.fromkeys(readable, select.POLLIN)
    for fd in writable:
        wanted[fd] = wanted.get(fd, 0) | select.POLLOUT
    poll = select.poll()
    for fd, events in wanted.items():
        poll.register(fd, events)
    # An end or an error is found by reading or writing.
    found = dict(poll.poll(None if seconds is None else max(0.0, seconds * 1000)))
    return (
        [fd for fd in readable if found.get(fd, 0) & ~select.POLLOUT],
        [fd for fd in writable if found.get(fd, 0) & ~select.POLLIN],
    )


class _Raw(io.RawIOBase):
    """The raw part of a text stream: each write is one frame. `fileno` is the real descriptor, for child processes."""

    def __init__(self, pipe, kind, size, before):
        self.pipe = pipe
        self.kind = kind
        self.size = size
        self.sent = 0
        """The bytes sent by a write that was interrupted; BufferedWriter writes them again, from its buffer."""
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
        size = len(data)
        self.writes += 1
        self.bytes += size
        kind, prefix = self.kind_and_prefix()
        self.pipe.send(kind, data, prefix, self if size <= self.size else None)
        self.sent = 0
        return size

    def kind_and_prefix(self):
        return self.kind, b""


class Streams:
    """Both streams; `flush` flushes them, and `emit` sends a record after the text printed before it."""

    make_pipe = Pipe

    def __init__(self, fd, acknowledged):
        self.pipe = self.make_pipe(fd, acknowledged)
        self.raw = _Raw(self.pipe, STDOUT, 65536, _nothing)
        self.out = _text(self.raw)
        self.err = _text(_Raw(self.pipe, STDERR, 8192, self._flush_out))
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
        except UNFLUSHED:
            pass

    def _flush_out(self):
        try:
            self.out.flush()
        except UNFLUSHED:
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
        self.pipe.reset()
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


def _text(raw):
    return io.TextIOWrapper(io.BufferedWriter(raw, raw.size), "UTF-8", "backslashreplace", line_buffering=True)


def _nothing():
    pass
