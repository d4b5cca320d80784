"""The attributes that a new process inherits, besides environment variables and open files."""

from __future__ import annotations

import os
import re
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    LIMITS = []
else:
    LIMITS = sorted({getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")})


def inherited() -> tuple[object, ...]:
    """The umask (where it can be read), priority, CPUs and limits of this process; equal values, equal attributes."""
    try:
        # `os.umask` would have to change it, also for files that other threads create meanwhile.
        umask = re.search(r"^Umask:\s*(\w+)", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        umask = None
    return (
        umask and umask[1],
        os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else 0,
        frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        tuple(resource.getrlimit(limit) for limit in LIMITS),
    )
