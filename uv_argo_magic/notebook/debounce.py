"""One thread that runs the newest task of an editor, and polls for changes by other programs.

Rules:
- A new task replaces a waiting one, and cancels a running one.
- A task can be delayed until the user pauses typing. Tasks do not wait for a kernel that is busy with a cell.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from uv_argo_magic.uv.runner import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_SECONDS = 1.0
"""Seconds between two polls."""


class DebouncedWorker:
    """The thread; it calls `poll` every `every` seconds while it has no task."""

    def __init__(self, poll: Callable[[], None], every: float = POLL_SECONDS) -> None:
        self._poll = poll
        self._every = every
        self._changed = threading.Condition()
        self._task: Callable[[threading.Event], None] | None = None
        self._due = 0.0
        self._cancelled = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="uv-argo-edit", daemon=True)
        self._thread.start()

    def submit(self, task: Callable[[threading.Event], None], after: float = 0.0) -> None:
        """Run the task in `after` seconds unless a newer one replaces it; its event is set to cancel it."""
        with self._changed:
            self._cancelled.set()
            self._task, self._due = task, time.monotonic() + after
            self._changed.notify()

    def close(self) -> None:
        """Cancel the task and end the thread."""
        with self._changed:
            self._closed = True
            self._cancelled.set()
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._closed and self._task is None:
                    self._changed.wait(self._every)
                while not self._closed and self._task is not None and (left := self._due - time.monotonic()) > 0:
                    self._changed.wait(left)
                if self._closed:
                    return
                task, self._task = self._task, None
                self._cancelled = cancelled = threading.Event()
            if task is None:
                self._poll()
            else:
                with contextlib.suppress(Cancelled):
                    task(cancelled)
