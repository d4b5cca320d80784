"""The state of following a workflow, and how each message changes it: a frozen data class and pure functions.

Rules:
- A run has one pod for each attempt, each with a different name. Their logs are read in order.
- If a pod is deleted before its workflow has ended, the workflow is terminated: otherwise Argo would create the pod
  again, and the cell would run twice. The same applies to a second pod for the same attempt.
- The workflow determines whether a second pod is a retry. Changes of pods are therefore queued until the workflow is
  known.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias, assert_never

from uv_argo_magic.backends.argo import diagnose
from uv_argo_magic.backends.argo.watchers import Message, WorkflowSeen
from uv_argo_magic.backends.base import FINAL_PHASES
from uv_argo_magic.backends.kubernetes import diagnose as pods
from uv_argo_magic.backends.kubernetes.transport import NotLoggedIn
from uv_argo_magic.backends.kubernetes.watchers import (
    ConnectionChanged,
    EventsSeen,
    LogComplete,
    LogText,
    PodChange,
    PodsChanged,
    WatchFailed,
)
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.protocol.events import (
    NOT_STARTED,
    PULLING,
    UNREACHABLE,
    Attempts,
    NodePhase,
    StopRequested,
)
from uv_argo_magic.core.protocol.log_reader import exit_reason, starts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from uv_argo_magic.backends.base import Item
    from uv_argo_magic.backends.kubernetes.diagnose import ApiObject

PHASE_DELAY = 120.0
"""Seconds to wait for Argo's phase after the end of the cell; its controller checks every ten seconds, if not busy."""
CAUSE_DELAY = 20.0
"""Seconds to wait for the cause if a cell was stopped without a request; Argo's controller checks every ten seconds."""
LOG_DELAY = 15.0
"""Seconds to wait for the rest of a log after the end of the pod or the workflow."""


@dataclass(frozen=True)
class ReadLog:
    """Start reading the log of this pod."""

    pod: ApiObject


@dataclass(frozen=True)
class Terminate:
    """Terminate the workflow, so that Argo does not create a lost pod again."""


Effect: TypeAlias = "Item | ReadLog | Terminate"


@frozen
class FollowState:
    """The state after some messages. `nonce` is that of the run's records.

    `pod` is the pod whose log is read, `next_pods` are those of later attempts. `attempts` has (pod name, uid) of all.
    """

    nonce: str
    workflow: ApiObject | None = None
    pod: ApiObject | None = None
    next_pods: tuple[ApiObject, ...] = ()
    attempts: tuple[tuple[str, str], ...] = ()
    attempt_limit: int = 1
    early_changes: tuple[PodChange, ...] = ()
    """Changes of pods that are queued until the workflow is known."""
    events: tuple[ApiObject, ...] = ()
    reported: NodePhase | None = None
    """The last phase reported for this attempt."""
    pods_listed: bool = False
    log_started: bool = False
    log_complete: bool = False
    exited: bool = False
    """Whether the exit record of the run was read."""
    succeeded: bool = False
    """Whether that record reports success."""
    unexplained_exit: str = ""
    """The log from the exit record on, if the cell was stopped without a request. It is held back until the cause is
    known, such as an eviction or a deadline."""
    sees_pods: bool = True
    """Whether the client reads pods. Otherwise it derives them from the workflow, and cannot see that another pod with
    the same name replaced one."""
    boot: str = ""
    """The boot of the guest."""
    repeated: bool = False
    """Whether the log is from a second pod for the same attempt."""
    pod_lost: bool = False
    start_timeout: float = 0.0
    """Seconds after which a run whose pod cannot start is terminated; 0: never."""
    failing: tuple[str, ...] = ()
    """The names of the threads whose requests fail."""
    blocked_since: float | None = None
    """When it was noticed that the pod cannot start, in seconds since the submission."""
    given_up: str = ""
    """Why the pod could not start; set after `start_timeout`."""
    stopping: bool = False
    """Whether a stop was requested, by this process or another client."""

    @property
    def may_retry(self) -> bool:
        """Whether Argo can create a pod for another attempt."""
        left = not self.attempt_limit or len(self.attempts) < self.attempt_limit
        return left and not (self.stopping or self.pod_lost or self.given_up)

    @property
    def patience(self) -> float | None:
        """Seconds to wait for more messages; None while the run continues."""
        is_final = diagnose.is_final(self.workflow)
        if self.given_up:
            return 0.0 if is_final else LOG_DELAY
        if self.unexplained_exit:
            has_cause = pods.ended_early(self.pod) or (self.pod_lost and self.sees_pods)
            return 0.0 if is_final or has_cause else CAUSE_DELAY
        if self.exited:
            return 0.0 if is_final else PHASE_DELAY
        if self.next_pods:
            return None
        if is_final and not self.pods_listed:
            return LOG_DELAY
        pod_ended = self.pod and pods.terminated(self.pod) and not self.may_retry
        if self.pod_lost or is_final or pod_ended:
            # Without an exit record, the rest of the log is the only information on the cell.
            return 0.0 if self.log_complete or not self.log_started else LOG_DELAY
        return None


