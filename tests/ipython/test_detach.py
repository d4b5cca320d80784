"""--detach and attach in a real kernel: each message is shown in its own cell, whichever cell runs meanwhile."""

from __future__ import annotations

import os
import queue
import threading
import time
from types import SimpleNamespace

import pytest
from jupyter_client.manager import KernelManager
from support.waiting import until

from uv_argo_magic import config
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol import values
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.core.view import ansi
from uv_argo_magic.engine import run as engine
from uv_argo_magic.errors import BackendError, BackendUnavailable, CellFailed, SpecError, Stopped
from uv_argo_magic.notebook import background
from uv_argo_magic.testing import FakeBackend, play, write


class Kernel:
    """A kernel, and the messages that it published: (first line of the cell, message type, content)."""

    def __init__(self, home):
        self.manager = KernelManager()
        self.manager.start_kernel(env=os.environ | {"UV_ARGO_HOME": str(home)})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.cells, self.messages = {}, []

    def run(self, code, *, stdin=True):
        request_id = self.client.execute(code, allow_stdin=stdin, stop_on_error=False)
        self.cells[request_id] = code.split("\n")[0]
        while True:  # the channel also has late replies to the first requests of the client
            message = self.client.get_shell_msg(timeout=60)
            if message["parent_header"].get("msg_id") == request_id:
                return message["content"]

    def until(self, is_wanted, seconds=60):
        """Return the first message that `is_wanted` accepts, received already or later."""
        for message in self.messages:
            if is_wanted(*message):
                return message
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                reply = self.client.get_iopub_msg(timeout=0.5)
            except queue.Empty:
                continue
            cell = self.cells.get(reply["parent_header"].get("msg_id"), "")
            self.messages.append((cell, reply["msg_type"], reply["content"]))
            if is_wanted(*self.messages[-1]):
                return self.messages[-1]
        raise AssertionError(f"no such message; received: {[(cell, kind) for cell, kind, _ in self.messages]}")

    def text(self, cell, name="stdout"):
        return "".join(
            content["text"]
            for message_cell, kind, content in self.messages
            if (message_cell, kind) == (cell, "stream") and content["name"] == name
        )


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    instance = Kernel(tmp_path_factory.mktemp("home"))
    instance.run("%load_ext uv_argo_magic")
    yield instance
    instance.client.stop_channels()
    instance.manager.shutdown_kernel(now=True)


SLOW_CELL = "%%argo --detach -o slow --pull total"


def test_output_of_a_detached_run_is_shown_in_its_cell(kernel):
    reply = kernel.run(
        f"{SLOW_CELL}\nimport time\nfor i in range(3):\n    print('line', i); time.sleep(0.3)\ntotal = 5\n6 * 7"
    )
    assert reply["status"] == "ok"
    assert kernel.run("print('another', slow.status)")["status"] == "ok"
    assert kernel.run("%argo attach")["status"] == "ok"
    assert kernel.run("assert 'total' not in globals(); slow.result(), total")["status"] == "ok"
    kernel.until(lambda cell, kind, content: cell == SLOW_CELL and content.get("data", {}).get("text/plain") == "42")
    empty = {"text/html": "", "text/plain": ""}
    kernel.until(
        lambda cell, kind, content: (cell, kind, content.get("data")) == (SLOW_CELL, "update_display_data", empty)
    )
    lines = "line 0\nline 1\nline 2\n"
    assert kernel.text(SLOW_CELL) == lines
    assert kernel.text("%argo attach") in {lines, ""}
    assert kernel.text("print('another', slow.status)").startswith("another ")
    kinds = [
        (kind, set(content["data"]))
        for cell, kind, content in kernel.messages
        if cell == SLOW_CELL and kind.endswith("_data")
    ]
    static_mimes, live_mimes = {"text/html", "text/plain"}, {"application/vnd.jupyter.widget-view+json", "text/plain"}
    assert kinds[:2] == [("display_data", static_mimes), ("display_data", live_mimes)]
    assert ("update_display_data", static_mimes) in kinds
    _, _, result = kernel.until(lambda cell, kind, _: "assert" in cell and kind == "execute_result")
    assert result["data"]["text/plain"] == "({'total': 5}, 5)"


FAILING_CELL = "%%argo --detach -o bad"


