"""Connect to a port of a pod through the API: a local socket in front of the websocket of `pods/portforward`.

Rules:
- wsproto implements the protocol; urllib3 provides TLS, client certificates and proxies. The port-forward of the
  kubernetes package has no timeouts, reads only 1 MB/s, and replaces a method of the client while it opens.
- One thread moves the bytes of all connections without blocking. If the reader of a connection is slow, WINDOW bytes
  are buffered, and then the sender has to wait.
- The protocol has no half-close: if one side ends a connection, it is closed.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from uv_argo_magic.backends.kubernetes.rbac import Denied, Rule
from uv_argo_magic.backends.kubernetes.transport import NotLoggedIn, TooEarly
from uv_argo_magic.errors import BackendError, BackendUnavailable

if TYPE_CHECKING:
    from uv_argo_magic.backends.kubernetes.transport import HttpTransport

RULE = Rule("", "pods/portforward", ("get", "create"))
"""The required permission: a websocket needs `get`, and since Kubernetes 1.35 also `create`."""
PROTOCOL = "v4.channel.k8s.io"
DATA, ERROR = 0, 1
"""Channels; the first byte of each message is the channel."""
FRAME = 32 * 1024 - 1
"""Bytes of data in a message: as many as the API server sends. It refuses messages of 32 MiB."""
WINDOW = 1 << 20
OTHERWISE = "Cells without --session work."
HANDSHAKE = 10.0
"""Seconds for the response to the upgrade."""
LINGER = 10.0
"""Seconds for sending the remaining data after the local side has closed the connection."""


def connect(transport: HttpTransport, namespace: str, pod: str, port: int) -> socket.socket:
    """A socket connected to the port of the pod. It is closed at once if nothing listens on the port.

    Raises:
        TooEarly: the pod does not exist yet, or its node has not prepared it, or it has ended.
        Denied: the user lacks the permission RULE.
        BackendUnavailable: the API does not respond, or a proxy does not pass websockets.
    """
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward?ports={port}"
    pool = transport.session.pool
    try:
        far, protocol = _open(transport, namespace, path)
    except NotLoggedIn:
        transport.session.renew(pool)
        far, protocol = _open(transport, namespace, path)
    near, ours = socket.socketpair()
    _pump().add(_Link(far, protocol, ours))
    return near


def _open(transport: HttpTransport, namespace: str, path: str) -> tuple[socket.socket, Any]:
    """The connection after the upgrade, and its wsproto state."""
    far = transport.open_socket()
    try:
        far.settimeout(HANDSHAKE)
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        protocol, status, body = _upgrade(far, transport, path)
    except (OSError, RemoteProtocolError) as problem:
        far.close()
        raise BackendUnavailable(
            f"cannot connect to the pod through {transport.location}: {str(problem) or type(problem).__name__}",
            hint=f"A proxy between this machine and the cluster may block websockets. {OTHERWISE}",
        ) from problem
    except BaseException:
        far.close()
        raise
    if status != 101:
        far.close()
        raise _refused(transport, namespace, status, body)
    return far, protocol


def _upgrade(far: socket.socket, transport: HttpTransport, path: str) -> tuple[Any, int, bytes]:
    """The wsproto state after the response, its status, and the beginning of its body, for an error message."""
    url = urlsplit(transport.session.host)
    headers = [(name.encode(), value.encode()) for name, value in transport.session.headers().items()]
    protocol = WSConnection(ConnectionType.CLIENT)
    target = url.path.rstrip("/") + path
    far.sendall(protocol.send(Request(host=url.netloc, target=target, subprotocols=[PROTOCOL], extra_headers=headers)))
    status, body = 0, b""
    while True:
        data = far.recv(65536)
        protocol.receive_data(data or None)
        is_complete = not data
        for event in protocol.events():
            match event:
                case AcceptConnection():
                    return protocol, 101, b""
                case RejectConnection():
                    status, is_complete = event.status_code, not event.has_body
                case RejectData():
                    body, is_complete = body + event.data, event.body_finished
                case _:
                    is_complete = True
        if is_complete or len(body) > 65536:
            return protocol, status, body


def _refused(transport: HttpTransport, namespace: str, status: int, body: bytes) -> BackendError:
    """The error for a response other than the upgrade."""
    text = body.decode("utf-8", "replace")
    if status == 403 and not body:
        return BackendUnavailable(f"the API of {transport.location} does not support {PROTOCOL}", hint=OTHERWISE)
    if status == 400 and "pgrade request required" in text:
        return BackendUnavailable(
            f"a proxy in front of {transport.location} blocks websockets",
            hint=f"Ask your administrator to allow them. {OTHERWISE}",
        )
    if status == 0:
        return BackendUnavailable(f"{transport.location} ended the connection to the pod", hint=OTHERWISE)
    if status in {400, 404} or (status == 500 and "pod not found" in text):
        return TooEarly(f"the pod cannot be reached yet: {text[:200]}")
    try:
        transport.check(status, body)
    except Denied as problem:
        if "ValidatingAdmissionPolicy" in text or "webhook" in text:
            return problem
        hint = f"Ask your administrator for a Role with this rule: {RULE}. {OTHERWISE}"
        # If `create` is missing, the message of Kubernetes 1.35 has no reason, and ends with a colon.
        missing = "create" if str(problem).rstrip().endswith(":") else "get"
        return Denied(f"you cannot {missing} pods/portforward in the namespace {namespace}", hint=hint)
    except BackendError as problem:
        return problem
    return BackendUnavailable(f"{transport.location} responded to the websocket upgrade with status {status}")


class _Link:
    """One connection: `far` is the websocket, `near` is this module's end of the local socket pair."""

    def __init__(self, far: socket.socket, protocol: Any, near: socket.socket) -> None:
        self.far, self.protocol, self.near = far, protocol, near
        self.to_far: deque[bytes] = deque()
        self.sending = memoryview(b"")  # after a write that would block, TLS requires the same bytes again
        self.to_near = bytearray()
        self.channel = -1  # channel of the message being received
        self.opened: set[int] = set()  # channels whose first message, the port, was received
        self.far_ended = self.near_ended = False
        self.end_at = 0.0
        for sock in (far, near):
            sock.setblocking(False)

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to move."""
        if self.near_ended:
            return self.far_ended or not (self.sending or self.to_far) or time.monotonic() > self.end_at
        return self.far_ended and not self.to_near

    def wants(self) -> tuple[int, int]:
        """The events to wait for at `far` and at `near`."""
        read, write = selectors.EVENT_READ, selectors.EVENT_WRITE
        far = (read if len(self.to_near) < WINDOW else 0) | (write if self.sending or self.to_far else 0)
        near = (0 if self.to_far or self.far_ended else read) | (write if self.to_near else 0)
        return 0 if self.far_ended else far, 0 if self.near_ended else near

    def move(self) -> bool:
        """Move all bytes that can be moved now; return whether there may be more."""
        try:
            for _ in range(32):
                moved = self._receive() + self._deliver() + self._take() + self._send()
                if not moved:
                    return False
        except LocalProtocolError:  # the other side closed it; the thread must continue for other links
            self._end_far()
        return True

    def _receive(self) -> int:
        """Read from `far`."""
        if self.far_ended or len(self.to_near) >= WINDOW:
            return 0
        try:
            data = self.far.recv(262144)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except OSError:
            data = b""
        if not data:
            self._end_far()
            return 1
        self.protocol.receive_data(data)
        self.parse()
        return len(data)

    def parse(self) -> None:
        """Process the received messages."""
        try:
            for event in self.protocol.events():
                match event:
                    case BytesMessage() | TextMessage():
                        data = event.data if isinstance(event, BytesMessage) else event.data.encode()
                        self._message(bytes(data), is_last=event.message_finished)
                    case Ping():
                        self.to_far.append(self.protocol.send(event.response()))
                    case CloseConnection():
                        self._end_far()
                    case _:
                        pass
        except RemoteProtocolError:
            self._end_far()

    def _message(self, data: bytes, *, is_last: bool) -> None:
        if self.channel < 0 and data:
            self.channel, data = data[0], data[1:]
            is_port = self.channel not in self.opened
            self.opened.add(self.channel)
            if is_port:
                self.channel |= 0x100  # so that this message is ignored
        if self.channel == DATA:
            self.to_near += data
        elif self.channel == ERROR and data:
            self._end_far()
        if is_last:
            self.channel = -1

    def _deliver(self) -> int:
        """Write to `near`."""
        if self.near_ended or not self.to_near:
            return 0
        try:
            count = self.near.send(self.to_near)
        except BlockingIOError:
            return 0
        except OSError:
            self._end_near()
            return 1
        del self.to_near[:count]
        return count

    def _take(self) -> int:
        """Read from `near`."""
        if self.near_ended or self.far_ended or self.to_far:
            return 0
        try:
            data = self.near.recv(FRAME)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self._end_near()
            return 1
        self.to_far.append(self.protocol.send(BytesMessage(data=bytes([DATA]) + data)))
        return len(data)

    def _send(self) -> int:
        """Write to `far`."""
        if self.far_ended or not (self.sending or self.to_far):
            return 0
        if not self.sending:
            self.sending = memoryview(self.to_far.popleft())
        try:
            count = self.far.send(self.sending)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except OSError:
            self._end_far()
            return 1
        self.sending = self.sending[count:]
        return count

    def _end_far(self) -> None:
        self.far_ended = True
        self.sending = memoryview(b"")
        self.to_far.clear()

    def _end_near(self) -> None:
        self.near_ended = True
        self.to_near.clear()
        self.end_at = time.monotonic() + LINGER

    def close(self) -> None:
        """Close both sides."""
        for sock in (self.far, self.near):
            with contextlib.suppress(OSError):
                sock.close()


class _Pump:
    """The thread that moves the bytes of all links."""

    def __init__(self) -> None:
        self.links: set[_Link] = set()
        self._new: deque[_Link] = deque()
        self._more: set[_Link] = set()
        self._wake, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._woken, selectors.EVENT_READ)
        threading.Thread(target=self._run, name="uv-argo-port-forward", daemon=True).start()

    def add(self, link: _Link) -> None:
        """Start serving a link."""
        self._new.append(link)
        self._wake.send(b"\0")

    def _run(self) -> None:
        is_more = False
        while True:
            closing = [link.end_at - time.monotonic() for link in self.links if link.near_ended]
            ready = self._selector.select(0 if is_more else max(0.0, min(closing)) if closing else None)
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(4096)
            links = {key.data for key, _ in ready if key.data is not None}
            links |= {link for link in self.links if link.near_ended} if closing else set()
            links |= self._more if is_more else set()
            while self._new:
                link = self._new.popleft()
                link.parse()  # data received together with the upgrade
                self.links.add(link)
                links.add(link)
            self._more = {link for link in links if link.move()}
            is_more = bool(self._more)
            for link in links:
                self._wait_for(link)

    def _wait_for(self, link: _Link) -> None:
        """Register the events that the link waits for; close it if it is done."""
        for sock, events in zip((link.far, link.near), link.wants(), strict=True):
            known = self._selector.get_map().get(sock.fileno()) if sock.fileno() >= 0 else None
            if known is not None and (link.is_done or not events):
                self._selector.unregister(sock)
            elif known is not None and known.events != events:
                self._selector.modify(sock, events, link)
            elif known is None and events and not link.is_done:
                self._selector.register(sock, events, link)
        if link.is_done:
            self.links.discard(link)
            self._more.discard(link)
            link.close()

    def forget(self) -> None:
        """Close all sockets in a forked process, without ending the connections of its parent."""
        for link in (*self.links, *self._new):
            link.near.close()
            os.close(link.far.detach())  # without a TLS close message


_lock = threading.Lock()
_running: _Pump | None = None


def _pump() -> _Pump:
    global _running  # noqa: PLW0603 - one thread for the process
    with _lock:
        if _running is None:
            _running = _Pump()
        return _running


def _after_fork() -> None:
    global _running, _lock  # noqa: PLW0603 - as above
    _lock = threading.Lock()
    if _running is not None:
        _running.forget()
        _running = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
