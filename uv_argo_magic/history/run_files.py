"""Write the folder of one run (store.py describes its layout).

Rule: a quick cell does not wait for the disk. If a run can be written `later`, a thread writes it LATER seconds after
the newest run began, so that quick successive cells do not wait either. It is written at most LATEST seconds after its
own beginning, and before this process reads the history or ends.
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
    """Writes the folder of one run; only one thread may call `append`.

    Every method raises OSError if the disk cannot be written.
    """

    folder: Path
    history: History
    _held: _Held | None = None
    """The part that is not on the disk yet; None if there is none."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(
        self, first: dict[str, object], spec: RunSpec, resolution: Resolution, notes: dict[str, str], *, later: bool
    ) -> None:
        """Write the beginning of the run, at once or later; `first` are the data that are not in the spec."""
        with self._lock:
            self._held = _Held(first=first, spec=spec, resolution=resolution, notes=notes)
            if later:
                _LATER.add(self)
            else:
                self._write()

    def append(self, text: str) -> None:
        """Add text to the log; unless the run is written later, other processes see it at once."""
        with self._lock:
            if self._held is not None:
                self._held.log.append(text)
                return
        self._append_to("log.txt", text)

    def note(self, key: str, value: str) -> None:
        """Store a short text with a key ([a-z0-9-]); for `pid`, also the start of that process."""
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
        """Write the resolution."""
        with self._lock:
            if self._held is not None:
                self._held.resolution = resolution
                return
        atomic_write.write(self.folder / "lock.json", _lock_document(resolution))

    def stop_asked(self) -> str:
        """Who requested a stop, possibly in another process; "" if there is no request."""
        if self._held is None:
            with contextlib.suppress(OSError):
                return (self.folder / "notes" / "stop").read_text(encoding="utf-8")
        return ""

    def finish(self, state: RunState) -> None:
        """Write the outcome of the run."""
        with self._lock:
            if self._held is not None:
                self._held.end = state
                return
        atomic_write.write(self.folder / "state.json", _end_document(state))

    def write_held(self) -> None:
        """Write the part that is not on the disk yet."""
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
        # Written last, by a rename, because a folder without this file is not listed.
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
        """Whether this process has not called `make_room` for `interval` seconds.

        That reads every stored run, which takes 40 ms, longer than a short cell of a session.
        """
        return time.monotonic() - _pruned_at.get(self.history.root, -interval) >= interval

    def make_room(self) -> None:
        """Remove the oldest runs that have ended, until the history is within its limits."""
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
    """The spec for the disk, without values of variables, pushed values, and passwords in URLs."""
    settings = vars(spec.settings) | {
        "variables": [[name, HIDDEN] for name, _ in spec.settings.variables],
        "index_url": _no_password(spec.settings.index_url),
        "indexes": [[name, _no_password(url)] for name, url in spec.settings.indexes],
        "find_links": [_no_password(link) for link in spec.settings.find_links],
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
    return re.sub(r"://[^/?#]*@", f"://{HIDDEN}@", url)


class _Later:
    """Writes runs some time after their beginning, in a thread that ends when there are no more."""

    def __init__(self) -> None:
        self._waiting: list[RunFiles] = []
        self._lock = threading.Lock()
        """Guards the other attributes."""
        self._writing = threading.Lock()
        """Held while runs are written, so that readers of the history wait for them."""
        self._is_started = False
        self._oldest = self._newest = 0.0
        """When the oldest and the newest waiting run were added."""
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
        """Write all waiting runs now."""
        with self._writing:
            with self._lock:
                waiting, self._waiting = self._waiting, []
            for files in waiting:
                try:
                    files.write_held()
                except (OSError, ValueError) as problem:
                    sys.stderr.write(f"uv-argo: the run {files.folder.name} is not stored in the history: {problem}\n")

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
        """Forget the runs and the thread in a forked process, because they belong to its parent."""
        self.__dict__.update(_waiting=[], _lock=threading.Lock(), _writing=threading.Lock(), _is_started=False)


_LATER = _Later()
write_all = _LATER.write
"""Writes all runs that this process has not written yet."""
_pruned_at: dict[Path, float] = {}
"""Folder -> when this process last removed old runs from it."""
