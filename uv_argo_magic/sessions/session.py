"""Sessions: find or start the session of a cell, and keep its options and packages.

Rules:
- A session is never restarted silently, because the notebook would continue with missing state. Only the user restarts
  it.
- The options with which a session was started apply to its later cells. A line with other options is an error.
- Packages are added but never changed (packages.py).
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import secrets
import socket
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from uv_argo_magic._os import interrupts, paths, process_id, user
from uv_argo_magic.backends import base, lookup
from uv_argo_magic.backends.sessions import WorkerOptions, remote_sessions, with_sessions
from uv_argo_magic.core import humanize
from uv_argo_magic.core.resolution.lock import Lock, Resolution
from uv_argo_magic.core.spec import quantity, settings_parser
from uv_argo_magic.errors import BackendError, BackendUnavailable, SessionBusy, SpecError
from uv_argo_magic.sessions import packages, workers
from uv_argo_magic.sessions.pod_session import PodSession, gpu_note
from uv_argo_magic.sessions.registry import Registry, SessionEntry, SessionKey, Worker, boot_id
from uv_argo_magic.sessions.session_runs import SessionRuns
from uv_argo_magic.uv import interpreters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from uv_argo_magic.backends.sessions import RemoteSessions
    from uv_argo_magic.config import Config
    from uv_argo_magic.core.requirements.model import Requirements
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
    from uv_argo_magic.engine.context import CellContext
    from uv_argo_magic.engine.preparation.prepared import Prepared
    from uv_argo_magic.uv.interpreters import Interpreter
    from uv_argo_magic.uv.resolver import Resolver

FIXED = base.BACKEND_SETTINGS | {"variables"}
"""The settings that apply to a whole session."""
LIFETIME = ("keep", "max_age")
"""The settings that apply until a cell changes them."""


@dataclass(kw_only=True)
class Session:
    """The session of a cell; without an entry, it starts with this cell. `status` is its worker's status."""

    key: SessionKey
    registry: Registry
    entry: SessionEntry | None = None
    status: Mapping[str, Any] = field(default_factory=dict)
    is_rejoined: bool = False
    """Whether another kernel started the worker, or this one had lost its connection to it."""
    number: int = 0
    is_interactive: bool = False
    """See `CellContext.is_interactive`."""
    can_ask: bool = False
    """Whether questions of the cell can be answered."""
    _gives_keep: bool = False
    """Whether the line of the cell sets how long the session is kept."""
    _gpu_note: str = ""

    @property
    def name(self) -> str:
        """The session's name."""
        return self.key.name

    @property
    def is_live(self) -> bool:
        """Whether its interpreter has run cells."""
        return self.entry is not None and self.entry.worker is not None

    @property
    def interpreter(self) -> Interpreter | None:
        """The session's Python, after a cell of this process has run; None if its image has preinstalled packages."""
        entry = self.entry
        if entry is None or entry.worker is None or entry.settings.base or entry.settings.image:
            return None
        return workers.connect(entry).interpreter if workers.is_connected(entry.worker) else None

    @property
    def has_modules(self) -> bool:
        """Whether its worker has the modules for a notebook's cell."""
        entry = self.entry
        if entry is None or entry.worker is None or not workers.is_connected(entry.worker):
            return False
        return workers.connect(entry).has_modules

    def variable_names(self) -> frozenset[str] | None:
        """The names of its variables; None if there are too many to list."""
        if not self.is_live or self.entry is None:
            return frozenset()
        answer = workers.ask(self.entry, "vars")
        if answer is None or len(answer["items"]) < answer["total"]:
            return None
        return frozenset(str(item[0]) for item in answer["items"])

    @property
    def restart_hint(self) -> str:
        """The hint on how to get a session with other options."""
        return workers.restart_hint(self.name)

    @property
    def notes(self) -> tuple[str, ...]:
        """A line for a cell that uses a session of another kernel, or that starts one with a GPU."""
        if not self.is_rejoined:
            return (self._gpu_note,) if self._gpu_note else ()
        started = time.strftime("%H:%M", time.localtime(float(self.status["started"])))
        variables = humanize.count(int(self.status["total"]), "variable")
        restart_command = "%argo restart" if self.name == "main" else f"%argo restart {self.name}"
        return (f"Rejoined session {self.name} (started {started}, {variables}); {restart_command} starts a new one",)

    def adopt(self, configuration: Config) -> Config:
        """The configuration with the options with which the session was started.

        Raises:
            SpecError: the line has other options, or a backend without sessions.
        """
        entry = self.entry
        # The session's own `keep` differs if an earlier cell has set it, or if its pod has a GPU.
        has_own_keep = entry is not None and entry.settings.keep != configuration.settings.keep
        self._gives_keep = has_own_keep or configuration.origin("keep") in _OF_THE_CELL
        if configuration.settings.environment == "persistent":
            raise SpecError(
                "a session cannot use a persistent environment",
                hint=f"Leave out env and venv, or leave out --session {self.name}.",
            )
        if entry is None:
            with_sessions(lookup.load(configuration.backend), configuration.backend)
            return configuration
        unchanged: dict[str, Any] = {}
        for key in sorted(FIXED):
            ours, theirs = getattr(entry.settings, key), getattr(configuration.settings, key)
            if configuration.origin(key) in _OF_THE_CELL:
                if self.is_live and ours != theirs:
                    if key == "variables":
                        both = _variables(entry.settings), _variables(configuration.settings)
                    else:
                        both = settings_parser.format_value(ours), settings_parser.format_value(theirs)
                    raise self._differs(key, *both)
            else:
                unchanged[key] = ours
        backend = entry.backend
        if configuration.origin("backend") in _OF_THE_CELL:
            if self.is_live and configuration.backend != backend:
                raise self._differs("backend", backend, configuration.backend)
            backend = configuration.backend
        python = entry.python
        if configuration.origin("python") in _OF_THE_CELL:
            if self.is_live and not interpreters.fits(python, configuration.python.rstrip("t")):
                raise self._differs("Python", python, configuration.python)
            python = python if self.is_live else configuration.python
        unchanged |= {
            key: getattr(entry.settings, key) for key in LIFETIME if configuration.origin(key) not in _OF_THE_CELL
        }
        settings = replace(configuration.settings, **unchanged)
        return replace(configuration, settings=settings, backend=backend, python=python)

    def adopt_rest(self, spec: RunSpec) -> RunSpec:
        """The spec with the session's resources.

        Raises:
            SpecError: the line has other resources, or variables of a file that the session lacks.
        """
        entry = self.entry
        if entry is None or (not self.is_live and spec.resources.gpu and not entry.resources.gpu):
            return self._with_gpu_keep(spec)
        if self.is_live and spec.settings.variables != entry.settings.variables:
            raise self._differs("variables", *(_variables(settings) for settings in (entry.settings, spec.settings)))
        if spec.resources == entry.resources:
            return spec
        if spec.resources == type(spec.resources)():
            return replace(spec, resources=entry.resources)
        if self.is_live:
            raise self._differs("resources", _resources(entry.resources), _resources(spec.resources))
        return spec

    def _with_gpu_keep(self, spec: RunSpec) -> RunSpec:
        """The spec of a new session, with a shorter `keep` if it requests a GPU of a cluster."""
        has_gpu = spec.resources.gpu and quantity.limit(spec.resources.gpu) and remote_sessions(spec.backend)
        keep = self._gpu_keep(spec.settings)
        if not (has_gpu and keep):
            return spec
        self._gpu_note = gpu_note(self.name, keep)
        return replace(spec, settings=replace(spec.settings, keep=keep))

    def _gpu_keep(self, settings: Settings) -> float:
        """Seconds for which the session is kept without a cell if its pod has a GPU; 0: as any other."""
        if self._gives_keep or not settings.gpu_keep:
            return 0.0
        return min(settings.keep or math.inf, settings.gpu_keep)

    @property
    def lock(self) -> Lock | None:
        """The packages of the session; None before its first cell."""
        return self.entry.lock if self.entry else None

    def extend(
        self,
        present: Lock,
        requirements: Requirements,
        make_resolver: Callable[[], Resolver],
        known_resolution: Resolution | None = None,
    ) -> tuple[Lock, Lock]:
        """(the session's packages with these requirements or `known_resolution`, the packages to install for them).

        Raises:
            ResolutionError: the requirements are not compatible with installed packages.
        """
        if isinstance(known_resolution, Lock):
            added = known_resolution
        elif packages.are_met(requirements, present):
            return present, replace(present, packages=()) if self.is_live else present
        else:
            added = packages.add(self.name, present, requirements, make_resolver())
        together, missing = packages.join(present, added)
        return together, missing if self.is_live else together

    def runs(self, prepared: Prepared, *, waits: bool = True) -> SessionRuns:
        """The session as a backend for its next cell; starts its worker if there is none.

        `waits` is that of `SessionRuns`.

        Raises:
            BackendError: the worker cannot be started, or another kernel uses the session.
        """
        lock = packages.after(prepared)
        if not self.is_live:
            self._start_once(prepared, lock)
        entry = self.entry
        assert entry is not None  # noqa: S101 - it was just started
        lifetime = {key: getattr(prepared.spec.settings, key) for key in LIFETIME}
        has_other_life = any(getattr(entry.settings, key) != value for key, value in lifetime.items())
        if has_other_life or (lock is not None and lock is not entry.lock and lock != entry.lock):
            worker = self.registry.current(entry).worker  # it may have started since this cell began
            settings = replace(entry.settings, **lifetime)
            self.entry = entry = replace(entry, lock=lock or entry.lock, settings=settings, worker=worker)
            self._write(entry)
        connections = workers.connect(entry)
        connections.interpreter = prepared.interpreter
        if prepared.spec.requirements or prepared.installs:
            connections.forget_status()
        remote = remote_sessions(entry.backend)
        return SessionRuns(
            name=self.name,
            connections=connections,
            hold=functools.partial(workers.hold, entry, self.registry, refresh=True),
            interpreter=prepared.interpreter,
            number=self.number,
            can_ask=self.can_ask,
            waits=waits,
            pod=self._pod(entry, remote, prepared.spec.settings) if remote else None,
            exchange=prepared.exchange if remote else "",
            most_values=prepared.spec.settings.value_limit,
        )

    def _pod(self, entry: SessionEntry, backend: RemoteSessions, settings: Settings) -> PodSession:
        gpu_keep = self._gpu_keep(settings)
        if gpu_keep == settings.keep:
            gpu_keep = 0.0
        return PodSession(entry=entry, registry=self.registry, backend=backend, gpu_keep=gpu_keep)

    def _start_once(self, prepared: Prepared, lock: Lock | None) -> None:
        """Start the worker, unless another kernel has started one."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self.registry.starting(self.key))
            except OSError as problem:
                raise self._unwritable(problem) from problem
            if remote_sessions(prepared.spec.backend) is None:  # the API of a cluster can take long to respond
                # An interrupt would leave a worker that no kernel knows.
                stack.enter_context(interrupts.delayed(can_block=True))
            self._refuse_second_start()
            self._start(prepared, lock)

    def _refuse_second_start(self) -> None:
        """Raise an error if another kernel has started the session while this one prepared the cell.

        Raises:
            SessionBusy: it has.
        """
        found = self.registry.find(self.key)
        known = self.entry.worker if self.entry else None
        if found is None or found.worker in (None, known):
            return
        if not found.worker.is_remote:
            workers.hold(found, self.registry)  # raises a better error if that kernel uses it
        raise SessionBusy(f"another kernel has just started the session {self.name}", hint="Run the cell again.")

    def _start(self, prepared: Prepared, lock: Lock | None) -> None:
        spec = prepared.spec
        backend = with_sessions(prepared.target.backend, spec.backend)
        live = sum(entry.worker is not None and entry.worker.is_alive for entry in self.registry.list())
        if spec.settings.max_sessions and live >= spec.settings.max_sessions:
            raise SpecError(
                f"{humanize.count(live, 'session')} are live, and max_sessions is {spec.settings.max_sessions}",
                hint="%argo sessions lists them; %argo stop NAME ends one.",
            )
        token = secrets.token_hex(32)
        is_bound = not (self.is_interactive and self.key.notebook) or not spec.settings.keep
        self.registry.report_path(self.key).unlink(missing_ok=True)
        address = backend.start_worker(
            prepared.program,
            spec,
            WorkerOptions(
                name=self.name,
                token_digest=hashlib.sha256(token.encode()).hexdigest(),
                keep=spec.settings.keep,
                max_age=spec.settings.max_age,
                is_bound=is_bound,
                report=str(self.registry.report_path(self.key)),
                notebook=self.key.notebook,
                user=user.name(),
            ),
        )
        is_remote = remote_sessions(spec.backend) is not None
        host, boot = ("", "") if is_remote else (socket.gethostname(), boot_id())
        worker = Worker(address=address, token=token, host=host, boot=boot, pid=0, started="")
        previous_entry = self.entry
        entry = SessionEntry(
            key=self.key,
            backend=spec.backend,
            python=prepared.interpreter.target.python,
            resources=spec.resources,
            settings=spec.settings,
            lock=lock,
            first_lock=previous_entry.first_lock if previous_entry and previous_entry.first_lock else lock,
            worker=worker,
            is_bound=is_bound,
            created_at=time.time(),
        )
        if is_remote:
            self.entry = entry  # the first cell waits for the pod
            self._write(entry)
            return
        self.status = workers.hold(entry)
        pid = int(self.status["pid"])
        self.entry = replace(entry, worker=replace(worker, pid=pid, started=process_id.mark(pid)))
        self._write(self.entry)

    def _write(self, entry: SessionEntry) -> None:
        try:
            self.registry.write(entry)
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def _unwritable(self, problem: OSError) -> BackendUnavailable:
        return BackendUnavailable(f"cannot record the session {self.name}: {problem}", hint=paths.WRITABLE)

    def _differs(self, option: str, ours: str, theirs: str) -> SpecError:
        return SpecError(
            f"session {self.name} has {option} {ours or '(none)'}, but this cell requests {theirs or '(none)'}",
            hint=f"Leave it out, or use another session. {self.restart_hint}",
        )


_OF_THE_CELL = frozenset({"the line", "the cell's script block"})


def open_session(name: str, context: CellContext, *, restart_first: bool = False, can_ask: bool = False) -> Session:
    """The session with this name for a cell; this process becomes the holder of its worker, if there is one.

    `can_ask` means that questions of the cell can be answered.

    Raises:
        SessionLost: the session has ended, and was not restarted.
        SessionBusy: another kernel uses the session.
        BackendUnavailable: the worker does not respond.
    """
    return _open(SessionKey.of(name, context.notebook_path), context, restart_first=restart_first, can_ask=can_ask)


class TemporarySessions:
    """Sessions for cells that run again, which do not belong to a notebook; `close` ends them."""

    def __init__(self) -> None:
        self._owner = secrets.token_hex(8)

    def open(self, name: str, context: CellContext) -> Session:
        """The session with this name.

        Raises:
            BackendError: as in `open_session`.
        """
        return _open(SessionKey(name=name, owner=self._owner), replace(context, is_interactive=False))

    def close(self) -> None:
        """End all of these sessions."""
        registry = Registry.of_this_user()
        for entry in registry.list():
            if entry.key.owner == self._owner:
                with contextlib.suppress(BackendError):
                    workers.stop(entry, registry)


def _open(key: SessionKey, context: CellContext, *, restart_first: bool = False, can_ask: bool = False) -> Session:
    registry = Registry.of_this_user()
    of_cell: Any = {"number": context.number, "is_interactive": context.is_interactive, "can_ask": can_ask}
    entry = registry.find(key)
    if entry is not None and restart_first:
        entry = workers.restart(entry, registry)
    if entry is None or entry.worker is None:
        return Session(key=key, registry=registry, entry=entry, **of_cell)
    if entry.worker.is_remote and not entry.worker.started:
        return Session(key=key, registry=registry, entry=entry, **of_cell)  # the pod is starting
    is_known = workers.is_connected(entry.worker)
    status = workers.hold(entry, registry)
    if entry.lock is not None and not status["running"] and not status["queued"]:
        # An install can have failed after its packages were recorded in the entry.
        versions = dict(status["packages"])
        installed = tuple(package for package in entry.lock.packages if versions.get(package.name) == package.version)
        if installed != entry.lock.packages:
            entry = replace(entry, lock=replace(entry.lock, packages=installed))
    return Session(key=key, registry=registry, entry=entry, status=status, is_rejoined=not is_known, **of_cell)


def _resources(resources: object) -> str:
    return " ".join(f"{name}={value}" for name, value in vars(resources).items() if value)


def _variables(settings: Settings) -> str:
    """The names of the environment variables, without the values, which can be secrets."""
    return " ".join(name for name, _ in settings.variables)
