"""Identify a process by its id and its start time, because the system reuses ids."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

PLATFORM: str = sys.platform  # the type checker skips branches for other values of sys.platform itself


def mark(pid: int) -> str:
    """The start time of the process, in the format of the system; "" if it does not exist or cannot be read."""
    if pid <= 0:
        return ""
    if PLATFORM == "linux":
        fields = _fields(pid)
        return fields[19] if fields and fields[0] not in "ZX" else ""
    if os.name == "posix":
        command = ["ps", "-o", "lstart=", "-p", str(pid)]
        try:
            completed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return completed.stdout.strip()
    return ""


def is_stopped(pid: int) -> bool:
    """Whether the process is suspended, for example by Ctrl-Z or a debugger; only on Linux, elsewhere False."""
    fields = _fields(pid) if PLATFORM == "linux" and pid > 0 else []
    return bool(fields) and fields[0] in "Tt"


def _fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; [] if the process does not exist or cannot be read."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    # The name is in parentheses, and can itself contain spaces and parentheses.
    return text.rpartition(")")[2].split()


def host_name() -> str:
    """The name of this machine, without the 2 ms for importing `socket`."""
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


def own_mark() -> str:
    """The mark of this process; cached, because each cell of a session needs it."""
    return _own_mark(os.getpid())


@functools.lru_cache(maxsize=1)
def _own_mark(pid: int) -> str:
    return mark(pid)


def alive(pid: int, started: str) -> bool:
    """Whether the process with this id and the mark `started` is alive."""
    return bool(started) and mark(pid) == started
