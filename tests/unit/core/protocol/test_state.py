"""core/protocol/state.py: every event in every state, and logs with repetitions, gaps and several attempts."""

import base64
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import each

from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol import log_reader
from uv_argo_magic.core.protocol.append_log import AppendLog
from uv_argo_magic.core.protocol.state import ORDER, OUTCOMES, Gap, Restarted, RunState, fold, step
from uv_argo_magic.testing import play, write


def stamp(n: int, boot: str = "b1") -> dict[str, object]:
    return {"boot": boot, "n": n, "t": 100.0 + n}


def log(boot: str = "b1") -> list[ev.Event]:
    """A complete run: twelve numbered lines, two of them raw."""
    return [
        ev.Hello(**stamp(1, boot), protocol=1, python="3.12.1", platform="Linux", pid=1),
        ev.PhaseStarted(**stamp(2, boot), phase="installing"),
        ev.InstallLog(**stamp(3, boot), text="Resolved\n"),
        ev.Installed(**stamp(4, boot), packages=(("six", "1.0"),), seconds=0.5, cached=False),
        ev.PhaseStarted(**stamp(5, boot), phase="running"),
        ev.Lines(text="one\ntwo\n"),
        ev.Text(**stamp(8, boot), stream="stderr", text="oh"),
        ev.Display(**stamp(9, boot), data=()),
        ev.Value(**stamp(10, boot), name="x", body="1"),
        ev.Result(**stamp(11, boot), data=()),
        ev.Exited(**stamp(12, boot), reason="ok"),
    ]


def texts(state: RunState) -> str:
    return "".join(out.text for out in state.outputs if isinstance(out, ev.Lines | ev.Text))


def test_complete_run() -> None:
    state = fold([ev.Submitted(name="n", location="", t=99.0), *log()])
    assert [phase for phase, _ in state.phases] == ["queued", "starting", "installing", "running", "ended"]
    assert (state.outcome, state.ended, state.ended_at) == ("Succeeded", True, 112.0)
    assert (texts(state), len(state.outputs), state.gaps) == ("one\ntwo\noh", 4, ())
    assert state.installed is not None
    assert (state.name, state.location, list(state.install_log)) == ("n", "", ["Resolved\n"])
    assert state.values[0].body == "1"


def test_boot_after_another_is_the_same_attempt() -> None:
    installed = log("b1")[:4]
    ran = [
        ev.Hello(**stamp(1, "b2"), protocol=1, python="3.12.1", platform="Linux", pid=1, after="b1"),
        ev.PhaseStarted(**stamp(2, "b2"), phase="running"),
        ev.Lines(text="one\n"),
        ev.Exited(**stamp(4, "b2"), reason="ok"),
    ]
    state = fold([ev.Submitted(name="n", location="", t=99.0), *installed, *ran])
    assert (state.outcome, texts(state), len(state.outputs)) == ("Succeeded", "one\n", 1)
    assert [phase for phase, _ in state.phases] == ["queued", "starting", "installing", "running", "ended"]
    assert (state.installed, list(state.install_log), state.gaps) == (installed[-1], ["Resolved\n"], ())
    assert fold([*installed, *ran, *installed, *ran]) == fold([*installed, *ran])
    other = replace(ran[0], after="b0")
    assert Restarted(boot="b2") in fold([*installed, other]).outputs


@each("reason", OUTCOMES)
def test_exit_reason_determines_the_outcome(reason: str) -> None:
    state = fold([ev.Exited(**stamp(1), reason=reason)])  # type: ignore[arg-type]
    assert state.outcome == OUTCOMES[reason]
    for later in (
        ev.LogEnded(t=1.0),
        ev.Exited(**stamp(2), reason="error"),
        ev.Lines(text="late\n"),
        ev.StopRequested(by="x", t=1.0),
    ):
        assert step(state, later).outcome == state.outcome
        assert step(state, later).outputs == state.outputs


def test_killed_cell_is_stopped_if_a_stop_was_requested() -> None:
    exited = ev.Exited(**stamp(1), reason="signal", code=-9)
    assert fold([exited]).outcome == "Failed"
    assert fold([ev.StopRequested(by="a button", t=1.0), exited]).outcome == "Stopped"


