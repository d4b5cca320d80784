"""The commands `sessions`, `vars` and `restart`, and the part of `stop` that ends a session."""

from __future__ import annotations

import time
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.sessions import sessions_of_all_users
from uv_argo_magic.core import humanize
from uv_argo_magic.core.commands.run_options import is_session_name
from uv_argo_magic.core.spec import quantity
from uv_argo_magic.core.view import messages
from uv_argo_magic.core.view.tables import Table
from uv_argo_magic.errors import BackendUnavailable, SpecError
from uv_argo_magic.sessions import workers
from uv_argo_magic.sessions.registry import Registry, SessionEntry, SessionKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from uv_argo_magic.backends.sessions import RemoteSession
    from uv_argo_magic.commands.registry import Request
    from uv_argo_magic.config import Config

DEFAULT = "main"


def list_sessions(request: Request) -> Iterator[str | Table]:
    """List the sessions of this machine, or with --all or --all-namespaces those of all users of the backend.

    With --take, this kernel takes over a session of its notebook from another kernel.

    Raises:
        SpecError: the notebook has no such session.
        BackendError: the backend or the worker of the session does not respond.
    """
    registry = Registry.of_this_user()
    if name := request.line.text("take"):
        entry = _get(request, registry, name)
        if entry.worker is None:
            raise SpecError(f"the session {name} has not started", hint="It starts with its next cell.")
        workers.hold(entry, registry, take=True)
        yield f"This kernel now uses the session {name}."
        return
    if request.line.has("all") or request.line.has("all_namespaces"):
        yield _list_all(request.configuration(), all_namespaces=request.line.has("all_namespaces"))
        return
    entries = registry.list()
    if not entries:
        yield "No sessions. A cell with --session starts one."
        return
    yield Table(
        head=("SESSION", "NOTEBOOK", "BACKEND", "HOST", "PYTHON", "PACKAGES", "MEMORY", "PEAK", "STATE", "HOLDER"),
        rows=tuple(_row(entry, registry) for entry in entries),
        right=frozenset({5, 6, 7}),
    )


def _list_all(configuration: Config, *, all_namespaces: bool) -> str | Table:
    """The sessions of every user, the most expensive idle ones first."""
    sessions = sessions_of_all_users(configuration.backend, configuration.settings, all_namespaces=all_namespaces)
    if not sessions:
        return f"No sessions on {configuration.backend}."
    now = time.time()
    head: tuple[str, ...] = ("USER", "NOTEBOOK", "SESSION", "AGE", "CPU", "MEMORY", "GPU", "IDLE", "STATE", "WORKFLOW")
    head = ("NAMESPACE", *head) if all_namespaces else head
    rows = tuple(
        (
            *((session.namespace,) if all_namespaces else ()),
            session.user or "-",
            PurePath(session.notebook).name or "-",
            session.name or "-",
            humanize.seconds(max(0.0, now - session.started_at)),
            session.cpu or "-",
            session.memory or "-",
            session.gpu or "-",
            humanize.seconds(idle) if (idle := _idle_seconds(session, now)) else "-",
            _remote_state(session, now),
            session.workflow,
        )
        for session in sorted(sessions, key=lambda session: _idle_cost(session, now), reverse=True)
    )
    right = frozenset(column for column, name in enumerate(head) if name in ("AGE", "CPU", "MEMORY", "GPU", "IDLE"))
    return Table(head=head, rows=rows, right=right)


FRESH = 900.0
"""Seconds after which a client's note that a cell is running is outdated; clients repeat it three times as often."""
CPU_MEMORY = 4 * 1024**3
"""Bytes of memory that cost as much as one CPU on the usual machines of clouds."""


def _is_running(session: RemoteSession, now: float) -> bool:
    return session.is_running and now - session.used_at < FRESH


def _idle_seconds(session: RemoteSession, now: float) -> float:
    """Seconds since the session ran a cell, according to its client."""
    return 0.0 if session.phase == "Pending" or _is_running(session, now) else max(0.0, now - session.used_at)


def _remote_state(session: RemoteSession, now: float) -> str:
    if session.phase != "Running":
        return session.phase.lower()
    if session.is_running:
        return "running" if _is_running(session, now) else "running when last seen"
    return "idle"


def _idle_cost(session: RemoteSession, now: float) -> tuple[float, float]:
    """The resources reserved while idle: (GPU seconds, CPU seconds or the equivalent in memory)."""
    idle = _idle_seconds(session, now)
    return idle * _amount(session.gpu), idle * max(_amount(session.cpu), _amount(session.memory) / CPU_MEMORY)


def _amount(text: str) -> float:
    try:
        return quantity.limit(text)
    except ValueError:
        return 0.0  # not a quantity


