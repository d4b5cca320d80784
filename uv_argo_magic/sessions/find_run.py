"""Find a run of a session that this client has not seen finish."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uv_argo_magic.backends.base import RemoteRun
from uv_argo_magic.backends.sessions import remote_sessions
from uv_argo_magic.sessions import workers
from uv_argo_magic.sessions.pod_log import PodLogRuns
from uv_argo_magic.sessions.pod_session import PodSession
from uv_argo_magic.sessions.registry import Registry
from uv_argo_magic.sessions.session_runs import PREFIX, SessionRuns
from uv_argo_magic.uv import interpreters

if TYPE_CHECKING:
    from uv_argo_magic.backends.base import Backend
    from uv_argo_magic.history.entry import RunRecord


def find(entry: RunRecord) -> tuple[Backend, RemoteRun] | None:
    """A session's run that this client has not seen finish, and its state in the worker.

    Without a worker, the run is read from the log of the pod; None if there is no log.
    """
    found = workers.find_run(entry.id, Registry.of_this_user())
    if found is None:
        return _in_pod_log(entry)
    session, state, reason = found
    ended = "Succeeded" if reason == "ok" else "Failed"
    remote = _remote_run(entry, phase={"running": "Running", "waiting": "Pending"}.get(state, ended))
    connections, backend, spec = workers.connections_to(session), remote_sessions(session.backend), entry.spec()
    runs = SessionRuns(
        name=session.name,
        connections=connections,
        hold=lambda: None,
        interpreter=interpreters.find(session.python),
        at_end=connections.close,
        nonce=remote.nonce,
        pod=PodSession(entry=session, registry=Registry.of_this_user(), backend=backend) if backend else None,
        exchange=str(entry.folder / "values") if backend and spec and spec.pull else "",
        most_values=spec.settings.value_limit if spec else 0,
    )
    return runs, remote


def _in_pod_log(entry: RunRecord) -> tuple[Backend, RemoteRun] | None:
    backend, address = remote_sessions(entry.backend), entry.note("worker")
    if backend is None or not address:
        return None
    remote = _remote_run(entry, phase="Unknown", location=backend.location(address))
    return PodLogRuns(backend=backend, address=address, nonce=remote.nonce, session=entry.session), remote


def _remote_run(entry: RunRecord, *, phase: str, location: str = "") -> RemoteRun:
    return RemoteRun(
        name=f"{PREFIX}{entry.id}",
        run=entry.id,
        nonce=entry.note("nonce"),
        location=location,
        phase=phase,
        started_at=entry.begun,
    )