@pytest.mark.parametrize(("records", "outcome"), [(3, "InstallFailed"), (6, "Lost")])
def test_evicted_run_is_not_stopped(records: int, outcome: str) -> None:
    exited = ev.Exited(**stamp(13), reason="stopped")
    evicted = ev.NodePhase(phase="Failed", message="the pod was evicted", t=112.0)
    assert fold([*log()[:records], evicted, exited]).outcome == outcome
    assert fold([*log()[:records], exited, evicted]).outcome == "Stopped"
    stop_requested = ev.StopRequested(by="me", t=111.0)
    assert fold([*log()[:records], stop_requested, evicted, exited]).outcome == "Stopped"


@each(
    ("events", "outcome"),
    [
        ([ev.NodePhase(phase="Error", message="no such service account")], "NotStarted"),
        ([ev.NodePhase(phase="Error"), ev.StopRequested(by="me", t=1.0)], "Stopped"),
        ([ev.Lines(text="bash: not found\n"), ev.NodePhase(phase="Failed")], "Lost"),
        ([ev.NodePhase(phase="StreamLost", message="no response")], "Lost"),
        ([log()[0], ev.NodePhase(phase="Failed")], "Lost"),
        ([], "Lost"),
    ],
)
def test_failure_before_the_first_record_is_not_started(events, outcome) -> None:
    for submitted in ([], [ev.Submitted(name="n", location="", t=0.5)]):
        assert fold([*submitted, *events, ev.LogEnded(t=2.0)]).outcome == outcome


def test_log_without_exit_record_is_lost_or_stopped() -> None:
    cut = log()[:-1]
    assert fold([*cut, ev.LogEnded(t=5.0)]).outcome == "Lost"
    stopped = fold([*cut, ev.StopRequested(by="me", t=4.0), ev.StopRequested(by="you", t=4.5), ev.LogEnded(t=5.0)])
    assert stopped.outcome == "Stopped"
    assert stopped.stop_requested == ev.StopRequested(by="me", t=4.0)


def test_first_phase_can_be_a_later_one() -> None:
    state = fold([ev.PhaseStarted(**stamp(1), phase="running"), ev.PhaseStarted(**stamp(2), phase="installing")])
    assert state.phase == "running"


ENTERING: dict[str, ev.Event] = {
    "preparing": ev.Preparing(t=1.0),
    "queued": ev.Submitted(name="n", location="p", t=1.0),
    "pulling": ev.NodePhase(phase=ev.PULLING, message="pulling the image x", t=1.0),
    "starting": ev.Hello(**stamp(1), protocol=1, python="3.12.1", platform="x", pid=1),
    "resolving": ev.PhaseStarted(**stamp(1), phase="resolving"),
    "installing": ev.PhaseStarted(**stamp(1), phase="installing"),
    "running": ev.PhaseStarted(**stamp(1), phase="running"),
    "ended": ev.LogEnded(t=1.0),
}


@each(("later", "event"), ENTERING.items())
@each("phase", ORDER)
def test_phases_only_advance(phase, later, event) -> None:
    order = ["new", *ENTERING]
    state = step(RunState(phase=phase), event)
    is_later = order.index(later) > order.index(phase)
    assert state.phase == (later if is_later else phase)
    assert [name for name, _ in state.phases] == ([later] if is_later else [])
    assert order == list(ORDER)


def test_dropped_lines_are_a_gap_with_a_reason() -> None:
    head, tail = log()[:5], log()[6:]
    state = fold([*head, ev.Dropped(**stamp(7), lines=2, reason="too long"), *tail])
    assert state.gaps == (Gap(lines=2, reason="too long"),)
    assert state.outcome == "Succeeded"
    late = fold([*log()[:7], ev.Dropped(**stamp(7), lines=2, reason="too long"), *tail])
    assert not late.gaps
    already_received = fold(
        [ev.Note(**stamp(1), text="a"), ev.Lines(text="b\nc\n"), ev.Dropped(**stamp(3), lines=2, reason="gone")]
    )
    assert not already_received.gaps


