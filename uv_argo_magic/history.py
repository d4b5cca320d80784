"""The runs of this machine, on disk: what ran, with what, where and how it ended; found again by their id.

One folder a run under `data_dir()/runs`:

    spec.json    what was wanted (the secrets in it masked), the notebook, and the process that follows the run
    lock.json    what was resolved
    log.txt      the whole log, appended as it comes
    state.json   how it ended; not there before
    notes/KEY    one short text a file, from the backend (`pid`, `nonce`), and `stop`, the wish that it end

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
import socket
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from uv_argo_magic import processes
from uv_argo_magic.core import events as ev
from uv_argo_magic.core.lock import Lock, Resolution, Unresolved
from uv_argo_magic.core.options import nearest
from uv_argo_magic.core.state import RunState, fold
from uv_argo_magic.errors import BackendUnavailable, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.core.spec import RunSpec

SCHEMA = 1
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_KEY = re.compile(r"[a-z][a-z0-9-]{0,31}")


def output_metadata(state: RunState, spec: RunSpec, lock: Resolution) -> dict[str, object]:
    """What is written into the metadata of a cell's output: enough to find the run again, and no more."""
    key = lock.key if isinstance(lock, Lock) else ""
    return {"uv_argo": {"schema": SCHEMA, "run": state.run, "lock": key, "cell": spec.cell_digest}}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The text twin of a run's last state. Times are Unix seconds; `evalue` is cut at 2000 characters."""

    outcome: str
    name: str = ""
    place: str = ""
    stages: tuple[tuple[str, float], ...] = ()
    ended: float = 0.0
    exit: int | None = None
    reason: str = ""
    ename: str = ""
    evalue: str = ""
    packages: tuple[tuple[str, str], ...] = ()
    install_seconds: float = 0.0
    stop_asked: str = ""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One kept run; `summary` is None until it ended. `begun` is Unix seconds, `cell` the cell's text."""

    id: str
    folder: Path
    begun: float
    cell: str
    cell_digest: str
    backend: str
    python: str = ""
    notebook: str = ""
    requirements: tuple[str, ...] = ()
    pid: int = 0
    started: str = ""
    host: str = ""
    summary: Summary | None = None

    @property
    def live(self) -> bool:
        """Whether it still runs, or is still followed, by a process of this machine."""
        return self.summary is None and (self._followed or self._supervised)

    @property
    def outcome(self) -> str:
        """How it ended; "Running" while live, "Lost" where nobody saw its end."""
        return self.summary.outcome if self.summary else ("Running" if self.live else "Lost")

    @property
    def seconds(self) -> float:
        """From beginning to end, or to now; 0 where the end is not known."""
        if self.summary:
            return max(0.0, self.summary.ended - self.begun)
        return time.time() - self.begun if self.live else 0.0

    @property
    def packages(self) -> tuple[tuple[str, str], ...]:
        """(name, version) of what was installed; before the install, of what is locked."""
        if self.summary and self.summary.packages:
            return self.summary.packages
        lock = self.lock()
        return tuple((one.name, one.version) for one in lock.packages) if isinstance(lock, Lock) else ()

    def lock(self) -> Resolution | None:
        """What was resolved; None where it cannot be read."""
        data = _read(self.folder / "lock.json")
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            if "unresolved" in data:
                return Unresolved(lines=tuple(data["unresolved"]), reason=str(data["reason"]))  # type: ignore[arg-type]
            return Lock.from_json(json.dumps(data["lock"]))
        return None

    def log(self) -> str:
        """The whole log as it came; "" where there is none."""
        with (
            contextlib.suppress(OSError),
            (self.folder / "log.txt").open(encoding="utf-8", errors="replace", newline="") as file,
        ):
            return file.read()
        return ""

    def note(self, key: str) -> str:
        """What was noted under a key; "" where nothing was."""
        with contextlib.suppress(OSError):
            return (self.folder / "notes" / key).read_text(encoding="utf-8")
        return ""

    def state(self) -> RunState:
        """The run's state, made again from its log."""
        return fold(self.events(), RunState(run=self.id))

    def events(self) -> Iterator[ev.Event]:
        """Everything that was seen of it, in order, as far as it is kept."""
        end = self.summary
        if end and end.name:
            yield ev.Submitted(name=end.name, place=end.place, t=dict(end.stages).get("queued", self.begun))
        yield from ev.decode(self.log(), self.note("nonce"))
        if end and end.stop_asked:
            yield ev.StopAsked(by=end.stop_asked, t=end.ended)
        if end:
            yield ev.LogEnded(t=end.ended)

    @property
    def _followed(self) -> bool:
        return self.host == socket.gethostname() and processes.alive(self.pid, self.started)

    @property
    def _supervised(self) -> bool:
        pid = self.note("pid")
        here = self.host == socket.gethostname()
        return here and pid.isdigit() and processes.alive(int(pid), self.note("pid-started"))