@pytest.fixture(scope="module")
def error(kernel):
    """The error of a failed run, whose name in the kernel is `bad`."""
    assert kernel.run(f"{FAILING_CELL}\nprint('before')\n1 / 0")["status"] == "ok"
    return kernel.until(lambda cell, kind, _: (cell, kind) == (FAILING_CELL, "error"))[2]


def test_result_of_a_failed_detached_run_raises_its_error(kernel, error):
    assert error["ename"] == "ZeroDivisionError"
    # IPython colours the code.
    assert "1 / 0" in ansi.strip("\n".join(error["traceback"]))
    raised = kernel.run("bad.result()")
    assert (raised["status"], raised["ename"]) == ("error", "ZeroDivisionError")


def test_attach_shows_an_ended_run_from_the_history(kernel, error):
    kernel.messages.clear()
    assert kernel.run("wanted = bad.id")["status"] == "ok"
    assert kernel.run("%argo attach $wanted")["status"] == "ok"
    kernel.until(lambda cell, kind, content: cell == "%argo attach $wanted" and content.get("name") == "stderr")
    (panel,) = [content for _, kind, content in kernel.messages if kind == "display_data"]
    assert panel["data"]["text/plain"] == "argo Failed (ZeroDivisionError)"
    assert kernel.text("%argo attach $wanted") == "before\n"
    assert "ZeroDivisionError" in kernel.text("%argo attach $wanted", "stderr")
    assert "1 / 0" in ansi.strip(kernel.text("%argo attach $wanted", "stderr"))


UNATTENDED_CELL = "%%argo --detach -o waited"


def test_detach_waits_if_output_cannot_be_shown_later(kernel):
    kernel.messages.clear()
    assert kernel.run(f"{UNATTENDED_CELL}\nimport time; time.sleep(0.5); print('done')", stdin=False)["status"] == "ok"
    kernel.run("print('next')")
    kernel.until(lambda cell, kind, _: (cell, kind) == ("print('next')", "stream"))
    assert kernel.text(UNATTENDED_CELL) == "done\n"
    texts = [content["data"]["text/plain"] for cell, kind, content in kernel.messages if kind == "display_data"]
    assert "cannot show output later" in texts[0]


STOPPED_CELL = "%%argo --detach -o stopped"


def test_stop_keeps_the_output_of_a_detached_run(kernel):
    kernel.messages.clear()
    kernel.run(f"{STOPPED_CELL}\nprint('so far', flush=True)\nimport time; time.sleep(1000)")
    kernel.until(lambda cell, kind, _: (cell, kind) == (STOPPED_CELL, "stream"))
    assert kernel.run("%argo stop")["status"] == "ok"
    final_text = "argo Stopped"
    kernel.until(
        lambda cell, _, content: (cell, content.get("data", {}).get("text/plain")) == (STOPPED_CELL, final_text)
    )
    assert kernel.run("stopped.result()")["ename"] == Stopped.__name__
    assert kernel.run("%argo attach")["status"] == "ok"
    kernel.until(lambda cell, kind, _: (cell, kind) == ("%argo attach", "stream"))
    assert (kernel.text("%argo attach"), kernel.text("%argo attach", "stderr")) == ("so far\n", "")


CAPTURED_CELL = "%%capture captured"


def test_detach_waits_under_capture(kernel):
    kernel.messages.clear()
    code = "import sys, time\nprint('out')\nprint('err', file=sys.stderr)\ndisplay(1)\n2"
    assert kernel.run(f"{CAPTURED_CELL}\n%%argo --detach\n{code}")["status"] == "ok"
    assert (
        kernel.run("assert (captured.stdout, captured.stderr) == ('out\\n', 'err\\n'), captured.stderr")["status"]
        == "ok"
    )
    texts = "[output.data['text/plain'] for output in captured.outputs]"
    expected = (
        "['--detach ignored: this front end cannot show output later, so the cell waits.', '1', '2', 'argo Succeeded']"
    )
    assert kernel.run(f"assert {texts} == {expected}, {texts}")["status"] == "ok"
    assert {kind for cell, kind, _ in kernel.messages if cell == CAPTURED_CELL} <= {"status", "execute_input"}


