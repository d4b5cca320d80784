"""A session whose worker runs in a pod: wait for the worker, reconnect to it, and store its state.

Rule: the client stores the state in the registry when the worker has responded, and after each cell.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from uv_argo_magic.core import humanize
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.errors import BackendError, BackendUnavailable, SessionBusy
from uv_argo_magic.sessions import activity, workers
from uv_argo_magic.sessions.registry import Ending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uv_argo_magic.backends.sessions import RemoteSessions
    from uv_argo_magic.core.spec.run_spec import RunSpec
    from uv_argo_magic.sessions.registry import Registry, SessionEntry


@dataclass(frozen=True)
class _Queue:
    """The cells that wait for the start of a session, and are sent in their order."""

    cells: deque[PodSession] = field(default_factory=deque)
    changed: threading.Condition = field(default_factory=threading.Condition)


def gpu_note(name: str, keep: float) -> str:
    """The note on a session that is kept for less time because it occupies a GPU."""
    return (
        f"The session {name} ends after {humanize.exact_seconds(keep)} without a cell, because its pod has a GPU; "
        "--set keep=1h keeps it longer."
    )


_queues: dict[str, _Queue] = {}
"""Address of a worker -> its queue."""


@dataclass(kw_only=True)
class PodSession:
    """The worker of a cell's session. `stopping` is set if the cell must not start."""

    entry: SessionEntry
    registry: Registry
    backend: RemoteSessions
    stopping: threading.Event = field(default_factory=threading.Event)
    gpu_keep: float = 0.0
    """Seconds for which the session is kept without a cell if its pod has a GPU; 0: as any other."""
    changes: dict[str, object] = field(default_factory=dict)
    """Fields of this cell's order that differ from its settings, once the pod has started."""

    @property
    def address(self) -> str:
        """The worker's address."""
        assert self.entry.worker is not None  # noqa: S101 - it was started before
        return self.entry.worker.address

    @property
    def is_starting(self) -> bool:
        """Whether the worker has not responded yet, or earlier cells are waiting."""
        return not (self.entry.worker and self.entry.worker.started) or bool(self._queue.cells)

    @property
    def _queue(self) -> _Queue:
        return _queues.setdefault(self.address, _Queue())

    @property
    def activity(self) -> activity.Activity:
        """The use of the session by this process."""
        return activity.of(self.backend, self.address, self.entry.created_at)

    @property
    def location(self) -> str:
        """The location of the worker, for messages."""
        return self.backend.location(self.address)

    def enqueue(self) -> None:
        """Add this cell to those that wait for the start."""
        self._queue.cells.append(self)

    def start(self, spec: RunSpec, submit: Callable[[], None]) -> Iterator[ev.NodePhase]:
        """The phases of the starting worker; `submit` is called when it has started and earlier cells were sent.

        The last phase is Running, unless the worker cannot start.

        Raises:
            BackendError: the user is not allowed to see or reach the worker, which was ended.
        """
        queue = self._queue
        try:
            with queue.changed:
                queue.changed.wait_for(lambda: queue.cells[0] is self or self.stopping.is_set())
                is_first = queue.cells[0] is self
            phase = ""
            for node in self._phases(spec) if is_first else ():
                phase = node.phase
                yield node
            if phase == "Running" and not self.stopping.is_set():
                submit()
        finally:
            with queue.changed:
                queue.cells.remove(self)
                queue.changed.notify_all()

    def stop(self) -> None:
        """Do not send the cell; if it is the one that starts the session, end the session."""
        self.stopping.set()
        with self._queue.changed:
            self._queue.changed.notify_all()

    def _phases(self, spec: RunSpec) -> Iterator[ev.NodePhase]:
        known = self.registry.find(self.entry.key)
        if known is None or known.worker is None or known.worker.address != self.address:
            message = "the session did not start; run its cells again"
            yield ev.NodePhase(phase=ev.NOT_STARTED, message=message, t=time.time())
            return
        if known.worker.started:
            self.entry = known  # an earlier cell has waited for the start
            if self.gpu_keep:
                self.changes["keep"] = known.settings.keep
            yield ev.NodePhase(phase="Running", t=time.time())
            return
        phase = ""
        try:
            for node in self.backend.starting(self.address, spec, is_ready=self._join, stopping=self.stopping):
                phase = node.phase
                if phase == "Running" and node.uid:
                    if node.has_gpu and self.gpu_keep:
                        note = gpu_note(self.entry.name, self.gpu_keep)
                        self.changes.update(keep=self.gpu_keep, note=note)
                    self._write(pod=node.uid)
                yield node
        except SessionBusy as problem:
            phase = "Running"  # for another kernel
            yield ev.NodePhase(phase=ev.NOT_STARTED, message=f"{problem}; {problem.hint}", t=time.time())
        finally:
            if phase != "Running":
                self._abandon()

    def log(self) -> Iterator[str]:
        """The log of the worker's container so far.

        Raises:
            BackendError: the log cannot be read.
        """
        yield from (item for item in self.backend.worker_log(self.address) if isinstance(item, str))

    def why_ended(self) -> str:
        """Why the worker ended, what was lost, and what to do; "" while it runs, or if unknown."""
        ending = workers.remote_ending(self.entry, self.registry)
        if ending is None:
            return ""
        steps = (ending.advice, workers.restart_hint(self.entry.name))
        return "; ".join([str(workers.lost(self.entry, ending)), *filter(None, steps)])

    def remember(self, variables: ev.SessionVariables) -> None:
        """Store the variables, for the error of the next cell if the session ends unexpectedly."""
        with contextlib.suppress(OSError):
            before = self.registry.ending(self.entry.key) or Ending(reason="")
            self.registry.write_ending(self.entry.key, replace(before, items=variables.items, total=variables.total))

    def _join(self) -> bool:
        """Become the holder of the worker; return False if it does not listen yet."""
        worker = self.entry.worker
        assert worker is not None  # noqa: S101 - it was just started
        try:
            status = workers.join(self.entry)
        except BackendUnavailable:
            return False
        self._write(started=str(status["started"]))
        return True

    def _write(self, **changes: Any) -> None:
        """Store changes of the worker, and the shorter `keep`, in the registry."""
        before = self.entry.settings.keep
        self.entry = self.registry.current(self.entry)  # cells that wait for the start may have added packages
        assert self.entry.worker is not None  # noqa: S101 - it was just started
        settings = self.entry.settings
        if "keep" in self.changes and settings.keep == before:
            settings = replace(settings, keep=self.gpu_keep)
        self.entry = replace(self.entry, worker=replace(self.entry.worker, **changes), settings=settings)
        with contextlib.suppress(OSError):
            self.registry.write(self.entry)

    def _abandon(self) -> None:
        """End the workflow of a session that has not started; the next cell starts another one."""
        worker = self.entry.worker
        assert worker is not None  # noqa: S101 - it was just started
        workers.forget(worker)
        with contextlib.suppress(BackendError):
            self.backend.end_worker(worker.address)
        with contextlib.suppress(OSError):
            self.registry.write(replace(self.entry, worker=None))
