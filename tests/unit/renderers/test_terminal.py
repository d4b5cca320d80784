"""renderers/terminal.py and the FakeBackend of testing.py."""

from __future__ import annotations

import io

import pytest

from uv_argo_magic.backends.base import Backend
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol import log_reader
from uv_argo_magic.core.protocol.state import RunState, step
from uv_argo_magic.core.spec.program import Program
from uv_argo_magic.core.spec.run_spec import RunSpec
from uv_argo_magic.renderers.terminal import PlainText
from uv_argo_magic.testing import FakeBackend, play, states, write

SUBMITTED = ev.Submitted(name="swift-otter", location="", t=1000.0)
LOG = [
    SUBMITTED,
    write(
        ("hello", {"protocol": 1, "python": "3.12.1", "platform": "l", "pid": 1}),
        ("phase", {"phase": "installing"}),
        ("installed", {"packages": [["six", "1.17.0"]], "seconds": 0.5, "cached": False}),
        ("phase", {"phase": "running"}),
        ("note", {"text": "Mind\x1b[31m this"}),
        "out\n",
        ("text", {"stream": "stderr", "text": "partial"}),
        ("skipped", {"lines": 3, "bytes": 9}),
        ("display", {"data": {"text/plain": "<Figure>", "image/png": ""}}),
        ("display", {"data": {"image/png": ""}}),
        ("clear", {"wait": False}),
        ("text", {"stream": "stdout", "text": "\ud800"}),
        ("text", {"stream": "stdout", "text": ""}),
    ),
]
LOG_WITH_TRACEBACK = [SUBMITTED, write(("traceback", {"error": {}, "text": "ValueError: no html\n"}), "out\n")]
SUCCESSFUL_LOG = [*LOG, write(("exit", {"reason": "ok"}), n=13, start=1013.0)]

SPEC = RunSpec(cell="1")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def render(log, **options):
    out, err = io.StringIO(), options.pop("err", io.StringIO())
    renderer = PlainText(stdout=out, stderr=err, clock=lambda: 1020.0, **options)
    for state in states(log):
        renderer.update(state)
    renderer.update(state)
    return out.getvalue(), err.getvalue()


def test_traceback_of_a_value_goes_to_stderr():
    assert render(LOG_WITH_TRACEBACK) == ("out\n", "ValueError: no html\n")


def test_output_keeps_its_stream_and_notes_go_to_stderr():
    out, err = render(SUCCESSFUL_LOG)
    assert out == "out\n<Figure>\n[image/png]\n\\ud800"
    assert err.split("\n") == [
        "[argo] Installing packages.",
        "[argo] The cell is running. 1 package in 0.50 s.",
        "[argo] Mind this",
        "partial",
        "[argo] [3 lines omitted]",
        "",
        "[argo] Succeeded: six==1.17.0 (14.0 s)",
        "",
    ]


def test_only_stages_are_shown_without_outputs():
    out, err = render(SUCCESSFUL_LOG, outputs=False)
    assert out == ""
    assert "partial" not in err
    assert "Succeeded" in err


def test_colours_are_used_only_in_terminals():
    _, err = render(SUCCESSFUL_LOG, err=Terminal())
    assert "\x1b[2m[argo] Mind this\x1b[0m\n" in err
    assert "\x1b" not in render(SUCCESSFUL_LOG)[1]
    assert "\x1b" not in render(SUCCESSFUL_LOG, err=Terminal(), colour=False)[1]


def test_failure_is_shown_with_a_hint():
    _, err = render([*LOG, write(("exit", {"reason": "signal", "code": -9}), n=13)])
    lines = err.rstrip("\n").split("\n")
    assert lines[-2] == "[argo] The cell's process was killed by signal 9 (SIGKILL)."
    assert "memory" in lines[-1]
    _, err = render([*LOG, write(("error", {"error": {"ename": "KeyError"}}), ("exit", {"reason": "error"}), n=13)])
    assert err.endswith("[argo] The cell raised KeyError.\n")


def test_stage_without_name_and_packages():
    _, err = render([ev.Submitted(name="", location="", t=1.0), write(("phase", {"phase": "running"}))])
    assert err == "[argo] The cell is running.\n"


def test_waiting_is_shown_with_its_reason():
    waiting = [SUBMITTED, ev.NodePhase(phase="Pending", message="no node has room")]
    _, err = render(waiting)
    assert err == ("[argo] Waiting to start (Pending: no node has room). Name: swift-otter\n")


def test_exception_is_shown_once():
    end = write(("error", {"error": {"ename": "KeyError"}}), ("exit", {"reason": "error"}), n=13)
    assert "raised" not in render([*LOG, end], outputs=False)[1]


def test_default_streams_are_those_of_the_process(capsys):
    renderer = PlainText()
    for state in states(SUCCESSFUL_LOG):
        renderer.update(state)
    captured = capsys.readouterr()
    assert captured.out.startswith("out\n")
    assert "[argo] Succeeded: six==1.17.0" in captured.err


def test_fake_backend_uses_the_nonce_of_the_run():
    phase = ev.NodePhase(phase="Running")
    backend = FakeBackend([phase, write(("exit", {"reason": "ok"}))])
    name = backend.submit(Program(guest="", payload="", nonce="other"), SPEC, "r").name
    state = RunState()
    for item in backend.watch(name):
        for event in log_reader.decode(item, "other") if isinstance(item, str) else [item]:
            state = step(state, event)
    assert (name, state.outcome, state.node) == ("fake-1", "Succeeded", phase)
    assert isinstance(backend, Backend)


def test_fake_backend_records_stops_and_deletions_once():
    backend = FakeBackend(["a\n", "b\n"])
    program = Program(guest="", payload="", nonce="x")
    first, second = (backend.submit(program, SPEC, run).name for run in "12")
    records = backend.watch(first)
    assert next(records) == "a\n"
    for _ in range(2):
        backend.stop(first)
        backend.delete(second)
    assert list(records) == []
    assert list(backend.watch(second)) == []
    assert (backend.stopped, backend.deleted) == ([first], [second])


def test_play_continues_from_a_state():
    assert play([]) == RunState()
    assert play("more\n", start=play("one\n")).outputs[:] == [ev.Lines(text="one\n"), ev.Lines(text="more\n")]


@pytest.mark.parametrize("log", [SUCCESSFUL_LOG, [SUBMITTED]])
def test_play_returns_the_last_state(log):
    assert play(log) == list(states(log))[-1]