def test_other_records_change_their_fields() -> None:
    state = fold([
        ev.Note(**stamp(1), text="look"), ev.Locked(**stamp(2), lock="{}"), ev.Heartbeat(**stamp(3), rss=7),
        ev.Snapshot(**stamp(4), lines=1, bytes=2), ev.Raised(**stamp(5), error="{}"), ev.ClearOutput(**stamp(6)),
        ev.Skipped(**stamp(7), lines=1, bytes=2), ev.NodePhase(phase="Running"), ev.Unreadable(line="x", problem="odd"),
        ev.Value(**stamp(8), name="x", body="1"), ev.Value(**stamp(9), name="x", body="2"),
    ])  # fmt: skip
    assert (state.notes, state.locked, state.rss, state.error) == (
        ("look", "Invalid protocol record: odd"),
        "{}",
        7,
        "{}",
    )
    assert state.snapshot is not None
    assert state.node == ev.NodePhase(phase="Running")
    assert [value.body for value in state.values] == ["2"]
    assert len(state.outputs) == 2
    progress = ev.Progress(**stamp(1), done=1, of=2)
    assert fold([progress]).progress == progress
    files = ev.Files(**stamp(1), files=(("a", "1"),), count=1, bytes=1)
    assert fold([files]).files == files
    question = ev.Question(**stamp(1), prompt="Name: ")
    assert fold([question]).question == question


def test_parts_are_joined_to_a_record() -> None:
    text = '{"k": "note", "text": "whole", "b": "b1", "n": 1, "t": 1.0}'
    pieces = [
        ev.Part(**stamp(j + 1), id="p", j=j, of=3, s=text[j * 20 : (j + 1) * 20 if j < 2 else None]) for j in range(3)
    ]
    assert fold(pieces).notes == ("whole",)
    assert fold(pieces[:2]).notes == ()
    for invalid in ("nonsense", '{"k": "part", "id": "1", "j": 0, "of": 1, "s": "", "b": "b", "n": 1, "t": 1.0}'):
        assert fold([ev.Part(**stamp(1), id="p", j=0, of=1, s=invalid)]).notes[0].startswith("Invalid protocol record")


def test_parts_can_be_compressed(monkeypatch) -> None:
    monkeypatch.setattr(log_reader, "MAX_RECORD", 1000)

    def first_note(text: str) -> str:
        pieces = [ev.Part(**stamp(j + 1), id="p", j=j, of=2, s=(text[:9], text[9:])[j], z=True) for j in range(2)]
        return fold(pieces).notes[0]

    text = b'{"k": "note", "text": "whole", "b": "b1", "n": 1, "t": 1.0}'
    compressed = zlib.compress(text)
    assert first_note(base64.b64encode(compressed).decode()) == "whole"
    for invalid in ("no base64 at all", base64.b64encode(text).decode()):
        assert first_note(invalid).startswith("Invalid protocol record: not compressed JSON")
    for truncated in (compressed[:-5], zlib.compress(b" " * 1001)):
        assert first_note(base64.b64encode(truncated).decode()).startswith(
            "Invalid protocol record: the compressed JSON"
        )


def test_other_boot_is_another_attempt() -> None:
    state = fold([*log("b1"), *log("b2")])
    assert (state.boot, state.boots, state.outcome) == ("b2", ("b1",), "Succeeded")
    assert Restarted(boot="b2") in list(state.outputs)
    assert texts(state) == "one\ntwo\noh" * 2
    # Repeated records of the first attempt have no effect.
    assert fold(e for e in log("b1") if not isinstance(e, ev.Lines)) != state
    assert fold([e for e in log("b1") if not isinstance(e, ev.Lines)], state) == state


def test_missing_lines_are_a_gap() -> None:
    complete = log()
    without_lines = [event for event in complete if not isinstance(event, ev.Lines)]
    assert fold(without_lines).gaps == (Gap(lines=2, reason="not received"),)
    one_line_missing = [ev.Lines(text="one\n") if isinstance(event, ev.Lines) else event for event in complete]
    assert [gap.lines for gap in fold(one_line_missing).gaps] == [1]


@each("start", range(11))
@each("end", range(12))
def test_rereading_from_any_record_has_no_effect(start: int, end: int) -> None:
    complete = log()
    if start < len(complete) and isinstance(complete[start], ev.Lines):
        start += 1  # raw lines at the start have no number: the transport removes them
    state = fold([*complete[:end], *complete[start:]] if start <= end else complete)
    expected = fold(complete)
    assert replace(state, position=expected.position) == expected