@dataclass(kw_only=True)
class _Step:
    """The state and the effects while a message is processed; `t` and `seconds` as in `advance`."""

    state: FollowState
    t: float
    seconds: float
    effects: list[Effect] = field(default_factory=list)

    def set(self, **changes: object) -> None:
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]


def advance(
    state: FollowState, message: Message, *, t: float, seconds: float
) -> tuple[FollowState, tuple[Effect, ...]]:
    """The state after a message, and its effects: items for the reader of the run, a log to read, a termination.

    `t` is the time of the message (Unix seconds), `seconds` the time since the submission.

    Raises:
        BackendError: the message is a WatchFailed.
    """
    step = _Step(state=state, t=t, seconds=seconds)
    match message:
        case LogText(text=text):
            _read_text(step, text)
        case LogComplete():
            step.set(log_complete=True)
        case PodsChanged(changes=changes):
            _pods_changed(step, changes)
        case WorkflowSeen(workflow=workflow):
            _workflow_seen(step, workflow)
        case EventsSeen(events=events):
            step.set(events=events)
            _report_phase(step)
        case ConnectionChanged():
            _connection_changed(step, message)
        case WatchFailed(error=error):
            raise error
        case _:
            assert_never(message)
    _release_exit(step)
    _next_attempt(step)
    _check_start(step)
    _start_log(step)
    return step.state, tuple(step.effects)


def last_phase(state: FollowState, *, t: float) -> NodePhase:
    """The final phase, after the last message."""
    if state.given_up:
        return NodePhase(phase=NOT_STARTED, message=state.given_up, t=t, uid=pods.uid_of(state.pod))
    phase = diagnose.phase(None, state.workflow)
    if not diagnose.is_final(state.workflow) and state.pod is not None and pods.terminated(state.pod):
        # Argo reports its phase seconds later, and the pod can still be running because of its other container.
        phase = pods.exit_phase(state.pod)
    elif state.pod_lost and not diagnose.is_final(state.workflow):
        phase = "Error"
    message = _last_message(state, phase)
    has_started = state.exited or state.unexplained_exit
    if message and state.reported and state.reported.message and not has_started:
        (cause, _, step), (waited, _, other_step) = message.partition("; "), state.reported.message.partition("; ")
        message = f"{cause} (before that: {waited}); {', or '.join(filter(None, (step, other_step)))}"
    return NodePhase(phase=phase, message=message, t=t, uid=pods.uid_of(state.pod))


def _last_message(state: FollowState, phase: str) -> str:
    if state.workflow is diagnose.DELETED:
        return diagnose.ended(None, diagnose.DELETED)
    if state.pod_lost:
        return diagnose.lost(state.pod, state.workflow)
    if not state.log_started and diagnose.has_run(state.workflow):
        return diagnose.log_gone(state.workflow)
    if state.exited and phase not in FINAL_PHASES:
        return "Argo has not reported how the run ended; its controller may be down"
    if phase != "Succeeded":
        return diagnose.ended(state.pod, state.workflow)
    return "" if state.exited else "the end of the log is missing; run the cell again to see its output"


