"""The workers of sessions: become the holder of a worker, query it, restart it and end it.

Rule: a session is never restarted silently. The error of the next cell lists what was lost with a worker.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from uv_argo_magic._os import process_id
from uv_argo_magic.backends import lookup
from uv_argo_magic.backends.sessions import remote_sessions, with_sessions
from uv_argo_magic.core.view import messages
from uv_argo_magic.errors import BackendError, BackendUnavailable, SessionBusy, SessionLost
from uv_argo_magic.sessions.channel import Connections
from uv_argo_magic.sessions.registry import Ending, parse_ending

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from uv_argo_magic.backends.sessions import RemoteSessions
    from uv_argo_magic.sessions.registry import Registry, SessionEntry, Worker

CLIENT = secrets.token_hex(8)
"""The id of this process for workers."""
COMPLETION_SECONDS = 0.3
"""Maximum seconds to wait for a completion."""

show_late: Callable[[Mapping[str, Any]], object] | None = None
"""Shows output of a cell that has ended; set by front ends that support it."""
show_end: Callable[[Mapping[str, Any]], object] | None = None
"""Shows that a session ends soon, or has ended, because it is idle or too old; set by front ends that support it."""
PASSED_ON = 5.0
"""Seconds in which a worker notices the end of its holder's process; in a cluster, this takes about a second."""
KILLED = Ending(reason="its process was killed, or the machine was restarted")
SILENCE = 30.0
"""Seconds without a byte after which a worker in a pod is considered unreachable. Load balancers cut idle streams after
60."""
_connections: dict[str, Connections] = {}
"""Token of a worker -> this process's connections to it."""


def restart_hint(name: str) -> str:
    """The hint on how to restart a session."""
    return f"%argo restart {name} starts it again, without its variables."


def hold(
    entry: SessionEntry, registry: Registry | None = None, *, take: bool = False, refresh: bool = False
) -> Mapping[str, Any]:
    """Become the holder of a session's worker; return its status, which is cached if it cannot have changed.

    With `refresh`, the cache is not used.

    Raises:
        SessionLost: the worker has ended.
        SessionBusy: another kernel uses the session.
        BackendUnavailable: the worker does not respond.
    """
    worker = entry.worker
    assert worker is not None  # noqa: S101 - the caller has checked it
    if not take and not refresh and is_connected(worker) and (cached := connect(entry).status) is not None:
        return cached
    if not worker.is_remote and not worker.is_here and worker.host != socket.gethostname():
        raise SessionBusy(
            f"the session {entry.name} of this notebook runs on {worker.host}",
            hint=f"Open the notebook there, or use another name here: --session NAME. {restart_hint(entry.name)}",
        )
    try:
        status = join(entry, take=take)
    except BackendUnavailable as problem:
        forget(worker)
        cause = ending(entry, registry)
        if cause is None:
            raise
        raise lost(entry, cause) from problem
    if worker.is_remote and worker.started and worker.started != str(status["started"]):
        end(entry, "its pod was created again")
        before = (registry.ending(entry.key) if registry else None) or Ending(reason="")
        raise lost(entry, replace(before, reason="its pod was lost, and Argo created another one"))
    if status["ending"]:
        raise lost(entry, (registry.ending(entry.key) if registry else None) or Ending(reason=str(status["ending"])))
    return status


def join(entry: SessionEntry, *, take: bool = False) -> Mapping[str, Any]:
    """Become the holder of a worker, which can be starting; return its status.

    Raises:
        SessionBusy: another kernel uses the session.
        BackendUnavailable: the worker does not respond, or does not listen yet.
        BackendError: the user is not allowed to reach the worker.
    """
    answer = _ask_to_hold(entry, take=take)
    deadline = time.monotonic() + PASSED_ON
    while answer.get("error") == "busy" and _is_gone(answer.get("holder") or {}) and time.monotonic() < deadline:
        time.sleep(0.1)
        answer = _ask_to_hold(entry)
    if answer.get("error") == "busy":
        assert entry.worker is not None  # noqa: S101 - it has responded
        forget(entry.worker)
        holder = answer.get("holder") or {}
        since = time.strftime("%H:%M", time.localtime(float(holder.get("since", 0.0))))
        is_stopped = holder.get("host") == socket.gethostname() and process_id.is_stopped(int(holder.get("pid") or 0))
        raise SessionBusy(
            f"another kernel uses the session {entry.name}: process {holder.get('pid')} on {holder.get('host')}, "
            f"since {since}{', currently suspended' if is_stopped else ''}",
            hint=f"Take it over with %argo sessions --take {entry.name}, or use another name: --session NAME.",
        )
    status: Mapping[str, Any] = answer["status"]
    return status


