"""Wait for data: `select.select` supports only descriptors below 1024, and a kernel can have many open files."""

from __future__ import annotations

import select


def is_readable(fd: int, seconds: float | None = None) -> bool:
    """Whether data, or the end, can be read from the descriptor within some seconds (default: wait without limit)."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if seconds is None else max(0.0, seconds * 1000)))
