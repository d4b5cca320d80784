"""One run in the history, read from its folder: its spec, outcome, log and state.

Rules:
- A folder that cannot be read, or has a newer schema, is ignored.
- A run is live if one of its recorded processes is alive. A process is identified by its id and its start time.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from uv_argo_magic import values
from uv_argo_magic._os import process_id
from uv_argo_magic.core import requirements
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol import log_reader
from uv_argo_magic.core.protocol.state import RunState, fold
from uv_argo_magic.core.resolution.lock import Lock, Package, Resolution, Unresolved
from uv_argo_magic.core.spec.run_spec import Pushed, Resources, RunSpec, Settings
from uv_argo_magic.core.spec.settings_parser import FIELDS, parse_setting, updated
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA = 1
HIDDEN = "***"
"""The history stores this instead of a secret."""


@frozen
class Summary:
    """The last state of a run, as it is stored. Times are Unix seconds; `evalue` has at most 2000 characters."""

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
    node_phase: str = ""
    node_message: str = ""
    waiting: str = ""


@frozen
class RunRecord:
    """One run; `summary` is None until it has ended. `begun` is in Unix seconds, `cell` is the cell's text."""

    id: str
    folder: Path
    begun: float
    cell: str
    cell_digest: str
    backend: str
    session: str = ""
    python: str = ""
    notebook: str = ""
    image: str = ""
    requirements: tuple[str, ...] = ()
    needs_from: str = ""
    sent: ev.Sent = ()
    """The pushed values."""
    pid: int = 0
    started: str = ""
    host: str = ""
    summary: Summary | None = None
    notes: tuple[tuple[str, str], ...] = ()
    """The notes that were made before the run was written to disk."""

    def __repr__(self) -> str:
        return f"<RunRecord {self.id}: {self.outcome}>"

    @property
    def unseen(self) -> bool:
        """Whether this machine has not seen the run finish and does not follow it; the backend may know more."""
        return self.summary is None and not self.live

    @property
    def live(self) -> bool:
        """Whether a process on this machine still runs or follows it."""
        return self.summary is None and (self.followed or self.supervised)

    @property
    def outcome(self) -> str:
        """The outcome; "Running" while the run is live, "Lost" if this machine has not seen it finish."""
        return self.summary.outcome if self.summary else ("Running" if self.live else "Lost")

    @property
    def seconds(self) -> float:
        """The duration until the end, or until now; 0 if the end is unknown."""
        if self.summary:
            return max(0.0, self.summary.ended - self.begun)
        return time.time() - self.begun if self.live else 0.0

    @property
    def packages(self) -> tuple[tuple[str, str], ...]:
        """(name, version) of the installed packages, or before the install, of the locked ones."""
        return tuple((package.name, package.version) for package in self.installed)

    @property
    def installed(self) -> tuple[Package, ...]:
        """The installed packages with the details in the lock, or before the install, the locked ones."""
        lock = self.lock()
        locked = {package.name: package for package in lock.packages} if isinstance(lock, Lock) else {}
        if not self.summary or not self.summary.packages:
            return tuple(locked.values())
        return tuple(
            package
            if (package := locked.get(name)) and package.version == version
            else Package(name=name, version=version)
            for name, version in self.summary.packages
        )

    def spec(self) -> RunSpec | None:
        """The recorded part of the spec; None if it cannot be read.

        Pushed values have no text. Values of environment variables, and passwords in URLs, are HIDDEN.
        """
        data: Any = _read(self.folder / "spec.json").get("spec")
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError, SpecError):
            recorded = {key: value for key, value in data["settings"].items() if key in FIELDS}
            if isinstance(recorded.get("env"), list):  # the name of `variables` in older versions
                recorded["variables"] = recorded.pop("env")
            recorded |= dict(data["settings"].get("own", ()))
            settings = {key: parse_setting(key, value) for key, value in recorded.items()}
            return RunSpec(
                cell=self.cell,
                requirements=requirements.parse_items(self.requirements, source=self.id),
                python=self.python,
                backend=self.backend,
                session=str(data.get("session", "")),
                push=tuple(Pushed(name=str(name), text="") for name, *_ in data["push"]),
                pull=tuple(map(str, data["pull"])),
                args=tuple(map(str, data.get("args", ()))),
                resources=Resources(**data["resources"]),
                settings=updated(Settings(), settings),
            )
        return None

    def lock(self) -> Resolution | None:
        """The resolution; None if it cannot be read."""
        data = _read(self.folder / "lock.json")
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            if "unresolved" in data:
                return Unresolved(lines=tuple(data["unresolved"]), reason=str(data["reason"]))  # type: ignore[arg-type]
            return Lock.from_json(json.dumps(data["lock"]))
        return None

    def log(self) -> str:
        """The whole log; "" if there is none."""
        return self._text_of("log.txt")

    def output(self) -> str:
        """Everything that the cell printed, even if the log lacks a part; "" unless the run ended on this machine."""
        return self._text_of("output.log") if self.summary else ""

    def _text_of(self, name: str) -> str:
        with (
            contextlib.suppress(OSError),
            (self.folder / name).open(encoding="utf-8", errors="replace", newline="") as file,
        ):
            return file.read()
        return ""

    def note(self, key: str) -> str:
        """The note with this key, or ""."""
        with contextlib.suppress(OSError):
            return (self.folder / "notes" / key).read_text(encoding="utf-8")
        return dict(self.notes).get(key, "")

    def state(self) -> RunState:
        """The state of the run, computed from its log."""
        return fold(self.events(), RunState(run=self.id))

    def events(self) -> Iterator[ev.Event]:
        """The recorded events of the run, in order."""
        end = self.summary
        if end and "preparing" in dict(end.stages):
            yield ev.Preparing(t=dict(end.stages)["preparing"], sent=self.sent)
        if end and end.name:
            yield ev.Submitted(
                name=end.name,
                location=end.place,
                t=dict(end.stages).get("queued", self.begun),
                requirements=self.requirements,
                requirements_source=self.needs_from,
                sent=self.sent,
            )
        if end and end.waiting:
            yield ev.NodePhase(phase="Pending", message=end.waiting, t=self.begun)
        node = ev.NodePhase(phase=end.node_phase, message=end.node_message, t=end.ended) if end else None
        if node and node.phase and end and not end.stop_asked:
            yield node  # before the exit record, because it can have the cause
        yield from log_reader.decode(self.log(), self.note("nonce"))
        if node and node.phase:
            yield node
        if end and end.stop_asked:
            yield ev.StopRequested(by=end.stop_asked, t=end.ended)
        if end:
            yield ev.LogEnded(t=end.ended)

    @property
    def values(self) -> dict[str, object]:
        """The pulled variables that were received; values that are not plain data are `Sealed`."""
        origin = values.sealed.Origin(
            run=self.id, folder=self.folder / "values", lock=getattr(self.lock(), "key", ""), packages=self.packages
        )
        return values.sealed.receive(self.state().values, origin)[0]

    @property
    def followed(self) -> bool:
        """Whether the process that started the run is alive, and can stop it."""
        return self.host == process_id.host_name() and process_id.alive(self.pid, self.started)

    @property
    def supervised(self) -> bool:
        """Whether its supervisor is a live process on this machine."""
        pid = self.note("pid")
        is_this_host = self.host == process_id.host_name()
        return is_this_host and pid.isdigit() and process_id.alive(int(pid), self.note("pid-started"))


