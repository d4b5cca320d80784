"""A value in a file: a line of JSON with sizes, the text, the buffers, and the SHA-256 of all that in hexadecimal.

Rules:
- Bytes are written from where they are, and read to where they stay: one copy at each end.
- The digest is computed by a thread while the bytes move, and checked before the value is used.
"""

import hashlib
import json
import os
import queue
import threading

CHUNK = 1 << 22
LONGEST_HEADER = 1 << 20
DIGEST = 64


class Damaged(ValueError):
    """The file is not what was written."""


class _Hash:
    """SHA-256 of what `feed` gets, in a thread of its own: hashing releases the interpreter."""

    def __init__(self):
        self.hash = hashlib.sha256()
        self.queue = queue.Queue(16)  # type: queue.Queue
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def feed(self, data):
        self.queue.put(data)

    def end(self):
        """The digest, in hexadecimal."""
        self.queue.put(None)
        self.thread.join()
        return self.hash.hexdigest()

    def _run(self):
        while True:
            data = self.queue.get()
            if data is None:
                return
            self.hash.update(data)


def digest_of(text):
    """The SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def write(path, text, buffers):
    """Write a value to a new file: (its size, its digest)."""
    body = text.encode("utf-8", "surrogatepass")
    header = json.dumps({"text": len(body), "buffers": [len(buffer) for buffer in buffers]}).encode() + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb", buffering=0) as file:
        sums, size = _Hash(), 0
        try:
            for part in (header, body, *buffers):
                view = memoryview(part)
                for start in range(0, len(view), CHUNK):
                    piece = view[start : start + CHUNK]
                    sums.feed(piece)
                    size += len(piece)
                    while piece:
                        piece = piece[file.write(piece) :]
        finally:
            digest = sums.end()
        file.write(digest.encode())
    return size + DIGEST, digest


def read(path, digest=""):
    """(text, buffers) of a file with this digest ("": any); each buffer is a bytearray of its own.

    Raises:
        Damaged: it is another file, or it was changed.
    """
    with open(path, "rb") as file:
        header = file.readline(LONGEST_HEADER)
        try:
            sizes = json.loads(header)
            lengths = [int(sizes["text"]), *map(int, sizes["buffers"])]
        except (ValueError, KeyError, TypeError):
            raise Damaged("it is not the file of a value") from None
        if min(lengths) < 0 or len(header) + sum(lengths) + DIGEST != os.fstat(file.fileno()).st_size:
            raise Damaged("it has another size than its header says")
        sums = _Hash()
        try:
            sums.feed(header)
            parts = [_read_part(file, length, sums) for length in lengths]
        finally:
            found = sums.end()
        if found.encode() != file.read() or digest not in ("", found):
            raise Damaged("its SHA-256 does not match")
    return parts[0].decode("utf-8", "surrogatepass"), parts[1:]


def _read_part(file, length, sums):
    part = bytearray(length)
    view = memoryview(part)
    for start in range(0, length, CHUNK):
        piece = view[start : start + CHUNK]
        if file.readinto(piece) != len(piece):
            raise Damaged("it ends early")
        sums.feed(piece)
    return part
