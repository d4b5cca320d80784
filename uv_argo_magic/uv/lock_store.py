"""The locks of notebooks, stored until an upgrade.

There is one file for each notebook and question, `ROOT/NOTEBOOK/QUESTION.json`; both names are digests. A question is
the whole input of a resolution (requirements, Python, settings, index). Another question, or the same one in another
notebook, is resolved again.

Rules:
- The lock of a notebook does not expire. Without a notebook (a terminal, an unknown path), a lock is valid for a day.
- A file that cannot be read is ignored and overwritten.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from typing import TYPE_CHECKING

from uv_argo_magic._os import atomic_write
from uv_argo_magic.core.resolution.lock import Lock

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = 1
MAX_AGE = 24 * 3600.0
"""Seconds for which a lock without a notebook is valid."""


class LockStore:
    """The locks of one notebook (its path, or ""), in `root`."""

    def __init__(self, root: Path, notebook: str = "") -> None:
        self._root = root
        self._notebook = notebook
        self._folder = root / hashlib.sha256(notebook.encode("utf-8", "surrogatepass")).hexdigest()[:20]

    def find(self, question: str) -> Lock | None:
        """The valid lock for this question (a digest)."""
        lock = _read(self._folder / f"{question}.json")
        # After the clock was set back, locks can be from the future; these are not valid either.
        if lock and not self._notebook and not 0 <= time.time() - lock.created_at < MAX_AGE:
            return None
        return lock

    def last_anywhere(self, question: str) -> Lock | None:
        """The newest lock for this question in any notebook, of any age; used if no index responds."""
        locks = [lock for path in self._root.glob(f"*/{question}.json") if (lock := _read(path))]
        return max(locks, key=lambda lock: lock.created_at, default=None)

    def names(self) -> frozenset[str]:
        """The packages of all locks of this notebook."""
        locks = [lock for path in self._folder.glob("*.json") if (lock := _read(path))]
        return frozenset(package.name for lock in locks for package in lock.packages)

    def keep(self, question: str, lock: Lock) -> None:
        """Store a lock.

        Raises:
            OSError: the disk is full, or cannot be written; nothing is stored.
        """
        self._sweep()
        document = {"schema": SCHEMA, "notebook": self._notebook, "lock": json.loads(lock.to_json())}
        atomic_write.write(self._folder / f"{question}.json", json.dumps(document, indent=1))

    def _sweep(self) -> None:
        """Remove old locks without a notebook."""
        if not self._notebook:
            for old in self._folder.glob("*.json"):
                with contextlib.suppress(OSError):  # another process was first
                    if time.time() - old.stat().st_mtime > MAX_AGE:
                        old.unlink()


def _read(path: Path) -> Lock | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != SCHEMA:
            return None
        return Lock.from_json(json.dumps(document["lock"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
