"""The writing side of one run's folder (store.py has its layout).

Rule: the cell of a quick run does not wait for the disk. A run that may be written `later` is written in a thread,
LATER seconds after the newest run began, so that cells in quick succession do not wait for it either; but at most
LATEST seconds after its own beginning, and before this process reads the history or ends.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from uv_argo_magic._os import atomic_write, process_id, threads
from uv_argo_magic.core.resolution.lock import Lock, Resolution
from uv_argo_magic.history.entry import HIDDEN, SCHEMA, summarize

if TYPE_CHECKING:
    from pathlib import Path

    from uv_argo_magic.core.protocol.state import RunState
    from uv_argo_magic.core.spec.run_spec import RunSpec
    from uv_argo_magic.history.store import History

_KEY = re.compile(r"[a-z][a-z0-9-]{0,31}")
LATER = 0.1
LATEST = 2.0


@dataclass(kw_only=True, eq=False, repr=False)
class RunFiles:
    """The writing side of one run's folder; `append` is for one thread.

    Every method raises OSError where the disk does not take it.
    """

    folder: Path
    history: History
    _held: _Held | None = None
    """The part that is not on the disk yet; None: everything is."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(
        self, first: dict[str, object], spec: RunSpec, resolution: Resolution, notes: dict[str, str], *, later: bool
    ) -> None:
        """Write what the run begins with, at once or later; `first` is what the spec does not have."""
        with self._lock:
            self._held = _Held(first=first, spec=spec, resolution=resolution, notes=notes)
            if later:
                _LATER.add(self)
            else:
                self._write()

    def append(self, text: str) -> None:
        """Add to the log, at once on disk as far as other processes see."""
        with self._lock:
            if self._held is not None:
                self._held.log.append(text)
                return
        self._append_to("log.txt", text)

    def note(self, key: str, value: str) -> None:
        """Keep a short text under a key ([a-z0-9-]); for `pid`, which process that is as well."""
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a key: {key!r}")
        notes = {"pid-started": process_id.mark(int(value)), key: value} if key == "pid" else {key: value}
        with self._lock:
            if self._held is not None:
                self._held.notes.update(notes)
                return
        for name, text in notes.items():
            atomic_write.write(self.folder / "notes" / name, text)

    def lock(self, resolution: Resolution) -> None:
        """Write what was resolved."""
        with self._lock:
            if self._held is not None:
                self._held.resolution = resolution
                return
        atomic_write.write(self.folder / "lock.json", _lock_document(resolution))

    def stop_asked(self) -> str:
        """Who requested a stop, perhaps in another process; "" if there is no request."""
        if self._held is None:
            with contextlib.suppress(OSError):
                return (self.folder / "notes" / "stop").read_text(encoding="utf-8")
        return ""

    def finish(self, state: RunState) -> None:
        """Write how it ended."""
        with self._lock:
            if self._held is not None:
                self._held.end = state
                return
        atomic_write.write(self.folder / "state.json", _end_document(state))

    def write_held(self) -> None:
        """Write what is not on the disk yet."""
        with self._lock:
            if self._held is not None:
                self._write()

    def _write(self) -> None:
        held, self._held = self._held, None
        if held is None:
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._append_to("lock.json", _lock_document(held.resolution))
        if held.log:
            self._append_to("log.txt", "".join(held.log))
        if held.end is not None:
            self._append_to("state.json", _end_document(held.end))
        # Last, and aside: a folder without it is not listed.
        document = {
            "schema": SCHEMA,
            **held.first,
            "notes": held.notes,
            "cell_digest": held.spec.cell_digest,
            "spec": masked(held.spec),
        }
        atomic_write.write(self.folder / "spec.json", json.dumps(document))

    def _append_to(self, name: str, text: str) -> None:
        descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace", newline="") as file:
            file.write(text)

    def must_make_room(self, interval: float) -> bool:
        """Whether this process has not made room for `interval` seconds.

        It reads every kept run: 40 ms, in which the next cell of a session has begun and ended.
        """
        return time.monotonic() - _pruned_at.get(self.history.root, -interval) >= interval

    def make_room(self) -> None:
        """Remove the oldest runs that ended, until the history's bounds hold."""
        _pruned_at[self.history.root] = time.monotonic()
        self.history.prune()