@pytest.mark.parametrize(
    ("panel", "stdin", "is_waiting"),
    [("auto", True, False), ("static", True, True), ("text", True, True), ("auto", False, True), ("none", True, False)],
)
def test_detach_requires_a_live_panel(panel, stdin, is_waiting):
    parent = {"content": {"allow_stdin": stdin}}
    publisher = SimpleNamespace(session=object(), pub_socket=object())
    shell = SimpleNamespace(kernel=object(), display_pub=publisher, get_parent=lambda: parent)
    assert bool(background.why_not(shell, Settings(panel=panel))) is is_waiting
    assert "needs a notebook" in background.why_not(SimpleNamespace(), Settings())
    captured = SimpleNamespace(kernel=object(), display_pub=SimpleNamespace(), get_parent=lambda: parent)
    assert "cannot show output later" in background.why_not(captured, Settings())


SURROGATE_CELL = "%%argo -o halved"


def test_surrogates_are_escaped_everywhere(kernel):
    """Surrogates in stdout, stderr, a display, the result, and the message and notes of an exception."""
    kernel.messages.clear()
    code = """
import sys
half = "\\ud83d"
print("out", half); print("err", half, file=sys.stderr)
display({"text/plain": half, "text/html": f"<b>{half}</b>"}, metadata={half: half}, raw=True)
print("after")
class Half:
    def __repr__(self):
        return "result " + half
Half()
"""
    assert kernel.run(SURROGATE_CELL + code)["status"] == "ok"
    result = kernel.until(lambda cell, kind, content: kind == "execute_result")[2]
    assert result["data"]["text/plain"] == "result \\ud83d"
    assert kernel.text(SURROGATE_CELL) == "out \\ud83d\nafter\n"
    assert kernel.text(SURROGATE_CELL, "stderr") == "err \\ud83d\n"
    displays = [content for _, kind, content in kernel.messages if kind == "display_data"]
    (display,) = [content for content in displays if content["data"].get("text/plain") == "\\ud83d"]
    assert display["data"]["text/html"] == "<b>\\ud83d</b>"
    raised = kernel.run(
        f"{SURROGATE_CELL}\nerror = ValueError('bad \\ud83d'); error.__notes__ = ['note \\ud83d']\nraise error"
    )
    assert (raised["ename"], raised["evalue"]) == ("ValueError", "bad \\ud83d")
    assert kernel.run("%argo last")["status"] == "ok"


STUBBORN_CELL = "%%argo"
BLOCK_STOP = """import threading
from uv_argo_magic.backends import lookup
from uv_argo_magic.notebook import background
local, gate = lookup.load("local"), threading.Event()
def stop(name, real=local.stop):
    gate.wait(60)
    real(name)
local.stop = stop
"""


def test_interrupted_cell_returns_before_the_run_stops(kernel):
    kernel.messages.clear()
    assert kernel.run(BLOCK_STOP)["status"] == "ok"
    request_id = kernel.client.execute(f"{STUBBORN_CELL}\nimport time\nprint('on', flush=True)\ntime.sleep(1000)")
    kernel.cells[request_id] = STUBBORN_CELL
    kernel.until(lambda cell, kind, _: (cell, kind) == (STUBBORN_CELL, "stream"))
    kernel.manager.interrupt_kernel()
    while (reply := kernel.client.get_shell_msg(timeout=30))["parent_header"].get("msg_id") != request_id:
        pass
    assert (reply["content"]["status"], reply["content"]["ename"]) == ("error", "KeyboardInterrupt")
    check = "assert sum(not one.state.ended for one in background.known()) == 1; gate.set(); del local.stop"
    while (status := kernel.run(check)["status"]) == "aborted":  # the kernel drops requests after an interrupt
        pass
    assert status == "ok"
    final_text = "argo Stopped"
    kernel.until(
        lambda cell, _, content: (cell, content.get("data", {}).get("text/plain")) == (STUBBORN_CELL, final_text)
    )


class FakeRun:
    """A run of this kernel that ends when the test sets `may_end`."""

    def __init__(self):
        self.id, self.state, self.settings = "r9", play("out\n"), Settings(panel="none")
        self.name = "fake-1"
        self.may_end = threading.Event()
        self.problem = None

    def lock(self):
        return None

    def follow(self, *renderers):
        self.may_end.wait(60)
        for renderer in renderers:
            renderer.update(self.state)

    def raise_for_state(self):
        if self.problem:
            raise self.problem