def list_variables(request: Request) -> Iterator[str | Table]:
    """The variables of a session after its last cell.

    Raises:
        SpecError: there is no such session.
        SessionLost: the session has ended.
        BackendUnavailable: the session does not respond.
    """
    registry = Registry.of_this_user()
    entry = _get(request, registry, request.line.argument or DEFAULT)
    answer = workers.ask(entry, "vars")
    if answer is None and entry.worker is not None:
        if ending := workers.ending(entry, registry):
            raise workers.lost(entry, ending)
        raise BackendUnavailable(f"the session {entry.name} does not respond", hint="Try again in a moment.")
    if answer is None or not answer["items"]:
        yield f"The session {entry.name} has no variables."
        return
    more = int(answer["total"]) - len(answer["items"])
    yield Table(
        head=("VARIABLE", "TYPE", "SIZE", "SHAPE"),
        rows=tuple((name, kind, humanize.size(size) or "-", shape) for name, kind, size, shape in answer["items"]),
        notes=(f"{humanize.count(more, 'older variable')} not listed.",) if more else (),
        right=frozenset({2}),
    )


def restart(request: Request) -> Iterator[str]:
    """End a session's interpreter; the session starts again with its next cell.

    Raises:
        SpecError: there is no such session.
        BackendError: its worker cannot be ended.
    """
    registry = Registry.of_this_user()
    name = request.line.argument or DEFAULT
    entry = _find(request, registry, name)
    if entry is None:
        # Not an error, because the command can be the first line of a notebook.
        yield f"No session {name} to restart; it starts with its first cell."
        return
    entry = workers.restart(entry, registry, clean=request.line.has("clean"))
    count = len(entry.lock.packages) if entry.lock else 0
    packages = f", with the same {humanize.count(count, 'package')}" if count else ""
    yield f"Session {name} ended. It starts again with its next cell{packages}."


def find_to_stop(request: Request) -> SessionEntry | None:
    """The session with the name in the argument of `stop`; None if there is none."""
    name = request.line.argument
    registry = Registry.of_this_user()
    if not is_session_name(name):
        return None
    return _find(request, registry, name)


def stop(entry: SessionEntry) -> str:
    """End a session, and remove it from the registry.

    Raises:
        BackendError: its worker cannot be ended.
    """
    answer = workers.ask(entry, "vars")
    workers.stop(entry, Registry.of_this_user())
    total = int(answer["total"]) if answer else 0
    lost = f" Its variables are lost: {messages.list_variables(answer['items'], total)}." if answer and total else ""
    return f"Session {entry.name} ended.{lost}"


def _get(request: Request, registry: Registry, name: str) -> SessionEntry:
    """The session with this name.

    Raises:
        SpecError: there is no such session, or more than one.
    """
    entry = _find(request, registry, name)
    if entry is None:
        raise SpecError(f"session {name} not found", hint="The sessions command lists them.")
    return entry


def _find(request: Request, registry: Registry, name: str) -> SessionEntry | None:
    """The session with this name in this notebook, or from a terminal in any notebook; None if there is none.

    Raises:
        SpecError: more than one notebook has a session with this name.
    """
    if request.front_end == "notebook":
        entry = registry.find(SessionKey.of(name, request.context.notebook_path))
        matches = [entry] if entry else []
    else:
        matches = [entry for entry in registry.list() if entry.name == name]
    if len(matches) > 1:
        notebooks = ", ".join(PurePath(entry.key.notebook).name or "(no notebook)" for entry in matches)
        raise SpecError(
            f"{len(matches)} notebooks have a session {name}: {notebooks}",
            hint="Run the command in the notebook of the session.",
        )
    return matches[0] if matches else None


def _row(entry: SessionEntry, registry: Registry) -> tuple[str, ...]:
    """The row of one session in the table."""
    worker = entry.worker
    notebook = PurePath(entry.key.notebook).name or "-"
    packages = str(len(entry.lock.packages)) if entry.lock else "0"
    first = (entry.name, notebook, entry.backend, worker.host if worker else "-", entry.python, packages)
    if worker is None:
        return (*first, "-", "-", "restarts with its next cell", "-")
    answer = workers.ask(entry, "status")
    if answer is None:
        state = "on another machine" if not (worker.is_here or worker.is_remote) else _end_state(entry, registry)
        return (*first, "-", "-", state, "-")
    status = answer["status"]
    return (
        *first,
        humanize.size(int(status["rss"])) or "-",
        humanize.size(max(int(status["peak"]), int(status["rss"]))) or "-",
        _state(status),
        _holder(status),
    )


def _end_state(entry: SessionEntry, registry: Registry) -> str:
    ending = workers.ending(entry, registry)
    return f"lost: {ending.reason}" if ending else "does not respond"


def _state(status: Mapping[str, Any]) -> str:
    if status["running"]:
        return f"running {status['running']}"
    now = time.time()
    idle = now - float(status["idle_since"])
    text = f"idle for {humanize.seconds(round(idle))}"
    remaining = float(status["ends_at"]) - now
    return f"{text}, ends in {humanize.seconds(round(max(0.0, remaining)))}" if status["ends_at"] else text


def _holder(status: Mapping[str, Any]) -> str:
    holder = status["holder"]
    return f"process {holder['pid']} on {holder['host']}" if holder else "-"
