"""A workflow's pod and log -> log text and observed phases, from the start to the end.

Rules:
- One thread watches the pods, one looks at the workflow, one reads the log; the reader of `items` is in its own.
- Where a container of its own installs, its log is read first, and then the cell's: together they are the run's.
- A log is read again after every break, from the second of its last line on, and repeats are dropped exactly.
- A pod that is deleted before its workflow has ended ends the workflow: Argo would make it again, and the cell would
  run twice. Where the workflow asks for retries, each is a pod of another name, and they are followed in order; one of
  the same name is none that anybody asked for.
- Durations are measured by a clock that stands still while the machine sleeps.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.argo.client import pods_of
from uv_argo_magic.backends.kubernetes import diagnose
from uv_argo_magic.backends.kubernetes.log_stream import LogStream
from uv_argo_magic.backends.kubernetes.rbac import Denied
from uv_argo_magic.backends.kubernetes.transport import Gone, TooEarly
from uv_argo_magic.backends.kubernetes.watchers import DELETED, ApiClient, Watchers, uid_of
from uv_argo_magic.core.protocol.events import Attempts, NodePhase, StopRequested, exit_reason
from uv_argo_magic.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uv_argo_magic.backends.base import Item
    from uv_argo_magic.backends.kubernetes.diagnose import ApiObject

AFTER_END = 120.0
"""Seconds to wait for Argo's own phase once the cell's end is known: its controller looks every ten, and has others."""
SLEPT = 20.0
"""Seconds by which the time of day runs ahead when the machine has slept."""
LAST_WORDS = 15.0
"""Seconds to wait for the rest of a log whose pod or workflow has ended."""


def so_far(door: ApiClient, name: str) -> Iterator[Item]:
    """What the workflow's pods have written by now, and its phase.

    Raises:
        BackendError: it cannot be read.
    """
    try:
        workflow = door.workflow(name)
    except Gone:
        workflow = DELETED
    pods = sorted(door.pods(pods_of(name))[0], key=lambda one: str(one["metadata"].get("creationTimestamp") or ""))
    for pod in pods:
        for container in diagnose.writers(pod):
            tail = LogStream()
            with contextlib.suppress(TooEarly, Gone):
                stream = door.log(pod["metadata"]["name"], container=container, follow=False)
                yield from filter(None, map(tail.feed, stream))
                yield tail.end()
    last = pods[-1] if pods else None
    yield NodePhase(phase=diagnose.phase(last, workflow), message=diagnose.ended(last, workflow), t=time.time())


class Follower:
    """Follows one workflow; `items` may be called once. `stopping` is set when this process asked for the end."""

    def __init__(
        self,
        door: ApiClient,
        name: str,
        nonce: str,
        *,
        stopping: threading.Event | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._door = door
        self._name = name
        self._nonce = nonce
        self._clock = clock
        self._stopping = stopping or threading.Event()
        self._readers = Watchers(door, name, pods_of(name))
        self._exited = self._readers.quiet
        self._later: list[ApiObject] = []  # those of later attempts
        self._attempts = 1
        self._early: list[tuple[str, ApiObject]] = []  # what was seen of pods before the workflow
        self._tried: dict[str, str] = {}  # pod name -> uid, of each attempt
        self._workflow: ApiObject | None = None
        self._begun = time.monotonic()
        self._listed = False  # the pods, once at least
        self._reading = False
        self._complete = False  # the log
        self._lost = False
        self._events: list[ApiObject] = []
        self._said: NodePhase | None = None

    def items(self) -> Iterator[Item]:
        """Log text in whole lines, and phases when they change, to the end of both.

        Raises:
            BackendError: it may not be followed, or the API was away for too long.
        """
        self._readers.begin()
        until: float | None = None
        asleep = self._clock() - time.monotonic()
        try:
            while True:
                with contextlib.suppress(queue.Empty):
                    kind, value = self._readers.seen.get(timeout=0.25)
                    yield from self._take(kind, value)
                if self._clock() - time.monotonic() > asleep + SLEPT:
                    self._readers.reopen()  # this machine slept, and nobody will say that the streams are dead
                asleep = self._clock() - time.monotonic()
                self._next_attempt()
                # What the workflow says of retries is known before the first bad end is read.
                if self._pod and self._workflow and not self._reading and diagnose.scheduled(self._pod):
                    self._reading = True
                    self._readers.read(self._pod)
                limit = self._patience()
                if limit is None:
                    until = None
                elif until is None or limit == 0.0:
                    until = time.monotonic() + limit
                if until is not None and time.monotonic() >= until and self._readers.seen.empty():
                    break
            yield from self._last()
        finally:
            self._readers.end()

    @property
    def _pod(self) -> ApiObject | None:
        """The pod whose log is read."""
        return self._readers.pod

    @_pod.setter
    def _pod(self, pod: ApiObject) -> None:
        self._readers.pod = pod

    def _patience(self) -> float | None:
        """Seconds that there may still be something to come; None: the run goes on."""
        final = diagnose.phase(None, self._workflow) in diagnose.FINAL
        if self._exited.is_set():
            return 0.0 if final else AFTER_END
        if self._later:
            return None
        if final and not self._listed:
            return LAST_WORDS
        over = self._pod and diagnose.terminated(self._pod) and not self._again()
        if self._lost or final or over:
            # Without the exit record, what the log still holds is all that can be known of the cell.
            return 0.0 if self._complete or not self._reading else LAST_WORDS
        return None

    def _again(self) -> bool:
        """Whether Argo may make a pod for another attempt."""
        left = not self._attempts or len(self._tried) < self._attempts
        return left and not self._stopping.is_set() and not self._lost

    def _next_attempt(self) -> None:
        """Go on to the next attempt's pod, once the log of the one before, if it had one, is read to its end."""
        if self._later and (self._complete or not diagnose.scheduled(self._pod or {})):
            self._pod = self._later.pop(0)
            self._reading = self._complete = False
            self._events, self._said = [], None

    def _take(self, kind: str, value: Any) -> Iterator[Item]:
        match kind:
            case "log":
                if not self._exited.is_set():
                    reason = exit_reason(value, self._nonce)
                    if reason and (reason in {"ok", "stopped"} or not (self._later or self._again())):
                        self._exited.set()
                yield value
            case "complete":
                self._complete = True
            case "pods" if self._workflow is None:
                self._early += value  # whether a second pod is a retry, the workflow says
            case "pods":
                yield from self._pods(value)
            case "workflow":
                self._workflow = value
                if (attempts := diagnose.attempts(value)) != self._attempts:
                    self._attempts = attempts
                    yield Attempts(limit=attempts, t=self._clock())
                if (value.get("spec") or {}).get("shutdown") and not (self._stopping.is_set() or self._lost):
                    # Somebody else: in another process, or with Argo's own tools.
                    self._stopping.set()
                    yield StopRequested(by=diagnose.stopper(value), t=self._clock())
                early, self._early = self._early, []
                yield from self._pods(early) if early else self._phase()
            case "events":
                self._events = value
                yield from self._phase()
            case _:
                raise value

    def _pods(self, seen: list[tuple[str, ApiObject]]) -> Iterator[NodePhase]:
        """Pods as they are now, as (type of change, pod)."""
        self._listed = True
        for change, pod in seen:
            name, uid = pod["metadata"]["name"], uid_of(pod)
            if uid in self._tried.values():
                yield from self._known_pod(change, pod)
            elif change != "DELETED" and (not self._tried or (self._attempts != 1 and name not in self._tried)):
                self._tried[name] = uid
                if self._pod is None:
                    self._pod = pod
                else:
                    self._later.append(pod)
            elif change != "DELETED":
                # Another pod for the same attempt: the first one is gone, whether anybody said so or not.
                yield from self._pod_lost()
        yield from self._phase()

    def _known_pod(self, change: str, pod: ApiObject) -> Iterator[NodePhase]:
        gone = change == "DELETED" or diagnose.leaves(pod)
        if uid_of(pod) == uid_of(self._pod):
            self._pod = pod
            if gone and self._attempts == 1:
                yield from self._pod_lost()
        else:
            self._later = [pod if uid_of(one) == uid_of(pod) else one for one in self._later]

    def _pod_lost(self) -> Iterator[NodePhase]:
        # A stopped workflow's pods go by Argo's own hand, and are not made again.
        stopped = self._stopping.is_set() or ((self._workflow or {}).get("spec") or {}).get("shutdown")
        if self._lost or stopped or diagnose.phase(None, self._workflow) in diagnose.FINAL:
            return
        self._lost = True
        threading.Thread(target=self._terminate, name="uv-argo-terminate", daemon=True).start()
        yield NodePhase(phase="Error", message=diagnose.lost(self._pod), t=self._clock(), uid=uid_of(self._pod))

    def _terminate(self) -> None:
        """Argo makes a lost pod again within seconds: this must get through before."""
        for _ in range(20):
            try:
                self._door.shutdown(self._name, "Terminate")
            except Denied:
                return
            except BackendError:
                time.sleep(0.3)
            else:
                return

    def _phase(self) -> Iterator[NodePhase]:
        """What is seen now, if it is not what was seen before."""
        if self._lost or self._exited.is_set():
            return
        phase = diagnose.phase(self._pod, self._workflow)
        if phase in diagnose.FINAL:
            return
        message = diagnose.waiting(self._pod, self._workflow, self._events, time.monotonic() - self._begun)
        before = self._said
        if before is None or (before.phase, before.message) != (phase, message):
            self._said = NodePhase(phase=phase, message=message, t=self._clock(), uid=uid_of(self._pod))
            yield self._said

    def _last(self) -> Iterator[NodePhase]:
        """How it ended, once nothing more is to come."""
        if not self._exited.is_set():
            with contextlib.suppress(BackendError):
                self._workflow = self._readers.workflow_now()
        phase = diagnose.phase(None, self._workflow)
        if phase not in diagnose.FINAL and self._pod is not None and diagnose.terminated(self._pod):
            # Argo will say so in some seconds; the pod itself may still count as running, for its other container.
            phase = diagnose.own_end(self._pod)
        if self._workflow is DELETED:
            message = diagnose.ended(None, DELETED)
        elif self._lost:
            message = diagnose.lost(self._pod, self._workflow)
        elif not self._reading and diagnose.ran(self._workflow):
            message = diagnose.gone(self._workflow)
        elif self._exited.is_set() and phase not in diagnose.FINAL:
            message = "Argo has not said how it ended; its controller may be away"
        elif phase != "Succeeded":
            message = diagnose.ended(self._pod, self._workflow)
        else:
            message = "" if self._exited.is_set() else "the log lost its end; run the cell again for its output"
        if message and self._said and self._said.message and not self._exited.is_set():
            message = f"{message}; until then: {self._said.message}"
        yield NodePhase(phase=phase, message=message, t=self._clock(), uid=uid_of(self._pod))
