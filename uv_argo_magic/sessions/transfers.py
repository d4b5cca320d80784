"""Transfer files between this machine and a worker in a pod: pushed and pulled values, and long orders.

Rules:
- Files use separate connections, so that an interrupt, a question or output never waits for a file.
- An interrupted transfer continues where it ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uv_argo_magic.errors import BackendError
from uv_argo_magic.sessions.channel import PIECE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

    from uv_argo_magic.sessions.channel import Channel, Connections

ORDER = "order"
"""The name of the file with a cell's order, if that is too long for a request."""
_PULLED = re.compile(r"pulled-[0-9a-f]{16}")
_SLACK = 1 << 20
"""Bytes by which the files of pulled values can exceed the limit of values, because of their headers."""


class Stopped(Exception):
    """The transfer was stopped."""


@dataclass(kw_only=True)
class Transfers:
    """The transfers of one run; they stop when `is_stopped` returns true."""

    connections: Connections
    run: str
    is_stopped: Callable[[], bool] = lambda: False

    def put(self, name: str, source: BinaryIO) -> None:
        """Send a file.

        Raises:
            BackendUnavailable: the worker does not respond.
            BackendError: the worker does not accept the file.
            OSError: the file cannot be read.
        """
        position = 0
        while True:
            piece = source.read(PIECE)
            values = {
                "run": self.run, "file": name, "at": position, "sha256": hashlib.sha256(piece).hexdigest(),
            }  # fmt: skip
            answer, channel = self.connections.request("put", values, piece)
            self.connections.keep(channel)
            if "error" in answer:
                detail = answer.get("detail") or answer["error"]
                raise BackendError(f"the session did not accept a pushed value: {detail}")
            position += len(piece)
            if len(piece) < PIECE:
                return

    def get_all(self, folder: Path, most: int) -> None:
        """Receive the pulled values that this machine lacks, at most `most` bytes (0: no limit).

        Raises:
            BackendUnavailable: the worker does not respond.
            OSError: the connection broke, or a file cannot be written.
            Stopped: a stop was requested.
        """
        answer = self.connections.ask("files", run=self.run)
        room = most + _SLACK if most else None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, size in answer.get("files", ()):
            if room is not None:
                room -= size
            if _PULLED.fullmatch(name) and not (folder / name).exists() and (room is None or room >= 0):
                self._get(name, folder, int(size))

    def _get(self, name: str, folder: Path, size: int) -> None:
        part = folder / f"{name}.part"
        with open(part, "ab", opener=_private) as target:
            values = {"run": self.run, "file": name, "at": target.tell()}
            answer, channel = self.connections.request("get", values)
            if "error" in answer:
                channel.close()
                raise BackendError(f"the session no longer has the value {name}")
            try:
                self._write(channel, target, size)
            except ValueError as problem:
                channel.close()
                target.truncate(0)
                raise ConnectionError(f"the value {name} was damaged: {problem}") from problem
            except BaseException:
                channel.close()
                raise
        self.connections.keep(channel)
        part.rename(folder / name)

    def _write(self, channel: Channel, target: BinaryIO, size: int) -> None:
        for piece in channel.pieces():
            if target.tell() + len(piece) > size:
                raise ValueError("it is larger than announced")
            target.write(piece)
            if self.is_stopped():
                raise Stopped


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def remove_parts(folder: Path) -> None:
    """Remove incomplete files of values that will not be received."""
    for part in folder.glob("*.part"):
        with contextlib.suppress(OSError):
            part.unlink()
