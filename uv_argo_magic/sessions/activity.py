"""Annotate the workflow of a session with its last use, for administrators who list sessions.

Rules:
- Annotations are written in threads, so that a cell never waits for one or fails because of it. If one is denied, this
  is not tried again.
- There is one annotation per EVERY seconds, and one at the end of a cell that was recorded as running.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from uv_argo_magic.errors import BackendError, BackendUnavailable

if TYPE_CHECKING:
    from uv_argo_magic.backends.sessions import RemoteSessions

EVERY = 300.0


@dataclass(kw_only=True)
class Activity:
    """The use of one session by this process. `noted_at` is the time of the last annotation (Unix seconds)."""

    backend: RemoteSessions
    address: str
    noted_at: float
    is_denied: bool = False
    _cells: int = 0
    """The number of running cells."""
    _used_at: float = 0.0
    _is_noted_running: bool = False
    _timer: threading.Timer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _noting: threading.Lock = field(default_factory=threading.Lock)
    """Held while an annotation is written, so that they arrive in order."""

    def begin(self) -> None:
        """Record the beginning of a cell."""
        self._count(1)

    def end(self) -> None:
        """Record the end of a cell."""
        self._count(-1)

    def _count(self, more: int) -> None:
        with self._lock:
            self._cells += more
            self._used_at = time.time()
            if self._is_noted_running and not self._cells:
                self._schedule(0.0)
            elif self._timer is None:  # a new thread for each cell would take longer than the cell
                self._schedule(max(0.0, self.noted_at + EVERY - self._used_at))

    def _schedule(self, seconds: float) -> None:
        """Schedule the next annotation after `seconds`, instead of the scheduled one."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.is_denied:
            self._timer = threading.Timer(seconds, self._note)
            self._timer.daemon = True
            self._timer.start()

    def _note(self) -> None:
        with self._noting:
            with self._lock:
                self._timer = None
                is_running = self._cells > 0
                self.noted_at = time.time()
                moment = self.noted_at if is_running else self._used_at
                self._is_noted_running = is_running
            try:
                self.backend.note_use(self.address, moment, is_running=is_running)
            except BackendUnavailable:
                pass  # the next annotation may succeed
            except BackendError:
                self.is_denied = True
        with self._lock:
            if self._cells and self._is_noted_running:
                self._schedule(EVERY)


_activities: dict[str, Activity] = {}
"""Address of a worker -> its use."""


def of(backend: RemoteSessions, address: str, started_at: float) -> Activity:
    """The use by this process of the session that was started at `started_at` (Unix seconds)."""
    return _activities.setdefault(address, Activity(backend=backend, address=address, noted_at=started_at))