@dataclass(kw_only=True)
class RunFiles:
    """The writing side of one run's folder; `append` is for one thread."""

    folder: Path
    history: History

    def append(self, text: str) -> None:
        """Add to the log, at once on disk as far as other processes see."""
        descriptor = os.open(self.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace", newline="") as file:
            file.write(text)

    def note(self, key: str, value: str) -> None:
        """Keep a short text under a key ([a-z0-9-]); for `pid`, which process that is as well."""
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a key: {key!r}")
        if key == "pid":
            _write(self.folder / "notes" / "pid-started", processes.mark(int(value)))
        _write(self.folder / "notes" / key, value)

    def stop_asked(self) -> str:
        """Who asked, in another process perhaps, for the run's end; "" where nobody did."""
        with contextlib.suppress(OSError):
            return (self.folder / "notes" / "stop").read_text(encoding="utf-8")
        return ""

    def finish(self, state: RunState) -> None:
        """Write how it ended."""
        summary = summarize(state)
        _write(self.folder / "state.json", json.dumps({"schema": SCHEMA, **asdict(summary)}, indent=1))

    def make_room(self) -> None:
        """Remove the oldest runs that ended, until the history's bounds hold: it reads every kept run."""
        self.history.prune()


def summarize(state: RunState) -> Summary:
    """The text twin of a state."""
    ename, evalue = "", ""
    with contextlib.suppress(ValueError, AttributeError):
        error = json.loads(state.error or "{}")
        ename, evalue = str(error.get("ename", "")), str(error.get("evalue", ""))[:2000]
    return Summary(
        outcome=state.outcome or "Lost",
        name=state.name,
        place=state.place,
        stages=tuple(state.stages),
        ended=state.ended_at or time.time(),
        exit=state.exited.code if state.exited else None,
        reason=state.exited.reason if state.exited else "",
        ename=ename,
        evalue=evalue,
        packages=state.installed.packages if state.installed else (),
        install_seconds=state.installed.seconds if state.installed else 0.0,
        stop_asked=state.stop_asked.by if state.stop_asked else "",
    )


class History:
    """The runs kept under `root`, at most `keep` of them (0: any number) and about `max_bytes` together."""

    def __init__(self, root: Path, keep: int = 200, max_bytes: int = 1024**3) -> None:
        self.root = root
        self.keep = keep
        self.max_bytes = max_bytes

    def begin(
        self, run_id: str, *, spec: RunSpec, resolution: Resolution, notebook: str = "", nonce: str = ""
    ) -> RunFiles:
        """Make a run's folder; `nonce` is the one its log is written with.

        Raises:
            BackendUnavailable: no folder can be made, or the disk is full.
        """
        if not _ID.fullmatch(run_id):
            raise ValueError(f"not a run id: {run_id!r}")
        try:
            return self._begin(run_id, spec, resolution, notebook, nonce)
        except FileExistsError:  # one id is one run: that one stays as it is
            raise
        except OSError as problem:
            shutil.rmtree(self.root / run_id, ignore_errors=True)
            raise BackendUnavailable(
                f"the run cannot be kept in the history: {problem}", hint="Free some disk space, or set UV_ARGO_HOME."
            ) from problem

    def _begin(self, run_id: str, spec: RunSpec, resolution: Resolution, notebook: str, nonce: str) -> RunFiles:
        folder = self.root / run_id
        (folder / "notes").mkdir(parents=True, mode=0o700)
        with contextlib.suppress(OSError):  # a parent that is somebody else's is theirs to open or close
            folder.chmod(0o700)
        pid = os.getpid()
        about = {
            "schema": SCHEMA,
            "run": run_id,
            "begun": time.time(),
            "notebook": notebook,
            "pid": pid,
            "started": processes.mark(pid),
            "host": socket.gethostname(),
            "cell_digest": spec.cell_digest,
            "spec": masked(spec),
        }
        files = RunFiles(folder=folder, history=self)
        if nonce:
            files.note("nonce", nonce)
        if isinstance(resolution, Lock):
            lock: dict[str, object] = {
                "schema": SCHEMA,
                "key": resolution.key,
                "lock": json.loads(resolution.to_json()),
            }
        else:
            lock = {"schema": SCHEMA, "unresolved": resolution.lines, "reason": resolution.reason}
        _write(folder / "lock.json", json.dumps(lock, indent=1))
        # Last: a folder without it is not listed.
        _write(folder / "spec.json", json.dumps(about, indent=1))
        return files

    def list(self) -> tuple[Entry, ...]:
        """Every kept run, newest first."""
        try:
            folders = [Path(one.path) for one in os.scandir(self.root) if one.is_dir(follow_symlinks=False)]
        except OSError:
            return ()
        found = [entry for entry in map(_entry, folders) if entry]
        return tuple(sorted(found, key=lambda entry: (entry.begun, entry.id), reverse=True))

    def get(self, prefix: str) -> Entry:
        """The run whose id begins so.

        Raises:
            SpecError: there is none, or more than one.
        """
        entries = self.list()
        found = [entry for entry in entries if entry.id == prefix] or [
            entry for entry in entries if prefix and entry.id.startswith(prefix)
        ]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(entry.id for entry in found[:5])
            raise SpecError(f"{len(found)} runs begin with {prefix}", hint=f"Say more of it: {names}.")
        best = nearest(prefix, [entry.id for entry in entries])
        raise SpecError(
            f"there is no run {prefix}" + (f"; did you mean {best}?" if best else ""),
            hint="The runs verb lists those that are kept." if entries else "No run is kept yet.",
        )

    def last(self, notebook: str | None = None) -> Entry:
        """The newest run, of one notebook where it is named.

        Raises:
            SpecError: there is none yet.
        """
        for entry in self.list():
            if notebook is None or entry.notebook == notebook:
                return entry
        raise SpecError("no run is kept yet", hint='Run a cell first: %%argo --deps "numpy pandas"')

    def log(self, run_id: str) -> str:
        """A run's whole log, as it came.

        Raises:
            SpecError: there is no such run.
        """
        return self.get(run_id).log()

    def stop(self, entry: Entry, by: str, *, patience: float = 3.0) -> bool:
        """Ask for the end of a run that any process of this machine started; whether it was live.

        Who follows it acts on the wish; where nobody does within `patience` seconds, its supervisor is told itself.
        """
        if not entry.live:
            return False
        _write(entry.folder / "notes" / "stop", by)
        deadline = time.monotonic() + (patience if entry._followed else 0.0)  # noqa: SLF001 - one module, one family
        while time.monotonic() < deadline and not (entry.folder / "state.json").exists():
            time.sleep(0.05)
        if entry._supervised and not (entry.folder / "state.json").exists():  # noqa: SLF001
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
                # spec.json first: from then on nobody lists it, whatever happens to the rest.
                with contextlib.suppress(OSError):
                    (entry.folder / "spec.json").unlink()
                shutil.rmtree(entry.folder, ignore_errors=True)
            else:
                total, count = total + size, count + 1


def masked(spec: RunSpec) -> dict[str, object]:
    """The spec as it may lie on a disk: no values of variables, no pushed values, no password in a URL."""
    settings = asdict(spec.settings) | {
        "env": [[name, "***"] for name, _ in spec.settings.env],
        "index_url": _no_password(spec.settings.index_url),
    }
    return {
        "cell": spec.cell,
        "requirements": list(spec.requirements.lines),
        "python": spec.python,
        "backend": spec.backend,
        "push": [[name, len(value)] for name, value in spec.push],
        "pull": list(spec.pull),
        "resources": asdict(spec.resources),
        "settings": settings,
    }


def _no_password(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"***@{host}")) if "@" in parts.netloc else url


