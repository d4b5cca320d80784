"""A value in a file: a line of JSON with sizes, the text, the buffers, and for sealed values the SHA-256 of all of it.

Rules:
- Bytes are written and read without intermediate copies.
- Plain data has no digest, because the file is in a private folder of this machine, and computing the digest would take
  longer than everything else. A sealed value has one, because it can be pushed or opened much later.
"""

import hashlib
import json
import mmap
import os

LONGEST_HEADER = 1 << 20
DIGEST = 64  # characters
LARGE = 1 << 20


class Damaged(ValueError):
    """The file was changed."""


def write(path, text, buffers, is_sealed=False):
    """Write a value to a new file; return its digest, or "" if it is not sealed."""
    body = text.encode("utf-8", "surrogatepass")
    sizes = {"text": len(body), "buffers": [len(buffer) for buffer in buffers], "sealed": bool(is_sealed)}
    parts = [json.dumps(sizes).encode() + b"\n", body, *buffers]
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb", buffering=0) as file:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[file.write(view) :]
        digest = _digest(parts) if is_sealed else ""
        file.write(digest.encode())
    return digest


def read(path, digest=""):
    """(text, buffers) of a file; checks the digest, if given. Each buffer is separate writable memory.

    Raises:
        Damaged: the file was changed, or has another digest.
    """
    with open(path, "rb", buffering=0) as file:
        header = file.readline(LONGEST_HEADER)
        try:
            sizes = json.loads(header)
            lengths = [int(sizes["text"]), *map(int, sizes["buffers"])]
            is_sealed = sizes["sealed"] is True
        except (ValueError, KeyError, TypeError):
            raise Damaged("it is not the file of a value") from None
        expected = len(header) + sum(lengths) + (DIGEST if is_sealed else 0)
        if min(lengths) < 0 or expected != os.fstat(file.fileno()).st_size:
            raise Damaged("it has another size than its header says")
        parts = [_read_part(file, length) for length in lengths]
        if is_sealed or digest:
            found = _digest([header, *parts])
            if found.encode() != file.read() or digest not in ("", found):
                raise Damaged("its SHA-256 does not match")
    return bytes(parts[0]).decode("utf-8", "surrogatepass"), parts[1:]


def _digest(parts):
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def _read_part(file, length):
    # Unlike a bytearray, this memory is not filled with zeros first.
    part = mmap.mmap(-1, length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) if length >= LARGE else bytearray(length)
    view = memoryview(part)
    while view:
        count = file.readinto(view)
        if not count:
            raise Damaged("it ends early")
        view = view[count:]
    return part
