"""The parts of the Backend protocol for sessions, and the backends that have them (docs/backends.md).

Rule: outside this module, no code checks whether a backend has one of these parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from uv_argo_magic.backends.base import Capability, optional_part
from uv_argo_magic.backends.lookup import load, options_for
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Callable, Iterator

    from uv_argo_magic.backends.base import Backend, Item
    from uv_argo_magic.core.protocol.events import NodePhase
    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings


@frozen
class WorkerOptions:
    """The options of a session's worker. Times are seconds; 0 means no limit.

    `token_digest` is the SHA-256 (hex) of the token that clients send. At its end, the worker writes the reason to the
    file `report`. A worker that `is_bound` ends with its client. `notebook` is the path of its notebook, or "", and
    `user` the name of its user, for lists.
    """

    name: str
    token_digest: str
    keep: float
    max_age: float
    is_bound: bool
    report: str
    notebook: str = ""
    user: str = ""


@runtime_checkable
class Sessions(Protocol):
    """A backend with sessions: workers that keep an interpreter for several cells."""

    def start_worker(self, program: Program, spec: RunSpec, options: WorkerOptions) -> str:
        """Start a worker that outlives this process; return the address on which it listens.

        Raises:
            BackendUnavailable: the worker cannot be started.
        """

    def connect(self, address: str) -> socket.socket:
        """Connect to a worker.

        Raises:
            OSError: the worker does not listen.
        """


@frozen
class WorkerEnd:
    """How a worker ended: the cause as the beginning of a sentence, a hint, and the worker's own report (JSON)."""

    reason: str
    advice: str = ""
    report: str = ""
    is_known: bool = True
    """Whether the backend shows the cause; this can change later."""
    is_replaced: bool = False
    """Whether another worker now has the same address."""


@runtime_checkable
class RemoteSessions(Sessions, Protocol):
    """A backend whose workers run on other machines; a worker has an address before it has started."""

    def location(self, address: str) -> str:
        """The location of the worker, for messages."""

    def starting(
        self, address: str, spec: RunSpec, *, is_ready: Callable[[], bool], stopping: threading.Event
    ) -> Iterator[NodePhase]:
        """The phases of a new worker, until it `is_ready`. The last phase is Running, unless the worker cannot start.

        That phase tells whether the worker occupies a GPU.

        Raises:
            BackendError: the user is not allowed to see the worker.
        """

    def worker_end(self, address: str, instance: str = "") -> WorkerEnd | None:
        """How a worker ended; None while it runs. `instance` is the uid in the last phase of `starting`.

        Raises:
            BackendError: the backend does not respond.
        """

    def note_use(self, address: str, moment: float, *, is_running: bool) -> None:
        """Record, visibly for administrators, that a worker is in use, or was used until `moment` (Unix seconds).

        Raises:
            BackendError: the backend does not respond, or the user is not allowed to do this.
        """

    def worker_log(self, address: str, *, follow: bool = False) -> Iterator[Item]:
        """The available log of a worker, with the records of all its cells, and phases.

        With `follow`, until the end of the log.

        Raises:
            BackendError: the log cannot be read.
        """

    def end_worker(self, address: str) -> None:
        """End a worker, even if it is busy. No error if it has ended.

        Raises:
            BackendUnavailable: the backend does not respond.
        """


@frozen
class RemoteSession:
    """A session of any user. Times are Unix seconds, amounts are Kubernetes quantities or "".

    `used_at` is the last use that its client recorded, `is_running` whether a cell was running then.
    """

    name: str
    workflow: str
    namespace: str
    user: str
    notebook: str
    phase: str
    started_at: float
    used_at: float
    is_running: bool = False
    cpu: str = ""
    memory: str = ""
    gpu: str = ""


@runtime_checkable
class ListsSessions(Protocol):
    """A backend that lists the sessions of all users."""

    def sessions(self, settings: Settings, *, all_namespaces: bool) -> tuple[RemoteSession, ...]:
        """The sessions that have not ended.

        Raises:
            BackendError: the backend cannot be reached, or the user is not allowed to list sessions.
        """


def with_sessions(backend: Backend, name: str) -> Sessions:
    """The backend as one with sessions; `name` is for the error.

    Raises:
        SpecError: the backend has no sessions.
    """
    if isinstance(backend, Sessions):
        return backend
    others = options_for(Sessions)
    hint = f"Choose a backend that does: {others}." if others else "Run the cell without --session."
    raise SpecError(f"the {name} backend does not support sessions", hint=hint)


def remote_sessions(name: str) -> RemoteSessions | None:
    """The backend with this name if its workers run on other machines, else None.

    Raises:
        BackendUnavailable: the backend cannot be loaded.
    """
    remote: RemoteSessions | None = optional_part(RemoteSessions, load(name))
    return remote


def exchanges_files(name: str, *, in_session: bool) -> bool:
    """Whether values of a run on this backend are sent as files.

    Raises:
        BackendUnavailable: the backend cannot be loaded.
    """
    return Capability.LOCAL in load(name).capabilities or (in_session and remote_sessions(name) is not None)


def sessions_of_all_users(name: str, settings: Settings, *, all_namespaces: bool) -> tuple[RemoteSession, ...]:
    """The sessions of all users on the backend with this name.

    Raises:
        SpecError: the backend does not list sessions.
        BackendError: the backend cannot be reached, or the user is not allowed to list sessions.
    """
    backend = load(name)
    if isinstance(backend, ListsSessions):
        return backend.sessions(settings, all_namespaces=all_namespaces)
    others = options_for(ListsSessions)
    raise SpecError(
        f"the {name} backend does not list the sessions of all users",
        hint=f"Choose a backend that does: {others}." if others else "Leave out --all.",
    )