def test_repetition_can_end_within_raw_lines() -> None:
    complete = log()
    repeated = [
        *complete[:6],
        *complete[4:5],
        ev.Lines(text="one\n"),
        *complete[4:5],
        ev.Lines(text="one\ntwo\nthree\n"),
    ]
    assert texts(fold(repeated)) == "one\ntwo\nthree\n"
    assert texts(fold([*complete[:5], ev.Lines(text="no newline")])) == "no newline"


@given(st.data())
def test_missing_records_never_duplicate_output(data: st.DataObject) -> None:
    complete = log()
    indexes = data.draw(st.lists(st.sampled_from(range(len(complete))), unique=True).map(sorted))
    state = fold(complete[i] for i in indexes)
    assert texts(state) in ("", "oh", "one\ntwo\n", "one\ntwo\noh")
    last = max((getattr(complete[i], "n", 0) for i in indexes), default=0)
    received = sum(2 if isinstance(complete[i], ev.Lines) else 1 for i in indexes)
    if indexes and isinstance(complete[indexes[-1]], ev.Record):
        assert sum(gap.lines for gap in state.gaps) == last - received


any_event = st.sampled_from([
    *log(), *log("b2"), ev.LogEnded(t=1.0), ev.StopRequested(by="x", t=1.0),
    ev.Submitted(name="n", location="p", t=0.0),
    ev.NodePhase(phase="Failed"), ev.Unreadable(line="", problem="p"), ev.Lines(text="x"), ev.Lines(text="\n\n\n"),
    ev.Part(**stamp(3), id="1", j=0, of=9, s="{"), ev.Part(**stamp(900), id="1", j=0, of=1, s="{"),
    ev.Note(**stamp(-5), text=""), ev.Note(**stamp(10**12), text=""),
])  # fmt: skip


@given(st.lists(any_event, max_size=40))
def test_any_events_in_any_order_are_folded(events: list[ev.Event]) -> None:
    state = fold(events)
    assert state.phase in ORDER
    assert bool(state.outcome) == state.ended or Restarted(boot=state.boot) in list(state.outputs)
    assert isinstance(state.outputs, AppendLog)
    assert fold(events) == state


def test_failed_stop_is_noted_once():
    failed = ev.StopFailed(problem="away", t=1.0)
    state = fold([ev.StopRequested(by="me", t=0.0), failed, failed])
    assert state.notes == ("Could not stop the run: away",)
    assert state.stop_requested


def attempt_log(boot, reason):
    hello = {"protocol": 1, "python": "3", "platform": "l", "pid": 1}
    return write(("hello", hello), f"out of {boot}\n", ("exit", {"reason": reason, "code": 1}), boot=boot)


def state_of_attempts(limit, *pieces):
    state = fold([ev.Submitted(name="n", location="p", t=0.0), ev.Attempts(limit=limit, t=0.0)])
    return play(pieces, start=state)


def test_failed_attempt_does_not_end_a_run_with_retries():
    state = state_of_attempts(3, attempt_log("a", "exit"))
    assert (state.ended, state.attempt, state.phase) == (False, 1, "starting")
    state = state_of_attempts(3, attempt_log("a", "exit"), attempt_log("b", "ok"))
    assert (state.ended, state.outcome, state.attempt) == (True, "Succeeded", 2)
    assert Restarted(boot="b", attempt=2) in tuple(state.outputs)


def test_last_attempt_or_end_of_log_ends_the_run():
    assert state_of_attempts(2, attempt_log("a", "exit"), attempt_log("b", "exit")).outcome == "Failed"
    assert state_of_attempts(2, attempt_log("a", "exit"), attempt_log("b", "exit")).ended
    state = state_of_attempts(3, attempt_log("a", "exit"), ev.LogEnded(t=9.0))
    assert (state.ended, state.outcome) == (True, "Failed")
    assert not state_of_attempts(0, attempt_log("a", "exit"), attempt_log("b", "exit")).ended


def test_run_stopped_between_attempts_is_stopped():
    state = state_of_attempts(3, attempt_log("a", "exit"), ev.StopRequested(by="me", t=5.0), ev.LogEnded(t=9.0))
    assert (state.ended, state.outcome) == (True, "Stopped")
    assert state_of_attempts(3, ev.StopRequested(by="me", t=1.0), attempt_log("a", "exit")).ended


def test_names_found_locally_are_stored():
    names = (ev.LocalName(name="df", kind="variable"),)
    assert fold([ev.FoundHere(names=names)]).found_here == names
