"""Waiting for what a test needs to have happened: however slow the machine is, it only waits longer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from uv_argo_magic.engine.run import Run

LIMIT = 60.0
"""Seconds after which something that has not happened never will."""

Found = TypeVar("Found")


def until(find: Callable[[], Found], what: object = "", *, seconds: float = LIMIT, pace: float = 0.01) -> Found:
    """The first true value of `find()`, called until there is one; `what` (or what it returns) explains the failure."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < deadline, what() if callable(what) else what or "it has not happened"
        time.sleep(pace)
    return found


def until_printed(run: Run, text: str) -> None:
    """Wait until a run that has not ended has printed this."""

    def printed() -> bool:
        has_ended = run.state.ended  # first: what it printed at its end counts
        found = text in run.logs()
        assert found or not has_ended, run.state
        return found

    until(printed, lambda: run.state)


def gated(gate: Path, end: str = "print('end')") -> str:
    """The text of a cell that prints "begun", waits for the file `gate`, and then does what `end` says."""
    return (
        "import pathlib, time\nprint('begun', flush=True)\n"
        f"while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.01)\n{end}"
    )
