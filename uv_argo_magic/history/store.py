"""The history: runs of this machine, stored on disk and found by ID.

Each run has a folder in `data_dir()/runs`:

    spec.json    the spec (its secrets masked), the notebook, the process that follows the run, and its first notes
    lock.json    the lock
    log.txt      the whole log, appended as it is read
    state.json   the outcome
    notes/KEY    later notes, one short text per file: `pid`, `name` (in the backend), and `stop`, a request to stop

Rules:
- Each file contains its schema version. A folder that cannot be read, or has a newer schema, is ignored.
- JSON is written to a temporary file and renamed. Many processes can write at the same time, each its own runs.
- There are at most `keep` runs and `max_bytes` bytes. The oldest ended runs are removed first; live runs never are.
- Only the user can read the files (0600), because a log contains everything that the cell printed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from uv_argo_magic._os import atomic_write, paths, process_id
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.suggest import nearest
from uv_argo_magic.errors import BackendUnavailable, SpecError
from uv_argo_magic.history import run_files
from uv_argo_magic.history.entry import RunRecord, read_entry
from uv_argo_magic.history.run_files import RunFiles

if TYPE_CHECKING:
    from uv_argo_magic.core.resolution.lock import Resolution
    from uv_argo_magic.core.spec.run_spec import RunSpec

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
STOP_SECONDS = 3.0
"""Seconds in which the process that follows a run has to react to a stop request."""


@frozen
class RunList:
    """All runs, read once, newest first."""

    entries: tuple[RunRecord, ...]

    def find(self, name: str) -> RunRecord | None:
        """The run with this id (or a prefix of it) or this name in its backend; None if there is none.

        Raises:
            SpecError: there is more than one.
        """
        if any(entry.id.startswith(name) for entry in self.entries):
            return self.get(name)
        return next((entry for entry in self.entries if entry.note("name") == name), None)

    def get(self, prefix: str) -> RunRecord:
        """The run with this id, or a prefix of it.

        Raises:
            SpecError: there is none, or more than one.
        """
        matches = [entry for entry in self.entries if entry.id == prefix] or [
            entry for entry in self.entries if prefix and entry.id.startswith(prefix)
        ]
        if len(matches) == 1:
            return matches[0]
        if matches:
            names = ", ".join(entry.id for entry in matches[:5])
            raise SpecError(f"{len(matches)} runs begin with {prefix}", hint=f"Use a longer prefix; matches: {names}.")
        best = nearest(prefix, [entry.id for entry in self.entries])
        raise SpecError(
            f"no such run: {prefix}" + (f"; did you mean {best}?" if best else ""),
            hint="List them with the runs command." if self.entries else "The history has no runs.",
        )

    def last(self, notebook: str | None = None) -> RunRecord:
        """The newest run, or the newest run of a notebook.

        Raises:
            SpecError: there is none.
        """
        for entry in self.entries:
            if notebook is None or entry.notebook == notebook:
                return entry
        raise SpecError("the history has no runs", hint="Run a cell (%%argo) or a file (uv-argo run FILE.py) first.")


class History:
    """The runs stored in `root`: at most `keep` (0: any number), with a total of about `max_bytes`."""

    def __init__(self, root: Path, keep: int = 200, max_bytes: int = 1024**3) -> None:
        self.root = root
        self.keep = keep
        self.max_bytes = max_bytes

    def limited(self, keep: int) -> History:
        """The same history with another `keep`."""
        return History(self.root, keep=keep, max_bytes=self.max_bytes)

    def begin(  # noqa: PLR0913 - by keyword, most with a default
        self,
        run_id: str,
        *,
        spec: RunSpec,
        resolution: Resolution,
        notebook: str = "",
        nonce: str = "",
        image: str = "",
        later: bool = False,
    ) -> RunFiles:
        """Create the folder of a run; `nonce` is that of its records, `image` the image in which it runs, or "".

        With `later`, the files can be written a moment later; if this process is killed before, nothing is recorded.

        Raises:
            BackendUnavailable: the folder cannot be created, or the disk is full.
        """
        if not _ID.fullmatch(run_id):
            raise ValueError(f"not a run id: {run_id!r}")
        try:
            folder = self.root / run_id
            if not (later and spec.session):  # the local backend writes output into the folder
                self.root.mkdir(parents=True, exist_ok=True)
                folder.mkdir(mode=0o700)
            files = RunFiles(folder=folder, history=self)
            first = {"run": run_id, "begun": time.time(), "notebook": notebook, "image": image, **_this_process()}
            files.begin(first, spec, resolution, {"nonce": nonce} if nonce else {}, later=later)
        except FileExistsError:  # ids are unique: keep the existing run unchanged
            raise
        except OSError as problem:
            shutil.rmtree(self.root / run_id, ignore_errors=True)
            raise BackendUnavailable(f"cannot write the history: {problem}", hint=paths.WRITABLE) from problem
        return files

    def read(self) -> RunList:
        """Read all runs once; look-ups in the result do not read again."""
        run_files.write_all()
        try:
            folders = [Path(item.path) for item in os.scandir(self.root) if item.is_dir(follow_symlinks=False)]
        except OSError:
            return RunList(entries=())
        entries = [entry for entry in map(read_entry, folders) if entry]
        return RunList(entries=tuple(sorted(entries, key=lambda entry: (entry.begun, entry.id), reverse=True)))

    def list(self) -> tuple[RunRecord, ...]:
        """All runs, newest first."""
        return self.read().entries

    def find(self, name: str) -> RunRecord | None:
        """See `RunList.find`."""
        return self.read().find(name)

    def get(self, prefix: str) -> RunRecord:
        """See `RunList.get`."""
        return self.read().get(prefix)

    def last(self, notebook: str | None = None) -> RunRecord:
        """See `RunList.last`."""
        return self.read().last(notebook)

    def take_over(self, entry: RunRecord) -> RunFiles:
        """Continue the record of a run whose process has ended; its log is read again from the beginning.

        Raises:
            BackendUnavailable: the record cannot be written.
        """
        try:
            document = json.loads((entry.folder / "spec.json").read_text(encoding="utf-8"))
            for stale in ("log.txt", "notes/stop"):
                (entry.folder / stale).unlink(missing_ok=True)
            atomic_write.write(entry.folder / "spec.json", json.dumps(document | _this_process()))
        except OSError as problem:
            raise BackendUnavailable(f"cannot write the history: {problem}", hint=paths.WRITABLE) from problem
        return RunFiles(folder=entry.folder, history=self)

    def log(self, run_id: str) -> str:
        """The whole log of a run.

        Raises:
            SpecError: there is no such run.
        """
        return self.get(run_id).log()

    def stop(self, entry: RunRecord, by: str) -> bool:
        """Request a stop of a run that any process on this machine started; return whether the run was live.

        The process that follows the run handles the request. If it does not within STOP_SECONDS, or if the request
        cannot be written, the supervisor gets SIGTERM.

        Raises:
            BackendUnavailable: the request cannot be written, and this machine has no supervisor to signal.
        """
        if not entry.live:
            return False
        deadline = time.monotonic()
        try:
            atomic_write.write(entry.folder / "notes" / "stop", by)
            deadline += STOP_SECONDS if entry.followed else 0.0
        except OSError as problem:
            if not entry.supervised:
                raise BackendUnavailable(f"cannot write the history: {problem}", hint=paths.WRITABLE) from problem
        while time.monotonic() < deadline and not (entry.folder / "state.json").exists():
            time.sleep(0.05)
        if entry.supervised and not (entry.folder / "state.json").exists():
            with contextlib.suppress(OSError):
                os.kill(int(entry.note("pid")), signal.SIGTERM)
        return True

    def prune(self) -> None:
        """Remove the oldest runs that have ended, until the history is within its limits."""
        total, count = 0, 0
        for entry in self.list():
            size = _bytes(entry.folder)
            over = (self.keep and count >= self.keep) or total + size > self.max_bytes
            if over and count and not entry.live:
                # spec.json first, so that the run is not listed even if the rest cannot be removed.
                with contextlib.suppress(OSError):
                    (entry.folder / "spec.json").unlink()
                shutil.rmtree(entry.folder, ignore_errors=True)
            else:
                total, count = total + size, count + 1


def _this_process() -> dict[str, object]:
    """The process that follows a run, with its start time, since a later process can get the same id."""
    return {"pid": os.getpid(), "started": process_id.own_mark(), "host": process_id.host_name()}


def _bytes(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for item in os.scandir(folder):
            with contextlib.suppress(OSError):
                if item.is_dir(follow_symlinks=False):
                    total += _bytes(Path(item.path))
                elif item.is_file(follow_symlinks=False):
                    total += item.stat(follow_symlinks=False).st_size
    return total
