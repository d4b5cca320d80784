"""The entry point of `uv-argo` (the commands are in commands/terminal.py).

Rule: the process that `uv-argo run` needs is started before our modules are imported, because both take equally long.
"""

from __future__ import annotations

import gc
import sys

from uv_argo_magic.backends import prestart

TYPE_CHECKING = False  # importing `typing` would delay the start of the process
if TYPE_CHECKING:
    from collections.abc import Sequence

YOUNG_OBJECTS = 50_000
"""New objects between two garbage collections. Python's default is 700, but imports create no garbage."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: that of this process), and return the exit status."""
    is_own_process = argv is None
    arguments = sys.argv[1:] if argv is None else argv
    if is_own_process:
        gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
        prestart.begin(arguments)
    from uv_argo_magic.commands import terminal  # noqa: PLC0415 - 50 ms, during which the new process starts

    status = terminal.main(arguments)
    if is_own_process:
        gc.freeze()  # avoids a last garbage collection at exit, which takes 10 ms
    return status
