"""A mark that, with the process id, identifies one process.

Rule: ids are used again, so a process is identified by its id and its start.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

PLATFORM: str = sys.platform  # a plain name: the type checker would leave out what another system runs


def mark(pid: int) -> str:
    """When the process with this id started, as the system prints it; "" if it does not exist or is unreadable."""
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
    """Whether a process is suspended, as by Ctrl-Z or a debugger; False where the system does not tell (not Linux)."""
    fields = _fields(pid) if PLATFORM == "linux" and pid > 0 else []
    return bool(fields) and fields[0] in "Tt"


def _fields(pid: int) -> list[str]:
    """The state of a process and what follows it, as Linux has it; empty if it does not exist or is unreadable."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    # The name in parentheses may contain spaces and parentheses; what follows the last one is numbers.
    return text.rpartition(")")[2].split()


def host_name() -> str:
    """The name of this machine, in which process ids are unique; `socket` takes 2 ms to import."""
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


def own_mark() -> str:
    """The mark of this process; read once, for each cell of a session asks for it."""
    return _own_mark(os.getpid())


@functools.lru_cache(maxsize=1)
def _own_mark(pid: int) -> str:
    return mark(pid)


def alive(pid: int, started: str) -> bool:
    """Whether the process with this mark is alive."""
    return bool(started) and mark(pid) == started