@dataclass(kw_only=True, eq=False, repr=False)
class _Held:
    """The part of a run that is not on the disk yet."""

    first: dict[str, object]
    spec: RunSpec
    resolution: Resolution
    notes: dict[str, str]
    log: list[str] = field(default_factory=list)
    end: RunState | None = None


def _lock_document(resolution: Resolution) -> str:
    if isinstance(resolution, Lock):
        return f'{{"schema": {SCHEMA}, "key": {json.dumps(resolution.key)}, "lock": {resolution.to_json()}}}'
    return json.dumps({"schema": SCHEMA, "unresolved": resolution.lines, "reason": resolution.reason})


def _end_document(state: RunState) -> str:
    return json.dumps({"schema": SCHEMA, **vars(summarize(state))})


def masked(spec: RunSpec) -> dict[str, object]:
    """The spec for the disk: without values of variables, pushed values, and passwords in URLs."""
    settings = vars(spec.settings) | {
        "variables": [[name, HIDDEN] for name, _ in spec.settings.variables],
        "index_url": _no_password(spec.settings.index_url),
        "indexes": [[name, _no_password(url)] for name, url in spec.settings.indexes],
    }
    return {
        "cell": spec.cell,
        "requirements": list(spec.requirements.lines),
        "needs_from": spec.requirements_source,
        "python": spec.python,
        "backend": spec.backend,
        "session": spec.session,
        "args": list(spec.args),
        "push": [[name, size, kind, form] for name, kind, size, form in spec.sent],
        "pull": list(spec.pull),
        "resources": vars(spec.resources),
        "settings": settings,
    }


def _no_password(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{HIDDEN}@{host}")) if "@" in parts.netloc else url


class _Later:
    """Writes runs some time after their beginning; the thread ends when there are none left."""

    def __init__(self) -> None:
        self._waiting: list[RunFiles] = []
        self._lock = threading.Lock()
        """Guards the other attributes."""
        self._writing = threading.Lock()
        """Held while runs are written, so that a reader of the history waits for them."""
        self._is_started = False
        self._oldest = self._newest = 0.0
        """When the runs that wait were added."""
        atexit.register(self.write)
        os.register_at_fork(after_in_child=self._forget)

    def add(self, files: RunFiles) -> None:
        """Write this run later."""
        with self._lock:
            self._newest = time.monotonic()
            self._oldest = self._oldest if self._waiting else self._newest
            self._waiting.append(files)
            must_start, self._is_started = not self._is_started, True
        if must_start:
            threads.start(self._run, "uv-argo-history")

    def write(self) -> None:
        """Write all of them now."""
        with self._writing:
            with self._lock:
                waiting, self._waiting = self._waiting, []
            for files in waiting:
                try:
                    files.write_held()
                except (OSError, ValueError) as problem:
                    sys.stderr.write(f"uv-argo: the run {files.folder.name} is not kept in the history: {problem}\n")

    def _run(self) -> None:
        while True:
            time.sleep(LATER)
            now = time.monotonic()
            if now - self._newest < LATER and now - self._oldest < LATEST:
                continue
            self.write()
            with self._lock:
                if not self._waiting:
                    self._is_started = False
                    return

    def _forget(self) -> None:
        """In a child process: the runs are the parent's, and so is the thread."""
        self.__dict__.update(_waiting=[], _lock=threading.Lock(), _writing=threading.Lock(), _is_started=False)


_LATER = _Later()
write_all = _LATER.write
"""Writes what this process has not written yet."""
_pruned_at: dict[Path, float] = {}
"""When the runs of a folder were last pruned by this process."""
