"""Write numbered raw lines and records to one file descriptor (docs/protocol.md).

Rules (core/protocol/events.py is the reader; the two modules share no code):
- A record is one line of at most LONGEST bytes: the prefix, the run's nonce, and JSON. A longer record is sent in
  parts. It is compressed if that makes it much smaller, because a log has a size limit, and is slow on a cluster.
- Every line has a number, including raw ones. Records contain their number, and the random name of this process start.
"""

import base64
import json
import os
import time
import zlib

LONGEST = 8000
PREFIX = "@uv-argo:"


class Log:
    """The only writer to the log's file descriptor. `spent` is the number of bytes written."""

    def __init__(self, fd, nonce):
        self.fd = fd
        self.prefix = PREFIX + nonce + " "
        self.boot = os.urandom(6).hex()
        self.n = 0
        self.spent = 0
        self.broken = False
        self.copies = []  # type: list  # objects that receive a copy

    def raw(self, data, lines):
        """Write `lines` whole lines of the user's stdout unchanged."""
        self.n += lines
        self._write(data)

    def emit(self, kind, **fields):
        """Write one record."""
        fields["k"] = kind
        text = self._stamp(fields)
        if len(text) <= LONGEST:
            self._line(text)
            return
        packed = pack(text)
        more = {"k": "part", "id": str(self.n + 1), "z": True} if packed else {"k": "part", "id": str(self.n + 1)}
        pieces = _pieces(packed or text)
        for j, piece in enumerate(pieces):
            self._line(self._stamp(dict(more, j=j, of=len(pieces), s=piece)))

    def _stamp(self, fields):
        fields["b"] = self.boot
        fields["n"] = self.n + 1
        fields["t"] = round(time.time(), 3)
        return json.dumps(fields, separators=(",", ":"))

    def _line(self, text):
        self.n += 1
        self._write((self.prefix + text + "\n").encode("ascii"))

    def _write(self, data):
        self.spent += len(data)
        for copy in self.copies:
            copy.add(data)
        view = memoryview(data)
        while view and not self.broken:
            try:
                view = view[os.write(self.fd, view) :]
            except (BrokenPipeError, OSError):
                # The reader of the log has ended. The run continues, until its lifeline or deadline ends it.
                self.broken = True


def pack(text):
    """The compressed text as base64; "" if it is not much smaller."""
    packed = base64.b64encode(zlib.compress(text.encode("ascii"), 1)).decode("ascii")
    return packed if len(packed) < 0.8 * len(text) else ""


def _pieces(text):
    """Split JSON text so that each piece fits a line after quoting."""
    pieces = []
    start = 0
    while start < len(text):
        size = LONGEST - 300
        while len(json.dumps(text[start : start + size])) > LONGEST - 300:
            size //= 2
        pieces.append(text[start : start + size])
        start += size
    return pieces