def _entry(folder: Path) -> Entry | None:
    about = _read(folder / "spec.json")
    spec = about.get("spec")
    if about.get("schema") != SCHEMA or not isinstance(spec, dict) or about.get("run") != folder.name:
        return None
    try:
        return Entry(
            id=folder.name,
            folder=folder,
            begun=float(about["begun"]),  # type: ignore[arg-type]
            cell=str(spec["cell"]),
            cell_digest=str(about["cell_digest"]),
            backend=str(spec["backend"]),
            python=str(spec.get("python", "")),
            notebook=str(about.get("notebook", "")),
            requirements=tuple(map(str, spec.get("requirements", ()))),
            pid=int(about.get("pid", 0)),  # type: ignore[call-overload]
            started=str(about.get("started", "")),
            host=str(about.get("host", "")),
            summary=_summary(_read(folder / "state.json")),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _summary(data: dict[str, object]) -> Summary | None:
    if data.get("schema") != SCHEMA:
        return None
    known = {one.name for one in fields(Summary)}
    found = {key: value for key, value in data.items() if key in known}
    with contextlib.suppress(KeyError, TypeError, ValueError):
        for key in ("packages", "stages"):
            found[key] = tuple((str(one), two) for one, two in found.get(key, ()))  # type: ignore[attr-defined]
        found["ended"] = float(found["ended"])  # type: ignore[arg-type]
        return Summary(**found)  # type: ignore[arg-type]
    return None


def _read(path: Path) -> dict[str, object]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _write(path: Path, text: str) -> None:
    """Write aside, then rename: a reader sees all of it or nothing."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    aside.replace(path)


def _bytes(folder: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for one in os.scandir(folder):
            with contextlib.suppress(OSError):
                total += one.stat(follow_symlinks=False).st_size if one.is_file(follow_symlinks=False) else 0
    return total