class RecordingSession:
    def __init__(self):
        self.sent = []

    def send(self, _socket, kind, content, *, parent, ident):
        self.sent.append((kind, content, parent))


@pytest.mark.parametrize("problem", [None, Stopped("s"), CellFailed("no")])
def test_background_view_ends_with_its_run(problem):
    session = RecordingSession()
    parent = {"header": {"msg_id": "first"}}
    display = SimpleNamespace(session=session, pub_socket=object())
    shell = SimpleNamespace(kernel=object(), display_pub=display, get_parent=lambda: parent)
    run = FakeRun()
    run.problem = problem
    thread = background.show(run, shell, Settings(panel="none"))
    assert run in background.known()
    run.state = play(
        write("more\n", ("result", {"data": {"text/plain": "1"}}), ("clear", {}), ("exit", {"reason": "ok"}))
    )
    run.may_end.set()
    thread.join(60)
    assert not thread.is_alive()
    assert all(message[2] is parent for message in session.sent)
    kinds = [kind for kind, *_ in session.sent]
    assert ("error" in kinds) is isinstance(problem, CellFailed)
    assert {"stream", "clear_output"} <= set(kinds)


def test_attach_rejects_a_run_of_another_kernel(shell):
    entry = SimpleNamespace(
        id="elsewhere",
        live=True,
        unseen=False,
        summary=None,
        backend="local",
        note=lambda _: "local-1",
        spec=lambda: None,
    )
    history = SimpleNamespace(read=lambda: SimpleNamespace(find=lambda _: entry))
    with pytest.raises(SpecError, match="elsewhere runs in another kernel") as exc_info:
        background.attach("elsewhere", shell, history, "", config.configure(()))
    assert "%argo stop elsewhere" in exc_info.value.hint


class EndlessBackend(FakeBackend):
    """A backend whose run ends when the test sets `may_end`, even if a stop was requested."""

    def __init__(self):
        super().__init__()
        self.may_end = threading.Event()

    def watch(self, name):
        self.may_end.wait(60)
        yield "last words\n"


class InterruptedRenderer:
    """A renderer that is interrupted at the first `times` updates."""

    def __init__(self, times):
        self.times = times

    def update(self, state):
        if self.times:
            self.times -= 1
            raise KeyboardInterrupt


class FailingRenderer:
    """A renderer that fails at the first update."""

    def __init__(self):
        self.calls = 0

    def update(self, state):
        self.calls += 1
        if self.calls == 1:
            raise ValueError("not yet")


def test_failing_renderer_is_reported_and_used_again(capsys):
    run = start_run(FakeBackend(["one\n", write(("exit", {"reason": "ok"}))]))
    renderer = FailingRenderer()
    run.follow(renderer, renderer)
    assert renderer.calls >= 2
    assert capsys.readouterr().err.count("Cannot update the view of the run") == 1


def start_run(backend):
    name = backend.submit(SimpleNamespace(nonce="n"), RunSpec(cell=""), "r1").name
    submitted = ev.Submitted(name=name, location="nowhere", t=1.0)
    return engine.Run(backend, run_id="r1", submitted=submitted, nonce="n", settings=Settings())


def test_second_interrupt_returns_with_a_hint(capsys):
    backend = EndlessBackend()
    run = start_run(backend)
    with pytest.raises(KeyboardInterrupt):
        run.follow(InterruptedRenderer(2))
    assert not run.state.ended
    until(lambda: backend.stopped == [run.name])
    stderr = capsys.readouterr().err
    assert f"{run.id} has not ended yet. To request a stop again: uv-argo stop {run.id}\n" in stderr
    assert f"To stop it without uv-argo-magic:\n    true {run.name}\n" in stderr
    backend.may_end.set()
    assert run.wait(60).outcome == "Stopped"


