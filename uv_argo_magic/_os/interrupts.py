"""Delay signals that raise exceptions, such as interrupts, while an exception would lose or repeat something."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextlib.contextmanager
def delayed(*, can_block: bool = False) -> Iterator[None]:
    """Delay SIGINT, SIGTERM and SIGHUP until the end of the `with` block, if they have handlers in Python.

    If the block `can_block`, a second signal is handled at once. In other threads than the main one, which never run
    handlers, this does nothing.
    """
    came: list[tuple[int, FrameType | None]] = []
    handlers: dict[int, Any] = {}

    def delay(number: int, frame: FrameType | None) -> None:
        came.append((number, frame))
        if can_block and len(came) > 1:
            handlers[number](number, frame)

    try:
        if threading.current_thread() is threading.main_thread():
            for number in NUMBERS:
                handler = signal.getsignal(number)
                if callable(handler):
                    handlers[number] = handler
                    signal.signal(number, delay)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number, frame in came[:1]:
        handlers[number](number, frame)
