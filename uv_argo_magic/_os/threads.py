"""Reuse daemon threads, because starting one takes a tenth of the time of a session's cell."""

from __future__ import annotations

import os
import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_IDLE = 4
IDLE = "uv-argo-idle"
_idle: list[SimpleQueue[tuple[Callable[[], object], str]]] = []
"""The queues of the idle threads, the most recently used last."""


def start(call: Callable[[], object], name: str) -> None:
    """Run the call in a thread with this name."""
    try:
        calls = _idle.pop()
    except IndexError:
        calls = SimpleQueue()
        threading.Thread(target=_run, args=(calls,), name=IDLE, daemon=True).start()
    calls.put((call, name))


def _run(calls: SimpleQueue[tuple[Callable[[], object], str]]) -> None:
    thread = threading.current_thread()
    while True:
        call, thread.name = calls.get()
        try:
            call()
        except BaseException:  # noqa: BLE001 - reported like the exception of any other thread
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), thread)))
        del call  # and the objects that it references
        thread.name = IDLE
        if len(_idle) >= MOST_IDLE:
            return
        _idle.append(calls)


os.register_at_fork(after_in_child=_idle.clear)
