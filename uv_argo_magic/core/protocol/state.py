"""The state of a run, folded from its events: `step` takes one event, `fold` all of them.

Rules:
- `step` is pure and total: it returns a state for every event in every state, and never raises.
- A run moves through the phases of ORDER and never back, except for another attempt.
- The guest's `exit` record decides the outcome and nothing changes it afterwards. `node`, the backend's view, can
  arrive later. A guest that was stopped without a request does not know why; then a failed `node` decides if it arrived
  before the record. If another attempt can follow a failed one, the outcome is final once the log is complete.
- (boot, n) identifies a line: a repeated line is dropped, and missing lines become a `Gap`. A new boot is a new
  attempt, unless its `hello` names the boot that it continues.
"""

from __future__ import annotations

from dataclasses import field
from functools import reduce
from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol import log_reader
from uv_argo_magic.core.protocol.append_log import AppendLog

if TYPE_CHECKING:
    from collections.abc import Iterable

Phase: TypeAlias = Literal[
    "new", "preparing", "queued", "pulling", "starting", "resolving", "installing", "running", "ended"
]
Outcome: TypeAlias = Literal["", "Succeeded", "Failed", "InstallFailed", "Stopped", "Lost", "NotStarted"]


@frozen
class Gap:
    """Lines missing from the log at this position: their number (0: unknown) and the reason."""

    lines: int
    reason: str


@frozen
class Restarted:
    """The cell starts again at this position, as attempt number `attempt`, in another pod or process."""

    boot: str
    attempt: int = 2


Output: TypeAlias = (
    ev.Lines | ev.Text | ev.Display | ev.Result | ev.Traceback | ev.ClearOutput | ev.Skipped | Gap | Restarted
)
"""What the cell displays, in order."""

ORDER: tuple[Phase, ...] = (
    "new", "preparing", "queued", "pulling", "starting", "resolving", "installing", "running", "ended",
)  # fmt: skip
"""The phases in order. A run can skip phases, because a log can lack its beginning and a run can need no install. An
earlier phase changes nothing. Only another attempt goes back, to "queued"."""

BEFORE_START = ("new", "preparing", "queued", "pulling")
"""The phases before the program starts."""

OUTCOMES: dict[str, Outcome] = {
    "ok": "Succeeded",
    "error": "Failed",
    "exit": "Failed",
    "signal": "Failed",
    "deadline": "Failed",
    "guest": "Failed",
    "install": "InstallFailed",
    "stopped": "Stopped",
}
"""Reason of an exit record -> outcome of the run."""

_FAILED = frozenset({"Failed", "Error", ev.NOT_STARTED})
"""The phases of a node that has failed."""