def _ask_to_hold(entry: SessionEntry, *, take: bool = False) -> Mapping[str, Any]:
    notebook = entry.key.notebook
    return connect(entry).hold(host=socket.gethostname(), pid=os.getpid(), notebook=notebook, take=take)


def _is_gone(holder: Mapping[str, Any]) -> bool:
    """Whether the process that holds a worker was on this machine, and has ended."""
    return (
        os.name == "posix"
        and holder.get("host") == socket.gethostname()
        and not process_id.mark(int(holder.get("pid") or 0))
    )


def lost(entry: SessionEntry, ending: Ending) -> SessionLost:
    """The error for a session that has ended: the cause, and the lost variables."""
    variables = f". Lost: {messages.list_variables(ending.items, ending.total)}" if ending.total else ""
    advice = f"{ending.advice[0].upper()}{ending.advice[1:]}. " if ending.advice else ""
    return SessionLost(
        f"the session {entry.name} has ended: {ending.reason}{variables}",
        hint=f"{advice}{restart_hint(entry.name)} Or add --restart to this cell. Then run the cells above again.",
    )


def restart(entry: SessionEntry, registry: Registry, *, clean: bool = False) -> SessionEntry:
    """End the session's worker; return the entry of the session that the next cell starts.

    Raises:
        BackendError: the worker cannot be ended.
    """
    end(entry, "restarted")
    entry = replace(entry, worker=None, lock=entry.first_lock if clean else entry.lock)
    registry.report_path(entry.key).unlink(missing_ok=True)
    registry.write(entry)
    return entry


def stop(entry: SessionEntry, registry: Registry) -> None:
    """End a session, and remove it from the registry.

    Raises:
        BackendError: the worker cannot be ended.
    """
    end(entry, "stopped")
    registry.remove(entry.key)


def end(entry: SessionEntry, reason: str, seconds: float = 10.0) -> None:
    """End the session's worker, and wait until its process has ended.

    Raises:
        BackendUnavailable: the worker is on another machine, or does not end.
    """
    worker = entry.worker
    if worker is not None and (remote := _remote(entry)) is not None:
        _end_remote(entry, remote, reason)
        return
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


def _end_remote(entry: SessionEntry, remote: RemoteSessions, reason: str) -> None:
    """Request the worker to end, so that its interpreter can clean up; if it does not respond, the backend ends it."""
    assert entry.worker is not None  # noqa: S101 - the caller has checked it
    has_agreed = False
    with contextlib.suppress(BackendError):
        if remote.worker_end(entry.worker.address, entry.worker.pod) is None:
            has_agreed = "ok" in connect(entry).ask("end", reason=reason)
    forget(entry.worker)
    if not has_agreed:
        remote.end_worker(entry.worker.address)


def _remote(entry: SessionEntry) -> RemoteSessions | None:
    return remote_sessions(entry.backend) if entry.worker is not None and entry.worker.is_remote else None


def ending(entry: SessionEntry, registry: Registry | None = None) -> Ending | None:
    """How a worker that does not respond ended; None while it runs, or if unknown."""
    assert entry.worker is not None  # noqa: S101 - the caller has checked it
    if entry.worker.is_remote:
        return remote_ending(entry, registry)
    stored = registry.ending(entry.key) if registry else None
    return stored or (KILLED if _has_ended(entry.worker) else None)


