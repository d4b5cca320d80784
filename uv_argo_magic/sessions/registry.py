"""The sessions of this user on disk: one file each, named by the digest of the notebook and the session's name.

    DIGEST.json           the session: its worker, its token, and its options
    DIGEST.ended.json     how the session ended, written by its worker
    DIGEST.lock           locked by a kernel that starts the session

Rules:
- Only the user can read the files (0600), because they contain the tokens of the workers.
- An entry contains the machine and its boot id. The client does not connect to a worker on another machine.
- An entry without a worker is a restarted session, which starts with its next cell.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import socket
from dataclasses import asdict, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uv_argo_magic._os import atomic_write, paths, process_id
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.resolution.lock import Lock
from uv_argo_magic.core.spec.run_spec import Resources, Settings
from uv_argo_magic.core.spec.settings_parser import FIELDS, parse_setting
from uv_argo_magic.errors import SpecError

with contextlib.suppress(ImportError):  # on Windows, which has no sessions
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCHEMA = 1


@frozen
class SessionKey:
    """The name of a session, and its notebook (an absolute path) or else its process (`owner`)."""

    name: str
    notebook: str = ""
    owner: str = ""

    @classmethod
    def of(cls, name: str, notebook: str) -> SessionKey:
        """The key of a session of this notebook; without a notebook (""), of this process."""
        owner = "" if notebook else f"{socket.gethostname()} {os.getpid()} {process_id.own_mark()}"
        return cls(name=name, notebook=notebook, owner=owner)

    @property
    def digest(self) -> str:
        """The name of its files."""
        return hashlib.sha256(json.dumps([self.notebook, self.owner, self.name]).encode()).hexdigest()[:24]


@frozen
class Worker:
    """The process of a worker, and its address (in the form of the backend).

    For a worker in a pod, only the address and the token are set, and once it has responded, `started` and its uid
    (`pod`).
    """

    address: str
    token: str = field(repr=False)
    host: str
    boot: str
    pid: int
    started: str
    pod: str = ""

    @property
    def is_remote(self) -> bool:
        """Whether it runs on another machine, so that only the backend knows its state."""
        return not self.host

    @property
    def is_here(self) -> bool:
        """Whether it was started on this machine since its last boot."""
        return self.host == socket.gethostname() and self.boot == boot_id()

    @property
    def is_alive(self) -> bool:
        """Whether its process exists on this machine."""
        return self.is_here and process_id.alive(self.pid, self.started)


@frozen
class SessionEntry:
    """One session: its options, its packages, and its worker (None: it starts with the next cell).

    `created_at` is in Unix seconds. A worker that `is_bound` ends with the process that started it.
    """

    key: SessionKey
    backend: str
    python: str
    resources: Resources = field(default_factory=Resources)
    settings: Settings = field(default_factory=Settings)
    lock: Lock | None = None
    first_lock: Lock | None = None
    """The packages without those added by later cells."""
    worker: Worker | None = None
    is_bound: bool = False
    created_at: float = 0.0

    @property
    def name(self) -> str:
        """The session's name."""
        return self.key.name


@frozen
class Ending:
    """How a session ended: the reason, its variables as [name, type, bytes, shape], and a hint."""

    reason: str
    items: tuple[tuple[str, str, int, str], ...] = ()
    total: int = 0
    advice: str = ""


