"""The runs of this machine, stored on disk and found by their ID.

One folder a run under `data_dir()/runs`:

    spec.json    the spec (its secrets masked), the notebook, the process that follows the run, and its first notes
    lock.json    the lock
    log.txt      the whole log, appended as it comes
    state.json   how it ended
    notes/KEY    later notes, one short text a file: `pid`, `name` (in the backend), and `stop`, a request to stop

Rules:
- Each file states its schema. A folder that cannot be read, or states a newer schema, is left alone and not listed.
- JSON is written aside and renamed; many processes may write, each its own runs.
- At most `keep` runs and `max_bytes` bytes: the oldest that ended go first, a live run never goes.
- Files are the user's own (0600): a log holds whatever the cell printed.
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
"""How long the process that follows a run has to act on a request to stop it."""


@frozen
class RunList:
    """All runs as read once, newest first."""

    entries: tuple[RunRecord, ...]

    def find(self, name: str) -> RunRecord | None:
        """The run with this id, the beginning of its id, or its name in its backend; None if there is none.

        Raises:
            SpecError: there is more than one.
        """
        if any(entry.id.startswith(name) for entry in self.entries):
            return self.get(name)
        return next((entry for entry in self.entries if entry.note("name") == name), None)

    def get(self, prefix: str) -> RunRecord:
        """The run with this id, or the beginning of its id.

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
        """The newest run, or the newest of a notebook.

        Raises:
            SpecError: there is none.
        """
        for entry in self.entries:
            if notebook is None or entry.notebook == notebook:
                return entry
        raise SpecError("the history has no runs", hint='Run a cell first: %%argo --deps "numpy pandas"')


class History:
    """The runs kept under `root`, at most `keep` of them (0: any number) and about `max_bytes` together."""

    def __init__(self, root: Path, keep: int = 200, max_bytes: int = 1024**3) -> None:
        self.root = root
        self.keep = keep
        self.max_bytes = max_bytes

    def limited(self, keep: int) -> History:
        """The same runs, of which at most `keep` are kept."""
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
        """Make a run's folder; `nonce` is the one its log is written with, `image` the one it runs in ("": none).

        `later`: the files in it may be written a moment later; nothing is left of the run if this process is killed.

        Raises:
            BackendUnavailable: no folder can be made, or the disk is full.
        """
        if not _ID.fullmatch(run_id):
            raise ValueError(f"not a run id: {run_id!r}")
        try:
            folder = self.root / run_id
            if not (later and spec.session):  # the local backend writes output into it
                self.root.mkdir(parents=True, exist_ok=True)
                folder.mkdir(mode=0o700)
            files = RunFiles(folder=folder, history=self)
            first = {"run": run_id, "begun": time.time(), "notebook": notebook, "image": image, **_this_process()}
            files.begin(first, spec, resolution, {"nonce": nonce} if nonce else {}, later=later)
        except FileExistsError:  # one id is one run: that one stays as it is
            raise
        except OSError as problem:
            shutil.rmtree(self.root / run_id, ignore_errors=True)
            raise BackendUnavailable(f"cannot write the history: {problem}", hint=paths.WRITABLE) from problem
        return files

    def read(self) -> RunList:
        """Read every run once; look-ups in the result read nothing more."""
        run_files.write_all()
        try:
            folders = [Path(item.path) for item in os.scandir(self.root) if item.is_dir(follow_symlinks=False)]
        except OSError:
            return RunList(entries=())
        entries = [entry for entry in map(read_entry, folders) if entry]
        return RunList(entries=tuple(sorted(entries, key=lambda entry: (entry.begun, entry.id), reverse=True)))

    def list(self) -> tuple[RunRecord, ...]:
        """Every run, newest first."""
        return self.read().entries

    def find(self, name: str) -> RunRecord | None:
        """As `RunList.find`."""
        return self.read().find(name)

    def get(self, prefix: str) -> RunRecord:
        """As `RunList.get`."""
        return self.read().get(prefix)

    def last(self, notebook: str | None = None) -> RunRecord:
        """As `RunList.last`."""
        return self.read().last(notebook)

    def take_over(self, entry: RunRecord) -> RunFiles:
        """Continue the record of a run whose process is gone; its log is read from the beginning again.

        Raises:
            BackendUnavailable: it cannot be written.
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
        """A run's whole log, as it came.

        Raises:
            SpecError: there is no such run.
        """
        return self.get(run_id).log()

    def stop(self, entry: RunRecord, by: str) -> bool:
        """Request a stop of a run that any process of this machine started; whether it was live.

        The process that follows it acts on the request. After STOP_SECONDS without effect, the supervisor gets SIGTERM.
        """
        if not entry.live:
            return False
        atomic_write.write(entry.folder / "notes" / "stop", by)
        deadline = time.monotonic() + (STOP_SECONDS if entry.followed else 0.0)
        while time.monotonic() < deadline and not (entry.folder / "state.json").exists():
            time.sleep(0.05)
        if entry.supervised and not (entry.folder / "state.json").exists():
            with contextlib.suppress(OSError):
                os.kill(int(entry.note("pid")), signal.SIGTERM)
        return True

    def prune(self) -> None:
        """Remove the oldest runs that ended, until the bounds hold."""
        total, count = 0, 0
        for entry in self.list():
            size = _bytes(entry.folder)
            over = (self.keep and count >= self.keep) or total + size > self.max_bytes
            if over and count and not entry.live:
                # spec.json first: without it the run is not listed, even if the rest cannot be removed.
                with contextlib.suppress(OSError):
                    (entry.folder / "spec.json").unlink()
                shutil.rmtree(entry.folder, ignore_errors=True)
            else:
                total, count = total + size, count + 1


def _this_process() -> dict[str, object]:
    """Who follows a run: told from another process that gets the same number later."""
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
