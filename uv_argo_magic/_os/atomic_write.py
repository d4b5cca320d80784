"""Writes files atomically: no reader sees a partial file, and no crash leaves one."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    """Write aside, then rename; the folder is made where it is not there.

    Raises:
        OSError: the disk does not take it; what was there before stays as it was.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        data = content.encode("utf-8") if isinstance(content, str) else content
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
