"""Record a run in the history while it runs.

Rule: if a write fails, the run continues without being recorded, and one line on stderr reports this.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.core.resolution.lock import Resolution
    from uv_argo_magic.history.run_files import RunFiles

ROOM_SECONDS = 10.0
"""Seconds between two checks of the size of the history."""


class Recorder:
    """Writes the files of a run; without files, it does nothing. Only one thread may call `append`."""

    def __init__(self, files: RunFiles | None) -> None:
        self._files = files
        self._folder = files.folder if files is not None else None

    @property
    def values_folder(self) -> Path | None:
        """The folder of files with values of this run; it remains known after a failed write."""
        return self._folder / "values" if self._folder is not None else None

    def append(self, text: str) -> None:
        """Add text to the log."""
        self._write(lambda files: files.append(text))

    def note(self, key: str, value: str) -> None:
        """Store a short text with a key."""
        self._write(lambda files: files.note(key, value))

    def lock(self, resolution: Resolution) -> None:
        """Store the resolution."""
        self._write(lambda files: files.lock(resolution))

    def finish(self, state: RunState) -> None:
        """Store the outcome."""
        self._write(lambda files: files.finish(state))

    def must_make_room(self) -> bool:
        """Whether the size of the history was not checked recently."""
        return self._files is not None and self._files.must_make_room(ROOM_SECONDS)

    def make_room(self) -> None:
        """Remove the oldest runs, until the history is within its limits."""
        self._write(lambda files: files.make_room())

    def stop_asked(self) -> str:
        """Who requested a stop, possibly in another process; "" if there is no request."""
        return self._files.stop_asked() if self._files is not None else ""

    def _write(self, write: Callable[[RunFiles], None]) -> None:
        files = self._files
        if files is None:
            return
        try:
            write(files)
        except (OSError, ValueError) as problem:
            self._files = None
            sys.stderr.write(f"uv-argo: the rest of this run is not stored in the history: {problem}\n")
