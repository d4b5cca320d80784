"""A session whose worker no machine of the user's has: wait for it, find it again, and remember what it had.

Rule: the registry is the memory of this side. It is written when the worker has answered, and after each cell.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.errors import BackendError, BackendUnavailable
from uv_argo_magic.sessions import workers
from uv_argo_magic.sessions.registry import Ending

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.backends.base import RemoteSessions
    from uv_argo_magic.core.spec.run_spec import RunSpec
    from uv_argo_magic.sessions.registry import Registry, SessionEntry

_starting: dict[str, threading.Lock] = {}
"""By token: cells of a session that starts are sent in the order in which they came."""


@dataclass(kw_only=True)
class PodSession:
    """The worker of one cell's session. `stopping` is set when that cell must not start."""

    entry: SessionEntry
    registry: Registry
    backend: RemoteSessions
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def address(self) -> str:
        """The worker's address."""
        assert self.entry.worker is not None  # noqa: S101 - it was just started
        return self.entry.worker.address

    @property
    def is_starting(self) -> bool:
        """Whether the worker has not answered yet."""
        return not (self.entry.worker and self.entry.worker.started)

    @property
    def location(self) -> str:
        """Where the worker is, for people."""
        return self.backend.location(self.address)

    def start(self, spec: RunSpec) -> Iterator[ev.NodePhase]:
        """What the worker waits for; the last phase is Running once this process is its holder.

        Raises:
            BackendError: the user may not see or reach the worker. It was ended.
        """
        worker = self.entry.worker
        assert worker is not None  # noqa: S101 - it was just started
        with _starting.setdefault(worker.token, threading.Lock()):
            known = self.registry.find(self.entry.key)
            if known and known.worker and known.worker.token == worker.token and known.worker.started:
                self.entry = known  # a cell before this one has waited
                yield ev.NodePhase(phase="Running", t=time.time())
                return
            phase = ""
            try:
                for node in self.backend.starting(self.address, spec, is_ready=self._join, stopping=self.stopping):
                    phase = node.phase
                    yield node
            finally:
                if phase != "Running":
                    self._abandon()

    def why_ended(self) -> str:
        """Why the worker has ended, and what was lost; "" while it lives, or if that is not known."""
        ending = workers.remote_ending(self.entry, self.registry)
        return str(workers.lost(self.entry, ending)) if ending else ""

    def remember(self, variables: ev.SessionVariables) -> None:
        """Keep the variables, for the error of the cell after an unexpected end."""
        with contextlib.suppress(OSError):
            self.registry.write_ending(self.entry.key, Ending(reason="", items=variables.items, total=variables.total))

    def _join(self) -> bool:
        """Become the holder of the worker, if it listens."""
        worker = self.entry.worker
        assert worker is not None  # noqa: S101 - it was just started
        try:
            status = workers.join(self.entry)
        except BackendUnavailable:
            return False
        self.entry = replace(self.entry, worker=replace(worker, started=str(status["started"])))
        with contextlib.suppress(OSError):
            self.registry.write(self.entry)
        return True

    def _abandon(self) -> None:
        """End the workflow of a session that has not started; its next cell starts another one."""
        worker = self.entry.worker
        assert worker is not None  # noqa: S101 - it was just started
        workers.forget(worker)
        with contextlib.suppress(BackendError):
            self.backend.end_worker(worker.address)
        with contextlib.suppress(OSError):
            self.registry.write(replace(self.entry, worker=None))
