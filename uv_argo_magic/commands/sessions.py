"""`sessions`, `vars`, `restart`, and the part of `stop` that ends a session."""

from __future__ import annotations

import time
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.sessions import sessions_of_all_users
from uv_argo_magic.core import humanize
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
    """Every session of this machine; with --take, this kernel becomes the holder of one of its notebook.

    With --all or --all-namespaces, those of every user of the backend.

    Raises:
        SpecError: the notebook has no such session.
        BackendError: its worker does not respond.
    """
    registry = Registry.of_this_user()
    if name := request.line.text("take"):
        entry = _get(request, registry, name)
        if entry.worker is None:
            raise SpecError(f"the session {name} has not started", hint="It starts with its next cell.")
        workers.hold(entry, registry, take=True)
        yield f"This kernel has the session {name} now."
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
    found = sessions_of_all_users(configuration.backend, configuration.settings, all_namespaces=all_namespaces)
    if not found:
        return f"No sessions on {configuration.backend}."
    now = time.time()
    head: tuple[str, ...] = ("USER", "NOTEBOOK", "SESSION", "AGE", "CPU", "MEMORY", "GPU", "IDLE", "STATE", "WORKFLOW")
    head = ("NAMESPACE", *head) if all_namespaces else head
    rows = tuple(
        (
            *((one.namespace,) if all_namespaces else ()),
            one.user or "-",
            PurePath(one.notebook).name or "-",
            one.name or "-",
            humanize.seconds(max(0.0, now - one.started_at)),
            one.cpu or "-",
            one.memory or "-",
            one.gpu or "-",
            humanize.seconds(idle) if (idle := _idle(one, now)) else "-",
            _use(one, now),
            one.workflow,
        )
        for one in sorted(found, key=lambda one: _waste(one, now), reverse=True)
    )
    right = frozenset(at for at, name in enumerate(head) if name in ("AGE", "CPU", "MEMORY", "GPU", "IDLE"))
    return Table(head=head, rows=rows, right=right)


FRESH = 900.0
"""Seconds for which a session counts as in use whose client has noted that a cell is running: three of its notes."""
CPU_MEMORY = 4 * 1024**3
"""Bytes of memory that cost as much as one CPU, as in the usual machines of a cloud."""


def _is_running(one: RemoteSession, now: float) -> bool:
    return one.is_running and now - one.used_at < FRESH


def _idle(one: RemoteSession, now: float) -> float:
    """Seconds for which a session has run no cell, as far as its client has noted it."""
    return 0.0 if one.phase == "Pending" or _is_running(one, now) else max(0.0, now - one.used_at)


def _use(one: RemoteSession, now: float) -> str:
    if one.phase != "Running":
        return one.phase.lower()
    if one.is_running:
        return "running" if _is_running(one, now) else "running when last seen"
    return "idle"


def _waste(one: RemoteSession, now: float) -> tuple[float, float]:
    """What a session has reserved for nothing: GPU seconds, and CPU seconds or the memory that costs the same."""
    idle = _idle(one, now)
    return idle * _amount(one.gpu), idle * max(_amount(one.cpu), _amount(one.memory) / CPU_MEMORY)


def _amount(text: str) -> float:
    try:
        return quantity.limit(text)
    except ValueError:
        return 0.0  # not an amount


def list_variables(request: Request) -> Iterator[str | Table]:
    """The variables of a session, as they were after its last cell.

    Raises:
        SpecError: there is no such session.
        SessionLost: it has ended.
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
        # The first line of a notebook, run for the first time.
        yield f"No session {name} to restart; it starts with its first cell."
        return
    entry = workers.restart(entry, registry, clean=request.line.has("clean"))
    packages = len(entry.lock.packages) if entry.lock else 0
    kept = f" with {humanize.count(packages, 'package')}" if packages else ""
    yield f"Session {name} ended; it starts again{kept} with its next cell."


def find_to_stop(request: Request) -> SessionEntry | None:
    """The session that the argument of `stop` names; None if it names none."""
    name = request.line.argument
    registry = Registry.of_this_user()
    if not name.isidentifier():
        return None
    return _find(request, registry, name)


def stop(entry: SessionEntry) -> str:
    """End a session, and forget it.

    Raises:
        BackendError: its worker cannot be ended.
    """
    answer = workers.ask(entry, "vars")
    workers.stop(entry, Registry.of_this_user())
    total = int(answer["total"]) if answer else 0
    gone = f" Its variables are gone: {messages.list_variables(answer['items'], total)}." if answer and total else ""
    return f"Session {entry.name} ended.{gone}"


def _get(request: Request, registry: Registry, name: str) -> SessionEntry:
    """The session of that name.

    Raises:
        SpecError: there is none, or there are several.
    """
    entry = _find(request, registry, name)
    if entry is None:
        raise SpecError(f"session {name} not found", hint="The sessions command lists them.")
    return entry


def _find(request: Request, registry: Registry, name: str) -> SessionEntry | None:
    """The session of that name: of this notebook, or in a terminal the only one; None if there is none.

    Raises:
        SpecError: there are several.
    """
    if request.front_end == "notebook":
        entry = registry.find(SessionKey.of(name, request.context.notebook_path))
        found = [entry] if entry else []
    else:
        found = [entry for entry in registry.list() if entry.name == name]
    if len(found) > 1:
        notebooks = ", ".join(PurePath(entry.key.notebook).name or "(no notebook)" for entry in found)
        raise SpecError(
            f"{len(found)} sessions are named {name}: {notebooks}", hint="Give the command in the notebook of one."
        )
    return found[0] if found else None


def _row(entry: SessionEntry, registry: Registry) -> tuple[str, ...]:
    """One session as a row."""
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
    left = float(status["ends_at"]) - now
    return f"{text}, ends in {humanize.seconds(round(max(0.0, left)))}" if status["ends_at"] else text


def _holder(status: Mapping[str, Any]) -> str:
    holder = status["holder"]
    return f"process {holder['pid']} on {holder['host']}" if holder else "-"
