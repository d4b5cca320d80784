"""Write files atomically, so that neither a reader nor a crash ever leaves a partial file visible."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    """Write a temporary file and rename it; create the folder if it does not exist.

    Raises:
        OSError: the file cannot be written; the previous file is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        data = content.encode("utf-8") if isinstance(content, str) else content
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