def _read_text(step: _Step, text: str) -> None:
    _check_boot(step, text)
    state = step.state
    if state.repeated:
        return
    if state.unexplained_exit:
        step.set(unexplained_exit=state.unexplained_exit + text)
        return
    if not state.exited:
        reason = exit_reason(text, state.nonce)
        is_last = not (state.next_pods or state.may_retry)
        if reason == "stopped" and is_last and not state.stopping:
            step.set(unexplained_exit=text)
            if not state.sees_pods:
                # The pod may have been deleted, and Argo would create it again within seconds.
                _lose_pod(step)
            return
        if reason and (reason in {"ok", "stopped"} or is_last):
            step.set(exited=True, succeeded=reason == "ok")
    step.effects.append(text)


def _check_boot(step: _Step, text: str) -> None:
    """Detect a second execution of the same attempt by the boot in the records."""
    for boot in starts(text, step.state.nonce):
        if not step.state.boot:
            step.set(boot=boot)
        elif boot != step.state.boot and step.state.attempt_limit == 1:
            step.set(repeated=True)
            _lose_pod(step)


def _release_exit(step: _Step) -> None:
    """Report an exit that was held back, if it turns out that a stop was requested."""
    state = step.state
    if state.unexplained_exit and state.stopping:
        step.effects.append(state.unexplained_exit)
        step.set(unexplained_exit="", exited=True)


def _workflow_seen(step: _Step, workflow: ApiObject) -> None:
    step.set(workflow=workflow)
    if (limit := diagnose.attempt_limit(workflow)) != step.state.attempt_limit:
        step.set(attempt_limit=limit)
        step.effects.append(Attempts(limit=limit, t=step.t))
    if diagnose.is_shut_down(workflow) and not (step.state.stopping or step.state.pod_lost or step.state.given_up):
        step.set(stopping=True)
        step.effects.append(StopRequested(by=diagnose.stopped_by(workflow), t=step.t))
    early_changes = step.state.early_changes
    step.set(early_changes=())
    if early_changes:
        _pods_changed(step, early_changes)
    else:
        _report_phase(step)


def _pods_changed(step: _Step, changes: Iterable[PodChange]) -> None:
    if step.state.workflow is None:
        step.set(early_changes=(*step.state.early_changes, *changes))
        return
    step.set(pods_listed=True)
    for change in changes:
        name, uid = pods.name_of(change.pod), pods.uid_of(change.pod)
        attempts = dict(step.state.attempts)
        if uid in attempts.values():
            _pod_changed(step, change)
        elif change.kind == "DELETED":
            continue
        elif not attempts or (step.state.attempt_limit != 1 and name not in attempts):
            step.set(attempts=(*step.state.attempts, (name, uid)))
            if step.state.pod is None:
                step.set(pod=change.pod)
            else:
                step.set(next_pods=(*step.state.next_pods, change.pod))
        else:
            # A second pod for the same attempt means that the first one was deleted.
            _lose_pod(step)
    _report_phase(step)


def _pod_changed(step: _Step, change: PodChange) -> None:
    uid = pods.uid_of(change.pod)
    if uid == pods.uid_of(step.state.pod):
        step.set(pod=change.pod)
        if step.state.attempt_limit == 1 and (change.kind == "DELETED" or pods.is_deleting(change.pod)):
            _lose_pod(step)
    else:
        next_pods = [change.pod if pods.uid_of(pod) == uid else pod for pod in step.state.next_pods]
        step.set(next_pods=tuple(next_pods))


