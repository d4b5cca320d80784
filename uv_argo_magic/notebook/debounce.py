"""One thread that does the newest wish of an editor, and looks now and then whether the world has changed.

Rules:
- Only the last wish counts: one that waits is dropped for it, one that is being done is told so.
- A wish may wait a little, for the next key stroke; none waits for a kernel that is busy with a cell.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from uv_argo_magic.uv.runner import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK = 1.0
"""Seconds between two looks."""


class Checker:
    """The thread; `look` is called each second while nothing else is to be done."""

    def __init__(self, look: Callable[[], None], every: float = LOOK) -> None:
        self._look = look
        self._every = every
        self._something = threading.Condition()
        self._wish: Callable[[threading.Event], None] | None = None
        self._due = 0.0
        self._cancelled = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="uv-argo-edit", daemon=True)
        self._thread.start()

    def ask(self, wish: Callable[[threading.Event], None], after: float = 0.0) -> None:
        """Have this done in `after` seconds unless something else is asked by then; its event says: stop."""
        with self._something:
            self._cancelled.set()
            self._wish, self._due = wish, time.monotonic() + after
            self._something.notify()

    def close(self) -> None:
        """End the thread, and what it does."""
        with self._something:
            self._closed = True
            self._cancelled.set()
            self._something.notify()

    def _work(self) -> None:
        while True:
            with self._something:
                if not self._closed and self._wish is None:
                    self._something.wait(self._every)
                while not self._closed and self._wish is not None and (left := self._due - time.monotonic()) > 0:
                    self._something.wait(left)
                if self._closed:
                    return
                wish, self._wish = self._wish, None
                self._cancelled = cancelled = threading.Event()
            if wish is None:
                self._look()
            else:
                with contextlib.suppress(Cancelled):
                    wish(cancelled)
