"""The client side of the worker's socket (guest/session/server.py): requests, responses, and the log of a cell."""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from uv_argo_magic._os import descriptors
from uv_argo_magic.core.protocol.whole_lines import whole_lines
from uv_argo_magic.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from uv_argo_magic.uv.interpreters import Interpreter

Message: TypeAlias = "dict[str, Any]"
ANSWER_SECONDS = 10.0
"""Seconds to wait for a response of the worker."""
CHUNK = 1 << 18
LONGEST = 1 << 20
"""Maximum bytes of the line of a frame, and of the data after it; a worker sends less, and more is refused."""
PIECE = 1 << 20
"""Bytes of a file that are sent in one frame."""
MOST_FREE = 2
"""Maximum connections to a worker that are kept for the next cells."""


@dataclass(kw_only=True)
class Channel:
    """One connection to a worker; only one thread at a time can use it."""

    sock: socket.socket
    token: str = field(repr=False)
    silence: float = 0.0
    """Seconds without a byte after which the worker is considered unreachable; 0: no limit, for a local worker."""
    _received: bytes = b""
    _sending: threading.Lock = field(default_factory=threading.Lock)

    def request(
        self, do: str, values: Mapping[str, object], body: bytes = b"", *, seconds: float = ANSWER_SECONDS
    ) -> Message:
        """Send a request, and return the response.

        Raises:
            BackendUnavailable: the worker has ended, or does not respond.
        """
        self.sock.settimeout(seconds)
        try:
            self.send(do, values, body)
        except OSError as problem:
            raise BackendUnavailable(f"the session does not respond: {problem}") from problem
        return self.answer()

    def answer(self) -> Message:
        """Receive the response to the request that was sent.

        Raises:
            BackendUnavailable: the worker has ended, or does not respond.
        """
        try:
            answer, data = self._receive()
        except (OSError, ValueError) as problem:
            raise BackendUnavailable(f"the session does not respond: {problem}") from problem
        return {**answer, "body": data.decode()} if data else answer

    def send(self, do: str, values: Mapping[str, object], body: bytes = b"") -> None:
        """Send a request.

        Raises:
            OSError: the worker has ended.
        """
        line = json.dumps({"do": do, "token": self.token, "size": len(body), **values}).encode() + b"\n"
        with self._sending:
            self.sock.sendall(line + body)

    def messages(self) -> Iterator[Message]:
        """All received messages; pings the worker if it is silent.

        Raises:
            OSError: the connection has ended, or the worker was silent for too long.
        """
        self.sock.settimeout(self.silence / 3 or None)
        pings = 0
        while True:
            try:
                message, _ = self._receive()
            except TimeoutError:
                if pings == 2:
                    raise
                pings += 1
                self.send("ping", {})
            else:
                pings = 0
                yield message

    def text(self) -> Iterator[str]:
        """The log that follows a response, in whole lines, until its end.

        Raises:
            OSError: the connection broke.
        """
        self.sock.settimeout(self.silence or None)
        return whole_lines(self._bodies())

    def _bodies(self) -> Iterator[bytes]:
        """The bytes of each frame, up to the frame with `end`."""
        message, data = self._receive()
        while "end" not in message:
            yield data
            message, data = self._receive()

    def pieces(self) -> Iterator[bytes]:
        """The file that follows a response, until its end.

        Raises:
            OSError: the connection broke.
            ValueError: the SHA-256 differs from that of the sent file.
        """
        self.sock.settimeout(self.silence or None)
        digest = hashlib.sha256()
        message, data = self._receive()
        while "end" not in message:
            digest.update(data)
            yield data
            message, data = self._receive()
        if message.get("sha256") != digest.hexdigest():
            raise ValueError("its SHA-256 does not match")

    def end(self) -> None:
        """Shut down the connection; the thread that reads it notices this, and closes it."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def is_ready(self, seconds: float) -> bool:
        """Whether data can be read within some seconds; False if the connection is closed."""
        if self._received or self.sock.fileno() < 0:
            return bool(self._received)
        return descriptors.is_readable(self.sock.fileno(), seconds)

    def _receive(self) -> tuple[Message, bytes]:
        """The next frame: a line of JSON, and the bytes after it."""
        while (end := self._received.find(b"\n")) < 0:
            if len(self._received) > LONGEST:
                raise OSError("it sent a line that is too long")
            self._read()
        message: Message = json.loads(self._received[:end])
        start, size = end + 1, int(message.pop("size", 0))
        if not 0 <= size <= LONGEST:
            raise OSError(f"it sent a frame of {size:,} bytes")
        while len(self._received) < start + size:
            self._read()
        body, self._received = self._received[start : start + size], self._received[start + size :]
        return message, body

    def _read(self) -> None:
        data = self.sock.recv(CHUNK)
        if not data:
            raise OSError("it closed the connection")
        self._received += data


@dataclass(kw_only=True)
class Connections:
    """The connections to one worker. One of them stays open: it holds the lease, and receives events."""

    connect: Callable[[], socket.socket]
    token: str = field(repr=False)
    client: str
    """The id of this process for the worker."""
    silence: float = 0.0
    """See `Channel.silence`."""
    on_event: Callable[[Message], object] = lambda _: None
    """Called for each event, in a thread."""
    interpreter: Interpreter | None = None
    """The Python that runs the cells, if known."""
    has_modules: bool = False
    """Whether the worker has the modules for a notebook's cell, so that further cells are sent without them."""
    _status: Message | None = None
    _free: list[Channel] = field(default_factory=list)
    _is_closed: bool = False
    _holding: Channel | None = None
    _answers: queue.SimpleQueue[Message] = field(default_factory=queue.SimpleQueue)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _has_read: list[str] = field(default_factory=list)
    """Runs whose logs were read, and about which the worker was not notified yet."""

    def open(self) -> Channel:
        """A new connection.

        Raises:
            BackendUnavailable: the worker does not listen.
        """
        try:
            return Channel(sock=self.connect(), token=self.token, silence=self.silence)
        except OSError as problem:
            raise BackendUnavailable(f"the session does not respond: {problem}") from problem

    def request(self, do: str, values: Mapping[str, object], body: bytes = b"") -> tuple[Message, Channel]:
        """Send a request; return the response and its connection. If a kept connection is broken, use a new one.

        Raises:
            BackendUnavailable: the worker does not respond.
        """
        values = self._with_read(values)
        with contextlib.suppress(IndexError, BackendUnavailable):
            channel = self._free.pop()
            return self._request(channel, do, values, body), channel
        channel = self.open()
        return self._request(channel, do, values, body), channel

    def send(self, do: str, values: Mapping[str, object], body: bytes = b"") -> Channel:
        """Send a request without waiting for the response, which arrives on the returned connection.

        Raises:
            BackendUnavailable: the worker does not listen.
        """
        try:
            channel = self._free.pop()
        except IndexError:
            channel = self.open()
        channel.sock.settimeout(ANSWER_SECONDS)
        try:
            channel.send(do, self._with_read(values), body)
        except OSError as problem:
            channel.close()
            raise BackendUnavailable(f"the session does not respond: {problem}") from problem
        except BaseException:
            channel.close()
            raise
        return channel

    def _with_read(self, values: Mapping[str, object]) -> Mapping[str, object]:
        if not self._has_read:
            return values
        read = self._has_read.copy()
        self._has_read.clear()
        return {**values, "read": read}

    def keep(self, channel: Channel) -> None:
        """Keep a connection for the next request; everything must have been read from it."""
        if len(self._free) < MOST_FREE and not self._is_closed:
            self._free.append(channel)
        else:
            channel.close()

    def has_read(self, run: str) -> None:
        """Report with the next request that the log of a run was read, so that the worker can remove it."""
        self._has_read.append(run)

    def ask(self, do: str, **values: object) -> Message:
        """Send a request, and return the response.

        Raises:
            BackendUnavailable: the worker does not respond.
        """
        answer, channel = self.request(do, values)
        self.keep(channel)
        return answer

    def ask_at_once(self, seconds: float, do: str, **values: object) -> Message | None:
        """Send a request, and return the response if it arrives within some seconds, else None.

        Raises:
            BackendUnavailable: the worker does not listen.
        """
        channel = self.open()
        try:
            return channel.request(do, values, seconds=seconds)
        except BackendUnavailable:
            return None
        finally:
            channel.close()

    @staticmethod
    def _request(channel: Channel, do: str, values: Mapping[str, object], body: bytes) -> Message:
        try:
            return channel.request(do, values, body)
        except BaseException:
            channel.close()
            raise

    @property
    def status(self) -> Message | None:
        """The last status of the idle worker; None if it can have changed, or this process is not the holder."""
        return self._status if self._holding is not None else None

    def forget_status(self) -> None:
        """Forget the status, because the worker gets more packages."""
        self._status = None

    def hold(self, **values: object) -> Message:
        """Become or remain the holder; return the worker's response.

        Raises:
            BackendUnavailable: the worker does not respond.
        """
        with self._lock:
            channel = self._holding  # the reading thread resets it when the connection ends
            if channel is None:
                self._holding = channel = self.open()
                self._answers = queue.SimpleQueue()
                reader = threading.Thread(
                    target=self._read, args=(channel, self._answers), name="uv-argo-session", daemon=True
                )
                reader.start()
            try:
                channel.send("hold", {"client": self.client, **values})
                answer = self._answers.get(timeout=ANSWER_SECONDS)
            except (OSError, queue.Empty) as problem:
                self._drop()
                raise BackendUnavailable(f"the session does not respond: {problem}") from problem
            if "gone" in answer:
                self._drop()
                raise BackendUnavailable(f"the session does not respond: {answer['gone']}")
            if "error" in answer:
                self._drop()
            elif not answer["status"]["running"] and not answer["status"]["queued"]:
                self._status = answer["status"]
            return answer

    def close(self) -> None:
        """End the connections and the lease; a later request opens a new connection."""
        self._is_closed = True
        self.reset()

    def reset(self) -> None:
        """End all connections after one was silent, because the others would not respond either."""
        with self._lock:
            self._drop()
        self._close_free()

    def _close_free(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._free.pop().close()

    def _read(self, channel: Channel, answers: queue.SimpleQueue[Message]) -> None:
        """Read the holder's connection until it ends; runs in a thread."""
        try:
            for message in channel.messages():
                if message.get("event") == "taken":
                    self._status = None
                elif "event" in message:
                    self.on_event(message)
                else:
                    answers.put(message)
        except (OSError, ValueError) as problem:
            answers.put({"gone": str(problem)})
        finally:
            if self._holding is channel:
                self._holding = self._status = None
            self._close_free()
            channel.close()

    def _drop(self) -> None:
        if self._holding is not None:
            self._holding.end()
            self._holding = self._status = None
