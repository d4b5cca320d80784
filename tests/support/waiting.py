"""Wait for events in tests; on a slow machine, a test only takes longer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from uv_argo_magic.engine.run import Run

LIMIT = 60.0
"""Seconds after which an event is assumed never to happen."""

Found = TypeVar("Found")


def until(find: Callable[[], Found], what: object = "", *, seconds: float = LIMIT, pace: float = 0.01) -> Found:
    """Call `find()` until it returns a true value, and return that; `what` (or its result) explains a failure."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < deadline, what() if callable(what) else what or "it has not happened"
        time.sleep(pace)
    return found


def until_printed(run: Run, text: str) -> None:
    """Wait until a run that has not ended has printed the text."""

    def printed() -> bool:
        has_ended = run.state.ended  # read first, since output at the end of the run counts too
        found = text in run.logs()
        assert found or not has_ended, run.state
        return found

    until(printed, lambda: run.state)


def gated(gate: Path, end: str = "print('end')") -> str:
    """A cell that prints "begun", waits for the file `gate`, and then runs the code `end`."""
    return (
        "import pathlib, time\nprint('begun', flush=True)\n"
        f"while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.01)\n{end}"
    )
