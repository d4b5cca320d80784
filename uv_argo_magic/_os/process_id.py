"""Which process is which: a mark that a process id keeps for as long as it lives, and no other process shares.

Rule: a process id alone says nothing, because ids are used again; the id with its start is one process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PLATFORM: str = sys.platform  # a plain name: the type checker would leave out what another system runs


def mark(pid: int) -> str:
    """When the process with this id started, in the system's own words; "" where there is none, or nobody can say."""
    if pid <= 0:
        return ""
    if PLATFORM == "linux":
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        # The name in parentheses may hold blanks and parentheses; what follows the last one is numbers.
        fields = text.rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    if os.name == "posix":
        command = ["ps", "-o", "lstart=", "-p", str(pid)]
        try:
            completed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return completed.stdout.strip()
    return ""


def alive(pid: int, started: str) -> bool:
    """Whether the very process that had this mark still lives."""
    return bool(started) and mark(pid) == started
