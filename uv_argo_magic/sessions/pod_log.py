"""Read a session's run from the log of its pod, for a client that cannot reach the worker, for example after its end.

Rule: the log has the records of all cells, and the node keeps only the end of a long log. A run is shown with the
remaining lines, and the number of missing ones.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uv_argo_magic.backends.base import FINAL_PHASES, Capability, Submission
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.merged_log import MergedLog, SessionLog, dropped
from uv_argo_magic.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from uv_argo_magic.backends.base import Item, RemoteRun
    from uv_argo_magic.backends.sessions import RemoteSessions
    from uv_argo_magic.core.spec.program import Program
    from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
    from uv_argo_magic.uv.interpreters import Interpreter

ROTATED = "the node keeps only the end of a pod's log"


@dataclass(kw_only=True)
class PodLogRuns:
    """Reads a run, without being able to start or stop one. `address` is the worker's, `nonce` the run's."""

    backend: RemoteSessions
    address: str
    nonce: str
    session: str
    capabilities: Capability = Capability.DETACH
    settings: frozenset[str] = frozenset()

    def target(self, spec: RunSpec) -> Interpreter:  # noqa: ARG002 - the protocol's signature
        """Always fails, because nothing can run.

        Raises:
            BackendUnavailable: always.
        """
        raise self._unreachable()

    def submit(self, program: Program, spec: RunSpec, run_id: str, *, notebook: str = "") -> Submission:  # noqa: ARG002
        """See `target`."""
        raise self._unreachable()

    def find(self, name: str, settings: Settings) -> RemoteRun | None:
        """None, because runs of sessions are found in the history."""

    def watch(self, name: str, *, follow: bool = True) -> Iterator[Item]:  # noqa: ARG002 - it reads one run
        """The run's lines in the log, until the end of the run or of the log."""
        log, merged = SessionLog(self.nonce, is_live=follow), MergedLog()
        last: ev.NodePhase | None = None
        for item in self.backend.worker_log(self.address, follow=follow):
            if isinstance(item, str):
                for first, text in log.feed(item):
                    if missing := first - 1 - merged.received:
                        yield dropped(self.nonce, log.boot, first - 1, missing, ROTATED)
                        merged.skip(first - 1)
                    yield merged.add(text, first)
                if log.has_ended:
                    yield ev.NodePhase(phase="Succeeded", t=time.time())
                    return
            elif not isinstance(item, ev.NodePhase):
                continue
            elif item.phase in FINAL_PHASES:
                last = item
            else:
                yield item
        if not merged.received:
            message = f"the log of the session's pod does not have this run: {ROTATED}, and removes it with the pod"
            yield ev.NodePhase(phase="Unknown", message=message, t=time.time())
        elif last is not None:
            message = f"the session {self.session} ended" + (f": {last.message}" if last.message else "")
            yield ev.NodePhase(phase="Failed", message=message, t=time.time())

    def stop(self, name: str) -> None:  # noqa: ARG002 - the protocol's signature
        """Always fails, because only the worker can stop a cell.

        Raises:
            BackendUnavailable: always.
        """
        raise self._unreachable()

    def delete(self, name: str) -> None:
        """Does nothing, because there are no resources."""

    def _unreachable(self) -> BackendUnavailable:
        return BackendUnavailable(
            f"the session {self.session} cannot be reached", hint=f"%argo stop {self.session} ends it."
        )
