"""Read the beginning of a cell's log through a port-forward, before the node provides the log (guest/early/output.py).

Rules:
- This is an optional copy of the log: its failure is not reported, and nothing waits for it.
- If a location denies a port-forward, this process does not try it again.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import json
import secrets
import time
from dataclasses import field
from typing import TYPE_CHECKING

from uv_argo_magic.backends import lookup
from uv_argo_magic.backends.argo.pod_workers import FIRST, PORT, next_pause
from uv_argo_magic.backends.kubernetes import port_forward
from uv_argo_magic.backends.kubernetes.rbac import Denied
from uv_argo_magic.backends.kubernetes.transport import TooEarly
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.errors import BackendError

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Iterator

    from uv_argo_magic.backends.argo.client import ArgoClient
    from uv_argo_magic.core.spec.run_spec import RunSpec

TICK = 0.5
"""Interval in seconds at which the thread checks whether it must end."""
_denied: set[str] = set()
"""Locations that do not let the user forward ports."""


@frozen
class EarlyOutput:
    """The client for the early output of one run, with the token that only this process has."""

    token: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)

    @property
    def options(self) -> str:
        """The value of UV_ARGO_EARLY for the guest."""
        return json.dumps({"port": PORT, "token": hashlib.sha256(self.token.encode()).hexdigest()})

    def lines(
        self, client: ArgoClient, pod: str, *, done: threading.Event, log_begun: threading.Event
    ) -> Iterator[str]:
        """The whole lines of the copy, from the first one on; none if the log begins before the connection exists."""
        pause, first_try = FIRST, time.monotonic()
        while not (done.is_set() or log_begun.is_set()):
            is_connected = False
            try:
                sock = port_forward.connect(client.transport, client.namespace, pod, PORT)
                with contextlib.closing(sock):
                    for text in self._copy(sock, done):
                        is_connected = True
                        yield text
            except TooEarly:
                pass
            except Denied:
                _denied.add(client.location)
                return
            except BackendError:
                return
            if is_connected:
                return
            done.wait(pause)  # the guest does not listen yet
            pause = next_pause(pause, first_try)

    def _copy(self, sock: socket.socket, done: threading.Event) -> Iterator[str]:
        decoder, rest = codecs.getincrementaldecoder("utf-8")("replace"), ""
        try:
            sock.settimeout(TICK)
            sock.sendall(f"{self.token}\n".encode())
            while not done.is_set():
                try:
                    data = sock.recv(1 << 16)
                except TimeoutError:
                    continue
                if not data:
                    return
                lines, newline, rest = (rest + decoder.decode(data)).rpartition("\n")
                if newline:
                    yield lines + newline
        except OSError:
            return


def client_for(client: ArgoClient, spec: RunSpec) -> EarlyOutput | None:
    """The client for a new run; None if the settings or the cluster do not allow early output."""
    allowed = lookup.can_send_early(spec) and client.sees_pods and client.location not in _denied
    return EarlyOutput() if allowed else None
