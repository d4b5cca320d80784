"""The workers of sessions: become the holder of one, ask it, restart and end it.

Rule: a session never starts afresh silently. What a worker's end has cost is in the error of the next cell.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends import base
from uv_argo_magic.core.view import messages
from uv_argo_magic.errors import BackendError, BackendUnavailable, SessionBusy, SessionLost
from uv_argo_magic.sessions.channel import Connections

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from uv_argo_magic.sessions.registry import Ending, Registry, SessionEntry, Worker

CLIENT = secrets.token_hex(8)
"""Identifies this process to workers."""

show_late: Callable[[Mapping[str, Any]], object] | None = None
"""Shows output of a cell that has ended; set by a front end that can."""
_connections: dict[str, Connections] = {}
"""By token: the workers to which this process is connected."""


def restart_hint(name: str) -> str:
    """How to get a session afresh."""
    return f"%argo restart {name} starts it again, without its variables."


def hold(
    entry: SessionEntry, registry: Registry | None = None, *, take: bool = False, again: bool = False
) -> Mapping[str, Any]:
    """Become the holder of a session's worker; its status. The holder asks only if its status may have changed.

    `again`: ask in any case.

    Raises:
        SessionLost: the worker is gone.
        SessionBusy: another kernel has it.
        BackendUnavailable: it does not answer.
    """
    worker = entry.worker
    assert worker is not None  # noqa: S101 - the caller has checked it
    if not take and not again and is_connected(worker) and (known := connect(entry).status) is not None:
        return known
    if not worker.is_here and worker.host != socket.gethostname():
        raise SessionBusy(
            f"the session {entry.name} of this notebook runs on {worker.host}",
            hint=f"Open the notebook there, or use another name here: --session NAME. {restart_hint(entry.name)}",
        )
    connections = connect(entry)
    try:
        answer = connections.hold(host=socket.gethostname(), pid=os.getpid(), notebook=entry.key.notebook, take=take)
    except BackendUnavailable as problem:
        forget(worker)
        ending = registry.ending(entry.key) if registry else None
        if ending is None and not _has_ended(worker):
            raise
        raise lost(entry, ending) from problem
    if answer.get("error") == "busy":
        forget(worker)
        holder = answer.get("holder") or {}
        since = time.strftime("%H:%M", time.localtime(float(holder.get("since", 0.0))))
        raise SessionBusy(
            f"another kernel has the session {entry.name}: process {holder.get('pid')} on {holder.get('host')}, "
            f"since {since}",
            hint=f"%argo sessions --take {entry.name} moves it here. Or use another name: --session NAME.",
        )
    status: Mapping[str, Any] = answer["status"]
    if status["ending"]:
        raise lost(entry, registry.ending(entry.key) if registry else None)
    return status


def lost(entry: SessionEntry, ending: Ending | None) -> SessionLost:
    """The error for a session that has ended: why, and what was lost."""
    reason = ending.reason if ending else "its process was killed, or the machine was restarted"
    what = f" Lost: {messages.list_variables(ending.items, ending.total)}." if ending and ending.total else ""
    return SessionLost(
        f"the session {entry.name} has ended: {reason}.{what}",
        hint=f"{restart_hint(entry.name)} Or add --restart to this cell. Then run the cells above again.",
    )


def restart(entry: SessionEntry, registry: Registry, *, clean: bool = False) -> SessionEntry:
    """End the session's worker; the entry of the session that starts with the next cell.

    Raises:
        BackendError: the worker cannot be ended.
    """
    end(entry, "restarted")
    entry = replace(entry, worker=None, lock=entry.first_lock if clean else entry.lock)
    registry.report_path(entry.key).unlink(missing_ok=True)
    registry.write(entry)
    return entry


def stop(entry: SessionEntry, registry: Registry) -> None:
    """End a session, and forget it.

    Raises:
        BackendError: the worker cannot be ended.
    """
    end(entry, "stopped")
    registry.remove(entry.key)


def end(entry: SessionEntry, reason: str, seconds: float = 10.0) -> None:
    """End the session's worker, and wait until its process has ended.

    Raises:
        BackendUnavailable: it belongs to another machine, or does not end.
    """
    worker = entry.worker
    if worker is None or not worker.is_alive:
        if worker is not None and worker.host != socket.gethostname():
            raise BackendUnavailable(f"the session {entry.name} runs on {worker.host}", hint="Stop it there.")
        return
    connections = connect(entry)
    with contextlib.suppress(BackendError):
        connections.ask("end", reason=reason)
    forget(worker)
    deadline = time.monotonic() + seconds
    while worker.is_alive:
        if time.monotonic() > deadline:
            raise BackendUnavailable(
                f"the session {entry.name} does not end", hint=f"End its process: kill -9 {worker.pid}"
            )
        time.sleep(0.01)


def ask(entry: SessionEntry, do: str, **values: object) -> Mapping[str, Any] | None:
    """A question to the worker; None if it has no worker on this machine, or does not answer."""
    worker = entry.worker
    if worker is None or not worker.is_alive:
        return None
    was_connected = is_connected(worker)
    try:
        return connect(entry).ask(do, **values)
    except BackendUnavailable:
        return None
    finally:
        if not was_connected:
            forget(worker)


def _has_ended(worker: Worker, seconds: float = 2.0) -> bool:
    """Whether the process ends; one that was killed closes its sockets a moment before."""
    deadline = time.monotonic() + seconds
    while worker.is_alive and time.monotonic() < deadline:
        time.sleep(0.01)
    return not worker.is_alive


def is_connected(worker: Worker) -> bool:
    """Whether this process is connected to it."""
    return worker.token in _connections


def connect(entry: SessionEntry) -> Connections:
    """This process's connections to the session's worker."""
    assert entry.worker is not None  # noqa: S101 - the caller has checked it
    if entry.worker.token not in _connections:
        _connections[entry.worker.token] = _make_connections(entry)
    return _connections[entry.worker.token]


def forget(worker: Worker) -> None:
    """End this process's connections to a worker, and the lease with them."""
    connections = _connections.pop(worker.token, None)
    if connections is not None:
        connections.close()


def _make_connections(entry: SessionEntry) -> Connections:
    backend, worker = base.with_sessions(base.load(entry.backend), entry.backend), entry.worker
    assert worker is not None  # noqa: S101 - the caller has checked it
    return Connections(
        connect=lambda: backend.connect(worker.address), token=worker.token, client=CLIENT, on_event=_on_event
    )


def _on_event(event: Mapping[str, Any]) -> None:
    if event["event"] == "output" and show_late is not None:
        show_late(event)