@frozen
class RunState:
    """Everything known about a run so far. Times are Unix seconds; `phases` has each phase with its start time."""

    run: str = ""
    name: str = ""
    location: str = ""
    session: str = ""
    requirements: tuple[str, ...] = ()
    requirements_source: str = ""
    phase: Phase = "new"
    phases: tuple[tuple[Phase, float], ...] = ()
    outcome: Outcome = ""
    node: ev.NodePhase | None = None
    waiting: str = ""
    """Why the run has not started, as reported by the backend; kept after a stop."""
    hello: ev.Hello | None = None
    locked: str = ""
    progress: ev.Progress | None = None
    installed: ev.Installed | None = None
    install_log: AppendLog[str] = field(default_factory=AppendLog)
    notes: tuple[str, ...] = ()
    outputs: AppendLog[Output] = field(default_factory=AppendLog)
    sent: ev.Sent = ()
    values: tuple[ev.Value, ...] = ()
    files: ev.Files | None = None
    error: str = ""
    question: ev.Question | None = None
    """The newest question of the cell, answered or not."""
    variables: ev.SessionVariables | None = None
    session_ended: str = ""
    """Why the session ended with this run."""
    found_here: tuple[ev.LocalName, ...] = ()
    """The names in the error that exist in the notebook."""
    exited: ev.Exited | None = None
    snapshot: ev.Snapshot | None = None
    rss: int = 0
    stop_requested: ev.StopRequested | None = None
    ended_at: float = 0.0
    attempt: int = 1
    attempts: int = 1
    # Position in the log: current boot, earlier boots, last line read, highest line seen, line of the last record.
    boot: str = ""
    boots: tuple[str, ...] = ()
    position: int = 0
    highest: int = 0
    last_record: int = 0
    parts: tuple[ev.Part, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether the run has ended, so that the cell can return."""
        return self.phase == "ended"

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Every gap in the log, in order."""
        return tuple(output for output in self.outputs if isinstance(output, Gap))


def replace(state: RunState, **changes: object) -> RunState:
    """Like `dataclasses.replace`, but ten times faster, because every record needs several calls."""
    changed = object.__new__(RunState)
    changed.__dict__.update(state.__dict__, **changes)
    return changed


def fold(events: Iterable[ev.Event], state: RunState | None = None) -> RunState:
    """The state after all these events."""
    return reduce(step, events, state or RunState())


def step(state: RunState, event: ev.Event) -> RunState:  # noqa: PLR0911 - one case for each kind of event
    """The state after one more event."""
    match event:
        case ev.Lines():
            return _lines(state, event)
        case ev.Preparing():
            return _enter(replace(state, sent=event.sent), "preparing", event.t)
        case ev.Submitted():
            state = replace(
                state,
                name=event.name,
                location=event.location,
                session=event.session,
                requirements=event.requirements,
                requirements_source=event.requirements_source,
                sent=event.sent,
            )
            return _enter(state, "queued", event.t)
        case ev.NodePhase():
            return _node(state, event)
        case ev.Attempts():
            return replace(state, attempts=event.limit)
        case ev.StopRequested():
            return state if state.stop_requested or state.ended else replace(state, stop_requested=event)
        case ev.StopFailed():
            note = f"Could not stop the run: {event.problem}"
            return state if note in state.notes else replace(state, notes=(*state.notes, note))
        case ev.FoundHere():
            return replace(state, found_here=event.names)
        case ev.LogEnded():
            return _log_ended(state, event)
        case ev.Unreadable():
            return replace(state, notes=(*state.notes, f"Invalid protocol record: {event.problem}"))
        case ev.Record():
            return _record(state, event)
        case _:  # pragma: no cover
            assert_never(event)


def _node(state: RunState, event: ev.NodePhase) -> RunState:
    """Apply the backend's view of the run; before the start, it includes what the run waits for."""
    state = replace(state, node=event)
    if state.ended or state.hello:
        return state
    if event.phase == ev.PULLING:
        return _enter(replace(state, waiting=""), "pulling", event.t)
    return replace(state, waiting=event.message) if event.phase == "Pending" else state


def _enter(state: RunState, phase: Phase, t: float) -> RunState:
    """Enter a later phase, which began at `t`; see ORDER."""
    if ORDER.index(phase) <= ORDER.index(state.phase):
        return state
    return replace(state, phase=phase, phases=(*state.phases, (phase, t)))


def _lines(state: RunState, event: ev.Lines) -> RunState:
    """Count raw lines from the current position, and keep the new ones."""
    if state.exited:
        return state
    count = event.text.count("\n") + (not event.text.endswith("\n"))
    position = state.position + count
    new = position - max(state.highest, state.position)
    if new <= 0:
        return replace(state, position=position)
    if new < count:
        event = ev.Lines(text="".join(event.text.split("\n", count - new)[-1:]))
    return replace(state, position=position, highest=position, outputs=state.outputs.add(event))


def _record(state: RunState, event: ev.AnyRecord) -> RunState:
    """Find the position of a record by its (boot, n), then apply the record."""
    if event.boot in state.boots or (event.boot == state.boot and event.n <= state.last_record):
        # A repeated record, of this attempt or an earlier one: the raw lines after it are counted from its number.
        return replace(state, position=event.n) if event.boot == state.boot else state
    if event.boot != state.boot:
        state = _boot(state, event)
    missing = event.n - state.position - 1
    if isinstance(event, ev.Dropped):
        if event.n > state.highest:
            gap = Gap(lines=event.n - state.highest, reason=event.reason)
            state = replace(state, outputs=state.outputs.add(gap))
    elif missing > 0 and event.n > state.highest + 1:
        gap = Gap(lines=event.n - state.highest - 1, reason="not received")
        state = replace(state, outputs=state.outputs.add(gap))
    state = replace(state, position=event.n, highest=event.n, last_record=event.n)
    if state.exited:
        return state
    return _apply(state, event)


def _boot(state: RunState, event: ev.Record) -> RunState:
    """Switch to another boot: the first one, the next part of this attempt, or another attempt."""
    if not state.boot:
        # Raw lines before the first record were counted from 0, as if the log had its beginning.
        return replace(state, boot=event.boot, last_record=0)
    state = replace(
        state,
        boot=event.boot,
        boots=(*state.boots, state.boot),
        position=0,
        highest=0,
        last_record=0,
        parts=(),
    )
    if isinstance(event, ev.Hello) and event.after == state.boots[-1]:
        return state
    initial = RunState()
    return replace(
        state,
        attempt=state.attempt + 1,
        phase="queued",
        outcome="",
        exited=None,
        error=initial.error,
        values=initial.values,
        progress=initial.progress,
        files=initial.files,
        outputs=state.outputs.add(Restarted(boot=event.boot, attempt=state.attempt + 1)),
    )


def _apply(  # noqa: C901, PLR0911, PLR0912 - one case for each kind of event
    state: RunState, event: ev.AnyRecord
) -> RunState:
    """The state after a new record."""
    match event:
        case ev.Hello():
            return _enter(replace(state, hello=event, waiting=""), "starting", event.t)
        case ev.PhaseStarted():
            return _enter(state, event.phase, event.t)
        case ev.Note():
            return replace(state, notes=(*state.notes, event.text))
        case ev.InstallLog():
            return replace(state, install_log=state.install_log.add(event.text))
        case ev.Progress():
            return replace(state, progress=event)
        case ev.Locked():
            return replace(state, locked=event.lock)
        case ev.Installed():
            return replace(state, installed=event)
        case ev.Text() | ev.Display() | ev.Result() | ev.Traceback() | ev.ClearOutput() | ev.Skipped():
            return replace(state, outputs=state.outputs.add(event))
        case ev.Value():
            others = tuple(value for value in state.values if value.name != event.name)
            return replace(state, values=(*others, event))
        case ev.Files():
            return replace(state, files=event)
        case ev.Raised():
            return replace(state, error=event.error)
        case ev.Heartbeat():
            return replace(state, rss=event.rss)
        case ev.Snapshot():
            return replace(state, snapshot=event)
        case ev.Dropped():
            return state  # `_record` has added a gap
        case ev.Question():
            return replace(state, question=event)
        case ev.SessionVariables():
            return replace(state, variables=event, rss=event.rss or state.rss)
        case ev.SessionEnded():
            return replace(state, session_ended=event.reason)
        case ev.Exited():
            stopped = state.stop_requested and event.reason == "signal"
            outcome = "Stopped" if stopped else OUTCOMES[event.reason]
            if event.reason == "stopped" and _was_ended_by_node(state):
                outcome = "Lost" if state.phase == "running" else "InstallFailed"
            state = replace(state, exited=event, outcome=outcome, ended_at=event.t, snapshot=None)
            attempts_left = not state.attempts or state.attempt < state.attempts
            will_retry = attempts_left and not state.stop_requested and outcome not in {"Succeeded", "Stopped"}
            return state if will_retry else _enter(state, "ended", event.t)
        case ev.Part():
            return _part(state, event)
        case _:  # pragma: no cover
            assert_never(event)


def _was_ended_by_node(state: RunState) -> bool:
    """Whether the backend ended the program without a request to stop it."""
    node = state.node
    return not state.stop_requested and node is not None and node.phase in _FAILED and bool(node.message)


def _has_failed_to_start(state: RunState) -> bool:
    """Whether the backend reports a failure of a run that has written nothing."""
    is_new = state.phase in BEFORE_START and state.attempt == 1 and not len(state.outputs)
    return is_new and state.node is not None and state.node.phase in _FAILED


def _part(state: RunState, event: ev.Part) -> RunState:
    """Join the pieces of a long record; the last piece applies it, with the (boot, n) of that piece."""
    parts = (*(part for part in state.parts if part.id == event.id), event)
    if len(parts) < event.of:
        return replace(state, parts=parts)
    state = replace(state, parts=())
    whole = log_reader.joined("".join(part.s for part in sorted(parts, key=lambda part: part.j)), packed=event.z)
    if isinstance(whole, ev.Part | ev.Unreadable):
        problem = whole.problem if isinstance(whole, ev.Unreadable) else "a part within parts"
        return replace(state, notes=(*state.notes, f"Invalid protocol record: {problem}"))
    return _apply(state, whole)


def _log_ended(state: RunState, event: ev.LogEnded) -> RunState:
    """The log is complete; without an exit record the run is lost or was stopped."""
    outcome: Outcome
    if state.exited:  # another attempt could have followed
        outcome = "Stopped" if state.stop_requested and not state.ended else state.outcome
        return _enter(replace(state, outcome=outcome), "ended", state.ended_at)
    outcome = "Stopped" if state.stop_requested else "NotStarted" if _has_failed_to_start(state) else "Lost"
    return _enter(replace(state, outcome=outcome, ended_at=event.t, snapshot=None), "ended", event.t)


def durations(state: RunState, now: float) -> tuple[tuple[Phase, float], ...]:
    """Each phase so far with its duration in seconds; the current one lasts until `now` (Unix seconds).

    The start times of the first phases are from the client's clock and the others from the guest's. Negative
    differences become 0.
    """
    end = state.ended_at if state.ended else now
    begins = [(phase, t) for phase, t in state.phases if phase != "ended"]
    ends = [t for _, t in begins[1:]] + [end]
    # Not strict, because the time before the first phase has no start.
    return tuple((phase, max(0.0, t - begin)) for (phase, begin), t in zip(begins, ends, strict=False))


def elapsed(state: RunState, now: float) -> float:
    """Seconds since the run was prepared or submitted; once it has ended, until its end."""
    return sum(seconds for _, seconds in durations(state, now))