@frozen
class Registry:
    """The folder with the entries."""

    root: Path

    @classmethod
    def of_this_user(cls, environ: Mapping[str, str] = os.environ) -> Registry:
        """The registry in the user's data folder."""
        return cls(root=paths.data_dir(environ) / "sessions")

    def find(self, key: SessionKey) -> SessionEntry | None:
        """The session with this key; None if there is none."""
        return _read_entry(self.root / f"{key.digest}.json")

    def current(self, entry: SessionEntry) -> SessionEntry:
        """The stored entry, which other cells may have changed; the given one if the session has another worker now."""
        known = self.find(entry.key)
        if known and known.worker and entry.worker and known.worker.address == entry.worker.address:
            return known
        return entry

    def list(self) -> tuple[SessionEntry, ...]:
        """All sessions, the oldest first."""
        entries = [_read_entry(path) for path in self.root.glob("*.json") if not path.name.endswith(".ended.json")]
        return tuple(sorted((entry for entry in entries if entry), key=lambda entry: entry.created_at))

    def write(self, entry: SessionEntry) -> None:
        """Add or replace an entry.

        Raises:
            OSError: the disk cannot be written.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        document = {
            "schema": SCHEMA,
            **asdict(replace(entry, lock=None, first_lock=None)),
            "lock": entry.lock.to_json() if entry.lock else "",
            "first_lock": entry.first_lock.to_json() if entry.first_lock else "",
        }
        atomic_write.write(self.root / f"{entry.key.digest}.json", json.dumps(document))

    @contextlib.contextmanager
    def starting(self, key: SessionKey) -> Iterator[None]:
        """Let only one kernel at a time start this session; on file systems without locks, this does nothing.

        Raises:
            OSError: the disk cannot be written.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.root / f"{key.digest}.lock").open("ab") as file:
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def remove(self, key: SessionKey) -> None:
        """Remove an entry. No error if there is none."""
        for path in (self.root / f"{key.digest}.json", self.report_path(key)):
            path.unlink(missing_ok=True)

    def report_path(self, key: SessionKey) -> Path:
        """The path of the worker's report on its end."""
        return self.root / f"{key.digest}.ended.json"

    def write_ending(self, key: SessionKey, ending: Ending) -> None:
        """Write the variables of a session whose worker may not be able to write its end.

        Raises:
            OSError: the disk cannot be written.
        """
        atomic_write.write(self.report_path(key), json.dumps(asdict(ending)))

    def ending(self, key: SessionKey) -> Ending | None:
        """How the session ended, if its worker has written a report."""
        with contextlib.suppress(OSError):
            return parse_ending(self.report_path(key).read_text(encoding="utf-8"))
        return None


def parse_ending(report: str) -> Ending | None:
    """Parse the report of a worker; None if it is invalid."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        data = json.loads(report)
        items = tuple((str(name), str(kind), int(size), str(shape)) for name, kind, size, shape in data["items"])
        total, advice = int(data["total"]), str(data.get("advice") or "")
        return Ending(reason=str(data["reason"]), items=items, total=total, advice=advice)
    return None


_read_before: dict[Path, tuple[tuple[int, int, int], SessionEntry | None]] = {}
"""File -> (its version, the entry that was read from it)."""


def _read_entry(path: Path) -> SessionEntry | None:
    """The entry in this file, cached until the file changes; None if it cannot be read, or has another schema."""
    try:
        found = path.stat()
    except OSError:
        _read_before.pop(path, None)
        return None
    version = found.st_ino, found.st_mtime_ns, found.st_size
    if path not in _read_before or _read_before[path][0] != version:
        _read_before[path] = version, _parse_entry(path)
    return _read_before[path][1]


def _parse_entry(path: Path) -> SessionEntry | None:
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            return None
        names = {one.name for one in fields(SessionEntry)}
        values = {name: value for name, value in data.items() if name in names}
        settings: Any = {key: parse_setting(key, value) for key, value in data["settings"].items() if key in FIELDS}
        values |= {
            "key": SessionKey(**data["key"]),
            "resources": Resources(**data["resources"]),
            "settings": Settings(**settings),
            "lock": Lock.from_json(data["lock"]) if data["lock"] else None,
            "first_lock": Lock.from_json(data["first_lock"]) if data["first_lock"] else None,
            "worker": Worker(**data["worker"]) if data["worker"] else None,
        }
        return SessionEntry(**values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SpecError):
        return None


@functools.cache
def boot_id() -> str:
    """The id of the last boot of this machine; "" if the system does not provide it."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""
