"""A client's side of the worker's socket (guest/session/server.py): requests, answers, and the log of a cell."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from uv_argo_magic.errors import BackendUnavailable

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping

Message: TypeAlias = "dict[str, Any]"
ANSWER_SECONDS = 10.0
"""Seconds after which a worker that does not answer is given up."""
CHUNK = 1 << 18


@dataclass(kw_only=True)
class Channel:
    """One connection to a worker; usable by one thread at a time."""

    sock: socket.socket
    token: str
    rest: bytes = b""

    def request(self, do: str, values: Mapping[str, object], body: bytes = b"") -> Message:
        """Send a request; its answer. Events that come before it are left out.

        Raises:
            BackendUnavailable: the worker is gone, or does not answer.
        """
        line = json.dumps({"do": do, "token": self.token, "size": len(body), **values}).encode() + b"\n"
        self.sock.settimeout(ANSWER_SECONDS)
        try:
            self.sock.sendall(line + body)
            while True:
                answer: Message = json.loads(self._line())
                if "event" not in answer:
                    return answer
        except (OSError, ValueError) as problem:
            raise BackendUnavailable(f"the session does not answer: {problem}") from problem

    def text(self) -> Iterator[str]:
        """What follows an answer, in whole lines, until the worker ends it.

        Raises:
            OSError: the connection broke.
        """
        self.sock.settimeout(None)
        rest, self.rest = self.rest, b""
        data = rest
        rest = b""
        while True:
            if data:
                data = rest + data
                end = data.rfind(b"\n") + 1
                rest = data[end:]
                if end:
                    yield data[:end].decode("utf-8", "replace")
            data = self.sock.recv(CHUNK)
            if not data:
                break
        if rest:
            yield rest.decode("utf-8", "replace")

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def _line(self) -> bytes:
        while b"\n" not in self.rest:
            data = self.sock.recv(CHUNK)
            if not data:
                raise OSError("it closed the connection")
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return line


@dataclass(kw_only=True)
class Connections:
    """Connects to one worker; holds its lease by one connection that stays open."""

    connect: Callable[[], socket.socket]
    token: str
    client: str
    """Identifies this process to the worker."""
    _holding: Channel | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> Channel:
        """A new connection.

        Raises:
            BackendUnavailable: the worker does not listen.
        """
        try:
            return Channel(sock=self.connect(), token=self.token)
        except OSError as problem:
            raise BackendUnavailable(f"the session does not answer: {problem}") from problem

    def ask(self, do: str, **values: object) -> Message:
        """One request on a connection of its own.

        Raises:
            BackendUnavailable: the worker does not answer.
        """
        channel = self.open()
        with contextlib.closing(channel):
            return channel.request(do, values)

    def hold(self, **values: object) -> Message:
        """Become or stay the holder; the worker's answer.

        Raises:
            BackendUnavailable: the worker does not answer.
        """
        with self._lock:
            if self._holding is None:
                self._holding = self.open()
            try:
                answer = self._holding.request("hold", {"client": self.client, **values})
            except BackendUnavailable:
                self._drop()
                raise
            if "error" in answer:
                self._drop()
            return answer

    def close(self) -> None:
        """Give up the lease."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._holding is not None:
            self._holding.close()
            self._holding = None