def _lose_pod(step: _Step) -> None:
    state = step.state
    # Argo deletes the pods of a stopped workflow, and does not create them again.
    if (
        state.given_up
        or state.pod_lost
        or state.stopping
        or diagnose.is_shut_down(state.workflow)
        or diagnose.is_final(state.workflow)
    ):
        return
    step.set(pod_lost=True)
    step.effects.append(Terminate())
    if diagnose.pending_timeout(state.workflow) and state.pod and not pods.started(state.pod):
        return  # Argo may have deleted it; the workflow will show that
    uid = pods.uid_of(state.pod)
    step.effects.append(NodePhase(phase="Error", message=diagnose.lost(state.pod, state.workflow), t=step.t, uid=uid))


def _report_phase(step: _Step) -> None:
    """Report the phase and the reason why the pod has not started, if either has changed."""
    state = step.state
    phase = diagnose.phase(state.pod, state.workflow)
    if state.given_up or state.pod_lost or state.exited or phase in FINAL_PHASES:
        return
    message = diagnose.waiting(state.pod, state.workflow, state.events, step.seconds)
    if phase == "Pending" and not message and (work := _preparing(state)):
        phase, message = PULLING, work
    if state.reported is None or (state.reported.phase, state.reported.message) != (phase, message):
        phase_now = NodePhase(phase=phase, message=message, t=step.t, uid=pods.uid_of(state.pod))
        step.set(reported=phase_now)
        step.effects.append(phase_now)


def _preparing(state: FollowState) -> str:
    """What the node is doing before the pod starts, if this can take minutes; "" if it does nothing or is unknown."""
    if state.pod is None:
        return ""
    if image := pods.pulling(state.pod, state.events):
        return f"pulling the image {image}"
    if not state.sees_pods and pods.is_preparing(state.pod):
        return "preparing the pod on its node, which includes pulling its images"
    return ""


def _connection_changed(step: _Step, change: ConnectionChanged) -> None:
    state = step.state
    others = tuple(source for source in state.failing if source != change.source)
    if change.error is None:
        step.set(failing=others)
        if state.failing and not others:
            step.set(reported=None)
            _report_phase(step)
        return
    step.set(failing=(*others, change.source))
    if not others and not state.exited:
        since = time.strftime("%H:%M:%S", time.localtime(change.since))
        message = f"no connection since {since} ({change.error}); the run continues, and its output will follow"
        if isinstance(change.error, NotLoggedIn):
            message = f"{change.error} since {since}; log in again to see its output; the run continues"
        step.effects.append(NodePhase(phase=UNREACHABLE, message=message, t=step.t, uid=pods.uid_of(state.pod)))


def _check_start(step: _Step) -> None:
    """Terminate a workflow whose pod has not been able to start for `start_timeout`."""
    state = step.state
    if state.given_up or state.pod_lost or state.stopping or state.pod is None or not state.start_timeout:
        return
    if not pods.is_blocked(state.pod, state.events):
        step.set(blocked_since=None)
    elif state.blocked_since is None:
        step.set(blocked_since=step.seconds)
    elif step.seconds - state.blocked_since >= state.start_timeout:
        cause = diagnose.waiting(state.pod, state.workflow, state.events, step.seconds)
        step.set(given_up=f"the run did not start within start_timeout ({state.start_timeout:g} seconds): {cause}")
        step.effects.append(Terminate())


def _next_attempt(step: _Step) -> None:
    """Continue with the pod of the next attempt, once the log of the previous one is complete, if it has one."""
    state = step.state
    if state.next_pods and (state.log_complete or not _is_scheduled(state.pod)):
        pod, *rest = state.next_pods
        step.set(pod=pod, next_pods=tuple(rest), log_started=False, log_complete=False, events=(), reported=None)


def _start_log(step: _Step) -> None:
    # Wait for the workflow, since its attempt limit decides whether a failure in the log is final.
    state = step.state
    if state.pod and state.workflow and not state.log_started and _is_scheduled(state.pod):
        step.set(log_started=True)
        step.effects.append(ReadLog(state.pod))


def _is_scheduled(pod: Mapping[str, object] | None) -> bool:
    return pod is not None and pods.is_scheduled(pod)