@pytest.mark.parametrize("how", ["interrupt", "button"])
def test_stop_hands_the_run_over_to_a_background_view(how, capsys):
    backend = EndlessBackend()
    run = start_run(backend)
    views = []
    renderer = InterruptedRenderer(1 if how == "interrupt" else 0)
    if how == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            run.follow(renderer, hand_over=lambda: views.append(threading.Thread(target=run.follow, args=(renderer,))))
    else:
        threading.Timer(0.1, run.ask_to_stop, ("the Stop button",)).start()
        run.follow(renderer, hand_over=lambda: views.append(threading.Thread(target=run.follow, args=(renderer,))))
        with pytest.raises(Stopped, match="is being stopped by the Stop button") as exc_info:
            run.raise_for_state()
        assert exc_info.value.hint
    assert not run.state.ended
    assert backend.stopped == [run.name]
    assert capsys.readouterr().err == ""
    (view,) = views
    view.start()
    backend.may_end.set()
    view.join(60)
    assert (run.state.outcome, run.logs()) == ("Stopped", "last words\n")


def test_second_interrupt_after_the_hand_over_prints_a_hint(capsys):
    run = start_run(EndlessBackend())
    views = []
    with pytest.raises(KeyboardInterrupt):
        run.follow(InterruptedRenderer(2), hand_over=lambda: views.append(1))
    assert views == [1]
    assert "To stop it without uv-argo-magic" in capsys.readouterr().err
    run._backend.may_end.set()


@pytest.mark.parametrize(
    ("problem", "expected_tries"), [(BackendUnavailable("away"), 3), (BackendError("you may not"), 1)]
)
def test_stop_is_retried_if_the_backend_is_unavailable(problem, expected_tries, monkeypatch):
    monkeypatch.setattr(engine, "ASK_AGAIN", 0.01)
    backend = EndlessBackend()
    tries = []

    def stop(name):
        tries.append(name)
        if len(tries) < 3:
            raise problem

    backend.stop = stop
    run = start_run(backend)
    run.ask_to_stop("a test")
    until(lambda: len(tries) == expected_tries)
    backend.may_end.set()
    assert f"Could not stop the run: {problem}." in run.wait(60).notes
    assert run.state.notes == (f"Could not stop the run: {problem}.",)
    assert len(tries) == expected_tries


def test_first_interrupt_waits_for_the_last_output(capsys):
    backend = EndlessBackend()
    run = start_run(backend)
    threading.Timer(0.2, backend.may_end.set).start()
    with pytest.raises(KeyboardInterrupt):
        run.follow(InterruptedRenderer(1))
    assert (run.state.outcome, run.logs(), capsys.readouterr().err) == ("Stopped", "last words\n", "")


def test_concurrent_views_end_with_the_same_state():
    backend = EndlessBackend()
    run = start_run(backend)
    ends = []
    views = [threading.Thread(target=lambda: ends.append(run.follow(SimpleNamespace(update=str)))) for _ in range(3)]
    for view in views:
        view.start()
    backend.may_end.set()
    for view in views:
        view.join(60)
    assert [state.outcome for state in ends] == ["Lost"] * 3


def test_repr_of_a_run_has_no_state_that_becomes_outdated():
    backend = EndlessBackend()
    run = start_run(backend)
    assert repr(run) == f"<Run {run.id}>"
    backend.may_end.set()
    run.wait(60)
    assert repr(run) == f"<Run {run.id}: Lost>"


def test_result_binds_pulled_values():
    run = start_run(EndlessBackend())
    bound = {}
    run._hooks = engine.Hooks(bind=bound.update)
    run._state = play(write(("value", {"name": "x", "body": values.encode("x", 5, 99)}), ("exit", {"reason": "ok"})))
    run._ended.set()
    run._backend.may_end.set()
    assert run.result(0) == {"x": 5} == bound


VALUE_CELL = "%%argo --detach -o valued"


def test_value_of_a_detached_cell_is_available(kernel):
    kernel.messages.clear()
    assert kernel.run(f"{VALUE_CELL}\n[6, 7]")["status"] == "ok"
    check = "value = valued.value(); assert (repr(value), valued.result()) == ('[6, 7]', {}), value"
    assert kernel.run(check)["status"] == "ok"
    assert kernel.run(f"{VALUE_CELL} --pull _\n[6, 7]")["status"] == "ok"
    assert (
        kernel.run("_before = _; assert valued.value() == [6, 7], valued.value(); assert _ is _before")["status"]
        == "ok"
    )
    assert kernel.run(f"{VALUE_CELL}\nx = 1")["status"] == "ok"
    assert kernel.run("assert valued.value() is None")["status"] == "ok"