def summarize(state: RunState) -> Summary:
    """The summary of a state."""
    ename, evalue = "", ""
    with contextlib.suppress(ValueError, AttributeError):
        error = json.loads(state.error or "{}")
        ename, evalue = str(error.get("ename", "")), str(error.get("evalue", ""))[:2000]
    return Summary(
        outcome=state.outcome or "Lost",
        name=state.name,
        place=state.location,
        stages=tuple(state.phases),
        ended=state.ended_at or time.time(),
        exit=state.exited.code if state.exited else None,
        reason=state.exited.reason if state.exited else "",
        ename=ename,
        evalue=evalue,
        packages=state.installed.packages if state.installed else (),
        install_seconds=state.installed.seconds if state.installed else 0.0,
        stop_asked=state.stop_requested.by if state.stop_requested else "",
        node_phase=state.node.phase if state.node else "",
        node_message=state.node.message if state.node else "",
        waiting=state.waiting,
    )


def read_entry(folder: Path) -> RunRecord | None:
    """The run in this folder; None if it cannot be read, or has a newer schema."""
    document = _read(folder / "spec.json")
    spec = document.get("spec")
    if document.get("schema") != SCHEMA or not isinstance(spec, dict) or document.get("run") != folder.name:
        return None
    try:
        return RunRecord(
            id=folder.name,
            folder=folder,
            begun=float(document["begun"]),  # type: ignore[arg-type]
            cell=str(spec["cell"]),
            cell_digest=str(document["cell_digest"]),
            backend=str(spec["backend"]),
            session=str(spec.get("session", "")),
            python=str(spec.get("python", "")),
            notebook=str(document.get("notebook", "")),
            image=str(document.get("image", "")),
            requirements=tuple(map(str, spec.get("requirements", ()))),
            needs_from=str(spec.get("needs_from", "")),
            sent=tuple(
                (str(name), str(more[0]) if more else "", int(size), str(more[1]) if more else "plain")
                for name, size, *more in spec.get("push", ())
            ),
            pid=int(document.get("pid", 0)),  # type: ignore[call-overload]
            started=str(document.get("started", "")),
            host=str(document.get("host", "")),
            summary=_summary(_read(folder / "state.json")),
            notes=_notes(document.get("notes")),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _notes(data: object) -> tuple[tuple[str, str], ...]:
    return tuple((str(key), str(value)) for key, value in data.items()) if isinstance(data, dict) else ()


def _summary(data: dict[str, object]) -> Summary | None:
    if data.get("schema") != SCHEMA:
        return None
    names = {one.name for one in fields(Summary)}
    values = {key: value for key, value in data.items() if key in names}
    with contextlib.suppress(KeyError, TypeError, ValueError):
        for key in ("packages", "stages"):
            values[key] = tuple((str(one), two) for one, two in values.get(key, ()))  # type: ignore[attr-defined]
        values["ended"] = float(values["ended"])  # type: ignore[arg-type]
        return Summary(**values)  # type: ignore[arg-type]
    return None


def _read(path: Path) -> dict[str, object]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
