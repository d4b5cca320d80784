"""Transfer values between a client and a worker in a pod, as files and over separate connections.

Rules:
- A file is received in pieces, each with its SHA-256. A sent file is followed by its SHA-256.
- An interrupted transfer continues where it ended. The files of a cell are removed with its log.
"""

import hashlib
import os
import re

from .. import processes

NAME = re.compile(r"[A-Za-z0-9-]{1,80}")
PULLED = re.compile(r"pulled-[0-9a-f]{16}")


class Files:
    """The files of all cells, with one folder per cell."""

    def __init__(self, home):
        self.home = os.path.join(home, "values")

    def folder(self, run):
        """The folder of a cell."""
        return os.path.join(self.home, self._name(run))

    def make(self, run):
        """Create the folder of a cell, and return its path."""
        folder = self.folder(run)
        os.makedirs(folder, 0o700, exist_ok=True)
        return folder

    def put(self, run, name, position, data, digest):
        """Write a piece of a file at a position; return the reason if that failed, else ""."""
        if hashlib.sha256(data).hexdigest() != digest:
            return "its SHA-256 does not match"
        path = os.path.join(self.make(run), self._name(name))
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(fd, position)
            view = memoryview(data)
            while view:
                count = os.pwrite(fd, view, position)
                view, position = view[count:], position + count
        except OSError as problem:
            return str(problem)
        finally:
            os.close(fd)
        return ""

    def take(self, run, name):
        """Read a file, and remove it."""
        path = os.path.join(self.folder(run), self._name(name))
        with open(path, "rb") as file:
            data = file.read()
        os.unlink(path)
        return data

    def pulled(self, run):
        """(name, bytes) of the values of a cell that a client can get."""
        try:
            names = os.listdir(self.folder(run))
        except OSError:
            return []
        return [
            (name, os.stat(os.path.join(self.folder(run), name)).st_size)
            for name in sorted(names)
            if PULLED.fullmatch(name)
        ]

    def source(self, run, name):
        """A file that a connection can send."""
        return Source(os.path.join(self.folder(run), self._name(name)))

    def remove(self, run):
        """Remove the files of a cell."""
        processes.remove(self.folder(run))

    @staticmethod
    def _name(text):
        if not NAME.fullmatch(text):
            raise ValueError("not a name: %r" % text)
        return text


class Source:
    """A file, with the methods by which a connection reads a log."""

    ended = True
    start = 0

    def __init__(self, path):
        self.path = path
        self.spent = os.stat(path).st_size
        self.digest = hashlib.sha256()

    def read(self, position, size):
        """At most `size` bytes from a position on."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(fd, size, position)
        finally:
            os.close(fd)
        self.digest.update(data)
        return data

    def last(self):
        """The frame that follows the file."""
        return {"end": True, "sha256": self.digest.hexdigest()}
