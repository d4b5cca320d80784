"""A client's side of the worker's socket (guest/session/server.py): requests, answers, and the log of a cell."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from uv_argo_magic.errors import BackendUnavailable

if TYPE_CHECKING:
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
        """Send a request; its answer.

        Raises:
            BackendUnavailable: the worker is gone, or does not answer.
        """
        self.sock.settimeout(ANSWER_SECONDS)
        try:
            self.send(do, values, body)
            answer: Message = json.loads(self._line())
        except (OSError, ValueError) as problem:
            raise BackendUnavailable(f"the session does not answer: {problem}") from problem
        return answer

    def send(self, do: str, values: Mapping[str, object], body: bytes = b"") -> None:
        """Send a request.

        Raises:
            OSError: the worker is gone.
        """
        line = json.dumps({"do": do, "token": self.token, "size": len(body), **values}).encode() + b"\n"
        self.sock.sendall(line + body)

    def messages(self) -> Iterator[Message]:
        """Every message that comes.

        Raises:
            OSError: the connection has ended.
        """
        self.sock.settimeout(None)
        while True:
            yield json.loads(self._line())

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

    def end(self) -> None:
        """End the connection; a thread that reads it notices, and closes it."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

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
    """Connects to one worker; holds its lease by one connection that stays open, and on which events come."""

    connect: Callable[[], socket.socket]
    token: str
    client: str
    """Identifies this process to the worker."""
    on_event: Callable[[Message], object] = lambda _: None
    """Called for each event, in a thread."""
    _holding: Channel | None = None
    _answers: queue.SimpleQueue[Message] = field(default_factory=queue.SimpleQueue)
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
                self._holding = channel = self.open()
                self._answers = queue.SimpleQueue()
                reader = threading.Thread(
                    target=self._read, args=(channel, self._answers), name="uv-argo-session", daemon=True
                )
                reader.start()
            try:
                self._holding.send("hold", {"client": self.client, **values})
                answer = self._answers.get(timeout=ANSWER_SECONDS)
            except (OSError, queue.Empty) as problem:
                self._drop()
                raise BackendUnavailable(f"the session does not answer: {problem}") from problem
            if "gone" in answer:
                self._drop()
                raise BackendUnavailable(f"the session does not answer: {answer['gone']}")
            if "error" in answer:
                self._drop()
            return answer

    def close(self) -> None:
        """Give up the lease."""
        with self._lock:
            self._drop()

    def _read(self, channel: Channel, answers: queue.SimpleQueue[Message]) -> None:
        """The thread: what comes on the holder's connection, until it ends."""
        try:
            for message in channel.messages():
                if "event" in message:
                    self.on_event(message)
                else:
                    answers.put(message)
        except (OSError, ValueError) as problem:
            answers.put({"gone": str(problem)})
        finally:
            channel.close()

    def _drop(self) -> None:
        if self._holding is not None:
            self._holding.end()
            self._holding = None