def remote_ending(entry: SessionEntry, registry: Registry | None) -> Ending | None:
    """How a worker in a pod ended; None while it runs, or if unknown.

    If the worker could not report its variables, those stored after the last cell are used. The first known cause is
    stored and kept. Later it can become unknown when the pod is deleted, or hidden because we have ended the workflow.
    """
    remote, worker = _remote(entry), entry.worker
    end = None
    with contextlib.suppress(BackendError):
        end = remote.worker_end(worker.address, worker.pod) if remote and worker else None
        if remote and worker and end is not None and end.is_replaced:
            remote.end_worker(worker.address)
    if end is None:
        return None
    before = (registry.ending(entry.key) if registry else None) or Ending(reason="")
    if before.reason:
        return before
    known = replace(parse_ending(end.report) or before, reason=end.reason, advice=end.advice)
    if registry is not None and end.is_known:
        with contextlib.suppress(OSError):
            registry.write_ending(entry.key, known)
    return known


def ask(entry: SessionEntry, do: str, **values: object) -> Mapping[str, Any] | None:
    """Send a request to the worker; None if there is no worker on this machine, or it does not respond."""
    worker = entry.worker
    if worker is None or not (worker.is_alive or worker.is_remote):
        return None
    was_connected = is_connected(worker)
    try:
        return connect(entry).ask(do, **values)
    except BackendError:
        return None
    finally:
        if not was_connected:
            forget(worker)


def complete(entry: SessionEntry, base: str, prefix: str, kind: str) -> tuple[tuple[str, str], ...]:
    """(text, type) of names, attributes or keys of the session's values; () while a cell runs, or if it takes too long.

    `kind` is "name", "attribute" or "key"; the latter two are those of the expression `base`.
    """
    if entry.worker is None or not is_connected(entry.worker):
        return ()
    try:
        answer = connect(entry).ask_at_once(COMPLETION_SECONDS, "complete", base=base, prefix=prefix, kind=kind)
    except BackendUnavailable:
        return ()
    return tuple((str(text), str(kind_of_value)) for text, kind_of_value in (answer or {}).get("items", ()))


def find_run(run_id: str, registry: Registry) -> tuple[SessionEntry, str, str] | None:
    """(the session with this run, "running", "waiting" or "ended", the reason of its end); None if there is none."""
    for entry in registry.list():
        answer = ask(entry, "find", run=run_id) or {}
        if state := answer.get("state"):
            return entry, str(state), str(answer["reason"])
    return None


def _has_ended(worker: Worker, seconds: float = 2.0) -> bool:
    """Wait for the end of the process, since a killed one closes its sockets earlier; return whether it ended."""
    deadline = time.monotonic() + seconds
    while worker.is_alive and time.monotonic() < deadline:
        time.sleep(0.01)
    return not worker.is_alive


def is_connected(worker: Worker) -> bool:
    """Whether this process is connected to the worker."""
    return worker.token in _connections


def connect(entry: SessionEntry) -> Connections:
    """This process's connections to the session's worker."""
    assert entry.worker is not None  # noqa: S101 - the caller has checked it
    if entry.worker.token not in _connections:
        _connections[entry.worker.token] = connections_to(entry)
    return _connections[entry.worker.token]


def forget(worker: Worker) -> None:
    """End this process's connections to a worker, and thereby the lease."""
    connections = _connections.pop(worker.token, None)
    if connections is not None:
        connections.close()


def connections_to(entry: SessionEntry) -> Connections:
    backend, worker = with_sessions(lookup.load(entry.backend), entry.backend), entry.worker
    assert worker is not None  # noqa: S101 - the caller has checked it
    return Connections(
        connect=lambda: backend.connect(worker.address),
        token=worker.token,
        client=CLIENT,
        silence=SILENCE if worker.is_remote else 0.0,
        on_event=_on_event,
    )


def _on_event(event: Mapping[str, Any]) -> None:
    show = {"output": show_late, "ending": show_end, "ended": show_end}.get(event["event"])
    if show is not None:
        show(event)
