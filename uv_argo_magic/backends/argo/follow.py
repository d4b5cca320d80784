"""Follow a workflow and its pods from start to end, and yield log text and phases.

Rules:
- One thread watches the pods, one reads the workflow, and one reads the log. `items` runs in the thread of its caller.
- follow_state.py decides what each message means; this module has the threads, clocks and requests.
- Durations are measured with a clock that stops while the machine sleeps.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from uv_argo_magic.backends.argo import diagnose, watchers
from uv_argo_magic.backends.argo.client import pods_of
from uv_argo_magic.backends.argo.follow_state import FollowState, ReadLog, Terminate, advance, last_phase
from uv_argo_magic.backends.argo.watchers import EarlyText
from uv_argo_magic.backends.kubernetes import diagnose as pods
from uv_argo_magic.backends.kubernetes.log_stream import LogStream
from uv_argo_magic.backends.kubernetes.rbac import Denied
from uv_argo_magic.backends.kubernetes.transport import Gone, TooEarly
from uv_argo_magic.backends.kubernetes.watchers import LogText
from uv_argo_magic.core.protocol.events import NodePhase, StopRequested
from uv_argo_magic.core.protocol.merged_log import EarlyCopy
from uv_argo_magic.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uv_argo_magic.backends.argo.watchers import Message, WorkflowClient
    from uv_argo_magic.backends.base import Item

TERMINATE_DELAY = 10.0
"""Seconds to wait at the end for the request that terminates the workflow."""
TICK = 0.5
"""Seconds after which a thread that waits for its pod checks whether it must end."""
SLEEP_JUMP = 20.0
"""If the wall clock gains this many seconds on the monotonic clock, the machine was asleep."""


def so_far(client: WorkflowClient, name: str) -> Iterator[Item]:
    """The log of the workflow's pods so far, and its phase.

    Raises:
        BackendError: the workflow or a log cannot be read.
    """
    try:
        workflow = client.workflow(name)
    except Gone:
        workflow = diagnose.DELETED
    pod_list, _ = client.pods(pods_of(name))
    pod_list = sorted(pod_list, key=pods.created)
    last = pod_list[-1] if pod_list else None
    phase = NodePhase(phase=diagnose.phase(last, workflow), message=diagnose.ended(last, workflow), t=time.time())
    if diagnose.is_shut_down(workflow):
        yield StopRequested(by=diagnose.stopped_by(workflow), t=time.time())
    yield phase  # before the exit record, since it contains the cause if Argo or the cluster ended the cell
    for pod in pod_list:
        for container in pods.log_containers(pod):
            log = LogStream(watchers.EXECUTOR_LINES)
            with contextlib.suppress(TooEarly, Gone):
                stream = client.log(pods.name_of(pod), container=container, follow=False)
                yield from filter(None, map(log.feed, stream))
                yield log.end()


class Follower:
    """Follows one workflow. `stopping` is set when this process requests a stop.

    `read_early` yields the early copy of the log of a pod (early_output.py).
    """

    def __init__(  # noqa: PLR0913 - by keyword, each with a default
        self,
        client: WorkflowClient,
        name: str,
        nonce: str,
        *,
        stopping: threading.Event | None = None,
        start_timeout: float = 0.0,
        read_early: Callable[..., Iterator[str]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._name = name
        self._clock = clock
        self._stopping = stopping or threading.Event()
        self._watchers = watchers.WorkflowWatchers(client, name)
        self._terminations: list[threading.Thread] = []
        self._is_closed = threading.Event()
        self._started_at = time.monotonic()
        self._read_early = read_early
        self._copies = EarlyCopy(nonce) if read_early else None
        self._log_begun = threading.Event()
        self._state = FollowState(nonce=nonce, start_timeout=start_timeout, sees_pods=client.sees_pods)
        self.misreport = ""
        """Argo's message if it reports failure for a cell that succeeded; set when the run has ended."""

    def items(self) -> Iterator[Item]:
        """Log text in whole lines, and phases when they change, until the end of both. Can be called once.

        Raises:
            BackendError: the user is not allowed to read the workflow or its log, or the API was unavailable for too
                long.
        """
        self._watchers.watch()
        deadline: float | None = None
        offset = self._clock() - time.monotonic()
        try:
            while not self._is_closed.is_set():
                with contextlib.suppress(queue.Empty):
                    message = self._watchers.messages.get(timeout=0.25)
                    if self._is_closed.is_set():
                        break  # the caller has closed it, so a lost pod must not terminate the workflow
                    yield from self._handle(message)
                if self._clock() - time.monotonic() > offset + SLEEP_JUMP:
                    self._watchers.reopen()  # the machine slept: streams can be dead without an error
                offset = self._clock() - time.monotonic()
                patience = self._current().patience
                if patience is None:
                    deadline = None
                elif deadline is None or patience == 0.0:
                    deadline = time.monotonic() + patience
                if deadline is not None and time.monotonic() >= deadline and self._watchers.messages.empty():
                    break
            if self._is_closed.is_set():
                return
            last = self._last()
            if self._state.succeeded and last.phase in {"Failed", "Error"}:
                self.misreport = f"Argo reports {last.phase} for a cell that succeeded: {last.message}"
            yield last
            if self._state.unexplained_exit:
                yield self._state.unexplained_exit
        finally:
            self._watchers.close()
            for thread in self._terminations:
                thread.join(TERMINATE_DELAY)  # this process may exit right after

    @property
    def pod(self) -> pods.ApiObject | None:
        """The current state of the pod; None before it is created."""
        return self._state.pod

    def close(self) -> None:
        """End `items`, from any thread."""
        self._is_closed.set()

    def _current(self) -> FollowState:
        """The state, including a stop that this process has requested."""
        if self._stopping.is_set() and not self._state.stopping:
            self._state = replace(self._state, stopping=True)
        return self._state

    def _merged(self, message: Message | EarlyText) -> Message | None:
        """The message with only its new lines; None if it has none."""
        if isinstance(message, LogText) and self._copies is not None:
            self._log_begun.set()
            message = LogText(self._copies.add_log(message.text))
        elif isinstance(message, EarlyText):
            assert self._copies is not None  # noqa: S101 - it reads the copy
            if not message.text:
                self._copies.end_early()
            message = LogText(self._copies.add_early(message.text))
        return None if isinstance(message, LogText) and not message.text else message

    def _read_copy(self, read: Callable[..., Iterator[str]], pod: pods.ApiObject) -> None:
        """Read the early copy to its end; runs in a thread."""
        ended = (self._watchers.done, self._log_begun)
        while not any(event.is_set() for event in ended):
            if self._watchers.wait_for_pod(pods.is_starting, TICK):
                break
        for text in read(pods.name_of(pod), done=self._watchers.done, log_begun=self._log_begun):
            self._watchers.messages.put(EarlyText(text))
        self._watchers.messages.put(EarlyText(""))

    def _handle(self, received: Message | EarlyText) -> Iterator[Item]:
        message = self._merged(received)
        if message is None:
            return
        seconds = time.monotonic() - self._started_at
        self._state, effects = advance(self._current(), message, t=self._clock(), seconds=seconds)
        self._watchers.pod = self._state.pod
        if self._state.exited:
            self._watchers.quiet.set()
        for effect in effects:
            match effect:
                case ReadLog(pod=pod):
                    self._watchers.read_log(pod)
                    if self._read_early is not None:
                        self._watchers.start(functools.partial(self._read_copy, self._read_early, pod), "early")
                case Terminate():
                    thread = threading.Thread(target=self._terminate, name="uv-argo-terminate", daemon=True)
                    thread.start()
                    self._terminations.append(thread)
                case _:
                    yield effect

    def _last(self) -> NodePhase:
        state = self._current()
        if not state.exited:
            with contextlib.suppress(BackendError):
                state = replace(state, workflow=self._watchers.workflow_now())
        return last_phase(state, t=self._clock())

    def _terminate(self) -> None:
        """Terminate the workflow at once, because Argo creates a lost pod again within seconds."""
        for _ in range(20):
            try:
                self._client.shutdown(self._name, "Terminate")
            except Denied:
                return
            except BackendError:
                time.sleep(0.3)
            else:
                return
