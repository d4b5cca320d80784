"""`uv-argo COMMAND`: the process of a command (commands/terminal.py).

Rule: what `uv-argo run` will need is started before our modules are imported, which takes as long.
"""

from __future__ import annotations

import gc
import sys

from uv_argo_magic.backends import prestart

TYPE_CHECKING = False  # `typing` would be imported before the process starts
if TYPE_CHECKING:
    from collections.abc import Sequence

YOUNG_OBJECTS = 50_000
"""New objects between two collections; what imports make is not garbage, and Python looks at it every 700 objects."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: that of this process); the exit status."""
    is_own_process = argv is None
    words = sys.argv[1:] if argv is None else argv
    if is_own_process:
        gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
        prestart.begin(words)
    from uv_argo_magic.commands import terminal  # noqa: PLC0415 - 50 ms, in which what was just started gets ready

    status = terminal.main(words)
    if is_own_process:
        gc.freeze()  # Python would look for garbage once more, 10 ms, and then give all memory back
    return status
